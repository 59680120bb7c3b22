"""The pages of a service: what they have read of a simulated charger, and what they show of it to whom."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, time

import pytest
from helpers.charging import Station

from ccl_exporter.exporter.collector import Collector
from ccl_exporter.exporter.live_pages import LivePages
from ccl_exporter.exporter.recent_readings import RecentReadings
from ccl_exporter.exporter.target_registry import TargetRegistry
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.sessions.tracker import Costs, FinishedSession
from ccl_exporter.settings import ChargerSettings, Settings
from ccl_exporter.simulator import Simulator


class Record:
    """A session log with one session and one day."""

    def energy_by_day(self, charger: str, since_day: str) -> Mapping[str, Mapping[str, float]]:
        assert since_day.endswith("-01")
        return {"EVSE.PLUG": {since_day: 12.5 * 3.6e6}} if charger == "garage" else {}

    def costs(self, charger: str, since_day: str) -> Costs | None:
        return Costs("GBP", {"EVSE.PLUG": {since_day: 1.25}}) if charger == "garage" else None

    def latest_sessions(self, charger: str, most: int) -> Sequence[FinishedSession]:
        assert most == 10
        at = time() - 86400
        return [FinishedSession(charger, "EVSE.PLUG", at, at, at + 3600, 3.6e7, 3600.0, 5, 7400.0)]


Open = Callable[..., LivePages]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Pages of chargers with these settings."""
    with ExitStack() as stack:

        def run(*chargers: ChargerSettings) -> LivePages:
            registry = TargetRegistry(Settings({charger.name: charger for charger in chargers}), None)
            recent = RecentReadings(lambda: registry.settings.chargers)
            pages = LivePages(registry, Collector(None, recent), recent, Record(), lambda: (), "ccl-exporter")
            for charger in registry.chargers():
                stack.callback(charger.close)
            stack.callback(lambda: pages.readers.join(monotonic() + 10))
            stack.callback(pages.readers.stop)
            return pages

        yield run


def test_one_charger_is_read_for_its_page_and_not_again_while_that_is_new(opened: Open) -> None:
    with Simulator(autopilot=False) as simulator:
        pages = opened(ChargerSettings("garage", simulator.url, title="Wallbox"))
        first = pages.front("", with_history=True)
        simulator.clear_requests()
        again = pages.front("", with_history=True)

        assert simulator.requests == []
        assert b"<h1>Wallbox</h1>" in first
        assert b"Available" in first
        assert b"Available" in again


def test_history_is_shown_only_to_those_with_access(opened: Open) -> None:
    with Simulator(autopilot=False) as simulator:
        pages = opened(ChargerSettings("garage", simulator.url))
        shown, hidden = (pages.front("", with_history=which) for which in (True, False))
        whole_shown, whole_hidden = (
            pages.charger("garage", "", with_history=which) or b"" for which in (True, False)
        )

    for html in (shown, whole_shown):
        assert b"Last sessions" in html
        assert b"12.50<small>&nbsp;kWh" in html
        assert b"1.25 GBP" in html
        assert b"<svg" in html
    for html in (hidden, whole_hidden):
        assert b"Last sessions" not in html
        assert b"12.50" not in html
        assert b"GBP" not in html
        assert b"<svg" not in html


def test_the_page_of_a_charger_has_all_its_variables(opened: Open) -> None:
    with Simulator(autopilot=False) as simulator:
        pages = opened(ChargerSettings("garage", simulator.url))
        pages.front("", with_history=False)
        whole = pages.charger("garage", "q=PWMO5", with_history=False) or b""

    assert b"1 variable<" in whole
    assert b">PWMO5<" in whole
    assert pages.charger("other", "", with_history=False) is None


def test_many_chargers_are_read_meanwhile_and_each_once(opened: Open) -> None:
    with (
        Simulator(autopilot=False, latency=0.02) as one,
        Simulator("twin", autopilot=False, latency=0.02) as other,
    ):
        pages = opened(ChargerSettings("one", one.url), ChargerSettings("other", other.url))
        first = pages.front("", with_history=True)
        for _ in range(5):
            pages.front("", with_history=True)
        done = threading.Event()
        # After the two reads, or beside them.
        while pages._being_read:
            pages.readers.submit(done.set)
            assert done.wait(10)
        requests = len(one.requests)
        last = pages.front("", with_history=True)

        assert len(one.requests) == requests

    assert first.count(b"Not read yet") == 2
    assert last.count(b"Available") == 3
    assert b"Today" not in last
    assert b'href="charger/other"' in last


def test_the_last_sessions_of_the_log_are_those_of_the_charger_newest_first(tmp_path: Path) -> None:
    path, station = tmp_path / "charges.db", Station()
    recorder = SessionRecorder(path)
    for number in range(12):
        for charger in ("garage", "other"):
            recorder.note(charger, station.read())
        station.charge(7000, 60 * (number + 1))
        for charger in ("garage", "other"):
            recorder.note(charger, station.read())
        station.flow(0, 600)
    assert recorder.latest_sessions("garage", 10) == [], "not committed yet"
    recorder.close()
    recorder = SessionRecorder(path)
    found = recorder.latest_sessions("garage", 10)

    assert [session.seconds for session in found] == [60.0 * number for number in range(12, 2, -1)]
    assert {session.charger for session in found} == {"garage"}
    path.unlink()
    assert recorder.latest_sessions("garage", 10) == []
    recorder.close()
