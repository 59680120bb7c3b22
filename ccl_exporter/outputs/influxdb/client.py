"""Lines to a database over HTTP, one request at a time, and what its answer means as a value.

| answer | outcome |
| --- | --- |
| 2xx without a text | accepted |
| 400, 422 | refused: some line is bad, sending it again cannot help |
| 413 | too large: send less at a time |
| no connection, no answer, 401, 403, 404, 408, 429, 5xx, a web page, a redirect, anything else | later |
"""

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from time import monotonic, time
from urllib.parse import urlencode

from ccl_exporter.http_client import Failure, HttpClient, HttpError, target_of, unix_time
from ccl_exporter.settings import InfluxSettings

_MOST_READ = 64 * 1024
_MOST_SHOWN = 200
LONGEST_PATIENCE = 120.0
"""Seconds that an answer is waited for in the end, where a database needs longer than configured."""

_A_DAY = 86_400.0

LONGEST_WAIT = 3600.0
"""Seconds that a server may ask us to wait; more would look as if nothing was sent any more."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The database has every line."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Some line is bad. `dropped` is how many the database left out, where it says so."""

    reason: str
    dropped: int | None = None


@dataclass(frozen=True, slots=True)
class RequestTooLarge:
    """The database does not take that much at once."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Nothing is wrong with the lines. `wait` is how many seconds the server wants to be left alone."""

    reason: str
    wait: float | None = None


Outcome = Accepted | Rejected | RequestTooLarge | RetryLater

_ADVICE = {
    401: "the database wants another login: see `token`, or `username` and `password`",
    403: "this login may not write there",
    404: "there is no such database, bucket or organisation, or no InfluxDB of this version",
}


class InfluxClient:
    """Writes to the database of one entry; used by one thread."""

    def __init__(self, settings: InfluxSettings) -> None:
        self._timeout = settings.timeout
        self._patience = settings.timeout
        self._target = target_of(_url(settings))
        sent = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
        self._client = HttpClient(settings.url, {**sent, **_login(settings)})

    def close(self) -> None:
        self._client.close()

    def check(self) -> Outcome:
        """Whether the database would take something: a write of nothing, which some refuse and none keeps."""
        outcome = self.write(())
        return Accepted() if isinstance(outcome, Rejected) else outcome

    def write(self, lines: Sequence[str]) -> Outcome:
        """Send lines in one request and read the answer. Never raises for what the server does.

        After each answer that did not come in time the next one is waited for twice as long:
        who takes a minute for what it stores would else be sent the same again and again, and never anything more.
        """
        body = gzip.compress("\n".join(lines).encode(), compresslevel=5, mtime=0)
        began = monotonic()
        try:
            answer = self._client.request(
                "POST", self._target, began + self._patience, body=body, most_bytes=_MOST_READ
            )
        except HttpError as error:
            if error.failure is not Failure.TIMED_OUT:
                return RetryLater(str(error))
            if error.sent:
                self._patience = max(min(self._patience * 2, LONGEST_PATIENCE), self._timeout)
            return RetryLater(f"no complete answer within {self._timeout:g} seconds")
        self._patience = max(min((monotonic() - began) * 2, LONGEST_PATIENCE), self._timeout)
        return outcome(answer.status, answer.headers, answer.body.decode(errors="replace"), len(lines))


def outcome(status: int, headers: Message | Mapping[str, str], text: str, count: int) -> Outcome:
    """What an answer to a request of `count` lines means."""
    page = text.lstrip().startswith("<") or "html" in headers.get("Content-Type", "").lower()
    said = f"it answers {status}" + (f": {_message(text)}" if text and not page else "")
    if 200 <= status < 300 and not text:
        return Accepted()
    if 200 <= status < 400 or page:
        return RetryLater(f"{said}, which is not how a database answers; look at the URL", _wait(headers))
    if status in (400, 422):
        dropped = re.search(r"dropped=([0-9]{1,9})\b", text)
        return Rejected(said, int(dropped[1]) if dropped else None)
    if status == 413:
        return RequestTooLarge(said)
    advice = _ADVICE.get(status)
    return RetryLater(f"{advice} ({said})" if advice else said, _wait(headers))


def _url(settings: InfluxSettings) -> str:
    if settings.version == 1:
        query = {"db": settings.database, "rp": settings.retention_policy, "precision": "ms"}
        path = "/write"
    else:
        query = {"org": settings.org, "bucket": settings.bucket, "precision": "ms"}
        path = "/api/v2/write"
    return f"{settings.url}{path}?{urlencode({name: text for name, text in query.items() if text})}"


def _login(settings: InfluxSettings) -> Mapping[str, str]:
    if settings.token:
        return {"Authorization": f"Token {settings.token}"}
    if settings.credentials is not None:
        login = f"{settings.credentials.username}:{settings.credentials.password}"
        return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}
    return {}


def _message(text: str) -> str:
    """What an answer says in words: InfluxDB puts them into JSON."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        text = str(data.get("error") or data.get("message") or text)
    words = " ".join(text.split())
    return words if len(words) <= _MOST_SHOWN else f"{words[:_MOST_SHOWN]}…"


def _wait(headers: Message | Mapping[str, str]) -> float | None:
    """Seconds of Retry-After, a number or a date (RFC 9110, 10.2.3); more than a day is no advice."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        wanted: float | None = float(text[:9])
    else:
        until = unix_time(text)
        wanted = max(until - time(), 0.0) if until is not None else None
    return None if wanted is None or wanted > _A_DAY else min(wanted, LONGEST_WAIT)
