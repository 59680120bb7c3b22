"""The one HTTP client: its deadline holds for a whole exchange, from the name of the host to the last byte.

A limit for each wait for bytes does not limit their sum: a server that sends one byte a second would never time
out. So the socket itself knows the deadline and shortens every wait to what is left. The rest is Python's own
client, without a pool above it: a charger is read every few seconds, and thousands of them by one process.
"""

import errno
import queue
import select
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse
from ipaddress import ip_address
from time import monotonic
from types import MappingProxyType
from typing import Any, NamedTuple, cast
from urllib.parse import quote, urlsplit

from ccl_exporter import __version__
from ccl_exporter.errors import clear_tracebacks

CONNECT_SECONDS = 5.0
"""The longest wait for a TCP connection to one address.

A SYN that was lost is sent again after 1 s and 3 s; who answers none of the three is not there, and must not
hold a reader for all the time that a whole read may take.
"""

_HEADER_BYTES = 256 * 1024
_RESERVED = "!$%&'()*+,/:;=?@[]~"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Failure(Enum):
    """Why a request failed; the value is a sentence for a person."""

    HOST_NOT_FOUND = "host name not found: {host}"
    REFUSED = "no connection to {host}: Connection refused"
    NO_ROUTE = "no route to {host}"
    NO_CONNECTION = "no connection to {host}: {detail}"
    CONNECT_TIMED_OUT = f"no connection to {{host}} within {CONNECT_SECONDS:g} seconds"
    NOT_TRUSTED = "the certificate of {host} is not trusted: {detail}"
    NO_TLS = "no TLS at {host}"
    TIMED_OUT = "no complete answer from {host} in time"
    BROKE_OFF = "the answer of {host} broke off or is not HTTP"
    TOO_LARGE = "{host} sends a response that is too large"


class HttpError(Exception):
    """A request failed; the text holds neither a URL nor a secret.

    `sent`: there was a connection, so the server may have taken the request.
    `stale`: nothing came over a connection that was kept, which the server may have closed before: send it again.
    """

    def __init__(self, failure: Failure, host: str, detail: str, sent: bool, stale: bool) -> None:
        super().__init__(failure.value.format(host=host, detail=detail))
        self.failure = failure
        self.sent = sent
        self.stale = stale


class Answer(NamedTuple):
    """A response; its body has `most_bytes` at most, and `whole` says that nothing was cut off."""

    status: int
    headers: HTTPMessage
    body: bytes
    whole: bool

    def header(self, name: str) -> str:
        """All values of a header, joined by commas; empty if there is none."""
        return ", ".join(self.headers.get_all(name, ()))


class HttpClient:
    """Requests to the server of a URL over one kept connection, opened when needed; one caller at a time.

    Follows no redirect, uses no proxy, trusts the authorities of the system. `headers` go with every request;
    `source_address` is the address of this machine to ask from.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str] = _NO_HEADERS, source_address: str | None = None
    ) -> None:
        parts = urlsplit(url)
        self._headers = {"User-Agent": f"ccl-exporter/{__version__}", **headers}
        self._exchange = _Exchange()
        self._connection = _Connection(
            parts.hostname or "", parts.port, parts.scheme == "https", source_address, self._exchange
        )

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def request(
        self,
        method: str,
        target: str,
        deadline: float,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes | None = None,
        most_bytes: int,
        body_of: int | None = None,
    ) -> Answer:
        """Send a request for `target` (path and query) and read the answer; complete before `deadline`.

        `deadline` is in monotonic seconds. Of a body, `most_bytes` are read at most; with `body_of`, none
        unless the status is that. Raises `HttpError`.
        """
        connection = self._connection
        self._exchange.begin(deadline, most_bytes)
        response: HTTPResponse | None = None
        is_new = is_connected = False
        try:
            if connection.sock is not None and _has_news(connection.sock):
                # It was closed meanwhile, or holds what was not asked for.
                connection.close()
            if connection.sock is None:
                is_new = True
                connection.connect()
            is_connected = True
            # Who does not take the whole request may have said why.
            with suppress(ConnectionError):
                connection.request(method, target, body, {**self._headers, **headers})
            response = connection.getresponse()
            self._exchange.is_in_head = False
            content, is_whole = _body(response, most_bytes if body_of in (None, response.status) else 0)
            return Answer(response.status, response.headers, content, is_whole)
        except (OSError, HTTPException, ValueError) as error:
            connection.close()
            failure, detail = _failure(error, is_connected)
            clear_tracebacks(error)
            stale = failure is Failure.BROKE_OFF and response is None and not is_new
            raise HttpError(failure, connection.host, detail, is_connected, stale) from error
        finally:
            if response is None or not response.isclosed():
                # The rest of this answer would be taken for the next one.
                if response is not None:
                    response.close()
                connection.close()


def target_of(url: str) -> str:
    """Path and query of a URL, as a request names them."""
    parts = urlsplit(url)
    return quote(f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", safe=_RESERVED)


def unix_time(date: str) -> float | None:
    """The Unix seconds of a date in a header (RFC 9110, 5.6.7); None if it is not valid."""
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


class _FloodError(OSError):
    """More came than any answer has."""


class _ConnectTimeoutError(OSError):
    """No address answered, though the deadline has not passed."""


class _Exchange:
    """What a client shares with its socket: until when a request may take, how much may come.

    It knows neither, as a ring of objects would be free only when Python's collector looks.
    """

    __slots__ = ("_deadline", "_room", "is_in_head")

    def begin(self, deadline: float, most_bytes: int) -> None:
        self._deadline = deadline
        self.is_in_head = True
        # The marks of chunks come besides.
        self._room = 2 * most_bytes + _HEADER_BYTES

    def count(self, came: int) -> int:
        """The library reads a head to its end before anybody can look at its size, and takes one that broke off
        for a whole one: a database would seem to have accepted what it never read."""
        if came == 0 and self.is_in_head:
            raise ConnectionResetError
        self._room -= came
        if self._room < 0:
            raise _FloodError
        return came

    def left(self) -> float:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed")
        return left


class _DeadlineSocket(socket.socket):
    """A socket whose every wait ends at the deadline of its exchange."""

    exchange: _Exchange

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.exchange.left())
        return self.exchange.count(super().recv_into(*args, **kwargs))

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(self.exchange.left())
        super().sendall(*args, **kwargs)


class _SecureSocket(_DeadlineSocket, ssl.SSLSocket):
    """The same over TLS, whose handshake knows a deadline by itself."""


class _Connection(HTTPConnection):
    """A connection that keeps the deadline of its exchange, from the name to the last byte."""

    def __init__(
        self, host: str, port: int | None, is_secure: bool, source_address: str | None, exchange: _Exchange
    ) -> None:
        self.default_port = 443 if is_secure else 80
        super().__init__(host, self.default_port if port is None else port)
        self._source = source_address
        self._is_secure = is_secure
        self._exchange = exchange

    def __del__(self) -> None:
        """A charger that leaves the configuration takes its connection with it."""
        self.close()

    def connect(self) -> None:
        """Raises `OSError`."""
        sock = self._connected()
        if self._is_secure:
            sock = cast(_SecureSocket, _trusting().wrap_socket(sock, server_hostname=self.host))
            sock.exchange = self._exchange
        self.sock = sock

    def _connected(self) -> _DeadlineSocket:
        failure: OSError = OSError("no address")
        for family, kind, protocol, _, address in addresses_of(self.host, self.port, self._exchange.left()):
            left = self._exchange.left()
            sock = _DeadlineSocket(family, kind, protocol)
            try:
                sock.exchange = self._exchange
                sock.settimeout(min(left, CONNECT_SECONDS))
                if self._source is not None:
                    sock.bind((self._source, 0))
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(self._exchange.left())
            except TimeoutError:
                sock.close()
                if left <= CONNECT_SECONDS:
                    raise
                failure = _ConnectTimeoutError()
            except OSError as error:
                sock.close()
                failure = error.with_traceback(None)
            else:
                return sock
        raise failure


def addresses_of(host: str, port: int, seconds: float) -> list[Any]:
    """Resolve a host name within `seconds`; the system's resolver knows no deadline of its own.

    The answer is that of `socket.getaddrinfo`. Raises `OSError`.
    """
    answer: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answer.put(error)
        except UnicodeError as error:
            answer.put(socket.gaierror(str(error)))

    if _is_address(host):
        resolve()
    else:
        try:
            threading.Thread(target=resolve, name="resolve", daemon=True).start()
        except RuntimeError as error:
            # The system has no thread left.
            raise OSError(str(error)) from error
    try:
        found = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError("no answer from the name server") from None
    if isinstance(found, OSError):
        raise found
    return found


def resolved_address(url: str, seconds: float) -> str | None:
    """Address, port and path that a URL leads to, as text; the same for every way to name this machine itself.

    Behind one address with several paths there are several engines.
    None if its name is not resolved within `seconds`.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    place = f"{port}{parts.path.rstrip('/')}"
    try:
        found = addresses_of(parts.hostname or "", port, max(seconds, 0.0))
    except OSError:
        return None
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    addresses = [getattr(address, "ipv4_mapped", None) or address for address in addresses]
    if any(address.is_loopback for address in addresses):
        return f"loopback:{place}"
    return f"{min(addresses, key=lambda address: (address.version, int(address)))}:{place}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@cache
def _trusting() -> ssl.SSLContext:
    """TLS with the system's authorities, made once: each is megabytes."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.sslsocket_class = _SecureSocket
    return context


def _has_news(sock: socket.socket) -> bool:
    """Whether something came over a connection on which nothing is expected, such as its end."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _body(response: HTTPResponse, most_bytes: int) -> tuple[bytes, bool]:
    """The first bytes of a body, and whether they are all of it."""
    if not most_bytes and response.length != 0:
        return b"", False
    body = response.read(most_bytes + 1)
    if len(body) > most_bytes:
        return body[:most_bytes], False
    if response.length:
        raise HTTPException("the body is shorter than announced")
    return body, True


def _failure(error: Exception, is_connected: bool) -> tuple[Failure, str]:
    """What an error of the libraries means, with a detail; the one place that knows their errors."""
    if isinstance(error, _FloodError):
        return Failure.TOO_LARGE, ""
    if isinstance(error, _ConnectTimeoutError):
        return Failure.CONNECT_TIMED_OUT, ""
    if isinstance(error, TimeoutError):
        return Failure.TIMED_OUT, ""
    if is_connected or not isinstance(error, OSError):
        return Failure.BROKE_OFF, ""
    if isinstance(error, socket.gaierror):
        return Failure.HOST_NOT_FOUND, ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure.NOT_TRUSTED, error.verify_message
    if isinstance(error, ssl.SSLError):
        return Failure.NO_TLS, ""
    if isinstance(error, ConnectionRefusedError):
        return Failure.REFUSED, ""
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return Failure.NO_ROUTE, ""
    return Failure.NO_CONNECTION, error.strerror or str(error)
