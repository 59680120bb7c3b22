"""The database of a simulation: keeps what it accepts, and fails on demand."""

import re
from collections.abc import Callable, Sequence
from math import inf
from random import Random

from ccl_exporter.outputs.influxdb.client import Accepted, InfluxClient, Outcome, Rejected, RetryLater
from ccl_exporter.settings import InfluxSettings

_READ = re.compile(r"ccl_scrape,\S* .*?(\d+)$")
_SESSION = re.compile(r"ccl_finished_charge,(?:\S*,)?plug=((?:\\.|[^ ,\\])+)\S* (?:.*,)?energy_joules=([0-9.e+]+)")


class SimulatedDatabase(InfluxClient):
    """Notes which reads (Unix milliseconds) and which sessions (plug, joules) have arrived; sends nothing."""

    def __init__(self, settings: InfluxSettings, seed: int, see: Callable[[str], None]) -> None:
        super().__init__(settings)
        self._random = Random(f"database {seed}")
        self._see = see
        self.reads: set[int] = set()
        self.sessions: set[tuple[str, float]] = set()
        self.is_down = False
        self.raises = False
        self.refuses = ""
        """A field that it refuses."""
        self.interrupt: Callable[[], None] = lambda: None
        """Called after lines were accepted and before the answer; raises what kills the exporter."""

    def advice(self) -> str:
        return ""

    def write(self, lines: Sequence[str], most_seconds: float = inf) -> Outcome:
        if self.is_down:
            return RetryLater("no connection")
        if self.raises:
            raise RuntimeError("simulated")
        if any(self.refuses in line for line in lines if self.refuses):
            return Rejected("field type conflict")
        self._see("\n".join(lines))
        for line in lines:
            if found := _READ.match(line):
                self.reads.add(int(found[1]))
            elif found := _SESSION.match(line):
                self.sessions.add((found[1].replace("\\", ""), float(found[2])))
        self.interrupt()
        return Accepted()
