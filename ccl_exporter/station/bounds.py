"""What the value of a variable can be: no sentinel, within a physical range, and how fast a register can change.

Worked out once for each inventory.
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
_AMPERES = 63.0  # the largest socket of IEC 62196, for a plug that reports none
_MOST_VOLTS = 1000.0  # of a DC plug
_LEAST_WATTS = 2e5  # what a range of power has at least: a DC plug of 150 kW may call itself one of 32 A

SETTLE_SECONDS = 60.0
SETTLE_READINGS = 4
"""What is implausible is believed once it has stayed for both this long and this many reads."""

USUAL_WATTS = _AMPERES * _VOLTS * 3
"""What a supply can carry whose power was not seen yet: that of a house with the largest socket."""

_ENERGIES = ("AE", "AE1", "AE2", "AE3")
_POWERS = frozenset({"watts", "voltamperes", "vars"})


def _sentinels() -> Iterator[float]:
    """The extremes of integers, as they are sent with any factor, and by an engine that counts in float32."""
    for bits in (16, 32, 64):
        half, whole = 2 ** (bits - 1), 2**bits
        for digits, factor in product((half - 1, -half, whole - 1), range(-9, 10)):
            exact = float(f"{digits}e{factor}")
            (single,) = struct.unpack("f", struct.pack("f", exact))
            for sent in (exact, single, round(exact, 6), round(single, 6)):
                # Six decimals of a small number are not its digits any more.
                if abs(sent - exact) <= 1e-7 * abs(exact):
                    # An engine that multiplies comes this close.
                    yield from (sent, nextafter(sent, inf), nextafter(sent, -inf))


SENTINELS = frozenset(_sentinels())
"""Numbers as sent that stand for none: a measurement that is one of them is a rare accident."""


@dataclass(frozen=True, slots=True)
class RegisterBounds:
    """How fast a register can change, and what confirms it.

    `watts` is the highest power of its plug, None without a plug. `powers` are the variables whose sum is the
    power that it counts. `plug` is the plug whose chargeInfo has a copy of it. `may_fall` says that it may be that
    of a net meter, which the energy of a plug never is. `clock` is the variable of its device's clock.
    """

    watts: float | None
    powers: tuple[str, ...]
    clock: str
    plug: str | None = None
    may_fall: bool = False


class Bounds(NamedTuple):
    """Between what a number as sent lies, and more of it if it is a register."""

    low: float
    high: float
    register: RegisterBounds | None = None


class BoundsTable:
    """The bounds of variables, but of dates, of what is not shown, and where there is no unit or it has limits."""

    def __init__(self, inventory: Inventory) -> None:
        # Not the inventory itself: this is kept for as long as that lives, which would then be for ever.
        reading = Reading(Snapshot(0.0, 0.0, 0.0, 0, up=True, inventory=inventory))
        self._variables = variables(inventory)
        self._shared = shared_meters(inventory)
        self._plugs: dict[str, list[PlugInfo]] = {}
        self._amperes: dict[str, float] = {}
        self.copies: dict[str, RegisterBounds] = {}
        """What bounds chargeInfo's copy of the register of a plug."""
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
        """One only where the plug's meter has one: which meter serves a plug is not always known."""
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
        # `Variable.base`, the other way round.
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
