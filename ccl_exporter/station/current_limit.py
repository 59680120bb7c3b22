"""PREDUCTION: a current limit as a reduction of the plug's rated current in whole per cent (protocol 9, 12). Pure.

Currents are amperes. They are compared in whole microamperes, so that no rounding of floats shifts a per cent.
"""

MINIMUM_AMPERES = 6
"""The lowest current that can be offered to a vehicle (IEC 61851-1)."""


def amperes_left(percent: float, rated: float) -> float:
    """The current that a reduction leaves."""
    return round(rated * (100 - percent) / 100, 6)


def percent_for(amperes: float, rated: float) -> int:
    """The smallest reduction, 0 to 100, that leaves at most `amperes`; 100 if it leaves less than 6 A."""
    percent = min(max(100 - 100 * _micro(amperes) // _micro(rated), 0), 100)
    return percent if amperes_left(percent, rated) >= MINIMUM_AMPERES else 100


def minimum_current(rated: float) -> float:
    """The lowest current of at least 6 A that a whole percentage of the rated current gives."""
    return amperes_left(100 + (-100 * _micro(MINIMUM_AMPERES)) // _micro(rated), rated)


def _micro(amperes: float) -> int:
    return max(round(amperes * 1_000_000), 1)
