"""The parts of a running exporter: listed in its metrics, never a reason to be late, gone in time at its end."""

import http.client
import signal
import threading
import time
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from helpers.misbehaving_servers import BODY, dripping_host, unresponsive_host
from helpers.support import OPENMETRICS, Process, Scrape, Start, get, scrape

from ccl_exporter.simulator import Dialect, Simulator

READS = "ccl_exporter_charger_reads_total"
LISTEN = ("--web.listen-address", "127.0.0.1:0")
STOPS_WITHIN = 5.0
"""Seconds in which SIGTERM ends the process in every state."""


@pytest.fixture
def silent() -> Iterator[str]:
    with unresponsive_host() as host:
        yield host


@pytest.fixture
def dripping() -> Iterator[str]:
    with dripping_host() as host:
        yield host


@pytest.fixture
def dripping_body() -> Iterator[str]:
    with dripping_host(head=BODY) as host:
        yield host


def address(process: Process) -> str:
    return process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]


def workers(found: Scrape) -> dict[str, float]:
    return {
        dict(labels)["worker"]: value
        for (name, labels), value in found.samples.items()
        if name == "ccl_exporter_worker_up"
    }


def stopping_seconds(process: Process) -> float:
    began = time.monotonic()
    assert process.stop() == 0, process.log
    return time.monotonic() - began


def ignoring_its_end(url: str) -> None:
    with suppress(OSError, http.client.HTTPException):
        get(url)


def test_each_worker_has_its_metrics(start: Start, tmp_path: Path, silent: str) -> None:
    with Simulator() as charger:
        file = tmp_path / "ccl.yaml"
        file.write_text(
            f"chargers: {{garage: {{url: '{charger.url}'}}}}\n"
            f"influxdb: [{{url: 'http://{silent}', version: 1, database: evse, name: home}}]\n"
            f"mqtt: {{url: 'mqtt://{silent}'}}\n"
        )
        process = start("serve", "--config.file", str(file), *LISTEN)
        url = address(process)
        found = scrape(f"{url}/metrics")
    names = ("inventory", "page", "sessions", "mqtt", "influxdb_push:home", "influxdb_send:home")
    assert {name: value for name, value in workers(found).items() if name in names} == dict.fromkeys(names, 1)
    assert all(found.get("ccl_exporter_worker_restarts_total", worker=name) == 0 for name in names)
    assert get(f"{url}/-/healthy") == "Healthy\n"


def test_serving_begins_before_a_remote_inventory_is_there(start: Start, tmp_path: Path, dripping: str) -> None:
    with Simulator() as charger:
        file = tmp_path / "ccl.yaml"
        file.write_text(
            f"chargers: {{garage: {{url: '{charger.url}'}}}}\n"
            f"chargers_from: {{url: 'http://{dripping}/chargers.yaml'}}\n"
        )
        process = start("serve", "--config.file", str(file), *LISTEN)
        url = address(process)
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(f"{url}/sd")
        assert scrape(f"{url}/probe?target=garage").get("ccl_up") == 1
        # Without an answer in ten seconds Prometheus keeps the list that it has.
        process.wait_for_log("the inventory is invalid")
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(f"{url}/sd")


@pytest.mark.alone
def test_sigterm_ends_the_process_in_time_whatever_it_waits_for(
    start: Start, tmp_path: Path, silent: str, dripping: str, dripping_body: str
) -> None:
    """An inventory, a database and a broker that drip, chargers that say nothing, and people who wait for them."""
    chargers = "".join(f"  silent-{number}: {{url: 'http://{silent}/{number}'}}\n" for number in range(20))
    file = tmp_path / "ccl.yaml"
    file.write_text(
        f"chargers:\n{chargers}"
        f"chargers_from: {{url: 'http://{dripping}/chargers.yaml', interval: 1s}}\n"
        f"influxdb:\n  - {{url: 'http://{dripping}', version: 1, database: evse, name: one, interval: 1s}}\n"
        f"  - {{url: 'http://{silent}', version: 3, bucket: evse, name: two, interval: 1s}}\n"
        f"  - {{url: 'http://{dripping_body}', version: 1, database: evse, name: three, interval: 1s}}\n"
        f"mqtt: {{url: 'mqtt://{dripping}', interval: 1s}}\n"
    )
    process = start("serve", "--config.file", str(file), *LISTEN)
    url = address(process)
    with ExitStack() as asking:
        for number in range(10):
            thread = threading.Thread(target=ignoring_its_end, args=(f"{url}/probe?target=silent-{number}",))
            thread.start()
            asking.callback(thread.join)
        process.process.send_signal(signal.SIGHUP)  # which waits for the inventory, too
        while scrape(f"{url}/metrics").get("ccl_influxdb_spooled_points_total", sink="one") == 0:
            time.sleep(0.1)  # nothing tells from outside that a sender sends
        assert stopping_seconds(process) < STOPS_WITHIN


@pytest.mark.alone
def test_sigterm_ends_a_process_that_has_just_begun(start: Start, tmp_path: Path, dripping: str) -> None:
    file = tmp_path / "ccl.yaml"
    file.write_text(f"chargers_from: {{url: 'http://{dripping}/chargers.yaml'}}\n")
    process = start("serve", "--config.file", str(file), *LISTEN)
    address(process)
    assert stopping_seconds(process) < STOPS_WITHIN


def test_a_first_value_is_confirmed_without_another_scrape(start: Start, tmp_path: Path) -> None:
    with Simulator(dialect=Dialect.parse(["no-charge-points"]), autopilot=False) as simulator:
        (tmp_path / "ccl.yaml").write_text(
            f"chargers: {{garage: {{url: '{simulator.url}'}}, other: {{url: 'http://127.0.0.1:1'}}}}\n"
        )
        url = address(start("serve", "--config.file", str(tmp_path / "ccl.yaml"), *LISTEN))
        first = scrape(f"{url}/probe?target=garage")
        assert first.get("ccl_plug_energy_joules_total", plug="EVSE.PLUG") is None
        # With several chargers /metrics reads none of them.
        while Scrape.of(get(f"{url}/metrics", Accept=OPENMETRICS)).get(READS, charger="garage") != 2:
            time.sleep(0.05)
        second = scrape(f"{url}/probe?target=garage")

    assert second.get("ccl_plug_energy_joules_total", plug="EVSE.PLUG")
