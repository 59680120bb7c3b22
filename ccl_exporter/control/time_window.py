"""Windows of the day, such as the cheap hours of the night, in a time zone."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ccl_exporter.errors import UsageError

_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """From `begin` to before `end` by the clock on the wall, over midnight if `end` is the earlier one."""

    begin: time
    end: time
    zone: tzinfo

    def holds(self, now: float) -> bool:
        """Whether an instant (Unix seconds) is in it."""
        at = self.clock(now)
        if self.begin < self.end:
            return self.begin <= at < self.end
        return at >= self.begin or at < self.end

    def opened(self, now: float) -> float:
        """When it last began, in Unix seconds."""
        day = datetime.fromtimestamp(now, UTC).astimezone(self.zone)
        begin = datetime.combine(day.date(), self.begin, self.zone)
        return (begin if begin.timestamp() <= now else begin - timedelta(days=1)).timestamp()

    def clock(self, now: float) -> time:
        """What the clock on the wall shows."""
        return datetime.fromtimestamp(now, UTC).astimezone(self.zone).time()

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


def zone_of(name: str | None) -> tzinfo:
    """A time zone by its name, without one that of this machine; raises `UsageError`."""
    if name is None:
        own = datetime.now().astimezone().tzinfo
        return own if own is not None else UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        why = "this machine knows no such time zone; it looks like Europe/London"
        raise UsageError(f"{name!r}: {why}") from None
