"""The live model behind the simulator's documents: devices, plugs, writes under way, a clock; and how it shows."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from ccl_exporter.simulator.dialects import Dialect
from ccl_exporter.simulator.drivers import TAG, Autopilot, BackEnd, Driver, HomeDriver
from ccl_exporter.simulator.faults import Fault, find
from ccl_exporter.simulator.physics import SimulatedPlug, State, Stop, Vehicle
from ccl_exporter.simulator.simulated_variables import (
    SimulatedDate,
    SimulatedDevice,
    SimulatedVariable,
    Value,
    random_guid,
    time_guid,
)

Write = Callable[[float, float], None]
"""Carries out a write: value and time in Unix seconds."""

Life = Literal["busy", "home"]
"""Who comes to charge: one vehicle after the other, or one that comes home in the evening."""

_DEFAULT_NEED = 7000.0
_WRITE_DELAY = (2.0, 5.0)
_ENERGY_UNITS = frozenset({"#WH", "#VARLH", "#VARCH", "#VARH", "#VAH"})
_ERROR_AND_TIMEOUT = 34.0
_NEVER_SYNCHRONISED = 915_148_800.0
"""1999-01-01 00:00 UTC, where a clock starts that was never set (protocol 5)."""
_CONTROL = ' "quoted"\n\t\x85\u202e\'&#1;'


@dataclass(frozen=True)
class PlugPlace:
    """What plugInfo says of a plug, and who drives it (protocol 2.2)."""

    plug: SimulatedPlug
    engine: str
    mode3: str
    meter: str
    needs: tuple[float, float]
    """The lowest and the highest energy that an arriving car needs, in watt-hours."""
    delay: float = 0.0
    connector: str = "unknown"


@dataclass(frozen=True)
class SiteModel:
    """A kind of engine: its inventory, its plugs, and what can be written by full name."""

    devices: tuple[SimulatedDevice, ...]
    places: tuple[PlugPlace, ...]
    writes: Mapping[str, Write]
    main_device: str


class LivePlug:
    """A plug of the running site, for drivers and tests: every act happens at the site's present time."""

    def __init__(self, site: Site, plug: SimulatedPlug) -> None:
        self._site = site
        self._plug = plug

    @property
    def name(self) -> str:
        """Its name in plugInfo, `EVSE.PLUG` for the wallbox."""
        return self._plug.name

    @property
    def state(self) -> State:
        """Plug state of protocol 9.1."""
        with self._site.present():
            return self._plug.state

    @property
    def stopped(self) -> int:
        """Stop reason of the last charge, protocol 9.1."""
        with self._site.present():
            return self._plug.charge.stopped

    @property
    def watts(self) -> float:
        """Active power."""
        with self._site.present():
            return self._plug.watts

    @property
    def amperes(self) -> float:
        """Current of the first phase."""
        with self._site.present():
            return self._plug.amperes

    @property
    def energy_wh(self) -> float:
        """Watt-hours since it was made, exact and not at the meter's resolution."""
        with self._site.present() as now:
            return self._plug.energy_at(now)

    @property
    def charge_wh(self) -> float:
        """Watt-hours of the present or last charge as chargeInfo shows them."""
        with self._site.present() as now:
            return self._plug.charge_energy_at(now)

    def plug_in(self, need_wh: float = _DEFAULT_NEED, most_amperes: float = 32.0) -> None:
        """A vehicle arrives that wants so many watt-hours."""
        with self._site.acting() as now:
            self._plug.plug_in(now, Vehicle(need_wh, most_amperes))

    def authorise(self, tag: str = TAG) -> None:
        """Show an RFID tag: starts a charge, or stops the one under way."""
        with self._site.acting() as now:
            self._plug.authorise(now, tag)

    def unplug(self) -> None:
        """The vehicle leaves."""
        with self._site.acting() as now:
            self._plug.unplug(now)

    def stop(self, reason: int) -> None:
        """End the charge for a reason of protocol 9.1."""
        with self._site.acting() as now:
            self._plug.stop(now, Stop(reason))

    def fail(self, error: int) -> None:
        """Set error bits of protocol 9.1 (a running charge stops); 0 repairs."""
        with self._site.acting() as now:
            self._plug.fail(now, error)

    def set_register(self, watt_hours: float) -> None:
        """Let the meter go on from another reading, as one that was exchanged or lost its memory."""
        with self._site.acting():
            self._plug.energy = watt_hours


class Site:
    """The model in time. Whoever asks or acts first brings it to the present; the clock never goes back."""

    def __init__(
        self,
        build: Callable[[float, Callable[[], float]], SiteModel],
        clock: Callable[[], float],
        seed: int,
        autopilot: bool,
        life: Life = "busy",
    ) -> None:
        self._lock = threading.RLock()
        self._clock = clock
        self._now = self.started = clock()
        self._seed = seed
        self.identity: int | str = seed
        """What its identifiers are made from: two chargers with the same one take each other's history."""
        self._random = random.Random(seed)
        self.boot = self.started - 100_000.0
        self.model = build(self.started, lambda: self.boot)
        self.plugs = tuple(LivePlug(self, place.plug) for place in self.model.places)
        self._drivers = [self._driver(life, place) for place in self.model.places if autopilot]
        self._back_ends: list[BackEnd] = []
        self._pending: list[tuple[float, str, float]] = []
        self._overrides: dict[str, Value] = {}
        self._removed: set[str] = set()
        self._configurations = 0
        self._ahead = [(-math.inf, 0.0)]
        self.active_events = 0
        """Count that status.xml shows."""

    def _driver(self, life: Life, place: PlugPlace) -> Driver:
        seed = f"{self._seed}/{place.plug.name}"
        if life == "home":
            return HomeDriver(place.plug, seed, self.started)
        return Autopilot(place.plug, seed, self.started, place.needs, place.delay)

    @contextmanager
    def present(self) -> Iterator[float]:
        """Hold the site at the present time (Unix seconds) while it is read or acted upon."""
        with self._lock:
            self._advance(max(self._now, self._clock()))
            yield self._now

    @contextmanager
    def acting(self) -> Iterator[float]:
        """Like `present`, for acts: what flowed until now is recorded first, and drivers see what happened."""
        with self.present() as now:
            for place in self.model.places:
                place.plug.settle(now)
            yield now
            for driver in self._drivers:
                driver.act(now)

    def devices(self) -> Sequence[SimulatedDevice]:
        """The devices that answer now, in the engine's order."""
        with self._lock:
            return [device for device in self.model.devices if device.name not in self._removed]

    def overrides(self) -> Mapping[str, Value]:
        """The values that variables (full names) have instead of their own."""
        with self._lock:
            return dict(self._overrides)

    def set_value(self, variable: str, value: Value) -> None:
        """Make a variable (full name) read `value` until cleared; `None` is "not available"."""
        with self._lock:
            self._overrides[variable] = value

    def clear_value(self, variable: str) -> None:
        """Let a variable have its real value again."""
        with self._lock:
            self._overrides.pop(variable, None)

    def remove_device(self, name: str) -> None:
        """Take a device out of every document."""
        if name not in {device.name for device in self.model.devices}:
            raise ValueError(f"no device {name!r} in this model")
        with self._lock:
            self._removed.add(name)

    def restore_device(self, name: str) -> None:
        """Put a removed device back."""
        with self._lock:
            self._removed.discard(name)

    def connect_back_end(self, every: float | None) -> None:
        """Let a back end start and stop charges at all plugs every so many seconds; None takes it away."""
        with self.present() as now:
            self._back_ends = [] if every is None else [BackEnd(p.plug, now, every) for p in self.model.places]

    def set_clock(self, ahead: float) -> None:
        """Let the engine's clock be so many seconds ahead from now on; what it noted before stays as it was."""
        with self.present() as now:
            self._ahead.append((now, ahead))

    def clock(self, unix: float) -> float:
        """What the engine's clock showed at a time."""
        return unix + next(ahead for since, ahead in reversed(self._ahead) if since <= unix)

    def reboot(self) -> None:
        """Start the engine anew: systemId and RUNTIME change, charges go on (protocol 12)."""
        with self.present() as now:
            self.boot = now

    def new_configuration(self) -> None:
        """Change deviceId in status.xml, as reconfiguring devices does (protocol 2.2)."""
        with self._lock:
            self._configurations += 1

    def stamps(self) -> dict[str, str]:
        """The identifiers of status.xml by element name (protocol 2.2 and 12)."""
        with self._lock:
            changes = sum(place.plug.changes for place in self.model.places)
            return {
                # The sample unit's identifier is one second older than its RUNTIME.
                "systemId": time_guid(self.boot - 1, "8A5E11D0"),
                "deviceId": random_guid(self._seed, f"configuration {self._configurations}"),
                "calculatedVariablesId": random_guid(self._seed, "calculated variables"),
                "eventId": random_guid(self._seed, f"event {changes}"),
            }

    def guid(self, name: str) -> str:
        """A constant identifier for a device or plug."""
        return random_guid(self.identity, name)

    def force(self, device: str, wanted: Sequence[tuple[str, float]], delay: float | None = None) -> None:
        """Accept writes to one device; they take effect `delay` (by default 2 to 5) seconds later.

        Variables of other devices, and those that cannot be forced, are ignored (protocol 9.2).
        """
        with self.present() as now:
            forced = {
                f"{d.name}.{v.name}" for d in self.devices() for v in d.variables if d.name == device and v.forced
            }
            at = now + (self._random.uniform(*_WRITE_DELAY) if delay is None else delay)
            self._pending += [(at, name, value) for name, value in wanted if name in forced]
            self._pending.sort(key=lambda write: write[0])

    def _advance(self, now: float) -> None:
        plugs = [place.plug for place in self.model.places]
        while True:
            due = [plug.due() for plug in plugs]
            due += [driver.due for driver in self._drivers] + [back_end.due for back_end in self._back_ends]
            at = min([*due, self._pending[0][0] if self._pending else math.inf])
            if at > now:
                break
            for plug in plugs:
                plug.settle(at)
            while self._pending and self._pending[0][0] <= at:
                _, name, value = self._pending.pop(0)
                if name in self.model.writes:
                    self.model.writes[name](value, at)
            for plug in plugs:
                plug.tick(at)
            for back_end in self._back_ends:
                back_end.act(at)
            for driver in self._drivers:
                driver.act(at)
        self._now = now


class Shown(NamedTuple):
    """One variable in an answer, under its full displayed name."""

    full: str
    variable: SimulatedVariable
    value: Value


class SiteView:
    """The state of the engine at `now` (Unix seconds), while the site is held there."""

    def __init__(self, site: Site, now: float, dialect: Dialect, faults: Sequence[Fault]) -> None:
        self.site = site
        self.now = now
        self.dialect = dialect
        self.faults = faults
        self._control = find(faults, "control") is not None
        self._zeros = find(faults, "zeros") is not None
        self._failed = {fault.arg for fault in faults if fault.kind == "device-error"}
        self._unreadable = {fault.arg for fault in faults if fault.kind == "unreadable"}
        self._shift = _NEVER_SYNCHRONISED - site.boot if dialect.clock_1999 else 0.0
        vanished = {fault.arg for fault in faults if fault.kind == "vanish"}
        self.devices = {
            self.display(device.name): device for device in site.devices() if device.name not in vanished
        }
        self._living: dict[str, Mapping[str, Value]] = {}
        self._overrides = site.overrides()
        self._longest_first = sorted(self.devices, key=len, reverse=True)

    @property
    def places(self) -> Sequence[PlugPlace]:
        """The plugs whose engine answers."""
        return [place for place in self.site.model.places if self.display(place.engine) in self.devices]

    def clock(self, unix: float) -> float:
        """A time by the engine's own clock."""
        return self.site.clock(unix) + self._shift

    def display(self, text: str) -> str:
        """A name or title as shown."""
        return text + _CONTROL if self._control and text else text

    def display_plug(self, place: PlugPlace) -> str:
        """A plug's name: its engine's displayed name and its own."""
        return self.display(place.engine) + place.plug.name.removeprefix(place.engine)

    def shown(self, name: str) -> Sequence[Shown]:
        """Every variable of the device displayed as `name`."""
        return [self._read_variable(name, variable) for variable in self.devices[name].variables]

    def _read_variable(self, name: str, variable: SimulatedVariable) -> Shown:
        device = self.devices[name]
        if name not in self._living:
            self._living[name] = device.living(self.now)
        value = self._living[name].get(variable.name, variable.default)
        if self._overrides:
            value = self._overrides.get(f"{device.name}.{variable.name}", value)
        return Shown(f"{name}.{variable.name}", variable, self._as_sent(device, variable, value))

    def find(self, full: str) -> Shown | None:
        """One variable by its full name; the longest device name wins (protocol 4)."""
        for name in self._longest_first:
            if full.startswith(f"{name}."):
                variable = self.devices[name].by_name.get(full[len(name) + 1 :])
                return None if variable is None else self._read_variable(name, variable)
        return None

    def zeroed(self, energy: float) -> float:
        """Watt-hours of chargePointsInterface, 0 while registers are zero."""
        return 0.0 if self._zeros else energy

    def _as_sent(self, device: SimulatedDevice, variable: SimulatedVariable, value: Value) -> Value:
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
