"""What a plug does and why it does not charge, in sentences for the page. It judges nothing."""

from collections.abc import Sequence

from ccl_exporter.exporter.web.markup import NOTHING
from ccl_exporter.station.catalogue import Activity, NotCharging
from ccl_exporter.station.plug import IN_SESSION, Plug
from ccl_exporter.station.remedies import fault_name

STOPS = {
    "user": "by its user",
    "scheduler": "by the schedule",
    "credits": "when the credit was used up",
    "disconnect": "by the vehicle",
    "remote": "remotely",
    "timer": "when its time was over",
    "disabled": "when the plug was switched off",
    "error": "by a fault",
    "vehicle_communication": "by a failure to communicate with the vehicle",
    "vehicle_over_current": "because the vehicle took too much current",
    "unknown": "for an unknown reason",
}
_BAD_STOPS = ("error", "vehicle_communication", "vehicle_over_current")
_COLOURS = {"available": "calm", "blocked": "wait", "reserved": "wait", "charging": "wait", "outoforder": "bad"}


def why_not_charging(plug: Plug, station: str | None) -> str:
    """Why no power flows, as a sentence; "" if it does. `station` is the state of the whole charger."""
    reason = plug.not_charging
    if reason is None:
        return "" if _flows(plug) else "Power is offered, but the vehicle takes none: it may be full or busy."
    if reason is NotCharging.FAULT:
        return f"A fault prevents it: {faults(plug.faults or ('unknown',))}."
    if station in ("error", "disabled", "not_initialised"):
        return f"The state of the whole station is: {plain(station)}."
    ended = f" {STOPS[plug.stop_reason]}" if plug.stop_reason in STOPS else ""
    words = plug.sentence
    if reason is NotCharging.SESSION_ENDED and ended:
        words = f"{words}; it was ended{ended}"
    elif reason is NotCharging.WAITING_FOR_PERMISSION and plug.stop_reason in _BAD_STOPS:
        words = f"{words}; the last session was ended{ended}"
    return f"{words[:1].upper()}{words[1:]}."


def _flows(plug: Plug) -> bool:
    """Whether power flows, or that is not known; the electronics take a little, too."""
    if plug.power is not None:
        return plug.power >= 50
    return plug.current is None or plug.current >= 0.5


def plain(word: str) -> str:
    """A word of the catalogue as a person reads it."""
    return word.replace("_", " ")


def faults(words: Sequence[str] | None) -> str:
    """Faults by their words in the catalogue; None is that they could not be read."""
    return NOTHING if words is None else ", ".join(map(fault_name, words)) or "none"


def state(plug: Plug) -> tuple[str, str]:
    """The state of a plug with its colour."""
    word = plug.state.word if plug.state is not None else "state unknown"
    return plain(word).capitalize(), "good" if plug.is_charging else _COLOURS.get(plug.status or "", "off")


def is_present(plug: Plug) -> bool:
    """Whether the session of a plug is the present one, not the last."""
    return plug.activity in IN_SESSION or plug.activity is Activity.ENDED
