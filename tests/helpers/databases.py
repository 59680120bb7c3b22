"""Real databases from Debian on loopback: InfluxDB 1.6 and VictoriaMetrics, started and ended by a test."""

import json
import random
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlencode

from helpers.support import get, server

_CHANCE = random.SystemRandom()  # no seed: other workers choose at the same time

Columns = Mapping[str, list[object]]


def free_port() -> int:
    """A free port; a database must come back on the one it had.

    It is none of those that the system hands out (32768 and above): another test could get it meanwhile.
    """
    while True:
        port = _CHANCE.randrange(15_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@dataclass
class Database:
    """A server that can be ended and started again with what it stored."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self, wait: bool = True) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        if wait:
            self.await_ready()

    def await_ready(self) -> None:
        began = monotonic()
        while not self.ready():
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2000:]
            assert monotonic() - began < 60, "the database did not start"
            sleep(0.05)

    def ready(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/ping", timeout=5).close()
        except (urllib.error.URLError, OSError):
            return False
        return True

    def stop(self) -> None:
        """End it in good order, so that it stores everything."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=60)
            self.process = None

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=60)
            self.process = None


@dataclass
class Influx(Database):
    """InfluxDB 1.6 with a database `evse`, read back by InfluxQL; with an `admin` (name, password) closed."""

    admin: tuple[str, str] | None = None

    def command(self) -> list[str]:
        config = self.folder / "influxdb.conf"
        config.write_text(
            f"""\
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
  dir = "{self.folder}/meta"
[data]
  dir = "{self.folder}/data"
  wal-dir = "{self.folder}/wal"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{self.port}"
  auth-enabled = {str(self.admin is not None).lower()}
  log-enabled = false
[continuous_queries]
  enabled = false
"""
        )
        return [server("influxd"), "-config", str(config)]

    def query(self, text: str) -> list[dict[str, object]]:
        """The rows of the first statement, each with its tags, times in milliseconds."""
        login = {"u": self.admin[0], "p": self.admin[1]} if self.admin else {}
        body = urlencode({"db": "evse", "epoch": "ms", "q": text}).encode()
        with urllib.request.urlopen(f"{self.url}/query?{urlencode(login)}", body, timeout=60) as response:
            (result,) = json.load(response)["results"]
        assert "error" not in result, result
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], row, strict=True))}
            for series in result.get("series", [])
            for row in series.get("values", [])
        ]

    def create(self) -> None:
        if self.admin is not None:
            name, password = self.admin
            self.query(f"CREATE USER \"{name}\" WITH PASSWORD '{password}' WITH ALL PRIVILEGES")
        self.query("CREATE DATABASE evse")

    def write(self, lines: str) -> None:
        """Write as another program did before."""
        urllib.request.urlopen(f"{self.url}/write?db=evse&precision=ms", lines.encode(), timeout=60).close()

    def count(self, measurement: str, field: str) -> int:
        """How many points have a field."""
        rows = self.query(f'SELECT count("{field}") FROM "{measurement}"')  # noqa: S608 - names of ours
        return int(str(rows[0]["count"])) if rows else 0


@dataclass
class Victoria(Database):
    """VictoriaMetrics, which takes InfluxDB's v2 writes; read back by its export."""

    def command(self) -> list[str]:
        return [
            server("victoria-metrics"),
            f"-httpListenAddr=127.0.0.1:{self.port}",
            f"-storageDataPath={self.folder}/data",
            "-retentionPeriod=100y",
            "-search.latencyOffset=0s",
        ]

    def export(self, name: str) -> list[tuple[dict[str, str], list[int], list[float]]]:
        """The series of a metric: labels, times in milliseconds, values."""
        get(f"{self.url}/internal/force_flush")
        query = urlencode({"match[]": name})
        found = [json.loads(line) for line in get(f"{self.url}/api/v1/export?{query}").splitlines()]
        return [(series["metric"], series["timestamps"], series["values"]) for series in found]


@contextmanager
def running(database: Database) -> Iterator[None]:
    database.start()
    try:
        yield
    finally:
        database.kill()
