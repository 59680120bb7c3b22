"""A simulated PowerStudio engine on loopback, for `simulate`, `demo` and the tests.

It imports nothing of the exporter, and only commands import it.
"""

from ccl_exporter.simulator.answers import Request
from ccl_exporter.simulator.dialects import NAMES as DIALECTS
from ccl_exporter.simulator.dialects import Dialect
from ccl_exporter.simulator.faults import KINDS as FAULTS
from ccl_exporter.simulator.faults import Fault
from ccl_exporter.simulator.models import MODELS
from ccl_exporter.simulator.physics import State, Stop
from ccl_exporter.simulator.simulated_variables import SimulatedDate
from ccl_exporter.simulator.simulator import Simulator
from ccl_exporter.simulator.site import Life

__all__ = [
    "DIALECTS",
    "FAULTS",
    "MODELS",
    "Dialect",
    "Fault",
    "Life",
    "Request",
    "SimulatedDate",
    "Simulator",
    "State",
    "Stop",
]
