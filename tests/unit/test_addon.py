"""The add-on for Home Assistant: its options become a configuration and commands; its files agree."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.addon import ADDON, CONFIG, RUN
from helpers.support import PROJECT, RELEASE

from ccl_exporter.cli.shared import configuration
from ccl_exporter.settings import MqttSettings
from ccl_exporter.yaml_reader import as_yaml

BROKER = {"host": "core-mosquitto", "port": 1883, "ssl": False, "username": "addons", "password": "p$${x} ü"}
WHOLE = {
    **CONFIG["options"],
    "charger": {"url": "http://192.0.2.10", "title": "Wallbox", "username": "u", "password": "$secret"},
    "tariff": {"currency": "GBP", "price": 0.2877, "timezone": "Europe/London"},
    "cheap_hours": [{"from": "00:30", "to": "04:30", "price": 0.085}],
    "follow": {"mode": "surplus", "topic": "house/power", "field": "power", "input": "import", "pv_peak": "4kW"},
    "supply": "60A",
}
LEAST = {**CONFIG["options"], "charger": {"url": "http://192.0.2.10"}}


@pytest.mark.parametrize("options", [WHOLE, LEAST], ids=["all options", "the least"])
def test_the_configuration_is_valid_and_has_the_options(options: Mapping[str, Any], tmp_path: Path) -> None:
    for name in ("charger", "broker"):
        (tmp_path / f"{name}-password").write_text("p$${x}", encoding="utf-8")
    file = tmp_path / "ccl.yaml"
    file.write_text(as_yaml(RUN.configuration(options, BROKER, tmp_path)))
    found = configuration(file, patient=False).settings

    (charger,) = found.chargers.values()
    assert charger.name == RUN.NAME
    assert charger.url == "http://192.0.2.10"
    assert charger.title == options["charger"].get("title", "")
    assert (charger.credentials is None) == ("password" not in options["charger"])
    assert (found.tariff is None) == (not options["tariff"])
    (mqtt,) = found.outputs
    assert isinstance(mqtt, MqttSettings)
    assert mqtt.broker.shown == "mqtt://core-mosquitto:1883"
    assert mqtt.discovery == "homeassistant"


def test_without_a_broker_nothing_is_published_and_nothing_followed(tmp_path: Path) -> None:
    assert "mqtt" not in RUN.configuration(WHOLE, None, tmp_path)
    assert RUN.follow_flags(WHOLE, None) is None
    assert RUN.broker({**WHOLE, "mqtt": False}) is None


def test_the_follower_has_the_options_and_is_stopped_first(tmp_path: Path) -> None:
    follower, *others = RUN.parts(WHOLE, BROKER, tmp_path / "ccl.yaml")
    command = " ".join(follower.command)

    for flags in (
        "charge follow --broker mqtt://core-mosquitto:1883 --mode surplus --topic house/power --field power",
        "--input import --pv-peak 4kW --supply 60A --full-between tariff",
    ):
        assert flags in command
    assert follower.restore[-3:] == ["charge", "follow", "--restore"]
    assert [part.name for part in others] == ["commands", "service"]
    assert [part.name for part in others if part.takes_input] == ["commands"]


def test_the_night_tariff_and_a_follower_exclude_each_other(tmp_path: Path) -> None:
    def names(options: Mapping[str, Any]) -> list[str]:
        return [part.name for part in RUN.parts(options, BROKER, tmp_path / "ccl.yaml")]

    assert names(LEAST) == ["commands", "service"]
    assert names({**LEAST, "only_cheap_hours": True}) == ["night", "commands", "service"]
    assert names({**WHOLE, "only_cheap_hours": True}) == ["follower", "commands", "service"]
    assert names({**WHOLE, "follow": {"mode": "off"}}) == ["commands", "service"]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ('{"command": "boost"}\n', "boost"),
        (' {"command":"stop"}\r\n', "stop"),
        ('{"command": "Boost"}', None),
        ('{"command": "boost", "charger": "x"}', None),
        ('{"command": ["boost"]}', None),
        ('["boost"]', None),
        ('"boost"', None),
        ("boost", None),
        ("", None),
        ("[" * 4000, None),
        ('{"command": "set"}', None),
        ("\x00\xff", None),
    ],
)
def test_a_command_is_boost_or_stop_and_nothing_else(line: str, command: str | None) -> None:
    assert RUN.command_of(line.encode("latin-1")) == command


def test_no_port_is_open_and_data_is_in_backups() -> None:
    assert "ports" not in CONFIG
    assert "host_network" not in CONFIG
    assert CONFIG["ingress"] is True
    assert CONFIG["ingress_port"] == RUN.PORT
    assert CONFIG["stdin"] is True
    assert "backup_exclude" not in CONFIG
    assert not {"full_access", "privileged", "docker_api", "hassio_role", "homeassistant_api"} & CONFIG.keys()


def test_versions_are_those_of_the_release() -> None:
    dockerfile = (ADDON / "Dockerfile").read_text(encoding="utf-8")
    base = re.findall(
        r"^FROM (\S+)", (PROJECT / "deploy" / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )

    assert CONFIG["version"] == RELEASE
    assert re.findall(r"^ARG BUILD_VERSION=(.*)$", dockerfile, re.MULTILINE) == [RELEASE]
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == [base[-1]]


def test_every_option_has_a_default_or_is_optional_and_is_explained() -> None:
    schema, page = CONFIG["schema"], (ADDON / "DOCS.md").read_text(encoding="utf-8")
    translated = yaml.safe_load((ADDON / "translations" / "en.yaml").read_text(encoding="utf-8"))["configuration"]

    assert {name for name, kind in schema.items() if not str(kind).endswith("?")} == CONFIG["options"].keys()
    assert schema.keys() == translated.keys()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(schema)
