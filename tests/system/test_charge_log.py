"""The ledger of a running exporter against the simulator's own truth: kills, restarts, resets, what is printed."""

import csv
import io
import json
import os
import random
import re
import signal
import subprocess
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from time import sleep, time
from zoneinfo import ZoneInfo

import pytest
from helpers.charging import Station
from helpers.support import COMMAND, Clock, Process, Start, get, scrape

from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.simulator import Fault, Simulator
from ccl_exporter.simulator.physics import State, Stop

HEAD = ["begin", "end", "kwh", "duration_seconds", "stop_reason", "charger", "plug", "highest_kw"]
COST = ["cost", "currency"]
WORDS = {Stop.USER: "user", Stop.DISCONNECT: "disconnect", Stop.REMOTE: "remote", Stop.TIMER: "timer"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), "charge", "log", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def rows(*arguments: str) -> list[list[str]]:
    """What `charge log --csv` prints, without its head, and without the cost, which needs a tariff."""
    done = run("--csv", *arguments)
    assert done.returncode == 0, done.stderr
    head, *found = csv.reader(io.StringIO(done.stdout, newline=""))
    assert head == [*HEAD, *COST]
    assert all(row[len(HEAD) :] == ["", ""] for row in found)
    return [row[: len(HEAD)] for row in found]


def await_rows(number: int) -> list[list[str]]:
    """The rows, once there are so many; the exporter commits them beside the scrape."""
    began = time()
    while len(found := rows()) < number:
        assert time() < began + 60, f"there are only {found}"
        sleep(0.05)
    return found


def balance(name: str = "") -> list[dict[str, float]]:
    """The sums below the table, by register: kWh of register, sessions, running session, unattributed energy."""
    shown = run().stdout.partition("\n\n")[2].partition("\n\n")[2]
    assert name in shown
    return [
        {kind: float(kwh) for kind, kwh in re.findall(r"^  (\w+) +(-?[\d.]+) kWh", part, flags=re.MULTILINE)}
        for part in re.split(r"^\S.*:$", shown, flags=re.MULTILINE)[1:]
    ]


@dataclass
class Site:
    """A wallbox in a time that the test moves, the exporter that reads it, and the truth about its charges."""

    simulator: Simulator
    clock: Clock
    start: Start
    process: Process | None = None
    url: str = ""

    @property
    def exporter(self) -> Process:
        assert self.process is not None
        return self.process

    def serve(self) -> None:
        self.process = self.start("serve", self.simulator.url, "--web.listen-address", "127.0.0.1:0")
        self.url = self.process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]

    def kill(self) -> None:
        """As `kill -9` does."""
        self.exporter.process.send_signal(signal.SIGKILL)
        assert self.exporter.process.wait() == -signal.SIGKILL
        self.process = None

    def look(self) -> None:
        if self.process is None:
            self.serve()
        assert scrape(self.url).get("ccl_up") == 1

    def truth(self, index: int = 0) -> list[str]:
        """The row of the last charge as the simulator knows it, without the highest power."""
        with self.simulator.site.present():
            place = self.simulator.site.model.places[index]
            charge, plug = place.plug.charge, place.plug
            energy = 0.0 if charge.began is None else (charge.register_at_end or 0) - charge.register_at_begin
            assert charge.ended is not None
            return [
                "" if charge.began is None else shown(charge.began),
                shown(charge.ended),
                f"{energy / 1000:.3f}",
                "" if charge.began is None else str(int(charge.ended - charge.began)),
                WORDS[Stop(charge.stopped)],
                self.simulator.url.removeprefix("http://"),
                plug.name,
            ]


def shown(at: float) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 - only here

    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def site(wallbox: Simulator, clock: Clock, start: Start) -> Site:
    return Site(wallbox, clock, start)


def test_charges_over_kills_at_any_moment_are_those_of_the_charger(site: Site, state: Path) -> None:
    """Before each look the exporter may be killed: while it charges, and between an end and the next scrape.

    Four charges; `CCL_CHARGES` is another number of them (200 take some eight minutes), `CCL_SEED` another course.
    """
    chance = random.Random(int(os.environ.get("CCL_SEED", "6")))
    plug = site.simulator.site.plugs[0]
    site.look()
    truth, highest, kills = [site.truth()], [0.0], 0

    def pass_time(seconds: float) -> None:
        nonlocal kills
        site.clock.at += seconds
        if chance.random() < 0.4 and site.process is not None:
            site.kill()
            kills += 1

    for number in range(int(os.environ.get("CCL_CHARGES", "4"))):
        pass_time(chance.uniform(60, 3600))
        plug.plug_in(need_wh=chance.uniform(500, 9000), most_amperes=chance.choice([10, 16, 32]))
        plug.authorise()
        most = 0.0
        for _ in range(chance.randrange(1, 4)):
            pass_time(chance.uniform(100, 900))
            most = max(most, plug.watts)
            site.look()
        if number % 3:
            plug.stop(Stop.REMOTE if number % 3 == 1 else Stop.USER)
        site.clock.at += 10
        if number % 3 == 0:
            plug.unplug()
        pass_time(chance.uniform(10, 100))
        site.look()
        plug.unplug()
        truth.append(site.truth())
        highest.append(most)
    assert kills > 0
    found = await_rows(len(truth))

    assert [row[:-1] for row in found] == truth
    assert all(
        not row[-1] or float(row[-1]) <= most / 1000 + 0.001 for row, most in zip(found, highest, strict=True)
    )
    assert any(row[-1] for row in found)
    (sums,) = balance()
    assert sums["unattributed"] == 0
    assert sums["sessions"] == sums["register"] == pytest.approx(sum(float(row[2]) for row in truth[1:]))


def test_in_time_that_flows_every_sum_is_right_too(clock: Clock, start: Start) -> None:
    """The values and chargeInfo are of different moments then; the exporter is killed while it charges."""
    with Simulator(autopilot=False, speed=300) as simulator:
        site, plug = Site(simulator, clock, start), simulator.site.plugs[0]
        site.look()
        truth = [site.truth()]
        for number in range(3):
            plug.plug_in(need_wh=9000)
            plug.authorise()
            for look in range(3):
                site.look()
                if look == number:
                    site.kill()
            plug.stop(Stop.REMOTE)
            while plug.state == State.STOPPING:
                sleep(0.01)
            site.look()
            truth.append(site.truth())
            plug.unplug()
        found = await_rows(len(truth))
        (sums,) = balance()

    assert [row[:-1] for row in found] == truth
    assert all(float(row[-1]) > 1 for row in found[1:])
    assert sums["unattributed"] == 0
    assert sums["sessions"] == sums["register"] == pytest.approx(sum(float(row[2]) for row in truth[1:]))


def test_two_charges_while_the_exporter_was_down_show_in_the_sums(site: Site, clock: Clock) -> None:
    plug = site.simulator.site.plugs[0]

    def charge(kwh: float) -> None:
        plug.plug_in(need_wh=kwh * 1000 + 5000)
        plug.authorise()
        while plug.charge_wh < kwh * 1000 or plug.state != 8:
            clock.at += 1
        plug.stop(Stop.REMOTE)
        clock.at += 60
        plug.unplug()
        clock.at += 60

    site.look()
    site.kill()
    charge(0.5)
    charge(0.3)
    site.look()
    assert await_rows(2)[-1][:-1] == site.truth()
    (sums,) = balance()

    assert sums["unattributed"] == pytest.approx(0.5, abs=0.011)
    assert sums["register"] == pytest.approx(sums["sessions"] + sums["unattributed"])


def test_energy_without_a_charge_and_a_charge_under_way_are_distinguished(site: Site) -> None:
    plug, physics = site.simulator.site.plugs[0], site.simulator.site.model.places[0].plug
    site.look()
    with site.simulator.site.acting():
        physics.energy += 50
    site.look()
    plug.plug_in(need_wh=9000)
    plug.authorise()
    site.clock.at += 600
    site.look()
    under_way = plug.charge_wh / 1000
    assert site.exporter.stop() == 0

    assert balance() == [
        {"register": pytest.approx(under_way + 0.05), "sessions": 0, "running": under_way, "unattributed": 0.05}
    ]


@pytest.mark.parametrize("fault", ["zeros", "device-error", "garbled@chargeInfo", "silent"])
def test_what_goes_wrong_while_a_charge_ends_and_the_exporter_starts_again_harms_no_sum(
    site: Site, fault: str
) -> None:
    plug = site.simulator.site.plugs[0]
    site.look()
    plug.plug_in(need_wh=9000)
    plug.authorise()
    site.clock.at += 900
    site.look()
    site.simulator.faults = (Fault.parse(fault),)
    plug.stop(Stop.REMOTE)
    site.clock.at += 60
    scrape(site.url, timeout=2)
    site.kill()
    site.serve()
    scrape(site.url, timeout=2)
    scrape(site.url, timeout=2)
    site.simulator.faults = ()
    site.kill()  # as a gate that began with zeros takes the truth for a jump for a minute
    site.look()
    site.clock.at += 60
    site.look()
    found = await_rows(2)
    (sums,) = balance()

    assert found[1][:-1] == site.truth()
    assert sums == {"register": float(found[1][2]), "sessions": float(found[1][2]), "unattributed": 0}


def test_a_session_is_recorded_although_nothing_scrapes(start: Start, tmp_path: Path) -> None:
    with Simulator(autopilot=False, speed=60) as simulator:
        start(
            *("serve", simulator.url, "--web.listen-address", "127.0.0.1:0"),
            *("--poll.fallback-interval", "200ms"),
        )
        await_rows(1)
        plug = simulator.site.plugs[0]
        plug.plug_in(need_wh=9000)
        plug.authorise()
        while plug.charge_wh < 50:
            sleep(0.01)
        plug.stop(Stop.REMOTE)
        found = await_rows(2)

    assert float(found[1][2]) >= 0.05
    assert found[1][4] == "remote"


def test_a_glitch_at_a_restart_shows_no_register(site: Site, state: Path) -> None:
    """The engine answers zeros, chargeInfo too, when the exporter comes back after a kill."""
    site.look()
    before = scrape(site.url).get("ccl_plug_energy_joules_total", plug="EVSE.PLUG")
    assert before
    await_rows(1)
    site.kill()
    site.simulator.faults = (Fault.parse("zeros"),)
    site.serve()
    glitch = scrape(site.url)
    site.simulator.faults = ()

    assert glitch.get("ccl_plug_energy_joules_total", plug="EVSE.PLUG") is None
    assert scrape(site.url).get("ccl_plug_energy_joules_total", plug="EVSE.PLUG") == before


def test_a_session_that_another_one_replaced_has_no_end(site: Site) -> None:
    plug = site.simulator.site.plugs[0]
    site.look()
    for _ in range(2):
        plug.plug_in(need_wh=9000)
        plug.authorise()
        site.clock.at += 900
        site.look()
        site.clock.at += 60
        plug.stop(Stop.REMOTE)
        site.clock.at += 60
        plug.unplug()
        site.clock.at += 60
    site.look()
    await_rows(3)
    found = json.loads(run("--json").stdout)
    keys = [
        *("charger", "plug", "requested", "begin", "end", "energy_kwh", "duration_seconds", "stop_reason"),
        *("highest_power_kw", "cost", "currency"),
    ]
    sessions = sorted(found["sessions"], key=itemgetter("begin"))
    ended = [session["end"] for session in sessions]
    (register,) = found["registers"]

    assert all(list(session) == keys for session in sessions)
    assert [end is None for end in ended] == [False, True, False]
    assert sessions[1]["duration_seconds"] is None
    assert sessions[2]["end"] == site.truth()[1]
    assert register["unattributed_kwh"] == 0
    assert register["sessions_kwh"] == register["energy_kwh"]
    assert run("--json", "--csv").returncode == 2


def test_dates_are_local_on_a_terminal(site: Site) -> None:
    site.look()
    await_rows(1)
    primary, secondary = os.openpty()
    with subprocess.Popen(
        [str(COMMAND), "charge", "log"], stdout=secondary, env={**os.environ, "TZ": "Asia/Kolkata"}
    ) as process:
        assert process.wait(timeout=60) == 0
    os.close(secondary)
    shown_there = os.read(primary, 100_000).decode()
    os.close(primary)

    assert "+05:30" in shown_there
    assert "+05:30" not in run().stdout
    at = datetime.fromisoformat(site.truth()[1]).astimezone(ZoneInfo("Asia/Kolkata"))
    assert at.isoformat(timespec="seconds") in shown_there


def test_what_a_real_charger_says_is_a_request_without_a_charge(
    clock: Clock, start: Start, recordings: Path
) -> None:
    with Simulator(recordings=recordings) as simulator:
        Site(simulator, clock, start).look()
        (row,) = await_rows(1)

    host = simulator.url.removeprefix("http://")
    assert row == ["", "2021-10-05T16:50:29Z", "0.000", "", "remote", host, "EVSE.PLUG", ""]
    assert balance() == []  # nothing flowed


def test_both_plugs_of_a_post_are_in_the_log(clock: Clock, start: Start) -> None:
    with Simulator("twin", autopilot=False, clock=clock) as simulator:
        site = Site(simulator, clock, start)
        site.look()
        truth = [site.truth(0), site.truth(1)]
        for index, plug in enumerate(simulator.site.plugs):
            plug.plug_in(need_wh=20_000)
            plug.authorise()
            clock.at += 300
            site.look()
            plug.stop(Stop.REMOTE)
            clock.at += 60
            site.look()
            truth.append(site.truth(index))
        found = await_rows(4)

    assert sorted(row[:-1] for row in found) == sorted(truth)
    assert [bool(row[-1]) for row in found] == [False, False, True, True]
    assert [sums["unattributed"] for sums in balance()] == [0, 0]


def test_the_page_and_probes_record_charges_too(site: Site, tmp_path: Path) -> None:
    (tmp_path / "ccl.yaml").write_text(f"chargers: {{garage: {{url: '{site.simulator.url}'}}}}\n")
    process = site.start(
        "serve", "--config.file", str(tmp_path / "ccl.yaml"), "--web.listen-address", "127.0.0.1:0"
    )
    url = process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]
    get(f"{url}/")
    assert await_rows(1)[0][5] == "garage"
    plug = site.simulator.site.plugs[0]
    plug.plug_in()
    plug.authorise()
    site.clock.at += 300
    plug.stop(Stop.REMOTE)
    site.clock.at += 60
    scrape(f"{url}/probe?target=garage&module=core")

    assert await_rows(2)[1][5] == "garage"


def test_the_log_is_chosen_by_charger_and_by_the_date_of_the_end(site: Site) -> None:
    site.look()
    await_rows(1)
    first = site.truth()
    host = site.simulator.url.removeprefix("http://")
    day = first[1][:10]

    assert [row[:-1] for row in rows("-c", host)] == [first]
    assert [row[:-1] for row in rows("-c", site.simulator.url)] == [first]
    assert rows("-c", "elsewhere") == []
    assert f"there are those of {host}" in run("-c", "elsewhere").stdout
    assert len(rows("--since", day, "--until", day)) == 1
    assert len(rows("--since", first[1])) == 1
    assert rows("--until", first[1]) == []
    assert rows("--since", "2100-01-01") == []
    for wrong in ("yesterday", "2026-13-01"):
        done = run("--since", wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is no date" in done.stderr


def test_a_charger_is_found_by_its_url_in_the_log_or_in_the_configuration(state: Path, tmp_path: Path) -> None:
    recorder = SessionRecorder(state / "charges.db")
    for name, url, joules in (("garage", "http://192.0.2.10", 3600), ("car-park", "http://192.0.2.17", 0)):
        station = Station()
        recorder.identify(name, url, [name])
        recorder.note(name, station.read())
        station.charge(7000, joules)
        recorder.note(name, station.read())
    recorder.close()
    config = tmp_path / "ccl.yaml"
    config.write_text("chargers: {garage: {url: 'http://192.0.2.11'}}\n")

    for flags in (["garage"], ["http://192.0.2.10/"], ["192.0.2.11:80", "--config.file", str(config)]):
        assert [row[5] for row in rows("-c", *flags)] == ["garage"]
    assert rows("-c", "192.0.2.11") == []
    assert len(balance("garage")) == 1, "car-park has got nothing"


def test_an_empty_log_is_an_answer(state: Path) -> None:
    done = run()

    assert (done.returncode, done.stderr) == (0, "")
    assert str(state / "charges.db") in done.stdout
    assert rows() == []
    assert not state.exists()


def test_a_file_that_is_no_ledger_is_named(state: Path) -> None:
    state.mkdir(parents=True)
    (state / "charges.db").write_bytes(b"rubbish" * 1000)
    done = run("--csv")

    assert (done.returncode, done.stdout) == (1, "")
    assert str(state / "charges.db") in done.stderr


def test_the_log_of_another_user_is_an_error_in_a_sentence(state: Path) -> None:
    state.mkdir(parents=True, mode=0)
    # Root reads whatever it wants, unless it gives that up.
    within = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    done = subprocess.run([*within, str(COMMAND), "charge", "log"], capture_output=True, text=True, check=False)
    state.chmod(0o700)

    assert (done.returncode, done.stdout) == (1, "")
    assert f"{state / 'charges.db'} cannot be read: Permission denied" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_serve_goes_on_where_the_session_log_is_damaged_or_cannot_be_made(site: Site, state: Path) -> None:
    state.mkdir(parents=True)
    (state / "charges.db").write_bytes(b"rubbish" * 1000)
    site.look()
    assert len(await_rows(1)) == 1
    assert "is damaged" in site.exporter.wait_for_log("session log")
    site.exporter.stop()
    for part in state.glob("charges.db*"):
        part.unlink()
    (state / "charges.db").mkdir()
    site.process = None
    site.look()
    site.exporter.wait_for_log("sessions are not recorded")


def test_the_demo_records_no_charges(start: Start, state: Path) -> None:
    process = start("demo", "--speed", "1000", "--web.listen-address", "127.0.0.1:0")
    scrape(process.line(r"http://127\.0\.0\.1:\d+/metrics")[0])

    assert process.stop() == 0
    assert not (state / "charges.db").exists()


def test_csv_is_quoted_as_rfc_4180_says(state: Path) -> None:
    ledger = SessionRecorder(state / "charges.db")
    station = Station()
    ledger.note('a "quoted",\nname', station.read())
    station.charge(7000, 3600)
    ledger.note('a "quoted",\nname', station.read())
    ledger.close()
    done = subprocess.run([str(COMMAND), "charge", "log", "--csv"], capture_output=True, timeout=60, check=True)

    assert done.stdout == (
        b"begin,end,kwh,duration_seconds,stop_reason,charger,plug,highest_kw,cost,currency\r\n"
        b'2026-09-21T14:13:26Z,2026-09-21T15:13:26Z,7.000,3600,disconnect,"a ""quoted"",\nname",EVSE.PLUG,,,\r\n'
    )
    assert "\nname" not in run().stdout
