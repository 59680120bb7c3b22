"""The exporter of a simulation: the real parts of a process, run step by step on one thread."""

import resource
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.collector import Collector
from ccl_exporter.exporter.own_reads import confirm_loop, fallback_loop
from ccl_exporter.exporter.poll_loop import PollLoop, Source
from ccl_exporter.exporter.target_registry import TargetRegistry
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.influxdb.pusher import InfluxPusher
from ccl_exporter.outputs.output import ChargerReading
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.sessions.store import SESSIONS_FILE
from ccl_exporter.settings import InfluxSettings, Module, Settings
from ccl_exporter.workers import Pool, Supervisor, Worker
from simulation.charger import SimulatedCharger
from simulation.database import SimulatedDatabase

FALLBACK = 200.0
"""Seconds without a read after which the exporter reads by itself."""

_MOST_STEPS = 300
"""Steps of one worker at one moment; more would be a loop that never waits."""


class Killed(BaseException):
    """The process is gone."""


class Threads:
    """Starts what pretends to be a thread, or fails to."""

    def __init__(self) -> None:
        self.is_failing = False

    def start(self, target: Callable[[], None], name: str) -> threading.Thread:
        del target, name
        if self.is_failing:
            raise RuntimeError("can't start new thread")
        return _SimulatedThread()


class _SimulatedThread(threading.Thread):
    """A thread that never runs: the exporter has its worker do its steps."""

    ended = False

    def is_alive(self) -> bool:
        return not self.ended

    def join(self, timeout: float | None = None) -> None:
        del timeout


class _AtOnce(Pool):
    """Runs what is submitted before it returns."""

    def submit(self, work: Callable[[], None], is_urgent: bool = False) -> None:
        del is_urgent
        try:
            work()
        except Exception as error:  # noqa: BLE001 - as a pool does
            self.restarts += 1
            self.log_once(error)


class _Pusher(InfluxPusher):
    """Fails in its callbacks on demand, and notes which reads (Unix milliseconds) its queue has taken."""

    is_failing = False
    queued: set[int]
    _not_taken = 0.0

    def accept(self, reading: ChargerReading) -> None:
        if self.is_failing:
            raise RuntimeError("simulated")
        before = self._dropped
        super().accept(reading)
        if self._dropped == before:
            self.queued.add(round(reading.taken * 1000))
        self._not_taken += self._dropped - before

    def after_round(self) -> None:
        if self.is_failing:
            raise RuntimeError("simulated")
        super().after_round()

    @property
    def dropped_later(self) -> float:
        """Points that were dropped after the queue had taken them."""
        return self._dropped - self._not_taken

    @property
    def _dropped(self) -> float:
        return next(
            sample.value for sample in self.samples() if sample.family.name == "ccl_influxdb_dropped_points_total"
        )


class SimulatedExporter:
    """One life of a process on a state folder. `full` says that no file can grow."""

    def __init__(
        self,
        folder: Path,
        charger: SimulatedCharger,
        database: SimulatedDatabase,
        threads: Threads,
        settings: Settings,
        queued: set[int],
    ) -> None:
        self.folder = folder
        self.is_full = False
        self._time = charger.time
        self._database = database
        self._threads = threads
        self._queued = queued
        self._due: dict[Worker, tuple[float, bool]] = {}
        with self._disk():
            self.recorder = SessionRecorder(folder / SESSIONS_FILE, self._time.clock())
            self.registry = TargetRegistry(settings, folder, self.recorder, charger.transport)
            self._collector = Collector(self.recorder)
            self.supervisor = Supervisor(lambda: self._time.monotonic)
            self._add(self.recorder.worker)
            for loop in (
                confirm_loop(self._source(self.registry.known)),
                fallback_loop(self._source(self.registry.chargers), lambda: FALLBACK),
            ):
                self._add(loop.worker)
            self._open_output(settings)

    def _open_output(self, settings: Settings) -> None:
        (influx,) = settings.outputs
        assert isinstance(influx, InfluxSettings)
        self.pusher = _Pusher(influx, self.folder, self.recorder, self._time.clock(), self._database)
        self.pusher.queued = self._queued
        self._loop = PollLoop(self.pusher, self._source(self.registry.chargers))
        self._add(*(member for member in self._loop.members if isinstance(member, Worker)))

    def _source(self, chargers: Callable[[], Sequence[Charger]]) -> Source:
        return Source(chargers, self._collector.collect, _AtOnce)

    def _add(self, *workers: Worker) -> None:
        for worker in workers:
            worker.start = self._threads.start
            self._due[worker] = (self._time.monotonic, True)
        self.supervisor.add(*workers)

    def reload(self, settings: Settings) -> float:
        """Take other settings, as a SIGHUP does; the points that an output that ends dropped later."""
        with self._disk():
            outputs = self.registry.settings.outputs
            self.registry.update(settings)
            if settings.outputs == outputs:
                return 0.0
            self._close_output()
            dropped = self.pusher.dropped_later
            self._open_output(settings)
            return dropped

    def _close_output(self) -> None:
        gone = [member for member in self._loop.members if isinstance(member, Worker)]
        self.supervisor.remove(*gone)
        self._loop.stop()
        for worker in gone:
            del self._due[worker]
        self.pusher.close(monotonic() + 10)

    def scrape(self, modules: Sequence[Module], timeout: float = 10.0) -> tuple[Snapshot, list[Sample]]:
        """What Prometheus gets."""
        with self._disk():
            (charger,) = self.registry.chargers()
            return self._collector.collect(charger, timeout, modules)

    def run_due(self) -> None:
        """Have every worker do what is due."""
        with self._disk():
            self.supervisor.check(self._time.monotonic)
            for worker in list(self._due):
                for _ in range(_MOST_STEPS):
                    due, is_wakeable = self._due[worker]
                    is_due = due <= self._time.monotonic or (is_wakeable and worker.is_woken)
                    if not (worker.is_running and is_due):
                        break
                    pause, is_wakeable = worker.attempt(self._time.monotonic)
                    self._due[worker] = (self._time.monotonic + pause, is_wakeable)
                else:
                    raise AssertionError(f"the worker {worker.name} never waits")

    @property
    def due_soon(self) -> float:
        """When a worker wants to be called within some seconds, in true Unix seconds; else infinity.

        Those that look every second are called so often only while a first value waits for a second read.
        """
        now = self._time.monotonic
        idle = 0.0 if any(charger.needs_second_read for charger in self.registry.known()) else 1.0
        waits = [due - now for due, _ in self._due.values() if idle < due - now < 10]
        # A little later, as Unix seconds are not as fine as the difference.
        return self._time.now + min(waits, default=float("inf")) + 0.001

    def close(self) -> None:
        """End as on SIGTERM; of a process that was killed, give back what it had."""
        with self._disk():
            self._close_output()
            self.supervisor.stop()
            self.recorder.close(monotonic() + 10)
            for charger in self.registry.chargers():
                charger.close()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        if not self.is_full:
            yield
            return
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
