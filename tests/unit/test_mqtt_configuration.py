"""The broker in the configuration file: what may be said, how errors are reported, and that no secret is shown."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from ccl_exporter.config.document import load
from ccl_exporter.errors import UsageError
from ccl_exporter.settings import BrokerSettings, Credentials, MqttSettings

SECRET = "hunter-4711"  # noqa: S105 - nobody's

CHARGERS = "chargers: {garage: {url: http://192.0.2.10}}\n"
FULL = f"""\
{CHARGERS}mqtt:
  url: mqtts://broker.example
  username: ccl
  password_file: mqtt.password
  ca_file: ca.pem
  cert_file: own.pem
  key_file: own.key
  topic: home/chargers
  discovery: homeassistant
  interval: 30s
  modules: [core, variables]
  single_values: true
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write the configuration, beside which there is a password, certificates, and a key that has a password."""
    authority = trustme.CA()
    own = authority.issue_cert("ccl")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "own.pem")
    own.private_key_pem.write_to_path(tmp_path / "own.key")
    locked = serialization.load_pem_private_key(own.private_key_pem.bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(SECRET.encode()),
    )
    (tmp_path / "locked.key").write_bytes(locked)
    (tmp_path / "mqtt.password").write_text(f"{SECRET}\n")

    def run(text: str) -> Path:
        path = tmp_path / "ccl.yaml"
        path.write_text(text)
        return path

    return run


def test_everything_that_is_said_becomes_settings(write: Callable[[str], Path], tmp_path: Path) -> None:
    (found,) = load(write(FULL), {}).settings.outputs
    assert found == MqttSettings(
        BrokerSettings(
            "broker.example",
            8883,
            tls=True,
            credentials=Credentials("ccl", SECRET),
            ca_file=str(tmp_path / "ca.pem"),
            cert_file=str(tmp_path / "own.pem"),
            key_file=str(tmp_path / "own.key"),
        ),
        topic="home/chargers",
        discovery="homeassistant",
        interval=30.0,
        modules=("core", "variables"),
        single_values=True,
    )


def test_little_need_be_said(write: Callable[[str], Path]) -> None:
    (found,) = load(write(f"{CHARGERS}mqtt: {{url: 'mqtt://[::1]'}}"), {}).settings.outputs

    assert found == MqttSettings(BrokerSettings("::1", 1883))
    assert found.broker.shown == "mqtt://[::1]:1883"
    assert load(write(CHARGERS), {}).settings.outputs == ()


def test_what_is_shown_holds_no_secret_and_can_be_read_again(write: Callable[[str], Path]) -> None:
    configuration = load(write(FULL), {})
    masked = configuration.masked()

    assert SECRET not in masked + repr(configuration)
    assert load(write(masked.replace("<secret>", SECRET)), {}).settings == configuration.settings


A = "url: 'mqtts://a'"

# What stands as the broker, where the error is, and a part of its message.
INVALID = {
    "no mapping": ("[mqtt://a]", "mqtt", "it looks like {url: mqtt://127.0.0.1:1883"),
    "no URL": ("{topic: ccl}", "mqtt.url", "missing"),
    "another scheme": ("{url: 'http://a'}", "mqtt.url", "it looks like mqtt://127.0.0.1:1883"),
    "a path": ("{url: 'mqtt://a/ccl'}", "mqtt.url", "it looks like"),
    "no such port": ("{url: 'mqtt://a:99999'}", "mqtt.url", "it looks like"),
    "port 0": ("{url: 'mqtt://a:0'}", "mqtt.url", "it looks like"),
    "a query": (f"{{url: 'mqtt://a?token={SECRET}'}}", "mqtt.url", "it looks like"),
    "a host of other letters": ("{url: 'mqtt://ä'}", "mqtt.url", "it looks like"),
    "a login in the URL": (f"{{url: 'mqtt://ccl:{SECRET}@a'}}", "mqtt.url", "give them as keys"),
    "half a login": (f"{{{A}, password: {SECRET}}}", "mqtt", "a login is `username` and"),
    "the other half": (f"{{{A}, username: ccl}}", "mqtt", "a login is `username` and"),
    "two passwords": (
        f"{{{A}, username: ccl, password: {SECRET}, password_file: mqtt.password}}",
        "mqtt.password_file",
        "give one of the two",
    ),
    "a wildcard": (f"{{{A}, topic: 'ccl/#'}}", "mqtt.topic", "is not a topic"),
    "the broker's own": (f"{{{A}, topic: $SYS/a}}", "mqtt.topic", "is not a topic"),
    "an empty level": (f"{{{A}, discovery: a//b}}", "mqtt.discovery", "is not a topic"),
    "a file that is not there": (f"{{{A}, ca_file: gone.pem}}", "mqtt.ca_file", "No such file"),
    "half a certificate": (f"{{{A}, cert_file: own.pem}}", "mqtt", "is `cert_file` and `key_file`"),
    "no certificate": (f"{{{A}, ca_file: own.key}}", "mqtt", "`ca_file` holds no certificate"),
    "a key of another": (
        f"{{{A}, cert_file: ca.pem, key_file: own.key}}",
        "mqtt",
        "no certificate in PEM with its key",
    ),
    "a key with a password": (
        f"{{{A}, cert_file: own.pem, key_file: locked.key}}",
        "mqtt",
        "without a password",
    ),
    "certificates without TLS": ("{url: 'mqtt://a', ca_file: ca.pem}", "mqtt", "begins with mqtts://"),
    "too often": (f"{{{A}, interval: 100ms}}", "mqtt.interval", "at least 1 seconds"),
    "nothing to say": (f"{{{A}, modules: []}}", "mqtt.modules", "must not be empty"),
    "an unknown key": (f"{{{A}, qos: 2}}", "mqtt.qos", "unknown key"),
}


@pytest.mark.parametrize(("broker", "place", "said"), INVALID.values(), ids=INVALID)
def test_an_error_is_reported_with_its_place_and_without_a_secret(
    write: Callable[[str], Path], broker: str, place: str, said: str
) -> None:
    path = write(f"{CHARGERS}mqtt: {broker}\n")
    with pytest.raises(UsageError) as raised:
        load(path, {})

    assert str(raised.value).startswith(f"{path}:2: {place}: ")
    assert said in str(raised.value)
    assert SECRET not in str(raised.value)
