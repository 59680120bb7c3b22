"""Prices of electricity or its carbon intensity, from CSV, JSON, or the formats of tariff APIs, as slots.

Facts of the formats: the table of shapes below, each as the API with that name documents it.
"""

import csv
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import inf, isfinite
from typing import Any

from ccl_exporter.errors import UsageError

DIRECT_DEBIT = "DIRECT_DEBIT"
"""The payment method whose prices count where an API has one for each."""

_MOST = 100_000
_MILLISECONDS = 1e11
"""Unix times above this are in milliseconds: as seconds they would be of the year 5138."""

LATEST = 7_258_118_400.0
"""The year 2200 in Unix seconds: a later date, such as 9999-12-31, never comes; one before 1970 always was."""

_SHORTEST = 900.0
"""How long a price holds at least, in seconds, where its row has no end and is the only one of its series."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where the rows of a kind of prices have their begin, their end and their price.

    A dot leads into an object, `*` is its only member. Rows without an end last until the next one begins.
    """

    name: str
    begin: str
    end: str | None
    price: str

    def fits(self, row: object) -> bool:
        return isinstance(row, dict) and self.begin in row and self.price.partition(".")[0] in row


_OWN = _Shape("begin, end and price", "begin", "end", "price")
_SHAPES = (
    _OWN,
    _Shape("unit rates of Octopus Energy", "valid_from", "valid_to", "value_inc_vat"),
    _Shape("carbon intensity of Great Britain", "from", "to", "intensity.forecast"),
    _Shape("market data of aWATTar", "start_timestamp", "end_timestamp", "marketprice"),
    _Shape("prices of Energy-Charts", "unix_seconds", None, "price"),
    _Shape("prices of Nord Pool", "deliveryStart", "deliveryEnd", "entryPerArea.*"),
    _Shape("prices of Tibber", "startsAt", None, "total"),
    _Shape("prices of Amber", "startTime", "endTime", "perKwh"),
    _Shape("carbon intensity of electricityMaps", "datetime", None, "carbonIntensity"),
    _Shape("rates of evcc", "start", "end", "value"),
    _Shape("rates with start, end and price", "start", "end", "price"),
)
_COLUMNS = ("unix_seconds", "price")
"""Members that hold a list each instead of a list of rows (Energy-Charts)."""

_ONLY = {"channelType": "general"}
"""What a row must have in a member for it to count, if it has that member: Amber lists what it pays, too."""


@dataclass(frozen=True, slots=True)
class Slot:
    """From `begin` to `end` (Unix seconds) a kilowatt-hour costs `price`, in whatever unit the file has."""

    begin: float
    end: float
    price: float

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def parse(text: str, payment_method: str = DIRECT_DEBIT) -> Sequence[Slot]:
    """The slots of a document, in order; raises `UsageError` that says what was recognised, and what is wrong.

    CSV has a header with `begin`, `end` and `price`; JSON has rows of one of the shapes above, wherever they are.
    A row without a price is a time whose price is not known.
    A price without an end holds until a later row begins.
    """
    stripped = text.lstrip("\ufeff \t\r\n")
    if not stripped:
        raise UsageError("there are no prices in it")
    shape, rows = _from_json(stripped) if stripped[0] in "[{" else (_OWN, _from_csv(stripped))
    only = _ONLY | {"payment_method": payment_method}
    counting = [
        (where, row) for where, row in rows if all(row.get(name) in (None, value) for name, value in only.items())
    ]
    if rows and not counting:
        others = {
            f"{name} {row[name]}" for _, row in rows for name in only if row.get(name) not in (None, only[name])
        }
        raise UsageError(f"{shape.name}: no row counts; there are those of {', '.join(sorted(others))}")
    try:
        return in_order(_slots([_row(row, shape, where) for where, row in counting], shape.end is None))
    except UsageError as error:
        raise UsageError(f"{shape.name}: {error}") from None


def in_order(slots: Iterable[Slot]) -> Sequence[Slot]:
    """The slots in order of time, equal ones merged; raises `UsageError` if two disagree."""
    ordered = sorted(set(slots), key=lambda slot: (slot.begin, slot.end))
    if not ordered:
        raise UsageError("there are no prices in it")
    for one, next_one in pairwise(ordered):
        if next_one.begin < one.end:
            times = " and ".join(f"{_time(slot.begin)} to {_time(slot.end)}" for slot in (one, next_one))
            raise UsageError(f"two prices overlap: {times}")
    return ordered


def format_instant(at: float) -> str:
    """An instant in local time, with its offset."""
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="minutes")


def _time(at: float) -> str:
    return format_instant(at) if isfinite(at) else "ever"


def _from_csv(text: str) -> Sequence[tuple[str, dict[str, Any]]]:
    header = text.partition("\n")[0]
    mark = ";" if header.count(";") > header.count(",") else ","
    rows = csv.DictReader(text.splitlines(), delimiter=mark)
    found = []
    try:
        names = [name.strip().lower() for name in rows.fieldnames or ()]
        if missing := [name for name in (_OWN.begin, _OWN.end, _OWN.price) if name not in names]:
            shown = ", ".join(names)[:60]
            raise UsageError(f"the first line has no {', '.join(filter(None, missing))}: it names {shown}")
        rows.fieldnames = names
        for row in rows:
            where = f"line {rows.line_num}"
            if None in row:
                raise UsageError(f"{where}: it has more values than the first line has names")
            stripped = {name: (value or "").strip() for name, value in row.items()}
            if mark == ";":
                stripped["price"] = stripped["price"].replace(",", ".")
            found.append((where, stripped))
    except csv.Error as error:
        raise UsageError(f"the prices are not CSV: {error}") from None
    return found


def _from_json(text: str) -> tuple[_Shape, Sequence[tuple[str, dict[str, Any]]]]:
    """The shape of the rows that a document has, and these with their places."""
    try:
        document = json.loads(text)
        lists = list(_lists(document))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the prices are not JSON: {error}") from None
    shapes = [next((shape for shape in _SHAPES if any(map(shape.fits, rows))), None) for rows in lists]
    shape = next(filter(None, shapes), None)
    if shape is None:
        if not any(lists):
            raise UsageError("there are no prices in it")
        names = ", ".join(document)[:60] if isinstance(document, dict) else ""
        what = f"an object with {names}" if names else "a list"
        raise UsageError(f"no prices were recognised in it: it is {what}; known are {', '.join(_names())}")
    rows = [row for rows, one in zip(lists, shapes, strict=True) if one is shape for row in rows]
    if len(rows) > _MOST:
        raise UsageError(f"{shape.name}: there are more than {_MOST:,}")
    for number, row in enumerate(rows, 1):
        if not shape.fits(row):
            raise UsageError(f"{shape.name}: entry {number} has no {shape.begin} or no {shape.price}")
    return shape, [(f"entry {number}", row) for number, row in enumerate(rows, 1)]


def _names() -> Iterator[str]:
    return (shape.name for shape in _SHAPES)


def _lists(found: object) -> Iterator[Sequence[Any]]:
    """Every list in a document, the outer ones first; lists that are columns as one of rows."""
    if isinstance(found, dict):
        columns = [column for name in _COLUMNS if isinstance(column := found.get(name), list)]
        if len(columns) == len(_COLUMNS):
            if len({len(column) for column in columns}) > 1:
                raise UsageError(f"{' and '.join(_COLUMNS)} are lists of different lengths")
            yield [dict(zip(_COLUMNS, values, strict=True)) for values in zip(*columns, strict=True)]
        else:
            for value in found.values():
                yield from _lists(value)
    elif isinstance(found, list):
        yield found
        for value in found:
            yield from _lists(value)


def _row(row: Mapping[str, Any], shape: _Shape, where: str) -> tuple[float, float | None, float | None]:
    """Begin, end and price; the begin of a price that always held is minus infinity."""
    begin, end = row.get(shape.begin), row.get(shape.end) if shape.end is not None else None
    first = _instant(begin, where) if begin not in (None, "") else -inf
    last = _instant(end, where) if end not in (None, "") else inf
    if -inf < last <= first < inf:
        raise UsageError(f"{where}: it ends before it begins")
    price = _member(row, shape.price, where)
    return first, last if last < inf else None, _number(price, where) if price not in (None, "") else None


def _member(row: Any, path: str, where: str) -> object:
    for name in path.split("."):
        if not isinstance(row, Mapping):
            return row
        if name == "*" and len(row) > 1:
            raise UsageError(f"{where}: it has the prices of {', '.join(row)}; ask for those of one")
        row = next(iter(row.values()), None) if name == "*" else row.get(name)
    return row


def _number(price: object, where: str) -> float:
    try:
        value = float(price) if not isinstance(price, bool) else inf  # type: ignore[arg-type] # it is tried
    except (TypeError, ValueError, OverflowError):
        value = inf
    if not isfinite(value):
        raise UsageError(f"{where}: {price!r} is not a price")
    return value


def _slots(rows: Sequence[tuple[float, float | None, float | None]], is_series: bool) -> Iterator[Slot]:
    """The rows with a price, each with its end: if it has none, the next begin of a row, whatever it says.

    In a series no row lasts longer than the rows usually do: one that is missing is not known.
    """
    begins = sorted({begin for begin, _, _ in rows})
    steps = Counter(later - begin for begin, later in pairwise(begins))
    longest = (max(steps, key=lambda step: (steps[step], -step)) if steps else _SHORTEST) if is_series else inf
    for begin, end, price in rows:
        if end is None:
            after = bisect_right(begins, begin)
            end = min(begins[after] if after < len(begins) else inf, begin + longest)  # noqa: PLW2901
        if price is not None and begin < end:
            yield Slot(begin, end, price)


def _instant(at: object, where: str) -> float:
    if isinstance(at, int | float) and not isinstance(at, bool) and 0 < at < _MILLISECONDS * 1000:
        return _or_open(at / 1000 if at > _MILLISECONDS else float(at))
    try:
        found = datetime.fromisoformat(at)  # type: ignore[arg-type] # whatever it is, it is tried
    except (TypeError, ValueError):
        raise UsageError(f"{where}: {at!r} is not a time; it looks like 2026-03-29T00:30:00Z") from None
    if found.tzinfo is None:
        raise UsageError(f"{where}: {at!r} has no offset, so it is ambiguous when clocks are set; add Z or +01:00")
    return _or_open(found.timestamp())


def _or_open(at: float) -> float:
    return -inf if at < 0 else at if at < LATEST else inf
