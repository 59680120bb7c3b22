"""Sending what waits in a queue to its database, one request a step, so that no batch blocks the others for ever.

Batches are sent in their order. The first one is overtaken if the database refuses it whole, or answers it with
errors while it would take another request: then those behind it are tried one by one. As soon as one of these is
accepted, what is before it is sent once more, and what is refused then is set aside.
While nothing at all is accepted, nothing is dropped, as perhaps no line is at fault.
"""

import logging
import random
from collections.abc import Generator, Sequence
from math import inf
from typing import Protocol, TypeVar

from ccl_exporter.clock import SYSTEM, Clock
from ccl_exporter.outputs.influxdb.bisecting_sender import BisectingSender, Delivered
from ccl_exporter.outputs.influxdb.client import Accepted, Outcome, Rejected, RequestTooLarge, RetryLater
from ccl_exporter.outputs.influxdb.line_protocol import field_of
from ccl_exporter.outputs.influxdb.spool import Batch, RefusedLine, Spool

log = logging.getLogger(__name__)

POINTS_AT_ONCE = 5000
"""Points in one request, as InfluxDB recommends."""

LONGEST_REST = 60.0
"""Seconds between two tries while a database cannot be had, doubled up to this, less a random part."""

TRIES = 3
"""Errors in a row, each after a longer pause, until they may be about the lines.

A database that restarts or is overloaded answers an empty request with an error too, and a connection seldom
breaks three times by chance.
"""

MOST_REFUSALS = 30
"""Refusals until a request counts as refused whole: halving finds one bad field of 5,000 points in less."""

_LOOK_AT_AGE = 30.0  # seconds after which an idle sender looks whether something has become too old


class Database(Protocol):
    """Where lines go; neither method raises for what the server does."""

    def check(self) -> Outcome:
        """Whether an empty request would be accepted."""

    def write(self, lines: Sequence[str]) -> Outcome:
        """Send lines in one request."""


_Result = TypeVar("_Result")
_Course = Generator[float, None, _Result]
"""A part of a sender's course: yields the seconds until the next step, 0 after each request."""


class QueueSender:
    """Sends the batches of `spool` to `database`; the log calls it by `name` and `url`.

    What a step raises loses no batch: a request is sent again, and otherwise the next step begins with the first
    batch on disk.
    """

    def __init__(self, name: str, url: str, spool: Spool, database: Database, clock: Clock = SYSTEM) -> None:
        self._name = name
        self._url = url
        self._spool = spool
        self._database = database
        self._clock = clock
        self._now = 0.0
        self._bisecting = BisectingSender(self._write)
        self._course = self._run()
        self._trouble: str | None = ""
        self._failures = 0
        self._accepted = 0  # the id of a batch that was accepted although those before it were refused
        self._refused_as = ""
        self._raised: Exception | None = None
        self._logged_refusals: set[tuple[str, str]] = set()
        self.refusals = 0
        """Requests that were refused."""
        self.last_success: float | None = None
        """Unix seconds."""
        self.send_seconds: float | None = None
        """How long the last request took."""

    def step(self, now: float) -> float:
        """Send at most one request; the seconds until the next step. `now` is in monotonic seconds."""
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

    # The course: a step goes from one `yield` to the next

    def _run(self) -> _Course[None]:
        while not self._spool.is_open:
            yield _LOOK_AT_AGE
        self._say(self._database.check())
        yield 0.0
        while True:
            batches = self._spool.take(POINTS_AT_ONCE)
            if not batches:
                yield _LOOK_AT_AGE
                continue
            overtaken = [batch for batch in batches if batch.id < self._accepted]
            if not (yield from self._deliver(overtaken or batches, is_final=bool(overtaken))):
                yield from self._overtake(batches[0])

    def _deliver(self, batches: Sequence[Batch], is_final: bool) -> _Course[bool]:
        """Send batches until they have gone; False if what is behind them should be tried.

        Where that was done already it `is_final`: what is refused now goes, even if that is all of it.
        """
        self._begin(batches, inf if is_final else MOST_REFUSALS)
        while True:
            result = self._bisecting.go_on()
            yield 0.0
            if isinstance(result, RetryLater):
                self._say(result)
                if not (yield from self._is_about_the_lines(result, self._failures)):
                    yield from self._rest(self._failures, result.wait)
                    continue
                if not is_final:
                    return False
                result = self._bisecting.refuse(result.reason)
            if result is not None:
                if result.nothing and not is_final:
                    return False
                self._settle(batches, result)
                return True

    def _overtake(self, first: Batch) -> _Course[None]:
        """Try what is behind the first batch until something is accepted, or the first one is."""
        rounds, failures, tried_up_to = 0, 0, first.id
        while self._spool.take(1) == [first]:
            rounds += 1
            result = yield from self._try(first, 1)
            if _is_taken(result):
                return
            if isinstance(result, RetryLater):
                failures = max(failures + 1, self._failures)  # a part of it may have been answered
                if not (yield from self._is_about_the_lines(result, failures)):
                    yield from self._rest(failures, result.wait)
                    continue
            behind = self._spool.take(POINTS_AT_ONCE, max(tried_up_to, first.id))
            tried_up_to = behind[-1].id if behind else first.id
            # Whole at first, as one that is accepted is enough. Perhaps each has a bad field: one of them, another
            # one each round, is then sent field by field.
            whole: list[tuple[Batch, float]] = [(batch, 1) for batch in behind]
            candidates = [first, *behind]
            for batch, most in (*whole, (candidates[(rounds - 1) % len(candidates)], inf)):
                result = yield from self._try(batch, most)
                if _is_taken(result):
                    self._accepted = max(batch.id, self._accepted)
                    return
                if isinstance(result, RetryLater):
                    tried_up_to = batch.id
                    break
            else:
                self._say(RetryLater(f"it refuses everything: {self._refused_as}"))
            yield from self._rest(rounds, result.wait if isinstance(result, RetryLater) else None)

    def _try(self, batch: Batch, most: float) -> _Course[Delivered | RetryLater]:
        """Send a batch, at most until that many refusals; it goes if something of it is accepted."""
        self._begin([batch], most)
        while (result := self._bisecting.go_on()) is None:
            yield 0.0
        yield 0.0
        if isinstance(result, RetryLater):
            self._say(result)
        elif not result.nothing:
            self._settle([batch], result)
        return result

    def _is_about_the_lines(self, result: RetryLater, failures: int) -> _Course[bool]:
        """Whether errors keep coming although an empty request is accepted."""
        if failures < TRIES or result.wait is not None:
            return False
        outcome = self._database.check()
        yield 0.0
        return isinstance(outcome, Accepted)

    def _rest(self, failures: int, wanted: float | None) -> _Course[None]:
        """Wait until the next try: full jitter, so that many exporters do not come back together."""
        pause = random.uniform(0, min(2.0 ** min(failures - 1, 10), LONGEST_REST))  # noqa: S311 - spreads load, hides nothing
        until = self._now + pause + (wanted or 0.0)
        while (left := until - self._now) > 0:
            yield left

    # Requests and what became of them

    def _begin(self, batches: Sequence[Batch], most: float) -> None:
        self._bisecting.begin([line for batch in batches for line in batch.lines], most)

    def _write(self, lines: Sequence[str]) -> Outcome:
        began = self._clock.monotonic()
        try:
            outcome = self._database.write(lines)
        except Exception as error:  # noqa: BLE001 - the step raises it; perhaps it comes with these lines each time
            self._raised = error
            outcome = RetryLater(f"{type(error).__name__}: {error}")
        self.send_seconds = self._clock.monotonic() - began
        self._failures = self._failures + 1 if isinstance(outcome, RetryLater) else 0
        if isinstance(outcome, Rejected | RequestTooLarge):
            self.refusals += 1
            self._refused_as = outcome.reason
        return outcome

    def _settle(self, batches: Sequence[Batch], result: Delivered) -> None:
        self._spool.settle(batches, result.refused, result.rejected)
        if not result.nothing:
            self.last_success = self._clock.wall()
        self._say(Accepted())
        self._say_refused(result.refused)

    def _say(self, outcome: Outcome) -> None:
        """A line in the log when the database becomes or is no longer reachable, or for another reason."""
        trouble = outcome.reason if isinstance(outcome, RetryLater) else None
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble is None:
            log.info("influxdb %s: %s takes what is written", self._name, self._url)
        else:
            log.warning("influxdb %s: %s: %s; readings are kept and sent later", self._name, self._url, trouble)

    def _say_refused(self, refused: Sequence[RefusedLine]) -> None:
        for item in refused:
            measurement, field = field_of(item.line)
            if (measurement, field) not in self._logged_refusals:
                self._logged_refusals.add((measurement, field))
                log.warning("influxdb %s: %s of %s is refused: %s", self._name, field, measurement, item.reason)


def _is_taken(result: Delivered | RetryLater) -> bool:
    return isinstance(result, Delivered) and not result.nothing
