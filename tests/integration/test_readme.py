"""The README holds: its commands run, its samples are what is served, its table is what the code has."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from readme_table import README, with_table
from support import COMMAND, PROJECT, Scrape, Start, get, scrape, server

from ccl_exporter.simulator import Simulator

TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, flags=re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]
SET_UP = "python3 -m venv .venv && .venv/bin/pip install"


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    assert with_table(TEXT) == TEXT, "run: python tests/readme_table.py"


def test_the_sample_of_the_output_is_what_a_charging_wallbox_shows() -> None:
    sample = next(block for language, block in BLOCKS if not language)
    wanted = {re.sub(r" \S+$", "", line) for line in sample.splitlines()}
    from ccl_exporter.charger import Charger  # noqa: PLC0415 - the only test here below the command line
    from ccl_exporter.families import FAMILIES  # noqa: PLC0415 - likewise
    from ccl_exporter.samples import samples  # noqa: PLC0415 - likewise
    from ccl_exporter.settings import ChargerSettings  # noqa: PLC0415 - likewise
    from ccl_exporter.sinks.prometheus import exposition  # noqa: PLC0415 - likewise

    with Simulator() as simulator:
        body, _ = exposition(samples(Charger(ChargerSettings("evse", simulator.url)).read(30)), FAMILIES, "")

    assert wanted <= {re.sub(r" \S+$", "", line) for line in body.decode().splitlines()}


def test_the_prometheus_configuration_is_valid(tmp_path: Path) -> None:
    for language, block in BLOCKS:
        if language == "yaml":
            path = tmp_path / "prometheus.yml"
            path.write_text(block)
            subprocess.run([server("promtool"), "check", "config", str(path)], check=True, capture_output=True)


@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith(SET_UP)])
def test_a_command_runs_as_it_stands_there(
    command: str, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, *arguments = shlex.split(command)
    monkeypatch.chdir(tmp_path)
    with Simulator() as simulator:
        arguments = [simulator.url if word == "http://evse" else word for word in arguments]
        serving = arguments[0] in ("serve", "simulate")
        process = start(*arguments, *(("--web.listen-address", "127.0.0.1:0") if serving else ()))
        if serving:
            assert process.line(r"http://127\.0\.0\.1:\d+")
        else:
            out, _ = process.process.communicate(timeout=60)
            assert out
            assert process.process.returncode == 0
        assert program == ".venv/bin/ccl-exporter"


def test_every_command_is_in_the_readme() -> None:
    shown = subprocess.run([str(COMMAND), "--help"], check=True, capture_output=True, text=True).stdout
    commands = re.findall(r"^  (\w+)  ", shown.partition("Commands")[2], flags=re.MULTILINE)

    assert len(commands) >= 7
    assert [name for name in commands if f"ccl-exporter {name}" not in TEXT] == []


def test_there_are_two_commands_that_do_all_the_set_up() -> None:
    assert [command for command in COMMANDS if command.startswith(SET_UP)] == COMMANDS[:2]


def test_the_first_command_serves_metrics_in_a_fresh_copy(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, target)
    process = subprocess.Popen(
        ["sh", "-c", f"{COMMANDS[0]} --web.listen-address 127.0.0.1:0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        process_group=0,
    )
    assert process.stdout is not None
    try:
        found = next(
            match[0] for line in process.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+/metrics", line))
        )
        shown: Scrape = scrape(found)
        healthy = get(found.replace("/metrics", "/-/healthy"))
    finally:
        subprocess.run(["kill", "-TERM", "--", f"-{process.pid}"], check=False)
        process.communicate()

    assert shown.get("ccl_up") == 1
    assert shown.get("ccl_plug_energy_joules_total", plug="EVSE.PLUG") is not None
    assert healthy == "Healthy\n"
