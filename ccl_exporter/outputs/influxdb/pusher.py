"""Writing readings to databases: each has a timer, a durable queue and a sender of its own.

Nobody waits for a database.
"""

import logging
import random
import threading
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from time import monotonic, time

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.influxdb.bisecting_sender import BisectingSender, Delivered
from ccl_exporter.outputs.influxdb.client import InfluxClient, Outcome, RetryLater
from ccl_exporter.outputs.influxdb.line_protocol import field_of, lines
from ccl_exporter.outputs.influxdb.spool import Batch, RefusedLine, Spool, SpoolError
from ccl_exporter.outputs.output import ChargerReading
from ccl_exporter.sessions.report import finished_samples
from ccl_exporter.sessions.tracker import SessionRecord
from ccl_exporter.settings import InfluxSettings, Module
from ccl_exporter.workers import Worker

log = logging.getLogger(__name__)

POINTS_AT_ONCE = 5000
"""Points in one request, as InfluxDB recommends."""

LONGEST_REST = 60.0
"""Seconds between two tries while a database cannot be had, doubled up to this, less a random part."""

_LOOK_AT_AGE = 30.0  # seconds after which an idle sender looks whether something has become too old
_LEDGER = "ledger"


class InfluxPusher:
    """One database: stores each reading in its queue, sends what is stored. `state` is the folder of queues."""

    max_age = inf

    def __init__(self, settings: InfluxSettings, state: Path, sessions: SessionRecord | None = None) -> None:
        self.settings = settings
        self.name = f"influxdb_push:{settings.name}"
        self.interval = settings.interval
        self.modules: Sequence[Module] = settings.modules
        self._sessions = sessions
        self._spool = Spool(state / settings.spool.path, settings.spool.max_bytes, settings.spool.max_age)
        self._stopping = threading.Event()
        self._fresh = threading.Event()
        self._client = InfluxClient(settings)
        self._sender = Worker(f"influxdb_send:{settings.name}", self._send)
        self.workers = (self._sender,)
        self._missed = 0
        self._opened = threading.Event()
        self._said = ""
        self._trouble: str | None = ""
        self._failures = 0
        self._logged_refusals: set[tuple[str, str]] = set()
        self._last_success: float | None = None
        self._send_seconds: float | None = None

    # Start and stop

    def stop(self) -> None:
        self._stopping.set()
        self._fresh.set()
        self._opened.set()

    def close(self, deadline: float) -> None:
        """Wait for what is under way; what is not sent then is sent another time."""
        self._sender.stop()
        self._sender.join(deadline)
        self._spool.close()

    # Storing

    def is_ready(self) -> bool:
        try:
            self._spool.open()
        except SpoolError as error:
            if str(error) != self._said:
                self._said = str(error)
                log.error("influxdb %s: nothing is written: %s", self.settings.name, self._said)
            return False
        self._opened.set()
        return True

    def accept(self, reading: ChargerReading) -> None:
        self._spool.put(lines(reading.samples, reading.charger, round(reading.taken * 1000)), reading.taken)
        self._fresh.set()

    def missed(self, readings: int) -> None:
        self._missed += readings

    def after_round(self) -> None:
        """Store the sessions that have ended since."""
        if self._sessions is None:
            return
        for number, charge in self._sessions.finished(self._spool.mark(_LEDGER)):
            known = (charge.ended, charge.begun, charge.requested, time())
            at = next(moment for moment in known if moment is not None)
            found = lines(finished_samples(charge), charge.charger, round(at * 1000))
            if not self._spool.put(found, time(), **{_LEDGER: number}):
                return
            self._fresh.set()

    # Sending

    def _send(self, now: float) -> float:
        self._opened.wait()
        delivery = BisectingSender(self._write)
        batches: list[Batch] = []
        refusals = 0
        if not self._stopping.is_set():
            self._say(self._client.check())
        while not self._stopping.is_set():
            if not batches:
                self._fresh.clear()
                # One reading until one was taken: a database that refuses everything is not to be stormed.
                batches = self._spool.take(1 if self._last_success is None else POINTS_AT_ONCE)
                if not batches:
                    self._fresh.wait(_LOOK_AT_AGE)
                    continue
                delivery.begin([line for batch in batches for line in batch.lines])
            result = delivery.go_on()
            if isinstance(result, Delivered) and result.refused and self._last_success is None:
                # A database that never took anything may refuse the request as such, and no line is at fault.
                batches = []
                if not result.nothing:
                    self._last_success = time()
                    continue  # and what it refused before it took something is tried once more
                result = RetryLater(f"it refuses everything: {result.refused[-1].reason}")
                refusals += 1
            self._say(result)
            if isinstance(result, RetryLater):
                self._stopping.wait(_rest(max(self._failures, refusals), result.wait))
                continue
            refusals = 0
            self._spool.settle(batches[-1].id, result.refused, result.rejected)
            self._last_success = time()
            self._say_refused(result.refused)
            batches = []
        self._client.close()
        return 60.0

    def _write(self, some: Sequence[str]) -> Outcome:
        if self._stopping.is_set():
            return RetryLater("the exporter stops")
        began = monotonic()
        outcome = self._client.write(some)
        self._send_seconds = monotonic() - began
        self._failures = self._failures + 1 if isinstance(outcome, RetryLater) else 0
        return outcome

    def _say(self, outcome: Outcome | Delivered) -> None:
        """A line in the log when the database becomes or is no longer reachable, or for another reason."""
        trouble = outcome.reason if isinstance(outcome, RetryLater) else None
        if trouble == self._trouble or self._stopping.is_set():
            return
        self._trouble = trouble
        name, url = self.settings.name, self.settings.url
        if trouble is None:
            log.info("influxdb %s: %s takes what is written", name, url)
        else:
            log.warning("influxdb %s: %s: %s; readings are kept and sent later", name, url, trouble)

    def _say_refused(self, refused: Sequence[RefusedLine]) -> None:
        for item in refused:
            measurement, field = field_of(item.line)
            if (measurement, field) not in self._logged_refusals:
                self._logged_refusals.add((measurement, field))
                log.warning(
                    "influxdb %s: %s of %s is refused: %s", self.settings.name, field, measurement, item.reason
                )

    # What became of it

    def samples(self) -> Iterator[Sample]:
        """How the push fares; without looking at the disk."""
        sink, counts = (self.settings.name,), self._spool.counts
        for family, value in (
            (f.INFLUXDB_SPOOL_POINTS, counts.points),
            (f.INFLUXDB_SPOOL_BYTES, counts.bytes),
            (f.INFLUXDB_SPOOL_OLDEST, counts.oldest),
            (f.INFLUXDB_SPOOL_DAMAGED, counts.damaged),
            (f.INFLUXDB_SPOOLED, counts.spooled),
            (f.INFLUXDB_SENT, counts.sent),
            (f.INFLUXDB_REJECTED, counts.rejected),
            (f.INFLUXDB_DROPPED, counts.dropped),
            (f.INFLUXDB_MISSED, self._missed),
            (f.INFLUXDB_LAST_SUCCESS, self._last_success),
            (f.INFLUXDB_SEND_SECONDS, self._send_seconds),
        ):
            if value is not None:
                yield Sample(family, sink, float(value))


def _rest(failures: int, wanted: float | None) -> float:
    """Seconds until the next try: full jitter, so that many exporters do not come back together."""
    rest = random.uniform(0, min(2.0 ** min(failures - 1, 10), LONGEST_REST))  # noqa: S311 - spreads load, hides nothing
    return rest if wanted is None else wanted + rest
