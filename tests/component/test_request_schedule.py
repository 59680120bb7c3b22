"""How much a charger is asked: the first read once, then one request a scrape, two at the most."""

from dataclasses import asdict

import pytest
from helpers.support import Clock

from ccl_exporter.powerstudio.engine import INVENTORY_EVERY, Engine
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.simulator import Dialect, Fault, Simulator


class Scrapes:
    """An engine that is read every so many seconds of the clock, and what each read asked for."""

    def __init__(self, simulator: Simulator, clock: Clock) -> None:
        self.engine = Engine("test", Transport(simulator.url, clock=clock.still))
        self._simulator = simulator
        self._clock = clock
        self.asked: list[list[str]] = []

    def read(self, seconds: float = 15) -> Snapshot:
        self._simulator.clear_requests()
        snapshot = self.engine.read(60)
        asked = [request.target.partition("?")[0].rpartition("/")[2] for request in self._simulator.requests]
        assert snapshot.requests == len(asked)
        self.asked.append(asked)
        self._clock.at += seconds
        return snapshot

    def until(self, seconds: float, every: float = 15) -> list[Snapshot]:
        return [self.read(every) for _ in range(round(seconds / every))]


@pytest.fixture
def scrapes(wallbox: Simulator, clock: Clock) -> Scrapes:
    return Scrapes(wallbox, clock)


def test_an_idle_scrape_is_one_request_and_once_a_minute_two(scrapes: Scrapes) -> None:
    scrapes.read()
    scrapes.asked.clear()
    scrapes.until(600)

    assert {tuple(asked) for asked in scrapes.asked} == {("values.xml",), ("values.xml", "status.xml")}
    assert sum("status.xml" in asked for asked in scrapes.asked) == 10


def test_the_first_read_of_a_friendly_engine_is_ten_requests(scrapes: Scrapes) -> None:
    snapshot = scrapes.read()

    assert len(snapshot.values) == 171
    assert len(scrapes.asked[0]) == 10


def test_a_whole_charge_never_takes_more_than_two_requests_a_scrape(
    scrapes: Scrapes, wallbox: Simulator, clock: Clock
) -> None:
    plug = wallbox.site.plugs[0]
    scrapes.until(60)
    scrapes.asked.clear()
    plug.plug_in(need_wh=1500)
    scrapes.read()
    plug.authorise()
    snapshots = scrapes.until(1500)
    plug.unplug()
    snapshots += scrapes.until(120)

    assert max(len(asked) for asked in scrapes.asked) == 2
    assert any("charge_info" in {document.name for document in snapshot.documents} for snapshot in snapshots)
    assert sum("status.xml" in asked for asked in scrapes.asked) >= len(scrapes.asked) * 15 / 60 / 2


@pytest.mark.parametrize("every", [5, 15, 60])
def test_what_is_said_of_a_charge_is_never_older_than_one_scrape(
    scrapes: Scrapes, wallbox: Simulator, every: int
) -> None:
    plug = wallbox.site.plugs[0]
    scrapes.read(every)
    plug.plug_in(need_wh=4000)
    plug.authorise()
    before = 0.0
    for _ in range(40):
        now = plug.charge_wh
        charge = scrapes.read(every).charges["EVSE.PLUG"]

        assert charge.watt_hours is not None
        assert before - 11 <= charge.watt_hours <= now + 11  # the meter counts tens of watt-hours
        before = now


def test_a_turn_of_a_charge_is_seen_in_the_scrape_in_which_the_values_show_it(
    scrapes: Scrapes, wallbox: Simulator
) -> None:
    plug = wallbox.site.plugs[0]
    scrapes.until(60)
    plug.plug_in(need_wh=3000)
    plug.authorise()
    scrapes.until(120)
    plug.stop(reason=5)
    seen = [
        (snapshot.values["EVSE.PLUG.STOPPED"], snapshot.charges["EVSE.PLUG"].stop_reason)
        for snapshot in scrapes.until(60)
    ]

    assert (6.0, 5) in seen
    assert {variable - 1 for variable, _ in seen if isinstance(variable, float)} == {reason for _, reason in seen}


def test_on_the_ladder_of_single_devices_six_requests_take_the_place_of_one(clock: Clock) -> None:
    with Simulator(dialect=Dialect.parse(["wallbox-proven"]), autopilot=False, clock=clock) as simulator:
        scrapes = Scrapes(simulator, clock)
        scrapes.read()
        scrapes.asked.clear()
        scrapes.until(300)

    assert {len(asked) for asked in scrapes.asked} == {6, 7}


def test_the_hourly_reading_of_the_inventory_takes_one_more_request_a_scrape(
    scrapes: Scrapes, wallbox: Simulator, clock: Clock
) -> None:
    scrapes.read()
    clock.at += INVENTORY_EVERY
    scrapes.asked.clear()
    scrapes.until(300)

    assert max(len(asked) for asked in scrapes.asked) == 2
    assert {"devices.xml", "deviceInfo.xml", "varInfo.xml", "plugInfo.xml"} <= {
        name for asked in scrapes.asked for name in asked
    }


def test_the_hourly_reading_leaves_an_inventory_that_is_the_same(scrapes: Scrapes, clock: Clock) -> None:
    # With it everything that was worked out of it stays.
    before = scrapes.read().inventory
    clock.at += INVENTORY_EVERY

    assert {id(snapshot.inventory) for snapshot in scrapes.until(300)} == {id(before)}


def test_a_reboot_makes_everything_be_read_again(scrapes: Scrapes, wallbox: Simulator) -> None:
    scrapes.until(60)
    wallbox.site.reboot()
    scrapes.asked.clear()
    scrapes.until(120)

    again = [asked for asked in scrapes.asked if "varInfo.xml" in asked]
    assert len(again) == 1


def test_events_alone_make_nothing_be_read_again(scrapes: Scrapes, wallbox: Simulator) -> None:
    scrapes.until(60)
    wallbox.site.plugs[0].fail(1 << 5)
    scrapes.asked.clear()
    scrapes.until(180)

    assert not [asked for asked in scrapes.asked if "varInfo.xml" in asked]


def test_a_device_that_vanishes_and_returns_is_noticed_both_times(scrapes: Scrapes, wallbox: Simulator) -> None:
    everything = scrapes.read()
    wallbox.site.remove_device("Reader")
    without = scrapes.until(120)[-1]
    wallbox.site.restore_device("Reader")
    again = scrapes.until(240)[-1]

    assert "Reader" not in {device.id for device in without.inventory.devices}
    assert not [name for name in without.values if name.startswith("Reader.")]
    assert asdict(again.inventory) == asdict(everything.inventory)
    assert again.values.keys() == everything.values.keys()


def test_a_variable_that_appears_is_understood_like_the_others(scrapes: Scrapes, wallbox: Simulator) -> None:
    wallbox.site.remove_device("Plug - Meter")
    scrapes.read()
    wallbox.site.restore_device("Plug - Meter")
    wallbox.site.new_configuration()
    last = scrapes.until(120)[-1]

    assert last.inventory.variables["Plug - Meter.VI"].unit == "#V"


def test_discovery_goes_on_where_the_deadline_stopped_it(clock: Clock) -> None:
    dialect = Dialect.parse(["wallbox-proven"])
    with Simulator(dialect=dialect, autopilot=False, clock=clock, latency=0.01) as simulator:
        engine = Engine("test", Transport(simulator.url, clock=clock.running))
        targets: list[str] = []
        settled = []
        for _ in range(12):
            simulator.clear_requests()
            snapshot = engine.read(0.8)
            targets += [request.target for request in simulator.requests if "varInfo" in request.target]
            settled.append(len(snapshot.inventory.settled))
            if settled[-1] == 171:
                break

        assert snapshot.up
        assert settled[0] < 171 == settled[-1]
        asked_twice = {target for target in targets if targets.count(target) > 1}
        assert len(asked_twice) <= len(settled), "only what the deadline cut off is asked again"


def test_until_its_description_was_read_a_variable_waits_and_core_metrics_do_not(clock: Clock) -> None:
    from ccl_exporter.metrics.samples import samples  # noqa: PLC0415 - the only test here that looks at samples

    faults = [Fault.parse("silent@varInfo.xml")]
    dialect = Dialect.parse(["wallbox-proven"])
    with Simulator(dialect=dialect, autopilot=False, clock=clock, faults=faults) as simulator:
        snapshot = Engine("test", Transport(simulator.url, clock=clock.running)).read(1.5)
        found = {(sample.family.name, sample.labels) for sample in samples(snapshot)}

    assert not snapshot.inventory.settled & {"EVSE.PLUG.AE"}
    assert ("ccl_variable_joules_total", ("EVSE", "PLUG.AE")) not in found
    assert ("ccl_plug_energy_joules_total", ("EVSE.PLUG",)) in found
