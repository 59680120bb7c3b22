"""Limits in whole per cent, and why a plug does not charge."""

import re

import pytest
from helpers.plugs import plug
from hypothesis import given
from hypothesis import strategies as st

from ccl_exporter.control.plug_commands import active_override, reduction
from ccl_exporter.control.state import Override
from ccl_exporter.control.wording import describe, describe_limit
from ccl_exporter.errors import UsageError, WriteRejected
from ccl_exporter.station.current_limit import MINIMUM_AMPERES, amperes_left, minimum_current, percent_for
from ccl_exporter.station.plug import Limits, Measured, Plug

RATED = st.integers(600, 20_000).map(lambda hundredths: hundredths / 100)
"""What a plug may have, in amperes."""


class TestLimits:
    @pytest.mark.parametrize(
        ("text", "largest", "percent"),
        [
            ("16A", 32.0, 50),
            ("32A", 32.0, 0),
            ("100%", 32.0, 0),
            ("50%", 32.0, 50),
            ("10A", 32.0, 69),
            ("10 A", 16.0, 38),
            ("33.5%", 32.0, 67),
            ("6.08A", 16.0, 62),
            ("0A", 32.0, 100),
            ("0%", 32.0, 100),
            ("8A", 10.0, 20),
            ("min", 32.0, 81),
            (" min ", 16.0, 62),
            ("min", 10.0, 40),
            ("min", 6.0, 0),
        ],
    )
    def test_a_limit_is_a_reduction_in_whole_per_cent(self, text: str, largest: float, percent: int) -> None:
        assert reduction(text, largest) == percent

    @given(
        hundredths=st.integers(min_value=0, max_value=6300),
        largest=st.sampled_from([6.0, 10.0, 13.0, 16.0, 20.0, 25.0, 32.0, 40.0, 63.0]),
    )
    def test_no_limit_is_ever_exceeded_and_none_starves_a_car_unless_it_is_zero(
        self, hundredths: int, largest: float
    ) -> None:
        wanted = hundredths / 100
        try:
            percent = reduction(f"{wanted:.2f}A", largest)
        except WriteRejected:
            assert wanted > largest or wanted < MINIMUM_AMPERES + largest / 100
            return
        left = largest * (100 - percent) / 100
        assert left <= wanted + 1e-9
        assert left > wanted - largest / 100 - 1e-9, "no more than a per cent is given away"
        assert left >= MINIMUM_AMPERES - 1e-9 or wanted == 0

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("33A", "33A is more than the plug has, which is 32 A"),
            ("120%", "more than the plug has"),
            ("5A", "a car needs 6 A, and in whole per cent the minimum is 6.08 A"),
            ("6A", "the minimum is 6.08 A (`charge limit min`); `charge limit 0A` or `charge stop` stops it"),
            ("1%", "a car needs 6 A"),
        ],
    )
    def test_a_limit_that_makes_no_sense_is_refused(self, text: str, says: str) -> None:
        with pytest.raises(WriteRejected, match=re.escape(says)):
            reduction(text, 32.0)

    @pytest.mark.parametrize("text", ["", "16", "A", "-1A", "nanA", "1e3A", "16 V", "half", "16AA", "MIN", "minA"])
    def test_what_is_no_limit_is_said(self, text: str) -> None:
        with pytest.raises(UsageError, match="is not a limit; it looks like 16A, 50% or min"):
            reduction(text, 32.0)

    @given(rated=RATED)
    def test_the_minimum_is_what_every_limit_begins_at(self, rated: float) -> None:
        assert reduction("min", rated) == percent_for(minimum_current(rated), rated)
        assert amperes_left(reduction("min", rated), rated) >= MINIMUM_AMPERES

    def test_a_plug_that_has_less_than_a_vehicle_needs_has_no_minimum(self) -> None:
        with pytest.raises(WriteRejected, match=r"min is more than the plug has, which is 5\.9 A"):
            reduction("min", 5.9)

    @given(rated=RATED)
    def test_all_of_what_the_plug_has_is_no_reduction(self, rated: float) -> None:
        assert reduction("100%", rated) == 0

    @given(tenths=st.integers(0, 320))
    def test_the_follower_writes_what_the_command_writes(self, tenths: int) -> None:
        try:
            expected = reduction(f"{tenths / 10}A", 32.0)
        except WriteRejected:
            expected = 100

        assert percent_for(tenths / 10, 32.0) == expected


class TestReductions:
    @given(amperes=st.floats(-10, 200), rated=RATED)
    def test_a_reduction_never_gives_more_than_was_asked_nor_less_than_a_vehicle_needs(
        self, amperes: float, rated: float
    ) -> None:
        percent = percent_for(amperes, rated)
        left = amperes_left(percent, rated)

        assert 0 <= percent <= 100
        assert left <= max(amperes, 0) + 1e-6
        assert left == 0 or left >= MINIMUM_AMPERES
        if percent == 100:
            assert amperes < minimum_current(rated)
        else:
            assert amperes_left(percent - 1, rated) > amperes - 1e-6 or percent == 0, "nothing is given away"

    @given(percent=st.integers(0, 100), rated=RATED)
    def test_the_current_that_a_reduction_leaves_gives_that_reduction(self, percent: int, rated: float) -> None:
        left = amperes_left(percent, rated)

        assert percent_for(left, rated) == (percent if left >= MINIMUM_AMPERES else 100)

    @given(rated=RATED)
    def test_the_minimum_current_is_the_lowest_that_can_be_set(self, rated: float) -> None:
        least = minimum_current(rated)

        assert MINIMUM_AMPERES <= least < MINIMUM_AMPERES + rated / 100
        assert amperes_left(percent_for(least, rated), rated) == least

    @pytest.mark.parametrize("rated", [1e-9, 0.5, 5.9, 1e9])
    def test_a_rated_current_that_cannot_be_breaks_nothing(self, rated: float) -> None:
        assert percent_for(16.0, rated) in range(101)
        assert minimum_current(rated) > 0


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (plug(vehicle_connected=False), "P: not charging: no vehicle is connected"),
        (
            plug(vehicle_connected=False, enabled=False),
            "P: not charging: no vehicle is connected, and the plug is out of service",
        ),
        (plug(faults=("rcd", "lock")), "P: not charging: it reports a fault (rcd, lock)"),
        (plug(enabled=False), "P: not charging: the plug is out of service; `charge start --now` helps"),
        (plug("disabled", enabled=None), "P: not charging: the plug is out of service"),
        (plug(None), "P: state unknown: the charger does not report the state of the plug"),
        (plug("waiting_for_power", allowed=16.0), "P: not charging: it waits for power"),
        (plug("waiting_for_power", allowed=None), "P: not charging: it waits for power"),
        (
            plug("waiting_for_power", allowed=5.0),
            "P: not charging: the current limit is 5 A, but a vehicle needs at least 6 A;"
            " `charge start --now` helps",
        ),
        (
            plug("paused", allowed=0.0),
            "P: not charging: the current limit is 0 A, but",
        ),
        (
            plug("waiting_for_permission"),
            "P: not charging: it waits for permission: an RFID tag or a remote start; `charge start` helps",
        ),
        (
            plug("waiting_for_disconnection", stopped="user"),
            "P: not charging: the session has ended and the vehicle is still connected (user);"
            " `charge start` helps",
        ),
        (
            plug("waiting_for_disconnection", stopped="disconnect"),
            "P: not charging: the session has ended and the vehicle is still connected (disconnect)",
        ),
        (plug("waiting_for_schedule"), "P: not charging: the charger's own schedule does not allow it yet"),
        (plug("unknown"), "P: not charging: the charger reports a state that is not known"),
        (
            plug(
                "charging",
                allowed=16.0,
                energy=4.2 * 3.6e6,
                currents=Measured((("", 16.04),)),
                powers=Measured((("", 3690.0),)),
            ),
            "P: charging, 16.0 A, 3.69 kW, 4.20 kWh so far, limit 16.0 A",
        ),
        (plug("charging", allowed=None), "P: charging"),
    ],
)
def test_a_plug_is_described_in_one_line_with_the_reason_why_it_does_not_charge(seen: Plug, says: str) -> None:
    assert describe(seen).startswith(says)
    assert "\n" not in describe(seen)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (plug("charging", allowed=6.08), "limit 6.1 A of 32 A; `charge limit 100% --min-interval 0` lifts it"),
        (plug("charging"), ""),
        (plug("charging", allowed=None), ""),
        (plug("charging", limits=Limits(rated=32.0, reduction=0.5, cap=10.0, allowed=10.0)), ""),
        (plug("charging", limits=Limits(supported=16.0, rated=32.0, reduction=0.5, allowed=16.0)), ""),
        (plug("waiting_for_power", allowed=0.0), ""),
    ],
    ids=["limited", "not limited", "not known", "a cap", "the socket", "the reason why it does not charge"],
)
def test_a_limit_has_its_command_only_where_that_lifts_it(seen: Plug, says: str) -> None:
    assert describe_limit(seen) == says


@pytest.mark.parametrize(
    ("seen", "goes_on"),
    [
        (plug("charging", requested=5.0), True),
        (plug("waiting_for_disconnection", requested=5.0), True),
        (plug(vehicle_connected=False, requested=5.0), False),
        (plug("charging", requested=9.0), False),
    ],
    ids=["it charges", "it is full", "the car has left", "another charge"],
)
def test_a_charge_that_was_begun_now_is_left_alone_until_its_car_leaves(seen: Plug, goes_on: bool) -> None:
    assert (active_override(Override(5.0, 6.0), seen, 1e9) is not None) is goes_on


@pytest.mark.parametrize(("later", "goes_on"), [(0.0, True), (86_399.0, True), (86_400.0, False), (-1.0, False)])
@pytest.mark.parametrize(("requested_then", "requested_now"), [(None, None), (5.0, None), (None, 5.0)])
def test_a_charge_that_cannot_be_distinguished_from_another_is_left_alone_for_a_day(
    requested_then: float | None, requested_now: float | None, later: float, goes_on: bool
) -> None:
    seen = plug("charging", requested=requested_now)

    assert (active_override(Override(requested_then, 1000.0), seen, 1000.0 + later) is not None) is goes_on
