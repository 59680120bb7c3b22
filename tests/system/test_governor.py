"""The charger sees one reader, whoever asks, and is left alone when it is absent."""

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from helpers.support import Clock, Start, get, scrape, server

from ccl_exporter.exporter.charger import PATIENT_READS, SHARED_FOR, Charger
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.simulator import Dialect, Simulator
from ccl_exporter.station.judge import core_variables


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(autopilot=False, latency=0.02) as simulator:
        yield simulator


def together(count: int, act: Callable[[], None]) -> None:
    threads = [threading.Thread(target=act) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_thirty_two_scrapers_at_once_are_one_read_and_get_equal_answers(
    simulator: Simulator, serve: Callable[..., str]
) -> None:
    url = serve(simulator.url)
    scrape(url)
    simulator.latency = 0.5
    threading.Event().wait(SHARED_FOR + 0.1)
    simulator.clear_requests()
    answers: list[str] = []
    together(32, lambda: answers.append(get(url)))

    own = [
        "\n".join(line for line in answer.splitlines() if not line.startswith(("process_", "ccl_exporter_")))
        for answer in answers
    ]
    assert len(simulator.requests) == 1
    assert simulator.max_in_flight == 1
    assert len(own) == 32
    assert len(set(own)) == 1


def test_a_command_beside_the_service_takes_turns_with_it(
    simulator: Simulator, serve: Callable[..., str], start: Start, tmp_path: Path
) -> None:
    simulator.dialect = Dialect.parse(["wallbox-proven"])
    simulator.latency = 0.003
    url = serve(simulator.url)
    scrape(url)
    commands = [start("dump", str(tmp_path / name), "-c", simulator.url) for name in ("one", "two")]
    while any(command.process.poll() is None for command in commands):
        scrape(url)

    assert all(command.process.returncode == 0 for command in commands)
    assert simulator.max_in_flight == 1
    assert len(simulator.requests) > 400


def test_there_is_a_pause_between_two_requests_of_any_process(simulator: Simulator, tmp_path: Path) -> None:
    simulator.latency = 0.0
    settings = ChargerSettings("evse", simulator.url, pause=0.05)
    chargers = [Charger(settings, tmp_path) for _ in range(2)]

    def read() -> None:
        assert chargers.pop().read(10).up

    together(2, read)

    times = sorted(request.at for request in simulator.requests)
    assert len(times) == 20
    # The lock's file keeps time in steps of some milliseconds.
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.04


def test_a_reading_of_everything_serves_those_who_want_less_and_not_the_reverse(
    simulator: Simulator, clock: Clock
) -> None:
    charger = Charger(ChargerSettings("evse", simulator.url), clock=clock.still)
    charger.read(10, core_variables)
    clock.at += SHARED_FOR + 0.1
    less = charger.read(10, core_variables)
    simulator.clear_requests()
    everything = charger.read(10)
    asked = len(simulator.requests)
    again = charger.read(10, core_variables)

    assert "Reader" not in less.answered
    assert "Reader" in everything.answered
    assert asked > 0
    assert again is everything
    assert len(simulator.requests) == asked


def test_a_caller_gets_a_read_not_older_than_it_asks_for(simulator: Simulator, clock: Clock) -> None:
    charger = Charger(ChargerSettings("evse", simulator.url), clock=clock.still)
    first = charger.read(10)
    clock.at += 0.2
    shared = charger.read(10, oldest=0.25)
    clock.at += 0.2
    new = charger.read(10, oldest=0.25)
    clock.at += 0.2

    assert shared is first
    assert new is not first
    assert charger.read(10) is new
    assert simulator.max_in_flight == 1


def test_what_the_core_metrics_do_not_need_is_not_requested(simulator: Simulator, clock: Clock) -> None:
    charger = Charger(ChargerSettings("evse", simulator.url), clock=clock.still)
    for _ in range(3):
        clock.at += SHARED_FOR + 0.1
        simulator.clear_requests()
        charger.read(10, core_variables)

    assert len(simulator.requests) == 1
    assert "Display" not in simulator.requests[0].target
    assert "EVSE.PLUG.STATE" in simulator.requests[0].target


def test_an_unreachable_charger_is_read_with_a_growing_backoff_until_it_answers(clock: Clock) -> None:
    with Simulator(autopilot=False) as simulator:
        charger = Charger(ChargerSettings("evse", simulator.url), clock=clock.still)
        simulator.stop()
        asked = []
        for _ in range(120):
            asked.append(charger.read(1).requests)
            clock.at += 1.5
        simulator.start()
        clock.at += 30
        back = charger.read(10)

    assert all(asked[:PATIENT_READS])
    assert 4 <= sum(map(bool, asked[PATIENT_READS:])) <= 8
    assert back.up
    assert charger.counts.skipped > 100
    assert charger.counts.backoff_until == 0


def test_a_caller_with_a_longer_timeout_reads_a_charger_that_is_too_slow_for_others(clock: Clock) -> None:
    with Simulator(autopilot=False, clock=clock, latency=0.6) as simulator:
        charger = Charger(ChargerSettings("evse", simulator.url), clock=clock.running)
        impatient = []
        for _ in range(PATIENT_READS):
            impatient.append(charger.read(0.3))
            clock.at += SHARED_FOR + 0.1
        impatient.append(charger.read(0.3))
        patient = charger.read(30)
        simulator.clear_requests()
        shared = charger.read(0.3)

    assert not any(snapshot.up for snapshot in impatient)
    assert not impatient[-1].requests
    assert patient.up
    assert shared is patient


def test_an_unavailable_charger_is_read_once_by_a_caller_with_a_longer_timeout_and_then_skipped_for_all(
    clock: Clock,
) -> None:
    with Simulator(autopilot=False, clock=clock, latency=3.0) as simulator:
        charger = Charger(ChargerSettings("evse", simulator.url), clock=clock.running)
        for _ in range(PATIENT_READS):
            charger.read(0.1)
            clock.at += SHARED_FOR + 0.1
        longer = charger.read(1.0)
        clock.at += SHARED_FOR + 0.1

    assert longer.requests
    assert not charger.read(1.0).requests
    assert not charger.read(0.1).requests


def test_where_the_file_system_does_not_lock_a_charger_is_read_all_the_same_and_it_is_said_once(
    simulator: Simulator, start: Start, tmp_path: Path
) -> None:
    unlocked = ("-D", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", "inject=flock:error=ENOLCK")
    command = start(
        "serve",
        simulator.url,
        "--web.listen-address",
        "127.0.0.1:0",
        within=(server("strace"), *unlocked),
    )
    url = command.line(r"http://\S+/metrics")[0]

    assert [scrape(url).get("ccl_up") for _ in range(2)] == [1, 1]
    assert len([line for line in command.log if "no lock for" in line]) == 1


def test_a_disk_that_can_only_be_read_any_more_takes_no_pause_away(
    simulator: Simulator, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "ccl.yaml"
    path.write_text(f"chargers: {{evse: {{url: '{simulator.url}', pause: 200ms}}}}\n")
    simulator.latency = 0.0
    read_only = ("-D", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", "inject=utimensat:error=EROFS")
    command = start(
        "serve",
        "--config.file",
        str(path),
        "--web.listen-address",
        "127.0.0.1:0",
        within=(server("strace"), *read_only),
    )
    assert scrape(command.line(r"http://\S+/metrics")[0]).get("ccl_up") == 1

    times = sorted(request.at for request in simulator.requests)
    assert len(times) > 3
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.19
