"""The queue before InfluxDB 2.8 and 3.6, on a moved clock: what they refuse blocks nothing and empties nothing."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Literal

import pytest
from helpers.influx_stand_ins import TOKEN, Answer, Influx28, Influx36, StandIn
from helpers.support import Clock

from ccl_exporter.clock import Clock as ExporterClock
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.influxdb.client import Accepted, Outcome, Rejected, login_of, outcome, path_of
from ccl_exporter.outputs.influxdb.line_protocol import by_field, field_of, lines
from ccl_exporter.outputs.influxdb.queue_sender import QueueSender
from ccl_exporter.outputs.influxdb.spool import Spool
from ccl_exporter.settings import InfluxLayout, InfluxSettings, SpoolSettings

BEGIN = 1_790_000_000.0
REFUSES = Answer(422, (), '{"code":"unprocessable entity","message":"no"}')
VARIABLES = 115


class Connection:
    """A stand-in as a sender sees it, in the time of a clock; it can be away."""

    def __init__(self, server: StandIn, settings: InfluxSettings, clock: Clock) -> None:
        self.server, self.settings, self.clock = server, settings, clock
        self.is_away = False

    def check(self) -> Outcome:
        found = self.write(())
        return Accepted() if isinstance(found, Rejected) else found

    def advice(self) -> str:
        return ""

    def write(self, lines: Sequence[str], most_seconds: float = inf) -> Outcome:
        if self.is_away:
            self.clock.at += 0.001
            return outcome(503, {}, "", len(lines))
        login = login_of(self.settings)["Authorization"]
        found, seconds = self.server.answer("POST", path_of(self.settings), login, "\n".join(lines))
        self.clock.at += seconds + 0.001
        return outcome(found.status, dict(found.headers), found.body, len(lines))


class Pushing:
    """Readings of some chargers each interval, their queue and its sender, and a server."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        server: StandIn,
        version: Literal[2, 3],
        interval: float,
        layout: InfluxLayout,
        chargers: int = 1,
    ) -> None:
        settings = InfluxSettings(
            "db", "http://db", version, SpoolSettings(path), org="home", bucket="evse", token=TOKEN, layout=layout
        )
        self.clock, self.server, self.interval, self.layout = clock, server, interval, layout
        self.time = ExporterClock(lambda: BEGIN + clock.at, clock)
        self.path, self.chargers = path, chargers
        self.connection = Connection(server, settings, clock)
        self.variables = VARIABLES
        self.written: list[tuple[str, float]] = []
        self.start()
        self.next_reading = clock.at
        self.oldest_allowed = max(2 * interval, 12.0)

    def start(self) -> None:
        """As after a restart."""
        self.spool = Spool(self.path, 2**30, 1e9, self.time)
        self.spool.open()
        self.sender = QueueSender("db", "http://db", self.spool, self.connection, self.time, self.interval)

    def reading(self, charger: int, at: float) -> None:
        found = [
            Sample(f.UP, (), 1.0),
            Sample(f.PLUG_POWER, ("EVSE.PLUG", ""), at % 7000),
            Sample(f.PLUG_STATE, ("EVSE.PLUG",), 11.0, ("charging",)),
            Sample(f.CHARGE_ENERGY, ("EVSE.PLUG",), at),
            *(Sample(f.VARIABLES["volts"], ("Meter", f"V{number}"), 230.0) for number in range(self.variables)),
        ]
        name = f"c{charger}"
        assert self.spool.put(lines(found, name, round((BEGIN + at) * 1000), self.layout), BEGIN + at)
        self.written.append((name, BEGIN + at))

    def run(self, seconds: float, is_read: bool = True) -> None:
        end = self.clock.at + seconds
        while self.clock.at < end:
            if not is_read:
                self.next_reading = self.clock.at + self.interval
            while self.next_reading <= self.clock.at:
                for charger in range(self.chargers):
                    self.reading(charger, self.next_reading + 0.01 * charger)
                self.next_reading += self.interval
            pause = self.sender.step(self.clock.at)
            self.clock.at = min(self.clock.at + max(pause, 0.0005), max(self.next_reading, self.clock.at + 0.0005))

    def age(self, table: str = "ccl_scrape") -> float:
        """How old the newest reading is that arrived."""
        newest = self.server.newest(table, charger="c0")
        return BEGIN + self.clock.at - (newest or 0.0)

    def requests(self, since: float) -> int:
        return sum(at >= BEGIN + since for at, _ in self.server.requests)

    def refused(self) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(self.path)) as db:
            return list(db.execute("SELECT line, reason FROM refused ORDER BY id"))

    def is_lossless(self) -> bool:
        arrived = {(dict(row[2])["charger"], row[3]) for row in self.server.rows if row[1] == "ccl_scrape"}
        return arrived == {(name, round(at * 1000)) for name, at in self.written}


@pytest.fixture
def clock() -> Clock:
    return Clock(0.0)


@pytest.fixture
def pushing_2(tmp_path: Path, clock: Clock) -> Iterator[Pushing]:
    server = Influx28(lambda: BEGIN + clock.at)
    found = Pushing(tmp_path / "spool.db", clock, server, 2, 1.0, "wide")
    yield found
    found.spool.close()


@pytest.fixture(params=["wide", "narrow"])
def pushing_3(tmp_path: Path, clock: Clock, request: pytest.FixtureRequest) -> Iterator[Pushing]:
    server = Influx36(lambda: BEGIN + clock.at)
    found = Pushing(tmp_path / "spool.db", clock, server, 3, 15.0, request.param)
    yield found
    found.spool.close()


def retention(pushing: Pushing, seconds: float | None) -> None:
    assert isinstance(pushing.server, Influx28)
    pushing.server.retention["evse"] = seconds


def test_what_has_become_older_than_the_database_keeps_is_set_aside_and_new_readings_arrive(
    pushing_2: Pushing, caplog: pytest.LogCaptureFixture
) -> None:
    retention(pushing_2, 12.0)
    pushing_2.run(10)
    pushing_2.connection.is_away = True
    pushing_2.run(25)
    pushing_2.connection.is_away = False
    pushing_2.run(90)

    counts = pushing_2.spool.counts
    assert pushing_2.age() <= 12
    assert counts.points <= 3 * 4, "but the newest"
    assert counts.rejected >= 4 * 10
    assert counts.sent + counts.rejected + counts.points == counts.spooled
    said = [record.getMessage() for record in caplog.records if "outside retention" in record.getMessage()]
    assert len(said) == 2, "one line at the first refusal, one when it is over"


@pytest.mark.parametrize("before", [0, 30])
def test_a_database_that_refuses_everything_for_a_minute_costs_nothing(pushing_2: Pushing, before: float) -> None:
    pushing_2.run(before)
    pushing_2.server.override = lambda _: REFUSES
    pushing_2.run(60)
    pushing_2.server.override = lambda _: None
    pushing_2.run(30)
    pushing_2.run(3, is_read=False)

    assert pushing_2.is_lossless()
    assert (pushing_2.spool.counts.rejected, pushing_2.spool.counts.points) == (0, 0)


def test_a_database_that_refuses_everything_again_and_again_costs_nothing(pushing_2: Pushing) -> None:
    for seconds in (5.0, 0.7, 3.1, 0.02, 1.3, 7.7, 0.4, 2.9):
        pushing_2.server.override = lambda _: None
        pushing_2.run(seconds)
        pushing_2.server.override = lambda _: REFUSES
        pushing_2.run(seconds * 1.3)
    pushing_2.server.override = lambda _: None
    pushing_2.run(30)
    pushing_2.run(3, is_read=False)

    assert pushing_2.is_lossless()
    assert pushing_2.spool.counts.rejected == 0


def test_a_table_that_is_full_costs_what_does_not_fit(
    pushing_3: Pushing, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(pushing_3.server, Influx36)
    pushing_3.server.most_columns = 80
    if pushing_3.layout == "narrow":
        pushing_3.run(120)
        assert pushing_3.age("ccl_value") <= 15 + 12
        assert pushing_3.server.count("ccl_value", "value") >= 7 * VARIABLES
        assert pushing_3.spool.counts.rejected == 0
        return
    began = pushing_3.clock.at
    for _ in range(40):
        pushing_3.run(15)
        assert pushing_3.age("ccl_plug") <= 30
        assert pushing_3.requests(began) <= 105
        began = pushing_3.clock.at
    assert pushing_3.age("ccl_variable") <= 30
    assert pushing_3.spool.counts.points <= 2 * 4
    fields = {line.split(" ")[1].partition("=")[0] for line, _ in pushing_3.refused()}
    assert len(fields) == VARIABLES - 77
    said = "".join(record.getMessage() for record in caplog.records)
    assert all(field in said for field in fields)
    assert "limit of 80 columns" in said


@pytest.mark.parametrize("layout", ["wide", "narrow"])
def test_fifty_chargers_are_two_requests_an_interval(tmp_path: Path, clock: Clock, layout: InfluxLayout) -> None:
    server = Influx36(lambda: BEGIN + clock.at)
    pushing = Pushing(tmp_path / "spool.db", clock, server, 3, 15.0, layout, chargers=50)
    pushing.run(31)
    for _ in range(5):
        began = clock.at
        pushing.run(15)
        assert pushing.requests(began) <= 2
    assert pushing.age() <= 15 + 3
    pushing.spool.close()


def test_a_hundred_thousand_lines_are_sent_within_a_minute_and_new_readings_meanwhile(
    tmp_path: Path, clock: Clock
) -> None:
    server = Influx36(lambda: BEGIN + clock.at)
    pushing = Pushing(tmp_path / "spool.db", clock, server, 3, 15.0, "narrow")
    for number in range(100_000 // (VARIABLES + 3)):
        pushing.reading(0, -10_000.0 + number)
    began = clock.at
    while pushing.spool.counts.points > VARIABLES + 3:
        pushing.run(5)
        assert clock.at - began <= 60
        assert clock.at - began < 15 or pushing.age() <= 30
    assert pushing.is_lossless()
    assert server.largest <= 8 * 1024**2
    pushing.spool.close()


def test_lines_of_a_large_site_are_sent_in_requests_of_eight_megabytes(tmp_path: Path, clock: Clock) -> None:
    server = Influx36(lambda: BEGIN + clock.at)
    pushing = Pushing(tmp_path / "spool.db", clock, server, 3, 15.0, "wide")
    for number in range(200):
        at = BEGIN - 10_000.0 + number
        large = f'ccl_plug,charger=c0 state_text="{"é" * 50_000}" {round(at * 1000)}'
        pushing.spool.put([large], at)
    pushing.run(14)

    assert server.count("ccl_plug", "state_text") == 200 + 1
    assert 4 * 1024**2 < server.largest <= 8 * 1024**2
    assert len(server.requests) <= 5
    assert pushing.sender.refusals == 0
    pushing.spool.close()


@pytest.mark.parametrize("interval", [5.0, 15.0])
def test_a_database_that_keeps_nothing_of_a_refused_request_gets_new_readings_once_the_bad_fields_are_known(
    tmp_path: Path, clock: Clock, interval: float
) -> None:
    """InfluxDB 3.6 on the path of version 2, where each accepted request takes a second."""
    server = Influx36(lambda: BEGIN + clock.at, most_columns=80)
    pushing = Pushing(tmp_path / "spool.db", clock, server, 2, interval, "wide", chargers=3)
    pushing.run(90)
    for _ in range(5):
        pushing.run(interval)
        assert pushing.age() <= pushing.oldest_allowed
        assert pushing.age("ccl_variable") <= pushing.oldest_allowed
    pushing.run(interval, is_read=False)
    assert pushing.is_lossless()
    assert pushing.spool.counts.points == 0
    pushing.spool.close()


@pytest.mark.parametrize("version", [2, 3])
def test_a_clash_of_two_fields_costs_these_alone_each_with_its_own_reason(
    tmp_path: Path, clock: Clock, version: Literal[2, 3]
) -> None:
    server = (Influx28 if version == 2 else Influx36)(lambda: BEGIN + clock.at)
    pushing = Pushing(tmp_path / "spool.db", clock, server, version, 15.0, "wide", chargers=3)
    server.columns["evse", "ccl_plug"] = {"power_watts": "string", "state": "float"}
    pushing.run(60)
    learned = pushing.requests(0)
    pushing.run(60)
    pushing.run(10, is_read=False)

    refused = pushing.refused()
    reason_of = {line.split(" ")[1].partition("=")[0]: reason for line, reason in refused}
    assert reason_of.keys() == {"power_watts", "state"}
    assert all(field in reason for field, reason in reason_of.items())
    assert len(refused) == 2 * len(pushing.written)
    assert server.count("ccl_plug", "state_text") == len(pushing.written)
    assert pushing.is_lossless()
    assert pushing.spool.counts.points == 0
    assert pushing.requests(0) - learned <= learned + 8
    pushing.spool.close()


def test_a_database_that_takes_only_what_is_newer_than_ten_minutes(pushing_2: Pushing) -> None:
    retention(pushing_2, 600.0)
    for number in range(500):
        pushing_2.reading(0, -5000.0 + 15 * number % 5000)
    pushing_2.run(20)
    assert pushing_2.age() <= 12
    pushing_2.run(120)

    assert pushing_2.age() <= 12
    assert pushing_2.spool.counts.points <= 2 * 4
    assert pushing_2.spool.counts.rejected >= 400


def test_a_database_that_takes_nothing_but_finished_charges_costs_nothing(pushing_2: Pushing) -> None:
    pushing_2.run(10)
    pushing_2.server.override = lambda lines: (
        None if all(line.startswith("ccl_finished_charge,") for line in lines) else REFUSES
    )
    for number in range(30):
        at = BEGIN + pushing_2.clock.at
        charge = f"ccl_finished_charge,charger=c0,plug=EVSE.PLUG energy_joules={number} {round(at * 1000)}"
        pushing_2.spool.put([charge], at)
        pushing_2.run(2)
    assert pushing_2.spool.counts.rejected == 0
    pushing_2.server.override = lambda _: None
    pushing_2.run(20)
    pushing_2.run(3, is_read=False)

    assert pushing_2.is_lossless()
    assert pushing_2.server.count("ccl_finished_charge", "energy_joules") == 30
    assert pushing_2.spool.counts.rejected == 0


def test_the_log_has_a_line_at_the_first_refusal_and_one_when_it_is_over_which_names_the_variable(
    pushing_3: Pushing, caplog: pytest.LogCaptureFixture
) -> None:
    kind = {"narrow": ("ccl_value", "V7"), "wide": ("ccl_variable", "V7_volts")}[pushing_3.layout]
    bad = ",variable=V7 " if pushing_3.layout == "narrow" else "V7_volts="
    pushing_3.server.override = lambda lines: (
        Answer(400, (), '{"error":"no room"}') if any(bad in line for line in lines) else None
    )
    pushing_3.run(120)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]

    lines = VARIABLES + 3 if pushing_3.layout == "narrow" else 4
    assert said == [
        f"influxdb db: http://db refused some of {lines} lines: it answers 400: no room; isolating them",
        "influxdb db: 1 point of 2026-09-21T14:13:20Z to 2026-09-21T14:13:20Z set aside; 1 refused line is kept "
        f"in the table `refused`; {kind[1]} of {kind[0]} is refused: it answers 400: no room",
    ]


def test_a_clash_and_a_retention_at_once_of_which_only_one_is_counted_and_named(pushing_2: Pushing) -> None:
    retention(pushing_2, 600.0)
    pushing_2.server.columns["evse", "ccl_plug"] = {"power_watts": "string"}
    for number in range(100):
        pushing_2.reading(0, -5000.0 + number)
    old = len(pushing_2.written)
    pushing_2.run(60)

    assert pushing_2.age() <= 12
    assert pushing_2.spool.counts.points <= 2 * 4
    reasons = {field_of(line)[1]: reason for line, reason in pushing_2.refused() if len(by_field(line)) == 1}
    assert 'input field "power_watts"' in reasons["power_watts"]
    arrived = pushing_2.server.count("ccl_plug", "state_text")
    assert arrived == pushing_2.server.count("ccl_scrape", "up") >= len(pushing_2.written) - old - 2


def test_what_is_in_question_is_taken_up_after_a_restart(pushing_2: Pushing) -> None:
    retention(pushing_2, 600.0)
    pushing_2.interval = 15.0
    for number in range(300):
        pushing_2.reading(0, -50_000.0 + number)
    pushing_2.spool.close()
    pushing_2.start()
    pushing_2.run(20)
    assert pushing_2.age() <= 30
    left = pushing_2.spool.counts.points
    assert left > 100, "sorting has a limit"
    pushing_2.spool.close()
    pushing_2.start()
    pushing_2.run(120)

    assert pushing_2.age() <= 30
    assert pushing_2.spool.counts.points <= 2 * 4
