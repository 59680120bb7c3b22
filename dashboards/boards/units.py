"""What the exporter's catalogue says, in Grafana's words: units, names of states, what a metric is."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from boards.grafana import Json, words
from ccl_exporter.metrics.families import PLUG_ERROR, Family
from ccl_exporter.station import remedies
from ccl_exporter.station.catalogue import NotCharging, PlugState, catalogue

LEAST_COLOR, GOOD, BUSY, WAITING, BAD, OFF = "text", "green", "blue", "yellow", "red", "purple"


KWH = " / 3600000"
"""From joules to kilowatt-hours, as PromQL and InfluxQL both write it."""


ENERGY = "suffix:kWh"
"""Always kilowatt-hours, as on a meter and on a bill: `kwatth` makes "1.45 MWh" and "0.5 Wh" of them."""

DURATION = "dthms"
"""Hours, minutes and seconds: the words of `dtdurations` leave out all but the first, "1 hour" for 1 h 59 min."""

HOURS = "suffix:h"
"""Hours with decimals, for sums that are compared with each other; `h` would turn into days and weeks."""

LOCAL_TIME = "dateTimeAsLocal"
"""Date and time in the time zone of the board and the order of the reader's language, from milliseconds."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Grafana's name of a unit, and what a value in the exporter's unit is multiplied with."""

    name: str
    factor: str = ""


# The longest end of a family's name counts.
_UNITS: Mapping[str, Unit] = {
    "timestamp_seconds": Unit(LOCAL_TIME, " * 1000"),
    "voltampere_seconds": Unit("suffix:kVAh", KWH),
    "var_seconds": Unit("suffix:kvarh", KWH),
    "joules": Unit(ENERGY, KWH),
    "voltamperes": Unit("voltamp"),
    "seconds": Unit(DURATION),
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
    "no_vehicle": GOOD,
    "error": BAD,
    "fault": BAD,
    "faulted": BAD,
    "not_reachable": BAD,
    "outoforder": BAD,
    "disabled": OFF,
    "inoperative": OFF,
    "limit_below_minimum": OFF,
    "not_initialised": OFF,
    "out_of_service": OFF,
    "reserved": OFF,
    "ended": LEAST_COLOR,
    "session_ended": LEAST_COLOR,
    "unknown": LEAST_COLOR,
}
"""Of states, activities, reasons and the words of OCPI; in others the vehicle or the charger waits."""

NOT_REACHABLE = -98
"""A number beside the codes of states and reasons, for a charger that does not answer."""

_FAULTY_ENDS = ("error", "vehicle_communication", "vehicle_over_current")


def _color(word: str) -> str:
    return _COLORS.get(word, WAITING)


def codes(table: str) -> Mapping[int, str]:
    """The words of a code table by the code that is stored; each word once."""
    if table == "not_charging":
        return {0: "charging", **{number: str(reason) for number, reason in enumerate(NotCharging, 1)}}
    found = {row.code: row.word for row in _rows()} if table == "plug_state" else dict(catalogue().codes[table])
    if "unknown" not in found.values():
        found[-99] = "unknown"
    return dict(sorted(found.items()))


def states(table: str) -> Json:
    """The words of a code table as a mapping of its codes."""
    shown = dict(codes(table))
    if table == "plug_state":
        colors = {row.word: _color(row.status if row.status == "reserved" else row.activity) for row in _rows()}
    elif table == "stop_reason":
        colors = {word: BAD if word in _FAULTY_ENDS else LEAST_COLOR for word in shown.values()}
    else:
        colors = {word: _color(word) for word in shown.values()}
    if table in ("plug_state", "not_charging"):
        shown[NOT_REACHABLE] = "not_reachable"
        colors["not_reachable"] = BAD
    return words({code: (word.replace("_", " "), colors[word]) for code, word in shown.items()})


def _rows() -> Iterable[PlugState]:
    return catalogue().plug_states.values()


BY_URGENCY = ("available", "charging", "reserved", "blocked", "unknown", "inoperative", "outoforder")
"""The words of OCPI for a plug, those last that need attention; "not reachable" comes after them."""

STATUS = words(
    {
        **{
            number: ({"blocked": "occupied", "outoforder": "out of order"}.get(word, word), _color(word))
            for number, word in enumerate(BY_URGENCY)
        },
        len(BY_URGENCY): ("not reachable", BAD),
    }
)
"""The status of a plug by its number in `BY_URGENCY`."""

YES_NO = words({0: ("no", LEAST_COLOR), 1: ("yes", BUSY)})
CONTACT = words({0: ("not reachable", BAD), 1: ("reachable", GOOD)})
UPDATE = words({1: ("yes, update to 4.3.1 or newer", WAITING)})
SUCCESS = words({0: ("failed", BAD), 1: ("OK", GOOD)})
FAULT_NAMES = {
    **remedies.FAULT_NAMES,
    "rcd": "safety switch",
    "contactor": "power relay",
    "ev_communication_device": "communication",
}
"""What faults are called, in the room of a stat."""

FAULTS: Json = {
    "color": {"fixedColor": BAD, "mode": "fixed"},
    "mappings": [
        {"type": "value", "options": {"1": {"color": BAD, "index": 0, "text": "fault"}}},
        {"type": "special", "options": {"match": "empty", "result": {"color": GOOD, "index": 1, "text": "none"}}},
    ],
    "noValue": "none",
}
"""Lanes of faults: a 1 for each that holds, or all of them as a text."""

FAULT_TEXTS: Json = {
    **FAULTS,
    "mappings": [
        *FAULTS["mappings"],
        {
            "type": "value",
            "options": {word: {"color": BAD, "index": 2, "text": name} for word, name in FAULT_NAMES.items()},
        },
    ],
}
"""The faults of now as a text."""

REASONS = states("not_charging")
"""Why a plug does not charge, by the number that is stored; 0 while it charges."""

FAULT_REASONS: Mapping[str, int] = {word: 100 + 2 * place for place, word in enumerate(PLUG_ERROR.states)}
"""Numbers beside those of reasons, for a plug with this fault; the next number says that it has others too."""


def _fault_reasons() -> Iterator[tuple[int, tuple[str, str]]]:
    for word, number in FAULT_REASONS.items():
        name = f"fault: {remedies.fault_name(word)}"
        yield from ((number, (name, BAD)), (number + 1, (f"{name} and others", BAD)))


REASONS_AND_FAULTS: Json = {"mappings": [*REASONS["mappings"], *words(dict(_fault_reasons()))["mappings"]]}
"""Why a plug does not charge, and which fault it has."""
