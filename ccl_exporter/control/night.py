"""Whether a charge that has ended in hours of the day, such as those of a night tariff, is begun again. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ccl_exporter.station.catalogue import Activity
from ccl_exporter.station.plug import Plug

RESTARTS = 5
"""How often a session is begun again in the hours of one night."""

_FIRST_PAUSE = 300.0
"""Seconds before it is begun again; each pause is twice the one before."""

Step = Literal["start", "restart", "wait", "give_up", "over"]

_LITTLE = 3.6e6
"""Joules with which a car has had its night."""

FAILED = frozenset({"error", "timer", "credits", "vehicle_communication"})
"""Stop reasons for which neither car nor driver can be asked."""


@dataclass(frozen=True, slots=True)
class Night:
    """The result so far of the hours that began at `opened` (Unix seconds).

    `is_begun` says that a charge was begun or seen in them, `restarts` when it was begun again,
    `failure` why the car has nothing yet, empty if it has or wants nothing.
    """

    opened: float
    is_begun: bool = False
    restarts: tuple[float, ...] = ()
    failure: str = ""


def has_had_its_night(seen: Plug) -> bool:
    """Whether a car charges, or its last session delivered a noticeable energy."""
    return seen.is_charging or (seen.session.energy or 0.0) >= _LITTLE


def next_step(
    seen: Plug, night: Night, stops: Sequence[float], restart_remote: bool, now: float
) -> tuple[Step, float]:
    """What to do at a plug in these hours, and for `wait` in how many seconds; `stops` are those of our commands.

    A session that has ended in them is begun again only if it failed: not for a car that is full or has left,
    nor after a stop by its driver or a command.
    """
    session = seen.session
    has_ended = seen.activity is Activity.ENDED or (session.ended or 0.0) >= night.opened
    if not night.is_begun or seen.is_under_way or not has_ended:
        return "start", 0.0
    reasons = FAILED | {"remote"} if restart_remote else FAILED
    is_stopped = any(at >= (session.requested or night.opened) for at in stops)
    if is_stopped or seen.stop_reason not in reasons or has_had_its_night(seen):
        # Where the session of before is not the plug's state any more, another car has come.
        return ("over" if seen.activity is Activity.ENDED else "start"), 0.0
    if len(night.restarts) >= RESTARTS:
        return "give_up", 0.0
    last = max(session.ended or night.opened, *night.restarts, night.opened)
    wait = last + _FIRST_PAUSE * 2 ** len(night.restarts) - now
    return ("wait", wait) if wait > 0 else ("restart", 0.0)
