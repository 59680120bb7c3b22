"""Reading all chargers once an interval, for outputs that do not wait to be asked.

Readings go through the chargers' governors, so outputs and scrapes of one moment share them.
"""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.output import ChargerReading, Output
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.settings import Module
from ccl_exporter.workers import Supervisor

MOST_READERS = 16
"""Chargers that are read at a time for one output."""

LONGEST_READ = 30.0

_READY_AGAIN = 2.0  # seconds until an output that is not ready is asked again
_STOP_WITHIN = 1.5


@dataclass(frozen=True, slots=True)
class Source:
    """The chargers of now, and a way to read one: within seconds, some modules, begun at most so long ago."""

    chargers: Callable[[], Sequence[Charger]]
    read: Callable[[Charger, float, Sequence[Module], float], tuple[Snapshot, list[Sample]]]


class PollLoop:
    """Reads every charger for an output each interval; one that is being read still is passed over."""

    def __init__(self, output: Output, source: Source) -> None:
        self.output = output
        self._source = source
        self._stopping = threading.Event()
        self._work: queue.SimpleQueue[Charger | None] = queue.SimpleQueue()
        self._reading: set[str] = set()
        self._taken: dict[str, float] = {}
        self._readers: list[threading.Thread] = []
        self._supervisor = Supervisor()
        self._thread = threading.Thread(target=self._run, name=f"{output.name} timer", daemon=True)

    def start(self) -> None:
        self._supervisor.start()
        self._supervisor.add(*getattr(self.output, "workers", ()))
        if hasattr(self.output, "start"):
            self.output.start()
        self._thread.start()

    def stop(self) -> None:
        """Tell the loop and its output to end; returns at once."""
        self._stopping.set()
        self.output.stop()

    def wait(self, deadline: float) -> None:
        """Wait until `deadline` (monotonic) for what is under way; what is not done then is done another time."""
        self._thread.join(max(deadline - monotonic(), 0.0))
        self._supervisor.stop()
        self.output.close(deadline)

    def _run(self) -> None:
        while not self._stopping.is_set() and not self.output.is_ready():
            self._stopping.wait(_READY_AGAIN)
        while not self._stopping.is_set():
            self._round()
            # Outputs of one interval read at the same moments, and so share their readings.
            self._stopping.wait(self.output.interval - monotonic() % self.output.interval)
        for _ in self._readers:
            self._work.put(None)

    def _round(self) -> None:
        """Have every charger read that is not being read still.

        Nothing of a round stays, so that a charger that a reload takes away goes.
        """
        chargers = self._source.chargers()
        self._readers = [reader for reader in self._readers if reader.is_alive()]
        while len(self._readers) < min(len(chargers), MOST_READERS):
            name = f"{self.output.name} reader"
            self._readers.append(threading.Thread(target=self._read, name=name, daemon=True))
            self._readers[-1].start()
        for charger in chargers:
            if charger.settings.name not in self._reading:
                self._reading.add(charger.settings.name)
                self._work.put(charger)
        self.output.after_round()

    def _read(self) -> None:
        while (charger := self._work.get()) is not None:
            try:
                if not self._stopping.is_set():
                    self._read_one(charger)
            finally:
                self._reading.discard(charger.settings.name)
                del charger  # while waiting for the next one, this one may be taken away

    def _read_one(self, charger: Charger) -> None:
        output, name = self.output, charger.settings.name
        timeout = min(output.interval, LONGEST_READ)
        snapshot, found = self._source.read(charger, timeout, output.modules, output.max_age)
        if self._stopping.is_set() or self._taken.get(name) == snapshot.taken:
            return  # a reading that was shared with the one before is known already
        self._taken[name] = snapshot.taken
        output.accept(ChargerReading(name, charger.settings.url, snapshot.up, snapshot.taken, found))


class PollLoops:
    """A poll loop for each output that is configured; follows its changes. One caller at a time."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._loops: Mapping[object, PollLoop] = {}

    def update(self, wanted: Mapping[object, Callable[[], Output]]) -> None:
        """Start what is new, stop what is gone or changed, leave the others alone.

        `wanted` are outputs by their settings: other settings are another output.
        """
        _end([loop for settings, loop in self._loops.items() if settings not in wanted])
        kept = {settings: loop for settings, loop in self._loops.items() if settings in wanted}
        # As a new mapping: a scrape may be looking at the old one.
        self._loops = {
            settings: kept.get(settings) or PollLoop(make(), self._source) for settings, make in wanted.items()
        }
        for settings, loop in self._loops.items():
            if settings not in kept:
                loop.start()

    def stop(self) -> None:
        _end(list(self._loops.values()))

    def outputs(self) -> Sequence[Output]:
        return [loop.output for loop in self._loops.values()]


def _end(loops: Sequence[PollLoop]) -> None:
    for loop in loops:
        loop.stop()
    deadline = monotonic() + _STOP_WITHIN
    for loop in loops:
        loop.wait(deadline)
