"""The ledger's SQLite file: its tables, what is written to it in one commit, what is read from it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

from ccl_exporter.errors import StateError
from ccl_exporter.sessions.tracker import FinishedSession, RegisterAccount, Running, TrackerResult
from ccl_exporter.sqlite_file import PATIENCE, open_database, schema_version

SESSIONS_FILE = "charges.db"
"""The name of the ledger in the state folder."""

_SCHEMA = 1
_TABLES = """
CREATE TABLE finished (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    charger TEXT NOT NULL, plug TEXT NOT NULL, key REAL NOT NULL, noted REAL NOT NULL,
    requested REAL, begun REAL, ended REAL, joules REAL NOT NULL, seconds REAL NOT NULL,
    stop_reason INTEGER, highest_watts REAL,
    UNIQUE (charger, plug, key)
);
CREATE TABLE accounts (
    charger TEXT NOT NULL, plug TEXT NOT NULL, era INTEGER NOT NULL,
    began REAL NOT NULL, first REAL NOT NULL, latest REAL NOT NULL, at REAL NOT NULL, clock REAL,
    charged REAL NOT NULL, recorded_key REAL, recorded_joules REAL,
    running_key REAL, running_joules REAL, running_before REAL, running_watts REAL,
    PRIMARY KEY (charger, plug, era)
);
"""
_CHARGE = "charger, plug, requested, begun, ended, joules, seconds, stop_reason, highest_watts"
_ACCOUNT = (
    "charger, plug, era, began, first, latest, at, clock, charged, recorded_key, recorded_joules,"
    " running_key, running_joules, running_before, running_watts"
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """Everything that a ledger holds: charges in the order in which they were recorded with the time of it
    (Unix seconds), accounts by charger and plug, oldest first."""

    charges: Sequence[tuple[float, FinishedSession]] = ()
    accounts: Sequence[tuple[str, str, RegisterAccount]] = ()


@dataclass(slots=True)
class PendingChanges:
    """What is to be committed."""

    finished: list[tuple[float, TrackerResult]] = field(default_factory=list)
    accounts: dict[tuple[str, str, int], RegisterAccount] = field(default_factory=dict)


def opened(path: Path, now: float) -> tuple[sqlite3.Connection, list[tuple[str, str, RegisterAccount]]]:
    """A ledger to be written, made if there is none, and its accounts as in `Recorded`.

    `now` is in Unix seconds.
    Raises `OSError`, `sqlite3.Error` or `StateError`.
    """
    connection = open_database(path)
    try:
        _upgrade(connection, path, now)
        return connection, _accounts(connection)
    except BaseException:
        connection.close()
        raise


def commit(connection: sqlite3.Connection, batch: PendingChanges) -> None:
    """Write a batch, whole or not at all; raises `sqlite3.Error`."""
    with connection:
        for noted, result in batch.finished:
            _insert(connection, noted, result)
        connection.executemany(
            f"REPLACE INTO accounts ({_ACCOUNT}) VALUES ({', '.join('?' * 15)})",  # noqa: S608 - our own names
            [(charger, plug, *_row(account)) for (charger, plug, _), account in batch.accounts.items()],
        )


MOST_AT_ONCE = 200
"""Sessions that are read at a time for an output, which may have to catch up with years."""


def finished(path: Path, after: int) -> list[tuple[int, FinishedSession]]:
    """The first sessions whose id is above `after`, ascending; raises `sqlite3.Error`."""
    with _reading(path) as connection:
        rows = connection.execute(
            f"SELECT id, {_CHARGE} FROM finished WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608 - our own names
            (after, MOST_AT_ONCE),
        )
        return [(row[0], FinishedSession(*row[1:])) for row in rows]


def read(path: Path) -> Recorded:
    """Everything that a ledger holds, while it is written or not; nothing if there is none.

    Raises `StateError` if the file cannot be read.
    """
    if not path.exists():
        return Recorded()
    try:
        with _reading(path) as connection:
            if _schema_of(connection, path) == 0:  # it is being made
                return Recorded()
            rows = connection.execute(f"SELECT noted, {_CHARGE} FROM finished ORDER BY id").fetchall()  # noqa: S608 - our own names
            return Recorded([(row[0], FinishedSession(*row[1:])) for row in rows], _accounts(connection))
    except sqlite3.Error as error:
        raise StateError(f"{path} cannot be read: {error}") from error


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as connection:
        yield connection


def _schema_of(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a ledger's tables, 0 while it is being made; raises `StateError` if it is not known here."""
    schema = schema_version(connection)
    if schema > _SCHEMA:
        raise StateError(f"{path} was made by a newer version of ccl-exporter")
    return schema


def _upgrade(connection: sqlite3.Connection, path: Path, now: float) -> None:
    """Make the tables of a new file."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if _schema_of(connection, path) == 0:
            for statement in filter(str.strip, _TABLES.split(";")):
                connection.execute(statement)
            # Ids go on ascending where a file is lost, as those who follow remember the last one.
            began = int(now * 1000)
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('finished', ?)", (began,))
            connection.execute(f"PRAGMA user_version = {_SCHEMA}")


def _insert(connection: sqlite3.Connection, noted: float, result: TrackerResult) -> None:
    """Record a charge once; one that went on after its end takes the place of what was recorded."""
    charge = result.finished
    if charge is None:
        return
    name = (charge.charger, charge.plug, result.key)
    if result.from_before and _is_another_name(connection, charge, result.key):
        return
    before = connection.execute(
        "SELECT joules, highest_watts FROM finished WHERE charger = ? AND plug = ? AND key = ?", name
    ).fetchone()
    highest = charge.highest_watts
    if before is not None:
        if before[0] >= charge.joules:
            return
        highest = max((watts for watts in (highest, before[1]) if watts is not None), default=None)
        connection.execute("DELETE FROM finished WHERE charger = ? AND plug = ? AND key = ?", name)
    connection.execute(
        f"INSERT INTO finished ({_CHARGE}, key, noted) VALUES ({', '.join('?' * 11)})",  # noqa: S608 - our own names
        (*astuple(charge)[:-1], highest, result.key, noted),
    )


def _is_another_name(connection: sqlite3.Connection, charge: FinishedSession, key: float) -> bool:
    """Whether the charge stands there under another charger's name: instants are told to the millisecond."""
    found = connection.execute(
        "SELECT 1 FROM finished WHERE charger <> ? AND plug = ? AND key = ? AND ended IS ? AND joules = ?",
        (charge.charger, charge.plug, key, charge.ended, charge.joules),
    )
    return found.fetchone() is not None


def _row(account: RegisterAccount) -> tuple[float | None, ...]:
    """The columns of `_ACCOUNT` from the third on: the fields of an account, in their order up to `charged`."""
    running = astuple(account.running) if account.running else (None,) * 4
    return (*astuple(account)[:7], *(account.recorded or (None, None)), *running)


def _accounts(connection: sqlite3.Connection) -> list[tuple[str, str, RegisterAccount]]:
    """Every account with charger and plug, the latest of a plug last."""
    rows = connection.execute(f"SELECT {_ACCOUNT} FROM accounts ORDER BY charger, plug, era")  # noqa: S608 - our own names
    return [
        (
            row[0],
            row[1],
            replace(
                RegisterAccount(*row[2:9]),
                recorded=None if row[9] is None else (row[9], row[10]),
                running=None if row[11] is None else Running(*row[11:15]),
            ),
        )
        for row in rows
    ]
