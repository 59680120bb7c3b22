"""The nouns of a charge: states, the car, what it was told, and what it may have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

RATED_AMPERES = 32.0
LEAST_AMPERES = 6.0
"""IEC 61851 cannot offer a vehicle less than this; below it the charge waits for power."""
TAPER_FROM = 0.8
_TAPER_FLOOR = 0.15


class State(IntEnum):
    """Plug states of protocol 9.1."""

    DISABLED = -2
    ERROR = -1
    AVAILABLE = 0
    WAITING_FOR_VEHICLE = 2
    WAITING_FOR_PERMISSION = 3
    WAITING_FOR_POWER = 5
    STARTING = 6
    RESUMING = 7
    CHARGING = 8
    PAUSING = 9
    PAUSED = 10
    STOPPING = 11
    WAITING_FOR_DISCONNECTION = 12


class Stop(IntEnum):
    """Stop reasons of protocol 9.1 that the simulator uses."""

    NONE = 0
    USER = 1
    DISCONNECT = 4
    REMOTE = 5
    TIMER = 6
    DISABLED = 7
    ERROR = 8
    VEHICLE_COMMUNICATION = 9
    VEHICLE_OVER_CURRENT = 10


@dataclass
class Vehicle:
    """A car that wants `need` watt-hours and takes at most `most_amperes`."""

    need: float
    most_amperes: float = RATED_AMPERES
    taken: float = 0.0

    def appetite(self) -> float:
        """Amperes it would draw if the plug offered any: less and less above 80 % of its need."""
        done = self.taken / self.need
        if done >= 1:
            return 0.0
        if done <= TAPER_FROM:
            return self.most_amperes
        left = (1 - done) / (1 - TAPER_FROM)
        return self.most_amperes * (_TAPER_FLOOR + (1 - _TAPER_FLOOR) * left)


@dataclass
class SimulatedCharge:
    """One charge as chargeInfo tells it; dates in Unix seconds, energy in watt-hours (protocol 12)."""

    requested: float
    user: str = ""
    began: float | None = None
    ended: float | None = None
    stopped: int = Stop.NONE
    register_at_begin: float = 0.0
    register_at_end: float | None = None


@dataclass
class SimulatedLimits:
    """What can be written to a plug: amperes, per cent, and switches (protocol 9)."""

    intensity: float = RATED_AMPERES
    reduction: float = 0.0
    cap: float = RATED_AMPERES
    enabled: bool = True
    out_of_service: bool = False

    @property
    def usable(self) -> bool:
        """Whether the plug may charge at all."""
        return self.enabled and not self.out_of_service

    @property
    def amperes(self) -> float:
        """The current offered to the vehicle; a reduction is *by* that per cent (protocol 12)."""
        return min(self.intensity * (1 - self.reduction / 100), self.cap)


@dataclass
class Lag:
    """A quantity that follows a target with a time constant of `seconds`."""

    value: float
    seconds: float

    def after(self, elapsed: float, target: float) -> float:
        """Its value `elapsed` seconds on, if the target stays."""
        return target + (self.value - target) * math.exp(-elapsed / self.seconds)


@dataclass
class Extremes:
    """The highest readings since reset, as the meter keeps them: volts, amperes, watts, mean watts."""

    volts: float = 246.8
    volts_least: float = 218.3
    amperes: float = 0.0
    watts: float = 0.0
    demand: float = 0.0
