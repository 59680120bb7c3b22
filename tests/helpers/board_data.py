"""Days of three chargers in a simulated time, for the dashboards: read by the exporter's own code, written by its
own sinks, and put with those times into real databases.

A wallbox and a double post with names that hurt charge by themselves; a third charger is never there.
On the way there are faults, a reboot, an outage, and a plug out of service.
"""

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from ccl_exporter.metrics.families import FAMILIES, TARIFF_PRICE, Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.influxdb.line_protocol import lines
from ccl_exporter.outputs.prometheus import exposition
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.sessions.report import finished_samples
from ccl_exporter.sessions.tracker import FinishedSession
from ccl_exporter.settings import Module
from ccl_exporter.simulator import Dialect, Fault, Simulator
from ccl_exporter.station.judge import core_variables
from ccl_exporter.station.plausibility import RegisterFilter
from helpers.support import Clock, server

END = datetime(2026, 10, 2, 6, 0, tzinfo=UTC).timestamp()
"""When the boards are looked at: on the second day of a month."""

STEP = 285.0
"""Seconds between two readings: Prometheus shows a value for five minutes."""

_VARIABLES = 3 * 3600.0  # before the end: earlier reads are without `variables`, two thirds of the series
_OPENMETRICS = "application/openmetrics-text; version=1.0.0"

GARAGE, DOUBLE, ABSENT = "garage", "double", "absent"
PAID = "paid:9986"
"""An exporter with a tariff, which is not that of the tests' variables."""

SITES = {GARAGE: "home", DOUBLE: "north", ABSENT: "north"}


@dataclass
class Days:
    """What was read, as lines for each database, and what was true."""

    start: float
    scraped: list[str] = field(default_factory=list)
    """Series with job, instance and site as a Prometheus attaches them, a value and Unix seconds."""
    pushed: list[str] = field(default_factory=list)
    """Line protocol."""
    registers: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    """Times and joules by charger and plug."""
    finished: list[FinishedSession] = field(default_factory=list)


@dataclass
class Reader:
    """A simulated charger, and the exporter's own code that reads it."""

    name: str
    simulator: Simulator
    engine: Engine
    register_filter: RegisterFilter = field(default_factory=RegisterFilter)

    def read(self, at: float, modules: tuple[Module, ...]) -> Snapshot:
        snapshot = self.engine.read(10, None if "variables" in modules else core_variables)
        return self.register_filter.apply(replace(snapshot, taken=at), at)


def days(folder: Path, length: float) -> Days:
    """The last `length` seconds before `END`."""
    found, clock = Days(END - length), Clock(END - length)
    ledger = SessionRecorder(folder / "charges.db")
    with ExitStack() as stack:
        readers = []
        for name, model in ((GARAGE, "wallbox"), (DOUBLE, "twin")):
            simulator = stack.enter_context(Simulator(model, clock=clock))
            readers.append(Reader(name, simulator, Engine(name, Transport(simulator.url, clock=clock.still))))
            stack.callback(readers[-1].engine.close)
        events = _events(*(reader.simulator for reader in readers))
        while clock.at <= END:
            while events and events[0][0] <= clock.at:
                events.pop(0)[1]()
            _read_all(readers, clock.at, ledger, found)
            clock.at += STEP
    ledger.close()
    again = SessionRecorder(folder / "charges.db")
    for charge in every_finished(again):
        found.finished.append(charge)
        at = charge.ended or charge.begun or END
        found.pushed += lines(finished_samples(charge), charge.charger, round(at * 1000))
    again.close()
    return found


def every_finished(log: SessionRecorder) -> Iterator[FinishedSession]:
    """All sessions of a log, which gives some at a time."""
    last = 0
    while some := log.finished(last):
        yield from (session for _, session in some)
        last = some[-1][0]


def an_hour(dialect: Dialect) -> Days:
    """The hour before `END` of one wallbox that speaks otherwise, read without `variables`."""
    found, clock = Days(END - 3600), Clock(END - 3600)
    with Simulator(dialect=dialect, clock=clock) as simulator:
        reader = Reader(GARAGE, simulator, Engine(GARAGE, Transport(simulator.url, clock=clock.still)))
        while clock.at <= END:
            _note(found, GARAGE, clock.at, samples(reader.read(clock.at, ("core",)), modules=("core",)))
            clock.at += STEP
        reader.engine.close()
    return found


def _read_all(readers: list[Reader], at: float, ledger: SessionRecorder, found: Days) -> None:
    modules: tuple[Module, ...] = ("core", "variables") if at > END - _VARIABLES else ("core",)
    for reader in readers:
        snapshot = reader.read(at, modules)
        ledger.note(reader.name, snapshot)
        _note(found, reader.name, at, samples(snapshot, modules=modules))
    _note(found, ABSENT, at, samples(Snapshot(at, 9.5, 9.5, requests=1, up=False)))
    tariff = f'{{job="exporter",instance="{PAID}",currency="GBP"}} {tariff_price(at)} {at:.0f}'
    found.scraped.append(f"{TARIFF_PRICE.name}{tariff}")


def tariff_price(at: float) -> float:
    """What a kilowatt-hour costs by the tariff of `PAID`."""
    return 0.2 if at // 3600 % 24 < 12 else 0.5


def scraped(read: list[Sample], name: str, site: str, at: float) -> list[str]:
    """The series of a read as a Prometheus stores them, with value and Unix seconds."""
    # Its sorting would go on to the caller's list.
    text, _ = exposition(list(read), FAMILIES, _OPENMETRICS)
    own = f'job="evse",instance="{name}",site="{site}"'
    found = []
    for line in text.decode().splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            metric, brace, labels = series.partition("{")
            found.append(f"{metric}{{{own}{',' + labels if brace else '}'} {value} {at:.0f}")
    return [*found, f"up{{{own}}} 1 {at:.0f}"]


def _note(found: Days, name: str, at: float, read: list[Sample]) -> None:
    found.pushed += lines(read, name, round(at * 1000))
    found.scraped += scraped(read, name, SITES[name], at)
    for sample in read:
        if sample.family.name == "ccl_plug_energy_joules_total":
            found.registers.setdefault((name, sample.labels[0]), []).append((at, sample.value))


def _events(garage: Simulator, double: Simulator) -> list[tuple[float, Callable[[], None]]]:
    """What happens in the last day, by time."""
    plug, out = garage.site.plugs[0], "Mode 3 - 'B'.OUT_OF_SERVICE"

    def fail(faults: tuple[Fault, ...]) -> Callable[[], None]:
        def set_faults() -> None:
            garage.faults = faults

        return set_faults

    hours: Mapping[float, Callable[[], None]] = {
        20.0: lambda: plug.fail(1 << 5 | 1 << 9),
        19.5: lambda: plug.fail(0),
        18.0: garage.site.reboot,
        16.0: fail((Fault("close"),)),
        15.5: fail((Fault("status-500", "chargeInfo"),)),
        15.0: fail(()),
        14.0: lambda: double.site.set_value(out, 1.0),
        13.0: lambda: double.site.clear_value(out),
        12.0: lambda: garage.site.set_value("EVSE.ERROR", 8.0),
        11.5: lambda: garage.site.clear_value("EVSE.ERROR"),
        1.0: lambda: plug.fail(1 << 5),
    }
    return sorted((END - before * 3600, act) for before, act in hours.items())


def post(url: str, body: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, body.encode(), method="POST"), timeout=120).close()


def in_pieces(some: list[str], size: int = 50_000) -> Iterator[str]:
    for begin in range(0, len(some), size):
        yield "\n".join(some[begin : begin + size]) + "\n"


# Into databases


def in_milliseconds(scraped: list[str]) -> list[str]:
    """For VictoriaMetrics, whose import takes milliseconds."""
    return [f"{line}000" for line in scraped]


def backfilled(folder: Path, scraped: list[str]) -> Path:
    """A folder of data for a Prometheus that was there all the time."""
    text = folder / "scraped.om"
    text.write_text("\n".join(scraped) + "\n# EOF\n", encoding="utf-8")
    command = [server("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
    # With blocks of two hours the whole text is read again for each of them.
    command.append("--max-block-duration=768h")
    subprocess.run([*command, str(text), str(folder / "data")], check=True, capture_output=True)
    return folder / "data"


@contextmanager
def prometheus(folder: Path, scraped: list[str]) -> Iterator[str]:
    """A Prometheus that shows what was scraped; yields its URL."""
    data = backfilled(folder, scraped)
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n")
    process = subprocess.Popen(
        [
            server("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            "--storage.tsdb.retention.time=100y",
            f"--query.lookback-delta={STEP - 1:.0f}s",
            "--web.listen-address=127.0.0.1:0",
            "--log.format=json",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = ""
    try:
        for line in process.stderr:
            said = json.loads(line)
            address = f"http://{said['address']}" if said.get("msg") == "Listening on" else address
            if said.get("msg", "").startswith("Server is ready"):
                yield address
                break
        else:
            raise AssertionError("Prometheus did not start")
    finally:
        process.terminate()
        process.communicate()
