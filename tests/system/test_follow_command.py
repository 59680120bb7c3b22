"""Following an input: how the command begins, how it ends, and what it leaves."""

import json
import re
import signal
import subprocess
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from helpers.following import MODE3, PREDUCTION, TO_BE, follow, input_file, limit_to, reduction, writes
from helpers.support import COMMAND, Start

from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.restore import restore_pending
from ccl_exporter.control.state import ControlState
from ccl_exporter.control.write import Writer
from ccl_exporter.simulator import Fault, Simulator


def test_the_safe_current_is_printed_before_the_first_write_and_a_stop_means_the_limit_of_before(
    charging: Simulator, start: Start, tmp_path: Path, state: Path
) -> None:
    path = tmp_path / "free"
    limit_to(charging, 40.0)
    with input_file(path, 4000.0):
        process = start("charge", "follow", "--input", "available", "--file", str(path), "-c", charging.url)
        process.line("Safe current: 0.00 A, within 60 s")
        process.line(r"When this command ends: 19\.20 A, as now")
        process.line("SIGKILL")
        process.line("60 writes per hour and 8 starts per day")
        limit = float(process.line(TO_BE)[1])
        process.process.terminate()
        process.line(r"left at 19\.20 A \(PREDUCTION 40\), as it was before; `charge limit 100% --min-interval 0`")
        code = process.process.wait()

    assert 15 < limit < 18
    assert code == 0
    assert reduction(charging) == 40
    assert [entry["result"] for entry in writes(state)] == ["sent", "done"]


def test_a_lost_input_means_the_safe_current_until_the_input_returns(
    charging: Simulator, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "free"
    flags = ("--mode", "floor", "--safe", "6.1A", "--stale", "3s", "--interval", "1s", "--file", str(path))
    with input_file(path, 4000.0):
        process = follow(start, charging, *flags)
        assert float(process.line(TO_BE)[1]) > 15
    process.line("stale: ")
    assert float(process.line(TO_BE)[1]) == 6.08
    with input_file(path, 4000.0):
        process.line("returning: ")
        assert float(process.line(TO_BE)[1]) > 15


def test_a_second_follower_is_refused_with_a_clear_sentence(
    charging: Simulator, start: Start, tmp_path: Path, state: Path
) -> None:
    path = tmp_path / "free"
    with input_file(path, 4000.0):
        process = follow(start, charging, "--file", str(path))
        process.line(TO_BE)
        second, limit, status, as_json = (
            subprocess.run(
                [str(COMMAND), "charge", *arguments, "-c", charging.url],
                capture_output=True,
                text=True,
                check=False,
            )
            for arguments in (("follow", "--file", str(path)), ("limit", "10A"), ("status",), ("status", "--json"))
        )

    assert second.returncode == 4
    assert f"followed already, by process {process.process.pid}" in second.stderr
    assert limit.returncode == 4
    assert "`charge follow` runs for EVSE.PLUG and would overwrite the limit: stop it first" in limit.stderr
    assert status.stdout.endswith("\nEVSE.PLUG: `charge follow` decides its current\n")
    assert json.loads(as_json.stdout)[0]["followed"] is True
    assert {entry["command"] for entry in writes(state)} == {"charge follow"}


def test_status_says_until_when_a_boost_lasts_and_what_lifts_a_limit(
    charging: Simulator, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "free"
    limit_to(charging, 50.0)

    def charge(*arguments: str) -> str:
        command = [str(COMMAND), "charge", *arguments, "-c", charging.url]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    boost = "until the car leaves, as `charge start --now` asked for"
    limit = "EVSE.PLUG: limit 16.0 A of 32 A; `charge limit 100% --min-interval 0` lifts it"
    assert charge("status").splitlines()[1:] == [limit]
    charge("start", "--now")
    assert charge("status").splitlines()[1:] == [f"EVSE.PLUG: goes on {boost}", limit]
    with input_file(path, 4000.0):
        process = follow(start, charging, "--file", str(path))
        process.line("boost: ")
        shown = charge("status").splitlines()[1:]
        assert shown == ["EVSE.PLUG: `charge follow` decides its current", f"EVSE.PLUG: full current {boost}"]
        charge("start", "--now", "--for", "2h", "--need", "20kWh")
        assert re.fullmatch(
            r"EVSE\.PLUG: full current until \d{4}-\S+ or until this session has 2\d\.\d\d kWh, as .* asked for",
            charge("status").splitlines()[-1],
        )
        assert charge("start").endswith("; the boost is over, `charge follow` decides the current\n")
        process.line("the limit follows the input")
        charge("disable")
        process.line("no session is running .the plug is out of service; `charge start` helps.")


@pytest.mark.parametrize("command", [("follow", "--restore"), ("enable",)])
def test_the_pending_restore_of_a_killed_follower_is_done_by_the_next_command(
    command: tuple[str, ...], charging: Simulator, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "free"
    limit_to(charging, 40.0)
    with input_file(path, 4000.0):
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
    assert (planned.returncode, planned.stdout) == (0, "would restore what is pending\n")
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
    assert (again.returncode, again.stdout) == (6, "nothing to restore\n")


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
    with input_file(path, 4000.0):
        # This mode leaves a limit below the minimum current at once; the sun alone takes some minutes.
        process = follow(start, charging, "--mode", "floor", "--file", str(path))
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
    with Simulator(autopilot=False, speed=1) as charging, input_file(path, 4000.0):
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
            restore_pending(control_state, Writer(control, control_state, 5.0, "restore"), print)

        assert reduction(charging) == 0
    assert [entry["result"] for entry in writes(state)] == ["sent", "done"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGHUP])
def test_the_limit_of_before_is_set_though_the_output_is_no_longer_read(
    ending: signal.Signals, charging: Simulator, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "free"
    limit_to(charging, 40.0)
    with input_file(path, 4000.0):
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
