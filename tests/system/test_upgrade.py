"""The upgrade from version 0.1 and the way back, with what 0.1 left: its units, Prometheus file, state folder, a
queue that waits, what a broker keeps, and a follower that was killed.

Version 0.1 is a wheel that is built of its commit, so this needs the history of the project.
"""

import csv
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import zlib
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep, time
from urllib.parse import urlencode

import pytest
from helpers.brokers import Broker, Listener, listening
from helpers.brokers import running as broker_running
from helpers.databases import Influx, free_port
from helpers.databases import running as database_running
from helpers.following import house_of
from helpers.prometheus import await_value, server_of
from helpers.support import COMMAND, PROJECT, Process, Start, get

from ccl_exporter.simulator import Simulator

COMMIT = "af8b078"
INSTALLED = "/opt/ccl-exporter/bin/ccl-exporter"
BACK = PROJECT / "deploy" / "systemd" / "back-to-0.1.py"
UV = Path(sys.executable).with_name("uv")
SELF_METRICS = re.compile("(ccl_exporter|ccl_influxdb|ccl_mqtt|process|python)_")
PATIENCE = 90.0


@dataclass(frozen=True)
class Version:
    """A command, and the files that are deployed with it."""

    command: Path
    deploy: Path

    def unit(self, name: str, setting: str) -> list[str]:
        """The words after our command in a setting of a unit."""
        text = (self.deploy / "systemd" / name).read_text(encoding="utf-8").replace("\\\n", " ")
        (line,) = re.findall(rf"^{setting}=-?{INSTALLED} (.*)$", text, re.MULTILINE)
        return shlex.split(line)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """Version 0.1, from the history of this project."""
    folder = tmp_path_factory.mktemp("version-0.1")
    source, environment = folder / "source", folder / "environment"
    packed = subprocess.run(["git", "archive", COMMIT], cwd=PROJECT, capture_output=True, check=False)
    assert packed.returncode == 0, f"the history with {COMMIT} is needed: {packed.stderr.decode()}"
    source.mkdir()
    subprocess.run(["tar", "-x", "-C", str(source)], input=packed.stdout, check=True)
    for arguments in (
        ("build", "--wheel", "--out-dir", folder, source),
        ("venv", "--python", sys.executable, environment),
    ):
        subprocess.run([UV, "--quiet", *map(str, arguments)], check=True)
    (wheel,) = folder.glob("*.whl")
    python = environment / "bin" / "python"
    subprocess.run([UV, "--quiet", "pip", "install", "--python", python, f"{wheel}[mqtt]"], check=True)
    return Version(python.with_name("ccl-exporter"), source / "deploy")


NEW = Version(COMMAND, PROJECT / "deploy")


@dataclass
class Home:
    """An installation, whose version changes: one charger, and the state folder."""

    start: Start
    folder: Path
    simulator: Simulator
    house: str
    port: int
    version: Version

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def environment(self) -> dict[str, str]:
        found = {"STATE_DIRECTORY": str(self.state)}
        # A path to this version's modules is not for the old one.
        return found if self.version is NEW else {**found, "PYTHONPATH": ""}

    def configure(self, database: str, broker: int) -> None:
        config = {
            "chargers": {"garage": {"url": self.simulator.url}},
            "influxdb": [{"url": database, "version": 1, "database": "evse", "interval": "1s"}],
            "mqtt": {"url": f"mqtt://127.0.0.1:{broker}", "discovery": "homeassistant", "interval": "1s"},
        }
        (self.folder / "ccl.yaml").write_text(json.dumps(config))  # JSON is YAML

    def begin(self, words: list[str]) -> Process:
        """Start what a unit runs."""
        here = {
            "/etc/ccl-exporter/ccl.yaml": str(self.folder / "ccl.yaml"),
            "http://127.0.0.1:9090": self.house,
            "127.0.0.1:9988": "127.0.0.1:0",
        }
        words = [here.get(word, word) for word in words]
        environment = self.environment
        if words[0] == "serve":
            words += ["--web.listen-address", f"127.0.0.1:{self.port}"]
        else:
            environment["CCL_CHARGER"] = self.simulator.url
        process: Process = self.start(*words, command=self.version.command, env=environment)
        return process

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        # In the log the charger is called by its name, which is not its address.
        charger = {} if "log" in words else {"CCL_CHARGER": self.simulator.url}
        return subprocess.run(
            [str(self.version.command), *words],
            env={**os.environ, **self.environment, **charger},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def sessions(self) -> list[dict[str, str]]:
        """The session log, without what only 0.2 knows."""
        shown = self.run("charge", "log", "--csv")
        assert shown.returncode == 0, shown.stderr
        rows = csv.DictReader(shown.stdout.splitlines())
        return [{key: row[key] for key in row if key not in ("cost", "currency")} for row in rows]

    def plug_in(self, need_wh: float) -> None:
        """A car comes and may charge, whatever limit was left."""
        self.simulator.site.force("Plug - Mode 3", [("Plug - Mode 3.PREDUCTION", 0.0)], 0.0)
        self.simulator.site.plugs[0].plug_in(need_wh)
        self.simulator.site.plugs[0].authorise()

    def charge(self) -> None:
        """A session from begin to end, until it is recorded."""
        before = len(self.sessions())
        plug = self.simulator.site.plugs[0]
        self.plug_in(100.0)
        await_that(lambda: plug.energy_wh and plug.watts > 0, "the car charges")
        sleep(2)  # as long as the exporter reads a charge that runs
        plug.unplug()
        await_that(lambda: len(self.sessions()) == before + 1, "the session is recorded")

    def reduction(self) -> float:
        with self.simulator.site.present():
            return self.simulator.site.model.places[0].plug.limits.reduction

    def kill_a_follower(self) -> float:
        """Let a follower limit the car and kill it; returns the PREDUCTION of its pending restore."""
        self.plug_in(50_000.0)
        follower = self.begin(self.version.unit("ccl-charge-follow.service", "ExecStart"))
        await_that(lambda: self.reduction() not in (0.0, 100.0), "the follower limits the car")
        follower.process.kill()
        follower.process.wait()
        (pending,) = self.state.glob("writes/*/back-*.json")
        (restored,) = json.loads(pending.read_text())["before"].values()
        assert restored != self.reduction()
        return float(restored)

    def batches(self) -> dict[int, tuple[str, ...]]:
        """The lines that wait for the database, by the id of their batch."""
        (spool,) = self.state.glob("influxdb-*.db")
        with closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT id, body FROM batch").fetchall()
        return {id: tuple(zlib.decompress(body).decode().split("\n")) for id, body in rows}


def await_that(what: object, said: str) -> None:
    assert callable(what)
    deadline = monotonic() + PATIENCE
    while not what():
        assert monotonic() < deadline, said
        sleep(0.1)


def series(prometheus: str, since: float, until: float) -> set[str]:
    """All series that a Prometheus stored in a time, as text, without those that only a version has."""
    asked = urlencode({"match[]": '{__name__=~"ccl_.+"}', "start": since, "end": until})
    found = json.loads(get(f"{prometheus}/api/v1/series?{asked}"))["data"]
    return {json.dumps(one, sort_keys=True) for one in found if one["__name__"] != "ccl_exporter_build_info"}


def renamed() -> set[str]:
    """The old names in the changelog's table."""
    chapter = (PROJECT / "deploy" / "CHANGELOG.md").read_text(encoding="utf-8").partition("\n## 0.2.0")[2]
    table = chapter.partition("\n### Renamed metrics\n")[2].partition("\n### ")[0]
    return set(re.findall(r"^\| `(\w+)` \| `\w+` \|$", table, re.MULTILINE))


def discovered(listener: Listener) -> set[tuple[str, str]]:
    """The entities of Home Assistant by topic and unique id."""
    return {
        (topic, entity)
        for topic, text in listener.newest.items()
        if topic.startswith("homeassistant/")
        for entity in re.findall(r'"(?:unique_id|uniq_id)": ?"([^"]+)"', text.decode())
    }


def prometheus_file(version: Version, port: int) -> str:
    """The file of a version for an exporter at a port, without rules and alerts, faster."""
    text = (version.deploy / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    text = text.partition("rule_files:")[0] + text[text.index("scrape_configs:") :]
    for deployed, here in (
        ("127.0.0.1:9986", f"127.0.0.1:{port}"),
        ("scrape_interval: 15s", "scrape_interval: 2s"),
        ("scrape_timeout: 10s", "scrape_timeout: 2s"),
        ("/sd\n", "/sd\n        refresh_interval: 1s\n"),
    ):
        assert deployed in text, deployed
        text = text.replace(deployed, here)
    return text


def test_an_upgrade_and_the_way_back_lose_nothing(  # noqa: PLR0915 - one installation goes all the way
    old: Version, start: Start, tmp_path: Path
) -> None:
    database, port = Influx(tmp_path / "influx"), free_port()
    (tmp_path / "prometheus.yml").write_text(prometheus_file(old, port))
    with (
        Simulator(autopilot=False, speed=10) as simulator,
        house_of(simulator, -3000.0) as house,
        broker_running(Broker(tmp_path / "broker")) as broker,
        listening(broker.port) as listener,
        server_of(tmp_path / "prometheus.yml", tmp_path) as prometheus,
    ):
        home = Home(start, tmp_path, simulator, house, port, old)
        home.configure(database.url, broker.port)

        def serve(version: Version, unit: Version) -> Process:
            """Run a version as a unit of one of them says, until Prometheus and the broker have seen it."""
            home.version = version
            process = home.begin(unit.unit("ccl-exporter.service", "ExecStart"))
            info = f'ccl_exporter_build_info{{version=~"{"0.1" if version is old else "0.2"}.*"}}'
            await_value(prometheus, f"{info} and on() ccl_up == 1")
            listener.wait(lambda: b"online" in listener.newest.values())
            return process

        # Version 0.1: a session, a queue, and a follower that is killed.
        began = time()
        service = serve(old, old)
        await_that(home.sessions, "the session that the charger remembers is recorded")
        home.charge()
        first = home.sessions()
        limit = home.kill_a_follower()
        entities = discovered(listener)
        facts = home.state / "writes" / sha256(simulator.url.encode()).hexdigest()[:16] / "facts.json"
        kept = facts.read_bytes()
        assert service.stop() == 0
        waiting, upgraded = home.batches(), time()
        known = series(prometheus, began, upgraded)
        assert waiting
        assert entities

        # Version 0.2, by the units of 0.1.
        service = serve(NEW, old)
        stop = old.unit("ccl-charge-follow.service", "ExecStopPost")
        assert [home.run(*stop).returncode for _ in range(2)] == [0, 6]
        assert home.reduction() == limit
        simulator.site.plugs[0].unplug()
        await_that(lambda: len(home.sessions()) == len(first) + 1, "the session that 0.1 saw begin is recorded")
        home.charge()
        second = home.sessions()
        limit = home.kill_a_follower()
        assert home.run("charge", "follow", "--restore").returncode == 0
        assert home.reduction() == limit
        assert service.stop() == 0
        later, back = home.batches(), time()
        lost = {
            one
            for one in known - series(prometheus, upgraded, back)
            if json.loads(one)["__name__"] not in renamed()
        }
        assert lost == set()
        assert second[: len(first)] == first
        assert waiting.items() <= later.items()
        assert entities <= discovered(listener)
        assert (home.state / "charges.db.0.1").stat().st_mode & 0o777 == 0o600
        assert facts.read_bytes() == kept

        # Back, by the words of the page.
        assert home.run("charge", "follow", "--restore").returncode == 6
        subprocess.run([sys.executable, BACK, home.state], check=True, stdout=subprocess.DEVNULL)
        service = serve(old, old)
        third = home.sessions()
        assert third[: len(second)] == second
        simulator.site.plugs[0].unplug()
        await_that(lambda: len(home.sessions()) == len(second) + 1, "the session that 0.2 saw begin is recorded")
        home.charge()
        assert home.run(*stop).returncode == 6
        last = home.batches()
        assert later.items() <= last.items()
        assert entities <= discovered(listener)

        # What waited reaches the database, each reading once.
        with database_running(database):
            database.create()
            await_that(lambda: not last.keys() & home.batches().keys(), "the queue is sent")
            assert service.stop() == 0
            for table in ("ccl_scrape", "ccl_plug", "ccl_finished_charge"):
                lines = [line for lines in last.values() for line in lines if line.startswith(f"{table},")]
                taken = {int(line.rpartition(" ")[2]) for line in lines}
                stored = {row["time"] for row in database.query(f"SELECT * FROM {table}")}  # noqa: S608 - our names
                assert taken
                assert taken <= stored

        # And once more to 0.2.
        home.version = NEW
        assert len(home.sessions()) == len(second) + 2
