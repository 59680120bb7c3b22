"""Readings on a real broker (Debian's mosquitto), and what Home Assistant gets of them."""

import json
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic, time
from urllib.parse import quote

import pytest
import trustme
from benchmarks.processes import farm
from helpers.brokers import PATIENCE, Broker, Listener, listening, running
from helpers.misbehaving_servers import unresponsive_host
from helpers.support import OPENMETRICS, Process, Scrape, Start, get, server
from helpers.workers import supervised
from paho.mqtt.client import Client

from ccl_exporter.outputs.mqtt.client import AHEAD_PAUSE, MqttClient
from ccl_exporter.outputs.mqtt.homeassistant import MIGRATE, identity
from ccl_exporter.outputs.mqtt.ownership import TopicOwnership
from ccl_exporter.outputs.mqtt.payload import level
from ccl_exporter.settings import BrokerSettings, MqttSettings
from ccl_exporter.simulator import Simulator
from ccl_exporter.workers import Worker

PLUG = "ccl/garage/plug/EVSE.PLUG"

Serve = Callable[[str], Process]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running(Broker(tmp_path / "broker")) as started:
        yield started


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    with listening(broker.port) as started:
        yield started


@pytest.fixture
def garage() -> Iterator[Simulator]:
    with Simulator(autopilot=False) as simulator:
        yield simulator


@pytest.fixture
def serve_file(start: Start, tmp_path: Path) -> Serve:
    def run(text: str) -> Process:
        config = tmp_path / "ccl.yaml"
        config.write_text(text)
        return start("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")

    return run


def configuration(broker: Broker, more: str = "", scheme: str = "mqtt", **chargers: Simulator) -> str:
    listed = ", ".join(f"{name}: {{url: '{charger.url}'}}" for name, charger in chargers.items())
    url = f"{scheme}://127.0.0.1:{broker.port}"
    return f"chargers: {{{listed}}}\nmqtt: {{url: '{url}', interval: 1s{more}}}\n"


def shows(listener: Listener, connected: bool) -> bool:
    return json.loads(listener.newest[PLUG])["vehicle_connected"] is connected


def discovered(listener: Listener) -> dict[str, str]:
    """The names of the devices of Home Assistant's discovery messages, by topic."""
    return {
        topic: json.loads(message)["device"]["name"]
        for topic, message in listener.newest.items()
        if topic.startswith("homeassistant/device/ccl_") and message
    }


class TestReadings:
    def test_what_is_on_the_bus_is_what_the_metrics_say(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        process = serve_file(
            configuration(broker, ", modules: [core, variables], single_values: true", garage=garage)
        )
        url = process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]
        plug = listener.document(PLUG)
        metrics = Scrape.of(get(url, Accept=OPENMETRICS))

        assert listener.text("ccl/status") == "online"
        assert listener.text("ccl/garage/status") == "online"
        assert listener.text("ccl/chargers") == '["garage"]'
        for key in ("energy_joules_total", "current_limit_amperes", "current_max_amperes"):
            assert plug[key] == metrics.get(f"ccl_plug_{key}", plug="EVSE.PLUG")
        assert plug["energy_kwh"] == plug["energy_joules_total"] / 3.6e6
        assert plug["state"] == metrics.word("ccl_plug_state", plug="EVSE.PLUG")
        assert (plug["vehicle_connected"], plug["error"]) == (False, [])
        assert listener.text(f"{PLUG}/energy_kwh") == str(plug["energy_kwh"])
        assert listener.text(f"{PLUG}/enabled") == "true"
        meter = listener.document("ccl/garage/device/Plug - Meter")
        assert meter["AE_joules_total"] == plug["energy_joules_total"]
        assert metrics.get("ccl_mqtt_connected") == 1
        assert (metrics.get("ccl_mqtt_sent_messages_total") or 0) > 0

    def test_messages_are_kept_for_those_who_come_later_and_are_acknowledged(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        serve_file(configuration(broker, garage=garage))
        listener.document(PLUG)
        listener.document("ccl/garage/station")
        listener.text("ccl/garage/status")
        later = [server("mosquitto_sub"), "-p", str(broker.port), "-q", "2", "-F", "%t %q %r", "-C", "6"]
        shown = subprocess.run([*later, "-t", "ccl/#"], check=True, capture_output=True, text=True).stdout

        assert set(shown.splitlines()) == {
            f"ccl/{topic} 1 1"
            for topic in (
                "owner",
                "status",
                "chargers",
                "garage/status",
                "garage/station",
                "garage/plug/EVSE.PLUG",
            )
        }

    @pytest.mark.parametrize("character", ["\x85", "\ufffe", "\ufdd0", "\U0010ffff"], ids=ascii)
    def test_a_name_with_what_brokers_do_not_take_ends_no_connection(
        self, character: str, broker: Broker, listener: Listener
    ) -> None:
        listener.client.publish(f"ccl/{level(character)}", "there", qos=1)

        assert listener.text(f"ccl/{quote(character)}") == "there"
        assert "malformed" not in (broker.folder / "log").read_text()

    def test_nothing_personal_is_on_the_bus(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        garage.site.plugs[0].plug_in()
        garage.site.plugs[0].authorise("04A1B2C3D4E5F6")
        serve_file(configuration(broker, ", modules: [core, variables], discovery: homeassistant", garage=garage))
        listener.wait(lambda: json.loads(listener.newest.get(PLUG, b"{}")).get("state") == "charging")

        heard = b"\n".join(message for _, message, _, _ in listener.heard)
        assert b"04A1B2C3D4E5F6" not in heard
        assert b"TAG" not in heard

    def test_a_change_at_the_plug_is_heard_with_the_first_reading_after_it(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        """How long that takes is measured by tests/benchmarks/bus.py."""
        serve_file(configuration(broker, garage=garage))
        assert listener.document(PLUG)["vehicle_connected"] is False
        for connected in (True, False, True):
            changed = time()
            garage.site.plugs[0].plug_in() if connected else garage.site.plugs[0].unplug()
            listener.wait(partial(shows, listener, connected))
            found = [json.loads(message) for topic, message, _, _ in listener.heard if topic == PLUG]
            after = [one for one in found if one["read_timestamp_seconds"] >= changed]

            assert after
            assert all(one["vehicle_connected"] is connected for one in after)

    def test_a_charger_that_is_gone_is_offline_and_what_it_said_last_stays(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        serve_file(configuration(broker, garage=garage))
        listener.document(PLUG)
        garage.stop()

        assert listener.text("ccl/garage/status", "offline") == "offline"
        assert listener.document(PLUG)["state"] == "available"
        garage.start()
        assert listener.text("ccl/garage/status", "online") == "online"

    def test_a_hundred_chargers_share_one_connection(self, broker: Broker, serve_file: Serve) -> None:
        bays = range(100)
        with farm(0.0) as chargers, listening(broker.port) as listener:
            rows = "".join(f"  bay-{bay}: {{url: '{chargers.url(f'idle-{bay}')}'}}\n" for bay in bays)
            serve_file(f"chargers:\n{rows}mqtt: {{url: 'mqtt://127.0.0.1:{broker.port}', interval: 5s}}\n")
            listener.wait(lambda: all(f"ccl/bay-{bay}/plug/EVSE.PLUG" in listener.newest for bay in bays))

        # The listener, and the exporter twice: it looks for another exporter before it has a last will.
        assert (broker.folder / "log").read_text().count("connected from") == 3


class TestTheBrokerIsAway:
    def test_scrapes_do_not_notice_and_the_newest_comes_once_it_is_back(
        self, garage: Simulator, broker: Broker, serve_file: Serve
    ) -> None:
        broker.kill()
        process = serve_file(configuration(broker, garage=garage))
        url = process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]
        process.wait_for_log(
            "mqtt://127.0.0.1:.*: Connection refused; the newest is published once it is reachable"
        )
        readings: set[float] = set()
        while len(readings) < 4:
            metrics = Scrape.of(get(url, Accept=OPENMETRICS))
            readings.add(metrics.get("ccl_scrape_timestamp_seconds") or 0.0)
            assert metrics.get("ccl_up") == 1
            assert metrics.get("ccl_mqtt_connected") == 0
            assert metrics.get("ccl_mqtt_sent_messages_total") == 0
        broker.start()
        with listening(broker.port) as listener:
            assert listener.document(PLUG)["read_timestamp_seconds"] > min(readings)

        process.wait_for_log("mqtt://127.0.0.1:.* accepts messages")
        assert len([line for line in process.log if "Connection refused" in line]) == 1

    def test_a_broker_that_has_forgotten_everything_gets_everything_again(
        self, garage: Simulator, broker: Broker, serve_file: Serve
    ) -> None:
        process = serve_file(configuration(broker, ", discovery: homeassistant", garage=garage))
        with listening(broker.port) as listener:
            listener.document(PLUG)
        broker.kill()
        process.wait_for_log("mqtt: .*: (the connection broke off|Connection refused)")
        broker.start()

        with listening(broker.port) as listener:
            assert listener.document(PLUG)["state"] == "available"
            assert listener.text("ccl/garage/status") == "online"
            listener.wait(lambda: len(discovered(listener)) == 2)

    def test_an_exporter_that_is_killed_is_offline(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        process = serve_file(configuration(broker, garage=garage))
        assert listener.text("ccl/status", "online") == "online"
        process.process.kill()

        assert listener.text("ccl/status", "offline") == "offline"

    def test_an_exporter_that_is_stopped_says_so(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        process = serve_file(configuration(broker, garage=garage))
        listener.document(PLUG)
        assert process.stop() == 0

        assert listener.text("ccl/status", "offline") == "offline"


class TestWhoMay:
    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    def secured(self, tmp_path: Path, authority: trustme.CA) -> Iterator[Broker]:
        """A broker behind TLS that knows its users, and wants a certificate of them."""
        folder = tmp_path / "broker"
        folder.mkdir()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        own = authority.issue_cert("127.0.0.1")
        own.private_key_and_cert_chain_pem.write_to_path(folder / "own.pem")
        client = authority.issue_cert("exporter")
        client.private_key_pem.write_to_path(folder / "client.key")
        client.cert_chain_pems[0].write_to_path(folder / "client.pem")
        passwords = folder / "passwords"
        passwords.write_text("exporter:bus secret\n")
        subprocess.run([server("mosquitto_passwd"), "-U", str(passwords)], check=True)
        for path in folder.iterdir():
            path.chmod(0o644)
        folder.chmod(0o755)
        more = (
            f"cafile {folder}/ca.pem\ncertfile {folder}/own.pem\nkeyfile {folder}/own.pem\n"
            f"require_certificate true\npassword_file {passwords}\nallow_anonymous false\nuser root"
        )
        with running(Broker(folder, more)) as started:
            yield started

    def test_a_user_without_tls(self, garage: Simulator, tmp_path: Path, serve_file: Serve) -> None:
        passwords = tmp_path / "passwords"
        passwords.write_text("exporter:bus secret\n")
        subprocess.run([server("mosquitto_passwd"), "-U", str(passwords)], check=True)
        (tmp_path / "bus.password").write_text("bus secret\n")
        more = f"password_file {passwords}\nallow_anonymous false\nuser root"
        with running(Broker(tmp_path / "broker", more)) as broker:
            serve_file(configuration(broker, ", username: exporter, password_file: bus.password", garage=garage))
            with listening(
                broker.port, lambda client: client.username_pw_set("exporter", "bus secret")
            ) as listener:
                assert listener.document(PLUG)["state"] == "available"

    def test_tls_alone(self, garage: Simulator, tmp_path: Path, authority: trustme.CA, serve_file: Serve) -> None:
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
        more = f"certfile {tmp_path}/own.pem\nkeyfile {tmp_path}/own.pem\nallow_anonymous true\nuser root"
        with running(Broker(tmp_path / "broker", more)) as broker:
            serve_file(configuration(broker, ", ca_file: ca.pem", "mqtts", garage=garage))
            with listening(broker.port, lambda client: client.tls_set(str(tmp_path / "ca.pem"))) as listener:
                assert listener.document(PLUG)["state"] == "available"

    def login(self, broker: Broker, word: str = "bus secret") -> str:
        (broker.folder.parent / "bus.password").write_text(f"{word}\n")
        files = ", ".join(
            f"{key}: '{broker.folder / name}'"
            for key, name in (("ca_file", "ca.pem"), ("cert_file", "client.pem"), ("key_file", "client.key"))
        )
        return f", username: exporter, password_file: bus.password, {files}"

    def test_tls_a_client_certificate_and_a_user_from_a_file(
        self, garage: Simulator, secured: Broker, serve_file: Serve
    ) -> None:
        serve_file(configuration(secured, self.login(secured), "mqtts", garage=garage))

        def adjust(client: Client) -> None:
            client.username_pw_set("exporter", "bus secret")
            folder = secured.folder
            client.tls_set(str(folder / "ca.pem"), str(folder / "client.pem"), str(folder / "client.key"))

        with listening(secured.port, adjust) as listener:
            assert listener.document(PLUG)["state"] == "available"

    def test_a_wrong_password_is_said_once_and_never_shown(
        self, garage: Simulator, secured: Broker, serve_file: Serve
    ) -> None:
        process = serve_file(configuration(secured, self.login(secured, "wrong one"), "mqtts", garage=garage))

        process.wait_for_log("the broker refuses the connection: (not authorized|bad user name or password)")
        assert "wrong one" not in "".join(process.log)

    def test_a_broker_with_an_untrusted_certificate_gets_nothing(
        self, garage: Simulator, secured: Broker, serve_file: Serve
    ) -> None:
        other = trustme.CA()
        other.cert_pem.write_to_path(secured.folder / "ca.pem")
        process = serve_file(configuration(secured, self.login(secured), "mqtts", garage=garage))

        process.wait_for_log("mqtts://.*CERTIFICATE_VERIFY_FAILED")


class TestHomeAssistant:
    def test_it_discovers_the_charger_and_its_plugs(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        with Simulator("twin", autopilot=False) as twin:
            serve_file(configuration(broker, ", discovery: homeassistant", garage=garage, north=twin))
            listener.wait(lambda: len(discovered(listener)) == 5)

        assert sorted(discovered(listener).values()) == [
            "garage",
            "garage",
            "north",
            "north Poste Été.PLUG_A",
            "north Poste Été.PLUG_B",
        ]

    def test_everything_is_published_again_when_it_starts(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        serve_file(
            configuration(broker, ", discovery: homeassistant, interval: 1h", garage=garage).replace(
                "interval: 1s, ", ""
            )
        )
        listener.wait(lambda: len(discovered(listener)) == 2)
        heard = len(listener.heard)
        listener.client.publish("homeassistant/status", "online")

        listener.wait(
            lambda: {topic for topic, _, _, _ in listener.heard[heard:]} >= {*discovered(listener), PLUG}
        )

    def test_titles_are_the_names_of_devices(self, broker: Broker, listener: Listener, serve_file: Serve) -> None:
        with Simulator("twin", autopilot=False) as twin:
            text = configuration(broker, ", discovery: homeassistant", north=twin)
            titles = ", title: Car park, plugs: {Poste Été.PLUG_A: {title: Left}}"
            serve_file(text.replace(f"'{twin.url}'", f"'{twin.url}'{titles}"))
            listener.wait(lambda: len(discovered(listener)) == 3)

        assert sorted(discovered(listener).values()) == ["Car park", "Car park Left", "Car park Poste Été.PLUG_B"]

    def test_entities_of_version_0_1_are_moved_to_the_device_of_the_charger(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        """By Home Assistant's own migration; it needs time between two messages of a topic."""
        charger, plug = identity(garage.url), identity(garage.url, "plug/EVSE.PLUG")
        topic = f"homeassistant/device/{plug}/config"
        old = {
            "device": {"identifiers": [plug], "name": "garage EVSE.PLUG", "via_device": charger},
            "origin": {"name": "ccl-exporter", "sw_version": "0.1.0"},
            "availability": [{"topic": "ccl/status"}],
            "components": {},
        }
        listener.client.publish(topic, json.dumps(old), qos=1, retain=True)
        listener.document(topic)
        before = len(listener.heard)
        serve_file(configuration(broker, ", discovery: homeassistant", garage=garage))
        listener.wait(lambda: any(message == MIGRATE.encode() for _, message, _, _ in listener.heard))
        listener.wait(lambda: listener.newest[topic] != MIGRATE.encode())
        messages = [(text, at) for name, text, _, at in listener.heard[before:] if name == topic]
        migrated = [text for text, _ in messages].index(MIGRATE.encode())
        (_, at), (following, after) = messages[migrated], messages[-1]

        assert json.loads(following)["device"]["identifiers"] == [charger]
        assert len(messages) == migrated + 2
        assert after - at == pytest.approx(AHEAD_PAUSE, abs=2)

    def test_what_identifies_a_charger_survives_another_name(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        process = serve_file(configuration(broker, ", discovery: homeassistant", garage=garage))
        listener.wait(lambda: len(discovered(listener)) == 2)
        topics = set(discovered(listener))
        process.stop()
        serve_file(configuration(broker, ", discovery: homeassistant", carport=garage))
        listener.wait(lambda: set(discovered(listener).values()) == {"carport"})

        assert set(discovered(listener)) == topics
        listener.wait(lambda: not listener.newest[PLUG])

    def test_another_name_in_a_running_exporter_takes_nothing_away(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve, tmp_path: Path
    ) -> None:
        process = serve_file(configuration(broker, ", discovery: homeassistant", garage=garage))
        listener.wait(lambda: len(discovered(listener)) == 2)
        (tmp_path / "ccl.yaml").write_text(configuration(broker, ", discovery: homeassistant", carport=garage))
        process.process.send_signal(1)
        listener.wait(lambda: set(discovered(listener).values()) == {"carport"})
        listener.wait(lambda: not listener.newest[PLUG])

        devices = [message for topic, message, _, _ in listener.heard if topic.startswith("homeassistant/device/")]
        assert all(devices), "a device was taken away in between"

    def test_another_charger_under_the_same_name_takes_the_place_of_the_one_before(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve, tmp_path: Path
    ) -> None:
        process = serve_file(configuration(broker, ", discovery: homeassistant", garage=garage))
        listener.wait(lambda: len(discovered(listener)) == 2)
        before = set(discovered(listener))
        with Simulator(autopilot=False) as other:
            (tmp_path / "ccl.yaml").write_text(configuration(broker, ", discovery: homeassistant", garage=other))
            process.process.send_signal(1)
            listener.wait(lambda: len(discovered(listener)) == 2 and not before & set(discovered(listener)))

        assert set(discovered(listener).values()) == {"garage"}

    def test_two_chargers_that_change_names_are_both_still_there(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve, tmp_path: Path
    ) -> None:
        with Simulator(autopilot=False) as other:
            more = ", discovery: homeassistant"
            process = serve_file(configuration(broker, more, garage=garage, carport=other))
            listener.wait(lambda: len(discovered(listener)) == 4)
            before = discovered(listener)
            (tmp_path / "ccl.yaml").write_text(configuration(broker, more, garage=other, carport=garage))
            process.process.send_signal(1)
            listener.wait(
                lambda: (
                    discovered(listener).keys() == before.keys()
                    and all(name != before[topic] for topic, name in discovered(listener).items())
                )
            )

        devices = [message for topic, message, _, _ in listener.heard if topic.startswith("homeassistant/device/")]
        assert all(devices), "a device was taken away in between"

    @pytest.mark.parametrize("running_on", [True, False], ids=["by a reload", "while the exporter was away"])
    def test_a_charger_that_leaves_the_configuration_leaves_the_broker(
        self,
        garage: Simulator,
        broker: Broker,
        listener: Listener,
        serve_file: Serve,
        tmp_path: Path,
        running_on: bool,
    ) -> None:
        with Simulator("twin", autopilot=False) as twin:
            both = configuration(
                broker, ", discovery: homeassistant, single_values: true", garage=garage, north=twin
            )
            process = serve_file(both)
            listener.wait(lambda: len(discovered(listener)) == 5)
            one = configuration(broker, ", discovery: homeassistant, single_values: true", garage=garage)
            if running_on:
                (tmp_path / "ccl.yaml").write_text(one)
                process.process.send_signal(1)
            else:
                process.stop()
                serve_file(one)
            listener.wait(lambda: set(discovered(listener).values()) == {"garage"})
            listener.wait(
                lambda: not any(text for topic, text in listener.newest.items() if topic.startswith("ccl/north/"))
            )

        assert listener.text("ccl/garage/status") == "online"

    def test_what_is_published_no_more_after_a_restart_leaves_the_broker(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        """What others have below the same topic stays."""
        listener.client.publish("ccl/other/plug/x", "theirs", retain=True)
        before = serve_file(
            configuration(broker, ", modules: [core, variables], single_values: true", garage=garage)
        )
        listener.wait(lambda: f"{PLUG}/vehicle_connected" in listener.newest)
        listener.wait(lambda: any(topic.startswith("ccl/garage/device/") for topic in listener.newest))
        before.stop()
        serve_file(configuration(broker, garage=garage))
        listener.wait(
            lambda: (
                {topic for topic, text in listener.newest.items() if text and topic.startswith("ccl/garage/")}
                == {"ccl/garage/status", "ccl/garage/station", PLUG}
            )
        )

        assert listener.newest["ccl/other/plug/x"] == b"theirs"

    def test_nothing_is_taken_away_while_a_remote_inventory_is_not_known(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        """A restart while the server of the inventory is away."""
        with Simulator("twin", autopilot=False) as twin:
            more = ", discovery: homeassistant"
            process = serve_file(configuration(broker, more, garage=garage, north=twin))
            listener.wait(lambda: len(discovered(listener)) == 5)
            process.process.kill()
            with unresponsive_host() as silent:
                remote = configuration(broker, more, garage=garage)
                restarted = serve_file(f"{remote}chargers_from: {{url: 'http://{silent}/chargers.yaml'}}\n")
                before = len(listener.heard)
                # The owner record is renewed after the garage was published, and what was there was read before.
                listener.wait(lambda: sum(topic == "ccl/owner" for topic, *_ in listener.heard[before:]) >= 3)
                restarted.stop()
            assert not [
                topic for topic, message, *_ in listener.heard[before:] if not message and topic != "ccl/owner"
            ]

    def test_what_others_have_on_the_broker_is_left_alone(
        self, garage: Simulator, broker: Broker, serve_file: Serve
    ) -> None:
        strangers = {
            "homeassistant/device/abc/config": '{"device": {"identifiers": ["abc"]}}',
            "homeassistant/device/not-json/config": "{",
            "homeassistant/device/of-another-root/config": json.dumps(
                {
                    "device": {"identifiers": ["ccl_0"]},
                    "origin": {"name": "ccl-exporter"},
                    "availability": [{"topic": "other/status"}],
                }
            ),
            "other/garage/status": "online",
            "ccl/kitchen/status": "online",
            "ccl/kitchen/plug/kettle": "on",
        }
        with listening(broker.port) as listener:
            for topic, text in strangers.items():
                listener.client.publish(topic, text, qos=1, retain=True)
            for topic in strangers:
                listener.text(topic)
            serve_file(configuration(broker, ", discovery: homeassistant", garage=garage))
            listener.wait(lambda: list(discovered(listener).values()).count("garage") == 2)
            heard = len(listener.heard)
            listener.wait(lambda: sum(topic == PLUG for topic, _, _, _ in listener.heard[heard:]) >= 3)

            assert {topic: listener.newest[topic].decode() for topic in strangers} == strangers


@pytest.mark.parametrize("topic", ["ccl/chargers", "homeassistant/device/abc/config"])
@pytest.mark.parametrize("text", ["[" * 100_000, json.dumps(["x" * 70_000])], ids=["brackets", "a long name"])
def test_nothing_that_anybody_left_on_the_broker_ends_the_publishing(
    topic: str, text: str, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
) -> None:
    listener.client.publish(topic, text, qos=1, retain=True)
    listener.text(topic)
    serve_file(configuration(broker, ", discovery: homeassistant", garage=garage))

    listener.wait(lambda: sum(topic == PLUG for topic, _, _, _ in listener.heard) >= 3)


def test_an_unexpected_message_is_a_line_in_the_log_and_the_next_is_received(
    broker: Broker, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[bytes] = []
    both = threading.Event()

    def receive(_topic: str, message: bytes, _retained: bool) -> None:
        received.append(message)
        if len(received) == 2:
            both.set()
        raise ZeroDivisionError("one\ntwo")

    settings = MqttSettings(BrokerSettings("127.0.0.1", broker.port))
    ownership = TopicOwnership("a", "b", settings.interval, began=0.0)
    client = MqttClient(settings, ownership, "ccl/status", ["ccl/chargers"], ["said"], receive)
    with supervised(Worker("mqtt_network", client.step)):
        listener.text("ccl/status", "online")
        listener.client.publish("said", "first", qos=1)
        listener.client.publish("said", "second", qos=1)
        assert both.wait(PATIENCE)
        client.publish_retained("ccl/after", "still there")
        listener.text("ccl/after", "still there")
        client.close(monotonic() + 10)

    assert received == [b"first", b"second"]
    lines = [record.getMessage() for record in caplog.records if "is skipped" in record.getMessage()]
    assert len(lines) == 2
    assert all("ZeroDivisionError('one\\ntwo')" in line for line in lines)


class TestTwoExportersOnOneTopic:
    @pytest.fixture
    def another(self, start: Start, tmp_path: Path, broker: Broker, garage: Simulator) -> Callable[[str], Process]:
        """Start an exporter of the charger, under a name, with a state folder of that name."""

        def run(name: str) -> Process:
            config = tmp_path / f"{name}.yaml"
            config.write_text(configuration(broker, ", discovery: homeassistant", "mqtt", **{name: garage}))
            arguments = ("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")
            return start(*arguments, env={"XDG_STATE_HOME": str(tmp_path / f"state-{name}")})

        return run

    @pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "stopped"])
    def test_the_second_one_publishes_nothing_until_the_first_one_ends(
        self, broker: Broker, listener: Listener, another: Callable[[str], Process], is_killed: bool
    ) -> None:
        first = another("first")
        listener.document("ccl/first/plug/EVSE.PLUG")
        id = listener.document("ccl/owner")["id"]
        second = another("second")
        line = second.wait_for_log("mqtt://.*: ccl is published by another exporter .*; publishes nothing until")
        heard = len(listener.heard)
        listener.client.publish("homeassistant/status", "online")
        listener.wait(lambda: sum(topic == "ccl/owner" for topic, _, _, _ in listener.heard[heard:]) >= 5)
        said = [(topic, message) for topic, message, _, _ in listener.heard]

        assert id in line
        assert not [topic for topic, _ in said if "second" in topic]
        assert ("ccl/status", b"offline") not in said
        assert {json.loads(message)["id"] for topic, message in said if topic == "ccl/owner"} == {id}
        if is_killed:
            first.process.kill()
        else:
            first.stop()
        listener.wait(
            lambda: ("ccl/status", b"offline") in [(topic, text) for topic, text, _, _ in listener.heard]
        )
        listener.document("ccl/second/plug/EVSE.PLUG")

        assert listener.text("ccl/status", "online") == "online"
        assert listener.document("ccl/owner")["id"] != id
        # What the first one left is tidied up by its successor.
        listener.wait(lambda: not listener.newest["ccl/first/plug/EVSE.PLUG"])
        assert len([line for line in second.log if "another exporter" in line]) == 1

    def test_the_same_exporter_has_its_topic_at_once_after_a_kill(
        self, listener: Listener, another: Callable[[str], Process]
    ) -> None:
        first = another("first")
        listener.document("ccl/first/plug/EVSE.PLUG")
        id = listener.document("ccl/owner")["id"]
        first.process.kill()
        first.process.wait()
        listener.text("ccl/status", "offline")
        second = another("first")

        assert listener.text("ccl/status", "online") == "online"
        assert listener.document("ccl/owner")["id"] == id
        assert not [line for line in second.log if "another exporter" in line]

    def test_two_with_the_same_state_folder_are_two(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        serve_file(configuration(broker, garage=garage))
        listener.document(PLUG)
        second = serve_file(configuration(broker, carport=garage))
        second.wait_for_log("ccl is published by another exporter")

        assert not [topic for topic in listener.newest if "carport" in topic]

    def test_of_two_that_start_at_the_same_moment_one_publishes(
        self, listener: Listener, another: Callable[[str], Process]
    ) -> None:
        both = {name: another(name) for name in ("first", "second")}
        listener.wait(lambda: sum(topic == "ccl/owner" for topic, _, _, _ in listener.heard) >= 8)
        listener.wait(lambda: [topic for topic in listener.newest if topic.endswith("/EVSE.PLUG")])
        publishing = {topic.split("/")[1] for topic in listener.newest if topic.endswith("/EVSE.PLUG")}
        (other,) = both.keys() - publishing

        both[other].wait_for_log("ccl is published by another exporter")
        assert ("ccl/status", b"offline") not in [(topic, message) for topic, message, _, _ in listener.heard]

    def test_a_record_that_anybody_wrote_is_overwritten(
        self, garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
    ) -> None:
        listener.client.publish("ccl/owner", "[" * 100_000, qos=1, retain=True)
        serve_file(configuration(broker, garage=garage))
        listener.document(PLUG)
        listener.client.publish("ccl/owner", "{}", qos=1, retain=True)
        listener.wait(lambda: listener.newest["ccl/owner"] == b"{}")

        listener.wait(lambda: "id" in json.loads(listener.newest["ccl/owner"]))


def test_the_end_does_not_wait_for_a_broker_that_does_not_answer(start: Start, tmp_path: Path) -> None:
    """The library would wait for a connection for five seconds for each address, and the tests for sixty."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = tmp_path / "ccl.yaml"
        config.write_text(
            "chargers: {garage: {url: 'http://127.0.0.1:1'}}\n"
            f"mqtt: {{url: 'mqtts://127.0.0.1:{silent.getsockname()[1]}', interval: 1s}}\n"
        )
        process = start("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")
        silent.accept()[0].detach()
        began = monotonic()
        code = process.stop()

    assert code == 0
    assert monotonic() - began < 5  # what is promised to whoever stops it


def test_nothing_that_is_said_on_the_bus_reaches_a_charger(
    garage: Simulator, broker: Broker, listener: Listener, serve_file: Serve
) -> None:
    serve_file(configuration(broker, ", discovery: homeassistant", garage=garage))
    listener.document(PLUG)
    for topic in (PLUG, f"{PLUG}/set", "ccl/garage/plug/EVSE.PLUG/enabled/set", "homeassistant/status"):
        listener.client.publish(topic, "0", qos=1)
    heard = len(listener.heard)
    listener.wait(lambda: sum(topic == PLUG for topic, _, _, _ in listener.heard[heard:]) >= 3)

    assert {request.method for request in garage.requests} == {"GET"}


@pytest.mark.parametrize("wanted", [False, True], ids=["without", "with"])
def test_the_library_is_imported_with_a_broker_in_the_configuration_and_not_without(
    garage: Simulator, start: Start, tmp_path: Path, wanted: bool
) -> None:
    config = tmp_path / "ccl.yaml"
    config.write_text(
        f"chargers: {{garage: {{url: '{garage.url}'}}}}\n"
        + ("mqtt: {url: 'mqtt://127.0.0.1:1', interval: 1h}\n" if wanted else "")
    )
    arguments = ("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")
    process = start(*arguments, env={"PYTHONPROFILEIMPORTTIME": "1"})
    get(process.line(r"http://127\.0\.0\.1:\d+/metrics")[0])
    if wanted:
        process.wait_for_log("Connection refused")
    process.stop()

    assert any(re.search(r"\| +paho", line) for line in process.log) is wanted
