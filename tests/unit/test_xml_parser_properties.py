"""A parser accepts or rejects any bytes, and reads valid documents exactly."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_exporter.errors import ChargerError
from ccl_exporter.powerstudio import xml_parser
from ccl_exporter.powerstudio.inventory import VariableInfo
from ccl_exporter.powerstudio.snapshot import Moment

PARSERS: dict[str, Callable[[bytes], Any]] = {
    "devices": xml_parser.devices,
    "device_info": xml_parser.device_info,
    "var_info": xml_parser.var_info,
    "values": xml_parser.values,
    "plug_info": xml_parser.plug_info,
    "plug_state": xml_parser.plug_state,
    "charge_info": xml_parser.charge_info,
    "system_status": xml_parser.system_status,
    "information": xml_parser.information,
}
every_parser = pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)

ROOTS = (
    "devices",
    "devicesInfo",
    "varInfo",
    "values",
    "deviceState",
    "plugsInfo",
    "plugsState",
    "chargesInfo",
    "systemStatus",
    "systemInformation",
    "html",
)
CHILDREN = (
    "device",
    "deviceInfo",
    "var",
    "variable",
    "plugInfo",
    "plugState",
    "chargeInfo",
    "id",
    "valueInfo",
    "text",
)
LEAVES = (
    *("id", "idEx", "type", "typeDescription", "var", "title", "hasValue", "hasForced", "sampleMode"),
    *("measureUnits", "unitsFactor", "varType", "min", "max", "value", "textValue", "textStr", "textDate", "date"),
    *("name", "supportedCurrent", "EVCommDevice", "meter", "state", "error", "vehicleConnected", "locked"),
    *("activeEnergy", "partialActiveEnergy", "requestDate", "beginDate", "endDate", "chargeTime", "stopped"),
    *("systemId", "deviceId", "calculatedVariablesId", "activeEvents", "version", "company"),
)
NASTY = st.sampled_from(
    [
        *(
            "",
            " ",
            "-",
            "--",
            "0",
            "-0",
            "-1",
            "-1.000000",
            "1.5",
            "1e999",
            "-1e999",
            "1e308",
            "9" * 400,
            "nan",
            "inf",
        ),
        *("T", "F", "#WH", "A", "A.B", ".", "A.", ".A", "3", "99", "1e12", "17102022", "17102022135525", "0" * 14),
        *(
            "9" * 17,
            "31122022235959999",
            "not granted",
            "\u0663",
            "\u00a0",
            "\ud7ff",
            "\U0010ffff",
            "\x85",
            "\u2028",
        ),
    ]
)


def element(tag: str, inner: str) -> str:
    return f"<{tag}>{inner}</{tag}>"


def document(root: str, inner: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>{element(root, inner)}'.encode()


leaf = st.builds(element, st.sampled_from(LEAVES), NASTY)
node = st.recursive(
    leaf,
    lambda inner: st.builds(
        lambda tag, parts: element(tag, "".join(parts)),
        st.sampled_from(CHILDREN + LEAVES),
        st.lists(inner, max_size=6),
    ),
    max_leaves=12,
)
likely = st.builds(
    lambda root, nodes: document(root, "".join(nodes)), st.sampled_from(ROOTS), st.lists(node, max_size=6)
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A likely document, cut and with bytes put in between."""
    data = draw(likely)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=6)) + data[at + draw(st.integers(0, 12)) :]
    return data


def numbers(model: object) -> list[float]:
    """Every float in a model, however deep."""
    if isinstance(model, float):
        return [model]
    if isinstance(model, dict):
        return [number for value in model.values() for number in numbers(value)]
    if isinstance(model, tuple | list):
        return [number for value in model for number in numbers(value)]
    slots = getattr(model, "__slots__", ())
    return [number for slot in slots for number in numbers(getattr(model, slot))]


def check(parse: Callable[[bytes], Any], data: bytes) -> None:
    """A parser answers, with finite numbers only, or raises an error of ours."""
    try:
        model = parse(data)
    except ChargerError:
        return
    assert all(isfinite(number) for number in numbers(model))


@every_parser
@given(data=st.binary(max_size=200))
@settings(max_examples=30, deadline=None)
def test_any_bytes_are_read_or_refused_in_our_own_words(parse: Callable[[bytes], Any], data: bytes) -> None:
    check(parse, data)


@every_parser
@given(data=likely)
@settings(max_examples=50, deadline=None)
def test_any_mixture_of_known_elements_is_read_or_refused(parse: Callable[[bytes], Any], data: bytes) -> None:
    check(parse, data)


def outcome(parse: Callable[[bytes], Any], data: bytes) -> object:
    try:
        return parse(data)
    except ChargerError as error:
        return type(error)


@every_parser
@given(data=st.one_of(likely, damaged()))
@settings(max_examples=50, deadline=None)
def test_a_plain_document_is_read_as_a_second_parser_reads_it(parse: Callable[[bytes], Any], data: bytes) -> None:
    # A comment is one of the things that only the careful parser reads.
    assert outcome(parse, data) == outcome(parse, data + b"<!-- -->")


@every_parser
@given(data=damaged())
@settings(max_examples=30, deadline=None)
def test_any_damaged_document_is_read_or_refused(parse: Callable[[bytes], Any], data: bytes) -> None:
    check(parse, data)


@given(
    encoding=st.sampled_from(["UTF-8", "UTF-16", "UTF-16LE", "ISO-8859-1", "ASCII", "cp1252", "utf-32", "x", ""]),
    data=st.binary(max_size=60),
)
@settings(max_examples=100, deadline=None)
def test_any_bytes_in_any_declared_encoding_are_read_or_refused(encoding: str, data: bytes) -> None:
    for body in (data, f"<values>{data.hex()}</values>".encode()):
        check(xml_parser.values, f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + body)


# What an engine may call things: any printable text, blanks only inside.
trimmed = (
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp")), min_size=1, max_size=20)
    .map(str.strip)
    .filter(bool)
)
awkward = st.sampled_from(
    [
        "Plug - 7",
        "R$SYS",
        "A&B?",
        "50% + 1",
        'the "big" one',
        "l'atelier",
        "Pis\u00f3 \u00e9",
        "A.B.C",
        "<x>",
        "&amp;",
    ]
)
name = st.one_of(trimmed, awkward)
full_name = st.builds(lambda device, variable: f"{device}.{variable}", name, name)


@st.composite
def number_on_the_wire(draw: st.DrawFn) -> tuple[str, float]:
    text = f"{draw(st.floats(-1e12, 1e12)):.6f}"
    return element("value", text), float(text)


@st.composite
def date_on_the_wire(draw: st.DrawFn) -> tuple[str, Moment]:
    moment = draw(st.datetimes(timezones=st.just(UTC)))
    digits = f"{moment.day:02d}{moment.month:02d}{moment.year:04d}{moment:%H%M%S}"
    if draw(st.booleans()):
        milliseconds = moment.microsecond // 1000
        return element("value", f"{digits}{milliseconds:03d}"), instant(moment, milliseconds)
    return element("value", digits), instant(moment, 0)


def instant(moment: datetime, milliseconds: int) -> Moment:
    return Moment((moment.replace(microsecond=0) + timedelta(milliseconds=milliseconds)).timestamp())


@st.composite
def text_on_the_wire(draw: st.DrawFn) -> tuple[str, str]:
    text = draw(name.filter(lambda text: text != "-"))
    return element("textValue", escape(text)), text


nothing_on_the_wire = st.sampled_from(["", "<value>-</value>", "<value></value>", "<textValue>-</textValue>"]).map(
    lambda inner: (inner, None)
)
on_the_wire = st.one_of(number_on_the_wire(), date_on_the_wire(), text_on_the_wire(), nothing_on_the_wire)


def in_state(inner: str, value: object) -> str:
    """The same reading as deviceState.xml writes it."""
    text = inner.removeprefix("<value>").removeprefix("<textValue>")
    text = text.removesuffix("</value>").removesuffix("</textValue>")
    match value:
        case float():
            return element("text", element("textValue", inner))
        case Moment():
            return element("text", element("textDate", element("date", text)))
        case None:
            return element("text", element("textStr", "-"))
        case _:
            return element("text", element("textStr", text))


@given(readings=st.dictionaries(full_name, on_the_wire, max_size=12), pad=st.sampled_from(["", " ", "\n\t"]))
@settings(max_examples=150, deadline=None)
def test_values_are_read_as_they_were_written(readings: dict[str, tuple[str, object]], pad: str) -> None:
    for root, shape in (("values", lambda inner, _: inner), ("deviceState", in_state)):
        body = pad.join(
            element("variable", element("id", f"{pad}{escape(id)}{pad}") + pad + shape(inner, value))
            for id, (inner, value) in readings.items()
        )

        assert xml_parser.values(document(root, body)) == {id: value for id, (_, value) in readings.items()}


@given(digits=st.from_regex(r"[0-9]{14}([0-9]{3})?", fullmatch=True))
@settings(max_examples=150, deadline=None)
def test_14_or_17_digits_are_an_instant_or_nothing(digits: str) -> None:
    read = xml_parser.values(document("values", f"<variable><id>A.B</id><value>{digits}</value></variable>"))[
        "A.B"
    ]

    assert read is None or isinstance(read, Moment)


@given(names=st.lists(name, unique=True, max_size=10))
@settings(max_examples=100, deadline=None)
def test_devices_are_read_as_they_were_written(names: list[str]) -> None:
    body = "".join(element("id", escape(id)) for id in names)

    assert xml_parser.devices(document("devices", body)) == tuple(names)


@given(device=name, variables=st.lists(name, unique=True, max_size=10))
@settings(max_examples=100, deadline=None)
def test_a_devices_variables_are_read_as_they_were_written(device: str, variables: Sequence[str]) -> None:
    full = [f"{device}.{variable}" for variable in variables]
    body = element("id", escape(device)) + "".join(element("var", escape(id)) for id in full)

    [read] = xml_parser.device_info(document("devices", element("device", body)))

    assert (read.id, read.variables) == (device, tuple(full))


@given(
    id=full_name,
    title=st.one_of(st.just(""), name),
    unit=st.one_of(st.none(), st.tuples(name, st.integers(-12, 12))),
    has_value=st.booleans(),
    writable=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_what_is_sent_of_a_variable_is_read_as_it_was_written(
    id: str, title: str, unit: tuple[str, int] | None, has_value: bool, writable: bool
) -> None:
    body = element("id", escape(id)) + element("title", escape(title))
    body += element("hasValue", "FT"[has_value]) + element("hasForced", "FT"[writable])
    if unit is not None:
        body += element("measureUnits", escape(unit[0])) + element("unitsFactor", str(unit[1]))

    assert xml_parser.var_info(document("varInfo", element("var", body))) == (
        (
            id,
            None,
            VariableInfo(
                title=title,
                unit=unit[0] if unit else None,
                factor=unit[1] if unit else None,
                has_value=has_value,
                writable=writable,
            ),
        ),
    )
