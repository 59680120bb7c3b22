"""The words of codes: what stands beside the number of a state, a stop reason or a mask of faults."""

from ccl_exporter.station.catalogue import catalogue, last_part
from ccl_exporter.station.plug import word, words_of_bits


def words_of_code(role: str, variable: str, value: object) -> str:
    """The words of a variable's value; empty if it is no code.

    `role` is the part of the station that the device is, `variable` the name without the device. Of an
    engine, STATE and ERROR are those of the charger, `PLUG.STATE` and `PLUG.ERROR` those of a plug.
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
