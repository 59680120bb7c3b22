"""What is kept of each charger's reads: the last one, and the power of 24 hours."""

from dataclasses import replace
from math import isnan

from helpers.plugs import plug

from ccl_exporter.exporter.recent_readings import MINUTES, MOST_HISTORIES, PowerHistory, RecentReadings
from ccl_exporter.powerstudio.inventory import Inventory
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.judge import Station
from ccl_exporter.station.plug import Measured

NOW = 1_790_000_040.0
EMPTY = Snapshot(NOW, 0.1, 5.0, 1, up=True, inventory=Inventory())


def station(at: float = NOW, watts: float | None = 7000.0, up: bool = True, name: str = "P") -> Station:
    """A read at a time, of one plug."""
    read = Station(replace(EMPTY, taken=at, up=up))
    power = Measured((("", watts),))
    vars(read)["plugs"] = (replace(plug("charging"), name=name, powers=power),) if up else ()
    return read


def known(history: PowerHistory, now: float) -> dict[int, float]:
    """The minutes that have a value, by their age."""
    return {MINUTES - 1 - place: watts for place, watts in enumerate(history.until(now)) if not isnan(watts)}


class TestPowerHistory:
    def test_a_minute_holds_the_mean_of_its_readings_and_a_minute_without_any_holds_nothing(self) -> None:
        history = PowerHistory()
        for at, watts in ((0, 1000.0), (15, 2000.0), (30, 6000.0), (185, 500.0)):
            history.note(NOW + at, watts)

        assert known(history, NOW + 190) == {3: 3000.0, 0: 500.0}
        assert len(history.until(NOW)) == MINUTES

    def test_what_is_older_than_a_day_is_gone(self) -> None:
        history = PowerHistory()
        history.note(NOW, 1000.0)
        history.note(NOW + 60 * (MINUTES - 1), 2000.0)

        assert known(history, NOW + 60 * (MINUTES - 1)) == {MINUTES - 1: 1000.0, 0: 2000.0}
        history.note(NOW + 60 * MINUTES, 3000.0)
        assert known(history, NOW + 60 * MINUTES) == {1: 2000.0, 0: 3000.0}
        assert known(history, NOW + 60 * 10 * MINUTES) == {}
        history.note(NOW + 60 * 10 * MINUTES, 4000.0)
        assert known(history, NOW + 60 * 10 * MINUTES) == {0: 4000.0}

    def test_a_clock_that_is_set_back_makes_no_reading_one_of_yesterday(self) -> None:
        history = PowerHistory()
        for minute in range(10):
            history.note(NOW + 60 * minute, 1000.0)
        history.note(NOW + 60 * 4, 3000.0)

        assert known(history, NOW + 60 * 4) == {4: 1000.0, 3: 1000.0, 2: 1000.0, 1: 1000.0, 0: 3000.0}


class TestRecentReadings:
    def test_the_last_read_stays_and_an_older_one_that_comes_late_does_not_replace_it(self) -> None:
        recent = RecentReadings(lambda: {"garage"})
        for at in (NOW, NOW - 5):
            recent.note("garage", station(at))

        last = recent.last("garage")
        assert last is not None
        assert last.snapshot.taken == NOW
        assert [plug.power for plug in last.plugs] == [7000.0]
        assert recent.last("other") is None

    def test_a_charger_that_does_not_answer_has_no_plugs_and_keeps_its_power(self) -> None:
        recent = RecentReadings(lambda: {"garage"})
        recent.note("garage", station(NOW))
        recent.note("garage", station(NOW + 60, up=False))

        last = recent.last("garage")
        assert last is not None
        assert (last.snapshot.up, len(last.plugs)) == (False, 0)
        assert recent.powers("garage", NOW + 60)["P"][-2] == 7000.0

    def test_after_a_clock_was_set_back_the_new_read_counts(self) -> None:
        recent = RecentReadings(lambda: {"garage"})
        recent.note("garage", station(NOW))
        recent.note("garage", station(NOW - 3600, watts=1.0))

        last = recent.last("garage")
        assert last is not None
        assert last.snapshot.taken == NOW - 3600

    def test_the_same_read_counts_once(self) -> None:
        recent = RecentReadings(lambda: {"garage"})
        first = station(NOW, 1000.0)
        for read in (first, first, first, station(NOW + 15, 4000.0)):
            recent.note("garage", read)

        assert recent.powers("garage", NOW + 15)["P"][-1] == 2500.0

    def test_only_known_chargers_are_kept_and_those_that_left_make_room(self) -> None:
        names = {f"bay-{number}" for number in range(MOST_HISTORIES + 1)}
        recent = RecentReadings(lambda: names)
        for name in sorted(names):
            recent.note(name, station())
        recent.note("unnamed", station())

        assert recent.last("unnamed") is None
        assert sum(bool(recent.powers(name, NOW)) for name in names) == MOST_HISTORIES
        names.clear()
        names.add("new")
        recent.note("new", station())
        assert recent.powers("new", NOW)
        assert recent.last("bay-1") is None
        assert not recent.powers("bay-1", NOW)

    def test_a_charger_that_renames_its_plugs_fills_no_memory(self) -> None:
        recent = RecentReadings(lambda: {"garage"})
        for number in range(5):
            recent.note("garage", station(NOW + 60 * number, name=f"P{number}"))

        assert list(recent.powers("garage", NOW + 240)) == ["P4"]

    def test_a_power_that_was_not_read_is_no_zero(self) -> None:
        recent = RecentReadings(lambda: {"garage"})
        recent.note("garage", station(watts=None))

        assert isnan(recent.powers("garage", NOW)["P"][-1])
