"""Every way in which an engine may take its requests leads to the same readings."""

import urllib.error
import urllib.request
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest
from helpers.dialects import LOGIN, REFUSING
from helpers.support import Clock

from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.snapshot import Moment, Snapshot
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.powerstudio.value_reader import ValueStrategy
from ccl_exporter.simulator import DIALECTS, Dialect, Fault, Simulator

WAYS = {
    "everything": ((), ValueStrategy.TOGETHER),
    "ampersand": (("amp-only",), ValueStrategy.TOGETHER),
    "question mark": (("question-only",), ValueStrategy.TOGETHER),
    "first of several": (("single",), ValueStrategy.EACH),
    "none of several": (("no-separator",), ValueStrategy.EACH),
    "device state": (("no-separator", "no-values-id"), ValueStrategy.STATE),
    "batches": (("no-values-id", "no-device-state"), ValueStrategy.BATCH),
    "batches by question mark": (("question-only", "no-values-id", "no-device-state"), ValueStrategy.BATCH),
    "one by one": (("no-separator", "no-values-id", "no-device-state"), ValueStrategy.ONE),
    "state only": (("state-only",), ValueStrategy.STATE),
    "proven": (("wallbox-proven",), ValueStrategy.STATE),
}


def read(simulator: Simulator, times: int = 1) -> Snapshot:
    """The last of so many reads; it must have values, so that two that are equal say something."""
    engine = Engine("test", Transport(simulator.url))
    for _ in range(times):
        snapshot = engine.read(60)
    engine.close()
    assert snapshot.up
    assert snapshot.values
    return snapshot


@pytest.fixture(params=["wallbox", "twin"])
def model(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.parametrize(("names", "way"), WAYS.values(), ids=WAYS.keys())
def test_the_best_way_that_the_engine_understands_is_taken(
    model: str, names: tuple[str, ...], way: ValueStrategy
) -> None:
    with Simulator(model, dialect=Dialect.parse(names), autopilot=False) as simulator:
        engine = Engine("test", Transport(simulator.url))
        engine.read(60)

        assert engine.way is way


@pytest.mark.parametrize(("names", "way"), WAYS.values(), ids=WAYS.keys())
def test_every_way_reads_the_same_values(model: str, names: tuple[str, ...], way: ValueStrategy) -> None:
    at = 1_790_000_000.0
    with Simulator(model, autopilot=False, clock=lambda: at) as simulator:
        plain = read(simulator)
    with Simulator(model, dialect=Dialect.parse(names), autopilot=False, clock=lambda: at) as simulator:
        other = read(simulator)

    assert other.up
    assert other.values == plain.values
    assert other.answered == plain.answered == {device.id for device in plain.inventory.devices}


def test_every_dialect_that_does_not_refuse_reports_all_values(model: str) -> None:
    available = {}
    for name in ("full", *DIALECTS):
        with Simulator(
            model,
            dialect=Dialect.parse([name]),
            autopilot=False,
            username=LOGIN.username,
            password=LOGIN.password,
        ) as simulator:
            engine = Engine("test", Transport(simulator.url, LOGIN))
            snapshot = engine.read(60)
            engine.close()
        available[name] = {id for id, value in snapshot.values.items() if value is not None and snapshot.up}

    assert len(available["full"]) > 100
    assert {name: len(available["full"] - ids) for name, ids in available.items() if available["full"] - ids} == (
        dict.fromkeys(REFUSING, len(available["full"]))
    )


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("no-idex",),
        ("no-varinfo-id",),
        ("no-varinfo-id", "no-separator"),
        ("no-idex", "single"),
        ("long-ids",),
    ],
    ids="-".join,
)
def test_every_shape_of_var_info_reports_the_same(model: str, names: tuple[str, ...]) -> None:
    with Simulator(model, autopilot=False) as simulator:
        plain = read(simulator).inventory
    with Simulator(model, dialect=Dialect.parse(names), autopilot=False) as simulator:
        other = read(simulator).inventory

    assert other.variables == plain.variables
    assert other.devices == plain.devices
    assert other.settled == plain.settled == {name for device in plain.devices for name in device.variables}


@pytest.mark.parametrize("absent", ["no-user-deviceinfo", "no-cpi-deviceinfo", "no-user-devices"])
def test_a_document_is_found_where_the_engine_keeps_it(model: str, absent: str) -> None:
    with Simulator(model, autopilot=False) as simulator:
        plain = read(simulator).inventory
    with Simulator(model, dialect=Dialect.parse([absent]), autopilot=False) as simulator:
        other = read(simulator).inventory

    assert asdict(other) == asdict(plain)


def test_an_absent_document_is_not_asked_for_again() -> None:
    absent = ["no-charge-points", "no-status", "no-information", "no-varinfo"]
    with Simulator(dialect=Dialect.parse(absent), autopilot=False) as simulator:
        engine = Engine("test", Transport(simulator.url))
        engine.read(60)
        simulator.clear_requests()
        snapshot = engine.read(60)

        assert snapshot.up
        assert [request.target.partition("?")[0] for request in simulator.requests] == [
            "/services/user/values.xml"
        ]


def test_an_engine_that_had_no_documents_while_it_started_is_read_once_it_has_them() -> None:
    missing = (Fault("status-404", "devices.xml"), Fault("status-404", "chargePointsInterface"))
    clock = Clock(1000.0)
    with Simulator(autopilot=False, faults=missing) as simulator:
        engine = Engine("test", Transport(simulator.url, clock=clock.still))
        starting = [engine.read(60).up for _ in range(3)]
        simulator.faults = ()
        started = engine.read(60)
        for _ in range(5):
            clock.at += 15
            later = engine.read(60)

    assert starting == [False] * 3
    assert started.up
    assert later.charges
    assert later.inventory.plugs


def test_a_document_that_was_missing_once_is_asked_for_again_after_an_hour() -> None:
    clock = Clock(1000.0)
    with Simulator(autopilot=False, faults=(Fault("status-404", "chargeInfo"),)) as simulator:
        engine = Engine("test", Transport(simulator.url, clock=clock.still))
        missing = engine.read(60)
        simulator.faults = ()
        later = [missing]
        while clock.at < 1000 + 3600 + 120:
            clock.at += 60
            later.append(engine.read(60))

    assert missing.up
    assert not missing.charges
    assert later[-1].charges


def test_no_request_has_a_plus_or_a_long_target(model: str) -> None:
    for names in (["everything"], ["no-values-id", "no-device-state"]):
        dialect = Dialect.parse([name for name in names if name != "everything"])
        with Simulator(model, dialect=dialect, autopilot=False) as simulator:
            read(simulator, times=2)

            assert simulator.requests
            assert not [request.target for request in simulator.requests if "+" in request.target]
            assert max(len(request.target) for request in simulator.requests) <= 2001


def test_dates_are_dates_by_every_way() -> None:
    for names in ((), ("state-only",), ("date17",)):
        with Simulator(dialect=Dialect.parse(names), autopilot=False) as simulator:
            snapshot = read(simulator)

            assert isinstance(snapshot.values["EVSE.VDTTM"], Moment)


def test_a_way_that_stops_working_is_dropped_for_the_next_one() -> None:
    with Simulator(autopilot=False) as simulator:
        engine = Engine("test", Transport(simulator.url))
        before = engine.read(60)
        simulator.dialect = Dialect.parse(["wallbox-proven"])
        after = engine.read(60)

        assert engine.way is ValueStrategy.STATE
        assert after.up
        assert after.answered == before.answered


def test_a_request_that_hangs_an_odd_server_does_not_hold_up_the_ladder() -> None:
    from ccl_exporter.simulator import Fault  # noqa: PLC0415 - only this test breaks the negotiation

    with Simulator(autopilot=False, faults=[Fault.parse("silent@values.xml")]) as simulator:
        engine = Engine("test", Transport(simulator.url))
        for _ in range(4):
            snapshot = engine.read(1.5)

        assert engine.way is ValueStrategy.STATE
        assert len(snapshot.answered) == 6


def test_names_in_another_character_set_are_found() -> None:
    with Simulator("twin", autopilot=False) as simulator:
        plain = read(simulator)
    with Simulator("twin", dialect=Dialect.parse(["latin-1"]), autopilot=False) as simulator:
        other = read(simulator)

    assert asdict(other.inventory) == asdict(plain.inventory)
    assert other.answered == plain.answered == {device.id for device in plain.inventory.devices}


class FirstFew(BaseHTTPRequestHandler):
    """An engine that takes several devices in a request, but answers no more than the first three."""

    protocol_version = "HTTP/1.1"
    upstream = ""
    asked: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        path, mark, query = self.path.partition("?")
        ids = query.split("&")
        if path.endswith("values.xml"):
            self.asked.append(len(ids))
        try:
            with urllib.request.urlopen(self.upstream + path + mark + "&".join(ids[:3])) as answer:
                code, body = answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                code, body = refusal.code, refusal.read()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_an_engine_that_answers_only_the_first_few_is_asked_for_so_many() -> None:
    with Simulator(autopilot=False) as simulator, ThreadingHTTPServer(("127.0.0.1", 0), FirstFew) as few:
        FirstFew.upstream = simulator.url
        Thread(target=few.serve_forever, daemon=True).start()
        engine = Engine("test", Transport(f"http://127.0.0.1:{few.server_port}"))
        engine.read(60)
        FirstFew.asked.clear()
        snapshot = engine.read(60)
        engine.close()
        few.shutdown()

    assert len(snapshot.answered) == 6
    assert FirstFew.asked == [3, 3]
