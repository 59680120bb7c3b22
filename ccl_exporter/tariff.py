"""Prices and hours of the day in local time, over changes of clocks. Pure.

The one place for the arithmetic of local hours: the cost of sessions, the cheap hours and `--between` use it.
Clocks are set at whole minutes of UTC, so a price changes only there.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property
from itertools import groupby, pairwise
from math import ceil
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ccl_exporter.errors import UsageError

_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_MINUTE = 60.0
_MINUTES = range(24 * 60)
_SHORT = 600.0
"""Seconds in which energy is taken to flow evenly."""


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """From `begin` to before `end` in local time, over midnight if `end` is the earlier one.

    Without a `zone` the clock is that of this machine.
    """

    begin: time
    end: time
    zone: tzinfo | None

    def holds(self, now: float) -> bool:
        """Whether an instant (Unix seconds) is in it."""
        return self.contains(self.clock(now))

    def contains(self, clock: time) -> bool:
        """Whether it is open while the clock shows this."""
        if self.begin < self.end:
            return self.begin <= clock < self.end
        return clock >= self.begin or clock < self.end

    def opened(self, now: float) -> float:
        """When it last began, in Unix seconds."""
        today = _local(now, self.zone).date()
        begins = (self._opened_on(day) for day in (today, today - timedelta(days=1)))
        return next(at for at in begins if at <= now)

    def _opened_on(self, day: date) -> float:
        at = datetime.combine(day, self.begin, self.zone).timestamp()
        # If the clocks skip `begin`, the window opens with the first minute after the gap.
        while (earlier := _local(at - _MINUTE, self.zone)).date() == day and earlier.time() >= self.begin:
            at -= _MINUTE
        return at

    def clock(self, now: float) -> time:
        """The local time."""
        return _local(now, self.zone).time()

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"


def window(text: str, zone: str | None) -> TimeWindow:
    """A window from `00:30-04:30` and a name such as `Europe/London`, without one in the system's own zone.

    Raises `UsageError`.
    """
    found = _WINDOW.fullmatch(text)
    if found is None or found.group(1, 2) == found.group(3, 4):
        raise UsageError(f"{text!r} is not a window of the day; it looks like 00:30-04:30")
    begin, end = (time(int(found[at]), int(found[at + 1])) for at in (1, 3))
    return TimeWindow(begin, end, zone_of(zone))


def zone_of(name: str | None) -> tzinfo | None:
    """A time zone by its name; None, the zone of this machine, without one. Raises `UsageError`."""
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        why = "this machine knows no such time zone; it looks like Europe/London"
        raise UsageError(f"{name!r}: {why}") from None


@dataclass(frozen=True)
class Tariff:
    """Prices of a kilowatt-hour in `currency`: those of `windows` in their hours, `price` at any other time.

    The windows are in `zone` and do not overlap; its cheap hours are a window of the day like any other.
    """

    zone: tzinfo
    currency: str
    price: float
    windows: tuple[tuple[TimeWindow, float], ...] = ()

    def price_at(self, now: float) -> float:
        """What a kilowatt-hour costs at an instant (Unix seconds)."""
        clock = self.clock(now)
        return self._by_minute[clock.hour * 60 + clock.minute]

    def pieces(self, begin: float, end: float) -> Iterator[tuple[float, float, float]]:
        """Begin, end (Unix seconds) and price of each time between two instants in which the price is one."""
        edges = [begin, *(minute * _MINUTE for minute in range(int(begin // 60) + 1, ceil(end / 60))), end]
        for price, found in groupby(pairwise(edges), key=lambda piece: self.price_at(piece[0])):
            minutes = list(found)
            yield minutes[0][0], minutes[-1][1], price

    def cost(self, joules: float, begin: float, end: float) -> float:
        """What energy costs that was taken evenly between two instants, in `currency`."""
        if end <= begin:
            return joules / 3.6e6 * self.price_at(begin)
        seconds = sum((last - first) * price for first, last, price in self.pieces(begin, end))
        return joules / 3.6e6 * seconds / (end - begin)

    def known_cost(self, joules: float, begin: float, end: float) -> float | None:
        """The same; None if prices differ in a time too long to say when the energy was taken."""
        if end - begin <= _SHORT:
            return self.cost(joules, begin, end)
        # Two days have every hour, however long the time is.
        prices = {price for _, _, price in self.pieces(begin, min(end, begin + 2 * 86_400.0))}
        return joules / 3.6e6 * prices.pop() if len(prices) == 1 else None

    @cached_property
    def _by_minute(self) -> tuple[float, ...]:
        clocks = [time(*divmod(minute, 60)) for minute in _MINUTES]
        return tuple(
            next((price for hours, price in self.windows if hours.contains(clock)), self.price) for clock in clocks
        )

    @cached_property
    def _cheapest(self) -> float | None:
        """The price of the cheap hours; None where every hour costs the same."""
        lowest = min(self._by_minute)
        return lowest if lowest < max(self._by_minute) else None

    # Its cheap hours

    def holds(self, now: float) -> bool:
        """Whether an instant (Unix seconds) is in the hours in which a kilowatt-hour costs least."""
        return self.price_at(now) == self._cheapest

    def opened(self, now: float) -> float:
        """When the cheap hours last began, in Unix seconds; `now` where there are none."""
        runs = [begin for begin, _, price in self.pieces(now - 2 * 86_400, now + 1) if price == self._cheapest]
        return runs[-1] if runs else now

    def clock(self, now: float) -> time:
        """The local time."""
        return _local(now, self.zone).time()

    def __str__(self) -> str:
        cheap = [f"{hours}" for hours, price in self.windows if price == self._cheapest]
        return f"the cheap hours of the tariff ({', '.join(cheap) or 'outside its windows'})"


def _local(now: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(now, UTC).astimezone(zone)
