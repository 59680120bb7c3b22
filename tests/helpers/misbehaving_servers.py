"""Servers that misbehave on the wire: one that does not answer, one that sends a byte now and then."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HEAD = b"HTTP/1.1 200 OK\r\n"
BODY = HEAD + b"Content-Length: 100000\r\n\r\n"
"""The whole head of an answer whose body comes slowly."""


@contextmanager
def unresponsive_host() -> Iterator[str]:
    """Address and port of a host to which a connection is made and which then answers nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def dripping_host(pause: float = 0.5, head: bytes = HEAD) -> Iterator[str]:
    """Address and port of a host that answers with a head and then a byte each `pause` seconds.

    By default the head never ends.
    """
    over = threading.Event()
    connections: list[socket.socket] = []

    def accept(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connections.append(connection)
                threading.Thread(target=drip, args=(connection,)).start()

    def drip(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(head)
            while not over.wait(pause):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        accepting = threading.Thread(target=accept, args=(listening,))
        accepting.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for connection in connections:
                connection.close()
