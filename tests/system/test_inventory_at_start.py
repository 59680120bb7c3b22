"""With one charger `serve` reads the inventory by itself, keeps it, and knows it at the next start."""

import re
from pathlib import Path

import pytest
from helpers.support import Start, get, scrape

from ccl_exporter.simulator import Dialect, Fault, Simulator

ANY_PORT = ("--web.listen-address", "127.0.0.1:0")
METRICS = r"http://127\.0\.0\.1:\d+/metrics"
PROVEN = Dialect.parse(["wallbox-proven"])


def inventory_requests(simulator: Simulator) -> list[str]:
    documents = r"(devices|deviceInfo|varInfo|plugInfo|information)\.xml"
    return [request.target for request in simulator.requests if re.search(documents, request.target)]


def test_the_inventory_is_read_without_a_scrape_and_known_at_the_next_start(start: Start, state: Path) -> None:
    with Simulator(dialect=PROVEN, autopilot=False) as simulator:
        first = start("serve", simulator.url, *ANY_PORT)
        begun = first.wait_for_log("reading the inventory of 6 devices")
        ended = first.wait_for_log("the inventory was read: 171 variables")
        url = first.line(METRICS)[0]
        read = len(inventory_requests(simulator))
        shown = scrape(url)
        first.stop()
        (file,) = (state / "chargers").iterdir()
        simulator.clear_requests()
        second = start("serve", simulator.url, *ANY_PORT)
        second.wait_for_log("its inventory is known")
        again = scrape(second.line(METRICS)[0])
        second.stop()

        assert inventory_requests(simulator) == []

    assert first.log.index(begun) < first.log.index(ended)
    assert read > 170
    assert shown.get("ccl_exporter_charger_reads_total", charger=simulator.url.partition("//")[2]) is not None
    assert file.stat().st_mode & 0o077 == 0
    variables = {key for key in shown.samples if key[0].startswith("ccl_variable_")}
    assert len(variables) > 250
    assert {key for key in again.samples if key[0].startswith("ccl_variable_")} >= variables


def test_core_metrics_do_not_wait_for_descriptions(start: Start) -> None:
    """The descriptions do not come at all here."""
    faults = [Fault.parse("silent@varInfo.xml")]
    with Simulator(dialect=PROVEN, autopilot=False, faults=faults) as simulator:
        process = start("serve", simulator.url, *ANY_PORT)
        shown = scrape(process.line(METRICS)[0])

    assert shown.get("ccl_up") == 1
    assert shown.get("ccl_plug_energy_joules_total", plug="EVSE.PLUG") is not None
    assert not [
        key for key in shown.samples if ("variable", "PAE") in key[1] and key[0].startswith("ccl_variable")
    ]


@pytest.mark.parametrize("content", ["{", "", '{"format": 1}'])
def test_a_damaged_file_is_said_once_and_replaced(start: Start, state: Path, content: str) -> None:
    with Simulator(autopilot=False) as simulator:
        start("serve", simulator.url, *ANY_PORT).wait_for_log("the inventory was read")
        (file,) = (state / "chargers").iterdir()
        good = file.read_text()
        file.write_text(content)
        process = start("serve", simulator.url, *ANY_PORT)
        process.wait_for_log("the inventory was read")
        get(process.line(METRICS)[0])
        process.stop()

    assert len([line for line in process.log if "cannot be used" in line]) == 1
    assert len(file.read_text()) == len(good)


def test_several_chargers_are_not_read_before_a_scrape(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "ccl.yaml"
    with Simulator(autopilot=False) as one, Simulator(autopilot=False) as two:
        config.write_text(f"chargers: {{one: {{url: '{one.url}'}}, two: {{url: '{two.url}'}}}}\n")
        process = start("serve", "--config.file", str(config), *ANY_PORT)
        url = process.line(METRICS)[0]
        get(url.replace("/metrics", "/probe?target=one"))

        assert one.requests
        assert not two.requests
