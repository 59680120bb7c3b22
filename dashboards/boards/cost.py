"""What a charge costs, as arithmetic that PromQL and InfluxQL both understand.

`$price` and `$cheap_price` are per kilowatt-hour; the cheap hours go from `$cheap_from` to `$cheap_to`, in UTC,
over midnight if the second is the lesser. The same hour twice is no cheap hours at all.
"""

from collections.abc import Callable, Sequence

from boards.grafana import Json
from boards.templating import text_variable

Least = Callable[[str, str], str]
"""Writes the lesser of a number of seconds within a day and another."""

_WIDTH = "(($cheap_to - $cheap_from + 24) % 24 * 3600)"

VARIABLES: Sequence[Json] = (
    text_variable("price", "Price per kWh", "0.30", "Used where the data source has no configured tariff."),
    text_variable("cheap_price", "Cheap price", "0.30", "Price of a kilowatt-hour in the cheap hours."),
    text_variable("cheap_from", "Cheap from (UTC)", "0", "Hour in UTC, 0 to 23, at which cheap hours begin."),
    text_variable("cheap_to", "Cheap to (UTC)", "0", "Hour in UTC at which they end, perhaps after midnight."),
)

CURRENCY = text_variable("currency", "Currency", "", "Shown beside costs.")

UTC = "Prices and cheap hours are the variables on top; the hours are in UTC, also where the time axis is local."
TARIFF = (
    "Prices are those of the tariff in the exporter's configuration, by local time; "
    "without one they are the variables on top, whose cheap hours are in UTC."
)


def of_charge(kwh: str, begin: str, end: str, least: Least) -> str:
    """The cost of a charge: its energy, shared between the two prices by time."""
    cheap = f"({_cheap_seconds(end, least)} - {_cheap_seconds(begin, least)}) / ({end} - {begin})"
    return f"{kwh} * ($price + ($cheap_price - $price) * {cheap})"


def _cheap_seconds(at: str, least: Least) -> str:
    """Cheap seconds from the beginning of Unix time, moved by the first cheap hour, to a moment."""
    moved = f"({at} - $cheap_from * 3600)"
    within = f"({moved} % 86400)"
    return f"(({moved} - {within}) / 86400 * {_WIDTH} + {least(within, _WIDTH)})"
