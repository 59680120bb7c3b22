"""The ledger on disk: each charge once whatever is read how often, nothing lost by a restart or a damage."""

import logging
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from time import sleep, time
from typing import Any

import pytest
from helpers.charging import OTHER, PLUG, START, Station
from helpers.support import Clock
from helpers.workers import supervised
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccl_exporter.errors import StateError
from ccl_exporter.powerstudio.snapshot import ChargeRecord, Document, Snapshot
from ccl_exporter.sessions import report, store
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.sessions.store import read
from ccl_exporter.sessions.tracker import FinishedSession
from ccl_exporter.sqlite_file import PATIENCE
from ccl_exporter.station.plausibility import RegisterLevel

KWH = 3.6e6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "charges.db"


def energies(path: Path) -> list[float]:
    return [charge.joules for _, charge in read(path).charges]


def noted(path: Path, *snapshots: Snapshot, charger: str = "garage") -> list[float]:
    """The energies in the ledger after one run of the exporter that read these."""
    ledger = SessionRecorder(path)
    for snapshot in snapshots:
        ledger.note(charger, snapshot)
    ledger.close()
    return energies(path)


def a_day(station: Station, charges: int = 3) -> Iterator[Snapshot]:
    """Readings of some charges, each longer than the one before."""
    yield station.read()
    for number in range(charges):
        station.begin()
        yield station.read()
        for _ in range(number + 1):
            station.flow(7000, 3600)
            yield station.read()
        station.end()
        yield station.read()
        station.flow(0, 600)
        yield station.read()


def test_charges_are_recorded_once_over_restarts_between_any_two_readings(path: Path) -> None:
    for snapshot in a_day(Station()):
        noted(path, snapshot, snapshot)

    assert energies(path) == [7 * KWH, 14 * KWH, 21 * KWH]
    ((charger, plug, account),) = [each for each in read(path).accounts if each[1] == PLUG]
    assert (charger, plug, account.grown, account.charged) == ("garage", PLUG, 42 * KWH, 42 * KWH)
    assert account.unassigned == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_however_often_and_late_a_reading_comes_again_each_charge_is_there_once(
    tmp_path: Path, data: st.DataObject
) -> None:
    """Older readings are put between the others, as they come, and restarts anywhere."""
    day = list(a_day(Station()))
    course = []
    for position, snapshot in enumerate(day):
        course.append(snapshot)
        older = data.draw(st.lists(st.integers(0, position), max_size=3))
        course.extend(day[index] for index in older)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(course)), max_size=4)))
    folder = tmp_path / str(next(_numbers))
    for begin, end in zip([0, *cuts], [*cuts, len(course)], strict=True):
        noted(folder / "charges.db", *course[begin:end])

    assert energies(folder / "charges.db") == [7 * KWH, 14 * KWH, 21 * KWH]


_numbers = count()


def test_a_late_reading_of_another_thread_changes_nothing(path: Path) -> None:
    station, ledger = Station(), SessionRecorder(path)
    day = list(a_day(station, 1))
    for snapshot in day:
        ledger.note("garage", snapshot)
    ledger.note("garage", replace(day[2], taken=day[-1].taken - 10))
    ledger.close()

    (account, _) = [account for _, _, account in read(path).accounts]
    assert (account.running, account.unassigned) == (None, 0)


def test_a_clock_that_was_set_back_an_hour_stops_nothing(path: Path) -> None:
    station, ledger = Station(), SessionRecorder(path)
    ledger.note("garage", station.read())
    station.charge(7000, 3600)
    ledger.note("garage", replace(station.read(), taken=station.at - 7200))
    ledger.close()

    assert energies(path) == [7 * KWH]


def test_the_same_reading_from_many_threads_is_one(path: Path) -> None:
    station, ledger = Station(), SessionRecorder(path)
    ledger.note("garage", station.read())
    station.charge(7000, 3600)
    snapshot = station.read()
    threads = [threading.Thread(target=ledger.note, args=("garage", snapshot)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()

    assert energies(path) == [7 * KWH]


def test_those_who_follow_get_each_charge_with_a_higher_id(path: Path) -> None:
    station, ledger = Station(), SessionRecorder(path)
    ledger.note("garage", station.read())
    ids: list[int] = []
    with supervised(ledger.worker):
        for _ in range(3):
            station.charge(7000, 600)
            ledger.note("garage", station.read())
            (found,) = await_finished(ledger, ids[-1] if ids else 0)
            ids.append(found[0])
            assert found[1].charger == "garage"
    assert ledger.finished(ids[-1]) == []
    assert [id for id, _ in ledger.finished(0)] == ids
    assert ids == sorted(set(ids))
    ledger.close()


def await_finished(ledger: SessionRecorder, after: int) -> list[tuple[int, FinishedSession]]:
    began = time()
    while not (found := ledger.finished(after)):
        assert time() < began + 30, "nothing was committed"
        sleep(0.01)
    return found


def test_the_highest_power_survives_a_restart_while_it_charges(path: Path) -> None:
    station = Station()
    station.begin()
    station.flow(7350, 600)
    noted(path, station.read())
    station.flow(5000, 600)
    noted(path, station.read())
    station.end()
    noted(path, station.read())

    assert [charge.highest_watts for _, charge in read(path).charges] == [7350]


def test_a_charger_with_another_name_does_not_bring_its_last_charge_again(path: Path) -> None:
    station = Station()
    noted(path, *a_day(station, 1))
    noted(path, station.read(), charger="carport")
    station.charge(3500, 3600)
    noted(path, station.read(), charger="carport")

    assert [(charge.charger, charge.joules) for _, charge in read(path).charges] == [
        ("garage", 7 * KWH),
        ("carport", 3.5 * KWH),
    ]
    assert {name: account.unassigned for name, plug, account in read(path).accounts if plug == PLUG} == {
        "garage": 0,
        "carport": 0,
    }


def test_two_plugs_and_two_chargers_do_not_mix(path: Path) -> None:
    one, two, ledger = Station(), Station(at=1_790_000_000.5), SessionRecorder(path)
    for name, station in (("one", one), ("two", two)):
        ledger.note(name, station.read())
        for plug, watts in ((PLUG, 7000), (OTHER, 3500)):
            station.charge(watts, 3600, plug)
            ledger.note(name, station.read())
    ledger.close()

    assert [(charge.charger, charge.plug, charge.joules) for _, charge in read(path).charges] == [
        ("one", PLUG, 7 * KWH),
        ("one", OTHER, 3.5 * KWH),
        ("two", PLUG, 7 * KWH),
        ("two", OTHER, 3.5 * KWH),
    ]


NOON = datetime(2026, 11, 30, 12).astimezone().timestamp()
CHARGE_INFO_FAILED = Document("charge_info", success=False, seconds=0.1)


def test_a_charger_that_is_down_or_whose_charge_info_fails_is_passed_over(path: Path) -> None:
    snapshot = Station().read()
    failed = replace(snapshot, charges={}, documents=(CHARGE_INFO_FAILED,))

    assert noted(path, replace(snapshot, up=False), failed) == []
    assert read(path).accounts == []


def test_an_engine_without_charge_info_has_energy_by_day_and_no_sessions(path: Path) -> None:
    station, recorder = Station(at=NOON), SessionRecorder(path)
    recorder.note("garage", replace(station.read(), charges={}))
    station.charge(7000, 3600)
    recorder.note("garage", replace(station.read(), charges={}))
    found = recorder.energy_by_day("garage", "2026-11-30")
    recorder.close()

    assert found == {PLUG: {"2026-11-30": pytest.approx(7 * KWH)}}
    assert energies(path) == []


def test_at_rest_nothing_is_written_but_once_an_hour(path: Path) -> None:
    station, ledger = Station(), SessionRecorder(path)
    for snapshot in a_day(station, 1):
        ledger.note("garage", snapshot)
    rested = station.at
    for _ in range(100):
        station.at += 15
        ledger.note("garage", station.read())
    ledger.close()
    assert max(account.at for _, _, account in read(path).accounts) <= rested

    ledger = SessionRecorder(path)
    ledger.note("garage", station.read())
    station.at += 3600
    ledger.note("garage", station.read())
    ledger.close()
    assert [account.at for _, _, account in read(path).accounts] == [station.at, station.at]


@pytest.mark.parametrize("rubbish", [b"rubbish" * 1000, b"SQLite format 3\0" + b"\xff" * 9000])
def test_a_damaged_file_is_moved_aside_loudly_and_a_new_one_begun(
    path: Path, rubbish: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    station = Station()
    noted(path, *a_day(station, 1))
    path.write_bytes(rubbish)
    with caplog.at_level(logging.ERROR):
        assert noted(path, station.read()) == [7 * KWH]

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    (aside,) = path.parent.glob("charges.db.damaged-*[0-9]Z")
    assert str(aside) in caplog.text
    assert aside.read_bytes() == rubbish


def test_a_file_that_is_damaged_while_it_is_written_is_replaced_and_the_charge_is_kept(path: Path) -> None:
    station, ledger = Station(), SessionRecorder(path)
    with supervised(ledger.worker):
        ledger.note("garage", station.read())
        station.charge(7000, 3600)
        ledger.note("garage", station.read())
        ((first, _),) = await_finished(ledger, 0)
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        with path.open("r+b") as file:
            file.seek(0)
            file.write(b"\xff" * path.stat().st_size)
        station.charge(3500, 3600)
        ledger.note("garage", station.read())
        (*_, (second, charge)) = await_finished(ledger, first)
    ledger.close()

    assert second > first
    assert charge.joules == 3.5 * KWH
    assert list(path.parent.glob("charges.db.damaged-*"))


def test_an_output_gets_all_sessions_of_a_backup_that_took_the_place_of_a_newer_file(path: Path) -> None:
    station = Station()
    noted(path, *a_day(station, 2))
    backup = path.read_bytes()
    path.unlink()
    noted(path, *a_day(station, 1))
    (*_, (last, _)) = store.finished(path, 0)
    path.write_bytes(backup)
    ids = [id for id, _ in store.finished(path, last)]

    assert ids == [id for id, _ in store.finished(path, 0)]
    assert len(ids) == 2
    assert store.finished(path, ids[-1]) == []


def test_ids_go_on_ascending_where_the_file_is_lost(path: Path) -> None:
    station = Station()
    noted(path, *a_day(station, 2))
    (*_, (last, _)) = store.finished(path, 0)
    path.unlink()
    noted(path, station.read())

    assert [id > last for id, _ in store.finished(path, 0)] == [True]


def test_a_file_of_a_newer_version_is_left_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    station = Station()
    noted(path, *a_day(station, 1))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    ledger = SessionRecorder(path)
    station.charge(3500, 3600)
    ledger.note("garage", station.read())
    assert ledger.finished(0) == []
    ledger.close()

    assert caplog.text.count("newer version") == 1
    with pytest.raises(StateError, match="newer version"):
        read(path)
    assert not list(path.parent.glob("*.damaged-*"))


def test_without_a_folder_to_write_in_nothing_is_recorded_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    ledger = SessionRecorder(tmp_path / "file" / "charges.db")
    for snapshot in a_day(Station(), 1):
        ledger.note("garage", snapshot)
    assert ledger.finished(0) == []
    ledger.close()

    assert len(caplog.records) == 1
    assert "sessions are not recorded" in caplog.text


def test_while_another_holds_the_file_charges_wait_and_are_written_then(path: Path) -> None:
    station, ledger = Station(), SessionRecorder(path)
    with supervised(ledger.worker):
        ledger.note("garage", station.read())
        station.charge(7000, 3600)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        began = time()
        ledger.note("garage", station.read())
        waited = time() - began
        other.execute("ROLLBACK")
        other.close()
        found = await_finished(ledger, 0)
    ledger.close()

    assert waited < PATIENCE, "a scrape waited for the disk"
    assert [charge.joules for _, charge in found] == [7 * KWH]


def test_nobody_else_may_read_when_a_car_was_at_home(path: Path) -> None:
    noted(path, Station().read())

    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_being_made_holds_nothing_yet(path: Path) -> None:
    path.parent.mkdir()
    path.touch()

    assert read(path).charges == ()


def test_what_is_read_of_no_file_is_nothing(path: Path) -> None:
    assert read(path).charges == ()
    assert not path.exists()


# The file goes


def remove(path: Path) -> None:
    for part in path.parent.iterdir():
        part.unlink()


def remove_only_the_file(path: Path) -> None:
    path.unlink()


def remove_folder(path: Path) -> None:
    remove(path)
    path.parent.rmdir()


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def remove_journal(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def replace_by_text(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("not a database")
    other.rename(path)


@pytest.mark.parametrize(
    "happens", [remove, remove_only_the_file, remove_folder, move_folder, remove_journal, replace_by_text]
)
def test_a_file_that_goes_while_it_is_used_is_begun_anew_with_what_is_known(
    happens: Callable[[Path], None], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    station, ledger = Station(), SessionRecorder(path)
    with supervised(ledger.worker):
        ledger.note("garage", station.read())
        began_at = station.at
        station.charge(7000, 3600)
        ledger.note("garage", station.read())
        ((first, _),) = await_finished(ledger, 0)
        station.begin()
        station.flow(3500, 3600)
        ledger.note("garage", station.read())
        happens(path)
        station.end()
        station.at += 60
        ledger.note("garage", station.read())
        (*_, (second, charge)) = await_finished(ledger, first)
    ledger.close()

    assert second > first
    assert charge.joules == 3.5 * KWH
    ((began, grown, unassigned),) = [
        (account.began, account.grown, account.unassigned)
        for _, plug, account in read(path).accounts
        if plug == PLUG
    ]
    assert (grown, unassigned) == (10.5 * KWH, 0), "the account does not go on"
    assert began == began_at
    said = [record for record in caplog.records if "removed, replaced or moved" in record.getMessage()]
    assert len(said) == (happens != remove_journal)


def test_a_file_that_cannot_be_opened_at_the_start_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "file" / "charges.db"
    path.parent.touch()
    station, ledger = Station(), SessionRecorder(path)
    ledger.note("garage", station.read())
    path.parent.unlink()
    ledger.worker.attempt(0.0)
    ledger.note("garage", station.read())
    station.charge(7000, 3600)
    ledger.note("garage", station.read())
    ledger.worker.attempt(10.0)
    assert [charge.joules for _, charge in ledger.finished(0)] == [7 * KWH]
    ledger.close()

    assert energies(path) == [7 * KWH]


def test_sessions_wait_in_memory_while_there_is_no_thread_or_folder(path: Path) -> None:
    station, ledger = Station(), SessionRecorder(path)
    ledger.note("garage", station.read())
    remove_folder(path)
    path.parent.touch()
    for _ in range(3):
        station.charge(7000, 3600)
        ledger.note("garage", station.read())
        ledger.worker.attempt(0.0)
        assert ledger.finished(0) == []
    assert not ledger.worker.restarts
    path.parent.unlink()
    ledger.close()

    assert energies(path) == [7 * KWH] * 3


def test_what_a_commit_raises_loses_no_session(path: Path) -> None:
    station, ledger = Station(), SessionRecorder(path)
    ledger.note("garage", station.read())
    ledger.worker.attempt(0.0)
    station.charge(7000, 3600)
    ledger.note("garage", station.read())
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE finished RENAME TO hidden")
    ledger.worker.attempt(1.0)
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE hidden RENAME TO finished")
    connection.close()
    ledger.worker.attempt(2.0)
    ledger.close()

    assert energies(path) == [7 * KWH]


# Files of version 0.1


TABLES_OF_1 = """
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
INSERT INTO sqlite_sequence (name, seq) VALUES ('finished', 1790000000000);
PRAGMA user_version = 1;
"""
REGISTER = 4_855_390.0 * 3600


def file_of_1(path: Path, *rows: str) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript(TABLES_OF_1 + "".join(f"INSERT INTO {row};" for row in rows))
    connection.close()


SESSIONS_OF_1 = (
    f"finished VALUES (1790000000005, 'garage', '{PLUG}', 1.5, 9.0, {START - 9}, {START - 8}, {START},"
    " 7.0, 8.0, 4, 7e3)",
    f"finished VALUES (1790000000007, 'garage', '{PLUG}', 2.5, 10.0, {START}, 946684815.0, {START},"
    " 8.0, 849e6, 4, NULL)",
)
ACCOUNT_OF_1 = (
    f"accounts VALUES ('garage', '{PLUG}', 1, 1.0, 0.0, 50.0, 1.0, NULL, 40.0,"
    " NULL, NULL, NULL, NULL, NULL, NULL)",
    f"accounts VALUES ('garage', '{PLUG}', 2, {START - 9e6}, {REGISTER - 9e6}, {REGISTER}, {START}, {START}, 7e6,"
    f" {START - 9e5}, 7e6, {START}, 2e6, 0.0, 7e3)",
)


def test_a_file_of_version_1_keeps_every_row_without_what_is_impossible(path: Path) -> None:
    file_of_1(path, *SESSIONS_OF_1, *ACCOUNT_OF_1)
    before = read(path)
    SessionRecorder(path).close()
    found = read(path)

    assert before == found, "charge log shows another thing before serve has upgraded the file"
    assert found.charges == [
        (9.0, FinishedSession("garage", PLUG, START - 9, START - 8, START, 7.0, 8.0, 4, 7e3)),
        (10.0, FinishedSession("garage", PLUG, START, None, START, 8.0, None, 4, None)),
    ]
    assert [account.register_generation for _, _, account in found.accounts] == [1, 2]
    account = found.accounts[1][2]
    assert (account.grown, account.charged, account.under_way) == (9e6, 7e6, 2e6)
    assert [number for number, _ in store.finished(path, 0)] == [1790000000005, 1790000000007]


def test_a_file_of_version_1_stays_beside_the_new_one_for_whom_it_is(path: Path) -> None:
    file_of_1(path, *SESSIONS_OF_1, *ACCOUNT_OF_1)
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
    SessionRecorder(path).close()
    SessionRecorder(path).close()
    kept = path.with_name(f"{path.name}.0.1")
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert list(connection.iterdump()) == before

    assert kept.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir() if ".0.1" in file.name] == [kept.name]


def test_a_session_that_version_1_saw_running_goes_on_and_the_last_one_is_not_recorded_again(path: Path) -> None:
    station = Station()
    file_of_1(path, *ACCOUNT_OF_1)
    station.charges[PLUG] = ChargeRecord(
        PLUG, state=0, requested=START - 9e5, begun=START - 8e5, ended=START - 7e5, watt_hours=7e6 / 3600
    )
    assert noted(path, station.read()) == [2e6]  # it is gone: closed with what is known
    station.begin()
    station.flow(7000, 3600)
    station.end()

    assert noted(path, station.read()) == [2e6, 7 * KWH]


def test_a_file_of_version_1_gives_the_filter_the_last_level(path: Path) -> None:
    file_of_1(path, *ACCOUNT_OF_1)
    recorder = SessionRecorder(path)
    levels = recorder.levels("garage")
    recorder.close()

    assert levels == {f"chargeInfo {PLUG}": RegisterLevel(REGISTER, START, START)}


def test_ids_go_on_in_a_file_of_version_1_without_rows(path: Path) -> None:
    file_of_1(path)
    noted(path, *a_day(Station(), 1))

    assert [number for number, _ in store.finished(path, 0)] == [1790000000001]


# Levels


def level(value: float, at: float = START, **more: Any) -> RegisterLevel:
    return RegisterLevel(value, at, **more)


def test_levels_are_there_after_a_restart_whole(path: Path) -> None:
    levels = {"A.AE": level(5.0, clock=3.0), "A.NET": level(6.0, falls=(1.0, 2.5), is_partial=True)}
    recorder = SessionRecorder(path)
    recorder.note_levels("garage", levels)
    assert recorder.levels("carport") == {}
    recorder.close()
    again = SessionRecorder(path)

    assert again.levels("garage") == levels
    assert again.levels("carport") == {}
    again.close()


def test_a_first_level_and_one_that_fell_are_committed_at_once(path: Path) -> None:
    recorder = SessionRecorder(path)
    with supervised(recorder.worker):
        for value in (5.0, 0.0):
            recorder.note_levels("garage", {"A.AE": level(value)})
            await_level(path, value)
    recorder.close()


def await_level(path: Path, value: float) -> None:
    began = time()
    while stored(path, "SELECT value FROM levels") != [(value,)]:
        assert time() < began + 30, "nothing was committed"
        sleep(0.01)


def stored(path: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


def test_a_level_at_rest_is_written_once_an_hour_one_that_grows_each_time(path: Path) -> None:
    recorder = SessionRecorder(path)
    times = []
    for minute in range(150):
        grown = min(minute, 3)
        recorder.note_levels("garage", {"A.AE": level(5.0 + grown, START + minute * 60)})
        recorder.worker.attempt(0.0)
        ((at,),) = stored(path, "SELECT at FROM levels")
        times.append((at - START) / 60)
    recorder.close()

    assert sorted(set(times)) == [0, 1, 2, 3, 63, 123]


def test_levels_and_days_in_memory_go_into_a_file_that_begins_anew(path: Path) -> None:
    station, recorder = Station(), SessionRecorder(path)
    recorder.note("garage", station.read())
    station.charge(7000, 3600)
    recorder.note("garage", station.read())
    recorder.note_levels("garage", {"A.AE": level(5.0)})
    recorder.worker.attempt(0.0)
    days = recorder.energy_by_day("garage", "2026-01-01")
    remove(path)
    recorder.worker.attempt(1.0)
    recorder.close()
    again = SessionRecorder(path)

    assert again.levels("garage") == {"A.AE": level(5.0)}
    assert again.energy_by_day("garage", "2026-01-01") == days
    assert days
    again.close()


@pytest.mark.parametrize(("minutes", "is_kept"), [(50, True), (70, False)])
def test_a_session_that_outputs_may_not_have_read_yet_goes_into_a_file_that_begins_anew(
    path: Path, clock: Clock, minutes: int, is_kept: bool
) -> None:
    station, recorder = Station(), SessionRecorder(path, clock.still)
    station.charge(7000, 3600)
    recorder.note("garage", station.read())
    recorder.worker.attempt(0.0)
    ((first, session),) = recorder.finished(0)
    clock.at += minutes * 60
    remove(path)
    recorder.worker.attempt(1.0)

    found = recorder.finished(first)
    assert [charge for _, charge in found] == ([session] if is_kept else [])
    recorder.close()


def test_rows_that_make_no_sense_are_a_damage(path: Path) -> None:
    noted(path, *a_day(Station(), 1))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE accounts SET running = '{'")
    connection.close()
    with pytest.raises(StateError, match="cannot be read"):
        read(path)
    noted(path, *a_day(Station(), 1))

    assert list(path.parent.glob("charges.db.damaged-*"))
    assert energies(path) == [7 * KWH]


# Energy by day


def test_energy_is_of_the_local_day_of_the_read_that_found_it(path: Path) -> None:
    station, recorder = Station(at=NOON), SessionRecorder(path)
    recorder.note("garage", station.read())
    for hours in (6, 5.9, 2, 72):
        station.flow(1000, hours * 3600)
        recorder.note("garage", station.read())
    recorder.close()
    again = SessionRecorder(path)
    found = again.energy_by_day("garage", "2026-11-30")
    again.close()

    assert found == {
        PLUG: {
            "2026-11-30": pytest.approx(11.9 * KWH),
            "2026-12-01": pytest.approx(2 * KWH),
            "2026-12-04": pytest.approx(72 * KWH),
        }
    }
    assert again.energy_by_day("garage", "2026-12-02") == {PLUG: {"2026-12-04": pytest.approx(72 * KWH)}}
    assert again.energy_by_day("carport", "2026-11-30") == {}


def test_energy_by_day_is_the_growth_of_the_register_and_a_reset_is_none(path: Path) -> None:
    station, recorder = Station(at=NOON), SessionRecorder(path)
    recorder.note("garage", station.read())
    station.flow(1000, 3600)
    recorder.note("garage", station.read())
    station.registers[PLUG] = 0.0
    recorder.note("garage", station.read())
    station.flow(1000, 1800)
    recorder.note("garage", station.read())
    found = recorder.energy_by_day("garage", "2026-11-30")[PLUG]
    recorder.close()

    assert found == {"2026-11-30": pytest.approx(1.5 * KWH)}


def test_the_last_days_are_kept(path: Path) -> None:
    station, recorder = Station(at=NOON), SessionRecorder(path)
    for _ in range(store.MOST_DAYS + 3):
        recorder.note("garage", station.read())
        station.flow(100, 86_400)
    days = recorder.energy_by_day("garage", "2026-11-30")[PLUG]
    recorder.close()

    assert len(days) == store.MOST_DAYS
    assert min(days) > "2026-12-01"


# Chargers that are gone


def test_a_charger_that_is_gone_is_forgotten_and_remembered_when_it_comes_back(path: Path) -> None:
    station, recorder = Station(), SessionRecorder(path)
    recorder.note("garage", station.read())
    station.charge(7000, 3600)
    recorder.note("garage", station.read())
    recorder.note_levels("garage", {"A.AE": level(5.0)})
    recorder.forget_all_but(["carport"])
    assert recorder.energy_by_day("garage", "2026-01-01"), "what waits for a commit was forgotten"
    recorder.worker.attempt(0.0)
    recorder.forget_all_but(["carport"])
    assert not recorder.energy_by_day("garage", "2026-01-01")
    assert recorder.levels("garage") == {"A.AE": level(5.0)}
    station.charge(3500, 3600)
    recorder.note("garage", station.read())
    recorder.close()

    ((grown, charged),) = [
        (account.grown, account.charged) for _, plug, account in read(path).accounts if plug == PLUG
    ]
    assert (grown, charged) == (10.5 * KWH, 10.5 * KWH)
    assert energies(path) == [7 * KWH, 3.5 * KWH]


# A folder that cannot be used


def test_a_session_that_ended_before_the_file_could_be_opened_is_recorded_then(path: Path) -> None:
    path.mkdir(parents=True)
    station, recorder = Station(), SessionRecorder(path)
    station.charge(7000, 3600)
    recorder.note("garage", station.read())
    recorder.note_levels("garage", {"A.AE": level(5.0)})
    recorder.worker.attempt(0.0)
    assert recorder.levels("garage") == {}
    path.rmdir()
    recorder.worker.attempt(10.0)
    station.at += 15
    recorder.note("garage", station.read())
    recorder.note_levels("garage", {"A.AE": level(5.0)})
    recorder.worker.attempt(20.0)
    assert recorder.levels("garage") == {"A.AE": level(5.0)}
    recorder.close()

    assert energies(path) == [7 * KWH]


def test_a_register_that_was_reset_has_a_balance_of_its_own(path: Path) -> None:
    station, recorder = Station(), SessionRecorder(path)
    recorder.note("garage", station.read())
    station.charge(7000, 3600)
    recorder.note("garage", station.read())
    station.registers[PLUG] = 120.0
    recorder.note("garage", station.read())
    station.charge(3500, 3600)
    recorder.note("garage", station.read())
    station.flow(500, 3600)
    recorder.note("garage", station.read())
    recorder.close()
    recorded = read(path)
    accounts = [account for account in recorded.accounts if account[1] == PLUG]
    text = "\n".join(report.balance(replace(recorded, accounts=accounts), UTC))
    before, after = re.split("^garage.*:$", text, flags=re.MULTILINE)[1:]

    assert "then it was reset or exchanged" in text.splitlines()[0]
    assert re.findall(r"(\w+) +([\d.]+) kWh", before) == [
        ("register", "7.000"),
        ("sessions", "7.000"),
        ("unattributed", "0.000"),
    ]
    assert re.findall(r"(\w+) +([\d.]+) kWh", after) == [
        ("register", "4.000"),
        ("sessions", "3.500"),
        ("unattributed", "0.500"),
    ]
