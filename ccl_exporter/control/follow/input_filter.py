"""Checks whether the input of a follower is plausible, and converts it to the power available to the car. Pure.

An import is positive when the house buys and negative when it sells; an available power is positive.
"""

from collections import deque
from dataclasses import dataclass
from heapq import nsmallest
from math import inf, isfinite
from typing import Literal, NamedTuple

from ccl_exporter.control.follow.policy import Mode, phase_volts, watts_of
from ccl_exporter.station.plug import Plug

What = Literal["import", "available"]
Unit = Literal["W", "kW", "A"]

MOST = 100_000.0
"""Maximum plausible input in watts, of either sign."""

_SURE = 10.0
_MISTRUST = 600.0
_FROZEN, _FINE = 45.0, 2.0
"""An import that has changed by `_FINE` watts or less before is frozen if it repeats for `_FROZEN` seconds."""

_SLOWLY = 3.0
"""Without a supply a source may be slow: it is frozen after this many times its longest repetition, if longer."""

_MOVES = 2.0
"""Change of the car's current in amperes that must change an import."""

_STEPS, _STEP, _STEADY, _LOUD, _ECHO = 3, 460.0, 100.0, 4.0, 0.25
"""An import must show the share `_ECHO` of the last `_STEPS` changes of the car's power.

A change counts from one steady time, with at most `_STEADY` watts between reads, to the next. It must be at least
`_STEP` watts, and `_LOUD` times what the import itself moved at either time.
"""

_REVERSED, _ECHO_REVERSED = 2, 0.6
"""After `_REVERSED` changes, an import that went the other way by `_ECHO_REVERSED` of them has the wrong sign."""

_LATE = 8.0
_NEAR = 1.0
"""Maximum seconds between an input and a read of the car that counts as simultaneous."""

_SLACK, _SLACK_SHARE, _ROOF_SLACK, _ROOF_SHARE = 300.0, 0.1, 500.0, 1.1
_REMEMBERED = 120.0


@dataclass(frozen=True, slots=True)
class InputValue:
    """A value of the input as sent, and its time in seconds of the follower's clock."""

    value: float
    at: float


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the input means. Amperes are those of the phase with the highest current; watts are of all phases.

    `supply` is what the house may import, in W or in A of each phase, None without a limit; `roof` is the PV peak
    power in watts. An input is stale after `stale` seconds.
    """

    what: What
    unit: Unit
    mode: Mode
    supply: tuple[float, str] | None
    roof: float
    stale: float = 30.0


@dataclass(frozen=True, slots=True)
class _Steady:
    """Watts of a steady car, of the import then, and the spread of the import meanwhile."""

    car: float
    house: float
    spread: float


class Judgement(NamedTuple):
    """The watts available to the car by the mode (`free`) and by the supply (`headroom`).

    `free` is None if it is not known, and `reason` says why. `headroom` is also None without a supply.
    """

    free: float | None
    reason: str = ""
    headroom: float | None = None


class InputFilter:
    """Judges each input. Remembers the power of the car, as an input is older than the latest read of the car."""

    def __init__(self, meaning: InputSpec) -> None:
        self.meaning = meaning
        self._cars: deque[tuple[float, float]] = deque()
        self._good: InputValue | None = None
        self._since = float("-inf")
        self._last: InputValue | None = None
        self._doubt, self._doubted = "stale", float("-inf")
        self._contradicts_since: float | None = None
        self._mistrusted_until = float("-inf")
        self._first: InputValue | None = None
        self._finest, self._longest = inf, 0.0
        self._inputs: deque[tuple[float, float]] = deque()
        self._steady: _Steady | None = None
        self._steps: deque[tuple[float, float]] = deque(maxlen=_STEPS)
        self.watts: float | None = None

    def judge(self, number: InputValue | None, now: float, plug: Plug) -> Judgement:
        """The power available to the car, or the reason without one: `stale`, `implausible`, `contradiction`.

        `now` is in seconds of the follower's clock; `plug` was read at that time.
        """
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
        return self._free(good, plug)

    def _take(self, number: InputValue, now: float, plug: Plug) -> None:
        watts = self._in_watts(number.value, plug)
        if not isfinite(watts) or not self._possible(watts):
            self._doubt, self._doubted = "implausible", now
            return
        self.watts = watts
        if self._stands_still(number, plug):
            self._doubt, self._doubted, self._good = "stale", now, None
            return
        if self._contradicts(watts, number.at):
            self._doubt, self._doubted = "contradiction", now
            if self._contradicts_since is None:
                self._contradicts_since = now
            if now - self._contradicts_since >= _SURE:
                self._mistrusted_until = now + _MISTRUST
                self._steps.clear()
            return
        self._contradicts_since = None
        self._good = number
        self._since = number.at if self._first is None else self._first.at

    def _in_watts(self, value: float, plug: Plug) -> float:
        factor = {"W": 1.0, "kW": 1000.0, "A": phase_volts(plug) * plug.phases}[self.meaning.unit]
        return value * factor

    def _possible(self, watts: float) -> bool:
        meaning = self.meaning
        believed = meaning.what == "available" and meaning.mode != "supply"
        return -MOST <= watts <= (_ROOF_SHARE * meaning.roof + _ROOF_SLACK if believed else MOST)

    def _contradicts(self, watts: float, at: float) -> bool:
        """Whether the import is less than the car's power minus the PV peak, or does not change with the car's."""
        if self.meaning.what != "import":
            return False
        around = [taken for when, taken in self._cars if at - _LATE <= when <= at + 1] or [0.0]
        least = min(around)
        if watts + self.meaning.roof * _ROOF_SHARE < least * (1 - _SLACK_SHARE) - _SLACK:
            return True
        return self._moves_otherwise(watts, at)

    def _moves_otherwise(self, watts: float, at: float) -> bool:
        """Whether the import did not change with the last changes of the car, as with a wrong sign or unit."""
        if self.meaning.unit == "A" or not self.meaning.roof:
            # Amperes are those of the highest phase, which may be another one than the car's.
            # Without solar panels the level shows a wrong sign or unit, and the car changes when other loads do.
            return False
        self._inputs.append((at, watts))
        while self._inputs[0][0] < at - _LATE:
            self._inputs.popleft()
        around = [taken for when, taken in self._cars if when >= at - _LATE]
        if max(around) - min(around) > _STEADY:
            return False
        inputs = [value for _, value in self._inputs]
        now, before = _Steady(around[-1], watts, max(inputs) - min(inputs)), self._steady
        self._steady = now
        if before is not None:
            # If the house itself changes as much as the car, such as under clouds, the change shows nothing.
            loud = max(_STEP, _LOUD * max(before.spread, now.spread))
            if abs(now.car - before.car) >= loud:
                self._steps.append((now.car - before.car, now.house - before.house))
        own = sum(abs(car) for car, _ in self._steps)
        seen = sum(house if car > 0 else -house for car, house in self._steps)
        if len(self._steps) >= _REVERSED and seen < -_ECHO_REVERSED * own:
            return True
        return len(self._steps) == _STEPS and seen < _ECHO * own

    def _stands_still(self, number: InputValue, plug: Plug) -> bool:
        """Whether an import with fine steps repeats for too long, or, with a supply, although the car changed."""
        if self.meaning.what != "import":
            return False
        first = self._first
        if first is None or first.value != number.value:
            if first is not None:
                step = abs(self._in_watts(number.value, plug) - self._in_watts(first.value, plug))
                self._finest = min(self._finest, step)
                self._longest = max(self._longest, number.at - first.at)
            self._first = number
            return False
        if self._finest <= _FINE and number.at - first.at >= self._frozen_after:
            return True
        if self.meaning.supply is None:
            return False
        around = [taken for when, taken in self._cars if first.at <= when <= number.at - _LATE]
        moved = max(around, default=0.0) - min(around, default=0.0)
        return moved >= _MOVES * phase_volts(plug) * plug.phases

    @property
    def _frozen_after(self) -> float:
        return _FROZEN if self.meaning.supply is not None else max(_FROZEN, _SLOWLY * self._longest)

    def _free(self, good: InputValue, plug: Plug) -> Judgement:
        meaning, watts = self.meaning, self._in_watts(good.value, plug)
        if meaning.what == "available":
            return Judgement(watts, headroom=watts if meaning.mode == "supply" else None)
        # The meter measured the car as it was when this value first came. If the car changed about then, the
        # surplus counts with its higher power, and the supply with the lower.
        looks = self._nearest(max(self._since, good.at - meaning.stale))
        sun = max(looks) - watts
        if meaning.supply is None:
            return Judgement(sun)
        value, unit = meaning.supply
        supply = value * phase_volts(plug) * plug.phases if unit == "A" else value
        others = watts - min(looks[0], self._nearest(good.at)[0])
        if unit == "A" and meaning.unit != "A" and plug.phases > 1:
            # A sum does not say how the other loads are spread: at worst they are all on one phase.
            others = max(others, 0.0) * plug.phases
        headroom = supply - others
        return Judgement(headroom if meaning.mode == "supply" else sun, headroom=headroom)

    def _nearest(self, at: float) -> list[float]:
        """Watts of the car at the read nearest to a time, and at the second nearest if the nearest is not near."""
        looks = nsmallest(2, self._cars, key=lambda look: abs(look[0] - at))
        return [watts for _, watts in looks[: 1 if abs(looks[0][0] - at) <= _NEAR else 2]]
