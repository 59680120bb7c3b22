"""Samples as line protocol: the mapping as a table, names that need escaping, lines taken apart and read back."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from line_protocol_parser import parse_line

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import FINISHED_CHARGE, Sample
from ccl_exporter.outputs.influxdb.line_protocol import (
    by_field,
    charger_of,
    field_of,
    joined,
    key_of,
    lines,
    milliseconds_of,
    names_of,
)
from ccl_exporter.settings import InfluxLayout

AT = 1_790_000_000_123
PLUG = ("EVSE.PLUG",)

NARROW = {
    "a variable": (
        Sample(f.VARIABLES["volts"], ("M 1", "VI"), 232.1),
        "ccl_value,device=M\\ 1,unit=volts,variable=VI value=232.1",
    ),
    "a register": (
        Sample(f.VARIABLES["joules_total"], ("M", "AE"), 4.4e9),
        "ccl_value,device=M,unit=joules_total,variable=AE value=4400000000",
    ),
    "another energy": (
        Sample(f.VARIABLES["joules"], ("M", "AE"), 1.0),
        "ccl_value,device=M,unit=partial_joules,variable=AE value=1",
    ),
    "a variable without a unit": (
        Sample(f.VARIABLES[None], ("E", "PLUG.X"), 7.0),
        "ccl_value,device=E,unit=value,variable=PLUG.X value=7",
    ),
    "a reading held back": (
        Sample(f.REJECTED, ("M", "AE", "jump"), 2.0),
        "ccl_rejection,device=M,reason=jump,variable=AE total=2",
    ),
    "a phase": (Sample(f.PLUG_POWER, ("P", "l2"), 2450.5), "ccl_plug,plug=P power_watts_l2=2450.5"),
}

# A sample, and the line that it becomes, without charger and time.
MAPPING = {
    "a gauge": (Sample(f.PLUG_POWER, ("EVSE.PLUG", ""), 7350.0), "ccl_plug,plug=EVSE.PLUG power_watts=7350"),
    "a phase": (Sample(f.PLUG_POWER, ("P", "l2"), 2450.5), "ccl_plug,plug=P power_watts_l2=2450.5"),
    "a register": (Sample(f.PLUG_ENERGY, PLUG, 4.4e9), "ccl_plug,plug=EVSE.PLUG energy_joules_total=4400000000"),
    "a yes": (Sample(f.PLUG_LOCKED, PLUG, 1.0), "ccl_plug,plug=EVSE.PLUG locked=1"),
    "a state": (
        Sample(f.PLUG_STATE, PLUG, 11.0, ("charging",)),
        'ccl_plug,plug=EVSE.PLUG state=11i,state_text="charging"',
    ),
    "faults": (
        Sample(f.PLUG_ERROR, PLUG, 9.0, ("cfg", "lock")),
        'ccl_plug,plug=EVSE.PLUG error=9i,error_text="cfg,lock"',
    ),
    "no fault": (Sample(f.PLUG_ERROR, PLUG, 0.0, ()), 'ccl_plug,plug=EVSE.PLUG error=0i,error_text=""'),
    "a code that is none": (
        Sample(f.PLUG_STATE, PLUG, 3.5, ("unknown",)),
        'ccl_plug,plug=EVSE.PLUG state_text="unknown"',
    ),
    "a code too large": (
        Sample(f.PLUG_STATE, PLUG, 1e30, ("unknown",)),
        'ccl_plug,plug=EVSE.PLUG state_text="unknown"',
    ),
    "a charge": (Sample(f.CHARGE_ENERGY, PLUG, 3.6e6), "ccl_charge,plug=EVSE.PLUG energy_joules=3600000"),
    "a station": (Sample(f.STATION_TEMPERATURE, (), 29.4), "ccl_station temperature_celsius=29.4"),
    "what the station is": (
        Sample(f.STATION_INFO, ("Circutor", "CCL", "2.3b"), 1.0),
        'ccl_station company="Circutor",product="CCL",version="2.3b"',
    ),
    "a device": (Sample(f.DEVICE_UP, ("Plug - Meter",), 1.0), "ccl_device,device=Plug\\ -\\ Meter up=1"),
    "what a device is": (
        Sample(f.DEVICE_INFO, ("M", "CVM1D", 'say "x"\nand'), 1.0),
        'ccl_device,device=M description="say \\"x\\"\\\\nand",type="CVM1D"',
    ),
    "a variable": (Sample(f.VARIABLES["volts"], ("M", "VI"), 232.1), "ccl_variable,device=M VI_volts=232.1"),
    "a variable without a unit": (
        Sample(f.VARIABLES[None], ("E", "PLUG.X"), 7.0),
        "ccl_variable,device=E PLUG.X_value=7",
    ),
    "the reading": (Sample(f.UP, (), 1.0), "ccl_scrape up=1"),
    "how long it took": (Sample(f.SCRAPE_DURATION, (), 0.25), "ccl_scrape duration_seconds=0.25"),
    "a document": (Sample(f.DOCUMENT_SUCCESS, ("values",), 1.0), "ccl_scrape,document=values document_success=1"),
    "a reading held back": (
        Sample(f.REJECTED, ("M", "AE", "fell"), 2.0),
        "ccl_rejected,device=M AE_fell_total=2",
    ),
    "a finished charge": (
        Sample(FINISHED_CHARGE[3], PLUG, 3.6e6),
        "ccl_finished_charge,plug=EVSE.PLUG energy_joules=3600000",
    ),
    "no number": (Sample(f.STATION_TEMPERATURE, (), math.nan), None),
    "too much": (Sample(f.STATION_TEMPERATURE, (), math.inf), None),
    "a description of a variable": (Sample(f.VARIABLE_INFO, ("M", "VI", "Voltage", "V", "false"), 1.0), None),
}


@pytest.mark.parametrize(("sample", "line"), MAPPING.values(), ids=MAPPING)
def test_a_sample_is_a_field_of_one_point(sample: Sample, line: str | None) -> None:
    made = lines([sample], "", AT)

    assert made == ([] if line is None else [f"{line} {AT}"])


@pytest.mark.parametrize(("sample", "line"), NARROW.values(), ids=NARROW)
def test_a_variable_is_a_point_of_its_own_in_the_narrow_layout(sample: Sample, line: str) -> None:
    assert lines([sample], "", AT, "narrow") == [f"{line} {AT}"]


@pytest.mark.parametrize("layout", ["narrow", "wide"])
def test_no_tag_is_called_as_a_field_and_no_family_is_forgotten(layout: InfluxLayout) -> None:
    count, wrong = {}, []
    for family in (*f.FAMILIES, *FINISHED_CHARGE):
        sample = Sample(family, tuple(f"of-{name}" for name in family.labels), 1.0, family.states[:1])
        made = lines([sample], "garage", AT, layout)
        count[family] = len(made)
        for parsed in map(parse_line, made):
            if parsed["tags"]["charger"] != "garage" or parsed["tags"].keys() & parsed["fields"].keys():
                wrong.append(parsed)

    assert wrong == []
    assert [family.name for family, number in count.items() if number != 1] == [f.VARIABLE_INFO.name]
    assert count[f.VARIABLE_INFO] == 0


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)


@settings(max_examples=150, deadline=None)
@given(device=NAMES, description=st.text(st.characters(codec="utf-8"), max_size=20), value=st.floats())
def test_whatever_a_device_is_called_its_line_is_one_line_and_is_read_back(
    device: str, description: str, value: float
) -> None:
    found = [
        Sample(f.DEVICE_STATUS, (device,), value),
        Sample(f.DEVICE_INFO, (device, "T", description), 1.0),
        Sample(f.VARIABLES["volts"], (device, "VI"), value),
    ]
    made = lines(found, "garage", AT)

    assert not any("\n" in line for line in made)
    assert len(made) == (2 if math.isfinite(value) else 1)
    for line in made:
        pieces = by_field(line)
        for piece in pieces:
            assert piece.endswith(f" {AT}")
            assert field_of(piece)[0] in ("ccl_device", "ccl_variable")
        assert len(pieces) == len(set(map(field_of, pieces)))
    fields = [field_of(piece)[1] for line in made for piece in by_field(line)]
    assert sorted(fields) == sorted(["description", "type", *(["status", "VI_volts"] if len(made) == 2 else [])])


def test_a_name_with_marks_of_the_protocol_is_read_back_by_another_parser() -> None:
    # Line ends are written `\n`. A backslash at the end cannot be written: it becomes a blank.
    written = {
        **{name: name for name in ("a,b", "a b", "a=b", "a\\b", 'a"b', "\\,a", "a\\ b", "été")},
        **{"a\nb": "a\\nb", "a\tb": "a\\tb", "a\\": "a ", "\\ \\": "\\  "},
    }
    found = {name: lines([Sample(f.DEVICE_UP, (name,), 1.0)], "garage", AT) for name in written}

    assert {name: [parse_line(line) for line in made] for name, made in found.items()} == {
        name: [
            {
                "measurement": "ccl_device",
                "tags": {"charger": "garage", "device": wanted},
                "fields": {"up": 1.0},
                "time": AT,
            }
        ]
        for name, wanted in written.items()
    }


def test_a_line_is_taken_apart_at_its_fields_and_nowhere_else() -> None:
    line = 'm,t=a\\ b\\,c\\\\,d x=1,y\\,z=2i,s="a, b=c \\" d\\\\",u=3 17'

    assert by_field(line) == [
        "m,t=a\\ b\\,c\\\\,d x=1 17",
        "m,t=a\\ b\\,c\\\\,d y\\,z=2i 17",
        'm,t=a\\ b\\,c\\\\,d s="a, b=c \\" d\\\\" 17',
        "m,t=a\\ b\\,c\\\\,d u=3 17",
    ]
    assert [field_of(piece) for piece in by_field(line)] == [("m", "x"), ("m", "y\\,z"), ("m", "s"), ("m", "u")]
    assert joined(by_field(line)) == line
    head = "m,t=a\\ b\\,c\\\\,d"
    kinds = [("x", ""), ("y\\,z", "i"), ("s", '"'), ("u", "")]
    assert [key_of(piece) for piece in by_field(line)] == [(head, *pair) for pair in kinds]
    assert milliseconds_of(line) == 17


def test_a_log_names_a_field_or_a_variable() -> None:
    assert names_of("ccl_plug,plug=a\\,b x=1 17") == ("ccl_plug", "x")
    assert names_of("ccl_plug,plug=a x=1,y=2 17") == ("ccl_plug", "")
    assert names_of("ccl_value,device=M,unit=volts,variable=V\\ I value=2 17") == ("ccl_value", "V\\ I")
    assert names_of("ccl_rejection,device=M,variable=AE,z=1 total=2 17") == ("ccl_rejection", "AE")


def test_the_charger_of_a_reading_is_known_and_a_finished_charge_is_no_reading() -> None:
    (reading,) = lines([Sample(f.UP, (), 1.0)], "garage, left", AT)
    (charge,) = lines([Sample(FINISHED_CHARGE[3], PLUG, 3.6e6)], "garage", AT)

    assert charger_of(reading) == "charger=garage\\,\\ left"
    assert charger_of(charge) is None
    assert charger_of("m x=1 17") == ""


def test_what_is_no_line_is_not_taken_apart() -> None:
    for line in ("", "garbage", "m x=1", " ", "m  1"):
        assert by_field(line) == [line]
