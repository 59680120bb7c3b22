"""Devices and variables as a person or a script asks for them from a shell: rows, text, JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase

from ccl_exporter.station.rows import VariableRow
from ccl_exporter.text import align_columns, format_number


def select_rows(
    found: Iterable[VariableRow], patterns: Sequence[str], device: str | None, writable: bool
) -> list[VariableRow]:
    """The rows whose id or title fits one of the patterns (`*`, `?`, any case), of one device, writable only."""

    def fits(row: VariableRow) -> bool:
        texts = (row.id.lower(), row.variable.lower(), row.title.lower())
        return any(fnmatchcase(text, pattern.lower()) for pattern in patterns for text in texts)

    return [
        row
        for row in found
        if (not patterns or fits(row))
        and (device is None or row.device == device)
        and (row.writable or not writable)
    ]


def table(found: Sequence[VariableRow]) -> str:
    """The rows as aligned columns."""
    lines = [("VARIABLE", "VALUE", "UNIT", "WRITABLE", "RANGE", "TITLE")]
    for row in found:
        writable = {True: "yes", False: "no", None: ""}[row.writable]
        low, high = (format_number(limit) if limit is not None else "" for limit in (row.minimum, row.maximum))
        limits = f"{low}..{high}" if low or high else ""
        lines.append((row.id, format_number(row.value), row.unit, writable, limits, row.title))
    return align_columns(lines)


def as_json(found: Sequence[VariableRow]) -> str:
    """The rows as a JSON list."""
    return json.dumps([{"id": row.id, **asdict(row)} for row in found], ensure_ascii=False, indent=2)
