"""Words for the codes of states and faults that an engine's variables hold (protocol 9.1)."""

from ccl_exporter.station.catalogue import catalogue, last_part
from ccl_exporter.station.plug import word, words_of_bits


def words_of_code(role: str, variable: str, value: object) -> str:
    """The words for the value of an engine's STATE or ERROR; empty for any other variable, role or type of value.

    `role` is one of `catalogue.ROLES`, `variable` the name without the device: STATE and ERROR are the charger's,
    `PLUG.STATE` and `PLUG.ERROR` a plug's.
    """
    if role != "engine" or not isinstance(value, float):
        return ""
    facts, of_plug = catalogue(), "." in variable
    match last_part(variable):
        case "STATE" if of_plug:
            state = facts.plug_state(value)
            found = "unknown" if state is None else state.word
        case "STATE":
            found = word(value, facts.codes["station_state"])
        case "ERROR":
            bits = words_of_bits(value, facts.bits["plug_error" if of_plug else "station_error"])
            found = ", ".join(bits or ()) or "none"
        case _:
            return ""
    return found.replace("_", " ")
