"""What a reading needs is free when it is over: nothing waits for Python's collector, so that looks seldom."""

import gc
import http.client
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from helpers.support import Clock, Start
from helpers.workers import polling

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.poll_loop import PollLoop, Source
from ccl_exporter.exporter.service import Options, Service
from ccl_exporter.metrics.families import Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.output import ChargerReading
from ccl_exporter.powerstudio.inventory import Inventory
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.settings import ChargerSettings, ListenAddress, Module, Settings
from ccl_exporter.workers import Worker

PACKAGES = ("ccl_exporter", "http", "cheroot")


@pytest.fixture
def simulated(start: Start) -> Callable[..., str]:
    """Start a simulated charger in a process of its own, whose objects are not looked at."""

    def run(*faults: str) -> str:
        arguments = [part for fault in faults for part in ("--fault", fault)]
        return start("simulate", "--web.listen-address", "127.0.0.1:0", *arguments).line(
            r"http://127\.0\.0\.1:\d+"
        )[0]

    return run


@contextmanager
def rings() -> Iterator[Counter[str]]:
    """Count what only the collector could free afterwards, by type."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found.update(
            type(thing).__qualname__ for thing in gc.garbage if type(thing).__module__.startswith(PACKAGES)
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_in_a_reference_cycle_is_counted() -> None:
    with rings() as found:
        charger = Charger(ChargerSettings("wallbox", "http://127.0.0.1:1"))
        charger.itself = charger  # type: ignore[attr-defined] # that is the ring
        del charger

    assert found["Charger"] == 1


@pytest.mark.parametrize(
    "fault", ["", "silent", "drip:0.05", "close", "cut", "garbled", "laughs", "status-500", "endless"]
)
def test_a_reading_leaves_no_reference_cycle(simulated: Callable[..., str], fault: str) -> None:
    clock = Clock(0.0)
    charger = Charger(ChargerSettings("wallbox", simulated(*([fault] if fault else []))), clock=clock.running)

    def read() -> bool:
        clock.at += 60
        return charger.read(0.3 if fault else 10).up

    read()
    with rings() as found:
        up = [read() for _ in range(3)]

    assert up == [not fault] * 3
    assert found == {}


def test_a_charger_that_cannot_be_reached_leaves_no_reference_cycle() -> None:
    charger = Charger(ChargerSettings("wallbox", "http://127.0.0.1:1"))

    with rings() as found:
        assert not charger.read(5).up

    assert found == {}


def test_a_charger_that_was_never_read_whole_is_gone_when_it_leaves_the_configuration() -> None:
    with rings() as found:
        charger = Charger(ChargerSettings("wallbox", "http://127.0.0.1:1"))
        reference = weakref.ref(charger)
        assert not charger.read(5).up
        del charger

    assert reference() is None
    assert found == {}


def test_inventories_that_were_read_again_are_not_kept(simulated: Callable[..., str]) -> None:
    """They are read again every hour, in several pieces."""
    clock = Clock(0.0)
    charger = Charger(ChargerSettings("wallbox", simulated()), clock=clock.still)

    def hours(count: int) -> int:
        for _ in range(count * 12):
            clock.at += 300
            samples(charger.read(10))
        return sum(isinstance(thing, Inventory) for thing in gc.get_objects())

    assert hours(2) >= hours(4)


def test_a_charger_that_left_the_configuration_is_gone_with_its_connection(simulated: Callable[..., str]) -> None:
    url = simulated()
    before = descriptors()
    charger = Charger(ChargerSettings("wallbox", url))
    assert charger.read(10).up
    assert descriptors() > before
    reference = weakref.ref(charger)

    del charger

    assert reference() is None
    assert descriptors() == before


class Daily:
    """An output that is served once a day, and says when it was."""

    name, interval, max_age = "test", 86400.0, 0.0
    modules: Sequence[Module] = ()

    def __init__(self, accepted: threading.Semaphore, begun: threading.Event) -> None:
        self._accepted, self._begun = accepted, begun

    workers: Sequence[Worker] = ()

    def is_ready(self) -> bool:
        return True

    def accept(self, _: ChargerReading) -> None:
        self._accepted.release()

    def after_round(self) -> None:
        self._begun.set()

    def missed(self, readings: int) -> None: ...

    def samples(self) -> Iterator[Sample]:
        return iter(())

    def stop(self) -> None: ...

    def close(self, deadline: float) -> None: ...


def test_a_charger_that_left_the_configuration_is_not_kept_between_two_intervals_of_an_output() -> None:
    chargers = [Charger(ChargerSettings(name, "http://127.0.0.1:1")) for name in ("one", "two")]
    references = [weakref.ref(charger) for charger in chargers]
    read, begun = threading.Semaphore(0), threading.Event()

    def note(charger: Charger, timeout: float, *_: object) -> tuple[Snapshot, list[Sample]]:
        return charger.read(timeout), []

    loop = PollLoop(Daily(read, begun), Source(lambda: tuple(chargers), note))
    with polling(loop):
        assert begun.wait(30)
        assert all(read.acquire(timeout=30) for _ in chargers)
        chargers.clear()
        gone = threading.Event()
        deadline = monotonic() + 30
        while any(reference() is not None for reference in references) and monotonic() < deadline:
            gone.wait(0.01)

        assert [reference() for reference in references] == [None, None]


def test_a_connection_of_a_scraper_leaves_no_reference_cycle(
    simulated: Callable[..., str], tmp_path: Path
) -> None:
    settings = Settings({"wallbox": ChargerSettings("wallbox", simulated())})
    service = Service(settings, Options(ListenAddress("127.0.0.1", 0)), tmp_path)
    port = int(service.bind().rpartition(":")[2])
    serving = threading.Thread(target=service.run)
    serving.start()

    def scrape() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/metrics", headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    try:
        scrape()
        with rings() as found:
            assert [scrape() for _ in range(3)] == [200] * 3
    finally:
        service.stop()
        serving.join()

    assert found == {}
