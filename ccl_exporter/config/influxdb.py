"""What the configuration file says of databases to write to (`influxdb`)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ccl_exporter.config import fields
from ccl_exporter.config.section import Section
from ccl_exporter.outputs.output import Output, OutputContext
from ccl_exporter.settings import InfluxSettings, SpoolSettings
from ccl_exporter.text import format_duration, is_header_value, quote_short
from ccl_exporter.yaml_reader import FileErrors

_SIZE = re.compile(r"(?P<number>[0-9]{1,15})(?P<unit>[KMGT]iB|[kMGT]?B)")
_BYTES: dict[str, int] = {"B": 1, **{f"{mark}iB": 1024**power for power, mark in enumerate("KMGT", 1)}}
_BYTES.update({f"{mark}B": 1000**power for power, mark in enumerate("kMGT", 1)})
_SMALLEST = 1024**2
_OLD = ("database", "retention_policy", "username", "password", "password_file")
_NEW = ("org", "bucket", "token", "token_file")
_NEEDED = {1: ("database",), 2: ("org", "bucket"), 3: ("bucket",)}


def _size(value: object) -> int:
    """Bytes from `1GiB`, `500MB`."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        shown = quote_short(value) if isinstance(value, str) else "this"
        raise ValueError(f"{shown} is not a size; it looks like 500MiB or 1GiB")
    size: int = int(found["number"]) * _BYTES[found["unit"]]
    if size < _SMALLEST:
        raise ValueError(f"{quote_short(found[0])} is too small for a spool; give at least 1MiB")
    return size


def _url(text: str) -> str:
    fields.server_url(
        text, ("http", "https"), "must be the URL of a database; it looks like http://127.0.0.1:8086"
    )
    return text.rstrip("/")


class SpoolModel(fields.ConfigModel):
    """The queue of a database: a path relative to the state folder, and bounds in bytes and seconds."""

    path: fields.Text | None = None
    max_bytes: Annotated[int, BeforeValidator(_size)] = 2**30
    max_age: Annotated[fields.Duration, Field(gt=0)] = 30 * 86400.0


class InfluxModel(fields.ConfigModel):
    """One database."""

    url: Annotated[str, AfterValidator(_url)]
    version: Literal[1, 2, 3]
    name: fields.Name | None = None
    database: fields.Text | None = None
    retention_policy: fields.Text | None = None
    username: fields.Text | None = None
    password: fields.Secret | None = Field(default=None, repr=False)
    password_file: fields.SecretFile | None = Field(default=None, repr=False)
    org: fields.Text | None = None
    bucket: fields.Text | None = None
    token: fields.Secret | None = Field(default=None, repr=False)
    token_file: fields.SecretFile | None = Field(default=None, repr=False)
    interval: fields.Interval = 15.0
    timeout: fields.Timeout = 10.0
    modules: fields.Modules = Field(default=["core", "variables"])
    layout: Literal["narrow", "wide"] | None = None
    spool: SpoolModel = SpoolModel()

    @model_validator(mode="after")
    def _whole(self) -> "InfluxModel":
        needed, others = (_NEEDED[self.version], _NEW if self.version == 1 else _OLD)
        given = self.model_fields_set
        if missing := [name for name in needed if name not in given]:
            raise ValueError(f"version {self.version} needs `{missing[0]}`")
        if wrong := [name for name in others if name in given]:
            known = ", ".join(f"`{name}`" for name in (_OLD if self.version == 1 else _NEW))
            raise ValueError(f"version {self.version} has no `{wrong[0]}`; it has {known}")
        if not is_header_value(self.token or self.token_file or ""):
            raise ValueError("the token holds a character that no token can have, such as the end of a line")
        if (self.username is None) != (self.password is None and self.password_file is None):
            raise ValueError("a login is `username` and one of `password_file` and `password`")
        return self

    def settings(self, name: str) -> InfluxSettings:
        file = self.spool.path or f"influxdb-{re.sub(r'[^A-Za-z0-9.-]', '_', name)}.db"
        return InfluxSettings(
            name=name,
            url=self.url,
            version=self.version,
            spool=SpoolSettings(Path(file), self.spool.max_bytes, self.spool.max_age),
            database=self.database or "",
            retention_policy=self.retention_policy or "",
            credentials=fields.login(self.username, self.password, self.password_file),
            org=self.org or "",
            bucket=self.bucket or "",
            token=self.token or self.token_file or "",
            interval=self.interval,
            timeout=self.timeout,
            modules=tuple(self.modules),
            layout=self.layout or ("narrow" if self.version == 3 else "wide"),
        )


def _settings(entries: Sequence[InfluxModel], errors: FileErrors) -> Sequence[InfluxSettings]:
    """The databases, each with a name and a spool of its own; what two of them share is an error."""
    found: list[InfluxSettings] = []
    for position, entry in enumerate(entries):
        host = urlsplit(entry.url).netloc
        taken = {other.name for other in found}
        name = entry.name or (host if host not in taken else f"{host}-{position + 1}")
        made = entry.settings(name)
        if name in taken:
            errors.add(("influxdb", position, "name"), f"another entry is called {quote_short(name)}, too")
        elif made.spool.path in {other.spool.path for other in found}:
            errors.add(("influxdb", position, "spool"), "another entry has the same spool; each needs its own")
        found.append(made)
    return found


def _masked(entry: InfluxSettings) -> Mapping[str, Any]:
    """An entry as it stands in a file, without secrets."""
    return InfluxModel.masked(
        entry,
        **fields.masked_login(entry.credentials),
        name=entry.name if ":" not in entry.name and "[" not in entry.name else None,
        spool={
            "path": str(entry.spool.path),
            "max_bytes": f"{entry.spool.max_bytes}B",
            "max_age": format_duration(entry.spool.max_age),
        },
    )


def _open(entry: InfluxSettings, context: OutputContext) -> Output:
    from ccl_exporter.outputs.influxdb.pusher import InfluxPusher  # noqa: PLC0415 - influxdb-client is large

    return InfluxPusher(entry, context.state, context.recorder)


SECTION = Section(
    "influxdb",
    (list[InfluxModel], Field(default_factory=list)),
    "{url: http://127.0.0.1:8086, version: 1, database: evse}",
    InfluxSettings,
    _settings,
    _masked,
    _open,
)
