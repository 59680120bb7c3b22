"""Carry out a plan in the foreground: start and end the charge by it, and plan again when something changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from time import time

from ccl_exporter.control.night import FAILED, RESTARTS
from ccl_exporter.control.plan.prices import Slot, format_instant
from ccl_exporter.control.plan.schedule import FULL, LEAST_BLOCK, Plan, below, cheapest, is_met
from ccl_exporter.control.plug_commands import Result
from ccl_exporter.control.state import PlanProgress
from ccl_exporter.control.wording import describe
from ccl_exporter.errors import CclError, ChargerError, UsageError
from ccl_exporter.station.catalogue import Activity
from ccl_exporter.station.plug import Plug

AGAIN = 60.0
"""Seconds until something that failed is tried again."""

_RARELY = 900.0
"""Seconds between two starts in vain, at most: the time between them doubles up to this."""

_AT_THE_END = 600.0
"""Seconds after the time is over in which a charge that still goes on is tried to be ended."""

_AHEAD = 2 * 86_400.0
"""Seconds that a plan without an end looks ahead."""

_CHANGED = 0.1
"""By how much a plan's energy must differ before it counts as another one."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Goal:
    """The goal: kilowatt-hours by an instant (Unix seconds), at a power in kW, in blocks of `least` seconds.

    Without a need the car charges in every hour that is cheaper than `below`.
    """

    need: float | None
    by: float
    kilowatts: float
    least: float = LEAST_BLOCK
    below: float = inf

    @property
    def deadline(self) -> float | None:
        """`by` as others have it; None if it never comes."""
        return self.by if self.by < inf else None

    def plan(self, slots: Sequence[Slot], left: float, now: float, charging: bool = False) -> Plan:
        """The plan from `now` on for the kilowatt-hours that are `left`."""
        if self.need is None:
            return below(slots, self.below, self.kilowatts, now, min(self.by, now + _AHEAD))
        return cheapest(slots, left, self.kilowatts, now, self.by, self.least, charging)


@dataclass(frozen=True, slots=True)
class PlanStatus:
    """The state of a planner: kilowatt-hours, Unix seconds; None where there is none."""

    need: float | None
    charged: float
    by: float | None
    next_start: float | None
    feasible: bool


@dataclass
class Planner:
    """One plug, one goal. `prices` gives the slots as they are now; raises `UsageError` if they cannot be read.

    Later they may be unreadable for a while; if they are so at first, and there are no `slots` of an earlier
    planner, there is no plan, and `step` raises it too.

    `start` and `stop` begin and end a charge; `keep` stores what was charged, for a planner that goes on after a
    kill and is given it as `progress`. `clock` words an instant for a person. `boost` says why a charge is left
    alone though the plan would end it, empty if nothing keeps the planner from that.
    """

    goal: Goal
    prices: Callable[[], Sequence[Slot]]
    look: Callable[[], Plug]
    start: Callable[[], Result]
    stop: Callable[[], Result]
    show: Callable[[Plan], None]
    say: Say
    now: Callable[[], float] = time
    keep: Callable[[PlanProgress], None] = lambda progress: None
    progress: PlanProgress | None = None
    clock: Callable[[float], str] = format_instant
    plan: Plan = field(default_factory=lambda: Plan(()))
    slots: Sequence[Slot] | None = None
    boost: Callable[[Plug], str] = lambda seen: ""
    _is_planned: bool = False
    _charged: float = 0.0
    _seen: tuple[float | None, float] | None = None
    _is_doubted: bool = False
    _connected: bool | None = None
    _said: str = ""
    _waits: str = ""
    _tried: float = float("-inf")
    _pause: float = AGAIN
    _restarts: int = 0
    _rest: float = inf
    """Kilowatt-hours that were left when they were last planned for as a rest."""
    _charges: bool = False
    """Whether the car has charged since it came, or since the plug was last out of service."""

    def __post_init__(self) -> None:
        kept = self.progress
        if kept is not None:
            self._charged = kept.charged
            self._seen = (kept.requested, kept.energy) if kept.energy is not None else None

    def step(self) -> bool:
        """Read the plug, plan again if something changed, start or end the charge; False once the plan is over."""
        now = self.now()
        try:
            seen = self.look()
        except ChargerError as error:
            self._tell(f"the charger cannot be read, the plan stays: {error}")
            return now < self.goal.by + _AT_THE_END
        self._count(seen)
        if seen.activity is Activity.UNKNOWN:
            # What it does is not known, so nothing is written.
            self._tell(f"nothing is written: {describe(seen)}")
            return now < self.goal.by + _AT_THE_END
        if seen.is_charging:
            self._charges = True
        elif seen.vehicle_connected is False or seen.enabled is False:
            self._charges, self._pause, self._restarts = False, AGAIN, 0
        # A planner that has no plan yet knows of no charge that is ahead.
        has_planned = self._is_planned or not seen.is_under_way
        has_enough = self.left <= FULL or (self.is_met and has_planned and self.plan.turns_next(now) is None)
        if not has_enough and now < self.goal.by:
            self._plan(now, seen)
            wanted = self.plan.holds(now)
            if wanted or self._may_stop(now):
                self._carry_out(wanted, now, seen)
            self._tell_next(wanted, now)
            self._keep()
            return True
        # A charge that is not ended goes on through the dear hours, as the plug is put into service afterwards.
        if seen.is_under_way and now < self.goal.by + _AT_THE_END:
            self._carry_out(False, now, seen)
            return True
        needed = f" of {self.goal.need:g}" if self.goal.need is not None else ""
        why = "the need is met" if has_enough else "the time is over"
        self._tell(f"{why}: {self._charged:.2f}{needed} kWh are charged")
        self._keep(is_over=True)
        return False

    @property
    def left(self) -> float:
        """Kilowatt-hours that are still needed."""
        return inf if self.goal.need is None else self.goal.need - self._charged

    @property
    def is_met(self) -> bool:
        """Whether the car has what it needs, but for so little that no charge is begun for it."""
        return self.goal.need is not None and is_met(self.goal.need, self._charged)

    @property
    def status(self) -> PlanStatus:
        now, goal = self.now(), self.goal
        begins = (begin for begin, _ in self.plan.blocks if begin > now and self.left > FULL)
        return PlanStatus(goal.need, self._charged, goal.deadline, next(begins, None), self.plan.missing <= FULL)

    def _count(self, seen: Plug) -> None:
        """Add what was charged since the last read; another session begins its count at nothing.

        It counts from its second read on unless it is newer: one implausible read must not count a session twice.
        """
        if seen.session.energy is None:
            return
        requested, energy, before = seen.session.requested, seen.session.energy / 3.6e6, self._seen
        if before is not None:
            is_same = before[0] == requested and energy >= before[1]
            is_newer = before[0] is not None and requested is not None and requested > before[0]
            self._is_doubted = not (is_same or is_newer or self._is_doubted)
            if self._is_doubted:
                return
            self._charged += energy - before[1] if is_same else energy
        self._seen = requested, energy

    def _keep(self, is_over: bool = False) -> None:
        """Store what was charged, and what is next, when it has changed by so much that it matters."""
        requested, energy = self._seen or (None, None)
        blocks = [] if is_over else [*map(list, self.plan.blocks)]
        fresh = PlanProgress(self.goal.need, self.goal.deadline, self._charged, requested, energy, blocks)
        old = self.progress
        moved = old is None or (old.requested, old.blocks) != (requested, fresh.blocks)
        if moved or old is None or is_over or self._charged - old.charged >= FULL:
            try:
                self.keep(fresh)
            except CclError as error:
                self._tell(f"what was charged could not be stored: {error}")
            else:
                self.progress = fresh

    def _plan(self, now: float, seen: Plug) -> None:
        first = not self._is_planned
        try:
            slots = self.prices()
        except UsageError as error:
            if self.slots is None:
                raise
            self._tell(f"the prices cannot be used, the last ones stay: {error}")
            slots = self.slots
        came = self._connected is False and seen.vehicle_connected is True
        # Without a need the hours of now are planned for as they come.
        ahead = self.goal.need is None and self.plan.turns_next(now) is None
        behind = self.goal.need is not None and abs(self.plan_left(now) - self.left) > self._tolerance
        if not behind and self._has_rest(now):
            behind, self._rest = True, self.left
        if slots == self.slots and not (first or came or behind or ahead):
            self._connected = seen.vehicle_connected
            return
        why = "the prices changed" if not first and slots != self.slots else "the car came" if came else ""
        before = self.plan
        self.slots, self._is_planned, self._connected = slots, True, seen.vehicle_connected
        self.plan = self.goal.plan(slots, self.left, now, seen.is_under_way)
        if first or why or self.plan.blocks != before.blocks:
            if not first:
                self.say(f"a new plan: {why or f'{self.left:.2f} kWh are left'}")
            self.show(self.plan)

    @property
    def _tolerance(self) -> float:
        return _CHANGED + 0.02 * (self.goal.need or 0.0)

    def _has_rest(self, now: float) -> bool:
        """Whether nothing is ahead, though a charge in the time that is left would be worth its start.

        At least half of the last rest must have come since, so that a car that takes none is not started for ever.
        """
        need = self.goal.need
        if need is None or self.plan.turns_next(now) is not None or self.left > self._rest / 2:
            return False
        return not is_met(need, need - min(self.left, self.goal.kilowatts * (self.goal.by - now) / 3600))

    def plan_left(self, now: float) -> float:
        """Kilowatt-hours of the plan after `now`, with those that it could not place."""
        ahead = sum(
            piece.kilowatts * (piece.end - max(piece.begin, now)) / 3600
            for piece in self.plan.pieces
            if piece.end > now
        )
        return ahead + self.plan.missing

    def _may_stop(self, now: float) -> bool:
        """Whether a charge may be kept from running: a need takes a plan for it, else the price must be known."""
        if self.goal.need is None:
            return any(slot.begin <= now < slot.end for slot in self.slots or ())
        return bool(self.plan.pieces)

    def _tell_next(self, charges: bool, now: float) -> None:
        """Say what is next, when that changes."""
        turns = self.plan.turns_next(now)
        left = "" if self.goal.need is None else f"{max(self.left, 0.0):.2f} kWh are left"
        if charges:
            says = ""
        elif turns is not None:
            says = f"next: a charge from {self.clock(turns)}" + (f", {left}" if left else "")
        else:
            says = "next: prices are awaited" + (f", {left}" if left else "")
        if says.partition(",")[0] != self._waits:
            self._waits = says.partition(",")[0]
            if says:
                self.say(says)

    def _carry_out(self, wanted: bool, now: float, seen: Plug) -> None:
        if wanted == (seen.is_under_way or (seen.vehicle_connected is False and seen.enabled is True)):
            return None
        if not wanted and seen.enabled is False:
            return None
        if not wanted and (boosted := self.boost(seen)):
            return self._tell(boosted)
        if wanted and seen.activity is Activity.STOPPING:
            # While a session ends, the charger still reports the stop reason of the one before.
            return self._tell(f"the session is ending, the plan waits: {describe(seen)}")
        is_again = wanted and self._charges and seen.activity is Activity.ENDED
        if is_again and seen.stop_reason not in FAILED:
            return self._tell(f"the car or its driver ended the charge, it is not begun again: {describe(seen)}")
        if is_again and self._restarts >= RESTARTS:
            return self._tell(f"the session failed {RESTARTS + 1} times, it is not begun again: {describe(seen)}")
        # A try in the future is one from before the clock was set back.
        if 0 <= now - self._tried < (self._pause if wanted else AGAIN):
            return None
        self._tried = now
        try:
            result = self.start() if wanted else self.stop()
        except CclError as error:
            # Also what is no fault of the charger, such as a full disk, must not end the night here.
            return self._tell(f"the {'start' if wanted else 'stop'} failed and is tried again: {error}")
        self._charges = self._charges or result.seen.is_charging
        if result.outcome in ("done", "already") and not is_again:
            self._tried, self._pause = float("-inf"), AGAIN
        elif is_again or (wanted and result.outcome == "not_taken"):
            self._restarts += is_again
            self._pause = min(2 * self._pause, _RARELY)
        return self._tell(result.says)

    def _tell(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self.say(sentence)
