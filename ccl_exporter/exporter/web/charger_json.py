"""One charger as JSON, for programs that follow it: evcc, Home Assistant, Node-RED. Pure.

    GET /charger/garage.json
    {"charger": "garage", "title": "Wallbox", "up": true, "read_timestamp_seconds": 1790001805.3,
     "station": {"temperature_celsius": 31.5, ...}, "plugs": {"EVSE.PLUG": {"state": "charging", ...}}}

With `?variables=true` there are `devices` too. Keys and values are those of `outputs.key_values`, by the names of
plugs and devices as the engine has them. What is not known has no key: nothing stands for it.
"""

import json
from collections.abc import Container, Iterable

from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.key_values import Document, by_subject
from ccl_exporter.settings import JSON_ENDING, Module

TIMEOUT = 8.0
"""Seconds that the charger may take: evcc and Home Assistant wait for ten."""

PREFIX = "/charger/"


def charger_named(path: str) -> str | None:
    """The charger whose JSON is asked for, by the path of the request as WSGI has it; None for any other path."""
    if not (path.startswith(PREFIX) and path.endswith(JSON_ENDING)):
        return None
    return path[len(PREFIX) : -len(JSON_ENDING)].encode("latin-1").decode(errors="replace")


def charger_json(
    charger: str,
    title: str,
    read_at: float | None,
    up: bool,
    samples: Iterable[Sample],
    modules: Container[Module],
) -> bytes:
    """The document of a charger. `read_at` is when it was last read with success, in Unix seconds."""
    found: dict[str, dict[str, Document]] = {"plug": {}, "device": {}, "station": {}}
    for subject, document in by_subject(samples).items():
        found[subject.kind][subject.name] = document
    shown = {
        "charger": charger,
        "title": title,
        "up": up,
        "read_timestamp_seconds": read_at,
        "station": found["station"].get("", {}),
        "plugs": found["plug"],
        **({"devices": found["device"]} if "variables" in modules else {}),
    }
    return json.dumps(shown, ensure_ascii=False, allow_nan=False).encode()
