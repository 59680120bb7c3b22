"""`charge trial` by the real command: its questions, its exit codes, its report."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.support import COMMAND

from ccl_exporter.simulator import Simulator


@pytest.fixture
def charger() -> Iterator[Simulator]:
    with Simulator(autopilot=False, speed=100.0) as simulator:
        yield simulator


def trial(charger: Simulator, folder: Path, answers: str, *arguments: str) -> tuple[int, str]:
    """Run the command with answers on its standard input; its exit code and all that it said."""
    ran = subprocess.run(
        [str(COMMAND), "charge", "trial", str(folder / "report.txt"), *arguments],
        input=answers,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "CCL_CHARGER": charger.url, "STATE_DIRECTORY": str(folder / "state")},
    )
    return ran.returncode, ran.stdout


def test_a_guided_trial_writes_a_report(charger: Simulator, tmp_path: Path) -> None:
    charger.site.plugs[0].plug_in(need_wh=1_000_000.0)
    code, said = trial(charger, tmp_path, "y\n" + "y\nn\ny\nn\ny\n", "--wait", "2")
    report = (tmp_path / "report.txt").read_text()

    assert code == 0, said
    assert said.count("Does the vehicle show that it charges now?") == 5
    assert report.startswith("Trial of CirCarLife Scada 4.2.3\n")
    assert report.count("confirmed: ") == 9
    assert "contradicted" not in report
    assert "Everything is as before." in report


@pytest.mark.parametrize(
    ("answers", "code", "says"),
    [("n\n", 6, "Begin?"), ("y\n", 7, "no vehicle is connected; connect it and try again")],
    ids=["not begun", "no vehicle"],
)
def test_a_trial_that_does_not_begin_writes_nothing(
    charger: Simulator, tmp_path: Path, answers: str, code: int, says: str
) -> None:
    ended, said = trial(charger, tmp_path, answers)

    assert (ended, says in said) == (code, True), said
    assert not any(request.method == "PUT" for request in charger.requests)
    assert not (tmp_path / "report.txt").exists()


def test_a_report_is_never_overwritten(charger: Simulator, tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("mine")
    code, said = trial(charger, tmp_path, "y\n")

    assert (code, "exists already: name a new file" in said) == (2, True), said
    assert charger.requests == []


def test_what_is_written_is_in_the_journal(charger: Simulator, tmp_path: Path) -> None:
    charger.site.plugs[0].plug_in(need_wh=1_000_000.0)
    trial(charger, tmp_path, "", "--yes", "--wait", "2")
    lines = (tmp_path / "state" / "writes.log").read_text().splitlines()

    assert lines
    assert all('"command": "charge trial"' in line for line in lines)
    assert sum(request.method == "PUT" for request in charger.requests) == len(lines)
