"""Carrying a plan out in the foreground: start and end the charge by it, and plan anew when something changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import time

from ccl_exporter.control.plan.prices import Slot
from ccl_exporter.control.plan.schedule import Plan, cheapest
from ccl_exporter.control.plug_commands import Result
from ccl_exporter.control.wording import describe
from ccl_exporter.errors import CclError, ChargerError, UsageError
from ccl_exporter.station.catalogue import Activity
from ccl_exporter.station.plug import Plug

AGAIN = 60.0
"""Seconds until something that failed is tried again."""

_RARELY = 900.0
"""Seconds between two starts that no charge follows, at most: the time between them doubles up to this."""

_AT_THE_END = 600.0
"""Seconds after the time is over in which a charge that still goes on is tried to be ended."""

_ENDED = (Activity.STOPPING, Activity.ENDED)
"""What a plug does when a session has ended and the car is still there."""

_FULL = 0.05
"""Kilowatt-hours below which a need is met: the meter counts in tens of watt-hours."""

_CHANGED = 0.1
"""By how much a plan's energy must differ before it counts as another one."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted: kilowatt-hours by an instant, at a power, in kilowatts."""

    need: float
    by: float
    kilowatts: float


@dataclass
class Planner:
    """One plug, one goal. `prices` gives the slots as they are now; raises `UsageError` if they cannot be read.

    Later they may be unreadable for a while; if they are so at first there is no plan, and `step` raises it too.

    `start` and `stop` begin and end a charge.
    """

    goal: Goal
    prices: Callable[[], Sequence[Slot]]
    look: Callable[[], Plug]
    start: Callable[[], Result]
    stop: Callable[[], Result]
    show: Callable[[Plan], None]
    say: Say
    now: Callable[[], float] = time
    plan: Plan = field(default_factory=lambda: Plan((), 0.0))
    _slots: Sequence[Slot] = ()
    _charged: float = 0.0
    _seen: tuple[float | None, float] | None = None
    _connected: bool | None = None
    _said: str = ""
    _tried: float = float("-inf")
    _pause: float = AGAIN
    _charges: bool = False
    """Whether the car has charged since it came, or since the plug was last out of service."""

    def step(self) -> bool:
        """One round: look, plan anew if something has changed, start or end the charge. False once it is over."""
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
            self._charges, self._pause = False, AGAIN
        met = self.left <= _FULL
        if not met and now < self.goal.by:
            self._plan(now, seen)
            self._carry_out(self.plan.holds(now), now, seen)
            return True
        # A charge that nobody ends goes on through the dear hours, as the plug is put into service afterwards.
        if seen.is_under_way and now < self.goal.by + _AT_THE_END:
            self._carry_out(False, now, seen)
            return True
        charged = f"{self._charged:.2f}"
        self._tell(
            f"{charged} kWh are charged, all that was needed"
            if met
            else f"the time is over: {charged} of {self.goal.need:g} kWh are charged"
        )
        return False

    @property
    def left(self) -> float:
        """Kilowatt-hours that are still needed."""
        return self.goal.need - self._charged

    def _count(self, seen: Plug) -> None:
        """Add what was charged since the last look; another charge begins its count at nothing."""
        if seen.session.energy is None:
            return
        requested, energy, before = seen.session.requested, seen.session.energy / 3.6e6, self._seen
        if before is not None:
            same = before[0] == requested and energy >= before[1]
            self._charged += energy - before[1] if same else energy
        self._seen = requested, energy

    def _plan(self, now: float, seen: Plug) -> None:
        try:
            slots = self.prices()
        except UsageError as error:
            if not self._slots:
                raise
            self._tell(f"the prices cannot be used, the last ones stay: {error}")
            slots = self._slots
        came = self._connected is False and seen.vehicle_connected is True
        behind = abs(self.plan_left(now) - self.left) > _CHANGED + 0.02 * self.goal.need
        if slots == self._slots and not came and not behind:
            self._connected = seen.vehicle_connected
            return
        why = "the prices changed" if self._slots and slots != self._slots else "the car came" if came else ""
        first = not self._slots
        self._slots, self._connected = slots, seen.vehicle_connected
        self.plan = cheapest(slots, self.left, self.goal.kilowatts, now, self.goal.by)
        if not first:
            self.say(f"a new plan: {why or f'{self.left:.2f} kWh are left'}")
        self.show(self.plan)

    def plan_left(self, now: float) -> float:
        """Kilowatt-hours that the plan still has ahead, with what it could not place."""
        ahead = sum(
            piece.kilowatts * (piece.end - max(piece.begin, now)) / 3600
            for piece in self.plan.pieces
            if piece.end > now
        )
        return ahead + self.plan.missing

    def _carry_out(self, wanted: bool, now: float, seen: Plug) -> None:
        if wanted == (seen.is_under_way or (seen.vehicle_connected is False and seen.enabled is True)):
            return None
        if not wanted and seen.enabled is False:
            return None
        if wanted and self._charges and seen.activity in _ENDED:
            return self._tell(f"the car or its driver ended the charge, it is not begun again: {describe(seen)}")
        if now - self._tried < (self._pause if wanted else AGAIN):
            return None
        self._tried = now
        try:
            result = self.start() if wanted else self.stop()
        except CclError as error:
            # Also what is no fault of the charger, such as a full disk, must not end the night here.
            return self._tell(f"it is tried again in a minute: {error}")
        self._charges = self._charges or result.seen.is_charging
        if result.outcome in ("done", "already"):
            self._tried, self._pause = float("-inf"), AGAIN
        elif wanted and result.outcome == "not_taken":
            self._pause = min(2 * self._pause, _RARELY)
        return self._tell(result.says)

    def _tell(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self.say(sentence)
