"""Following a number: the installed command and its feeds, and the whole loop against a simulated charger."""

import json
import math
import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from pathlib import Path
from time import monotonic, time
from zoneinfo import ZoneInfo

import pytest
from helpers.board_asking import Asker
from helpers.board_queries import defaults, queries
from helpers.brokers import Broker, running
from helpers.house import evening
from helpers.prometheus import await_value
from helpers.prometheus import running as prometheus
from helpers.support import COMMAND, PROJECT, Clock, Process, Scrape, Start, get, server
from paho.mqtt.publish import single

from ccl_exporter.control.follow.follower import Follower
from ccl_exporter.control.follow.input_filter import InputFilter, InputSpec
from ccl_exporter.control.follow.limiter import FollowedPlug, FollowerState, SafeCurrentGuard
from ccl_exporter.control.follow.policy import Budget, Policy, Rules
from ccl_exporter.control.follow.sources import LatestValue
from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.restore import restore_pending
from ccl_exporter.control.state import JOURNAL, ControlState
from ccl_exporter.control.write import Writer
from ccl_exporter.metrics.families import FOLLOW
from ccl_exporter.simulator import Fault, Simulator
from ccl_exporter.station.current_limit import percent_for

PLUG = "EVSE.PLUG"
MODE3 = "Plug - Mode 3"
PREDUCTION = f"{MODE3}.PREDUCTION"
TO_BE = r"the limit is to be ([0-9.]+) A"


@pytest.fixture
def charging() -> Iterator[Simulator]:
    """A charger at which a car charges, ten times as fast as in life."""
    with Simulator(autopilot=False, speed=10) as simulator:
        simulator.site.plugs[0].plug_in(50_000)
        simulator.site.plugs[0].authorise()
        yield simulator


def reduction(simulator: Simulator) -> float:
    with simulator.site.present():
        return simulator.site.model.places[0].plug.limits.reduction


def limit_to(simulator: Simulator, percent: float) -> None:
    simulator.site.force(MODE3, [(PREDUCTION, percent)], 0.0)


def writes(state: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (state / JOURNAL).read_text().splitlines()]


@contextmanager
def told(path: Path, watts: float) -> Iterator[Callable[[float], None]]:
    """A file that somebody writes again and again, until the block is over; yields what changes the number."""
    now, over = [watts], threading.Event()

    def tell() -> None:
        for number in count():
            fresh = path.with_suffix(f".{number}")
            fresh.write_text(f"{now[0]}\n")
            fresh.replace(path)
            if over.wait(0.5):
                return

    teller = threading.Thread(target=tell)
    teller.start()
    try:
        yield lambda watts: now.__setitem__(0, watts)
    finally:
        over.set()
        teller.join()


def follow(start: Start, charging: Simulator, *arguments: str) -> Process:
    process: Process = start("charge", "follow", "--input", "available", *arguments, "-c", charging.url)
    process.line("Safe current: ")
    return process


# The command


def test_the_promise_comes_before_the_first_write_and_a_stop_means_the_limit_of_before(
    charging: Simulator, start: Start, tmp_path: Path, state: Path
) -> None:
    path = tmp_path / "free"
    limit_to(charging, 40.0)
    with told(path, 4000.0):
        process = start("charge", "follow", "--input", "available", "--file", str(path), "-c", charging.url)
        process.line("Safe current: 0.00 A, within 60 s")
        process.line(r"When this command ends: 19\.20 A, as now")
        process.line("SIGKILL")
        process.line("60 writes per hour and 8 starts per day")
        limit = float(process.line(TO_BE)[1])
        process.process.terminate()
        process.line(r"left at 19\.20 A \(PREDUCTION 40\), as it was before; `charge limit 100%` lifts it")
        code = process.process.wait()

    assert 15 < limit < 18
    assert code == 0
    assert reduction(charging) == 40
    assert [entry["result"] for entry in writes(state)] == ["sent", "done"]


def test_a_number_that_is_lost_means_the_safe_current_and_it_is_left_when_the_number_returns(
    charging: Simulator, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "free"
    flags = ("--mode", "floor", "--safe", "6.1A", "--stale", "3s", "--interval", "1s", "--file", str(path))
    with told(path, 4000.0):
        process = follow(start, charging, *flags)
        assert float(process.line(TO_BE)[1]) > 15
    process.line("stale: ")
    assert float(process.line(TO_BE)[1]) == 6.08
    with told(path, 4000.0):
        process.line("returning: ")
        assert float(process.line(TO_BE)[1]) > 15


def test_a_second_follower_is_refused_with_a_clear_sentence(
    charging: Simulator, start: Start, tmp_path: Path, state: Path
) -> None:
    path = tmp_path / "free"
    with told(path, 4000.0):
        process = follow(start, charging, "--file", str(path))
        process.line(TO_BE)
        second = subprocess.run(
            [str(COMMAND), "charge", "follow", "--file", str(path), "-c", charging.url],
            capture_output=True,
            text=True,
            check=False,
        )

    assert second.returncode == 4
    assert f"followed already, by process {process.process.pid}" in second.stderr
    assert len(writes(state)) == 1


@pytest.mark.parametrize("command", [("follow", "--restore"), ("enable",)])
def test_what_a_killed_follower_owes_is_done_by_the_next_command(
    command: tuple[str, ...], charging: Simulator, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "free"
    limit_to(charging, 40.0)
    with told(path, 4000.0):
        process = follow(start, charging, "--safe", "6.1A", "--file", str(path))
        process.line(TO_BE)
        process.process.kill()
        process.process.wait()
    planned = subprocess.run(
        [str(COMMAND), "charge", "follow", "--restore", "--dry-run", "-c", charging.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (planned.returncode, planned.stdout) == (0, "would put back what is still pending\n")
    assert reduction(charging) != 40
    put_back = [str(COMMAND), "charge", *command, "-c", charging.url]
    subprocess.run(put_back, capture_output=True, check=False)
    assert reduction(charging) == 40

    again = subprocess.run(
        [str(COMMAND), "charge", "follow", "--restore", "-c", charging.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (again.returncode, again.stdout) == (6, "nothing to put back\n")


@pytest.mark.parametrize(
    ("fault", "said"),
    [(Fault("ignore-writes"), TO_BE), (Fault("status-403", "forceVariables"), "write_ignored: ")],
)
def test_a_killed_follower_leaves_a_current_also_if_its_last_write_did_not_arrive(
    fault: Fault, said: str, charging: Simulator, start: Start, tmp_path: Path
) -> None:
    limit_to(charging, 90.0)
    charging.faults = (fault,)
    path = tmp_path / "free"
    with told(path, 4000.0):
        process = follow(start, charging, "--file", str(path))
        process.line(said)
        process.process.kill()
        process.process.wait()
    charging.faults = ()
    assert reduction(charging) == 90
    done = subprocess.run(
        [str(COMMAND), "charge", "follow", "--restore", "-c", charging.url],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, reduction(charging)) == (0, 0), done.stdout


@pytest.mark.parametrize(
    ("ending", "before"), [(signal.SIGKILL, 0.0), (signal.SIGKILL, 100.0), (signal.SIGTERM, 100.0)]
)
def test_a_write_that_is_still_to_act_when_a_follower_ends_is_followed_by_the_limit_to_leave(
    ending: signal.Signals, before: float, start: Start, tmp_path: Path, state: Path
) -> None:
    path = tmp_path / "free"
    with Simulator(autopilot=False, speed=1) as charging, told(path, 4000.0):
        charging.site.plugs[0].plug_in(50_000)
        charging.site.plugs[0].authorise()
        charging.site.force(MODE3, [(PREDUCTION, before)], 0.0)
        process = follow(start, charging, "--mode", "floor", "--safe", "0A", "--file", str(path))
        process.line(TO_BE)
        assert reduction(charging) == before
        process.process.send_signal(ending)
        process.process.wait()
        # At once, as the write acts 2 to 5 seconds later.
        control_state = ControlState(state, charging.url)
        with closing(WritableTransport(charging.url)) as control:
            restore_pending(control_state, Writer(control, control_state, 5.0, "put back"), print)

        assert reduction(charging) == 0
    assert [entry["result"] for entry in writes(state)] == ["sent", "done"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGHUP])
def test_the_limit_of_before_is_set_though_nobody_reads_any_more_what_is_said(
    ending: signal.Signals, charging: Simulator, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "free"
    limit_to(charging, 40.0)
    with told(path, 4000.0):
        process = follow(start, charging, "--file", str(path))
        process.line(TO_BE)
        assert process.process.stdout is not None
        process.process.stdout.close()
        process.process.send_signal(ending)
        code = process.process.wait()

    assert (code, reduction(charging)) == (0, 40)


def test_a_stop_means_no_round_any_more(charging: Simulator, start: Start, state: Path) -> None:
    asked, over = threading.Event(), threading.Event()

    class Prometheus(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            over.wait()

    with HTTPServer(("127.0.0.1", 0), Prometheus) as answering:
        thread = threading.Thread(target=answering.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{answering.server_port}"
            process = follow(
                start,
                charging,
                "--query",
                "free",
                "--prometheus.url",
                url,
                "--interval",
                "10s",
                "--mode",
                "supply",
            )
            # The follower waits for its first number now, as it does between two rounds.
            assert asked.wait(60)
            code = process.stop()
        finally:
            over.set()
            answering.shutdown()
            thread.join()

    assert (code, reduction(charging)) == (0, 81)
    assert [entry["result"] for entry in writes(state)] == ["done"]


def test_standard_input_is_followed_until_it_ends(charging: Simulator) -> None:
    arguments = ["--stdin", "--input", "available", "--unit", "kW", "-c", charging.url]
    done = subprocess.run(
        [str(COMMAND), "charge", "follow", *arguments],
        input="nonsense\n3.0\n",
        capture_output=True,
        text=True,
        check=True,
    )

    assert re.search(TO_BE, done.stdout)
    assert "no more numbers" in done.stderr
    assert reduction(charging) == 0


def test_a_line_in_another_encoding_is_no_number_and_the_next_one_is(charging: Simulator) -> None:
    done = subprocess.run(
        [str(COMMAND), "charge", "follow", "--stdin", "--input", "available", "-c", charging.url],
        input=b"21\xb0C\n3000\n",
        capture_output=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )

    assert re.search(TO_BE.encode(), done.stdout)
    assert b"no more numbers" in done.stderr


def test_a_feed_that_breaks_off_ends_the_command_and_leaves_a_current(charging: Simulator) -> None:
    limit_to(charging, 90.0)
    done = subprocess.run(
        # A query that is no text cannot be sent.
        [str(COMMAND), "charge", "follow", "--query", b"\xff", "-c", charging.url],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )

    assert (done.returncode, reduction(charging)) == (1, 0)
    assert b"no more numbers will come, by a mistake of ours" in done.stderr


@pytest.mark.parametrize("largest", [13.0, 63.0])
@pytest.mark.parametrize(("mode", "left"), [("surplus", 0), ("floor", 0), ("supply", None)])
def test_what_nobody_chose_suits_every_plug(
    mode: str, left: int | None, largest: float, charging: Simulator
) -> None:
    limit_to(charging, 100.0)
    charging.site.set_value(f"{MODE3}.INTENSITY", largest)
    subprocess.run(
        [str(COMMAND), "charge", "follow", "--stdin", "--input", "available", "--mode", mode, "-c", charging.url],
        input="",
        text=True,
        check=True,
    )

    assert reduction(charging) == (100 - math.ceil(600 / largest) if left is None else left)


def test_a_follower_begins_though_the_meter_is_silent() -> None:
    with Simulator("twin", autopilot=False) as charger:
        charger.faults = (Fault("device-error", arg="Meter"),)
        plug, kind = ("--plug", "Poste Été.PLUG_A"), ("--input", "available")
        subprocess.run(
            [str(COMMAND), "charge", "follow", "--stdin", "--mode", "supply", *kind, *plug, "-c", charger.url],
            input="",
            text=True,
            check=True,
        )

        assert reduction(charger) == 81


def test_a_query_is_followed_by_the_date_of_its_sample(charging: Simulator, start: Start, tmp_path: Path) -> None:
    asked: list[str] = []

    class Prometheus(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            values = [[time() - 1, "3000"]] if len(asked) < 4 else [[time() - 90, "3000"]]
            data = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
            body = json.dumps({"status": "success", "data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Prometheus) as answering:
        thread = threading.Thread(target=answering.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{answering.server_port}"
            flags = ("--query", "free_watts[1m]", "--prometheus.url", url, "--interval", "1s", "--stale", "5s")
            process = follow(start, charging, *flags)
            assert float(process.line(TO_BE)[1]) > 11
            process.line("stale: ")
        finally:
            answering.shutdown()
            thread.join()

    assert asked[0] == "/api/v1/query?query=free_watts%5B1m%5D"


def test_a_topic_is_followed_but_not_what_a_broker_retained(
    charging: Simulator, start: Start, tmp_path: Path
) -> None:
    with running(Broker(tmp_path / "broker")) as broker:
        at = {"hostname": "127.0.0.1", "port": broker.port}
        single("house/power", '{"power": 7000}', retain=True, **at)  # type: ignore[arg-type] # host and port
        url = f"mqtt://127.0.0.1:{broker.port}"
        process = follow(start, charging, "--topic", "house/power", "--field", "power", "--broker", url)
        process.line("stale: ")
        limit = None
        while limit is None or limit == 0:
            single("house/power", '{"power": 3000}', **at)  # type: ignore[arg-type] # host and port
            found = re.search(TO_BE, process.process.stdout.readline())  # type: ignore[union-attr] # a pipe
            limit = float(found[1]) if found else None
            if limit == 0:
                break

    assert limit == 0, "what was retained is of nobody knows when, so the current is safe first"


def test_a_follower_tells_what_it_does_as_metrics(charging: Simulator, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "free"
    with told(path, 4000.0):
        process: Process = start(
            *("charge", "follow", "--input", "available", "--file", str(path)),
            *("--web.listen-address", "127.0.0.1:0", "-c", charging.url),
        )
        url = process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]
        process.line(TO_BE)
        accept = "application/openmetrics-text; version=1.0.0"
        # The current is told before it is written.
        while not (scrape := Scrape.of(get(url, Accept=accept))).get("ccl_follow_writes_total"):
            assert process.process.poll() is None
        linted = subprocess.run(
            [server("promtool"), "check", "metrics"], input=get(url), capture_output=True, text=True, check=False
        )

        port = url.split(":")[2].split("/")[0]
        targets = f"[{{targets: ['127.0.0.1:{port}'], labels: {{job: evse, instance: garage}}}}]"
        with prometheus(tmp_path, f"- {{job_name: follow, static_configs: {targets}}}\n") as database:
            await_value(database, "count_over_time(ccl_follow_limit_amperes[1m]) > 1")
            asker = Asker(database, defaults("charger.json"), time() + 1, range=60, interval=1)
            asked = [query for query in queries("charger.json") if "ccl_follow_" in query.text]
            answers = {query.place: asker.ask(query) for query in asked}

    assert len(answers) == 7
    assert [place for place, answer in answers.items() if not answer] == []
    assert scrape.word("ccl_follow_reason") in ("returning", "following")
    writes = scrape.get("ccl_follow_writes_total") or 0
    assert scrape.get("ccl_follow_writes_left") == 60 - writes
    assert scrape.get("ccl_follow_input_watts") == 4000
    assert scrape.get("ccl_follow_info", mode="surplus", plug=PLUG) == 1
    assert abs((scrape.get("ccl_follow_input_timestamp_seconds") or 0) - time()) < 60
    ours = [line for line in linted.stdout.splitlines() if "ccl_follow" in line]
    assert not ours, ours
    page = (PROJECT / "deploy" / "follow" / "README.md").read_text(encoding="utf-8")
    rows = [f"| `{family.name}` | {family.kind} | {family.help}" for family in FOLLOW]
    assert [row for row in rows if row not in page] == []
    assert scrape.names() == {family.name for family in FOLLOW}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "where the number comes from"),
        (("--stdin", "--file", "x"), "where the number comes from"),
        (("--stdin", "--stale", "60s"), "within 60 s"),
        (("--stdin", "--interval", "1m"), "within 60 s"),
        (("--stdin", "--mode", "supply"), "need --supply"),
        (("--stdin", "--supply", "60A", "--input", "available"), "--supply belongs to"),
        (("--stdin", "--full-between", "night"), "is not a window of the day"),
        (("--stdin", "--full-between", "tariff"), "needs a configuration file"),
        (("--stdin", "--safe", "3A"), "no current of this plug"),
        (("--stdin", "--safe", "40A"), "no current of this plug"),
        (("--stdin", "--floor", "2kW"), "is not a current"),
        (("--stdin", "--pv-peak", "16A"), "is not a power"),
        (("--topic", "x", "--broker", "http://x"), "not the URL of a broker"),
        (("--topic", "house/#/power"), "is not a topic"),
        (("--topic", "house/power+"), "is not a topic"),
        (("--topic", ""), "is not a topic"),
    ],
)
def test_what_cannot_be_followed_is_refused_before_anything_is_written(
    flags: tuple[str, ...], says: str, charging: Simulator, state: Path
) -> None:
    done = subprocess.run(
        [str(COMMAND), "charge", "follow", *flags, "-c", charging.url],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert says in done.stderr
    assert not (state / JOURNAL).exists() or not writes(state)


UNIT = PROJECT / "deploy" / "systemd" / "ccl-charge-follow.service"
INSTALLED = "/opt/ccl-exporter/bin/ccl-exporter"


def test_systemd_finds_nothing_to_complain_of_in_the_unit_and_it_is_exposed_to_little(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(INSTALLED, str(COMMAND)))
    for arguments in (("verify", "--man=no"), ("security", "--offline=true", "--threshold=15")):
        judged = subprocess.run(
            [server("systemd-analyze"), *arguments, str(unit)], capture_output=True, text=True, check=False
        )
        assert judged.returncode == 0, judged.stdout + judged.stderr


def test_what_the_unit_runs_are_commands_of_ours() -> None:
    lines = UNIT.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    starts, stops = ([line for line in lines if line.startswith(word)] for word in ("ExecStart=", "ExecStopPost="))
    assert stops == [f"ExecStopPost=-{INSTALLED} charge follow --restore"]
    (command,) = starts
    flags = re.findall(r" (--[a-z.-]+)", command)
    shown = subprocess.run(
        [str(COMMAND), "charge", "follow", "--help"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )

    assert len(flags) == 4
    assert [flag for flag in flags if flag not in shown.stdout] == []


def test_the_unit_has_the_secrets_that_the_service_has() -> None:
    units = [UNIT, UNIT.with_name("ccl-exporter.service")]
    loaded = [re.findall(r"^LoadCredential=.*", unit.read_text(encoding="utf-8"), re.M) for unit in units]

    assert loaded[0] == loaded[1] != []


@contextmanager
def house_of(charging: Simulator, load: float) -> Iterator[str]:
    """A Prometheus that tells the import of a house with this load besides the car; yields its URL."""

    class Prometheus(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with charging.site.present():
                watts = load + charging.site.plugs[0].watts + next(noise) % 7
            data = {"resultType": "vector", "result": [{"metric": {}, "value": [0, str(watts)]}]}
            body = json.dumps({"status": "success", "data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    noise = count()
    with HTTPServer(("127.0.0.1", 0), Prometheus) as answering:
        thread = threading.Thread(target=answering.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{answering.server_port}"
        finally:
            answering.shutdown()
            thread.join()


def owners_day(page: str) -> list[str]:
    """What the unit of the owner's day on a page runs."""
    unit = page.partition("### A whole day as one unit")[2].partition("```ini\n")[2].partition("```")[0]
    (line,) = re.findall(r"^ExecStart=(/.*)", unit.replace("\\\n", " "), re.M)
    words = shlex.split(line)
    assert words[0] == INSTALLED
    return words[1:]


def test_the_whole_day_of_the_page_is_sun_by_day_the_cheap_hours_by_night_and_a_boost(
    charging: Simulator, start: Start
) -> None:
    command = owners_day((PROJECT / "deploy" / "follow" / "README.md").read_text(encoding="utf-8"))
    # What a follower of the sun of version 0.1 left, night after night.
    limit_to(charging, 100.0)

    now = datetime.now(ZoneInfo(command[command.index("--timezone") + 1]))

    def run(url: str, hours: float) -> Process:
        """The command, as if it were so many hours before the cheap ones."""
        begin = now + timedelta(hours=hours)
        window = f"{begin:%H:%M}-{begin + timedelta(hours=4):%H:%M}"
        here = {"http://127.0.0.1:9090": url, "127.0.0.1:9988": "127.0.0.1:0", "00:30-04:30": window}
        assert here.keys() <= set(command)
        process: Process = start(*(here.get(word, word) for word in command), env={"CCL_CHARGER": charging.url})
        return process

    with house_of(charging, 500.0) as url:
        process = run(url, -1.0)
        process.line(
            r"Within \d\d:\d\d-\d\d:\d\d and after `charge start --now`: the full current, what the supply leaves"
        )
        process.line("full_hours: ")
        while float(process.line(TO_BE)[1]) < 32:
            pass
        process.process.terminate()
        process.line(r"left at 6\.08 A \(PREDUCTION 81\), the safe current; `charge limit 100%` lifts it")
        assert process.process.wait() == 0
    with house_of(charging, -3000.0) as url:
        process = run(url, 11.0)
        process.line("following: ")
        assert 11 < float(process.line(TO_BE)[1]) < 13.1
        boost = [str(COMMAND), "charge", "start", "--now", "--for", "2h", "-c", charging.url]
        said = subprocess.run(boost, capture_output=True, text=True, check=False)
        assert said.stdout.endswith("; it goes on for 2h\n"), said
        process.line("boost: ")
        while float(process.line(TO_BE)[1]) < 28:
            pass


# The whole loop in simulated time


class Loop:
    """A follower in a time that a test moves, against a charger over loopback."""

    def __init__(self, folder: Path, clock: Clock, simulator: Simulator, rules: Rules, supply: float) -> None:
        self.clock, self.simulator = clock, simulator
        self.said: list[str] = []
        self.control_state = FollowerState(folder, simulator.url, now=clock, say=self.said.append)
        self.control = WritableTransport(simulator.url)
        writer = Writer(self.control, self.control_state, 1.0, "charge follow", look_every=0.02)
        plug = FollowedPlug(writer, self.control_state, None, 1.0)
        self.newest = LatestValue(clock, clock)
        self.follower = Follower(
            plug,
            self.newest,
            InputFilter(InputSpec("import", "W", rules.mode, (supply, "W"), 0.0)),
            Policy(rules, Budget(60)),
            SafeCurrentGuard(
                self.control_state, plug.device, plug.variable, percent_for(rules.safe, plug.largest)
            ),
            self.said.append,
            clock=clock,
            wall=clock,
        )
        self.follower.begin()

    @property
    def watts(self) -> float:
        return self.simulator.site.plugs[0].watts

    @property
    def amperes(self) -> float:
        return self.simulator.site.plugs[0].amperes

    def live(self, seconds: int, load: Callable[[int], float] | None, every: int = 2) -> Iterator[int]:
        """Second by second; the meter of the house is silent without a load."""
        for second in range(seconds):
            if load is not None:
                self.newest.take(load(second) + self.watts)
            if second % every == 0:
                self.follower.step()
            yield second
            self.clock.at += 1


@pytest.fixture
def loop(wallbox: Simulator, clock: Clock, tmp_path: Path) -> Iterator[Loop]:
    wallbox.site.plugs[0].plug_in(1e6)
    wallbox.site.plugs[0].authorise()
    clock.at += 10
    with ExitStack() as stack:
        rules = Rules("supply", 32.0, safe=6.1)
        found = Loop(tmp_path / "state", clock, wallbox, rules, 14_000.0)
        stack.callback(found.control.close)
        yield found


def test_an_evening_in_the_real_loop_keeps_within_the_supply(loop: Loop) -> None:
    house = evening(4, 13_500.0)
    begin = max(range(0, house.seconds - 900, 60), key=lambda at: house.at(at + 300)[1] - house.at(at + 200)[1])
    above = longest = 0
    for second in loop.live(900, lambda second: house.at(begin + second)[1]):
        above = above + 1 if house.at(begin + second)[1] + loop.watts > 14_000 else 0
        longest = max(longest, above)

    assert longest <= 10
    assert any(line.startswith("the limit is to be") for line in loop.said)


def test_a_charger_that_ignores_writes_is_named_and_not_asked_for_ever(loop: Loop) -> None:
    loop.simulator.faults = (Fault("ignore-writes"),)
    for _ in loop.live(900, lambda second: 11_000.0 + second % 9, every=5):
        pass

    assert any(line.startswith("write_ignored: ") for line in loop.said)
    puts = [request for request in loop.simulator.requests if request.method == "PUT"]
    assert 2 <= len(puts) <= 12
    loop.simulator.faults = ()
    for _ in loop.live(400, lambda second: 11_000.0 + second % 9, every=4):
        pass
    assert loop.watts + 11_000 < 14_000
    assert loop.follower.status.reason == "following"


def test_a_charger_that_cannot_be_read_gets_the_safe_current_all_the_same(loop: Loop) -> None:
    for _ in loop.live(60, lambda second: 2000.0 + second % 9):
        pass
    assert loop.amperes == 32
    loop.simulator.faults = (Fault("status-500", "values"), Fault("status-500", "deviceState"))
    for _ in loop.live(60, lambda second: 2000.0 + second % 9, every=5):
        pass

    assert 6 <= loop.amperes < 6.2
    assert any("charger_unavailable" in line for line in loop.said)
    loop.simulator.faults = ()
    for _ in loop.live(150, lambda second: 2000.0 + second % 9):
        pass
    assert loop.amperes > 20


def test_a_charger_that_falls_silent_before_a_write_shows_gets_the_safe_current_though_it_read_that(
    loop: Loop,
) -> None:
    loop.simulator.site.force(MODE3, [(PREDUCTION, 81.0)], 0.0)
    for _ in loop.live(200, lambda second: 2000.0 + second % 9):
        if any(line.startswith("the limit is to be") for line in loop.said):
            break
    assert reduction(loop.simulator) == 81
    loop.simulator.faults = (Fault("status-500", "values"), Fault("status-500", "deviceState"))
    for _ in loop.live(60, None):
        pass

    assert reduction(loop.simulator) == 81


def test_a_charger_whose_mode_3_device_is_silent_gets_the_safe_current_all_the_same(loop: Loop) -> None:
    for _ in loop.live(60, lambda second: 2000.0 + second % 9):
        pass
    assert loop.amperes == 32
    loop.simulator.faults = (Fault("device-error", arg=MODE3),)
    for _ in loop.live(60, lambda second: 2000.0 + second % 9):
        pass

    assert 6 <= loop.amperes < 6.2


def test_where_nothing_can_be_kept_the_limit_stays_and_the_safe_current_is_set_all_the_same(loop: Loop) -> None:
    folder = loop.control_state.folder
    folder.rename(folder.with_name("gone"))
    folder.write_text("")
    for _ in loop.live(60, lambda second: 10_000.0 + second % 9):
        pass
    unkept = [line for line in loop.said if "does not follow" in line]
    assert len(unkept) == 1
    assert "cannot be written" in unkept[0]
    for _ in loop.live(60, None):
        pass

    assert 6 <= loop.amperes < 6.2


def test_at_its_end_too_a_follower_sets_the_safe_current_where_nothing_can_be_kept(loop: Loop) -> None:
    folder = loop.control_state.folder
    folder.rename(folder.with_name("gone"))
    folder.write_text("")
    ending = threading.Thread(target=lambda: loop.said.append(str(loop.follower.shutdown(5.0))))
    ending.start()
    while ending.is_alive():
        loop.clock.at += 1
        ending.join(0.05)

    assert loop.said[-1] == "True"
    assert reduction(loop.simulator) == 81
    assert any("stays pending" in line for line in loop.said)


def test_a_meter_of_three_phases_that_does_not_answer_is_not_taken_for_one_phase(tmp_path: Path) -> None:
    with Simulator("twin", autopilot=False) as charger, closing(WritableTransport(charger.url)) as control:
        control_state = ControlState(tmp_path, charger.url)
        plug = FollowedPlug(
            Writer(control, control_state, 5.0, "charge follow"), control_state, "Poste Été.PLUG_A", 5.0
        )
        assert plug.plug().phases == 3
        charger.faults = (Fault("device-error", arg="Meter"),)

        assert plug.observe().phases == 3
        assert plug.observe().power is None


def test_a_charger_that_fails_at_once_is_asked_for_the_safe_current_with_rests(loop: Loop) -> None:
    loop.follower.clock = monotonic
    loop.simulator.faults = (Fault("status-500"),)
    good = loop.follower.shutdown(5.0)

    assert not good
    assert 1 <= sum(line.startswith("the limit to leave behind could not be set") for line in loop.said) <= 3


def test_writes_of_the_last_hour_are_known_after_a_restart(loop: Loop, clock: Clock) -> None:
    for _ in loop.live(30, lambda second: 11_000.0 + second % 9):
        pass
    ages = loop.control_state.written_lately(PREDUCTION, 3600)

    assert len(ages) == loop.follower.status.writes > 0
    assert all(0 <= age <= 40 for age in ages)
    other = ControlState(loop.control_state.folder, "http://192.0.2.1", clock)
    assert other.written_lately(PREDUCTION, 3600) == []
    clock.at += 4000
    assert loop.control_state.written_lately(PREDUCTION, 3600) == []


def test_another_command_that_takes_long_does_not_keep_the_safe_current_out(loop: Loop) -> None:
    for _ in loop.live(60, lambda second: 2000.0 + second % 9):
        pass
    with loop.control_state.exclusive(float("inf")):
        for _ in loop.live(60, None):
            pass

    assert 6 <= loop.amperes < 6.2


def test_flags_of_version_0_1_are_accepted_with_a_warning(charging: Simulator, start: Start) -> None:
    process = start(
        *("charge", "follow", "--stdin", "--number", "available", "--roof", "4kW", "--dry-run"),
        *("-c", charging.url),
    )

    process.wait_for_log("--number is called --input since version 0.2")
    process.wait_for_log("--roof is called --pv-peak since version 0.2")
    shown = subprocess.run(
        [str(COMMAND), "charge", "follow", "--help"], check=True, capture_output=True, text=True
    )
    assert "--pv-peak" in shown.stdout
    assert not re.search("--number|--roof|--put-back", shown.stdout)
    old = subprocess.run(
        [str(COMMAND), "charge", "follow", "--put-back", "-c", charging.url],
        check=False,
        capture_output=True,
        text=True,
    )
    assert old.returncode == 6, old.stderr
    assert "--put-back is called --restore since version 0.2" in old.stderr
