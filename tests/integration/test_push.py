"""Readings in real databases: written by the installed command, read back by the database's own means."""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from databases import Influx, Victoria
from support import OPENMETRICS, Scrape, Start, get

from ccl_exporter.simulator import Simulator


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Influx]:
    database = Influx(tmp_path / "influxdb")
    database.start()
    database.create()
    yield database
    database.kill()


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[Victoria]:
    database = Victoria(tmp_path / "victoria")
    database.start()
    yield database
    database.kill()


def until(true: Callable[[], bool], what: str) -> None:
    """Ask until it is so; neither database has an event to wait for."""
    began = monotonic()
    while not true():
        assert monotonic() - began < 60, what
        sleep(0.1)


def own_metrics(url: str) -> Scrape:
    return Scrape.of(get(url, Accept=OPENMETRICS))


def test_one_configuration_fills_an_influxdb_and_a_victoriametrics_side_by_side(
    influx: Influx, victoria: Victoria, start: Start, tmp_path: Path
) -> None:
    with Simulator(autopilot=False) as garage, Simulator("twin", autopilot=False) as car_park:
        config = tmp_path / "ccl.yaml"
        config.write_text(
            f"chargers: {{garage: {{url: '{garage.url}'}}, car-park: {{url: '{car_park.url}'}}}}\n"
            "influxdb:\n"
            f"  - {{url: '{influx.url}', version: 1, database: evse, interval: 1s}}\n"
            f"  - {{url: '{victoria.url}', version: 2, org: vm, bucket: evse, name: victoria, interval: 1s}}\n"
        )
        process = start("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")
        url = process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]
        until(lambda: influx.count("ccl_scrape", "up") >= 6, "InfluxDB has no readings")
        until(lambda: any(len(times) >= 3 for _, times, _ in victoria.export("ccl_scrape_up")), "no readings")
        shown = own_metrics(url)
        assert process.stop() == 0

    plugs = influx.query('SELECT last("energy_joules_total") FROM ccl_plug GROUP BY charger, plug')
    assert {(row["charger"], row["plug"]) for row in plugs} == {
        ("garage", "EVSE.PLUG"),
        ("car-park", "Poste Été.PLUG_A"),
        ("car-park", "Poste Été.PLUG_B"),
    }
    (state,) = influx.query("SELECT last(state), state_text FROM ccl_plug WHERE charger = 'garage'")
    assert state["state_text"] == "available"
    energy = {
        (series["charger"], series["plug"]) for series, _, _ in victoria.export("ccl_plug_energy_joules_total")
    }
    assert energy == {(row["charger"], row["plug"]) for row in plugs}
    for sink in (f"127.0.0.1:{influx.port}", "victoria"):
        spooled = shown.get("ccl_influxdb_spooled_points_total", sink=sink)
        assert spooled is not None
        assert spooled > 0
        assert shown.get("ccl_influxdb_rejected_points_total", sink=sink) == 0
        assert shown.get("ccl_influxdb_dropped_points_total", sink=sink) == 0
