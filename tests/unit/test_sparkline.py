"""The power of a day as a picture."""

import re
from math import nan

import pytest

from ccl_exporter.exporter.web.sparkline import sparkline

NOON = 1_790_000_100.0  # a full five minutes


def path(minutes: list[float], now: float = NOON + 4 * 60) -> str:
    found = re.search(' d="([^"]*)"', sparkline(minutes, now))
    return found[1] if found else ""


@pytest.mark.parametrize(
    ("minutes", "drawn"),
    [
        pytest.param([], "", id="no history"),
        pytest.param([nan] * 20, "", id="nothing was read"),
        pytest.param([0.0] * 20, "M0 100V100H4h2V100", id="no power"),
        pytest.param([4000.0] * 20, "M0 100V0H4h2V100", id="full power"),
        pytest.param([0.0] * 5 + [4000.0] * 10 + [2000.0] * 5, "M0 100V100H1V0H3V50H4h2V100", id="steps"),
        pytest.param([4000.0] * 5 + [nan] * 5 + [4000.0] * 10, "M0 100V0H1V100M2 100V0H4h2V100", id="a gap"),
        pytest.param([4000.0] * 5 + [nan] * 15, "M0 100V0H1V100", id="a gap until now"),
        pytest.param([nan, nan, 3000.0, 5000.0, nan] * 4, "M0 100V0H4h2V100", id="a reading now and then"),
        pytest.param([100.0] * 20, "M0 100V90H4h2V100", id="electronics fill no picture"),
        pytest.param([-5.0] * 20, "M0 100V100H4h2V100", id="less than nothing"),
    ],
)
def test_it_is_a_step_for_each_five_minutes_and_a_gap_where_nothing_was_read(
    minutes: list[float], drawn: str
) -> None:
    assert path(minutes) == drawn


def test_the_steps_stay_the_same_while_the_minutes_go_on() -> None:
    minutes = [0.0] * 5 + [4000.0] * 5

    assert path(minutes) == "M0 100V100H1V0H2h2V100"
    assert path([*minutes[1:], 4000.0], NOON + 5 * 60) == "M0 100V100H1V0H3h2V100"


def test_what_it_shows_is_said_in_words() -> None:
    html = sparkline([0.0] * 1439 + [7404.0], NOON)

    assert 'aria-label="Power in the last 24 hours"' in html
    assert "Power, last 24 hours</span><span>highest 7.40<small>&nbsp;kW</small>" in html
