"""Devices and variables as a person or a script asks for them from a shell: rows, text, JSON."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from functools import partial
from time import monotonic

from ccl_exporter.diagnostics.check import ALL
from ccl_exporter.powerstudio.command_reader import CommandReader
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.catalogue import catalogue
from ccl_exporter.station.code_words import words_of_code
from ccl_exporter.station.rows import VariableRow
from ccl_exporter.text import align_columns, format_number, natural_key

_NO_ROLES: Mapping[str, str] = {}


def select_rows(
    found: Iterable[VariableRow], patterns: Sequence[str], device: str | None, writable: bool
) -> list[VariableRow]:
    """The rows that fit one of the patterns (`*`, `?`, any case), of one device, writable only.

    They fit by id; where none does, by title. They are in natural order: `VAR9` before `VAR10`.
    """
    rows = [row for row in found if device is None or row.device == device]
    if patterns:
        by_id = [row for row in rows if _fits(patterns, row.id, row.variable)]
        rows = by_id or [row for row in rows if _fits(patterns, row.title)]
    return sorted((row for row in rows if row.writable or not writable), key=lambda row: natural_key(row.id))


def chosen_reader(
    reader: CommandReader, patterns: Sequence[str], device: str | None, patience: float
) -> Callable[[], Snapshot] | None:
    """What reads the variables that fit by id, with their descriptions, and asks for as little else as possible.

    None if nothing fits by id, and only a description of everything can say what fits by title.
    `patience` is in seconds, for the first answer. Raises what goes wrong.
    """
    ids = reader.devices(monotonic() + patience)
    reader.learn([id for id in ids if device is None or id == device], monotonic() + ALL)
    fitting = {
        one.id: [
            name
            for name in one.variables
            if not patterns or _fits(patterns, name, name.removeprefix(f"{one.id}."))
        ]
        for one in reader.inventory.devices
    }
    names = [name for found in fitting.values() for name in found]
    if not names:
        return None
    reader.describe(names, monotonic() + ALL)
    return partial(reader.read, ALL, [id for id, found in fitting.items() if found])


def _fits(patterns: Sequence[str], *texts: str) -> bool:
    return any(fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns for text in texts)


def device_roles(snapshot: Snapshot) -> Mapping[str, str]:
    """What each device is in the station, by its id; codes mean something only with that."""
    return {device.id: catalogue().role(device.type) for device in snapshot.inventory.devices}


def table(found: Sequence[VariableRow], roles: Mapping[str, str] = _NO_ROLES) -> str:
    """The rows as aligned columns; beside a code stands what it means. `roles` are those of the devices."""
    lines = [("VARIABLE", "VALUE", "UNIT, STATE", "WRITABLE", "RANGE", "TITLE")]
    for row in found:
        writable = {True: "yes", False: "no", None: ""}[row.writable]
        low, high = (format_number(limit) if limit is not None else "" for limit in (row.minimum, row.maximum))
        limits = f"{low}..{high}" if low or high else ""
        beside = _words(row, roles) or row.unit
        lines.append((row.id, format_number(row.value), beside, writable, limits, row.title))
    return align_columns(lines)


def as_json(found: Sequence[VariableRow], roles: Mapping[str, str] = _NO_ROLES) -> str:
    """The rows as a JSON list; `words` are what a code means, null if it is none."""
    rows = [{"id": row.id, **asdict(row), "words": _words(row, roles) or None} for row in found]
    return json.dumps(rows, ensure_ascii=False, indent=2)


def _words(row: VariableRow, roles: Mapping[str, str]) -> str:
    return words_of_code(roles.get(row.device, ""), row.variable, row.value)
