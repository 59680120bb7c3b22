"""A database that was away for long: nothing is lost, it catches up fast, and readings go on meanwhile.

By default a quarter of an hour of a hundred chargers; `CCL_OUTAGE_HOURS=24` is the long form (about a quarter of
an hour on two cores).
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import monotonic, sleep, time
from typing import Literal

import pytest
from helpers.databases import Influx, running
from helpers.workers import polling

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.poll_loop import PollLoop, Source
from ccl_exporter.metrics.families import Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.influxdb.line_protocol import lines
from ccl_exporter.outputs.influxdb.pusher import InfluxPusher
from ccl_exporter.outputs.influxdb.spool import Spool
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.settings import ChargerSettings, InfluxSettings, Module, SpoolSettings
from ccl_exporter.simulator import Simulator

HOURS = float(os.environ.get("CCL_OUTAGE_HOURS", "0.25"))
CHARGERS = 100
INTERVAL = 15.0
LIVE_INTERVAL = 1.0
MODULES: tuple[Literal["core"]] = ("core",)


def moments(count: int) -> list[float]:
    """The times of readings until now, `INTERVAL` apart."""
    end = time() - INTERVAL
    return [end - INTERVAL * number for number in reversed(range(count))]


@pytest.mark.alone
def test_a_day_of_a_hundred_chargers_is_caught_up_while_readings_go_on(tmp_path: Path, state: Path) -> None:
    settings = SpoolSettings(Path("spool.db"))
    with Simulator() as simulator:
        snapshot = Charger(ChargerSettings("one", simulator.url)).read(30)
    found = samples(snapshot, modules=MODULES)
    rounds = round(HOURS * 3600 / INTERVAL)

    # The outage: every reading of every charger is stored, at speed.
    spool = Spool(state / settings.path, settings.max_bytes, settings.max_age)
    spool.open()
    began = monotonic()
    written = [lines(found, f"c{number}", 0) for number in range(CHARGERS)]
    for taken in moments(rounds):
        for number in range(CHARGERS):
            at = round(taken * 1000) + number
            assert spool.put([f"{line[:-1]}{at}" for line in written[number]], taken)
    filled, backlog = monotonic() - began, spool.counts
    spool.close()
    assert backlog.dropped == 0
    a_round = backlog.points / rounds

    reads: dict[str, list[float]] = {}

    def read(
        charger: Charger, timeout: float, modules: Sequence[Module], max_age: float
    ) -> tuple[Snapshot, list[Sample]]:
        reads.setdefault(charger.settings.name, []).append(monotonic())
        return replace(snapshot, taken=time()), found

    chargers = [Charger(ChargerSettings(f"c{number}", f"http://c{number}")) for number in range(CHARGERS)]
    database = Influx(tmp_path / "influxdb")
    entry = InfluxSettings("db", database.url, 1, settings, "evse", interval=LIVE_INTERVAL, modules=MODULES)
    loop = PollLoop(InfluxPusher(entry, state), Source(lambda: chargers, read))

    def metric(name: str) -> float:
        found = {sample.family.name: sample.value for sample in loop.output.samples()}
        return found.get(f"ccl_influxdb_{name}", 0.0)

    with running(database):
        database.create()
        began = monotonic()
        with polling(loop):
            while metric("sent_points_total") < backlog.points:
                assert monotonic() - began < 3600, "it does not catch up"
                sleep(0.05)
            drained = monotonic() - began
            while metric("spool_points") > 0:
                sleep(0.01)
            lost = metric("dropped_points_total") + metric("rejected_points_total")
        count = database.count("ccl_scrape", "up")
        waiting = Spool(state / settings.path, settings.max_bytes, settings.max_age)
        waiting.open()
        left = len(waiting.take(10**9))
        waiting.close()

    taken_rate, sent_rate = a_round / INTERVAL, backlog.points / drained
    gaps = [later - sooner for times in reads.values() for sooner, later in pairwise(times)]
    print(  # noqa: T201 - the figures of the long form
        f"{HOURS:g} h of {CHARGERS} chargers: {backlog.points} points, {backlog.bytes / 1e6:.1f} MB on disk; "
        f"stored at {backlog.points / filled:.0f}/s, sent at {sent_rate:.0f}/s, "
        f"{sent_rate / taken_rate:.0f} times as fast as taken; live readings every {LIVE_INTERVAL:g} s, "
        f"gaps of {median(gaps):.2f} s, at most {max(gaps):.2f} s"
    )
    assert lost == 0
    assert count + left == rounds * CHARGERS + sum(map(len, reads.values()))
    assert sent_rate >= 20 * taken_rate
    # As often as configured; the odd late one of a busy machine would be in time for the interval of the outage.
    assert median(gaps) < 1.2 * LIVE_INTERVAL
    assert max(gaps) < INTERVAL
