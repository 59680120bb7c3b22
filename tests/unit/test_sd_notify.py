"""What a service manager hears, on a real socket."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from ccl_exporter.sd_notify import READY, Watchdog, notify, reloading


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, Mapping[str, str]]]:
    """A manager that listens, and the environment that names it."""
    shown = str(tmp_path / "notify") if request.param == "path" else f"@ccl-{os.getpid()}-{tmp_path.name}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(f"\0{shown[1:]}" if shown.startswith("@") else shown)
        listening.setblocking(False)
        yield listening, {"NOTIFY_SOCKET": shown}


def heard(listening: socket.socket) -> list[bytes]:
    """Everything that has arrived."""
    found = []
    while True:
        try:
            found.append(listening.recv(1000))
        except BlockingIOError:
            return found


def test_a_state_is_one_message_with_a_line_for_each_part(
    manager: tuple[socket.socket, Mapping[str, str]],
) -> None:
    listening, environment = manager
    notify(environment, READY)
    notify(environment, *reloading())

    ready, again = heard(listening)
    assert ready == b"READY=1"
    assert again.splitlines()[0] == b"RELOADING=1"
    assert again.splitlines()[1].startswith(b"MONOTONIC_USEC=")


@pytest.mark.parametrize("path", ["", "relative", "/nonexistent/notify", "@nobody"])
def test_no_listener_is_no_error(path: str) -> None:
    notify({"NOTIFY_SOCKET": path}, READY)
    notify({}, READY)


def test_a_healthy_service_beats_in_half_of_the_time(manager: tuple[socket.socket, Mapping[str, str]]) -> None:
    listening, environment = manager
    watchdog = Watchdog({**environment, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())})
    beats = []
    for second in range(121):
        watchdog.beat(1000.0 + second, healthy=True)
        beats += [second] * len(heard(listening))

    assert watchdog.interval == 30
    assert beats == [0, 30, 60, 90, 120]


def test_an_unhealthy_service_sends_no_watchdog_message_until_it_is_healthy(
    manager: tuple[socket.socket, Mapping[str, str]],
) -> None:
    listening, environment = manager
    watchdog = Watchdog({**environment, "WATCHDOG_USEC": "60000000"})
    for second in range(100):
        watchdog.beat(float(second), healthy=False)
    assert heard(listening) == []

    watchdog.beat(100.0, healthy=True)
    assert heard(listening) == [b"WATCHDOG=1"]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "٣٠"},
        {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"},
    ],
    ids=str,
)
def test_a_manager_that_does_not_ask_hears_no_beat(
    manager: tuple[socket.socket, Mapping[str, str]], asked: Mapping[str, str]
) -> None:
    listening, environment = manager
    Watchdog({**environment, **asked}).beat(1.0, healthy=True)

    assert heard(listening) == []
