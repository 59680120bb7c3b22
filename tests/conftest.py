"""Fixtures that several tests use: simulated chargers and running exporters."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from helpers.support import PROJECT, Clock, Process, Start, unavailable

from ccl_exporter.simulator import Simulator

LONGEST_FIRST = (
    *("test_installed", "test_upgrade"),
    *("test_follow_command", "test_write_commands", "test_charge_log", "test_readme", "test_mqtt", "test_nights"),
    *("test_thirty_days", "test_benchmarks", "test_commands", "test_service", "test_plan_command", "test_push"),
    *("test_boards", "test_fleet", "test_tls_and_logins", "test_container", "test_rules_and_tools"),
    # A file of one or two tests brings the next one to the same worker: a short one.
    *("test_alerts_live", "test_login", "test_cluster", "test_https_chargers", "test_prometheus", "test_systemd"),
    *("test_progress", "test_first_contact", "test_terminal"),
    *("test_push_crashes", "test_release", "test_push_outage", "test_kubernetes", "test_glitches"),
)
"""Files that take longest; they begin first, so that no worker is busy with one when all others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST_FIRST)))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of a test's commands, so that they share locks only with each other."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "ccl-exporter"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the installed command; whatever still runs is ended after the test."""
    with ExitStack() as running:

        def run(*arguments: str, **options: Any) -> Process:
            process = Process(*arguments, **options)
            running.callback(process.stop)
            return process

        yield run


@pytest.fixture
def serve(start: Start) -> Callable[..., str]:
    """Start `serve` for a charger and return the URL of its metrics."""

    def run(charger: str, *arguments: str) -> str:
        process = start("serve", charger, "--web.listen-address", "127.0.0.1:0", *arguments)
        return process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]

    return run


@pytest.fixture
def clock() -> Clock:
    return Clock(1_790_000_000.0)


@pytest.fixture
def wallbox(clock: Clock) -> Iterator[Simulator]:
    """A wallbox on which nothing happens by itself, in a time that the test moves."""
    with Simulator(autopilot=False, clock=clock) as simulator:
        yield simulator


@pytest.fixture
def charging() -> Iterator[Simulator]:
    """A charger at which a car charges, ten times as fast as in life."""
    with Simulator(autopilot=False, speed=10) as simulator:
        simulator.site.plugs[0].plug_in(50_000)
        simulator.site.plugs[0].authorise()
        yield simulator


@pytest.fixture
def recordings() -> Path:
    """The folder with answers of a real charger, which must not be shipped."""
    folder = os.environ.get("CCL_RECORDINGS")
    if folder == "absent":  # the public CI says so; there it is no error
        pytest.skip("CCL_RECORDINGS=absent: the answers of a real charger are not compared")
    if not folder:
        unavailable("CCL_RECORDINGS names no folder: the answers of a real charger are not compared")
    return (PROJECT / folder).resolve()
