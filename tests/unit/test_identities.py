"""Register levels belong to a charger, whatever its name and address; sessions to its name, which may change."""

import logging
import sqlite3
from pathlib import Path

import pytest
from helpers.charging import OTHER as SECOND
from helpers.charging import PLUG, START, Station

from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.station.plausibility import RegisterLevel

ONE, OTHER = "http://192.0.2.10", "http://192.0.2.11"
LEVEL = {"A.AE": RegisterLevel(5.0, START)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "charges.db"


def restarted(recorder: SessionRecorder, path: Path) -> SessionRecorder:
    recorder.close()
    return SessionRecorder(path)


def levels(recorder: SessionRecorder, name: str, url: str, *ids: str) -> object:
    key = recorder.identify(name, url, ids)
    assert key is not None
    return recorder.levels(key)


def keep(recorder: SessionRecorder, name: str, url: str, *ids: str) -> None:
    key = recorder.identify(name, url, ids)
    assert key is not None
    recorder.note_levels(key, LEVEL)


def test_a_charger_keeps_its_levels_under_another_name_and_at_another_address(path: Path) -> None:
    recorder = SessionRecorder(path)
    keep(recorder, "garage", ONE, "b", "a")
    recorder = restarted(recorder, path)

    assert levels(recorder, "carport", OTHER, "a", "b") == LEVEL
    recorder.close()


def test_another_charger_at_the_address_does_not_inherit_them(path: Path) -> None:
    recorder = SessionRecorder(path)
    keep(recorder, "garage", ONE, "a")
    recorder = restarted(recorder, path)

    assert levels(recorder, "garage", ONE, "c") == {}
    assert levels(recorder, "carport", OTHER, "a") == LEVEL
    recorder.close()


def test_while_a_charger_does_not_say_its_ids_it_is_the_one_that_answered_there(path: Path) -> None:
    recorder = SessionRecorder(path)
    keep(recorder, "garage", ONE, "a")
    recorder = restarted(recorder, path)

    assert levels(recorder, "garage", ONE) == LEVEL
    assert levels(recorder, "carport", OTHER) == {}
    recorder.close()


def test_without_ids_levels_belong_to_the_address(path: Path) -> None:
    recorder = SessionRecorder(path)
    keep(recorder, "garage", ONE)
    recorder = restarted(recorder, path)

    assert levels(recorder, "carport", ONE) == LEVEL
    assert levels(recorder, "garage", OTHER) == {}
    recorder.close()


def test_chargers_with_one_id_are_kept_apart_which_is_said_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = SessionRecorder(path)
    recorder.configured_names = lambda: ("garage", "carport")
    keep(recorder, "garage", ONE, "a")
    recorder.identify("carport", OTHER, ["a"])  # which may have been moved
    for _ in range(3):
        keys = {recorder.identify(name, url, ["a"]) for name, url in (("garage", ONE), ("carport", OTHER))}

        assert keys == {ONE, OTHER}
    keep(recorder, "garage", ONE, "a")
    recorder = restarted(recorder, path)

    assert levels(recorder, "carport", OTHER, "a") == {}
    assert levels(recorder, "garage", ONE, "a") == LEVEL
    assert levels(recorder, "attic", "http://192.0.2.12", "a") == {}
    assert levels(recorder, "garage", ONE, "own") == {}
    assert [line for line in caplog.messages if "the same plug ids" in line] == [
        "garage and carport have the same plug ids: their levels are kept by URL"
    ]
    recorder.close()


def test_one_charger_at_two_urls_is_no_copy(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = SessionRecorder(path)
    recorder.configured_names = lambda: ("garage", "carport")
    urls = (("garage", "http://127.0.0.1:9"), ("carport", "http://localhost:9"))
    keys = {recorder.identify(name, url, ["a"]) for _ in range(3) for name, url in urls}

    assert (keys, caplog.messages) == ({"a"}, [])
    recorder.close()


def test_a_charger_that_was_moved_is_no_copy(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = SessionRecorder(path)
    for url in (ONE, ONE, OTHER, OTHER):
        assert recorder.identify("garage", url, ["a"]) == "a"
    assert caplog.messages == []
    recorder.close()


def test_a_charger_that_was_renamed_keeps_its_sessions_and_days(path: Path) -> None:
    station, recorder = Station(), SessionRecorder(path)
    recorder.configured_names = lambda: ("garage",)
    recorder.identify("garage", ONE, ["a"])
    recorder.note("garage", station.read())
    station.charge(7000, 3600)
    recorder.note("garage", station.read())
    station.begin()
    station.flow(7000, 1800)
    recorder.note("garage", station.read())
    days = recorder.energy_by_day("garage", "2026-01-01")
    recorder = restarted(recorder, path)
    recorder.configured_names = lambda: ("carport",)
    recorder.identify("carport", ONE, ["a"])
    station.flow(7000, 1800)
    station.end()
    recorder.note("carport", station.read())
    for _ in range(2):
        sessions = recorder.latest_sessions("carport", 10)
        recorder = restarted(recorder, path)

    assert [session.joules / 3.6e6 for session in sessions] == [7.0, 7.0]
    assert recorder.latest_sessions("garage", 10) == []
    assert [*recorder.energy_by_day("carport", "2026-01-01")] == [*days]
    recorder.close()


def test_the_sessions_of_a_charger_that_is_still_configured_stay_its_own(path: Path) -> None:
    station, recorder = Station(), SessionRecorder(path)
    recorder.configured_names = lambda: ("garage", "carport")
    recorder.identify("garage", ONE, ["a"])
    recorder.note("garage", station.read())
    station.charge(7000, 3600)
    recorder.note("garage", station.read())
    recorder.identify("carport", OTHER, ["a"])
    recorder = restarted(recorder, path)

    assert len(recorder.latest_sessions("garage", 10)) == 1
    recorder.close()


def test_the_energy_of_an_exchanged_charger_is_not_that_of_the_day(path: Path) -> None:
    station, recorder = Station(), SessionRecorder(path)
    recorder.identify("garage", ONE, ["a"])
    recorder.note("garage", station.read())
    station.at += 86_400
    station.registers[PLUG] += 100_000.0  # what a charger could have given in a day
    recorder.identify("garage", ONE, ["c"])
    recorder.note("garage", station.read())
    station.flow(7000, 3600)
    recorder.note("garage", station.read())

    assert sum(recorder.energy_by_day("garage", "2026-01-01")[PLUG].values()) == 7 * 3.6e6
    recorder.close()


@pytest.mark.parametrize("is_left_first", [True, False])
@pytest.mark.parametrize("swapped", ["names", "addresses", "both"])
def test_chargers_that_swap_names_or_addresses_have_no_energy_and_no_session_of_each_other(
    swapped: str, is_left_first: bool, path: Path
) -> None:
    """The addresses change below the names, or with them as the file follows."""
    left, right = Station(), Station(at=START + 0.5, registers={PLUG: 1_000_000.0, SECOND: 0.0})

    def look(recorder: SessionRecorder, *who: tuple[str, str, str, Station]) -> None:
        recorder.configured_names = lambda: ("left", "right")
        for name, url, id, station in who if is_left_first else reversed(who):
            recorder.identify(name, url, [id])
            recorder.note(name, station.read())

    recorder = SessionRecorder(path)
    look(recorder, ("left", ONE, "a", left), ("right", OTHER, "b", right))
    left.charge(7000, 3600)
    right.charge(3500, 3600)
    look(recorder, ("left", ONE, "a", left), ("right", OTHER, "b", right))
    recorder = restarted(recorder, path)
    names = ("left", "right") if swapped == "both" else ("right", "left")
    urls = (ONE, OTHER) if swapped == "names" else (OTHER, ONE)
    look(recorder, (names[0], urls[0], "a", left), (names[1], urls[1], "b", right))
    left.charge(7000, 3600)
    look(recorder, (names[0], urls[0], "a", left), (names[1], urls[1], "b", right))
    sums = [
        sum(sum(days.values()) for days in recorder.energy_by_day(name, "2026-01-01").values()) / 3.6e6
        for name in ("left", "right")
    ]
    recorder = restarted(recorder, path)
    sessions = [
        sorted(round(session.joules / 3.6e6, 6) for session in recorder.latest_sessions(name, 10))
        for name in ("left", "right")
    ]
    recorder.close()

    kept = swapped == "both"
    assert sums == pytest.approx([14.0, 3.5] if kept else [7.0, 10.5])
    assert sessions == ([[7.0, 7.0], [3.5]] if kept else [[7.0], [3.5, 7.0]])


@pytest.mark.parametrize("ids", [(), ("a",)])
def test_levels_that_were_kept_by_name_are_taken_over_once(path: Path, ids: tuple[str, ...]) -> None:
    recorder = SessionRecorder(path)
    recorder.note_levels("garage", LEVEL)
    recorder.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE identities")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    recorder = SessionRecorder(path)

    assert levels(recorder, "garage", ONE, *ids) == LEVEL
    recorder = restarted(recorder, path)
    assert levels(recorder, "garage", ONE, *ids) == LEVEL
    assert levels(recorder, "garage", ONE, "c") == {}
    assert recorder.levels("garage") == {}
    recorder.close()


def test_which_charger_is_where_goes_into_a_file_that_begins_anew(path: Path) -> None:
    recorder = SessionRecorder(path)
    keep(recorder, "garage", ONE, "a")
    recorder.worker.attempt(0.0)
    for part in path.parent.glob("charges.db*"):
        part.unlink()
    recorder.worker.attempt(1.0)
    recorder = restarted(recorder, path)

    assert levels(recorder, "garage", ONE) == LEVEL
    recorder.close()


def test_what_is_of_a_charger_of_the_configuration_is_not_forgotten(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    recorder = SessionRecorder(path)
    keep(recorder, "garage", ONE, "a")
    recorder.worker.attempt(0.0)
    path.unlink()  # so that nothing can be read again
    recorder.forget_all_but(["garage"])

    assert levels(recorder, "garage", ONE, "a") == LEVEL
    recorder.close()
