"""Hours and prices of the day: on the clock on the wall, in any zone, over midnight and changes of clocks."""

from datetime import datetime
from itertools import pairwise
from time import tzset

import pytest

from ccl_exporter.errors import UsageError
from ccl_exporter.tariff import Tariff, window, zone_of


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("hours", "zone", "instant", "within"),
    [
        pytest.param("00:30-04:30", "UTC", "2026-11-24T00:30:00Z", True, id="its begin is in it"),
        pytest.param("00:30-04:30", "UTC", "2026-11-24T04:29:59.9Z", True, id="just before its end"),
        pytest.param("00:30-04:30", "UTC", "2026-11-24T04:30:00Z", False, id="its end is not"),
        pytest.param("00:30-04:30", "UTC", "2026-11-24T00:29:59Z", False, id="just before its begin"),
        pytest.param("00:30-04:30", "Europe/London", "2026-07-24T23:45:00Z", True, id="summer time"),
        pytest.param("00:30-04:30", "Europe/London", "2026-11-24T23:45:00Z", False, id="winter time"),
        pytest.param("22:00-06:00", "UTC", "2026-11-24T23:00:00Z", True, id="before midnight"),
        pytest.param("22:00-06:00", "UTC", "2026-11-24T05:59:00Z", True, id="after midnight"),
        pytest.param("22:00-06:00", "UTC", "2026-11-24T12:00:00Z", False, id="over midnight, at noon"),
        pytest.param("02:15-02:45", "Europe/Berlin", "2026-10-25T00:30:00Z", True, id="an hour that comes twice"),
        pytest.param("02:15-02:45", "Europe/Berlin", "2026-10-25T01:30:00Z", True, id="for the second time"),
        pytest.param("02:15-02:45", "Europe/Berlin", "2027-03-28T01:30:00Z", False, id="an hour that is left out"),
    ],
)
def test_a_window_is_of_the_clock_on_the_wall(hours: str, zone: str, instant: str, within: bool) -> None:
    assert window(hours, zone).holds(at(instant)) is within


@pytest.mark.parametrize(
    ("hours", "zone", "instant", "opened"),
    [
        ("00:30-04:30", "UTC", "2026-11-24T00:30:00Z", "2026-11-24T00:30:00Z"),
        ("00:30-04:30", "UTC", "2026-11-24T00:29:59Z", "2026-11-23T00:30:00Z"),
        ("22:00-06:00", "UTC", "2026-11-24T05:00:00Z", "2026-11-23T22:00:00Z"),
        ("00:30-04:30", "Europe/London", "2026-10-25T12:00:00Z", "2026-10-24T23:30:00Z"),
        ("00:30-04:30", "Europe/London", "2026-10-26T00:29:00Z", "2026-10-24T23:30:00Z"),
        ("00:30-04:30", "Europe/London", "2026-10-26T00:31:00Z", "2026-10-26T00:30:00Z"),
        # From 03:00 on, as the hour before is left out.
        ("02:30-05:00", "Europe/Berlin", "2027-03-28T01:01:00Z", "2027-03-28T01:00:00Z"),
        ("02:30-05:00", "Europe/Berlin", "2027-03-28T00:59:00Z", "2027-03-27T01:30:00Z"),
        ("02:30-03:20", "Europe/Berlin", "2027-03-28T01:10:00Z", "2027-03-28T01:00:00Z"),
        ("02:30-02:00", "Europe/Berlin", "2027-03-28T12:00:00Z", "2027-03-28T01:00:00Z"),
    ],
)
def test_a_window_knows_when_it_last_opened(hours: str, zone: str, instant: str, opened: str) -> None:
    assert window(hours, zone).opened(at(instant)) == at(opened)


def test_a_window_of_this_machine_moves_with_its_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/London")
    tzset()
    try:
        night = window("00:30-04:30", None)
        found = [night.holds(at(f"{day}T23:45Z")) for day in ("2026-07-24", "2026-11-24")]
        opened = [night.opened(at(f"{day}T12:00Z")) for day in ("2026-07-24", "2026-11-24")]
    finally:
        monkeypatch.undo()
        tzset()

    assert found == [True, False]
    assert opened == [at("2026-07-23T23:30Z"), at("2026-11-24T00:30Z")]


@pytest.mark.parametrize("text", ["", "0:30-4:30", "00:30", "24:00-04:30", "00:30-04:60", "00:30-00:30", "night"])
def test_what_is_no_window_is_said(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a window of the day; it looks like 00:30-04:30"):
        window(text, "UTC")


@pytest.mark.parametrize("zone", ["Europe/Londn", "", "../../etc/passwd", "Europe"])
def test_what_is_no_time_zone_is_said(zone: str) -> None:
    with pytest.raises(UsageError, match="no such time zone"):
        window("00:30-04:30", zone)


# Tariffs


def tariff(*windows: tuple[str, float], price: float = 0.3, zone: str = "Europe/London") -> Tariff:
    where = zone_of(zone)
    assert where is not None
    return Tariff(where, "GBP", price, tuple((window(hours, zone), each) for hours, each in windows))


NIGHT = tariff(("00:30-04:30", 0.1))


def test_a_price_holds_by_the_clock_on_the_wall() -> None:
    assert NIGHT.price_at(at("2026-11-24T00:29:59Z")) == 0.3
    assert NIGHT.price_at(at("2026-11-24T00:30:00Z")) == 0.1
    assert NIGHT.price_at(at("2026-07-24T03:29:59Z")) == 0.1
    assert NIGHT.price_at(at("2026-07-24T03:30:00Z")) == 0.3


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-11-24", 4.0), ("2026-10-25", 5.0), ("2027-03-28", 3.0)],
    ids=["any day", "clocks go back", "clocks go forward"],
)
def test_the_hours_of_a_tariff_are_those_that_pass(day: str, hours: float) -> None:
    begin = at(f"{day}T00:00Z") - 6 * 3600
    pieces = list(NIGHT.pieces(begin, begin + 24 * 3600))

    assert [price for _, _, price in pieces] == [0.3, 0.1, 0.3]
    assert pieces[1][1] - pieces[1][0] == hours * 3600
    assert (pieces[0][0], pieces[-1][1]) == (begin, begin + 24 * 3600)
    assert all(one[1] == other[0] for one, other in pairwise(pieces))


def test_hours_that_a_change_of_clocks_cuts_begin_and_end_with_it() -> None:
    # At 01:00 UTC the clock goes from 01:00 to 02:00: of 01:15-02:45 three quarters of an hour are there.
    cut = tariff(("01:15-02:45", 0.1))
    (piece,) = [piece for piece in cut.pieces(at("2027-03-28T00:00Z"), at("2027-03-28T06:00Z")) if piece[2] == 0.1]

    assert piece[:2] == (at("2027-03-28T01:00Z"), at("2027-03-28T01:45Z"))


def test_energy_costs_what_each_minute_of_it_costs() -> None:
    kilowatt_hour = 3.6e6

    assert NIGHT.cost(8 * kilowatt_hour, at("2026-11-24T01:00Z"), at("2026-11-24T02:00Z")) == pytest.approx(0.8)
    assert NIGHT.cost(8 * kilowatt_hour, at("2026-11-24T04:00Z"), at("2026-11-24T06:00Z")) == pytest.approx(2.0)
    assert NIGHT.cost(8 * kilowatt_hour, at("2026-11-24T04:29:30Z"), at("2026-11-24T04:30:30Z")) == pytest.approx(
        1.6
    )
    assert NIGHT.cost(kilowatt_hour, at("2026-11-24T12:00Z"), at("2026-11-24T12:00Z")) == pytest.approx(0.3)


def test_the_cheap_hours_are_those_of_the_lowest_price() -> None:
    cosy = tariff(("04:00-07:00", 0.1), ("13:00-16:00", 0.1), ("16:00-19:00", 0.5))
    peak = tariff(("16:00-19:00", 0.5))

    assert [cosy.holds(at(f"2026-11-24T{clock}Z")) for clock in ("03:59", "04:00", "12:00", "15:59", "16:00")] == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert str(cosy) == "the cheap hours of the tariff (04:00-07:00, 13:00-16:00)"
    assert peak.holds(at("2026-11-24T12:00Z"))
    assert not peak.holds(at("2026-11-24T17:00Z"))
    assert not tariff().holds(at("2026-11-24T12:00Z")), "where every hour costs the same none is cheap"


@pytest.mark.parametrize(
    ("instant", "opened"),
    [
        ("2026-11-24T06:00Z", "2026-11-24T04:00Z"),
        ("2026-11-24T12:59Z", "2026-11-24T04:00Z"),
        ("2026-11-24T13:00Z", "2026-11-24T13:00Z"),
        ("2026-11-25T03:00Z", "2026-11-24T23:30Z"),
        ("2026-10-25T01:00Z", "2026-10-24T22:30Z"),
    ],
)
def test_the_cheap_hours_know_when_they_last_opened_also_over_midnight_in_two_windows(
    instant: str, opened: str
) -> None:
    split = tariff(("23:30-00:00", 0.1), ("00:00-03:30", 0.1), ("04:00-07:00", 0.1), ("13:00-16:00", 0.1))

    assert split.opened(at(instant)) == at(opened)


def test_a_cost_is_not_known_where_the_price_changed_in_a_long_time() -> None:
    kilowatt_hour = 3.6e6

    def cost(begin: str, end: str) -> float | None:
        return NIGHT.known_cost(kilowatt_hour, at(begin), at(end))

    assert cost("2026-11-24T04:25Z", "2026-11-24T04:35Z") == pytest.approx(0.2)
    assert cost("2026-11-24T04:25Z", "2026-11-24T04:36Z") is None
    assert cost("2026-11-24T05:00Z", "2026-11-24T23:00Z") == pytest.approx(0.3)
    assert cost("2026-11-01T05:00Z", "2026-11-24T23:00Z") is None
    assert tariff().known_cost(kilowatt_hour, at("2026-01-01T00:00Z"), at("2026-11-24T00:00Z")) == pytest.approx(
        0.3
    )
    assert cost("2026-11-24T12:00Z", "2026-11-24T11:00Z") == pytest.approx(0.3), "a clock was set back"
