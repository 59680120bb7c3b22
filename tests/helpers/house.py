"""A house with a roof, loads and a supply fuse, made from a seed, beside a simulated charger.

The control runs in simulated time: the real policy, the simulator's own physics, writes that act 2 to 5 s late.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ccl_exporter.control.follow.input_filter import InputFilter, InputSpec, InputValue
from ccl_exporter.control.follow.policy import Budget, Observation, Policy, Rules
from ccl_exporter.control.follow.sources import LatestValue
from ccl_exporter.simulator.models import wallbox
from ccl_exporter.simulator.site import Site
from helpers.plugs import Car
from helpers.support import Clock

STEP = 5
"""Seconds between two values of a house."""

LARGEST = 32.0
METER_DELAY = 1
_LOOK_BACK = 300.0
NEVER_FULL = 1e9
_NOON = 13.0
_MODE3, _PREDUCTION = "Plug - Mode 3", "Plug - Mode 3.PREDUCTION"


@dataclass(frozen=True)
class House:
    """Watts by `STEP`s since `begin` (hours): what the roof gives, and what everything but the car takes."""

    begin: float
    roof: Sequence[float]
    load: Sequence[float]

    @property
    def seconds(self) -> int:
        return len(self.load) * STEP

    def at(self, second: float) -> tuple[float, float]:
        step = min(int(second // STEP), len(self.load) - 1)
        return self.roof[step], self.load[step]


def solar_day(seed: int) -> House:
    """A day from 5 to 21 h: clear, with passing clouds, or overcast; clouds move in steps of 20 s."""
    chance = random.Random(f"solar {seed}")
    begin, end = 5.0, 21.0
    steps = int((end - begin) * 3600 / STEP)
    panels = roof(chance, begin, steps)
    return House(begin, panels, loads(chance, begin, steps, evening=False))


def roof(chance: random.Random, begin: float, steps: int) -> list[float]:
    """Watts of a roof on a day, from an hour on."""
    peak = chance.uniform(3200, 6000)
    half = chance.uniform(5.0, 7.8)  # hours from sunrise to noon
    kind = chance.choice(["clear", "passing", "passing", "broken", "overcast"])
    shade = _shade(chance, kind, steps)
    found = []
    for step in range(steps):
        hour = begin + step * STEP / 3600
        height = math.cos(min(abs(hour - _NOON) / half, 1.0) * math.pi / 2)
        found.append(peak * height**1.3 * shade[step])
    return found


def _shade(chance: random.Random, kind: str, steps: int) -> list[float]:
    """The part of the light that comes through."""
    mean_sun, mean_cloud = {
        "clear": (7200.0, 60.0),
        "passing": (600.0, 150.0),
        "broken": (200.0, 260.0),
        "overcast": (60.0, 3600.0),
    }[kind]
    cloudy = kind == "overcast"
    left = chance.expovariate(1 / (mean_cloud if cloudy else mean_sun))
    goal = value = 0.35 if cloudy else 1.0
    haze = 0.0
    found = []
    for step in range(steps):
        if step * STEP % 20 == 0:
            left -= 20
            if left <= 0:
                cloudy = not cloudy
                left = chance.expovariate(1 / (mean_cloud if cloudy else mean_sun))
                # Edges of clouds reflect: for a moment there may be more light than without them.
                goal = chance.uniform(0.15, 0.55) if cloudy else chance.uniform(0.9, 1.08)
            haze = 0.97 * haze + chance.gauss(0, 0.004)
            value += (goal - value) * 0.45
        found.append(max(value + haze, 0.02))
    return found


def loads(chance: random.Random, begin: float, steps: int, evening: bool) -> list[float]:
    """Watts of everything but the car, from an hour on."""
    load = [0.0] * steps
    base = chance.uniform(150, 350)

    def use(hour: float, minutes: float, watts: float, on: float = math.inf, off: float = 0.0) -> None:
        """Something switched on; with a thermostat it is on and off for so many seconds."""
        first = int((hour - begin) * 3600 / STEP)
        for step in range(max(first, 0), min(first + int(minutes * 60 / STEP), steps)):
            if off == 0 or (step - first) * STEP % (on + off) < on:
                load[step] += watts

    end = begin + steps * STEP / 3600
    for _ in range(chance.randint(4, 8)):
        use(chance.uniform(begin, end), chance.uniform(2, 4), chance.uniform(2000, 3000))
    for _ in range(chance.randint(1, 2)):
        use(chance.uniform(begin, end), 12, 2100)
    use(chance.uniform(begin + 0.3 * (end - begin), end), chance.uniform(30, 60), 2000, 90, 60)
    if evening:
        hob = chance.uniform(17.5, 19.5)
        use(
            hob, chance.uniform(25, 50), chance.uniform(1800, 3500), chance.uniform(15, 40), chance.uniform(10, 40)
        )
        use(hob + 0.1, chance.uniform(40, 70), 2300, 120, 80)
        for _ in range(chance.randint(2, 4)):
            use(chance.uniform(17, 22.5), chance.uniform(5, 12), chance.uniform(7500, 9500))
    fridge = chance.uniform(0, 1800)
    for step in range(steps):
        load[step] += base + 40 * chance.gauss(0, 1) + (110 if (step * STEP + fridge) % 2700 < 900 else 0)
        load[step] = max(load[step], 60.0)
    return load


def evening(seed: int, most: float) -> House:
    """An evening from 17 to 23 h that stays below `most` watts without a car: cooking, showers, a kettle."""
    chance = random.Random(f"evening {seed}")
    steps = 6 * 3600 // STEP
    load = loads(chance, 17.0, steps, evening=True)
    return House(17.0, [0.0] * steps, [min(watts, most) for watts in load])


@dataclass
class Feed:
    """What comes of a meter that measures whole watts every few seconds, and what is wrong with it.

    `by` is what says how old a number is: its `arrival` (MQTT, standard input), its `sample` (a query for a range,
    a file), or nothing: to any other `query` Prometheus gives the last sample of five minutes, as if it were new.
    In its `losses`, from one second of the house to another, nothing is measured, or with `is_frozen` the same
    again and again. `factor` is a wrong sign or a wrong scale.
    """

    latest: LatestValue
    every: int
    by: Literal["arrival", "sample", "query"] = "arrival"
    losses: Sequence[tuple[int, int]] = ()
    is_frozen: bool = False
    factor: float = 1.0
    _sample: tuple[float, float] | None = None

    def measure(self, second: int, now: float, watts: float) -> None:
        """A second of the meter, and of the source that is asked or hears from it."""
        is_lost = any(first <= second < last for first, last in self.losses)
        is_new = second % self.every == 0 and not (is_lost and not self.is_frozen)
        if is_new:
            kept = self._sample[0] if is_lost and self._sample is not None else round(watts * self.factor)
            self._sample = kept, now
        if self._sample is None or second % self.every:
            return
        watts, at = self._sample
        if self.by == "sample":
            self.latest.take(watts, at)
        elif self.by == "query" and now - at > _LOOK_BACK:
            self.latest.fail("the query gives no series, and one is needed")
        elif self.by == "query" or is_new:
            self.latest.take(watts)


@dataclass
class Result:
    """What came of a day; energies in watt-hours."""

    sun: float = 0.0
    grid: float = 0.0
    writes: list[float] = field(default_factory=list)
    starts: int = 0
    exceeded: float = 0.0
    """The longest time without a break above the supply, in seconds."""
    safe_after: list[float] = field(default_factory=list)
    """Seconds from each loss of the meter until the car had no more than the safe current."""
    unsafe: float = 0.0
    """Seconds with more than that once a minute of a loss is over."""
    exceeded_lost: float = 0.0
    """The longest time above the supply while the meter is lost, in seconds."""
    trusted: float = 0.0
    """The longest time without a break in which the car has more than the safe current, in seconds."""
    reasons: dict[str, int] = field(default_factory=dict)

    _above: float = 0.0
    _on: float = 0.0

    def note(self, second: int, step: int, is_exceeded: bool, is_safe: bool, feed: Feed | None) -> None:
        """A step of the day: whether the supply is exceeded, and whether the car has at most the safe current."""
        self._above = self._above + step if is_exceeded else 0.0
        self._on = 0.0 if is_safe else self._on + step
        self.exceeded, self.trusted = max(self.exceeded, self._above), max(self.trusted, self._on)
        for number, (first, last) in enumerate(feed.losses if feed is not None else ()):
            if not first < second <= last:
                continue
            self.exceeded_lost = max(self.exceeded_lost, self._above)
            if len(self.safe_after) == number and (is_safe or second == last):
                self.safe_after.append(second - first if is_safe else math.inf)
            if second > first + 60:
                self.unsafe += step * (not is_safe)

    def most_writes_an_hour(self) -> int:
        return max((sum(at <= other < at + 3600 for other in self.writes) for at in self.writes), default=0)


@dataclass
class Bench:
    """A simulated charger with a car that never fills, in a time that the bench moves."""

    seed: int
    most_amperes: float = LARGEST
    at: Clock = field(default_factory=lambda: Clock(1_790_035_200.0))

    def __post_init__(self) -> None:
        self.site = Site(wallbox, self.at, self.seed, autopilot=False)
        self.plug = self.site.model.places[0].plug
        self.plug.limits.reduction = 100.0
        self.site.plugs[0].plug_in(NEVER_FULL, self.most_amperes)
        self.site.plugs[0].authorise()

    def car(self) -> Car:
        with self.site.present():
            plug = self.plug
            volts = plug.volts[0]
            return Car(int(plug.limits.reduction), round(plug.amperes, 2), plug.watts, volts, 1, plug.under_way())

    def write(self, percent: int) -> None:
        self.site.force(_MODE3, [(_PREDUCTION, float(percent))])


class Days:
    """Days in a row with one follower and one car that never fills.

    The follower looks `every` so many seconds at what the house's meter measured a second before, in a world
    of seconds; where nothing hangs on seconds the world has steps of `STEP`, and the measurement is as old.
    """

    def __init__(
        self, rules: Rules, seed: int, every: int, supply: float | None = None, peak: float | None = None
    ) -> None:
        self.bench = Bench(seed)
        self.rules = rules
        self.policy = Policy(rules, Budget(60))
        peak = peak if peak is not None else 0.0 if supply else 7000.0
        self.input_filter = InputFilter(
            InputSpec("import", "W", rules.mode, (supply, "W") if supply else None, peak)
        )
        self.every = every
        self.supply = supply or math.inf
        self._midnight = self.bench.at.at

    def live(self, house: House, feed: Feed | None = None) -> Result:
        """The next day, by default with a feed that has nothing wrong with it."""
        bench, policy, result = self.bench, self.policy, Result()
        start = self._midnight + house.begin * 3600
        self._midnight += 86_400
        number: InputValue | None = None
        was_on, looked = bench.plug.amperes > 0, -math.inf
        step = STEP if self.supply == math.inf and feed is None else 1
        for second in range(0, house.seconds, step):
            before = bench.plug.energy_at(bench.at.at)
            now = bench.at.at = start + second
            roof, load = house.at(second - step)
            with bench.site.present():
                watts, amperes = bench.plug.watts, bench.plug.amperes
                taken = bench.plug.energy_at(now) - before if second else 0.0
            sun = min(taken, max(roof - load, 0.0) * step / 3600)
            result.sun += sun
            result.grid += taken - sun
            result.starts += amperes > 0 and not was_on
            was_on = amperes > 0
            roof, load = house.at(second)
            is_exceeded = watts + load - roof > self.supply
            result.note(second, step, is_exceeded, amperes <= self.rules.safe + 0.5, feed)
            if second - looked >= self.every:
                looked = second
                car = bench.car()
                known = self.input_filter.judge(number, now, car.plug)
                decision = policy.decide(Observation(now, int(now // 86_400), car.plug, *known))
                result.reasons[decision.reason] = result.reasons.get(decision.reason, 0) + 1
                if decision.percent is not None:
                    bench.write(decision.percent)
                    policy.wrote(now, decision.percent)
                    result.writes.append(now)
            if feed is not None:
                feed.measure(second + METER_DELAY, now, load - roof + watts)
                number = feed.latest.number
            elif step > 1 or (second + METER_DELAY) % self.every == 0:
                number = InputValue(load - roof + watts, now)
        return result


LOW, HIGH = 232.0, 239.6
"""The lowest and highest voltage of the simulated mains, each where it favours the optimum."""

STARTS = 8


def optimum(house: House, starts: int | None = STARTS) -> float:
    """The most sun that a car can take in a day without any energy from the grid, in watt-hours.

    With the whole day known in advance: the car takes nothing, or any current from 6 A to the rated current,
    on one phase, changed as often as needed, without delay; it starts at most `starts` times.
    """
    least, largest = 6 * LOW, LARGEST * HIGH
    count = STARTS if starts is None else starts
    off, on = [0.0] * (count + 1), [-math.inf] * (count + 1)
    free_of_charge = 0.0
    for roof, load in zip(house.roof, house.load, strict=True):
        sun = roof - load
        gain = min(sun, largest) * STEP / 3600 if sun >= least else -math.inf
        free_of_charge += max(gain, 0.0)
        for k in range(count, 0, -1):
            best = max(on[k], off[k - 1]) + gain
            off[k] = max(off[k], on[k])
            on[k] = best
    return free_of_charge if starts is None else max(*off, *on)
