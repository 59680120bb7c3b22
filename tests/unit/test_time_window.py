"""Windows of the day: on the clock on the wall, in any zone, over midnight and over the change of clocks."""

from datetime import datetime

import pytest

from ccl_exporter.control.time_window import window
from ccl_exporter.errors import UsageError


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
    ],
)
def test_a_window_knows_when_it_last_opened(hours: str, zone: str, instant: str, opened: str) -> None:
    assert window(hours, zone).opened(at(instant)) == at(opened)


@pytest.mark.parametrize("text", ["", "0:30-4:30", "00:30", "24:00-04:30", "00:30-04:60", "00:30-00:30", "night"])
def test_what_is_no_window_is_said(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a window of the day; it looks like 00:30-04:30"):
        window(text, "UTC")


@pytest.mark.parametrize("zone", ["Europe/Londn", "", "../../etc/passwd", "Europe"])
def test_what_is_no_time_zone_is_said(zone: str) -> None:
    with pytest.raises(UsageError, match="no such time zone"):
        window("00:30-04:30", zone)
