"""A push over HTTP to InfluxDB 2.8 and 3.6, as stand-ins: each in its own way, with what each refuses."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep, time
from typing import Literal

import pytest
from helpers.influx_stand_ins import READ_ONLY, TOKEN, Influx28, Influx36, StandIn, serving
from helpers.workers import supervised

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.influxdb.pusher import InfluxPusher
from ccl_exporter.outputs.output import ChargerReading
from ccl_exporter.settings import InfluxSettings, SpoolSettings


def settings(url: str, version: Literal[2, 3]) -> InfluxSettings:
    spool = SpoolSettings(Path("s.db"))
    return InfluxSettings(
        "db", url, version, spool, org="home", bucket="evse", token=TOKEN, interval=0.1, layout="narrow"
    )


@contextmanager
def pushing(entry: InfluxSettings, state: Path) -> Iterator[InfluxPusher]:
    pusher = InfluxPusher(entry, state)
    assert pusher.is_ready()
    with supervised(*pusher.workers):
        yield pusher
    pusher.stop()
    pusher.close(monotonic() + 10)


def reading(number: int) -> ChargerReading:
    found = [
        Sample(f.UP, (), 1.0),
        Sample(f.PLUG_POWER, ("EVSE.PLUG", ""), 7350.0),
        Sample(f.PLUG_LOCKED, ("EVSE.PLUG",), 1.0),
        *(Sample(f.VARIABLES["volts"], ("Meter", f"V{variable}"), 230.0) for variable in range(20)),
    ]
    return ChargerReading("garage", "http://garage", True, time() + number / 1000, found)


def metric(pusher: InfluxPusher, name: str) -> float:
    return {sample.family.name: sample.value for sample in pusher.samples()}[f"ccl_influxdb_{name}"]


def until(is_so: Callable[[], bool]) -> None:
    began = monotonic()
    while not is_so():
        assert monotonic() - began < 60
        sleep(0.01)


SERVERS: dict[Literal[2, 3], type[StandIn]] = {2: Influx28, 3: Influx36}
PATHS = {2: "/api/v2/write", 3: "/api/v3/write_lp"}


@pytest.mark.parametrize("version", [2, 3])
def test_readings_arrive_but_for_a_field_of_another_type(version: Literal[2, 3], state: Path) -> None:
    server = SERVERS[version](write_seconds=0.0)
    server.columns["evse", "ccl_plug"] = {"power_watts": "string"}
    with serving(server) as url, pushing(settings(url, version), state) as pusher:
        for number in range(5):
            pusher.accept(reading(number))
        until(lambda: metric(pusher, "spool_points") == 0)
        counts = [metric(pusher, f"{name}_points_total") for name in ("spooled", "sent", "rejected")]

    assert counts == [5 * 22, 5 * 21, 5]
    assert server.count("ccl_value", "value") == 5 * 20
    assert server.count("ccl_plug", "locked") == server.count("ccl_scrape", "up") == 5
    assert server.paths == {PATHS[version], "/ping"}


@pytest.mark.parametrize("version", [2, 3])
def test_a_login_that_may_not_write_costs_nothing(
    version: Literal[2, 3], state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = SERVERS[version](write_seconds=0.0)
    with serving(server) as url:
        entry = replace(settings(url, version), token=READ_ONLY)
        with pushing(entry, state) as pusher:
            pusher.accept(reading(0))
            until(lambda: "no permission to write" in caplog.text or "rejects the login" in caplog.text)
            assert metric(pusher, "spool_points") == 22
        with pushing(settings(url, version), state) as pusher:
            until(lambda: metric(pusher, "sent_points_total") == 22)


def test_too_many_databases_cost_nothing_and_no_line_is_blamed(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Influx36(write_seconds=0.0, databases={"a", "b", "c", "d", "e"})
    with serving(server) as url, pushing(settings(url, 3), state) as pusher:
        pusher.accept(reading(0))
        until(lambda: "it refuses everything" in caplog.text)
        assert "would exceed limit of 5 databases" in caplog.text
        server.most_databases = 6
        pusher.accept(reading(1))
        until(lambda: metric(pusher, "sent_points_total") == 2 * 22)
        assert metric(pusher, "rejected_points_total") == 0
        assert metric(pusher, "refusals_total") > 0


def test_another_version_than_is_configured_is_said_once(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Version 2 is accepted by a 3, but it names no bad line: the log advises another configuration."""
    server = Influx36(write_seconds=0.0)
    server.columns["evse", "ccl_plug"] = {"power_watts": "string"}
    with serving(server) as url, pushing(settings(url, 2), state) as pusher:
        for number in range(3):
            pusher.accept(reading(number))
        until(lambda: metric(pusher, "spool_points") == 0)

    said = "the server is InfluxDB 3.6.0, but `version: 2` is configured"
    assert len([record for record in caplog.records if said in record.getMessage()]) == 1
    assert server.count("ccl_plug", "locked") == 3
    assert server.count("ccl_value", "value") == 3 * 20
