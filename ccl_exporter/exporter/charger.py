"""One charger and its one reader, whose result scrapes, outputs and pages share.

The charger never has two requests in flight, has a pause between them,
and is left alone for a while when it is absent, but for those who would wait longer than who found it so.
"""

import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Protocol

from ccl_exporter.clock import SYSTEM, Clock
from ccl_exporter.locks import ChargerLock
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.inventory import Selector
from ccl_exporter.powerstudio.learned import LearnedFile
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.station.plausibility import RegisterFilter, RegisterLevel

log = logging.getLogger(__name__)

SHARED_FOR = 0.9
"""Seconds for which a result is shared with those who come later; who asks once a second gets a new one."""

PATIENT_READS = 3
"""Reads in a row that an absent charger may fail before it is left alone."""

MORE_PATIENT = 0.5
"""Seconds by which a caller's timeout must exceed that of the failed read for a read despite the backoff."""

MOST_ABSENT_READS = 128
"""Chargers whose last read failed that are read at a time; more are skipped, so that healthy ones have readers."""

PROMPT = 1.0
"""Seconds within which a prompt charger is read; those have readers before the others."""

DESCRIBE_WITHIN = 2.5
"""Seconds of a read after which `learn` reads the descriptions that are left: no scrape waits for them."""

LEARN_FOR, LEARN_WITHIN = 10.0, 3.0
"""Seconds for which an inventory is read on, and for one piece of it, for which a read that comes has to wait."""

FIRST_BACKOFF = 2.0
LONGEST_BACKOFF = 30.0
"""Seconds that an absent charger is left alone, doubled from the first to the longest."""


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """Counts of the governor since the start, and the end of the backoff in Unix seconds (0: none)."""

    reads: int = 0
    shared: int = 0
    skipped: int = 0
    failed: int = 0
    backoff_until: float = 0.0


class LevelStore(Protocol):
    """The store of the levels of registers; see `SessionRecorder`."""

    def identify(self, charger: str, url: str, plug_ids: Collection[str]) -> str | None:
        """The key of the charger with these plugs, which stays when its name or URL changes; None if not known."""

    def levels(self, key: str) -> Mapping[str, RegisterLevel]:
        """The stored levels of a charger by register."""

    def note_levels(self, key: str, levels: Mapping[str, RegisterLevel]) -> None:
        """Store levels of a charger."""


class LastingFilter:
    """The filter of a charger's registers with its levels kept; goes on where another `Charger` replaces one.

    With a `store` it begins anew, with the levels that are stored, once another charger answers.
    """

    def __init__(self, store: LevelStore | None = None) -> None:
        self._filter = RegisterFilter()
        self._store = store
        self._key: str | None = None
        self._lock = threading.Lock()

    @property
    def needs_second_read(self) -> bool:
        """Whether the last read brought a first value that only another read can confirm."""
        return self._filter.needs_second_read

    def apply(self, snapshot: Snapshot, now: float, settings: ChargerSettings) -> Snapshot:
        """The snapshot judged; `now` is in monotonic seconds."""
        with self._lock:
            if snapshot.up and self._store is not None:
                self._identify(self._store, snapshot, settings)
            self._filter.most_watts = settings.max_power
            judged = self._filter.apply(snapshot, now)
            if judged.up and self._store is not None and self._key is not None:
                self._store.note_levels(self._key, self._filter.levels)
        return judged

    def _identify(self, store: LevelStore, snapshot: Snapshot, settings: ChargerSettings) -> None:
        key = store.identify(settings.name, settings.url, snapshot.plug_ids)
        if key is None or key == self._key:
            return
        if self._key not in (None, settings.url):
            self._filter = RegisterFilter()
        # What was read before its id or the file was known is of this charger.
        self._filter.recall(store.levels(key))
        self._key = key


class Charger:
    """Reads an engine for many callers; safe to use from several threads.

    `state` is the folder whose locks keep commands of the same machine apart, and where what is learned of the
    charger is kept; without it there is neither.
    `absent_reads` is what chargers share: while an absent one is read, one is taken.
    `transport` asks the charger, by default over the network with `clock`.
    `register_filter` is by default one that keeps no levels.
    A read that took `describe` seconds reads no further descriptions, which are left to `learn`.
    """

    def __init__(
        self,
        settings: ChargerSettings,
        state: Path | None = None,
        clock: Clock = SYSTEM,
        absent_reads: threading.Semaphore | None = None,
        transport: Transport | None = None,
        register_filter: LastingFilter | None = None,
        describe: float = inf,
    ) -> None:
        self.settings = settings
        if transport is None:
            lock = ChargerLock(state, settings.url, settings.pause) if state is not None else None
            transport = Transport(settings.url, settings.credentials, settings.source_address, lock, clock)
        self._clock = transport.clock
        memory = LearnedFile(state, settings.url) if state is not None else None
        self._engine = Engine(settings.name, transport, memory)
        self._describe = describe
        self.register_filter = register_filter or LastingFilter()
        self._turn = threading.Condition()
        self._reading = False
        self._waiting = 0
        self._result: _Result | None = None
        self._learned_from: _Result | None = None
        self.latest: Snapshot | None = None
        """What the last read of everything brought, or of a charger that is down, however old it is."""
        self.last_up_at: float | None = None
        """When the last read that brought values began, in Unix seconds."""
        self._absent = 0
        self._absent_within = 0.0
        self._absent_reads = absent_reads or threading.Semaphore(MOST_ABSENT_READS)
        self._backoff_until = float("-inf")
        self._idle_since = self._clock.monotonic()
        self.counts = ReadCounts()

    @property
    def last_read_at(self) -> float:
        """When the charger itself was asked last, on the governor's clock; minus infinity if it never was."""
        return self._result.begun if self._result is not None else -inf

    @property
    def idle(self) -> float:
        """Seconds since a read last began or was skipped; since the start where there was none."""
        return self._clock.monotonic() - max(self._idle_since, self.last_read_at)

    @property
    def needs_second_read(self) -> bool:
        """Whether the charger answers and a first value waits for another read to confirm it."""
        result = self._result
        return result is not None and result.snapshot.up and self.register_filter.needs_second_read

    @property
    def was_read_whole(self) -> bool:
        """Whether the last read was of all variables."""
        return self._result is not None and self._result.wanted is None

    @property
    def is_unread(self) -> bool:
        """Whether nothing has tried to read it yet."""
        return self._result is None and not self._reading

    @property
    def has_more_to_learn(self) -> bool:
        """Whether the charger answers and its inventory is not complete.

        Not if it did not answer in `learn`, until the next read.
        """
        result = self._result
        return (
            result is not None
            and result.snapshot.up
            and not self._engine.is_complete
            and result is not self._learned_from
        )

    @property
    def is_prompt(self) -> bool:
        """Whether the last read brought values, and within a second."""
        result = self._result
        return result is not None and result.snapshot.up and result.read_until - result.begun <= PROMPT

    def close(self) -> None:
        self._engine.close()

    def read(self, timeout: float, wanted: Selector | None = None, oldest: float = inf) -> Snapshot:
        """Everything that can be read within `timeout` seconds, or what another caller has just read.

        `wanted` may leave out variables; a reading of all serves those who want fewer, not the reverse.
        A reading that was begun more than `oldest` seconds ago does not serve.
        Never raises for what the charger does.
        """
        if self.settings.timeout is not None:
            timeout = min(timeout, self.settings.timeout)
        started = self._clock.monotonic()
        with self._turn:
            self._waiting += 1
            is_free = self._turn.wait_for(lambda: not self._reading, timeout)
            self._waiting -= 1
            # A caller that shares a reading or times out ends no reading; `learn` waits until no caller waits.
            self._turn.notify_all()
            if not is_free:
                return Snapshot(
                    self._clock.wall(), self._clock.monotonic() - started, timeout, requests=0, up=False
                )
            result = self._result
            left = max(timeout - (self._clock.monotonic() - started), 0.0)
            if result is not None and result.serves(wanted, started, oldest, left):
                self.counts = replace(self.counts, shared=self.counts.shared + 1)
                return result.snapshot
            if self._clock.monotonic() < self._backoff_until and left <= self._absent_within + MORE_PATIENT:
                return self._skipped(started, timeout)
            is_absent = self._absent > 0
            if is_absent and not self._absent_reads.acquire(blocking=False):
                return self._skipped(started, timeout)
            self._reading = True
            begun = self._clock.monotonic()
        snapshot = None
        try:
            sent = self._engine.read(left, wanted, self._describe)
            judged = self.register_filter.apply(sent, self._clock.monotonic(), self.settings)
            snapshot = replace(judged, timeout=timeout)
            for sentence in judged.changes:
                log.warning("%s: %s", self.settings.name, sentence)
        finally:
            if is_absent:
                self._absent_reads.release()
            with self._turn:
                self._reading = False
                if snapshot is not None:
                    self._note(_Result(snapshot, wanted, left, begun, self._clock.monotonic()))
                self._turn.notify_all()
        return snapshot

    def learn(self) -> Snapshot:
        """Read on in the inventory for a while, letting others read in between; returns the last snapshot.

        There must have been a read. Never raises for what the charger does.
        """
        began = self._clock.monotonic()
        while self.has_more_to_learn and self._clock.monotonic() - began < LEARN_FOR:
            with self._turn:
                if not self._turn.wait_for(lambda: not self._reading and not self._waiting, LEARN_FOR):
                    break
                self._reading, result = True, self._result
            try:
                if not self._engine.learn(LEARN_WITHIN):
                    self._learned_from = result
            finally:
                with self._turn:
                    self._reading = False
                    self._turn.notify_all()
        assert self._result is not None, "learn follows a read"  # noqa: S101
        return self._result.snapshot

    def _note(self, result: "_Result") -> None:
        self._result, snapshot = result, result.snapshot
        if result.wanted is None or not snapshot.up:
            self.latest = snapshot
        if snapshot.up:
            self.last_up_at = snapshot.taken
        self._absent = 0 if snapshot.up else self._absent + 1
        self._absent_within = 0.0 if snapshot.up else max(self._absent_within, result.within)
        backoff = 0.0
        if self._absent >= PATIENT_READS:
            backoff = min(FIRST_BACKOFF * 2.0 ** min(self._absent - PATIENT_READS, 10), LONGEST_BACKOFF)
        self._backoff_until = self._clock.monotonic() + backoff if backoff else float("-inf")
        self.counts = replace(
            self.counts,
            reads=self.counts.reads + 1,
            failed=self.counts.failed + (not snapshot.up),
            backoff_until=self._clock.wall() + backoff if backoff else 0.0,
        )

    def _skipped(self, started: float, timeout: float) -> Snapshot:
        """The answer for a charger that is left alone: absent, without asking it."""
        self._idle_since = self._clock.monotonic()
        self.counts = replace(self.counts, skipped=self.counts.skipped + 1)
        documents = self._result.snapshot.documents if self._result is not None else ()
        return Snapshot(
            self._clock.wall(),
            self._clock.monotonic() - started,
            timeout,
            requests=0,
            up=False,
            documents=documents,
        )


@dataclass(frozen=True, slots=True)
class _Result:
    """A snapshot, what was wanted of it, the seconds it had, and its times on the governor's clock."""

    snapshot: Snapshot
    wanted: Selector | None
    within: float
    begun: float
    read_until: float

    def serves(self, wanted: Selector | None, at: float, oldest: float, within: float) -> bool:
        recent = self.read_until >= at - SHARED_FOR and self.begun >= at - oldest
        # No answer within one second says nothing about ten seconds.
        conclusive = self.snapshot.up or within <= self.within + MORE_PATIENT
        return recent and conclusive and (self.wanted is None or self.wanted == wanted)
