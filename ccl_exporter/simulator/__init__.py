"""A PowerStudio engine on loopback, for `simulate`, `demo` and the tests.

The exporter never imports it; it imports nothing of the exporter.
"""

from ccl_exporter.simulator.charge import State, Stop
from ccl_exporter.simulator.dialect import NAMES as DIALECTS
from ccl_exporter.simulator.dialect import Dialect
from ccl_exporter.simulator.faults import KINDS as FAULTS
from ccl_exporter.simulator.faults import Fault
from ccl_exporter.simulator.simulator import MODELS, Request, Simulator
from ccl_exporter.simulator.variables import SimulatedDate

__all__ = [
    "DIALECTS",
    "FAULTS",
    "MODELS",
    "Dialect",
    "Fault",
    "Request",
    "SimulatedDate",
    "Simulator",
    "State",
    "Stop",
]
