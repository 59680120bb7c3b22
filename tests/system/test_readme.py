"""The README and the pages of the package hold: their commands run, their samples are what is served."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import trustme
from helpers.charging import Station
from helpers.readme_table import README
from helpers.support import COMMAND, PROJECT, Scrape, Start, get, project_files, scrape, server

from ccl_exporter.simulator import Simulator

FOLDERS = ("config", "diagnostics", "exporter", "metrics", "sessions", "simulator", "station")
PAGES = [README, *(PROJECT / "ccl_exporter" / folder / "README.md" for folder in FOLDERS)]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, flags=re.DOTALL)
SEQUENCES = [block for language, block in BLOCKS if language == "bash"]
COMMANDS = list(
    dict.fromkeys(line for language, block in BLOCKS if language == "sh" for line in block.splitlines())
)
SET_UP = "python3 -m venv .venv && .venv/bin/pip install"


def test_the_sample_of_the_output_is_what_a_charging_wallbox_shows() -> None:
    sample = next(block for language, block in BLOCKS if not language)
    wanted = {re.sub(r" \S+$", "", line) for line in sample.splitlines()}
    from ccl_exporter.exporter.charger import Charger  # noqa: PLC0415 - the only test here below the command line
    from ccl_exporter.metrics.families import FAMILIES  # noqa: PLC0415 - likewise
    from ccl_exporter.metrics.samples import samples  # noqa: PLC0415 - likewise
    from ccl_exporter.outputs.prometheus import exposition  # noqa: PLC0415 - likewise
    from ccl_exporter.settings import ChargerSettings  # noqa: PLC0415 - likewise

    with Simulator() as simulator:
        body, _ = exposition(samples(Charger(ChargerSettings("evse", simulator.url)).read(30)), FAMILIES, "")

    assert wanted <= {re.sub(r" \S+$", "", line) for line in body.decode().splitlines()}


YAML = [block for language, block in BLOCKS if language == "yaml"]
(CHARGERS, EVERY_KEY) = [block for block in YAML if block.startswith("chargers:\n")]


def test_the_prometheus_configurations_are_valid(tmp_path: Path) -> None:
    blocks = [block for block in YAML if block.startswith("scrape_configs:")]
    for block in blocks:
        path = tmp_path / "prometheus.yml"
        path.write_text(block)
        subprocess.run([server("promtool"), "check", "config", str(path)], check=True, capture_output=True)

    assert len(blocks) == 2


def test_the_web_configuration_is_valid_here_and_for_promtool(tmp_path: Path) -> None:
    authority = trustme.CA().issue_cert("localhost")
    authority.private_key_pem.write_to_path(tmp_path / "server.key")
    authority.cert_chain_pems[0].write_to_path(tmp_path / "server.crt")
    path = tmp_path / "web.yml"
    path.write_text(next(block for block in YAML if block.startswith("tls_server_config:")))

    subprocess.run([server("promtool"), "check", "web-config", str(path)], check=True, capture_output=True)
    subprocess.run(
        [str(COMMAND), "serve", "--web.config.file", str(path), "--config.check"], check=True, capture_output=True
    )


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command.startswith(".venv/bin/ccl-exporter")]
)
def test_a_command_runs_as_it_stands_there(
    command: str, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, *arguments = shlex.split(command)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GARAGE_PASSWORD", "change-me")
    if arguments[0] != "setup":  # it overwrites no file
        (tmp_path / "ccl.yaml").write_text(CHARGERS)
    (tmp_path / "mqtt.yaml").write_text(next(block for block in YAML if "mqtt:" in block))
    with Simulator() as simulator:
        if "--all" in arguments:  # it asks all chargers of the file
            (tmp_path / "ccl.yaml").write_text(f"chargers: {{garage: {{url: '{simulator.url}'}}}}")
        replaced = {"http://evse": [simulator.url], "192.0.2.0/24": ["127.0.0.1", "--port", str(simulator.port)]}
        arguments = [word for each in arguments for word in replaced.get(each, [each])]
        serving = arguments[0] in ("serve", "simulate") and "--config.check" not in arguments
        process = start(*arguments, *(("--web.listen-address", "127.0.0.1:0") if serving else ()))
        if serving:
            assert process.line(r"http://127\.0\.0\.1:\d+")
        elif "--for" in arguments:
            assert process.line("may take")
            assert process.stop() == 0
        elif "trial" in arguments:
            # It asks a person; without one it writes nothing.
            assert process.process.wait(60) == 1
        else:
            out, _ = process.process.communicate(timeout=60)
            assert out
            assert process.process.returncode == 0


def as_it_stands(block: str, folder: Path) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the lines of a block with a simulated charger, four times as fast; and their exit codes.

    It must leave nothing behind that the next block would meet.
    """
    with Simulator(autopilot=False) as simulator:
        # Only to find a free port; the block starts its own.
        port = simulator.port
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/ccl-exporter").symlink_to(COMMAND)
    lines = re.sub(r"\b998[47]\b", str(port), block).replace("10\n", "4\n")
    lines = re.sub(
        r"simulate( --web.\S+ \S+)? &", f"simulate --web.listen-address 127.0.0.1:{port} --speed 4 &", lines
    )
    script = "".join(f'{line}\ncodes="$codes $?"\n' for line in lines.splitlines())
    ran = subprocess.run(
        ["sh", "-c", f'{script}jobs; echo "${{CCL_CHARGER-}}$codes"'],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    *_, codes = ran.stdout.splitlines()
    return ran, codes.split()


def test_the_night_tariff_can_be_tried_on_a_simulated_charger(tmp_path: Path) -> None:
    """The lines as they stand there, whatever the hour is."""
    (block,) = [block for block in SEQUENCES if "--nightly" in block]
    assert block.count("\n") == 6
    ran, codes = as_it_stands(block, tmp_path)
    said = ran.stdout.splitlines()

    assert ran.stderr == ""
    assert set(codes) <= {"0", "6"}, said
    assert sum("nothing to do:" in line for line in said) == 1, "one of the two is not for this hour"
    assert any("EVSE.PLUG: charging" in line and "it goes on until the car leaves" in line for line in said), said
    assert re.search(r"EVSE\.PLUG: charging, 1\d\.\d A, .* limit 16\.0 A", ran.stdout), said


def test_surplus_charging_can_be_tried_on_a_simulated_charger(tmp_path: Path) -> None:
    """The lines as they stand there."""
    (block,) = [block for block in SEQUENCES if "--stdin" in block]
    assert block.count("\n") == 4
    ran, codes = as_it_stands(block, tmp_path)
    limits = [float(limit) for limit in re.findall(r"the limit is to be ([0-9.]+) A", ran.stdout)]

    assert "the input has ended" in ran.stderr
    assert codes == ["0"] * 4, ran.stdout
    assert len(limits) >= 2, ran.stdout
    assert limits == sorted(limits, reverse=True)
    assert 7 < limits[-1] < limits[0] < 18
    # What it found before it began is there again.
    assert "EVSE.PLUG: charging" in ran.stdout


def test_the_sections_of_a_configuration_are_valid_together(tmp_path: Path) -> None:
    brief, whole = [block for block in YAML if block.startswith("influxdb:")]
    (tariff,) = [block for block in YAML if block.startswith("tariff:")]
    brokers = [block for block in YAML if block.startswith("mqtt:")]
    path = tmp_path / "ccl.yaml"
    environment = {**os.environ, "GARAGE_PASSWORD": "change-me", "VICTORIA_TOKEN": "change-me"}
    command = [str(COMMAND), "serve", "--config.file", str(path), "--config.check"]
    for sections in ([CHARGERS, brief], [EVERY_KEY, tariff, whole, *brokers]):
        path.write_text("".join(sections))
        subprocess.run(command, check=True, capture_output=True, env=environment)


def test_fifty_bays_can_be_tried(tmp_path: Path) -> None:
    (block,) = [block for block in SEQUENCES if "bays.yaml" in block]
    # Of fifty ports in a row one would be taken; the others are asked for where nothing answers.
    ran, codes = as_it_stands(block.replace("--chargers 50 ", "").replace("seq 0 49", "seq 0 0"), tmp_path)

    assert codes == ["0"] * 4, ran.stderr
    assert re.search(r"^bay-0 .* OK$", ran.stdout, re.MULTILINE), ran.stdout


def test_the_table_of_charges_is_what_the_command_prints(state: Path) -> None:
    (sample,) = [block for language, block in BLOCKS if not language and block.startswith("BEGIN ")]
    from ccl_exporter.sessions.recorder import SessionRecorder  # noqa: PLC0415 - likewise

    station, ledger = Station(), SessionRecorder(state / "charges.db")
    ledger.note("garage", station.read())
    station.begin()
    for watts, seconds in ((7350.0, 3600), (6000.0, 2200)):
        station.flow(watts, seconds)
        ledger.note("garage", station.read())
    station.end()
    ledger.note("garage", station.read())
    station.flow(50, 5 * 3600)
    station.request()
    station.at += 9
    station.end(reason=5)
    ledger.note("garage", station.read())
    station.at += 5 * 3600
    station.begin()
    station.flow(3680, 3600)
    ledger.note("garage", station.read())
    station.end(reason=1)
    ledger.note("garage", station.read())
    ledger.close()
    shown = subprocess.run([str(COMMAND), "charge", "log"], check=True, capture_output=True, text=True).stdout

    assert shown.partition("garage EVSE.PLUG_B")[0] == sample


def test_every_command_is_in_the_readme() -> None:
    shown = subprocess.run([str(COMMAND), "--help"], check=True, capture_output=True, text=True).stdout
    commands = re.findall(r"^  (\w+)  ", shown.partition("Commands")[2], flags=re.MULTILINE)

    assert len(commands) >= 7
    assert [name for name in commands if f"ccl-exporter {name}" not in TEXT] == []


def test_there_are_two_commands_that_do_all_the_set_up() -> None:
    assert len([command for command in COMMANDS if command.startswith(SET_UP)]) == 2
    assert COMMANDS[0].startswith(SET_UP)


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 250


def test_the_first_command_serves_metrics_in_a_fresh_copy(tmp_path: Path) -> None:
    for name in project_files():
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
