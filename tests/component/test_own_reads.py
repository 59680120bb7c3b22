"""The reads that the exporter makes by itself: which chargers are due, and how they are read."""

from collections.abc import Collection, Mapping, Sequence
from queue import SimpleQueue

import pytest
from helpers.support import Clock
from helpers.workers import polling

from ccl_exporter.exporter.charger import Charger, LastingFilter
from ccl_exporter.exporter.own_reads import confirm_loop, fallback_interval, fallback_loop, unconfirmed, unread
from ccl_exporter.exporter.poll_loop import LONGEST_READ, Source
from ccl_exporter.metrics.families import Sample
from ccl_exporter.powerstudio.inventory import Selector
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.settings import MODULES, ChargerSettings, Module
from ccl_exporter.simulator import Dialect, Fault, Simulator
from ccl_exporter.station.judge import core_variables
from ccl_exporter.station.plausibility import RegisterLevel

NOWHERE = ChargerSettings("one", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("configured", "chargers", "interval"),
    [(None, 1, 90.0), (None, 0, 0.0), (None, 2, 0.0), (0.0, 1, 0.0), (30.0, 50, 30.0)],
)
def test_one_charger_alone_is_read_by_default(configured: float | None, chargers: int, interval: float) -> None:
    assert fallback_interval(configured, chargers) == interval


def test_a_charger_that_nothing_has_read_for_the_interval_is_due() -> None:
    clock = Clock(1000.0)
    with Simulator() as simulator:
        one, two = (Charger(ChargerSettings(name, simulator.url), clock=clock.still) for name in ("one", "two"))
        due = [unread([one, two], 90.0)]
        clock.at += 60
        one.read(30)
        for seconds in (30, 60):
            clock.at += seconds
            due.append(unread([one, two], 90.0))

    assert due == [[], [two], [one, two]]
    assert unread([one, two], 0.0) == []


def test_an_unreachable_charger_is_due_no_sooner_and_the_backoff_holds() -> None:
    clock = Clock(1000.0)
    charger = Charger(NOWHERE, clock=clock.still)
    tries = 0
    for _ in range(600):
        clock.at += 1
        if unread([charger], 5.0):
            charger.read(30)
            tries += 1

    assert tries == 120
    assert charger.counts.reads + charger.counts.skipped == tries
    assert charger.counts.reads < 30


class KeptLevels:
    """The levels of one charger."""

    def __init__(self) -> None:
        self._levels: Mapping[str, RegisterLevel] = {}

    def identify(self, charger: str, url: str, plug_ids: Collection[str]) -> str:
        return min(plug_ids, default=url)

    def levels(self, key: str) -> Mapping[str, RegisterLevel]:
        return self._levels

    def note_levels(self, key: str, levels: Mapping[str, RegisterLevel]) -> None:
        self._levels = levels


def test_a_first_value_is_read_again_two_seconds_later_and_once_and_a_known_one_is_not() -> None:
    clock, store = Clock(1000.0), KeptLevels()
    with Simulator(dialect=Dialect.parse(["no-charge-points"]), autopilot=False) as simulator:

        def read_twice() -> list[bool]:
            charger = Charger(
                ChargerSettings("one", simulator.url),
                clock=clock.still,
                register_filter=LastingFilter(store),
            )
            is_shown = []
            for _ in range(2):
                is_shown.append("EVSE.PLUG.AE" in charger.read(30).values)
                due.append(bool(unconfirmed([charger])))
                clock.at += 2
                due.append(bool(unconfirmed([charger])))
            return is_shown

        due: list[bool] = []
        assert read_twice() == [False, True]
        assert due == [False, True, False, False]
        due = []
        assert read_twice() == [True, True]
        assert due == [False] * 4


def test_a_charger_that_does_not_answer_is_not_asked_to_confirm() -> None:
    clock = Clock(1000.0)
    with Simulator(dialect=Dialect.parse(["no-charge-points"]), autopilot=False) as simulator:
        charger = Charger(ChargerSettings("one", simulator.url), clock=clock.still)
        charger.read(30)
        simulator.faults = (Fault.parse("close"),)
        clock.at += 2
        charger.read(30)
        clock.at += 2

        assert unconfirmed([charger]) == []


class Reads:
    """A source of one charger that is not read; what was to be is noted."""

    def __init__(self, charger: Charger) -> None:
        self.source = Source(lambda: [charger], self._read)
        self.done = SimpleQueue[tuple[float, Sequence[Module]]]()

    def _read(
        self, charger: Charger, timeout: float, modules: Sequence[Module], oldest: float
    ) -> tuple[Snapshot, list[Sample]]:
        self.done.put((timeout, modules))
        return Snapshot(1.0, 0.1, timeout, requests=1, up=True), []


def test_what_nothing_reads_is_read_with_patience_and_only_for_its_core() -> None:
    clock = Clock(1000.0)
    reads = Reads(Charger(NOWHERE, clock=clock.still))
    clock.at += 90
    with polling(fallback_loop(reads.source, lambda: 90.0)):
        assert reads.done.get(timeout=30) == (LONGEST_READ, ("core",))


@pytest.mark.parametrize(("wanted", "modules"), [(core_variables, ("core",)), (None, MODULES)])
def test_what_waits_to_be_confirmed_is_read_as_it_was_read_last(
    wanted: Selector | None, modules: Sequence[Module]
) -> None:
    clock = Clock(1000.0)
    with Simulator(dialect=Dialect.parse(["no-charge-points"]), autopilot=False) as simulator:
        charger = Charger(ChargerSettings("one", simulator.url), clock=clock.still)
        charger.read(30, wanted)
        clock.at += 2
        reads = Reads(charger)
        with polling(confirm_loop(reads.source)):
            assert reads.done.get(timeout=30) == (LONGEST_READ, modules)
