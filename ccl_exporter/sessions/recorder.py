"""The session log on disk: an SQLite file in the state folder, written by a worker.

Readings are recorded in memory. A charge that begins or ends and a register that is reset are committed at once,
what goes on once a minute, what rests once an hour, as flash wears.
What a kill loses is recorded again from the charger's next reading.
"""

import logging
import sqlite3
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from ccl_exporter.clock import SYSTEM, Clock
from ccl_exporter.errors import StateError
from ccl_exporter.powerstudio.snapshot import ChargeRecord, Snapshot
from ccl_exporter.sessions import store
from ccl_exporter.sessions.store import PendingChanges
from ccl_exporter.sessions.tracker import (
    FinishedSession,
    RegisterAccount,
    RegisterCheck,
    plug_readings,
    update,
    watched,
)
from ccl_exporter.sqlite_file import Parts, are_in_place, close_database, is_damaged, opened_parts, set_aside
from ccl_exporter.station.judge import Station
from ccl_exporter.workers import Worker

log = logging.getLogger(__name__)

WRITE_EVERY = 60.0
"""Seconds between two commits of what merely goes on, and between two tries of one that failed."""

_AT_ONCE = 1.0  # seconds until what a damaged file did not take is committed to the next one
_OPEN_EVERY = 10.0  # seconds between two tries to open a file that could not be opened
_LOOK_EVERY = 60.0  # seconds after which a plug at rest is recorded although its charge is the same
_WRITE_AT_REST = 3600.0  # seconds after which it is written that a register still stands where it stood
_STALE = 60.0  # seconds; a reading that is older than the last by more was taken after the clock was set back
_LAST_WRITE = 5.0  # seconds that the last commit may take


class SessionRecorder:
    """Records the readings of all chargers; safe to be called from several threads, and never raises into them.

    Readings are recorded in memory; `worker`, once a supervisor has it, commits them, and so does `close`.
    A file that is damaged, removed, replaced or moved is begun anew with the register accounts in memory; what
    stands at its path is set aside. One that cannot be opened, or that a newer version made, is left alone and
    tried again; until it was opened once, nothing is recorded, as nobody knows what has been recorded already.
    """

    def __init__(self, path: Path, clock: Clock = SYSTEM) -> None:
        self._path = path
        self._clock = clock
        self._memory = threading.Lock()
        self._accounts: dict[tuple[str, str], RegisterAccount] = {}
        self._checks: dict[tuple[str, str], RegisterCheck] = {}
        self._last: dict[str, tuple[float, Mapping[str, ChargeRecord]]] = {}
        self._written: dict[tuple[str, str], float] = {}
        self._pending = PendingChanges()
        self._urgent = False
        self._closing = False
        self._is_loaded = False  # whether the accounts are known
        self._failing = ""
        self._writing = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened: Parts = []
        self.worker = Worker("sessions", self._step)
        self._open()

    def note(self, charger_name: str, read: Snapshot | Station) -> None:
        """Record what a read brought; the same one again, or one that tells nothing new, costs nothing."""
        try:
            self._note(charger_name, read)
        except Exception as error:  # noqa: BLE001 - a session that cannot be recorded must not cost a reading
            self.worker.log_once(error)

    def _note(self, charger_name: str, read: Snapshot | Station) -> None:
        station = read if isinstance(read, Station) else Station(read)
        snapshot = station.snapshot
        if not snapshot.up or not snapshot.charges:
            return
        with self._memory:
            if not self._is_loaded or self._closing or not self._new(charger_name, snapshot):
                return
            self._last[charger_name] = (snapshot.taken, snapshot.charges)
            for plug, reading in plug_readings(station).items():
                name = (charger_name, plug)
                account = self._accounts.get(name)
                if not self._checks.setdefault(name, RegisterCheck()).passes(account, reading):
                    self._keep(name, watched(account, reading))
                elif (result := update(charger_name, account, reading)) is not None:
                    self._keep(name, result.account)
                    if result.finished is not None:
                        self._pending.finished.append((snapshot.taken, result))
            urgent = self._urgent
        # Without a file it is tried again in time, whatever is urgent.
        if urgent and self._connection is not None:
            self.worker.wake()

    def finished(self, after: int) -> list[tuple[int, FinishedSession]]:
        """The charges whose id is above `after`, ascending; ids are never used twice, nor after a damage.

        A charge that went on after its end comes again under a new id, with the same request and begin.
        """
        if not self._opened or not are_in_place(self._opened):
            self.worker.wake()
            return []
        try:
            return store.finished(self._path, after)
        except sqlite3.Error as error:
            self._say(f"cannot be read: {error}")
            return []

    def close(self, deadline: float | None = None) -> None:
        """Commit what is left, then end, at `deadline` (monotonic), by default in five seconds."""
        deadline = monotonic() + _LAST_WRITE if deadline is None else deadline
        with self._memory:
            self._closing = True
        self.worker.stop()
        self.worker.join(deadline)
        if self._writing.acquire(timeout=max(deadline - monotonic(), 0.0)):
            with suppress(Exception):  # what cannot be committed now comes from the charger's next reading
                # A second time for a file that turned out to be damaged.
                if self._write() == _AT_ONCE:
                    self._write()
            self._close_file()
            self._writing.release()

    # In the threads of those who read

    def _new(self, charger: str, snapshot: Snapshot) -> bool:
        """Whether a snapshot may tell more than the last one of this charger."""
        last = self._last.get(charger)
        if last is None:
            return True
        taken, charges = last
        since = snapshot.taken - taken
        if snapshot.charges != charges:
            return since >= 0 or since < -_STALE
        if -_STALE < since <= 0:
            return False
        return not 0 < since < _LOOK_EVERY or not all(self._rests((charger, plug)) for plug in charges)

    def _rests(self, name: tuple[str, str]) -> bool:
        account, scrutiny = self._accounts.get(name), self._checks.get(name)
        return account is not None and account.running is None and scrutiny is not None and scrutiny.settled

    def _keep(self, name: tuple[str, str], account: RegisterAccount | None) -> None:
        if account is None:
            return
        before = self._accounts.get(name)
        self._accounts[name] = account
        rests = before is not None and replace(before, at=account.at, clock=account.clock) == account
        if rests and 0 <= account.at - self._written.get(name, float("-inf")) < _WRITE_AT_REST:
            return
        self._pending.accounts[*name, account.register_generation] = account
        self._written[name] = account.at
        if before is None or _turned(before, account):
            self._urgent = True

    # Writing, by the worker

    def _step(self, now: float) -> float:
        """Commit what is to be; `now` is not needed, as what waits is committed each time."""
        with self._writing:
            return self._write()

    def _write(self) -> float:
        """Commit what is to be; the seconds until it should be tried again."""
        if self._connection is not None and not are_in_place(self._opened):
            # Where only the journal was removed, closing brings what it held into the file.
            is_moved = not are_in_place(self._opened[:1])
            self._close_file()
            if not is_moved or self._can_set_aside("was removed, replaced or moved while it was used"):
                self._open()
        elif self._connection is None:
            self._open()
        connection = self._connection
        if connection is None:
            return _OPEN_EVERY
        with self._memory:
            batch, self._pending, self._urgent = self._pending, PendingChanges(), False
        if not batch.accounts and not batch.finished:
            return WRITE_EVERY
        try:
            store.commit(connection, batch)
        except BaseException as error:
            with self._memory:
                self._pending.finished[:0] = batch.finished
                self._pending.accounts = batch.accounts | self._pending.accounts
            if not isinstance(error, sqlite3.Error):
                raise
            if is_damaged(error):
                self._close_file()
                if self._can_set_aside(f"is damaged ({error})"):
                    self._open()
                return _AT_ONCE
            self._say(f"cannot be written for now, its charges wait: {error}")
        else:
            self._say("")
        return WRITE_EVERY

    def _say(self, trouble: str) -> None:
        """A line in the log when the file can be used no more, for another reason, or again."""
        if trouble and trouble != self._failing:
            log.error("the session log %s %s", self._path, trouble)
        elif not trouble and self._failing:
            log.info("the session log can be written again")
        self._failing = trouble

    # The file

    def _open(self) -> None:
        """Open the file; its accounts are those of the last run at first, later those in memory go into it."""
        try:
            try:
                self._connection, found = store.opened(self._path, self._clock.wall())
            except sqlite3.Error as error:
                if not is_damaged(error):
                    raise
                self._set_aside(f"is damaged ({error})")
                self._connection, found = store.opened(self._path, self._clock.wall())
            self._opened = opened_parts(self._path)
        except (OSError, sqlite3.Error, StateError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            what = "charges wait" if self._is_loaded else "charges are not recorded"
            self._say(f"cannot be used for now, {what}: {why}")
            return
        with self._memory:
            if self._is_loaded:
                known = {(*name, account.register_generation): account for name, account in self._accounts.items()}
                self._pending.accounts = known | self._pending.accounts
            else:
                self._accounts = {(charger, plug): account for charger, plug, account in found}
                self._is_loaded = True
        self._say("")

    def _can_set_aside(self, trouble: str) -> bool:
        try:
            self._set_aside(trouble)
        except OSError as error:
            self._say(f"{trouble} and cannot be set aside: {error.strerror or error}")
            return False
        return True

    def _set_aside(self, trouble: str) -> None:
        done = "a new one begins"
        if self._path.exists():
            aside = set_aside(
                self._path, f"damaged-{datetime.fromtimestamp(self._clock.wall(), UTC):%Y%m%dT%H%M%S%fZ}"
            )
            done = f"it is {aside} now and {done}"
        log.error("the session log %s %s; %s", self._path, trouble, done)

    def _close_file(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                close_database(self._connection, self._opened)
        self._connection, self._opened = None, []


def _turned(before: RegisterAccount, after: RegisterAccount) -> bool:
    """Whether more happened than that time went by."""
    keys = [account.running.key if account.running is not None else None for account in (before, after)]
    return (
        before.register_generation != after.register_generation
        or before.recorded != after.recorded
        or keys[0] != keys[1]
    )
