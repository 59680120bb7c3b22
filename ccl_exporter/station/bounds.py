"""Bounds of values: sentinels, the range of each variable, and how fast a register can change.

They are computed once per inventory.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf, nextafter
from typing import NamedTuple

from ccl_exporter.powerstudio.inventory import Inventory, PlugInfo, cached_per_inventory, owner
from ccl_exporter.powerstudio.snapshot import Snapshot, Value
from ccl_exporter.station.catalogue import catalogue, last_part
from ccl_exporter.station.plug import PHASES, plug_infos, shared_meters
from ccl_exporter.station.values import Reading, Variable, variables

_VOLTS = 264.0  # the highest voltage of a supply of 240 V (EN 50160: 10 % above)
_AMPERES = 63.0  # the largest three-phase socket of IEC 62196-2, for a plug that reports no current
_MOST_VOLTS = 1000.0  # the highest voltage of a DC plug
_LEAST_WATTS = 2e5  # the smallest limit of a power range: a DC plug of 150 kW may report 32 A

SETTLE_SECONDS = 60.0
SETTLE_READINGS = 4
"""A register's implausible level, or an unconfirmed unit, is believed after these seconds and these reads."""

USUAL_WATTS = _AMPERES * _VOLTS * 3
"""Watts that a register without a plug is assumed to count at most, until its power variables show more."""

_ENERGIES = ("AE", "AE1", "AE2", "AE3")
_POWERS = frozenset({"watts", "voltamperes", "vars"})


def _sentinels() -> Iterator[float]:
    """The extremes of integers of 16, 32 and 64 bits times 10^-9 to 10^9, also as float32 or with six decimals."""
    for bits in (16, 32, 64):
        half, whole = 2 ** (bits - 1), 2**bits
        for digits, factor in product((half - 1, -half, whole - 1), range(-9, 10)):
            exact = float(f"{digits}e{factor}")
            (single,) = struct.unpack("f", struct.pack("f", exact))
            for sent in (exact, single, round(exact, 6), round(single, 6)):
                # Rounding takes the digits of a small number away.
                if abs(sent - exact) <= 1e-7 * abs(exact):
                    # An engine that multiplies may differ in the last bit.
                    yield from (sent, nextafter(sent, inf), nextafter(sent, -inf))


SENTINELS = frozenset(_sentinels())
"""Numbers as sent that mean "not available"; a measured value hardly ever equals one."""


@dataclass(frozen=True, slots=True)
class RegisterBounds:
    """How fast a register can change, and what confirms it.

    `watts` is the highest power of its plugs, None without a plug. `powers` are the variables whose sum is the
    power that it counts. `plug` is the plug whose chargeInfo has a copy of it. `may_fall` says that it may be the
    register of a net meter, which AE and AE1 to AE3 of a plug never are. `clock` is the VDTTM of its device.
    """

    watts: float | None
    powers: tuple[str, ...]
    clock: str
    plug: str | None = None
    may_fall: bool = False


class Bounds(NamedTuple):
    """The lowest and highest number as sent; of a register also the bounds of its growth."""

    low: float
    high: float
    register: RegisterBounds | None = None


class BoundsTable:
    """The bounds of an inventory's variables.

    Dates, hidden variables, variables without a unit, and those whose unit has limits of its own have none.
    """

    def __init__(self, inventory: Inventory) -> None:
        # Keeps no reference to the inventory, whose cache entry this is: neither would ever be freed.
        reading = Reading(Snapshot(0.0, 0.0, 0.0, 0, up=True, inventory=inventory))
        self._variables = variables(inventory)
        self._shared = shared_meters(inventory)
        self._plugs: dict[str, list[PlugInfo]] = {}
        self._amperes: dict[str, float] = {}
        self.copies: dict[str, RegisterBounds] = {}
        """The bounds of chargeInfo's copy of a plug's register, by plug."""
        for plug in plug_infos(reading):
            prefixes = [prefix for prefix in (plug.name, plug.meter) if prefix is not None]
            for prefix in prefixes:
                self._plugs.setdefault(prefix, []).append(plug)
            self.copies[plug.name] = self._register_of([plug], plug.name, plug.name)
            for device in {reading.owner(f"{prefix}.AE") for prefix in prefixes}:
                if device is not None:
                    self._amperes[device] = self._amperes.get(device, 0.0) + _amperes(plug)
        self._listed = [(name, found) for name in sorted(self._variables.listed) if (found := self._bounds(name))]

    def of(self, values: Mapping[str, Value]) -> Iterable[tuple[str, Bounds]]:
        """The bounds of all listed variables, by full id, and of those that were sent without being listed."""
        if values.keys() <= self._variables.listed:
            return self._listed
        others = values.keys() - self._variables.listed
        return [*self._listed, *((name, found) for name in others if (found := self._bounds(name)))]

    def _phases(self, plug: PlugInfo) -> int:
        """1 if the plug's meter lists a single current, else 3, as the meter is not always known."""
        listed = self._variables.listed
        phases = any(f"{plug.meter}.AI{phase}" in listed for phase in PHASES)
        return 1 if f"{plug.meter}.AI" in listed and not phases else 3

    def _bounds(self, name: str) -> Bounds | None:
        variable = self._variables.get(name)
        if (
            variable is None
            or variable.hidden
            or variable.date
            or variable.described is None
            or not variable.described.code
        ):
            return None
        unit = variable.unit
        if unit is None:
            return Bounds(-inf, inf)
        if unit.minimum is not None or unit.maximum is not None:
            return None
        # The inverse of `Variable.base`.
        low, high = (
            (end / unit.scale - unit.offset) / variable.power
            for end in self._range(variable.device.id, unit.quantity)
        )
        if not variable.register:
            return Bounds(low, high)
        register = self._register(variable, unit.quantity)
        return Bounds(low if register.may_fall else 0.0, high, register)

    def _range(self, device: str, quantity: str) -> tuple[float, float]:
        facts = catalogue()
        anywhere = facts.ranges.get(quantity, (-inf, inf))
        amperes = self._amperes.get(device)
        if amperes is None:
            return anywhere
        if quantity in _POWERS:
            most = max(amperes * _MOST_VOLTS * 3, _LEAST_WATTS)
            return -most, most
        return facts.charger_ranges.get(quantity, anywhere)

    def _register(self, variable: Variable, quantity: str) -> RegisterBounds:
        prefix, name = variable.id.rpartition(".")[0], last_part(variable.name)
        plugs = self._plugs.get(prefix, [])
        plug = plugs[0].name if name == "AE" and plugs and prefix not in self._shared else None
        found = self._register_of(plugs, prefix, plug)
        if quantity != "joules":
            found = replace(found, powers=())
        return replace(found, may_fall=not (plugs and name in _ENERGIES))

    def _register_of(self, plugs: Sequence[PlugInfo], prefix: str, plug: str | None) -> RegisterBounds:
        meters = [plug.meter for plug in plugs if plug.meter is not None]
        return RegisterBounds(
            watts=sum(_amperes(plug) * _VOLTS * self._phases(plug) for plug in plugs) or None,
            powers=next(filter(None, map(self._powers, (prefix, *meters))), ()),
            clock=f"{owner(prefix, self._variables.devices) or prefix}.VDTTM",
            plug=plug,
        )

    def _powers(self, prefix: str) -> tuple[str, ...]:
        names = [f"{prefix}.API{phase}" for phase in PHASES]
        listed = tuple(name for name in names if name in self._variables.listed)
        return listed or ((f"{prefix}.API",) if f"{prefix}.API" in self._variables.listed else ())


def _amperes(plug: PlugInfo) -> float:
    return plug.supported_amperes or _AMPERES


@cached_per_inventory
def bounds(inventory: Inventory) -> BoundsTable:
    """The bounds of the variables of an inventory."""
    return BoundsTable(inventory)
