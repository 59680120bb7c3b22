"""What a real Home Assistant makes of our messages, and of the snippets for it in deploy/neighbours.

The long form: it is skipped unless CCL_HOME_ASSISTANT names the Python of an environment with Home Assistant
(how to make one is in tests/helpers/home_assistant.py). The short form is tests/component/test_homeassistant.py,
against the documented keys. Everything is on loopback, and takes about a minute.
"""

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.brokers import Broker, Listener, listening
from helpers.brokers import running as broker_running
from helpers.discovery_schema import (
    STATE_CLASSES,
    UNITS,
    Availability,
    BinarySensor,
    Device,
    Discovery,
    Origin,
    Sensor,
)
from helpers.home_assistant import HomeAssistant, python, running
from helpers.support import COMMAND, PROJECT, Process
from pydantic import BaseModel

from ccl_exporter.outputs.mqtt.homeassistant import identity
from ccl_exporter.simulator import Fault, Simulator

PLUG = "ccl/garage/plug/EVSE.PLUG"
SNIPPET = PROJECT / "deploy" / "neighbours" / "homeassistant.yaml"
SNIPPET_SENSORS = ("power", "energy", "status")
States = Mapping[str, Mapping[str, Any]]


@dataclass
class Seen:
    """What there was at each moment of one run, and what Home Assistant had stored at its end."""

    states: dict[str, States] = field(default_factory=dict)
    documents: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    discovered: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    devices: Sequence[Mapping[str, Any]] = ()
    entities: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


@dataclass
class Run:
    """The processes of a run; the exporter may be ended and started with another configuration."""

    folder: Path
    garage: Simulator
    north: Simulator
    south: Simulator
    broker: Broker
    listener: Listener
    house: HomeAssistant | None = None
    exporter: Process | None = None

    def configure(self, **chargers: Simulator) -> None:
        listed = ", ".join(f"{name}: {{url: '{charger.url}'}}" for name, charger in chargers.items())
        url = f"mqtt://127.0.0.1:{self.broker.port}"
        text = f"chargers: {{{listed}}}\nmqtt: {{url: '{url}', interval: 1s, discovery: homeassistant}}\n"
        (self.folder / "ccl.yaml").write_text(text)

    def serve(self, *arguments: str) -> Process:
        return Process(
            *("serve", *arguments, "--web.listen-address", "127.0.0.1:0"),
            env={"XDG_STATE_HOME": str(self.folder / "state")},
        )

    def until(self, what: Callable[[States], object], says: str) -> States:
        """Wait until something holds of Home Assistant's states, and return them."""
        found: States = {}

        def holds() -> object:
            nonlocal found
            assert self.house is not None
            found = self.house.states()
            return what(found)

        assert self.house is not None
        self.house.wait(holds, says)
        return found


def snippet(port: int, charger: str) -> str:
    """The configuration for Home Assistant as it stands there, with the addresses of this run."""
    text = SNIPPET.read_text(encoding="utf-8")
    text = text.replace("http://127.0.0.1:9986", f"http://127.0.0.1:{port}").replace("http://evse", charger)
    text = text.replace("/charger/evse.json", f"/charger/{charger.removeprefix('http://')}.json")
    return text.replace("ccl-exporter charge", f"{COMMAND} charge").replace(
        "scan_interval: 30", "scan_interval: 1"
    )


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """One run: an upgrade from 0.1; a charger charges, is limited, another leaves, a name changes, a kill."""
    python()
    folder, found = tmp_path_factory.mktemp("house"), Seen()
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_STATE_HOME", str(folder / "state"))
    with ExitStack() as stack:
        stack.callback(patch.undo)
        garage = stack.enter_context(Simulator(autopilot=False))
        north = stack.enter_context(Simulator("twin", autopilot=False))
        south = stack.enter_context(Simulator(autopilot=False))
        broker = stack.enter_context(broker_running(Broker(folder / "broker")))
        run = Run(folder, garage, north, south, broker, stack.enter_context(listening(broker.port)))
        run.configure(garage=garage, north=north, south=south)
        publish_version_0_1(run)
        single = run.serve(garage.url)
        stack.callback(single.stop)
        port = int(single.line(r"http://127\.0\.0\.1:(\d+)/metrics")[1])
        run.house = HomeAssistant(folder / "house", broker.port, snippet(port, garage.url))
        with running(run.house):
            found.states["before"] = run.until(
                lambda states: states["sensor.south_evse_plug_energy"], "the entities of 0.1 are there"
            )
            run.exporter = run.serve("--config.file", str(folder / "ccl.yaml"))
            stack.callback(lambda: run.exporter and run.exporter.stop())
            _live(run, found)
        found.devices = run.house.registry("device")
        found.entities = {entity["unique_id"]: entity for entity in run.house.registry("entity")}
        found.complaints = run.house.complaints()
    return found


def publish_version_0_1(run: Run) -> None:
    """Leave on the broker what 0.1 had there of the south charger: a device for its plug, other names."""
    charger, plug = identity(run.south.url), identity(run.south.url, "plug/EVSE.PLUG")
    shared: Mapping[str, Any] = {
        "origin": {"name": "ccl-exporter", "sw_version": "0.1.0"},
        "availability": [{"topic": "ccl/status"}, {"topic": "ccl/south/status"}],
        "availability_mode": "all",
        "payload_available": "online",
        "payload_not_available": "offline",
    }
    energy = {"platform": "sensor", "unique_id": f"{plug}_energy_kwh", "name": "Energy", "device_class": "energy"}
    energy |= {
        "unit_of_measurement": "kWh",
        "state_class": "total",
        "value_template": "{{ value_json.energy_kwh }}",
    }
    faults = {"platform": "sensor", "unique_id": f"{plug}_error_words", "name": "Faults"}
    faults["value_template"] = "{{ value_json.error | join(', ') or 'none' }}"
    contact = {"platform": "binary_sensor", "unique_id": f"{charger}_contact", "name": "Contact"}
    contact |= {"payload_on": "online", "payload_off": "offline", "state_topic": "ccl/south/status"}
    for id, place, more, components in (
        (charger, "station", {"name": "south"}, {"contact": contact}),
        (
            plug,
            "plug/EVSE.PLUG",
            {"name": "south EVSE.PLUG", "via_device": charger},
            {"energy_kwh": energy, "error_words": faults},
        ),
    ):
        message = {**shared, "device": {"identifiers": [id], **more}, "state_topic": f"ccl/south/{place}"}
        text = json.dumps({**message, "components": components})
        run.listener.client.publish(f"homeassistant/device/{id}/config", text, qos=1, retain=True)


def are_unavailable(names: Sequence[str], states: States) -> bool:
    return all(states[f"sensor.charger_{name}"]["state"] == "unavailable" for name in names)


def _live(run: Run, found: Seen) -> None:
    assert run.house is not None
    assert run.exporter is not None
    messages = run.listener.newest
    run.until(lambda states: "sensor.north_poste_ete_plug_b_total_energy" in states, "all devices are there")
    found.states["upgraded"] = run.until(
        lambda states: (
            {"sensor.south_evse_plug_energy", "sensor.south_power", "binary_sensor.south_contact"} <= states.keys()
            and states["sensor.south_evse_plug_energy"]["state"] not in ("unavailable", "unknown")
            and states["sensor.south_evse_plug_energy"]["attributes"]["friendly_name"] == "south Total energy"
        ),
        "the entities of 0.1 have moved",
    )
    run.garage.site.plugs[0].plug_in()
    run.garage.site.plugs[0].authorise()
    found.states["charging"] = run.until(
        lambda states: (
            states["binary_sensor.garage_charging"]["state"] == "on"
            and float(states["sensor.garage_power"]["state"]) > 1000
            and states["sensor.charger_status"]["state"] == "charging"
        ),
        "it charges",
    )
    found.documents["charging"] = run.listener.document(PLUG)
    found.documents["station"] = run.listener.document("ccl/garage/station")
    found.discovered = {
        topic: json.loads(text)
        for topic, text in messages.items()
        if topic.startswith("homeassistant/device/") and text
    }

    # Commands, by the snippet
    call = "/api/services/shell_command/charger_limit?return_response"
    found.answers["limit"] = run.house.ask(call, {"amperes": 6})["service_response"]
    run.house.ask("/api/services/script/charger_limit", {"amperes": 6})
    found.states["limited"] = run.until(
        lambda states: states["sensor.garage_current_limit"]["state"] == "6.08", "the limit is seen"
    )
    found.answers["stop"] = run.house.ask("/api/services/shell_command/charger_stop?return_response", {})[
        "service_response"
    ]
    found.states["stopped"] = run.until(
        lambda states: states["binary_sensor.garage_charging"]["state"] == "off", "it has stopped"
    )

    # A charger does not answer for a while, then its plug has no values
    for faults, without in (
        ((Fault("close"),), SNIPPET_SENSORS),
        ((Fault("device-error", arg="EVSE"),), ("power", "energy")),
    ):
        run.garage.faults = faults
        run.until(partial(are_unavailable, without), "no sensor has a value")
        run.garage.faults = ()
        run.until(
            lambda states: all(
                states[f"sensor.charger_{name}"]["state"] != "unavailable" for name in SNIPPET_SENSORS
            ),
            "all have one again",
        )

    # A charger leaves, the other gets a new name
    run.configure(carport=run.garage, south=run.south)
    run.exporter.process.send_signal(1)
    found.states["renamed"] = run.until(
        lambda states: (
            not any("north" in entity for entity in states)
            and states["sensor.garage_state"]["attributes"]["friendly_name"].startswith("carport")
            and states["sensor.garage_state"]["state"] != "unavailable"
        ),
        "one is gone and the other renamed",
    )
    run.exporter.process.kill()
    found.states["killed"] = run.until(
        lambda states: states["binary_sensor.garage_connection"]["state"] == "unavailable", "the exporter is gone"
    )


def test_values_are_those_of_the_messages(seen: Seen) -> None:
    states, document = seen.states["charging"], seen.documents["charging"]

    def state(entity: str) -> str:
        return str(states[entity]["state"])

    for entity, key in (
        ("state", "state"),
        ("reason_for_not_charging", "not_charging_reason"),
        ("session_stop_reason", "charge_stop_reason"),
    ):
        assert state(f"sensor.garage_{entity}") == (document[key] or "none")
    for entity, key in (("rated_current", "current_max_amperes"), ("current_limit", "current_limit_amperes")):
        assert float(state(f"sensor.garage_{entity}")) == document[key]
    assert float(state("sensor.garage_total_energy")) == pytest.approx(document["energy_kwh"], abs=0.1)
    begun = datetime.fromisoformat(state("sensor.garage_session_start"))
    assert begun.timestamp() == pytest.approx(document["charge_begin_timestamp_seconds"], abs=1)
    assert state("sensor.garage_session_end") == "unknown"
    assert state("binary_sensor.garage_vehicle") == "on"
    assert state("binary_sensor.garage_cable_lock") == "off"  # which is locked
    assert state("binary_sensor.garage_fault") == "off"
    assert state("binary_sensor.garage_connection") == "on"
    assert float(state("sensor.garage_temperature")) == seen.documents["station"]["temperature_celsius"]
    assert float(state("sensor.north_poste_ete_plug_a_power")) == 0
    assert float(state("sensor.north_poste_ete_plug_a_voltage_l3")) > 200


def devices(seen: Seen) -> Mapping[str, Mapping[str, Any]]:
    ours = [device for device in seen.devices if device["identifiers"][0][0] == "mqtt"]
    return {device["name"]: device for device in ours}


def test_a_charger_with_one_plug_is_one_device(seen: Seen) -> None:
    found = devices(seen)
    at = {entity["device_id"] for id, entity in seen.entities.items() if "garage" in entity["entity_id"]}

    assert set(found) == {"carport", "south", "south EVSE.PLUG"}
    assert at == {found["carport"]["id"]}
    assert found["carport"]["manufacturer"] == "Circontrol"
    assert found["carport"]["configuration_url"].startswith("http://127.0.0.1:")


def test_after_an_upgrade_the_entities_are_the_same_at_the_device_of_the_charger(seen: Seen) -> None:
    at = {entity["entity_id"]: entity["device_id"] for entity in seen.entities.values()}
    south = {entity for entity in at if ".south" in entity}

    assert {at[entity] for entity in south} == {devices(seen)["south"]["id"]}
    assert {
        "sensor.south_evse_plug_energy",
        "sensor.south_evse_plug_faults",
        "binary_sensor.south_contact",
    } <= south
    assert "sensor.south_total_energy" not in south
    assert {entity for entity in seen.states["before"] if ".south" in entity} <= seen.states["upgraded"].keys()


def test_every_entity_is_registered_with_all_that_we_said_of_it(seen: Seen) -> None:
    compared = 0
    for message in seen.discovered.values():
        for component in message["components"].values():
            if message["device"]["name"] == "north":
                assert component["unique_id"] not in seen.entities
                continue
            if message["device"]["name"] != "garage":
                continue
            entity = seen.entities[component["unique_id"]]
            capabilities = entity["capabilities"] or {}
            shown = entity["options"].get("sensor", {})
            is_enabled = component.get("enabled_by_default", True)
            assert entity["entity_id"].startswith(f"{component['platform']}.garage_")
            assert entity["disabled_by"] == (None if is_enabled else "integration")
            assert entity["original_name"] == component["name"]
            assert entity["original_device_class"] == component.get("device_class")
            assert entity["original_icon"] == component.get("icon")
            assert entity["unit_of_measurement"] == component.get("unit_of_measurement")
            assert entity["entity_category"] == component.get("entity_category")
            assert capabilities.get("state_class") == component.get("state_class")
            assert capabilities.get("options") == component.get("options")
            if is_enabled:
                assert shown.get("suggested_display_precision") == component.get("suggested_display_precision")
            compared += 1

    assert compared >= 25


def test_another_name_changes_no_entity(seen: Seen) -> None:
    before = {entity for entity in seen.states["charging"] if ".garage" in entity}

    assert {entity for entity in seen.states["renamed"] if ".garage" in entity} == before


def test_what_is_known_no_longer_is_shown_as_such(seen: Seen) -> None:
    ours = [state for entity, state in seen.states["killed"].items() if ".garage" in entity or ".south" in entity]

    assert {state["state"] for state in ours} == {"unavailable"}


def test_the_snippets_read_and_command(seen: Seen) -> None:
    states = seen.states["charging"]

    assert states["sensor.charger_status"]["state"] == "charging"
    assert float(states["sensor.charger_energy"]["state"]) == pytest.approx(
        seen.documents["charging"]["energy_kwh"], abs=0.1
    )
    assert states["sensor.charger_energy"]["attributes"]["unit_of_measurement"] == "kWh"
    assert "sensor.charger_power" in states
    assert seen.answers["limit"]["returncode"] == 0, seen.answers
    assert seen.answers["stop"]["returncode"] == 0, seen.answers


def test_it_complains_of_nothing_of_ours(seen: Seen) -> None:
    own = re.compile(
        r"mqtt|ccl|garage|carport|north|south|charger|rest|shell_command|script|sensor", re.IGNORECASE
    )

    found = [line for line in seen.complaints if own.search(line.partition("[")[2])]

    # The script sets the limit that there is already. Of a device that goes, Home Assistant takes its own message
    # away once more for each entity that is disabled, and warns of that.
    expected = ("return code: 6", "No device components to cleanup")
    assert [line for line in found if not any(words in line for words in expected)] == []
    assert len([line for line in found if expected[0] in line]) == 1


def test_the_schema_of_the_tests_knows_no_key_that_it_does_not_know(tmp_path: Path) -> None:
    printed = subprocess.run(
        [python(), "-c", THEIRS], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout
    theirs = json.loads(printed.splitlines()[-1])
    ours: Mapping[str, type[BaseModel]] = {
        "sensor": Sensor,
        "binary_sensor": BinarySensor,
        "device": Device,
        "origin": Origin,
        "availability": Availability,
        "discovery": Discovery,
    }

    for name, model in ours.items():
        assert set(model.model_fields) <= {*theirs["keys"][name]}, name
    for name, units in UNITS.items():
        assert units <= set(theirs["units"].get(name, [])), name
        assert STATE_CLASSES[name] <= set(theirs["state_classes"][name]), name


THEIRS = """
import json
from homeassistant.components.mqtt import binary_sensor, sensor, schemas
from homeassistant.components.sensor.const import DEVICE_CLASS_STATE_CLASSES, DEVICE_CLASS_UNITS

def names(schema):
    return [str(key) for key in schema.schema]

availability = schemas._MQTT_AVAILABILITY_LIST_SCHEMA.schema
(listed,) = [value for key, value in availability.items() if str(key) == "availability"]
shared = [*schemas.SHARED_OPTIONS, "qos", "encoding"]
keys = {
    "sensor": [*names(sensor._PLATFORM_SCHEMA_BASE), "platform"],
    "binary_sensor": [*names(binary_sensor.PLATFORM_SCHEMA_MODERN), "platform"],
    "device": names(schemas.MQTT_ENTITY_DEVICE_INFO_SCHEMA.validators[1]),
    "origin": names(schemas.MQTT_ORIGIN_INFO_SCHEMA.validators[0]),
    "availability": [str(key) for key in listed.validators[1][0]],
    "discovery": [*shared, "device", "origin", "components"],
}
units = {str(name): [str(unit) for unit in found if unit] for name, found in DEVICE_CLASS_UNITS.items()}
classes = {str(name): [str(one) for one in found] for name, found in DEVICE_CLASS_STATE_CLASSES.items()}
print(json.dumps({"keys": keys, "units": units, "state_classes": classes}))
"""
