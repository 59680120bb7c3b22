"""Home Assistant's discovery messages: which device and entities a charger and its plugs are. Pure.

A charger with one plug is one device; with several, each plug is a device behind that of the charger.
Topics and `unique_id`s do not depend on that, so Home Assistant keeps an entity's history when it changes.
The keys are those of Home Assistant's documentation of MQTT discovery (device messages, long names).
What identifies a device is made of the charger's URL, so that it stays the same under another name.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from ccl_exporter import __version__
from ccl_exporter.metrics.families import Family, Sample
from ccl_exporter.outputs.key_values import field_key
from ccl_exporter.outputs.mqtt.payload import OFFLINE, ONLINE, STATION, documents, level


def _template(then: str) -> str:
    """A value template; a missing value becomes `None`, which Home Assistant shows as unknown."""
    return f"{{{{{{{{ {then} if value_json.{{key}} is defined else none }}}}}}}}"


_VALUE = _template("value_json.{key}")
_INSTANT = _template("(value_json.{key} | as_datetime).isoformat()")
_PERCENT = _template("value_json.{key} * 100")
_IS = _template("('ON' if value_json.{key} else 'OFF')")
_IS_NOT = _template("('OFF' if value_json.{key} else 'ON')")
_WORDS = _template("(value_json.{key} | join(', ') or 'none')")
_WORD_OR_NONE = _template("(value_json.{key} or 'none')")
_CHARGING = _template("('ON' if value_json.{key} == 'charging' else 'OFF')")
# The session is known by its request. Without one, a session could be added to another one's energy.
_REQUEST = "value_json.charge_request_timestamp_seconds"
_OF_SESSION = (
    f"{{{{{{{{ value_json.{{key}} if value_json.{{key}} is defined and {_REQUEST} is defined else none }}}}}}}}"
)
# Home Assistant ignores an empty text here, and warns of `None`.
_LAST_RESET = f"{{{{ ({_REQUEST} | as_datetime).isoformat() if {_REQUEST} is defined else '' }}}}"


@dataclass(frozen=True, slots=True)
class Entity:
    """How Home Assistant shows a value; an empty field means its default.

    `is_extra`: it repeats another entity, and is disabled at first.
    `also` are options besides the words of the value.
    """

    name: str
    platform: str = "sensor"
    device_class: str = ""
    unit: str = ""
    state_class: str = ""
    precision: int | None = None
    diagnostic: bool = False
    template: str = _VALUE
    last_reset: str = ""
    suffix: str = ""
    icon: str = ""
    is_extra: bool = False
    also: tuple[str, ...] = ()


def _instant(name: str, icon: str, *, diagnostic: bool = False, is_extra: bool = False) -> Entity:
    return Entity(
        *(name, "sensor", "timestamp"), diagnostic=diagnostic, template=_INSTANT, icon=icon, is_extra=is_extra
    )


def _faults(of: str) -> Sequence[Entity]:
    """Whether there is a fault, and which; `of` begins the name."""
    name = f"{of} fault".strip().capitalize()
    return (
        Entity(name, "binary_sensor", "problem", diagnostic=True, template=_IS),
        Entity(f"{name} list", diagnostic=True, template=_WORDS, suffix="_words", icon="mdi:alert", is_extra=True),
    )


# By key of the document. Other values are published, but have no entity.
_PLUG: Mapping[str, Sequence[Entity]] = {
    "state": (Entity("State", device_class="enum", icon="mdi:ev-station"),),
    "not_charging_reason": (
        Entity(
            *("Reason for not charging", "sensor", "enum"),
            template=_WORD_OR_NONE,
            icon="mdi:help-circle-outline",
            also=("none",),
        ),
    ),
    "status": (
        Entity("OCPI status", device_class="enum", diagnostic=True, icon="mdi:ev-station", is_extra=True),
        Entity("Charging", "binary_sensor", "battery_charging", template=_CHARGING, suffix="_charging"),
    ),
    "error": _faults(""),
    "vehicle_connected": (Entity("Vehicle", "binary_sensor", "plug", template=_IS),),
    "locked": (Entity("Cable lock", "binary_sensor", "lock", diagnostic=True, template=_IS_NOT),),
    "enabled": (Entity("Enabled", "binary_sensor", diagnostic=True, template=_IS, icon="mdi:power"),),
    "energy_kwh": (Entity("Total energy", "sensor", "energy", "kWh", "total", 2, icon="mdi:meter-electric"),),
    # `total_increasing` would not see that a session began at zero if the one before was smaller.
    "charge_energy_kwh": (
        Entity(
            *("Session energy", "sensor", "energy", "kWh", "total", 2),
            template=_OF_SESSION,
            last_reset=_LAST_RESET,
            icon="mdi:battery-charging",
        ),
    ),
    "power_watts": (Entity("Power", "sensor", "power", "W", "measurement", 0),),
    "current_amperes": (Entity("Current", "sensor", "current", "A", "measurement", 1),),
    "voltage_volts": (Entity("Voltage", "sensor", "voltage", "V", "measurement", 0, diagnostic=True),),
    "current_max_amperes": (Entity("Rated current", "sensor", "current", "A", "", 0, diagnostic=True),),
    "current_limit_amperes": (
        Entity("Current limit", "sensor", "current", "A", "measurement", 1, icon="mdi:speedometer"),
    ),
    "power_reduction_ratio": (
        Entity(
            *("Reduction", "sensor", "", "%"),
            precision=0,
            diagnostic=True,
            template=_PERCENT,
            icon="mdi:arrow-collapse-down",
            is_extra=True,
        ),
    ),
    "charge_request_timestamp_seconds": (
        _instant("Session request", "mdi:card-account-details-outline", diagnostic=True, is_extra=True),
    ),
    "charge_begin_timestamp_seconds": (_instant("Session start", "mdi:clock-start"),),
    "charge_end_timestamp_seconds": (_instant("Session end", "mdi:clock-end"),),
    "charge_duration_seconds": (Entity("Session duration", "sensor", "duration", "s", "measurement", 0),),
    "charge_stop_reason": (Entity("Session stop reason", device_class="enum", icon="mdi:stop-circle-outline"),),
}
_STATION: Mapping[str, Sequence[Entity]] = {
    "state": (
        Entity("Station state", device_class="enum", diagnostic=True, icon="mdi:ev-station", is_extra=True),
    ),
    "error": _faults("station"),
    "temperature_celsius": (
        Entity("Temperature", "sensor", "temperature", "°C", "measurement", 1, diagnostic=True),
    ),
    "boot_timestamp_seconds": (_instant("Last restart", "mdi:restart", diagnostic=True),),
    "active_events": (
        Entity("Active events", state_class="measurement", precision=0, diagnostic=True, icon="mdi:bell-alert"),
    ),
}
_ABOUT = (("manufacturer", "company"), ("model", "product"), ("sw_version", "version"))


@dataclass(frozen=True, slots=True)
class Place:
    """The topics on the broker: `root` of the exporter, and Home Assistant's discovery `prefix`."""

    root: str
    prefix: str

    @property
    def status(self) -> str:
        """The topic of the exporter's `online` or `offline`."""
        return f"{self.root}/status"


MIGRATE = json.dumps({"migrate_discovery": True})
"""A message by which Home Assistant unloads the entities of a topic and keeps their settings and history.

Without it an entity stays with its device until Home Assistant is restarted.
"""

Seen = Mapping[str, Mapping[str, Sequence[str]]]
"""The keys of a charger by end of topic, such as `plug/EVSE.PLUG`; each with the words of its value, if any."""


def seen(samples: Iterable[Sample], charge: Sequence[Family]) -> Seen:
    """The keys of plugs and station in samples; each plug also has those of `charge`, even before a session."""
    samples = list(samples)
    found: dict[str, dict[str, Sequence[str]]] = {}
    for place, document in documents(samples).items():
        if not place.startswith("device/"):
            found[place] = dict.fromkeys(document, ())
    for place, keys in found.items():
        if place.startswith("plug/"):
            for family in charge:
                keys.setdefault(field_key(family.name, {}).replace("joules", "kwh"), family.states)
    for sample in samples:
        labels = dict(zip(sample.family.labels, sample.labels, strict=True))
        place = f"plug/{level(labels['plug'])}" if "plug" in labels else STATION
        if place in found and sample.family.kind == "stateset":
            found[place][field_key(sample.family.name, labels)] = sample.family.states
    return found


def merged(one: Seen, other: Seen) -> Seen:
    """The keys of both, so that an entity stays while it has no value."""
    return {place: {**one.get(place, {}), **other.get(place, {})} for place in {**one, **other}}


def identity(*parts: str) -> str:
    """An identifier that depends only on these parts: `ccl_` and 12 hexadecimal digits."""
    return f"ccl_{sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"


def discovery(
    where: Place,
    charger: str,
    url: str,
    found: Seen,
    about: Mapping[str, str],
    title: str = "",
    plug_titles: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """The messages by topic: one for the charger, one for each of its plugs.

    `about` may have `company`, `product` and `version`; `plug_titles` are by topic level of the plug.
    """
    station = identity(url)
    own = f"{where.root}/{level(charger)}"
    shared = {
        "origin": {"name": "ccl-exporter", "sw_version": __version__},
        "availability": [{"topic": where.status}, {"topic": f"{own}/status"}],
        "availability_mode": "all",
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
    }
    contact = {
        "platform": "binary_sensor",
        "unique_id": f"{station}_contact",
        "name": "Connection",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": f"{own}/status",
        "payload_on": ONLINE,
        "payload_off": OFFLINE,
        # It is available also while the charger is offline.
        "availability": [{"topic": where.status}],
    }
    shown = title or charger
    made_by = {key: about[label] for key, label in _ABOUT if about.get(label)}
    charger_device = {"identifiers": [station], "name": shown, "configuration_url": url, **made_by}
    components = {"contact": contact, **_components(station, _STATION, found.get(STATION, {}))}
    devices = [(station, STATION, charger_device, components)]
    plugs = [place for place in sorted(found) if place.startswith("plug/")]
    for place in plugs:
        plug = identity(url, place)
        name = plug_titles.get(place[5:]) or place[5:]
        device = {"identifiers": [plug], "name": f"{shown} {name}", "via_device": station, **made_by}
        if len(plugs) == 1:
            device = charger_device
        devices.append((plug, place, device, _components(plug, _PLUG, found[place])))
    messages = {}
    for id, place, device, components in devices:
        message = {"device": device, **shared, "state_topic": f"{own}/{place}", "components": components}
        messages[f"{where.prefix}/device/{id}/config"] = json.dumps(message, ensure_ascii=False)
    return messages


def _components(
    device: str, table: Mapping[str, Sequence[Entity]], keys: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    found = {}
    for name, words in sorted(keys.items()):
        bare, _, phase = name.rpartition("_")
        known = table.get(name) or (table.get(bare) if phase in ("l1", "l2", "l3") else None)
        for entity in known or ():
            id = f"{name}{entity.suffix}"
            component = {
                "platform": entity.platform,
                "unique_id": f"{device}_{id}",
                "name": entity.name if name in table else f"{entity.name} {phase.upper()}",
                "value_template": entity.template.format(key=name),
                "device_class": entity.device_class,
                "unit_of_measurement": entity.unit,
                "state_class": entity.state_class,
                "last_reset_value_template": entity.last_reset,
                "suggested_display_precision": entity.precision,
                "entity_category": "diagnostic" if entity.diagnostic else "",
                "options": [*words, *entity.also] if entity.device_class == "enum" else "",
                "icon": entity.icon,
                "enabled_by_default": False if entity.is_extra else "",
            }
            found[id] = {option: value for option, value in component.items() if value not in ("", None)}
    return found


def device_of(message: str | bytes) -> str | None:
    """The identifier of the device in a discovery message; None if the message is not valid."""
    try:
        return str(json.loads(message)["device"]["identifiers"][0])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None


def station_of(where: Place, message: bytes) -> str | None:
    """The identifier of the charger in a discovery message; None if it is not of an exporter with this topic."""
    try:
        parts = json.loads(message)
        device, topics = parts["device"], [entry["topic"] for entry in parts["availability"]]
        station = device.get("via_device") or device["identifiers"][0]
        name = parts["origin"]["name"]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        return None
    return str(station) if name == "ccl-exporter" and where.status in topics else None
