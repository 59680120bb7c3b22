"""What a hostile peer does to the exporter's port: requests that no friend would send, and slow connections.

As a program (`python -m helpers.hostile PORT REQUESTS SEED`) it does both at once from 127.0.0.2.
"""

import random
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle
from time import monotonic, sleep
from urllib.parse import quote

SLOW_CONNECTIONS = 1000
SOURCE = "127.0.0.2"
_LEAST_SECONDS = 15.0  # longer than any deadline for a request
_PAUSE = 0.2  # seconds between two bytes
_RENEWED = 20  # connections that are opened again in each pause
_THREADS = 4


def hostile(random_source: random.Random, port: int) -> bytes:
    """A request that no friend would send."""
    targets = [
        f"127.0.0.1:{port}",
        f"http://127.0.0.1:{port}/x",
        "169.254.169.254",
        "http://[::1]/",
        "file:///etc/passwd",
        "garage\x00",
        "garage/../car-park",
        "garage%0d%0aHost: x",
        "\u202egarage",
        "a" * 5000,
        f"@127.0.0.1:{port}",
        f"garage@127.0.0.1:{port}",
        "",
    ]
    paths = [
        f"/probe?target={quote(random_source.choice(targets), safe='')}",
        f"/probe?target={quote(random_source.choice(targets))}&target=garage",
        f"/probe?module={quote(random_source.choice(targets))}&target=x",
        "/probe?%ff=%fe&target=%ff",
        "/../../etc/passwd",
        f"http://127.0.0.1:{port}/",
        "/%00",
        "/metrics/../config?x=" + "y" * random_source.randrange(3000),
        "/-/reload",
        "//" + "é",
    ]
    method = random_source.choice(
        ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "BREW", "G\x00T"]
    )
    headers = random_source.choice(
        [
            "",
            "X-Prometheus-Scrape-Timeout-Seconds: -1\r\n",
            "X-Prometheus-Scrape-Timeout-Seconds: 1e999\r\n",
            "Accept: " + "*/*;q=x," * 200 + "\r\n",
            "Accept-Encoding: gzip;q=\u0660\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 99999999999\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Host: evil\r\nHost: twice\r\n",
            "X-Long: " + "z" * 20_000 + "\r\n",
            "Authorization: Basic !!!!\r\n",
        ]
    )
    body = random_source.randbytes(random_source.randrange(200))
    path = random_source.choice(paths)
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode() + body


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


class SlowConnection:
    """A connection that sends a beginning at once, then a byte now and then, and perhaps never reads."""

    def __init__(self, port: int, begin: bytes, drip: bytes, reads: bool = True) -> None:
        self._port, self._begin, self._drip, self._reads = port, begin, drip, reads
        self.socket: socket.socket | None = None

    def open(self) -> None:
        with suppress(OSError):
            self.socket = socket.socket()
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            self.socket.bind((SOURCE, 0))
            self.socket.connect(("127.0.0.1", self._port))
            self.socket.setblocking(False)
            self.socket.send(self._begin)
        self._rest: Iterator[int] = cycle(self._drip) if self._drip else iter(())

    def go_on(self) -> bool:
        """Send the next byte; False once the other side has had enough."""
        if self.socket is None:
            return False
        try:
            for byte in self._rest:
                self.socket.send(bytes([byte]))
                break
            if self._reads and not self.socket.recv(65536):
                raise ConnectionError
        except BlockingIOError:
            return True
        except OSError:
            self.socket.close()
            self.socket = None
            return False
        return True


def _attack(port: int, requests: int, random_source: random.Random, answers: list[bytes]) -> None:
    for _ in range(requests):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 30, (SOURCE, 0)) as connection:
            connection.sendall(hostile(random_source, port))
            answers.append(connection.recv(200)[:12])


def main(port: int, requests: int, seed: int) -> None:
    hello, get = client_hello(), b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n"
    kinds: list[tuple[bytes, bytes, bool]] = [
        (get, b"X: aaaaaaaaaa\r\n", True),
        (b"", b"", True),
        (hello[:1], hello[1:], True),
        (hello, b"", True),
        (get + b"Content-Length: 10000\r\n\r\n", b"a", True),
    ] * 4
    # Few, as each is a whole request that costs what a scrape does.
    kinds.append((get.replace(b"-/healthy", b"metrics") + b"\r\n", b"", False))
    slow = [SlowConnection(port, *kinds[number % len(kinds)]) for number in range(SLOW_CONNECTIONS)]
    for each in slow:
        each.open()
    print(f"{len(slow)} slow connections", flush=True)  # noqa: T201 - for the parent process
    answers: list[bytes] = []
    threads = [
        threading.Thread(target=_attack, args=(port, requests // _THREADS, random.Random(seed + number), answers))
        for number in range(_THREADS)
    ]
    began = monotonic()
    for thread in threads:
        thread.start()
    renewed = 0
    while monotonic() - began < _LEAST_SECONDS or any(thread.is_alive() for thread in threads):
        ended = [each for each in slow if not each.go_on()]
        for each in ended[:_RENEWED]:
            each.open()
        renewed += len(ended[:_RENEWED])
        sleep(_PAUSE)
    seconds = monotonic() - began
    answered = sum(map(bool, answers))
    print(  # noqa: T201 - likewise
        f"{requests} hostile requests, {answered} answered; {renewed} more slow connections; {seconds:.0f} s"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
