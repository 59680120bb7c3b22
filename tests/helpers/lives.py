"""The lives of simulated chargers, read by the exporter's own code in simulated time, and put into a database.

Each life is a script: what happens when, and which alerts it must raise. What it does not name must not be raised.
"""

import random
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import urlencode

from alert_rules.model import Life as Rules

from ccl_exporter.metrics.families import FAMILIES
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.prometheus import exposition
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.simulator import Dialect, Fault, Simulator, State
from ccl_exporter.simulator.physics import SimulatedPlug
from ccl_exporter.station.judge import core_variables
from ccl_exporter.station.plausibility import RegisterFilter
from helpers.support import Clock

START = datetime(2025, 10, 30, 12, tzinfo=UTC).timestamp()
SCRAPE = 60.0
"""Seconds between two readings: what Prometheus does by default, and the longest that the rules are made for."""
STEP = 10.0
"""Seconds between two looks at the truth."""

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
SHORT = 2.0
"""Days of the short form."""
CHEAP, DEAR = 0.09, 0.30
"""The prices that stand in the recording rules."""


@dataclass(frozen=True)
class Expected:
    """An alert that must be firing within so many seconds, and may until another time; Unix seconds.

    Only where the rules have it.
    """

    alert: str
    instance: str
    plug: str
    at: float
    within: float
    until: float


@dataclass
class Truth:
    """What really happened at a plug: seconds, joules, money."""

    counted: float = 0.0
    available: float = 0.0
    idle: float = 0.0
    joules: float = 0.0
    cost: float = 0.0
    charges: int = 0
    charge_joules: float = 0.0


@dataclass
class Life:
    """What became of a charger."""

    truths: dict[str, Truth] = field(default_factory=dict)
    expected: list[Expected] = field(default_factory=list)
    reads: int = 0


class Stage:
    """One charger on which a script acts, at times in seconds since the start."""

    def __init__(self, name: str, simulator: Simulator, clock: Clock, life: Life) -> None:
        self.name, self.simulator, self.clock, self.life = name, simulator, clock, life
        self.random = random.Random(name)
        self.reachable = True
        self.labels: dict[str, str] = {}
        self.timeout = 30.0

    @property
    def now(self) -> float:
        return self.clock.at - START

    def force(self, device: str, variable: str, value: float) -> None:
        """Write as the exporter's commands do."""
        self.simulator.site.force(device, [(variable, value)])

    def silence(self, silent: bool) -> None:
        self.reachable = not silent
        self.simulator.faults = (Fault("close"),) if silent else ()

    def arrive(self, plug: int = 0, need: float = 60_000.0, most: float = 32.0) -> None:
        """A car comes and is charged at once."""
        self.simulator.site.plugs[plug].plug_in(need, most)
        self.simulator.site.plugs[plug].authorise()

    def leave(self, plug: int = 0) -> None:
        self.simulator.site.plugs[plug].unplug()

    def expect(self, alert: str, within: float, lasts: float, plug: str = "") -> None:
        """From now on an alert must be raised within so many minutes, and may for so many."""
        at = self.clock.at
        self.life.expected.append(Expected(alert, self.name, plug, at, within * MINUTE, at + lasts * MINUTE))


Script = Callable[[Stage], Iterator[float]]


@dataclass(frozen=True)
class Role:
    """A charger to be simulated: its name, make, script, and the hours it lives, from `begins` on.

    `watched_as` says which rules it has.
    """

    name: str
    model: str
    script: Script
    hours: float
    dialect: tuple[str, ...] = ("patched",)
    labels: tuple[tuple[str, str], ...] = ()
    autopilot: bool = False
    noise: float = 0.0
    begins: float = 0.0
    watched_as: tuple[Rules, ...] = (Rules.HOME, Rules.FLEET)


def live(role: Role, database: str) -> Life:
    """Let a charger live, and put what the exporter says of it every minute into a database."""
    clock = Clock(START + role.begins * HOUR)
    life = Life()
    noise = random.Random(f"noise {role.name}")
    with Simulator(
        role.model, dialect=Dialect.parse(role.dialect), autopilot=role.autopilot, clock=clock
    ) as simulator:
        stage = Stage(role.name, simulator, clock, life)
        stage.labels = dict(role.labels)
        # Without the governor, whose clock is that of the wall.
        engine = Engine(role.name, Transport(simulator.url, clock=clock.running))
        register_filter = RegisterFilter()
        script = role.script(stage)
        due = START + next(script, float("inf"))
        witness = _Witness(stage)
        pending = _Batch(database)
        end = clock.at + role.hours * HOUR
        read_at = clock.at + SCRAPE
        while clock.at < end:
            clock.at = min(clock.at + STEP - clock.at % STEP, due, read_at)
            while clock.at >= due:
                due = START + next(script, float("inf"))
            witness.look()
            if clock.at < read_at:
                continue
            read_at += SCRAPE
            chance = noise.random()
            labels = {"job": "evse", "instance": role.name, **stage.labels}
            if chance < role.noise:
                pending.add("up 0\n", clock.at, labels)
                continue
            if chance < 1.5 * role.noise and stage.reachable:
                simulator.faults = (*simulator.faults, Fault("close"))
            snapshot = replace(engine.read(stage.timeout, core_variables), taken=clock.at)
            snapshot = register_filter.apply(snapshot, clock.at)
            if stage.reachable:
                simulator.faults = tuple(fault for fault in simulator.faults if fault.kind != "close")
            text, _ = exposition(samples(snapshot, modules=("core",)), FAMILIES, "")
            pending.add(text.decode() + "up 1\n", clock.at, labels)
            life.reads += 1
        pending.send()
        engine.close()
    return life


class _Batch:
    """Expositions of one set of target labels on their way into the database."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._lines: list[str] = []
        self._labels: dict[str, str] = {}

    def add(self, text: str, at: float, labels: dict[str, str]) -> None:
        if labels != self._labels or len(self._lines) > 30_000:
            self.send()
            self._labels = labels
        stamp = f" {round(at * 1000)}"
        self._lines += [line + stamp for line in text.splitlines() if not line.startswith("#")]

    def send(self) -> None:
        if self._lines:
            put(self._database, "\n".join(self._lines), self._labels)
        self._lines = []


def put(database: str, lines: str, labels: dict[str, str]) -> None:
    """Put lines of an exposition with times (milliseconds) into VictoriaMetrics."""
    query = urlencode([("extra_label", f"{name}={value}") for name, value in labels.items()])
    address = f"{database}/api/v1/import/prometheus?{query}"
    urllib.request.urlopen(address, (lines + "\n").encode(), timeout=120).close()


class _Witness:
    """Sees what really happens, between two looks."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._last = stage.clock.at
        self._plugs = [place.plug for place in stage.simulator.site.model.places]
        self._joules = {plug.name: self._energy(plug) for plug in self._plugs}
        self._ended = {plug.name: plug.charge.ended for plug in self._plugs}
        for plug in self._plugs:
            stage.life.truths[plug.name] = Truth()

    def _energy(self, plug: SimulatedPlug) -> float:
        return plug.energy_at(self._stage.clock.at) * 3600

    def look(self) -> None:
        stage, now = self._stage, self._stage.clock.at
        seconds, self._last = now - self._last, now
        with stage.simulator.site.present():
            for plug in self._plugs:
                truth = stage.life.truths[plug.name]
                if "planned_outage" not in stage.labels:
                    truth.counted += seconds
                    is_available = plug.under_way() or (not plug.error and plug.limits.usable)
                    truth.available += seconds * (is_available and stage.reachable)
                truth.idle += seconds * (plug.vehicle is not None and plug.state is not State.CHARGING)
                joules = self._energy(plug)
                grown = joules - self._joules[plug.name]
                self._joules[plug.name] = joules
                # What a script did to the register was no energy.
                if 0 <= grown < 25_000 * 60:
                    truth.joules += grown
                    minute = int(now // 60) % 1440
                    truth.cost += grown / 3.6e6 * (CHEAP if 30 <= minute < 270 else DEAR)
                ended = plug.charge.ended
                if ended is not None and ended != self._ended[plug.name] and plug.charge.began is not None:
                    truth.charges += 1
                    truth.charge_joules += plug.charge_energy_at(now) * 3600
                if ended is not None:
                    self._ended[plug.name] = ended


# Normal days


def night(stage: Stage) -> Iterator[float]:
    """A home with a night tariff: disabled but for 00:30 to 04:30, most evenings with a car."""
    mode3, plug, chance = "Plug - Mode 3", "EVSE.PLUG", stage.random
    stage.force(mode3, f"{mode3}.OUT_OF_SERVICE", 1)
    for day in range(40):
        noon = day * DAY
        if day % 4 == 1:
            # A top-up: in the afternoon, by hand, and stopped by hand.
            yield noon + 2.5 * HOUR
            stage.simulator.site.plugs[0].plug_in(20_000)
            stage.force(mode3, f"{mode3}.OUT_OF_SERVICE", 0)
            yield stage.now + 10
            stage.force("EVSE", f"{plug}.REMOTE_START", 1)
            yield stage.now + 25 * MINUTE
            stage.force("EVSE", f"{plug}.REMOTE_STOP", 1)
            yield stage.now + 3 * MINUTE
            stage.force(mode3, f"{mode3}.OUT_OF_SERVICE", 1)
            yield stage.now + 20 * MINUTE
            stage.leave()
        at_home = day % 5 != 2
        yield noon + chance.uniform(5, 8) * HOUR
        if at_home:
            stage.simulator.site.plugs[0].plug_in(chance.uniform(4000, 30_000))
        yield noon + 12.5 * HOUR
        stage.force(mode3, f"{mode3}.OUT_OF_SERVICE", 0)
        yield stage.now + 10
        if at_home:
            stage.force("EVSE", f"{plug}.REMOTE_START", 1)
        yield noon + 16.5 * HOUR
        stage.force(mode3, f"{mode3}.OUT_OF_SERVICE", 1)
        yield noon + chance.uniform(18.5, 21) * HOUR
        stage.leave()


def street(stage: Stage) -> Iterator[float]:
    """Nothing but visitors, one after the other; the autopilot drives."""
    yield from ()


def serviced(stage: Stage) -> Iterator[float]:
    """A charger of an engine with few documents; a planned outage does not count as one."""
    for day in range(40):
        yield day * DAY + 1 * HOUR
        stage.arrive(need=9000)
        yield day * DAY + 4 * HOUR
        stage.leave()
        if day % 7 == 0:
            yield day * DAY + 5 * HOUR
            stage.labels["planned_outage"] = 'new "cable"'
            yield stage.now + 5 * MINUTE
            stage.force("Plug - Mode 3", "Plug - Mode 3.OUT_OF_SERVICE", 1)
            yield stage.now + 2 * HOUR
            stage.force("Plug - Mode 3", "Plug - Mode 3.OUT_OF_SERVICE", 0)
            yield stage.now + 5 * MINUTE
            del stage.labels["planned_outage"]


# Faults


def missed(stage: Stage) -> Iterator[float]:
    """A night tariff whose timer does nothing in the second night."""
    mode3, plug = "Plug - Mode 3", "EVSE.PLUG"
    stage.force(mode3, f"{mode3}.OUT_OF_SERVICE", 1)
    yield 6 * HOUR
    stage.simulator.site.plugs[0].plug_in(5000)
    yield 12.5 * HOUR
    stage.force(mode3, f"{mode3}.OUT_OF_SERVICE", 0)
    yield stage.now + 10
    stage.force("EVSE", f"{plug}.REMOTE_START", 1)
    yield 16.5 * HOUR
    stage.force(mode3, f"{mode3}.OUT_OF_SERVICE", 1)
    yield 20 * HOUR
    stage.leave()
    yield 30 * HOUR
    stage.simulator.site.plugs[0].plug_in(20_000)
    # The window would have been from 36:30 to 40:30.
    yield 36.5 * HOUR
    stage.expect("CclCheapHoursNotCharging", 45, 4.1 * 60, plug)
    yield 40.5 * HOUR
    stage.expect("CclNightWindowMissed", 175, 12 * 60, plug)
    stage.expect("CclOutOfService", 6 * 60, 12 * 60, plug)


def old(stage: Stage) -> Iterator[float]:  # noqa: PLR0915 - one thing after the other
    """A wallbox with old software to which one thing happens after the other."""
    site, plug = stage.simulator.site, "EVSE.PLUG"
    (socket,) = site.plugs
    stage.expect("CclFirmwareVulnerable", 17, 1e6)
    yield 0.5 * HOUR
    stage.silence(True)
    stage.expect("CclChargerUnreachable", 11, 40)
    yield 1 * HOUR
    stage.silence(False)

    def faults() -> Iterator[float]:
        for bit, alert, within in (
            (4, "CclPlugFault", 4),
            (5, "CclGroundFault", 2),
            (9, "CclTemperatureFault", 8),
            (3, "CclContactorOrLock", 4),
            (6, "CclContactorOrLock", 4),
        ):
            yield stage.now + 30 * MINUTE
            socket.fail(1 << bit)
            stage.expect(alert, within, 20, plug)
            yield stage.now + 12 * MINUTE
            socket.fail(0)
        yield stage.now + 30 * MINUTE
        stage.expect("CclFaultFlapping", 45, 120, plug)
        for _ in range(4):
            socket.fail(1 << 11)
            stage.expect("CclPlugFault", 6, 14, plug)
            yield stage.now + 6 * MINUTE
            socket.fail(0)
            yield stage.now + 3 * MINUTE

    yield 2 * HOUR
    yield from faults()
    yield 7 * HOUR
    socket.plug_in(20_000)
    stage.expect("CclConnectedNotCharging", 34, 65, plug)
    yield 8 * HOUR
    stage.leave()
    yield 8.2 * HOUR
    stage.arrive(most=0.05)
    stage.expect("CclChargingWithoutEnergy", 24, 65, plug)
    yield 9 * HOUR
    stage.leave()
    yield 9.5 * HOUR
    site.set_value(f"{plug}.STATE", 0.0)
    site.set_value(f"{plug}.CC", 0.0)
    stage.arrive()
    stage.expect("CclEnergyWithoutCharge", 16, 60, plug)
    yield 10.25 * HOUR
    stage.leave()
    yield stage.now + 20 * MINUTE
    site.clear_value(f"{plug}.STATE")
    site.clear_value(f"{plug}.CC")
    for reason in (8, 9, 10):
        yield stage.now + 20 * MINUTE
        stage.arrive()
        yield stage.now + 20 * MINUTE
        socket.stop(reason)
        stage.expect("CclStoppedAbnormally", 7, 18, plug)
        yield stage.now + 5 * MINUTE
        stage.leave()
    yield 14 * HOUR
    stage.arrive()
    yield 14.4 * HOUR
    site.reboot()
    stage.expect("CclRebootDuringCharge", 2, 20, plug)
    yield 15 * HOUR
    stage.force("Plug - Mode 3", "Plug - Mode 3.PREDUCTION", 50)
    yield stage.now + 5 * MINUTE
    site.set_value(f"{plug}.AI", 27.0)
    stage.expect("CclOverCurrent", 4, 25, plug)
    yield stage.now + 20 * MINUTE
    site.clear_value(f"{plug}.AI")
    stage.force("Plug - Mode 3", "Plug - Mode 3.PREDUCTION", 0)
    stage.leave()
    yield stage.now + 20 * MINUTE
    # A restart while no car charges does not matter.
    site.reboot()
    for volts in (257.0, 201.0):
        yield stage.now + 30 * MINUTE
        site.set_value(f"{plug}.VI", volts)
        stage.expect("CclVoltageOutOfRange", 7, 19, plug)
        yield stage.now + 15 * MINUTE
        site.clear_value(f"{plug}.VI")
    yield 18 * HOUR
    socket.set_register(120_000.0)
    stage.expect("CclRegisterReset", 8, 70, plug)
    stage.expect("CclReadingsRejected", 3, 70)
    yield 20 * HOUR
    socket.set_register(180_000.0)
    stage.expect("CclRegisterJump", 8, 30, plug)
    stage.expect("CclReadingsRejected", 3, 70)
    yield 22 * HOUR
    site.set_value(f"{plug}.AE", 181.0)
    stage.expect("CclMetersDisagree", 25, 75, plug)
    stage.expect("CclReadingsRejected", 3, 140)
    yield 23 * HOUR
    site.clear_value(f"{plug}.AE")
    stage.expect("CclRegisterReset", 8, 70, plug)
    yield 24.2 * HOUR
    stage.arrive()
    stage.simulator.faults = (Fault("status-500", "chargeInfo"),)
    stage.expect("CclReadingPartial", 75, 125)
    yield 26 * HOUR
    stage.simulator.faults = ()
    stage.leave()
    yield 26.5 * HOUR
    site.set_value("EVSE.ERROR", float(1 << 4))
    stage.expect("CclStationFault", 5, 25)
    site.set_value("CCL1Mini.TCI", 78.0)
    stage.expect("CclBoardHot", 13, 30)
    yield stage.now + 20 * MINUTE
    site.clear_value("EVSE.ERROR")
    site.clear_value("CCL1Mini.TCI")
    yield 27.5 * HOUR
    stage.arrive(need=3000)
    stage.expect("CclBlockedAfterCharge", 290, 400, plug)
    yield 33.5 * HOUR
    stage.leave()
    yield 34 * HOUR
    stage.simulator.faults = (Fault("device-error", arg="CCL1Mini"),)
    stage.expect("CclDeviceDown", 17, 45)
    yield 34.5 * HOUR
    stage.simulator.faults = ()
    # The short form ends here.
    yield 50 * HOUR
    stage.force("Plug - Mode 3", "Plug - Mode 3.OUT_OF_SERVICE", 1)
    stage.force("Plug - Mode 3", "Plug - Mode 3.PREDUCTION", 40)
    stage.expect("CclOutOfService", 1445, 1600, plug)
    stage.expect("CclLimitForgotten", 1445, 1600, plug)
    yield 75 * HOUR
    stage.force("Plug - Mode 3", "Plug - Mode 3.OUT_OF_SERVICE", 0)
    stage.force("Plug - Mode 3", "Plug - Mode 3.PREDUCTION", 0)


def broken(stage: Stage) -> Iterator[float]:
    """A post with two plugs and three phases: what happens to one is not reported of the other."""
    site = stage.simulator.site
    a, b = (socket.name for socket in site.plugs)
    yield 0.5 * HOUR
    stage.arrive(0, need=90_000)
    stage.arrive(1, need=90_000)
    yield 1.3 * HOUR
    site.set_value("Meter.VI2", 0.0)
    stage.expect("CclPhaseMissing", 13, 30, a)
    yield 1.6 * HOUR
    site.clear_value("Meter.VI2")
    yield 2.2 * HOUR
    site.set_value("Meter.2.AI3", 0.0)
    stage.expect("CclPhaseMissing", 14, 35, b)
    yield 2.6 * HOUR
    site.clear_value("Meter.2.AI3")
    site.set_value("Meter.AI1", 24.0)
    stage.expect("CclPhaseImbalance", 22, 40, a)
    yield 3.1 * HOUR
    site.clear_value("Meter.AI1")
    stage.leave(0)
    stage.leave(1)
    yield 3.5 * HOUR
    site.plugs[1].fail(1)
    stage.expect("CclPlugFault", 4, 20, b)
    yield 3.75 * HOUR
    site.plugs[1].fail(0)


def roles(days: float) -> Sequence[Role]:
    """Who lives. The long form is some days on end, without faults; the short one is `SHORT`."""
    a, b = ("exporter", "a:9986"), ("exporter", "b:9986")
    long = days > SHORT
    quoted = ("site", 'Café "Nord" {x}')
    bare = ("patched", "no-charge-points", "amp-only")
    return (
        Role(
            *("garage", "wallbox", night, days * 24 if long else 30),
            labels=(a, quoted),
            noise=0.002,
            watched_as=(Rules.HOME,),
        ),
        Role("old", "wallbox", old, 77 if long else 35, dialect=(), labels=(b,)),
        Role("missed", "wallbox", missed, 35, labels=(b,), begins=11),
        Role(
            *("street", "twin", street, days * 24 if long else 6),
            labels=(a,),
            autopilot=True,
            noise=0.002,
            watched_as=(Rules.FLEET,),
        ),
        Role(
            *("serviced", "wallbox", serviced, days * 24 if long else 10),
            dialect=bare,
            labels=(a,),
            noise=0.002,
            watched_as=(Rules.FLEET,),
        ),
        Role("broken", "twin", broken, 4.5, labels=(b,)),
    )
