"""XML bytes to values of `snapshot` and `inventory`: pure, and the only reader of XML.

Shapes are those of protocol 2 to 5 and 9.
Unknown elements are ignored, blanks are trimmed; a document that is not what was asked for raises `Garbled`,
and nothing of it is used.
"""

import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from ccl_exporter.errors import AccessDenied, Garbled, TooLarge, clear_tracebacks
from ccl_exporter.powerstudio.inventory import Device, Information, PlugInfo, VariableInfo
from ccl_exporter.powerstudio.snapshot import ChargeRecord, Moment, PlugStateRecord, SystemStatus, Value

MAX_ELEMENTS = 200_000
"""A varInfo of 5,000 variables with their value lists stays below this."""

MAX_DEPTH = 32
"""The deepest known document has six levels."""

_PLAIN = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*"
    rb'(?:<\?xml version="1\.0"(?: encoding="utf-8")?(?: standalone="(?:yes|no)")?\s*\?>)?\s*<[a-z]',
    re.IGNORECASE,
)
"""How a document begins that is UTF-8 for sure."""

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_DATE_WITHOUT_POINT = re.compile(r"[0-9]{14}([0-9]{3})?")
_DATE = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{4})(?:([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{3})?)?")
_DIGITS = tuple("-+0123456789")  # what numbers and dates begin with
_MAX_FACTOR = 12  # a power of ten beyond pico and tera is damage, not a scale


class _CappedBuilder(ET.TreeBuilder):
    """Builds the tree and gives up on one that is too large or too deep to be a charger's."""

    def __init__(self) -> None:
        super().__init__()
        self._elements = 0
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:
        self._elements += 1
        self._depth += 1
        if self._elements > MAX_ELEMENTS or self._depth > MAX_DEPTH:
            raise TooLarge(f"the document has more than {MAX_ELEMENTS} elements or {MAX_DEPTH} levels")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        self._depth -= 1
        return super().end(tag)


def document(data: bytes) -> ET.Element:
    """Any well-formed document; raises `Garbled`, `TooLarge` or `AccessDenied`."""
    if _plain(data):
        # The other parser says better what is wrong.
        with suppress(ET.ParseError):
            return _not_too_deep(ET.fromstring(data))  # noqa: S314 - it is plain
    parser = DefusedXMLParser(target=_CappedBuilder(), forbid_dtd=True)
    try:
        parser.feed(data)
        root: ET.Element = parser.close()
    except DefusedXmlException as error:
        clear_tracebacks(error)
        _check_refusal(data)
        raise Garbled("the document has a DTD or entities, which no charger needs") from None
    except (ET.ParseError, ValueError, LookupError) as error:
        clear_tracebacks(error)
        _check_refusal(data)
        raise Garbled(f"not well-formed XML: {error}" if data.strip() else "an empty answer") from None
    finally:
        # It holds itself by its handlers, and the whole document, until then.
        vars(parser).clear()
    return root


def _plain(data: bytes) -> bool:
    """Whether nothing in a document can do harm, so that Python's own, faster parser may read it.

    A DTD, and so an entity of its own, needs a `<!`, which in UTF-8 is these two bytes and no others.
    """
    return _PLAIN.match(data) is not None and b"<!" not in data and data.count(b"<") <= MAX_ELEMENTS


def _not_too_deep(root: ET.Element) -> ET.Element:
    level = [root]
    for _ in range(MAX_DEPTH):
        level = [child for element in level for child in element]
        if not level:
            return root
    raise TooLarge(f"the document has more than {MAX_DEPTH} levels")


def _root(data: bytes, *expected: str) -> ET.Element:
    """Parse a document whose root must be one of `expected`."""
    root = document(data)
    if root.tag not in expected:
        _check_refusal(data)
        raise Garbled(f"the document is not a <{expected[0]}>")
    return root


def _check_refusal(data: bytes) -> None:
    """A refused request carries a text with "not granted", perhaps with status 200 (protocol 7)."""
    if b"not granted" in data[:65536].lower():
        raise AccessDenied('the charger says "not granted"')


def _text(parent: ET.Element, tag: str) -> str:
    return _shared(parent.findtext(tag))


def _shared(text: str | None) -> str:
    """A text without blanks around it; equal ones of all chargers are one in memory, as most of them recur.

    Numbers and dates do not, and in Python 3.12 what is one in memory stays there for ever.
    """
    text = (text or "").strip()
    return text if text[:1] in _DIGITS else sys.intern(text)


def _reference(parent: ET.Element, tag: str) -> str | None:
    """The name of another device; `-` and empty stand for none."""
    text = _text(parent, tag)
    return text if text not in ("", "-") else None


def _number(text: str) -> float | None:
    """A finite number, or None for anything else."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = float(text)
    return number if isfinite(number) else None


def _integer(text: str) -> int | None:
    number = _number(text)
    return int(number) if number is not None and number.is_integer() else None


def _flag(text: str) -> bool | None:
    return {"T": True, "F": False}.get(text)


def _positive(text: str) -> float | None:
    """Instants, durations and energies of chargeInfo: -1 stands for none (protocol 3.3)."""
    number = _number(text)
    return number if number is not None and number >= 0 else None


def parse_date(digits: str) -> Moment | None:
    """An instant from DDMMYYYY[HHMMSS[UUU]] in UTC (protocol 5); None if it is none."""
    found = _DATE.fullmatch(digits)
    if found is None:
        return None
    day, month, year, hour, minute, second, milliseconds = map(int, found.groups("0"))
    try:
        moment = datetime(year, month, day, hour, minute, second, milliseconds * 1000, tzinfo=UTC)
    except ValueError:
        return None
    return Moment(moment.timestamp())


def parse_value(text: str) -> Value:
    """The content of a <value>: a number, an instant (14 or 17 digits without a point), a text, or None."""
    if text in ("", "-"):
        return None
    if _DATE_WITHOUT_POINT.fullmatch(text):
        return parse_date(text)
    if _NUMBER.fullmatch(text) is None:
        return text
    number = float(text)
    return number if isfinite(number) else None


def _reading(variable: ET.Element) -> Value:
    """The value of a <variable> of values.xml or of deviceState.xml (protocol 3.1, 3.2)."""
    typed = variable.find("text")
    holder = variable if typed is None else typed
    for path in ("value", "textValue/value"):
        number = holder.findtext(path)
        if number is not None:
            return parse_value(number.strip())
    date = holder.findtext("textDate/date")
    if date is not None:
        return parse_date(date.strip())
    text = (holder.findtext("textValue") or holder.findtext("textStr") or "").strip()
    return text if text not in ("", "-") else None


def _by_name(data: bytes, root: str, item: str) -> Iterator[tuple[str, ET.Element]]:
    """The items of a document with their names; one without a name is left out."""
    for node in _root(data, root).findall(item):
        if name := _text(node, "name"):
            yield name, node


def devices(data: bytes) -> tuple[str, ...]:
    """Ids of devices.xml, in the engine's order."""
    ids = (_shared(node.text) for node in _root(data, "devices").findall("id"))
    return tuple(dict.fromkeys(id for id in ids if id))


def device_info(data: bytes) -> tuple[Device, ...]:
    """deviceInfo.xml in the shape of user/ or of chargePointsInterface/ (protocol 2.1, 2.2).

    A variable's name without its device gets it prefixed.
    """
    root = _root(data, "devices", "devicesInfo")
    found = []
    for node in (*root.findall("device"), *root.findall("deviceInfo")):
        id = _text(node, "id")
        if not id:
            continue
        names = (_shared(var.text) for var in node.findall("var"))
        full = (name if name.startswith(f"{id}.") else _shared(f"{id}.{name}") for name in names if name)
        found.append(
            Device(
                id=id,
                type=_text(node, "type") or None,
                description=_text(node, "typeDescription") or None,
                variables=tuple(dict.fromkeys(full)),
            )
        )
    return tuple(found)


@lru_cache(2)  # it is read each hour and hardly ever another one
def var_info(data: bytes) -> tuple[tuple[str, str | None, VariableInfo], ...]:
    """varInfo.xml as (id as sent, idEx if sent, what it says); protocol 4."""
    found = []
    for node in _root(data, "varInfo").findall("var"):
        unit = _text(node, "measureUnits")
        factor = _integer(_text(node, "unitsFactor"))
        scaled = bool(unit) and factor is not None and abs(factor) <= _MAX_FACTOR
        info = VariableInfo(
            title=_text(node, "title"),
            unit=unit if scaled else None,
            factor=factor if scaled else None,
            has_value=_flag(_text(node, "hasValue")) is not False,
            writable=_flag(_text(node, "hasForced")) is True,
            sample_mode=_text(node, "sampleMode") or None,
            type=_text(node, "varType") or None,
            minimum=_number(_text(node, "valueInfo/min")),
            maximum=_number(_text(node, "valueInfo/max")),
        )
        found.append((_text(node, "id"), _text(node, "idEx") or None, info))
    return tuple(found)


class Readings(dict[str, Value]):
    """Values by full id; `doubled` names the variables that were sent twice with different values."""

    def __init__(self) -> None:
        super().__init__()
        self.doubled: list[str] = []


def values(data: bytes) -> Readings:
    """values.xml or deviceState.xml as full id to value.

    A variable that is sent twice with different values has none: it is not known which one is right.
    """
    readings = Readings()
    for node in _root(data, "values", "deviceState").findall("variable"):
        id = _text(node, "id")
        if not id:
            continue
        value = _reading(node)
        if id in readings and readings[id] != value:
            readings.doubled.append(id)
            value = None
        readings[id] = value
    return readings


def plug_info(data: bytes) -> tuple[PlugInfo, ...]:
    """plugInfo.xml, in the engine's order; one that is listed twice is there twice."""
    return tuple(
        PlugInfo(
            name=name,
            supported_amperes=_positive(_text(node, "supportedCurrent")) or None,
            vehicle_device=_reference(node, "EVCommDevice"),
            meter=_reference(node, "meter"),
        )
        for name, node in _by_name(data, "plugsInfo", "plugInfo")
    )


def plug_ids(data: bytes) -> frozenset[str]:
    """The identifiers of the plugs in plugInfo.xml; they stay whatever address the charger has."""
    ids = (_text(node, "id") for node in _root(data, "plugsInfo").findall("plugInfo"))
    return frozenset(filter(None, ids))


def plug_state(data: bytes) -> dict[str, PlugStateRecord]:
    """plugState.xml by plug name."""
    return {
        name: PlugStateRecord(
            name=name,
            state=_integer(_text(node, "state")),
            error=_integer(_text(node, "error")),
            vehicle_connected=_flag(_text(node, "vehicleConnected")),
            locked=_flag(_text(node, "locked")),
        )
        for name, node in _by_name(data, "plugsState", "plugState")
    }


def charge_info(data: bytes) -> dict[str, ChargeRecord]:
    """chargeInfo.xml by plug name."""
    return {
        name: ChargeRecord(
            name=name,
            state=_integer(_text(node, "state")),
            meter_watt_hours=_positive(_text(node, "activeEnergy")),
            watt_hours=_positive(_text(node, "partialActiveEnergy")),
            requested=_positive(_text(node, "requestDate")),
            begun=_positive(_text(node, "beginDate")),
            ended=_positive(_text(node, "endDate")),
            seconds=_positive(_text(node, "chargeTime")),
            stop_reason=_integer(_text(node, "stopped")),
        )
        for name, node in _by_name(data, "chargesInfo", "chargeInfo")
    }


def system_status(data: bytes) -> SystemStatus:
    """system/status.xml."""
    root = _root(data, "systemStatus")
    return SystemStatus(
        stamps=tuple(_text(root, tag) for tag in ("systemId", "deviceId", "calculatedVariablesId")),
        active_events=_integer(_text(root, "activeEvents")),
    )


def information(data: bytes) -> Information:
    """system/information.xml, without its pictures."""
    root = _root(data, "systemInformation")
    return Information(product=_text(root, "name"), version=_text(root, "version"), company=_text(root, "company"))
