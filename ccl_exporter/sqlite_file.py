"""A durable SQLite file: private, committed to disk, readable while it is written.

A damaged file is set aside; a file that was removed, replaced or moved is noticed.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

PATIENCE = 5.0
"""Seconds that another process may hold a file."""

Parts = list[tuple[Path, os.stat_result]]
"""Paths, and the files that they named."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NO_ROOM = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)


class DamagedFile(sqlite3.DatabaseError):
    """The file is inconsistent, as SQLite's own check or a reader of its rows found."""


def open_database(path: Path, *pragmas: str) -> sqlite3.Connection:
    """A file to be written, by several threads, made with its folder if there is none.

    `pragmas` are set first: some hold only for a file that has no page yet.
    Raises `OSError` and `sqlite3.Error`, of these `DamagedFile` if SQLite finds a contradiction in the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # When a car was at home is private; what SQLite makes beside the file is as open as the file.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False)
    try:
        for pragma in (*pragmas, "journal_mode = WAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise DamagedFile(str(found))
    except BaseException:
        connection.close()
        raise
    return connection


def opened_parts(path: Path) -> Parts:
    """The files of an open database, itself and its journal; raises `OSError`."""
    journal = path.with_name(f"{path.name}-wal")
    return [(part, os.stat(part)) for part in (path, journal) if part == path or part.exists()]


def are_in_place(parts: Parts) -> bool:
    """Whether the paths name what was opened: not if something was removed, replaced or moved since, nor if
    nothing was opened."""
    try:
        return bool(parts) and all(os.path.samestat(os.stat(path), opened) for path, opened in parts)
    except OSError:
        return False


def close_database(connection: sqlite3.Connection, parts: Parts) -> None:
    """Close a file, and see to it that its journal does not stay where another file is to be; raises `OSError`."""
    is_in_place = are_in_place(parts[:1])
    with suppress(sqlite3.Error):
        connection.close()
    if parts[1:] and not is_in_place and are_in_place(parts[1:]):
        path = parts[0][0]
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def schema_version(connection: sqlite3.Connection) -> int:
    """The version of the tables as their maker noted it, 0 for a new file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether an error means that the file is damaged, not that it is unavailable for a while."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, DamagedFile) or code & 0xFF in _DAMAGED


def has_no_room(error: Exception) -> bool:
    """Whether an error means that nothing can be written, such as a full or read-only disk."""
    return isinstance(error, OSError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _NO_ROOM


def move(path: Path, to: Path) -> None:
    """Give a file of this process that is closed, and what belongs to it, another name; raises `OSError`."""
    # The file itself goes last: a journal that stayed would be taken for that of the next file of this name.
    for suffix in ("-shm", "-wal", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(to.with_name(to.name + suffix))


def set_aside(path: Path, mark: str) -> Path:
    """Give a file, and what belongs to it, a new name that ends in a mark, and return it; raises `OSError`."""
    aside = path.with_name(f"{path.name}.{mark}")
    while aside.exists():
        aside = aside.with_name(f"{aside.name}+")
    move(path, aside)
    return aside
