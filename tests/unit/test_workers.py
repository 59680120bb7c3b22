"""Workers that fail: logged once, restarted with a backoff, counted, and never gone in silence."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic

import pytest
from helpers.workers import supervised

from ccl_exporter.workers import (
    DOWN_TOO_LONG,
    FIRST_BACKOFF,
    LONGEST_BACKOFF,
    Pool,
    Supervisor,
    Worker,
    start_thread,
)


class Fails:
    """A step that fails until it is mended."""

    def __init__(self) -> None:
        self.broken = True
        self.called = 0

    def __call__(self, now: float) -> float:
        self.called += 1
        if self.broken:
            raise OverflowError("a date in the year 9999")
        return 5.0


def nothing() -> None:
    pass


class Threads:
    """What starts threads, as long as the system gives any."""

    there_are_some = False

    def __call__(self, target: Callable[[], None], name: str) -> threading.Thread:
        if not self.there_are_some:
            raise RuntimeError("can't start new thread")
        return start_thread(target, name)


def test_a_failing_step_is_called_again_after_a_growing_backoff() -> None:
    step = Fails()
    worker = Worker("sessions", step)
    pauses = [worker.attempt(float(now)) for now in range(8)]
    assert [pause for pause, _ in pauses] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert (pauses[0][0], pauses[-1][0]) == (FIRST_BACKOFF, LONGEST_BACKOFF)
    assert not any(wakeable for _, wakeable in pauses), "a wake would make the backoff shorter"
    assert (worker.is_up(8), worker.restarts) == (False, 7)
    step.broken = False
    assert worker.attempt(9.0) == (5.0, True)
    assert (worker.is_up(9), worker.restarts) == (True, 8)
    step.broken = True
    assert worker.attempt(10.0) == (1.0, False), "the backoff begins anew after a success"


def test_a_failure_is_one_line_of_the_log_with_its_traceback_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ccl_exporter")
    step = Fails()
    worker = Worker("influxdb_send:home", step)
    for now in range(5):
        worker.attempt(float(now))
    step.broken = False
    for now in range(5, 8):
        worker.attempt(float(now))
    lines = list(dict.fromkeys((record.levelname, record.getMessage()) for record in caplog.records))
    assert [level for level, _ in lines].count("ERROR") == 1
    assert lines == [
        (
            "ERROR",
            "worker influxdb_send:home: failed and will be restarted: OverflowError: a date in the year 9999",
        ),
        ("DEBUG", "worker influxdb_send:home: the traceback of its failure"),
        ("INFO", "worker influxdb_send:home: works again"),
    ]


def test_a_worker_counts_as_down_for_too_long_only_without_a_restart_that_holds() -> None:
    step = Fails()
    worker = Worker("inventory", step)
    supervisor = Supervisor(lambda: 0.0)
    worker.attempt(0.0)
    supervisor._members = (worker,)  # without a thread, which would call it meanwhile
    assert supervisor.down(DOWN_TOO_LONG) == []
    assert supervisor.down(DOWN_TOO_LONG + 1) == ["inventory"]
    worker.begins(DOWN_TOO_LONG)
    assert supervisor.down(DOWN_TOO_LONG + 5) == ["inventory"]
    assert supervisor.down(DOWN_TOO_LONG + 15) == [], "a step that goes on for long is a restart that holds"


def test_a_thread_that_cannot_be_started_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    called = threading.Event()

    def step(now: float) -> float:
        called.set()
        return 60.0

    threads = Threads()
    worker = Worker("mqtt", step, threads)
    for now in (0.0, 0.5, 1.5, 2.0):
        worker.check(now)
    assert [record.getMessage() for record in caplog.records] == [
        "worker mqtt: failed and will be restarted: RuntimeError: can't start new thread"
    ]
    assert not worker.is_up(2.0)
    threads.there_are_some = True
    worker.check(60.0)
    assert called.wait(10)
    worker.stop()
    worker.join(monotonic() + 10)
    assert (worker.is_up(monotonic()), worker.restarts) == (True, 1)


def test_a_thread_that_died_is_replaced() -> None:
    called = threading.Event()

    def step(now: float) -> float:
        called.set()
        return 60.0

    def dies_once(target: Callable[[], None], name: str) -> threading.Thread:
        return start_thread(target if not worker.is_up(0.0) else nothing, name)

    worker = Worker("page", step, dies_once)
    worker.check(0.0)
    worker.join(monotonic() + 10)
    worker.check(1.0)
    assert not worker.is_up(1.0)
    worker.check(2.5)
    assert called.wait(10)
    worker.stop()


def test_a_worker_waits_as_long_as_its_step_says_and_can_be_woken() -> None:
    called = threading.Semaphore(0)

    def step(now: float) -> float:
        called.release()
        return float("inf")

    worker = Worker("influxdb_send:home", step)
    with supervised(worker):
        for _ in range(3):
            assert called.acquire(timeout=10)
            worker.wake()


def test_a_wake_while_a_step_runs_calls_it_again() -> None:
    inside, go_on, again = threading.Event(), threading.Event(), threading.Event()

    def step(now: float) -> float:
        if inside.is_set():
            again.set()
        inside.set()
        assert go_on.wait(10)
        return float("inf")

    worker = Worker("influxdb_send:home", step)
    with supervised(worker):
        assert inside.wait(10)
        worker.wake()
        go_on.set()
        assert again.wait(10)


def test_a_pool_goes_on_after_work_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Semaphore(0)

    def fails() -> None:
        done.release()
        raise ValueError("what a charger sent")

    pool = Pool("page", 2)
    with supervised(pool):
        for _ in range(10):
            pool.submit(fails)
        pool.submit(done.release)
        for _ in range(11):
            assert done.acquire(timeout=10)
    assert pool.restarts == 10
    assert pool.is_up(monotonic())
    assert len(caplog.records) == 1


def gather(meet: threading.Barrier) -> None:
    meet.wait(10)


def test_a_pool_has_as_many_threads_as_there_is_work_and_no_more_than_it_may() -> None:
    meet = threading.Barrier(4)
    pool = Pool("page", 4)
    with supervised(pool):
        for _ in range(8):
            pool.submit(lambda: gather(meet))
    assert pool.restarts == 0


def test_work_of_a_pool_waits_for_a_thread_that_cannot_be_started() -> None:
    done = threading.Event()
    threads = Threads()
    pool = Pool("page", 2, threads)
    pool.submit(done.set)
    assert not pool.is_up(monotonic())
    threads.there_are_some = True
    pool.check(monotonic() + 3600)
    assert done.wait(10)
    assert pool.is_up(monotonic())
    pool.stop()


def test_a_pool_whose_threads_did_the_work_after_all_is_up_again() -> None:
    done = threading.Semaphore(0)
    threads = Threads()
    threads.there_are_some = True
    pool = Pool("mqtt", 2, threads)
    gate = threading.Event()
    pool.submit(lambda: gather_event(gate))
    threads.there_are_some = False
    pool.submit(done.release)
    assert not pool.is_up(monotonic())
    gate.set()
    assert done.acquire(timeout=10)
    pool.check(monotonic())
    assert pool.is_up(monotonic())
    pool.stop()
    pool.join(monotonic() + 10)


def gather_event(gate: threading.Event) -> None:
    assert gate.wait(10)


def test_urgent_work_of_a_pool_comes_before_what_waits() -> None:
    order: list[str] = []
    gate, done = threading.Event(), threading.Semaphore(0)
    pool = Pool("mqtt", 1)
    with supervised(pool):
        pool.submit(lambda: gather_event(gate))
        for name in ("one", "two"):
            pool.submit(partial(note, order, name, done))
        pool.submit(partial(note, order, "urgent", done), is_urgent=True)
        gate.set()
        for _ in range(3):
            assert done.acquire(timeout=10)
    assert order == ["urgent", "one", "two"]


def note(order: list[str], name: str, done: threading.Semaphore) -> None:
    order.append(name)
    done.release()


def test_a_worker_that_two_threads_look_after_has_one_thread() -> None:
    started: list[threading.Thread] = []
    both = threading.Barrier(2)

    def slow_start(target: Callable[[], None], name: str) -> threading.Thread:
        started.append(start_thread(nothing if started else target, name))
        with suppress(threading.BrokenBarrierError):
            both.wait(0.2)  # where the second one comes here, too, both go on at once
        return started[-1]

    worker = Worker("sessions", lambda now: 60.0, slow_start)
    looking = [threading.Thread(target=worker.check, args=(0.0,)) for _ in range(2)]
    for thread in looking:
        thread.start()
    for thread in looking:
        thread.join()
    worker.stop()
    worker.join(monotonic() + 10)
    assert len(started) == 1


def test_a_step_that_never_ends_counts_as_down() -> None:
    worker = Worker("sessions", lambda now: 60.0)
    worker.begins(0.0)
    assert worker.is_up(300.0)
    assert worker.down_for(600.0 + DOWN_TOO_LONG + 1) > DOWN_TOO_LONG
