"""What several tests use: the installed command as a process, a scrape and its samples, a clock moved by hand."""

import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep, time
from typing import NoReturn

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from ccl_exporter import __version__
from ccl_exporter.clock import Clock as ExporterClock
from ccl_exporter.exporter.charger import SHARED_FOR

PROJECT = Path(__file__).parents[2]
RULES = PROJECT / "deploy" / "prometheus" / "rules"
COMMAND = Path(sys.executable).with_name("ccl-exporter")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
RELEASE = __version__.partition(".dev")[0]
"""The version that pages and deployed files name: before a release, the one that is coming."""


@dataclass
class Scrape:
    """One exposition as a scraper sees it: its samples by name and labels."""

    text: str
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> "Scrape":
        scrape = cls(text)
        for family in parse_openmetrics(text):  # type: ignore[no-untyped-call] # the library's parser has no types
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in scrape.samples, f"{key} is given twice"
                scrape.samples[key] = sample.value
        return scrape

    def get(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def names(self) -> set[str]:
        return {name for name, _ in self.samples}

    def word(self, stateset: str, **labels: str) -> str | None:
        """The one word of a stateset that holds."""
        found = [
            dict(pairs)[stateset]
            for (name, pairs), value in self.samples.items()
            if name == stateset and value == 1 and labels.items() <= dict(pairs).items()
        ]
        return found[0] if len(found) == 1 else None


def get(url: str, **headers: str) -> str:
    """The body of a GET on loopback."""
    request = urllib.request.Request(
        url, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        body: bytes = response.read()
    return body.decode()


def scrape(url: str, timeout: float | None = None) -> Scrape:
    """One scrape in OpenMetrics, as a Prometheus that waits `timeout` seconds, of a reading begun after the call.

    The exporter shares a reading for nearly a second; until that is over there is nothing new to see.
    """
    headers = {"Accept": OPENMETRICS}
    if timeout is not None:
        headers["X_Prometheus_Scrape_Timeout_Seconds"] = str(timeout)
    began = time()
    while True:
        text = get(url, **headers)
        read = dict(re.findall(r"^ccl_scrape_(timestamp|duration)_seconds (\S+)$", text, flags=re.MULTILINE))
        if float(read.get("timestamp", began)) >= began:
            return Scrape.of(text)
        until = float(read["timestamp"]) + float(read["duration"]) + SHARED_FOR
        sleep(max(0.02, until - time()))


class Process:
    """A running command of ours: what it printed, where it serves, how it ended.

    `within` is a program that starts it, as `strace` does.
    """

    def __init__(
        self,
        *arguments: str,
        env: dict[str, str] | None = None,
        within: Sequence[str] = (),
        command: Path = COMMAND,
    ) -> None:
        self.process = subprocess.Popen(
            [*within, str(command), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.log: list[str] = []
        self._logged = threading.Condition()
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._logged:
                self.log.append(line)
                self._logged.notify_all()

    def line(self, pattern: str) -> re.Match[str]:
        """Wait for a line of standard output that holds a pattern."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"the command ended without {pattern!r}: {''.join(self.log)}")

    def wait_for_log(self, pattern: str, timeout: float = 30) -> str:
        """Wait for a line of the log that holds a pattern."""
        with self._logged:
            self._logged.wait_for(lambda: any(re.search(pattern, line) for line in self.log), timeout)
            found = [line for line in self.log if re.search(pattern, line)]
        assert found, f"{pattern!r} was not logged: {self.log}"
        return found[0]

    def stop(self) -> int:
        """End it as a service manager does, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(timeout=60)  # a follower itself takes up to 20 s
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reader.join()
            for stream in (self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()
        return code


Start = Callable[..., Process]


class Clock:
    """A clock that a test moves by hand, in seconds."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    @property
    def still(self) -> ExporterClock:
        """Monotonic time that only the test moves, for a charger that answers: no deadline passes meanwhile."""
        return ExporterClock(monotonic=self)

    @property
    def running(self) -> ExporterClock:
        """Monotonic time that passes besides, for a charger that may hang."""
        return ExporterClock(monotonic=lambda: self() + monotonic())


def project_files() -> list[str]:
    """What belongs to the project: what git knows or would take, or all of an unpacked source distribution."""
    if not (PROJECT / ".git").exists():
        return [str(path.relative_to(PROJECT)) for path in PROJECT.rglob("*") if path.is_file()]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listed.stdout.split("\0") if name and (PROJECT / name).exists()]


def unavailable(message: str) -> NoReturn:
    """Skip a test, visibly, that this machine cannot run; in CI it is an error."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def server(program: str) -> str:
    """The path of a server from Debian; skipped visibly where it is missing, and an error in CI."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        unavailable(f"{program} is not installed (tests/debian-packages.txt): what it would check is not checked")
    return found
