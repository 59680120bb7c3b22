"""What the push to a database costs and keeps, beside influxdb-client's own batching, as a table.

Readings are those of a simulated wallbox that charges; the database is a real InfluxDB 1.6 on loopback.
The disk of the folder where the spool lies decides how fast it is.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, process_time, sleep, time
from typing import Literal

from helpers.databases import Influx
from helpers.support import Clock
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import WriteOptions
from influxdb_client.domain.write_precision import WritePrecision

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.metrics.families import Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.influxdb.client import MOST_BYTES, Accepted, InfluxClient
from ccl_exporter.outputs.influxdb.line_protocol import lines
from ccl_exporter.outputs.influxdb.queue_sender import POINTS_AT_ONCE
from ccl_exporter.outputs.influxdb.spool import Spool
from ccl_exporter.settings import ChargerSettings, InfluxSettings, SpoolSettings
from ccl_exporter.simulator import Simulator

Modules = tuple[Literal["core", "variables"], ...]
CORE: Modules = ("core",)
ALL: Modules = ("core", "variables")
DAY = 5760  # readings of one charger at 15 s
DISTINCT = 150
READS = 2000
KILL_AFTER = 3.0


def readings(modules: Modules) -> list[list[Sample]]:
    """Readings of a vehicle that charges, a quarter of a minute of its time apart."""
    clock = Clock(time())
    with Simulator(clock=clock) as simulator:
        charger = Charger(ChargerSettings("garage", simulator.url), clock=clock.still)
        found: list[list[Sample]] = []
        while len(found) < DISTINCT:
            clock.at += 15
            found.append(samples(charger.read(30), modules=modules))
        charger.close()
    return found


def bodies(found: Sequence[list[Sample]], count: int) -> Iterator[tuple[list[str], float]]:
    """Lines and times of `count` readings that end now."""
    begin = time() - 15 * count
    for number in range(count):
        taken = begin + 15 * number
        yield lines(found[number % len(found)], "garage", round(taken * 1000)), taken


def settings(database: Influx, name: str = "evse") -> InfluxSettings:
    return InfluxSettings("db", database.url, 1, SpoolSettings(Path("spool.db")), name)


def drain(spool: Spool, writer: InfluxClient) -> int:
    """Send everything as a push does; how many points."""
    sent = 0
    while batches := spool.take(POINTS_AT_ONCE, most_bytes=MOST_BYTES):
        some = [line for batch in batches for line in batch.lines]
        outcome = writer.write(some)
        assert outcome == Accepted(), outcome
        spool.settle(batches)
        sent += len(some)
    return sent


@contextmanager
def opened(path: Path) -> Iterator[Spool]:
    spool = Spool(path, 2**32, 1e12)
    spool.open()
    try:
        yield spool
    finally:
        spool.close()


def day_on_disk(folder: Path, found: Sequence[list[Sample]]) -> float:
    """Megabytes of a day of one charger that no database takes, journal included."""
    path = folder / f"day-{len(found[0])}.db"
    with opened(path) as spool:
        for some, taken in bodies(found, DAY):
            spool.put(some, taken)
        return sum(file.stat().st_size for file in folder.glob(f"{path.name}*")) / 1e6


def in_and_out(folder: Path, database: Influx, found: Sequence[list[Sample]]) -> tuple[float, float]:
    """Points per second into the spool and out of it into the database."""
    prepared = list(bodies(found, READS))
    points = sum(len(some) for some, _ in prepared)
    with opened(folder / f"through-{len(found[0])}.db") as spool:
        began = monotonic()
        for some, taken in prepared:
            spool.put(some, taken)
        stored = monotonic() - began
        began = monotonic()
        assert drain(spool, InfluxClient(settings(database))) == points
        return points / stored, points / (monotonic() - began)


def our_processor_time(folder: Path, found: Sequence[list[Sample]], url: str) -> float:
    """Milliseconds of processor time for a reading: lines, spool, a request of its own as in a life at 15 s."""
    writer = InfluxClient(InfluxSettings("db", url, 2, SpoolSettings(Path("spool.db")), org="o", bucket="b"))
    with opened(folder / "time.db") as spool:
        began = process_time()
        for number, sample in enumerate(found):
            spool.put(lines(sample, "garage", 1_700_000_000_000 + number), time())
            drain(spool, writer)
        return (process_time() - began) / len(found) * 1000


def their_processor_time(found: Sequence[list[Sample]], url: str) -> float:
    """The same with influxdb-client's batching mode: the same lines, as one batch and so one request a reading."""
    client = InfluxDBClient(url=url, token="t", org="o", enable_gzip=True)  # noqa: S106 - nobody's
    size = len(lines(found[0], "garage", 0))
    with client.write_api(WriteOptions(batch_size=size, flush_interval=60_000)) as api:
        began = process_time()
        for number, sample in enumerate(found):
            some = lines(sample, "garage", 1_700_000_000_000 + number)
            api.write("b", "o", some, write_precision=WritePrecision.MS)
    taken = (process_time() - began) / len(found) * 1000
    client.close()  # type: ignore[no-untyped-call] # theirs
    return taken


@contextmanager
def accepting() -> Iterator[str]:
    """A server in a process of its own that takes everything."""
    code = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
    def log_message(self, *arguments):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.communicate()


OURS_UNTIL_KILLED = """
import sys
from pathlib import Path
from time import time
from ccl_exporter.outputs.influxdb.spool import Spool
spool = Spool(Path(sys.argv[2]), 2**30, 1e12)
spool.open()
number = 0
while spool.put([f"kept,n={number} x=1 {1_700_000_000_000 + number}"], time()):
    number += 1
    print(number, flush=True)
"""
THEIRS_UNTIL_KILLED = """
import sys
from time import sleep
from influxdb_client import InfluxDBClient, WritePrecision
from influxdb_client.client.write_api import WriteOptions
api = InfluxDBClient(url=sys.argv[1], token="t", org="o").write_api(WriteOptions(flush_interval=1000))
number = 0
while True:
    api.write("evse", "o", f"kept,n={number} x=1 {1_700_000_000_000 + number}", write_precision=WritePrecision.MS)
    number += 1
    print(number, flush=True)
    sleep(0.0005)
"""


def killed(code: str, url: str, path: Path) -> int:
    """Points that a program said it took before it was killed, with no database there."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, url, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    sleep(KILL_AFTER)
    process.send_signal(signal.SIGKILL)
    counts = [line for line in process.stdout.read().splitlines() if line.isdecimal()]
    process.wait()
    return int(counts[-2])  # the last one may be half a number


def main(folder: Path) -> None:
    """Measure and print the table; the spools and the database are in `folder`."""
    rows: list[tuple[str, str, str]] = []
    database = Influx(folder / "influxdb")
    database.start()
    try:
        database.create()
        for name, modules in (("core", CORE), ("core and variables", ALL)):
            found = readings(modules)
            stored, sent = in_and_out(folder, database, found)
            points = len(lines(found[0], "garage", 0))
            rows.append((f"into the spool, {name} ({points} points a reading)", f"{stored:.0f} points/s", ""))
            rows.append((f"out of it into InfluxDB 1.6, {name}", f"{sent:.0f} points/s", ""))
            with accepting() as url:
                ours, other = our_processor_time(folder, found, url), their_processor_time(found, url)
            rows.append((f"processor time of a reading, {name}", f"{ours:.2f} ms", f"{other:.2f} ms"))
            rows.append((f"a day's outage on disk, {name}", f"{day_on_disk(folder, found):.1f} MB", "in memory"))
        database.stop()
        path = folder / "killed.db"
        ours_reported = killed(OURS_UNTIL_KILLED, database.url, path)
        theirs_reported = killed(THEIRS_UNTIL_KILLED, database.url, path)
        database.start()
        with opened(path) as spool:
            drain(spool, InfluxClient(settings(database)))
        kept = database.count("kept", "x")
        rows.append(
            (
                "lost of what was taken, kill -9 with no database there",
                f"{max(ours_reported - kept, 0)} of {ours_reported}",
                f"{theirs_reported} of {theirs_reported}",
            )
        )
    finally:
        database.kill()
    print("| what | ccl-exporter | influxdb-client, batching |\n| --- | --- | --- |")  # noqa: T201 - the result
    for row in rows:
        print("| " + " | ".join(row) + " |")  # noqa: T201 - the result
