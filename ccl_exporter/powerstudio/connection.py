"""One kept connection to an engine, whose socket knows until when a request may take and how much may come.

A limit for each wait for bytes limits not their sum: a server that sends one byte a second would never time out.
So the socket itself knows the deadline and shortens every wait to what is left.
"""

import queue
import socket
import ssl
import threading
from functools import cache
from time import monotonic
from typing import Any, cast

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.util import parse_url
from urllib3.util.ssl_ import create_urllib3_context

MAX_BYTES = 4 * 1024 * 1024
"""The largest answer that is read; the varInfo of 1,425 variables is about 0.9 MB (protocol 11)."""

MOST_RECEIVED = 2 * MAX_BYTES
"""The most that is taken for one answer with its headers and the marks of its chunks."""


class FloodError(OSError):
    """More came than any answer has."""


class RequestDeadline:
    """What a transport and its connection share: the deadline, how much came, how often it was opened.

    It knows no pool, as urllib3 holds connections as long as that lives.
    """

    deadline = 0.0
    """Monotonic seconds."""

    opened = 0
    _came = 0

    def begin(self, deadline: float) -> None:
        self.deadline = deadline
        self._came = 0

    def count(self, came: int) -> int:
        """Libraries read some answers to their end before anybody can look at the size."""
        self._came += came
        if self._came > MOST_RECEIVED:
            raise FloodError("more came than any answer has")
        return came

    def left(self) -> float:
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed")
        return left


class _DeadlineSocket(socket.socket):
    """A socket whose every wait ends at its line's deadline."""

    line: RequestDeadline

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.line.left())
        return self.line.count(super().recv_into(*args, **kwargs))

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(self.line.left())
        super().sendall(*args, **kwargs)


class _SecureSocket(_DeadlineSocket, ssl.SSLSocket):
    """The same over TLS, whose handshake knows a deadline by itself."""


@cache
def _trusting() -> ssl.SSLContext:
    """TLS with the system's authorities, made once: each is megabytes."""
    context = create_urllib3_context()
    context.load_default_certs()
    context.sslsocket_class = _SecureSocket
    return context


def _addresses(host: str, port: int, seconds: float) -> list[Any]:
    """Resolve a host name within `seconds`; the system's resolver knows no deadline of its own."""
    answer: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answer.put(error)
        except UnicodeError as error:
            answer.put(socket.gaierror(str(error)))

    threading.Thread(target=resolve, name="resolve", daemon=True).start()
    try:
        found = answer.get(timeout=max(seconds, 0.001))
    except queue.Empty:
        raise TimeoutError(f"no answer from the name server for {host}") from None
    if isinstance(found, OSError):
        raise found
    return found


class _DeadlineConnection(HTTPConnection):
    """An HTTP connection that keeps the deadline of its line, from the name to the last byte."""

    def __init__(self, *args: Any, line: RequestDeadline, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._line = line

    def connect(self) -> None:
        self._line.opened += 1
        super().connect()

    def _new_conn(self) -> socket.socket:
        failure: Exception = OSError("no address")
        try:
            addresses = _addresses(self.host, self.port, self._line.deadline - monotonic())
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error
        for family, kind, protocol, _, address in addresses:
            sock = _DeadlineSocket(family, kind, protocol)
            try:
                sock.line = self._line
                sock.settimeout(self._line.left())
                if self.source_address is not None:
                    sock.bind(self.source_address)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(self._line.left())
            except OSError as error:
                sock.close()
                failure = error.with_traceback(None)
            else:
                return sock
        raise NewConnectionError(self, str(failure)) from failure


class _SecureConnection(_DeadlineConnection, HTTPSConnection):
    """The same over TLS."""

    def connect(self) -> None:
        super().connect()
        cast(_SecureSocket, self.sock).line = self._line


class _SingleSlotQueue:
    """Where a pool keeps its one connection; a queue for many threads would be 4 kB of each charger."""

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._kept: list[HTTPConnection | None] = []

    def get(self, block: bool = True, timeout: float | None = None) -> HTTPConnection | None:
        if not self._kept:
            raise queue.Empty
        return self._kept.pop()

    def put(self, connection: HTTPConnection | None, block: bool = True, timeout: float | None = None) -> None:
        if len(self._kept) >= self._maxsize:
            raise queue.Full
        self._kept.append(connection)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _DeadlineConnection
    QueueCls = _SingleSlotQueue  # type: ignore[assignment] # has what a pool asks of its queue


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
    QueueCls = _SingleSlotQueue  # type: ignore[assignment] # likewise


def connections(url: str, source_address: tuple[str, int] | None, line: RequestDeadline) -> HTTPConnectionPool:
    """What opens, and keeps, the one connection to the engine of a URL; nothing is opened yet."""
    root = parse_url(url)
    more: dict[str, Any] = {"source_address": source_address, "line": line}
    if root.scheme == "https":
        return _SecurePool(root.host or "", root.port, ssl_context=_trusting(), **more)
    return _Pool(root.host or "", root.port, **more)
