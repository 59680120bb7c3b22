"""The durable queue before a database: a batch is on disk before it is sent, and leaves when it was taken.

One file of SQLite (WAL, `synchronous=FULL`), bounded by size and age, the oldest dropped first and counted.
A file that is damaged or of another version is set aside, and whatever can be read of it goes on.
What the queue holds is opaque here: lines, when they were taken, how many points.
"""

import logging
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from errno import EWOULDBLOCK
from pathlib import Path
from shutil import disk_usage
from time import time
from typing import TypeVar

from ccl_exporter.locks import try_lock
from ccl_exporter.sqlite_file import DamagedFile, open_database, quick_check, schema_version, set_aside

log = logging.getLogger(__name__)

MOST_SET_ASIDE = 10_000
"""Refused lines that are kept for people to look at; the oldest go first."""

_ROOM_LEFT = 10 * 1024**2
"""Bytes of the disk that readings leave free: SQLite needs some to forget what was sent."""

_PAGES_GIVEN_BACK = 256  # to the file system after each settling; more would hold up who stores

_T = TypeVar("_T")

SCHEMA = 1
"""The version of the tables, as `PRAGMA user_version` has it."""

_TABLES = f"""
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
_TABLE_NAMES = {"batch", "refused", "mark"}

_PRAGMAS = ("auto_vacuum = INCREMENTAL", f"journal_size_limit = {4 * 1024 * 1024}")


class SpoolError(Exception):
    """The file cannot be used now; the message says why. What it holds stays."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines that were stored together."""

    id: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that the database will never take, and what it said."""

    line: str
    reason: str


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """What waits in the file, and what became of points since the start.

    `bytes` are those of the pages in use, `oldest` is when the first batch that waits was taken (Unix seconds).
    `dropped` are points that were too many, too old, or never reached a disk that was full.
    `damaged` counts files that were set aside.
    """

    points: int = 0
    bytes: int = 0
    oldest: float | None = None
    spooled: int = 0
    sent: int = 0
    rejected: int = 0
    dropped: int = 0
    damaged: int = 0


class Spool:
    """One queue, safe to be used from several threads; `now` gives Unix seconds.

    Between `open` and `close` no other process can use the file.
    """

    def __init__(self, path: Path, max_bytes: int, max_age: float, now: Callable[[], float] = time) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._now = now
        self._turn = threading.Lock()
        self._lock_file: int | None = None
        self._db: sqlite3.Connection | None = None
        self._newest = 0  # id of the last batch that was stored or taken
        self._settled = 0  # id up to which batches are done with but could not be deleted yet
        self._counts = SpoolCounts()
        self._failing: set[str] = set()
        self._told_of_drops = False

    @property
    def counts(self) -> SpoolCounts:
        return self._counts

    # Open and close

    def open(self) -> None:
        """Take the file; raises `SpoolError` if another process has it, or if it cannot be written."""
        with self._turn:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock_file = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                if not try_lock(self._lock_file):
                    raise BlockingIOError(EWOULDBLOCK, "another process uses it")
                self._open()
            except (OSError, sqlite3.Error) as error:
                self._close()
                raise SpoolError(f"the spool {self.path} cannot be used: {_why(error)}") from error

    def close(self) -> None:
        with self._turn:
            self._close()

    def _close(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _open(self) -> None:
        trouble = ""
        try:
            self._db = open_database(self.path, *_PRAGMAS)
            found, version, tables = quick_check(self._db), schema_version(self._db), _tables_of(self._db)
            if found != "ok":
                trouble = f"is damaged ({found})"
            elif version == 0 and not tables:
                self._db.executescript(_TABLES)
            elif version != SCHEMA or not tables >= _TABLE_NAMES:
                trouble = f"is of version {version} where this program writes {SCHEMA}"
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            trouble = f"is damaged ({error})"
        if trouble:
            self._begin_anew(trouble)
        elif self._db is not None:
            self._count_waiting(self._db)

    def _begin_anew(self, trouble: str) -> None:
        """Set the file aside, begin a new one, and take over the batches that can still be read."""
        before = self._counts.points
        if self._db is not None:
            self._db.close()
        aside = set_aside(self.path, f"aside-{int(self._now())}")
        self._db = db = open_database(self.path, *_PRAGMAS)
        db.executescript(_TABLES)
        with db:
            # Ids go on where they were: a batch that is being sent must not share its id with a new one.
            db.execute("INSERT INTO sqlite_sequence VALUES ('batch', ?)", (self._newest,))
            for row in _readable(aside, self._settled):
                db.execute("INSERT OR IGNORE INTO batch VALUES (?, ?, ?, ?)", row)
            db.executemany("INSERT INTO mark VALUES (?, ?)", _marks(aside))
        self._settled = 0
        self._count_waiting(db)
        counts = self._counts
        lost = max(before - counts.points, 0)
        self._counts = replace(counts, damaged=counts.damaged + 1, dropped=counts.dropped + lost)
        said = "the spool %s %s: it is set aside as %s; %d points of it go on"
        log.error(said, self.path, trouble, aside, counts.points)

    def _count_waiting(self, db: sqlite3.Connection) -> None:
        points, oldest, newest = db.execute(
            "SELECT total(points), (SELECT taken FROM batch ORDER BY id LIMIT 1), max(id) FROM batch"
        ).fetchone()
        self._newest = max(self._newest, newest or 0)
        self._counts = replace(self._counts, points=int(points), bytes=_bytes_used(db), oldest=oldest)

    # In

    def put(self, lines: Sequence[str], taken: float, **marks: int) -> bool:
        """Store lines and say whether they are on disk; what does not reach it is counted as dropped.

        `marks` are remembered in the same transaction.
        """
        body = zlib.compress("\n".join(lines).encode())

        def store(db: sqlite3.Connection) -> bool:
            try:
                full = disk_usage(self.path.parent).free < _ROOM_LEFT
            except OSError as error:
                raise sqlite3.OperationalError(f"its folder: {error.strerror}") from error
            if full:
                raise sqlite3.OperationalError("the disk is full")
            with db:
                row = (taken, len(lines), body)
                newest = db.execute("INSERT INTO batch (taken, points, body) VALUES (?, ?, ?)", row).lastrowid
                db.executemany("INSERT OR REPLACE INTO mark VALUES (?, ?)", marks.items())
            self._newest = newest or 0
            counts = self._counts
            self._counts = replace(
                counts,
                points=counts.points + len(lines),
                bytes=_bytes_used(db),
                oldest=taken if counts.oldest is None else counts.oldest,
                spooled=counts.spooled + len(lines),
            )
            return True

        with self._turn:
            stored = self._attempt("store a reading", store) or False
            if not stored:
                self._counts = replace(self._counts, dropped=self._counts.dropped + len(lines))
            self._bound()
        return stored

    def mark(self, name: str) -> int:
        """A number that was remembered with a batch; 0 if there is none."""
        query = "SELECT value FROM mark WHERE name = ?"
        with self._turn:
            row = self._attempt("read a mark", lambda db: db.execute(query, (name,)).fetchone())
        return int(row[0]) if row else 0

    # Out

    def take(self, points: int) -> list[Batch]:
        """The oldest batches, together at most `points` points but at least one batch; they stay until settled."""

        def read(db: sqlite3.Connection) -> list[Batch]:
            found: list[Batch] = []
            left = points
            order = "SELECT id, points, body FROM batch WHERE id > ? ORDER BY id"
            with closing(db.execute(order, (self._settled,))) as rows:
                for id_, count, body in rows:
                    if found and count > left:
                        break
                    left -= count
                    found.append(Batch(id_, _unpacked(body)))
            return found

        with self._turn:
            self._bound()
            return self._attempt("read what waits", read) or []

    def settle(self, last: int, refused: Sequence[RefusedLine] = (), rejected: int = 0) -> None:
        """Forget every batch up to `last`: the database took them but for `rejected` points.

        What it `refused` of these is set aside. Where the disk is too full for that, the batches are not
        sent again all the same, and go when there is room.
        """
        now = self._now()

        def forget(db: sqlite3.Connection) -> bool:
            with db:
                gone = _delete(db, last)
                rows = [(now, item.line, item.reason) for item in refused]
                db.executemany("INSERT INTO refused (refused, line, reason) VALUES (?, ?, ?)", rows)
                db.execute("DELETE FROM refused WHERE id <= (SELECT max(id) FROM refused) - ?", (MOST_SET_ASIDE,))
            self._settled = 0
            self._told_of_drops = False
            counts = self._counts
            self._counts = replace(
                counts, sent=counts.sent + max(gone - rejected, 0), rejected=counts.rejected + rejected
            )
            self._count_gone(db, gone)
            # As a script, for which it is run to its end; otherwise it gives back one page.
            db.executescript(f"PRAGMA incremental_vacuum({_PAGES_GIVEN_BACK});")
            return True

        with self._turn:
            if not self._attempt("forget what was sent", forget):
                self._settled = last

    # Bounds

    def _bound(self) -> None:
        """Drop the oldest batches that are too old, or too many for the file."""
        counts, limit = self._counts, self._now() - self._max_age
        if counts.oldest is None or (counts.oldest >= limit and counts.bytes <= self._max_bytes):
            return

        def drop(db: sqlite3.Connection) -> int:
            gone = 0
            with db:
                while oldest := db.execute("SELECT id, taken FROM batch ORDER BY id LIMIT 1").fetchone():
                    if oldest[1] >= limit and _bytes_used(db) <= self._max_bytes:
                        break
                    gone += _delete(db, oldest[0])
            self._count_gone(db, gone)
            return gone

        if dropped := self._attempt("drop the oldest", drop):
            self._counts = replace(self._counts, dropped=self._counts.dropped + dropped)
            if not self._told_of_drops:
                self._told_of_drops = True
                log.error("the spool %s is full or has become too old: the oldest points are dropped", self.path)

    def _count_gone(self, db: sqlite3.Connection, points: int) -> None:
        oldest = db.execute("SELECT taken FROM batch ORDER BY id LIMIT 1").fetchone()
        self._counts = replace(
            self._counts,
            points=self._counts.points - points,
            bytes=_bytes_used(db),
            oldest=oldest[0] if oldest else None,
        )

    # Trouble

    def _attempt(self, what: str, act: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """Act on the file; None if that cannot be. A damaged file is set aside, and it is tried once more."""
        for another in (True, False):
            if self._db is None:
                break
            try:
                result = act(self._db)
            except sqlite3.DatabaseError as error:
                # Where the disk is full or gone, what is stored is well.
                mends = another and not isinstance(error, sqlite3.OperationalError)
                if not mends or not self._replaced(error):
                    self._say_failing(what, error)
                    return None
            else:
                if what in self._failing:
                    self._failing.discard(what)
                    log.info("the spool %s: can %s again", self.path, what)
                return result
        return None

    def _replaced(self, error: sqlite3.Error) -> bool:
        try:
            self._begin_anew(f"is damaged ({error})")
        except (OSError, sqlite3.Error):
            return False
        return True

    def _say_failing(self, what: str, error: Exception) -> None:
        if what not in self._failing:
            self._failing.add(what)
            log.error("the spool %s: cannot %s: %s", self.path, what, _why(error))


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


# The file; each of these may raise `sqlite3.Error`


def _tables_of(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _bytes_used(db: sqlite3.Connection) -> int:
    count, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((count - free) * size)


def _delete(db: sqlite3.Connection, last: int) -> int:
    """Delete batches up to an id and return how many points they had."""
    points = db.execute("SELECT total(points) FROM batch WHERE id <= ?", (last,)).fetchone()[0]
    db.execute("DELETE FROM batch WHERE id <= ?", (last,))
    return int(points)


def _unpacked(body: bytes) -> tuple[str, ...]:
    """The lines of a batch; raises `DamagedFile` if it cannot be unpacked."""
    try:
        text = zlib.decompress(body).decode()
    except (zlib.error, UnicodeDecodeError, TypeError) as error:
        raise DamagedFile("a batch cannot be unpacked") from error
    return tuple(text.split("\n")) if text else ()


def _readable(path: Path, after: int) -> Iterator[tuple[int, float, int, bytes]]:
    """The batches of a damaged or foreign file: from the front until one cannot be read, then from the back."""
    for order in ("", "DESC"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as db:
            query = f"SELECT id, taken, points, body FROM batch WHERE id > ? ORDER BY id {order}"  # noqa: S608 - ours
            for id_, taken, points, body in db.execute(query, (after,)):
                lines = _unpacked(body)
                if len(lines) != points:
                    return
                yield id_, float(taken), points, body


def _marks(path: Path) -> list[tuple[str, int]]:
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as db:
        return [(str(name), int(value)) for name, value in db.execute("SELECT name, value FROM mark")]
    return []
