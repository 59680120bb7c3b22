"""One step of a follower: read the charger and the input, decide, write; and the limit that it leaves behind."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import date
from time import monotonic, sleep, time

from ccl_exporter.control.follow.input_filter import InputFilter
from ccl_exporter.control.follow.limiter import FollowedPlug, SafeCurrentGuard
from ccl_exporter.control.follow.policy import (
    Decision,
    Full,
    Observation,
    Policy,
    amperes_of,
)
from ccl_exporter.control.follow.sources import LatestValue
from ccl_exporter.errors import AccessDenied, CclError, ChargerError, StateError, WriteRejected
from ccl_exporter.station.current_limit import amperes_left, percent_for
from ccl_exporter.station.plug import Plug
from ccl_exporter.station.remedies import LIFT
from ccl_exporter.tariff import Tariff, TimeWindow

SILENT = 20.0
"""Seconds after which the safe current is sent to a charger that cannot be read."""

_BLIND_AGAIN = 30.0
_LONGEST_PAUSE = 300.0
_LEAVE_AGAIN = 2.0

Say = Callable[[str], None]

SENTENCES = {
    "following": "the limit follows the input",
    "bridging": "a cloud passes, the car goes on with the minimum current",
    "full_hours": "the car has the full current in these hours",
    "boost": "the car has the full current, as `charge start --now` asked for",
    "below_minimum": "less than the minimum current is available",
    "no_vehicle": "no session is running",
    "stale": "the input is stale",
    "implausible": "the input is implausible",
    "contradiction": "the input contradicts the charger's own meter: check its sign, its unit and --pv-peak",
    "charger_unavailable": "the charger does not answer",
    "write_ignored": "the last write did not take effect",
    "limit_exceeded": "the supply is exceeded though the limit is low enough",
    "budget": "no write is left for this in this hour",
    "returning": "the input has just arrived",
    "stopping": "the command ends",
}
"""A sentence for each reason."""

_DETAILED = SENTENCES.keys() - {"following", "bridging", "full_hours", "boost", "below_minimum", "no_vehicle"}
"""The reasons that are reported with the failure of the input or the charger."""


@dataclass(frozen=True)
class Status:
    """The state of a follower for its metrics; None is not known.

    `target`, `limit` and `amperes` are in amperes, `number` (the input) and `free` in watts, `number_taken` is in
    Unix seconds.
    """

    reason: str = "returning"
    target: float | None = None
    limit: float | None = None
    amperes: float | None = None
    number: float | None = None
    number_taken: float | None = None
    free: float | None = None
    writes: int = 0
    failed_writes: int = 0
    writes_left: int = 0
    starts: int = 0


@dataclass
class Follower:
    """Follows one input with the limit of one plug; within `full_hours` the car gets the full current.

    `clock` is monotonic, `wall` gives Unix seconds.
    """

    plug: FollowedPlug
    latest: LatestValue
    input_filter: InputFilter
    policy: Policy
    guard: SafeCurrentGuard
    say: Say
    full_hours: Sequence[TimeWindow | Tariff] = ()
    dry_run: bool = False
    clock: Callable[[], float] = monotonic
    wall: Callable[[], float] = time
    status: Status = field(default_factory=Status)
    _silent_since: float | None = None
    _blind: float = float("-inf")
    _blind_tries: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _said: tuple[str, str] = ("", "")
    _planned: int | None = None
    _unkept: str = ""

    @property
    def safe(self) -> int:
        """The safe current as a reduction in per cent."""
        return percent_for(self.policy.rules.safe, self.plug.largest)

    def begin(self) -> None:
        """Store the limit to leave behind as a pending restore; raises `StateError` and `ChargerError`."""
        if not self.dry_run:
            self.guard.cover(self.plug.percent(), self.wall())

    def step(self) -> None:
        """Read charger and input, decide, write; a `ChargerError` is not raised, but reported if it lasts."""
        try:
            plug = self.plug.plug()
        except ChargerError as error:
            return self._silent(self.clock(), error)
        now = self.clock()
        self.guard.seen(plug.limits.percent)
        self._silent_since, self._blind_tries = None, 0
        known = self.input_filter.judge(self.latest.number, now, plug)
        decision = self.policy.decide(Observation(now, self._day(), plug, *known, full=self._full(plug)))
        self._show(now, plug, known.free, decision)
        if decision.percent is not None:
            of_supply = decision.reason in {"full_hours", "boost"}
            self._write(now, decision.percent, decision.urgent, known.headroom if of_supply else known.free)
        return None

    def shutdown(self, wait: float) -> bool:
        """Set the limit to leave behind, with attempts for about `wait` seconds.

        False if it did not take effect; then the restore stays pending.
        """
        self._reason("stopping")
        if self.dry_run:
            return True
        deadline = self.clock() + wait
        while True:
            try:
                written = self.plug.set(self.guard.at_end, wait / 2)
            except CclError as error:
                self.say(f"the limit to leave behind could not be set: {error}")
                if isinstance(error, AccessDenied | WriteRejected):
                    return False
                good = False
            else:
                good = written.outcome in ("done", "already")
                self._counts["writes"] += written.outcome != "already"
                if not good:
                    self.say("the limit to leave behind did not take effect")
            if good:
                try:
                    self.guard.release()
                except StateError as error:
                    self.say(f"the restore stays pending, though the limit is set: {error}")
                self.say(self._left())
                return True
            if self.clock() + _LEAVE_AGAIN >= deadline:
                return False
            sleep(_LEAVE_AGAIN)

    def _silent(self, now: float, error: ChargerError) -> None:
        """Send the safe current without a read once reads have failed for `SILENT` seconds, as it may arrive."""
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since < SILENT:
            return
        self._reason("charger_unavailable", str(error))
        self.status = replace(self.status, limit=None, amperes=None, free=None)
        pause = min(_BLIND_AGAIN * 2**self._blind_tries, _LONGEST_PAUSE)
        if now - self._blind >= pause and self.policy.budget.left(now) > 1:
            self._blind = now
            self._blind_tries += 1
            self._write(now, self.safe, True, None)

    def _write(self, now: float, percent: int, urgent: bool, free: float | None) -> None:
        power = f": {free / 1000:.2f} kW are free" if free is not None else ""
        if self.dry_run:
            if percent != self._planned:
                self._planned = percent
                self.say(f"would set the limit to {self._amperes(percent)}{power}")
            return None
        if not self._cover(percent) and not urgent:
            return None
        with ExitStack() as failing:
            failing.callback(self._count_failed)
            try:
                written = self.plug.send(percent, urgent)
            except CclError as error:
                # The write may have arrived.
                self.policy.wrote(now, percent)
                return self._reason("write_ignored", str(error))
            failing.pop_all()
        if written.outcome == "sent":
            self.policy.wrote(now, percent)
            self._counts["writes"] += 1
            self.say(f"the limit is to be {self._amperes(percent)}{power}")
        left = self.policy.budget.left(now)
        self.status = replace(self.status, writes=self._counts["writes"], writes_left=left)
        return None

    def _cover(self, percent: int) -> bool:
        """Store the pending restore before a write; False if it cannot be stored."""
        try:
            self.guard.cover(percent, self.wall())
        except StateError as error:
            if str(error) != self._unkept:
                self.say(f"the limit does not follow, only what cannot wait is written: {error}")
            self._unkept = str(error)
            return False
        self._unkept = ""
        return True

    def _count_failed(self) -> None:
        self._counts["failed"] += 1
        self.status = replace(self.status, failed_writes=self._counts["failed"])

    def _show(self, now: float, plug: Plug, free: float | None, decision: Decision) -> None:
        detail = self.latest.failure if decision.reason in _DETAILED else ""
        if decision.reason == "no_vehicle" and plug.enabled is False:
            detail = "the plug is out of service; `charge start` helps"
        self._reason(decision.reason, detail)
        number = self.latest.number
        self.status = Status(
            reason=decision.reason,
            target=decision.target,
            limit=plug.limits.allowed,
            amperes=amperes_of(plug),
            number=self.input_filter.watts,
            number_taken=self.wall() - (now - number.at) if number is not None else None,
            free=free,
            writes=self._counts["writes"],
            failed_writes=self._counts["failed"],
            writes_left=self.policy.budget.left(now),
            starts=self.policy.starts,
        )

    def _left(self) -> str:
        percent = self.guard.at_end
        why = "the safe current" if self.policy.rules.has_supply else "as it was before"
        left = f"{why}; `{LIFT}` lifts it" if percent else "no reduction"
        return f"the limit is left at {self._amperes(percent)}, {left}"

    def _full(self, plug: Plug) -> Full:
        """Why the car has the full current now, if it has."""
        now = self.wall()
        if any(hours.holds(now) for hours in self.full_hours):
            return "full_hours"
        return "boost" if self.plug.is_boosted(plug, now) else ""

    def _reason(self, reason: str, detail: str = "") -> None:
        """Report the reason for the limit when it changes."""
        self.status = replace(self.status, reason=reason)
        if (reason, detail) != self._said and not (reason == self._said[0] and not detail):
            self._said = reason, detail
            self.say(f"{reason}: {SENTENCES[reason]}{f' ({detail})' if detail else ''}")

    def _amperes(self, percent: int) -> str:
        return f"{amperes_left(percent, self.plug.largest):.2f} A (PREDUCTION {percent})"

    def _day(self) -> int:
        return date.fromtimestamp(self.wall()).toordinal()
