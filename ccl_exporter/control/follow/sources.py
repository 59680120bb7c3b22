"""The sources of a follower's input: a PromQL query, an MQTT topic, a file, standard input."""

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from time import monotonic, time
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from ccl_exporter.control.follow.input_filter import InputValue
from ccl_exporter.errors import UsageError
from ccl_exporter.http_client import HttpClient, HttpError, target_of
from ccl_exporter.settings import MQTT_EXTRA, BrokerSettings, Credentials, broker_settings
from ccl_exporter.text import mask_urls

_FUTURE = 60.0
"""Seconds by which the clock of a source may be ahead of ours."""

_MOST_ANSWERED = 4 * 1024 * 1024  # bytes; one series is needed, but METRIC[30d] has many samples
_LONGEST_LINE = 65_536  # bytes
_LONGEST_TOPIC = 65_535  # bytes (MQTT 3.1.1, 4.7.3)


class NoValueError(ValueError):
    """A text or response has no number; the message quotes it or says why."""


def reading(text: str, field: str | None) -> tuple[float, float | None]:
    """The number in a text, and its Unix time if it has one: `1234.5` or `1234.5 1790000000`.

    `field` is the path of a member of a JSON object, such as `emeter.power`. Raises `NoValueError`.
    """
    if field is not None:
        try:
            found: Any = json.loads(text)
            for name in field.split("."):
                found = found[name]
            return float(found), None
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            raise NoValueError(f"there is no number {field!r} in {text[:60]!r}") from None
    words = text.split()
    try:
        value, *at = map(float, words)
    except ValueError:
        raise NoValueError(f"{text[:60]!r} is not a number") from None
    if len(at) > 1:
        raise NoValueError(f"{text[:60]!r} is several numbers")
    return value, at[0] if at else None


class LatestValue:
    """The latest value of the input, which a source sets in its thread; `news` is set with every change.

    `number` stays when an input fails; `failure` then says why, else it is empty.
    `clock` is the follower's, `wall` gives Unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, wall: Callable[[], float] = time) -> None:
        self._clock = clock
        self._wall = wall
        self.number: InputValue | None = None
        self._taken: float | None = None
        self.failure = "no value has arrived yet"
        self.ended = False
        self.broken = False
        self.news = threading.Event()

    def take(self, value: float, taken: float | None = None) -> None:
        """Set a number with its Unix time, or without one that of its arrival; an impossible time is a failure."""
        age = 0.0 if taken is None else self._wall() - taken
        if isnan(age):
            return self.fail("the input has a date that is not a number")
        if age < -_FUTURE:
            return self.fail(f"the input is dated {-age:.0f} s in the future: one of the clocks is wrong")
        self.failure = ""
        at = self._clock() - max(age, 0.0)
        if self.number is not None and taken is not None and taken == self._taken:
            # Read again, it is no younger: the clock of its source may be ahead.
            at = min(at, self.number.at)
        self.number, self._taken = InputValue(value, at), taken
        self.news.set()
        return None

    def take_text(self, text: str, field: str | None) -> None:
        try:
            self.take(*reading(text, field))
        except NoValueError as error:
            self.fail(str(error))

    def fail(self, why: str) -> None:
        """Note why there is no usable value."""
        if why != self.failure:
            self.failure = why
            self.news.set()

    def end(self, broken: bool = False) -> None:
        """Note that no more numbers will come; `broken`: an internal error ended the source."""
        self.broken = broken
        self.ended = True
        self.news.set()


class InputSource(Protocol):
    """A source of the input; `says` is its name for a person."""

    @property
    def says(self) -> str: ...

    def run(self, latest: LatestValue, stopped: threading.Event) -> None:
        """Set `latest` with each new number until `stopped`; in a thread of its own."""


def run_source(source: InputSource, latest: LatestValue, stopped: threading.Event) -> None:
    """Run a source in its thread; an internal error ends the source too, so that the follower notices it."""
    with ExitStack() as breaking:
        breaking.callback(latest.end, broken=True)
        source.run(latest, stopped)
        breaking.pop_all()


@dataclass(frozen=True)
class Lines:
    """A source with one number a line, such as standard input."""

    lines: Iterable[str]
    field: str | None = None
    says: str = "standard input"

    def run(self, latest: LatestValue, stopped: threading.Event) -> None:
        for line in self.lines:
            if stopped.is_set():
                return
            if line.strip():
                latest.take_text(line.strip(), self.field)
        latest.end()


def descriptor_lines(descriptor: int) -> Iterator[str]:
    """The lines of a file descriptor, whatever their encoding.

    Without a lock: a thread that waits in a stream's lock keeps the interpreter from ending.
    """
    rest = b""
    with suppress(OSError):  # closed: its end
        while chunk := os.read(descriptor, _LONGEST_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in lines)
            rest = rest[-_LONGEST_LINE:]
    yield rest.decode("utf-8", "replace")


@dataclass(frozen=True)
class File:
    """A file that holds one number; without a time in it, the file's modification time counts."""

    path: Path
    every: float
    field: str | None = None

    @property
    def says(self) -> str:
        return f"the file {self.path}"

    def run(self, latest: LatestValue, stopped: threading.Event) -> None:
        while not stopped.is_set():
            self.look(latest)
            stopped.wait(self.every)

    def look(self, latest: LatestValue) -> None:
        try:
            with self.path.open(encoding="utf-8", errors="replace") as file:
                modified = self.path.stat().st_mtime
                text = file.read(_LONGEST_LINE).strip()
            value, taken = reading(text, self.field)
            latest.take(value, modified if taken is None else taken)
        except NoValueError as error:
            latest.fail(str(error))
        except OSError as error:
            latest.fail(f"{self.path} cannot be read: {error.strerror}")


@dataclass(frozen=True)
class PromQuery:
    """A query to the API of Prometheus, sent every `every` seconds.

    `METRIC[1m]` gives the time of its last sample; the value of any other query counts as new.
    """

    url: str
    query: str
    every: float
    timeout: float = 5.0

    @property
    def says(self) -> str:
        return f"the query {self.query} at {mask_urls(self.url)}"

    def run(self, latest: LatestValue, stopped: threading.Event) -> None:
        client = HttpClient(self.url)
        target = target_of(f"{self.url.rstrip('/')}/api/v1/query?{urlencode({'query': self.query})}")
        while not stopped.is_set():
            deadline = monotonic() + self.timeout
            try:
                answer = client.request("GET", target, deadline, most_bytes=_MOST_ANSWERED)
                latest.take(*answered(answer.body, answer.status))
            except (NoValueError, HttpError) as error:
                latest.fail(str(error))
            stopped.wait(self.every)
        client.close()


def prom_query(url: str, query: str, every: float) -> PromQuery:
    """The source for a query at `http://HOST[:PORT][/PATH]`; the scheme is optional. Raises `UsageError`."""
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        has_login = parts.username is not None
    except ValueError:
        is_good = has_login = False
    if has_login:
        raise UsageError("--prometheus.url must not hold a user name or password: the follower sends none")
    if not is_good:
        raise UsageError("--prometheus.url is not the URL of a Prometheus; it looks like http://127.0.0.1:9090")
    return PromQuery(url, query, every)


def answered(body: bytes, status: int = 200) -> tuple[float, float | None]:
    """The number in an answer of Prometheus, and its Unix time if it is a range vector; raises `NoValueError`."""
    try:
        answer = json.loads(body)
        if answer["status"] != "success":
            raise NoValueError(f"the query failed: {answer.get('error', 'no reason given')}")
        kind, result = answer["data"]["resultType"], answer["data"]["result"]
        if kind == "scalar":
            return float(result[1]), None
        if len(result) != 1:
            raise NoValueError(f"the query gives {len(result) or 'no'} series, and one is needed")
        if kind == "matrix":
            at, value = result[0]["values"][-1]
            return float(value), float(at)
        return float(result[0]["value"][1]), None
    except NoValueError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError):
        raise NoValueError(f"the answer to the query (HTTP {status}) is not one of Prometheus") from None


@dataclass(frozen=True)
class Mqtt:
    """The latest message of a topic. A retained message has no known age and is ignored."""

    broker: BrokerSettings
    topic: str
    field: str | None = None

    @property
    def says(self) -> str:
        return f"the topic {self.topic} at {self.broker.host}:{self.broker.port}"

    def run(self, latest: LatestValue, stopped: threading.Event) -> None:
        from ccl_exporter.mqtt_client import MqttConnection  # noqa: PLC0415 - its library is an extra

        topic, field, shown = self.topic, self.field, self.broker.shown

        class Listener:
            def on_connected(self) -> None:
                connection.subscribe([topic], qos=0)

            def on_message(self, _topic: str, payload: bytes, retained: bool) -> None:
                if not retained:
                    latest.take_text(payload.decode("utf-8", "replace").strip(), field)

            def on_failed(self, why: str) -> None:
                latest.fail(f"{shown}: {why}")

        connection = MqttConnection(self.broker, Listener())
        while not stopped.is_set():
            stopped.wait(connection.step(monotonic()))
        connection.close(monotonic() + 1.0)


def mqtt(url: str, topic: str, field: str | None, environment: Mapping[str, str]) -> Mqtt:
    """The source for a topic at `mqtt://HOST[:PORT]` or `mqtts://…`. Raises `UsageError`.

    The login is CCL_MQTT_USERNAME with CCL_MQTT_PASSWORD_FILE, or CCL_MQTT_PASSWORD, in `environment`.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - only for a topic

    if find_spec("paho") is None:
        raise UsageError(f"a topic {MQTT_EXTRA}")
    try:
        broker = broker_settings(url, "set CCL_MQTT_USERNAME and CCL_MQTT_PASSWORD_FILE")
    except UsageError as error:
        raise UsageError(f"--broker: {error}") from None
    levels = topic.split("/")
    whole = all(level in ("+", "#") or not {"+", "#"} & set(level) for level in levels)
    if not topic or not whole or "#" in levels[:-1] or len(topic.encode(errors="replace")) > _LONGEST_TOPIC:
        raise UsageError(f"{topic!r} is not a topic; it looks like house/power, and # stands only at its end")
    if name := environment.get("CCL_MQTT_USERNAME"):
        password = environment.get("CCL_MQTT_PASSWORD", "")
        if path := environment.get("CCL_MQTT_PASSWORD_FILE"):
            try:
                password = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
            except OSError as error:
                raise UsageError(f"{path} cannot be read: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise UsageError(f"{path} is not UTF-8 text") from error
        broker = replace(broker, credentials=Credentials(name, password))
    return Mqtt(broker, topic, field)
