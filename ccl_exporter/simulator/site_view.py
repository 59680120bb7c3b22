"""The site as one answer shows it: devices under their displayed names, data faults included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ccl_exporter.simulator.dialects import Dialect
from ccl_exporter.simulator.faults import Fault, find
from ccl_exporter.simulator.simulated_variables import SimulatedDate, SimulatedDevice, SimulatedVariable, Value
from ccl_exporter.simulator.site import PlugPlace, Site

_ENERGY_UNITS = frozenset({"#WH", "#VARLH", "#VARCH", "#VARH", "#VAH"})
_ERROR_AND_TIMEOUT = 34.0
_NEVER_SYNCHRONISED = 915_148_800.0
"""1999-01-01 00:00 UTC, where a clock starts that nobody ever set (protocol 5)."""
_CONTROL = ' "quoted"\n\t\x85\u202e\'&#1;'


@dataclass(frozen=True)
class Shown:
    """One variable in an answer, under its full displayed name."""

    full: str
    variable: SimulatedVariable
    value: Value


class SiteView:
    """What the engine tells at `now` (Unix seconds), while the site is held there."""

    def __init__(self, site: Site, now: float, dialect: Dialect, faults: Sequence[Fault]) -> None:
        self._site = site
        self.now = now
        self._control = find(faults, "control") is not None
        self._zeros = find(faults, "zeros") is not None
        self._failed = {fault.arg for fault in faults if fault.kind == "device-error"}
        self._unreadable = {fault.arg for fault in faults if fault.kind == "unreadable"}
        self._shift = _NEVER_SYNCHRONISED - site.boot if dialect.clock_1999 else 0.0
        vanished = {fault.arg for fault in faults if fault.kind == "vanish"}
        self.devices = {
            self.display(device.name): device for device in site.devices() if device.name not in vanished
        }
        self._shown: dict[str, Sequence[Shown]] = {}

    @property
    def places(self) -> Sequence[PlugPlace]:
        """The plugs whose engine answers."""
        return [place for place in self._site.model.places if self.display(place.engine) in self.devices]

    def clock(self, unix: float) -> float:
        """A time as the engine's own clock tells it."""
        return unix + self._shift

    def display(self, text: str) -> str:
        """A name or title as shown."""
        return text + _CONTROL if self._control and text else text

    def display_plug(self, place: PlugPlace) -> str:
        """A plug's name: its engine's displayed name and its own."""
        return self.display(place.engine) + place.plug.name.removeprefix(place.engine)

    def shown(self, name: str) -> Sequence[Shown]:
        """Every variable of the device displayed as `name`, read once for the whole answer."""
        if name not in self._shown:
            device = self.devices[name]
            values = self._site.values(device, self.now)
            self._shown[name] = [
                Shown(f"{name}.{variable.name}", variable, self._told(device, variable, values[variable.name]))
                for variable in device.variables
            ]
        return self._shown[name]

    def find(self, full: str) -> Shown | None:
        """One variable by its full name; the longest device name wins (protocol 4)."""
        for name in sorted(self.devices, key=len, reverse=True):
            if full.startswith(f"{name}."):
                short = full[len(name) + 1 :]
                return next((item for item in self.shown(name) if item.variable.name == short), None)
        return None

    def zeroed(self, energy: float) -> float:
        """Watt-hours of chargePointsInterface, 0 while registers are zero."""
        return 0.0 if self._zeros else energy

    def _told(self, device: SimulatedDevice, variable: SimulatedVariable, value: Value) -> Value:
        if f"{device.name}.{variable.name}" in self._unreadable:
            return None
        if device.name in self._failed or "" in self._failed:
            # Not "-" but zeros, and a text turned number: protocol 3.1, the device with an error.
            if variable.name == "STATUS":
                return _ERROR_AND_TIMEOUT
            return SimulatedDate(_NEVER_SYNCHRONISED) if variable.kind == "date" else 0.0
        if self._zeros and variable.units in _ENERGY_UNITS and isinstance(value, float):
            return 0.0
        if isinstance(value, SimulatedDate):
            return replace(value, unix=self.clock(value.unix))
        return self.display(value) if isinstance(value, str) else value
