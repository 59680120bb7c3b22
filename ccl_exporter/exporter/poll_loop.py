"""Reading all chargers once an interval, for outputs that write on their own.

Readings go through the chargers' governors, so outputs and scrapes of one moment share them.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from time import monotonic

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.output import ChargerReading, Output
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.settings import Module
from ccl_exporter.workers import Pool, Supervisor, Worker

MOST_READERS = 256
"""Chargers that are read at a time for one output; threads are started when they are needed."""

LONGEST_READ = 10.0
"""Seconds that a read may take, as Prometheus allows by default: a charger that hangs must free its reader."""

_READY_AGAIN = 2.0  # seconds until an output that is not ready is asked again
_STOP_WITHIN = 1.5


@dataclass(frozen=True, slots=True)
class Source:
    """The present chargers, and a function that reads one: timeout in seconds, modules, highest age in seconds.

    `pool` makes what reads several at a time.
    """

    chargers: Callable[[], Sequence[Charger]]
    read: Callable[[Charger, float, Sequence[Module], float], tuple[Snapshot, list[Sample]]]
    pool: Callable[[str, int], Pool] = Pool


class PollLoop:
    """Reads every charger for an output each interval; one that is still being read is passed over and counted."""

    def __init__(self, output: Output, source: Source) -> None:
        self.output = output
        self._source = source
        self._stopping = False
        self._is_ready = False
        self._lock = threading.Lock()
        self._reading: set[str] = set()
        self._taken: dict[str, float] = {}
        self._due: float | None = None
        self._readers = source.pool(output.name, MOST_READERS)
        self.worker = Worker(output.name, self.step)

    @property
    def members(self) -> Sequence[Worker | Pool]:
        """What is to be supervised."""
        return (self.worker, self._readers, *self.output.workers)

    def stop(self) -> None:
        """Have the loop and its output end; returns at once."""
        self._stopping = True
        for member in (self.worker, self._readers):
            member.stop()
        self.output.stop()

    def wait(self, deadline: float) -> None:
        """Wait until `deadline` (monotonic) for what is under way; what is not done then is done another time."""
        self.worker.join(deadline)
        self.output.close(deadline)

    def step(self, now: float) -> float:
        """Have every charger read if the output is ready; returns the seconds until the next read."""
        if self._due is None:
            self._due = now
        self._is_ready = self._is_ready or self.output.is_ready()
        if not self._is_ready:
            return _READY_AGAIN
        interval = self.output.interval
        chargers = self._source.chargers()
        for name in self._taken.keys() - {charger.settings.name for charger in chargers}:
            del self._taken[name]
        late = int(max(now - self._due, 0.0) // interval)
        with self._lock:
            busy = [charger for charger in chargers if charger.settings.name in self._reading]
            free = [charger for charger in chargers if charger.settings.name not in self._reading]
            self._reading.update(charger.settings.name for charger in free)
        if missed := late * len(chargers) + len(busy):
            self.output.missed(missed)
        # Outputs of one interval read at the same moments, and so share their readings.
        self._due = now + interval - now % interval
        # So that each absent charger has its turn, although only some of them are read at a time.
        for charger in sorted(free, key=attrgetter("last_read_at")):
            self._readers.submit(partial(self._read, charger), is_urgent=charger.is_prompt)
        self.output.after_round()
        return max(self._due - now, 0.0)

    def _read(self, charger: Charger) -> None:
        done = False
        try:
            done = self._stopping or self._read_one(charger)
        finally:
            with self._lock:
                self._reading.discard(charger.settings.name)
            if not done:
                self.output.missed(1)

    def _read_one(self, charger: Charger) -> bool:
        output, settings = self.output, charger.settings
        name = settings.name
        timeout = min(output.interval, LONGEST_READ)
        snapshot, found = self._source.read(charger, timeout, output.modules, output.max_age)
        # A reading that was shared with the one before is known already.
        if not self._stopping and self._taken.get(name) != snapshot.taken:
            self._taken[name] = snapshot.taken
            titles = settings.title, settings.plug_titles
            output.accept(ChargerReading(name, settings.url, snapshot.up, snapshot.taken, found, *titles))
        return True


class PollLoops:
    """A poll loop for each output that is configured; follows its changes. One caller at a time."""

    def __init__(self, source: Source, supervisor: Supervisor) -> None:
        self._source = source
        self._supervisor = supervisor
        self._loops: Mapping[object, PollLoop] = {}

    def update(self, wanted: Mapping[object, Callable[[], Output]]) -> None:
        """Start new outputs, stop those that are gone or changed, and leave the others running.

        `wanted` are outputs by their settings: other settings are another output.
        """
        self._end([loop for settings, loop in self._loops.items() if settings not in wanted])
        kept = {settings: loop for settings, loop in self._loops.items() if settings in wanted}
        # As a new mapping: a scrape may be reading the old one.
        self._loops = {
            settings: kept.get(settings) or PollLoop(make(), self._source) for settings, make in wanted.items()
        }
        for settings, loop in self._loops.items():
            if settings not in kept:
                self._supervisor.add(*loop.members)

    def stop(self) -> None:
        self._end(list(self._loops.values()))

    def outputs(self) -> Sequence[Output]:
        return [loop.output for loop in self._loops.values()]

    def _end(self, loops: Sequence[PollLoop]) -> None:
        for loop in loops:
            self._supervisor.remove(*loop.members)
            loop.stop()
        deadline = monotonic() + _STOP_WITHIN
        for loop in loops:
            loop.wait(deadline)
