"""What `show` asks a charger for, and what it knows of variables that the charger does not describe."""

from collections.abc import Iterator

import pytest

from ccl_exporter.diagnostics.variable_table import chosen_reader
from ccl_exporter.powerstudio.command_reader import CommandReader
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.simulator import Dialect, Simulator
from ccl_exporter.station.rows import variable_rows


@pytest.fixture
def proven() -> Iterator[Simulator]:
    with Simulator(dialect=Dialect.parse(["wallbox-proven"]), autopilot=False) as simulator:
        yield simulator


def test_a_pattern_asks_for_the_descriptions_and_values_of_what_it_shows(proven: Simulator) -> None:
    read = chosen_reader(CommandReader(Transport(proven.url)), ["EVSE.PLUG.AE?"], None, 30)
    assert read is not None
    snapshot = read()
    asked = [request.target.rpartition("/")[2] for request in proven.requests]
    described = [target for target in asked if target.startswith("varInfo.xml")]
    values = [target for target in asked if target.startswith(("values.xml", "deviceState.xml"))]

    assert described == [f"varInfo.xml?var=EVSE.PLUG.{name}" for name in ("AEB", "AEE", "AEP")]
    assert {target.partition("=")[2] for target in values} == {"EVSE"}
    assert {row.title for row in variable_rows(snapshot) if row.variable == "PLUG.AEP"} == {
        "Energy of this charge"
    }


def test_a_device_is_read_alone(proven: Simulator) -> None:
    read = chosen_reader(CommandReader(Transport(proven.url)), [], "Display", 30)
    assert read is not None

    assert {row.device for row in variable_rows(read())} == {"Display"}
    assert not [request.target for request in proven.requests if "EVSE" in request.target]


def test_what_fits_no_id_takes_all_descriptions(proven: Simulator) -> None:
    assert chosen_reader(CommandReader(Transport(proven.url)), ["Energy of*"], None, 30) is None


def test_what_the_engine_does_not_describe_has_title_and_writability_from_the_catalogue() -> None:
    dialect = Dialect.parse(["no-varinfo"])
    with Simulator(dialect=dialect, autopilot=False) as simulator:
        rows = variable_rows(Engine("garage", Transport(simulator.url)).read(60))
    found = {row.id: (row.title, row.writable) for row in rows}

    assert found["Plug - Mode 3.PREDUCTION"] == ("Power reduction", True)
    assert found["EVSE.PLUG.STATE"] == ("State", None)
    assert found["Plug - Meter.VI"] == ("Voltage", None)
    assert sum(title != "" for title, _ in found.values()) > 120
