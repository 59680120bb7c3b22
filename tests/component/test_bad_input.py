"""Bad input of every kind: said once when it begins and once when it ends, and never a wrong number in between."""

import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from helpers.support import OPENMETRICS, Clock, Scrape

from ccl_exporter.metrics.families import FAMILIES
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.prometheus import exposition
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.simulator import Dialect, Fault, Simulator

DIALECTS = {"friendly": (), "proven": ("wallbox-proven",)}
NAMES = tuple(DIALECTS)
PATHS = {"values": ("values.xml", "deviceState.xml"), "charge_info": ("chargeInfo.xml",)}
"""Where a document comes from: by every way that the engine knows."""

SPOILT = (
    "truncated",
    "html",
    "empty",
    "endless",
    "laughs",
    "not-utf8",
    "utf16-dtd",
    "status-401",
    "status-403",
    "status-500",
    "not-granted",
    "cut",
    "wrong-length",
    "drip",
)

Shown = dict[tuple[str, tuple[str, ...]], tuple[float, tuple[str, ...]]]


class Trial:
    """A wallbox that charges and in which nothing moves, read again and again by one engine."""

    def __init__(
        self, dialect: str, clock: Clock, caplog: pytest.LogCaptureFixture, through: Callable[[str], str] = str
    ) -> None:
        self.dialect = dialect
        self.caplog = caplog
        time = Clock(1_790_000_000.0)
        self.simulator = Simulator(dialect=Dialect.parse(DIALECTS[dialect]), autopilot=False, clock=time)
        self.simulator.start()
        plug = self.simulator.site.plugs[0]
        plug.plug_in(need_wh=20_000)
        plug.authorise()
        time.at += 600
        assert plug.watts > 0
        self._engine = Engine("test", Transport(through(self.simulator.url), clock=clock.running))

    def read(self, timeout: float = 10) -> tuple[Snapshot, Shown]:
        """A read and what it shows of the charger; what it shows of itself is another matter."""
        snapshot = self._engine.read(timeout)
        found = {
            (sample.family.name, sample.labels): (sample.value, sample.active)
            for sample in samples(snapshot)
            if not sample.family.name.startswith(("ccl_scrape_", "ccl_up"))
        }
        return snapshot, found

    def shown(self) -> Shown:
        """What is shown after a read that brings values, which later reads are compared with."""
        snapshot, shown = self.read()
        assert snapshot.up
        assert shown
        return shown

    def log(self) -> list[str]:
        """What was logged since the last look."""
        lines = [
            record.getMessage().removeprefix("test: ")
            for record in self.caplog.records
            if record.name.startswith("ccl_exporter")
        ]
        self.caplog.clear()
        return lines

    def stop(self) -> None:
        self._engine.close()
        self.simulator.stop()


Begin = Callable[..., Trial]


@pytest.fixture
def begin(clock: Clock, caplog: pytest.LogCaptureFixture) -> Iterator[Begin]:
    """Start a trial; the schedule goes by `clock`."""
    caplog.set_level(logging.INFO, "ccl_exporter")
    running: list[Trial] = []

    def start(dialect: str, through: Callable[[str], str] = str) -> Trial:
        running.append(Trial(dialect, clock, caplog, through))
        return running[-1]

    yield start
    for trial in running:
        trial.stop()


@pytest.fixture(scope="module")
def lasting() -> Iterator[dict[str, Trial]]:
    """Trials by dialect that go through one test after another."""
    trials: dict[str, Trial] = {}
    yield trials
    for trial in trials.values():
        trial.stop()


@pytest.fixture(params=NAMES)
def veteran(
    request: pytest.FixtureRequest, lasting: dict[str, Trial], caplog: pytest.LogCaptureFixture
) -> Iterator[Trial]:
    """A trial whose engine has seen what earlier tests did to it, and works again."""
    caplog.set_level(logging.INFO, "ccl_exporter")
    if request.param not in lasting:
        lasting[request.param] = Trial(request.param, Clock(0.0), caplog)
    trial = lasting[request.param]
    trial.caplog = caplog
    trial.read()
    yield trial
    trial.simulator.faults = ()


def success(snapshot: Snapshot, name: str) -> bool | None:
    """Whether a document is reported as OK; None if nothing is reported of it."""
    return next((document.success for document in snapshot.documents if document.name == name), None)


def failing(shown: Shown) -> Shown:
    """What is shown but for which devices answer: to say that one does not is what that family is for."""
    return {series: value for series, value in shown.items() if series[0] != "ccl_device_up"}


def check_once(trial: Trial, document: str, spoil: Callable[[bool], None], hangs: bool = False) -> None:
    """A document is valid, is spoilt for several reads, and is valid again."""
    before = trial.shown()
    trial.log()
    spoil(True)
    spoilt = [trial.read(0.7) for _ in range(2)] if hangs else [trial.read() for _ in range(3)]
    begun = trial.log()
    spoil(False)
    _, after = trial.read()
    ended = trial.log()

    assert {success(snapshot, document) for snapshot, _ in spoilt} == {False}
    for _, shown in spoilt:
        assert failing(shown).items() <= before.items()
    assert after == before
    assert [line.partition(": ")[0] for line in begun] == [f"cannot read {document}"]
    assert begun[0].partition(": ")[2], "the reason is missing"
    assert ended == [f"{document} can be read again"]


def spoiler(trial: Trial, kind: str, paths: Collection[str]) -> Callable[[bool], None]:
    """Switches a fault on and off for these parts of targets."""

    def spoil(on: bool) -> None:
        trial.simulator.faults = [Fault.parse(f"{kind}@{path}") for path in paths] if on else ()

    return spoil


@pytest.mark.parametrize("kind", SPOILT)
def test_a_spoilt_document_is_said_once_and_shows_no_wrong_number(veteran: Trial, kind: str) -> None:
    for document, paths in PATHS.items():
        check_once(veteran, document, spoiler(veteran, kind, paths), hangs=kind == "drip")


@pytest.mark.parametrize("document", PATHS)
def test_a_document_that_is_gone_for_a_while_is_back_when_it_is_back(veteran: Trial, document: str) -> None:
    check_once(veteran, document, spoiler(veteran, "status-404", PATHS[document]))


def test_a_redirect_is_not_followed(veteran: Trial) -> None:
    with Simulator(autopilot=False) as elsewhere:
        for document, paths in PATHS.items():
            check_once(veteran, document, spoiler(veteran, f"redirect:{elsewhere.url}/services/", paths))

        assert not elsewhere.requests


class Proxy:
    """Passes requests on, and for targets with one of `parts` announces `announced` times the length it sends."""

    def __init__(self) -> None:
        self.upstream = ""
        self.parts: Collection[str] = ()
        self.announced = 1.0
        self.stopping = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                try:
                    with urllib.request.urlopen(proxy.upstream + self.path) as answer:
                        code, body = answer.status, answer.read()
                except urllib.error.HTTPError as refusal:
                    with refusal:
                        code, body = refusal.code, refusal.read()
                wrong = any(part in self.path for part in proxy.parts)
                length = round(len(body) * proxy.announced) if wrong else len(body)
                self.wfile.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (code, length, body))

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> "Proxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def before(self, url: str) -> str:
        """Stand before a server; the address to ask instead of its own."""
        self.upstream = url
        return f"http://127.0.0.1:{self._server.server_port}"


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("announced", [0.5, 1.5], ids=["too short", "too long"])
def test_a_wrong_length_spoils_neither_the_values_nor_the_next_answer(
    begin: Begin, dialect: str, announced: float
) -> None:
    with Proxy() as proxy:
        trial = begin(dialect, proxy.before)
        proxy.announced = announced
        for document, paths in PATHS.items():

            def spoil(on: bool, paths: Collection[str] = paths) -> None:
                proxy.parts = paths if on else ()

            check_once(trial, document, spoil, hangs=announced > 1)
        trial.stop()


@pytest.mark.parametrize("kind", [kind for kind in SPOILT if kind != "drip"])
@pytest.mark.parametrize("veteran", ["proven"], indirect=True)
def test_one_broken_device_hides_no_other(veteran: Trial, kind: str) -> None:
    before = veteran.shown()
    veteran.log()
    veteran.simulator.faults = (Fault.parse(f"{kind}@deviceState.xml?id=Display"),)
    spoilt = [veteran.read() for _ in range(3)]
    veteran.simulator.faults = ()
    _, after = veteran.read()

    # What is known of its variables stays; it is their values that are not there.
    rest = {
        series: value
        for series, value in before.items()
        if series[1][:1] != ("Display",) or series[0].endswith("_info")
    }
    for snapshot, shown in spoilt:
        assert success(snapshot, "values") is False
        assert shown == rest | {("ccl_device_up", ("Display",)): (0.0, ())}
    assert after == before
    assert [line.partition(": ")[0] for line in veteran.log()] == [
        "cannot read values",
        "values can be read again",
    ]


@pytest.mark.parametrize("path", ["/devices.xml", "deviceInfo", "varInfo", "plugInfo", "information"])
def test_a_failure_in_the_first_reading_is_made_up_for_soon(
    begin: Begin, veteran: Trial, path: str, clock: Clock
) -> None:
    plain = veteran.shown()
    trial = begin(veteran.dialect)
    trial.simulator.faults = (Fault("status-500", path),)
    trial.read()
    trial.simulator.faults = ()
    for _ in range(10):
        clock.at += 15
        snapshot, shown = trial.read()

    assert not [document.name for document in snapshot.documents if not document.success]
    assert shown == plain


@pytest.mark.parametrize("dialect", NAMES)
def test_while_the_values_are_away_what_other_documents_say_of_a_plug_stays(
    begin: Begin, dialect: str, clock: Clock
) -> None:
    trial = begin(dialect)
    before = trial.shown()
    trial.simulator.faults = [Fault.parse(f"status-500@{path}") for path in PATHS["values"]]
    held = [("ccl_plug_locked", ("EVSE.PLUG",)), ("ccl_charge_energy_joules", ("EVSE.PLUG",))]
    for _ in range(8):
        clock.at += 15
        _, shown = trial.read()

        assert [shown.get(series) for series in held] == [before[series] for series in held]


def test_a_variable_that_is_sent_twice_with_two_values_has_none(veteran: Trial) -> None:
    before = veteran.shown()
    veteran.log()
    veteran.simulator.faults = (Fault.parse("duplicate:Plug - Meter.AE"),)
    spoilt = [veteran.read() for _ in range(3)]
    begun = veteran.log()
    veteran.simulator.faults = ()
    _, after = veteran.read()
    ended = veteran.log()

    of_it = ("ccl_variable_joules_total", ("Plug - Meter", "AE"))
    assert of_it in before
    for snapshot, doubled in spoilt:
        assert doubled == {series: value for series, value in before.items() if series != of_it}
        assert success(snapshot, "values") is False
    assert after == before
    assert [len(begun), len(ended)] == [1, 1]
    assert "Plug - Meter.AE is sent twice" in begun[0]


def test_names_with_quotes_and_line_ends_reach_the_exposition_as_they_are(begin: Begin, veteran: Trial) -> None:
    plain = veteran.shown()
    trial = begin(veteran.dialect)
    trial.simulator.faults = (Fault.parse("control"),)
    snapshot, odd = trial.read()
    body, _ = exposition(samples(snapshot), FAMILIES, OPENMETRICS)

    device = next(device.id for device in snapshot.inventory.devices if device.id.startswith("Plug - Meter"))
    assert {'"', "\n", "\t", "\x85"} <= set(device)
    assert len(odd) == len(plain)
    assert sorted(odd.values()) == sorted(plain.values())
    assert Scrape.of(body.decode()).get("ccl_device_up", device=device) == 1


@pytest.mark.parametrize("dialect", NAMES)
def test_devices_that_are_renamed_are_followed_and_no_number_is_wrong(
    begin: Begin, dialect: str, clock: Clock
) -> None:
    trial = begin(dialect)
    before = trial.shown()
    trial.simulator.faults = (Fault.parse("control"),)
    renamed = []
    for _ in range(10):
        clock.at += 15
        renamed.append(trial.read()[1])
    trial.simulator.faults = ()
    for _ in range(10):
        clock.at += 15
        _, after = trial.read()

    assert len(renamed[-1]) == len(before)
    assert after == before


@pytest.mark.parametrize("dialect", NAMES)
def test_a_device_that_vanishes_takes_only_its_own_series_and_brings_them_back(
    begin: Begin, dialect: str, clock: Clock
) -> None:
    trial = begin(dialect)
    before = trial.shown()
    trial.log()
    trial.simulator.faults = (Fault.parse("vanish:Reader"),)
    without = []
    for _ in range(6):
        clock.at += 15
        without.append(trial.read()[1])
    gone = trial.log()
    trial.simulator.faults = ()
    for _ in range(6):
        clock.at += 15
        _, after = trial.read()
    back = trial.log()

    rest = {series: value for series, value in before.items() if series[1][:1] != ("Reader",)}
    for shown in without:
        others = {series: value for series, value in shown.items() if series[1][:1] != ("Reader",)}
        assert others == rest
    assert without[-1] == rest
    assert after == before
    assert gone
    assert back
    assert len(gone) == len(set(gone))
    assert len(back) == len(set(back))


def test_a_clock_of_1999_dates_nothing_but_itself(veteran: Trial) -> None:
    names = (*DIALECTS[veteran.dialect], "date-header")
    veteran.simulator.dialect = Dialect.parse(names)
    before = veteran.shown()
    veteran.simulator.dialect = Dialect.parse((*names, "clock-1999"))
    _, shown = veteran.read()
    veteran.simulator.dialect = Dialect.parse(names)
    _, after = veteran.read()
    veteran.simulator.dialect = Dialect.parse(DIALECTS[veteran.dialect])

    clock = ("ccl_station_clock_timestamp_seconds", ())
    # Without a begin the time that it charged is not known either.
    dates = {
        series
        for series in before
        if ("timestamp" in series[0] and series != clock) or series[0] == "ccl_charge_duration_seconds"
    }
    assert len(dates) > 5
    assert shown.pop(clock)[0] < 946_684_800 < before[clock][0]
    assert shown == {series: value for series, value in before.items() if series not in {*dates, clock}}
    assert after == before
