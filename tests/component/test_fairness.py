"""Chargers that cannot be reached never delay those that can, and readings that are missed are counted."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic

import pytest
from helpers.misbehaving_servers import unresponsive_host
from helpers.support import Clock
from helpers.workers import polling

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.poll_loop import PollLoop, Source
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.output import ChargerReading
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.settings import ChargerSettings, Module
from ccl_exporter.simulator.simulator import Simulator
from ccl_exporter.workers import Worker

UNREACHABLE = 100
ROUNDS = 8


@dataclass
class Recorded:
    """An output that counts the readings of each charger."""

    interval: float
    name: str = "recorded"
    max_age: float = 0.0
    modules: Sequence[Module] = ("core",)
    workers: Sequence[Worker] = ()
    up: Counter[str] = field(default_factory=Counter)
    down: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    passed_over: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    ready: bool = True
    fails: bool = False

    def is_ready(self) -> bool:
        return self.ready

    def accept(self, reading: ChargerReading) -> None:
        if self.fails:
            raise ZeroDivisionError("an error in an output")
        with self.changed:
            (self.up if reading.up else self.down)[reading.charger] += 1
            self.changed.notify_all()

    def after_round(self) -> None:
        with self.changed:
            self.rounds += 1
            self.changed.notify_all()

    def missed(self, readings: int) -> None:
        with self.changed:
            self.passed_over += readings
            self.changed.notify_all()

    def samples(self) -> Iterator[Sample]:
        return iter(())

    def stop(self) -> None: ...

    def close(self, deadline: float) -> None: ...


def read(
    charger: Charger, timeout: float, modules: Sequence[Module], max_age: float
) -> tuple[Snapshot, list[Sample]]:
    return charger.read(timeout, None, max_age), []


def test_a_healthy_charger_is_read_each_interval_beside_a_hundred_that_are_not_reachable() -> None:
    simulator = Simulator()
    simulator.start()
    try:
        with unresponsive_host() as silent:
            settings = [ChargerSettings(f"silent-{n}", f"http://{silent}/{n}") for n in range(UNREACHABLE)]
            chargers = [Charger(one) for one in settings]
            chargers.insert(UNREACHABLE // 2, Charger(ChargerSettings("healthy", simulator.url)))
            output = Recorded(interval=1.5)
            with polling(PollLoop(output, Source(lambda: chargers, read))), output.changed:
                assert output.changed.wait_for(lambda: output.rounds > ROUNDS, 120)
                # The reading of the last round may be under way.
                assert output.changed.wait_for(lambda: output.up["healthy"] >= ROUNDS, 10), output
            assert output.down["healthy"] == 0
    finally:
        simulator.stop()


def test_readings_that_are_still_under_way_and_reads_that_came_too_late_are_counted() -> None:
    go_on = threading.Event()

    def slow(charger: Charger, *_: object) -> tuple[Snapshot, list[Sample]]:
        assert go_on.wait(30)
        return Snapshot(monotonic(), 0.0, 1.0, 1, up=True), []

    chargers = [Charger(ChargerSettings(name, "http://127.0.0.1:1")) for name in ("one", "two")]
    output = Recorded(interval=10.0)
    loop = PollLoop(output, Source(lambda: chargers, slow))
    assert loop.step(100.0) == 10.0
    assert output.passed_over == 0
    assert loop.step(110.0) == 10.0
    assert output.passed_over == 2, "both are still being read"
    go_on.set()
    with output.changed:
        assert output.changed.wait_for(lambda: output.up.total() == 2, 30)
    loop.step(155.0)
    assert output.passed_over == 2 + 3 * 2, "the rounds at 120, 130 and 140 never began"
    loop.stop()


def test_an_output_that_is_not_ready_misses_readings() -> None:
    output = Recorded(interval=10.0, ready=False)
    chargers = [Charger(ChargerSettings("one", "http://127.0.0.1:1"))]
    loop = PollLoop(output, Source(lambda: chargers, lambda *_: (Snapshot(1.0, 0.0, 1.0, 1, up=True), [])))
    for now in range(100, 130, 2):
        assert loop.step(float(now)) == 2.0
    output.ready = True
    loop.step(130.0)
    assert output.passed_over == 3
    loop.stop()


def test_a_reading_that_an_output_cannot_take_is_counted_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    output = Recorded(interval=0.1, fails=True)
    chargers = [Charger(ChargerSettings("one", "http://127.0.0.1:1"))]
    taken = iter(range(1, 1_000_000))

    def reads(*_: object) -> tuple[Snapshot, list[Sample]]:
        return Snapshot(float(next(taken)), 0.0, 1.0, 1, up=True), []

    with polling(PollLoop(output, Source(lambda: chargers, reads))), output.changed:
        assert output.changed.wait_for(lambda: output.passed_over >= 3, 30)
        output.fails = False
        assert output.changed.wait_for(lambda: output.up["one"] >= 3, 30)
    assert [record.getMessage() for record in caplog.records] == [
        "worker recorded: failed and will be restarted: ZeroDivisionError: an error in an output"
    ]


def test_unreachable_chargers_share_a_bounded_number_of_readers(clock: Clock) -> None:
    """A second one is skipped at once while the only slot is taken, and read when it is free."""
    with unresponsive_host() as silent:
        slots = threading.Semaphore(1)
        one, two = (
            Charger(ChargerSettings(name, f"http://{silent}/{name}"), clock=clock.running, absent_reads=slots)
            for name in ("one", "two")
        )
        for charger in (one, two):
            assert not charger.read(0.1).up
        clock.at += 10
        reading = threading.Thread(target=one.read, args=(20.0,))
        reading.start()
        wait_until(lambda: is_taken(slots))
        skipped = two.read(20.0)
        assert (skipped.up, skipped.requests, two.counts.skipped, two.counts.reads) == (False, 0, 1, 1)
        one.close()
    reading.join()
    assert not two.read(0.1).up
    assert two.counts.reads == 2


def test_a_healthy_charger_needs_no_slot(clock: Clock) -> None:
    simulator = Simulator()
    simulator.start()
    try:
        charger = Charger(ChargerSettings("one", simulator.url), absent_reads=threading.Semaphore(0))
        assert charger.read(10.0).up
    finally:
        simulator.stop()


def test_each_unreachable_charger_is_asked_in_its_turn(clock: Clock) -> None:
    """With readers for two of ten at a time, one that comes back is found soon wherever it is configured."""
    asked: Counter[str] = Counter()
    output = Recorded(interval=1000.0)

    def read_for_a_while(charger: Charger, *_: object) -> tuple[Snapshot, list[Sample]]:
        before = charger.counts.reads
        snapshot = charger.read(0.2)
        asked[charger.settings.name] += charger.counts.reads - before
        return snapshot, []

    with unresponsive_host() as silent:
        slots = threading.Semaphore(2)
        chargers = [
            Charger(
                ChargerSettings(f"c{number}", f"http://{silent}/{number}"), clock=clock.running, absent_reads=slots
            )
            for number in range(10)
        ]
        loop = PollLoop(output, Source(lambda: chargers, read_for_a_while))
        for number in range(1, 9):
            clock.at += 1000.0
            loop.step(1000.0 * number)
            with output.changed:
                assert output.changed.wait_for(lambda: output.down.total() >= 10 * number, 30)  # noqa: B023 - called here
        loop.stop()
    assert min(asked.values()) >= 2, asked


def is_taken(slots: threading.Semaphore) -> bool:
    if slots.acquire(blocking=False):
        slots.release()
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline, pause = monotonic() + 30, threading.Event()
    while not condition():
        assert monotonic() < deadline
        pause.wait(0.005)
