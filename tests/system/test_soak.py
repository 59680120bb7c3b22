"""One exporter among everything that can go wrong: no part ends, nothing grows, nothing is late or lost.

CI runs three minutes; `CCL_SOAK_MINUTES=60` is the long form. `CCL_SEED` repeats a course of faults.
"""

import base64
import gzip
import http.client
import os
import random
import re
import shutil
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep

import bcrypt
import pytest
from helpers.brokers import Broker, running
from helpers.misbehaving_servers import dripping_host, unresponsive_host
from helpers.support import Process, Start

from ccl_exporter.workers import LONGEST_BACKOFF

MINUTES = float(os.environ.get("CCL_SOAK_MINUTES", "3"))
SEED = int(os.environ.get("CCL_SEED", "20"))

HEALTHY = ("one", "two", "three")
UNREACHABLE = 40
INTERVAL = 2.0
"""Seconds between two readings of a charger, by its scraper and by each output."""

HEALTH_WITHIN = 1.0
"""Seconds in which a health check answers."""

MORE_MEGABYTES, MORE_DESCRIPTORS, LINES_A_FAULT = 25.0, 60, 6.0
"""What may come on top: memory and descriptors from a fifth of the time to the end, lines of the log."""

LOGIN = "prometheus:" + "correct horse"
AUTHORIZATION = {"Authorization": "Basic " + base64.b64encode(LOGIN.encode()).decode()}
LISTEN = ("--web.listen-address", "127.0.0.1:0")


@dataclass
class Misbehaving:
    """A server of a database and of an inventory, which does what its mode says."""

    mode: str = "ok"
    inventory_mode: str = "ok"
    inventory: str = ""
    readings: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    over: threading.Event = field(default_factory=threading.Event)

    DATABASE = ("ok", "ok", "9999", "later", "drip", "refuse", "hang", "close", "page", "login")
    INVENTORY = ("ok", "drip", "malformed", "error", "empty", "elsewhere")

    def take(self, lines: list[str]) -> None:
        for line in lines:
            if found := re.match(r"ccl_scrape,charger=([a-z0-9-]+).* ([0-9]+)$", line):
                self.readings[found[1]].add(int(found[2]))


def handler(behind: Misbehaving) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"]))).decode()
            lines = [line for line in body.split("\n") if line]
            match behind.mode:
                case "ok":
                    behind.take(lines)
                    self.send(204)
                case "refuse" if any("duration_seconds=" in line for line in lines):
                    self.send(400, b'{"message": "field type conflict: input field \\"duration_seconds\\""}')
                case "refuse":
                    behind.take(lines)
                    self.send(204)
                case mode:
                    self.misbehave(mode)

        def do_GET(self) -> None:
            if behind.inventory_mode == "ok":
                self.send(200, behind.inventory.encode())
            else:
                self.misbehave(behind.inventory_mode)

        def misbehave(self, mode: str) -> None:
            match mode:
                case "9999":
                    self.send(503, headers={"Retry-After": "Fri, 31 Dec 9999 23:59:59 -0100"})
                    behind.mode = "ok"
                case "later" | "error":
                    self.send(503)
                case "login":
                    self.send(401)
                case "page":
                    self.send(200, b"<html>Welcome</html>", {"Content-Type": "text/html"})
                case "empty":
                    self.send(200, b"")
                case "elsewhere":
                    self.send(302, headers={"Location": "http://192.0.2.1/chargers.yaml"})
                case "malformed":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 0\r\n\r\n")
                case "close":
                    self.close_connection = True
                case "hang":
                    behind.over.wait(15)
                    self.close_connection = True
                case "drip":
                    with suppress(OSError):
                        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                        until = monotonic() + 15
                        while monotonic() < until and not behind.over.wait(0.5):
                            self.wfile.write(b"x")
                    self.close_connection = True

        def send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that waits no longer is none of our concern."""


@contextmanager
def misbehaving() -> Iterator[tuple[Misbehaving, str]]:
    behind = Misbehaving()
    with Quiet(("127.0.0.1", 0), handler(behind)) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield behind, f"http://127.0.0.1:{http_server.server_port}"
        finally:
            behind.over.set()
            http_server.shutdown()
            thread.join()


class Watch:
    """Looks at the exporter from outside, as Prometheus and Kubernetes do, and notes what must not be."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.complaints: list[str] = []
        self.checks: Counter[str] = Counter()
        self.slowest: dict[str, float] = defaultdict(float)
        self.longest_down: dict[str, float] = defaultdict(float)
        self._down_since: dict[str, float] = {}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._loop, args=(work,)) for work in self._works()]

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _works(self) -> Iterator[tuple[float, Callable[[], None]]]:
        yield 0.5, self._health
        yield 1.0, self._workers
        for name in HEALTHY:
            yield INTERVAL, lambda name=name: self._scrape(name)  # type: ignore[misc] # each has its own name

    def _loop(self, work: tuple[float, Callable[[], None]]) -> None:
        pause, call = work
        while not self._over.wait(pause):
            try:
                call()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a complaint
                self.complaints.append(f"{monotonic():.1f} {call}: {error!r}")

    def get(self, path: str, kind: str, within: float, **headers: str) -> str:
        began = monotonic()
        request = urllib.request.Request(f"{self.url}{path}", headers={**AUTHORIZATION, **headers})
        with urllib.request.urlopen(request, timeout=30) as response:
            text: str = response.read().decode()
        seconds = monotonic() - began
        self.checks[kind] += 1
        self.slowest[kind] = max(self.slowest[kind], seconds)
        if seconds > within:
            self.complaints.append(f"{monotonic():.1f} {path} took {seconds:.2f} s")
        return text

    def _health(self) -> None:
        if self.get("/-/healthy", "health checks", HEALTH_WITHIN) != "Healthy\n":
            self.complaints.append("not healthy")

    def _workers(self) -> None:
        found = metrics(self.get("/metrics", "scrapes of its own metrics", 30.0))
        now = monotonic()
        for name, value in found.items():
            if name.startswith("ccl_exporter_worker_up"):
                if value == 1:
                    self._down_since.pop(name, None)
                else:
                    since = self._down_since.setdefault(name, now)
                    self.longest_down[name] = max(self.longest_down[name], now - since)

    def _scrape(self, name: str) -> None:
        path = f"/probe?target={name}&module=core"
        found = metrics(self.get(path, "scrapes", INTERVAL, **{"X-Prometheus-Scrape-Timeout-Seconds": "3"}))
        if found["ccl_up"] != 1:
            self.complaints.append(f"{monotonic():.1f} {name} was not read")


def metrics(text: str) -> dict[str, float]:
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }


@dataclass
class Faults:
    """What goes wrong, one thing after the other, from a seed."""

    process: Process
    port: int
    behind: Misbehaving
    broker: Broker
    folder: Path
    state: Path
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter)
    connections: list[socket.socket] = field(default_factory=list)

    def one(self) -> None:
        fault = self.chance.choice(
            (
                self.database,
                self.database,
                self.inventory,
                self.mqtt,
                self.queue,
                self.session_log,
                self.reload,
                self.web_configuration,
                self.slow_connections,
                self.many_connections,
                self.hostile_requests,
                self.page,
            )
        )
        self.done[fault.__name__] += 1
        fault()

    def heal(self) -> None:
        self.behind.mode = self.behind.inventory_mode = "ok"
        self.write_web_configuration()
        self.close_connections()
        if self.broker.process is None:
            self.broker.start()

    def database(self) -> None:
        self.behind.mode = self.chance.choice(self.behind.DATABASE)

    def inventory(self) -> None:
        self.behind.inventory_mode = self.chance.choice(self.behind.INVENTORY)

    def mqtt(self) -> None:
        if self.broker.process is None:
            self.broker.start()
        else:
            self.broker.kill()

    def queue(self) -> None:
        """The file of a queue, or the whole folder, goes to another place."""
        file = self.state / "influxdb-home.db"
        if self.chance.random() < 0.5:
            for suffix in ("-shm", "-wal", ""):
                file.with_name(file.name + suffix).unlink(missing_ok=True)
        elif self.state.exists():
            shutil.rmtree(self.state.with_name("moved"), ignore_errors=True)
            self.state.rename(self.state.with_name("moved"))

    def session_log(self) -> None:
        (self.state / "charges.db").unlink(missing_ok=True)

    def reload(self) -> None:
        self.process.process.send_signal(signal.SIGHUP)

    def web_configuration(self) -> None:
        file = self.folder / "web.yaml"
        match self.chance.choice(("truncated", "garbage", "without users", "gone", "ok")):
            case "truncated":
                file.write_text("")
            case "garbage":
                file.write_text("basic_auth_users: {")
            case "without users":
                file.write_text("basic_auth_users: {}\n")
            case "gone":
                file.unlink(missing_ok=True)
            case _:
                self.write_web_configuration()

    def write_web_configuration(self) -> None:
        name, _, password = LOGIN.partition(":")
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        (self.folder / "web.yaml").write_text(f"basic_auth_users: {{{name}: {hashed!r}}}\n")

    def connect(self, source: str) -> socket.socket | None:
        with suppress(OSError):
            return socket.create_connection(("127.0.0.1", self.port), 5, (source, 0))
        return None

    def slow_connections(self) -> None:
        """A hundred connections from another peer, each of which has sent the beginning of a head."""
        self.close_connections()
        for _ in range(100):
            if (connection := self.connect("127.0.0.2")) is not None:
                self.connections.append(connection)
                with suppress(OSError):
                    connection.sendall(b"GET /metrics HT")

    def many_connections(self) -> None:
        """More connections than the exporter has descriptors, closed soon."""
        found = [self.connect("127.0.0.3") for _ in range(500)]
        sleep(0.3)
        for connection in found:
            if connection is not None:
                connection.close()

    def close_connections(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections.clear()

    def hostile_requests(self) -> None:
        requests = (
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic bm86bm8=\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\n\r\n",
            b"POST /-/reload HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nContent-Length: 5\r\n\r\n",
            b"\x16\x03\x01\x00\xa5\x01\x00",
            b"GET " + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            self.chance.randbytes(200),
        )
        for _ in range(50):
            if (connection := self.connect("127.0.0.2")) is None:
                continue
            with connection, suppress(OSError):
                connection.settimeout(1)
                connection.sendall(self.chance.choice(requests))
                answer = connection.recv(65536)
                assert not answer.startswith(b"HTTP/1.1 200"), answer

    def page(self) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", headers=AUTHORIZATION)
        with suppress(OSError, http.client.HTTPException), urllib.request.urlopen(request, timeout=10) as page:
            page.read()


@dataclass
class Use:
    """What the process takes."""

    megabytes: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Use":
        status = Path(f"/proc/{pid}/status").read_text()
        resident, threads = (
            int(found[1]) for name in ("VmRSS", "Threads") if (found := re.search(rf"{name}:\s+(\d+)", status))
        )
        return cls(resident / 1024, len(os.listdir(f"/proc/{pid}/fd")), threads)


@pytest.mark.alone
def test_everything_goes_wrong_and_nothing_is_lost(start: Start, tmp_path: Path, state: Path) -> None:
    with ExitStack() as stack:
        behind, server = stack.enter_context(misbehaving())
        broker = stack.enter_context(running(Broker(tmp_path / "broker")))
        silent, dripping = stack.enter_context(unresponsive_host()), stack.enter_context(dripping_host())
        urls = [start("simulate", *LISTEN, "--speed", "60").line(r"http://127\.0\.0\.1:\d+")[0] for _ in HEALTHY]
        chargers = dict(zip(HEALTHY, urls, strict=True))
        chargers |= {f"silent-{number}": f"http://{silent}/{number}" for number in range(UNREACHABLE // 2)}
        behind.inventory = "".join(
            f"dripping-{number}: {{url: 'http://{dripping}/{number}'}}\n" for number in range(UNREACHABLE // 2)
        )
        config = tmp_path / "ccl.yaml"
        config.write_text(
            "chargers:\n"
            + "".join(f"  {name}: {{url: '{url}'}}\n" for name, url in chargers.items())
            + f"chargers_from: {{url: '{server}/chargers.yaml?token=SECRET', interval: 2s}}\n"
            + f"influxdb: [{{url: '{server}', version: 1, database: evse, name: home, interval: {INTERVAL:g}s, "
            + "timeout: 2s, modules: [core]}]\n"
            + f"mqtt: {{url: 'mqtt://127.0.0.1:{broker.port}', interval: {INTERVAL:g}s}}\n"
        )
        faults = Faults(None, 0, behind, broker, tmp_path, state, random.Random(SEED))  # type: ignore[arg-type] # known below
        faults.write_web_configuration()
        process = faults.process = start(
            "serve",
            *("--config.file", str(config), "--web.config.file", str(tmp_path / "web.yaml"), *LISTEN),
            within=("prlimit", "--nofile=400:400"),
        )
        url = process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]
        faults.port = int(url.rpartition(":")[2])
        seconds = MINUTES * 60
        with Watch(url) as watch:
            began, early = monotonic(), None
            while (now := monotonic() - began) < seconds:
                faults.one()
                sleep(faults.chance.uniform(0.2, 2.0))
                if early is None and now > seconds / 5:
                    early = Use.of(process.process.pid)
            faults.heal()
            until = monotonic() + 300
            while (found := metrics(watch.get("/metrics", "ends", 30.0)))[
                'ccl_influxdb_spool_points{sink="home"}'
            ]:
                assert monotonic() < until, "what waits is not sent"
                sleep(1)
        late = Use.of(process.process.pid)
        code = process.stop()

    number = faults.done.total()
    gaps = {
        name: max(later - sooner for sooner, later in pairwise(sorted(behind.readings[name]))) / 1000
        for name in HEALTHY
    }
    restarts = {name: value for name, value in found.items() if "worker_restarts" in name and value}
    dropped = found['ccl_influxdb_dropped_points_total{sink="home"}']
    print(  # noqa: T201 - the figures of the long form
        f"{MINUTES:g} min, {number} faults {dict(faults.done)}: {dict(watch.checks)}, "
        f"slowest {dict(watch.slowest)}; "
        f"{early} to {late}; {len(process.log)} lines; down {dict(watch.longest_down)}, restarts {restarts}; "
        f"longest gaps in the database {gaps}; dropped points {dropped:g}"
    )
    assert watch.complaints == []
    assert code == 0
    assert all(down <= LONGEST_BACKOFF for down in watch.longest_down.values()), watch.longest_down
    assert early is not None
    assert late.megabytes <= early.megabytes + MORE_MEGABYTES
    assert late.descriptors <= early.descriptors + MORE_DESCRIPTORS
    assert len(process.log) <= number * LINES_A_FAULT, Counter(re.sub(r"\d+", "0", line) for line in process.log)
    assert "SECRET" not in "".join(process.log)
    sink = '{sink="home"}'
    sent, rejected = (found[f"ccl_influxdb_{word}_points_total{sink}"] for word in ("sent", "rejected"))
    assert found[f"ccl_influxdb_spooled_points_total{sink}"] == sent + rejected
    assert found[f"ccl_influxdb_missed_readings_total{sink}"] <= UNREACHABLE * seconds / INTERVAL
    queue = [line for line in process.log if "the spool" in line]
    # A reading that comes just while there is no file, or no descriptor for one, is dropped and counted.
    assert all(gap <= 2.5 * INTERVAL for gap in gaps.values()), (gaps, queue)
