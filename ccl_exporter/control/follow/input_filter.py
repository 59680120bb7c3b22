"""Whether the number that a follower goes by can be believed, and the power that is free by it. Pure.

Sign: what the house imports is positive when it buys, negative when it sells; what is available is positive.
"""

from collections import deque
from dataclasses import dataclass
from math import isfinite
from typing import Literal, NamedTuple

from ccl_exporter.control.follow.policy import Mode, phase_volts, watts_of
from ccl_exporter.station.plug import Plug

What = Literal["import", "available"]
Unit = Literal["W", "kW", "A"]

MOST = 100_000.0
"""Watts that no house has."""

_SURE = 10.0
_MISTRUST = 600.0
_FROZEN, _MOVES = 60.0, 1000.0
_LATE = 8.0
_SLACK, _SLACK_SHARE, _ROOF_SLACK, _ROOF_SHARE = 300.0, 0.1, 500.0, 1.1
_REMEMBERED = 120.0


@dataclass(frozen=True, slots=True)
class InputValue:
    """What came: the value as sent and when it was so, in seconds of the follower's clock."""

    value: float
    at: float


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the number means. Amperes are those of the phase that has most; watts are of all phases.

    `supply` is what the house may import, in W or in A of each phase, None if nothing limits it; `roof` the most
    that it makes, in watts. A number is `stale` after so many seconds.
    """

    what: What
    unit: Unit
    mode: Mode
    supply: tuple[float, str] | None
    roof: float
    stale: float = 30.0


class Judgement(NamedTuple):
    """The watts that are `free` for the car by the mode, and by the supply (`headroom`); None is not known.

    `trouble` says why nothing is known; without a supply there is no headroom.
    """

    free: float | None
    trouble: str = ""
    headroom: float | None = None


class InputFilter:
    """Judges number by number; remembers what the car took, as a number is older than the look at the car."""

    def __init__(self, meaning: InputSpec) -> None:
        self.meaning = meaning
        self._cars: deque[tuple[float, float]] = deque()
        self._good: InputValue | None = None
        self._last: InputValue | None = None
        self._doubt, self._doubted = "stale", float("-inf")
        self._contradicts_since: float | None = None
        self._mistrusted_until = float("-inf")
        self._same: tuple[float, float, float, float] | None = None
        self.watts: float | None = None

    def judge(self, number: InputValue | None, now: float, plug: Plug) -> Judgement:
        """What is free for the car, or why nobody knows: stale, implausible, contradiction."""
        self._cars.append((now, watts_of(plug)))
        while self._cars[0][0] < now - _REMEMBERED:
            self._cars.popleft()
        if number is not None and number != self._last:
            self._last = number
            self._take(number, now, plug)
        if now < self._mistrusted_until:
            return Judgement(None, "contradiction")
        good = self._good
        if good is None or now - good.at > self.meaning.stale:
            return Judgement(None, self._doubt if now - self._doubted <= self.meaning.stale else "stale")
        return self._free(self._in_watts(good.value, plug), good.at, plug)

    def _take(self, number: InputValue, now: float, plug: Plug) -> None:
        watts = self._in_watts(number.value, plug)
        if not isfinite(watts) or not self._possible(watts):
            self._doubt, self._doubted = "implausible", now
            return
        self.watts = watts
        if self._contradicts(watts, number.at, now):
            self._doubt, self._doubted = "contradiction", now
            if self._contradicts_since is None:
                self._contradicts_since = now
            if now - self._contradicts_since >= _SURE:
                self._mistrusted_until = now + _MISTRUST
            return
        self._contradicts_since = None
        self._good = number

    def _in_watts(self, value: float, plug: Plug) -> float:
        factor = {"W": 1.0, "kW": 1000.0, "A": phase_volts(plug) * plug.phases}[self.meaning.unit]
        return value * factor

    def _possible(self, watts: float) -> bool:
        meaning = self.meaning
        believed = meaning.what == "available" and meaning.mode != "supply"
        return -MOST <= watts <= (_ROOF_SHARE * meaning.roof + _ROOF_SLACK if believed else MOST)

    def _contradicts(self, watts: float, at: float, now: float) -> bool:
        """Whether the house would import less than the car alone takes, or its import stands still meanwhile."""
        if self.meaning.what != "import":
            return False
        around = [taken for when, taken in self._cars if at - _LATE <= when <= at + 1] or [0.0]
        least = min(around)
        if watts + self.meaning.roof * _ROOF_SHARE < least * (1 - _SLACK_SHARE) - _SLACK:
            return True
        taken = self._cars[-1][1]
        if self._same is None or self._same[0] != watts:
            self._same = watts, now, taken, taken
            return False
        _, since, low, high = self._same
        self._same = watts, since, min(low, taken), max(high, taken)
        return now - since >= _FROZEN and max(high, taken) - min(low, taken) >= _MOVES

    def _free(self, watts: float, at: float, plug: Plug) -> Judgement:
        meaning = self.meaning
        if meaning.what == "available":
            return Judgement(watts, headroom=watts if meaning.mode == "supply" else None)
        # The meter saw the car as it was then.
        sun = min(self._cars, key=lambda when: abs(when[0] - at))[1] - watts
        if meaning.supply is None:
            return Judgement(sun)
        value, unit = meaning.supply
        headroom = sun + (value * phase_volts(plug) * plug.phases if unit == "A" else value)
        return Judgement(headroom if meaning.mode == "supply" else sun, headroom=headroom)
