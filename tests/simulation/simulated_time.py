"""The time of a simulation: what is true, and what the host's clocks show."""

from ccl_exporter.clock import Clock


class SimulatedTime:
    """`now` is the truth in Unix seconds; the host's wall clock may be set, its monotonic one sleeps with it."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.wall_ahead = 0.0
        self._stopped = now

    @property
    def monotonic(self) -> float:
        return self.now - self._stopped

    def suspend(self, seconds: float) -> None:
        """The host sleeps."""
        self.now += seconds
        self._stopped += seconds

    def boot(self) -> None:
        """The host starts."""
        self._stopped = self.now - 10.0

    def clock(self) -> Clock:
        """The host's clocks."""
        return Clock(lambda: self.now + self.wall_ahead, lambda: self.monotonic)
