"""The flags of `charge follow`, checked and turned into the settings of a follower. Pure.

All functions raise `UsageError` with the flag in the message.
"""

import re

from ccl_exporter.control.follow.input_filter import InputSpec, Unit, What
from ccl_exporter.control.follow.policy import Mode, Rules
from ccl_exporter.errors import UsageError
from ccl_exporter.station.current_limit import minimum_current, percent_for

_POWER = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(W|kW|A)")
_ROOF = 10_000.0
"""Default of --pv-peak in watts, but for the mode `supply`, where it is 0."""


def input_spec(
    what: What, unit: Unit, mode: Mode, supply: str | None, roof: str | None, stale: float
) -> InputSpec:
    """The meaning of the input from its flags; `stale` is in seconds."""
    if supply is not None and what != "import":
        raise UsageError("--supply belongs to --input import: the power that is available knows of the supply")
    if supply is None and mode == "supply" and what == "import":
        raise UsageError("--mode supply and --input import need --supply")
    allowed = _power(supply, "--supply") if supply is not None else None
    if roof is None:
        return InputSpec(what, unit, mode, allowed, 0.0 if mode == "supply" else _ROOF, stale)
    peak, peak_unit = _power(roof, "--pv-peak")
    if peak_unit == "A":
        raise UsageError(f"--pv-peak {roof!r} is not a power; it looks like 4kW")
    return InputSpec(what, unit, mode, allowed, peak, stale)


def amperes(text: str | None, flag: str) -> float | None:
    """The amperes of a text such as `6.1A`; None if the flag is not given."""
    if text is None:
        return None
    value, unit = _power(text, flag)
    if unit != "A":
        raise UsageError(f"{flag} {text!r} is not a current; it looks like 6.1A")
    return value


def rules(mode: Mode, supply: bool, floor: float | None, safe: float | None, starts: int, largest: float) -> Rules:
    """The rules for a plug with a rated current of `largest` amperes.

    Refuses a `floor` or `safe` above that, or below the minimum current but not 0.
    """
    for name, current in (("--floor", floor), ("--safe", safe)):
        if current is not None and (current > largest or (current > 0 and percent_for(current, largest) == 100)):
            raise UsageError(
                f"{name} {current:g}A is no current of this plug: it has {largest:g} A,"
                " a car needs 6 A, and it is set in whole per cent; 0A stops"
            )
    least = minimum_current(largest)
    floor = least if floor is None else floor
    if safe is None:
        safe = floor if mode == "floor" else least if supply or mode == "supply" else 0.0
    return Rules(mode=mode, largest=largest, floor=floor, safe=safe, starts_a_day=starts, supply=supply)


def _power(text: str, flag: str) -> tuple[float, str]:
    found = _POWER.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{flag} {text!r} is not a power or a current; it looks like 60A or 14kW")
    value = float(found[1])
    return (value * 1000, "W") if found[2] == "kW" else (value, found[2])
