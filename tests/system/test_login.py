"""Logging in: only when asked, by the scheme that is asked for, and never shown to anybody else."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.support import COMMAND, Process, Start, scrape

from ccl_exporter.errors import AccessDenied
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.settings import Credentials
from ccl_exporter.simulator import Dialect, Simulator

SECRET = "s3cr3t-Pa55"  # noqa: S105 - of a simulated charger
GOOD = Credentials("monitor", SECRET)


@pytest.fixture(params=["digest", "basic"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    dialect = Dialect.parse([request.param])
    with Simulator(dialect=dialect, autopilot=False, username="monitor", password=SECRET) as simulator:
        yield simulator


def test_an_engine_that_asks_is_given_the_login_it_asks_for(guarded: Simulator) -> None:
    snapshot = Engine("test", Transport(guarded.url, GOOD)).read(30)

    assert snapshot.up
    assert len(snapshot.values) == 171
    assert [request.authorization is not None for request in guarded.requests][:2] == [False, True]


def test_once_asked_the_login_costs_no_further_requests(guarded: Simulator) -> None:
    engine = Engine("test", Transport(guarded.url, GOOD))
    engine.read(30)
    guarded.clear_requests()
    engine.read(30)

    assert len(guarded.requests) == 1


def test_an_engine_that_does_not_ask_is_never_shown_a_login() -> None:
    with Simulator(autopilot=False) as simulator:
        Engine("test", Transport(simulator.url, GOOD)).read(30)

        assert not any(request.authorization is not None for request in simulator.requests)


def test_a_stale_nonce_is_renewed_without_losing_a_reading() -> None:
    dialect = Dialect.parse(["digest-stale"])
    with Simulator(dialect=dialect, autopilot=False, username="monitor", password=SECRET) as simulator:
        engine = Engine("test", Transport(simulator.url, GOOD))
        snapshots = [engine.read(30) for _ in range(5)]

    assert all(len(snapshot.values) == 171 for snapshot in snapshots)


def test_digest_signs_the_target_as_it_is_sent() -> None:
    dialect = Dialect.parse(["digest", "question-only"])
    with Simulator("twin", dialect=dialect, autopilot=False, username="monitor", password=SECRET) as simulator:
        snapshot = Engine("test", Transport(simulator.url, GOOD)).read(30)

    assert len(snapshot.answered) == len(snapshot.inventory.devices) > 0


@pytest.mark.parametrize("credentials", [None, Credentials("monitor", "wrong")], ids=["none", "wrong"])
def test_a_login_that_is_missing_or_wrong_is_said_and_not_insisted_on(
    guarded: Simulator, credentials: Credentials | None
) -> None:
    engine = Engine("test", Transport(guarded.url, credentials))
    engine.read(30)
    guarded.clear_requests()
    snapshot = engine.read(30)

    failures = [document.failure for document in snapshot.documents if document.failure is not None]
    assert not snapshot.up
    assert any(isinstance(failure, AccessDenied) for failure in failures)
    assert len(guarded.requests) <= 4
    assert all("wrong" not in str(failure) for failure in failures)


def test_not_granted_with_200_is_a_refusal_and_no_reading() -> None:
    with Simulator(dialect=Dialect.parse(["not-granted-200"]), autopilot=False) as simulator:
        snapshot = Engine("test", Transport(simulator.url, GOOD)).read(30)

    assert not snapshot.up
    assert all(isinstance(document.failure, AccessDenied) for document in snapshot.documents)


def test_a_command_that_names_a_url_has_the_login_of_the_configuration(guarded: Simulator, tmp_path: Path) -> None:
    config = tmp_path / "ccl.yaml"
    config.write_text(f"chargers: {{garage: {{url: '{guarded.url}', username: monitor, password: {SECRET}}}}}\n")
    command = [str(COMMAND), "get", "EVSE.PLUG.AE", "-c", guarded.url]
    configured = [*command, "--config.file", str(config)]

    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    assert subprocess.run(configured, capture_output=True, check=False).returncode == 0


def test_the_service_takes_its_login_from_a_file_and_never_prints_it(
    guarded: Simulator, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\n")
    environment = {"CCL_USERNAME": "monitor", "CCL_PASSWORD_FILE": str(path)}
    process: Process = start(
        "serve", guarded.url, "--web.listen-address", "127.0.0.1:0", "--log.level", "debug", env=environment
    )
    found = scrape(process.line(r"http://127\.0\.0\.1:\d+/metrics")[0])
    process.stop()

    assert found.get("ccl_up") == 1
    assert SECRET not in found.text
    assert SECRET not in "".join(process.log)
    assert SECRET not in repr(GOOD)
