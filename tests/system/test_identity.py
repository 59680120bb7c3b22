"""A charger is the same one by another name or at another address, whatever command reaches it."""

import subprocess
from pathlib import Path

import pytest
from helpers.support import COMMAND, Start

from ccl_exporter.simulator import Simulator

MODE3, REDUCTION = "Plug - Mode 3", "Plug - Mode 3.PREDUCTION"


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([str(COMMAND), *arguments], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def reduction(charger: Simulator) -> object:
    with charger.site.present() as now:
        device = next(one for one in charger.site.devices() if one.name == MODE3)
        return device.values(now)["PREDUCTION"]


@pytest.mark.parametrize(("command", "exits"), [(("enable",), 6), (("plan", "--restore"), 0)])
def test_what_a_killed_command_has_left_is_restored_at_another_address(
    command: tuple[str, ...], exits: int, start: Start
) -> None:
    with Simulator(autopilot=False, speed=20.0) as charger:
        process = start("charge", "limit", "16A", "--for", "1h", "-c", charger.url)
        process.line("may take 16.00 A")
        process.process.kill()
        process.process.wait()
    with Simulator(autopilot=False, speed=20.0) as moved:
        assert moved.url != charger.url
        moved.site.force(MODE3, [(REDUCTION, 50.0)], 0.0)
        code, said = run("charge", *command, "-c", moved.url)

        assert (code, reduction(moved)) == (exits, 0), said


def test_another_charger_at_that_address_is_not_changed(start: Start) -> None:
    with Simulator(autopilot=False, speed=20.0) as charger:
        process = start("charge", "limit", "16A", "--for", "1h", "-c", charger.url)
        process.line("may take 16.00 A")
        process.process.kill()
        process.process.wait()
    with Simulator(autopilot=False, speed=20.0, seed=2, port=charger.port) as other:
        other.site.force(MODE3, [(REDUCTION, 50.0)], 0.0)
        code, said = run("charge", "enable", "-c", other.url)

        assert (code, reduction(other)) == (6, 50), said


def test_a_second_follower_by_another_name_is_kept_out(start: Start, tmp_path: Path) -> None:
    free = tmp_path / "free"
    free.write_text("4000\n")
    with Simulator(autopilot=False, speed=20.0) as charger:
        follow = ("charge", "follow", "--file", str(free), "--input", "available", "-c")
        process = start(*follow, charger.url)
        process.line("writes in any hour|writes per hour")
        code, said = run(*follow, f"http://localhost:{charger.port}")

        assert (code, "is followed already, by process" in said) == (4, True), said
        process.stop()


def test_chargers_of_one_configuration_image_do_not_share_what_is_to_be_put_back(start: Start) -> None:
    with Simulator(autopilot=False, speed=20.0) as one, Simulator(autopilot=False, speed=20.0) as copy:
        process = start("charge", "limit", "16A", "--for", "1h", "-c", one.url)
        process.line("may take 16.00 A")
        process.process.kill()
        process.process.wait()
        for charger in (one, copy):
            charger.site.force(MODE3, [(REDUCTION, 50.0)], 0.0)
        code, said = run("charge", "enable", "-c", copy.url)
        assert (code, reduction(copy), said.count("have the same plug ids")) == (6, 50, 1), said
        code, said = run("charge", "enable", "-c", one.url)
        assert (code, reduction(one), said.count("have the same plug ids")) == (6, 0, 0), said

        process = start("charge", "limit", "16A", "--for", "1h", "--min-interval", "0", "-c", one.url)
        process.line("may take 16.00 A")
        code, said = run("charge", "limit", "8A", "-c", copy.url)
        assert (code, reduction(copy), "same plug ids" in said) == (0, 75, False), said
        process.stop()
