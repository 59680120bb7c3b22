"""Sends the batches of a queue to its database, one request a step; a refused request does not block new readings.

New batches are sent in order, in few large requests. The batches of a refused request are in question: they stay
in the queue, new batches overtake them, and a bounded part of each interval is spent to find their bad lines
(`bisection`). While the database accepts no newest reading of any charger, nothing is set aside.
"""

import logging
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import Protocol, TypeVar

from ccl_exporter.clock import SYSTEM, Clock
from ccl_exporter.outputs.influxdb.bisection import Bisection
from ccl_exporter.outputs.influxdb.client import (
    MOST_BYTES,
    Accepted,
    Outcome,
    Rejected,
    RequestTooLarge,
    RetryLater,
)
from ccl_exporter.outputs.influxdb.line_protocol import charger_of, milliseconds_of, names_of
from ccl_exporter.outputs.influxdb.spool import Batch, RefusedLine, Spool

log = logging.getLogger(__name__)

POINTS_AT_ONCE = 10_000
"""Maximum number of points in a request, as InfluxDB 3 recommends."""

LONGEST_REST = 60.0
"""Maximum backoff in seconds after failed requests: doubled from 1 s, with full jitter. `Retry-After` is added."""

TRIES = 3
"""Number of consecutive errors after which the lines of a request may be their cause.

The sender then tries another request: a database that restarts or is overloaded fails that one too.
"""

MOST_SORTING = 100
"""Maximum number of requests per interval that search for bad lines."""

LONGEST_SORTING = 10.0
"""Seconds of requests per interval after which no further one searches for bad lines."""

_LOOK_AT_AGE = 30.0  # seconds after which an idle sender checks whether batches are too old
_MOST_NAMED = 50  # fields in one log line
_MOST_REASONS = 5  # groups of fields in one log line


class Database(Protocol):
    """A database to write lines to. No method raises for a failure of the network or the server."""

    def check(self) -> Outcome:
        """`Accepted` if the database accepts writes."""

    def advice(self) -> str:
        """A sentence if the server has another version than the configured one, else empty."""

    def write(self, lines: Sequence[str], most_seconds: float = inf) -> Outcome:
        """Send lines in one request, within `most_seconds` and the timeout of the database."""


_Result = TypeVar("_Result")
_Course = Generator[float, None, _Result]
"""A generator that runs over several steps: yields the seconds until the next step, 0 after each request."""


@dataclass(slots=True)
class _Incident:
    """What was set aside since the first refusal."""

    reason: str
    points: int = 0
    first: float = inf
    last: float = -inf
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    """The first reason for each measurement and field or variable; for whole lines the field is empty."""

    def add(self, refused: Sequence[RefusedLine], points: int) -> None:
        self.points += points
        for item in refused:
            self.names.setdefault(names_of(item.line), item.reason)
            at = milliseconds_of(item.line)
            if at is not None:
                self.first, self.last = min(self.first, at / 1000), max(self.last, at / 1000)

    def text(self, kept: int) -> str:
        if not self.points:
            return "everything that was refused has been accepted since"
        span = "" if self.last < self.first else f" of {_date(self.first)} to {_date(self.last)}"
        groups: dict[tuple[str, str], list[str]] = {}
        for (measurement, name), reason in list(self.names.items())[:_MOST_NAMED]:
            group = (measurement, reason) if name else ("", "")
            groups.setdefault(group, []).append(name or measurement)
        parts = [f"{self.points} {'point' if self.points == 1 else 'points'}{span} set aside"]
        parts.append(f"{kept} refused {'line is' if kept == 1 else 'lines are'} kept in the table `refused`")
        for (measurement, reason), names in list(groups.items())[:_MOST_REASONS]:
            if not measurement:
                parts.append(f"lines of {', '.join(names)} are refused: {self.reason}")
            else:
                are = "is" if len(names) == 1 else "are"
                parts.append(f"{', '.join(names)} of {measurement} {are} refused: {reason}")
        named = sum(len(names) for names in list(groups.values())[:_MOST_REASONS])
        if named < len(self.names):
            parts.append(f"and {len(self.names) - named} more")
        return "; ".join(parts)


class QueueSender:
    """Sends the batches of `spool` to `database`; the log calls it by `name` and `url`.

    `interval` is the number of seconds between two reads of a charger. An exception in a step loses no batch: a
    batch is deleted only after an outcome, and is sent again until then.
    """

    def __init__(
        self, name: str, url: str, spool: Spool, database: Database, clock: Clock = SYSTEM, interval: float = 15.0
    ) -> None:
        self._name = name
        self._url = url
        self._spool = spool
        self._database = database
        self._clock = clock
        self._interval = interval
        self._now = 0.0
        self._sorting = Bisection()
        self._points = POINTS_AT_ONCE
        self._passed = 0  # id of the last batch that was sent or skipped; those left up to it are in question
        self._has_overtaken = False  # whether newest readings were refused while others were being divided
        self._due = -inf  # when new batches are sent
        self._search_at = -inf
        self._searches = 0
        self._slot = -inf  # the begin of an interval, and the requests and seconds that the search has used of it
        self._slot_requests = 0
        self._slot_seconds = 0.0
        self._needed = 0.0  # seconds of the last request of new batches
        self._failure: str | None = ""
        self._advised = ""
        self._failures = 0  # consecutive, of new batches
        self._sort_failures = 0  # consecutive, of batches in question
        self._has_poison = False
        self._raised: Exception | None = None
        self._incident: _Incident | None = None
        self._course = self._run()
        self._errors_alone = 0  # times that a single line got errors and another request did not
        self.refusals = 0
        """Number of requests that were refused, for their lines or their size."""
        self.last_success: float | None = None
        """When the database last accepted points, in Unix seconds."""
        self.send_seconds: float | None = None
        """Duration of the last write, in seconds."""

    def step(self, now: float) -> float:
        """Send at most one request; returns the seconds until the next step. `now` is in monotonic seconds.

        Raises what the database's client raised unexpectedly; the lines of that request are tried again.
        """
        self._now = now
        try:
            pause = next(self._course)
        except BaseException:
            self._course = self._run()
            raise
        if self._raised is not None:
            error, self._raised = self._raised, None
            raise error
        return pause

    # A step goes from one `yield` to the next

    def _run(self) -> _Course[None]:
        while not self._spool.is_open:
            yield _LOOK_AT_AGE
        self._say(self._database.check())
        yield 0.0
        yield from self._advise()
        while True:
            if self._now >= self._due and (new := self._spool.take(self._points, self._passed, MOST_BYTES)):
                yield from self._send(new)
            elif self._is_something_in_question() and self._may_sort():
                yield from self._sort()
            else:
                yield self._pause()

    def _send(self, batches: Sequence[Batch]) -> _Course[None]:
        """Send new batches; those of a refused request are in question from then on."""
        are_newest = not self._spool.take(1, batches[-1].id)
        lines = self._sorting.without_suspects(batches)
        outcome = self._ask(lines, inf) if lines else Accepted()
        yield 0.0
        self._failures = self._failures + 1 if isinstance(outcome, RetryLater) else 0
        if isinstance(outcome, RetryLater):
            self._say(outcome)
            if not (yield from self._is_about_the_lines(outcome, len(lines), self._failures)):
                yield from self._rest(outcome.wait, self._failures)
                return
            outcome = Rejected(outcome.reason)
        if isinstance(outcome, RequestTooLarge) and len(batches) > 1:
            self._points = max(len(lines) // 2, 1)
            return
        self._passed = batches[-1].id
        self._due = self._now + self._interval / 2 if are_newest else self._now
        if isinstance(outcome, Accepted):
            self._points = min(self._points * 2, POINTS_AT_ONCE)
            if lines:
                self._needed = self.send_seconds or 0.0
                self._succeeded()
            self._sorting.accepted(batches, are_newest)
        else:
            if isinstance(outcome, Rejected):
                yield from self._refused(outcome, len(lines))
            if self._sorting.is_busy_with_newest:
                self._has_overtaken = True
            elif self._sorting.witness and are_newest:
                if self._sorting.size > 2 * POINTS_AT_ONCE:
                    self._sorting.give_back()
                self._sorting.passed(batches)
                self._sorting.add(batches, outcome, are_newest=True)
            else:
                # The newest readings show whether only these lines are bad; batches between are not sent in vain.
                self._skip_to_newest()
        self._settle()

    def _sort(self) -> _Course[None]:
        """Send one request of the search for bad lines."""
        sorting = self._sorting
        if self._has_overtaken and not sorting.is_busy_with_newest:
            # Newer batches go before older ones.
            self._has_overtaken = False
            sorting.give_back()
        if sorting.has_to_confirm:
            yield from self._confirm()
        elif lines := sorting.request():
            yield from self._divide(lines)
        else:
            if not sorting.is_idle:
                self._give_up()
            elif sorting.witness:
                # The newest first: a database with a retention period refuses the old ones.
                self._load(self._spool.newest(self._points, self._passed))
            else:
                self._search()
            yield 0.0

    def _confirm(self) -> _Course[None]:
        outcome = self._sort_by(self._sorting.witness)
        yield 0.0
        if isinstance(outcome, Accepted):
            self._sorting.confirm()
            self._settle()
        elif isinstance(outcome, RetryLater):
            self._say(outcome)
            yield from self._rest(outcome.wait, self._sort_failures)
        else:
            self._sorting.forget()

    def _divide(self, lines: Sequence[str]) -> _Course[None]:
        outcome = self._sort_by(lines)
        yield 0.0
        if isinstance(outcome, RetryLater):
            if not (self._has_poison and self._sorting.witness):
                self._say(outcome)
            if not (yield from self._is_about_the_lines(outcome, len(lines), self._sort_failures)):
                yield from self._rest(outcome.wait, self._sort_failures)
                return
            self._sort_failures = 0
            if len(lines) > 1:
                # An error does not show which lines are bad, so they are divided.
                self._sorting.answered(RequestTooLarge(outcome.reason))
                self._settle()
                return
            if self._sorting.witness:
                # `TRIES` consecutive errors may be chance: a line counts as refused after `TRIES` such series.
                self._errors_alone += 1
                if self._errors_alone < TRIES:
                    return
            outcome = Rejected(outcome.reason)
        self._errors_alone = 0
        if isinstance(outcome, Accepted):
            self._succeeded()
        elif isinstance(outcome, RequestTooLarge):
            self._points = max(len(lines) // 2, 1)
        elif self._sorting.is_plain:
            yield from self._refused(outcome, len(lines))
        self._sorting.answered(outcome)
        self._settle()

    def _search(self) -> None:
        """Put the newest reading of each charger in question, to find out whether any field of it is accepted."""
        newest: dict[str, Batch] = {}
        for batch in self._skip_to_newest():
            charger = charger_of(batch.lines[0]) if batch.lines else None
            if charger is not None:
                newest[charger] = batch
        if newest:
            self._load(list(newest.values()), are_newest=True)
        else:
            self._give_up()

    def _give_up(self) -> None:
        """Keep everything and try again later, as the database accepts nothing."""
        if self._incident is not None:
            self._say(RetryLater(f"it refuses everything: {self._incident.reason}"))
        self._sorting.forget()
        self._searches += 1
        self._search_at = self._now + self._backoff(self._searches)

    def _load(self, batches: Sequence[Batch], are_newest: bool = False) -> None:
        self._sorting.passed(batches)
        self._sorting.add(batches, are_newest=are_newest)
        self._settle()

    def _skip_to_newest(self) -> Sequence[Batch]:
        batches = self._spool.newest(POINTS_AT_ONCE)
        self._sorting.passed(batches)
        if batches:
            self._passed = max(self._passed, batches[-1].id)
        return batches

    # When

    def _is_something_in_question(self) -> bool:
        first = self._spool.take(1)
        is_any = not self._sorting.is_idle or bool(first and first[0].id <= self._passed)
        self._sorting.compares = is_any
        if not is_any:
            self._end_incident()
        return is_any

    def _may_sort(self) -> bool:
        if self._now >= self._slot + self._interval:
            self._slot, self._slot_requests, self._slot_seconds = self._now, 0, 0.0
        if self._slot_requests >= MOST_SORTING or self._slot_seconds >= LONGEST_SORTING:
            return False
        return not self._sorting.is_idle or bool(self._sorting.witness) or self._now >= self._search_at

    def _pause(self) -> float:
        until = [self._now + _LOOK_AT_AGE]
        if self._due > self._now and self._spool.take(1, self._passed):
            until.append(self._due)
        if self._is_something_in_question():
            is_used_up = self._slot_requests >= MOST_SORTING or self._slot_seconds >= LONGEST_SORTING
            until.append(self._slot + self._interval if is_used_up else max(self._search_at, self._now))
        return max(min(until) - self._now, 0.0)

    def _is_about_the_lines(self, result: RetryLater, lines: int, failures: int) -> _Course[bool]:
        """Whether the lines cause the errors: there were `TRIES`, and another request is accepted.

        Once that was so, a single error is enough for a request of several lines.
        """
        is_enough = failures >= TRIES or (self._has_poison and lines > 1)
        if result.wait is not None or not is_enough:
            return False
        witness = self._sorting.witness
        outcome = self._ask(witness, self._patience()) if witness else self._database.check()
        yield 0.0
        self._has_poison = isinstance(outcome, Accepted)
        return self._has_poison

    def _rest(self, wanted: float | None, failures: int) -> _Course[None]:
        """Wait for the backoff and, in addition, the `wanted` seconds of `Retry-After`."""
        until = self._now + self._backoff(failures) + (wanted or 0.0)
        while (left := until - self._now) > 0:
            yield left

    @staticmethod
    def _backoff(failures: int) -> float:
        """Seconds, with full jitter, so that many exporters do not come back together."""
        return random.uniform(0, min(2.0 ** min(failures - 1, 10), LONGEST_REST))  # noqa: S311 - spreads load, hides nothing

    # Requests and what became of them

    def _sort_by(self, lines: Sequence[str]) -> Outcome:
        outcome = self._ask(lines, self._patience())
        self._sort_failures = self._sort_failures + 1 if isinstance(outcome, RetryLater) else 0
        self._slot_requests += 1
        self._slot_seconds += self.send_seconds or 0.0
        return outcome

    def _patience(self) -> float:
        """Timeout in seconds of a request of the search, short as new readings wait meanwhile."""
        return max(LONGEST_SORTING, 2 * self._needed)

    def _ask(self, lines: Sequence[str], most_seconds: float) -> Outcome:
        began = self._clock.monotonic()
        try:
            outcome = self._database.write(lines, most_seconds)
        except Exception as error:  # noqa: BLE001 - the step raises it; perhaps it comes with these lines each time
            self._raised = error
            outcome = RetryLater(f"{type(error).__name__}: {error}")
        self.send_seconds = self._clock.monotonic() - began
        if isinstance(outcome, Rejected) or (isinstance(outcome, RequestTooLarge) and outcome.is_sent):
            self.refusals += 1
        return outcome

    def _succeeded(self) -> None:
        self.last_success = self._clock.wall()
        self._searches = 0
        self._say(Accepted())

    def _settle(self) -> None:
        done = self._sorting.settled()
        if not done:
            return
        refused = [item for _, items, _ in done for item in items]
        points = sum(count for _, _, count in done)
        self._spool.settle([batch for batch, _, _ in done], refused, points)
        if self._incident is not None:
            self._incident.add(refused, points)

    # The log

    def _say(self, outcome: Outcome) -> None:
        """Log when the database becomes reachable, and when it fails or fails for another reason."""
        failure = outcome.reason if isinstance(outcome, RetryLater) else None
        if failure == self._failure:
            return
        self._failure = failure
        if failure is None:
            log.info("influxdb %s: %s accepts writes", self._name, self._url)
        else:
            log.warning("influxdb %s: %s: %s; readings are kept and sent later", self._name, self._url, failure)

    def _refused(self, outcome: Rejected, lines: int) -> _Course[None]:
        """Log the first refusal, but not those of the search that follows."""
        if self._incident is not None:
            return
        self._incident = _Incident(outcome.reason)
        some = "some" if outcome.dropped is None else str(outcome.dropped)
        message = "influxdb %s: %s refused %s of %d lines: %s; isolating them"
        log.warning(message, self._name, self._url, some, lines, outcome.reason)
        yield from self._advise()

    def _end_incident(self) -> None:
        incident, self._incident = self._incident, None
        self._has_poison = False
        if incident is not None:
            log.warning("influxdb %s: %s", self._name, incident.text(self._spool.kept_refused()))

    def _advise(self) -> _Course[None]:
        """Log if the server has another version than the configured one."""
        advice = self._database.advice()
        yield 0.0
        if advice != self._advised:
            self._advised = advice
            if advice:
                log.error("influxdb %s: %s: %s", self._name, self._url, advice)


def _date(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, OSError, ValueError):
        return f"{at:g}"
