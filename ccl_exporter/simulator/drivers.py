"""Who acts on a plug by itself: the driver of a car, and a back end."""

from __future__ import annotations

import math
import random
from enum import Enum, auto

from ccl_exporter.simulator.physics import SimulatedPlug, State, Stop, Vehicle

TAG = "04A1B2C3D4"
"""The RFID tag it shows; made up, and personal data all the same to whoever reads it."""

_ARRIVES_AFTER = 5.0
_TAG_AFTER = 5.0
_TRIES_AGAIN_AFTER = 60.0
_EARLY_AT = 0.7


class _Plan(Enum):
    ARRIVE = auto()
    SHOW_TAG = auto()
    WAIT = auto()
    LEAVE = auto()


class Autopilot:
    """Drives one plug through charge after charge, the same way for the same seed.

    Needs are watt-hours; `delay` seconds are added before the first arrival.
    """

    def __init__(
        self, plug: SimulatedPlug, seed: str, at: float, needs: tuple[float, float], delay: float
    ) -> None:
        self._plug = plug
        self._random = random.Random(seed)
        self._needs = needs
        self._plan = _Plan.ARRIVE
        self.due = at + _ARRIVES_AFTER + delay
        """When the driver acts next, in Unix seconds."""
        self._visits = 0

    def act(self, at: float) -> None:
        """Do what is due at `at`, and react to what the plug did."""
        if at >= self.due:
            self._carry_out(at)
        self._watch(at)

    def _carry_out(self, at: float) -> None:
        plug = self._plug
        if self._plan is _Plan.ARRIVE:
            self._visits += 1
            plug.plug_in(at, Vehicle(need=self._random.uniform(*self._needs)))
            self._next(_Plan.SHOW_TAG, at + _TAG_AFTER)
        elif self._plan is _Plan.SHOW_TAG:
            if plug.state is State.WAITING_FOR_PERMISSION:
                plug.authorise(at, TAG)
            waits = plug.vehicle is None or plug.under_way() or plug.state is State.STOPPING
            self._next(*((_Plan.WAIT, math.inf) if waits else (_Plan.SHOW_TAG, at + _TRIES_AGAIN_AFTER)))
        elif self._plan is _Plan.LEAVE:
            plug.unplug(at)
            self._next(_Plan.ARRIVE, at + self._random.uniform(180, 600))

    def _watch(self, at: float) -> None:
        plug = self._plug
        if self._plan is _Plan.LEAVE and plug.under_way():
            self._next(_Plan.WAIT, math.inf)
        if self._plan is not _Plan.WAIT:
            return
        # Every third visit ends before the car is full, so that stop reasons differ.
        vehicle = plug.vehicle
        if vehicle and self._visits % 3 == 0 and vehicle.taken > _EARLY_AT * vehicle.need:
            plug.stop(at, Stop.USER)
        if vehicle is None:
            self._next(_Plan.ARRIVE, at + self._random.uniform(180, 600))
        elif not plug.under_way() and plug.state is not State.STOPPING:
            self._next(_Plan.LEAVE, at + self._random.uniform(120, 360))

    def _next(self, plan: _Plan, when: float) -> None:
        self._plan, self.due = plan, when


class BackEnd:
    """Starts a charge at one plug where none is under way, else stops it, every so many seconds."""

    def __init__(self, plug: SimulatedPlug, at: float, every: float) -> None:
        self._plug = plug
        self._every = every
        self.due = at + every
        """When it acts next, in Unix seconds."""

    def act(self, at: float) -> None:
        """Do what is due at `at`."""
        if at < self.due:
            return
        self.due = at + self._every
        if self._plug.under_way():
            self._plug.stop(at, Stop.REMOTE)
        elif self._plug.vehicle is not None:
            self._plug.start_remotely(at)
