"""The command that the page names where a plug does not charge: what comes of it."""

import html
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import time

import pytest
from helpers.pages import page, view
from helpers.support import COMMAND

from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.simulator import Simulator
from ccl_exporter.station.catalogue import NotCharging
from ccl_exporter.station.judge import Station

MODE3 = "Plug - Mode 3"


def force(device: str, variable: str, value: float) -> Callable[[Simulator], None]:
    return lambda simulator: simulator.site.force(device, [(variable, value)], 0.0)


def command(*arguments: str) -> Callable[[Simulator], None]:
    def run(simulator: Simulator) -> None:
        subprocess.run(
            [str(COMMAND), *arguments, "--min-interval", "0s", "-c", simulator.url],
            check=True,
            capture_output=True,
        )

    return run


def one_after_the_other(*acts: Callable[[Simulator], None]) -> Callable[[Simulator], None]:
    def act(simulator: Simulator) -> None:
        for one in acts:
            one(simulator)

    return act


def named(simulator: Simulator) -> tuple[NotCharging | None, str]:
    """Why the plug does not charge, and the command that the page names."""
    with closing(Transport(simulator.url)) as transport:
        snapshot = Engine("box", transport).read(10)
    shown = page([view("box", snapshot, url=simulator.url)], time()).decode()
    found = re.search(" run: <code>(.*?)</code>", shown)
    return Station(snapshot).plugs[0].not_charging, html.unescape(found[1]) if found else ""


@pytest.fixture
def charger() -> Iterator[Simulator]:
    """A charger with a car that waits for permission, a hundred times as fast as in life."""
    with Simulator(autopilot=False, speed=100) as simulator:
        simulator.site.plugs[0].plug_in(50_000)
        yield simulator


@pytest.mark.parametrize(
    ("act", "reason", "helps"),
    [
        pytest.param(lambda simulator: None, "waiting_for_permission", "charge start", id="no permission"),
        pytest.param(force("EVSE", "EVSE.PLUG.ENABLE", 0.0), "disabled", "charge start --now", id="disabled"),
        pytest.param(
            one_after_the_other(command("charge", "start"), command("charge", "pause")),
            "paused",
            "charge start",
            id="paused",
        ),
        pytest.param(
            one_after_the_other(command("charge", "start"), command("charge", "stop")),
            "session_ended",
            "charge start",
            id="stopped",
        ),
        pytest.param(
            one_after_the_other(command("charge", "start"), command("charge", "limit", "0A")),
            "limit_below_minimum",
            "charge start --now",
            id="a limit of a command that has ended",
        ),
        pytest.param(
            one_after_the_other(command("charge", "start"), force(MODE3, f"{MODE3}.PREDUCTION", 90.0)),
            "limit_below_minimum",
            "charge start --now",
            id="a limit of another program",
        ),
        pytest.param(
            force(MODE3, f"{MODE3}.PREDUCTION", 100.0),
            "waiting_for_permission",
            "charge start --now",
            id="no permission and a limit",
        ),
        pytest.param(
            one_after_the_other(command("charge", "start"), force("EVSE", "EVSE.PLUG.CURRENT_REDUCTION", 5.0)),
            "limit_below_minimum",
            "set EVSE.PLUG.CURRENT_REDUCTION 32 --force",
            id="a cap",
        ),
    ],
)
def test_the_plug_charges_after_the_command(
    charger: Simulator, act: Callable[[Simulator], None], reason: str, helps: str, tmp_path: Path
) -> None:
    act(charger)
    why, words = named(charger)
    done = subprocess.run(
        [str(COMMAND), *shlex.split(words)[1:], "--min-interval", "0s"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert (why, words) == (reason, f"ccl-exporter {helps} --charger {charger.url}")
    assert done.returncode == 0, done.stderr
    assert named(charger) == (None, "")


def test_status_has_the_step_after_a_fault_that_the_page_has(charger: Simulator) -> None:
    charger.site.plugs[0].fail(0b100000)
    with closing(Transport(charger.url)) as transport:
        shown = page([view("box", Engine("box", transport).read(10), url=charger.url)], time()).decode()
    status = [str(COMMAND), "charge", "status", "-c", charger.url]
    said = subprocess.run(status, check=True, capture_output=True, text=True).stdout

    step = (
        "The safety switch (RCD) cuts the power when current leaks to earth. "
        "Unplug the vehicle; if it trips again, call an electrician."
    )
    assert step in shown
    assert step in " ".join(said.split())


def test_the_command_for_a_charger_that_is_not_reachable_says_why(charger: Simulator) -> None:
    charger.stop()
    with closing(Transport(charger.url)) as transport:
        shown = page([view("box", Engine("box", transport).read(1), url=charger.url)], time()).decode()
    found = re.search("To find out more, run: <code>(.*?)</code>", shown)
    assert found is not None
    done = subprocess.run([str(COMMAND), *shlex.split(found[1])[1:]], check=False, capture_output=True, text=True)

    assert "<code>scan</code> finds" in shown
    assert done.returncode == 3
    assert "Connection refused" in done.stderr


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        pytest.param(lambda simulator: simulator.site.plugs[0].fail(4), "fault", id="a fault"),
        pytest.param(lambda simulator: simulator.site.plugs[0].unplug(), "no_vehicle", id="no vehicle"),
    ],
)
def test_where_no_command_helps_none_is_named(
    charger: Simulator, act: Callable[[Simulator], None], reason: str
) -> None:
    act(charger)

    assert named(charger) == (reason, "")
