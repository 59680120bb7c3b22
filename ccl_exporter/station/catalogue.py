"""Vendor facts read from `catalogue.toml`: units, codes, device types, what is personal.

They say what a variable is; `metrics.samples` decides which metric it becomes.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Unit:
    """A vendor unit: its quantity and the conversion to the base unit (protocol 4.2).

    base value = (value x 10^factor + offset) x scale. A value as sent outside `minimum` to `maximum` is not
    available.
    """

    quantity: str
    symbol: str
    scale: float = 1.0
    offset: float = 0.0
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one variable of a device type.

    `unit` is a code of `units`; `range` are the lowest and highest number that may be written, as sent.
    """

    unit: str | None = None
    factor: int = 0
    sensitive: bool = False
    range: tuple[float, float] | None = None


class Activity(StrEnum):
    """What a plug does, independent of the vendor's codes."""

    OUT_OF_SERVICE = "out_of_service"
    FAULTED = "faulted"
    IDLE = "idle"
    WAITING = "waiting"
    STARTING = "starting"
    CHARGING = "charging"
    SUSPENDED = "suspended"
    STOPPING = "stopping"
    ENDED = "ended"
    UNKNOWN = "unknown"


class NotCharging(StrEnum):
    """The reason why a plug does not charge. A new one comes last, as databases store its position."""

    FAULT = "fault"
    RESERVED = "reserved"
    NO_VEHICLE = "no_vehicle"
    DISABLED = "disabled"
    LIMIT_BELOW_MINIMUM = "limit_below_minimum"
    WAITING_FOR_POWER = "waiting_for_power"
    VEHICLE_NOT_READY = "vehicle_not_ready"
    WAITING_FOR_PERMISSION = "waiting_for_permission"
    WAITING_FOR_SCHEDULE = "waiting_for_schedule"
    PAUSED = "paused"
    STARTING = "starting"
    SESSION_ENDED = "session_ended"
    UNKNOWN = "unknown"

    @property
    def number(self) -> int:
        """Its position, from 1 on; metrics have 0 for a plug that charges."""
        return list(NotCharging).index(self) + 1


@dataclass(frozen=True, slots=True)
class PlugState:
    """A row of `plug_states`: a code, its word, and everything that follows from it alone (protocol 9.1).

    `status` is a word of OCPI; `reason` is None for the state in which a vehicle charges. `sentence` completes
    "the plug does not charge: …". `limited` says that a current limit below the minimum can cause the state.
    """

    code: int
    word: str
    status: str
    activity: Activity
    sentence: str
    reason: NotCharging | None = None
    limited: bool = False


@dataclass(frozen=True, slots=True)
class _Group:
    types: tuple[str, ...]
    role: str
    phases: bool
    variables: Mapping[str, Known]
    titles: Mapping[str, str]

    def row(self, last: str) -> Known | None:
        """The row of a variable by the last part of its name."""
        row = self.variables.get(last)
        if row is None and self.phases and last[-1:] in ("1", "2", "3"):
            row = self.variables.get(last[:-1])
        return row

    def title(self, last: str) -> str:
        """The title of a variable by the last part of its name; "" if there is none."""
        title = self.titles.get(last, "")
        if not title and self.phases and last[-1:] in ("1", "2", "3") and last[:-1] in self.titles:
            title = f"{self.titles[last[:-1]]}, L{last[-1]}"
        return title


ROLES = frozenset({"meter", "engine", "vehicle", "board", "reader", "display", ""})
"""Which part of a station a device may be; "" is the group that applies to every device."""

_GROUP_KEYS = frozenset({"types", "role", "names", "phases", "plain", "variables", "titles"})
_ROW_KEYS = frozenset(field.name for field in fields(Known))
_STATE_KEYS = frozenset(field.name for field in fields(PlugState))

_PREFIXES = {-6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The rows of `catalogue.toml` and the look-ups in them."""

    plug_states: Mapping[int, PlugState]
    not_charging: Mapping[NotCharging, str]
    units: Mapping[str, Unit]
    codes: Mapping[str, Mapping[int, str]]
    bits: Mapping[str, tuple[str, ...]]
    groups: tuple[_Group, ...]
    names: frozenset[str]
    ranges: Mapping[str, tuple[float, float]]
    charger_ranges: Mapping[str, tuple[float, float]]
    registers: re.Pattern[str]
    personal: re.Pattern[str]
    innocent: re.Pattern[str]

    def plug_state(self, code: float | None) -> PlugState | None:
        """The row of a code; that of the word `unknown` for any other code, None without a code."""
        if code is None:
            return None
        return self.plug_states.get(int(code) if float(code).is_integer() else _UNKNOWN_STATE, self._unknown_state)

    @property
    def _unknown_state(self) -> PlugState:
        return self.plug_states[_UNKNOWN_STATE]

    def role(self, device_type: str | None) -> str:
        """Which part of a station a device of this type is: meter, engine, vehicle, board, ...; "" if unknown."""
        return next((group.role for group in self.groups if device_type in group.types), "")

    def known(self, device_type: str | None, name: str) -> Known | None:
        """The row for a variable (name without its device) by its last dotted part; None if there is none."""
        last = last_part(name)
        for group in self.groups:
            if device_type not in group.types and "*" not in group.types:
                continue
            row = group.row(last)
            if row is not None:
                return row
        return None

    def title(self, device_type: str | None, name: str) -> str:
        """What a variable (name without its device) is, in a few words; "" if that is not known."""
        groups = (group for group in self.groups if device_type in group.types or "*" in group.types)
        return next(filter(None, (group.title(last_part(name)) for group in groups)), "")

    def sensitive(self, device_type: str | None, name: str, *, text: bool = False, measured: bool = False) -> bool:
        """Whether the value of a variable must not be shown. All privacy is decided here.

        The variable's own row decides. Without one a `text` is hidden, and for a number the rows of other device
        types decide. Without any row a number is hidden if the last part of its name looks personal. Unless it is
        `measured`, that is a date or in a known unit, it is also hidden if another part of its name looks
        personal, and while `device_type` is not known.
        """
        row = self.known(device_type, name)
        if row is not None:
            return row.sensitive
        if text:
            return True
        rows = [row for group in self.groups if (row := group.row(last_part(name))) is not None]
        if rows:
            return any(row.sensitive for row in rows)
        if self.looks_personal(last_part(name)):
            return True
        return not measured and (not device_type or self.looks_personal(name))

    def looks_personal(self, name: str) -> bool:
        """Whether a name contains a word that stands for a person or a secret."""
        words = _NO_LETTER.sub("_", f"_{_HUMP.sub('_', name)}_").upper()
        return self.personal.search(self.innocent.sub("_", words)) is not None

    def register(self, name: str, sample_mode: str | None) -> bool:
        """Whether an energy only grows, by its sampleMode or by its name (protocol 4.1, 9)."""
        return sample_mode == "differential" or self.registers.fullmatch(last_part(name)) is not None

    def symbol(self, code: str, factor: int) -> str:
        """A unit as a person reads it, `kWh` for (`#WH`, 3); an unknown code as sent, `10^3 KgCO2`."""
        unit = self.units.get(code)
        if unit is not None and factor in _PREFIXES:
            return _PREFIXES[factor] + unit.symbol
        symbol = unit.symbol if unit is not None else code
        return f"10^{factor} {symbol}" if factor else symbol


_UNKNOWN_STATE = -99
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NO_LETTER = re.compile(r"[\W\d_]+")


def last_part(name: str) -> str:
    """The last dotted part of a variable's name, in capitals."""
    return name.rpartition(".")[2].upper()


def _check_keys(place: str, row: Mapping[str, Any], known: frozenset[str]) -> None:
    if unknown := row.keys() - known:
        raise ValueError(f"{place}: unknown keys: {', '.join(sorted(unknown))}")


def _plug_state(row: Mapping[str, Any]) -> PlugState:
    _check_keys(f"plug_states: {row.get('code')}", row, _STATE_KEYS)
    reason = NotCharging(row["reason"]) if "reason" in row else None
    return PlugState(**{**row, "activity": Activity(row["activity"]), "reason": reason})


def _group(row: Mapping[str, Any]) -> _Group:
    """The group of a `[[devices]]` table."""
    place = f"devices of types {row.get('types')}"
    _check_keys(place, row, _GROUP_KEYS)
    if row["role"] not in ROLES:
        raise ValueError(f"{place}: unknown role {row['role']!r}")
    return _Group(
        types=tuple(row["types"]),
        role=row["role"],
        phases=row.get("phases", False),
        titles=row.get("titles", {}),
        variables={name: Known() for name in row.get("plain", ())}
        | {name: _known(f"{place}: {name}", known) for name, known in row["variables"].items()},
    )


def _known(place: str, row: Mapping[str, Any]) -> Known:
    _check_keys(place, row, _ROW_KEYS)
    return Known(**{**row, "range": _range(row["range"]) if "range" in row else None})


def _range(row: Sequence[float]) -> tuple[float, float]:
    low, high = row
    return float(low), float(high)


@cache
def catalogue() -> Catalogue:
    """The one catalogue, read from the package's own file."""
    return parse_catalogue(files("ccl_exporter.station").joinpath("catalogue.toml").read_text(encoding="utf-8"))


def parse_catalogue(text: str) -> Catalogue:
    """A catalogue from the text of its file.

    Raises `ValueError` that names the row for an unknown key of a plug state, device group or variable. Other
    errors in the file raise `ValueError`, `KeyError` or `TypeError`.
    """
    rows = tomllib.loads(text)
    return Catalogue(
        plug_states={state.code: state for state in map(_plug_state, rows["plug_states"])},
        not_charging={NotCharging(reason): sentence for reason, sentence in rows["not_charging"].items()},
        units={code: Unit(**row) for code, row in rows["units"].items()},
        codes={name: {int(code): word for code, word in table.items()} for name, table in rows["codes"].items()},
        bits={name: tuple(words) for name, words in rows["bits"].items()},
        groups=tuple(map(_group, rows["devices"])),
        names=frozenset(name for row in rows["devices"] for name in row.get("names", ())),
        ranges={quantity: _range(row) for quantity, row in rows["ranges"].items()},
        charger_ranges={quantity: _range(row) for quantity, row in rows["charger_ranges"].items()},
        registers=re.compile(rows["registers"]["pattern"]),
        personal=re.compile(rows["sensitive"]["pattern"]),
        innocent=re.compile(rows["sensitive"]["innocent"]),
    )
