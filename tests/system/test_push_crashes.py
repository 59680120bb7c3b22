"""The exporter is killed again and again while its databases come and go: no reading is lost.

By default a few kills; `CCL_KILLS=200` is the long form (some ten minutes), `CCL_SEED` repeats a course of events.
"""

import os
import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import monotonic, sleep

from helpers.databases import Database, Influx, Victoria
from helpers.support import OPENMETRICS, Scrape, Start, get

from ccl_exporter.simulator import Simulator

KILLS = int(os.environ.get("CCL_KILLS", "8"))
SEED = int(os.environ.get("CCL_SEED", str(random.randrange(10**6))))
SINKS = ("influx", "victoria")
BATCHES = {"ccl_scrape": "up", "ccl_finished_charge": "energy_joules"}
"""What every batch of the spool has once: a reading, or a finished charge (each charger tells of its last one)."""


@contextmanager
def coming_and_going(databases: tuple[Influx, Victoria], chance: random.Random) -> Iterator[None]:
    """Databases that are up and down at random meanwhile, and up in the end.

    InfluxDB crashes too. VictoriaMetrics is ended in good order: it keeps the last seconds in memory.
    """
    over = threading.Event()

    def act() -> None:
        while not over.wait(chance.uniform(0.2, 2.5)):
            database: Database = chance.choice(databases)
            if database.process is None:
                database.start(wait=False)
            elif isinstance(database, Influx) and chance.random() < 0.5:
                database.kill()
            else:
                database.stop()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for database in databases:
            if database.process is None:
                database.start(wait=False)
            database.await_ready()


def metrics(url: str) -> Scrape:
    return Scrape.of(get(url, Accept=OPENMETRICS))


def spooled(shown: Scrape) -> dict[str, float]:
    return {sink: shown.get("ccl_influxdb_spooled_points_total", sink=sink) or 0.0 for sink in SINKS}


def batches_ever(spool: Path) -> int:
    """How many readings and charges the spool has ever stored, in all lives: its file numbers them."""
    with closing(sqlite3.connect(spool)) as db:
        found = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batch'").fetchone()
    return int(found[0]) if found else 0  # killed each time before a first reading


def batches_in(victoria: Victoria) -> set[tuple[str, str, int]]:
    """Name, charger and time of the batches that VictoriaMetrics shows."""
    return {
        (name, series["charger"], at)
        for name, field in BATCHES.items()
        for series, times, _ in victoria.export(f"{name}_{field}")
        for at in times
    }


def test_what_was_spooled_arrives_whatever_is_killed(start: Start, tmp_path: Path, state: Path) -> None:
    print(f"CCL_KILLS={KILLS} CCL_SEED={SEED}")  # noqa: T201 - shown by pytest when it fails
    chance = random.Random(SEED)
    influx, victoria = Influx(tmp_path / "influxdb"), Victoria(tmp_path / "victoria")
    reported = dict.fromkeys(SINKS, 0.0)
    with ExitStack() as stack:
        simulators = [stack.enter_context(Simulator(autopilot=False)) for _ in range(3)]
        for database in (influx, victoria):
            stack.callback(database.kill)
            database.start()
        influx.create()
        config = tmp_path / "ccl.yaml"
        chargers = "".join(f"  c{number}: {{url: '{one.url}'}}\n" for number, one in enumerate(simulators))
        entries = (
            "influxdb:\n"
            f"  - {{url: '{influx.url}', version: 1, database: evse, name: influx, interval: 1s, timeout: 2s}}\n"
            f"  - {{url: '{victoria.url}', version: 2, org: vm, bucket: x, name: victoria, interval: 1s}}\n"
        )
        config.write_text(f"chargers:\n{chargers}{entries}")
        arguments = ("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")
        with coming_and_going((influx, victoria), random.Random(SEED + 1)):
            for _ in range(KILLS):
                process = start(*arguments)
                url = process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]
                end = monotonic() + chance.uniform(0, 3)
                last = dict.fromkeys(SINKS, 0.0)
                while monotonic() < end:
                    last = spooled(metrics(url))
                    sleep(chance.uniform(0, 0.05))
                process.process.kill()
                process.stop()
                reported = {sink: reported[sink] + last[sink] for sink in SINKS}

        # Without chargers nothing is added any more, and what waits is sent.
        config.write_text(f"probe: {{allow_networks: [192.0.2.1]}}\n{entries}")
        process = start(*arguments)
        url = process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]
        shown, began = metrics(url), monotonic()
        while any(shown.get("ccl_influxdb_spool_points", sink=sink) != 0 for sink in SINKS) or not all(
            shown.get("ccl_influxdb_spool_bytes", sink=sink) for sink in SINKS
        ):
            assert monotonic() - began < 120, "what waits is not sent"
            sleep(0.05)
            shown = metrics(url)
        for sink in SINKS:
            assert shown.get("ccl_influxdb_rejected_points_total", sink=sink) == 0
            assert shown.get("ccl_influxdb_dropped_points_total", sink=sink) == 0
            assert shown.get("ccl_influxdb_spool_damaged_total", sink=sink) == 0
        process.stop()
        stored = influx.query("SELECT * FROM /ccl_.*/")
        ever = {sink: batches_ever(state / f"influxdb-{sink}.db") for sink in SINKS}
        readings = [
            (name, row["charger"], row["time"])
            for name, field in BATCHES.items()
            for row in influx.query(f'SELECT "{field}", charger FROM "{name}"')  # noqa: S608 - names of ours
        ]
        # VictoriaMetrics shows what it took only a moment later, also after a flush.
        began = monotonic()
        while len(in_victoria := batches_in(victoria)) < ever["victoria"] and monotonic() - began < 30:
            sleep(0.2)

    print(f"readings and charges {ever}, points reported {reported}, points in InfluxDB {len(stored)}")  # noqa: T201 - likewise
    assert ever["influx"] >= KILLS / 2, "hardly anything was read: this would prove nothing"
    assert len(readings) == len(set(readings)) == ever["influx"]
    assert len(stored) >= reported["influx"]
    assert len(in_victoria) == ever["victoria"]
