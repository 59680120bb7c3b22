"""What the exporter's catalogue says, in Grafana's words: units, names of states, what a metric is."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from boards.grafana import Json, words
from ccl_exporter.metrics.families import Family
from ccl_exporter.station.catalogue import NotCharging, PlugState, catalogue

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


_COLORS = {
    "charging": BUSY,
    "starting": BUSY,
    "available": GOOD,
    "idle": GOOD,
    "none": GOOD,
    "charges": BUSY,
    "no_vehicle": GOOD,
    "error": BAD,
    "fault": BAD,
    "faulted": BAD,
    "outoforder": BAD,
    "disabled": OFF,
    "inoperative": OFF,
    "limit_below_minimum": OFF,
    "not_initialised": OFF,
    "out_of_service": OFF,
    "reserved": OFF,
    "unknown": LEAST_COLOR,
}
"""Of states, activities, reasons and the words of OCPI; of others somebody waits."""


def _color(word: str) -> str:
    return _COLORS.get(word, WAITING)


def codes(table: str) -> Mapping[int, str]:
    """The words of a code table by the code that is stored; each word once."""
    if table == "not_charging":
        return {0: "charges", **{number: str(reason) for number, reason in enumerate(NotCharging, 1)}}
    found = {row.code: row.word for row in _rows()} if table == "plug_state" else dict(catalogue().codes[table])
    if "unknown" not in found.values():
        found[-99] = "unknown"
    return dict(sorted(found.items()))


def states(table: str) -> Json:
    """The words of a code table as a mapping of its codes."""
    if table == "plug_state":
        colors = {row.word: _color(row.status if row.status == "reserved" else row.activity) for row in _rows()}
    else:
        colors = {word: _color(word) for word in codes(table).values()}
    return words({code: (word.replace("_", " "), colors[word]) for code, word in codes(table).items()})


def _rows() -> Iterable[PlugState]:
    return catalogue().plug_states.values()


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

REASONS = states("not_charging")
"""Why a plug does not charge, by the number that is stored."""
