"""Plugs as tests want them, without a charger."""

from dataclasses import dataclass
from typing import Any

from ccl_exporter.station.catalogue import PlugState, catalogue
from ccl_exporter.station.plug import Limits, Measured, Plug, Session


def state(word: str) -> PlugState:
    """The state that has this word."""
    return next(row for row in catalogue().plug_states.values() if row.word == word)


def plug(word: str | None = "available", *, allowed: float | None = 32.0, **more: Any) -> Plug:
    """A plug in a state, with a vehicle and in service unless it says otherwise.

    `requested` and `stopped`, a word, are those of its session.
    """
    requested, stopped, energy = (more.pop(name, None) for name in ("requested", "stopped", "energy"))
    reasons = {reason: code for code, reason in catalogue().codes["stop_reason"].items()}
    defaults = {
        "vehicle_connected": True,
        "enabled": True,
        "faults": (),
        "limits": Limits(rated=32.0, reduction=0.0, allowed=allowed),
        "session": Session(requested=requested, stop_reason=reasons.get(stopped or ""), energy=energy),
    }
    return Plug("P", state=None if word is None else state(word), **{**defaults, **more})


@dataclass(frozen=True)
class Car:
    """A car that charges, or does not want to, at a plug of 32 A: what a follower sees of it."""

    percent: int = 0
    amperes: float = 32.0
    watts: float = 32 * 230.0
    volts: float = 230.0
    phases: int = 1
    wants: bool = True
    cap: float | None = None

    @property
    def plug(self) -> Plug:
        names = ("",) if self.phases == 1 else tuple(f"l{number + 1}" for number in range(self.phases))
        return Plug(
            "P",
            state=state("charging" if self.wants else "available"),
            vehicle_connected=True,
            powers=Measured(tuple((name, self.watts / self.phases) for name in names)),
            currents=Measured(tuple((name, self.amperes) for name in names)),
            voltages=Measured(tuple((name, self.volts) for name in names)),
            limits=Limits(rated=32.0, reduction=self.percent / 100, cap=self.cap),
        )
