"""The power of a day as a small SVG: a step for the mean of each five minutes, a gap where nothing was read."""

from collections.abc import Sequence
from itertools import groupby
from math import ceil, isfinite

from ccl_exporter.exporter.web.markup import kilowatts

_MINUTES = 5
_HEIGHT = 100
_LEAST_WATTS = 1000.0
"""The minimum height in watts, so that the supply of the electronics does not fill the picture."""


def sparkline(minutes: Sequence[float], now: float) -> str:
    """The figure of the watts of each minute up to `now` (Unix seconds); empty where none was read."""
    # Steps end at full five minutes of the clock, so that an update of the page keeps them.
    newest = int(now // 60) % _MINUTES + 1
    first = (len(minutes) - newest) % _MINUTES
    starts = range(first - _MINUTES if first else 0, len(minutes), _MINUTES)
    groups = [minutes[max(start, 0) : start + _MINUTES] for start in starts]
    steps = [_mean(group) for group in groups]
    read = [step for step in steps if step is not None]
    if not read:
        return ""
    highest = max(watts for watts in minutes if isfinite(watts))
    top = max(*read, _LEAST_WATTS)
    path, x, is_open = "", 0, False
    heights = (None if step is None else round((1 - max(step, 0.0) / top) * _HEIGHT) for step in steps)
    for height, group in groupby(heights):
        end = x + len(list(group))
        if height is not None:
            path += f"{'' if is_open else f'M{x} {_HEIGHT}'}V{height}H{end}"
        elif is_open:
            path += f"V{_HEIGHT}"
        x, is_open = end, height is not None
    # Past the edge, where it is cut off: the power does not end now.
    path += f"h2V{_HEIGHT}" if is_open else ""
    hours = ceil(len(minutes) / 60)
    return (
        f"<figure><figcaption><span>Power, last {hours} hours</span><span>highest {kilowatts(highest)}</span>"
        "</figcaption>"
        f'<svg viewBox="0 -2 {len(steps)} {_HEIGHT + 4}" preserveAspectRatio="none" role="img"'
        f' aria-label="Power in the last {hours} hours"><path d="{path}"/></svg>'
        f'<p class="scale"><span>{hours} h ago</span><span>now</span></p></figure>'
    )


def _mean(group: Sequence[float]) -> float | None:
    read = [watts for watts in group if isfinite(watts)]
    return sum(read) / len(read) if read else None
