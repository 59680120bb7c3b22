"""Sends lines to a database over HTTP, one request at a time, and returns the outcome.

| answer | outcome |
| --- | --- |
| 2xx without a body | `Accepted` |
| 400, 422 | `Rejected`: some line is bad, or the database accepts nothing now |
| 413, or more than `MOST_BYTES` | `RequestTooLarge`: send less at a time |
| no connection, no answer, 401, 403, 404, 408, 429, 5xx, a web page, a redirect, anything else | `RetryLater` |
"""

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from math import inf
from time import monotonic, time
from urllib.parse import urlencode

from ccl_exporter.http_client import Failure, HttpClient, HttpError, target_of, unix_time
from ccl_exporter.settings import InfluxSettings

MOST_BYTES = 8 * 1024**2
"""Maximum bytes of a request before compression, and of an answer that are read; InfluxDB 3 accepts 10 MiB."""

_MOST_SHOWN = 200
LONGEST_PATIENCE = 120.0
"""Maximum timeout in seconds, up to which the configured one is doubled while the database needs longer."""

_A_DAY = 86_400.0

LONGEST_WAIT = 3600.0
"""Maximum wait in seconds by `Retry-After`: a longer pause would look like a failure of the exporter."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The database has every line."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Some line is bad, or the database accepts nothing now.

    By the error message, which may be wrong or incomplete: `dropped` is the number of bad lines, `named` are their
    positions from 0, and `field` is a bad field.
    """

    reason: str
    dropped: int | None = None
    named: frozenset[int] = frozenset()
    field: str | None = None


@dataclass(frozen=True, slots=True)
class RequestTooLarge:
    """The request is too large for the database; `is_sent` says whether it was sent."""

    reason: str
    is_sent: bool = True


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The lines may be fine; send them again. `wait` is the server's `Retry-After` in seconds."""

    reason: str
    wait: float | None = None


Outcome = Accepted | Rejected | RequestTooLarge | RetryLater

_ADVICE = {
    401: "the database rejects the login: see `token`, or `username` and `password`",
    403: "this login has no permission to write",
    404: "there is no such database, bucket or organisation, or no InfluxDB of this version",
}


class InfluxClient:
    """Writes to one configured database; for one thread."""

    def __init__(self, settings: InfluxSettings) -> None:
        self._version = settings.version
        self._timeout = settings.timeout
        self._patience = settings.timeout
        self._target = target_of(f"{settings.url}{path_of(settings)}")
        self._ping = target_of(f"{settings.url}/ping")
        sent = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
        self._client = HttpClient(settings.url, {**sent, **login_of(settings)})

    def close(self) -> None:
        self._client.close()

    def check(self) -> Outcome:
        """Send an empty write, which stores nothing; `Accepted` also if the empty body is refused (400, 422)."""
        outcome = self.write(())
        return Accepted() if isinstance(outcome, Rejected) else outcome

    def advice(self) -> str:
        """A sentence if the server has another version than the configured one, else empty."""
        if self._version == 1:
            return ""
        try:
            answer = self._client.request("GET", self._ping, monotonic() + self._timeout, most_bytes=MOST_BYTES)
        except HttpError:
            return ""
        return version_advice(self._version, answer.headers)

    def write(self, lines: Sequence[str], most_seconds: float = inf) -> Outcome:
        """Send lines in one request and return the outcome, also for a failure of the network or the server.

        The timeout is the configured one, but at most `most_seconds`. It is doubled each time that the whole of it
        passed without an answer: otherwise a database that needs a minute would get the same lines again for ever.
        """
        text = "\n".join(lines).encode()
        if len(text) > MOST_BYTES:
            return RequestTooLarge(f"a request has at most {MOST_BYTES} bytes", is_sent=False)
        body = gzip.compress(text, compresslevel=5, mtime=0)
        patience = min(self._patience, most_seconds)
        began = monotonic()
        try:
            answer = self._client.request("POST", self._target, began + patience, body=body, most_bytes=MOST_BYTES)
        except HttpError as error:
            if error.failure is not Failure.TIMED_OUT:
                return RetryLater(str(error))
            if error.sent and patience == self._patience:
                self._patience = max(min(self._patience * 2, LONGEST_PATIENCE), self._timeout)
            return RetryLater(f"no complete answer within {self._timeout:g} seconds")
        self._patience = max(min((monotonic() - began) * 2, LONGEST_PATIENCE), self._timeout)
        return outcome(answer.status, answer.headers, answer.body.decode(errors="replace"), len(lines))


def outcome(status: int, headers: Message | Mapping[str, str], text: str, count: int) -> Outcome:
    """The outcome of a response to a request of `count` lines."""
    page = text.lstrip().startswith("<") or "html" in headers.get("Content-Type", "").lower()
    message, named = ("", frozenset[int]()) if page else _message(text)
    said = f"it answers {status}" + (f": {_short(message)}" if message else "")
    if 200 <= status < 300 and not text:
        return Accepted()
    if 200 <= status < 400 or page:
        return RetryLater(f"{said}, which is not how a database answers; look at the URL", _wait(headers))
    if status in (400, 422):
        dropped, field = _DROPPED.search(message), _FIELD.search(message)
        return Rejected(
            said,
            int(dropped[1]) if dropped else len(named) or None,
            frozenset(number for number in named if number < count),
            field[1] or field[2] if field else None,
        )
    if status == 413:
        return RequestTooLarge(said)
    advice = _ADVICE.get(status)
    return RetryLater(f"{advice} ({said})" if advice else said, _wait(headers))


_DROPPED = re.compile(r"dropped=([0-9]{1,9})\b")
_FIELD = re.compile(r"""input field "([^"]+)"|column '([^']+)'""")


def path_of(settings: InfluxSettings) -> str:
    """The path for writes, with the query."""
    if settings.version == 1:
        query = {"db": settings.database, "rp": settings.retention_policy, "precision": "ms"}
        path = "/write"
    elif settings.version == 2:
        query = {"org": settings.org, "bucket": settings.bucket, "precision": "ms"}
        path = "/api/v2/write"
    else:
        query = {"db": settings.bucket, "precision": "millisecond"}
        path = "/api/v3/write_lp"
    return f"{path}?{urlencode({name: text for name, text in query.items() if text})}"


def login_of(settings: InfluxSettings) -> Mapping[str, str]:
    """The `Authorization` header; empty without a login."""
    if settings.token:
        return {"Authorization": f"{'Bearer' if settings.version == 3 else 'Token'} {settings.token}"}
    if settings.credentials is not None:
        login = f"{settings.credentials.username}:{settings.credentials.password}"
        return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}
    return {}


def version_advice(configured: int, headers: Message | Mapping[str, str]) -> str:
    """A sentence if the response to `/ping` shows another version than the configured one, else empty."""
    version = headers.get("X-Influxdb-Version") or headers.get("x-influxdb-version") or ""
    is_three = version.lstrip("v").startswith("3.")
    if configured == 1 or not version.lstrip("v")[:1].isdecimal() or is_three == (configured == 3):
        return ""
    return f"the server is InfluxDB {version[:20]}, but `version: {configured}` is configured"


def _message(text: str) -> tuple[str, frozenset[int]]:
    """The error message of an answer, and the positions from 0 of the lines that it names: InfluxDB sends JSON."""
    named: frozenset[int] = frozenset()
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        text = str(data.get("error") or data.get("message") or text)
        found = data.get("data")
        items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
        numbers = (item.get("line_number") for item in items)
        named = frozenset(number - 1 for number in numbers if isinstance(number, int) and number > 0)
        if items and items[0].get("error_message"):
            text = str(items[0]["error_message"])
    return text, named


def _short(text: str) -> str:
    words = " ".join(text[: 2 * _MOST_SHOWN].split())
    return words if len(words) <= _MOST_SHOWN else f"{words[:_MOST_SHOWN]}…"


def _wait(headers: Message | Mapping[str, str]) -> float | None:
    """The seconds of `Retry-After`, a number or a date (RFC 9110, 10.2.3); None if it is more than a day."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        wanted: float | None = float(text[:9])
    else:
        until = unix_time(text)
        wanted = max(until - time(), 0.0) if until is not None else None
    return None if wanted is None or wanted > _A_DAY else min(wanted, LONGEST_WAIT)
