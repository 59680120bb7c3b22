"""The add-on as a container, as Home Assistant runs it: options, broker, ingress, standard input, stop and kill.

A small server stands in for the Supervisor, and requests from its address for the ingress. AppArmor is not
enforced.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any

import pytest
import yaml
from helpers.addon import ADDON, CONFIG, RUN
from helpers.podman import Podman
from helpers.support import COMMAND, PROJECT, server

from ccl_exporter.simulator import Simulator

BASE = "docker.io/library/python:3.13.14-slim-trixie"
PROXY, CHARGER, SUPERVISOR = "172.30.32.2", "192.0.2.10", "192.0.2.11"
PATIENCE = 120.0
OPTIONS: Mapping[str, Any] = {
    "charger": {"url": f"http://{CHARGER}", "title": "Wallbox"},
    "mqtt": True,
    "tariff": {"currency": "GBP", "price": 0.3, "timezone": "UTC"},
    "cheap_hours": [],
    "only_cheap_hours": False,
    "follow": {"mode": "surplus", "topic": "house/power"},
    "supply": "60A",
}

SIMULATED = f"""
import time
from ccl_exporter.simulator import Simulator
with Simulator(host={CHARGER!r}, port=80, autopilot=False) as charger:
    charger.site.plugs[0].plug_in()
    print("ready", flush=True)
    time.sleep(3600)
"""
SERVICES = f"""
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.path == "/services/mqtt" and self.headers["Authorization"] == "Bearer secret-token"
        data = {{"host": "core-mosquitto", "port": 1883, "ssl": False, "username": "addons", "password": "p"}}
        body = json.dumps({{"result": "ok", "data": data}} if known else {{"result": "error"}}).encode()
        self.send_response(200 if known else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
served = HTTPServer(({SUPERVISOR!r}, 80), Handler)
print("ready", flush=True)
served.serve_forever()
"""
METER = """
import itertools, subprocess, sys, time
for number in itertools.count():
    # A meter that never changes counts as frozen.
    subprocess.run([sys.argv[1], "-t", "house/power", "-m", str(-9000 - number % 7 * 10)])
    time.sleep(2)
"""
ASK = """
import http.client, sys
asked = http.client.HTTPConnection("127.0.0.1", 9986, timeout=60, source_address=(sys.argv[1], 0))
asked.request("GET", sys.argv[2], headers={"X-Ingress-Path": "/api/hassio_ingress/TOKEN", "Host": "172.30.33.1"})
answer = asked.getresponse()
print(answer.status)
print(answer.read().decode())
"""


class House:
    """The add-on and what is around it, in the namespaces of podman."""

    def __init__(self, podman: Podman, folder: Path, around: ExitStack) -> None:
        self.podman = podman
        self.around = around
        self.data = folder / "data"
        self.data.mkdir()
        (self.data / "options.json").write_text(json.dumps(OPTIONS))
        self.log: list[str] = []
        self.attached: subprocess.Popen[bytes] | None = None

    def beside(self, *command: str, wait: bool = True) -> None:
        """Run a program until the test ends; it says when it is ready."""
        process = self.around.enter_context(
            subprocess.Popen(self.podman.within(*command), stdout=subprocess.PIPE)  # waits for its end
        )
        self.around.callback(process.terminate)
        assert process.stdout is not None
        assert not wait or process.stdout.readline() == b"ready\n"

    def start(self) -> None:
        """Start the container with its standard streams attached, as the Supervisor does."""
        arguments = [
            *("podman", "run", "--rm", "--interactive", "--name", "addon", "--volume", f"{self.data}:/data"),
            *("--env", "SUPERVISOR_TOKEN=secret-token", "--env", "TZ=UTC"),
            *(f"--add-host=supervisor:{SUPERVISOR}", "--add-host=core-mosquitto:127.0.0.1", "addon"),
        ]
        self.attached = self.around.enter_context(
            subprocess.Popen(
                self.podman.within(*arguments),
                env=self.podman.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
        assert self.attached.stdout is not None
        reader = threading.Thread(target=self._read, args=(self.attached.stdout,))
        reader.start()
        self.around.callback(reader.join)
        self.around.callback(self.attached.terminate)

    def _read(self, output: IO[bytes]) -> None:
        self.log += (line.decode() for line in output)

    def say(self, line: str) -> None:
        assert self.attached is not None
        assert self.attached.stdin is not None
        self.attached.stdin.write(f"{line}\n".encode())
        self.attached.stdin.flush()

    def until(self, what: Callable[[], object], says: str) -> None:
        began = monotonic()
        while not what():
            assert monotonic() - began < PATIENCE, f"not so: {says}: {''.join(self.log)[-5000:]}"
            sleep(0.2)

    def said(self, pattern: str, after: int = 0) -> bool:
        return any(re.search(pattern, line) for line in self.log[after:])

    def ask(self, source: str, path: str) -> tuple[int, str]:
        done = self.podman.run(sys.executable, "-c", ASK, source, path, check=False)
        status, _, body = done.stdout.partition("\n")
        return int(status or 0), body

    def processes(self, *words: str) -> list[int]:
        """The ids of the processes in the container whose command has these words in a row."""
        first = self.podman("inspect", "--format", "{{.State.Pid}}", "addon").strip()
        inside, found = os.readlink(f"/proc/{first}/ns/pid"), []
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (place / "cmdline").read_bytes()
                if "\0".join(words).encode() in command and os.readlink(place / "ns" / "pid") == inside:
                    found.append(int(place.name))
        return found

    def runs_again(self, pid: int, *words: str) -> bool:
        return bool(set(self.processes(*words)) - {pid})

    def reduction(self) -> float:
        """The PREDUCTION of the plug, in per cent."""
        return float(
            self.podman.run(str(COMMAND), "get", "Plug - Mode 3.PREDUCTION", "-c", f"http://{CHARGER}").stdout
        )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("addon")
    context = folder / "context"
    shutil.copytree(ADDON, context)
    subprocess.run(
        [sys.executable, "-m", "uv", "build", "-q", "--wheel", "--out-dir", str(context), str(PROJECT)], check=True
    )
    (folder / "mosquitto.conf").write_text("listener 1883 127.0.0.1\nallow_anonymous true\n")
    with Podman(folder / "podman", [PROXY, CHARGER, SUPERVISOR]) as podman, ExitStack() as around:
        podman.import_base(BASE)
        (wheel,) = context.glob("*.whl")
        version = wheel.name.split("-")[1]
        podman.build("--build-arg", f"BUILD_VERSION={version}", "--tag", "addon", str(context))
        house = House(podman, folder, around)
        house.beside(sys.executable, "-c", SIMULATED)
        house.beside(sys.executable, "-c", SERVICES)
        house.beside(server("mosquitto"), "-c", str(folder / "mosquitto.conf"), wait=False)
        house.beside(sys.executable, "-c", METER, server("mosquitto_pub"), wait=False)
        house.start()
        yield house
        podman("rm", "--all", "--force", "--time", "1")  # so that what reads its output ends


def test_an_add_on_from_its_start_to_its_end(house: House) -> None:
    """One container, as a start takes long: what it shows, what it takes, what it survives."""
    house.until(lambda: house.ask(PROXY, "/")[0] == 200, "the page is there")
    house.until(lambda: "Last sessions" in house.ask(PROXY, "/")[1], "the history is shown")
    assert "Wallbox" in house.ask(PROXY, "/")[1]
    for source in ("127.0.0.1", CHARGER):
        assert house.ask(source, "/")[0] == 403
        assert house.ask(source, "/metrics")[0] == 403

    # Every process but the attached one is nobody, with a state of its own
    house.until(lambda: house.processes("charge", "follow", "--broker"), "the follower runs")
    for pid in (*house.processes("ccl-exporter", "serve"), *house.processes("run.py")):
        assert re.search(r"^Uid:\s+65532\s+65532", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    configured = yaml.safe_load((house.data / "config" / "ccl.yaml").read_text())
    assert configured["mqtt"]["url"] == "mqtt://core-mosquitto:1883"
    assert (house.data / "config").stat().st_mode & 0o77 == 0

    # Home Assistant has it as one device
    heard = house.podman.run(
        server("mosquitto_sub"), "-t", "homeassistant/device/+/config", "-C", "2", "-W", "60"
    ).stdout
    assert {json.loads(line)["device"]["name"] for line in heard.splitlines()} == {"Wallbox"}

    # A killed process comes again; what a killed follower left is put right before
    house.until(lambda: house.said("Safe current"), "the follower has begun")
    for words in (("charge", "follow", "--broker"), ("ccl-exporter", "serve"), ("run.py", "commands")):
        (pid,) = house.processes(*words)
        os.kill(pid, signal.SIGKILL)
        house.until(partial(house.runs_again, pid, *words), f"{words} runs again")
    house.until(lambda: house.ask(PROXY, "/")[0] == 200, "the page is there again")
    assert house.said("follower.* ended with -9")

    # Commands come by standard input, two and no other
    house.say('{"command": "set", "value": 0}')
    house.until(lambda: house.said("another line is ignored"), "a wrong command is refused")
    house.say('{"command": "boost"}')
    house.until(lambda: house.said("charge start --now: exit code 0"), "a boost has begun")
    house.until(
        lambda: (
            json.loads(house.ask(PROXY, "/charger/charger.json")[1])["plugs"]["EVSE.PLUG"]["status"] == "charging"
        ),
        "it charges",
    )

    # Ended, the follower leaves the safe current: 6.08 A of 32 A
    house.podman("stop", "--time", "60", "addon")
    assert house.reduction() == 81


def test_after_a_power_cut_the_pending_restore_is_done_first(house: House) -> None:
    assert house.attached is not None
    house.attached.wait(60)
    house.start()
    house.until(lambda: house.reduction() < 81, "the follower goes on with the boost")
    house.podman("kill", "--signal", "KILL", "addon")
    house.attached.wait(60)
    before = len(house.log)
    house.start()
    house.until(lambda: house.said("^Follows", before), "the follower has begun")
    restored = [line for line in house.log[before:] if "it could restore" in line or line.startswith("Follows")]

    assert len(restored) == 2, house.log[before:]
    assert restored[1].startswith("Follows")
    house.podman("stop", "--time", "60", "addon")
    assert house.reduction() == 81


def test_the_night_tariff_acts_at_once_and_ends_when_asked(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    hours = [f"{now + timedelta(hours=ahead):%H:%M}" for ahead in (2, 3)]
    options = {**OPTIONS, "cheap_hours": [{"from": hours[0], "to": hours[1], "price": 0.1}]}
    with Simulator(autopilot=False) as charger:
        charger.site.plugs[0].plug_in()
        options["charger"] = {"url": charger.url}
        (tmp_path / "ccl.yaml").write_text(yaml.safe_dump(RUN.configuration(options, None, tmp_path)))
        environment = {
            **os.environ,
            "STATE_DIRECTORY": str(tmp_path),
            "CCL_CONFIG_FILE": str(tmp_path / "ccl.yaml"),
            "CCL_CHARGER": RUN.NAME,
        }
        with subprocess.Popen(
            [sys.executable, str(ADDON / "run.py"), "night"], env=environment, stderr=subprocess.PIPE, text=True
        ) as night:
            assert night.stderr is not None
            said = []
            for line in night.stderr:
                said.append(line)
                if "charge disable" in line:
                    break
            night.terminate()

    assert "charge start --between tariff: exit code 6" in "".join(said)
    assert "charge disable --nightly --outside tariff: exit code 0" in said[-1]
    assert night.returncode == 0
    assert any(request.method == "PUT" for request in charger.requests)


def test_the_profile_of_apparmor_is_valid_and_named_as_the_add_on() -> None:
    """It is not enforced here."""
    profile = ADDON / "apparmor.txt"
    judged = subprocess.run(
        [server("apparmor_parser"), "--skip-kernel-load", "--skip-cache", str(profile)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert judged.returncode == 0, judged.stderr
    assert re.findall(r"^profile (\w+)", profile.read_text(encoding="utf-8"), re.MULTILINE) == [CONFIG["slug"]]
