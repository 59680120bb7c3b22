"""What helps where a plug does not charge: a command, or after a fault a step. Every view takes it from here."""

import shlex
from collections.abc import Mapping, Sequence

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


FAULT_NAMES: Mapping[str, str] = {
    "cfg": "configuration",
    "master": "master unit",
    "beacon": "lamp",
    "lock": "plug lock",
    "supply": "mains supply",
    "rcd": "safety switch (RCD) tripped",
    "contactor": "power relay (contactor)",
    "emergency": "emergency stop",
    "ev_communication_device": "communication with the vehicle",
    "reader": "card reader",
    "tamper": "housing (tamper)",
    "tilt": "charger tilted",
    "type": "device type",
    "version": "firmware version",
    "other": "another fault",
    "unknown": "unknown fault",
}
"""What a fault is called, by its word in the catalogue, where that is not its name."""


def fault_name(fault: str) -> str:
    """What a person reads for the word of a fault."""
    return FAULT_NAMES.get(fault, fault.replace("_", " "))


_SWITCH_OFF_AND_ON = (
    "Unplug the vehicle, switch the charger off and on; if the fault comes back, call the installer."
)

FAULT_STEPS: Mapping[str, str] = {
    "cfg": "The installer has to correct the configuration.",
    "lock": "The lock does not hold the cable, or does not release it. Push the connector in fully, or unplug it"
    " and plug it in again; if the fault comes back, call the installer.",
    "supply": "Check the circuit breaker of the charger; if it is on, call an electrician.",
    "rcd": "The safety switch (RCD) cuts the power when current leaks to earth. Unplug the vehicle; if it trips"
    " again, call an electrician.",
    "contactor": "A stuck power relay leaves the socket live. Do not use the plug; call an electrician.",
    "emergency": "The emergency stop was used. Release it once there is no danger any more.",
    "temperature": "Unplug the vehicle and let the charger cool down; if the fault comes back, call the"
    " installer.",
    "ev_communication_device": "Unplug the vehicle and plug it in again; if the fault comes back with another"
    " vehicle, call the installer.",
    "tamper": "Check whether the housing is open or damaged; if so, do not use it, and call the installer.",
    "tilt": "Check whether the charger stands firm; if not, do not use it, and call the installer.",
}
"""What a person does, by the word of a fault. The protocol has no more than the word, so the steps are general."""


def fault_steps(faults: Sequence[str]) -> str:
    """What a person does after these faults, by their words in the catalogue; each step once."""
    return " ".join(dict.fromkeys(FAULT_STEPS.get(fault, _SWITCH_OFF_AND_ON) for fault in faults))
