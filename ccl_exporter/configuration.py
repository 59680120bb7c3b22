"""The configuration file: strict YAML to frozen settings, and every mistake named at once with its line.

No message holds a secret: values are repeated only for keys that never hold one, and no error of a library,
which would quote the file, is passed on or kept as a context.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)
from pydantic import ValidationInfo as Info

from ccl_exporter.errors import UsageError
from ccl_exporter.inventory_source import InventorySource, Mistakes, Place, Reader, echo, read_text
from ccl_exporter.model import Credentials
from ccl_exporter.settings import ChargerSettings, Settings, charger_settings

SECRET = "<secret>"  # noqa: S105 - what stands where a secret would
_ELSEWHERE = "an inventory from a URL cannot use files or variables of this machine: it could send them anywhere"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_DURATION = re.compile(r"(?P<number>[0-9]{1,9})(?P<unit>ms|s|m|h|d)")
_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_REFERENCE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)\})?")
_SERVER = re.compile(r"(https?)://(\[[^\]]*\]|[^/:]+)(?::([0-9]+))?(.*)")


@dataclass(frozen=True)
class _Surroundings:
    """What secrets refer to: the folder of the file, or None if it is from elsewhere, and the environment."""

    folder: Path | None
    environment: Mapping[str, str]


def _secret(text: str, info: Info) -> str:
    """A secret with `${VARIABLE}` expanded; `$${` stands for `${`."""
    surroundings = cast(_Surroundings, info.context)

    def expanded(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        name = found["name"]
        if name is None:
            raise ValueError("has a `${` that is no ${VARIABLE}; for the characters themselves write `$${`")
        if surroundings.folder is None:
            raise ValueError(_ELSEWHERE)
        if name not in surroundings.environment:
            # The name only where nothing else is there: beside other characters it may be part of a password.
            which = f"variable {name}" if found[0] == text else "a variable in it"
            raise ValueError(f"{which} is not set in the environment")
        return surroundings.environment[name]

    return _REFERENCE.sub(expanded, text)


def _secret_file(name: str, info: Info) -> str:
    """What stands in the file that a secret is in, without the line end."""
    surroundings = cast(_Surroundings, info.context)
    if surroundings.folder is None:
        raise ValueError(_ELSEWHERE)
    try:
        text = read_text(surroundings.folder / _secret(name, info)).rstrip("\r\n")
    except UsageError as error:
        # Without the name, which is a secret where somebody took this key for the other one.
        raise ValueError(f"the file {error} (a relative name is beside this file)") from None
    if not text:
        raise ValueError("the file is empty")
    return text


def _duration(value: object) -> float:
    """Seconds from `200ms`, `10s`, `1m`, `1h`, `30d`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit; write {value}s, or ms, m, h, d")
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        shown = f"{echo(value)} is not a duration" if isinstance(value, str) else "must be a duration"
        raise ValueError(f"{shown}; it looks like 200ms, 10s, 1m, 1h or 30d")
    return int(found["number"]) * _MILLISECONDS[found["unit"]] / 1000


def _written(seconds: float) -> str:
    """A duration as it stands in a file."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def _checked(read: Callable[[str], object], what: str) -> AfterValidator:
    """Text that a function makes something of; `what` it should be. A text that is refused is repeated."""

    def check(text: str) -> str:
        try:
            found = read(text)
        except UsageError as error:
            raise ValueError(str(error)) from None
        except ValueError:
            found = None
        if found is None:
            raise ValueError(f"{echo(text)} is not {what}")
        return text

    return AfterValidator(check)


def _inventory_url(text: str) -> str:
    if "@" in text:
        raise ValueError("the URL must not hold a user name or password")
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not text.isprintable() or re.search(r"[\s#]", text):
        raise ValueError("must be a URL; it looks like https://inventory.example/chargers.yaml")
    return text


Duration = Annotated[float, BeforeValidator(_duration)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[
    str, _checked(_NAME.fullmatch, "a name: letters, digits, `.`, `_`, `-`; at most 64, no mark first")
]
Label = Annotated[str, _checked(_LABEL.fullmatch, "a label: letters, digits and `_`; no digit and no `__` first")]
Url = Annotated[str, _checked(partial(charger_settings, environment={}), "the address of a charger")]
Address = Annotated[str, _checked(ip_address, "an address of this machine; it looks like 192.0.2.1")]
Network = Annotated[
    str, _checked(ip_network, "a network; it looks like 192.0.2.0/24, with zeros after the 24 bits")
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class _Walk(_Model):
    exclude: list[Text] = []


class _Charger(_Model):
    """The order matters: a field knows what stands before it, and what is not among that was wrong but given."""

    url: Url
    password: Annotated[str, AfterValidator(_secret)] | None = Field(default=None, repr=False)
    password_file: Annotated[str, AfterValidator(_secret_file)] | None = Field(
        default=None, repr=False, validate_default=True
    )
    username: Text | None = Field(default=None, validate_default=True)
    timeout: Annotated[Duration, Field(gt=0, le=3600)] | None = None
    pause: Annotated[Duration, Field(le=3600)] = 0.0
    labels: dict[Label, str] = {}
    source_address: Address | None = None
    walk: _Walk = _Walk()

    @field_validator("password_file", mode="before")
    @classmethod
    def _one_password(cls, value: object, info: Info) -> object:
        if value is not None and info.data.get("password", "") is not None:
            raise ValueError("stands beside `password`; give one of the two")
        return value

    @field_validator("username")
    @classmethod
    def _whole_login(cls, value: str | None, info: Info) -> str | None:
        passwords = [info.data.get(key, "") for key in ("password", "password_file")]
        if value is None and passwords != [None, None]:
            raise ValueError("is missing: a password needs a user name")
        if value is not None and passwords == [None, None]:
            raise ValueError("a user name needs a password; give `password_file` or `password`")
        return value

    def settings(self, name: str) -> ChargerSettings:
        password = self.password if self.password is not None else self.password_file
        return ChargerSettings(
            name=name,
            url=charger_settings(self.url, {}).url,
            credentials=Credentials(self.username, password) if self.username and password is not None else None,
            timeout=self.timeout,
            pause=self.pause,
            labels=self.labels,
            source_address=self.source_address,
            exclude=tuple(self.walk.exclude),
        )


class _ChargersFrom(_Model):
    file: Text | None = None
    url: Annotated[str, AfterValidator(_inventory_url)] | None = Field(
        default=None, validate_default=True, repr=False
    )
    interval: Annotated[Duration, Field(ge=1, le=86400)] = 60.0

    @field_validator("url")
    @classmethod
    def _one_source(cls, value: str | None, info: Info) -> str | None:
        if (value is None) == (info.data.get("file", "") is None):
            raise ValueError("give either `file` or `url`")
        return value


class _Probe(_Model):
    allow_networks: list[Network] = []


class _File(_Model):
    chargers: dict[Name, _Charger] = {}
    chargers_from: _ChargersFrom | None = None
    probe: _Probe = _Probe()


_A_CHARGER = "{url: http://192.0.2.10}"
_EXAMPLES = {
    "chargers": f"{{garage: {_A_CHARGER}}}",
    "chargers_from": "{file: chargers.yaml}",
    "probe": "{allow_networks: [192.0.2.0/24]}",
    "labels": "{site: north}",
    "walk": '{exclude: ["Plug - Mode 3.PWM*"]}',
}

_MISTAKES = {
    "missing": "is missing",
    "string_type": "must be text; put it in quotes",
    "string_too_short": "must not be empty",
    "list_type": "must be a list; it looks like [one, two]",
    "greater_than": "must be more than {gt:g} seconds",
    "greater_than_equal": "must be at least {ge:g} seconds",
    "less_than_equal": "must be at most {le:g} seconds",
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration file says, its secrets and its inventory read.

    `settings` holds the chargers of the file itself and those of `source` as last read.
    `trouble` says why the source could not be read, if `load` was told to go on without it.
    """

    settings: Settings
    source: InventorySource | None = None
    trouble: str | None = None

    def masked(self, settings: Settings | None = None) -> str:
        """The configuration in force as YAML, `<secret>` for every secret; `settings` are newer ones, if any."""
        shown = settings or self.settings
        document: dict[str, Any] = {"chargers": {name: _masked(item) for name, item in shown.chargers.items()}}
        if self.source is not None:
            place = {"url": self.source.shown} if self.source.url else {"file": self.source.shown}
            document["chargers_from"] = {**place, "interval": _written(self.source.interval)}
        if shown.allow:
            document["probe"] = {"allow_networks": [str(network) for network in shown.allow]}
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def load(path: Path, environment: Mapping[str, str], *, patient: bool = False) -> Configuration:
    """Read a configuration file, the files its secrets are in, and the inventory it names.

    Raises `UsageError` with one line `FILE:LINE: PLACE: what is wrong` for every mistake of the file,
    else of the inventory. With `patient` an inventory that cannot be used is left for later, as a service
    that starts after a power cut may be up before the server of its inventory.
    """
    try:
        text = read_text(path)
    except UsageError as error:
        raise UsageError(f"{path}: the configuration file {error}") from error
    file = _file(text, Mistakes(str(path)), _Surroundings(path.parent, environment), {})
    chargers = {name: charger.settings(name) for name, charger in file.chargers.items()}
    own = Settings(chargers, tuple(ip_network(network) for network in file.probe.allow_networks))
    source = _source(file.chargers_from, path, environment, own) if file.chargers_from else None
    if source is None:
        return Configuration(own)
    try:
        return Configuration(source.settings(), source)
    except UsageError as error:
        if not patient:
            raise
        return Configuration(own, source, str(error))


def _source(where: _ChargersFrom, path: Path, environment: Mapping[str, str], own: Settings) -> InventorySource:
    file = path.parent / where.file if where.file is not None else None
    surroundings = _Surroundings(file.parent if file else None, environment)

    def parse(text: str, shown: str) -> Mapping[str, ChargerSettings]:
        inventory = _file(text, Mistakes(shown, ("chargers",)), surroundings, own.chargers)
        return {name: charger.settings(name) for name, charger in inventory.chargers.items()}

    return InventorySource(own, where.interval, parse, file, where.url)


def _file(
    text: str, mistakes: Mistakes, surroundings: _Surroundings, others: Mapping[str, ChargerSettings]
) -> _File:
    """What a text says; raises `UsageError` with all its mistakes. `others` are the chargers there are already."""
    data: Any = Reader(text, mistakes).read()
    for part in reversed(mistakes.root):
        data = {part: data}
    file = _File()
    try:
        file = _File.model_validate(data, context=surroundings)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            place = tuple(part for part in item["loc"] if part != "[key]")
            mistakes.add(place, _mistake(place, item))
    if isinstance(data, dict):
        _clashes(data.get("chargers"), others, mistakes)
        if not data and not mistakes.found:
            mistakes.add((), f"no charger is configured; it looks like `chargers: {_EXAMPLES['chargers']}`")
    mistakes.check()
    return file


def _mistake(place: Place, item: Mapping[str, Any]) -> str:
    """What to say of an error of pydantic, without the value: the key may be that of a secret."""
    kind: str = item["type"]
    if kind == "value_error":
        return str(item["ctx"]["error"])
    if kind == "extra_forbidden":
        known = list(_model(place[:-1]).model_fields)
        close = get_close_matches(str(place[-1]), known, 1)
        return f"unknown key; did you mean `{close[0]}`?" if close else f"unknown key; known: {', '.join(known)}"
    if kind in ("dict_type", "model_type"):
        name = place[-1] if place else ""
        example = _A_CHARGER if place[:-1] == ("chargers",) else _EXAMPLES.get(str(name), "name: value")
        return f"must be a mapping; it looks like {example}"
    return _MISTAKES[kind].format(**item.get("ctx", {})) if kind in _MISTAKES else str(item["msg"])


def _model(place: Place) -> type[_Model]:
    """The model of the mapping at a place."""
    if place[:1] == ("chargers",):
        return _Charger if len(place) == 2 else _Walk
    if not place:
        return _File
    return _Probe if place == ("probe",) else _ChargersFrom


def _clashes(chargers: object, others: Mapping[str, ChargerSettings], mistakes: Mistakes) -> None:
    """Two chargers of one URL, and names that another file has; also where something else is wrong."""
    owners = {_server(charger.url): name for name, charger in others.items()}
    for name, charger in chargers.items() if isinstance(chargers, dict) else ():
        if name in others:
            mistakes.add(("chargers", name), "the configuration file has a charger of this name, too")
            continue
        try:
            server = _server(charger_settings(charger["url"], {}).url)
        except (UsageError, TypeError, KeyError, AttributeError):
            continue
        owner = owners.setdefault(server, name)
        if owner != name:
            mistakes.add(("chargers", name, "url"), f"{echo(owner)} has the same URL; one charger has one name")


def _server(url: str) -> tuple[str, ...]:
    """What makes two checked URLs the same, whether or not they name the port of their scheme."""
    found = _SERVER.fullmatch(url)
    scheme, host, port, path = found.groups() if found else ("", url, None, "")
    return scheme, host.removesuffix("."), str(int(port or (443 if scheme == "https" else 80))), path


def _masked(charger: ChargerSettings) -> dict[str, Any]:
    login = charger.credentials
    shown = {
        "url": charger.url,
        "username": login and login.username,
        "password": login and SECRET,
        "timeout": None if charger.timeout is None else _written(charger.timeout),
        "pause": _written(charger.pause),
        "labels": dict(charger.labels),
        "source_address": charger.source_address,
        "walk": {"exclude": list(charger.exclude)} if charger.exclude else None,
    }
    return {key: value for key, value in shown.items() if value}
