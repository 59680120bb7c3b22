"""What a snapshot's readings are worth: which can be trusted, and what they are in base units.

Pure policy over `Snapshot` and catalogue: units, sentinels, silent devices, personal data (protocol.md 3, 8, 11).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from math import isfinite

from ccl_exporter.catalogue import Catalogue, catalogue, last_part
from ccl_exporter.model import Device, Moment, Snapshot, Value, owner
from ccl_exporter.powerstudio.wire import parse_date

OLDEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
"""A clock that was never set gives dates of 1999 (protocol.md 5)."""

_ENERGIES = ("joules", "var_seconds", "voltampere_seconds")


@dataclass(frozen=True, slots=True)
class Understood:
    """A reading in base units; `quantity` None means that it has no unit and `value` is the number as sent.

    Energies that only grow have `_total` behind their quantity.
    """

    device: str
    variable: str
    quantity: str | None
    value: float


@dataclass(frozen=True, slots=True)
class Described:
    """The unit of a variable as (code, factor), from varInfo or the catalogue; both empty if it has none."""

    code: str | None = None
    factor: int = 0


class Reading:
    """One snapshot with the questions that policy asks of it."""

    def __init__(self, snapshot: Snapshot, facts: Catalogue | None = None) -> None:
        self.snapshot = snapshot
        self.facts = facts if facts is not None else catalogue()
        self.devices: dict[str, Device] = {device.id: device for device in snapshot.inventory.devices}
        self.listed = {name for device in snapshot.inventory.devices for name in device.variables}
        self.listed.update(snapshot.values)
        self._well: dict[str, bool] = {}

    def owner(self, name: str) -> str | None:
        """The device of a full variable id."""
        return owner(name, self.devices)

    def status(self, prefix: str) -> float | None:
        """STATUS of a device, the number as sent."""
        status = self.snapshot.values.get(f"{prefix}.STATUS")
        return status if isinstance(status, float) else None

    def well(self, prefix: str) -> bool:
        """Whether a device or sub-device reports STATUS 1, or has no STATUS to report.

        Of a silent device the engine sends zeros that look like readings (protocol.md 3.1, 8).
        """
        if prefix not in self._well:
            self._well[prefix] = f"{prefix}.STATUS" not in self.listed or self.status(prefix) == 1
        return self._well[prefix]

    def trusted(self, name: str, device: str) -> bool:
        """Whether the device of a variable, and each sub-device that it is in, is well."""
        cut = len(device)
        while cut > 0:
            if not self.well(name[:cut]):
                return False
            cut = name.find(".", cut + 1)
        return True

    def raw(self, name: str | None) -> float | None:
        """The number of a trusted variable as sent."""
        if name is None:
            return None
        value = self.snapshot.values.get(name)
        device = self.owner(name)
        info = self.snapshot.inventory.variables.get(name)
        if not isinstance(value, float) or device is None or (info is not None and not info.has_value):
            return None
        return value if self.trusted(name, device) else None

    def number(self, name: str | None, quantity: str) -> float | None:
        """The value of a variable in base units, if it is of this quantity."""
        found = self.understood.get(name) if name is not None else None
        return found.value if found is not None and found.quantity == quantity else None

    def describe(self, name: str, device: Device) -> Described | None:
        """The unit of a variable; None as long as neither the engine was asked nor the catalogue knows it.

        Unit and factor come together from one source: what the engine says goes before the catalogue.
        Only temperatures are the catalogue's, as the vendor's code for them was never seen (protocol.md 4.2).
        """
        info = self.snapshot.inventory.variables.get(name)
        known = self.facts.known(device.type, name[len(device.id) + 1 :])
        temperature = known is not None and known.unit in ("celsius", "fahrenheit")
        told = info is not None and info.unit is not None and (info.unit in self.facts.units or not temperature)
        if told and info is not None and info.factor is not None:
            return Described(info.unit, info.factor)
        if known is not None and known.unit is not None:
            return Described(known.unit, known.factor)
        if known is not None or name in self.snapshot.inventory.settled:
            return Described()
        return None

    @cached_property
    def understood(self) -> Mapping[str, Understood]:
        """Every reading that can be trusted and shown, by full id."""
        found = {}
        for name, value in self.snapshot.values.items():
            device = self.devices.get(self.owner(name) or "")
            if device is not None and (reading := self._understand(name, value, device)) is not None:
                found[name] = reading
        return found

    def _understand(self, name: str, value: Value, device: Device) -> Understood | None:
        variable = name[len(device.id) + 1 :]
        if not isinstance(value, float | Moment) or self.facts.sensitive(device.type, variable):
            return None
        info = self.snapshot.inventory.variables.get(name)
        if (info is not None and not info.has_value) or not self.trusted(name, device.id):
            return None
        described = self.describe(name, device)
        if described is None:
            return None
        unit = self.facts.units.get(described.code or "")
        declared_date = info is not None and info.type == "date"
        if isinstance(value, Moment) or declared_date or (unit is not None and unit.quantity == "timestamp"):
            if unit is not None and unit.quantity != "timestamp":
                return None
            instant = _instant(value)
            return None if instant is None else Understood(device.id, variable, "timestamp", instant)
        if unit is None or name in self.doubtful:
            return Understood(device.id, variable, None, value)
        if (unit.minimum is not None and value < unit.minimum) or (
            unit.maximum is not None and value > unit.maximum
        ):
            return None
        # Nine decimals keep all that was sent (six) and leave out what the multiplication adds.
        base = round((value * 10.0**described.factor + unit.offset) * unit.scale, 9)
        if not isfinite(base):
            return None
        quantity = unit.quantity
        if quantity in _ENERGIES and self.facts.register(variable, info.sample_mode if info else None):
            if base < 0:
                return None
            quantity += "_total"
        return Understood(device.id, variable, quantity, base)

    @cached_property
    def doubtful(self) -> frozenset[str]:
        """Registers whose unit contradicts chargeInfo by a factor of a thousand.

        chargeInfo tells the same register in Wh for sure (protocol.md 3.4, 9).
        """
        found = set()
        meters = {plug.name: plug.meter for plug in self.snapshot.inventory.plugs}
        for charge in self.snapshot.charges.values():
            if not charge.meter_watt_hours:
                continue
            for name in (f"{charge.name}.AE", f"{meters.get(charge.name)}.AE"):
                value = self.snapshot.values.get(name)
                device = self.devices.get(self.owner(name) or "")
                described = self.describe(name, device) if device is not None else None
                if described is None or described.code != "#WH" or not isinstance(value, float):
                    continue
                ratio = value * 10.0**described.factor / charge.meter_watt_hours
                if any(abs(ratio / wrong - 1) < 0.02 for wrong in (1000.0, 0.001)):
                    found.add(name)
        return frozenset(found)


def _instant(value: float | Moment) -> float | None:
    """Unix seconds of a date, which may have come as a number with a decimal point; None before 2000."""
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
