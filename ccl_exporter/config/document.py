"""The configuration file: strict YAML to frozen settings, and every error named at once with its line.

No message holds a secret: values are repeated only for keys that never hold one, and no error of a library,
which would quote the file, is passed on or kept as a context.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, create_model, field_validator
from pydantic import ValidationInfo as Info

from ccl_exporter.config import fields, influxdb, mqtt
from ccl_exporter.config.charger_source import ChargerSource
from ccl_exporter.config.tariff import TariffModel, masked_tariff
from ccl_exporter.errors import UsageError
from ccl_exporter.logs import warn_renamed
from ccl_exporter.outputs.output import Output, OutputContext
from ccl_exporter.settings import (
    DEFAULT_MAX_POWER,
    DEFAULT_PORTS,
    JSON_ENDING,
    ChargerSettings,
    OutputSettings,
    Settings,
    charger_settings,
)
from ccl_exporter.text import format_duration, quote_short
from ccl_exporter.yaml_reader import FileErrors, Place, Reader, read_text

_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


def _inventory_url(text: str) -> str:
    if "@" in text:
        raise ValueError("the URL must not hold a user name or password")
    if fields.split_url(text, ("http", "https")) is None:
        raise ValueError("must be a URL; it looks like https://inventory.example/chargers.yaml")
    return text


Label = Annotated[
    str, fields.checked(_LABEL.fullmatch, "a label: letters, digits and `_`; no digit and no `__` first")
]
ChargerName = Annotated[
    fields.Name,
    fields.checked(
        lambda name: None if name.endswith(JSON_ENDING) else name,
        f"a charger's name: with `{JSON_ENDING}` at its end it asks for JSON",
    ),
]
Url = Annotated[str, fields.checked(partial(charger_settings, environment={}), "the address of a charger")]


def _watts(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e3 <= value <= 1e9:
        raise ValueError("must be a power in watts, from 1000 to 1000000000")
    return value


MaxPower = Annotated[float, BeforeValidator(_watts)]
Address = Annotated[str, fields.checked(ip_address, "an address of this machine; it looks like 192.0.2.1")]
Network = Annotated[
    str, fields.checked(ip_network, "a network; it looks like 192.0.2.0/24, with zeros after the 24 bits")
]


class _VariablesModel(fields.ConfigModel):
    exclude: list[fields.Text] = Field(default_factory=list)


class _PlugModel(fields.ConfigModel):
    title: fields.Text


class _ChargerModel(fields.ConfigModel):
    url: Url
    password: Annotated[str, AfterValidator(fields.secret)] | None = Field(default=None, repr=False)
    password_file: fields.SecretFile | None = Field(default=None, repr=False, validate_default=True)
    username: fields.Text | None = Field(default=None, validate_default=True)
    timeout: fields.Timeout | None = None
    pause: Annotated[fields.Duration, Field(le=3600)] = 0.0
    labels: dict[Label, str] = Field(default_factory=dict)
    source_address: Address | None = None
    max_power: MaxPower = DEFAULT_MAX_POWER
    variables: _VariablesModel = _VariablesModel()
    title: fields.Text | None = None
    plugs: dict[fields.Text, _PlugModel] = Field(default_factory=dict)
    walk: _VariablesModel | None = None  # the name of version 0.1

    @field_validator("walk")
    @classmethod
    def _old_name(cls, value: _VariablesModel | None, info: Info) -> _VariablesModel | None:
        if info.data.get("variables") != _VariablesModel():
            raise ValueError("is the old name of `variables`; give that alone")
        warn_renamed("`walk:`", "`variables:`")
        return value

    @field_validator("username")
    @classmethod
    def _whole_login(cls, value: str | None, info: Info) -> str | None:
        passwords = [info.data.get(key, "") for key in ("password", "password_file")]
        if value is None and passwords != [None, None]:
            raise ValueError("is missing: a password needs a user name")
        if value is not None and not value.isprintable():
            raise ValueError("holds a character that no login can have, such as the end of a line")
        if value is not None and passwords == [None, None]:
            raise ValueError("a user name needs a password; give `password_file` or `password`")
        return value

    def settings(self, name: str) -> ChargerSettings:
        return ChargerSettings(
            name=name,
            url=charger_settings(self.url, {}).url,
            credentials=fields.login(self.username, self.password, self.password_file),
            timeout=self.timeout,
            pause=self.pause,
            labels=self.labels,
            source_address=self.source_address,
            max_power=self.max_power,
            exclude=tuple((self.walk or self.variables).exclude),
            title=self.title or "",
            plug_titles={name: plug.title for name, plug in self.plugs.items()},
        )


class _ChargersFrom(fields.ConfigModel):
    file: fields.Text | None = None
    url: Annotated[str, AfterValidator(_inventory_url)] | None = Field(
        default=None, validate_default=True, repr=False
    )
    interval: fields.Interval = 60.0

    @field_validator("url")
    @classmethod
    def _one_source(cls, value: str | None, info: Info) -> str | None:
        if (value is None) == (info.data.get("file", "") is None):
            raise ValueError("give either `file` or `url`")
        return value


class _Probe(fields.ConfigModel):
    allow_networks: list[Network] = Field(default_factory=list)


class _Chargers(fields.ConfigModel):
    chargers: dict[ChargerName, _ChargerModel] = Field(default_factory=dict)
    chargers_from: _ChargersFrom | None = None
    probe: _Probe = _Probe()
    tariff: TariffModel | None = None


SECTIONS = (influxdb.SECTION, mqtt.SECTION)
"""The outputs that a file can configure."""

_FIELDS: dict[str, Any] = {section.key: section.field for section in SECTIONS}
_File = create_model("_File", __base__=_Chargers, **_FIELDS)

_A_CHARGER = "{url: http://192.0.2.10}"
_EXAMPLES = {
    "chargers": f"{{garage: {_A_CHARGER}}}",
    "chargers_from": "{file: chargers.yaml}",
    "probe": "{allow_networks: [192.0.2.0/24]}",
    "tariff": "{timezone: Europe/London, currency: GBP, price: 0.2877}",
    "windows": '{from: "00:30", to: "04:30", price: 0.085}',
    "labels": "{site: north}",
    "plugs": "{EVSE.PLUG: {title: Left}}",
    "variables": '{exclude: ["Plug - Mode 3.PWM*"]}',
    "spool": "{path: spool.db, max_bytes: 1GiB, max_age: 30d}",
}

_MISTAKES = {
    "missing": "is missing",
    "string_type": "must be text; put it in quotes",
    "string_too_short": "must not be empty",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "list_type": "must be a list; it looks like [one, two]",
    "too_short": "must not be empty",
    "literal_error": "must be {expected}",
    "greater_than": "must be more than {gt:g} seconds",
    "greater_than_equal": "must be at least {ge:g} seconds",
    "less_than_equal": "must be at most {le:g} seconds",
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration file says, its secrets and its inventory read.

    `settings` holds the chargers of the file itself and those of `source` as last read.
    `source_error` says why the source could not be read, if `load` was to go on without it;
    `pending` that it was not read yet.
    """

    settings: Settings
    source: ChargerSource | None = None
    source_error: str | None = None
    pending: bool = False

    def after(self, last: "Configuration | None", settings: Settings) -> "Configuration":
        """This one, with the chargers of its inventory from before if that cannot be read now.

        `settings` are those in force of the `last` configuration. Its chargers of the inventory stay but for
        those whose name or URL the file itself has now. Raises `UsageError` with its error if the inventory
        is another than the last one: nothing is known of that.
        """
        if self.source_error is None or self.source is None:
            return self
        if (
            last is None
            or last.source is None
            or (self.source.file, self.source.url) != (last.source.file, last.source.url)
        ):
            raise UsageError(self.source_error)
        own = self.settings.chargers
        servers = {_server(charger.url) for charger in own.values()}
        kept = {
            name: charger
            for name, charger in settings.chargers.items()
            if name not in last.source.own.chargers and name not in own and _server(charger.url) not in servers
        }
        return replace(self, settings=replace(self.settings, chargers={**own, **kept}))

    def masked(self, settings: Settings | None = None) -> str:
        """The configuration in force as YAML, `<secret>` for every secret; `settings` are newer ones, if any."""
        shown = settings or self.settings
        document: dict[str, Any] = {"chargers": {name: _masked(item) for name, item in shown.chargers.items()}}
        if self.source is not None:
            place = {"url": self.source.shown} if self.source.url else {"file": self.source.shown}
            document["chargers_from"] = {**place, "interval": format_duration(self.source.interval)}
        if shown.allow:
            document["probe"] = {"allow_networks": [str(network) for network in shown.allow]}
        if shown.tariff is not None:
            document["tariff"] = masked_tariff(shown.tariff)
        for section in SECTIONS:
            if entries := [section.masked(entry) for entry in shown.outputs if isinstance(entry, section.kind)]:
                document[section.key] = entries if get_origin(section.field[0]) is list else entries[0]
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def open_output(settings: OutputSettings, context: OutputContext) -> Output:
    """The output with these settings."""
    return next(section for section in SECTIONS if isinstance(settings, section.kind)).open(settings, context)


def load(
    path: Path, environment: Mapping[str, str], *, patient: bool = False, fetch: bool = True
) -> Configuration:
    """Read a configuration file, the files its secrets are in, and the inventory it names.

    Raises `UsageError` with one line `FILE:LINE: PLACE: what is wrong` for every error of the file,
    else of the inventory. With `patient` an inventory that cannot be used is left for later, as a service
    that starts after a power cut may be up before the server of its inventory.
    Without `fetch` an inventory of a URL is not read at all: the service has to listen first.
    """
    try:
        text = read_text(path)
    except UsageError as error:
        raise UsageError(f"{path}: the configuration file {error}") from error
    errors = FileErrors(str(path))
    file = _file(text, errors, fields.Surroundings(path.parent, environment), {})
    outputs = [entry for section in SECTIONS for entry in section.settings(getattr(file, section.key), errors)]
    errors.check()
    chargers = {name: charger.settings(name) for name, charger in file.chargers.items()}
    allow = tuple(ip_network(network) for network in file.probe.allow_networks)
    prices = file.tariff.settings() if file.tariff is not None else None
    own = Settings(chargers, allow, tuple(outputs), prices)
    source = _source(file.chargers_from, path, environment, own) if file.chargers_from else None
    if source is None:
        return Configuration(own)
    if source.url is not None and not fetch:
        return Configuration(own, source, pending=True)
    try:
        return Configuration(source.settings(), source)
    except UsageError as error:
        if not patient:
            raise
        return Configuration(own, source, str(error), pending=True)


def _source(where: _ChargersFrom, path: Path, environment: Mapping[str, str], own: Settings) -> ChargerSource:
    file = path.parent / where.file if where.file is not None else None
    surroundings = fields.Surroundings(file.parent if file else None, environment)

    def parse(text: str, shown: str) -> Mapping[str, ChargerSettings]:
        inventory = _file(text, FileErrors(shown, ("chargers",)), surroundings, own.chargers)
        return {name: charger.settings(name) for name, charger in inventory.chargers.items()}

    return ChargerSource(own, where.interval, parse, file, where.url)


def _file(
    text: str, errors: FileErrors, surroundings: fields.Surroundings, others: Mapping[str, ChargerSettings]
) -> _Chargers:
    """What a text says; raises `UsageError` with all its errors. `others` are the chargers there are already."""
    data: Any = Reader(text, errors).read()
    for part in reversed(errors.root):
        data = {part: data}
    file: _Chargers = _File()
    try:
        file = _File.model_validate(data, context=surroundings)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            place = tuple(part for part in item["loc"] if part != "[key]")
            errors.add(place, _error_text(place, item))
    if isinstance(data, dict):
        _clashes(data.get("chargers"), others, errors)
        if not data and not errors.found:
            errors.add((), f"no charger is configured; it looks like `chargers: {_EXAMPLES['chargers']}`")
    errors.check()
    return file


def _error_text(place: Place, item: Mapping[str, Any]) -> str:
    """What to say of an error of pydantic, without the value: the key may be that of a secret."""
    kind: str = item["type"]
    if kind == "value_error":
        return str(item["ctx"]["error"])
    if kind == "extra_forbidden":
        model = _model(place[:-1]).model_fields.items()
        known = [field.alias or name for name, field in model if name != "walk"]
        close = get_close_matches(str(place[-1]), known, 1)
        return f"unknown key; did you mean `{close[0]}`?" if close else f"unknown key; known: {', '.join(known)}"
    if kind in ("dict_type", "model_type"):
        if place[:-1] == ("chargers",):
            return f"must be a mapping; it looks like {_A_CHARGER}"
        sections = {section.key: section.example for section in SECTIONS}
        name, key = (place[-1], place[0]) if place else ("", "")
        example = _EXAMPLES.get(str(name)) or sections.get(str(key), "name: value")
        return f"must be a mapping; it looks like {example}"
    return _MISTAKES[kind].format(**item.get("ctx", {})) if kind in _MISTAKES else str(item["msg"])


def _model(place: Place) -> type[fields.ConfigModel]:
    """The model of the mapping at a place."""
    found: Any = _File
    for part in place:
        inside = get_origin(found) in (list, dict)
        found = get_args(found)[-1] if inside else found.model_fields[part].annotation
        if NoneType in get_args(found):
            (found,) = set(get_args(found)) - {NoneType}
    model: type[fields.ConfigModel] = found
    return model


def _clashes(chargers: object, others: Mapping[str, ChargerSettings], errors: FileErrors) -> None:
    """Two chargers of one URL, and names that another file has; also where something else is wrong."""
    owners = {_server(charger.url): name for name, charger in others.items()}
    for name, charger in chargers.items() if isinstance(chargers, dict) else ():
        if name in others:
            errors.add(("chargers", name), "the configuration file has a charger of this name, too")
            continue
        try:
            server = _server(charger_settings(charger["url"], {}).url)
        except (UsageError, TypeError, KeyError, AttributeError):
            continue
        owner = owners.setdefault(server, name)
        if owner != name:
            errors.add(
                ("chargers", name, "url"), f"{quote_short(owner)} has the same URL; one charger has one name"
            )


def _server(url: str) -> tuple[str, ...]:
    """What makes two checked URLs the same, whether or not they name the port of their scheme."""
    parts = urlsplit(url)
    port = parts.port if parts.port is not None else DEFAULT_PORTS[parts.scheme]
    return parts.scheme, (parts.hostname or "").removesuffix("."), str(port), parts.path


def _masked(charger: ChargerSettings) -> dict[str, Any]:
    shown = {
        "url": charger.url,
        **fields.masked_login(charger.credentials),
        "timeout": None if charger.timeout is None else format_duration(charger.timeout),
        "pause": format_duration(charger.pause),
        "labels": dict(charger.labels),
        "source_address": charger.source_address,
        "max_power": charger.max_power if charger.max_power != DEFAULT_MAX_POWER else None,
        "variables": {"exclude": list(charger.exclude)} if charger.exclude else None,
        "title": charger.title,
        "plugs": {name: {"title": title} for name, title in charger.plug_titles.items()},
    }
    return {key: value for key, value in shown.items() if value}
