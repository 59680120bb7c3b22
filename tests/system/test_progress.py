"""Progress on a terminal: what is done, how much is left, why it takes long; and nothing of it in a pipe."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.support import COMMAND
from helpers.terminal import on_terminal, plain

from ccl_exporter.simulator import Dialect, Fault, Simulator

SLOW = 0.008
"""Seconds for each answer: all answers of this charger take two."""


@pytest.fixture
def proven() -> Iterator[Simulator]:
    """The only dialect that is proven, which answers one at a time."""
    faults = [Fault.parse(f"slow:{SLOW}")]
    with Simulator(dialect=Dialect.parse(["wallbox-proven"]), faults=faults, autopilot=False) as simulator:
        yield simulator


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("check -c URL", r"reading descriptions \d+ of 171; this charger answers one at a time"),
        ("check --all --config.file ccl.yaml", r"checked 0 of 1 charger"),
        ("show -c URL", r"reading descriptions \d+ of 171; this charger answers one at a time"),
        ("get EVSE.PLUG.AE -c URL", r"reading EVSE.PLUG.AE: \d requests? so far"),
        ("dump recording -c URL", r"recorded \d+ of 2\d\d documents, one at a time"),
        ("charge status -c URL", r"reading plugs: \d+ requests? so far"),
        ("charge limit 16A -c URL", r"charge limit: \d+ requests? so far"),
        ("scan 127.0.0.1 --port PORT", r"asked \d of 1 address in 127.0.0.1/32; found \d engines?"),
        ("setup -c URL --output new.yaml", r"asking http://127.0.0.1:\d+ what it is"),
    ],
)
def test_progress_is_on_a_terminal_only(
    proven: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ccl.yaml").write_text(f"chargers: {{left: {{url: '{proven.url}'}}}}")
    arguments = command.replace("URL", proven.url).replace("PORT", str(proven.port)).split()
    code, out, shown = on_terminal(*arguments)
    Path("new.yaml").unlink(missing_ok=True)
    if arguments[0] == "dump":
        arguments[1] = "another"
    piped = subprocess.run([str(COMMAND), *arguments], capture_output=True, text=True, check=False, env=os.environ)

    assert code == 0, shown
    assert re.search(says, plain(shown))
    assert "\x1b" not in out
    assert piped.stderr == ""
