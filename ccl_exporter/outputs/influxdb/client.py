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
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic, time
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError

from ccl_exporter.settings import InfluxSettings

_MOST_READ = 64 * 1024
_MOST_SHOWN = 200
LONGEST_PATIENCE = 120.0
"""Seconds that an answer is waited for in the end, where a database needs longer than configured."""

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
        self._url = _url(settings)
        self._headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Encoding": "gzip",
            "User-Agent": "ccl-exporter",
            **_login(settings),
        }
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1)

    def close(self) -> None:
        self._pool.clear()

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
            response = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers=self._headers,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=self._timeout, read=self._patience),
                preload_content=False,
            )
            text = _read(response, began + self._patience)
        except (HTTPError, OSError, ValueError) as error:
            if _late(error):
                self._patience = max(min(self._patience * 2, LONGEST_PATIENCE), self._timeout)
            return RetryLater(_why(error, self._timeout))
        self._patience = max(min((monotonic() - began) * 2, LONGEST_PATIENCE), self._timeout)
        return outcome(response.status, response.headers, text, len(lines))


def outcome(status: int, headers: Mapping[str, str], text: str, count: int) -> Outcome:
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


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> str:
    """The begin of an answer's text; raises `TimeoutError` when it takes too long."""
    body = bytearray()
    try:
        while len(body) < _MOST_READ:
            piece = response.read1(_MOST_READ)
            if not piece:
                response.release_conn()
                break
            body += piece
            if monotonic() > deadline:
                raise TimeoutError
    finally:
        # Closes nothing if the answer was read to its end; otherwise its rest would be taken for the next one.
        response.close()
    return body.decode(errors="replace")


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


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After, a number or a date (RFC 9110, 10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text[:9]), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((until - datetime.fromtimestamp(time(), UTC)).total_seconds(), 0.0), LONGEST_WAIT)


def _late(error: Exception) -> bool:
    """Whether there was a server, and it did not answer in time."""
    return isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError)


def _why(error: Exception, timeout: float) -> str:
    """Why there was no answer, in words that hold neither the URL nor a secret."""
    if _late(error):
        return f"no complete answer within {timeout:g} seconds"
    if isinstance(error, urllib3.exceptions.SSLError):
        return "no trust in its certificate, or no TLS there"
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "no host is called so"
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "no connection"
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        return f"no connection within {timeout:g} seconds"
    return "the connection broke off, or the answer is not HTTP"
