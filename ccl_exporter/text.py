"""Numbers, durations and tables as text for a person; masking of URLs and control characters."""

import re
from collections.abc import Sequence
from hashlib import sha256

MASK = "(hidden)"
DURATION_EXAMPLES = "it looks like 200ms, 10s, 1m, 1h or 30d"

_URL = re.compile(r"((?:https?|mqtts?)://)(\S+)", re.IGNORECASE)
_NUMBER = re.compile(r"-?[0-9][0-9,:]*(\.[0-9]+)?( [^ ]{1,3})?")
"""A number, a duration such as 1:36:41, perhaps with a unit."""

_ENDS = "]:;,.!)}>\"'"
_DURATION = re.compile(r"(?P<number>[0-9]{1,9})(?P<unit>ms|s|m|h|d)")
_ENERGY = re.compile(r"([0-9]{1,9}(?:\.[0-9]+)?) ?(kWh|Wh)")
JOULES_PER_KWH = 3.6e6
_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def format_number(value: float | str | None) -> str:
    """A value as text: numbers without needless zeros."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else (value or "-")


def file_key(text: str) -> str:
    """A part of a file name that identifies a text, such as a URL, without showing it."""
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 charger`, `50 chargers`, `2 addresses`."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def align_columns(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as columns, the first row of which is the header; numbers are aligned to the right.

    Control characters of a charger cannot move a terminal's cursor.
    """
    shown = [tuple(printable_text(cell) for cell in line) for line in lines]
    columns = [_aligned(column) for column in zip(*shown, strict=True)]
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def _aligned(column: Sequence[str]) -> list[str]:
    width = max(map(len, column))
    is_number = [bool(_NUMBER.fullmatch(cell)) for cell in column]
    is_right = [any(is_number) and (number or cell == "-") for number, cell in zip(is_number, column, strict=True)]
    # The header goes with its cells.
    is_right[0] = len(column) > 1 and all(is_right[1:])
    return [
        cell.rjust(width) if right else cell.ljust(width) for cell, right in zip(column, is_right, strict=True)
    ]


def printable_text(text: str) -> str:
    """A text without control characters."""
    return "".join(character if character.isprintable() else "�" for character in text)


def is_header_value(text: str) -> bool:
    """Whether an HTTP header can carry a text."""
    return text.isascii() and text.isprintable()


def mask_urls(text: str) -> str:
    """A text without the logins and queries of URLs in it, which often hold a password or a token."""
    return _URL.sub(_masked, text) if "://" in text else text


def _masked(url: re.Match[str]) -> str:
    rest = url[2]
    # A login may hold any character, badly quoted; an @ behind a path and a question mark is one of the query.
    path, mark, _ = rest.partition("?")
    login, is_login, _ = (path if mark and "/" in path else rest).rpartition("@")
    before = ""
    if is_login:
        before, rest = f"{MASK}@", rest[len(login) + 1 :]
    shown = re.split("[?#]", rest, maxsplit=1)[0]
    # What ends a sentence or a bracket is no part of the query.
    hidden = rest[len(shown) + 1 :].rstrip(_ENDS)
    end = rest[len(shown) + 1 + len(hidden) :]
    return f"{url[1]}{before}{shown}{rest[len(shown) : len(shown) + 1]}{MASK if hidden else ''}{end}"


def url_host(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def quote_short(value: object) -> str:
    """A value that is no secret, on one line and shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def parse_energy(text: str) -> float:
    """Joules from `10kWh` or `500Wh`; raises `ValueError`."""
    found = _ENERGY.fullmatch(text.strip())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"{quote_short(text)} is not an energy; it looks like 10kWh")
    return float(found[1]) * JOULES_PER_KWH / (1 if found[2] == "kWh" else 1000)


def parse_duration(text: str) -> float:
    """Seconds from `200ms`, `10s`, `1m`, `1h`, `30d`; raises `ValueError` with a sentence for a person."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{quote_short(text)} is not a duration; {DURATION_EXAMPLES}")
    return int(found["number"]) * _MILLISECONDS[found["unit"]] / 1000


def format_duration(seconds: float) -> str:
    """A duration as it stands in a file, in the largest unit that needs no fraction."""
    milliseconds = round(seconds * 1000)
    units = [unit for unit, length in _MILLISECONDS.items() if milliseconds % length == 0]
    unit = units[-1] if milliseconds else "s"
    return f"{milliseconds // _MILLISECONDS[unit]}{unit}"


def natural_key(text: str) -> list[tuple[int, str]]:
    """A sort key by which `bay-9` comes before `bay-10`; letter case does not count."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text.casefold())
    # Numbers by their digits: one may be longer than `int` reads.
    return [(len(part.lstrip("0")), part.lstrip("0")) if part[0] in "0123456789" else (-1, part) for part in parts]
