"""What helps where a plug does not charge: a command, or after a fault steps for a person."""

import shlex
from collections.abc import Mapping, Sequence

from ccl_exporter.station.catalogue import Activity, NotCharging
from ccl_exporter.station.current_limit import MINIMUM_AMPERES
from ccl_exporter.station.plug import Plug
from ccl_exporter.text import format_number

LIFT = "charge limit 100% --min-interval 0"
"""The command that lifts a current limit, also one written a moment ago, of a plug that no follower controls."""

REMEDIES: Mapping[NotCharging, str] = {
    # A night timer would take the plug out of service again after a plain start.
    NotCharging.DISABLED: "charge start --now",
    # It lifts the limit of a command and makes a follower lift its own, so the remedy need not tell them apart.
    NotCharging.LIMIT_BELOW_MINIMUM: "charge start --now",
    NotCharging.WAITING_FOR_PERMISSION: "charge start",
    NotCharging.PAUSED: "charge start",
    NotCharging.SESSION_ENDED: "charge start",
}
"""The arguments of `ccl-exporter` that help against a reason; no command helps against any other reason."""


def remedy_of(plug: Plug) -> str:
    """The command that lets a plug charge; empty where there is none."""
    reason, limits = plug.not_charging, plug.limits
    command = REMEDIES.get(reason, "") if reason is not None else ""
    if reason is NotCharging.SESSION_ENDED and (
        plug.activity is not Activity.ENDED or plug.stop_reason == "disconnect"
    ):
        # The session is still ending, or was ended by the vehicle.
        return ""
    if not command or not plug.is_limit_below_minimum:
        return command
    if limits.cap is not None and limits.cap < MINIMUM_AMPERES:
        # A start does not lift the cap, which an installer may have set. Few engines report its range, hence
        # `--force`; the command sets no current above the rated one.
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
"""Names of faults for people, by the word of the catalogue, where they differ from it."""


def fault_name(fault: str) -> str:
    """The name of a fault for people, by its word in the catalogue."""
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
"""Steps for a person by the word of a fault; they are general, as protocol 9.1 has no more than the words."""


def fault_steps(faults: Sequence[str]) -> str:
    """The steps for a person after these faults, given by their words in the catalogue; each step once."""
    return " ".join(dict.fromkeys(FAULT_STEPS.get(fault, _SWITCH_OFF_AND_ON) for fault in faults))
