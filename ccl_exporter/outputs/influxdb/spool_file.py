"""The spool's file: its tables, and what is asked of them; every function may raise `sqlite3.Error`."""

import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

SCHEMA = 1
"""The version of the tables, as `PRAGMA user_version` has it."""

TABLES = f"""
    BEGIN;
    CREATE TABLE batch (
        id INTEGER PRIMARY KEY AUTOINCREMENT, taken REAL NOT NULL, points INTEGER NOT NULL, body BLOB NOT NULL
    );
    CREATE TABLE refused (
        id INTEGER PRIMARY KEY AUTOINCREMENT, refused REAL NOT NULL, line TEXT NOT NULL, reason TEXT NOT NULL
    );
    CREATE TABLE mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    PRAGMA user_version = {SCHEMA};
    COMMIT;
"""
NAMES = {"batch", "refused", "mark"}
_JOURNAL_BYTES = 4 * 1024 * 1024


def connected(path: Path) -> sqlite3.Connection:
    # Nobody else may read when a car was at home; what SQLite makes beside the file is as open as the file.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=5, check_same_thread=False)
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def bytes_used(db: sqlite3.Connection) -> int:
    count, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((count - free) * size)


def delete(db: sqlite3.Connection, last: int) -> int:
    """Delete batches up to an id and return how many points they had."""
    points = db.execute("SELECT total(points) FROM batch WHERE id <= ?", (last,)).fetchone()[0]
    db.execute("DELETE FROM batch WHERE id <= ?", (last,))
    return int(points)


def unpacked(body: bytes) -> tuple[str, ...]:
    """The lines of a batch; raises `sqlite3.DatabaseError`, as SQLite does for its own pages, if it is damaged."""
    try:
        text = zlib.decompress(body).decode()
    except (zlib.error, UnicodeDecodeError, TypeError) as error:
        raise sqlite3.DatabaseError("a batch cannot be unpacked") from error
    return tuple(text.split("\n")) if text else ()


def readable(path: Path, after: int) -> Iterator[tuple[int, float, int, bytes]]:
    """The batches of a damaged or foreign file: from the front until one cannot be read, then from the back."""
    for order in ("", "DESC"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as db:
            query = f"SELECT id, taken, points, body FROM batch WHERE id > ? ORDER BY id {order}"  # noqa: S608 - ours
            for id_, taken, points, body in db.execute(query, (after,)):
                lines = unpacked(body)
                if len(lines) != points:
                    return
                yield id_, float(taken), points, body


def marks(path: Path) -> list[tuple[str, int]]:
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as db:
        return [(str(name), int(value)) for name, value in db.execute("SELECT name, value FROM mark")]
    return []
