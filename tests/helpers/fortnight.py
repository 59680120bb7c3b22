"""The whole wish, day and night: sun, cheap hours, a supply, boosts, and a follower that is killed.

The follower, its policy, its guard and its state on disk are the real ones, in simulated time.
There are no sockets between them and the simulated charger.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ccl_exporter.control.follow.follower import Follower
from ccl_exporter.control.follow.input_filter import InputFilter, InputSpec
from ccl_exporter.control.follow.limiter import FollowerState, SafeCurrentGuard
from ccl_exporter.control.follow.policy import Budget, Policy, Rules
from ccl_exporter.control.follow.sources import LatestValue
from ccl_exporter.control.plug_commands import active_override
from ccl_exporter.control.write import Written
from ccl_exporter.simulator.models import wallbox
from ccl_exporter.simulator.physics import Vehicle
from ccl_exporter.simulator.site import Site
from ccl_exporter.station.current_limit import MINIMUM_AMPERES, percent_for
from ccl_exporter.station.plug import Plug, Session
from ccl_exporter.tariff import window
from helpers.house import LARGEST, STEP, House, loads, roof
from helpers.plugs import Car
from helpers.support import Clock

SUPPLY = 60.0
"""Amperes of the one phase of the house."""

VOLTS = 230.0
WINDOW = window("00:30-04:30", "UTC")
EVERY = 2
_MODE3, _PREDUCTION = "Plug - Mode 3", "Plug - Mode 3.PREDUCTION"
_DAY = 86_400
_BEGIN = 1_790_035_200.0  # a midnight in UTC
_RULES = Rules("surplus", LARGEST, safe=6.1, supply=True)
_LESS_THAN_SUPPLY = 13_000.0


def whole_day(seed: int) -> House:
    """A day from midnight to midnight: a roof, and an oven, showers and all else below the supply."""
    chance = random.Random(f"whole {seed}")
    steps = _DAY // STEP
    day, load = roof(chance, 0.0, steps), loads(chance, 0.0, steps, evening=True)
    for hour in (chance.uniform(0.5, 4.0), chance.uniform(17.0, 22.0)):
        # An oven of 2.5 kW with a thermostat, and a shower besides; now and then in the cheap hours.
        for step in range(int(hour * 3600 / STEP), min(int((hour + 0.7) * 3600 / STEP), steps)):
            load[step] += 2500.0 if step % 48 < 30 else 0.0
        for step in range(int((hour + 0.3) * 3600 / STEP), int((hour + 0.4) * 3600 / STEP)):
            load[step] += 9000.0
    return House(0.0, day, [min(watts, _LESS_THAN_SUPPLY) for watts in load])


@dataclass
class Night:
    """What came of a night; watt-hours."""

    got: float
    could: float
    """The optimum with known loads and an immediate current."""


@dataclass
class Fortnight:
    """What came of all days; watt-hours, seconds."""

    nights: list[Night] = field(default_factory=list)
    sun: float = 0.0
    full: float = 0.0
    other: float = 0.0
    """Taken from the grid outside the cheap hours and the boosts."""
    exceeded: float = 0.0
    """The longest time above the supply while the machine runs."""
    starts: list[int] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    kills: int = 0

    def most_writes_an_hour(self) -> int:
        return max((sum(at <= other < at + 3600 for other in self.writes) for at in self.writes), default=0)


class BenchPlug:
    """The plug of a simulated charger, read and written without sockets, for `Follower`."""

    name, device, variable, largest = "EVSE.PLUG", _MODE3, _PREDUCTION, LARGEST

    def __init__(self, site: Site, state: FollowerState, writes: list[float], clock: Clock) -> None:
        self._site, self._state, self._writes, self._clock = site, state, writes, clock
        self._socket = site.model.places[0].plug

    def plug(self) -> Plug:
        with self._site.present():
            plug = self._socket
            percent, watts, amperes = int(plug.limits.reduction), plug.watts, round(plug.amperes, 2)
            seen = Car(percent, amperes, watts, plug.volts[0], 1, plug.under_way()).plug
            energy = plug.charge_energy_at(self._clock.at) * 3600
            session = Session(requested=plug.charge.requested, energy=energy)
            return replace(seen, vehicle_connected=plug.vehicle is not None, session=session)

    def percent(self) -> int:
        return self.plug().limits.percent

    def is_boosted(self, plug: Plug, now: float) -> bool:
        override = self._state.override(self.name)
        return active_override(override, plug, now) is not None

    def send(self, percent: int, urgent: bool = False) -> Written:
        self._site.force(_MODE3, [(_PREDUCTION, float(percent))])
        self._writes.append(self._clock.at)
        return Written("sent", _MODE3, {}, {}, {})


class Wish:
    """Days in a row with a car that is away on most of them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.clock = Clock(_BEGIN)
        self.chance = random.Random(f"fortnight {seed}")
        self.site = Site(wallbox, self.clock, seed, autopilot=False)
        self.socket, self.plug = self.site.plugs[0], self.site.model.places[0].plug
        self.result = Fortnight()
        self.said: list[str] = []
        self.state = FollowerState(folder, "http://192.0.2.10", now=self.clock, say=self.said.append)
        self._begin_follower()

    def _begin_follower(self) -> None:
        clock = self.clock
        plug = BenchPlug(self.site, self.state, self.result.writes, clock)
        self.latest = LatestValue(clock, clock)
        ages = [clock.at - at for at in self.result.writes if at > clock.at - 3600]
        guard = SafeCurrentGuard(self.state, _MODE3, _PREDUCTION, _RULES.at_end(plug.percent()))
        self.follower: Follower | None = Follower(
            plug,  # type: ignore[arg-type] # what a follower uses of it
            self.latest,
            InputFilter(InputSpec("import", "W", "surplus", (SUPPLY, "A"), 7000.0)),
            Policy(_RULES, Budget(60, [clock.at - age for age in ages])),
            guard,
            self.said.append,
            (WINDOW,),
            clock=clock,
            wall=clock,
        )
        self.follower.begin()

    def _kill(self) -> None:
        """What SIGKILL does: the last limit stays."""
        assert self.follower is not None
        self.follower.guard.release()
        self.follower, self.result.kills = None, self.result.kills + 1

    def _restore(self) -> None:
        """`charge follow --restore` of the unit."""
        self.site.force(_MODE3, [(_PREDUCTION, float(percent_for(_RULES.safe, LARGEST)))])

    def live(self, seed: int, boost: tuple[int, float | None, float | None] | None = None) -> None:
        """A day; a boost has its second, and lasts for seconds or an energy in joules."""
        house, chance, clock = whole_day(seed), self.chance, self.clock
        start = clock.at
        at_home = seed % 2 == 0 or boost is not None
        leaves, comes = chance.randint(25_200, 30_600), chance.randint(59_400, 68_400)
        machine = chance.random() < 0.3
        killed = chance.randrange(_DAY - 3600)
        restored, begun = (killed + 600.0, killed + 600) if machine else (killed + 2.0, killed + 8)
        above, starts, was_on = 0.0, 0, False
        night: tuple[float, float] | None = None
        events = {at - at % EVERY for at in (leaves, comes, killed, boost[0] if boost is not None else 0)}
        for second in range(0, _DAY, EVERY):
            if self.plug.vehicle is None and second % 60 and second not in events:
                # Nothing happens at a plug without a car.
                continue
            before = self.plug.energy_at(clock.at)
            now = clock.at = start + second
            self._events(second, at_home, leaves, comes)
            if boost is not None and second == boost[0]:
                energy = boost[2] + self.plug.charge_energy_at(now) * 3600 if boost[2] is not None else None
                self.state.set_override(BenchPlug.name, self.plug.charge.requested, boost[1], energy)
            if second == killed - killed % EVERY:
                self._kill()
            if self.follower is None and second >= restored:
                self._restore()
                restored = math.inf
            if self.follower is None and second >= begun:
                self._begin_follower()
            panels, load = house.at(second - EVERY)
            with self.site.present():
                watts, amperes = self.plug.watts, self.plug.amperes
                taken = self.plug.energy_at(now) - before if second else 0.0
            is_full = WINDOW.holds(now)
            boosted = self._boosted()
            self._count(taken, max(panels - load, 0.0) * EVERY / 3600, is_full or boosted)
            starts, was_on = starts + (amperes > 0 and not was_on and not is_full), amperes > 0
            panels, load = house.at(second)
            alive = self.follower is not None and not (machine and killed <= second < begun + 30)
            above = above + EVERY if alive and watts + load - panels > SUPPLY * self.plug.volts[0] else 0.0
            self.result.exceeded = max(self.result.exceeded, above)
            if self.follower is not None:
                self.latest.take(load - panels + watts)
                self.follower.step()
            if second == 1800:
                dead = range(killed, int(begun) + 60)
                night = self._taken(), self._oracle(house, dead)
            if second == 4.5 * 3600 and night is not None and self.plug.vehicle is not None:
                self.result.nights.append(Night(self._taken() - night[0], night[1]))
        self.result.starts.append(starts)
        clock.at = start + _DAY

    def _boosted(self) -> bool:
        override = self.state.override(BenchPlug.name)
        if override is None:
            return False
        seen = BenchPlug(self.site, self.state, [], self.clock).plug()
        return active_override(override, seen, self.clock.at) is not None

    def _events(self, second: int, at_home: bool, leaves: int, comes: int) -> None:
        if not at_home and second == leaves - leaves % EVERY:
            self.socket.unplug()
        if second == comes - comes % EVERY and self.plug.vehicle is None:
            self.socket.plug_in(self.chance.uniform(15_000, 80_000), LARGEST)
            self.socket.authorise()

    def _taken(self) -> float:
        return self.plug.vehicle.taken if self.plug.vehicle is not None else 0.0

    def _count(self, taken: float, sun: float, is_full: bool) -> None:
        from_sun = min(taken, sun)
        self.result.sun += from_sun
        if is_full:
            self.result.full += taken - from_sun
        else:
            self.result.other += taken - from_sun

    def _oracle(self, house: House, dead: Sequence[int]) -> float:
        """What the car could have in the window at most, without the time in which nothing runs."""
        if self.plug.vehicle is None:
            return 0.0
        car = Vehicle(self.plug.vehicle.need, self.plug.vehicle.most_amperes, self.plug.vehicle.taken)
        for second in range(1800, int(4.5 * 3600), STEP):
            panels, load = house.at(second)
            free = min(SUPPLY - (load - panels) / VOLTS, LARGEST)
            if free >= MINIMUM_AMPERES and second not in dead:
                car.taken += min(free, car.appetite()) * VOLTS * STEP / 3600
        return car.taken - self.plug.vehicle.taken
