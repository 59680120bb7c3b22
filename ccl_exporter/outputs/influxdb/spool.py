"""The durable queue of a database: a batch is on disk before it is sent, and is deleted once it is acknowledged.

The queue is one SQLite file (WAL, `synchronous=FULL`), bounded by size and age: the oldest batches go first.
It does not interpret lines.
A file that is damaged or of another version is set aside. A file that is removed, replaced or moved while open is
created again. The new file takes over every batch that can still be read.
"""

import logging
import os
import sqlite3
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from errno import ENOENT, EWOULDBLOCK
from math import inf
from pathlib import Path
from time import monotonic
from typing import TypeVar

from ccl_exporter.clock import SYSTEM, Clock
from ccl_exporter.locks import try_lock
from ccl_exporter.sqlite_file import (
    DamagedFile,
    Parts,
    are_in_place,
    close_database,
    is_damaged,
    move,
    open_database,
    opened_parts,
    schema_version,
    set_aside,
)

log = logging.getLogger(__name__)

MOST_SET_ASIDE = 10_000
"""Maximum number of rows in the table `refused`; the oldest are deleted first."""

SURELY_TOO_OLD = 600.0
"""Monotonic seconds for which a batch must be too old at every check before it is dropped."""

_ROOM_LEFT = 10 * 1024**2
"""Free bytes on the disk below which readings are not stored: SQLite needs some to delete what was sent."""

_LARGEST_ID = 2**63 - 1
_PAGES_GIVEN_BACK = 256  # to the file system by each `settle`; more would delay `put`
_CLOCK_WAS_SET = 1_577_836_800.0  # 2020-01-01; an earlier time means that the clock was not set, and is no age
_LIMIT_EVERY = 10.0  # seconds between two remembered age limits
_TRY_AGAIN = 1.0  # seconds between two attempts to create the file again

_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN)
"""Temporary errors, which do not mean that a file is damaged."""

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
    """The file cannot be used now; the message says why. Its content is kept."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines that were stored together."""

    id: int
    lines: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes that the batch adds to a request, before compression."""
        return sum(len(line.encode()) + 1 for line in self.lines)


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A refused line, or one refused field as a line of its own, and the database's error message."""

    line: str
    reason: str


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """The size of the queue, and counts of points since the start.

    `points` and `bytes` (of the pages in use) are those of the queue now, `oldest` is the time of the first batch
    in it (Unix seconds). `dropped` points were too old, too many, could not be stored, or were lost with a damaged
    file. `damaged` counts files that were set aside.
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
    """One queue, safe to be used from several threads.

    Between `open` and `close` no other `Spool` can use the file: a lock file keeps it out. Only `open` raises.
    """

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        max_age: float,
        clock: Clock = SYSTEM,
    ) -> None:
        self.path = path
        self._lock_path = path.with_name(f"{path.name}.lock")
        self._fresh_path = path.with_name(f"{path.name}.new")  # until it is complete
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._clock = clock
        self._turn = threading.Lock()
        self._lock_file: int | None = None
        self._db: sqlite3.Connection | None = None
        self._opened: Parts = []
        self._is_copy = False  # whether the open file is a read-only copy that is not at the queue's path yet
        self._again_at = float("-inf")
        self._newest = 0  # highest id of a batch so far
        self._settled: set[int] = set()  # ids of batches that are to be deleted
        self._limits: deque[tuple[float, float]] = deque()
        self._counts = SpoolCounts()
        self._failing: set[str] = set()
        self._told_of_drops = False

    @property
    def counts(self) -> SpoolCounts:
        return self._counts

    @property
    def is_open(self) -> bool:
        return self._lock_file is not None

    # Open and close

    def open(self) -> None:
        """Lock and open the file; raises `SpoolError` if another process has it, or if it cannot be written."""
        with self._turn:
            try:
                self._have_place()
            except (OSError, sqlite3.Error) as error:
                self._close()
                raise SpoolError(f"the spool {self.path} cannot be used: {_why(error)}") from error

    def close(self, deadline: float = inf) -> None:
        """Close the file and release its lock.

        Waits until `deadline` (monotonic) for a call of another thread; after that, a thread closes the file.
        """
        if self._turn.acquire(timeout=min(max(deadline - monotonic(), 0.0), threading.TIMEOUT_MAX)):
            try:
                self._close()
            finally:
                self._turn.release()
        else:
            with suppress(RuntimeError):  # no more threads can be started
                threading.Thread(target=self.close, name="close spool", daemon=True).start()

    def _close(self) -> None:
        self._close_db()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _close_db(self) -> None:
        if self._db is not None:
            with suppress(OSError):
                close_database(self._db, self._opened)
            self._db, self._is_copy = None, False

    # The file and its place; these raise `OSError` and `sqlite3.Error`

    def _current(self) -> sqlite3.Connection:
        """The open database; checks each time that its files are still at their paths (microseconds)."""
        if self._db is None or not self._has_place():
            now = self._clock.monotonic()
            if now >= self._again_at:
                self._again_at = now + _TRY_AGAIN
                try:
                    try:
                        self._have_place()
                    except FileNotFoundError:  # it was removed or moved meanwhile
                        self._have_place()
                except (OSError, sqlite3.Error) as error:
                    # The open file can still be used, although it is no longer at its path.
                    self._say_failing("be begun anew", error)
                else:
                    self._again_at = float("-inf")
                    self._say_works("be begun anew")
        if self._db is None:
            raise sqlite3.OperationalError("it is not open")
        return self._db

    def _has_place(self) -> bool:
        return self._holds_lock() and not self._is_copy and are_in_place(self._opened)

    def _holds_lock(self) -> bool:
        return self._lock_file is not None and are_in_place([(self._lock_path, os.fstat(self._lock_file))])

    def _have_place(self) -> None:
        """Hold the lock and have the file open, both at their paths."""
        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        if not self._holds_lock():
            file = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not try_lock(file):
                os.close(file)
                raise BlockingIOError(EWOULDBLOCK, "another process uses it")
            if self._lock_file is not None:
                os.close(self._lock_file)
            self._lock_file = file
        if self._db is None:
            self._open()
        elif self._is_copy or not are_in_place(self._opened):
            is_ours = are_in_place(self._opened[:1])
            self._begin_anew("was removed, replaced or moved while it was used", is_ours)

    def _open(self) -> None:
        if self._fresh_path.exists() and not self.path.exists():
            move(self._fresh_path, self.path)  # an earlier process ended just before this step
        reason = ""
        try:
            db = open_database(self.path, *_PRAGMAS)
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise
            reason = f"is damaged ({error})"
        else:
            reason = self._used(db)
        if reason:
            self._begin_anew(reason)

    def _used(self, db: sqlite3.Connection) -> str:
        """Use an opened file. Returns an empty text, or closes it and returns what is wrong with it."""
        try:
            version, tables = schema_version(db), _tables_of(db)
            if version == 0 and not tables:
                db.executescript(_TABLES)
            elif version != SCHEMA or not tables >= _TABLE_NAMES:
                db.close()
                return f"is of version {version} where this program writes {SCHEMA}"
            self._remember(db)
        except BaseException as error:
            db.close()
            if isinstance(error, sqlite3.Error) and is_damaged(error):
                return f"is damaged ({error})"
            raise
        return ""

    def _begin_anew(self, reason: str, is_ours: bool = True) -> None:
        """Set aside the file at the path, and put a new one there with everything that can still be read.

        `is_ours`: the file at the path is the one that was in use; the batches of any other one are added.
        Until the new file is complete, the old one stays as it is.
        """
        for suffix in ("", "-wal", "-shm"):
            self._fresh_path.with_name(self._fresh_path.name + suffix).unlink(missing_ok=True)
        with closing(open_database(self._fresh_path, *_PRAGMAS)) as fresh:
            fresh.executescript(_TABLES)
            if self._db is not None:
                _copy(self._db, fresh, self._newest)
            else:
                with closing(sqlite3.connect(self.path)) as old:
                    _copy(old, fresh, self._newest)
            content = _content(fresh)
        # From here on an open file has everything that was copied, wherever others move it.
        copy = _opened_copy(self._fresh_path, content)
        # Before the file is replaced: closing deletes the journal by its name.
        self._close_db()
        self._db, self._is_copy = copy, True
        aside = set_aside(self.path, f"aside-{int(self._clock.wall())}") if self.path.exists() else None
        self._opened = [(self.path, os.stat(self._fresh_path))]
        move(self._fresh_path, self.path)
        db = open_database(self.path, *_PRAGMAS)
        try:
            if not _holds(db, content):
                raise _removed_again()
            if aside is not None and not is_ours:
                _append(aside, db)
            self._remember(db)
        except BaseException:
            db.close()
            raise
        copy.close()
        self._counts = replace(self._counts, damaged=self._counts.damaged + (aside is not None))
        done = "a new one begins" if aside is None else f"it is set aside as {aside}"
        log.error("the spool %s %s: %s; %d points of it go on", self.path, reason, done, self._counts.points)

    def _remember(self, db: sqlite3.Connection) -> None:
        """Use a file and count what waits in it; points that are missing from it count as dropped."""
        points, oldest, newest = db.execute(
            "SELECT total(points), (SELECT taken FROM batch ORDER BY id LIMIT 1), max(id) FROM batch"
        ).fetchone()
        used, opened = _bytes_used(db), opened_parts(self.path)
        self._db, self._opened, self._is_copy = db, opened, False
        self._newest = max(self._newest, newest or 0)
        counts = self._counts
        lost = max(counts.points - int(points), 0)
        self._counts = replace(
            counts, points=int(points), bytes=used, oldest=oldest, dropped=counts.dropped + lost
        )

    # In

    def put(self, lines: Sequence[str], taken: float, **marks: int) -> bool:
        """Store lines as one batch; returns whether they are on disk.

        If they are not, they count as dropped, but not with `marks`: the caller knows by these what to put again.
        `taken` is in Unix seconds. `marks` are numbers by name, stored in the same transaction.
        """

        def store(db: sqlite3.Connection) -> bool:
            body = zlib.compress("\n".join(lines).encode())
            if self._lock_file is not None:
                disk = os.fstatvfs(self._lock_file)
                if disk.f_bavail * disk.f_frsize < _ROOM_LEFT:
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
            if not stored and not marks:
                self._counts = replace(self._counts, dropped=self._counts.dropped + len(lines))
            self._bound()
        return stored

    def mark(self, name: str) -> int | None:
        """A number that was stored with a batch by `put`; 0 if there is none, None if the file cannot be read."""
        query = "SELECT value FROM mark WHERE name = ?"
        with self._turn:
            rows = self._attempt("read a mark", lambda db: db.execute(query, (name,)).fetchall())
        return None if rows is None else int(rows[0][0]) if rows else 0

    # Out

    def take(self, points: int, after: int = 0, most_bytes: float = inf) -> list[Batch]:
        """The oldest batches with an id above `after`; they stay in the queue until `settle`.

        Together they have at most `points` points and `most_bytes` bytes, but a single batch may have more.
        """

        def read(db: sqlite3.Connection) -> list[Batch]:
            found: list[Batch] = []
            left, room = points, most_bytes
            with closing(db.execute("SELECT id, points FROM batch WHERE id > ? ORDER BY id", (after,))) as rows:
                for id_, count in rows:
                    if id_ in self._settled:
                        continue
                    if found and count > left:
                        break
                    left -= count
                    (body,) = db.execute("SELECT body FROM batch WHERE id = ?", (id_,)).fetchone()
                    batch = Batch(id_, _unpacked(body))
                    room -= batch.size
                    if found and room < 0:
                        break
                    found.append(batch)
            return found

        with self._turn:
            self._bound()
            return self._attempt("read what waits", read) or []

    def newest(self, points: int, up_to: float = inf) -> list[Batch]:
        """The newest batches with an id of at most `up_to`, the oldest of them first.

        Together they have at most `points` points, but a single batch may have more.
        """

        def first(db: sqlite3.Connection) -> int:
            left, before = points, 0
            query = "SELECT id, points FROM batch WHERE id <= ? ORDER BY id DESC"
            with closing(db.execute(query, (min(up_to, _LARGEST_ID),))) as rows:
                for id_, count in rows:
                    left -= count
                    if left < 0 and before:
                        return int(id_)
                    before = id_
            return 0

        with self._turn:
            after = self._attempt("read what waits", first)
        found = [] if after is None else self.take(points, after)
        return [batch for batch in found if batch.id <= up_to]

    def kept_refused(self) -> int:
        """Number of rows in the table `refused`; 0 if it cannot be read."""
        query = "SELECT count(*) FROM refused"
        with self._turn:
            found = self._attempt("read what was refused", lambda db: db.execute(query).fetchone())
        return int(found[0]) if found else 0

    def settle(self, batches: Sequence[Batch], refused: Sequence[RefusedLine] = (), rejected: int = 0) -> None:
        """Delete batches: the database accepted all of their points but `rejected`.

        The `refused` lines of these go into the table `refused`. If the file cannot be written, the batches are
        deleted by a later call, and `take` omits them until then; the `refused` lines are lost.
        """
        now = self._clock.wall()

        def forget(db: sqlite3.Connection) -> bool:
            with db:
                gone = sum(_delete(db, id_) for id_ in self._settled)
                rows = [(now, item.line, item.reason) for item in refused]
                db.executemany("INSERT INTO refused (refused, line, reason) VALUES (?, ?, ?)", rows)
                db.execute("DELETE FROM refused WHERE id <= (SELECT max(id) FROM refused) - ?", (MOST_SET_ASIDE,))
            self._settled.clear()
            self._told_of_drops = False
            counts = self._counts
            self._counts = replace(
                counts, sent=counts.sent + max(gone - rejected, 0), rejected=counts.rejected + rejected
            )
            self._count_gone(db, gone)
            # `executescript` runs the pragma to its end; `execute` would give back one page.
            db.executescript(f"PRAGMA incremental_vacuum({_PAGES_GIVEN_BACK});")
            return True

        with self._turn:
            self._settled.update(batch.id for batch in batches)
            self._attempt("forget what was sent", forget)

    # Bounds

    def _bound(self) -> None:
        """Drop the oldest batches while they are too old or the file is too large."""
        counts, limit = self._counts, self._age_limit()
        if counts.oldest is None or not (_is_before(counts.oldest, limit) or counts.bytes > self._max_bytes):
            return

        def drop(db: sqlite3.Connection) -> int:
            gone = 0
            with db:
                while oldest := db.execute("SELECT id, taken FROM batch ORDER BY id LIMIT 1").fetchone():
                    if not _is_before(oldest[1], limit) and _bytes_used(db) <= self._max_bytes:
                        break
                    gone += _delete(db, oldest[0])
            self._count_gone(db, gone)
            return gone

        if dropped := self._attempt("drop the oldest", drop):
            self._counts = replace(self._counts, dropped=self._counts.dropped + dropped)
            if not self._told_of_drops:
                self._told_of_drops = True
                log.error("the spool %s is full or has become too old: the oldest points are dropped", self.path)

    def _age_limit(self) -> float:
        """The Unix time such that older batches were too old at every check of the last ten minutes.

        -inf in the first ten minutes. A clock that is wrong for a moment drops nothing.
        """
        at, limit = self._clock.monotonic(), self._clock.wall() - self._max_age
        if self._limits and at - self._limits[-1][0] < _LIMIT_EVERY:
            self._limits[-1] = self._limits[-1][0], min(limit, self._limits[-1][1])
        else:
            self._limits.append((at, limit))
        while len(self._limits) > 1 and self._limits[1][0] <= at - SURELY_TOO_OLD:
            self._limits.popleft()
        if self._limits[0][0] > at - SURELY_TOO_OLD:
            return float("-inf")
        return min(limit for _, limit in self._limits)

    def _count_gone(self, db: sqlite3.Connection, points: int) -> None:
        oldest = db.execute("SELECT taken FROM batch ORDER BY id LIMIT 1").fetchone()
        self._counts = replace(
            self._counts,
            points=self._counts.points - points,
            bytes=_bytes_used(db),
            oldest=oldest[0] if oldest else None,
        )

    # Failures

    def _attempt(self, what: str, act: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """Call `act` with the open database; None if it fails. A damaged file is replaced first, once."""
        if not self.is_open:
            return None
        for another in (True, False):
            try:
                result = act(self._current())
            except Exception as error:  # noqa: BLE001 - a reading that cannot be stored must not end who reads chargers
                # A full or missing disk does not mean that the file is damaged.
                mends = another and isinstance(error, sqlite3.Error) and is_damaged(error)
                if not mends or not self._replaced(error):
                    self._say_failing(what, error)
                    return None
            else:
                self._say_works(what)
                return result
        return None

    def _replaced(self, error: Exception) -> bool:
        try:
            self._begin_anew(f"is damaged ({error})")
        except Exception:  # noqa: BLE001 - the failure of before is what is reported
            return False
        return True

    def _say_failing(self, what: str, error: Exception) -> None:
        if what not in self._failing:
            self._failing.add(what)
            log.error("the spool %s: cannot %s: %s", self.path, what, _why(error))

    def _say_works(self, what: str) -> None:
        if what in self._failing:
            self._failing.discard(what)
            log.info("the spool %s: can %s again", self.path, what)


def _is_before(taken: float, limit: float) -> bool:
    return _CLOCK_WAS_SET <= taken < limit


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__


# The file; each of these may raise `sqlite3.Error`


def _tables_of(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _bytes_used(db: sqlite3.Connection) -> int:
    count, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((count - free) * size)


def _delete(db: sqlite3.Connection, id_: int) -> int:
    """Delete a batch and return how many points it had."""
    points = db.execute("SELECT total(points) FROM batch WHERE id = ?", (id_,)).fetchone()[0]
    db.execute("DELETE FROM batch WHERE id = ?", (id_,))
    return int(points)


def _unpacked(body: bytes) -> tuple[str, ...]:
    """The lines of a batch; raises `DamagedFile` if it cannot be unpacked."""
    try:
        text = zlib.decompress(body).decode()
    except (zlib.error, UnicodeDecodeError, TypeError) as error:
        raise DamagedFile("a batch cannot be unpacked") from error
    return tuple(text.split("\n")) if text else ()


def _copy(old: sqlite3.Connection, fresh: sqlite3.Connection, newest: int) -> None:
    """Fill a new file with everything that can be read of an old one; new ids will be above `newest`."""
    with fresh:
        # A batch that is being sent must not share its id with a new one.
        fresh.execute("INSERT INTO sqlite_sequence VALUES ('batch', ?)", (newest,))
        for row in _readable(old):
            fresh.execute("INSERT OR IGNORE INTO batch VALUES (?, ?, ?, ?)", row)
        with _as_far_as_readable():
            rows = old.execute("SELECT name, value FROM mark").fetchall()
            fresh.executemany("INSERT INTO mark VALUES (?, ?)", rows)
        with _as_far_as_readable():
            rows = old.execute("SELECT * FROM refused").fetchall()
            fresh.executemany("INSERT INTO refused VALUES (?, ?, ?, ?)", rows)


def _content(db: sqlite3.Connection) -> tuple[int, int | None]:
    """The number of batches and the highest id, by which two files are compared."""
    count, newest = db.execute("SELECT count(*), max(id) FROM batch").fetchone()
    return int(count), newest


def _holds(db: sqlite3.Connection, content: tuple[int, int | None]) -> bool:
    """Whether a file has these batches; one that was just created in place of another has no table."""
    try:
        return _content(db) == content
    except sqlite3.OperationalError:
        return False


def _opened_copy(path: Path, content: tuple[int, int | None]) -> sqlite3.Connection:
    """Open a complete file read-only, without its journal; raises `FileNotFoundError` if it is not at its path."""
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise _removed_again() from error
    if not _holds(db, content):
        db.close()
        raise _removed_again()
    return db


def _removed_again() -> FileNotFoundError:
    return FileNotFoundError(ENOENT, "it was removed or moved again")


def _append(path: Path, db: sqlite3.Connection) -> None:
    """Add the batches of another queue's file behind those that wait already."""
    with _as_far_as_readable(), closing(sqlite3.connect(path)) as other, db:
        for _, *row in _readable(other):
            db.execute("INSERT INTO batch (taken, points, body) VALUES (?, ?, ?)", row)


@contextmanager
def _as_far_as_readable() -> Iterator[None]:
    """End the block at the first row that cannot be read; temporary errors (`_PASSING`) are raised."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
            raise
    except (ValueError, TypeError):
        pass


def _readable(db: sqlite3.Connection) -> Iterator[tuple[int, float, int, bytes]]:
    """The batches of a damaged or foreign file: from the front until one cannot be read, then from the back."""
    for order in ("", "DESC"):
        with _as_far_as_readable():
            query = f"SELECT id, taken, points, body FROM batch ORDER BY id {order}"  # noqa: S608 - ours
            for id_, taken, points, body in db.execute(query):
                if len(_unpacked(body)) != points:
                    break
                yield id_, float(taken), points, body
            else:
                return
