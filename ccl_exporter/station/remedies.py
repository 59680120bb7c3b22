"""Which command helps where a plug does not charge. Every view that names one takes it from here."""

import shlex
from collections.abc import Mapping

from ccl_exporter.station.catalogue import NotCharging
from ccl_exporter.station.current_limit import MINIMUM_AMPERES
from ccl_exporter.station.plug import Plug
from ccl_exporter.text import format_number

LIFT = "charge limit 100%"
"""The command that lifts a limit."""

REMEDIES: Mapping[NotCharging, str] = {
    NotCharging.DISABLED: "charge start",
    NotCharging.LIMIT_BELOW_MINIMUM: LIFT,
    NotCharging.WAITING_FOR_PERMISSION: "charge start",
    NotCharging.PAUSED: "charge start",
}
"""The command of `ccl-exporter` by the reason; a reason without an entry has no command that helps."""


def remedy_of(plug: Plug, followed: bool = False) -> str:
    """The command that lets a plug charge, also beside a follower; empty where there is none."""
    reason = plug.not_charging
    if reason is NotCharging.LIMIT_BELOW_MINIMUM:
        return "charge start --now" if followed else lift_of(plug)
    return REMEDIES.get(reason, "") if reason is not None else ""


def lift_of(plug: Plug) -> str:
    """The command that lifts a limit below the minimum current, whatever the plug does."""
    limits = plug.limits
    if limits.rated is not None and limits.cap is not None and limits.cap < MINIMUM_AMPERES:
        return f"set {shlex.quote(f'{plug.name}.CURRENT_REDUCTION')} {format_number(limits.rated)}"
    return LIFT
