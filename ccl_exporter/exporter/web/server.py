"""The HTTP server: cheroot's, with deadlines and limits for each peer."""

import errno
import logging
import re
import resource
import select
import socket
import ssl
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from ipaddress import IPv6Address, ip_network
from time import monotonic, sleep, time
from typing import Any, TypeVar

from cheroot.server import HeaderReader, HTTPConnection, HTTPRequest
from cheroot.wsgi import Server

T = TypeVar("T")

log = logging.getLogger(__name__)

LEAST_SCRAPES, MOST_SCRAPES = 8, 512
"""Scrapes at once: each charger that does not answer holds one up for as long as its scraper waits."""

MOST_SCRAPES_OF_A_PEER = 384
"""Scrapes at once of one peer, so that others are answered whatever one of them asks for."""

MOST_QUEUED_OF_A_PEER = 2048
"""Requests of one peer that wait for its others; of more the oldest is closed."""

_GRACE = 1.0  # seconds in which honest peers send the rest, also when many of them begin at once
_ACCEPT_PAUSE = 0.1  # seconds
_MOST_HEAD = 16384
_HEAD_END = re.compile(rb"\n\r?\n")  # without the CR it is refused, but at once
_TLS_RECORDS = (b"\x14", b"\x15", b"\x16", b"\x17")
_STEADY = 10.0  # seconds without a failure after which accepting works again
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+;=-]+)(:[0-9]*)?")


class Wait(Enum):
    """What a connection waits for, with the limit of such connections of one peer."""

    HEAD = 256
    """The first bytes of a connection, or the rest of a head: costs a descriptor."""
    REST = 32
    """The rest of a TLS handshake, or a body: costs a thread as well."""
    ANSWER = 128
    """That an answer is taken: costs a thread as well, but a slow line is no offence."""


def peer_of(address: str) -> str:
    """The peer of an address: an IPv4 address, or the IPv6 network of a subscriber."""
    if ":" not in address:
        return address
    found = IPv6Address(address.partition("%")[0])
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))


class WaitingConnections:
    """The connections that wait for their peer, with a limit for each peer.

    Of too many the oldest is cut off, so that a new one is served: once it has waited for a second, and at
    once if there are twice too many. Idle connections between two requests are not among them.
    """

    def __init__(self) -> None:
        # Together they take less than all descriptors.
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = sys.maxsize if limit == resource.RLIM_INFINITY else limit // 8
        self._lock = threading.Lock()
        self._began: dict[tuple[str, Wait], dict[PeerSocket, float]] = {}
        self._closed = False

    def add(self, sock: "PeerSocket") -> None:
        now = monotonic()
        with self._lock:
            waiting = self._began.setdefault((sock.peer, sock.wait), {})
            waiting.setdefault(sock, now)
            if self._closed:
                sock.cut_off()
            oldest, began = next(iter(waiting.items()))
            most = min(sock.wait.value, self._most)
            if len(waiting) > most and (now - began > _GRACE or len(waiting) > 2 * most):
                del waiting[oldest]
                oldest.cut_off()

    def remove(self, sock: "PeerSocket") -> None:
        """From here on it may be closed."""
        with self._lock:
            waiting = self._began.get((sock.peer, sock.wait), {})
            if waiting.pop(sock, None) is not None and not waiting:
                del self._began[sock.peer, sock.wait]

    def close(self) -> None:
        """Cut off all of them, and each one that is still to come."""
        with self._lock:
            self._closed = True
            for sock in (sock for waiting in self._began.values() for sock in waiting):
                sock.cut_off()


class PeerSocket(socket.socket):
    """A connection on which each thing that the exporter waits for has one deadline, however it trickles in.

    Until it is admitted it is an ordinary socket.
    """

    peer = ""
    wait = Wait.HEAD
    _deadline = 0.0
    _waiting: WaitingConnections | None = None

    def admit(self, address: str, waiting: WaitingConnections) -> None:
        """Begin to wait for the first byte."""
        self.setblocking(False)
        self.peer, self._waiting = peer_of(address), waiting
        waiting.add(self)

    def expect(self, wait: Wait, seconds: float = 0.0) -> None:
        """Something is due in so many seconds. It counts once it is late."""
        if wait is not self.wait:
            self.arrived()
        self.wait, self._deadline = wait, monotonic() + seconds

    def arrived(self) -> None:
        """What was waited for is there."""
        if self._waiting is not None:
            self._waiting.remove(self)

    def has_head(self) -> bool:
        """Whether a head or a record of TLS is there as a whole; if not, only more bytes make it readable."""
        try:
            found = socket.socket.recv(self, _MOST_HEAD, socket.MSG_PEEK)
            if isinstance(self, ssl.SSLSocket):
                # A record has its length in its fourth and fifth byte. What is none gets an answer at once.
                whole = found[:1] not in _TLS_RECORDS or len(found) >= 5 + int.from_bytes(found[3:5])
            else:
                whole = _HEAD_END.search(found) is not None
            whole = whole or len(found) == _MOST_HEAD
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if whole else len(found) + 1)
        except OSError:
            return True  # the reader will see why
        return whole

    def cut_off(self) -> None:
        """End it for both sides, past TLS; a thread that waits for it wakes up."""
        with suppress(OSError):
            socket.socket.shutdown(self, socket.SHUT_RDWR)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        return self.patiently(select.POLLIN, super().recv_into, buffer, nbytes, flags)

    def send(self, data: Any, flags: int = 0) -> int:
        return self.patiently(select.POLLOUT, super().send, data, flags)

    def patiently(self, event: int, call: Callable[..., T], *arguments: Any) -> T:
        """What a call returns once the peer lets it; raises `TimeoutError` when the deadline has passed."""
        while True:
            try:
                return call(*arguments)
            except BlockingIOError:
                wanted = event
            except ssl.SSLWantReadError:
                wanted = select.POLLIN
            except ssl.SSLWantWriteError:
                wanted = select.POLLOUT
            left = self._deadline - monotonic()
            if self._waiting is None or left <= 0:
                raise TimeoutError("timed out")
            self._waiting.add(self)
            poll = select.poll()
            poll.register(self.fileno(), wanted)
            poll.poll(left * 1000)


class ListeningSocket(socket.socket):
    """Accepts peers. When there is no descriptor or memory for one it pauses and logs that once."""

    _failed_at: float | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        try:
            found, address = super().accept()
        except (TimeoutError, BlockingIOError, ConnectionError):
            raise
        except OSError as error:
            if error.errno == errno.EBADF:
                raise
            if self._failed_at is None:
                log.error("cannot accept connections: %s", error.strerror)
            self._failed_at = monotonic()
            sleep(_ACCEPT_PAUSE)
            # Cheroot goes on with the connections that it has.
            raise TimeoutError from error
        if self._failed_at is not None and monotonic() - self._failed_at > _STEADY:
            self._failed_at = None
            log.info("connections are accepted again")
        return PeerSocket(found.family, found.type, found.proto, fileno=found.detach()), address


class _OneHost(HeaderReader):
    """Reads the head of one request and refuses a second Host, of which cheroot would take the last."""

    _seen = False

    def _allow_header(self, key_name: bytes) -> bool:  # the hook that cheroot's other reader uses, too
        if key_name == b"Host":
            if self._seen:
                raise ValueError("There is more than one Host.")
            self._seen = True
        return True


class ServedRequest(HTTPRequest):
    """A request that names one host, with deadlines for its parts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.header_reader = _OneHost()

    def parse_request(self) -> None:
        super().parse_request()
        self.conn.socket.arrived()

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call] # it has no types
            return False
        host = self.inheaders.get(b"Host")
        if not _HOST.fullmatch(host or b"") and (host is not None or self.response_protocol == "HTTP/1.1"):
            self.simple_response("400 Bad Request", "A request names one host (RFC 9112, 3.2).")
            return False
        # Nothing reads such a body: what follows it could be taken for a request.
        self.close_connection = self.close_connection or self.chunked_read
        return True

    def send_headers(self) -> None:
        if (remaining := getattr(self.rfile, "remaining", 0)) > 0:
            # No route reads a body, but closing with one unread could destroy the answer on its way.
            self.conn.socket.expect(Wait.REST, self.server.timeout)
            self.rfile.read(remaining)
        self.conn.socket.expect(Wait.ANSWER, self.server.answer_timeout)
        super().send_headers()


class Connection(HTTPConnection):
    """A connection whose waiting request is dropped once the client has hung up."""

    RequestHandlerClass = ServedRequest
    head_began: float | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # These caches, which nothing reads, tie it to itself: only the collector could free it.
        for name in ("resolve_peer_creds", "get_peer_creds"):
            vars(self).pop(name, None)

    @property
    def hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self.socket.fileno(), getattr(select, "POLLRDHUP", 0))
        return bool(poll.poll(0))

    def close(self) -> None:
        self.socket.arrived()
        super().close()
        if not self.linger:
            # What was not sent has no receiver; Python 3.13 would try it once more, and report that it failed.
            with suppress(OSError):
                self.wfile.close()

    def communicate(self) -> bool:
        try:
            if self.hung_up:
                return False
            self.socket.expect(Wait.REST, self.server.timeout)
            keep = bool(super().communicate())  # type: ignore[no-untyped-call] # it has no types
            self.socket.expect(Wait.HEAD)
            return keep
        finally:
            self.server.answered(self.socket.peer)


class WebServer(Server):
    """Cheroot's server, in which idle connections are kept out of the worker pool, and which logs as we do.

    `timeout` are the seconds for the first byte, for a TLS handshake with the first head, for each further head,
    and for a body.
    """

    answer_timeout = 30.0
    """Seconds in which a peer has to take a whole answer."""

    ConnectionClass = Connection
    _threads = LEAST_SCRAPES

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting = WaitingConnections()
        self._shares = threading.Lock()
        self._answering: Counter[str] = Counter()
        self._queued: dict[str, deque[Any]] = {}

    def _has_share(self, conn: Any) -> bool:
        """Whether a peer's request may have a thread now; if not it waits for the peer's other requests."""
        peer = conn.socket.peer
        with self._shares:
            if self._answering[peer] < MOST_SCRAPES_OF_A_PEER:
                self._answering[peer] += 1
                return True
            queued = self._queued.setdefault(peer, deque())
            queued.append(conn)
            oldest = queued.popleft() if len(queued) > MOST_QUEUED_OF_A_PEER else None
        if oldest is not None:
            oldest.close()
        return False

    def answered(self, peer: str) -> None:
        """A request of a peer has been answered: its next waiting request gets a thread."""
        with self._shares:
            queued = self._queued.get(peer)
            if queued:
                following = queued.popleft()
                if not queued:
                    del self._queued[peer]
            else:
                following = None
                self._answering[peer] -= 1
                if not self._answering[peer]:
                    del self._answering[peer]
        if following is not None:
            super().process_conn(following)

    def prepare(self) -> None:
        super().prepare()
        timeout = self.socket.gettimeout()
        self.socket = ListeningSocket(fileno=self.socket.detach())
        self.socket.settimeout(timeout)

    def process_conn(self, conn: Any) -> None:
        """A connection waits for a whole head with the idle ones, not in a worker."""
        if conn.last_used is None:
            conn.socket.admit(conn.remote_addr, self._waiting)
            self._connections.put(conn)  # type: ignore[attr-defined] # the idle ones are its private matter
        elif conn.hung_up:
            conn.close()
        elif not conn.rfile.has_data() and not conn.socket.has_head():
            self._waiting.add(conn.socket)
            conn.head_began = conn.head_began or time()
            self._connections.put(conn)  # type: ignore[attr-defined] # likewise
            # It expires as if it had not been used since.
            conn.last_used = conn.head_began
        else:
            conn.head_began = None
            conn.socket.expect(Wait.REST)
            if self.requests.idle <= self.requests.qsize:
                # Where no more threads can be started, those that there are answer.
                with suppress(RuntimeError):
                    self.requests.grow(self._threads)
                self._threads = min(self._threads * 2, MOST_SCRAPES)
            if self._has_share(conn):
                super().process_conn(conn)

    def put_conn(self, conn: Any) -> None:
        try:
            super().put_conn(conn)
        except (ValueError, KeyError):  # what waits for idle connections was closed meanwhile
            conn.close()

    def stop(self) -> None:
        """Answer what is being asked; a peer that is slow to ask or to take an answer is not waited for."""
        patience = threading.Timer(self.shutdown_timeout, self._waiting.close)
        try:
            patience.start()
        except RuntimeError:  # no more threads can be started
            self._waiting.close()
        super().stop()
        patience.cancel()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        # What cheroot only informs of, anybody who can connect can cause, and as often as they like.
        level = logging.DEBUG if level == logging.INFO else level
        log.log(level, "%s", msg.strip(), exc_info=traceback)
