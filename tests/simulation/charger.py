"""The charger of a simulation: the simulator's engine without sockets, and every way in which it misbehaves."""

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPMessage
from random import Random

from ccl_exporter.errors import ChargerError, TimedOut
from ccl_exporter.http_client import Answer
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.simulator.answers import EngineAnswer, Request
from ccl_exporter.simulator.dialects import Dialect
from ccl_exporter.simulator.faults import Fault, mangled
from ccl_exporter.simulator.models import MODELS
from ccl_exporter.simulator.physics import SimulatedCharge, SimulatedPlug
from ccl_exporter.simulator.simulated_engine import ModelEngine
from ccl_exporter.simulator.simulated_variables import SimulatedDevice, SimulatedVariable, Value
from ccl_exporter.simulator.site import Site, SiteModel
from simulation.simulated_time import SimulatedTime

Rewrite = Callable[[str, str], str]
"""What becomes of a document: its target and text in, another text out."""

SECRETS: dict[str, Value] = {"PIN": 73918264.0, "OWNER_NAME": "Ada Fairweather", "EMAID": "GB-ABC-C12345678-9"}
"""What an unknown device knows of a person."""

NUMBER = r"-?[0-9.]+"

REGISTERS = r"[^<]*\bAE[123]?"
"""Full names of registers of active energy, as a pattern."""

_DIALECT = Dialect()
_DESCRIPTION = re.compile("/(devices|deviceInfo|varInfo|plugInfo|information)\\.xml")


class SimulatedCharger:
    """An engine with its plugs, reached by `transport`; `sessions` are the true ones of each plug, in order."""

    def __init__(self, time: SimulatedTime, model: str, seed: int) -> None:
        self.time = time
        self.random = Random(f"charger {seed}")

        def build(now: float, boot: Callable[[], float]) -> SiteModel:
            site = MODELS[model](now, boot)
            return replace(site, devices=(*site.devices, _personal_device()))

        self.site = Site(build, lambda: time.now, seed, autopilot=False)
        self.plugs = [place.plug for place in self.site.model.places]
        self.meters = {place.plug.name: place.meter for place in self.site.model.places}
        self._engine = ModelEngine(self.site)
        self._registers = re.compile(
            rf"<(?:id>(?=(?:{self.plug_registers})<)|(?=activeEnergy))([^<>]*)(?:</id>\s*<value)?>({NUMBER})"
        )
        self._descriptions: dict[tuple[str, tuple[Fault, ...]], EngineAnswer] = {}
        """Answers that nothing but a fault changes, by target and faults."""
        self.faults: list[Fault] = []
        self.rewrites: list[Rewrite] = []
        self.failure: type[ChargerError] | None = None
        self.interrupt: Callable[[], None] = lambda: None
        """Called before each answer; raises what kills the exporter."""
        self.sent: dict[str, str] = {}
        """The registers of plugs as they were sent last, by full name or `chargeInfo`."""
        self.secrets = {str(SECRETS["PIN"])[:8], *(text for text in SECRETS.values() if isinstance(text, str))}
        self.sessions: dict[str, list[SimulatedCharge]] = {plug.name: [plug.charge] for plug in self.plugs}
        self.removed = dict.fromkeys(self.sessions, 0.0)
        """Watt-hours by which resets have put registers back."""

    @property
    def plug_registers(self) -> str:
        """Full names of the registers that chargeInfo has a copy of, as a pattern."""
        return "|".join(f"{re.escape(name)}\\.AE" for pair in self.meters.items() for name in pair)

    def transport(self, settings: ChargerSettings) -> Transport:
        return _SimulatedTransport(self, settings.url)

    def tag(self) -> str:
        """A new RFID tag; its number is long enough not to be met by chance."""
        while zlib.crc32((tag := f"{self.random.getrandbits(56):014X}").encode()) < 1e9:
            pass
        self.secrets |= {tag, str(zlib.crc32(tag.encode()))}
        return tag

    def note_sessions(self) -> None:
        """Remember sessions that have begun; called after each event."""
        with self.site.present():
            for plug in self.plugs:
                if self.sessions[plug.name][-1] is not plug.charge:
                    self.sessions[plug.name].append(plug.charge)

    def joules(self, plug: SimulatedPlug) -> float:
        """The true energy in the register."""
        with self.site.present() as now:
            return plug.energy_at(now) * 3600

    def delivered(self, plug: SimulatedPlug) -> float:
        """The true energy since the begin, whatever happened to the register, in joules."""
        return self.joules(plug) + self.removed[plug.name] * 3600

    def key(self, session: SimulatedCharge) -> float:
        """What a session is known by: its request by the engine's clock of then."""
        return float(f"{self.site.clock(session.requested):.6f}")  # as chargeInfo has it

    def reset(self, plug: SimulatedPlug, watt_hours: float) -> None:
        """Another meter."""
        self.removed[plug.name] += self.joules(plug) / 3600 - watt_hours
        with self.site.acting():
            plug.energy = watt_hours

    @contextmanager
    def faulty(self, *faults: Fault) -> Iterator[None]:
        self.faults.extend(faults)
        try:
            yield
        finally:
            for fault in faults:
                self.faults.remove(fault)

    @contextmanager
    def rewritten(self, *rewrites: Rewrite) -> Iterator[None]:
        self.rewrites.extend(rewrites)
        try:
            yield
        finally:
            for rewrite in rewrites:
                self.rewrites.remove(rewrite)

    @contextmanager
    def failing(self, failure: type[ChargerError]) -> Iterator[None]:
        self.failure = failure
        try:
            yield
        finally:
            self.failure = None

    def _answer(self, target: str, faults: tuple[Fault, ...]) -> EngineAnswer:
        answer = self._descriptions.get((target, faults))
        if answer is None:
            request = Request("GET", f"/{target}", self.time.now, None, b"")
            answer = self._engine.answer(request, _DIALECT, faults)
            if _DESCRIPTION.search(target):
                self._descriptions[target, faults] = answer
        return answer

    def answer(self, target: str) -> Answer:
        self.time.now += self.random.uniform(0.02, 0.2)
        self.interrupt()
        faults = [fault for fault in self.faults if fault.concerns((target,))]
        answer = self._answer(target, tuple(faults))
        self.note_sessions()
        if answer.status == 200 and self.rewrites:
            text = answer.body.decode()
            for rewrite in self.rewrites:
                text = rewrite(target, text)
            answer = replace(answer, body=text.encode())
        answer = mangled(answer, faults)
        self.sent.update(self._registers.findall(answer.body.decode(errors="replace")))
        headers = HTTPMessage()
        for name, value in answer.headers:
            headers[name] = value
        return Answer(answer.status, headers, answer.body, True)


class _SimulatedTransport(Transport):
    """Asks the simulated charger, in its time."""

    def __init__(self, charger: SimulatedCharger, url: str) -> None:
        super().__init__(url, clock=charger.time.clock())
        self._charger = charger

    def get(self, target: str, deadline: float) -> bytes:
        time, failure = self._charger.time, self._charger.failure
        if time.monotonic >= deadline:
            raise TimedOut("no time was left to ask")
        self.requests += 1
        if failure is TimedOut:
            time.now += deadline - time.monotonic
        if failure is not None:
            raise failure("simulated")
        return self._content(self._charger.answer(target))


def value_rewrite(names: str, change: Callable[[float], float]) -> Rewrite:
    """Changes the values of variables whose full name matches a pattern, in values.xml."""
    pattern = re.compile(rf"(<id>(?:{names})</id>\s*<value>)({NUMBER})(</value>)")

    def rewrite(target: str, text: str) -> str:
        if "values.xml" not in target:
            return text
        return pattern.sub(lambda found: f"{found[1]}{change(float(found[2])):.6f}{found[3]}", text)

    return rewrite


def charge_rewrite(element: str, change: Callable[[float], float]) -> Rewrite:
    """Changes an element of chargeInfo."""
    pattern = re.compile(rf"(<{element}>)({NUMBER})(</{element}>)")

    def rewrite(target: str, text: str) -> str:
        if "chargeInfo" not in target:
            return text
        return pattern.sub(lambda found: f"{found[1]}{change(float(found[2])):.6f}{found[3]}", text)

    return rewrite


def factor_rewrite(names: str, factor: int) -> Rewrite:
    """Describes the registers whose full name matches a pattern with another factor."""
    pattern = re.compile(rf"(<idEx>(?:{names})</idEx>(?:(?!</var>).)*<unitsFactor>)-?\d+", re.DOTALL)
    return lambda target, text: pattern.sub(rf"\g<1>{factor}", text) if "varInfo" in target else text


def _personal_device() -> SimulatedDevice:
    variables = [
        SimulatedVariable(name, name.title(), kind="text" if isinstance(value, str) else "number", default=value)
        for name, value in SECRETS.items()
    ]
    return SimulatedDevice("Users", "GUSERS9", "Users of the house", tuple(variables), lambda _now: {})
