"""Prices of electricity, or its carbon, by time: CSV, JSON, or what tariff APIs give, to slots in Unix seconds.

Facts of the formats: standard-unit-rates of Octopus Energy's REST API (`results` with `valid_from`, `valid_to`,
`value_inc_vat`), and the Carbon Intensity API of Great Britain (`data` with `from`, `to`, `intensity.forecast`).
"""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import isfinite
from typing import Any

from ccl_exporter.errors import UsageError

OPEN_END = timedelta(days=2)
"""How long a price is taken to hold that has no end yet."""

_MOST = 100_000
_SHAPES = (
    ("valid_from", "valid_to", "value_inc_vat"),
    ("from", "to", "intensity"),
    ("begin", "end", "price"),
)


@dataclass(frozen=True, slots=True)
class Slot:
    """From `begin` to `end` (Unix seconds) a kilowatt-hour costs `price`, in whatever unit the file has."""

    begin: float
    end: float
    price: float

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def parse(text: str) -> Sequence[Slot]:
    """The slots of a document, in order; raises `UsageError` that says what is wrong, and where.

    CSV has a header with `begin`, `end` and `price`; JSON is a list of objects with these, or what the APIs give.
    """
    stripped = text.lstrip("\ufeff \t\r\n")
    if not stripped:
        raise UsageError("there are no prices in it")
    rows = _from_json(stripped) if stripped[0] in "[{" else _from_csv(stripped)
    return in_order(rows)


def in_order(slots: Iterable[Slot]) -> Sequence[Slot]:
    """The same in order; two that say the same are one. Raises `UsageError` if two disagree."""
    ordered = sorted(set(slots), key=lambda slot: (slot.begin, slot.end))
    if not ordered:
        raise UsageError("there are no prices in it")
    for one, next_one in pairwise(ordered):
        if next_one.begin < one.end:
            until, begin = format_instant(one.end), format_instant(next_one.begin)
            raise UsageError(f"two prices overlap: one until {until}, one from {begin}")
    return ordered


def format_instant(at: float) -> str:
    """An instant in local time, with its offset."""
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="minutes")


def _from_csv(text: str) -> Iterable[Slot]:
    rows = csv.DictReader(text.splitlines())
    wanted = _SHAPES[2]
    try:
        missing = [name for name in wanted if name not in (rows.fieldnames or ())]
        if missing:
            raise UsageError(f"the first line has no {', '.join(missing)}: it must name begin, end and price")
        for row in rows:
            yield _slot(row, wanted, f"line {rows.line_num}")
    except csv.Error as error:
        raise UsageError(f"the prices are not CSV: {error}") from None


def _from_json(text: str) -> Iterable[Slot]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the prices are not JSON: {error}") from None
    if isinstance(found, dict):
        found = found.get("results", found.get("data"))
    if not isinstance(found, list) or len(found) > _MOST:
        raise UsageError("the prices are a list, or an object with one in `results` or `data`")
    for number, row in enumerate(found, 1):
        shape = next((shape for shape in _SHAPES if isinstance(row, dict) and shape[0] in row), None)
        if shape is None:
            names = " or ".join(shape[0] for shape in _SHAPES)
            raise UsageError(f"entry {number} has no {names}")
        yield _slot(row, shape, f"entry {number}")


def _slot(row: dict[str, Any], shape: Sequence[str], where: str) -> Slot:
    begin, end, price = (row.get(name) for name in shape)
    if isinstance(price, dict):
        price = price.get("forecast")
    try:
        value = float(price)  # type: ignore[arg-type] # whatever it is, it is tried
    except (TypeError, ValueError):
        value = float("nan")
    if not isfinite(value):
        raise UsageError(f"{where}: {price!r} is not a price")
    first = _instant(begin, where)
    last = _instant(end, where) if end not in (None, "") else first + OPEN_END.total_seconds()
    if last <= first:
        raise UsageError(f"{where}: it ends before it begins")
    return Slot(first, last, value)


def _instant(text: object, where: str) -> float:
    try:
        found = datetime.fromisoformat(text)  # type: ignore[arg-type] # whatever it is, it is tried
    except (TypeError, ValueError):
        raise UsageError(f"{where}: {text!r} is not a time; it looks like 2026-03-29T00:30:00Z") from None
    if found.tzinfo is None:
        raise UsageError(
            f"{where}: {text!r} has no offset, and twice a year nobody could say when that is; add Z or +01:00"
        )
    return found.timestamp()
