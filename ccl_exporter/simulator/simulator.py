"""The simulator as others use it: start it, look at what it was asked, make it fail, stop it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from ccl_exporter.simulator.answers import EngineAnswer, Request
from ccl_exporter.simulator.auth import LoginGate
from ccl_exporter.simulator.dialects import Dialect
from ccl_exporter.simulator.faults import Fault, find, mangled
from ccl_exporter.simulator.models import MODELS
from ccl_exporter.simulator.server import InFlight, ResponsePlan, Server
from ccl_exporter.simulator.simulated_engine import ModelEngine, RecordingsEngine, decoded
from ccl_exporter.simulator.site import Life, Site, SiteView


class Simulator:
    """A PowerStudio engine on loopback. `dialect` and `faults` may be swapped while it runs.

    Times: `speed` is simulated seconds per real second, `latency` real seconds before each answer, and
    `clock` gives the simulated Unix seconds instead of both start time and speed.
    `life` says who comes to charge; without `autopilot` none does by itself.
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
        life: Life = "busy",
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        if model not in MODELS:
            raise ValueError(f"unknown model {model!r}; known are: {', '.join(MODELS)}")
        self.dialect = Dialect() if dialect is None else dialect
        self.latency = latency
        self.site = Site(MODELS[model], clock or _running_clock(speed), seed, autopilot, life)
        self._engine = ModelEngine(self.site) if recordings is None else RecordingsEngine(recordings)
        self._gate = LoginGate(username, password, seed)
        self._host = host
        self.port = port
        """The port it listens on; the same again after a stop and a start."""
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._faults: tuple[Fault, ...] = ()
        self._times_left: dict[int, int] = {}
        self._server: Server | None = None
        self._in_flight = InFlight()
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
    def url(self) -> str:
        """Its address, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """What arrived so far, in order."""
        with self._lock:
            return list(self._requests)

    def clear_requests(self) -> None:
        """Forget what arrived, and how much of it at once."""
        with self._lock:
            self._requests.clear()
            self._in_flight.highest = 0

    @property
    def max_in_flight(self) -> int:
        """The highest number of requests handled at once."""
        return self._in_flight.highest

    def start(self) -> None:
        """Listen; the port is bound when this returns."""
        if self._server is not None:
            raise RuntimeError("the simulator runs already")
        self._server = Server(self._host, self.port, self._in_flight, self._receive, self._answer)
        self.port = self._server.server_port
        self._server.start()

    def stop(self) -> None:
        """Close every connection, however slow its exchange; may be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _receive(self, request: Request) -> ResponsePlan:
        """Take note of a request and decide what is wrong with its exchange."""
        dialect = self.dialect
        spellings = (request.target, decoded(request.target, dialect))
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

    def _answer(self, request: Request, plan: ResponsePlan) -> EngineAnswer:
        """Answer a request after its wait."""
        dialect = self.dialect
        refused = self._gate.check(request.method, request.target, request.authorization, dialect)
        if refused is not None:
            return refused
        if any(fault.refuses for fault in plan.faults):
            request = replace(request, body=b"")
        answer = self._engine.answer(request, dialect, plan.faults)
        return mangled(answer, plan.faults)

    def _still_happens(self, number: int) -> bool:
        if number not in self._times_left:
            return True
        self._times_left[number] -= 1
        return self._times_left[number] >= 0


def _running_clock(speed: float) -> Callable[[], float]:
    began, start = time.monotonic(), time.time()
    return lambda: start + (time.monotonic() - began) * speed
