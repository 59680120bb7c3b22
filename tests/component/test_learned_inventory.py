"""What was learned of a charger in an earlier run: used while its change stamps are the same, not otherwise."""

import threading
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from helpers.support import Clock

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.metrics.samples import samples
from ccl_exporter.powerstudio.command_reader import read_variable
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.learned import LearnedFile
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.simulator import Dialect, Fault, Simulator
from ccl_exporter.simulator.dialects import NAMES

URL = "http://garage"
PROVEN = Dialect.parse(["wallbox-proven"])


def read(simulator: Simulator, folder: Path) -> tuple[Snapshot, list[str]]:
    """A first read by a new process, and the documents that it asked for."""
    simulator.clear_requests()
    with closing(Transport(simulator.url)) as transport:
        snapshot = Engine("garage", transport, LearnedFile(folder, URL)).read(60)
    return snapshot, documents(simulator)


def documents(simulator: Simulator) -> list[str]:
    return [request.target.partition("?")[0].rpartition("/")[2] for request in simulator.requests]


@pytest.mark.parametrize(
    "dialect", ["full", "amp-only", "single", "no-separator", "no-varinfo", "latin-1", "no-plug-info"]
)
def test_a_second_start_asks_for_values_and_knows_the_rest(tmp_path: Path, dialect: str) -> None:
    with Simulator(dialect=Dialect.parse([dialect]), autopilot=False) as simulator:
        first, _ = read(simulator, tmp_path)
        second, asked = read(simulator, tmp_path)

    assert second.up
    assert asdict(second.inventory) == asdict(first.inventory)
    assert second.values.keys() == first.values.keys()
    assert {document.name for document in second.documents} == {document.name for document in first.documents}
    assert not {"devices.xml", "deviceInfo.xml", "varInfo.xml", "plugInfo.xml", "information.xml"} & set(asked)


def test_of_the_proven_wallbox_the_first_read_is_nine_requests(tmp_path: Path) -> None:
    with Simulator(dialect=PROVEN, autopilot=False) as simulator:
        read(simulator, tmp_path)
        second, asked = read(simulator, tmp_path)

    assert asked == ["status.xml", *["deviceState.xml"] * 6, "chargeInfo.xml", "plugState.xml"]
    assert {sample.family.name for sample in samples(second)} >= {
        "ccl_station_info",
        "ccl_plug_power_watts",
        "ccl_charge_energy_joules",
    }


def test_a_charger_that_was_started_again_is_read_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with Simulator(autopilot=False) as simulator:
        _, first = read(simulator, tmp_path)
        simulator.site.reboot()
        _, second = read(simulator, tmp_path)

    assert second == ["status.xml", *(name for name in first if name != "status.xml")]
    assert "garage: has changed since the last run" in caplog.messages


def test_another_charger_at_the_address_is_read_anew(tmp_path: Path) -> None:
    with Simulator(autopilot=False) as one, Simulator("twin", autopilot=False, seed=2) as other:
        read(one, tmp_path)
        replaced, _ = read(other, tmp_path)
        again, asked = read(other, tmp_path)
        alone = Engine("other", Transport(other.url)).read(60)

    assert asdict(replaced.inventory) == asdict(again.inventory) == asdict(alone.inventory)
    assert "devices.xml" not in asked


def test_an_engine_without_change_stamps_is_read_anew_each_time(tmp_path: Path) -> None:
    with Simulator(dialect=Dialect.parse(["no-status"]), autopilot=False) as simulator:
        _, first = read(simulator, tmp_path)
        _, second = read(simulator, tmp_path)

    assert second == first
    assert not (tmp_path / "chargers").exists()


def test_a_damaged_file_costs_a_reading_of_the_inventory(tmp_path: Path) -> None:
    with Simulator(autopilot=False) as simulator:
        first, asked = read(simulator, tmp_path)
        (file,) = (tmp_path / "chargers").iterdir()
        file.write_text(file.read_text().replace("#WH", "#VA"))
        second, again = read(simulator, tmp_path)
        _, third = read(simulator, tmp_path)

    assert again == asked
    assert asdict(second.inventory) == asdict(first.inventory)
    assert "devices.xml" not in third


def test_a_change_stamp_that_does_not_come_is_no_unreachable_charger(tmp_path: Path, clock: Clock) -> None:
    with Simulator(autopilot=False, clock=clock) as simulator:
        read(simulator, tmp_path)
        simulator.faults = [Fault.parse("silent@status.xml")]
        snapshot = Engine("garage", Transport(simulator.url), LearnedFile(tmp_path, URL)).read(0.5)

    assert snapshot.up


def test_a_charger_that_is_unreachable_at_first_is_known_when_it_comes(tmp_path: Path) -> None:
    with Simulator(autopilot=False) as simulator:
        read(simulator, tmp_path)
        engine = Engine("garage", Transport(simulator.url), LearnedFile(tmp_path, URL))
        simulator.faults = [Fault.parse("close")]
        absent = engine.read(30)
        simulator.faults = []
        simulator.clear_requests()
        present = engine.read(30)

    assert (absent.up, present.up) == (False, True)
    assert not absent.inventory.devices
    assert "devices.xml" not in documents(simulator)


def test_a_command_asks_for_no_more_than_a_value(tmp_path: Path) -> None:
    with Simulator(dialect=PROVEN, autopilot=False) as simulator:
        read(simulator, tmp_path)
        simulator.clear_requests()
        snapshot = read_variable(Transport(simulator.url), "EVSE.PLUG.AE", 30, LearnedFile(tmp_path, URL))

    assert documents(simulator) == ["status.xml", "deviceState.xml"]
    assert snapshot.inventory.variables["EVSE.PLUG.AE"].unit == "#WH"
    assert isinstance(snapshot.values["EVSE.PLUG.AE"], float)


# Descriptions that a read leaves for later


def charger(simulator: Simulator, folder: Path | None = None) -> Charger:
    """One whose reads leave all descriptions for later."""
    return Charger(ChargerSettings("garage", simulator.url), folder, describe=0.0)


def test_a_read_does_not_wait_for_descriptions_and_has_all_core_metrics(tmp_path: Path) -> None:
    with Simulator(dialect=PROVEN, autopilot=False) as simulator:
        box = charger(simulator, tmp_path)
        first = box.read(30)
        requests = len(simulator.requests)
        had_more = box.has_more_to_learn
        box.learn()
        last = box.read(30, oldest=0.0)
        file = LearnedFile(tmp_path, simulator.url).load()

    def core(snapshot: Snapshot) -> set[tuple[str, tuple[str, ...]]]:
        found = {(sample.family.name, sample.labels) for sample in samples(snapshot, modules=("core",))}
        return {key for key in found if key[0].startswith(("ccl_plug_", "ccl_charge_", "ccl_station_"))}

    assert requests == 20
    assert core(first) == core(last)
    assert len(core(first)) > 20
    assert had_more
    assert not first.inventory.settled
    assert len(last.inventory.settled) == 171
    assert not box.has_more_to_learn
    assert file is not None


def test_others_read_while_the_inventory_is_read() -> None:
    with Simulator(dialect=PROVEN, autopilot=False, latency=0.002) as simulator:
        box = charger(simulator)
        box.read(30)
        learning = threading.Thread(target=box.learn)
        learning.start()
        while len(simulator.requests) < 25:
            pass
        snapshot = box.read(30, oldest=0.0)
        had_more = box.has_more_to_learn
        learning.join()

    assert snapshot.up
    assert had_more
    assert not box.has_more_to_learn


def test_an_inventory_is_not_read_on_while_the_charger_does_not_answer() -> None:
    with Simulator(dialect=PROVEN, autopilot=False) as simulator:
        box = charger(simulator)
        box.read(30)
    box.learn()
    stalled = box.has_more_to_learn
    with Simulator(dialect=PROVEN, autopilot=False, port=int(simulator.url.rpartition(":")[2])):
        box.read(30, oldest=0.0)

    assert (stalled, box.has_more_to_learn) == (False, True)


@pytest.mark.parametrize("dialect", sorted(name for name, named in NAMES.items() if "auth" not in named.changes))
def test_no_variable_changes_its_family_while_the_inventory_is_read(dialect: str) -> None:
    """`Plug - Meter.PAE` was a gauge until its description came, and a counter then."""
    families: dict[tuple[str, ...], set[str]] = {}

    def note(snapshot: Snapshot) -> None:
        for sample in samples(snapshot, modules=("variables",)):
            if sample.family.name.startswith("ccl_variable_") and sample.family.name != "ccl_variable_info":
                families.setdefault(sample.labels, set()).add(sample.family.name)

    with Simulator(dialect=Dialect.parse([dialect]), autopilot=False) as simulator:
        engine = Engine("garage", Transport(simulator.url))
        while not engine.is_complete:
            note(engine.read(30, describe=0.0))
            for _ in range(15):
                engine.learn(30)
        last = engine.read(30)
        note(last)

    assert len(last.inventory.settled) == len(last.values)
    assert len(families) > 100
    assert {labels: names for labels, names in families.items() if len(names) > 1} == {}
