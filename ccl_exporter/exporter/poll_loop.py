"""Reading all chargers once an interval, for sinks that do not wait to be asked.

Readings go through the chargers' governors, so sinks and scrapes of one moment share them.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.metrics.families import Sample
from ccl_exporter.metrics.samples import Module
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.sessions.tracker import FinishedCharges

MOST_READERS = 16
"""Chargers that one sink reads at a time."""

LONGEST_READ = 30.0


@dataclass(frozen=True, slots=True)
class Source:
    """What is written: the chargers of now, a way to read one, and the record of finished charges, if any."""

    chargers: Callable[[], Sequence[Charger]]
    read: Callable[[Charger, float, Sequence[Module]], tuple[Snapshot, list[Sample]]]
    finished: FinishedCharges | None = None


Take = Callable[[Charger, Snapshot, list[Sample]], None]
"""What is done with a reading; called from several threads, for one charger from one at a time."""


class Rounds:
    """Reads every charger each `interval` seconds; one that is being read still is passed over."""

    def __init__(self, name: str, source: Source, interval: float, modules: Sequence[Module], take: Take) -> None:
        self._name = name
        self._source = source
        self._interval = interval
        self._modules = modules
        self._take = take
        self._stopping = threading.Event()
        self._work: queue.SimpleQueue[Charger | None] = queue.SimpleQueue()
        self._reading: set[str] = set()
        self._taken: dict[str, float] = {}
        self._readers: list[threading.Thread] = []

    def run(self, each_round: Callable[[Sequence[Charger]], None]) -> None:
        """Read round after round until `stop` is called; `each_round` is called after each was begun."""
        while not self._stopping.is_set():
            self._round(each_round)
            # Sinks of one interval read at the same moments, and so share their readings.
            self._stopping.wait(self._interval - monotonic() % self._interval)
        for _ in self._readers:
            self._work.put(None)

    def _round(self, each_round: Callable[[Sequence[Charger]], None]) -> None:
        """One round; nothing of it stays, so that a charger that a reload takes away goes."""
        chargers = self._source.chargers()
        self._begin(chargers)
        each_round(chargers)

    def stop(self) -> None:
        self._stopping.set()

    def _begin(self, chargers: Sequence[Charger]) -> None:
        """Have every charger read that is not being read still."""
        self._readers = [reader for reader in self._readers if reader.is_alive()]
        while len(self._readers) < min(len(chargers), MOST_READERS):
            self._readers.append(threading.Thread(target=self._read, name=f"reader {self._name}", daemon=True))
            self._readers[-1].start()
        for charger in chargers:
            if charger.settings.name not in self._reading:
                self._reading.add(charger.settings.name)
                self._work.put(charger)

    def _read(self) -> None:
        while (charger := self._work.get()) is not None:
            try:
                if not self._stopping.is_set():
                    self._read_one(charger)
            finally:
                self._reading.discard(charger.settings.name)
                del charger  # while waiting for the next one, this one may be taken away

    def _read_one(self, charger: Charger) -> None:
        name = charger.settings.name
        snapshot, found = self._source.read(charger, min(self._interval, LONGEST_READ), self._modules)
        if self._stopping.is_set() or self._taken.get(name) == snapshot.taken:
            return  # a reading that was shared with the one before is known already
        self._taken[name] = snapshot.taken
        self._take(charger, snapshot, found)
