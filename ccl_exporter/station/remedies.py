"""Which command helps where a plug does not charge. Every view that names one takes it from here."""

import shlex
from collections.abc import Mapping

from ccl_exporter.station.catalogue import Activity, NotCharging
from ccl_exporter.station.current_limit import MINIMUM_AMPERES
from ccl_exporter.station.plug import Plug
from ccl_exporter.text import format_number

LIFT = "charge limit 100%"
"""The command that lifts a limit that nothing sets again."""

REMEDIES: Mapping[NotCharging, str] = {
    NotCharging.DISABLED: "charge start",
    # It lifts a limit, and a follower lifts its own: which of both it is need not be known.
    NotCharging.LIMIT_BELOW_MINIMUM: "charge start --now",
    NotCharging.WAITING_FOR_PERMISSION: "charge start",
    NotCharging.PAUSED: "charge start",
    NotCharging.SESSION_ENDED: "charge start",
}
"""The command of `ccl-exporter` by the reason; a reason without an entry has no command that helps."""


def remedy_of(plug: Plug) -> str:
    """The command that lets a plug charge; empty where there is none."""
    reason, limits = plug.not_charging, plug.limits
    command = REMEDIES.get(reason, "") if reason is not None else ""
    if reason is NotCharging.SESSION_ENDED and (
        plug.activity is not Activity.ENDED or plug.stop_reason == "disconnect"
    ):
        # It is about to end, or the vehicle wants no more.
        return ""
    if not command or not plug.is_limit_below_minimum:
        return command
    if limits.cap is not None and limits.cap < MINIMUM_AMPERES:
        # What an installer may have set is not lifted by a start. Few engines give its range, hence the force,
        # which sets no current above the rated one.
        cap = shlex.quote(f"{plug.name}.CURRENT_REDUCTION")
        return f"set {cap} {format_number(limits.rated)} --force" if limits.rated is not None else ""
    return REMEDIES[NotCharging.LIMIT_BELOW_MINIMUM]
