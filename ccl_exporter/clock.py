"""Where the time comes from, so that a simulation can have its own."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """The monotonic and the Unix time, in seconds.

    Waits for locks, threads and sockets are real, whatever the clock says.
    """

    wall: Callable[[], float] = time.time
    """Unix seconds; may be set back."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds that only grow, for intervals and deadlines."""


SYSTEM = Clock()
"""The clock of the machine."""
