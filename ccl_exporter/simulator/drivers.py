"""Who acts on a plug by itself: drivers of cars, and a back end."""

from __future__ import annotations

import math
import random
import time
from enum import Enum, auto
from itertools import count
from typing import Protocol

from ccl_exporter.simulator.physics import SimulatedPlug, State, Stop, Vehicle

TAG = "04A1B2C3D4"
"""The RFID tag that it shows; invented, but treated as personal data."""

_ARRIVES_AFTER = 5.0
_TAG_AFTER = 5.0
_TRIES_AGAIN_AFTER = 60.0
_EARLY_AT = 0.7
_AWAY = 0.2  # evenings on which the car does not come home


class Driver(Protocol):
    """Whoever drives the car of a plug; `due` is when it acts next, in Unix seconds."""

    due: float

    def act(self, at: float) -> None:
        """Do what is due at `at`, and react to what the plug did."""
        ...


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


class HomeDriver:
    """Comes home in the evening, unless the car is away, and goes in the morning; the same way for the same seed.

    The car wants 5 to 15 kWh and charges without a tag, as soon as the plug is in service.
    """

    def __init__(self, plug: SimulatedPlug, seed: str, at: float) -> None:
        self._plug = plug
        self._random = random.Random(seed)
        self._is_home = False
        self.due = self._arrival(at)
        """When the driver comes or goes next, in Unix seconds."""

    def act(self, at: float) -> None:
        """Do what is due at `at`, and charge if the plug lets the car."""
        if at >= self.due and self._is_home:
            self._plug.unplug(at)
            self._is_home, self.due = False, self._arrival(at)
        elif at >= self.due:
            self._plug.plug_in(at, Vehicle(need=self._random.uniform(5000, 15_000)))
            self._is_home, self.due = True, _local(at, 1, self._random.uniform(6.5, 8.5))
        if self._plug.vehicle is not None and self._plug.state is State.WAITING_FOR_PERMISSION:
            self._plug.request(at, "")

    def _arrival(self, after: float) -> float:
        """The next evening on which the car comes home."""
        evenings = (_local(after, day, self._random.uniform(17.5, 21.0)) for day in count())
        return next(at for at in evenings if self._random.random() > _AWAY and at > after)


def _local(at: float, days: int, hour: float) -> float:
    """An hour of the day by this machine's time zone, so many days after `at`; Unix seconds."""
    day = time.localtime(at)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday + days, int(hour), int(hour % 1 * 60), 0, 0, 0, -1))


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
