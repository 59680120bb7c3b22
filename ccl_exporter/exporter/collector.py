"""From a charger to samples: a read, its sessions recorded in the session log, its samples."""

import logging
import threading
from collections.abc import Collection, Sequence
from math import inf

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.recent_readings import RecentReadings
from ccl_exporter.metrics.families import Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.settings import MODULES, Module
from ccl_exporter.station.judge import Station, core_variables
from ccl_exporter.station.plug import conflicts

log = logging.getLogger(__name__)


class Collector:
    """Reads chargers and records their sessions where there is a `recorder`; safe to use from several threads."""

    def __init__(self, recorder: SessionRecorder | None, recent: RecentReadings | None = None) -> None:
        self._recorder = recorder
        self._recent = recent
        self._conflicts: set[tuple[str, str]] = set()
        self._families: dict[tuple[str, ...], str] = {}
        self._lock = threading.Lock()

    def collect(
        self, charger: Charger, timeout: float, modules: Sequence[Module] = MODULES, max_age: float = inf
    ) -> tuple[Snapshot, list[Sample]]:
        """A read of a charger, begun at most `max_age` seconds ago, and its samples."""
        station = self.read_and_record(charger, timeout, modules, max_age)
        found = samples(station, modules=modules, exclude=charger.settings.exclude)
        self._log_changes(charger.settings.name, found)
        return station.snapshot, found

    def read_and_record(
        self, charger: Charger, timeout: float, modules: Sequence[Module] = MODULES, max_age: float = inf
    ) -> Station:
        """A read of a charger as `collect` makes it, recorded in the session log, without samples."""
        station = Station(charger.read(timeout, None if "variables" in modules else core_variables, max_age))
        self._log_conflicts(charger.settings.name, station.snapshot)
        if self._recorder is not None:
            self._recorder.note(charger.settings.name, station)
        if self._recent is not None:
            self._recent.note(charger.settings.name, station)
        return station

    def forget_all_but(self, chargers: Collection[str]) -> None:
        """Drop what is remembered of other chargers."""
        with self._lock:
            self._conflicts = {known for known in self._conflicts if known[0] in chargers}
            self._families = {known: name for known, name in self._families.items() if known[0] in chargers}
        if self._recorder is not None:
            self._recorder.forget_all_but(chargers)

    def _log_conflicts(self, charger: str, snapshot: Snapshot) -> None:
        """Log once what the plugInfo of a charger contradicts itself in."""
        for sentence in conflicts(snapshot.inventory):
            with self._lock:
                is_new = (charger, sentence) not in self._conflicts
                self._conflicts.add((charger, sentence))
            if is_new:
                log.warning("%s: %s", charger, sentence)

    def _log_changes(self, charger: str, found: Sequence[Sample]) -> None:
        """Log when a variable moves to another family: its unit became known, or the engine changed its mind."""
        with self._lock:
            for sample in found:
                name = sample.family.name
                if len(sample.labels) == 2 and name.startswith("ccl_variable_"):
                    before = self._families.setdefault((charger, *sample.labels), name)
                    if before != name:
                        self._families[charger, *sample.labels] = name
                        log.warning("%s: %s is %s now, was %s", charger, ".".join(sample.labels), name, before)
