"""A slow, partly broken or absent charger: what was read is served, what was not is said, and it comes back."""

from collections.abc import Callable
from time import monotonic

import pytest
from helpers.databases import free_port
from helpers.support import Clock, scrape

from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.simulator import Dialect, Fault, Simulator

PROVEN = Dialect.parse(["wallbox-proven"])


def failed(snapshot: Snapshot) -> set[str]:
    return {document.name for document in snapshot.documents if not document.success}


def test_an_unreachable_charger_is_ccl_up_0_and_none_of_its_other_series(serve: Callable[..., str]) -> None:
    found = scrape(serve("http://127.0.0.1:1"))

    own = {name for name in found.names() if name.startswith("ccl_") and not name.startswith("ccl_exporter_")}
    assert found.get("ccl_up") == 0
    assert found.get("ccl_scrape_document_success", document="devices") == 0
    assert not {name for name in own if not name.startswith(("ccl_scrape_", "ccl_up"))}


def test_a_charger_that_is_switched_on_later_comes_by_itself(serve: Callable[..., str]) -> None:
    port = free_port()
    url = serve(f"http://127.0.0.1:{port}")
    before = scrape(url)
    with Simulator(port=port, autopilot=False):
        first, during = scrape(url), scrape(url)
    after = scrape(url)
    with Simulator(port=port, autopilot=False):
        again = scrape(url)

    assert [found.get("ccl_up") for found in (before, during, after, again)] == [0, 1, 0, 1]
    assert first.get("ccl_plug_energy_joules_total", plug="EVSE.PLUG") is not None
    assert after.get("ccl_plug_energy_joules_total", plug="EVSE.PLUG") is None
    assert again.samples.keys() == during.samples.keys()


def test_a_slow_document_does_not_hide_what_came_before_it(clock: Clock) -> None:
    with Simulator(dialect=PROVEN, autopilot=False, clock=clock) as simulator:
        engine = Engine("test", Transport(simulator.url, clock=clock.running))
        engine.read(60)
        simulator.faults = (Fault.parse("silent@id=Reader"),)
        slow = engine.read(1.0)
        simulator.faults = ()
        healthy = engine.read(60)

    assert slow.up
    assert "Reader" not in slow.answered
    assert failed(slow) >= {"values"}
    assert not failed(healthy)
    assert len(healthy.answered) == 6


def test_a_device_that_is_always_too_slow_starves_no_other(clock: Clock) -> None:
    with Simulator(dialect=PROVEN, autopilot=False, clock=clock) as simulator:
        engine = Engine("test", Transport(simulator.url, clock=clock.running))
        engine.read(60)
        simulator.faults = (Fault.parse("silent@id=CCL1Mini"),)
        engine.read(0.5)
        second = engine.read(0.5)

    assert len(second.answered) == 5


@pytest.mark.parametrize("fault", ["silent", "drip", "drip-headers", "endless"])
def test_the_deadline_is_that_of_the_scraper(serve: Callable[..., str], fault: str) -> None:
    with Simulator(autopilot=False, faults=[Fault.parse(fault)]) as simulator:
        # Without the read at the start, which a scrape may share.
        url = serve(simulator.url, "--poll.fallback-interval", "0s")
        started = monotonic()
        found = scrape(url, timeout=2.0)
        took = monotonic() - started

    assert found.get("ccl_up") == 0
    # Half a second is left for the answer; a busy machine may take more, and a dripping document minutes.
    assert found.get("ccl_scrape_timeout_seconds") == 1.5
    assert took < 15.0


@pytest.mark.parametrize("document", ["chargeInfo", "plugState", "status.xml", "information", "plugInfo"])
@pytest.mark.parametrize("fault", ["garbled", "status-500", "html", "close", "reset", "cut"])
def test_one_broken_document_hides_no_other(document: str, fault: str) -> None:
    with Simulator(autopilot=False, faults=[Fault.parse(f"{fault}@{document}")]) as simulator:
        snapshot = Engine("test", Transport(simulator.url)).read(10)

    name = {"chargeInfo": "charge_info", "plugState": "plug_state", "plugInfo": "plug_info"}.get(document)
    assert failed(snapshot) == {name or document.removesuffix(".xml")}
    assert snapshot.up
    assert len(snapshot.values) == 171


@pytest.mark.parametrize("fault", ["garbled", "status-500", "html", "close", "reset", "cut", "empty"])
def test_a_charger_that_garbles_its_values_is_right_again_at_the_next_scrape(clock: Clock, fault: str) -> None:
    with Simulator(autopilot=False, clock=clock) as simulator:
        engine = Engine("test", Transport(simulator.url, clock=clock.still))
        before = engine.read(10)
        simulator.faults = (Fault.parse(f"{fault}@values.xml"),)
        during = [engine.read(10) for _ in range(3)]
        simulator.faults = ()
        engine.read(10)
        after = engine.read(10)

    assert all("values" in failed(snapshot) or snapshot.values == before.values for snapshot in during)
    assert not failed(after)
    assert after.values == before.values


def test_a_device_with_a_communication_error_shows_its_status_and_nothing_else(serve: Callable[..., str]) -> None:
    with Simulator(autopilot=False, faults=[Fault.parse("device-error:Plug - Meter")]) as simulator:
        found = scrape(serve(simulator.url))

    of_meter = {name for name, labels in found.samples if ("device", "Plug - Meter") in labels}
    assert found.get("ccl_device_up", device="Plug - Meter") == 0
    assert found.get("ccl_device_status", device="Plug - Meter") == 34
    assert of_meter == {"ccl_device_up", "ccl_device_status", "ccl_device_info", "ccl_variable_info"}
    assert found.get("ccl_plug_energy_joules_total", plug="EVSE.PLUG") is not None


def test_a_failure_is_logged_when_it_begins_and_when_it_ends(start: Callable[..., object]) -> None:
    from helpers.support import Process  # noqa: PLC0415 - only this test looks at the log

    with Simulator(autopilot=False) as simulator:
        process = start("serve", simulator.url, "--web.listen-address", "127.0.0.1:0")
        assert isinstance(process, Process)
        url = process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]
        scrape(url)
        simulator.faults = (Fault.parse("garbled@values.xml"),)
        for _ in range(3):
            scrape(url)
        simulator.faults = ()
        scrape(url)
        process.wait_for_log("values can be read again")
        process.stop()

    assert sum("cannot read values" in line for line in process.log) == 1
    assert sum("values can be read again" in line for line in process.log) == 1
