"""Settings from the command line and the environment, as checked and frozen values."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Literal, get_args

from ccl_exporter.errors import UsageError
from ccl_exporter.tariff import Tariff
from ccl_exporter.text import url_host

Module = Literal["core", "variables"]
"""A part of the metrics that may be asked for alone."""

MODULES: tuple[Module, ...] = get_args(Module)

_OLD_MODULES: Mapping[str, Module] = {"meaning": "core", "walk": "variables"}
"""What modules were called in version 0.1; accepted in 0.2, gone in 0.3."""

JSON_ENDING = ".json"
"""What asks for a charger as JSON, so that no name of a configuration may end so."""

DEFAULT_MAX_POWER = 1e6
"""Watts beyond which no register of a charger grows, unless the configuration says otherwise."""

DEFAULT_PORTS = {"http": 80, "https": 443}

MQTT_EXTRA = "needs a library that is not installed: in your copy of this project, .venv/bin/pip install '.[mqtt]'"
"""What is wrong with a use of MQTT where paho-mqtt is missing."""

_PORTS = range(65536)
_NEVER = r"\s?#\x00-\x1f\x7f\ud800-\udfff"
"""In no host and no path; the last ones stand for bytes that are not UTF-8."""
_HOST = rf"(?P<host>[^{_NEVER}/:@\[\]]+|\[[0-9A-Fa-f:.]+\])"
_PORT = r"(?P<port>[0-9]{1,5})"
_ADDRESS = re.compile(rf"(?:(?P<scheme>https?)://)?{_HOST}(?::{_PORT})?(?P<path>/[^{_NEVER}]*)?", re.IGNORECASE)
_BROKER = re.compile(rf"(?P<scheme>mqtts?)://{_HOST}(?::{_PORT})?/?", re.IGNORECASE)
_BROKER_PORTS = {"mqtt": 1883, "mqtts": 8883}
_LISTEN = re.compile(rf"{_HOST}?:{_PORT}")
_ASCII_NAME = re.compile(r"[a-z0-9._~!$&'()*+,;=-]+")  # RFC 3986, 3.2.2, but for percent signs
_OTHER_NAME = re.compile(r"[a-z0-9.-]+")


def module_named(name: str, renamed: Callable[[str, Module], object]) -> Module | None:
    """The module of a name, None if there is none; `renamed` is called with an old name and the new one."""
    if name in _OLD_MODULES:
        renamed(name, _OLD_MODULES[name])
        return _OLD_MODULES[name]
    return next((module for module in MODULES if module == name), None)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login for an engine that asks for one; the password never prints."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChargerSettings:
    """A charger: its name, the root of its engine, and how it is to be read.

    `timeout` bounds a read and `pause` lies between two requests, in seconds.
    `labels` are shown by `/sd`; `exclude` are patterns of `device.variable` that the module `variables` omits.
    `max_power` is the highest power of any meter, in watts: a register that grows faster is implausible.
    `source_address` is an address of this machine, as chargers answer only their own subnet (protocol 12).
    `title` and `plug_titles`, by the names of plugs, are what a person calls them.
    """

    name: str
    url: str
    credentials: Credentials | None = None
    timeout: float | None = None
    pause: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    source_address: str | None = None
    exclude: tuple[str, ...] = ()
    title: str = ""
    plug_titles: Mapping[str, str] = field(default_factory=dict)
    max_power: float = DEFAULT_MAX_POWER


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """The queue before a database: its file, relative to the state folder, and its bounds in bytes and seconds."""

    path: Path
    max_bytes: int = 2**30
    max_age: float = 30 * 86400.0


class OutputSettings:
    """What an output besides Prometheus is configured with; frozen, as equal settings are the same output."""

    __slots__ = ()


InfluxLayout = Literal["narrow", "wide"]
"""How variables are written: a point for each, or a field for each."""


@dataclass(frozen=True, slots=True)
class InfluxSettings(OutputSettings):
    """A database to write to, every `interval` seconds; `name` is what its metrics call it.

    Version 1 has a database, its retention policy and a login; 2 has an organisation, a bucket and a token, 3 a
    bucket (its database) and a token. A request may take `timeout` seconds; `modules` are the parts of the metrics
    that are written.
    """

    name: str
    url: str
    version: Literal[1, 2, 3]
    spool: SpoolSettings
    database: str = ""
    retention_policy: str = ""
    credentials: Credentials | None = None
    org: str = ""
    bucket: str = ""
    token: str = field(default="", repr=False)
    interval: float = 15.0
    timeout: float = 10.0
    modules: tuple[Module, ...] = MODULES
    layout: InfluxLayout = "wide"


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """An MQTT broker, the login there, and the certificates of TLS."""

    host: str
    port: int
    tls: bool = False
    credentials: Credentials | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def shown(self) -> str:
        """The URL, which holds no login."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{url_host(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class MqttSettings(OutputSettings):
    """A broker to publish to, every `interval` seconds.

    `topic` is what all topics begin with, `discovery` Home Assistant's prefix, empty for none.
    `single_values` publishes each value on a topic of its own, too; `modules` are the parts that are published.
    """

    broker: BrokerSettings
    topic: str = "ccl"
    discovery: str = ""
    interval: float = 15.0
    modules: tuple[Module, ...] = ("core",)
    single_values: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration: chargers by name, networks whose hosts `/probe` may read, outputs.

    `tariff` has the prices of electricity; None without them.
    """

    chargers: Mapping[str, ChargerSettings]
    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    outputs: tuple[OutputSettings, ...] = ()
    tariff: Tariff | None = None


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen; port 0 is any free one."""

    host: str
    port: int

    def failure(self, error: Exception) -> UsageError:
        """The error that nothing can listen here, with the reason of the operating system."""
        wrapped = ", ".join(re.findall(r"\[Errno -?[0-9]+\] ([^)]+)", str(error)))
        reason = getattr(error, "strerror", None) or wrapped or str(error)
        return UsageError(
            f"cannot listen on {url_host(self.host)}:{self.port}: {reason[:1].lower()}{reason[1:]};"
            " --web.listen-address takes another address or port"
        )


def charger_settings(text: str, environment: Mapping[str, str]) -> ChargerSettings:
    """A charger from a URL (`http://evse`) or a host (`evse`, `192.0.2.10:8080`); raises `UsageError`.

    Its login is in the environment: `CCL_USERNAME`, and `CCL_PASSWORD` or the file that `CCL_PASSWORD_FILE` names.
    """
    text = text.strip()
    found = _ADDRESS.fullmatch(text)
    if "@" in text:
        raise UsageError("the charger's address must not hold a user name or password")
    if found is None or int(found["port"] or 0) not in _PORTS:
        raise UsageError(f"{text!r} is not the address of a charger; it looks like http://evse or 192.0.2.10:8080")
    scheme, host, port = (found["scheme"] or "http").lower(), found["host"].lower(), found["port"]
    # One charger has one URL, by which its lock is known.
    where = host if port is None or (scheme, int(port)) in DEFAULT_PORTS.items() else f"{host}:{port}"
    url = f"{scheme}://{where}{(found['path'] or '').rstrip('/')}"
    if not _is_host(host):
        raise UsageError(f"{text!r} is not the address of a charger: the host name is invalid")
    return ChargerSettings(name=where, url=url, credentials=_credentials(environment))


def _is_host(name: str) -> bool:
    """Whether a host can be called so: a name in any script, or an IPv6 address in brackets."""
    try:
        if name.startswith("["):
            return bool(IPv6Address(name[1:-1]))
        sent = name.encode("idna").decode() if not name.isascii() else name
    except ValueError:
        return False
    return bool((_ASCII_NAME if name.isascii() else _OTHER_NAME).fullmatch(sent))


def _credentials(environment: Mapping[str, str]) -> Credentials | None:
    username = environment.get("CCL_USERNAME")
    password, path = environment.get("CCL_PASSWORD"), environment.get("CCL_PASSWORD_FILE")
    if not username:
        if password or path:
            raise UsageError("a password is given but no user name: set CCL_USERNAME too")
        return None
    if not username.isprintable():
        raise UsageError("CCL_USERNAME holds a character that no login can have, such as the end of a line")
    if password is None and path is not None:
        try:
            password = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the password file {path} cannot be read") from error
    if password is None:
        raise UsageError("a user name is given but no password: set CCL_PASSWORD_FILE or CCL_PASSWORD too")
    return Credentials(username, password)


def broker_settings(url: str, login: str) -> BrokerSettings:
    """The broker at `mqtt://HOST[:PORT]` or `mqtts://…`, without a login.

    Raises `UsageError`, which does not repeat the URL and says by `login` where user name and password belong.
    """
    if "@" in url:
        raise UsageError(f"the URL must not hold a user name or password; {login}")
    found = _BROKER.fullmatch(url) if url.isascii() else None
    port = int(found["port"] or _BROKER_PORTS[found["scheme"].lower()]) if found is not None else 0
    if found is None or port not in _PORTS or port == 0:
        raise UsageError("not the URL of a broker; it looks like mqtt://127.0.0.1:1883 or mqtts://broker")
    return BrokerSettings(found["host"].strip("[]").lower(), port, tls=found["scheme"].lower() == "mqtts")


def listen_address(text: str) -> ListenAddress:
    """An address such as `127.0.0.1:9986`, `:9986` or `[::1]:9986`; raises `UsageError`."""
    found = _LISTEN.fullmatch(text.strip())
    if found is None or int(found["port"]) not in _PORTS:
        raise UsageError(f"{text!r} is not an address to listen on; it looks like 127.0.0.1:9986 or :9986")
    host = found["host"] or "0.0.0.0"  # noqa: S104 - `:9986` means every interface
    return ListenAddress(host.strip("[]"), int(found["port"]))
