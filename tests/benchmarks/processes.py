"""The processes of a benchmark: each on a core of its own, measured from outside."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

HERE = Path(__file__).parent
CORES = sorted(os.sched_getaffinity(0))
MEASURED, OTHERS = CORES[0], CORES[-1]
"""The core of what is measured, and that of all else; on a machine with one core they are the same."""

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Running:
    """A process and what the system says of it."""

    process: "subprocess.Popen[str]"

    @property
    def _folder(self) -> Path:
        return Path(f"/proc/{self.process.pid}")

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def _status(self, name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+)", (self._folder / "status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1])

    def megabytes(self) -> float:
        """Resident memory."""
        return self._status("VmRSS") / 1024

    def threads(self) -> int:
        return self._status("Threads")

    def descriptors(self) -> int:
        return len(list((self._folder / "fd").iterdir()))


@contextmanager
def running(*command: str, core: int, env: dict[str, str] | None = None) -> Iterator[Running]:
    """A process on a core; ended afterwards."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **(env or {})},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no threads were started yet
    )
    try:
        yield Running(process)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


@dataclass(frozen=True)
class Farm:
    """The simulated chargers."""

    port: int

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def _report(self, name: str = "") -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/counts/{name}") as answer:
            return json.load(answer)

    def counts(self) -> Counter[str]:
        """Requests, body bytes and wire bytes (both ways, headers too) by site, so far."""
        return Counter(self._report()["counts"])

    def targets(self, name: str) -> list[str]:
        """What one charger was asked for, in order."""
        found: list[str] = self._report(name)["targets"]
        return found


@contextmanager
def farm(latency: float) -> Iterator[Farm]:
    """A farm whose chargers answer after `latency` seconds."""
    with running(sys.executable, str(HERE / "farm.py"), str(latency), core=OTHERS) as started:
        assert started.process.stdout is not None
        yield Farm(int(started.process.stdout.readline()))


@dataclass(frozen=True)
class Exporter(Running):
    """`ccl-exporter serve` for some chargers of a farm."""

    port: int
    names: tuple[str, ...]

    def load(self, module: str, *how: str, names: Sequence[str] | None = None) -> dict[str, Any]:
        """Scrape it from a process on the other core; see load.py."""
        done = subprocess.run(
            ("taskset", "-c", str(OTHERS), sys.executable, str(HERE / "load.py"), str(self.port), module, *how),
            input="\n".join(names if names is not None else self.names),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
            text: str = answer.read().decode()
        return text


@contextmanager
def exporter(farm: Farm, names: Sequence[str]) -> Iterator[Exporter]:
    """The exporter, configured with these chargers of the farm."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "chargers.yml"
        rows = "".join(f"  {name}: {{url: '{farm.url(name)}'}}\n" for name in names)
        config.write_text(f"chargers:\n{rows}")
        with _serving(folder, names, "--config.file", str(config)) as started:
            yield started


@contextmanager
def alone(farm: Farm, name: str) -> Iterator[Exporter]:
    """The exporter for one charger that is named on the command line."""
    with tempfile.TemporaryDirectory() as folder, _serving(folder, (name,), farm.url(name)) as started:
        yield started


@contextmanager
def _serving(folder: str, names: Sequence[str], *arguments: str) -> Iterator[Exporter]:
    command = shutil.which("ccl-exporter", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    assert command is not None
    with running(
        *(command, "serve", *arguments, "--web.listen-address", "127.0.0.1:0", "--log.level", "error"),
        core=MEASURED,
        env={"XDG_STATE_HOME": folder, "PYTHONUNBUFFERED": "1"},
    ) as started:
        assert started.process.stdout is not None
        found = next(match for line in started.process.stdout if (match := re.search(r":(\d+)/metrics", line)))
        yield Exporter(started.process, int(found[1]), tuple(names))


def server(program: str) -> str:
    """The path of a server from Debian (tests/debian-packages.txt)."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise SystemExit(f"{program} is not installed; tests/debian-packages.txt names the packages")
    return found


def await_answer(url: str, seconds: float = 30.0) -> None:
    """Wait until a server that was started answers."""
    end = monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url) as answer:
                answer.read()
        except OSError:
            if monotonic() > end:
                raise
            sleep(0.05)
        else:
            return
