"""The first commands of a newcomer: scan and setup, with and without a terminal."""

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.support import COMMAND, Start, get
from helpers.terminal import on_terminal, plain

from ccl_exporter.simulator import Dialect, Fault, Simulator

PLANTED = "planted"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and no charger that the environment names."""
    monkeypatch.delenv("CCL_CHARGER", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wallbox() -> Iterator[Simulator]:
    with Simulator(autopilot=False) as simulator:
        yield simulator


def test_scan_lists_engines_as_a_table_or_as_json(wallbox: Simulator) -> None:
    table = run("scan", "127.0.0.0/29", "--port", str(wallbox.port))
    found = json.loads(run("scan", "127.0.0.0/29", "--port", str(wallbox.port), "--json").stdout)

    assert table.returncode == 0
    assert [line.split() for line in table.stdout.splitlines()] == [
        ["URL", "PRODUCT", "VERSION"],
        [wallbox.url, "CirCarLife", "Scada", "4.2.3"],
    ]
    assert found == [{"url": wallbox.url, "product": "CirCarLife Scada", "version": "4.2.3"}]
    assert table.stderr == ""


def test_scan_exits_with_6_if_there_is_no_engine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    done = run("scan", "127.0.0.1", "--port", port, "--json")

    assert (done.returncode, done.stdout) == (6, "[]\n")
    assert "no PowerStudio engine in 127.0.0.1" in done.stderr


def test_scan_names_what_asks_for_a_login() -> None:
    with Simulator(
        dialect=Dialect.parse(["digest"]), username="monitor", password=PLANTED, autopilot=False
    ) as simulator:
        done = run("scan", "127.0.0.1", "--port", str(simulator.port))

    assert done.returncode == 6
    assert f"{simulator.url} asks for a login" in done.stderr


def test_scan_asks_no_more_than_1024_addresses_without_a_word() -> None:
    piped = run("scan", "127.0.0.0/21", "--port", "1")
    code, _, shown = on_terminal("scan", "127.0.0.0/21", "--port", "1", typed="n\n")
    meant = run("scan", "127.0.0.0/21", "--port", "1", "--yes")

    assert piped.returncode == 4
    assert "2,048 addresses; name a smaller network, or say --yes" in piped.stderr
    assert code == 1
    assert "2,048 addresses. Ask them all? [y/N]" in plain(shown)
    assert meant.returncode == 6


def test_setup_writes_a_file_and_its_next_commands_run(wallbox: Simulator, folder: Path, start: Start) -> None:
    done = run("setup", "-c", wallbox.url)
    commands = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("  ")]

    assert (done.returncode, done.stderr) == (0, "")
    assert f"garage: {wallbox.url}, CirCarLife Scada 4.2.3" in done.stdout
    assert (folder / "ccl.yaml").read_text() == f"chargers:\n  garage:\n    url: {wallbox.url}\n"
    (_, *serve), *others = commands
    assert start(*serve, "--web.listen-address", "127.0.0.1:0").line(r"http://127\.0\.0\.1:\d+/metrics")
    assert [run(*others[number][1:]).returncode for number in range(2)] == [0, 0]


def test_setup_never_overwrites_a_file(wallbox: Simulator, folder: Path) -> None:
    (folder / "ccl.yaml").write_text("mine")
    done = run("setup", "-c", wallbox.url)

    assert done.returncode == 4
    assert "ccl.yaml exists and is not overwritten" in done.stderr
    assert (folder / "ccl.yaml").read_text() == "mine"
    assert not wallbox.requests


@pytest.mark.parametrize(("name", "output"), [("a b", "ccl.yaml"), ("charger", "no/such/folder.yaml")])
def test_setup_leaves_no_unusable_file(wallbox: Simulator, folder: Path, name: str, output: str) -> None:
    done = run("setup", "-c", wallbox.url, "--name", name, "--output", output)

    assert done.returncode == 2
    assert list(folder.rglob("*.yaml")) == []


def test_setup_says_why_a_charger_cannot_be_read_and_writes_nothing(folder: Path) -> None:
    with Simulator(faults=[Fault.parse("html")]) as simulator:
        done = run("setup", "-c", simulator.url)

    assert done.returncode == 1
    assert "does not respond like a PowerStudio engine" in done.stderr
    assert list(folder.rglob("*.yaml")) == []


def test_setup_takes_the_login_of_the_environment_without_writing_the_password(folder: Path) -> None:
    (folder / "secret").write_text(PLANTED)
    with Simulator(
        dialect=Dialect.parse(["digest"]), username="monitor", password=PLANTED, autopilot=False
    ) as simulator:
        without = run("setup", "-c", simulator.url)
        given = run("setup", "-c", simulator.url, **{"CCL_USERNAME": "monitor", "CCL_PASSWORD_FILE": "secret"})
        checked = run("get", "EVSE.PLUG.AE", "-c", "garage", "--config.file", "ccl.yaml")

    assert without.returncode == 4
    assert "CCL_PASSWORD_FILE" in without.stderr
    assert given.returncode == 0, given.stderr
    assert PLANTED not in (folder / "ccl.yaml").read_text()
    assert checked.stdout == "1234.56\n"


def test_setup_writes_all_engines_that_it_finds(folder: Path) -> None:
    with Simulator(autopilot=False) as left, Simulator(autopilot=False, host="127.0.0.2", port=left.port) as right:
        done = run("setup", "127.0.0.0/29", "--port", str(left.port), "--name", "bay", CCL_USERNAME="not-needed")
        checked = run("check", "--all", "--config.file", "ccl.yaml")

    assert done.returncode == 0
    assert f"bay-1: {left.url}" in done.stdout
    assert f"bay-2: {right.url}" in done.stdout
    assert checked.returncode == 0
    assert "not-needed" not in (folder / "ccl.yaml").read_text()


def test_setup_asks_for_the_address_on_a_terminal_where_nothing_is_found(wallbox: Simulator, folder: Path) -> None:
    code, out, shown = on_terminal("setup", "127.0.0.1", "--port", "1", typed=f"{wallbox.url}\n")

    assert code == 0, shown
    assert "Address of the charger" in plain(shown)
    assert "ccl.yaml is written" in out


def test_setup_without_a_terminal_names_the_flag_where_nothing_is_found() -> None:
    done = run("setup", "127.0.0.1", "--port", "1")

    assert done.returncode == 6
    assert "--charger" in done.stderr


@pytest.mark.parametrize(
    ("started", "unit", "shown"),
    [
        pytest.param(".venv/bin/ccl-exporter", "", ".venv/bin/ccl-exporter", id="in the folder of a copy"),
        pytest.param("{folder}/.venv/bin/ccl-exporter", "", "ccl-exporter", id="by a full path"),
        pytest.param("{folder}/.venv/bin/ccl-exporter", "ccl", "ccl", id="by the unit"),
    ],
)
def test_the_page_writes_commands_as_this_program_was_started(
    started: str, unit: str, shown: str, wallbox: Simulator, folder: Path, start: Start
) -> None:
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/ccl-exporter").symlink_to(COMMAND)
    command, environment = Path(started.format(folder=folder)), {"CCL_PROGRAM": unit} if unit else {}
    wallbox.site.plugs[0].plug_in()
    process = start("serve", wallbox.url, "--web.listen-address", "127.0.0.1:0", command=command, env=environment)
    page = get(process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0])

    assert f"<code>{shown} charge start --charger {wallbox.url}</code>" in page
    assert str(folder) not in page


def test_the_package_can_be_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ccl_exporter", "--version"], capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("ccl-exporter 0.")


def test_the_shell_completes_commands_and_flags() -> None:
    def completed(words: str) -> list[str]:
        done = subprocess.run(
            [str(COMMAND)],
            env={
                **os.environ,
                "_CCL_EXPORTER_COMPLETE": "complete_bash",
                "COMP_WORDS": words,
                "COMP_CWORD": str(words.count(" ")),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert {"serve", "setup", "set"} <= set(completed("ccl-exporter se"))
    assert completed("ccl-exporter check --al") == ["--all"]
    assert completed("ccl-exporter charge lim") == ["limit"]
    assert completed("ccl-exporter charge limit --min") == ["--min-interval"]
