"""A back end, as OCPP would connect one: it starts and stops charges without asking whoever else commands them."""

from __future__ import annotations

from ccl_exporter.simulator.physics import SimulatedPlug
from ccl_exporter.simulator.simulated_charge import Stop


class BackEnd:
    """Starts a charge at one plug where none is under way, else stops it, every so many seconds."""

    def __init__(self, plug: SimulatedPlug, at: float, every: float) -> None:
        self._plug = plug
        self._every = every
        self._when = at + every

    def due(self) -> float:
        """When it acts next, in Unix seconds."""
        return self._when

    def act(self, at: float) -> None:
        """Do what is due at `at`."""
        if at < self._when:
            return
        self._when = at + self._every
        if self._plug.under_way():
            self._plug.stop(at, Stop.REMOTE)
        elif self._plug.vehicle is not None:
            self._plug.start_remotely(at)
