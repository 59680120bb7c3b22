"""The start of a service: signals before it runs, standard streams that cannot be written, what it says."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest
from helpers.databases import free_port
from helpers.support import COMMAND, Process, Start, get

from ccl_exporter.simulator import Simulator

CHARGERS = "chargers: {{garage: {{url: '{}'}}}}\n"
ANY_PORT = ("--web.listen-address", "127.0.0.1:0")
METRICS = r"http://127\.0\.0\.1:\d+/metrics"


def handles(process: Process, number: signal.Signals) -> bool:
    """Whether a process handles a signal."""
    with suppress(FileNotFoundError):
        status = Path(f"/proc/{process.process.pid}/status").read_text()
        found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, flags=re.MULTILINE)
        return found is not None and bool(int(found[1], 16) & 1 << (number - 1))
    return False


def starting(start: Start, fifo: Path) -> tuple[Process, int]:
    """A service that is reading its configuration, and the other end of that."""
    os.mkfifo(fifo)
    process = start("serve", "--config.file", str(fifo), *ANY_PORT)
    return process, opened(process, fifo)


def opened(process: Process, fifo: Path) -> int:
    """The end to write to, once the process has opened the other one."""
    while process.process.poll() is None:
        with suppress(OSError):
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        sleep(0.01)
    raise AssertionError(f"the process ended with {process.process.returncode}: {process.log}")


def answer(fifo: int, text: str) -> None:
    os.write(fifo, text.encode())
    os.close(fifo)


class TestSignals:
    @pytest.mark.parametrize("times", [1, 3])
    def test_a_reload_before_the_configuration_is_read_is_made_once_the_service_runs(
        self, start: Start, tmp_path: Path, times: int
    ) -> None:
        with Simulator() as simulator:
            text = CHARGERS.format(simulator.url)
            process, fifo = starting(start, tmp_path / "ccl.yaml")
            for _ in range(times):
                process.process.send_signal(signal.SIGHUP)
            answer(fifo, text)
            process.line(METRICS)
            answer(opened(process, tmp_path / "ccl.yaml"), text)
            process.wait_for_log("the configuration was read again")

            assert process.stop() == 0
        assert len([line for line in process.log if "read again" in line]) == 1

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_stop_before_the_configuration_is_read_ends_the_process_cleanly(
        self, start: Start, tmp_path: Path, number: signal.Signals
    ) -> None:
        process, fifo = starting(start, tmp_path / "ccl.yaml")
        process.process.send_signal(number)

        assert process.process.wait(timeout=60) == 0
        assert not [line for line in process.log if "Traceback" in line]
        os.close(fifo)

    @pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
    @pytest.mark.parametrize("milliseconds", range(0, 300, 50))
    def test_no_moment_of_the_start_is_a_bad_one(
        self, start: Start, number: signal.Signals, milliseconds: int
    ) -> None:
        with Simulator() as simulator:
            process = start("serve", simulator.url, *ANY_PORT)
            while not handles(process, signal.SIGHUP):
                assert process.process.poll() is None
                sleep(0.001)
            sleep(milliseconds / 1000)
            process.process.send_signal(number)
            if number == signal.SIGHUP:
                process.line(METRICS)
                process.wait_for_log("there is no configuration file to read again")

            assert process.stop() == 0

    def test_a_check_of_the_configuration_that_is_interrupted_does_not_succeed(
        self, start: Start, tmp_path: Path
    ) -> None:
        os.mkfifo(tmp_path / "ccl.yaml")
        process = start("serve", "--config.file", str(tmp_path / "ccl.yaml"), "--config.check")
        fifo = opened(process, tmp_path / "ccl.yaml")
        process.process.send_signal(signal.SIGTERM)

        assert process.process.wait(timeout=60) == -signal.SIGTERM
        os.close(fifo)


@contextmanager
def redirected(redirection: str, port: int, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command whose streams a shell redirects."""
    words = [str(COMMAND), *command, "--web.listen-address", f"127.0.0.1:{port}"]
    with subprocess.Popen(
        ["bash", "-c", f'exec "$@" {redirection}', "-", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


class TestStreams:
    @pytest.mark.parametrize(
        "redirection",
        [
            *(">/dev/full", "> >(true)", ">&-", "2>/dev/full", "2> >(true)", "2>&-"),
            *(">/dev/full 2>&1", "> >(true) 2>&1", "<&- >&- 2>&-"),
        ],
    )
    def test_a_service_whose_streams_cannot_be_written_serves_and_ends_cleanly(self, redirection: str) -> None:
        port = free_port()
        with redirected(redirection, port, "demo", "--log.level", "debug") as process:
            await_port(process, port)
            for _ in range(20):
                assert "ccl_up 1" in get(f"http://127.0.0.1:{port}/metrics")
            numbers = {number: os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)}
            process.terminate()
            code = process.wait(timeout=60)

        assert code == 0
        assert not [path for path in numbers.values() if path.startswith(("socket:", "anon_inode:"))]

    def test_simulated_chargers_outlive_who_reads_of_them(self) -> None:
        port = free_port()
        with redirected("> >(true)", port, "simulate") as process:
            await_port(process, port)
            assert "EVSE" in get(f"http://127.0.0.1:{port}/services/user/devices.xml")
            process.terminate()
            _, errors = process.communicate(timeout=60)

        assert (process.returncode, errors) == (0, b"")


def await_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = monotonic() + 60
    while True:
        assert process.poll() is None, process.returncode
        assert monotonic() < deadline
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        sleep(0.05)


class TestWhatItSays:
    def test_several_chargers_and_where_they_are(self, start: Start, tmp_path: Path) -> None:
        path = tmp_path / "ccl.yaml"
        path.write_text("chargers: {left: {url: 'http://192.0.2.1'}, right: {url: 'http://192.0.2.2'}}\n")
        process = start("serve", "--config.file", str(path), *ANY_PORT)

        url = process.line(r"^Live page: (\S+)/$")[1]
        process.line(rf"^Metrics of 2 chargers: {url}/probe\?target=NAME$")
        process.line(rf"^List of chargers: {url}/sd$")
        process.line(rf"^Own metrics: {url}/metrics$")
        assert get(f"{url}/sd").count("targets") == 2

    def test_one_charger_and_where_its_metrics_are(self, start: Start, tmp_path: Path) -> None:
        path = tmp_path / "ccl.yaml"
        path.write_text("chargers: {left: {url: 'http://192.0.2.1'}}\n")
        process = start("serve", "--config.file", str(path), *ANY_PORT)

        url = process.line(r"^Live page: (http://127\.0\.0\.1:\d+)/$")[1]
        assert process.line(rf"^Metrics of http://192\.0\.2\.1: {url}/metrics$")

    @pytest.mark.parametrize("command", [("demo",), ("simulate",), ("simulate", "--chargers", "2")], ids=" ".join)
    def test_an_address_that_is_in_use_is_named_with_what_to_do(self, command: tuple[str, ...]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = subprocess.run(
                [str(COMMAND), *command, "--web.listen-address", f"127.0.0.1:{port}"],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

        assert done.returncode == 2
        assert f"cannot listen on 127.0.0.1:{port}: address already in use; --web.listen-address" in done.stderr

    def test_many_simulated_chargers_are_two_lines_of_which_one_makes_a_configuration(
        self, start: Start, tmp_path: Path
    ) -> None:
        process = start("simulate", "--chargers", "50", *ANY_PORT)
        first, last = map(int, process.line(r"^50 simulated chargers .*:(\d+) to http://.*:(\d+)\.").groups())
        command = process.line(r"^A configuration: (.*)$")[1]
        subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
        checked = subprocess.run(
            [str(COMMAND), "serve", "--config.file", "simulated.yaml", "--config.check"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        get(f"http://127.0.0.1:{last}/services/user/devices.xml")

        assert last - first == 49
        assert "50 chargers" in checked.stdout
        assert process.stop() == 0
