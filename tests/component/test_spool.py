"""The queue on disk: what is stored stays until it is settled, within its bounds, whatever happens to its file."""

import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest
from helpers.support import Clock

from ccl_exporter.clock import Clock as ExporterClock
from ccl_exporter.outputs.influxdb.spool import SCHEMA, SURELY_TOO_OLD, RefusedLine, Spool, SpoolError

DAY = 86400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "influxdb-db.db"


@pytest.fixture
def steady() -> Clock:
    """The monotonic clock of the spools."""
    return Clock(0.0)


@pytest.fixture
def opened(path: Path, clock: Clock, steady: Clock) -> Iterator[Callable[..., Spool]]:
    """Open a spool on the test's file, by default with wide bounds; closed after the test."""
    spools: list[Spool] = []

    def run(max_bytes: int = 2**30, max_age: float = 30 * DAY) -> Spool:
        spools.append(Spool(path, max_bytes, max_age, ExporterClock(clock, steady)))
        spools[-1].open()
        return spools[-1]

    yield run
    for spool in spools:
        spool.close()


def waiting(spool: Spool) -> list[str]:
    return [line for batch in spool.take(10**9) for line in batch.lines]


def fill(spool: Spool, clock: Clock, count: int, length: int = 10, step: float = 15.0) -> list[str]:
    """Batches of two lines that do not compress, one every `step` seconds; returns their lines."""
    noise = random.Random(count)
    lines = []
    for number in range(count):
        texts = [f"m x={number}{part} {noise.randbytes(length).hex()}" for part in "ab"]
        assert spool.put(texts, clock.at)
        lines += texts
        clock.at += step
    return lines


def test_what_is_stored_comes_out_in_order_until_it_is_settled(opened: Callable[..., Spool], clock: Clock) -> None:
    spool = opened()
    lines = fill(spool, clock, 10)

    assert waiting(spool) == lines
    first = spool.take(5)
    assert [line for batch in first for line in batch.lines] == lines[:4]
    spool.settle(first)
    assert waiting(spool) == lines[4:]
    counts = spool.counts
    assert (counts.points, counts.spooled, counts.sent, counts.rejected, counts.dropped) == (16, 20, 4, 0, 0)
    assert counts.oldest == 1_790_000_000.0 + 30
    spool.settle(spool.take(10**9))
    assert (spool.counts.points, spool.counts.oldest, spool.take(1)) == (0, None, [])


def test_no_more_bytes_are_taken_than_wanted_but_one_batch(opened: Callable[..., Spool], clock: Clock) -> None:
    spool = opened()
    fill(spool, clock, 10, length=100)
    size = spool.take(1)[0].size

    assert size == sum(len(line) + 1 for line in spool.take(1)[0].lines)
    assert len(spool.take(10**9, most_bytes=3.5 * size)) == 3
    assert len(spool.take(10**9, most_bytes=1)) == 1


def test_the_newest_batches_are_found(opened: Callable[..., Spool], clock: Clock) -> None:
    spool = opened()
    fill(spool, clock, 10)
    ids = [batch.id for batch in spool.take(10**9)]

    assert [batch.id for batch in spool.newest(6)] == ids[-3:]
    assert [batch.id for batch in spool.newest(1)] == ids[-1:]
    assert [batch.id for batch in spool.newest(4, up_to=ids[4])] == ids[3:5]
    assert [batch.id for batch in spool.newest(10**9)] == ids
    assert spool.newest(10, up_to=ids[0] - 1) == []


def test_refused_lines_that_are_kept_are_counted(opened: Callable[..., Spool], clock: Clock) -> None:
    spool = opened()
    fill(spool, clock, 1)
    assert spool.kept_refused() == 0
    spool.settle(spool.take(1), [RefusedLine("m x=1 1", "bad"), RefusedLine("m y=1 1", "bad")], 1)

    assert spool.kept_refused() == 2


def test_a_batch_larger_than_a_request_is_taken_alone(opened: Callable[..., Spool], clock: Clock) -> None:
    spool = opened()
    fill(spool, clock, 2)

    assert [len(batch.lines) for batch in spool.take(1)] == [2]


def test_everything_is_there_after_a_restart(opened: Callable[..., Spool], clock: Clock) -> None:
    spool = opened()
    lines = fill(spool, clock, 10)
    spool.put(["finished"], clock.at, ledger=7)
    spool.settle(spool.take(2))
    spool.close()
    again = opened()

    assert waiting(again) == [*lines[2:], "finished"]
    assert again.mark("ledger") == 7
    assert again.mark("other") == 0
    assert (again.counts.points, again.counts.spooled, again.counts.oldest) == (19, 0, 1_790_000_015.0)


def test_what_was_refused_is_set_aside_with_the_reason(
    opened: Callable[..., Spool], clock: Clock, path: Path
) -> None:
    spool = opened()
    fill(spool, clock, 2)
    spool.settle(spool.take(9), [RefusedLine("m x=1 1", "no such thing")], rejected=1)
    spool.close()

    assert (spool.counts.sent, spool.counts.rejected) == (3, 1)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT refused, line, reason FROM refused").fetchall() == [
            (clock.at, "m x=1 1", "no such thing")
        ]


def test_when_it_is_full_the_oldest_goes_first_and_is_counted_and_logged_once(
    opened: Callable[..., Spool], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened(max_bytes=2**20)
    lines = fill(spool, clock, 1500, length=500)
    left = waiting(spool)

    assert left == lines[-len(left) :]
    assert 0 < len(left) < len(lines)
    assert spool.counts.dropped == len(lines) - len(left)
    assert spool.counts.points == len(left)
    assert len([record for record in caplog.records if "are dropped" in record.getMessage()]) == 1
    assert 0.8 * 2**20 < spool.counts.bytes <= 2**20
    assert spool.path.stat().st_size <= 2**20 + 64 * 1024


def looks(spool: Spool, clock: Clock, steady: Clock, seconds: float, step: float = 30.0) -> None:
    """Have the spool look at its age for a while, as an idle sender does."""
    for _ in range(round(seconds / step)):
        clock.at += step
        steady.at += step
        spool.take(1)


def test_what_was_too_old_for_ten_minutes_goes_and_nothing_younger(
    opened: Callable[..., Spool], clock: Clock, steady: Clock
) -> None:
    spool = opened(max_age=3600)
    lines = fill(spool, clock, 10, step=15.0)
    looks(spool, clock, steady, 3600 - 150)
    assert waiting(spool) == lines
    looks(spool, clock, steady, 75, step=15)
    assert waiting(spool) == lines, "the oldest were not too old for ten minutes yet"
    looks(spool, clock, steady, SURELY_TOO_OLD)

    left = waiting(spool)
    assert left == lines[len(lines) - len(left) :]
    assert 0 < spool.counts.dropped == len(lines) - len(left) < len(lines)
    looks(spool, clock, steady, SURELY_TOO_OLD)
    assert (waiting(spool), spool.counts.dropped) == ([], len(lines))


@pytest.mark.parametrize("wrong", [365 * DAY, -365 * DAY, 50 * 365 * DAY, -50 * 365 * DAY])
def test_a_clock_that_is_wrong_for_a_moment_drops_nothing(
    wrong: float, opened: Callable[..., Spool], clock: Clock, steady: Clock
) -> None:
    spool = opened(max_age=30 * DAY)
    looks(spool, clock, steady, 2 * SURELY_TOO_OLD)
    lines = fill(spool, clock, 20)
    clock.at += wrong
    lines += fill(spool, clock, 1)
    clock.at -= wrong
    lines += fill(spool, clock, 20)
    clock.at += wrong
    looks(spool, clock, steady, SURELY_TOO_OLD / 2)
    clock.at -= wrong
    looks(spool, clock, steady, 2 * SURELY_TOO_OLD)

    assert waiting(spool) == lines
    assert spool.counts.dropped == 0


def test_a_wrong_clock_beside_what_is_too_old_drops_only_that(
    opened: Callable[..., Spool], clock: Clock, steady: Clock
) -> None:
    spool = opened(max_age=DAY)
    lines = fill(spool, clock, 2)
    clock.at += DAY
    lines += fill(spool, clock, 2)
    looks(spool, clock, steady, SURELY_TOO_OLD - 60)
    clock.at += 365 * DAY
    spool.take(1)
    clock.at -= 365 * DAY
    looks(spool, clock, steady, 90)

    assert waiting(spool) == lines[4:]


def test_a_time_before_computers_had_a_clock_is_no_age(
    opened: Callable[..., Spool], clock: Clock, steady: Clock
) -> None:
    spool = opened(max_age=DAY)
    now, clock.at = clock.at, 60.0
    lines = fill(spool, clock, 10)
    clock.at = now
    lines += fill(spool, clock, 10)
    looks(spool, clock, steady, 2 * SURELY_TOO_OLD)

    assert waiting(spool) == lines


def test_a_clock_that_is_set_back_costs_nothing(opened: Callable[..., Spool], clock: Clock) -> None:
    spool = opened(max_age=DAY)
    lines = fill(spool, clock, 3)
    clock.at -= 10 * 365 * DAY
    lines += fill(spool, clock, 4)

    assert waiting(spool) == lines
    spool.close()
    assert waiting(opened(max_age=DAY)) == lines


def test_the_disk_gets_back_what_was_sent(opened: Callable[..., Spool], clock: Clock, path: Path) -> None:
    spool = opened()
    fill(spool, clock, 3000, length=500)
    largest = spool.counts.bytes
    while batches := spool.take(100):
        spool.settle(batches)
        assert spool.counts.bytes < largest
    spool.close()

    assert largest > 3 * 2**20
    assert path.stat().st_size < 64 * 1024


def test_a_batch_of_nothing_keeps_its_mark(opened: Callable[..., Spool], clock: Clock) -> None:
    spool = opened()
    spool.put([], clock.at, ledger=3)

    assert [batch.lines for batch in spool.take(9)] == [()]
    assert spool.mark("ledger") == 3


def test_two_processes_do_not_share_a_file(opened: Callable[..., Spool], path: Path) -> None:
    first = opened()
    with pytest.raises(SpoolError, match="another process uses it"):
        Spool(path, 2**30, DAY).open()
    first.close()

    opened()


def test_only_the_owner_may_read_when_a_car_was_at_home(
    opened: Callable[..., Spool], clock: Clock, path: Path
) -> None:
    fill(opened(), clock, 3)
    files = list(path.parent.iterdir())

    assert {file.suffix for file in files} >= {".db", ".db-wal"}
    assert {file.stat().st_mode & 0o077 for file in files} == {0}


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot be used"):
        Spool(tmp_path / "file" / "spool.db", 2**30, DAY).open()


@pytest.mark.parametrize("kind", ["noise", "a text", "cut short", "holes", "a page gone", "empty", "body"])
def test_a_damaged_file_is_set_aside_and_what_can_be_read_goes_on(
    kind: str, opened: Callable[..., Spool], clock: Clock, path: Path
) -> None:
    spool = opened()
    lines = fill(spool, clock, 400, length=200)
    spool.close()
    whole = path.read_bytes()
    pages = len(whole) // 4096
    middle = pages // 2 * 4096
    damaged = {
        "noise": random.Random(1).randbytes(len(whole)),
        "a text": b"not a database\n" * 1000,
        "cut short": whole[: middle + 100],
        "holes": whole[:middle] + bytes(20 * 4096) + whole[middle + 20 * 4096 :],
        "a page gone": whole[:middle] + random.Random(2).randbytes(4096) + whole[middle + 4096 :],
        "empty": b"",
        "body": whole[: middle + 2000] + b"\xff" * 100 + whole[middle + 2100 :],
    }[kind]
    path.write_bytes(damaged)

    again = opened()
    left = waiting(again)
    assert set(left) <= set(lines)
    assert left == [line for line in lines if line in set(left)]
    if kind == "empty":
        assert (left, again.counts.damaged) == ([], 0)
    else:
        assert again.counts.damaged == 1
        assert (
            len([file for file in path.parent.iterdir() if ".aside-" in file.name and "-wal" not in file.name])
            >= 1
        )
    if kind in ("a page gone", "holes", "body"):
        assert len(left) > len(lines) / 2
    fresh = fill(again, clock, 3)
    assert waiting(again) == left + fresh


def test_damage_while_it_runs_is_survived_and_counted(
    opened: Callable[..., Spool], clock: Clock, path: Path
) -> None:
    spool = opened()
    lines = fill(spool, clock, 400, length=200)
    first = spool.take(100)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(size // 4))
    left = waiting(spool)
    fresh = fill(spool, clock, 3)

    assert spool.counts.damaged == 1
    assert set(left) < set(lines)
    assert waiting(spool) == left + fresh
    assert spool.counts.points == len(left) + len(fresh)
    assert spool.counts.dropped == len(lines) - len(left)
    spool.settle(first)
    assert set(fresh) <= set(waiting(spool)), "a batch that was never sent was settled with others"


@pytest.mark.parametrize("version", [0, SCHEMA + 1, 99])
def test_a_file_of_another_version_is_kept_and_its_batches_go_on(
    version: int, opened: Callable[..., Spool], clock: Clock, path: Path
) -> None:
    spool = opened()
    lines = fill(spool, clock, 20)
    spool.put(["finished"], clock.at, ledger=7)
    spool.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE batch ADD COLUMN colour TEXT")
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()

    again = opened()
    assert waiting(again) == [*lines, "finished"]
    assert again.mark("ledger") == 7
    assert again.counts.damaged == 1
    (aside,) = [file for file in path.parent.iterdir() if ".aside-" in file.name and file.suffix != ".db-wal"][:1]
    with closing(sqlite3.connect(aside)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,)


def test_a_full_disk_loses_only_what_comes_meanwhile_and_counts_it(tmp_path: Path) -> None:
    # In a process of its own, where files may not grow beyond a size: as on a disk that is full.
    program = """
        import random, resource, signal, sys
        from pathlib import Path
        from ccl_exporter.outputs.influxdb.spool import Spool
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        spool = Spool(Path(sys.argv[1]), 2**30, 1e12)
        spool.open()
        put = lambda: spool.put([random.randbytes(2000).hex()], 1.0)
        before = sum(put() for _ in range(20))
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        tries = 2000
        full = sum(put() for _ in range(tries))
        waiting = spool.take(10**9)
        assert len(waiting) == before + full == spool.counts.points, (len(waiting), before, full)
        assert spool.counts.dropped == tries - full > 0, spool.counts
        assert not spool.put([random.randbytes(9000).hex()], 1.0, ledger=1)
        assert spool.counts.dropped == tries - full, "what is put again is not lost"
        spool.settle(waiting[:10])
        assert [batch.id for batch in spool.take(10**9)] == [batch.id for batch in waiting[10:]]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert put()
        spool.settle(waiting)
        assert len(spool.take(10**9)) == 1
        spool.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program), str(tmp_path / "spool.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot store a reading") == 1


def test_a_spool_that_filled_the_disk_takes_readings_again_once_it_was_sent(tmp_path: Path) -> None:
    program = """
        import random, sys
        from pathlib import Path
        from ccl_exporter.outputs.influxdb.spool import Spool
        spool = Spool(Path(sys.argv[1]) / "spool.db", 2**30, 1e12)
        spool.open()
        put = lambda: spool.put([random.randbytes(2000).hex()], 1.0)
        stored = sum(put() for _ in range(9000))
        assert 0 < stored < 9000 and spool.counts.dropped == 9000 - stored, spool.counts
        while batches := spool.take(300):
            spool.settle(batches)
        assert spool.counts.sent == stored and spool.counts.points == 0, spool.counts
        assert put()
        spool.close()
    """
    mounted = 'mount -t tmpfs -o size=20m none "$2" && exec "$0" -c "$1" "$2"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mounted, sys.executable, dedent(program), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_many_threads_store_while_one_settles_and_nothing_is_lost(
    opened: Callable[..., Spool], clock: Clock
) -> None:
    spool = opened()
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda part=part: [spool.put([f"{part} {n}"], clock.at) for n in range(50)])
        for part in range(8)
    ]
    for thread in threads:
        thread.start()
    while len(seen) < 400:
        batches = spool.take(7)
        seen += [line for batch in batches for line in batch.lines]
        if batches:
            spool.settle(batches)
    for thread in threads:
        thread.join()

    assert sorted(seen) == sorted(f"{part} {n}" for part in range(8) for n in range(50))
    assert spool.counts.sent == spool.counts.spooled == 400


def test_what_was_stored_survives_a_kill(tmp_path: Path) -> None:
    program = """
        import sys
        from pathlib import Path
        from ccl_exporter.outputs.influxdb.spool import Spool
        spool = Spool(Path(sys.argv[1]), 2**30, 1e12)
        spool.open()
        number = 0
        while spool.put([f"m x={number}"], 1.0):
            print(number, flush=True)
            number += 1
    """
    path = tmp_path / "spool.db"
    acknowledged = 0
    for kill in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", dedent(program), str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(100 + kill * 37):
            process.stdout.readline()
        process.kill()
        rest = process.stdout.read().splitlines()
        process.stdout.close()
        process.wait()
        acknowledged += 100 + kill * 37 + len([line for line in rest if line])
        spool = Spool(path, 2**30, 1e12)
        spool.open()
        count = spool.counts.points
        spool.close()
        # At most one more each time: stored, but killed before it was reported.
        assert acknowledged <= count <= acknowledged + kill + 1


# The file goes


def remove(path: Path) -> None:
    for part in path.parent.glob("*"):
        part.unlink()


def remove_folder(path: Path) -> None:
    remove(path)
    path.parent.rmdir()


def move_folder(path: Path) -> None:
    number = len(list(path.parent.parent.iterdir()))
    path.parent.rename(path.parent.with_name(f"elsewhere-{number}"))


def remove_journal(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def remove_lock(path: Path) -> None:
    path.with_name(f"{path.name}.lock").unlink()


def replace_by_text(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("not a database")
    other.rename(path)


def replace_by_queue(path: Path) -> None:
    other = Spool(path.with_name("other"), 2**30, 30 * DAY)
    other.open()
    assert other.put(["other 1", "other 2"], 1_790_000_000.0)
    assert other.put(["other 3"], 1_790_000_000.0)
    other.close()
    other.path.rename(path)


@pytest.mark.parametrize(
    "happens",
    [remove, remove_folder, move_folder, remove_journal, remove_lock, replace_by_text, replace_by_queue],
)
@pytest.mark.parametrize("then", ["put", "take", "settle"])
def test_a_file_that_goes_while_it_is_used_is_begun_anew_with_what_waits(
    happens: Callable[[Path], None],
    then: str,
    opened: Callable[..., Spool],
    clock: Clock,
    path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spool = opened()
    lines = fill(spool, clock, 50)
    spool.put([], clock.at, ledger=7)
    spool.settle(spool.take(4), [RefusedLine("m x=1 1", "no such thing")], rejected=1)
    in_hand = spool.take(6)
    happens(path)
    if then == "put":
        lines += fill(spool, clock, 1)
    elif then == "take":
        assert spool.take(2)[0] == in_hand[0]
    spool.settle(in_hand)
    lines += fill(spool, clock, 3)
    left = [*lines[10:], *(["other 1", "other 2", "other 3"] if happens == replace_by_queue else [])]

    assert sorted(waiting(spool)) == sorted(left)
    assert [line for line in waiting(spool) if line in lines] == lines[10:]
    assert spool.counts.points == len(left)
    assert (spool.counts.sent, spool.counts.rejected, spool.counts.dropped) == (9, 1, 0)
    said = [record for record in caplog.records if "removed, replaced or moved" in record.getMessage()]
    assert len(said) == (happens != remove_lock)
    with pytest.raises(SpoolError, match="another process uses it"):
        Spool(path, 2**30, DAY).open()
    # It is all in the file at the path, whatever becomes of this process.
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT total(points) FROM batch").fetchone() == (len(left),)
        assert db.execute("SELECT line FROM refused").fetchall() == [("m x=1 1",)]
    spool.close()
    again = opened()
    assert sorted(waiting(again)) == sorted(left)
    assert again.mark("ledger") == 7
    assert not list(path.parent.glob("*.new*"))
    assert path.stat().st_mode & 0o077 == 0


class Step:
    """Does something before the given one of the steps by which a file is begun anew."""

    STEPS = ("open", "os.rename", "os.remove", "sqlite3.connect")
    current: "Step | None" = None

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.left = number
        self._act = act

    def __enter__(self) -> "Step":
        Step.current = self
        return self

    def __exit__(self, *_: object) -> None:
        Step.current = None

    @staticmethod
    def audit(event: str, _arguments: object) -> None:
        step = Step.current
        if step is not None and event in Step.STEPS:
            step.left -= 1
            if step.left == 0:
                Step.current = None
                step._act()


sys.addaudithook(Step.audit)  # once, as it cannot be removed


@pytest.mark.parametrize("again", [remove, remove_folder, move_folder])
@pytest.mark.parametrize("first", [remove, remove_folder, move_folder])
def test_a_file_that_goes_again_while_it_is_begun_anew_loses_nothing(
    first: Callable[[Path], None],
    again: Callable[[Path], None],
    opened: Callable[..., Spool],
    clock: Clock,
    steady: Clock,
    path: Path,
) -> None:
    def happens() -> None:
        if path.parent.exists():
            again(path)

    spool = opened()
    lines = fill(spool, clock, 5)
    number = 0
    while True:
        number += 1
        first(path)
        with Step(number, happens) as step:
            if spool.put(lines[:2], clock.at):
                lines += lines[:2]
        steady.at += 60
        lines += fill(spool, clock, 1)

        assert waiting(spool) == lines, number
        assert spool.counts.points == len(lines)
        if step.left > 0:
            break
    assert number > 5


def test_where_no_file_can_be_the_old_one_is_used_until_there_can(
    opened: Callable[..., Spool], clock: Clock, steady: Clock, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened()
    lines = fill(spool, clock, 5)
    remove_folder(path)
    path.parent.write_text("a file where the folder was")
    lines += fill(spool, clock, 5)
    assert waiting(spool) == lines
    assert len([record for record in caplog.records if "cannot be begun anew" in record.getMessage()]) == 1
    path.parent.unlink()
    steady.at += 60
    lines += fill(spool, clock, 5)
    spool.close()

    assert waiting(opened()) == lines


def test_a_file_that_was_not_in_place_yet_when_the_process_was_killed_is_taken(
    opened: Callable[..., Spool], clock: Clock, path: Path
) -> None:
    spool = opened()
    lines = fill(spool, clock, 5)
    spool.close()
    path.rename(path.with_name(f"{path.name}.new"))

    assert waiting(opened()) == lines


def test_a_file_that_is_emptied_while_it_is_used_is_survived(
    opened: Callable[..., Spool], clock: Clock, path: Path
) -> None:
    spool = opened()
    fill(spool, clock, 400, length=200)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.truncate(path, 0)
    waiting(spool)
    fresh = fill(spool, clock, 3)

    assert waiting(spool)[-len(fresh) :] == fresh


@pytest.mark.parametrize("lines", [["\ud800"], ["m x=1"]])
@pytest.mark.parametrize("taken", [1.0, float("nan")])
def test_nothing_that_is_put_raises(lines: list[str], taken: float, opened: Callable[..., Spool]) -> None:
    spool = opened()
    stored = spool.put(lines, taken, far=2**70) or spool.put(lines, taken)

    assert spool.counts.points == stored
    assert spool.counts.damaged == 0
    assert spool.put(["m x=2"], 1.0)
