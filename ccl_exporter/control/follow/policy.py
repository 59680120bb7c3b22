"""The policy of a follower: decides the current limit of a plug by the available power. Pure.

The policy follows the solar surplus or the capacity of the supply. A change of the limit is written only if it is
large enough for the writes that are left in this hour. Amperes are those of each phase.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import exp, inf
from statistics import fmean
from typing import Literal

from ccl_exporter.control.write import TAKEN_WITHIN
from ccl_exporter.station.current_limit import MINIMUM_AMPERES, amperes_left, minimum_current, percent_for
from ccl_exporter.station.plug import Plug

HOUR = 3600.0
_BURST = 600.0
_LEAST_RESERVE = 5
_USUAL_VOLTS = 230.0

Mode = Literal["surplus", "floor", "supply"]
"""Solar surplus; solar surplus, but never less than a floor; what the supply has left."""

Full = Literal["", "full_hours", "boost"]
"""Why the car gets the full current regardless of the solar surplus; empty if it does not."""


class Budget:
    """At most `most` writes in any hour, as each wears out the flash; `reserve` of them are for urgent writes.

    `written` are the monotonic times of earlier writes.
    """

    def __init__(self, most: int, written: Iterable[float] = ()) -> None:
        self.most = most
        self.reserve = max(most // 5, _LEAST_RESERVE)
        self._written = deque(sorted(written))

    def spend(self, now: float) -> None:
        self._written.append(now)

    def left(self, now: float) -> int:
        """Number of writes that are left in this hour."""
        while self._written and self._written[0] <= now - HOUR:
            self._written.popleft()
        return self.most - len(self._written)

    def strain(self, now: float) -> float:
        """How scarce writes are, from 0 (none was made) to 1.

        1: only the reserve is left, or the last ten minutes used a third of the others.
        """
        spendable = self.most - self.reserve
        spent = (self.most - self.left(now)) / spendable
        burst = sum(at > now - _BURST for at in self._written) / (2 * spendable * _BURST / HOUR)
        return min(max(spent, burst), 1.0)


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of a follower, in amperes and seconds. `largest` is the rated current of the plug.

    `least_on` and `least_off` are the minimum durations of charging and of a pause; a far too low surplus ends
    charging earlier, full hours and boosts end a pause earlier. `ramp` is the largest increase in one write.
    `supply`: the supply of the house limits the current in every mode.
    """

    mode: Mode
    largest: float
    floor: float = MINIMUM_AMPERES
    safe: float = 0.0
    least_on: float = 180.0
    least_off: float = 120.0
    starts_a_day: int = 8
    ramp: float = 16.0
    supply: bool = False

    @property
    def has_supply(self) -> bool:
        return self.supply or self.mode == "supply"

    def at_end(self, found: int) -> int:
        """The reduction to leave behind, in per cent, by the one `found` at the start.

        With a supply it is the safe current; otherwise `found`, or none if that is below the minimum current.
        """
        if self.has_supply:
            return percent_for(self.safe, self.largest)
        return found if amperes_left(found, self.largest) >= MINIMUM_AMPERES else 0


@dataclass(frozen=True, slots=True)
class Observation:
    """One read of a plug, and the input; state and reduction are known, and power and current while it charges.

    `free` is the power in watts that the car may take by the mode, None with the `reason` why it is not known;
    `headroom` is the power that the supply leaves the car, None without a supply.
    `now` is in monotonic seconds; `day` is a different number each day.
    """

    now: float
    day: int
    plug: Plug
    free: float | None
    reason: str = ""
    headroom: float | None = None
    full: Full = ""

    @property
    def cap(self) -> float:
        """The limit besides the reduction, in amperes; infinite if there is none or it was not read."""
        return inf if self.plug.limits.cap is None else self.plug.limits.cap


def amperes_of(plug: Plug) -> float:
    """The highest current of the phases; 0 if it is not known."""
    return plug.current or 0.0


def phase_volts(plug: Plug) -> float:
    """The mean voltage of the phases; 230 V if it is not known."""
    read = [volts for _, volts in plug.voltages.by_phase if volts is not None and volts > 0]
    return sum(read) / len(read) if read else _USUAL_VOLTS


def watts_of(plug: Plug) -> float:
    """The power of all phases in watts; by the highest current if the meter's power is not known."""
    return amperes_of(plug) * phase_volts(plug) * plug.phases if plug.power is None else plug.power


@dataclass(frozen=True, slots=True)
class Decision:
    """The reduction to write in per cent, None for no write, and the reason for the limit.

    `target` is the desired current in amperes, before ramp and budget. An urgent write may use the reserve.
    """

    percent: int | None
    target: float
    reason: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class _DesiredCurrent:
    amperes: float
    reason: str
    urgent: bool = False


_Series = deque[tuple[float, float]]
"""Times of reads and the amperes that were available then."""


class Policy:
    """Decides at each read; remembers what was available and what was written."""

    def __init__(self, rules: Rules, budget: Budget) -> None:
        self.rules = rules
        self.budget = budget
        self.least = minimum_current(rules.largest)
        self._seen: _Series = deque()
        self._headroom: _Series = deque()
        self._by_sun = self._calm = False
        self._before: float | None = None
        self._sent: tuple[int, float] | None = None
        self._earlier: int | None = None
        self._tries = 0
        self._on = False
        self._turned = float("-inf")
        self._day: int | None = None
        self._starts: list[float] = []
        self._account = _CREDIT
        self._of_late = -_WORST
        self._exceeded = 0.0
        self._well_from: float | None = None
        self.starts = 0

    def decide(self, seen: Observation) -> Decision:
        """The decision for a read; `seen.now` must not decrease from call to call."""
        elapsed = min(seen.now - self._before, 60.0) if self._before is not None else 0.0
        self._before = seen.now
        if seen.day != self._day:
            self._day = seen.day
            self._starts.clear()
            # A deficit of yesterday must not keep the car from the sun of today.
            self._account = max(self._account, 0.0)
        self._by_sun, self._calm = not seen.full, False
        limit = self._limit(seen)
        if self._on != (limit >= self.least):
            self._on, self._turned = limit >= self.least, seen.now
        wish = self._wish(seen, limit, elapsed)
        return self._weighed(seen, limit, wish)

    def wrote(self, now: float, percent: int) -> None:
        """Note that a write was sent, or may have been."""
        if self._sent is None or self._sent[0] != percent:
            self._earlier = self._sent[0] if self._sent is not None and self._tries else None
            self._tries = 0
        self._tries += 1
        on = amperes_left(percent, self.rules.largest) >= self.least
        if on and not self._on:
            if self._by_sun:
                self._starts.append(now)
            self.starts += 1
        if on != self._on:
            self._turned = now
        self._on = on
        self._exceeded = 0.0
        self._sent = percent, now
        self.budget.spend(now)

    # What is in force

    def _limit(self, seen: Observation) -> float:
        """The allowed current in amperes; while the last write may still take effect, the one that it sets."""
        return min(self._in_force(seen), seen.cap)

    def _in_force(self, seen: Observation) -> float:
        """What the reduction leaves in amperes, whatever the cap is."""
        percent = seen.plug.limits.percent
        if self._sent is not None and seen.now - self._sent[1] < self._acts_within(percent):
            percent = self._sent[0]
        return amperes_left(percent, self.rules.largest)

    def _acts_within(self, percent: int) -> float:
        """Seconds within which the last write must take effect; fewer if the one before it did so meanwhile."""
        return _OVERTAKEN if percent == self._earlier else TAKEN_WITHIN

    def _ignored(self, seen: Observation) -> bool:
        """Whether the last write did not take effect in time."""
        if self._sent is None:
            return False
        if self._sent[0] == seen.plug.limits.percent:
            self._tries = 0
            return False
        return seen.now - self._sent[1] >= self._acts_within(seen.plug.limits.percent)

    # The desired current

    def _wish(self, seen: Observation, limit: float, elapsed: float) -> _DesiredCurrent:
        rules = self.rules
        self._note(seen)
        if seen.full and not rules.has_supply:
            # Without a supply, full hours and boosts do not need the input.
            return self._by_mode(seen, limit, elapsed)
        if self._well_from is None:
            return _DesiredCurrent(rules.safe, seen.reason, urgent=True)
        free = self._headroom[-1][1] if rules.has_supply else inf
        if seen.now - self._well_from < _BACK_AFTER:
            if free < min(limit, rules.safe):
                return _DesiredCurrent(0.0, "below_minimum", urgent=True)
            known = min(free, self._seen[-1][1]) if seen.plug.is_under_way else 0.0
            return _DesiredCurrent(min(limit, max(rules.safe, known)), "returning")
        wish = self._by_mode(seen, limit, elapsed)
        if not rules.has_supply:
            return wish
        supply = self._supply(seen, limit, free, elapsed)
        if supply.amperes >= wish.amperes:
            return replace(wish, urgent=wish.urgent or supply.urgent)
        return replace(supply, reason=wish.reason) if supply.reason == "following" else supply

    def _note(self, seen: Observation) -> None:
        """Add the available current to the history, in amperes; clear the history while it is not known."""
        if seen.free is None:
            self._well_from = None
            self._seen.clear()
            self._headroom.clear()
            return
        if self._well_from is None:
            self._well_from = seen.now
        for known, watts in ((self._seen, seen.free), (self._headroom, seen.headroom)):
            if watts is not None:
                known.append((seen.now, watts / (phase_volts(seen.plug) * seen.plug.phases)))
                while known[0][0] < seen.now - _LONGEST_LOOK:
                    known.popleft()

    def _by_mode(self, seen: Observation, limit: float, elapsed: float) -> _DesiredCurrent:
        """The desired current before the supply limits it."""
        rules = self.rules
        if seen.full and seen.free is not None:
            self._worth(_mean(self._seen, seen.now, _FALLING), elapsed)
        if not seen.plug.is_under_way:
            return _DesiredCurrent(rules.safe, "no_vehicle")
        if seen.full:
            return _DesiredCurrent(rules.largest, seen.full)
        if rules.mode == "supply":
            return _DesiredCurrent(rules.largest, "following")
        if rules.mode == "floor":
            amperes = max(self._sun(seen, limit), rules.floor)
            return _DesiredCurrent(amperes, "following" if amperes > rules.floor else "below_minimum")
        return self._surplus(seen, limit, elapsed)

    def _sun(self, seen: Observation, limit: float) -> float:
        """The current of the solar surplus, from the minimum up; follows a fall quickly and a rise slowly."""
        falling = _mean(self._seen, seen.now, _FALLING)
        rising = _lowest(self._seen, seen.now, _RISING)
        margin = _MARGIN
        calm = _since(self._seen, seen.now - _CALM_LOOK)
        self._calm = max(calm) - min(calm) <= _CALM
        if self._calm:
            rising = _mean(self._seen, seen.now, _RISING)
            margin = _RICH_MARGIN if self._account > _RICH else _CALM_MARGIN
        sun = falling - margin if falling < limit else max(rising - margin, limit)
        return min(max(sun, self.least), self.rules.largest)

    def _surplus(self, seen: Observation, limit: float, elapsed: float) -> _DesiredCurrent:
        """The solar surplus; below the minimum current, bridged from the grid while that is worth it, else 0."""
        now = seen.now
        recent = _mean(self._seen, now, _FALLING)
        on = limit >= self.least
        if on:
            self._keep_account(seen, elapsed)
        worth = self._worth(recent, elapsed)
        deficit = max(-self._account, 0.0) / _DEFICIT_PER_AMPERE
        if on:
            if recent >= self.least:
                return _DesiredCurrent(self._sun(seen, limit), "following")
            if worth < deficit and (now - self._turned >= self.rules.least_on or worth < deficit - _HOPELESS):
                return _DesiredCurrent(0.0, "below_minimum", urgent=True)
            return _DesiredCurrent(self.least, "bridging")
        if recent < self.least or now - self._turned < self.rules.least_off or worth < self._bar(now) + deficit:
            return _DesiredCurrent(0.0, "below_minimum")
        return _DesiredCurrent(max(_lowest(self._seen, now, _RISING), self.least), "following")

    def _worth(self, free: float, elapsed: float) -> float:
        """Moving average of the worth of charging: amperes from the sun, minus weighted ones from the grid.

        Those from the grid are what the sun lacks to the minimum current.
        """
        sun = min(max(free, 0.0), self.rules.largest)
        gain = sun - _PRICE * max(self.least - sun, 0.0)
        gain = max(gain, -_WORST)
        self._of_late += (gain - self._of_late) * (1 - exp(-elapsed / _OF_LATE))
        return self._of_late

    def _keep_account(self, seen: Observation, elapsed: float) -> None:
        """Update the account in watt-hours: a share of the solar energy may be taken from the grid in clouds."""
        sun = min(watts_of(seen.plug), max(seen.free or 0.0, 0.0)) * elapsed / 3600
        grid = watts_of(seen.plug) * elapsed / 3600 - sun
        self._account = min(max(self._account + _SHARE * sun - grid, -_ACCOUNT), _ACCOUNT)

    def _bar(self, now: float) -> float:
        """The least worth for a start: higher after each recent start, infinite if none is left today."""
        recent = sum(at > now - _STARTS_OVER for at in self._starts)
        if len(self._starts) >= self.rules.starts_a_day:
            return float("inf")
        return _BAR + _BAR_GROWS * recent

    def _supply(self, seen: Observation, limit: float, free: float, elapsed: float) -> _DesiredCurrent:
        rules, now = self.rules, seen.now
        spare = max(_SPARE, _SPARE_SHARE * rules.largest)
        if amperes_of(seen.plug) > free:
            self._exceeded += elapsed
            settled = self._sent is None or now - self._sent[1] >= TAKEN_WITHIN
            if self._exceeded > TAKEN_WITHIN and settled and limit <= free:
                return _DesiredCurrent(0.0, "limit_exceeded", urgent=True)
            if limit > free:
                # With room for one more load, which could come before this write takes effect.
                return self._down(now, free - spare - _ONE_MORE_LOAD)
        else:
            self._exceeded = 0.0
        if not seen.plug.is_under_way:
            # It takes some seconds to notice that a car begins to charge, so it begins with little.
            return _DesiredCurrent(min(rules.safe, free), "no_vehicle", urgent=free < min(limit, rules.safe))
        if limit > free:
            if _highest(self._headroom, now, _SURE) < limit:
                return self._down(now, free - spare)
            return _DesiredCurrent(limit, "following")
        look = _STEADY if limit >= self.least else _STEADY_TO_START
        steady = _lowest(self._headroom, now, look) - spare
        if limit < self.least:
            if steady >= self.least and now - self._turned >= rules.least_off:
                return _DesiredCurrent(steady, "following")
            return _DesiredCurrent(0.0, "below_minimum")
        return _DesiredCurrent(max(min(steady, rules.largest), limit), "following")

    def _down(self, now: float, amperes: float) -> _DesiredCurrent:
        """An urgent cut; deeper when few writes are left, so that they suffice."""
        left = self.budget.left(now)
        if left <= _FEW:
            amperes = min(amperes, self.least) if left > _FEWER else 0.0
        return _DesiredCurrent(
            max(amperes, 0.0), "following" if amperes >= self.least else "below_minimum", urgent=True
        )

    # Whether it is worth a write

    def _weighed(self, seen: Observation, limit: float, wish: _DesiredCurrent) -> Decision:
        rules, now, plug = self.rules, seen.now, seen.plug
        wanted = wish.amperes
        if wanted > limit + rules.ramp:
            wanted = max(limit + rules.ramp, self.least)
        percent = percent_for(wanted, rules.largest)
        goal = min(amperes_left(percent, rules.largest), seen.cap)
        left = self.budget.left(now)
        leave = Decision(None, wish.amperes, wish.reason)
        if self._ignored(seen) and self._sent is not None:
            first = self._acts_within(plug.limits.percent)
            rest = min(first * 2 ** (self._tries - 1), _LONGEST_RETRY)
            if now - self._sent[1] < rest:
                return Decision(None, wish.amperes, "write_ignored")
        if goal == limit:
            # Under a cap the reduction does not matter, but the cap may be lifted at any moment.
            over = self._in_force(seen) - wanted
            is_late = rules.has_supply and over > _LEAST_DOWN and left > self.budget.reserve
            return Decision(percent, wish.amperes, wish.reason) if is_late else leave
        do = Decision(percent, wish.amperes, wish.reason, wish.urgent)
        if wish.urgent:
            return do if left > _LAST else Decision(None, wish.amperes, "budget")
        if left <= self.budget.reserve:
            return Decision(None, wish.amperes, "budget")
        worth = 1 - self.budget.strain(now)
        if goal < limit:
            if wish.reason == "no_vehicle":
                return do
            drawn = min(amperes_of(plug), limit) if plug.is_under_way else limit
            quick = _LEAST_DOWN + _MORE_DOWN * (1 - worth)
            return do if drawn - goal > quick or (limit - goal > 4 and worth > 0.5) else leave
        if goal < self.least or limit < self.least:
            return do
        if self._sent is not None and now - self._sent[1] < _RAMP_REST:
            return leave
        if plug.is_under_way and amperes_of(plug) < limit - _UNUSED:
            # A car that does not use its limit gets no higher one.
            return leave
        step = _SUPPLY_UP if rules.mode == "supply" or seen.full else _CALM_UP if self._calm else _LEAST_UP
        return do if goal - limit >= step + _MORE_UP * (1 - worth) else leave


def _lowest(seen: _Series, now: float, seconds: float) -> float:
    return min(_since(seen, now - seconds))


def _highest(seen: _Series, now: float, seconds: float) -> float:
    return max(_since(seen, now - seconds))


def _mean(seen: _Series, now: float, seconds: float) -> float:
    return fmean(_since(seen, now - seconds))


def _since(seen: _Series, begin: float) -> list[float]:
    return [free for at, free in seen if at >= begin]


# Tuned with the simulated days and evenings of tests/helpers/house.py. Seconds, amperes, watt-hours.
_LONGEST_LOOK = 180.0
_BACK_AFTER = 10.0
_FALLING, _RISING, _MARGIN = 8.0, 20.0, 0.4
_CALM, _CALM_LOOK, _CALM_MARGIN, _CALM_UP, _RICH, _RICH_MARGIN = 1.0, 120.0, 0.25, 0.3, 20.0, -0.05
_SHARE, _CREDIT, _ACCOUNT = 0.016, 0.0, 500.0
_PRICE, _DEFICIT_PER_AMPERE = 4.0, 25.0
_OF_LATE, _WORST, _HOPELESS = 300.0, 10.0, 3.0
_BAR, _BAR_GROWS, _STARTS_OVER = 1.0, 1.0, 7200.0
_LEAST_DOWN, _MORE_DOWN = 0.4, 1.2
_LEAST_UP, _SUPPLY_UP, _MORE_UP = 0.7, 2.0, 4.0
_UNUSED, _RAMP_REST = 1.5, 15.0
_SPARE, _SPARE_SHARE = 0.5, 0.03
_SURE, _ONE_MORE_LOAD = 10.0, 15.0
_STEADY, _STEADY_TO_START = 60.0, 120.0
_OVERTAKEN, _LONGEST_RETRY = 6.0, 300.0
_FEW, _FEWER, _LAST = 8, 5, 2
