"""Discovery messages: as a golden file, against Home Assistant's documented keys, and what stays the same."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest
from helpers.discovery_schema import Discovery
from helpers.ha_templates import render
from helpers.support import Clock
from hypothesis import given
from hypothesis import strategies as st

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.key_values import Document
from ccl_exporter.outputs.mqtt.homeassistant import (
    Place,
    Seen,
    device_of,
    discovery,
    identity,
    merged,
    seen,
    station_of,
)
from ccl_exporter.outputs.mqtt.payload import documents
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.simulator import Simulator

PLACE = Place("ccl", "homeassistant")
URL = "http://192.0.2.10"
ABOUT = {"company": "Circontrol", "product": "CirCarLife Scada", "version": "4.2.3"}
Read = tuple[Seen, Mapping[str, Document]]
CHARGE = (f.CHARGE_ENERGY, f.CHARGE_REQUEST, f.CHARGE_END, f.CHARGE_STOP_REASON)


@pytest.fixture(scope="module", params=["wallbox", "twin"])
def read(request: pytest.FixtureRequest) -> Read:
    """What a wallbox, or a station with two three-phase plugs, has to show."""
    with Simulator(request.param, autopilot=False, clock=Clock(1_790_000_000.0)) as simulator:
        found = samples(Charger(ChargerSettings("garage", simulator.url)).read(30), modules=["core"])
    return seen(found, CHARGE), documents(found)


def parsed(messages: Mapping[str, str]) -> dict[str, Any]:
    return {topic: json.loads(message) for topic, message in messages.items()}


def test_every_message_holds_against_the_documented_keys(read: Read) -> None:
    for message in discovery(PLACE, "garage", URL, read[0], ABOUT).values():
        Discovery.model_validate_json(message)


def test_every_value_is_one_that_the_state_has_or_that_a_charge_brings(
    read: Read,
) -> None:
    for message in parsed(discovery(PLACE, "garage", URL, read[0], ABOUT)).values():
        document = read[1][message["state_topic"].removeprefix("ccl/garage/")]
        for name, component in message["components"].items():
            for key in re.findall(r"value_json\.(\w+)", component.get("value_template", "")):
                assert key in document or key.startswith("charge_"), name
                if component.get("options") and key in document:
                    assert document[key] in component["options"]


@pytest.mark.parametrize("read", ["twin"], indirect=True)
def test_two_plugs_of_three_phases_are_two_devices_behind_one(read: Read) -> None:
    station, *plugs = parsed(discovery(PLACE, "north", URL, read[0], {})).values()

    assert [plug["device"]["name"] for plug in plugs] == ["north Poste Été.PLUG_A", "north Poste Été.PLUG_B"]
    assert {plug["device"]["via_device"] for plug in plugs} == set(station["device"]["identifiers"])
    for plug in plugs:
        phases = {"power_watts", "current_amperes", "voltage_volts"}
        expected = {f"{key}_{phase}" for key in phases for phase in ("l1", "l2", "l3")} | {"power_watts"}
        assert {name for name in plug["components"] if name.startswith(tuple(phases))} == expected
        assert plug["components"]["power_watts_l2"]["name"] == "Power L2"


@pytest.mark.parametrize(
    ("energies", "counted"),
    [
        pytest.param([(1, 0.0), (1, 3.0), (2, 5.0)], 8, id="a larger one that was not seen from its begin"),
        pytest.param([(1, 0.0), (1, 3.0), (2, 2.0)], 5, id="a smaller one"),
        pytest.param([(1, 0.0), (1, 3.0), (2, 3.0)], 6, id="one of the same energy"),
        pytest.param([(1, 0.0), (1, 3.0), (1, 4.0), (1, 4.0)], 4, id="one that goes on"),
        pytest.param([(1, 0.0), (1, 3.0), (2, None), (2, 0.0), (2, 5.0)], 8, id="one that had no energy at first"),
        pytest.param([(1, 0.0), (1, 3.0), (None, 0.0), (None, 5.0), (2, 6.0)], 9, id="one without a request"),
    ],
)
def test_the_energy_of_each_session_is_counted_whole(
    energies: Sequence[tuple[int | None, float | None]], counted: float
) -> None:
    plug = ("EVSE.PLUG",)
    messages = [
        documents(
            [Sample(f.PLUG_LOCKED, plug, 1.0)]
            + [Sample(f.CHARGE_ENERGY, plug, kwh * 3.6e6) for kwh in [energy] if kwh is not None]
            + [Sample(f.CHARGE_REQUEST, plug, 1_790_000_000.25 + at) for at in [request] if at is not None]
        )["plug/EVSE.PLUG"]
        for request, energy in energies
    ]
    found = seen([Sample(f.PLUG_LOCKED, plug, 1.0)], CHARGE)
    *_, discovered = parsed(discovery(PLACE, "garage", URL, found, ABOUT)).values()

    assert counted_energy(discovered["components"]["charge_energy_kwh"], messages) == pytest.approx(counted)


def counted_energy(component: Mapping[str, str], messages: Iterable[Document]) -> float:
    """What Home Assistant's statistics count (its documentation of entities, "long-term statistics").

    `total` counts growth and fall, and from zero on after another `last_reset`; `total_increasing` takes a fall
    for a new cycle.
    """

    def first_key(option: str, message: Document) -> Any:
        """The value of the first key of a template, if all of its keys are defined."""
        keys = re.findall(r"value_json\.(\w+)", component.get(option, ""))
        return message[keys[0]] if keys and all(key in message for key in keys) else None

    total, before, reset_before = 0.0, None, None
    for message in messages:
        value = first_key("value_template", message)
        reset = first_key("last_reset_value_template", message) or reset_before
        if value is not None:
            is_fall = component["state_class"] == "total_increasing" and before is not None and value < before
            if before is not None:
                total += value - (0.0 if is_fall or reset != reset_before else before)
            before = value
        if value is not None:
            reset_before = reset
    return total


def test_what_identifies_a_device_does_not_depend_on_its_name(read: Read) -> None:
    def identities(name: str) -> dict[str, object]:
        messages = parsed(discovery(PLACE, name, URL, read[0], ABOUT))
        return {
            topic: (message["device"]["identifiers"], [c["unique_id"] for c in message["components"].values()])
            for topic, message in messages.items()
        }

    assert identities("garage") == identities("carport")


def test_no_two_entities_are_the_same_one(read: Read) -> None:
    messages = [
        message
        for url in (URL, "http://192.0.2.11")
        for message in parsed(discovery(PLACE, "garage", url, read[0], ABOUT)).values()
    ]
    ids = [component["unique_id"] for message in messages for component in message["components"].values()]

    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("read", ["wallbox"], indirect=True)
def test_a_charger_with_one_plug_is_one_device_with_its_names_each_once(read: Read) -> None:
    charger, plug = parsed(
        discovery(PLACE, "garage", URL, read[0], ABOUT, "Wallbox", {"EVSE.PLUG": "Left"})
    ).values()
    names = [component["name"] for message in (charger, plug) for component in message["components"].values()]

    assert charger["device"] == plug["device"]
    assert charger["device"]["name"] == "Wallbox"
    assert charger["device"].keys() >= {"manufacturer", "model", "sw_version", "configuration_url"}
    assert len(set(names)) == len(names)


def test_a_second_plug_changes_devices_but_no_topic_and_no_entity() -> None:
    one: Seen = {"station": {}, "plug/A": {"state": ("available",)}}
    before = parsed(discovery(PLACE, "garage", URL, one, ABOUT))
    after = parsed(discovery(PLACE, "garage", URL, {**one, "plug/B": one["plug/A"]}, ABOUT))

    assert before.keys() < after.keys()
    for topic, message in before.items():
        assert after[topic]["components"] == message["components"]
    devices = {device_of(json.dumps(message)) for message in after.values()}
    assert len(devices) == 3
    assert {device_of(json.dumps(message)) for message in before.values()} < devices


VERSION_0_1 = """
    contact active_events boot_timestamp_seconds error error_words state temperature_celsius
    charge_begin_timestamp_seconds charge_duration_seconds charge_end_timestamp_seconds charge_energy_kwh
    charge_request_timestamp_seconds charge_stop_reason current_amperes current_limit_amperes current_max_amperes
    enabled energy_kwh locked power_reduction_ratio power_watts status status_charging vehicle_connected
    voltage_volts
"""


@pytest.mark.parametrize("read", ["wallbox"], indirect=True)
def test_the_ids_of_version_0_1_are_there(read: Read) -> None:
    """An entity with another id would be a new one without history."""
    messages = parsed(discovery(PLACE, "garage", URL, read[0], ABOUT))
    ids = {component["unique_id"] for message in messages.values() for component in message["components"].values()}
    station, plug = identity(URL), identity(URL, "plug/EVSE.PLUG")

    assert set(messages) == {f"homeassistant/device/{id}/config" for id in (station, plug)}
    for name in set(VERSION_0_1.split()) - {"state"}:
        assert {f"{station}_{name}", f"{plug}_{name}"} & ids, name
    assert f"{plug}_state" in ids


def test_every_template_renders_what_its_entity_can_show(read: Read) -> None:
    """Of a whole message, and of one that has nothing."""
    for message in parsed(discovery(PLACE, "garage", URL, read[0], ABOUT)).values():
        document = read[1][message["state_topic"].removeprefix("ccl/garage/")]
        for name, component in message["components"].items():
            template = component.get("value_template", "{{ none }}")
            assert render(template, "{}") == "None"
            shown = render(template, json.dumps(document))
            if component["platform"] == "binary_sensor":
                assert shown in ("ON", "OFF", "None")
            elif component.get("device_class") == "enum":
                assert shown in (*component["options"], "None")
            elif component.get("device_class") == "timestamp":
                assert shown == "None" or datetime.fromisoformat(shown)
            elif "unit_of_measurement" in component and shown != "None":
                float(shown)
            assert render(component.get("last_reset_value_template", ""), "{}") == "", name


def test_an_entity_stays_that_has_nothing_to_say_for_a_while() -> None:
    before: Seen = {"plug/P": {"power_watts": (), "state": ("available",)}}

    assert merged(before, {"plug/P": {"state": ("available",)}, "station": {}}) == {**before, "station": {}}


def test_a_message_is_known_again_by_those_of_the_same_topic(read: Read) -> None:
    for message in discovery(PLACE, "garage", URL, read[0], ABOUT).values():
        assert station_of(PLACE, message.encode()) == identity(URL)
        assert station_of(Place("other", "homeassistant"), message.encode()) is None


@pytest.mark.parametrize(
    "message",
    [b"", b"{", b"[]", b"7", b"{}", b'{"device": {"identifiers": []}}', b"[" * 100_000],
    ids=range(7),
)
def test_what_others_wrote_is_of_no_charger_of_ours(message: bytes) -> None:
    assert station_of(PLACE, message) is None


@given(st.text(min_size=1), st.text(min_size=1))
def test_names_of_every_kind_make_good_messages(charger: str, plug: str) -> None:
    found = seen([Sample(f.PLUG_LOCKED, (plug,), 1.0)], CHARGE)
    messages = discovery(PLACE, charger, URL, found, {})

    assert len(messages) == 2
    for topic, message in messages.items():
        Discovery.model_validate_json(message)
        assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topic)
