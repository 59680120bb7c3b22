"""The commands that write, by the real command: what each says, its exit code, and what the charger holds then."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep

import pytest
from helpers.support import COMMAND, Clock, Start, get, scrape, server

from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.state import JOURNAL, ControlState
from ccl_exporter.control.write import Writer
from ccl_exporter.locks import ChargerLock
from ccl_exporter.simulator import Dialect, Fault, Simulator, State
from ccl_exporter.simulator.answers import document, node

SPEED = 20.0
"""So that a write shows in a quarter of a second."""
MODE3 = "Plug - Mode 3"
REDUCTION = f"{MODE3}.PREDUCTION"
FORCE = "forceVariables"


@pytest.fixture
def wallbox() -> Iterator[Simulator]:
    """A wallbox at speed on which nothing happens by itself."""
    with Simulator(autopilot=False, speed=SPEED) as simulator:
        yield simulator


def ccl(charger: Simulator | str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a command; its exit code and all that it said."""
    url = charger if isinstance(charger, str) else charger.url
    ran = subprocess.run(
        [str(COMMAND), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "CCL_CHARGER": url, **environment},
    )
    return ran.returncode, ran.stdout


def holds(charger: Simulator, name: str) -> object:
    """What the engine holds of a variable of the Mode 3 device or the plug."""
    with charger.site.present() as now:
        device = next(one for one in charger.site.devices() if name.startswith(f"{one.name}."))
        return device.values(now)[name.removeprefix(f"{device.name}.")]


def writes(charger: Simulator) -> int:
    return sum(request.method == "PUT" for request in charger.requests)


def journal(state: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (state / JOURNAL).read_text().splitlines()]


def until(charger: Simulator, state: State) -> None:
    while charger.site.plugs[0].state is not state:
        sleep(0.01)


class TestStateFolder:
    @pytest.mark.parametrize(
        "command",
        [
            ["set", REDUCTION, "10"],
            ["charge", "start"],
            ["charge", "limit", "10A"],
            ["charge", "follow", "--stdin"],
        ],
        ids=" ".join,
    )
    def test_a_folder_that_cannot_be_written_has_one_exit_code(
        self, wallbox: Simulator, tmp_path: Path, command: list[str]
    ) -> None:
        (tmp_path / "state").write_text("no folder")
        code, said = ccl(wallbox, *command, STATE_DIRECTORY=str(tmp_path / "state"))

        assert (code, writes(wallbox)) == (1, 0)
        assert "cannot be written" in said
        assert "set STATE_DIRECTORY" in said


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            ([f"{MODE3}.PREDUCTON", "50"], 2, f"no variable '{MODE3}.PREDUCTON'; did you mean '{REDUCTION}'"),
            (["Plug - Mode 4.PREDUCTION", "50"], 2, "no device for 'Plug - Mode 4.PREDUCTION'; it has 'CCL1Mini'"),
            (["EVSE.PLUG.AE", "5"], 4, "EVSE.PLUG.AE cannot be written: the charger says it is read-only"),
            ([REDUCTION, "101"], 4, f"101 is out of the range of {REDUCTION}, which is 0..100"),
            ([REDUCTION, "-1"], 4, "-1 is out of the range"),
            (["EVSE.PLUG.CREDITS", "5"], 4, "the range of EVSE.PLUG.CREDITS is not known; --force"),
            (["EVSE.PLUG.CURRENT_REDUCTION", "33", "--force"], 4, "33 is more than EVSE.PLUG is rated for: 32 A"),
            ([f"{MODE3}.INTENSITY", "40", "--force"], 4, "40 is more than EVSE.PLUG is rated for: 32 A"),
            (["EVSE.PLUG.CURRENT_REDUCTION", "16", "--force", "--dry-run"], 0, "would write"),
            (["Display.TEXT", "5", "--force"], 4, "Display.TEXT holds a text, and only numbers can be written"),
            ([REDUCTION, "50", "EVSE.PLUG.ENABLE", "0"], 2, "of several devices"),
            (["EVSE.PLUG.RESERVE", "1234", "--force", "--dry-run"], 0, "would write EVSE.PLUG.RESERVE: (hidden)"),
        ],
    )
    def test_what_makes_no_sense_for_this_charger_is_said_and_not_written(
        self, wallbox: Simulator, arguments: list[str], code: int, says: str
    ) -> None:
        ended, said = ccl(wallbox, "set", *arguments)

        assert says in said
        assert ended == code
        assert writes(wallbox) == 0

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ([REDUCTION, "nan"], f"'nan' is no value for {REDUCTION}: only numbers can be written"),
            ([REDUCTION, "half"], "'half' is no value"),
            ([REDUCTION, "1e999"], "'1e999' is no value"),
            ([REDUCTION], f"'{REDUCTION}' has no value: give VARIABLE VALUE"),
            ([REDUCTION, "1", REDUCTION, "2"], "is given twice"),
            ([REDUCTION, "1", "--dry-rnu", "--jsno"], "no such option: --dry-rnu"),
            (
                [REDUCTION, "1", "--for", "2 days"],
                "'2 days' is not a duration; it looks like 200ms, 10s, 1m, 1h or 30d",
            ),
            ([REDUCTION, "1", "--for", "0s"], "0s is too short: give at least 1s"),
        ],
    )
    def test_what_makes_no_sense_at_all_asks_no_charger(
        self, wallbox: Simulator, arguments: list[str], says: str
    ) -> None:
        ended, said = ccl(wallbox, "set", *arguments)

        assert says in said
        assert (ended, wallbox.requests) == (2, [])

    @pytest.mark.parametrize(
        ("fault", "code", "says", "after"),
        [
            ("ignore-writes", 5, f"the charger accepted the write, but {REDUCTION} reads 0", 0.0),
            (f"status-401@{FORCE}", 4, "login", 0.0),
            (f"status-403@{FORCE}", 4, "the charger does not allow this", 0.0),
            (f"not-granted@{FORCE}", 4, "the charger does not allow this", 0.0),
            (f"close@{FORCE}", 5, f"the write was sent, but no answer came: .*, but {REDUCTION} reads 0", 0.0),
            (f"lost-answer@{FORCE}", 0, f"{REDUCTION}: 0 -> 50", 50.0),
            (f"status-500@{FORCE}", 0, f"{REDUCTION}: 0 -> 50", 50.0),
            (f"status-404@{FORCE}", 1, "the engine cannot be written to: it answers 404", 0.0),
        ],
    )
    def test_a_charger_that_does_not_play_along(
        self, wallbox: Simulator, state: Path, fault: str, code: int, says: str, after: float
    ) -> None:
        wallbox.faults = (Fault.parse(fault),)
        ended, said = ccl(wallbox, "set", REDUCTION, "50", "--wait", "2")
        (line,) = journal(state)

        assert all(part in said for part in says.split(".*"))
        assert said.count("\n") == 1
        assert ended == code
        assert holds(wallbox, REDUCTION) == after
        assert line["result"] == {0: "done", 5: "not_taken"}.get(code, line["result"])
        assert (line["before"], line["wanted"], line["command"]) == ([0.0], [50.0], "set")
        assert line["after"] == [after if code in (0, 5) else None]

    def test_a_write_that_was_refused_can_be_tried_again_at_once(self, wallbox: Simulator) -> None:
        wallbox.faults = (Fault("status-401", FORCE, times=1),)

        assert ccl(wallbox, "set", REDUCTION, "50")[0] == 4
        assert ccl(wallbox, "set", REDUCTION, "50")[0] == 0

    def test_a_wrong_password_is_reported_without_writing(self) -> None:
        locked = Dialect.parse(["digest", "auth-writes-only"])
        with Simulator(
            dialect=locked,
            autopilot=False,
            speed=SPEED,
            username="me",
            password="right",  # noqa: S106 - of a simulated charger
        ) as simulator:
            refused = ccl(simulator, "set", REDUCTION, "50", CCL_USERNAME="me", CCL_PASSWORD="wrong")  # noqa: S106 - likewise
            assert holds(simulator, REDUCTION) == 0
            taken = ccl(simulator, "set", REDUCTION, "50", CCL_USERNAME="me", CCL_PASSWORD="right")  # noqa: S106 - likewise

            assert refused[0] == 4
            assert "wrong" not in refused[1].replace("wrong?", "")
            assert taken[0] == 0
            assert holds(simulator, REDUCTION) == 50

    def test_a_charger_that_dies_while_it_is_written_to_leaves_no_doubt_unreported(
        self, wallbox: Simulator, state: Path
    ) -> None:
        """The request arrives, and then there is no charger any more."""
        wallbox.faults = (Fault("silent", FORCE),)

        def die() -> None:
            while writes(wallbox) == 0:
                sleep(0.01)
            wallbox.stop()

        dying = threading.Thread(target=die)
        dying.start()
        ended, said = ccl(wallbox, "set", REDUCTION, "50", "--wait", "1")
        dying.join()
        (line,) = journal(state)

        assert "the write was sent, but no answer came" in said
        assert "what came of it cannot be read: no connection" in said
        assert ended == 3
        assert str(line["result"]).startswith("failed: the write was sent")
        assert line["after"] == [None]

    def test_an_engine_without_forced_variables_and_no_charger_at_all(self) -> None:
        with Simulator(dialect=Dialect.parse(["no-varinfo"]), autopilot=False) as simulator:
            ended, said = ccl(simulator, "set", REDUCTION, "50")
            assert (ended, writes(simulator)) == (4, 0)
            assert "does not say whether" in said
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            ended, said = ccl(f"http://127.0.0.1:{closed.getsockname()[1]}", "charge", "stop")
        assert ended == 3
        assert "no connection" in said


class TestLocks:
    def test_the_lock_of_an_exporter_that_is_in_the_middle_of_a_request(
        self, wallbox: Simulator, state: Path
    ) -> None:
        lock = ChargerLock(state, wallbox.url)
        with lock.turn(monotonic() + 5):
            ended, said = ccl(wallbox, "set", REDUCTION, "50", "--timeout", "0.5")
        lock.close()

        assert (ended, wallbox.requests) == (3, [])
        assert "another command was reading the charger all the time" in said

    def test_another_command_that_is_writing(self, wallbox: Simulator, state: Path) -> None:
        control_state = ControlState(state, wallbox.url)
        with closing(WritableTransport(wallbox.url)) as control:
            Writer(control, control_state, 5.0, "test").identify()
        with control_state.exclusive(monotonic() + 5):
            ended, said = ccl(wallbox, "charge", "limit", "16A", "--for", "1h", "--timeout", "0.5")

        assert (ended, writes(wallbox)) == (3, 0)
        assert said.splitlines() == ["ccl-exporter: another command was writing to the charger all the time"]


class TestPace:
    def test_a_variable_is_written_once_a_minute_unless_it_is_so_already(self, wallbox: Simulator) -> None:
        assert ccl(wallbox, "set", REDUCTION, "50")[0] == 0
        refused, said = ccl(wallbox, "set", REDUCTION, "40")
        already, _ = ccl(wallbox, "set", REDUCTION, "50")
        dry, planned = ccl(wallbox, "set", REDUCTION, "40", "--min-interval", "0", "--dry-run")
        assert (refused, already, dry, writes(wallbox)) == (4, 6, 0, 1)
        assert "was written" in said
        assert "--min-interval 0" in said
        assert planned == f"would write {REDUCTION}: 50 -> 40\n"
        forced, said = ccl(wallbox, "set", REDUCTION, "40", "--min-interval", "0", "--json")
        report = json.loads(said)

        assert (forced, writes(wallbox), holds(wallbox, REDUCTION)) == (0, 2, 40)
        assert report["outcome"] == "done"
        assert report["written"] == [{"variable": REDUCTION, "before": 50.0, "wanted": 40.0, "after": 40.0}]

    def test_several_variables_are_one_write(self, wallbox: Simulator) -> None:
        ended, said = ccl(wallbox, "set", REDUCTION, "50", f"{MODE3}.OUT_OF_SERVICE", "1")

        assert ended == 0
        assert said == f"{REDUCTION}: 0 -> 50, {MODE3}.OUT_OF_SERVICE: 0 -> 1\n"
        assert writes(wallbox) == 1


@contextmanager
def limited(start: Start, charger: Simulator) -> Iterator[int]:
    """A command that halves the current for an hour, by its process."""
    running = start("charge", "limit", "50%", "--for", "1h", "-c", charger.url)
    assert running.line("may take 16.00 A")
    assert holds(charger, REDUCTION) == 50
    yield running.process.pid
    assert running.process.wait(timeout=60) == (0 if holds(charger, REDUCTION) == 0 else -signal.SIGKILL)


class TestForAWhile:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_it_is_restored_whoever_ends_it(
        self, wallbox: Simulator, start: Start, number: signal.Signals
    ) -> None:
        with limited(start, wallbox) as process:
            os.kill(process, number)
        assert holds(wallbox, REDUCTION) == 0

    def test_it_outlives_the_terminal_where_nohup_says_so(self, wallbox: Simulator, start: Start) -> None:
        running = start("charge", "limit", "50%", "--for", "3s", "-c", wallbox.url, within=["nohup"])
        running.line("may take 16.00 A")
        began = monotonic()
        running.process.send_signal(signal.SIGHUP)

        assert running.process.wait(timeout=60) == 0
        assert monotonic() - began > 2

    def test_it_is_put_back_in_time(self, wallbox: Simulator, state: Path) -> None:
        ended, said = ccl(wallbox, "charge", "limit", "50%", "--for", "1s")

        assert ended == 0
        assert said.endswith(f"{REDUCTION} is what it was before: 0\n")
        assert holds(wallbox, REDUCTION) == 0
        assert [line["command"] for line in journal(state)] == ["charge limit", "charge limit, restore"]

    def test_it_lasts_though_the_output_is_not_read(self, wallbox: Simulator, state: Path) -> None:
        read, write = os.pipe()
        os.close(read)
        limit = [str(COMMAND), "charge", "limit", "50%", "--for", "2s", "-c", wallbox.url]
        ended = subprocess.run(limit, stdout=write, check=False).returncode
        os.close(write)
        began, back = (datetime.fromisoformat(str(line["time"])) for line in journal(state))

        assert ended == 0
        assert back - began >= timedelta(seconds=2)

    def test_the_way_back_is_on_disk_before_the_write_is_sent(self, wallbox: Simulator, tmp_path: Path) -> None:
        """Its name too, which a power cut would take back until the folder is on disk."""
        trace = tmp_path / "trace"
        traced = [server("strace"), "-f", "-qq", "-y", "-e", "trace=fsync,/^rename,sendto", "-o", str(trace)]
        limit = [str(COMMAND), "charge", "limit", "50%", "--for", "1s", "-c", wallbox.url]
        subprocess.run([*traced, *limit], check=True, capture_output=True, timeout=120)
        # Threads of the command make calls of their own meanwhile.
        calls = [line.split(maxsplit=1) for line in trace.read_text().splitlines()]
        sent = next(at for at, (_, call) in enumerate(calls) if '"PUT ' in call)
        before = "\n".join(call for thread, call in calls[:sent] if thread == calls[sent][0])

        content, name = r"fsync\(\d+<.*/back-.*", r"rename\w*\(.*/back-.*"
        folder = r"fsync\(\d+<.*/writes/\w+>\) = 0"
        assert re.search(rf"{content}\n{name}\n{folder}\n", before)

    def test_after_a_kill_the_next_command_puts_it_back_and_says_so(
        self, wallbox: Simulator, start: Start
    ) -> None:
        """It is not kept from its own work by that, and a status changes nothing."""
        with limited(start, wallbox) as process:
            os.kill(process, signal.SIGKILL)
        assert ccl(wallbox, "charge", "status")[0] == 0
        assert holds(wallbox, REDUCTION) == 50
        wallbox.faults = (Fault("device-error", arg=MODE3),)
        kept, said = ccl(wallbox, "charge", "stop")
        assert "could not be restored, the next command tries again" in said
        assert (kept, holds(wallbox, REDUCTION)) == (6, 50)
        wallbox.faults = ()
        ended, said = ccl(wallbox, "charge", "limit", "8A", "--min-interval", "0")
        again = ccl(wallbox, "charge", "enable")[1]

        assert "a command was ended before it could restore what it had changed for a while" in said
        assert f"{REDUCTION} is what it was before: 0" in said
        assert (ended, holds(wallbox, REDUCTION)) == (0, 75)
        assert "restore" not in again

    def test_what_another_program_changed_meanwhile_stays(self, wallbox: Simulator, start: Start) -> None:
        running = start("charge", "limit", "50%", "--for", "1h", "-c", wallbox.url)
        assert running.line("may take 16.00 A")
        wallbox.site.force(MODE3, [(REDUCTION, 30.0)], 0.0)
        code = running.stop()

        assert (code, holds(wallbox, REDUCTION)) == (0, 30)
        assert any("was changed by something else meanwhile" in line for line in running.log)

    @pytest.mark.parametrize("other", [("25%", "--for", "1h"), ("50%",), ("50%", "--for", "1h")])
    def test_what_a_running_command_restores_is_not_changed_by_one_that_would_lose_it(
        self, other: tuple[str, ...], wallbox: Simulator, start: Start
    ) -> None:
        running = start("charge", "limit", "50%", "--for", "1h", "-c", wallbox.url)
        assert running.line("may take 16.00 A")
        code, said = ccl(wallbox, "charge", "limit", *other, "--min-interval", "0")
        planned, _ = ccl(wallbox, "charge", "limit", *other, "--min-interval", "0", "--dry-run")

        assert (code, planned, holds(wallbox, REDUCTION)) == (4, 4, 50)
        assert f"a command that still runs has changed {REDUCTION} for a while" in said
        code, said = ccl(wallbox, "set", REDUCTION, "50", f"{MODE3}.OUT_OF_SERVICE", "1")
        assert (code, holds(wallbox, f"{MODE3}.OUT_OF_SERVICE")) == (4, 0), said
        assert (running.stop(), holds(wallbox, REDUCTION)) == (0, 0)

    def test_what_was_not_changed_meanwhile_is_restored_beside_what_was(
        self, wallbox: Simulator, start: Start
    ) -> None:
        service = f"{MODE3}.OUT_OF_SERVICE"
        running = start("set", REDUCTION, "50", service, "1", "--for", "1h", "-c", wallbox.url)
        assert running.line(f"{service}: 0 -> 1")
        wallbox.site.force(MODE3, [(REDUCTION, 30.0)], 0.0)
        code = running.stop()

        assert (code, holds(wallbox, REDUCTION), holds(wallbox, service)) == (0, 30, 0)
        assert (
            f"ccl-exporter: {REDUCTION} was changed by something else meanwhile and is left as it is\n"
            in running.log
        )
        assert f"ccl-exporter: {service} is what it was before: 0\n" in running.log

    def test_a_write_that_acts_after_it_was_given_up_does_not_last(self, state: Path) -> None:
        hour = 3600.0
        at = Clock(1_790_000_000.0)
        with Simulator(autopilot=False, clock=at, faults=(Fault("late-writes", seconds=hour),)) as wallbox:
            given_up, said = ccl(wallbox, "charge", "limit", "50%", "--for", "1h", "--wait", "1")
            at.at += hour

            assert (given_up, holds(wallbox, REDUCTION)) == (5, 0)
        assert "the charger accepted the write, but" in said


def around(hours: float) -> str:
    """A window of two hours that begins so many hours after now, UTC."""
    begin = datetime.now(UTC) + timedelta(hours=hours)
    return f"{begin:%H:%M}-{begin + timedelta(hours=2):%H:%M}"


class TestCharging:
    def test_a_plug_that_was_disabled_is_enabled_and_started(self, wallbox: Simulator) -> None:
        assert ccl(wallbox, "charge", "disable")[0] == 0
        assert ccl(wallbox, "charge", "disable")[0] == 6
        assert '"enabled": false' in ccl(wallbox, "charge", "status", "--json")[1]
        ended, said = ccl(wallbox, "charge", "start", "--min-interval", "0")
        assert (ended, "no vehicle is connected; it is in service now" in said) == (7, True)
        wallbox.site.plugs[0].plug_in()
        ended, said = ccl(wallbox, "charge", "start")
        assert (ended, "EVSE.PLUG: charging" in said) == (0, True)
        assert ccl(wallbox, "charge", "start")[0] == 6
        ended, said = ccl(wallbox, "charge", "stop")
        assert ended == 0
        assert "the session has ended and the vehicle is still connected (remote)" in said

    def test_amperes_that_do_not_follow_are_reported(self, wallbox: Simulator) -> None:
        """The meter shows what flows, whatever PREDUCTION says."""
        plug = wallbox.site.plugs[0]
        plug.plug_in(need_wh=100_000)
        plug.authorise()
        until(wallbox, State.CHARGING)
        for meter in ("EVSE.PLUG.AI", "Plug - Meter.AI"):
            wallbox.site.set_value(meter, 31.0)
        ended, said = ccl(wallbox, "charge", "limit", "16A", "--wait", "2")
        again, _ = ccl(wallbox, "charge", "limit", "16A", "--wait", "1")

        assert ended == again == 5
        assert "PREDUCTION reads 50, but 31.0 A flow and 16.00 A are allowed" in said

    def test_the_cheap_hours_of_the_tariff_are_hours_like_any_other(
        self, wallbox: Simulator, tmp_path: Path
    ) -> None:
        config = tmp_path / "ccl.yaml"
        start = ("charge", "start", "--between", "tariff", "--config.file", str(config))
        disable = ("charge", "disable", "--outside", "tariff", "--config.file", str(config))

        def cheap(hours: float) -> None:
            begin, end = around(hours).split("-")
            window = f'{{from: "{begin}", to: "{end}", price: 0.1}}'
            config.write_text(
                f"tariff: {{timezone: UTC, currency: GBP, price: 0.3, windows: [{window}]}}\n", encoding="utf-8"
            )

        cheap(6)
        outside = ccl(wallbox, *start)
        assert (outside[0], "is outside the cheap hours of the tariff" in outside[1]) == (6, True)
        cheap(-1)
        within = ccl(wallbox, *disable)
        assert (within[0], "is within the cheap hours of the tariff" in within[1]) == (6, True)
        wallbox.site.plugs[0].plug_in()
        assert ccl(wallbox, *start)[0] == 0
        cheap(6)
        assert ccl(wallbox, *disable)[0] == 0

    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            ((), "a configuration file whose `tariff` section has windows"),
            (("--config.file", "flat.yaml"), "a configuration file whose `tariff` section has windows"),
            (("--config.file", "cheap.yaml", "--timezone", "UTC"), "leave out --timezone"),
        ],
    )
    def test_cheap_hours_that_are_not_known_are_refused(
        self, tmp_path: Path, flags: tuple[str, ...], says: str
    ) -> None:
        tariff = "tariff: {timezone: UTC, currency: GBP, price: 0.3%s}\n"
        (tmp_path / "flat.yaml").write_text(tariff % "")
        (tmp_path / "cheap.yaml").write_text(tariff % ', windows: [{from: "00:30", to: "04:30", price: 0.1}]')
        flags = tuple(str(tmp_path / flag) if flag.endswith(".yaml") else flag for flag in flags)
        ended, said = ccl("http://192.0.2.10", "charge", "start", "--between", "tariff", *flags)

        assert (ended, says in said) == (2, True)

    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            (("--for", "2h"), "--for and --need belong to --now"),
            (("--need", "10kWh"), "--for and --need belong to --now"),
            (("--now", "--need", "10"), "'10' is not an energy; it looks like 10kWh"),
            (("--now", "--need", "0kWh"), "'0kWh' is not an energy"),
            (("--now", "--for", "long"), "'long' is not a duration"),
        ],
    )
    def test_a_boost_that_makes_no_sense_is_refused(self, flags: tuple[str, ...], says: str) -> None:
        ended, said = ccl("http://192.0.2.10", "charge", "start", *flags)

        assert (ended, says in said) == (2, True), said

    @pytest.mark.parametrize("dialect", ["full", "no-charge-info"])
    def test_a_charge_that_was_begun_now_outlives_the_night_until_the_car_leaves(self, dialect: str) -> None:
        day, night = around(6), around(-1)
        with Simulator(dialect=Dialect.parse([dialect]), autopilot=False, speed=SPEED) as wallbox:
            plug = wallbox.site.plugs[0]
            plug.plug_in(need_wh=100_000)
            outside = ccl(wallbox, "charge", "start", "--between", day, "--timezone", "UTC")
            assert (outside[0], wallbox.requests) == (6, [])
            assert "is outside" in outside[1]
            assert ccl(wallbox, "charge", "start", "--now", "--between", day, "--timezone", "UTC")[0] == 0
            nightly = ("charge", "disable", "--nightly", "--timezone", "UTC", "--outside")
            within = ccl(wallbox, *nightly, night)
            alone = ccl(wallbox, *nightly, day)
            assert (within[0], alone[0], plug.state) == (6, 6, State.CHARGING)
            assert "left alone until the car leaves" in alone[1]
            plug.unplug()

            assert ccl(wallbox, *nightly, day)[0] == 0
            assert holds(wallbox, f"{MODE3}.OUT_OF_SERVICE") == 1

    def test_the_night_says_when_a_boost_ends(self, wallbox: Simulator) -> None:
        wallbox.site.plugs[0].plug_in(need_wh=100_000)
        ccl(wallbox, "charge", "start", "--now", "--for", "2h", "--need", "20kWh")
        ended, said = ccl(wallbox, "charge", "disable", "--nightly")

        assert ended == 6
        assert re.search(
            r"left alone until 20\S+ or until this session has 20\.\d\d kWh, as `start --now` says", said
        )

    @pytest.mark.parametrize("dialect", ["full", "no-charge-info"])
    def test_a_stop_ends_a_boost(self, dialect: str) -> None:
        with Simulator(dialect=Dialect.parse([dialect]), autopilot=False, speed=SPEED) as wallbox:
            wallbox.site.plugs[0].plug_in(need_wh=100_000)
            nightly = ("charge", "disable", "--nightly", "--timezone", "UTC", "--outside", around(6))
            begun = ccl(wallbox, "charge", "start", "--now")
            planned = ccl(wallbox, "charge", "stop", "--dry-run")
            alone = ccl(wallbox, *nightly)
            stopped = ccl(wallbox, "charge", "stop")

            assert [each[0] for each in (begun, planned, alone, stopped)] == [0, 0, 6, 0]
            assert ccl(wallbox, *nightly)[0] == 0

    def test_a_boost_of_a_car_that_charges_already_is_something_done(self, wallbox: Simulator) -> None:
        wallbox.site.plugs[0].plug_in(need_wh=100_000)
        first = ccl(wallbox, "charge", "start")
        again = ccl(wallbox, "charge", "start")
        boost = ("charge", "start", "--now", "--for", "1m")
        planned, would = ccl(wallbox, *boost, "--dry-run")
        ended, said = ccl(wallbox, *boost)

        assert (first[0], again[0], planned, ended) == (0, 6, 0, 0)
        assert would.endswith("; it would go on for 1m\n")
        assert said.endswith("; it goes on for 1m\n")

    def test_a_charge_that_has_ended_in_these_hours_is_not_begun_again_in_them(self, wallbox: Simulator) -> None:
        start = ("charge", "start", "--between", around(-1), "--timezone", "UTC", "--min-interval", "0")
        plug = wallbox.site.plugs[0]
        plug.plug_in(need_wh=100_000)
        assert ccl(wallbox, *start)[0] == 0
        plug.authorise()
        until(wallbox, State.WAITING_FOR_DISCONNECTION)
        ended, said = ccl(wallbox, *start)
        assert ended == 6
        assert "nothing to do in these hours any more: EVSE.PLUG: not charging: the session has ended" in said
        assert "still connected (user)" in said
        plug.unplug()
        plug.plug_in(need_wh=100_000)

        assert ccl(wallbox, *start)[0] == 0

    def test_a_charge_that_was_under_way_already_and_has_ended_in_these_hours_is_not_begun_again_either(
        self, wallbox: Simulator
    ) -> None:
        start = ("charge", "start", "--between", around(-1), "--timezone", "UTC", "--min-interval", "0")
        plug = wallbox.site.plugs[0]
        plug.plug_in(need_wh=100_000)
        plug.authorise()
        until(wallbox, State.CHARGING)
        assert ccl(wallbox, *start)[0] == 6
        plug.authorise()
        until(wallbox, State.WAITING_FOR_DISCONNECTION)
        ended, said = ccl(wallbox, *start)

        assert "nothing to do in these hours any more" in said
        assert (ended, writes(wallbox)) == (6, 0)

    def test_a_car_that_is_full_before_these_hours_gets_one_start_in_them(self, wallbox: Simulator) -> None:
        start = ("charge", "start", "--between", around(-1), "--timezone", "UTC", "--min-interval", "0")
        plug = wallbox.site.plugs[0]
        plug.plug_in(need_wh=100_000)
        with wallbox.site.present():
            vehicle = wallbox.site.model.places[0].plug.vehicle
            assert vehicle is not None
            vehicle.taken = vehicle.need
        assert ccl(wallbox, "charge", "disable")[0] == 0
        first = ccl(wallbox, *start, "--wait", "1")
        written = writes(wallbox)
        second = ccl(wallbox, *start, "--wait", "1")
        plug.unplug()
        plug.plug_in(need_wh=100_000)

        assert first[0] == 5
        assert "the start was accepted, but EVSE.PLUG: not charging: the session has ended" in first[1]
        assert second[0] == 6
        assert "nothing to do in these hours any more: EVSE.PLUG: not charging: the session has ended" in second[1]
        assert writes(wallbox) == written
        assert ccl(wallbox, *start)[0] == 0

    def test_a_start_that_a_charger_ignored_is_tried_again_in_these_hours(self, wallbox: Simulator) -> None:
        start = ("charge", "start", "--between", around(-1), "--timezone", "UTC", "--min-interval", "0")
        plug = wallbox.site.plugs[0]
        plug.plug_in(need_wh=100_000)
        plug.authorise()
        until(wallbox, State.CHARGING)
        plug.authorise()
        until(wallbox, State.WAITING_FOR_DISCONNECTION)
        wallbox.faults = (Fault("ignore-writes"),)
        ignored = ccl(wallbox, *start, "--wait", "1")[0]
        wallbox.faults = ()

        assert ignored == 5
        assert ccl(wallbox, *start)[0] == 0


def test_nothing_that_a_service_has_loaded_can_write_or_be_made_to(start: Start, wallbox: Simulator) -> None:
    """What the running process imported, and what arrives at the charger whatever is sent to the service."""
    service = start(
        "serve",
        wallbox.url,
        "--web.listen-address",
        "127.0.0.1:0",
        "--web.enable-lifecycle",
        env={"PYTHONPROFILEIMPORTTIME": "1"},
    )
    address = service.line(r"http://127\.0\.0\.1:(\d+)/metrics")
    url, port = address[0].removesuffix("/metrics"), int(address[1])
    forced = document(node("forceVariables", node("forceVar")), Dialect())
    for method in ("PUT", "POST", "DELETE", "PATCH", "FORCE"):
        for path in (
            "/",
            "/metrics",
            "/probe?target=evse",
            "/sd",
            f"/services/user/forceVariables.xml?id={MODE3}",
        ):
            head = f"{method} {path.replace(' ', '%20')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(f"{head}Content-Length: {len(forced)}\r\n\r\n".encode() + forced)
                answer = connection.recv(100)
            assert answer.split()[1] in (b"405", b"404", b"501", b"400"), (method, path, answer)
    shown = scrape(f"{url}/metrics")
    get(url)
    service.stop()
    loaded = {line.rpartition("|")[2].strip() for line in service.log if line.startswith("import time:")}

    assert shown.get("ccl_up") == 1
    assert {request.method for request in wallbox.requests} == {"GET"}
    assert {"ccl_exporter.exporter.service", "ccl_exporter.powerstudio.transport"} <= loaded
    assert not {name for name in loaded if name.endswith((".control", ".writing", ".charging", ".for_a_while"))}
