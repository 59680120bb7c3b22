"""The session log on disk: an SQLite file in the state folder, written by a thread of its own.

Readings are recorded in memory. A charge that begins or ends and a register that is reset are committed at once,
what goes on once a minute, what rests once an hour, as flash wears.
What a kill loses is recorded again from the charger's next reading.
"""

import logging
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

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
from ccl_exporter.sqlite_file import is_damaged, set_aside
from ccl_exporter.station.judge import Station
from ccl_exporter.workers import Worker

log = logging.getLogger(__name__)

WRITE_EVERY = 60.0
"""Seconds between two commits of what merely goes on, and between two tries of one that failed."""

_LOOK_EVERY = 60.0  # seconds after which a plug at rest is recorded although its charge is the same
_WRITE_AT_REST = 3600.0  # seconds after which it is written that a register still stands where it stood
_STALE = 60.0  # seconds; a reading that is older than the last by more was taken after the clock was set back
_LAST_WRITE = 5.0  # seconds that the last commit may take


class SessionRecorder:
    """Records the readings of all chargers; safe to be called from several threads, and never raises into them.

    A file that is damaged is moved aside and a new one begun. One that cannot be opened, or that a newer
    version made, is left alone: nothing is recorded then, which is said once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = threading.Condition()
        self._accounts: dict[tuple[str, str], RegisterAccount] = {}
        self._checks: dict[tuple[str, str], RegisterCheck] = {}
        self._last: dict[str, tuple[float, Mapping[str, ChargeRecord]]] = {}
        self._written: dict[tuple[str, str], float] = {}
        self._pending = PendingChanges()
        self._urgent = False
        self._closing = False
        self._failing = False
        self._writer: threading.Thread | None = None
        self._connection = self._open()
        self.worker = Worker("sessions", lambda _: 3600.0)

    def note(self, charger_name: str, read: Snapshot | Station) -> None:
        """Record what a read brought; the same one again, or one that tells nothing new, costs nothing."""
        station = read if isinstance(read, Station) else Station(read)
        snapshot = station.snapshot
        if not snapshot.up or not snapshot.charges:
            return
        with self._changed:
            if self._connection is None or self._closing or not self._new(charger_name, snapshot):
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
            if self._urgent:
                self._changed.notify_all()
            if self._pending.accounts and self._writer is None:
                self._writer = threading.Thread(target=self._write, name="ledger", daemon=True)
                self._writer.start()

    def finished(self, after: int) -> list[tuple[int, FinishedSession]]:
        """The charges whose id is above `after`, ascending; ids are never used twice, nor after a damage.

        A charge that went on after its end comes again under a new id, with the same request and begin.
        """
        if self._connection is None:
            return []
        try:
            return store.finished(self._path, after)
        except sqlite3.Error as error:
            self._failed(error)
            return []

    def close(self, deadline: float | None = None) -> None:
        """Commit what is left, then end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._writer is not None:
            self._writer.join(_LAST_WRITE)
        elif self._connection is not None:
            self._connection.close()

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

    # Writing, in a thread of its own

    def _write(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(lambda: self._urgent or self._closing, WRITE_EVERY)
                batch, self._pending, self._urgent = self._pending, PendingChanges(), False
                closing = self._closing
            if batch.accounts or batch.finished:
                self._commit(batch)
        if self._connection is not None:
            self._connection.close()

    def _commit(self, batch: PendingChanges) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            store.commit(connection, batch)
        except sqlite3.Error as error:
            if is_damaged(error):
                self._begin_anew(connection, error)
                batch.accounts.clear()
            else:
                self._failed(error)
            with self._changed:
                self._pending.finished[:0] = batch.finished
                self._pending.accounts = batch.accounts | self._pending.accounts
        else:
            if self._failing:
                log.info("the ledger of charges can be written again")
            self._failing = False

    def _failed(self, error: sqlite3.Error) -> None:
        if not self._failing:
            log.error("the ledger of charges cannot be used for now, its charges wait: %s: %s", self._path, error)
        self._failing = True

    # The file

    def _open(self) -> sqlite3.Connection | None:
        """The ledger's file with the accounts of the last run; None if there can be none."""
        try:
            return self._load()
        except sqlite3.Error as error:
            if is_damaged(error):
                return self._replaced(error)
            log.warning("charges are not recorded: %s cannot be used: %s", self._path, error)
        except OSError as error:
            log.warning("charges are not recorded: %s: %s", self._path, error.strerror or error)
        except StateError as error:
            log.warning("charges are not recorded: %s", error)
        return None

    def _load(self) -> sqlite3.Connection:
        connection, found = store.opened(self._path)
        self._accounts = {(charger, plug): account for charger, plug, account in found}
        return connection

    def _replaced(self, error: sqlite3.Error) -> sqlite3.Connection | None:
        try:
            aside = set_aside(self._path, f"damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
            log.error("the ledger of charges is damaged (%s); it is %s now and a new one begins", error, aside)
            return self._load()
        except (OSError, sqlite3.Error, StateError) as worse:
            log.error("the ledger is damaged (%s), and charges are not recorded: %s", error, worse)
            return None

    def _begin_anew(self, connection: sqlite3.Connection, error: sqlite3.Error) -> None:
        connection.close()
        with self._changed:
            self._connection = self._replaced(error)
            self._checks.clear()
            self._last.clear()
            self._written.clear()
            self._pending.accounts.clear()
            self._urgent = True


def _turned(before: RegisterAccount, after: RegisterAccount) -> bool:
    """Whether more happened than that time went by."""
    keys = [account.running.key if account.running is not None else None for account in (before, after)]
    return (
        before.register_generation != after.register_generation
        or before.recorded != after.recorded
        or keys[0] != keys[1]
    )
