"""Samples as MQTT messages: topics and payloads. Pure.

    ccl/owner                     {"id": "5f2c9d…", ...}, see `ownership`
    ccl/chargers                  ["garage"]
    ccl/garage/plug/EVSE.PLUG     {"state": "charging", "power_watts": 7350, "energy_kwh": 4855.39, ...}
    ccl/garage/station            {"temperature_celsius": 31.5, ...}
    ccl/garage/device/CCL1Mini    {"VI_volts": 232.1, ...}

Keys and values are those of `outputs.key_values`.
"""

import json
import re
from collections.abc import Iterable
from hashlib import sha256
from urllib.parse import quote, unquote

from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.key_values import Document, Subject, Value, by_subject

ONLINE, OFFLINE = "online", "offline"

STATION = "station"

_NON_CHARACTERS = "\ufdd0-\ufdef" + "".join(
    chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF)
)
# Brokers end a connection for a control or a non-character in a topic (MQTT 3.1.1, 1.5.3).
_NOT_IN_A_LEVEL = re.compile(rf"[/+#%\x00-\x1f\x7f-\x9f\ud800-\udfff{_NON_CHARACTERS}]")
# At most three levels of a topic are names of others, and it has at most 65,535 bytes (MQTT 3.1.1, 4.7.3).
_LONGEST_LEVEL = 1024
_CUT = 64  # characters, of twelve bytes at most


def level(name: str) -> str:
    """A name as one level of a topic: characters with a meaning in MQTT are percent-encoded (MQTT 3.1.1, 4.7).

    A name that is too long is cut, with a hash at its end.
    """
    encoded = _encoded(name)
    if len(encoded.encode()) <= _LONGEST_LEVEL:
        return encoded
    return f"{_encoded(name[:_CUT])}-{sha256(encoded.encode()).hexdigest()[:12]}"


def _encoded(name: str) -> str:
    return _NOT_IN_A_LEVEL.sub(lambda found: quote(found[0], safe="", errors="surrogatepass"), name)


def listing(names: Iterable[str]) -> str:
    """The message on `ccl/chargers`: the chargers by their names in topics, as JSON."""
    return json.dumps(sorted(map(level, names)), ensure_ascii=False)


def parse_listing(message: bytes) -> set[str]:
    """The names in such a list that `level` can produce; empty if the message is not valid."""
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        return set()
    names = found if isinstance(found, list) else []
    return {name for name in names if isinstance(name, str) and name and level(unquote(name)) == name}


def documents(samples: Iterable[Sample]) -> dict[str, Document]:
    """A document for each plug, for the station and for each device, by the end of its topic."""
    return {_place(subject): document for subject, document in by_subject(samples).items()}


def _place(subject: Subject) -> str:
    return STATION if subject.kind == STATION else f"{subject.kind}/{level(subject.name)}"


def payload(document: Document) -> str:
    """A document as JSON, in the order of its keys, so that equal ones are equal texts."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False)


def scalars(document: Document) -> dict[str, str]:
    """Each value of a document as text, by its last topic level."""
    return {level(key): _scalar(value) for key, value in document.items()}


def _scalar(value: Value) -> str:
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
