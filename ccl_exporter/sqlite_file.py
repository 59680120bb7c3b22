"""A file of SQLite that lasts: private, committed to disk, read while it is written, set aside once damaged."""

import os
import sqlite3
from pathlib import Path

PATIENCE = 5.0
"""Seconds that another process may hold a file."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class DamagedFile(sqlite3.DatabaseError):
    """The file contradicts itself, as SQLite's own check or whoever reads its rows found."""


def open_database(path: Path, *pragmas: str) -> sqlite3.Connection:
    """A file to be written, by several threads, made if there is none; raises `OSError` and `sqlite3.Error`.

    `pragmas` are set first: some hold only for a file that has no page yet.
    """
    # When a car was at home is nobody else's business; what SQLite makes beside the file is as open as the file.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False)
    try:
        for pragma in (*pragmas, "journal_mode = WAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def quick_check(connection: sqlite3.Connection) -> str:
    """`ok`, or the first contradiction that SQLite finds in the file."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return str(found)


def schema_version(connection: sqlite3.Connection) -> int:
    """The version of the tables as their maker noted it, 0 for a new file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether an error means that the file is of no use any more, and not that it cannot be had now."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, DamagedFile) or code & 0xFF in _DAMAGED


def set_aside(path: Path, mark: str) -> Path:
    """Give a file, and what belongs to it, a new name that ends in a mark, and return it; raises `OSError`."""
    aside = path.with_name(f"{path.name}.{mark}")
    while aside.exists():
        aside = aside.with_name(f"{aside.name}+")
    # The file itself goes last: a journal that stayed would be taken for that of the next file of this name.
    for suffix in ("-shm", "-wal", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
