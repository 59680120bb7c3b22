"""The snippets of deploy/neighbours do what they say at a simulated charger, as far as their counterpart is here.

What a real Home Assistant makes of its snippet is in test_home_assistant.py.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import yaml
from helpers.evcc import Plugins
from helpers.ha_templates import render
from helpers.support import COMMAND, OPENMETRICS, PROJECT, Scrape, get, server
from prometheus_client.parser import text_string_to_metric_families as parse

from ccl_exporter.simulator import Simulator

NEIGHBOURS = PROJECT / "deploy" / "neighbours"
PLUG = "EVSE.PLUG"

# What Telegraf asks for, by the source of its plugin `prometheus`.
TELEGRAF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)

# The keys of evcc's plugins, by its documentation of them.
EVCC = {
    "http": {"source", "uri", "method", "headers", "auth", "insecure", "jq", "regex", "default", "scale", "cache"}
    | {"timeout", "body", "quote", "unpack", "decode"},
    "combined": {"source", "plugged", "charging"},
    "script": {"source", "cmd", "timeout", "cache", "jq", "regex", "default", "scale"},
}
EVCC_CHARGER = {"name", "type", "status", "enabled", "enable", "maxcurrent", "power", "energy"}


@pytest.fixture
def charger() -> Iterator[Simulator]:
    with Simulator(autopilot=False, speed=20) as simulator:
        yield simulator


def document(name: str) -> Any:
    return yaml.safe_load((NEIGHBOURS / name).read_text(encoding="utf-8"))


def here(url: str, metrics: str, charger: Simulator) -> str:
    """The URL of a snippet at the exporter of a test."""
    url = url.replace("http://127.0.0.1:9986", metrics.removesuffix("/metrics"))
    return url.replace("/evse.json", f"/{charger.url.removeprefix('http://')}.json")


def charge(charger: Simulator) -> None:
    charger.site.plugs[0].plug_in()
    charger.site.plugs[0].authorise()


def charging(url: str) -> Scrape:
    """A scrape while power flows."""
    while True:
        found = Scrape.of(get(url, Accept=OPENMETRICS))
        if (found.get("ccl_plug_power_watts", plug=PLUG) or 0.0) > 0:
            return found


class TestHomeAssistant:
    def test_its_sensors_find_what_the_charger_has(self, charger: Simulator, serve: Callable[..., str]) -> None:
        charge(charger)
        url = serve(charger.url)
        charging(url)
        (resource,) = document("homeassistant.yaml")["rest"]
        answer = get(here(resource["resource"], url, charger))
        found = {}
        for sensor in resource["sensor"]:
            assert render(sensor["availability"], answer) == "True"
            found[sensor["name"]] = render(sensor["value_template"], answer)

        assert found["Charger status"] == "charging"
        assert 0 < float(found["Charger power"]) < 8000
        assert float(found["Charger energy"]) == pytest.approx(1234.6, abs=1)

    @pytest.mark.parametrize(
        "answer",
        [
            "",
            "the charger is not configured",
            "null",
            "[]",
            "{}",
            '{"up": false, "plugs": {}}',
            '{"up": false, "plugs": null}',
            '{"up": true, "plugs": {"EVSE.PLUG": {}}}',
            '{"up": true, "plugs": {"EVSE.OTHER": {"power_watts": 1, "energy_kwh": 1, "status": "charging"}}}',
        ],
    )
    def test_its_sensors_are_unavailable_when_the_plug_is_and_raise_nothing(self, answer: str) -> None:
        (resource,) = document("homeassistant.yaml")["rest"]
        for sensor in resource["sensor"]:
            assert render(sensor["availability"], answer) == "False"
            assert render(sensor["value_template"], answer) == "None"

    def test_its_commands_command(self, charger: Simulator) -> None:
        charge(charger)
        for name, command in document("homeassistant.yaml")["shell_command"].items():
            text = re.sub(r"{{ '(\w+)' if .* }}", r"\1", command).replace("http://evse", charger.url)
            _, *arguments = shlex.split(text)
            done = subprocess.run([str(COMMAND), *arguments], capture_output=True, text=True, check=False)
            assert done.returncode in (0, 6), (name, done.stderr)

        assert sum(request.method == "PUT" for request in charger.requests) >= 2


class TestEvcc:
    @pytest.fixture
    def configured(self) -> Mapping[str, Any]:
        (found,) = document("evcc.yaml")["chargers"]
        return dict(found)

    def test_it_has_the_documented_keys(self, configured: Mapping[str, Any]) -> None:
        def check(plugin: Mapping[str, Any]) -> int:
            assert set(plugin) <= EVCC[plugin["source"]]
            inner = [part for part in plugin.values() if isinstance(part, dict)]
            return 1 + sum(map(check, inner))

        assert set(configured) <= EVCC_CHARGER
        assert sum(check(part) for part in configured.values() if isinstance(part, dict)) == 8

    def test_it_reads_what_is(
        self, configured: Mapping[str, Any], charger: Simulator, serve: Callable[..., str]
    ) -> None:
        url = serve(charger.url)

        def read() -> tuple[object, ...]:
            evcc = Plugins(lambda uri: get(here(uri, url, charger)).encode(), lambda command: 0, lambda: 0.0)
            values = (evcc.number(configured[name]) for name in ("power", "energy"))
            return evcc.status(configured["status"]), evcc.is_so(configured["enabled"]), *values

        idle = read()
        charge(charger)
        metrics = charging(url)

        assert idle[:3] == ("A", False, 0)
        joules = metrics.get("ccl_plug_energy_joules_total", plug=PLUG) or 0
        assert read() == ("C", True, pytest.approx(7350, rel=0.5), pytest.approx(joules / 3.6e6, rel=0.001))

    def test_its_commands_command_and_what_is_so_already_is_no_failure(
        self, configured: Mapping[str, Any], charger: Simulator
    ) -> None:
        start = re.sub(r"\{\{if \.enable\}\}(\w+)\{\{else\}\}(\w+)\{\{end\}\}", r"\1", configured["enable"]["cmd"])
        stop = re.sub(r"\{\{if \.enable\}\}(\w+)\{\{else\}\}(\w+)\{\{end\}\}", r"\2", configured["enable"]["cmd"])
        limit = configured["maxcurrent"]["cmd"].replace("${maxcurrent:%d}", "6")
        environment = {**os.environ, "PATH": f"{COMMAND.parent}:{os.environ['PATH']}"}
        codes = {}

        def run(name: str, command: str) -> None:
            script, *arguments = shlex.split(command.replace("http://evse", charger.url))
            assert script == "/usr/local/bin/evcc-charger.sh"
            done = subprocess.run(
                [str(NEIGHBOURS / "evcc-charger.sh"), *arguments],
                env=environment,
                capture_output=True,
                check=False,
            )
            codes[name] = done.returncode

        run("start without a car", start)
        charger.site.plugs[0].plug_in()
        for name, command in (("start", start), ("limit", limit), ("limit again", limit)):
            run(name, command)
        run("stop", stop)
        run("nonsense", limit.replace("6A", "nonsense"))

        assert codes.pop("nonsense") == 2
        assert set(codes.values()) == {0}, codes


class TestTelegraf:
    def test_its_file_is_valid_and_asks_what_is_there(self, charger: Simulator, serve: Callable[..., str]) -> None:
        found = tomllib.loads((NEIGHBOURS / "telegraf.conf").read_text(encoding="utf-8"))
        (plugin,) = found["inputs"]["prometheus"]
        (url,) = plugin["urls"]
        here = serve(charger.url)

        assert set(plugin) == {"urls", "metric_version", "interval"}
        target = re.sub(r"^http://127\.0\.0\.1:9986", here.removesuffix("/metrics"), url)
        families = list(parse(get(target, Accept=TELEGRAF)))
        assert {"ccl_up", "ccl_plug_energy_joules"} <= {family.name for family in families}


@contextmanager
def network(*names: str) -> Iterator[None]:
    """Networks that know nothing of each other and of this machine's."""
    with ExitStack() as stack:
        for name in names:
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("-n", name, "link", "set", "lo", "up")
        yield


def ip(*arguments: str) -> None:
    subprocess.run([server("ip"), *arguments], check=True)


def inside(name: str, *command: str) -> list[str]:
    return [server("ip"), "netns", "exec", name, *command]


CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[2], int(sys.argv[3])), 1, (sys.argv[1], 0)).close()
    print("open")
except TimeoutError:
    print("silence")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make networks; in CI we are root")
def test_behind_the_wall_only_the_exporter_reaches_the_charger_and_only_its_readings() -> None:
    """Three networks: the house with the exporter (192.0.2.1) and a stranger (192.0.2.2), router, charger."""
    own = os.getpid() % 10_000
    house, router, garage = (f"ccl-{name}-{own}" for name in ("house", "router", "garage"))

    def reaches(name: str, source: str, address: str, port: int) -> str:
        command = inside(name, sys.executable, "-c", CONNECT, source, address, str(port))
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    with network(house, router, garage), ExitStack() as stack:
        ip("link", "add", "house", "netns", router, "type", "veth", "peer", "name", "eth0", "netns", house)
        ip("link", "add", "chargers", "netns", router, "type", "veth", "peer", "name", "eth0", "netns", garage)
        for name, device, *addresses in (
            (house, "eth0", "192.0.2.1/24", "192.0.2.2/24"),
            (router, "house", "192.0.2.254/24"),
            (router, "chargers", "198.51.100.1/24"),
            (garage, "eth0", "198.51.100.10/24"),
        ):
            for address in addresses:
                ip("-n", name, "address", "add", address, "dev", device)
            ip("-n", name, "link", "set", device, "up")
        ip("-n", house, "route", "add", "default", "via", "192.0.2.254")
        ip("-n", garage, "route", "add", "default", "via", "198.51.100.1")
        subprocess.run(inside(router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"), check=True)
        for port in (80, 8080, 65432):
            listen = ("simulate", "--web.listen-address", f"198.51.100.10:{port}")
            command = inside(garage, str(COMMAND), *listen)
            started = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(started.terminate)
            assert started.stdout is not None
            assert "answers on" in started.stdout.readline()
        open_before = reaches(house, "192.0.2.2", "198.51.100.10", 8080)
        subprocess.run(inside(router, server("nft"), "-f", str(NEIGHBOURS / "nftables.conf")), check=True)
        ways = [
            *((house, "192.0.2.1", "198.51.100.10", port) for port in (80, 8080, 65432)),
            *((house, "192.0.2.2", "198.51.100.10", port) for port in (80, 8080, 65432)),
            (garage, "198.51.100.10", "192.0.2.1", 9986),
            (garage, "198.51.100.10", "198.51.100.1", 22),
        ]
        found = list(ThreadPoolExecutor(len(ways)).map(lambda way: reaches(*way), ways))
        shown = subprocess.run(
            inside(house, str(COMMAND), "get", "EVSE.PLUG.AE", "-c", "http://198.51.100.10"),
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert open_before == "open"
    assert found == ["open", *["silence"] * 7]
    assert float(shown) > 0
