"""The units of a follower: that of the package, those of the page, those of version 0.1."""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from helpers.following import TO_BE, house_of, limit_to, reduction
from helpers.support import COMMAND, PROJECT, Process, Start, get, server

from ccl_exporter.simulator import Simulator

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
    assert stops == ["ExecStopPost=-+/usr/local/bin/ccl charge follow --restore"]
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


def owners_day(page: str) -> list[str]:
    """What the unit of the owner's day on a page runs."""
    unit = page.partition("### As a service")[2].partition("```ini\n")[2].partition("```")[0]
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
        here = {"http://127.0.0.1:9090": url, "127.0.0.1:9988": "127.0.0.1:0", "00:31-04:29": window}
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
        process.line(r"left at 6\.08 A \(PREDUCTION 81\), the safe current; `charge limit 100% --min-interval 0`")
        assert process.process.wait() == 0
    with house_of(charging, -3000.0) as url:
        process = run(url, 11.0)
        process.line("following: ")
        assert 11 < float(process.line(TO_BE)[1]) < 13.1
        boost = [str(COMMAND), "charge", "start", "--now", "--for", "2h", "-c", charging.url]
        said = subprocess.run(boost, capture_output=True, text=True, check=False)
        assert said.stdout.endswith("; it goes on for 2h; `charge follow` raises the current limit\n"), said
        process.line("boost: ")
        while float(process.line(TO_BE)[1]) < 28:
            pass


# Units of version 0.1


FOLLOW_OF_0_1 = (
    "charge follow --mode surplus --query house_import_watts[1m]"
    " --prometheus.url http://127.0.0.1:9090 --web.listen-address 127.0.0.1:9988"
)
RESTORE_OF_0_1 = "charge follow --put-back"
NIGHT_OF_0_1 = (
    "charge start --between ${CCL_HOURS} --timezone ${CCL_ZONE}",
    "charge disable --nightly --outside ${CCL_HOURS} --timezone ${CCL_ZONE}",
)
SERVE_OF_0_1 = "serve --config.file /etc/ccl-exporter/ccl.yaml"


def words(line: str, here: Mapping[str, str]) -> list[str]:
    """A command of a unit, with what a test has in the place of some words."""
    return [here.get(word, word) for word in line.split()]


def test_the_follower_of_version_0_1_goes_on_working(charging: Simulator, start: Start) -> None:
    limit_to(charging, 40.0)
    env = {"CCL_CHARGER": charging.url}
    with house_of(charging, -3000.0) as url:
        here = {"http://127.0.0.1:9090": url, "127.0.0.1:9988": "127.0.0.1:0"}
        process: Process = start(*words(FOLLOW_OF_0_1, here), env=env)
        process.line(TO_BE)
        process.process.kill()
        process.process.wait()
    restored = subprocess.run(
        [str(COMMAND), *words(RESTORE_OF_0_1, {})],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )

    assert (restored.returncode, reduction(charging)) == (0, 40), restored


def test_the_night_of_version_0_1_goes_on_working(charging: Simulator) -> None:
    def look(hours: float) -> list[int]:
        """The commands of a night whose cheap hours began so many hours ago."""
        begin = datetime.now(ZoneInfo("Europe/London")) - timedelta(hours=hours)
        window = f"{begin:%H:%M}-{begin + timedelta(hours=4):%H:%M}"
        here = {"${CCL_HOURS}": window, "${CCL_ZONE}": "Europe/London"}
        return [
            subprocess.run(
                [str(COMMAND), *words(line, here)],
                capture_output=True,
                check=False,
                env={**os.environ, "CCL_CHARGER": charging.url},
            ).returncode
            for line in NIGHT_OF_0_1
        ]

    assert set(look(1)) <= {0, 6}
    with charging.site.present():
        assert charging.site.plugs[0].watts > 1000
    assert set(look(-6)) <= {0, 6}
    with charging.site.present():
        assert charging.site.plugs[0].watts == 0


def test_the_exporter_of_version_0_1_goes_on_working(charging: Simulator, start: Start, tmp_path: Path) -> None:
    config = tmp_path / "ccl.yaml"
    config.write_text(
        f"chargers:\n  garage:\n    url: {charging.url}\n    walk: {{exclude: ['CCL1Mini.PWMO*']}}\n"
    )
    process: Process = start(
        *words(SERVE_OF_0_1, {"/etc/ccl-exporter/ccl.yaml": str(config)}), "--web.listen-address", "127.0.0.1:0"
    )
    url = process.line(r"http://127\.0\.0\.1:\d+")[0]

    assert "\nccl_up 1" in get(f"{url}/probe?target=garage&module=meaning")
