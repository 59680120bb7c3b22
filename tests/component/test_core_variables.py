"""`module=core` costs the charger less and says the same."""

import urllib.request

import pytest
from helpers.dialects import ANSWERING, LOGIN
from helpers.support import Clock

from ccl_exporter.exporter.charger import SHARED_FOR, Charger
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.powerstudio.engine import SLOW
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.simulator import Dialect, Simulator
from ccl_exporter.station.judge import core_variables

NO_PLUG_INFO = ("no-charge-points",)


def meaning(snapshot: Snapshot) -> set[Sample]:
    """What is said of plugs and station."""
    return {sample for sample in samples(snapshot, modules=("core",)) if sample.family in f.CORE}


def settled(simulator: Simulator, clock: Clock) -> Charger:
    """A charger that has read everything once, in both modules."""
    charger = Charger(ChargerSettings("evse", simulator.url, LOGIN), clock=clock.still)
    for wanted in (core_variables, None, core_variables):
        for _ in range(6):
            charger.read(60, wanted)
            clock.at += SHARED_FOR * 2
    return charger


@pytest.mark.parametrize("model", ["wallbox", "twin"])
@pytest.mark.parametrize("dialect", ANSWERING)
def test_it_says_the_same_as_the_meaning_of_a_full_reading(model: str, dialect: str, clock: Clock) -> None:
    with Simulator(
        model,
        dialect=Dialect.parse([dialect]),
        autopilot=False,
        clock=clock,
        username=LOGIN.username,
        password=LOGIN.password,
    ) as simulator:
        simulator.site.plugs[0].plug_in()
        simulator.site.plugs[0].authorise()
        clock.at += 600
        charger = settled(simulator, clock)
        at = clock.at
        full = charger.read(60)
        clock.at = at + SHARED_FOR * 2
        less = charger.read(60, core_variables)

    assert full.up
    assert less.up
    assert meaning(full)
    varying = {sample.family for sample in meaning(full) ^ meaning(less)}
    assert len(less.values) <= len(full.values)
    assert {(sample.family.name, sample.labels) for sample in meaning(less)} == {
        (sample.family.name, sample.labels) for sample in meaning(full)
    }
    # The simulated seconds between the two readings go on charging.
    assert varying <= {
        *(f.PLUG_ENERGY, f.PLUG_POWER, f.PLUG_CURRENT, f.PLUG_VOLTAGE, f.CHARGE_ENERGY, f.CHARGE_DURATION),
        *(f.STATION_TEMPERATURE, f.STATION_CLOCK, f.PLUG_METER_DIFFERENCE),
    }


def test_a_device_that_is_not_asked_is_not_reported_as_unavailable(wallbox: Simulator, clock: Clock) -> None:
    less = settled(wallbox, clock).read(60, core_variables)

    device_up = {sample.labels[0]: sample.value for sample in samples(less) if sample.family is f.DEVICE_UP}
    assert device_up == {"EVSE": 1, "CCL1Mini": 1, "Plug - Mode 3": 1}


@pytest.mark.parametrize("charging", [False, True], ids=["idle", "charging"])
def test_a_scrape_is_less_than_three_kilobytes_on_average_with_its_questions(
    charging: bool, wallbox: Simulator, clock: Clock
) -> None:
    charger = settled(wallbox, clock)
    if charging:
        wallbox.site.plugs[0].plug_in()
        wallbox.site.plugs[0].authorise()
        clock.at += 600
        charger.read(60, core_variables)
    sizes = []
    for _ in range(40):
        clock.at += 15
        wallbox.clear_requests()
        assert charger.read(60, core_variables).up
        targets = [request.target for request in wallbox.requests]
        bodies = [urllib.request.urlopen(f"{wallbox.url}/{target.lstrip('/')}").read() for target in targets]
        sizes.append(sum(map(len, targets)) + sum(map(len, bodies)))

    assert sum(sizes) / len(sizes) < 3000


def test_what_hardly_changes_is_asked_for_once_a_minute(wallbox: Simulator, clock: Clock) -> None:
    charger = settled(wallbox, clock)
    asked = []
    for _ in range(int(SLOW * 10 / 15)):
        clock.at += 15
        wallbox.clear_requests()
        snapshot = charger.read(60, core_variables)
        asked.append("INTENSITY" in wallbox.requests[0].target)
        assert snapshot.values["Plug - Mode 3.INTENSITY"] == 32

    assert sum(asked) == 10


def test_where_several_cannot_be_asked_for_at_once_it_asks_by_device(clock: Clock) -> None:
    with Simulator(dialect=Dialect.parse(["wallbox-proven"]), autopilot=False, clock=clock) as simulator:
        charger = settled(simulator, clock)
        simulator.clear_requests()
        clock.at += 2
        less = charger.read(60, core_variables)
        targets = [request.target for request in simulator.requests]

    assert less.up
    assert [
        target.partition("=")[2] for target in targets if "values.xml?id=" in target or "deviceState" in target
    ]
    assert not [target for target in targets if "Display" in target or "Reader" in target]


def test_a_change_of_the_limit_shows_at_once(wallbox: Simulator, clock: Clock) -> None:
    charger = settled(wallbox, clock)
    wallbox.site.set_value("Plug - Mode 3.PREDUCTION", 50.0)
    clock.at += 15

    found = {sample.family: sample.value for sample in meaning(charger.read(60, core_variables))}

    assert found[f.PLUG_CURRENT_LIMIT] == 16
