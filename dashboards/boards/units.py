"""What the exporter's catalogue says, in Grafana's words: units, names of states, what a metric is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from boards.grafana import Json, words
from ccl_exporter.metrics.families import Family
from ccl_exporter.station.catalogue import catalogue

LEAST_COLOR, GOOD, BUSY, WAITING, BAD, OFF = "text", "green", "blue", "yellow", "red", "purple"


KWH = " / 3600000"
"""From joules to kilowatt-hours, as PromQL and InfluxQL both write it."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Grafana's name of a unit, and what a value in the exporter's unit is multiplied with."""

    name: str
    factor: str = ""


# The longest end of a family's name counts.
_UNITS: Mapping[str, Unit] = {
    "timestamp_seconds": Unit("dateTimeAsLocal", " * 1000"),
    "voltampere_seconds": Unit("none", KWH),
    "var_seconds": Unit("none", KWH),
    "joules": Unit("kwatth", KWH),
    "voltamperes": Unit("voltamp"),
    "seconds": Unit("s"),
    "celsius": Unit("celsius"),
    "degrees": Unit("degree"),
    "amperes": Unit("amp"),
    "watts": Unit("watt"),
    "volts": Unit("volt"),
    "hertz": Unit("hertz"),
    "ratio": Unit("percentunit"),
    "bytes": Unit("bytes"),
    "vars": Unit("voltampreact"),
}


def unit(family: Family) -> Unit:
    """How values of a family are shown; a bare number has no unit."""
    name = family.name.removesuffix("_total")
    return next((found for end, found in _UNITS.items() if name.endswith(f"_{end}")), Unit("none"))


def about(text: str, *families: Family) -> str:
    """A description: what to look for, then the metrics it is made from as the catalogue has them."""
    lines = [f"`{family.name}`: {_code(family.help)}" for family in families]
    return "\n\n".join(filter(None, (text, *lines)))


def _code(help: str) -> str:
    """Names of variables as code, or a browser would take `<plug>` for a tag."""
    return re.sub(r"<plug>\.[A-Z_]+", r"`\g<0>`", help)


def _color(word: str) -> str:
    match word:
        case "charging" | "starting" | "resuming":
            return BUSY
        case "available" | "none":
            return GOOD
        case "error" | "outoforder":
            return BAD
        case "disabled" | "inoperative" | "not_initialised" | "reserved":
            return OFF
        case "unknown":
            return LEAST_COLOR
        case _:
            return WAITING


def codes(table: str) -> Mapping[int, str]:
    """The words of a code table by the code that an engine sends; each word once."""
    found = dict(catalogue().codes[table])
    if "unknown" not in found.values():
        found[-99] = "unknown"
    return dict(sorted(found.items()))


def states(table: str) -> Json:
    """The words of a code table as a mapping of its codes."""
    return words({code: (word.replace("_", " "), _color(word)) for code, word in codes(table).items()})


def numbered(family: Family) -> Json:
    """The words of a stateset as a mapping of their numbers in the family's list."""
    return words({number: (word, _color(word)) for number, word in enumerate(family.states)})


YES_NO = words({0: ("no", LEAST_COLOR), 1: ("yes", GOOD)})
UP_DOWN = words({0: ("absent", BAD), 1: ("answers", GOOD)})
FAULTS: Json = {
    "color": {"fixedColor": BAD, "mode": "fixed"},
    "mappings": [
        {"type": "value", "options": {"1": {"color": BAD, "index": 0, "text": "fault"}}},
        {"type": "special", "options": {"match": "empty", "result": {"color": GOOD, "index": 1, "text": "none"}}},
    ],
    "noValue": "none",
}
"""Lanes of faults: a 1 for each that holds, or all of them as a text."""

REASONS: Mapping[int, tuple[str, str]] = {
    0: ("it charges", BUSY),
    1: ("a fault", BAD),
    2: ("out of service", OFF),
    3: ("limit too low", OFF),
    4: ("no vehicle", GOOD),
    5: ("waits for permission", WAITING),
    6: ("charge has ended, vehicle still there", WAITING),
    7: ("see its state", LEAST_COLOR),
}
"""Why a plug does not charge, the first that holds; the ladder of `ccl_exporter/charging/view.py`."""
