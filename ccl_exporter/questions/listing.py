"""Devices and variables as a person or a script asks for them from a shell: rows, text, JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase

from ccl_exporter.errors import UsageError
from ccl_exporter.model import Moment, Snapshot, Value
from ccl_exporter.variables import Reading, is_status

MASK = "(hidden)"


@dataclass(frozen=True, slots=True)
class Row:
    """One variable: its value as the engine sends it, with its unit, and what else is known of it.

    `value` is None where there is none, or where its device is silent; `writable` None if nobody said.
    """

    device: str
    variable: str
    title: str
    value: float | str | None
    unit: str
    writable: bool | None
    minimum: float | None
    maximum: float | None

    @property
    def id(self) -> str:
        return f"{self.device}.{self.variable}"


def rows(snapshot: Snapshot, sensitive: bool = False) -> list[Row]:
    """Every variable of a snapshot; personal values are hidden unless `sensitive`."""
    reading = Reading(snapshot)
    found = []
    for variable in reading.walk():
        device, name, info = variable.device, variable.name, variable.info
        known = reading.facts.known(device.type, name)
        low, high = known.range if known is not None and known.range is not None else (None, None)
        value = _plain(snapshot.values.get(variable.id))
        if not is_status(name) and not reading.trusted(variable):
            value = None
        if not variable.has_value:
            value = None
        if value is not None and not sensitive and variable.sensitive:
            value = MASK
        found.append(
            Row(
                device=device.id,
                variable=name,
                title=info.title if info is not None else "",
                value=value,
                unit=variable.symbol,
                writable=info.writable if info is not None else None,
                minimum=low if info is None or info.minimum is None else info.minimum,
                maximum=high if info is None or info.maximum is None else info.maximum,
            )
        )
    return found


def _plain(value: Value) -> float | str | None:
    if isinstance(value, Moment):
        return datetime.fromtimestamp(value.seconds, UTC).isoformat().replace("+00:00", "Z")
    return value


def chosen(found: Iterable[Row], patterns: Sequence[str], device: str | None, writable: bool) -> list[Row]:
    """The rows whose id or title fits one of the patterns (`*`, `?`, any case), of one device, writable only."""

    def fits(row: Row) -> bool:
        texts = (row.id.lower(), row.variable.lower(), row.title.lower())
        return any(fnmatchcase(text, pattern.lower()) for pattern in patterns for text in texts)

    return [
        row
        for row in found
        if (not patterns or fits(row))
        and (device is None or row.device == device)
        and (row.writable or not writable)
    ]


def number(value: float | str | None) -> str:
    """A value as text: numbers without needless zeros."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else (value or "-")


def table(found: Sequence[Row]) -> str:
    """The rows as aligned columns."""
    lines = [("VARIABLE", "VALUE", "UNIT", "WRITABLE", "RANGE", "TITLE")]
    for row in found:
        writable = {True: "yes", False: "no", None: ""}[row.writable]
        low, high = (number(limit) if limit is not None else "" for limit in (row.minimum, row.maximum))
        limits = f"{low}..{high}" if low or high else ""
        lines.append((row.id, number(row.value), row.unit, writable, limits, row.title))
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as columns; control characters of a charger cannot move a terminal's cursor."""
    shown = [tuple(printable(cell) for cell in line) for line in lines]
    widths = [max(len(line[column]) for line in shown) for column in range(len(shown[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in shown
    )


def printable(text: str) -> str:
    """A text without control characters."""
    return "".join(character if character.isprintable() else "�" for character in text)


def as_json(found: Sequence[Row]) -> str:
    """The rows as a JSON list."""
    return json.dumps([{"id": row.id, **asdict(row)} for row in found], ensure_ascii=False, indent=2)


def the_one(found: Sequence[Row], name: str) -> Row:
    """The row of a full id; raises `UsageError` that suggests the nearest ones."""
    by_id = {row.id: row for row in found}
    if name in by_id:
        return by_id[name]
    folded = {id.lower(): id for id in by_id}
    near = [folded[id] for id in get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
    hint = f"; did you mean {' or '.join(repr(id) for id in near)}?" if near else ""
    raise UsageError(f"the charger has no variable {name!r}{hint}")
