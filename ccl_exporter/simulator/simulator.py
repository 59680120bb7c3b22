"""The simulator as others use it: start it, look at what it was asked, make it fail, stop it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType

from ccl_exporter.simulator import twin, wallbox
from ccl_exporter.simulator.auth import LoginGate
from ccl_exporter.simulator.dialects import Dialect
from ccl_exporter.simulator.faults import Fault, find
from ccl_exporter.simulator.mangle import mangled
from ccl_exporter.simulator.query import decoded
from ccl_exporter.simulator.recordings import RecordingsEngine
from ccl_exporter.simulator.server import Incoming, ResponsePlan, Server
from ccl_exporter.simulator.simulated_engine import EngineAnswer, ModelEngine, SimulatedEngine
from ccl_exporter.simulator.site import Site, SiteModel
from ccl_exporter.simulator.site_view import SiteView

MODELS: Mapping[str, Callable[[float, Callable[[], float]], SiteModel]] = MappingProxyType(
    {"wallbox": wallbox.build, "twin": twin.build}
)
"""Kinds of engine by name."""


@dataclass(frozen=True)
class Request:
    """One request that arrived. `at` is in seconds of the monotonic clock.

    `authorized` tells whether it carried an Authorization header, right or wrong.
    """

    method: str
    target: str
    at: float
    authorized: bool
    body: bytes = b""


class Simulator:
    """A PowerStudio engine on loopback. `dialect` and `faults` may be swapped while it runs.

    Times: `speed` is simulated seconds per real second, `latency` real seconds before each answer, and
    `clock` gives the simulated Unix seconds instead of both start time and speed.
    """

    def __init__(  # noqa: PLR0913  (every one is a switch that a test or the command line sets)
        self,
        model: str = "wallbox",
        *,
        dialect: Dialect | None = None,
        faults: Sequence[Fault] = (),
        speed: float = 1.0,
        recordings: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        latency: float = 0.0,
        seed: int = 1,
        clock: Callable[[], float] | None = None,
        autopilot: bool = True,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        if model not in MODELS:
            raise ValueError(f"unknown model {model!r}; known are: {', '.join(MODELS)}")
        self.dialect = Dialect() if dialect is None else dialect
        self.latency = latency
        self.site = Site(MODELS[model], clock or _running_clock(speed), seed, autopilot)
        self._engine: SimulatedEngine = (
            ModelEngine(self.site) if recordings is None else RecordingsEngine(recordings)
        )
        self._gate = LoginGate(username, password, seed)
        self._host, self._port = host, port
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._faults: tuple[Fault, ...] = ()
        self._times_left: dict[int, int] = {}
        self._server: Server | None = None
        self._highest = 0
        self.faults = tuple(faults)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is wrong now; setting it lets counted faults begin anew."""
        return self._faults

    @faults.setter
    def faults(self, faults: Sequence[Fault]) -> None:
        with self._lock:
            self._faults = tuple(faults)
            self._times_left = {
                number: fault.times for number, fault in enumerate(self._faults) if fault.times is not None
            }
        back_end = find(self._faults, "back-end")
        self.site.connect_back_end(None if back_end is None else back_end.wait)

    @property
    def port(self) -> int:
        """The port it listens on; the same again after a stop and a start."""
        return self._port

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def requests(self) -> list[Request]:
        """What arrived so far, in order."""
        with self._lock:
            return list(self._requests)

    def clear_requests(self) -> None:
        """Forget what arrived, and how much of it at once."""
        with self._lock:
            self._requests.clear()
            self._highest = 0
            if self._server is not None:
                self._server.in_flight.highest = 0

    @property
    def max_in_flight(self) -> int:
        """The highest number of requests handled at once."""
        server = self._server
        return self._highest if server is None else max(self._highest, server.in_flight.highest)

    def start(self) -> None:
        """Listen; the port is bound when this returns."""
        if self._server is not None:
            raise RuntimeError("the simulator runs already")
        self._server = Server(self._host, self._port, self)
        self._port = self._server.server_port
        self._server.start()

    def stop(self) -> None:
        """Close every connection, however slow its exchange; may be called twice."""
        server, self._server = self._server, None
        if server is not None:
            self._highest = max(self._highest, server.in_flight.highest)
            server.stop()

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def receive(self, incoming: Incoming) -> ResponsePlan:
        """Take note of a request and decide what is wrong with its exchange."""
        headers, dialect = incoming.headers, self.dialect
        request = Request(
            incoming.method,
            incoming.target,
            time.monotonic(),
            headers.get("Authorization") is not None,
            incoming.body,
        )
        spellings = (incoming.target, decoded(incoming.target, dialect))
        with self._lock:
            self._requests.append(request)
            faults = [
                fault
                for number, fault in enumerate(self._faults)
                if fault.concerns(spellings) and self._still_happens(number)
            ]
        wait = self.latency + sum(fault.wait for fault in faults if fault.kind == "slow")
        date = None
        if dialect.date_header:
            with self.site.present() as now:
                date = SiteView(self.site, now, dialect, ()).clock(now)
        return ResponsePlan(wait, faults, dialect.server_header, date)

    def answer(self, incoming: Incoming, plan: ResponsePlan) -> EngineAnswer:
        """Answer a request after its wait."""
        dialect = self.dialect
        refused = self._gate.check(
            incoming.method, incoming.target, incoming.headers.get("Authorization"), dialect
        )
        if refused is not None:
            return refused
        body = b"" if any(fault.refuses for fault in plan.faults) else incoming.body
        answer = self._engine.answer(incoming.method, incoming.target, body, dialect, plan.faults)
        return mangled(answer, plan.faults)

    def _still_happens(self, number: int) -> bool:
        if number not in self._times_left:
            return True
        self._times_left[number] -= 1
        return self._times_left[number] >= 0


def _running_clock(speed: float) -> Callable[[], float]:
    began, start = time.monotonic(), time.time()
    return lambda: start + (time.monotonic() - began) * speed
