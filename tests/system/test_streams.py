"""Commands whose standard streams are closed, or have no more space."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.support import COMMAND

from ccl_exporter.simulator import Simulator


@pytest.fixture
def wallbox() -> Iterator[Simulator]:
    with Simulator(autopilot=False, speed=20.0) as simulator:
        yield simulator


def redirected(redirection: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a command whose streams a shell redirects: its exit code, and what it still said."""
    ran = subprocess.run(
        ["bash", "-c", f'exec "$@" {redirection}', "-", str(COMMAND), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )
    return ran.returncode, ran.stdout


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_without_an_output_writes_and_succeeds(wallbox: Simulator, redirection: str) -> None:
    code, said = redirected(redirection, "charge", "limit", "20%", "-c", wallbox.url)

    assert (code, "Traceback" in said) == (0, False), said
    assert [request.method for request in wallbox.requests].count("PUT") == 1


@pytest.mark.parametrize("command", [["charge", "log"], ["charge", "status"], ["check"]], ids=" ".join)
def test_what_only_prints_needs_no_output(wallbox: Simulator, command: list[str]) -> None:
    assert redirected(">&-", *command, CCL_CHARGER=wallbox.url) == (0, "")


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["charge", "plan", "-", "--need", "5kWh", "--by", "07:00", "--dry-run"], 2, "prices"),
        (["charge", "trial", "report.txt"], 1, "Aborted"),
        (["scan", "10.0.0.0/16"], 4, "name a smaller network, or say --yes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_without_an_input_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended, said = redirected("<&-", *command, CCL_CHARGER="" if command[0] == "scan" else "192.0.2.1")

    assert (ended, says in said, "Traceback" in said) == (code, True, False), said


@pytest.mark.parametrize("command", ["check", "show", "charge status", "charge log", "--version", "check --help"])
def test_what_only_prints_says_in_a_sentence_that_it_cannot(wallbox: Simulator, command: str) -> None:
    code, said = redirected(">/dev/full", *command.split(), CCL_CHARGER=wallbox.url)

    assert (code, said) == (1, "ccl-exporter: the output cannot be written: No space left on device\n")


def test_a_write_has_its_exit_code_though_nothing_can_be_printed(wallbox: Simulator) -> None:
    limit = ("charge", "limit", "20%", "--min-interval", "0", "-c", wallbox.url)

    assert redirected(">/dev/full", *limit) == (0, "")
    assert redirected(">/dev/full", *limit) == (6, "")
    assert [request.method for request in wallbox.requests].count("PUT") == 1
