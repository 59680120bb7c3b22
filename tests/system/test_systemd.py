"""The unit for systemd, as far as it can be tried where systemd does not run as the first process."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic_ns

import pytest
from helpers.support import COMMAND, PROJECT, Start, get, scrape, server

from ccl_exporter.simulator import Simulator

UNITS = PROJECT / "deploy" / "systemd"
UNIT = UNITS / "ccl-exporter.service"
TEXT = UNIT.read_text(encoding="utf-8")
INSTALLED = "/opt/ccl-exporter/bin/ccl-exporter"

MOST_EXPOSED = 15  # tenths, on a scale to 100

# What runs a command as the unit's MemoryDenyWriteExecute does: prctl(2), PR_SET_MDWE, Linux 6.3.
DENY_WRITE_EXECUTE = (
    "import ctypes, os, sys; refused = ctypes.CDLL(None).prctl(65, 1, 0, 0, 0);"
    "sys.exit('no PR_SET_MDWE') if refused else os.execv(sys.argv[1], sys.argv[1:])"
)


def setting(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", TEXT, flags=re.MULTILINE)


def system_calls(*sets: str) -> set[str]:
    """The names of the calls in sets of systemd's, such as `@system-service`."""
    found: set[str] = set()
    pending = list(sets)
    while pending:
        shown = subprocess.run(
            [server("systemd-analyze"), "syscall-filter", pending.pop()],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        words = [
            line.strip() for line in shown.splitlines()[1:] if line.strip() and not line.strip().startswith("#")
        ]
        pending += [word for word in words if word.startswith("@")]
        found |= set(words) - set(pending)
    return found


def test_the_unit_is_exposed_to_little() -> None:
    judged = subprocess.run(
        [server("systemd-analyze"), "security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert judged.returncode == 0, judged.stdout
    assert re.search(r"exposure level for ccl-exporter\.service: [01]\.\d", judged.stdout)


def test_systemd_finds_nothing_to_complain_of_in_the_unit(tmp_path: Path) -> None:
    """With the command where it is here; elsewhere it is where the README installs it."""
    unit = tmp_path / UNIT.name
    unit.write_text(TEXT.replace(INSTALLED, str(COMMAND)))
    verified = subprocess.run(
        [server("systemd-analyze"), "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_the_unit_hides_no_part_of_proc_that_the_process_metrics_need() -> None:
    assert not setting("ProcSubset")


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_says_ready_once_it_answers(abstract: bool, tmp_path: Path, start: Start) -> None:
    assert setting("Type") == ["notify"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(60)
        shown = f"@ccl-{os.getpid()}-{tmp_path.name}" if abstract else str(tmp_path / "notify")
        manager.bind(f"\0{shown[1:]}" if abstract else shown)
        with Simulator() as simulator:
            process = start(
                "serve", simulator.url, "--web.listen-address", "127.0.0.1:0", env={"NOTIFY_SOCKET": shown}
            )
            assert manager.recv(100) == b"READY=1"
            url = process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]

            assert get(f"{url}/-/healthy") == "Healthy\n"


def test_the_service_says_when_it_reloads_and_when_it_stops(tmp_path: Path, start: Start) -> None:
    config = tmp_path / "ccl.yaml"
    config.write_text("chargers: {garage: {url: 'http://192.0.2.1'}}\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(60)
        manager.bind(str(tmp_path / "notify"))
        process = start(
            "serve",
            "--config.file",
            str(config),
            "--web.listen-address",
            "127.0.0.1:0",
            env={"NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        assert manager.recv(100) == b"READY=1"
        for invalid in ("", "chargers: none"):
            config.write_text(config.read_text() + invalid)
            before = monotonic_ns() // 1000
            process.process.send_signal(signal.SIGHUP)
            found = re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=([0-9]+)", manager.recv(100))
            assert found is not None
            assert before <= int(found[1]) <= monotonic_ns() // 1000
            assert manager.recv(100) == b"READY=1"
        assert process.stop() == 0
        assert manager.recv(100) == b"STOPPING=1"


def test_a_service_manager_that_is_gone_does_not_stop_the_service(tmp_path: Path, start: Start) -> None:
    with Simulator() as simulator:
        gone = {"NOTIFY_SOCKET": str(tmp_path / "gone")}
        process = start("serve", simulator.url, "--web.listen-address", "127.0.0.1:0", env=gone)
        url = process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]

        assert scrape(url).get("ccl_up") == 1


def test_the_command_of_the_unit_serves_with_a_secret_from_the_credentials_of_systemd(
    tmp_path: Path, start: Start
) -> None:
    """Loaded from a folder, each is a file whose name begins with that of the folder's credential."""
    ((credential, _),) = (line.split(":") for line in setting("LoadCredential"))
    assert f"${{CREDENTIALS_DIRECTORY}}/{credential}_NAME" in TEXT
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / f"{credential}_garage.password").write_text("s3cr3t\n")
    with Simulator(username="monitor", password="s3cr3t") as simulator:  # noqa: S106 - of a simulated charger
        config = tmp_path / "ccl.yaml"
        config.write_text(
            f"chargers:\n  garage:\n    url: {simulator.url}\n    username: monitor\n"
            f"    password_file: ${{CREDENTIALS_DIRECTORY}}/{credential}_garage.password\n"
        )
        command, *arguments = shlex.split(
            setting("ExecStart")[0].replace("/etc/ccl-exporter/ccl.yaml", str(config))
        )
        assert command == INSTALLED
        process = start(
            *arguments,
            "--web.listen-address",
            "127.0.0.1:0",
            env={"CREDENTIALS_DIRECTORY": str(credentials), "STATE_DIRECTORY": str(tmp_path / "state")},
        )
        shown = scrape(process.line(r"http://127\.0\.0\.1:\d+/metrics")[0])

    assert shown.get("ccl_up") == 1
    assert shown.get("process_cpu_seconds_total") is not None


def test_the_service_needs_nothing_that_the_unit_forbids(tmp_path: Path, start: Start) -> None:
    """No system call outside the filter, no memory that is both written and executed, and no file written to but
    in the state folder; the last also holds for a container with a read-only root.
    """
    allowed: set[str] = set()
    # SQLite gives files of root's to the owner of the database; the unit does not run as root.
    as_root = {"fchown"} if os.geteuid() == 0 else set()
    for line in setting("SystemCallFilter"):
        calls = system_calls(*line.removeprefix("~").split())
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    trace, state = tmp_path / "trace", tmp_path / "state"
    config = tmp_path / "ccl.yaml"
    within = (sys.executable, "-c", DENY_WRITE_EXECUTE, server("strace"), "-f", "-qq", "-y", "-o", str(trace))
    with Simulator("twin") as simulator:
        config.write_text(f"chargers: {{garage: {{url: '{simulator.url}'}}}}\n")
        process = start(
            "serve",
            "--config.file",
            str(config),
            "--web.listen-address",
            "127.0.0.1:0",
            "--web.enable-lifecycle",
            within=within,
            env={"STATE_DIRECTORY": str(state), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        url = process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]
        shown = scrape(f"{url}/metrics")
        get(f"{url}/probe?target=garage&debug=true")
        get(url)
        subprocess.run(["kill", f"-{signal.SIGHUP.value}", child_of(process.process.pid)], check=True)
        process.wait_for_log("read again")
        scrape(f"{url}/metrics")
        subprocess.run(["kill", child_of(process.process.pid)], check=True)
        process.process.wait(timeout=60)

    traced = trace.read_text(errors="replace")
    used = set(re.findall(r"^\d+ +(\w+)\(", traced, flags=re.MULTILINE))
    written = {
        path
        for path, flags in re.findall(r'openat\([^"]*"([^"]*)", ([A-Z_|]+)', traced)
        if re.search("O_WRONLY|O_RDWR|O_CREAT", flags)
    }
    assert shown.get("ccl_up") == 1
    assert {"execve", "socket", "openat"} <= used
    assert used <= allowed | as_root
    assert {path for path in written if not path.startswith(f"{state}/")} <= {"/dev/null"}
    assert any(path.startswith(f"{state}/") for path in written)


def child_of(process: int) -> str:
    """The only child of a process."""
    return Path(f"/proc/{process}/task/{process}/children").read_text().strip()
