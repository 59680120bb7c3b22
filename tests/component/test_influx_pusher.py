"""A push to a server that answers with each failure in turn: everything but what it refuses arrives, in order."""

import gzip
import json
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep, time

import pytest
from helpers.support import Clock
from helpers.workers import polling

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.poll_loop import PollLoop, Source
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.influxdb.pusher import InfluxPusher
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.settings import ChargerSettings, InfluxSettings, Module, SpoolSettings

TIMEOUT = 0.5
TOKEN = "t0ken-4711"  # noqa: S105 - nobody's
NAMES = ("a,b", "a b", "a=b", "a\\b", "a\nb", 'a"b')

# What the server does instead of taking what it gets.
FAILURES: dict[str, tuple[int, dict[str, str], str]] = {
    "a wrong token": (401, {}, '{"code": "unauthorized", "message": "unauthorized access"}'),
    "a forbidden one": (403, {}, '{"code": "forbidden", "message": "insufficient permissions"}'),
    "a wrong bucket": (404, {}, '{"code": "not found", "message": "bucket not found"}'),
    "a redirect": (307, {"Location": "/elsewhere"}, ""),
    "an error": (500, {}, '{"code": "internal error", "message": "engine: closed"}'),
    # Those from here on may meet the search for bad lines, which does not log each.
    "a time-out": (408, {}, ""),
    "too often": (429, {"Retry-After": "0"}, ""),
    "too often for a while": (429, {"Retry-After": "1"}, ""),
    "not now": (503, {"Retry-After": "x"}, ""),
    "a page": (200, {"Content-Type": "text/html"}, "<html>Welcome</html>"),
    "a page that is an error": (400, {"Content-Type": "text/html"}, "<html>Bad Request</html>"),
    "accepts and closes": (0, {}, ""),
    "says so too late": (204, {"X-Late": "yes"}, ""),
}


@dataclass
class Server:
    """Takes lines as InfluxDB 3 does, except that every second request gets the next failure."""

    failures: list[str]
    taken: list[str] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    targets: set[tuple[str, str]] = field(default_factory=set)
    refuses: str = ""
    refused: int = 0
    bad: str = "no such text"
    answer_to_bad: tuple[int, dict[str, str], str] = (0, {}, "")
    _calm: bool = True

    def answer(self, lines: list[str]) -> tuple[int, dict[str, str], str]:
        if self.refuses:
            self.refused += len(lines)
            return 400, {}, json.dumps({"code": "invalid", "message": self.refuses})
        if any(self.bad in line for line in lines):
            return self.answer_to_bad
        self._calm = not self._calm
        if self.failures and not self._calm:
            self.met.append(self.failures.pop(0))
            return FAILURES[self.met[-1]]
        if len(lines) > 3:
            return 413, {}, '{"error": "max request size exceeded"}'
        if any("temperature_celsius" in line for line in lines):
            return 422, {}, '{"code": "unprocessable entity", "message": "schema"}'
        self.taken += [line for line in lines if line not in self.taken]
        return 204, {}, ""


@pytest.fixture
def server() -> Iterator[tuple[str, Server]]:
    over = threading.Event()
    behind = Server(list(FAILURES))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"]))).decode()
            behind.targets.add((self.path, self.headers["Authorization"]))
            status, headers, text = behind.answer([line for line in body.split("\n") if line])
            if not status:
                self.close_connection = True
                return
            if "X-Late" in headers:
                over.wait(TIMEOUT * 10)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that no longer waits gets no late answer."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}", behind
        finally:
            over.set()
            http.shutdown()
            thread.join()


def test_a_server_that_refuses_the_request_as_such_costs_nothing(server: tuple[str, Server], state: Path) -> None:
    url, behind = server
    behind.failures, behind.refuses = [], "no gzip, please"

    def read(
        charger: Charger, timeout: float, modules: Sequence[Module], max_age: float
    ) -> tuple[Snapshot, list[Sample]]:
        return Snapshot(time(), 0.0, timeout, 1, up=True), [
            Sample(f.DEVICE_STATUS, (name,), 1.0) for name in NAMES
        ]

    entry = InfluxSettings("db", url, 3, SpoolSettings(Path("s.db")), bucket="evse", interval=1.0)
    source = Source(lambda: [Charger(ChargerSettings("garage", "http://garage"))], read)
    loop = PollLoop(InfluxPusher(entry, state), source)

    def metric(name: str) -> float:
        return {sample.family.name: sample.value for sample in loop.output.samples()}[
            f"ccl_influxdb_{name}_points_total"
        ]

    with polling(loop):
        began = monotonic()
        while metric("spooled") < 2 * len(NAMES) or not behind.refused:
            assert monotonic() - began < 60
            sleep(0.05)
        assert metric("rejected") == 0
        behind.refuses = ""
        while metric("sent") < 2 * len(NAMES):
            assert monotonic() - began < 60
            sleep(0.05)
        assert metric("rejected") == 0


@pytest.mark.parametrize(
    "answer",
    [
        (422, {}, '{"code": "unprocessable entity", "message": "field type conflict dropped=1"}'),
        (400, {}, '{"code": "invalid", "message": "write buffer error: parsing for line protocol failed"}'),
        (500, {}, '{"code": "internal error", "message": "unexpected panic"}'),
        (0, {}, ""),
    ],
    ids=["refused", "refused whole", "an error", "closes the connection"],
)
@pytest.mark.parametrize("when", [1, 3])
def test_a_batch_that_is_never_accepted_blocks_none_behind_it(
    answer: tuple[int, dict[str, str], str], when: int, server: tuple[str, Server], state: Path
) -> None:
    url, behind = server
    behind.failures, behind.bad, behind.answer_to_bad = [], "device=bad", answer
    reads = 0

    def read(
        charger: Charger, timeout: float, modules: Sequence[Module], max_age: float
    ) -> tuple[Snapshot, list[Sample]]:
        nonlocal reads
        reads += 1
        return Snapshot(time(), 0.0, timeout, 1, up=True), [
            Sample(f.DEVICE_STATUS, ("bad" if reads == when else "good",), float(reads))
        ]

    entry = InfluxSettings("db", url, 3, SpoolSettings(Path("s.db")), bucket="evse", interval=0.2)
    loop = PollLoop(
        InfluxPusher(entry, state),
        Source(lambda: [Charger(ChargerSettings("garage", "http://garage"))], read),
    )
    with polling(loop):
        began = monotonic()
        while True:
            found = {sample.family.name: sample.value for sample in loop.output.samples()}
            if (
                len(behind.taken) >= 5
                and found["ccl_influxdb_rejected_points_total"] == 1
                and found["ccl_influxdb_spool_points"] <= 2
            ):
                break
            assert monotonic() - began < 60, f"{len(behind.taken)} arrived"
            sleep(0.05)
    assert not [line for line in behind.taken if "device=bad" in line]


def test_everything_arrives_in_order_whatever_the_server_answers(
    server: tuple[str, Server], state: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    url, behind = server
    clock.at = time()
    reads: list[float] = []

    def read(
        charger: Charger, timeout: float, modules: Sequence[Module], max_age: float
    ) -> tuple[Snapshot, list[Sample]]:
        reads.append(clock.at)
        # The third reading finds the clock set back by an hour.
        clock.at += 0.001 if len(reads) != 3 else -3600.0
        number = float(len(reads))
        found = [Sample(f.SCRAPE_DURATION, (), number), Sample(f.STATION_TEMPERATURE, (), 20.0)]
        found += [Sample(f.DEVICE_STATUS, (name,), number) for name in NAMES]
        found += [Sample(f.STATION_EVENTS, (), math.nan), Sample(f.STATION_CLOCK, (), math.inf)]
        return Snapshot(clock.at, 0.0, timeout, 1, up=True), found

    entry = InfluxSettings(
        "db", url, 3, SpoolSettings(Path("s.db")), bucket="evse", token=TOKEN, interval=1.0, timeout=TIMEOUT
    )
    source = Source(lambda: [Charger(ChargerSettings("garage", "http://garage"))], read)
    loop = PollLoop(InfluxPusher(entry, state), source)

    def metrics() -> dict[str, float]:
        found = {sample.family.name: sample.value for sample in loop.output.samples()}
        return {name.removeprefix("ccl_influxdb_").removesuffix("_points_total"): found[name] for name in found}

    with polling(loop):
        began = monotonic()
        while behind.failures or metrics()["sent"] < 5 * len(NAMES):
            assert monotonic() - began < 120, f"stuck at {behind.failures}"
            sleep(0.05)
        while (now := metrics())["spool_points"]:
            sleep(0.01)

    assert behind.met == list(FAILURES)
    assert behind.targets == {("/api/v3/write_lp?db=evse&precision=millisecond", f"Bearer {TOKEN}")}
    # One point with the time it took, one of each device; the one that is refused was a point of its own.
    durations = [line for line in behind.taken if "duration_seconds=" in line]
    assert len(durations) * (len(NAMES) + 1) == len(behind.taken) == now["sent"]
    assert now["rejected"] == len(durations)
    assert now["spooled"] == now["sent"] + now["rejected"]
    assert now["dropped"] == 0
    order = [line.rsplit(" ", 1)[1] for line in durations]
    assert len(order) == len(set(order))
    assert order != sorted(order), "the clock was not set back"
    assert not [line for line in behind.taken if "nan" in line or "inf" in line or "temperature" in line]
    logged = [record.getMessage() for record in caplog.records]
    assert len([text for text in logged if "temperature_celsius of ccl_station is refused" in text]) == 1
    assert TOKEN not in "".join(logged)
    for said in (
        "rejects the login",
        "no permission to write",
        "bucket not found",
        "look at the URL",
        "engine: closed",
    ):
        assert [text for text in logged if said in text], said
