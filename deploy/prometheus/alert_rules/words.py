"""Pieces of texts in Go's templates: who is meant, words of the catalogue as people read them, the command that helps."""

from collections.abc import Iterable, Mapping

from ccl_exporter.exporter.web.plug_words import STOPS
from ccl_exporter.metrics import families as f
from ccl_exporter.station.catalogue import NotCharging, catalogue
from ccl_exporter.station.remedies import FAULT_NAMES, FAULT_STEPS, REMEDIES, fault_steps

CHARGER = "{{ $labels.instance }}"
PLUG = "{{ $labels.instance }}, plug {{ $labels.plug }}"
CHARGER_OR_PLUG = "{{ $labels.instance }}{{ with $labels.plug }}, plug {{ . }}{{ end }}"
"""How a summary begins."""


def command(words: str) -> str:
    """A command for this charger, and for the plug that the alert names."""
    which = " --charger {{ $labels.instance }}"
    if words.startswith("charge "):
        which += "{{ with $labels.plug }} --plug '{{ . }}'{{ end }}"
    return f"`ccl-exporter {words}{which}`"


def choice(subject: str, texts: Mapping[str, str], otherwise: str) -> str:
    """The text whose key equals the subject; keys are literals of Go."""
    if not texts:
        return otherwise
    tests = (f"if eq {subject} {key} }}}}{text}" for key, text in texts.items())
    return "{{ " + "{{ else ".join(tests) + f"{{{{ else }}}}{otherwise}{{{{ end }}}}"


def plain(label: str) -> str:
    """A label's word with blanks for underscores."""
    return f'{{{{ reReplaceAll "_" " " $labels.{label} }}}}'


def _faults(label: str) -> Iterable[str]:
    return catalogue().bits["plug_error" if label == f.PLUG_ERROR.name else "station_error"]


def fault(label: str) -> str:
    """A fault in words."""
    texts = {f'"{word}"': FAULT_NAMES[word] for word in _faults(label) if word in FAULT_NAMES}
    return choice(f"$labels.{label}", texts, plain(label))


def fault_step(label: str, left_out: Iterable[str]) -> str:
    """What a person does after a fault, in the words of the page; some faults have an alert of their own."""
    known = (word for word in _faults(label) if word in FAULT_STEPS and word not in left_out)
    texts = {f'"{word}"': FAULT_STEPS[word] for word in known}
    return choice(f"$labels.{label}", texts, fault_steps(("unknown",)))


def stop(words: Iterable[str]) -> str:
    """Why a session was stopped, as the end of a sentence."""
    label = f.CHARGE_STOP_REASON.name
    return choice(f"$labels.{label}", {f'"{word}"': STOPS[word] for word in words}, plain(label))


def coded(reasons: Iterable[NotCharging]) -> str:
    """An expression that is the number of the reason that holds, if it is one of these.

    As a value, a change of the reason is no other alert, and does not begin its `for` anew.
    """
    name = f.PLUG_NOT_CHARGING.name
    each = (f'{reason.number} * (last_over_time({name}{{{name}="{reason}"}}[3m]) == 1)' for reason in reasons)
    return (
        f"max without ({name}) (\n"
        + "\n".join(f"  {'or ' if place else ''}{one}" for place, one in enumerate(each))
        + "\n)"
    )


_ADVICE = {
    NotCharging.WAITING_FOR_POWER: f"Another plug or a limit of the installation takes it; {command('charge status')}"
    " shows the limits.",
    NotCharging.VEHICLE_NOT_READY: "Wake the vehicle, and look at its own timer.",
    NotCharging.WAITING_FOR_SCHEDULE: "Change the schedule on the charger's own page.",
}


def _sentence(reason: NotCharging) -> str:
    states = [state for state in catalogue().plug_states.values() if state.reason is reason]
    own = [state.sentence for state in states if state.word == reason]
    words = catalogue().not_charging.get(reason) or (own or [states[0].sentence])[0]
    return f"{words[:1].upper()}{words[1:]}."


def _advice(reason: NotCharging) -> str:
    if reason in REMEDIES:
        return f"{command(REMEDIES[reason])} helps."
    return _ADVICE.get(reason, f"{command('charge status')} shows more.")


def reason_and_remedy(reasons: Iterable[NotCharging]) -> str:
    """Why a plug does not charge and what helps, by the value of `coded`."""
    texts = {f"{reason.number}.0": f"{_sentence(reason)} {_advice(reason)}" for reason in reasons}
    return choice("$value", texts, "")
