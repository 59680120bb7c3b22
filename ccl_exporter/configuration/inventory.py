"""Where configuration comes from: text of a file or a URL, its YAML as data with places, and an inventory
of more chargers that is read again while the service runs, without a gap. No charger is contacted here.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import yaml
from urllib3.exceptions import HTTPError

from ccl_exporter import __version__
from ccl_exporter.errors import UsageError
from ccl_exporter.settings import ChargerSettings, Settings

if TYPE_CHECKING:
    import requests

MAX_BYTES = 4 * 1024 * 1024
"""The largest configuration or inventory that is read; a charger takes about 100 bytes of it."""

MAX_SECONDS = 10.0
"""How long an inventory from a URL may take, redirects included."""

Place = tuple[str | int, ...]  # where something stands: the keys and positions that lead to it

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_DEPTH = 16
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where it is, is 15 times as fast
_NUMBER = re.compile(r"[-+]?[0-9]{1,15}(?P<fraction>\.[0-9]{1,15})?")
_JSON_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|.)")


def read_text(path: Path) -> str:
    """A file of at most `MAX_BYTES` in UTF-8; raises `UsageError`, whose text does not name the file."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file can have this name"
        raise UsageError(f"cannot be read: {reason}") from error
    return _decoded(data)


def _decoded(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise UsageError(f"is larger than {MAX_BYTES} bytes")
    with suppress(UnicodeDecodeError):
        return data.decode("utf-8-sig")
    # Raised out here: the error above holds the bytes, which may hold passwords, and must not become its context.
    raise UsageError("is not text in UTF-8")


@dataclass
class Mistakes:
    """What is wrong with a file: one mistake a place, each with the line of the place or of what it stands in.

    `root` begins every place and is not shown: an inventory is what stands under `chargers` elsewhere.
    """

    file: str
    root: Place = ()
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
        shown = ".".join(_key(place[:end]) for end in range(len(self.root) + 1, len(place) + 1))
        return f"{self.file}:{self.line(place)}: {shown + ': ' if shown else ''}{text}"


def _key(place: Place) -> str:
    """The last part of a place. A key that nobody can mean may be a secret: `{password:hunter2}` is one."""
    text = str(place[-1])
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", text):
        return text
    return echo(text) if place[:-1] == ("chargers",) or place[-2:-1] == ("labels",) else "?"


def echo(value: object) -> str:
    """A value that is no secret, on one line and of a bearable length."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


class Reader:
    """The data of a YAML text and the line of every place.

    Plain words are text, but for numbers, `true` and `false`: `site: no` is not a lie about a site.
    What makes a file mean more than it shows is refused: aliases, tags, keys twice, several documents.
    """

    def __init__(self, text: str, mistakes: Mistakes) -> None:
        self._events: Iterator[Any] = yaml.parse(_yaml_of_json(text), Loader=_LOADER)
        self._mistakes = mistakes

    def read(self) -> object:
        """The data, without whatever is a mistake; None if the text is no YAML."""
        root = self._mistakes.root
        line, problem = 1, ""
        try:
            return self._document(root)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            # What the parser quotes of the file may be a secret; only punctuation and its own `<…>` stay.
            problem = re.sub(r"(?<=')(?=[^']*\w)[\w!-]+(?=')", "…", error.problem or error.context or "")
        except yaml.YAMLError:
            problem = "a control character is in it"
        self._mistakes.lines[root] = line
        self._mistakes.add(root, f"is not YAML: {problem}")
        return None

    def _document(self, root: Place) -> object:
        next(self._events)
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            self._mistakes.add(root, "the file is empty")
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
        self._mistakes.lines.setdefault(place, event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            self._mistakes.add(place, "an alias (*) cannot stand here: write the value out, or put it in quotes")
            return None
        if event.tag is not None:
            self._mistakes.add(place, "a tag (!) cannot stand here: leave it out, or put the value in quotes")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(place)
        return self._mapping(place, bool(event.flow_style))

    def _scalar(self, event: Any, place: Place) -> object:
        text: str = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._mistakes.add(place, "holds half a character (\\ud800 to \\udfff)")
            return None
        if not event.implicit[0]:
            return text
        if text.lower() in ("", "~", "null"):
            self._mistakes.add(place, "no value stands here: give one, or leave the key out")
            return None
        if text.lower() in ("true", "false"):
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
                self._mistakes.add((*place, "?"), "a key must be a plain word")
                self._value(next(self._events), (*place, "?"))
                continue
            following = next(self._events)
            # A word alone between braces is no key but, with a colon forgotten, a value: not one to repeat.
            alone = (
                flow and isinstance(following, yaml.ScalarEvent) and following.implicit[0] and not following.value
            )
            # Half a character, which only the parser in Python lets through, is in no key that is known.
            key = "?" if alone else event.value.encode("utf-8", "replace").decode()
            first = self._mistakes.lines.setdefault((*place, key), line)
            known = key in values
            value = self._value(following, (*place, key) if not known else (*place, key, "again"))
            if known:
                self._mistakes.lines[*place, key] = line
                self._mistakes.add((*place, key), f"stands here twice, first in line {first}")
            elif value is not None:
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


@dataclass(frozen=True, slots=True)
class InventorySource:
    """Where more chargers come from: exactly one of `file` and `url`, read every `interval` seconds.

    `own` is what the main configuration file says; `parse` turns the text of the source, and what the
    source is called, into chargers and raises `UsageError` with the place of every mistake.
    """

    own: Settings
    interval: float
    parse: Callable[[str, str], Mapping[str, ChargerSettings]] = field(repr=False, compare=False)
    file: Path | None = None
    url: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The path, or the URL without its query, which often holds a token."""
        return self.url.partition("?")[0] if self.url is not None else str(self.file)

    def read(self) -> Mapping[str, ChargerSettings]:
        """The chargers of the source by name; raises `UsageError` with the place of every mistake."""
        try:
            text = _decoded(_fetched(self.url)) if self.url is not None else read_text(self.file or Path())
        except UsageError as error:
            raise UsageError(f"{self.shown}: {error}") from error
        return self.parse(text, self.shown)

    def settings(self) -> Settings:
        """The main file's settings with the chargers of the source; raises `UsageError` as `read` does."""
        return replace(self.own, chargers={**self.own.chargers, **self.read()})

    def stamp(self) -> tuple[int, ...] | None:
        """What changes with the file; None for a URL, and for a file that cannot be looked at."""
        if self.file is None:
            return None
        try:
            status = self.file.stat()
        except (OSError, ValueError):
            return None
        # The inode too: a file that was replaced as a whole may have the size and the time of the old one.
        return status.st_mtime_ns, status.st_size, status.st_ino


@dataclass(frozen=True, slots=True)
class _State:
    settings: Settings
    tried: float | None = None
    stamp: tuple[int, ...] | None = None
    succeeded: float | None = None
    error: str | None = None
    failed: float | None = None


class Inventory:
    """The settings with the last good inventory; safe to use from several threads.

    `settings` is what is there before the first refresh, which always reads; `error` is why it lacks the source.
    """

    def __init__(self, source: InventorySource, settings: Settings, error: str | None = None) -> None:
        self._source = source
        self._state = _State(settings, error=error)
        self._refreshing = threading.Lock()

    @property
    def settings(self) -> Settings:
        """The main file's settings with the chargers of the last inventory that had no mistake."""
        return self._state.settings

    @property
    def succeeded(self) -> float | None:
        """When the inventory was last read without a mistake, in the time that `refresh` was given."""
        return self._state.succeeded

    @property
    def error(self) -> str | None:
        """Why the last reading failed, one line a mistake and without secrets; None if it did not."""
        return self._state.error

    @property
    def failed(self) -> float | None:
        """When the last failed reading was, in the time that `refresh` was given; stays after a success."""
        return self._state.failed

    def refresh(self, now: float) -> bool:
        """Read the source again if it is due, and say whether the settings are others now; raises nothing.

        `now` is in seconds of any clock, the same for every call; a file is due when it changed, too.
        While one thread reads, the others go on with what is there.
        """
        if not self._refreshing.acquire(blocking=False):
            return False
        try:
            return self._refresh(now)
        finally:
            self._refreshing.release()

    def _refresh(self, now: float) -> bool:
        before = self._state
        # Taken before reading: a file that changes meanwhile is read once more rather than never.
        stamp = self._source.stamp()
        if before.tried is not None and stamp == before.stamp and 0 <= now - before.tried < self._source.interval:
            return False
        try:
            settings = self._source.settings()
        except UsageError as error:
            self._state = replace(before, tried=now, stamp=stamp, error=str(error), failed=now)
            return False
        self._state = replace(before, settings=settings, tried=now, stamp=stamp, succeeded=now, error=None)
        return settings != before.settings


def _fetched(url: str) -> bytes:
    """The body of a GET, at most one byte more than `MAX_BYTES`; raises `UsageError` without the URL."""
    import requests  # noqa: PLC0415 - most configurations are files, and it takes two megabytes

    deadline = monotonic() + MAX_SECONDS
    # The libraries' own texts hold the URL with its query, so none of them is passed on.
    try:
        with requests.Session() as session:
            session.trust_env = False
            for _ in range(_MAX_REDIRECTS + 1):
                with _answer(session, url, deadline) as response:
                    if response.status_code not in _REDIRECTS:
                        return _body(response, deadline)
                    url = _redirected(url, response.headers.get("Location", ""))
        problem = f"cannot be read: more than {_MAX_REDIRECTS} redirects"
    except (requests.exceptions.Timeout, TimeoutError):
        problem = f"cannot be read: no complete answer within {MAX_SECONDS:g} seconds"
    except requests.exceptions.SSLError:
        problem = "cannot be read: no trust in its certificate, or no TLS there"
    except requests.exceptions.ConnectionError:
        problem = "cannot be read: no connection, or it broke off"
    except (requests.exceptions.RequestException, HTTPError, OSError, ValueError):
        problem = "cannot be read: the answer is not HTTP or broke off"
    raise UsageError(problem)


def _answer(session: "requests.Session", url: str, deadline: float) -> "requests.Response":
    left = max(deadline - monotonic(), 0.001)
    headers = {
        "User-Agent": f"ccl-exporter/{__version__}",
        "Accept": "application/yaml, application/json, text/*",
        # Unpacked, a small answer could be larger than any limit on what is received.
        "Accept-Encoding": "identity",
    }
    return session.get(url, headers=headers, timeout=left, allow_redirects=False, stream=True)


def _body(response: "requests.Response", deadline: float) -> bytes:
    if response.status_code != 200:
        raise UsageError(f"cannot be read: it answers {response.status_code}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise UsageError("cannot be read: its answer is compressed, which nobody asked for")
    body = bytearray()
    # One piece at a time: the library's timeout begins anew with every byte that comes.
    while len(body) <= MAX_BYTES and (piece := response.raw.read1(65536)):
        body += piece
        if monotonic() > deadline:
            raise TimeoutError
    expected = response.headers.get("Content-Length", "")
    if expected.isdecimal() and len(body) < min(int(expected), MAX_BYTES):
        raise UsageError("cannot be read: the answer broke off")
    return bytes(body[: MAX_BYTES + 1])


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads: on the same server only, or from http to https of the same host."""
    target = urljoin(url, location)
    old, new = urlsplit(url), urlsplit(target)
    same = (new.scheme, new.hostname, new.port) == (old.scheme, old.hostname, old.port)
    upgrade = (old.scheme, new.scheme, new.hostname) == ("http", "https", old.hostname)
    if not location or "@" in new.netloc or not (same or upgrade):
        raise UsageError("cannot be read: it redirects to another host, which is not followed")
    return target
