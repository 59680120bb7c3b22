"""Samples as MQTT messages: what is said of which charger on which topic. Pure.

    ccl/owner                     {"id": "5f2c9d…", ...}, see `ownership`
    ccl/chargers                  ["garage"]
    ccl/garage/plug/EVSE.PLUG     {"state": "charging", "power_watts": 7350, "energy_kwh": 4855.39, ...}
    ccl/garage/station            {"temperature_celsius": 31.5, ...}
    ccl/garage/device/CCL1Mini    {"VI_volts": 232.1, ...}

Keys are the metrics' names without `ccl_plug_`, `ccl_` or `ccl_variable_`; energies are there in kWh, too,
and the power of three phases as their sum.
A value that nobody knows has no key.
"""

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from urllib.parse import quote, unquote

from ccl_exporter.metrics.families import Sample

ONLINE, OFFLINE = "online", "offline"

STATION = "station"

_NON_CHARACTERS = "\ufdd0-\ufdef" + "".join(
    chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF)
)
# Brokers end a connection for a control or a non-character in a topic (MQTT 3.1.1, 1.5.3).
_NOT_IN_A_LEVEL = re.compile(rf"[/+#%\x00-\x1f\x7f-\x9f\ud800-\udfff{_NON_CHARACTERS}]")
# A topic has three levels that others named, and 65,535 bytes at most (MQTT 3.1.1, 4.7.3).
_LONGEST_LEVEL = 1024
_CUT = 64  # characters, of twelve bytes at most
_PHASES = ("l1", "l2", "l3")
_YES_OR_NO = ("vehicle_connected", "locked", "enabled")
_JOULES_A_KWH = 3.6e6

Scalar = float | int | bool | str
Value = Scalar | list[str]
Document = dict[str, Value]


def level(name: str) -> str:
    """A name as one level of a topic: what MQTT gives a meaning or forbids is percent-encoded (MQTT 3.1.1, 4.7).

    Of a name that is too long the beginning is left, and what tells it from others with the same.
    """
    encoded = _encoded(name)
    if len(encoded.encode()) <= _LONGEST_LEVEL:
        return encoded
    return f"{_encoded(name[:_CUT])}-{sha256(encoded.encode()).hexdigest()[:12]}"


def _encoded(name: str) -> str:
    return _NOT_IN_A_LEVEL.sub(lambda found: quote(found[0], safe="", errors="surrogatepass"), name)


def listing(names: Iterable[str]) -> str:
    """Which chargers there are, as they are called in topics."""
    return json.dumps(sorted(map(level, names)), ensure_ascii=False)


def parse_listing(message: bytes) -> set[str]:
    """The chargers of such a list; what is none has none, and what `level` would not have made is left out."""
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        return set()
    names = found if isinstance(found, list) else []
    return {name for name in names if isinstance(name, str) and name and level(unquote(name)) == name}


def documents(samples: Iterable[Sample]) -> dict[str, Document]:
    """What is known of each plug, of the station and of each device, by the end of its topic."""
    found: dict[str, Document] = {}
    for sample in samples:
        labels = dict(zip(sample.family.labels, sample.labels, strict=True))
        place = _place(sample.family.name, labels)
        if place is None:
            continue
        document = found.setdefault(place, {})
        if sample.family.kind == "info":
            document.update(labels)
        else:
            document.update(_values(field_key(sample.family.name, labels), sample))
    for document in found.values():
        phases = [document.get(f"power_watts_{phase}") for phase in _PHASES]
        watts = [value for value in phases if isinstance(value, int | float)]
        if len(watts) == len(_PHASES):  # of a part of them no sum is told
            document["power_watts"] = _number(round(float(sum(watts)), 6))
    return found


def _place(name: str, labels: dict[str, str]) -> str | None:
    """Where a family belongs; the labels that say so are taken out. None is nowhere."""
    if "plug" in labels:
        return f"plug/{level(labels.pop('plug'))}"
    if name.startswith("ccl_station_"):
        return STATION
    if name.startswith("ccl_variable_") and name != "ccl_variable_info":
        return f"device/{level(labels.pop('device'))}"
    return None


def field_key(name: str, labels: Mapping[str, str]) -> str:
    """What a family's value is called in its document."""
    for prefix in ("ccl_plug_", "ccl_station_"):
        name = name.removeprefix(prefix)
    if name.startswith("ccl_variable_"):
        name = f"{labels['variable']}_{name.removeprefix('ccl_variable_')}"
    phase = labels.get("phase")
    return f"{name.removeprefix('ccl_')}_{phase}" if phase else name.removeprefix("ccl_")


def _values(key: str, sample: Sample) -> Document:
    if sample.family.kind == "stateset":
        # Several errors may hold at once; of all else one word does.
        return {key: list(sample.active) if key == "error" else ",".join(sample.active)}
    if key in _YES_OR_NO:
        return {key: sample.value != 0}
    found: Document = {key: _number(sample.value)}
    if "joules" in key:
        kwh = key.removesuffix("_total").replace("joules", "kwh")
        found[kwh] = _number(round(sample.value / _JOULES_A_KWH, 6))
    return found


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def payload(document: Document) -> str:
    """A document as JSON, in the order of its keys, so that equal ones are equal texts."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False)


def scalars(document: Document) -> dict[str, str]:
    """Each value of a document by itself."""
    return {level(key): _scalar(value) for key, value in document.items()}


def _scalar(value: Value) -> str:
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
