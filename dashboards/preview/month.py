"""A month of a home, and of a small site beside it, in simulated time: for pictures of the boards.

The home has a night tariff: its plug is in service in the cheap hours only. The site has two posts that charge all
day; one of them does not answer in the last twelve hours. With `faulty` the home's residual-current device trips
in the night before the last, before the car is full, and the fault stays.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import nan
from pathlib import Path

from helpers.board_data import Reader, every_finished, scraped
from helpers.support import Clock

from ccl_exporter import __version__
from ccl_exporter.exporter.recent_readings import LastRead
from ccl_exporter.exporter.web.markup import PageTime
from ccl_exporter.exporter.web.page import front_page
from ccl_exporter.exporter.web.views import MOST_SESSIONS, ChargerHistory, ChargerView, PageContext
from ccl_exporter.metrics.families import TARIFF_CHEAP, TARIFF_PRICE
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.influxdb.line_protocol import lines
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.sessions.report import finished_samples
from ccl_exporter.settings import Module
from ccl_exporter.simulator import Fault, Simulator
from ccl_exporter.simulator.site import Life
from ccl_exporter.station.judge import Station
from ccl_exporter.tariff import Tariff, window

END = datetime(2026, 10, 29, 1, 10, tzinfo=UTC).timestamp()
"""When the boards are opened: in a night in which the car charges."""

HOME = "garage"
EXPORTER = "exporter:9986"
_STEP = 240.0
_DAY = 86_400.0
_VARIABLES = (
    3 * 3600.0
)  # before the end: earlier reads are of the core alone, or the month would be ten times as large
_RCD = 1 << 5
_SEED = 4
"""With it the car charges in each of the last two nights, so that there is a session that ended, too."""
_MINUTES = 1440
_TARIFF = Tariff(UTC, "GBP", 0.2877, ((window("00:30-04:30", "UTC"), 0.085),))


@dataclass
class Month:
    """What was read since `begin`: series for a Prometheus with value and Unix seconds, and line protocol.

    `live_page` is the exporter's own page of the home, as HTML.
    """

    begin: float
    scraped: list[str] = field(default_factory=list)
    pushed: list[str] = field(default_factory=list)
    live_page: bytes = b""


def month(folder: Path, days: float, faulty: bool = False) -> Month:
    """The last `days` before `END`, read every four minutes by the exporter's own code."""
    clock = Clock(END - days * _DAY)
    found, log = Month(clock.at), SessionRecorder(folder / "charges.db")
    log.tariff = _TARIFF
    powers: deque[float] = deque([nan] * _MINUTES, _MINUTES)
    with ExitStack() as stack:
        chargers = list(_chargers(stack, clock))
        while clock.at <= END:
            _live(chargers[0], chargers[-1], clock.at, faulty)
            modules: tuple[Module, ...] = ("core", "variables") if clock.at > END - _VARIABLES else ("core",)
            for charger in chargers:
                snapshot = charger.read(clock.at, modules)
                log.note(charger.name, snapshot)
                read = samples(snapshot, modules=modules)
                found.pushed += lines(read, charger.name, round(clock.at * 1000))
                found.scraped += scraped(read, charger.name, _SITES[charger.name], clock.at)
                if charger.name == HOME:
                    station = Station(snapshot)
                    powers.extend([station.plugs[0].power or 0.0] * int(_STEP // 60))
            _note_exporter(found, clock.at)
            clock.at += _STEP
    log.close()
    again = SessionRecorder(folder / "charges.db")
    again.tariff = _TARIFF
    for session in every_finished(again):
        at = session.ended or session.begun or END
        found.pushed += lines(finished_samples(session), session.charger, round(at * 1000))
    found.live_page = _live_page(station, powers, again)
    again.close()
    return found


_CHARGERS: tuple[tuple[str, str, Life], ...] = (
    (HOME, "wallbox", "home"),
    ("bay-1", "twin", "busy"),
    ("bay-2", "wallbox", "busy"),
)
_SITES = {HOME: "home", "bay-1": "north", "bay-2": "north"}


def _chargers(stack: ExitStack, clock: Clock) -> Iterator[Reader]:
    for name, model, life in _CHARGERS:
        simulator = stack.enter_context(Simulator(model, clock=clock, life=life, seed=_SEED))
        engine = Engine(name, Transport(simulator.url, clock=clock.still))
        stack.callback(engine.close)
        yield Reader(name, simulator, engine)


def _live(home: Reader, absent: Reader, at: float, faulty: bool) -> None:
    """The night timer of the home, the post that is switched off on the last day, and the faults."""
    service = 0.0 if _TARIFF.holds(at) else 1.0
    home.simulator.site.force("Plug - Mode 3", [("Plug - Mode 3.OUT_OF_SERVICE", service)])
    if at > END - _DAY / 2:
        absent.simulator.faults = (Fault("close"),)
    if faulty and at > END - 23.5 * 3600:
        home.simulator.site.plugs[0].fail(_RCD)


def _note_exporter(found: Month, at: float) -> None:
    own = f'job="exporter",instance="{EXPORTER}"'
    found.scraped += [
        f'{TARIFF_PRICE.name}{{{own},currency="{_TARIFF.currency}"}} {_TARIFF.price_at(at)} {at:.0f}',
        f"{TARIFF_CHEAP.name}{{{own}}} {_TARIFF.holds(at):d} {at:.0f}",
    ]


def _live_page(station: Station, powers: deque[float], log: SessionRecorder) -> bytes:
    month_begin = f"{datetime.fromtimestamp(END, UTC):%Y-%m-01}"
    plug = station.plugs[0].name
    history = ChargerHistory(
        {plug: list(powers)},
        log.energy_by_day(HOME, month_begin),
        log.latest_sessions(HOME, MOST_SESSIONS),
        log.costs(HOME, month_begin),
    )
    view = ChargerView(
        *(HOME, LastRead.of(station), "http://192.0.2.10", "Wallbox"), last_up_at=END, history=history
    )
    return front_page([view], PageContext(PageTime(END, UTC), __version__))
