"""The live pages: reads the chargers of a page, and passes what is known to the renderer."""

import threading
from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from time import time

from ccl_exporter import __version__
from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.collector import Collector
from ccl_exporter.exporter.recent_readings import RecentReadings
from ccl_exporter.exporter.target_registry import TargetRegistry
from ccl_exporter.exporter.web.markup import PageTime
from ccl_exporter.exporter.web.page import charger_page, front_page
from ccl_exporter.exporter.web.views import MOST_SESSIONS, ChargerHistory, ChargerView, EnergyRecord, PageContext
from ccl_exporter.metrics.families import Sample
from ccl_exporter.workers import Pool

_OLD = 8.0  # seconds after which a page, which is updated every ten, wants a new read
_PATIENCE = 5.0  # seconds that a person waits for one
_READERS = 128
_MOST_READS = 20  # a second for the page of many, each of which is read less often then


class LivePages:
    """The pages of the chargers of a registry, read through a collector, which feeds `recent`.

    `record` is the session log, if there is one; `outputs` says how the outputs fare.
    `program` is this program as a person starts it.
    """

    def __init__(
        self,
        registry: TargetRegistry,
        collector: Collector,
        recent: RecentReadings,
        record: EnergyRecord | None,
        outputs: Callable[[], Iterable[Sample]],
        program: str,
    ) -> None:
        self._registry = registry
        self._collector = collector
        self._recent = recent
        self._record = record
        self._outputs = outputs
        self._program = program
        self.readers = Pool("page", _READERS)
        self._being_read: set[str] = set()
        self._lock = threading.Lock()

    def front(self, query: str, with_history: bool) -> bytes:
        """The page of all chargers. One charger is read for it, of many those that are old meanwhile."""
        chargers = self._registry.chargers()
        oldest = max(_OLD, len(chargers) / _MOST_READS)
        old = [charger for charger in chargers if self._age(charger) > oldest]
        if len(chargers) == 1 and old:
            self._collector.read_and_record(old[0], _PATIENCE, ("core",))
        else:
            for charger in old:
                self._read_meanwhile(charger)
        with_history = with_history and len(chargers) == 1
        return front_page([self._view(charger, with_history) for charger in chargers], self._context(), query)

    def charger(self, name: str, query: str, with_history: bool) -> bytes | None:
        """The page of one charger with all its variables; None if there is no such charger."""
        charger = self._registry.named(name)
        if charger is None:
            return None
        if charger.latest is None or time() - charger.latest.taken > _OLD:
            self._collector.read_and_record(charger, _PATIENCE)
        return charger_page(self._view(charger, with_history), charger.latest, self._context(), query)

    def _context(self) -> PageContext:
        return PageContext(PageTime(time()), __version__, tuple(self._outputs()))

    def _view(self, charger: Charger, with_history: bool) -> ChargerView:
        settings = charger.settings
        return ChargerView(
            name=settings.name,
            last=self._recent.last(settings.name),
            url=settings.url,
            title=settings.title,
            plug_titles=settings.plug_titles,
            labels=settings.labels,
            last_up_at=charger.last_up_at,
            history=self._history(settings.name) if with_history else None,
            program=self._program,
        )

    def _history(self, charger: str) -> ChargerHistory:
        now, record = PageTime(time()), self._record
        powers = self._recent.powers(charger, now.now)
        if record is None:
            return ChargerHistory(powers)
        since = f"{now.local:%Y-%m}-01"
        days, costs = record.energy_by_day(charger, since), record.costs(charger, since)
        return ChargerHistory(powers, days, record.latest_sessions(charger, MOST_SESSIONS), costs)

    def _age(self, charger: Charger) -> float:
        """Seconds since a charger was read; infinite if it never was, or if the clock was set back since."""
        last = self._recent.last(charger.settings.name)
        age = inf if last is None else time() - last.snapshot.taken
        return age if age >= 0 else inf

    def _read_meanwhile(self, charger: Charger) -> None:
        """Have a charger read, but once: one that does not answer takes longer than the page to be updated."""
        with self._lock:
            if charger.settings.name not in self._being_read:
                self._being_read.add(charger.settings.name)
                self.readers.submit(partial(self._read, charger))

    def _read(self, charger: Charger) -> None:
        try:
            if self._age(charger) > _OLD:
                self._collector.read_and_record(charger, _PATIENCE, ("core",))
        finally:
            with self._lock:
                self._being_read.discard(charger.settings.name)
