"""GET requests to one charger, one at a time, with its login; responses as bodies or errors."""

from collections.abc import Callable
from contextlib import nullcontext
from time import monotonic
from urllib.parse import urlsplit

from ccl_exporter.clock import SYSTEM, Clock
from ccl_exporter.errors import (
    Absent,
    AccessDenied,
    ChargerError,
    ConnectRefused,
    ConnectTimedOut,
    Garbled,
    HostNotFound,
    NoRoute,
    TimedOut,
    TooLarge,
    Unreachable,
    clear_tracebacks,
)
from ccl_exporter.http_client import Answer, Failure, HttpClient, HttpError, target_of, unix_time
from ccl_exporter.locks import ChargerLock
from ccl_exporter.powerstudio.login import Login
from ccl_exporter.settings import Credentials

MAX_BYTES = 4 * 1024 * 1024
"""The largest answer that is read; the varInfo of 1,425 variables is about 0.9 MB (protocol 11)."""

NOT_THIS_WAY = frozenset({400, 404, 405, 410, 414, 501})
"""Statuses by which an engine says that it has no such document or cannot read such a request."""

_LOGIN_TRIES = 2
"""How often a request is sent again after a 401: the nonce of the first may be stale already (RFC 7616)."""

_ERRORS = {
    Failure.HOST_NOT_FOUND: HostNotFound,
    Failure.REFUSED: ConnectRefused,
    Failure.NO_ROUTE: NoRoute,
    Failure.NO_CONNECTION: Unreachable,
    Failure.CONNECT_TIMED_OUT: ConnectTimedOut,
    Failure.NOT_TRUSTED: Unreachable,
    Failure.NO_TLS: Unreachable,
    Failure.TIMED_OUT: TimedOut,
    Failure.BROKE_OFF: Garbled,
    Failure.TOO_LARGE: TooLarge,
}


class Transport:
    """GETs from one charger over one kept connection; one caller at a time.

    `source_address` is the address of this machine to ask from, `lock` keeps other processes apart.
    `url` is the engine's root, such as `http://192.0.2.10` or `http://evse:8080`.
    Counts what it sends in `requests` and remembers the last `Date` header in `date` (Unix seconds).
    Deadlines are by the monotonic time of `clock`.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        source_address: str | None = None,
        lock: ChargerLock | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.url = url.rstrip("/")
        self._lock = lock
        self.clock = clock
        self._login = Login(credentials)
        self.host = urlsplit(url).hostname or url
        self._path = target_of(self.url).rstrip("/")
        self.requests = 0
        self.date: float | None = None
        self._client = HttpClient(self.url, {"Accept": "text/xml, application/xml"}, source_address)

    def close(self) -> None:
        self._client.close()
        if self._lock is not None:
            self._lock.close()

    def get(self, target: str, deadline: float) -> bytes:
        """The body of `target` (path and query without the leading slash), complete before `deadline`.

        Raises `Unreachable`, `TimedOut`, `AccessDenied`, `Absent`, `Garbled` or `TooLarge`.
        """
        target, deadline = f"{self._path}/{target}", self._real(deadline)
        with self._lock.turn(deadline) if self._lock is not None else nullcontext():
            try:
                answer = self._logged_in(target, lambda: self._resent(target, deadline))
            except HttpError as error:
                raise charger_error(error) from error
        return self._content(answer)

    def _real(self, deadline: float) -> float:
        """A deadline by the clock of the machine, which locks and sockets wait by."""
        return deadline - self.clock.monotonic() + monotonic()

    def _logged_in(self, target: str, send: Callable[[], Answer]) -> Answer:
        """Send a request, and again with what its answer asks for."""
        answer = send()
        for _ in range(_LOGIN_TRIES):
            if answer.status != 401 or not self._login.accept(answer.header("WWW-Authenticate"), target):
                break
            answer = send()
        return answer

    def _resent(self, target: str, deadline: float) -> Answer:
        """Send; a kept connection that the engine closed meanwhile is no answer, so send it again, once."""
        try:
            return self._send(target, deadline)
        except HttpError as error:
            if not error.stale:
                raise
        return self._send(target, deadline)

    def _send(self, target: str, deadline: float) -> Answer:
        if deadline <= monotonic():
            raise TimedOut("no time was left to ask")
        self.requests += 1
        headers = self._login.headers(target)
        return self._client.request("GET", target, deadline, headers=headers, most_bytes=MAX_BYTES, body_of=200)

    def _content(self, answer: Answer) -> bytes:
        status = answer.status
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
        if not answer.whole:
            raise TooLarge(f"the answer is larger than {MAX_BYTES} bytes")
        self.date = unix_time(answer.header("Date"))
        return answer.body


def charger_error(error: HttpError) -> ChargerError:
    """The `ChargerError` for a failed request."""
    clear_tracebacks(error)
    return _ERRORS[error.failure](str(error))
