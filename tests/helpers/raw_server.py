"""A server on loopback that sends byte for byte what a test says, and what it saw."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

PATIENCE = 30.0  # seconds for what should take none
DRIP = 0.01  # seconds between two bytes
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Server:
    """A loopback server and what it saw."""

    script: Callable[["Peer"], None]
    scheme: str = "http"
    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    sent: int = 0
    closed: int = 0
    open: set[socket.socket] = field(default_factory=set)
    changed: threading.Condition = field(default_factory=threading.Condition)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def lines(self) -> list[bytes]:
        """The request lines."""
        return [request.split(b"\r\n")[0] for request in self.requests]

    def wait_until_closed(self, connections: int) -> None:
        """Wait until the server has closed so many connections."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.closed >= connections, PATIENCE / 5)


class Peer:
    """The server's end of one connection; `number` counts them from 1."""

    def __init__(self, server: Server, sock: socket.socket, number: int) -> None:
        self.server = server
        self.number = number
        self._sock = sock
        self._rest = b""

    def request(self) -> bytes | None:
        """The next request's head; None once the client is gone."""
        while b"\r\n\r\n" not in self._rest:
            data = self._sock.recv(65536)
            if not data:
                return None
            self._rest += data
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        self.server.requests.append(head)
        return head

    def take(self, most: int) -> int:
        """How many bytes of a body came, of so many at most."""
        taken = self._rest[:most] or self._sock.recv(most)
        self._rest = self._rest[len(taken) :]
        return len(taken)

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)
        self.server.sent += len(data)

    def drip(self, data: bytes) -> None:
        """Send byte by byte until all is sent, the client is gone, or the test is over."""
        for byte in data:
            if self.server.over.wait(DRIP):
                return
            self.send(bytes([byte]))

    def pour(self, most: int) -> None:
        """Send a body without an end that anybody should wait for."""
        while self.server.sent < most:
            self.send(b"x" * 65536)

    def hang(self) -> None:
        """Say nothing until the test is over."""
        self.server.over.wait(PATIENCE)


@contextmanager
def serving(script: Callable[[Peer], None], context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve every connection by `script`, with a context behind TLS; it is closed when the script returns."""
    server = Server(script, scheme="http" if context is None else "https")

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with server.changed:
                server.connections += 1
                server.open.add(self.request)
                number = server.connections
            self.request.settimeout(PATIENCE)
            with suppress(OSError):
                if context is None:
                    script(Peer(server, self.request, number))
                else:
                    with context.wrap_socket(self.request, server_side=True) as secure:
                        script(Peer(server, secure, number))

    class TCPServer(ThreadingTCPServer):
        daemon_threads = False
        request_queue_size = 16

        def shutdown_request(self, request: Any) -> None:
            with server.changed:
                server.open.discard(request)
            super().shutdown_request(request)
            with server.changed:
                server.closed += 1
                server.changed.notify_all()

    with TCPServer(("127.0.0.1", 0), Handler) as tcp:
        server.port = tcp.server_address[1]
        thread = threading.Thread(target=tcp.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            tcp.shutdown()
            with server.changed:
                for sock in server.open:
                    with suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)
            thread.join()


def with_body(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = (b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
