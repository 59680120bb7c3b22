"""What a simulated wallbox looks like in each output, as golden files hold it."""

import json
from collections.abc import Mapping
from functools import cache

from ccl_exporter import __version__
from ccl_exporter.exporter.charger import Charger
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.influxdb.line_protocol import lines
from ccl_exporter.outputs.mqtt.homeassistant import Place, discovery, seen
from ccl_exporter.outputs.mqtt.payload import documents, payload
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.simulator import Simulator
from ccl_exporter.station.plausibility import SETTLE_READINGS, SETTLE_SECONDS
from helpers.support import PROJECT, Clock

FOLDER = PROJECT / "tests" / "golden"
AT = 1_790_000_000_123
"""When it is read, in milliseconds."""

ABOUT = {"company": "Circontrol", "product": "CirCarLife Scada", "version": "4.2.3"}
SESSION = (f.CHARGE_ENERGY, f.CHARGE_END, f.CHARGE_STOP_REASON)


@cache
def wallbox(milliseconds: int) -> Snapshot:
    """A wallbox on which nothing happens, read at an instant, and often enough that its zeros are believed."""
    clock = Clock(0.0)
    with Simulator(autopilot=False, clock=Clock(milliseconds / 1000)) as simulator:
        charger = Charger(ChargerSettings("garage", simulator.url), clock=clock.still)
        for _ in range(SETTLE_READINGS):
            snapshot = charger.read(30)
            clock.at += SETTLE_SECONDS
        return snapshot


def line_protocol() -> str:
    """What is written to InfluxDB; how long the read itself took changes each time."""
    found = (sample for sample in samples(wallbox(AT)) if not sample.family.name.startswith("ccl_scrape"))
    return "".join(f"{line}\n" for line in lines(found, "garage", AT))


def messages() -> str:
    """What is published over MQTT, without the devices' own variables."""
    found = documents(samples(wallbox(1_790_000_000_000)))
    core = {place: document for place, document in found.items() if not place.startswith("device/")}
    return "".join(f"{place} {payload(document)}\n" for place, document in sorted(core.items()))


def discovery_messages() -> str:
    """The discovery messages for Home Assistant."""
    found = samples(wallbox(1_790_000_000_000), modules=["core"])
    return shown(
        discovery(Place("ccl", "homeassistant"), "garage", "http://192.0.2.10", seen(found, SESSION), ABOUT)
    )


def shown(published: Mapping[str, str]) -> str:
    """Messages as a person reads them: a line for each component."""
    text = []
    for topic, message in ((topic, json.loads(message)) for topic, message in published.items()):
        components = message.pop("components")
        text += [topic, *(f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in message.items())]
        text += [f"    {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in components.items()]
    return "".join(f"{line}\n" for line in text).replace(__version__, "VERSION")
