"""The session log on disk: an SQLite file in the state folder, written by a worker.

Reads are recorded in memory. To spare the flash, the begin and end of a session and the reset of a register are
committed at once, a running session once a minute, an idle plug once an hour.
After a kill the charger's next read brings what was not committed, except a highest power.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic

from ccl_exporter.clock import SYSTEM, Clock
from ccl_exporter.errors import StateError
from ccl_exporter.http_client import resolved_address
from ccl_exporter.powerstudio.snapshot import ChargeRecord, Snapshot
from ccl_exporter.sessions import store
from ccl_exporter.sessions.identities import Identities, KnownCharger
from ccl_exporter.sessions.store import MOST_DAYS, ChargerState, DayEnergy, EndedSession, PendingChanges
from ccl_exporter.sessions.tracker import (
    Costs,
    FinishedSession,
    PlugReading,
    RegisterAccount,
    plug_readings,
    update,
    watched,
)
from ccl_exporter.sqlite_file import (
    Parts,
    are_in_place,
    close_database,
    has_no_room,
    is_damaged,
    opened_parts,
    set_aside,
)
from ccl_exporter.station.judge import Station
from ccl_exporter.station.plausibility import RegisterLevel
from ccl_exporter.tariff import Tariff
from ccl_exporter.workers import Worker

log = logging.getLogger(__name__)

WRITE_EVERY = 60.0
"""Seconds between commits of what is not urgent, and before a failed commit is tried again."""

_AT_ONCE = 1.0  # seconds until a batch that a damaged file rejected is committed to the new file
_OPEN_EVERY = 10.0  # seconds between two tries to open a file that could not be opened
_LOOK_EVERY = 60.0  # seconds after which an idle charger is recorded again although chargeInfo is unchanged
_WRITE_AT_REST = 3600.0  # seconds between commits of a register that does not change
_READ_WITHIN = 3600.0  # seconds after its commit in which every output is taken to have read a session
_STALE = 60.0  # seconds; a read that is older than the last by more shows that the clock was set back
_RESOLVED_WITHIN = 2.0  # seconds
_LAST_WRITE = 5.0  # seconds that the last commit may take


@dataclass(slots=True)
class _ChargerLog:
    """The state of a charger in memory, and what of it was last queued for a commit.

    `last` is the time and the chargeInfo of the last recorded read, `written` the time of each plug's last
    queued account.
    """

    state: ChargerState = field(default_factory=ChargerState)
    last: tuple[float, Mapping[str, ChargeRecord]] | None = None
    is_settled: bool = False
    """Whether all plugs of the last read could be recorded."""
    written: dict[str, float] = field(default_factory=dict)
    written_levels: dict[str, RegisterLevel] = field(default_factory=dict)
    exchanged: set[str] = field(default_factory=set)
    """Plugs whose account is of another charger that had this name before."""

    @classmethod
    def of(cls, state: ChargerState) -> "_ChargerLog":
        """The log of a charger whose state was read from the file."""
        return cls(state, written_levels=dict(state.levels))

    def may_tell_more(self, snapshot: Snapshot) -> bool:
        """Whether a snapshot may hold something that the last recorded one did not."""
        if self.last is None:
            return True
        taken, charges = self.last
        since = snapshot.taken - taken
        if snapshot.charges != charges:
            return since >= 0 or since < -_STALE
        if -_STALE < since <= 0:
            return False
        return not 0 < since < _LOOK_EVERY or not self._is_at_rest()

    def _is_at_rest(self) -> bool:
        return self.is_settled and all(account.running is None for account in self.state.accounts.values())


class SessionRecorder:
    """Records the reads of all chargers; safe to use from several threads.

    It also stores the register levels of the filter, and the energy of each plug by day.
    Reads are recorded in memory. `worker` commits them once a supervisor runs it; `close` commits the rest.
    If the file is damaged, removed, replaced or moved, what is at its path is set aside and a new file begins with
    what is in memory. A file that cannot be opened, or that a newer version made, is left alone and tried again.
    Nothing is recorded until the file was read once, as it is not known what it holds already.
    """

    def __init__(self, path: Path, clock: Clock = SYSTEM) -> None:
        self._path = path
        self._clock = clock
        self.tariff: Tariff | None = None
        """The prices of energy from now on; None without a tariff."""
        self.configured_names: Callable[[], Collection[str]] = tuple
        """The names in the configuration; a known charger whose name is not among them has been renamed."""
        self._memory = threading.Lock()
        self._logs: dict[str, _ChargerLog] = {}
        self._forgotten: set[str] = set()
        self._identities = Identities({})
        self._pending = PendingChanges()
        self._recent: list[tuple[float, EndedSession]] = []
        """Sessions with the monotonic time of their commit; outputs may not have read them yet."""
        self._urgent = False
        self._closing = False
        self._is_loaded = False  # whether the file was read
        self._failing = ""
        self._writing = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened: Parts = []
        self.worker = Worker("sessions", self._step)
        self._open()

    def note(self, charger_name: str, read: Snapshot | Station) -> None:
        """Record a read; one with nothing new is ignored. Raises nothing: an error is logged."""
        try:
            self._note(charger_name, read)
        except Exception as error:  # noqa: BLE001 - a session that cannot be recorded must not cost a reading
            self.worker.log_once(error)

    def _note(self, charger: str, read: Snapshot | Station) -> None:
        station = read if isinstance(read, Station) else Station(read)
        snapshot = station.snapshot
        if not snapshot.up:
            return
        with self._memory:
            known = self._log_of(charger)
            if known is None or not known.may_tell_more(snapshot):
                return
            known.last = (snapshot.taken, snapshot.charges)
            recorded = [
                self._record(charger, known, plug, reading) for plug, reading in plug_readings(station).items()
            ]
            known.is_settled = all(recorded)
        self._wake_if_urgent()

    def identify(self, charger: str, url: str, plug_ids: Collection[str]) -> str | None:
        """Note which charger answered, and return the key of its levels.

        The key is the smallest id of its plugs, without ids the key that it had at its URL before, else the URL.
        It is None before the file was read, and after `close`.
        Chargers that share an id are known by their URLs. A renamed charger keeps its sessions; if another
        charger has the name now, new accounts begin.
        """
        id = min(plug_ids, default=None)
        with self._memory:
            if not self._is_loaded or self._closing:
                return None
            other = self._identities.other(url, id) if id is not None else None
        are_copies = other is not None and not self._is_same(url, other)
        with self._memory:
            known = self._identities.known
            before = known.get(url)
            if id is None:
                id = before.id if before is not None else url
            if are_copies and other in known and not self._identities.copied(id):
                names = (charger, known[other].name)
                log.warning("%s and %s have the same plug ids: their levels are kept by URL", *names)
                self._keep_identity(other, known[other]._replace(is_copy=True))
            now = KnownCharger(id, charger, are_copies or self._identities.copied(id))
            if now != before:
                self._take_identity(url, before, now)
            key = self._identities.key(url)
        self._wake_if_urgent()
        return key

    def _is_same(self, url: str, other: str) -> bool:
        """Whether two URLs lead to one address; also true if one of them cannot be resolved now."""
        addresses = {resolved_address(each, _RESOLVED_WITHIN) for each in (url, other)}
        if len(addresses) == 1:
            self._identities.same.add(frozenset((url, other)))
        return len(addresses) == 1 or None in addresses

    def _take_identity(self, url: str, before: KnownCharger | None, now: KnownCharger) -> None:
        known = self._identities.known
        configured = {*self.configured_names(), now.name}
        if any(each.name == now.name and each.id not in (now.id, at) for at, each in known.items()):
            self._note_exchange(now.name)
        if before is not None and before.id == now.id and before.name != now.name and before.name in configured:
            self._note_exchange(before.name)
        for at, each in list(known.items()):
            is_renamed = each.id == now.id and each.name not in configured
            if is_renamed:
                self._rename(each.name, now.name)
            if (is_renamed or each.name == now.name) and not each.is_copy:
                self._keep_identity(at, None)
        self._keep_identity(url, now)
        # Early versions of 0.2 stored levels by the name.
        if before is None and now.name not in known and now.name in self._logs:
            named, own = self._logs[now.name].state.levels, self._log_of(self._identities.key(url))
            if own is not None and not own.state.levels:
                own.state.levels.update(named)
                key = self._identities.key(url)
                self._pending.levels |= {(key, register): level for register, level in named.items()}
            named.clear()

    def _note_exchange(self, name: str) -> None:
        """Have new accounts begin under a name, which another charger has from now on."""
        log_of = self._log_of(name)
        if log_of is not None:
            log_of.exchanged.update(log_of.state.accounts)

    def _keep_identity(self, url: str, charger: KnownCharger | None) -> None:
        self._identities.known.pop(url, None)
        if charger is not None:
            self._identities.known[url] = charger
        self._pending.identities[url] = charger
        self._urgent = True

    def _rename(self, before: str, now: str) -> None:
        """Move the sessions of a charger to its new name, unless that name has accounts already."""
        old, new = self._log_of(before), self._log_of(now)
        if old is None or new is None or not old.state.accounts or new.state.accounts:
            return
        log.info("%s is called %s now and keeps its sessions", before, now)
        self._logs[now] = self._logs.pop(before)
        self._pending.renamed.append((before, now))

    def levels(self, key: str) -> Mapping[str, RegisterLevel]:
        """The stored levels of a charger by register; empty if none are known. `key` is that of `identify`."""
        with self._memory:
            known = self._log_of(key)
            return dict(known.state.levels) if known is not None else {}

    def note_levels(self, key: str, levels: Mapping[str, RegisterLevel]) -> None:
        """Store the levels of a charger by register after a read. `key` is that of `identify`."""
        with self._memory:
            known = self._log_of(key)
            if known is None:
                return
            known.state.levels.update(levels)
            for register, level in levels.items():
                before = known.written_levels.get(register)
                if before is not None and _is_at_rest(before, level):
                    continue
                turned = level.value < before.value or level.is_partial != before.is_partial if before else True
                self._urgent |= turned
                known.written_levels[register] = level
                self._pending.levels[key, register] = level
        self._wake_if_urgent()

    def energy_by_day(self, charger: str, since_day: str) -> Mapping[str, Mapping[str, float]]:
        """The energy of each plug in joules, by local day (`2026-11-30`) from `since_day` on.

        The growth of a register between two reads counts for the day of the later one.
        """
        with self._memory:
            known = self._logs.get(charger)
            plugs = known.state.days if known is not None else {}
            return {
                plug: {day: energy.joules for day, energy in days.items() if day >= since_day}
                for plug, days in plugs.items()
            }

    def costs(self, charger: str, since_day: str) -> Costs | None:
        """The cost of the energy in `energy_by_day` and of the running sessions; None without a tariff."""
        with self._memory:
            if self.tariff is None:
                return None
            state = known.state if (known := self._logs.get(charger)) is not None else ChargerState()
            days = {
                plug: {day: energy.cost for day, energy in days.items() if day >= since_day}
                for plug, days in state.days.items()
            }
            running = {
                plug: account.running.cost
                for plug, account in state.accounts.items()
                if account.running is not None and account.running.cost is not None
            }
            return Costs(self.tariff.currency, days, running)

    def forget_all_but(self, chargers: Collection[str]) -> None:
        """Drop other chargers from memory, unless changes of theirs wait for a commit; the file keeps all."""
        with self._memory:
            known = self._identities.known
            keys = {self._identities.key(url) for url, each in known.items() if each.name in chargers}
            for charger in self._logs.keys() - chargers - keys - self._pending.chargers():
                del self._logs[charger]
                self._forgotten.add(charger)

    def finished(self, after: int) -> list[tuple[int, FinishedSession]]:
        """Up to `MOST_AT_ONCE` sessions with ids above `after`, ascending; none while the file cannot be read.

        No id is used twice, even if the file is lost. A session that went on after its end comes again, with a
        new id; all come again if an older file took the place of the one that gave the id `after`.
        """
        if not self._opened or not are_in_place(self._opened):
            self.worker.wake()
            return []
        try:
            return store.finished(self._path, after)
        except sqlite3.Error as error:
            self._say(f"cannot be read: {error}")
            return []

    def latest_sessions(self, charger: str, most: int) -> list[FinishedSession]:
        """The last `most` sessions of a charger, newest first; none while the file cannot be read."""
        if not self._opened or not are_in_place(self._opened):
            return []
        try:
            return store.latest(self._path, charger, most)
        except sqlite3.Error as error:
            self._say(f"cannot be read: {error}")
            return []

    def close(self, deadline: float | None = None) -> None:
        """Commit what is pending and close the file by `deadline` (monotonic), by default within five seconds."""
        deadline = monotonic() + _LAST_WRITE if deadline is None else deadline
        with self._memory:
            self._closing = True
            # Idle plugs too: after a restart, the price of their energy depends on the time of the last read.
            for charger, known in self._logs.items() if self.tariff is not None else ():
                for plug, account in known.state.accounts.items():
                    self._pending.accounts[charger, plug, account.register_generation] = account
        self.worker.stop()
        self.worker.join(deadline)
        if self._writing.acquire(timeout=max(deadline - monotonic(), 0.0)):
            with suppress(Exception):  # the charger's next read brings what is not committed now
                # Again, to the new file, if the old one was damaged.
                if self._write() == _AT_ONCE:
                    self._write()
            self._close_file()
            self._writing.release()

    # In the threads of the readers

    def _wake_if_urgent(self) -> None:
        # Without an open file, the worker tries again at its own interval.
        if self._urgent and self._connection is not None:
            self.worker.wake()

    def _log_of(self, charger: str) -> _ChargerLog | None:
        """The log of a charger, read from the file again if it was dropped; None if that cannot be read now."""
        if not self._is_loaded or self._closing:
            return None
        if charger in self._forgotten:
            try:
                self._logs[charger] = _ChargerLog.of(store.state_of(self._path, charger))
            except (sqlite3.Error, StateError):
                return None
            self._forgotten.discard(charger)
        return self._logs.setdefault(charger, _ChargerLog())

    def _record(self, charger: str, known: _ChargerLog, plug: str, reading: PlugReading) -> bool:
        """Record a reading of a plug; False if its session could not be recorded."""
        before = known.state.accounts.get(plug)
        result = update(charger, before, reading, self.tariff, plug in known.exchanged)
        if result is None:
            self._keep(charger, known, plug, watched(before, reading))
            return False
        known.exchanged.discard(plug)
        after = result.account
        if before is not None and before.register_generation == after.register_generation:
            self._add_to_day(charger, known, plug, before, after)
        self._keep(charger, known, plug, after)
        self._pending.finished += [
            EndedSession(reading.taken, key, session, result.from_before) for key, session in result.finished
        ]
        return result.is_settled

    def _add_to_day(
        self, charger: str, known: _ChargerLog, plug: str, before: RegisterAccount, after: RegisterAccount
    ) -> None:
        joules, tariff = after.latest - before.latest, self.tariff
        if joules == 0:
            return
        days, day = known.state.days.setdefault(plug, {}), date.fromtimestamp(after.at).isoformat()
        old = days.get(day, DayEnergy())
        more = tariff.known_cost(joules, before.at, after.at) if tariff is not None else None
        cost = None if more is None or old.cost is None else old.cost + more
        days[day] = DayEnergy(old.joules + joules, cost)
        self._pending.days[charger, plug, day] = days[day]
        while len(days) > MOST_DAYS:
            del days[min(days)]

    def _keep(self, charger: str, known: _ChargerLog, plug: str, account: RegisterAccount | None) -> None:
        if account is None:
            return
        before = known.state.accounts.get(plug)
        known.state.accounts[plug] = account
        rests = before is not None and replace(before, at=account.at, clock=account.clock) == account
        if rests and 0 <= account.at - known.written.get(plug, float("-inf")) < _WRITE_AT_REST:
            return
        self._pending.accounts[charger, plug, account.register_generation] = account
        known.written[plug] = account.at
        self._urgent |= before is None or _turned(before, account)

    # Writing, by the worker

    def _step(self, now: float) -> float:
        """Commit what is pending, whatever the time is; the seconds until the next call."""
        with self._writing:
            return self._write()

    def _write(self) -> float:
        """Commit what is pending; the seconds until the next call."""
        if self._connection is not None and not are_in_place(self._opened):
            # If only the journal was removed, closing writes what it held to the file.
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
        if not batch:
            return WRITE_EVERY
        try:
            store.commit(connection, batch)
        except BaseException as error:
            with self._memory:
                self._pending.put_back(batch)
            if not isinstance(error, sqlite3.Error):
                raise
            if is_damaged(error):
                self._close_file()
                if self._can_set_aside(f"is damaged ({error})"):
                    self._open()
                return _AT_ONCE
            self._say(f"cannot be written for now, sessions wait: {error}")
        else:
            self._say("")
            self._recent = self._not_read_yet() + [(self._clock.monotonic(), ended) for ended in batch.finished]
        return WRITE_EVERY

    def _not_read_yet(self) -> list[tuple[float, EndedSession]]:
        now = self._clock.monotonic()
        return [(at, ended) for at, ended in self._recent if now - at < _READ_WITHIN]

    def _say(self, failure: str) -> None:
        """Log when the file becomes unusable, when the reason changes, and when it is usable again."""
        if failure and failure != self._failing:
            log.error("the session log %s %s", self._path, failure)
        elif not failure and self._failing:
            log.info("the session log can be written again")
        self._failing = failure

    # The file

    def _open(self) -> None:
        """Open the file: the first time, take what it holds; later, queue what is in memory for it."""
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
            if not self._is_loaded and has_no_room(error):
                with suppress(OSError, sqlite3.Error, StateError):
                    self._take(store.contents(self._path))
            what = "sessions wait" if self._is_loaded else "sessions are not recorded"
            self._say(f"cannot be used for now, {what}: {why}")
            return
        if self._is_loaded:
            with self._memory:
                for charger, each in self._logs.items():
                    self._pending.put_back(PendingChanges.of(charger, each.state))
                recent = [ended for _, ended in self._not_read_yet()]
                self._pending.put_back(PendingChanges(recent, identities={**self._identities.known}))
        else:
            self._take(found)
        self._say("")

    def _take(self, found: store.Contents) -> None:
        """Continue from the contents of the file."""
        with self._memory:
            self._logs = {charger: _ChargerLog.of(state) for charger, state in found.states.items()}
            self._identities = Identities(found.known)
            self._is_loaded = True

    def _can_set_aside(self, failure: str) -> bool:
        try:
            self._set_aside(failure)
        except OSError as error:
            self._say(f"{failure} and cannot be set aside: {error.strerror or error}")
            return False
        return True

    def _set_aside(self, failure: str) -> None:
        done = "a new one begins"
        if self._path.exists():
            aside = set_aside(
                self._path, f"damaged-{datetime.fromtimestamp(self._clock.wall(), UTC):%Y%m%dT%H%M%S%fZ}"
            )
            done = f"it is {aside} now and {done}"
        log.error("the session log %s %s; %s", self._path, failure, done)

    def _close_file(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                close_database(self._connection, self._opened)
        self._connection, self._opened = None, []


def _is_at_rest(before: RegisterLevel, level: RegisterLevel) -> bool:
    """Whether a level needs no commit yet."""
    return (
        level.value == before.value
        and level.falls == before.falls
        and level.is_partial == before.is_partial
        and 0 <= level.at - before.at < _WRITE_AT_REST
    )


def _turned(before: RegisterAccount, after: RegisterAccount) -> bool:
    """Whether a session began or ended, or the register was reset."""
    keys = [account.running.key if account.running is not None else None for account in (before, after)]
    return (
        before.register_generation != after.register_generation
        or before.recorded != after.recorded
        or keys[0] != keys[1]
    )
