"""The units installed by the words of their pages on Debian 12 and 13, with systemd as the first process."""

import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import time

import pytest
from helpers.machine import Machine, booted
from helpers.machine_site import CHARGERS, PASSWORD, USERNAME
from helpers.support import OPENMETRICS, PROJECT, Scrape, project_files
from helpers.wheels import wheelhouse

RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
"""Releases of Debian with their Python."""

PAGE = (PROJECT / "deploy" / "README.md").read_text(encoding="utf-8")
NIGHT_PAGE = (PROJECT / "deploy" / "systemd" / "README.md").read_text(encoding="utf-8")
FOLLOW_PAGE = (PROJECT / "deploy" / "follow" / "README.md").read_text(encoding="utf-8")
COPY = "/root/ccl-exporter"
INSTALLED = "/opt/ccl-exporter/bin/ccl-exporter"
HERE = "http://127.0.0.1:9986"
CONFIG = "/etc/ccl-exporter/ccl.yaml"
PREDUCTION = "Plug - Mode 3.PREDUCTION"


def block(page: str, after: str, kind: str = "sh") -> str:
    """The first block of a page behind a text."""
    rest = page.partition(after)[2]
    assert rest, after
    return rest.partition(f"```{kind}\n")[2].partition("```")[0]


NIGHT_TIMER = block(NIGHT_PAGE, "## The night tariff", "") + block(NIGHT_PAGE, "Then start the timer:", "")


def configuration(**titles: str) -> str:
    """A ccl.yaml with all simulated chargers, of which one asks for a login."""
    chargers = {
        name: {"url": f"http://127.0.0.1:{port}", **({"title": titles[name]} if name in titles else {})}
        for name, port in CHARGERS.items()
    }
    chargers["garage"] |= {
        "username": USERNAME,
        "password_file": "${CREDENTIALS_DIRECTORY}/secrets_garage.password",
    }
    return json.dumps({"chargers": chargers})  # JSON is YAML


def fetch(machine: Machine, path: str) -> str:
    """What the service answers within the machine."""
    asking = (
        "import sys, urllib.request as r;"
        "q = r.Request(sys.argv[1], headers={'Accept': sys.argv[2]});"
        "sys.stdout.write(r.urlopen(q).read().decode())"
    )
    done = machine.run("python3", "-c", asking, HERE + path, OPENMETRICS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ccl(machine: Machine, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return machine.run("ccl", *words, given=given)


def edit(machine: Machine, unit: str, *lines: str) -> None:
    """What `systemctl edit` writes, without the editor."""
    machine.write(f"/etc/systemd/system/{unit}.d/override.conf", "\n".join(lines) + "\n")
    machine.sh("systemctl daemon-reload")


@pytest.fixture(scope="module", params=RELEASES)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine of a release with the service installed, and the simulated chargers running."""
    wheels = wheelhouse(RELEASES[request.param])
    with booted(request.param) as machine:
        machine.take(PROJECT, project_files(), COPY)
        machine.take(wheels, ["."], "/root/wheels")
        machine.write("/root/.config/pip/pip.conf", "[global]\nno-index = true\nfind-links = /root/wheels\n")
        machine.sh(f"cd {COPY}; {block(PAGE, '## systemd')}{block(PAGE, 'Then start the service:')}")
        site = f"/opt/ccl-exporter/bin/python {COPY}/tests/helpers/machine_site.py"
        machine.sh(f"systemd-run --quiet --unit=site {site}")
        machine.await_log("site", "the site is ready")
        yield machine


def test_the_lines_of_the_page_install_a_service_that_starts_with_the_machine(machine: Machine) -> None:
    assert machine.show("ccl-exporter", "UnitFileState") == "enabled"
    assert machine.show("ccl-exporter", "ActiveState") == "active"
    assert Scrape.of(fetch(machine, "/metrics")).get("ccl_up") == 0, "there is no 192.0.2.10"
    assert "<code>ccl check --charger http://192.0.2.10</code>" in fetch(machine, "/")
    assert machine.sh("stat -c %a /etc/ccl-exporter/secrets /var/lib/private/ccl-exporter").split() == ["700"] * 2


def test_a_charger_with_a_login_is_read_with_a_secret_that_only_root_can_read(machine: Machine) -> None:
    machine.write("/etc/ccl-exporter/secrets/garage.password", f"{PASSWORD}\n")
    machine.write(CONFIG, configuration())
    machine.sh("systemctl restart ccl-exporter")
    shown = Scrape.of(fetch(machine, "/probe?target=garage"))

    assert shown.get("ccl_up") == 1
    assert shown.get("ccl_plug_vehicle_connected", plug="EVSE.PLUG") == 1
    assert Scrape.of(fetch(machine, "/metrics")).get("process_cpu_seconds_total") is not None


def test_a_reload_reads_the_configuration_and_rejects_an_invalid_one(machine: Machine) -> None:
    """Debian's smallest systems have no /bin/kill."""
    assert machine.run("test", "-e", "/bin/kill").returncode == 1
    before = machine.show("ccl-exporter", "MainPID")
    machine.write(CONFIG, configuration(garage="Carport"))
    machine.sh("systemctl reload ccl-exporter")
    machine.await_log("ccl-exporter", "read again")
    assert "Carport" in fetch(machine, "/charger/garage.json")
    machine.write(CONFIG, "chargers: none")
    machine.sh("systemctl reload ccl-exporter")
    machine.await_log("ccl-exporter", "ccl.yaml.*(line|chargers)")
    assert "Carport" in fetch(machine, "/charger/garage.json")
    machine.write(CONFIG, configuration())

    assert machine.show("ccl-exporter", "MainPID") == before


def test_the_service_is_restarted_after_sigkill_and_when_it_no_longer_works(machine: Machine) -> None:
    """With shorter times than those of the unit."""
    edit(machine, "ccl-exporter.service", "[Service]", "RestartSec=1s", "WatchdogSec=5s")
    machine.sh("systemctl restart ccl-exporter")
    for restarts, (number, result) in enumerate((("KILL", "signal"), ("STOP", "watchdog")), start=1):
        machine.sh(f"systemctl kill --signal={number} --kill-whom=main ccl-exporter")
        machine.await_log("ccl-exporter", f"Failed with result '{result}'")
        machine.await_log("ccl-exporter", "Scheduled restart job", times=restarts)
        machine.sh("timeout 60 sh -c 'until systemctl is-active --quiet ccl-exporter; do sleep 0.2; done'")
        assert fetch(machine, "/-/healthy") == "Healthy\n"


def test_the_wrapper_runs_commands_with_the_configuration_state_and_secrets_of_the_service(
    machine: Machine,
) -> None:
    for line in block(PAGE, "### Commands beside the service").splitlines():
        assert line.startswith("ccl "), line
    done = ccl(machine, "get", PREDUCTION, "-c", "garage")
    assert done.returncode == 0, done.stderr
    # What it leaves is the service's: the same owner, nothing of root's.
    owners = set(machine.sh("find /var/lib/private/ccl-exporter -printf '%u\\n'").split())
    assert len(owners) == 1
    assert owners != {"root"}


def test_exit_codes_pass_through_the_wrapper(machine: Machine) -> None:
    begin = datetime.now(UTC)
    prices = f"begin,end,price\n{begin:%Y-%m-%dT%H:%MZ},{begin + timedelta(hours=1):%Y-%m-%dT%H:%MZ},7.5\n"
    too_much = ("charge", "plan", "-", "--need", "60kWh", "--by", f"{begin + timedelta(hours=1):%H:%M}")
    commands: list[tuple[int, tuple[str, ...]]] = [
        (0, ("charge", "log")),
        (1, (*too_much, "--timezone", "UTC", "--dry-run", "-c", "command")),
        (2, ("nonsense",)),
        (3, ("get", PREDUCTION, "-c", "http://127.0.0.1:1")),
        (4, ("set", PREDUCTION, "400", "-c", "command")),
        (5, ("charge", "disable", "--wait", "1s", "-c", "stubborn")),
        (6, ("charge", "follow", "--restore", "-c", "command")),
        (7, ("charge", "start", "-c", "empty")),
    ]
    done = [(ccl(machine, *words, given=prices), words) for _, words in commands]

    assert [one.returncode for one, _ in done] == [code for code, _ in commands], done


def test_who_is_not_root_gets_exit_code_2_and_the_line_to_type(machine: Machine) -> None:
    done = machine.run("setpriv", "--reuid=65534", "--clear-groups", "ccl", "charge", "start", "-c", "my charger")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("; type: sudo /usr/local/bin/ccl charge start -c 'my charger'\n")


@pytest.mark.parametrize(("number", "code"), [("TERM", 0), ("INT", 0), ("HUP", 1)])
def test_a_signal_to_the_wrapper_reaches_the_command(number: str, code: int, machine: Machine) -> None:
    """Two of them stop it, the third kills it; then it has not succeeded, whatever systemd thinks."""
    script = f"""
        rm -f /root/said
        ccl simulate --web.listen-address 127.0.0.1:0 > /root/said & wrapper=$!
        timeout 60 sh -c 'until grep -q http /root/said; do sleep 0.1; done'
        kill -{number} $wrapper
        wait $wrapper
    """
    assert machine.run("sh", "-c", script).returncode == code


def test_a_terminal_passes_through_the_wrapper(machine: Machine) -> None:
    """What a person types ends a command that waits, and what it shows is coloured."""
    person, terminal = pty.openpty()
    process = subprocess.Popen(
        machine.entering("env", "TERM=xterm-256color", "ccl", "simulate", "--web.listen-address", "127.0.0.1:0"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    shown = b""
    try:
        with suppress(OSError):  # the end of a terminal is an error
            while data := os.read(person, 65536):
                shown += data
                if b"http" in shown and b"^C" not in shown:
                    os.write(person, b"\x03")
        code = process.wait(timeout=60)
    finally:
        process.kill()
        os.close(person)

    assert (code, b"http://127.0.0.1" in shown) == (0, True), shown


def test_the_timer_keeps_a_charger_to_the_night(machine: Machine) -> None:
    """First at an hour of the night, then at one that is not; it looks more often than by the unit."""
    machine.sh(f"cd {COPY}; {NIGHT_TIMER.replace('@garage', '@night')}")
    edit(machine, "ccl-charge-night@.timer", "[Timer]", "OnCalendar=", "OnCalendar=*:*:0/5")
    now = datetime.now(UTC)
    for begin, end, written in ((-3, 3, "charge start"), (3, 6, "charge disable")):
        hours = "-".join(f"{now + timedelta(hours=hour):%H:%M}" for hour in (begin, end))
        edit(machine, "ccl-charge-night@.service", "[Service]", f"Environment=CCL_HOURS={hours} CCL_ZONE=UTC")
        machine.sh("systemctl restart ccl-charge-night@night.timer")
        await_write(machine, "night", written)
    machine.sh("systemctl disable --now ccl-charge-night@night.timer; systemctl stop ccl-charge-night@night")


def await_write(machine: Machine, charger: str, command: str) -> None:
    """Wait until the journal of writes has a line of a charger and a command."""
    url = f"http://127.0.0.1:{CHARGERS[charger]}"
    machine.await_line("cat /var/lib/ccl-exporter/writes.log", f'"{url}".*"done", "command": "{command}"')


def test_a_follower_that_is_killed_is_restored_and_started_again(machine: Machine) -> None:
    """At a charger whose login is a secret of the service, with the login of a broker as the page has it."""
    (login,) = re.findall("`(Environment=CCL_MQTT_USERNAME.*?)`", FOLLOW_PAGE)
    machine.sh(f"cd {COPY}; {block(FOLLOW_PAGE, '### As a service')}")
    edit(
        machine,
        "ccl-charge-follow.service",
        "[Service]",
        f"Environment=CCL_CONFIG_FILE={CONFIG} CCL_CHARGER=garage",
        login,
    )
    machine.write("/etc/ccl-exporter/secrets/mqtt.password", "of the broker\n")
    machine.sh("systemctl enable --now ccl-charge-follow")
    machine.await_log("ccl-charge-follow", "the limit is to be")
    environment = machine.sh(f"cat /proc/{machine.show('ccl-charge-follow', 'MainPID')}/environ")
    variables = dict(pair.split("=", 1) for pair in environment.split("\0") if pair)
    assert machine.sh(f"cat {variables['CCL_MQTT_PASSWORD_FILE']}") == "of the broker\n"
    machine.sh("systemctl kill --signal=KILL --kill-whom=main ccl-charge-follow")
    await_write(machine, "garage", "charge follow, restore")
    machine.await_log("ccl-charge-follow", "the limit is to be", times=2)
    machine.sh("systemctl disable --now ccl-charge-follow")
    journal = machine.await_log("ccl-charge-follow", "left at")

    assert "Failed with result 'signal'" in journal
    assert ccl(machine, "charge", "follow", "--restore", "-c", "garage").returncode == 6
    assert ccl(machine, "charge", "limit", "19%", "--min-interval", "0", "-c", "garage").returncode == 0
    machine.sh(block(FOLLOW_PAGE, "#### After the last follower"))
    assert ccl(machine, "get", PREDUCTION, "-c", "garage").stdout == "0\n"


def test_a_plan_that_is_killed_is_restored_and_goes_on(machine: Machine) -> None:
    """By its unit, with prices of a file."""
    begin = datetime.fromtimestamp(time() // 3600 * 3600, UTC)
    at = [f"{begin + timedelta(hours=hour):%Y-%m-%dT%H:%MZ}" for hour in range(6)]
    prices = [f"{at[hour]},{at[hour + 1]},{price}" for hour, price in enumerate((9, 9, 1, 9, 9))]
    machine.write("/etc/ccl-exporter/prices.csv", "\n".join(["begin,end,price", *prices]) + "\n")
    machine.sh(f"cd {COPY}; {block(FOLLOW_PAGE, '### A plan as a service')}")
    edit(
        machine,
        "ccl-charge-plan@.service",
        "[Service]",
        "Environment=CCL_PRICES=/etc/ccl-exporter/prices.csv CCL_NEED=2kWh CCL_ZONE=UTC",
        f"Environment=CCL_BY={begin + timedelta(hours=5):%H:%M}",
        "RestartSec=1s",
    )
    machine.sh("systemctl enable --now ccl-charge-plan@plan")
    machine.await_log("ccl-charge-plan@plan", "is out of service")
    machine.sh("systemctl kill --signal=KILL --kill-whom=main ccl-charge-plan@plan")
    await_write(machine, "plan", "charge plan, restore")
    machine.await_log("ccl-charge-plan@plan", "goes on with a plan that was ended early")
    machine.sh("systemctl disable --now ccl-charge-plan@plan")

    assert ccl(machine, "charge", "plan", "--restore", "-c", "plan").returncode == 6


def test_the_lines_of_the_page_upgrade_it(machine: Machine) -> None:
    machine.sh(f"""sed -i 's/^version = .*/version = "99.0"/' {COPY}/pyproject.toml""")
    machine.sh(f"cd {COPY}; {block(PAGE, '### Upgrade, rollback, uninstall')}")

    assert machine.sh(f"{INSTALLED} --version") == "ccl-exporter 99.0\n"
    assert re.search(r'^ccl_exporter_build_info\{.*version="99\.0"', fetch(machine, "/metrics"), re.MULTILINE)
    assert ccl(machine, "charge", "log").returncode == 0


def test_the_lines_of_the_page_uninstall_it(machine: Machine) -> None:
    """With a timer and a follower that run, and a charger that has the safe current."""
    assert ccl(machine, "charge", "limit", "19%", "--min-interval", "0", "-c", "garage").returncode == 0
    units = NIGHT_TIMER + block(FOLLOW_PAGE, "### As a service")
    machine.sh(f"cd {COPY}; {units}systemctl enable --now ccl-charge-follow")
    for line in block(PAGE, "Before you uninstall").splitlines():
        machine.sh(f"{line} || [ $? -eq 6 ]")
    assert ccl(machine, "get", PREDUCTION, "-c", "garage").stdout == "0\n"
    machine.sh(block(PAGE, "To uninstall the service") + " 2>&1")
    left = machine.sh("find / -xdev -name '*ccl*' -not -path '/root/*' -not -path '/proc/*'").splitlines()

    assert left == []
    assert machine.run("systemctl", "is-active", "ccl-exporter").stdout == "inactive\n"
