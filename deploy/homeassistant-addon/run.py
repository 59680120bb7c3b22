"""The add-on: what its options ask for, as processes that are restarted when they end.

    run.py            everything; ends with the container
    run.py night      the night tariff: the two commands of ccl-charge-night@.service, as its timer has them
    run.py commands   boost and stop, as JSON lines on standard input

The processes are those of the package, so that a fault of one ends no other: `serve`, which cannot write to the
charger, and beside it what may.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

from ccl_exporter.logs import to_stderr
from ccl_exporter.workers import Supervisor, Worker
from ccl_exporter.yaml_reader import as_yaml

log = logging.getLogger("ccl_exporter.addon")

DATA = Path("/data")
"""The folder that Home Assistant keeps and backs up; it writes `options.json` there."""

PROXY = "172.30.32.2"
"""Home Assistant's ingress, in the network of every installation."""

PORT = 9986
USER = 65532
NAME = "charger"
"""What the charger is called in the configuration, and so in metrics, topics and the session log."""

COMMANDS: Mapping[str, Sequence[str]] = {"boost": ("charge", "start", "--now"), "stop": ("charge", "stop")}
_STEADY = 60.0  # seconds after which a process that ends is restarted at once
_STOP_WITHIN = 45.0  # seconds; the follower takes up to 20 to set the safe current
_LONGEST_LINE = 4096

Options = Mapping[str, Any]


def broker(options: Options) -> Mapping[str, Any] | None:
    """Host, port, login of the broker that Home Assistant knows; None without one, or if it is not wanted."""
    if not options.get("mqtt", True):
        return None
    request = urllib.request.Request(
        "http://supervisor/services/mqtt", headers={"Authorization": f"Bearer {os.environ['SUPERVISOR_TOKEN']}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: Mapping[str, Any] = json.load(answer)["data"]
            return found
    except (OSError, ValueError, KeyError) as error:
        log.warning("Home Assistant has no MQTT broker for this add-on (%s): no entities", error)
        return None


def broker_url(service: Mapping[str, Any]) -> str:
    return f"mqtt{'s' if service.get('ssl') else ''}://{service['host']}:{service['port']}"


def configuration(options: Options, service: Mapping[str, Any] | None, folder: Path) -> dict[str, Any]:
    """The configuration file as a mapping; passwords are in files of `folder`."""
    charger = {key: value for key, value in options["charger"].items() if value and key != "password"}
    if options["charger"].get("password"):
        charger["password_file"] = str(folder / "charger-password")
    found: dict[str, Any] = {"chargers": {NAME: charger}}
    tariff = {key: value for key, value in options.get("tariff", {}).items() if value not in ("", None)}
    if windows := options.get("cheap_hours"):
        tariff["windows"] = list(windows)
    if tariff:
        found["tariff"] = tariff
    if service is not None:
        found["mqtt"] = {"url": broker_url(service), "discovery": "homeassistant"}
        if service.get("username"):
            found["mqtt"] |= {"username": service["username"], "password_file": str(folder / "broker-password")}
    return found


def follow_flags(options: Options, service: Mapping[str, Any] | None) -> list[str] | None:
    """The flags of `charge follow`; None if the charge follows nothing."""
    follow = {key: str(value) for key, value in options.get("follow", {}).items() if value not in ("", None)}
    if "mode" not in follow or follow["mode"] == "off":
        return None
    if service is None:
        log.error("`follow` needs the MQTT broker of Home Assistant: the charge follows nothing")
        return None
    flags = ["--broker", broker_url(service)]
    for key in ("mode", "topic", "field", "input", "unit", "pv_peak"):
        if key in follow:
            flags += [f"--{key.replace('_', '-')}", follow[key]]
    if options.get("supply"):
        flags += ["--supply", options["supply"]]
    if options.get("cheap_hours"):
        flags += ["--full-between", "tariff"]
    return flags


@dataclass
class Part:
    """A process of the add-on. `restore` is a command that puts right what it left behind if it was killed."""

    name: str
    command: Sequence[str]
    restore: Sequence[str] | None = None
    takes_input: bool = False
    _process: subprocess.Popen[bytes] | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)

    def step(self, _now: float) -> float:
        """Run it until it ends; raises if that was soon, so that its worker waits before the next time."""
        self._restore()
        if self._stopping.is_set():
            return 0.0
        began = monotonic()
        self._process = subprocess.Popen(self.command, stdin=None if self.takes_input else subprocess.DEVNULL)
        if self._stopping.is_set():
            self._process.terminate()
        code = self._process.wait()
        if self._stopping.is_set():
            return 0.0
        if monotonic() - began < _STEADY:
            raise RuntimeError(f"ended with {code}")
        log.error("%s ended with %d and is restarted", self.name, code)
        return 1.0

    def stop(self) -> None:
        """End it and wait; then nothing that it left is pending."""
        self._stopping.set()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_WITHIN)
            except subprocess.TimeoutExpired:
                log.error("%s does not end and is killed", self.name)
                self._process.kill()
                self._process.wait()
                self._restore()

    def _restore(self) -> None:
        if self.restore is not None:
            subprocess.run(self.restore, stdin=subprocess.DEVNULL, check=False)


def parts(options: Options, service: Mapping[str, Any] | None, config: Path) -> list[Part]:
    """The processes in the order in which they are stopped: first who sets the safe current."""
    program, this = [str(Path(sys.executable).with_name("ccl-exporter"))], [sys.executable, __file__]
    found = []
    if (flags := follow_flags(options, service)) is not None:
        follow = [*program, "charge", "follow"]
        found.append(Part("follower", [*follow, *flags], [*follow, "--restore"]))
    elif options.get("only_cheap_hours"):
        found.append(Part("night", [*this, "night"]))
    found.append(Part("commands", [*this, "commands"], takes_input=True))
    serve = ["serve", "--config.file", str(config), "--web.listen-address", f":{PORT}"]
    # Without the variable, which would name a charger besides those of the file.
    found.append(Part("service", ["env", "-u", "CCL_CHARGER", *program, *serve, "--web.trusted-proxy", PROXY]))
    return found


def write_secret(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def prepare(options: Options, service: Mapping[str, Any] | None) -> Path:
    """Write the configuration file, and become a user who can do nothing else; returns the file."""
    folder, state = DATA / "config", DATA / "state"
    shutil.rmtree(folder, ignore_errors=True)
    for place in (folder, state):
        place.mkdir(mode=0o700, exist_ok=True)
    if options["charger"].get("password"):
        write_secret(folder / "charger-password", options["charger"]["password"])
    if service is not None and service.get("username"):
        write_secret(folder / "broker-password", service.get("password", ""))
        os.environ["CCL_MQTT_USERNAME"] = service["username"]
        os.environ["CCL_MQTT_PASSWORD_FILE"] = str(folder / "broker-password")
    config = folder / "ccl.yaml"
    config.write_text(as_yaml(configuration(options, service, folder)))
    os.environ |= {"STATE_DIRECTORY": str(state), "CCL_CONFIG_FILE": str(config), "CCL_CHARGER": NAME}
    if os.geteuid() == 0:
        # A backup may have been made under another user.
        for path in (folder, state, *folder.rglob("*"), *state.rglob("*")):
            os.chown(path, USER, USER)
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)
    return config


def run() -> None:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    options: Options = json.loads((DATA / "options.json").read_text(encoding="utf-8"))
    service = broker(options)
    config = prepare(options, service)
    workers = {Worker(part.name, part.step): part for part in parts(options, service, config)}
    supervisor = Supervisor()
    supervisor.add(*workers)
    supervisor.start()
    stopped.wait()
    supervisor.stop()
    for worker, part in workers.items():
        part.stop()
        worker.join(monotonic() + _STOP_WITHIN)


def night() -> None:
    """At once and at the minutes of ccl-charge-night@.timer; a command of the wrong hour ends at once."""
    while True:
        for command in (("start", "--between"), ("disable", "--nightly", "--outside")):
            ccl("charge", *command, "tariff")
        while True:
            sleep(60 - time() % 60)
            if int(time() // 60) % 10 in (1, 9):
                break


def commands() -> None:
    """Do what lines of standard input ask for; any other line does nothing."""
    while line := sys.stdin.buffer.readline(_LONGEST_LINE):
        name = command_of(line)
        if name is None:
            log.warning('a command is {"command": "boost"} or {"command": "stop"}; another line is ignored')
        else:
            ccl(*COMMANDS[name])
    threading.Event().wait()  # nothing will come, which is no failure


def command_of(line: bytes) -> str | None:
    """The command of a line; None for everything but exactly the two."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    known = [name for name in COMMANDS if found == {"command": name}]
    return known[0] if known else None


def ccl(*arguments: str) -> None:
    """Run a command to its end; whoever ends this process ends the command in good order."""
    program = Path(sys.executable).with_name("ccl-exporter")
    process = subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL)
    try:
        log.info("%s: exit code %d", " ".join(arguments), process.wait())
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    to_stderr("info", as_json=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    {"night": night, "commands": commands}.get("".join(sys.argv[1:]), run)()
