"""Types of values in a configuration file: durations, sizes, names, secrets.

No message holds a secret: values are repeated only for keys that never hold one.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic import ValidationInfo as Info

from ccl_exporter.errors import UsageError
from ccl_exporter.logs import warn_renamed
from ccl_exporter.settings import Credentials, Module, module_named
from ccl_exporter.text import DURATION_EXAMPLES, format_duration, parse_duration, quote_short
from ccl_exporter.yaml_reader import read_text

SECRET = "<secret>"  # noqa: S105 - what stands where a secret would
_ELSEWHERE = "an inventory from a URL cannot use files or variables of this machine: it could send them anywhere"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REFERENCE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)\})?")


@dataclass(frozen=True)
class Surroundings:
    """What secrets refer to: the folder of the file (None for a URL), and the environment."""

    folder: Path | None
    environment: Mapping[str, str]


def secret(text: str, info: Info) -> str:
    """A secret with `${VARIABLE}` expanded; `$${` stands for `${`."""
    surroundings = cast(Surroundings, info.context)

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


def secret_file(name: str, info: Info) -> str:
    """The content of the file of a secret, without the line end."""
    surroundings = cast(Surroundings, info.context)
    if surroundings.folder is None:
        raise ValueError(_ELSEWHERE)
    try:
        text = read_text(surroundings.folder / secret(name, info)).rstrip("\r\n")
    except UsageError as error:
        # Without the name, which is a secret where somebody took this key for the other one.
        raise ValueError(f"the file {error} (a relative name is beside this file)") from None
    if not text:
        raise ValueError("the file is empty")
    return text


def split_url(text: str, schemes: Collection[str]) -> SplitResult | None:
    """The parts of a URL with a host and without a fragment; None if the text is no such URL."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if good and text.isprintable() and not re.search(r"[\s#]", text) else None


def server_url(text: str, schemes: Collection[str], what: str) -> SplitResult:
    """The parts of the URL of a server to write to; raises `ValueError` with `what` it must be."""
    if "@" in text:
        raise ValueError("the URL must not hold a user name or password; give them as keys")
    parts = split_url(text, schemes)
    if parts is None or not text.isascii() or "?" in text:
        raise ValueError(what)
    return parts


def login(username: str | None, *passwords: str | None) -> Credentials | None:
    """A user name with the first password that is given; None without either."""
    password = next((each for each in passwords if each is not None), None)
    return Credentials(username, password) if username and password is not None else None


def masked_login(credentials: Credentials | None) -> dict[str, str]:
    """A login as it stands in a file, without the password."""
    return {} if credentials is None else {"username": credentials.username, "password": SECRET}


def _duration(value: object) -> float:
    """Seconds from `200ms`, `10s`, `1m`, `1h`, `30d`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit; write {value}s, or ms, m, h, d")
    if not isinstance(value, str):
        raise ValueError(f"must be a duration; {DURATION_EXAMPLES}")
    return parse_duration(value)


def checked(read: Callable[[str], object], what: str) -> AfterValidator:
    """A validator of texts that `read` accepts; the error says `what` it should be, and repeats the text."""

    def check(text: str) -> str:
        try:
            found = read(text)
        except UsageError as error:
            raise ValueError(str(error)) from None
        except ValueError:
            found = None
        if found is None:
            raise ValueError(f"{quote_short(text)} is not {what}")
        return text

    return AfterValidator(check)


Duration = Annotated[float, BeforeValidator(_duration)]
Timeout = Annotated[Duration, Field(gt=0, le=3600)]
Interval = Annotated[Duration, Field(ge=1, le=86400)]
Secret = Annotated[str, Field(min_length=1), AfterValidator(secret)]
SecretFile = Annotated[str, AfterValidator(secret_file)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[
    str, checked(_NAME.fullmatch, "a name: letters, digits, `.`, `_`, `-`; at most 64, no mark first")
]


def _module(name: object) -> object:
    """The name of a module, also that of version 0.1."""

    def renamed(old: str, new: str) -> None:
        warn_renamed(f"`modules: [{old}]`", f"`modules: [{new}]`")

    return (module_named(name, renamed) if isinstance(name, str) else None) or name


Modules = Annotated[list[Annotated[Module, BeforeValidator(_module)]], Field(min_length=1)]


class ConfigModel(BaseModel):
    """A mapping of the file. The order of fields matters: the validator of a field sees the fields before it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    @classmethod
    def masked(cls, settings: object, **shown: object) -> dict[str, Any]:
        """Settings as a mapping of the file, without empty ones; a field with `repr=False` is masked.

        `shown` holds the keys that settings have in another form.
        """
        document: dict[str, Any] = {}
        for key, field in cls.model_fields.items():
            value = shown.get(key, getattr(settings, key, None))
            if isinstance(value, float):
                value = format_duration(value)
            if value:
                document[key] = list(value) if isinstance(value, tuple) else value if field.repr else SECRET
        return document

    @field_validator("password_file", "token_file", mode="before", check_fields=False)
    @classmethod
    def _one_secret(cls, value: object, info: Info) -> object:
        other = (info.field_name or "").removesuffix("_file")
        # What is not among the data was wrong but given.
        if value is not None and info.data.get(other, "") is not None:
            raise ValueError(f"stands beside `{other}`; give one of the two")
        return value
