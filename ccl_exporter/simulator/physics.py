"""A plug, its charge and the vehicle in it: states, currents, energy. Pure: time comes in, nothing goes out.

Power is constant between two events, and events happen at times that do not depend on who asks. So the
energy is the exact integral of the power, and two simulations polled at different times agree to the bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

RATED_AMPERES = 32.0
LEAST_AMPERES = 6.0
"""IEC 61851 cannot offer a vehicle less than this; below it the charge waits for power."""
TAPER_FROM = 0.8
_TAPER_FLOOR = 0.15
POWER_FACTOR = 0.997
AMBIENT_CELSIUS = 21.0
_TICK = 1.0
_TICK_WHILE_STEADY = 10.0
_RISE_PER_TICK = 3.2
_FALL_PER_TICK = 16.0
_HEAT_LAG = 900.0
_DEMAND_LAG = 300.0
_CELSIUS_PER_AMPERE = 0.55
_REMOTE_SHOWN = 5.0


class State(IntEnum):
    """Plug states of protocol 9.1."""

    DISABLED = -2
    ERROR = -1
    AVAILABLE = 0
    WAITING_FOR_VEHICLE = 2
    WAITING_FOR_PERMISSION = 3
    WAITING_FOR_POWER = 5
    STARTING = 6
    RESUMING = 7
    CHARGING = 8
    PAUSING = 9
    PAUSED = 10
    STOPPING = 11
    WAITING_FOR_DISCONNECTION = 12


class Stop(IntEnum):
    """Stop reasons of protocol 9.1 that the simulator uses."""

    NONE = 0
    USER = 1
    DISCONNECT = 4
    REMOTE = 5
    TIMER = 6
    DISABLED = 7
    ERROR = 8
    VEHICLE_COMMUNICATION = 9
    VEHICLE_OVER_CURRENT = 10


@dataclass
class Vehicle:
    """A car that wants `need` watt-hours and takes at most `most_amperes`."""

    need: float
    most_amperes: float = RATED_AMPERES
    taken: float = 0.0

    def appetite(self) -> float:
        """Amperes it would draw if the plug offered any: less and less above 80 % of its need."""
        done = self.taken / self.need
        if done >= 1:
            return 0.0
        if done <= TAPER_FROM:
            return self.most_amperes
        left = (1 - done) / (1 - TAPER_FROM)
        return self.most_amperes * (_TAPER_FLOOR + (1 - _TAPER_FLOOR) * left)


@dataclass
class SimulatedCharge:
    """One charge as in chargeInfo; dates in Unix seconds, energy in watt-hours (protocol 12)."""

    requested: float
    user: str = ""
    began: float | None = None
    ended: float | None = None
    stopped: int = Stop.NONE
    register_at_begin: float = 0.0
    register_at_end: float | None = None


@dataclass
class SimulatedLimits:
    """What can be written to a plug: amperes, per cent, and switches (protocol 9)."""

    intensity: float = RATED_AMPERES
    reduction: float = 0.0
    cap: float = RATED_AMPERES
    enabled: bool = True
    out_of_service: bool = False

    @property
    def usable(self) -> bool:
        """Whether the plug may charge at all."""
        return self.enabled and not self.out_of_service

    @property
    def amperes(self) -> float:
        """The current offered to the vehicle; a reduction is *by* that per cent (protocol 12)."""
        return min(self.intensity * (1 - self.reduction / 100), self.cap)


@dataclass
class Lag:
    """A quantity that follows a target with a time constant of `seconds`."""

    value: float
    seconds: float

    def after(self, elapsed: float, target: float) -> float:
        """Its value `elapsed` seconds on, if the target stays."""
        return target + (self.value - target) * math.exp(-elapsed / self.seconds)


_SECONDS_IN = {
    State.WAITING_FOR_VEHICLE: 60.0,
    State.STARTING: 4.0,
    State.RESUMING: 2.0,
    State.PAUSING: 2.0,
    State.STOPPING: 3.0,
}
_UNDER_WAY = frozenset(
    {
        State.WAITING_FOR_POWER,
        State.STARTING,
        State.RESUMING,
        State.CHARGING,
        State.PAUSING,
        State.PAUSED,
    }
)


def mains_voltage(at: float, phase: int, amperes: float) -> float:
    """Volts of one phase (0 to 2) at a Unix time: it drifts slowly and sags under load."""
    slow = 2.2 * math.sin(2 * math.pi * at / 1700 + phase)
    quick = 0.8 * math.sin(2 * math.pi * at / 311 + 2 * phase)
    return 236.5 + slow + quick - 0.09 * amperes


@dataclass
class SimulatedPlug:
    """One socket with its meter. All times in Unix seconds; the caller keeps them in order."""

    name: str
    number: int
    settled: float
    phases: int = 1
    energy: float = 1_234_560.0
    """Watt-hours since it was made; `energy_at` tells it between two events."""
    total_seconds: float = 51_234.5
    limits: SimulatedLimits = field(default_factory=SimulatedLimits)
    vehicle: Vehicle | None = None
    error: int = 0
    state: State = State.AVAILABLE
    previous: State = State.AVAILABLE
    changes: int = 0
    remote: dict[str, float] = field(default_factory=dict)
    peak_amperes: float = 0.0
    peak_watts: float = 0.0
    peak_demand: float = 0.0
    """The highest since reset, as the meter keeps them: amperes, watts, mean watts."""

    def __post_init__(self) -> None:
        start = self.settled
        self.changed = start
        self.amperes = 0.0
        self.steady = True
        self.volts = tuple(mains_voltage(start, phase, 0) for phase in range(self.phases))
        self.heat = Lag(AMBIENT_CELSIUS + 6, _HEAT_LAG)
        self.demand = Lag(0.0, _DEMAND_LAG)
        # An engine remembers the charge before its start; without one the documents would lack their dates.
        self.charge = SimulatedCharge(
            requested=start - 9004.5,
            user="04D3C2B1A0",
            began=start - 9000.25,
            ended=start - 3600.5,
            stopped=Stop.DISCONNECT,
            register_at_begin=self.energy - 8320,
            register_at_end=self.energy,
        )

    @property
    def phase_amperes(self) -> tuple[float, ...]:
        """Amperes of each phase; three phases never carry quite the same."""
        return tuple(self.amperes * factor for factor in (1.0, 0.985, 1.01)[: self.phases])

    @property
    def watts(self) -> float:
        """Active power now."""
        pairs = zip(self.volts, self.phase_amperes, strict=True)
        return sum(volts * amperes for volts, amperes in pairs) * POWER_FACTOR

    def energy_at(self, now: float) -> float:
        """Watt-hours since it was made, exact."""
        return self.energy + self.watts * (now - self.settled) / 3600

    def register_at(self, now: float) -> float:
        """Watt-hours as the meter shows them: whole tens, never rounded up."""
        return math.floor(self.energy_at(now) / 10 + 1e-9) * 10.0

    def heat_at(self, now: float) -> float:
        """Degrees Celsius on the board."""
        return self.heat.after(now - self.settled, self._heat_target())

    def demand_at(self, now: float) -> float:
        """Mean watts of the last minutes."""
        return self.demand.after(now - self.settled, self.watts)

    def charge_energy_at(self, now: float) -> float:
        """Watt-hours of the present or last charge, at the meter's resolution."""
        if self.charge.began is None:
            return 0.0
        end = self.charge.register_at_end
        return (self.register_at(now) if end is None else end) - self.charge.register_at_begin

    def charge_seconds_at(self, now: float) -> float | None:
        """Seconds of the present or last charge; none if it never began to flow."""
        if self.charge.began is None:
            return None
        return (now if self.charge.ended is None else self.charge.ended) - self.charge.began

    def under_way(self) -> bool:
        """Whether a charge is between its start and its stop."""
        return self.state in _UNDER_WAY

    def due(self) -> float:
        """When something happens by itself next; infinity if nothing will."""
        timer = self.changed + _SECONDS_IN[self.state] if self.state in _SECONDS_IN else math.inf
        if self.state is State.CHARGING or self.amperes > 0:
            tick = _TICK_WHILE_STEADY if self.steady else _TICK
            return min(timer, math.floor(self.settled / tick) * tick + tick)
        return timer

    def settle(self, at: float) -> None:
        """Add the energy that flowed until `at`."""
        elapsed = at - self.settled
        self.heat.value = self.heat_at(at)
        self.demand.value = self.demand_at(at)
        taken = self.watts * elapsed / 3600
        self.energy += taken
        if self.vehicle is not None:
            self.vehicle.taken += taken
        self.settled = at

    def tick(self, at: float) -> None:
        """Let happen what is due at `at`; the caller has settled until then."""
        if self.state in _SECONDS_IN and at >= self.changed + _SECONDS_IN[self.state]:
            self._time_is_up(at)
        if self.state is State.CHARGING and self.vehicle is not None and self.vehicle.appetite() == 0:
            # The nearest code to "the car has had enough and opened the circuit".
            self.stop(at, Stop.DISCONNECT)
        self._draw(at)

    def plug_in(self, at: float, vehicle: Vehicle) -> None:
        """A vehicle arrives."""
        if self.vehicle is not None:
            return
        self.vehicle = vehicle
        if self.state is State.WAITING_FOR_VEHICLE:
            self._enter(at, State.STARTING)
        elif self.state is State.AVAILABLE:
            self._enter(at, State.WAITING_FOR_PERMISSION)

    def unplug(self, at: float) -> None:
        """The vehicle leaves, whatever it was doing."""
        if self.under_way():
            self._end_charge(at, Stop.DISCONNECT)
        self.vehicle = None
        self._enter(at, self._at_rest())
        self._draw(at)

    def authorise(self, at: float, user: str) -> None:
        """A tag is shown: it starts a charge, or stops the one that is under way."""
        if self.under_way():
            self.stop(at, Stop.USER)
        else:
            self.request(at, user)

    def request(self, at: float, user: str) -> None:
        """Start a charge if the plug may; without a vehicle, wait a minute for one."""
        waiting = (State.AVAILABLE, State.WAITING_FOR_PERMISSION, State.WAITING_FOR_DISCONNECTION)
        if self.state not in waiting or not self.limits.usable:
            return
        self.charge = SimulatedCharge(requested=at, user=user)
        self._enter(at, State.WAITING_FOR_VEHICLE if self.vehicle is None else State.STARTING)

    def stop(self, at: float, reason: Stop) -> None:
        """End the charge, or the waiting for a vehicle, for a reason of protocol 9.1."""
        if self.under_way():
            self._end_charge(at, reason)
            self._enter(at, State.STOPPING)
            self._draw(at)
        elif self.state is State.WAITING_FOR_VEHICLE:
            self._end_charge(at, reason)
            self._enter(at, self._at_rest())

    def pause(self, at: float) -> None:
        """Hold a running charge until it is started again."""
        if self.state in (State.CHARGING, State.WAITING_FOR_POWER):
            self._enter(at, State.PAUSING)
            self._draw(at)

    def start_remotely(self, at: float) -> None:
        """What writing REMOTE_START does: resume a paused charge, else request one."""
        if self.state is State.PAUSED:
            self._enter(at, State.RESUMING)
        else:
            self.request(at, "")

    def limits_changed(self, at: float) -> None:
        """Apply limits that were written just now."""
        if not self.limits.usable:
            if self.under_way() or self.state is State.WAITING_FOR_VEHICLE:
                self.stop(at, Stop.DISABLED)
            if self.state is not State.STOPPING:
                self._enter(at, self._at_rest())
        elif self.state is State.DISABLED:
            self._enter(at, self._at_rest())
        self._draw(at)

    def fail(self, at: float, error: int) -> None:
        """Set the error bits of protocol 9.1; 0 repairs the plug."""
        self.error = error
        if error and self.under_way():
            self._end_charge(at, Stop.ERROR)
        if error or self.state is State.ERROR:
            self._enter(at, self._at_rest())
        self._draw(at)

    def remote_written(self, at: float, command: str) -> None:
        """Show a command as 1 for a few seconds after it acted, as momentary switches do."""
        self.remote[command] = at + _REMOTE_SHOWN

    def remote_shows(self, now: float, command: str) -> bool:
        """Whether a command's variable still reads 1."""
        return now < self.remote.get(command, -math.inf)

    def _heat_target(self) -> float:
        return AMBIENT_CELSIUS + 6 + _CELSIUS_PER_AMPERE * self.amperes

    def _at_rest(self) -> State:
        if self.error:
            return State.ERROR
        if not self.limits.usable:
            return State.DISABLED
        return State.AVAILABLE if self.vehicle is None else State.WAITING_FOR_PERMISSION

    def _enter(self, at: float, state: State) -> None:
        if state is self.state:
            return
        self.previous, self.state, self.changed = self.state, state, at
        self.changes += 1

    def _time_is_up(self, at: float) -> None:
        if self.state is State.WAITING_FOR_VEHICLE:
            self.stop(at, Stop.TIMER)
        elif self.state in (State.STARTING, State.RESUMING):
            if self.charge.began is None:
                self.charge.began = at
                self.charge.register_at_begin = self.register_at(at)
            self._enter(at, State.CHARGING)
        elif self.state is State.PAUSING:
            self._enter(at, State.PAUSED)
        elif self.state is State.STOPPING:
            rest = self._at_rest()
            done = State.WAITING_FOR_DISCONNECTION
            self._enter(at, done if rest is State.WAITING_FOR_PERMISSION else rest)

    def _end_charge(self, at: float, reason: Stop) -> None:
        self.charge.ended = at
        self.charge.stopped = reason
        if self.charge.began is not None:
            self.charge.register_at_end = self.register_at(at)
            self.total_seconds += at - self.charge.began

    def _draw(self, at: float) -> None:
        """Set the current for the time after `at`."""
        offered = self.limits.amperes
        if self.state is State.CHARGING and offered < LEAST_AMPERES:
            self._enter(at, State.WAITING_FOR_POWER)
        elif self.state is State.WAITING_FOR_POWER and offered >= LEAST_AMPERES:
            self._enter(at, State.RESUMING)
        wanted = 0.0
        if self.state is State.CHARGING and self.vehicle is not None:
            wanted = min(offered, self.vehicle.appetite())
            self.amperes += max(-_FALL_PER_TICK, min(_RISE_PER_TICK, wanted - self.amperes))
        else:
            self.amperes = 0.0
        self.steady = self.amperes == wanted
        self.volts = tuple(mains_voltage(at, phase, amperes) for phase, amperes in enumerate(self.phase_amperes))
        self.peak_amperes = max(self.peak_amperes, *self.phase_amperes)
        self.peak_watts = max(self.peak_watts, self.watts)
        self.peak_demand = max(self.peak_demand, self.demand.value)
