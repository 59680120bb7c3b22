"""What the pages say of MQTT holds: the three commands, the topics, the messages, the entities."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from helpers.brokers import Broker, Listener, listening, running
from helpers.readme_table import FIELDS_README, README
from helpers.support import PROJECT, Start, server

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.mqtt.homeassistant import Place, discovery, seen
from ccl_exporter.simulator import Simulator

PAGE = FIELDS_README.read_text(encoding="utf-8").partition("# What is published over MQTT")[2]
SECTION = README.read_text(encoding="utf-8").partition("## MQTT and Home Assistant")[2].partition("\n## ")[0]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running(Broker(tmp_path / "broker")) as started:
        yield started


def test_the_commands_bring_messages_on_the_screen(
    broker: Broker, start: Start, tmp_path: Path, state: Path
) -> None:
    (configuration,) = re.findall(r"```yaml\n(.*?)```", SECTION, flags=re.DOTALL)
    (block,) = re.findall(r"```bash\n(.*?)```", SECTION, flags=re.DOTALL)
    install, simulate, serve, hear, stop = block.splitlines()
    simulate, _, charger_id = simulate.partition(" & ")
    serve, _, exporter_id = serve.partition(" & ")
    started = " ".join(f"${name.removesuffix('=$!')}" for name in (exporter_id, charger_id))
    assert stop == f"kill {started}; wait {started}"
    pip = [sys.executable, "-m", "pip", *shlex.split(install)[1:]]
    planned = subprocess.run([*pip, "--dry-run"], cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    assert "paho-mqtt" in planned

    simulated = start(*shlex.split(simulate)[1:], "--web.listen-address", "127.0.0.1:0")
    charger = simulated.line(r"http://127\.0\.0\.1:\d+")[0]
    text = configuration.replace("http://127.0.0.1:9987", charger).replace(":1883", f":{broker.port}")
    (tmp_path / "mqtt.yaml").write_text(text)
    folder, _, command, flag, name = shlex.split(serve)
    variable, _, _ = folder.partition("=/tmp/trial")
    words = (command, flag, str(tmp_path / name), "--web.listen-address", "127.0.0.1:0")
    start(*words, env={variable: str(tmp_path / "trial")}).line("Metrics of")
    program, *arguments = shlex.split(hear)
    listen = [server(program), *arguments, "-p", str(broker.port), "-C", "5"]
    shown = subprocess.run(listen, check=True, capture_output=True, text=True).stdout

    assert {line.partition(" ")[0] for line in shown.splitlines()} <= {
        *(
            "trial/owner",
            "trial/status",
            "trial/chargers",
            "trial/simulated/status",
            "trial/simulated/station",
            "trial/simulated/plug/EVSE.PLUG",
        ),
    }
    assert (tmp_path / "trial" / "charges.db").exists()
    assert not (state / "charges.db").exists()


def has_keys(listener: Listener, topic: str, keys: set[str]) -> bool:
    return set(json.loads(listener.newest.get(topic, b"{}"))) == keys


@pytest.fixture
def charging() -> Iterator[Simulator]:
    with Simulator(autopilot=False) as simulator:
        simulator.site.plugs[0].plug_in()
        simulator.site.plugs[0].authorise()
        yield simulator


def test_topics_and_messages_are_those_of_the_page(
    charging: Simulator, broker: Broker, start: Start, tmp_path: Path
) -> None:
    config = tmp_path / "ccl.yaml"
    config.write_text(
        f"chargers: {{garage: {{url: '{charging.url}'}}}}\n"
        f"mqtt: {{url: 'mqtt://127.0.0.1:{broker.port}', discovery: homeassistant, interval: 1s,"
        " modules: [core, variables], single_values: true}\n"
    )
    start("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")
    topics = re.findall(r"^\| `(.+?)` \|", PAGE, flags=re.MULTILINE)
    (sample,) = re.findall(r"```\n(.*?)```", PAGE, flags=re.DOTALL)
    messages = {topic: json.loads(text) for topic, _, text in (x.partition(" ") for x in sample.splitlines())}
    with listening(broker.port) as listener:
        for topic, document in messages.items():
            listener.wait(partial(has_keys, listener, topic, set(document)))
            found = listener.document(topic)
            kinds = {key: float if type(value) is int else type(value) for key, value in found.items()}
            assert kinds == {key: float if type(value) is int else type(value) for key, value in document.items()}
        patterns = [re.escape(topic).replace("/ID/", "/ccl_[0-9a-f]+/") for topic in topics]
        listener.wait(
            lambda: all(any(re.fullmatch(pattern, topic) for topic in listener.newest) for pattern in patterns)
        )

    assert len(topics) == 9


def test_entities_are_those_of_the_page() -> None:
    every = [
        Sample(family, tuple({"plug": "P", "phase": ""}.get(label, "x") for label in family.labels), 1.0)
        for family in f.FAMILIES
        if "plug" in family.labels or family.name.startswith("ccl_station_")
    ]
    found = seen(every, (f.CHARGE_ENERGY,))
    station, plug = map(
        json.loads, discovery(Place("ccl", "homeassistant"), "garage", "http://192.0.2.10", found, {}).values()
    )
    tables = re.findall(r"^\| (main|diagnostic|disabled at first) \| (.*) \|$", PAGE, re.MULTILINE)

    def kind(component: Mapping[str, object]) -> str:
        if component.get("enabled_by_default") is False:
            return "disabled at first"
        return "diagnostic" if "entity_category" in component else "main"

    for rows, message in ((tables[:3], plug), (tables[3:], station)):
        listed = {(name, title) for title, names in rows for name in names.split(", ")}
        assert listed == {(component["name"], kind(component)) for component in message["components"].values()}
