"""Text of a file, YAML as data with the line of every place, and data as YAML that reads the same."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ccl_exporter.errors import UsageError
from ccl_exporter.text import quote_short

MAX_BYTES = 4 * 1024 * 1024
"""The largest configuration or inventory that is read; a charger takes about 100 bytes of it."""

Place = tuple[str | int, ...]  # where something stands: the keys and positions that lead to it

_MAX_DEPTH = 16
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where it is, is 15 times as fast
_NUMBER = re.compile(r"[-+]?[0-9]{1,15}(?P<fraction>\.[0-9]{1,15})?")
_NOTHING, _WORDS = ("", "~", "null"), ("true", "false")
_JSON_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|.)")


def read_text(path: Path) -> str:
    """A file of at most `MAX_BYTES` in UTF-8; raises `UsageError`, whose text does not name the file."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file can have this name"
        raise UsageError(f"cannot be read: {reason}") from error
    return decoded(data)


def decoded(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise UsageError(f"is larger than {MAX_BYTES} bytes")
    with suppress(UnicodeDecodeError):
        return data.decode("utf-8-sig")
    # Raised out here: the error above holds the bytes, which may hold passwords, and must not become its context.
    raise UsageError("is not text in UTF-8")


@dataclass
class FileErrors:
    """What is wrong with a file: one error a place, each with the line of the place or of what it stands in.

    `root` begins every place and is not shown: an inventory is what stands under `chargers` elsewhere.
    `hidden` is a place whose keys may be secrets.
    """

    file: str
    root: Place = ()
    hidden: Place | None = None
    lines: dict[Place, int] = field(default_factory=dict)
    found: dict[Place, str] = field(default_factory=dict)

    def add(self, place: Place, text: str) -> None:
        self.found.setdefault(place, text)

    def line(self, place: Place) -> int:
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def check(self) -> None:
        """Raise everything that was found as one `UsageError`, or the first thousand lines of it."""
        if self.found:
            by_line = sorted(self.found.items(), key=lambda item: self.line(item[0]))
            raise UsageError("\n".join(self._shown(place, text) for place, text in by_line[:1000]))

    def _shown(self, place: Place, text: str) -> str:
        line = self.line(place)
        if self.hidden is not None and place[: len(self.hidden)] == self.hidden:
            place = self.hidden
        shown = ".".join(_key(place[:end]) for end in range(len(self.root) + 1, len(place) + 1))
        return f"{self.file}:{line}: {shown + ': ' if shown else ''}{text}"


def _key(place: Place) -> str:
    """The last part of a place. An impossible key may be a secret: `{password:hunter2}` is one."""
    text = str(place[-1])
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", text):
        return text
    return quote_short(text) if place[:-1] == ("chargers",) or place[-2:-1] == ("labels",) else "?"


class Plain(str):
    """A word without quotes, as it is written."""

    __slots__ = ()


class Reader:
    """The data of a YAML text and the line of every place.

    Plain words are text, but for numbers, `true` and `false`: `site: no` is not a lie about a site.
    What makes a file mean more than it shows is refused: aliases, tags, keys twice, several documents.
    With `as_written` plain words are `Plain`, whatever they are, and what is empty is None and no error.
    """

    def __init__(self, text: str, errors: FileErrors, *, as_written: bool = False) -> None:
        self._events: Iterator[Any] = yaml.parse(_yaml_of_json(text), Loader=_LOADER)
        self._errors = errors
        self._as_written = as_written

    def read(self) -> object:
        """The data, without whatever is an error; None if the text is no YAML."""
        root = self._errors.root
        line, problem = 1, ""
        try:
            return self._document(root)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            # What the parser quotes of the file may be a secret; only punctuation and its own `<…>` stay.
            problem = re.sub(r"(?<=')(?=[^']*\w)[\w!-]+(?=')", "…", error.problem or error.context or "")
        except yaml.YAMLError:
            problem = "a control character is in it"
        self._errors.lines[root] = line
        self._errors.add(root, f"is not YAML: {problem}")
        return None

    def _document(self, root: Place) -> object:
        next(self._events)
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            if not self._as_written:
                self._errors.add(root, "the file is empty")
            return None
        value = self._value(next(self._events), root)
        next(self._events)
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise yaml.MarkedYAMLError(problem="a second document begins", problem_mark=event.start_mark)
        return value

    def _value(self, event: Any, place: Place) -> object:
        """The value that begins with an event; None where there is none, or none that can be used."""
        if len(place) > _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="too many levels", problem_mark=event.start_mark)
        self._errors.lines.setdefault(place, event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            self._errors.add(place, "an alias (*) is not allowed here: write the value out, or put it in quotes")
            return None
        if event.tag is not None:
            self._errors.add(place, "a tag (!) is not allowed here: leave it out, or put the value in quotes")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(place)
        return self._mapping(place, bool(event.flow_style))

    def _scalar(self, event: Any, place: Place) -> object:
        text: str = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._errors.add(place, "holds half a character (\\ud800 to \\udfff)")
            return None
        if not event.implicit[0]:
            return text
        if text.lower() in _NOTHING:
            if self._as_written:
                return None
            self._errors.add(place, "has no value: give one, or leave the key out")
            return None
        if self._as_written:
            return Plain(text)
        if text.lower() in _WORDS:
            return text.lower() == "true"
        if (number := _NUMBER.fullmatch(text)) is None:
            return text
        return float(text) if number["fraction"] else int(text)

    def _list(self, place: Place) -> list[object]:
        values: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._value(event, (*place, len(values))))
        return values

    def _mapping(self, place: Place, flow: bool) -> dict[str, object]:
        values: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent):
                self._value(event, (*place, "?"))
                self._errors.add((*place, "?"), "a key must be a plain word")
                self._value(next(self._events), (*place, "?"))
                continue
            following = next(self._events)
            # A word alone between braces is no key but, with a colon forgotten, a value: not one to repeat.
            alone = (
                flow and isinstance(following, yaml.ScalarEvent) and following.implicit[0] and not following.value
            )
            # Half a character, which only the parser in Python lets through, is in no key that is known.
            key = "?" if alone else event.value.encode("utf-8", "replace").decode()
            first = self._errors.lines.setdefault((*place, key), line)
            known = key in values
            value = self._value(following, (*place, key) if not known else (*place, key, "again"))
            if known:
                self._errors.lines[*place, key] = line
                self._errors.add((*place, key), f"is given twice, first in line {first}")
            elif value is not None or self._as_written:
                values[key] = value
        return values


def _yaml_of_json(text: str) -> str:
    """JSON as YAML reads it, line by line: without tabs between the values, characters not in two halves."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    text = text.replace("\t", " ")
    return _JSON_ESCAPE.sub(lambda it: json.loads(f'"{it[0]}"') if len(it[0]) > 2 else it[0], text)


def as_yaml(document: object) -> str:
    """Data as YAML of which `Reader` makes the same; numbers to 15 decimal places."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


class _Dumper(yaml.SafeDumper):
    """Quotes what `Reader` takes for more than text, writes numbers as it reads them, and no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    is_more = _NUMBER.fullmatch(text) is not None or text.lower() in (*_WORDS, *_NOTHING)
    style = "'" if is_more else None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _number(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    text = f"{value:.15f}".rstrip("0")
    return dumper.represent_scalar("tag:yaml.org,2002:float", f"{text}0" if text.endswith(".") else text)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)
