"""Discovery messages: as a golden file, against Home Assistant's documented keys, and what stays the same."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from helpers.discovery_schema import Discovery
from helpers.support import Clock
from hypothesis import given
from hypothesis import strategies as st

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.mqtt.homeassistant import Place, Seen, discovery, identity, merged, seen, station_of
from ccl_exporter.outputs.mqtt.payload import Document, documents
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.simulator import Simulator

PLACE = Place("ccl", "homeassistant")
URL = "http://192.0.2.10"
ABOUT = {"company": "Circontrol", "product": "CirCarLife Scada", "version": "4.2.3"}
Read = tuple[Seen, Mapping[str, Document]]
CHARGE = (f.CHARGE_ENERGY, f.CHARGE_END, f.CHARGE_STOP_REASON)


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
    assert len({message["device"]["identifiers"][0] for message in messages}) == len(messages)


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
