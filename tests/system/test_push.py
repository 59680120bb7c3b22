"""Readings in real databases: written by the installed command, read back by the database's own means."""

import json
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import pytest
from helpers.databases import Database, Influx, Victoria, running
from helpers.readme_table import FIELDS_README, README
from helpers.support import COMMAND, OPENMETRICS, Process, Scrape, Start, get
from helpers.workers import supervised

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.influxdb.pusher import InfluxPusher
from ccl_exporter.outputs.output import ChargerReading
from ccl_exporter.sessions.tracker import FinishedSession
from ccl_exporter.settings import InfluxSettings, SpoolSettings
from ccl_exporter.simulator import Simulator


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Influx]:
    database = Influx(tmp_path / "influxdb")
    database.start()
    database.create()
    yield database
    database.kill()


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[Victoria]:
    database = Victoria(tmp_path / "victoria")
    database.start()
    yield database
    database.kill()


def until(true: Callable[[], bool], what: str) -> None:
    """Ask until it is so; neither database has an event to wait for."""
    began = monotonic()
    while not true():
        assert monotonic() - began < 60, what
        sleep(0.1)


def own_metrics(url: str) -> Scrape:
    return Scrape.of(get(url, Accept=OPENMETRICS))


def test_one_configuration_fills_an_influxdb_and_a_victoriametrics_side_by_side(
    influx: Influx, victoria: Victoria, start: Start, tmp_path: Path
) -> None:
    with Simulator(autopilot=False) as garage, Simulator("twin", autopilot=False) as car_park:
        config = tmp_path / "ccl.yaml"
        config.write_text(
            f"chargers: {{garage: {{url: '{garage.url}'}}, car-park: {{url: '{car_park.url}'}}}}\n"
            "influxdb:\n"
            f"  - {{url: '{influx.url}', version: 1, database: evse, interval: 1s}}\n"
            f"  - {{url: '{victoria.url}', version: 2, org: vm, bucket: evse, name: victoria, interval: 1s}}\n"
        )
        process = start("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")
        url = process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]
        until(lambda: influx.count("ccl_scrape", "up") >= 6, "InfluxDB has no readings")
        until(lambda: any(len(times) >= 3 for _, times, _ in victoria.export("ccl_scrape_up")), "no readings")
        shown = own_metrics(url)
        assert process.stop() == 0

    plugs = influx.query('SELECT last("energy_joules_total") FROM ccl_plug GROUP BY charger, plug')
    assert {(row["charger"], row["plug"]) for row in plugs} == {
        ("garage", "EVSE.PLUG"),
        ("car-park", "Poste Été.PLUG_A"),
        ("car-park", "Poste Été.PLUG_B"),
    }
    (state,) = influx.query("SELECT last(state), state_text FROM ccl_plug WHERE charger = 'garage'")
    assert state["state_text"] == "available"
    energy = {
        (series["charger"], series["plug"]) for series, _, _ in victoria.export("ccl_plug_energy_joules_total")
    }
    assert energy == {(row["charger"], row["plug"]) for row in plugs}
    for sink in (f"127.0.0.1:{influx.port}", "victoria"):
        spooled = shown.get("ccl_influxdb_spooled_points_total", sink=sink)
        assert spooled is not None
        assert spooled > 0
        assert shown.get("ccl_influxdb_rejected_points_total", sink=sink) == 0
        assert shown.get("ccl_influxdb_dropped_points_total", sink=sink) == 0


def one_charger(charger: Simulator, database: Database, more: str = "") -> str:
    return (
        f"chargers: {{garage: {{url: '{charger.url}'}}}}\n"
        f"influxdb:\n  - {{url: '{database.url}', version: 1, database: evse, name: db, interval: 1s{more}}}\n"
    )


REFUSED = "SELECT line, reason FROM refused"
Serve = Callable[[str], tuple[Process, str]]


@pytest.fixture
def serve_file(start: Start, tmp_path: Path) -> Serve:
    """Start `serve` with a configuration; the process, and the URL of its metrics."""

    def run(text: str) -> tuple[Process, str]:
        config = tmp_path / "ccl.yaml"
        config.write_text(text)
        process = start("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")
        return process, process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]

    return run


@pytest.fixture
def garage() -> Iterator[Simulator]:
    with Simulator(autopilot=False) as simulator:
        yield simulator


def spool_metric(url: str, name: str) -> float:
    return own_metrics(url).get(f"ccl_influxdb_{name}", sink="db") or 0.0


def test_the_commands_of_the_pages_create_the_database_and_show_the_newest_readings(
    garage: Simulator, influx: Influx, serve_file: Serve
) -> None:
    create, newest = (
        shlex.split(command.replace("http://127.0.0.1:8086", influx.url))
        for page in (README, FIELDS_README)
        for command in re.findall(r"curl .*?'q=[^']*'", page.read_text(encoding="utf-8"))
    )

    def ask(command: Sequence[str]) -> list[Any]:
        (result,) = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["results"]
        assert "error" not in result
        return list(result.get("series", []))

    influx.query("DROP DATABASE evse")
    assert ask(create) == []
    serve_file(one_charger(garage, influx))
    until(lambda: bool(ask(newest)), "InfluxDB has no readings")
    (series,) = ask(newest)

    assert (series["tags"], series["columns"]) == ({"charger": "garage"}, ["time", "up"])
    assert series["values"][0][1] == 1


def test_a_database_that_is_away_gets_everything_when_it_comes_and_metrics_never_wait(
    garage: Simulator, influx: Influx, serve_file: Serve
) -> None:
    influx.stop()
    process, url = serve_file(one_charger(garage, influx))
    process.wait_for_log("influxdb db: .*no connection to .*; readings are kept")
    until(lambda: spool_metric(url, "spooled_points_total") >= 60, "nothing is spooled")
    assert own_metrics(url).get("ccl_up") == 1
    oldest = spool_metric(url, "spool_oldest_timestamp_seconds")
    influx.start()
    until(lambda: spool_metric(url, "sent_points_total") >= 60, "nothing is sent")

    process.wait_for_log("influxdb db: .*accepts writes")
    (first,) = influx.query("SELECT first(up) FROM ccl_scrape")
    # Two reads of one moment may be stored in either order.
    assert abs(float(str(first["time"])) - oldest * 1000) <= 1000
    assert len([line for line in process.log if "no connection" in line]) == 1, "a log gets a change, not a state"


def test_a_field_of_another_type_costs_only_itself_and_is_named(
    garage: Simulator, influx: Influx, serve_file: Serve
) -> None:
    influx.write(f"ccl_plug,charger=old energy_joules_total=5i {round(time() * 1000)}")
    process, url = serve_file(one_charger(garage, influx))
    until(lambda: influx.count("ccl_plug", "power_watts") >= 3, "the other fields are not there")

    logged = process.wait_for_log("energy_joules_total of ccl_plug is refused")
    assert "field type conflict" in logged
    until(lambda: spool_metric(url, "rejected_points_total") >= 3, "what was refused is not counted")
    assert spool_metric(url, "sent_points_total") > 0
    assert len([line for line in process.log if "is refused" in line]) == 1
    assert influx.count("ccl_plug", "energy_joules_total") == 1
    assert influx.count("ccl_scrape", "up") >= 3


def test_a_database_that_is_not_there_is_named_at_the_start_and_filled_when_it_is(
    garage: Simulator, influx: Influx, serve_file: Serve
) -> None:
    influx.query("DROP DATABASE evse")
    process, url = serve_file(one_charger(garage, influx))
    logged = process.wait_for_log("database not found")
    assert "there is no such database" in logged
    assert own_metrics(url).get("ccl_up") == 1
    spooled = spool_metric(url, "spooled_points_total")
    influx.query("CREATE DATABASE evse")
    until(lambda: spool_metric(url, "sent_points_total") >= max(spooled, 1), "nothing is sent")

    assert spool_metric(url, "rejected_points_total") == 0


def test_a_wrong_password_is_named_and_nothing_is_lost_until_it_is_right(
    garage: Simulator, serve_file: Serve, tmp_path: Path
) -> None:
    database = Influx(tmp_path / "closed", admin=("root", "s3cret-Root"))
    with running(database):
        database.create()
        process, url = serve_file(one_charger(garage, database, ", username: ccl, password: s3cret-Pa55"))
        logged = process.wait_for_log("influxdb db: .*rejects the login")
        database.query("CREATE USER ccl WITH PASSWORD 's3cret-Pa55'")
        process.wait_for_log("influxdb db: .*no permission to write")
        database.query("GRANT WRITE ON evse TO ccl")
        until(lambda: spool_metric(url, "sent_points_total") > 0, "nothing is sent")
        shown = get(url.replace("/metrics", "/config")) + get(url)
        process.stop()

    assert "401" in logged
    assert "s3cret" not in shown + "".join(process.log)
    assert "<secret>" in shown


def test_two_databases_share_one_reading_of_a_charger(
    garage: Simulator, influx: Influx, serve_file: Serve
) -> None:
    text = one_charger(garage, influx).replace("1s}", "2s}")
    second = f"  - {{url: '{influx.url}', version: 1, database: evse, name: other, interval: 2s}}\n"
    _, url = serve_file(text + second)
    until(lambda: spool_metric(url, "sent_points_total") > 100, "nothing is sent")
    rows = [str(row["time"]) for row in influx.query("SELECT up FROM ccl_scrape")]
    reads = own_metrics(url).get("ccl_exporter_charger_reads_total", charger="garage")
    shared = own_metrics(url).get("ccl_exporter_charger_shared_readings_total", charger="garage")

    # Both wrote the same points: each reading is there once.
    assert reads is not None
    assert shared is not None
    assert shared >= reads / 2
    assert len(rows) <= reads


def test_a_reload_begins_and_ends_pushes_and_leaves_the_others_alone(
    garage: Simulator, influx: Influx, serve_file: Serve, tmp_path: Path
) -> None:
    process, url = serve_file(one_charger(garage, influx))
    until(lambda: spool_metric(url, "sent_points_total") > 0, "nothing is sent")
    other = f"  - {{url: '{influx.url}', version: 1, database: other, name: other, interval: 1s}}\n"
    influx.query("CREATE DATABASE other")
    before = spool_metric(url, "sent_points_total")
    (tmp_path / "ccl.yaml").write_text(one_charger(garage, influx) + other)
    process.process.send_signal(signal.SIGHUP)
    process.wait_for_log("read again")
    until(lambda: bool(own_metrics(url).get("ccl_influxdb_sent_points_total", sink="other")), "it does not begin")
    assert spool_metric(url, "sent_points_total") >= before, "a push that stays as it was begins anew"

    (tmp_path / "ccl.yaml").write_text(one_charger(garage, influx, ", modules: [core]"))
    process.process.send_signal(signal.SIGHUP)
    until(lambda: own_metrics(url).get("ccl_influxdb_spooled_points_total", sink="other") is None, "it goes on")
    until(lambda: spool_metric(url, "sent_points_total") > 0, "the changed push does not begin")
    (tmp_path / "ccl.yaml").write_text(f"chargers: {{garage: {{url: '{garage.url}'}}}}\n")
    process.process.send_signal(signal.SIGHUP)
    until(lambda: not [name for name in own_metrics(url).names() if "influxdb" in name], "it goes on")

    assert process.stop() == 0
    assert not [line for line in process.log if "Traceback" in line or "another process" in line]


def test_an_end_does_not_wait_for_a_database_that_does_not_answer(garage: Simulator, serve_file: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        process, url = serve_file(
            f"chargers: {{garage: {{url: '{garage.url}'}}}}\n"
            f"influxdb: [{{url: 'http://127.0.0.1:{port}', version: 3, bucket: b, name: db, timeout: 10m}}]\n"
        )
        until(lambda: spool_metric(url, "spooled_points_total") > 0, "nothing is spooled")

        # `stop` gives up long before the ten minutes.
        assert process.stop() == 0


def test_a_second_exporter_with_the_same_spool_serves_but_does_not_write(
    garage: Simulator, influx: Influx, start: Start, serve_file: Serve
) -> None:
    first, url = serve_file(one_charger(garage, influx))
    until(lambda: spool_metric(url, "sent_points_total") > 0, "nothing is sent")
    second, other = serve_file(one_charger(garage, influx))
    logged = second.wait_for_log("nothing is written")
    assert "another process uses it" in logged
    assert own_metrics(other).get("ccl_up") == 1
    assert spool_metric(other, "spooled_points_total") == 0
    first.stop()
    until(lambda: spool_metric(other, "sent_points_total") > 0, "it does not take over")


def metric_of(pusher: InfluxPusher, name: str) -> float:
    return {sample.family.name: sample.value for sample in pusher.samples()}[f"ccl_influxdb_{name}"]


def in_process(influx: Influx, state: Path, *readings: ChargerReading) -> InfluxPusher:
    """Readings through a pusher until none waits."""
    entry = InfluxSettings("db", influx.url, 1, SpoolSettings(Path("db.db")), "evse", interval=1.0)
    pusher = InfluxPusher(entry, state)
    assert pusher.is_ready()
    for reading in readings:
        pusher.accept(reading)
    with supervised(*pusher.workers):
        until(lambda: metric_of(pusher, "spool_points") == 0, "something waits")
    pusher.stop()
    pusher.close(monotonic() + 10)
    return pusher


def plug_reading(taken: float) -> ChargerReading:
    found = [
        Sample(f.PLUG_POWER, ("EVSE.PLUG", ""), 7350.0),
        Sample(f.PLUG_STATE, ("EVSE.PLUG",), 11.0, ("charging",)),
        Sample(f.PLUG_LOCKED, ("EVSE.PLUG",), 1.0),
        Sample(f.UP, (), 1.0),
    ]
    return ChargerReading("garage", "http://garage", True, taken, found)


def test_lines_older_than_the_retention_are_set_aside_and_the_others_arrive(influx: Influx, state: Path) -> None:
    influx.query('CREATE RETENTION POLICY "hour" ON evse DURATION 1h REPLICATION 1 DEFAULT')
    now = time()
    old = [plug_reading(now - 7200 - number) for number in range(30)]
    pusher = in_process(influx, state, *old, *(plug_reading(now - 10 + number) for number in range(5)))

    assert influx.count("ccl_scrape", "up") == influx.count("ccl_plug", "power_watts") == 5
    assert metric_of(pusher, "rejected_points_total") == 2 * 30
    assert metric_of(pusher, "sent_points_total") == 2 * 5


def test_a_clash_of_two_fields_costs_these_alone_each_with_its_own_reason(influx: Influx, state: Path) -> None:
    now = time()
    influx.write(f'ccl_plug,charger=old power_watts="text",state=1.5 {round(now * 1000)}')
    in_process(influx, state, *(plug_reading(now - 10 + number) for number in range(8)))

    assert influx.count("ccl_plug", "locked") == influx.count("ccl_plug", "state_text") == 8
    assert influx.count("ccl_plug", "power_watts") == influx.count("ccl_plug", "state") == 1
    with closing(sqlite3.connect(state / "db.db")) as db:
        logged = {(line.split(" ")[1].partition("=")[0], reason) for line, reason in db.execute(REFUSED)}
    assert {field for field, _ in logged} == {"power_watts", "state"}
    assert len(logged) == 2
    assert all(f'input field "{field}"' in reason for field, reason in logged)


def ended(at: float, highest_watts: float | None = 7350.0) -> FinishedSession:
    """A charge that ended."""
    return FinishedSession("garage", "EVSE.PLUG", None, None, at, 3.6e6, 1800.0, 4, highest_watts)


@dataclass
class Record:
    """A record of finished charges in memory."""

    charges: list[FinishedSession]

    def finished(self, after: int) -> list[tuple[int, FinishedSession]]:
        return [(number, charge) for number, charge in enumerate(self.charges, 1) if number > after]


def test_a_finished_charge_is_written_once_also_after_a_restart(influx: Influx, state: Path) -> None:
    at = round(time())
    record = Record([ended(at - 10), ended(at - 5, highest_watts=None)])

    entry = InfluxSettings("db", influx.url, 1, SpoolSettings(Path("db.db")), "evse", interval=1.0)

    def push(points: float) -> None:
        pusher = InfluxPusher(entry, state, record)
        with supervised(*pusher.workers):
            assert pusher.is_ready()
            pusher.after_round()
            until(
                lambda: (
                    {s.family.name: s.value for s in pusher.samples()}["ccl_influxdb_sent_points_total"] == points
                ),
                "a charge is not written",
            )
        pusher.stop()
        pusher.close(monotonic() + 10)

    push(2)
    record.charges.append(ended(at))
    push(1)
    push(0)

    rows = influx.query("SELECT * FROM ccl_finished_charge")
    assert [row["time"] for row in rows] == [(at - 10) * 1000, (at - 5) * 1000, at * 1000]
    assert rows[0] == {
        "time": (at - 10) * 1000,
        "charger": "garage",
        "plug": "EVSE.PLUG",
        "duration_seconds": 1800,
        "end_timestamp_seconds": at - 10,
        "energy_joules": 3.6e6,
        "highest_power_watts": 7350,
        "stop_reason": 4,
        "stop_reason_text": "disconnect",
    }
    assert rows[1]["highest_power_watts"] is None


def test_a_charge_that_a_charger_finished_is_one_point(influx: Influx, serve_file: Serve) -> None:
    with Simulator(speed=300) as simulator:
        process, _ = serve_file(one_charger(simulator, influx))
        until(lambda: influx.count("ccl_finished_charge", "energy_joules") >= 1, "no charge is written")
        process.stop()
    rows = influx.query("SELECT energy_joules, end_timestamp_seconds, charger, plug FROM ccl_finished_charge")

    assert len({row["end_timestamp_seconds"] for row in rows}) == len(rows) >= 1
    assert {(row["charger"], row["plug"]) for row in rows} == {("garage", "EVSE.PLUG")}
    assert all(row["time"] == round(float(str(row["end_timestamp_seconds"])) * 1000) for row in rows)


def test_without_a_database_nothing_of_the_push_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ccl_exporter import cli\n"
        "from ccl_exporter.config import document\n"
        "from ccl_exporter.exporter.service import Options, Service\n"
        "from ccl_exporter.settings import ListenAddress\n"
        "Path('ccl.yaml').write_text('chargers: {a: {url: evse}}')\n"
        "read = document.load(Path('ccl.yaml'), {})\n"
        "service = Service(read.settings, Options(ListenAddress('127.0.0.1', 0)), Path('state'), None, read)\n"
        "service.bind()\n"
        "import threading\n"
        "running = threading.Thread(target=service.run)\n"
        "running.start()\n"
        "service.stop()\n"
        "running.join()\n"
        "heavy = {'influxdb_client', 'reactivex', 'ccl_exporter.outputs.influxdb.pusher'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [str(COMMAND.with_name("python")), "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
