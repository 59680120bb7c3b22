"""A day for real: Prometheus and Alertmanager as deployed watch a running exporter, sixty times as fast.

Their files differ from those of deploy/prometheus in durations and addresses alone.
First nothing happens but charges, then one thing breaks after the other.
The normal stretch is a fifth of an hour; `CCL_LIVE_HOURS=24` makes it a day, in half an hour.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import pytest
from helpers.alerting import PATIENCE, Receiver, alertmanager, await_alert, prometheus_files, receiver
from helpers.databases import free_port
from helpers.prometheus import await_value, query, server_of
from helpers.support import Process, Start, get

from ccl_exporter.simulator import Dialect, Fault, Simulator

SPEED = 60.0
HOURS = float(os.environ.get("CCL_LIVE_HOURS", "0.2"))
MINUTE, HOUR = 60.0, 3600.0
PLUG = "EVSE.PLUG"
SUPPLY, BEACON = 1 << 4, 1 << 2
"""Error bits of a plug."""


@dataclass
class Watched:
    """Three chargers, of which one is being worked on, and who watches them."""

    garage: Simulator
    street: Simulator
    config: Path
    start: Start
    exporter: Process
    address: str
    prometheus: str
    alertmanager: str
    receiver: Receiver

    def restart(self) -> None:
        self.exporter = _serve(self.start, self.config, self.address)


@pytest.fixture
def watched(tmp_path: Path, start: Start) -> Iterator[Watched]:
    with ExitStack() as running:
        garage, street = (
            running.enter_context(Simulator(autopilot=False, speed=SPEED, dialect=Dialect.parse(("patched",))))
            for _ in range(2)
        )
        config = tmp_path / "ccl.yaml"
        config.write_text(
            "chargers:\n"
            f"  garage: {{url: '{garage.url}', labels: {{site: home}}}}\n"
            f"  street: {{url: '{street.url}', labels: {{site: 'the \"old\" town'}}}}\n"
            f"  cellar: {{url: 'http://127.0.0.1:1', labels: {{planned_outage: new cable}}}}\n"
        )
        address = f"127.0.0.1:{free_port()}"
        exporter = _serve(start, config, address)
        hook = running.enter_context(receiver())
        manager = running.enter_context(alertmanager(tmp_path, SPEED, hook.url))
        files = prometheus_files(tmp_path, SPEED, address, manager.removeprefix("http://"))
        lookback = f"--query.lookback-delta={round(5 * MINUTE * 1000 / SPEED)}ms"
        prometheus = running.enter_context(server_of(files, tmp_path, lookback))
        yield Watched(garage, street, config, start, exporter, address, prometheus, manager, hook)


def _serve(start: Start, config: Path, address: str) -> Process:
    process = start("serve", "--config.file", str(config), "--web.listen-address", address)
    process.line(f"http://{address}/metrics")
    return process


def test_normal_life_raises_no_alert_and_each_fault_arrives_and_goes(watched: Watched) -> None:
    receiver = watched.receiver
    _are_found_and_read(watched)

    _live_normally(watched)

    assert receiver.alarms() == set()
    # The charger that is worked on has been away all the time, and no alert is sent.
    cellar = await_alert(
        watched.alertmanager, lambda _: True, alertname="CclChargerUnreachable", instance="cellar"
    )
    assert [one["name"] for one in cellar["receivers"]] == ["none"]

    # A plug has a fault, while that of another charger comes and goes.
    watched.garage.site.plugs[0].fail(SUPPLY)
    _flap(watched, watched.street, "street")
    fault = receiver.wait("firing", alertname="CclPlugFault", instance="garage")
    assert fault == {
        "alertname": "CclPlugFault",
        "severity": "critical",
        "job": "evse",
        "instance": "garage",
        "exporter": watched.address,
        "site": "home",
        "plug": PLUG,
        "ccl_plug_error": "supply",
    }
    flapping = receiver.wait("firing", alertname="CclFaultFlapping", instance="street")
    assert (flapping["severity"], flapping["site"]) == ("warning", 'the "old" town')
    watched.garage.site.plugs[0].fail(0)

    # A charger takes requests and does not answer: what else is said of it is held back.
    watched.street.faults = (Fault("silent"),)
    away = receiver.wait("firing", alertname="CclChargerUnreachable", instance="street")
    assert (away["severity"], away["exporter"]) == ("warning", watched.address)
    _is_held_back_by(watched, "CclFaultFlapping", "street", "CclChargerUnreachable", "street")
    receiver.wait("resolved", alertname="CclPlugFault", instance="garage")
    watched.street.faults = ()
    _flap(watched, watched.garage, "garage")
    receiver.wait("firing", alertname="CclFaultFlapping", instance="garage")
    receiver.wait("resolved", alertname="CclChargerUnreachable", instance="street")

    # The exporter dies, as by lack of memory: an alert says so, and none names its chargers.
    watched.exporter.process.kill()
    before = len(receiver.received)
    down = receiver.wait("firing", alertname="CclExporterDown")
    assert down == {
        "alertname": "CclExporterDown",
        "severity": "warning",
        "job": "ccl-exporter",
        "instance": watched.address,
        "exporter": watched.address,
    }
    _is_held_back_by(watched, "CclFaultFlapping", "garage", "CclExporterDown", watched.address)
    # Raised by Prometheus after a quarter of an hour, and held back.
    _is_held_back_by(watched, "CclNothingRead", None, "CclExporterDown", watched.address)
    firing = {labels["alertname"] for status, labels in receiver.received[before:] if status == "firing"}
    assert firing == {"CclExporterDown"}
    watched.restart()
    receiver.wait("resolved", alertname="CclExporterDown")

    # Where a scrape is late, a fault that comes and goes may be there for long enough to be sent itself.
    assert receiver.alarms() | {("CclPlugFault", "street")} == {
        ("CclPlugFault", "garage"),
        ("CclPlugFault", "street"),
        ("CclFaultFlapping", "street"),
        ("CclChargerUnreachable", "street"),
        ("CclFaultFlapping", "garage"),
        ("CclExporterDown", watched.address),
    }


def _are_found_and_read(watched: Watched) -> None:
    """The chargers are targets by /sd, with their labels, and what /probe says of them is there."""
    _await(watched, 'ccl_up{job="evse", instance="street", site="the \\"old\\" town"}', 1)
    _await(watched, 'ccl_up{job="evse", instance="garage", site="home"}', 1)
    _await(watched, 'ccl_up{job="evse", instance="cellar", planned_outage="new cable"}', 0)
    _await(watched, 'up{job="ccl-exporter"}', 1)
    targets = json.loads(get(f"{watched.prometheus}/api/v1/targets"))["data"]["activeTargets"]
    assert sorted(one["scrapeUrl"] for one in targets) == sorted(
        [f"http://{watched.address}/metrics"]
        + [f"http://{watched.address}/probe?target={name}" for name in ("cellar", "garage", "street")]
    )


def _live_normally(watched: Watched) -> None:
    """A garage has a car that waits for its cheap hours; at the street one comes after the other."""
    before = _registers(watched)
    began = monotonic()
    length = HOURS * HOUR
    acts = sorted([*_night(watched.garage, length), *_visits(watched.street, length)], key=lambda act: act[0])
    for at, act in acts:
        # The chargers' time goes on by itself.
        sleep(max(0.0, began + at / SPEED - monotonic()))
        act()
    for now, then in zip(_registers(watched), before, strict=True):
        assert now > then


def _registers(watched: Watched) -> list[float]:
    names = ("garage", "street")
    return [
        await_value(watched.prometheus, f'ccl_plug_energy_joules_total{{instance="{name}"}}') for name in names
    ]


Acts = Iterator[tuple[float, Callable[[], None]]]
"""What happens at which simulated second."""


def _night(charger: Simulator, length: float) -> Acts:
    """A plug that is enabled for the sixth part of the time, with a car that comes before and leaves after."""
    mode3, (plug,) = "Plug - Mode 3", charger.site.plugs

    def disabled(value: int) -> None:
        charger.site.force(mode3, [(f"{mode3}.OUT_OF_SERVICE", value)])

    yield 0, lambda: disabled(1)
    yield length * 0.3, lambda: plug.plug_in(length / HOUR * 800)
    yield length * 0.5, lambda: disabled(0)
    yield length * 0.5 + 10, lambda: charger.site.force("EVSE", [(f"{PLUG}.REMOTE_START", 1)])
    yield length * 0.67, lambda: disabled(1)
    yield length * 0.8, plug.unplug
    # As it was found, for what comes then.
    yield length * 0.9, lambda: disabled(0)
    yield length, lambda: None


def _visits(charger: Simulator, length: float) -> Acts:
    """A car every twelve minutes, which stays for nine and has had enough before."""
    (plug,) = charger.site.plugs
    for visit in range(int(length // (12 * MINUTE))):
        at = (12 * visit + 1) * MINUTE
        yield at, lambda: plug.plug_in(700)
        yield at + 10, plug.authorise
        yield at + 9 * MINUTE, plug.unplug


def _flap(watched: Watched, charger: Simulator, name: str) -> None:
    """Let a fault come and go three times, each seen by Prometheus."""
    for _ in range(3):
        for error in (BEACON, 0):
            charger.site.plugs[0].fail(error)
            _await(watched, f'ccl_plug_state{{instance="{name}", ccl_plug_state="error"}}', int(error > 0))


def _is_held_back_by(watched: Watched, alert: str, instance: str | None, other: str, other_instance: str) -> None:
    """Alertmanager has an alert and sends nothing, because of another one."""
    named = {"alertname": alert} if instance is None else {"alertname": alert, "instance": instance}
    cause = await_alert(watched.alertmanager, lambda _: True, alertname=other, instance=other_instance)
    await_alert(watched.alertmanager, lambda one: cause["fingerprint"] in one["status"]["inhibitedBy"], **named)


def _await(watched: Watched, expression: str, value: float) -> None:
    """Ask Prometheus until it says so."""
    began = monotonic()
    while (found := query(watched.prometheus, expression)) != value:
        assert monotonic() - began < PATIENCE, f"{expression} is {found}"
        sleep(0.1)
