"""What a plug does, from the samples that everybody sees, for a person; and why it does not charge."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family, Sample

LEAST_AMPERES = 6
"""The least that can be offered to a car (IEC 61851-1)."""

TAKEN_WITHIN = 10.0
"""Seconds within which a write must show; the charger takes up to five, and reads as before until then
(protocol 9.2)."""

_UNDER_WAY = ("starting", "resuming", "charging", "pausing", "paused", "waiting_for_power")


@dataclass(frozen=True, slots=True)
class PlugView:
    """What a plug does now; None is what nobody knows. Amperes, watts and kilowatt-hours."""

    plug: str
    state: str | None = None
    errors: Sequence[str] = ()
    connected: bool | None = None
    enabled: bool | None = None
    amperes: float | None = None
    watts: float | None = None
    limit: float | None = None
    charged: float | None = None
    stop_reason: str | None = None
    requested: float | None = None

    @property
    def charging(self) -> bool:
        return self.state == "charging"

    @property
    def under_way(self) -> bool:
        return self.state in _UNDER_WAY


def view(found: Iterable[Sample], plug: str) -> PlugView:
    """What samples say of a plug."""
    one: dict[str, Sample] = {}
    amperes, watts = [], []
    for sample in found:
        if sample.labels[:1] != (plug,) or sample.family.labels[:1] != ("plug",):
            continue
        one[sample.family.name] = sample
        if sample.family is f.PLUG_CURRENT:
            amperes.append(sample.value)
        elif sample.family is f.PLUG_POWER:
            watts.append(sample.value)

    def value(family: Family) -> float | None:
        sample = one.get(family.name)
        return None if sample is None else sample.value

    def word(family: Family) -> str | None:
        sample = one.get(family.name)
        return None if sample is None else ",".join(sample.active)

    connected, enabled, joules = value(f.PLUG_CONNECTED), value(f.PLUG_ENABLED), value(f.CHARGE_ENERGY)
    errors = one.get(f.PLUG_ERROR.name)
    return PlugView(
        plug=plug,
        state=word(f.PLUG_STATE),
        errors=errors.active if errors is not None else (),
        connected=None if connected is None else connected == 1,
        enabled=None if enabled is None else enabled == 1,
        amperes=max(amperes, default=None),
        watts=sum(watts) if watts else None,
        limit=value(f.PLUG_CURRENT_LIMIT),
        charged=None if joules is None else joules / 3.6e6,
        stop_reason=word(f.CHARGE_STOP_REASON),
        requested=value(f.CHARGE_REQUEST),
    )


def describe(seen: PlugView) -> str:
    """What a plug does, in one line; and why it does not charge, if it does not."""
    if seen.charging:
        parts = [f"{seen.amperes:.1f} A" if seen.amperes is not None else ""]
        parts.append(f"{seen.watts / 1000:.2f} kW" if seen.watts is not None else "")
        parts.append(f"{seen.charged:.2f} kWh so far" if seen.charged is not None else "")
        parts.append(f"limit {seen.limit:.1f} A" if seen.limit is not None else "")
        return f"{seen.plug}: charging, {', '.join(filter(None, parts))}".rstrip(", ")
    return f"{seen.plug}: {not_charging_sentence(seen)}"


def not_charging_sentence(seen: PlugView) -> str:
    """Why a plug does not charge."""
    if seen.errors:
        return f"not charging: it reports a fault ({', '.join(seen.errors)})"
    if seen.enabled is False or seen.state == "disabled":
        return "not charging: it is out of service; `charge enable` or `charge start` puts it into service"
    if seen.state is None:
        return "nobody knows: the charger does not tell its state"
    if seen.state == "waiting_for_power" or (seen.limit is not None and seen.limit < LEAST_AMPERES):
        return f"not charging: its limit is {seen.limit or 0:.1f} A, and a car needs {LEAST_AMPERES} A"
    if seen.connected is False:
        return "not charging: no vehicle is connected"
    if seen.state == "waiting_for_permission":
        return "not charging: it waits for permission, a tag or `charge start`"
    if seen.state == "waiting_for_disconnection":
        reason = f" ({seen.stop_reason})" if seen.stop_reason else ""
        return f"not charging: the charge has ended{reason} and the vehicle is still connected"
    return f"not charging: {seen.state.replace('_', ' ')}"
