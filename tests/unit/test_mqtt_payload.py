"""Samples as messages: what stands on which topic, as a table, a golden file, and for names of every kind."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.key_values import Document
from ccl_exporter.outputs.mqtt.payload import documents, level, listing, parse_listing, payload, scalars

PLUG = ("EVSE.PLUG",)

# A sample, the end of the topic, and what it puts into the document there; None is nothing anywhere.
MAPPING = {
    "a gauge": (Sample(f.PLUG_POWER, ("P", ""), 7350.0), "plug/P", {"power_watts": 7350}),
    "a phase": (Sample(f.PLUG_POWER, ("P", "l2"), 2450.5), "plug/P", {"power_watts_l2": 2450.5}),
    "a register": (
        Sample(f.PLUG_ENERGY, PLUG, 4.4e9),
        "plug/EVSE.PLUG",
        {"energy_joules_total": 4400000000, "energy_kwh": 1222.222222},
    ),
    "an energy of a charge": (
        Sample(f.CHARGE_ENERGY, PLUG, 1.8e6),
        "plug/EVSE.PLUG",
        {"charge_energy_joules": 1800000, "charge_energy_kwh": 0.5},
    ),
    "a yes": (Sample(f.PLUG_LOCKED, PLUG, 1.0), "plug/EVSE.PLUG", {"locked": True}),
    "a state": (Sample(f.PLUG_STATE, PLUG, 11.0, ("charging",)), "plug/EVSE.PLUG", {"state": "charging"}),
    "faults": (Sample(f.PLUG_ERROR, PLUG, 9.0, ("cfg", "lock")), "plug/EVSE.PLUG", {"error": ["cfg", "lock"]}),
    "no fault": (Sample(f.PLUG_ERROR, PLUG, 0.0, ()), "plug/EVSE.PLUG", {"error": []}),
    "a station": (Sample(f.STATION_TEMPERATURE, (), 29.4), "station", {"temperature_celsius": 29.4}),
    "what the station is": (
        Sample(f.STATION_INFO, ("Circontrol", "CCL", "2.3b"), 1.0),
        "station",
        {"company": "Circontrol", "product": "CCL", "version": "2.3b"},
    ),
    "a variable": (
        Sample(f.VARIABLES["volts"], ("Plug - Meter", "VI"), 232.1),
        "device/Plug - Meter",
        {"VI_volts": 232.1},
    ),
    "a register as a variable": (
        Sample(f.VARIABLES["joules_total"], ("M", "AE"), 3.6e6),
        "device/M",
        {"AE_joules_total": 3600000, "AE_kwh": 1},
    ),
    "a plug with a name that topics cannot have": (
        Sample(f.PLUG_LOCKED, ("a/b+#%\n",), 0.0),
        "plug/a%2Fb%2B%23%25%0A",
        {"locked": False},
    ),
    "the reading": (Sample(f.UP, (), 1.0), None, {}),
    "a device": (Sample(f.DEVICE_UP, ("M",), 1.0), None, {}),
    "a description of a variable": (Sample(f.VARIABLE_INFO, ("M", "VI", "Voltage", "V", "false"), 1.0), None, {}),
}


@pytest.mark.parametrize(("sample", "place", "document"), MAPPING.values(), ids=MAPPING)
def test_a_sample_is_in_its_document(sample: Sample, place: str | None, document: dict[str, object]) -> None:
    assert documents([sample]) == ({place: document} if place else {})


def power(**watts: float) -> list[Sample]:
    return [Sample(f.PLUG_POWER, ("P", phase), value) for phase, value in watts.items()]


def test_the_power_of_three_phases_is_there_as_their_sum_too() -> None:
    assert documents(power(l1=0.1, l2=0.2, l3=2000.0))["plug/P"]["power_watts"] == 2000.3


def test_of_two_phases_of_three_no_sum_is_published() -> None:
    assert "power_watts" not in documents(power(l1=0.1, l2=0.2))["plug/P"]


def test_single_values_are_plain_texts() -> None:
    document: Document = {
        "a": 1.5,
        "b": True,
        "c": False,
        "d": ["x", "y"],
        "e": [],
        "f": "word",
        "PLUG/X_value": 7,
    }

    assert scalars(document) == {
        **{"a": "1.5", "b": "true", "c": "false", "d": "x,y", "e": "", "f": "word", "PLUG%2FX_value": "7"},
    }


def test_equal_documents_are_equal_texts() -> None:
    assert payload({"b": 1, "a": "é"}) == payload({"a": "é", "b": 1}) == '{"a": "é", "b": 1}'


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_name_is_one_level_and_no_two_are_the_same(one: str, other: str) -> None:
    found = level(one)

    assert found
    assert not set("/+#\0\n") & set(found)
    assert (found == level(other)) is (one == other)


@pytest.mark.parametrize("character", ["x", "é", "/", "\U0010ffff"], ids=ascii)
def test_a_name_that_is_too_long_for_a_topic_is_cut_and_stays_one_of_its_own(character: str) -> None:
    name = character * 70_000
    found = level(name)

    assert len(found.encode()) <= 1024
    assert found != level(name + "x")
    assert parse_listing(listing([name]).encode()) == {found}


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=4))
def test_a_list_of_chargers_is_read_back(names: list[str]) -> None:
    assert parse_listing(listing(names).encode()) == set(map(level, names))


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"{", b"\xff", b"7", b'{"a": 1}', json.dumps(["", "#", "+/x", "a/b", 7, None]).encode()),
        *(b"[" * 100_000, json.dumps(["x" * 70_000, "\ud800"]).encode()),
    ],
    ids=range(8),
)
def test_what_is_no_list_of_ours_names_no_topics(message: bytes) -> None:
    assert parse_listing(message) == set()
