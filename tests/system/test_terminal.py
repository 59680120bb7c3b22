"""Colour and the width of lines on a terminal, and nothing of it in a pipe."""

import re
import subprocess
from collections.abc import Iterator
from time import sleep

import pytest
from helpers.support import COMMAND
from helpers.terminal import on_terminal, plain

from ccl_exporter.simulator import Simulator, State

ESCAPE = "\x1b["


@pytest.fixture
def wallbox() -> Iterator[Simulator]:
    with Simulator(autopilot=False) as simulator:
        yield simulator


def piped(*arguments: str) -> str:
    return subprocess.run([str(COMMAND), *arguments], capture_output=True, text=True, check=False).stdout


def colours(shown: str) -> bool:
    """Whether something is in colour or bold; progress moves the cursor, too."""
    return f"{ESCAPE}3" in shown or f"{ESCAPE}1m" in shown


COMMANDS = [
    ["check"],
    ["show", "EVSE.PLUG.*"],
    ["charge", "status"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_colour_is_on_a_terminal_only_and_not_with_no_color(wallbox: Simulator, command: list[str]) -> None:
    coloured = on_terminal(*command, "-c", wallbox.url, piped=False)[2]
    without = on_terminal(*command, "-c", wallbox.url, piped=False, NO_COLOR="1")[2]
    dumb = on_terminal(*command, "-c", wallbox.url, piped=False, TERM="dumb")[2]

    assert colours(coloured) is (command != ["charge", "status"])
    assert not colours(without)
    assert not colours(dumb)
    assert ESCAPE not in piped(*command, "-c", wallbox.url)


def test_a_plug_that_charges_is_green() -> None:
    with Simulator(autopilot=False, speed=20) as simulator:
        plug = simulator.site.plugs[0]
        plug.plug_in()
        plug.authorise(tag="4711")
        while plug.state is not State.CHARGING:
            sleep(0.01)
        shown = on_terminal("charge", "status", "-c", simulator.url, piped=False)[2]

    assert f"{ESCAPE}32mEVSE.PLUG: charging" in shown


def test_lines_end_at_words_and_go_on_below_their_text(wallbox: Simulator) -> None:
    shown = plain(on_terminal("check", "-c", wallbox.url, piped=False, COLUMNS="60")[2])
    lines = shown.replace("\r", "").rstrip().split("\n")
    report = lines[next(number for number, line in enumerate(lines) if line.startswith("devices:")) :]

    assert max(map(len, report)) <= 60
    assert all(line.startswith(" " * 12) or line[11] == " " for line in report)
    assert piped("check", "-c", wallbox.url).replace("\n", " ").split()[-20:] == shown.split()[-20:]


def test_the_last_column_of_a_wide_table_has_lines_of_its_own(wallbox: Simulator) -> None:
    wide, narrow = (
        plain(on_terminal("show", "EVSE.PLUG.*", "-c", wallbox.url, piped=False, COLUMNS=columns)[2])
        .replace("\r", "\n")
        .partition("VARIABLE  ")[2]
        for columns in ("200", "80")
    )

    assert narrow
    assert max(map(len, narrow.splitlines())) <= 80
    # Times go on meanwhile.
    assert re.sub(r"[\d.]+", "", wide).split() == re.sub(r"[\d.]+", "", narrow).split()


def test_an_error_is_in_red_and_ends_at_words() -> None:
    code, _, shown = on_terminal("check", "-c", "127.0.0.1:1", COLUMNS="60")
    lines = plain(shown).replace("\r", "").splitlines()

    assert code == 3
    assert f"{ESCAPE}31mccl-exporter:" in shown
    assert max(map(len, lines)) <= 60
    assert any(line.startswith(" " * 14) for line in lines)
