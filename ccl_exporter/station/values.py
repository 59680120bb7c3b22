"""The values of a snapshot: which can be trusted and shown, and what they are in base units.

Pure policy over `Snapshot` and catalogue: units and their limits, STATUS, personal data (protocol 3, 8, 11).
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from math import isfinite
from typing import NamedTuple

from ccl_exporter.powerstudio.inventory import (
    Device,
    Inventory,
    VariableInfo,
    cached_per_inventory,
    owner,
    variable_ids,
)
from ccl_exporter.powerstudio.snapshot import Moment, Snapshot
from ccl_exporter.powerstudio.xml_parser import parse_date
from ccl_exporter.station.catalogue import Catalogue, Unit, catalogue, last_part

OLDEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
"""Dates before this are rejected: a clock that was never set gives 1999 or 1970 (protocol 5)."""

_ENERGIES = ("joules", "var_seconds", "voltampere_seconds")


class VariableValue(NamedTuple):
    """A value in base units; the `quantity` of a register ends in `_total`, unless the register may fall.

    `quantity` is None if there is no unit, or it is unknown or contradicts chargeInfo; `value` is then as sent.
    """

    device: str
    variable: str
    quantity: str | None
    value: float


@dataclass(frozen=True, slots=True)
class UnitSpec:
    """The unit of a variable from varInfo or the catalogue; `code` is None if it has none."""

    code: str | None = None
    factor: int = 0


@dataclass(frozen=True, slots=True)
class Variable:
    """What is known of a variable before it is read.

    `within` are its device and the sub-devices that it is in; all must be OK for a value to be trusted.
    `unit` is None where no unit of the catalogue is known, `described` until the engine or the catalogue says
    whether there is one; `symbol` is the unit of the value as sent, for people, `power` the factor as 10^n.
    `sensitive` says that its numbers must not be shown, `sensitive_text` the same of a text.
    `hidden` says that no value of it is shown: it is sensitive, has no value by varInfo, or is not described yet.
    `date` says that it is an instant even if it was sent as a number, `register` that it is an energy that only
    grows. `is_settled` says that its unit and its kind no longer depend on a description that is still to come.
    `title` and whether it is `writable` come from the engine, else from the catalogue ("" and None if unknown).
    `series` names it, as device and variable; `about` adds title, symbol and whether it may be written
    ("true", "false", or "" if unknown), and is None where that is not shown.
    """

    id: str
    device: Device
    name: str
    within: tuple[str, ...]
    info: VariableInfo | None
    described: UnitSpec | None
    unit: Unit | None
    symbol: str
    power: float
    sensitive: bool
    sensitive_text: bool
    has_value: bool
    hidden: bool
    date: bool
    register: bool
    is_settled: bool
    title: str
    writable: bool | None
    series: tuple[str, str]
    about: tuple[str, str, str, str, str] | None

    def base(self, value: float) -> float:
        """A number as sent in base units; without a unit unchanged."""
        if self.unit is None:
            return value
        # Rounded, as the error of the multiplication would make a register fall now and then.
        return float(f"{(value * self.power + self.unit.offset) * self.unit.scale:.15g}")


class Variables:
    """The variables of an inventory, each looked up once, as it serves hundreds of reads."""

    def __init__(self, inventory: Inventory, facts: Catalogue) -> None:
        # Keeps no reference to the inventory, whose cache entry this is: neither would ever be freed.
        self._infos, self._settled = inventory.variables, inventory.settled
        self._facts = facts
        self._found: dict[str, Variable | None] = {}
        self.devices: dict[str, Device] = {device.id: device for device in inventory.devices}
        self.listed = variable_ids(inventory)

    @cached_property
    def walk(self) -> Sequence[Variable]:
        """All listed variables that belong to a device, in the order of their ids."""
        return [variable for variable in map(self.get, sorted(self.listed)) if variable is not None]

    def get(self, name: str) -> Variable | None:
        """The variable of a full id, whether it is listed or not; None if no device has it."""
        if name not in self._found:
            self._found[name] = self._look_up(name)
        return self._found[name]

    def _look_up(self, name: str) -> Variable | None:
        device = self.devices.get(owner(name, self.devices) or "")
        if device is None:
            return None
        short = name[len(device.id) + 1 :]
        info = self._infos.get(name)
        described = self._describe(name, short, device, info)
        unit = self._facts.units.get(described.code or "") if described is not None else None
        date = (info is not None and info.type == "date") or (unit is not None and unit.quantity == "timestamp")
        sensitive = self._facts.sensitive(device.type, short, measured=unit is not None or date)
        has_value = info is None or info.has_value
        is_energy = unit is not None and unit.quantity in _ENERGIES
        known = self._facts.known(device.type, short)
        title = (info.title if info is not None else "") or self._facts.title(device.type, short)
        # The catalogue has a range only for variables that the exporter's own commands write.
        writable = True if known is not None and known.range is not None else None
        writable = info.writable if info is not None else writable
        about = (title, self._symbol(described), {True: "true", False: "false", None: ""}[writable])
        return Variable(
            id=name,
            device=device,
            name=short,
            within=tuple(_prefixes(name, device.id)),
            info=info,
            described=described,
            unit=unit,
            symbol=self._symbol(described),
            power=10.0**described.factor if described is not None else 1.0,
            sensitive=sensitive,
            sensitive_text=self._facts.sensitive(device.type, short, text=True),
            has_value=has_value,
            hidden=sensitive or described is None or not has_value,
            date=date,
            series=(device.id, short),
            title=title,
            writable=writable,
            about=None if sensitive or described is None else (device.id, short, *about),
            # A unit of the catalogue is not final: the engine may say another one, even one that is not known.
            is_settled=name in self._settled or info is not None or (known is not None and known.unit is None),
            register=is_energy and self._facts.register(short, info.sample_mode if info is not None else None),
        )

    def _symbol(self, spec: UnitSpec | None) -> str:
        return self._facts.symbol(spec.code, spec.factor) if spec is not None and spec.code else ""

    def _describe(self, name: str, short: str, device: Device, info: VariableInfo | None) -> UnitSpec | None:
        """The unit of a variable; None as long as neither the engine was asked nor the catalogue knows it.

        Unit and factor come together from one source: the engine, else the catalogue. An unknown code does not
        replace a temperature of the catalogue, as the vendor's code for it was never seen (protocol 4.2).
        """
        known = self._facts.known(device.type, short)
        temperature = known is not None and known.unit in ("celsius", "fahrenheit")
        ours = info is not None and info.unit is not None and (info.unit in self._facts.units or not temperature)
        if ours and info is not None and info.factor is not None:
            return UnitSpec(info.unit, info.factor)
        if known is not None and known.unit is not None:
            return UnitSpec(known.unit, known.factor)
        if known is not None or name in self._settled:
            return UnitSpec()
        return None


def _prefixes(name: str, device: str) -> Iterator[str]:
    cut = len(device)
    while cut > 0:
        yield name[:cut]
        cut = name.find(".", cut + 1)


@cached_per_inventory
def variables(inventory: Inventory) -> Variables:
    """The variables of an inventory by the catalogue."""
    return Variables(inventory, catalogue())


class Reading:
    """The values of one snapshot, with their units, whether they can be trusted, and whether they are personal."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.facts = catalogue()
        self._variables = variables(snapshot.inventory)
        self.devices: Mapping[str, Device] = self._variables.devices
        self.listed: AbstractSet[str] = self._variables.listed
        if not self.listed >= snapshot.values.keys():
            self.listed |= snapshot.values.keys()
        self._status_ok: dict[str, bool] = {}
        self._understood: dict[str, VariableValue | None] = {}

    def owner(self, name: str) -> str | None:
        """The id of the device of a full variable id; None if no device has it."""
        variable = self._variables.get(name)
        return variable.device.id if variable is not None else None

    def variable(self, name: str) -> Variable | None:
        """What is known of a variable, by full id; None if no device has it."""
        return self._variables.get(name)

    def is_personal(self, name: str) -> bool:
        """Whether the value of a variable, by full id, must not be shown; True if no device has the variable."""
        variable = self._variables.get(name)
        return variable is None or (
            variable.sensitive_text if isinstance(self.snapshot.values.get(name), str) else variable.sensitive
        )

    def walk(self) -> Iterator[Variable]:
        """All variables that the engine listed or sent, in the order of their ids."""
        if self.listed is self._variables.listed:
            yield from self._variables.walk
        else:
            yield from filter(None, map(self._variables.get, sorted(self.listed)))

    def status(self, prefix: str) -> float | None:
        """STATUS of a device, the number as sent."""
        status = self.snapshot.values.get(f"{prefix}.STATUS")
        return status if isinstance(status, float) else None

    def status_ok(self, prefix: str) -> bool:
        """Whether a device or sub-device reports STATUS 1, or has no STATUS to report.

        For a device that does not communicate the engine sends zeros that look like values (protocol 3.1, 8).
        """
        if prefix not in self._status_ok:
            self._status_ok[prefix] = f"{prefix}.STATUS" not in self.listed or self.status(prefix) == 1
        return self._status_ok[prefix]

    def trusted(self, variable: Variable) -> bool:
        """Whether the device of a variable, and each sub-device that it is in, is OK by `status_ok`."""
        return all(map(self.status_ok, variable.within))

    def raw(self, name: str | None) -> float | None:
        """The number of a trusted variable as sent, None without one; a sensitive one is not left out."""
        if name is None:
            return None
        value = self.snapshot.values.get(name)
        variable = self._variables.get(name)
        if not isinstance(value, float) or variable is None or not variable.has_value:
            return None
        return value if self.trusted(variable) else None

    def writable(self, name: str) -> bool | None:
        """Whether the engine says that a variable can be written; None if it does not say."""
        variable = self._variables.get(name)
        return variable.info.writable if variable is not None and variable.info is not None else None

    def number(self, name: str | None, quantity: str) -> float | None:
        """The value of a variable in base units, if it is of this quantity."""
        found = self.understand(name) if name is not None else None
        return found.value if found is not None and found.quantity == quantity else None

    @property
    def understood(self) -> Mapping[str, VariableValue]:
        """Every value that can be trusted and shown, by full id."""
        found = ((name, self.understand(name)) for name in self.snapshot.values)
        return {name: reading for name, reading in found if reading is not None}

    def understand(self, name: str) -> VariableValue | None:
        """The value of a variable, by full id; None if there is none that can be trusted and shown."""
        if name not in self._understood:
            variable = self._variables.get(name)
            self._understood[name] = self._understand(variable) if variable is not None else None
        return self._understood[name]

    def _understand(self, variable: Variable) -> VariableValue | None:
        value = self.snapshot.values.get(variable.id)
        if variable.hidden or not isinstance(value, (float, Moment)) or not self.trusted(variable):
            return None
        device, name, unit = variable.device.id, variable.name, variable.unit
        if variable.date or isinstance(value, Moment):
            if unit is not None and unit.quantity != "timestamp":
                return None
            instant = _instant(value)
            return None if instant is None else VariableValue(device, name, "timestamp", instant)
        if unit is None or variable.id in self.unit_conflicts:
            return VariableValue(device, name, None, value)
        if (unit.minimum is not None and value < unit.minimum) or (
            unit.maximum is not None and value > unit.maximum
        ):
            return None
        base = variable.base(value)
        if not isfinite(base):
            return None
        if variable.register and variable.id not in self.snapshot.partial_registers:
            return VariableValue(device, name, f"{unit.quantity}_total", base) if base >= 0 else None
        return VariableValue(device, name, unit.quantity, base)

    @cached_property
    def unit_conflicts(self) -> frozenset[str]:
        """Registers whose unit contradicts chargeInfo by a factor of a thousand, or a million."""
        return frozenset(
            name
            for name, ratio in self.register_ratios.items()
            if any(abs(ratio / wrong - 1) < 0.02 for wrong in (1e-6, 1e-3, 1e3, 1e6))
        )

    @cached_property
    def register_ratios(self) -> Mapping[str, float]:
        """Register divided by chargeInfo's copy, both in Wh, by full id; only registers in `#WH` with a copy.

        chargeInfo is in Wh by comparison (protocol 3.4, 9).
        """
        found = {}
        meters = {plug.name: plug.meter for plug in self.snapshot.inventory.plugs}
        for charge in self.snapshot.charges.values():
            if not charge.meter_watt_hours:
                continue
            for name in (f"{charge.name}.AE", f"{meters.get(charge.name)}.AE"):
                value = self.snapshot.values.get(name)
                variable = self._variables.get(name)
                described = variable.described if variable is not None else None
                if described is not None and described.code == "#WH" and isinstance(value, float):
                    found[name] = value * 10.0**described.factor / charge.meter_watt_hours
        return found


def _instant(value: float | Moment) -> float | None:
    """Unix seconds of a date, which may have come as a number with a decimal point; None before `OLDEST`."""
    moment: Moment | None
    if isinstance(value, Moment):
        moment = value
    elif value.is_integer() and 0 < value < 1e14:
        moment = parse_date(f"{int(value):08d}" if value < 1e8 else f"{int(value):014d}")
    else:
        moment = None
    return moment.seconds if moment is not None and moment.seconds >= OLDEST else None


def is_status(variable: str) -> bool:
    """Whether a variable is the STATUS of a device or sub-device."""
    return last_part(variable) == "STATUS"
