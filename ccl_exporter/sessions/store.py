"""The SQLite file of the session log: its tables, their upgrade, writing a batch, reading."""

import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ccl_exporter.errors import StateError
from ccl_exporter.powerstudio.snapshot import ChargeRecord
from ccl_exporter.sessions.identities import KnownCharger
from ccl_exporter.sessions.tracker import FinishedSession, RegisterAccount, TrackedSession
from ccl_exporter.sqlite_file import PATIENCE, DamagedFile, has_no_room, open_database, schema_version
from ccl_exporter.station.plausibility import RegisterLevel
from ccl_exporter.station.plug import judge_session

SESSIONS_FILE = "charges.db"
"""The name of the session log in the state folder."""

MOST_DAYS = 400
"""Days whose energy is kept in memory for each plug; the file keeps all."""

_T = TypeVar("_T")

_SCHEMA = 3
_FINISHED = """
CREATE TABLE finished (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    charger TEXT NOT NULL, plug TEXT NOT NULL, key REAL NOT NULL, noted REAL NOT NULL,
    requested REAL, begun REAL, ended REAL, joules REAL NOT NULL, seconds REAL,
    stop_reason INTEGER, highest_watts REAL, cost REAL, currency TEXT,
    UNIQUE (charger, plug, key)
)"""
_ACCOUNTS = """
CREATE TABLE accounts (
    charger TEXT NOT NULL, plug TEXT NOT NULL, era INTEGER NOT NULL,
    began REAL NOT NULL, first REAL NOT NULL, latest REAL NOT NULL, at REAL NOT NULL, clock REAL,
    charged REAL NOT NULL, running TEXT NOT NULL, recorded TEXT NOT NULL,
    PRIMARY KEY (charger, plug, era)
)"""
_NEW_IN_2 = (
    """
CREATE TABLE levels (
    charger TEXT NOT NULL, register TEXT NOT NULL,
    value REAL NOT NULL, at REAL NOT NULL, clock REAL, falls TEXT NOT NULL, partial INTEGER NOT NULL,
    PRIMARY KEY (charger, register)
) WITHOUT ROWID""",
    """
CREATE TABLE days (
    charger TEXT NOT NULL, plug TEXT NOT NULL, day TEXT NOT NULL, joules REAL NOT NULL, cost REAL,
    PRIMARY KEY (charger, plug, day)
) WITHOUT ROWID""",
)
_NEW_IN_3 = """
CREATE TABLE identities (
    url TEXT PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, is_copy INTEGER NOT NULL
) WITHOUT ROWID"""
_SESSION_1 = "charger, plug, requested, begun, ended, joules, seconds, stop_reason, highest_watts"
_SESSION = f"{_SESSION_1}, cost, currency"
_BRIEFLY = 0.2  # seconds that a read may wait for a file that another process holds


@dataclass(frozen=True, slots=True)
class Recorded:
    """The contents of a session log for a report.

    `charges` are the sessions in the order of recording, each with the time of the read that brought it (Unix
    seconds). `accounts` are charger, plug and account, the latest of a plug last. `names` are the names of
    chargers by URL.
    """

    charges: Sequence[tuple[float, FinishedSession]] = ()
    accounts: Sequence[tuple[str, str, RegisterAccount]] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def chargers(self) -> set[str]:
        """The names of the chargers with sessions or accounts."""
        return {session.charger for _, session in self.charges} | {charger for charger, _, _ in self.accounts}


class DayEnergy(NamedTuple):
    """The growth of a register in a day, in joules, and its cost; None if a part of it has no known price."""

    joules: float = 0.0
    cost: float | None = 0.0


@dataclass(frozen=True, slots=True)
class ChargerState:
    """The state of a charger: by plug the last account and the energy of each day, and the register levels.

    Accounts and days are stored under the charger's name, levels under `Identities.key`.
    """

    accounts: dict[str, RegisterAccount] = field(default_factory=dict)
    days: dict[str, dict[str, DayEnergy]] = field(default_factory=dict)
    levels: dict[str, RegisterLevel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session to be recorded; `noted` is the time of its read (Unix seconds). See `TrackerResult`."""

    noted: float
    key: float
    session: FinishedSession
    from_before: bool


@dataclass(slots=True)
class PendingChanges:
    """The changes for the next commit.

    The keys are charger, plug and register generation; charger, plug and day; `Identities.key` and register.
    """

    finished: list[EndedSession] = field(default_factory=list)
    accounts: dict[tuple[str, str, int], RegisterAccount] = field(default_factory=dict)
    days: dict[tuple[str, str, str], DayEnergy] = field(default_factory=dict)
    levels: dict[tuple[str, str], RegisterLevel] = field(default_factory=dict)
    identities: dict[str, KnownCharger | None] = field(default_factory=dict)
    """By URL; None deletes what is stored."""
    renamed: list[tuple[str, str]] = field(default_factory=list)
    """Old and new names of chargers."""

    @classmethod
    def of(cls, charger: str, state: ChargerState) -> "PendingChanges":
        """The whole state of a charger, for a new file."""
        return cls(
            accounts={
                (charger, plug, account.register_generation): account for plug, account in state.accounts.items()
            },
            days={
                (charger, plug, day): energy for plug, days in state.days.items() for day, energy in days.items()
            },
            levels={(charger, register): level for register, level in state.levels.items()},
        )

    def __bool__(self) -> bool:
        return any((self.finished, self.accounts, self.days, self.levels, self.identities, self.renamed))

    def put_back(self, other: "PendingChanges") -> None:
        """Add earlier changes, such as those of a failed commit; where both have one, the newer one stays."""
        self.finished[:0] = other.finished
        self.accounts = other.accounts | self.accounts
        self.days = other.days | self.days
        self.levels = other.levels | self.levels
        self.identities = other.identities | self.identities
        self.renamed[:0] = other.renamed

    def chargers(self) -> set[str]:
        return {ended.session.charger for ended in self.finished} | {
            key[0] for keys in (self.accounts, self.days, self.levels) for key in keys
        }


class Contents(NamedTuple):
    """The stored states by the name or key of the charger, and the known chargers by URL."""

    states: Mapping[str, ChargerState]
    known: Mapping[str, KnownCharger]


def opened(path: Path, now: float) -> tuple[sqlite3.Connection, Contents]:
    """Open a log for writing and read it; creates or upgrades it where necessary.

    `now` is in Unix seconds; the ids of sessions in a new log begin with it, in milliseconds.
    Raises `OSError`, `sqlite3.Error` or `StateError`.
    """
    connection = open_database(path)
    try:
        if schema_version(connection) == 1:
            _keep_copy(connection, path)
        _upgrade(connection, path, now)
        return connection, _contents(connection)
    except BaseException:
        connection.close()
        raise


def contents(path: Path) -> Contents:
    """The contents of a log that cannot be opened for writing.

    Raises `sqlite3.Error`, and `StateError` if its tables are of another version.
    """
    with _reading(path, _BRIEFLY) as connection:
        if _schema_of(connection, path) != _SCHEMA:
            raise StateError(f"{path} is of another version")
        return _contents(connection)


def _contents(connection: sqlite3.Connection) -> Contents:
    known = {
        url: KnownCharger(id, name, bool(is_copy))
        for url, id, name, is_copy in connection.execute("SELECT * FROM identities")
    }
    return Contents(_states(connection), known)


def state_of(path: Path, charger: str) -> ChargerState:
    """The stored state under the name or key of a charger, empty if there is none; raises `sqlite3.Error`."""
    with _reading(path, _BRIEFLY) as connection:
        return _states(connection, charger).get(charger) or ChargerState()


def _states(connection: sqlite3.Connection, charger: str | None = None) -> Mapping[str, ChargerState]:
    found: defaultdict[str, ChargerState] = defaultdict(ChargerState)
    chosen, which = ("WHERE charger = ?", (charger,)) if charger is not None else ("", ())
    for name, plug, account in _accounts(connection, chosen, which):
        found[name].accounts[plug] = account
    for name, plug, day, *energy in connection.execute(f"SELECT * FROM days {chosen}", which):  # noqa: S608 - our own text
        found[name].days.setdefault(plug, {})[day] = DayEnergy(*energy)
    for name, register, value, at, clock, falls, is_partial in connection.execute(
        f"SELECT * FROM levels {chosen}",  # noqa: S608 - our own text
        which,
    ):
        level = RegisterLevel(value, at, clock, _parsed(falls, tuple), bool(is_partial))
        found[name].levels[register] = level
    return found


def _parsed(text: str, make: Callable[[Any], _T]) -> _T:
    """The value of a JSON column; raises `DamagedFile`."""
    try:
        return make(json.loads(text))
    except (ValueError, TypeError) as error:
        raise DamagedFile(f"a row is invalid: {error}") from error


def commit(connection: sqlite3.Connection, batch: PendingChanges) -> None:
    """Write a batch, whole or not at all; raises `sqlite3.Error`."""
    with connection:
        _rename(connection, batch.renamed)
        for ended in batch.finished:
            _insert(connection, ended)
        _replace(
            connection,
            "accounts",
            ((charger, plug, *_row(account)) for (charger, plug, _), account in batch.accounts.items()),
        )
        _replace(connection, "days", ((*key, *energy) for key, energy in batch.days.items()))
        _replace(
            connection,
            "levels",
            (
                (*key, level.value, level.at, level.clock, json.dumps(level.falls), level.is_partial)
                for key, level in batch.levels.items()
            ),
        )
        for url, charger in batch.identities.items():
            connection.execute("DELETE FROM identities WHERE url = ?", (url,))
            if charger is not None:
                _replace(connection, "identities", [(url, *charger)])
                if charger.name != url:  # early versions stored levels by the name
                    connection.execute("DELETE FROM levels WHERE charger = ?", (charger.name,))
        # Rows of this batch may have the old name.
        _rename(connection, batch.renamed)


def _rename(connection: sqlite3.Connection, renamed: Iterable[tuple[str, str]]) -> None:
    """Give rows the new name of their charger; where the row exists under that name, the old one is deleted."""
    for before, now in renamed:
        for table in ("finished", "accounts", "days"):
            connection.execute(f"UPDATE OR IGNORE {table} SET charger = ? WHERE charger = ?", (now, before))  # noqa: S608 - our own names
            connection.execute(f"DELETE FROM {table} WHERE charger = ?", (before,))  # noqa: S608 - our own names


def _replace(connection: sqlite3.Connection, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Write whole rows of a table, all of its columns."""
    if found := list(rows):
        places = ", ".join("?" * len(found[0]))
        connection.executemany(f"REPLACE INTO {table} VALUES ({places})", found)  # noqa: S608 - our own names


MOST_AT_ONCE = 200
"""Maximum number of sessions that `finished` returns: an output may have to catch up with years."""


def finished(path: Path, after: int) -> list[tuple[int, FinishedSession]]:
    """Up to `MOST_AT_ONCE` sessions with ids above `after`, ascending; raises `sqlite3.Error`.

    If `after` is above every id of this file, it is of a file that this one, such as a backup, replaced: then all
    sessions come.
    """
    with _reading(path) as connection:
        last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'finished'").fetchone()
        if last is not None and after > last[0]:
            after = 0
        rows = connection.execute(
            f"SELECT id, {_SESSION} FROM finished WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608 - our own names
            (after, MOST_AT_ONCE),
        )
        return [(row[0], FinishedSession(*row[1:])) for row in rows]


def latest(path: Path, charger: str, most: int) -> list[FinishedSession]:
    """The last `most` recorded sessions of a charger, newest first; raises `sqlite3.Error`."""
    with _reading(path) as connection:
        rows = connection.execute(
            f"SELECT {_SESSION} FROM finished WHERE charger = ? ORDER BY id DESC LIMIT ?",  # noqa: S608 - our own names
            (charger, most),
        )
        return [FinishedSession(*row) for row in rows]


def read(path: Path) -> Recorded:
    """Read a log of any known version, also while `serve` writes it; empty if there is no file.

    Raises `StateError` if the file cannot be read.
    """
    try:
        path.stat()
        with _reading(path) as connection:
            schema = _schema_of(connection, path)
            if schema == 0:  # it is being made
                return Recorded()
            current = connection if schema == _SCHEMA else _upgraded_copy(connection, path)
            rows = current.execute(f"SELECT noted, {_SESSION} FROM finished ORDER BY id").fetchall()  # noqa: S608 - our own names
            charges = [(row[0], FinishedSession(*row[1:])) for row in rows]
            names = dict(current.execute("SELECT url, name FROM identities").fetchall())
            return Recorded(charges, _accounts(current), names)
    except (FileNotFoundError, NotADirectoryError):
        return Recorded()
    except (sqlite3.Error, OSError) as error:
        raise StateError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


@contextmanager
def _reading(path: Path, patience: float = PATIENCE) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=patience)) as connection:
        if _has_room(connection) or _has_journal(path):
            yield connection
            return
    # Without `immutable`, SQLite needs to create a file beside it.
    with closing(sqlite3.connect(f"{uri}&immutable=1", uri=True)) as connection:
        yield connection


def _has_journal(path: Path) -> bool:
    """Whether a part of the data is still in the journal, as after a kill."""
    journal = path.with_name(f"{path.name}-wal")
    return journal.exists() and journal.stat().st_size > 0


def _has_room(connection: sqlite3.Connection) -> bool:
    try:
        schema_version(connection)
    except sqlite3.Error as error:
        if not has_no_room(error):
            raise
        return False
    return True


def _keep_copy(connection: sqlite3.Connection, path: Path) -> None:
    """Copy a log of version 1 to `charges.db.0.1`, in case ccl-exporter 0.1 is installed again; all or nothing.

    Raises `OSError` or `sqlite3.Error`.
    """
    copy = path.with_name(f"{path.name}.0.1")
    unfinished = copy.with_name(f"{copy.name}.new")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(unfinished)) as target:
        connection.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, which can be renamed
    unfinished.replace(copy)


def _upgraded_copy(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """An upgraded copy in memory of a log of an older version."""
    copy = sqlite3.connect(":memory:")
    connection.backup(copy)
    _upgrade(copy, path, 0.0)
    return copy


def _schema_of(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a log's tables, 0 while it is being made; raises `StateError` for a newer one."""
    schema = schema_version(connection)
    if schema > _SCHEMA:
        raise StateError(f"{path} was made by a newer version of ccl-exporter")
    return schema


def _upgrade(connection: sqlite3.Connection, path: Path, now: float) -> None:
    """Create the tables of a new file, or upgrade those of versions 1 and 2 and keep every row."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        schema = _schema_of(connection, path)
        if schema == 0:
            for statement in (_FINISHED, _ACCOUNTS, *_NEW_IN_2, _NEW_IN_3):
                connection.execute(statement)
            # Outputs remember the last id, so those of a file that replaces a lost one must be higher.
            began = int(now * 1000)
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('finished', ?)", (began,))
        elif schema == 1:
            _upgrade_from_1(connection)
        if schema in (1, 2):
            connection.execute(_NEW_IN_3)
        connection.execute(f"PRAGMA user_version = {_SCHEMA}")


def _upgrade_from_1(connection: sqlite3.Connection) -> None:
    """Durations become optional, sessions have two dates, the filter begins with the values of the accounts."""
    # SQLite renames the sequence of ids with its table, and the new table has none.
    (last,) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'finished'").fetchone()
    for table in ("finished", "accounts"):
        connection.execute(f"ALTER TABLE {table} RENAME TO {table}_1")
    for statement in (_FINISHED, _ACCOUNTS, *_NEW_IN_2):
        connection.execute(statement)
    columns = f"id, key, noted, {_SESSION_1}"
    connection.execute(f"INSERT INTO finished ({columns}) SELECT {columns} FROM finished_1")  # noqa: S608 - our own names
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'finished'")
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('finished', ?)", (last,))
    for id, *dates in connection.execute("SELECT id, requested, begun, ended, seconds FROM finished_1"):
        requested, begun, ended, seconds = dates
        known = judge_session(ChargeRecord("", requested=requested, begun=begun, ended=ended, seconds=seconds))
        connection.execute(
            "UPDATE finished SET requested = ?, begun = ?, ended = ?, seconds = ? WHERE id = ?",
            (known.requested, known.began, known.ended, known.duration, id),
        )
    rows = connection.execute(
        "SELECT charger, plug, era, began, first, latest, at, clock, charged, running_key, running_joules,"
        " running_before, running_watts, recorded_key, recorded_joules FROM accounts_1 ORDER BY era"
    ).fetchall()
    for charger, plug, *numbers, key, joules, before, watts, recorded_key, recorded_joules in rows:
        account = RegisterAccount(*numbers)
        running, recorded = (
            TrackedSession(known, known, None, energy, recorded_before, account.latest, highest) if known else None
            for known, energy, recorded_before, highest in (
                (key, joules, before, watts),
                (recorded_key, recorded_joules, 0.0, None),
            )
        )
        account = replace(account, running=running, recorded=(recorded,) if recorded is not None else ())
        _replace(connection, "accounts", [(charger, plug, *_row(account))])
        level = (charger, f"chargeInfo {plug}", account.latest, account.at, account.clock, "[]", False)
        _replace(connection, "levels", [level])
    for table in ("finished_1", "accounts_1"):
        connection.execute(f"DROP TABLE {table}")


def _insert(connection: sqlite3.Connection, ended: EndedSession) -> None:
    """Insert a session once; it replaces the recorded one if more is known of it now."""
    session = ended.session
    name = (session.charger, session.plug, ended.key)
    if ended.from_before and _is_another_name(connection, session, ended.key):
        return
    before = connection.execute(
        "SELECT joules, highest_watts, ended FROM finished WHERE charger = ? AND plug = ? AND key = ?", name
    ).fetchone()
    highest = session.highest_watts
    if before is not None:
        if before[0] >= session.joules and (before[2] is not None or session.ended is None):
            return
        highest = max((watts for watts in (highest, before[1]) if watts is not None), default=None)
        connection.execute("DELETE FROM finished WHERE charger = ? AND plug = ? AND key = ?", name)
    connection.execute(
        f"INSERT INTO finished ({_SESSION}, key, noted) VALUES ({', '.join('?' * 13)})",  # noqa: S608 - our own names
        (*astuple(replace(session, highest_watts=highest)), ended.key, ended.noted),
    )


def _is_another_name(connection: sqlite3.Connection, session: FinishedSession, key: float) -> bool:
    """Whether another charger's name has this session; dates are to the millisecond, so it is no coincidence."""
    found = connection.execute(
        "SELECT 1 FROM finished WHERE charger <> ? AND plug = ? AND key = ? AND ended IS ? AND joules = ?",
        (session.charger, session.plug, key, session.ended, session.joules),
    )
    return found.fetchone() is not None


def _row(account: RegisterAccount) -> tuple[float | str | None, ...]:
    """The columns of an account from the third on."""
    running = asdict(account.running) if account.running is not None else None
    recorded = [asdict(session) for session in account.recorded]
    numbers = (account.register_generation, account.began, account.first, account.latest, account.at)
    return (*numbers, account.clock, account.charged, json.dumps(running), json.dumps(recorded))


def _accounts(
    connection: sqlite3.Connection, chosen: str = "", which: tuple[str, ...] = ()
) -> list[tuple[str, str, RegisterAccount]]:
    """Every account with charger and plug, the latest of a plug last."""
    found = []
    for charger, plug, *numbers, running, recorded in connection.execute(
        f"SELECT * FROM accounts {chosen} ORDER BY charger, plug, era",  # noqa: S608 - our own text
        which,
    ):
        account = replace(
            RegisterAccount(*numbers),
            running=_parsed(running, lambda session: session and TrackedSession(**session)),
            recorded=_parsed(recorded, lambda sessions: tuple(TrackedSession(**each) for each in sessions)),
        )
        found.append((charger, plug, account))
    return found
