"""Pieces of HTML: texts, numbers, times, durations. What a charger says becomes HTML through `text` alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from html import escape

from ccl_exporter.text import printable_text

NOTHING = "\N{EN DASH}"
"""What stands for a value that is not available."""

MOST_TEXT = 100
"""Characters that can be searched for."""

STALE = 120.0
"""Seconds after which a read is marked as old."""


def text(words: str) -> str:
    """Text for HTML; what would break lines or turn the direction of reading is made visible."""
    return escape(printable_text(" ".join(words.split())))


def number(value: float | None, per: float, digits: int, unit: str) -> str:
    """A value in units of `per`."""
    if value is None:
        return NOTHING
    # "+ 0.0" makes of -0.0, which rounding leaves behind, a plain zero.
    return f"{round(value / per, digits) + 0.0:.{digits}f}<small>&nbsp;{unit}</small>"


def kilowatts(watts: float | None) -> str:
    """Watts as kW with two decimals."""
    return number(watts, 1000, 2, "kW")


def kilowatt_hours(joules: float | None) -> str:
    """Joules as kWh with two decimals."""
    return number(joules, 3.6e6, 2, "kWh")


def money(amount: float | None, currency: str) -> str:
    """An amount of money with two decimals; empty if it is not known."""
    return "" if amount is None else f"{amount + 0.0:.2f} {text(currency)}"


def duration(seconds: float | None) -> str:
    """Seconds in the two units that matter."""
    if seconds is None:
        return ""
    whole = max(0, int(seconds))
    for size, name, rest, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            left = whole % size // rest
            return f"{whole // size} {name}" + (f" {left} {small}" if left else "")
    return f"{whole} s"


def pill(state: str, colour: str) -> str:
    """The state of something; `colour` is a class of the stylesheet."""
    return f'<p class="state {colour}">{text(state)}</p>'


def fact_list(facts: Mapping[str, str]) -> str:
    """Values in HTML by their names; those that are empty are left out."""
    shown = "".join(f"<div><dt>{name}</dt><dd>{fact}</dd></div>" for name, fact in facts.items() if fact)
    return f'<dl class="facts">{shown}</dl>'


def search_form(words: str, label: str, hidden: str = "", place: str = "") -> str:
    """A form that asks for the same page with `q`, at a `place` of it such as `#variables`."""
    action = f' action="{place}"' if place else ""
    return (
        f'<form role="search"{action}>{hidden}<label>{label} <input type="search" name="q" value="{text(words)}"'
        f' maxlength="{MOST_TEXT}"></label> <button>Search</button></form>'
    )


@dataclass(frozen=True, slots=True)
class PageTime:
    """The time of a page in Unix seconds, and the zone of its times; None is that of this machine."""

    now: float
    zone: tzinfo | None = None

    @property
    def local(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC).astimezone(self.zone)

    def moment(self, seconds: float | None, before: str = "") -> str:
        """An instant, with as much of its date as differs from today; empty for what no calendar has."""
        if seconds is None or not 86400 <= seconds < 253_402_200_000:
            return ""
        at = datetime.fromtimestamp(seconds, UTC).astimezone(self.zone)
        today = self.local
        day = "" if at.date() == today.date() else f"{at:%d %b} " if at.year == today.year else f"{at:%d %b %Y} "
        shown = f"{day}{at:%H:%M}"
        return f'{before}<time datetime="{at.isoformat(timespec="seconds")}">{shown}</time>'

    def age(self, seconds: float) -> str:
        """How long an instant is ago."""
        words = " ".join([*duration(self.now - seconds).split()[:2], "ago"]) if self.now - seconds >= 1 else "now"
        return f'<span class="stale">{words}</span>' if self.now - seconds > STALE else words
