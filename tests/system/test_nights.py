"""Nights with a cheap tariff: the units' commands at the timer's instants, power cuts and the change of clocks.

The commands are those of `deploy/systemd/ccl-charge-night@.service`, as processes whose clock is set (faketime),
the instants are of those that `systemd-analyze calendar` gives. CI takes three nights, `CCL_NIGHTS=7` a week.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from helpers.support import COMMAND, PROJECT, server

from ccl_exporter.simulator import Simulator

NIGHTS = int(os.environ.get("CCL_NIGHTS", "3"))
UNITS = PROJECT / "deploy" / "systemd"
SERVICE = (UNITS / "ccl-charge-night@.service").read_text(encoding="utf-8")
TIMER = (UNITS / "ccl-charge-night@.timer").read_text(encoding="utf-8")
CRON = (PROJECT / "deploy" / "cron" / "ccl-charge-night").read_text(encoding="utf-8")
INSTALLED = "/opt/ccl-exporter/bin/ccl-exporter"
LONDON = ZoneInfo("Europe/London")
# Clocks went back at 02:00 on 25 October 2026, a Sunday: the second night of these.
FIRST = datetime(2026, 10, 24, tzinfo=LONDON)
TARIFF = ("00:30", "04:30")
FULL_POWER = 7_000.0
# As if the looks between these had failed: at and after either end of the hours, in their middle, and by day.
LOOKS = ("00:29", "00:31", "01:09", "03:09", "04:29", "04:31", "12:01")


def setting(text: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", text, flags=re.MULTILINE)


def unit_commands() -> list[list[str]]:
    """What the service runs, with what its environment says in the place of variables."""
    environment = dict(pair.split("=", 1) for line in setting(SERVICE, "Environment") for pair in line.split())
    commands = []
    for line in setting(SERVICE, "ExecStart"):
        words = [re.sub(r"\$\{(\w+)\}", lambda found: environment[found[1]], word) for word in shlex.split(line)]
        assert words[0] == INSTALLED
        commands.append(words[1:])
    return commands


def calendar(expression: str, begin: datetime, count: int) -> list[datetime]:
    """When a calendar expression of systemd's elapses, the first times after `begin`."""
    shown = subprocess.run(
        [
            server("systemd-analyze"),
            "calendar",
            f"--base-time={begin.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
            f"--iterations={count}",
            expression,
        ],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "TZ": "UTC"},
    ).stdout
    found = re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ ([-\d]+ [:\d]+) UTC", shown)
    return [datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) for text in found]


def instants(begin: datetime, days: int) -> list[datetime]:
    """When the timer elapses."""
    found = {at for line in setting(TIMER, "OnCalendar") for at in calendar(line, begin, (days + 1) * 144)}
    return sorted(at for at in found if at < begin.astimezone(UTC) + timedelta(days=days))


class Clock:
    """A clock of a simulated charger that goes on half a second whenever somebody looks, and on demand.

    So it does not depend on how busy the machine is.
    """

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        self.at += 0.5
        return self.at


@dataclass
class House:
    """A wallbox, a machine that looks after it, and what supplies them with power."""

    charger: Simulator
    clock: Clock
    config: Path
    powered: bool = True

    def wait(self, at: datetime) -> None:
        self.clock.at = max(self.clock.at, at.timestamp())

    @property
    def watt_hours(self) -> float:
        return self.charger.site.plugs[0].energy_wh

    def plug_in(self, need: float = 100_000.0) -> None:
        self.charger.site.plugs[0].plug_in(need_wh=need)

    def unplug(self) -> None:
        self.charger.site.plugs[0].unplug()

    def power_cut(self) -> None:
        self.powered = False
        self.charger.site.plugs[0].fail(1 << 4)
        self.charger.stop()

    def power_back(self) -> None:
        self.charger.start()
        self.charger.site.reboot()
        self.charger.site.plugs[0].fail(0)
        self.powered = True

    def look(self, at: datetime) -> None:
        """What the timer does."""
        allowed = {0, *map(int, setting(SERVICE, "SuccessExitStatus")[0].split())}
        for ran in self.ended(at):
            assert ran.returncode in allowed, (at.astimezone(LONDON), ran.args, ran.stdout, ran.stderr)
            assert ran.stderr == ""

    def ended(self, at: datetime) -> Iterator[subprocess.CompletedProcess[str]]:
        """The commands of the unit, as they ended."""
        for command in unit_commands():
            fake = [server("faketime"), "-f", f"@{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}", str(COMMAND), *command]
            yield subprocess.run(
                fake,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
                env={**os.environ, "TZ": "UTC", "CCL_CHARGER": "garage", "CCL_CONFIG_FILE": str(self.config)},
            )


def configuration(charger: Simulator, folder: Path) -> Path:
    """A configuration file that names a charger as the units do."""
    path = folder / "ccl.yaml"
    path.write_text(f"chargers:\n  garage:\n    url: {charger.url}\n")
    return path


def on(night: int, clock: str) -> datetime:
    """A time of the clock on the wall in London, on the day that begins with that night."""
    hour, minute = map(int, clock.split(":"))
    return (FIRST + timedelta(days=night)).replace(hour=hour, minute=minute)


def events(house: House) -> list[tuple[datetime, Callable[[], object]]]:
    """What happens in the week: in most nights a car is there before the cheap hours and leaves in the morning."""
    happens: list[tuple[datetime, Callable[[], object]]] = []
    for night in range(NIGHTS):
        before = on(night, "00:05")
        if night == 3:
            happens.append((before, lambda: house.plug_in(5_000.0)))
        elif night == 2:
            happens.append((on(night, "02:00"), house.plug_in))
        elif night != 4:
            happens.append((before, house.plug_in))
        if night != 4:
            happens.append((on(night, "08:00"), house.unplug))
    happens += [(on(0, "01:40"), house.power_cut), (on(0, "03:05"), house.power_back)]
    if NIGHTS > 5:
        happens += [(on(5, "04:05"), house.power_cut), (on(5, "06:15"), house.power_back)]
    return happens


def test_charges_are_in_the_cheap_hours_of_each_night_that_a_car_is_there_and_never_outside(
    tmp_path: Path,
) -> None:
    clock = Clock((FIRST - timedelta(hours=1)).timestamp())
    with Simulator(autopilot=False, clock=clock) as charger:
        house = House(charger, clock, configuration(charger, tmp_path))
        readings: dict[tuple[int, str], float] = {}

        def read(night: int, edge: str) -> None:
            readings[night, edge] = house.watt_hours

        def look(at: datetime) -> None:
            if house.powered:
                house.look(at)

        agenda, looks = events(house), 0
        for night in range(NIGHTS):
            agenda += [(on(night, edge), lambda n=night, e=edge: read(n, e)) for edge in TARIFF]  # type: ignore[misc] # a lambda with defaults
        for at in instants(FIRST - timedelta(minutes=40), NIGHTS):
            if f"{at.astimezone(LONDON):%H:%M}" in LOOKS:
                agenda.append((at, lambda at=at: look(at)))  # type: ignore[misc] # likewise
                looks += 1
        # An hour that comes twice has its look twice.
        assert looks == NIGHTS * len(LOOKS) + (NIGHTS > 1)
        for at, happens in sorted(agenda, key=lambda due: due[0].astimezone(UTC)):
            house.wait(at)
            happens()
        read(NIGHTS, TARIFF[0])

    inside = [readings[night, TARIFF[1]] - readings[night, TARIFF[0]] for night in range(NIGHTS)]
    outside = [readings[night + 1, TARIFF[0]] - readings[night, TARIFF[1]] for night in range(NIGHTS)]
    assert outside == [0.0] * NIGHTS
    # All hours but those of the power cut; five hours, as the clocks went back; from the first look on.
    least = [2.2, 4.7, 1.2, 0.68, 0.0, 3.2, 3.8]
    most = [2.7, 5.0, 2.6, 0.72, 0.0, 3.6, 4.0]
    for night, energy in enumerate(inside):
        assert least[night] * FULL_POWER <= energy <= most[night] * 1.1 * FULL_POWER, (night, inside)


def test_a_session_that_fails_is_begun_again_and_a_night_that_leaves_a_car_empty_fails_the_unit_once(
    tmp_path: Path,
) -> None:
    clock = Clock(on(0, "00:31").timestamp())
    with Simulator(autopilot=False, clock=clock) as charger:
        house, plug = House(charger, clock, configuration(charger, tmp_path)), charger.site.plugs[0]
        house.plug_in()

        def said(at: str) -> list[tuple[int, str]]:
            house.wait(on(0, at))
            return [(ran.returncode, ran.stdout) for ran in house.ended(on(0, at))]

        for at, waits in (("00:31", False), ("00:33", True), ("00:40", False)):
            (ended, sentence), _ = said(at)
            assert (ended, "begun again in" in sentence) == ((6, True) if waits else (0, False)), (at, sentence)
            plug.fail(1 << 4)
            plug.fail(0)
        assert "begun again in" in said("00:46")[0][1]
        over, later = said("04:31")[1], said("04:39")[1]

    assert (over[0], "the car got nothing in 00:31-04:29: EVSE.PLUG: not charging" in over[1]) == (1, True), over
    assert later[0] == 6


def test_the_timer_looks_at_both_ends_of_the_hours_whatever_the_zone_of_the_machine() -> None:
    (begin, end) = re.findall(r"\d\d:\d\d", setting(SERVICE, "Environment")[0])
    for day in (on(0, "00:00"), on(1, "00:00"), on(200, "00:00")):
        looks = {f"{at.astimezone(LONDON):%H:%M}" for at in instants(day, 1)}
        assert {begin, end} <= looks
    assert setting(TIMER, "AccuracySec") == ["1s"], "else systemd may look a minute later"


def test_systemd_finds_nothing_to_complain_of_in_the_units(tmp_path: Path) -> None:
    names = ("ccl-charge-night@.service", "ccl-charge-night@.timer")
    for name in names:
        (tmp_path / name).write_text((UNITS / name).read_text().replace(INSTALLED, str(COMMAND)))
    shown = [str(tmp_path / name.replace("@", "@garage")) for name in names]
    verified = subprocess.run(
        [server("systemd-analyze"), "verify", "--man=no", *shown], capture_output=True, text=True, check=False
    )

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_the_unit_is_as_hardened_as_that_of_the_exporter_and_shares_its_state() -> None:
    exporter = (UNITS / "ccl-exporter.service").read_text(encoding="utf-8")
    own = set(SERVICE.partition("[Service]")[2].splitlines())
    judged = subprocess.run(
        [
            server("systemd-analyze"),
            "security",
            "--offline=true",
            "--threshold=15",
            str(UNITS / "ccl-charge-night@.service"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert judged.returncode == 0, judged.stdout
    assert setting(SERVICE, "StateDirectory") == setting(exporter, "StateDirectory")
    hardening = [
        line for line in exporter.splitlines() if re.match(r"(Protect|Private|Restrict|System|User=)", line)
    ]
    assert len(hardening) > 15
    assert set(hardening) <= own


@pytest.mark.parametrize("number", [0, 1])
def test_the_lines_for_cron_are_the_commands_of_the_unit_at_the_instants_of_the_timer(number: int) -> None:
    lines = [line for line in CRON.splitlines() if re.match(r"[\d*]", line)]
    minutes, *every, user, command = lines[number].split(maxsplit=6)
    first, last, step = map(int, re.split(r"[-/]", minutes))
    elapses = calendar(setting(TIMER, "OnCalendar")[number], FIRST, 6)

    assert {at.minute for at in elapses} == set(range(first, last + 1, step))
    assert every == ["*"] * 4
    assert user == setting(SERVICE, "User")[0]
    assert shlex.split(command) == [INSTALLED, *unit_commands()[number], ">", "/dev/null"]
    assert len(lines) == 2


def test_the_commands_of_the_page_are_those_of_the_unit_and_run(tmp_path: Path) -> None:
    page = (UNITS / "README.md").read_text(encoding="utf-8")
    commands = [shlex.split(line)[1:] for line in page.splitlines() if line.startswith("ccl-exporter ")]
    (now,) = [shlex.split(line)[1:] for line in page.splitlines() if line.startswith("ccl charge")]
    assert commands == unit_commands()
    with Simulator(autopilot=False, speed=20.0) as charger:
        charger.site.plugs[0].plug_in(need_wh=100_000.0)
        environment = {**os.environ, "CCL_CONFIG_FILE": str(configuration(charger, tmp_path))}
        ran = subprocess.run([str(COMMAND), *now], env=environment, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "it goes on until the car leaves" in ran.stdout
