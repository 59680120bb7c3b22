"""The output to a database: each database has a durable queue and a sender of its own.

No caller waits for a database.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from pathlib import Path

from ccl_exporter.clock import SYSTEM, Clock
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.influxdb.client import InfluxClient
from ccl_exporter.outputs.influxdb.line_protocol import lines
from ccl_exporter.outputs.influxdb.queue_sender import QueueSender
from ccl_exporter.outputs.influxdb.spool import Spool, SpoolError
from ccl_exporter.outputs.output import ChargerReading
from ccl_exporter.sessions.report import finished_samples
from ccl_exporter.sessions.tracker import SessionRecord
from ccl_exporter.settings import InfluxSettings, Module
from ccl_exporter.workers import Worker

log = logging.getLogger(__name__)

_LEDGER = "ledger"


class InfluxPusher:
    """The output to one database: stores each reading in a queue, from which a worker sends it.

    `state` is the folder of the queue, `sessions` the record of ended sessions.
    """

    max_age = inf

    def __init__(
        self,
        settings: InfluxSettings,
        state: Path,
        sessions: SessionRecord | None = None,
        clock: Clock = SYSTEM,
        client: InfluxClient | None = None,
    ) -> None:
        self.settings = settings
        self.name = f"influxdb_push:{settings.name}"
        self.interval = settings.interval
        self.modules: Sequence[Module] = settings.modules
        self._sessions = sessions
        self._clock = clock
        self._spool = Spool(state / settings.spool.path, settings.spool.max_bytes, settings.spool.max_age, clock)
        self._client = client or InfluxClient(settings)
        self._sender = QueueSender(
            settings.name, settings.url, self._spool, self._client, clock, settings.interval
        )
        self._worker = Worker(f"influxdb_send:{settings.name}", self._sender.step)
        self.workers: Sequence[Worker] = (self._worker,)
        self._said = ""
        self._missed = 0

    # Stop

    def stop(self) -> None:
        self._worker.stop()

    def close(self, deadline: float) -> None:
        """Wait until `deadline` (monotonic) for the request under way; the rest is sent after the next start."""
        self._worker.join(deadline)
        self._spool.close(deadline)
        if not self._worker.is_running:
            # While the thread runs, closing would wait for the end of its request.
            self._client.close()

    # Storing

    def is_ready(self) -> bool:
        try:
            self._spool.open()
        except SpoolError as error:
            if str(error) != self._said:
                self._said = str(error)
                log.error("influxdb %s: nothing is written: %s", self.settings.name, self._said)
            return False
        self._worker.wake()
        return True

    def accept(self, reading: ChargerReading) -> None:
        self._spool.put(self._lines(reading.samples, reading.charger, reading.taken), reading.taken)
        self._worker.wake()

    def after_round(self) -> None:
        """Store the sessions that have ended since the last one that was stored."""
        if self._sessions is None or (last := self._spool.mark(_LEDGER)) is None:
            return
        for number, charge in self._sessions.finished(last):
            known = (charge.ended, charge.begun, charge.requested, self._clock.wall())
            at = next(moment for moment in known if moment is not None)
            found = self._lines(finished_samples(charge), charge.charger, at)
            if not self._spool.put(found, self._clock.wall(), **{_LEDGER: number}):
                return
            self._worker.wake()

    def _lines(self, samples: Iterable[Sample], charger: str, at: float) -> list[str]:
        return lines(samples, charger, round(at * 1000), self.settings.layout)

    def missed(self, readings: int) -> None:
        self._missed += readings

    # What became of it

    def samples(self) -> Iterator[Sample]:
        """The metrics of the output; reads nothing from the disk."""
        sink, counts = (self.settings.name,), self._spool.counts
        for family, value in (
            (f.INFLUXDB_SPOOL_POINTS, counts.points),
            (f.INFLUXDB_SPOOL_BYTES, counts.bytes),
            (f.INFLUXDB_SPOOL_MAX_BYTES, self.settings.spool.max_bytes),
            (f.INFLUXDB_SPOOL_RETENTION, self.settings.spool.max_age),
            (f.INFLUXDB_SPOOL_OLDEST, counts.oldest),
            (f.INFLUXDB_SPOOL_DAMAGED, counts.damaged),
            (f.INFLUXDB_SPOOLED, counts.spooled),
            (f.INFLUXDB_SENT, counts.sent),
            (f.INFLUXDB_REJECTED, counts.rejected),
            (f.INFLUXDB_REFUSALS, self._sender.refusals),
            (f.INFLUXDB_DROPPED, counts.dropped),
            (f.INFLUXDB_MISSED, self._missed),
            (f.INFLUXDB_LAST_SUCCESS, self._sender.last_success),
            (f.INFLUXDB_SEND_SECONDS, self._sender.send_seconds),
        ):
            if value is not None:
                yield Sample(family, sink, float(value))
