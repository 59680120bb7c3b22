"""The state of a plug as text for a terminal and as data for a program."""

from collections.abc import Mapping
from typing import Any

from ccl_exporter.control.plan.prices import format_instant
from ccl_exporter.control.plan.schedule import is_met
from ccl_exporter.control.state import Override, PlanProgress
from ccl_exporter.station.catalogue import NotCharging
from ccl_exporter.station.plug import Plug
from ccl_exporter.station.remedies import LIFT, remedy_of


def describe(plug: Plug) -> str:
    """What a plug does, in one line; if it does not charge, why and what helps."""
    reason = plug.not_charging
    if reason is None:
        energy = plug.session.energy
        parts = [
            f"{plug.current:.1f} A" if plug.current is not None else "",
            f"{plug.power / 1000:.2f} kW" if plug.power is not None else "",
            f"{energy / 3.6e6:.2f} kWh so far" if energy is not None else "",
            f"limit {plug.limits.allowed:.1f} A" if plug.limits.allowed is not None else "",
        ]
        return f"{plug.name}: charging, {', '.join(filter(None, parts))}".rstrip(", ")
    if plug.state is None and reason is NotCharging.UNKNOWN:
        return f"{plug.name}: state unknown: {plug.sentence}"
    ended = f" ({plug.stop_reason})" if reason is NotCharging.SESSION_ENDED and plug.stop_reason else ""
    remedy = remedy_of(plug)
    helps = f"; `{remedy}` helps" if remedy else ""
    return f"{plug.name}: not charging: {plug.sentence}{ended}{helps}"


def describe_plan(plan: PlanProgress, is_running: bool, now: float) -> str:
    """The stored progress of a plan, in one line; `now` is in Unix seconds."""
    if plan.need is None or plan.by is None:
        goal = f"{plan.charged:.2f} kWh so far"
    else:
        goal = f"{plan.charged:.2f} of {plan.need:g} kWh until {format_instant(plan.by)}"
    if not is_running and plan.need is not None and is_met(plan.need, plan.charged):
        return f"plan: {goal}; the need is met"
    if not is_running:
        return f"plan: {goal}; it was ended early, the same `charge plan` goes on with it"
    ahead = next((block for block in plan.blocks if block[1] > now), None)
    if ahead is None:
        return f"plan: {goal}; no charge is ahead"
    return f"plan: {goal}; charges from {format_instant(ahead[0])} to {format_instant(ahead[1])}"


def describe_boost(override: Override, is_followed: bool) -> str:
    """What `charge start --now` asked for, in one line; the full current is what a follower gives."""
    what = "full current" if is_followed else "goes on"
    return f"{what} {describe_boost_end(override)}, as `charge start --now` asked for"


def describe_boost_end(override: Override) -> str:
    """Until when what `charge start --now` asked for goes on."""
    ends = [f"until {format_instant(override.until)}"] if override.until is not None else []
    ends += [f"until this session has {override.energy / 3.6e6:.2f} kWh"] if override.energy is not None else []
    return " or ".join(ends) or "until the car leaves"


def describe_limit(plug: Plug) -> str:
    """A lowered limit and the command that lifts it, in one line; empty without one or where `describe` has it."""
    limits = plug.limits
    others = [each for each in (limits.supported, limits.rated, limits.cap) if each is not None]
    is_said = plug.not_charging is NotCharging.LIMIT_BELOW_MINIMUM
    if is_said or limits.allowed is None or limits.rated is None or limits.allowed >= min(others):
        return ""
    return f"limit {limits.allowed:.1f} A of {limits.rated:g} A; `{LIFT}` lifts it"


def facts(plug: Plug) -> Mapping[str, Any]:
    """The same for a program: amperes, watts, kilowatt-hours, Unix seconds; None is what cannot be read."""
    session = plug.session
    return {
        "plug": plug.name,
        "state": plug.state.word if plug.state is not None else None,
        "not_charging_reason": plug.not_charging,
        "errors": list(plug.faults or ()),
        "connected": plug.vehicle_connected,
        "enabled": plug.enabled,
        "amperes": plug.current,
        "watts": plug.power,
        "limit": plug.limits.allowed,
        "charged": session.energy / 3.6e6 if session.energy is not None else None,
        "stop_reason": plug.stop_reason,
        "requested": session.requested,
    }
