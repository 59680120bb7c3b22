"""One GET at a time to one charger, with a deadline that holds for the whole of it.

This is urllib3 without `requests` above it: the same connections at half the processor time of a request.
"""

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import TypeVar
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, ReadTimeoutError

from ccl_exporter import __version__
from ccl_exporter.errors import (
    Absent,
    AccessDenied,
    ChargerError,
    Garbled,
    HostNotFound,
    TimedOut,
    TooLarge,
    Unreachable,
    clear_tracebacks,
)
from ccl_exporter.locks import ChargerLock
from ccl_exporter.powerstudio.connection import MAX_BYTES, FloodError, RequestDeadline, connections
from ccl_exporter.powerstudio.login import Login
from ccl_exporter.settings import Credentials

_PART = 64 * 1024

_Answer = TypeVar("_Answer")

HEADERS = {
    "User-Agent": f"ccl-exporter/{__version__}",
    "Accept": "text/xml, application/xml",
    "Accept-Encoding": "identity",
}

NOT_THIS_WAY = frozenset({400, 404, 405, 410, 414, 501})
"""Statuses by which an engine says that it has no such document or cannot read such a request."""

LOGIN_TRIES = 2
"""How often a request is sent again after a 401: the nonce of the first may be stale already (RFC 7616)."""


class Transport:
    """GETs from one charger over one kept connection; one caller at a time.

    `source_address` is the address of this machine to ask from, `lock` keeps other processes apart.
    `url` is the engine's root, such as `http://192.0.2.10` or `http://evse:8080`.
    Counts what it sends in `requests` and remembers the last `Date` header in `clock` (Unix seconds).
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        source_address: str | None = None,
        lock: ChargerLock | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._lock = lock
        self._login = Login(credentials)
        self.host = urlsplit(url).hostname or url
        # What follows in a URL of this engine is the request target.
        self._root = len(self.url) - len(urlsplit(self.url).path)
        self.requests = 0
        self.clock: float | None = None
        self._line = RequestDeadline()
        self._source = (source_address, 0) if source_address is not None else None
        self._pool = self._connections()

    def _connections(self) -> HTTPConnectionPool:
        """The one connection to the engine, opened when it is needed and again when the engine closed it."""
        return connections(self.url, self._source, self._line)

    def close(self) -> None:
        self._pool.close()
        if self._lock is not None:
            self._lock.close()

    def get(self, target: str, deadline: float) -> bytes:
        """The body of `target` (path and query without the leading slash), complete before `deadline`.

        `deadline` is in monotonic seconds.
        Raises `Unreachable`, `TimedOut`, `AccessDenied`, `Absent`, `Garbled` or `TooLarge`.
        """
        url = f"{self.url}/{target}"
        with self._lock.turn(deadline) if self._lock is not None else nullcontext():
            return self._translated(lambda: self._exchange(url, deadline))

    def _exchange(self, url: str, deadline: float) -> bytes:
        response = self._resent(url, deadline)
        for _ in range(LOGIN_TRIES):
            if response.status != 401 or not self._login.accept(response.headers.get("WWW-Authenticate", ""), url):
                break
            _done_with(response)
            response = self._resent(url, deadline)
        try:
            return self._body(response)
        finally:
            _done_with(response)

    def _resent(self, url: str, deadline: float) -> BaseHTTPResponse:
        """Send; a kept connection that the engine closed meanwhile is no answer, so send it again, once."""
        opened = self._line.opened
        try:
            return self._send(url, deadline)
        except ProtocolError:
            if self._line.opened > opened:
                raise
        return self._send(url, deadline)

    def _send(self, url: str, deadline: float) -> BaseHTTPResponse:
        left = deadline - monotonic()
        if left <= 0:
            raise TimedOut("no time was left to ask")
        self.requests += 1
        self._line.begin(deadline)
        return self._pool.urlopen(
            "GET",
            url[self._root :],
            headers=HEADERS | self._login.headers(url),
            retries=False,
            redirect=False,
            timeout=left,
            preload_content=False,
            decode_content=False,
        )

    def _body(self, response: BaseHTTPResponse) -> bytes:
        status = response.status
        if status == 401:
            raise AccessDenied(self._login.refusal)
        if status == 403:
            raise AccessDenied("the charger answers 403: it does not allow this")
        if status in NOT_THIS_WAY:
            raise Absent(f"the charger answers {status}")
        if 300 <= status < 400:
            raise Garbled(f"the charger answers {status}, a redirect, which is not followed")
        if status != 200:
            raise Garbled(f"the charger answers {status}")
        self._login.granted()
        body = bytearray()
        # To the very end: only then is the connection free again, and is it known that nothing was cut off.
        while part := response.read(_PART):
            body += part
            if len(body) > MAX_BYTES:
                raise TooLarge(f"the answer is larger than {MAX_BYTES} bytes")
        self.clock = _unix(response.headers.get("Date"))
        return bytes(body)

    def _translated(self, exchange: Callable[[], _Answer]) -> _Answer:
        """Run an exchange and turn the libraries' errors into ours; the one place that knows theirs."""
        try:
            return exchange()
        except (HTTPError, OSError) as error:
            chain = list(causes(error))
            clear_tracebacks(error)
            raise self._meaning(chain) from error

    def _meaning(self, chain: Sequence[BaseException]) -> ChargerError:
        """Our error for an error of the libraries and what it came from."""
        reason = chain[-1]
        if isinstance(reason, FloodError):
            return TooLarge(f"the answer is larger than {MAX_BYTES} bytes")
        if isinstance(chain[0], ReadTimeoutError) or isinstance(reason, TimeoutError):
            return TimedOut(f"no complete answer from {self.host} in time")
        if isinstance(reason, socket.gaierror):
            return HostNotFound(f"no host is called {self.host}")
        if any(isinstance(cause, NewConnectionError) for cause in chain):
            detail = reason.strerror if isinstance(reason, OSError) else None
            return Unreachable(f"no connection to {self.host}: {detail or reason}")
        if isinstance(reason, ssl.SSLCertVerificationError):
            return Unreachable(f"the certificate of {self.host} is not trusted: {reason.verify_message}")
        return Garbled(f"the answer of {self.host} broke off or is not HTTP")


def _done_with(response: BaseHTTPResponse) -> None:
    """Give the connection back, or close it if not all of the answer was read."""
    response.close()
    response.release_conn()


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, the root cause last."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _unix(header: str | None) -> float | None:
    if header is None:
        return None
    try:
        moment = parsedate_to_datetime(header)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
