"""The simulator's sockets: HTTP/1.1 on loopback, and every way of spoiling an exchange on the wire."""

from __future__ import annotations

import math
import select
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ccl_exporter.simulator.answers import EngineAnswer, Request, refusal
from ccl_exporter.simulator.faults import Fault, endless_body, find

_LARGEST_BODY = 1_000_000
_ENDLESS_BYTES = 64_000_000
_MISSING_BYTES = 100
_LOOK_EVERY = 0.1


@dataclass(frozen=True)
class ResponsePlan:
    """How to treat one exchange: seconds to wait first, the faults that concern it, headers to add."""

    wait: float
    faults: Sequence[Fault]
    server_header: str | None
    date: float | None


class InFlight:
    """Counts requests handled at once. One whose client has gone does not count any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: set[_Handler] = set()
        self.highest = 0

    def enter(self, handler: _Handler) -> None:
        """A request was read."""
        with self._lock:
            self._handlers = {other for other in self._handlers if not other.client_is_gone()}
            self._handlers.add(handler)
            self.highest = max(self.highest, len(self._handlers))

    def leave(self, handler: _Handler) -> None:
        """Its answer is on its way: noted before the last byte, or the next request would seem parallel."""
        with self._lock:
            self._handlers.discard(handler)


class Server(ThreadingHTTPServer):
    """A server whose `stop` ends every exchange, however slow.

    `in_flight` counts its requests and may outlive it.
    `receive` takes note of each request, `answer` answers it once it waited.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        host: str,
        port: int,
        in_flight: InFlight,
        receive: Callable[[Request], ResponsePlan],
        answer: Callable[[Request, ResponsePlan], EngineAnswer],
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.receive = receive
        self.answer = answer
        self.in_flight = in_flight
        self.stopping = threading.Event()
        self._live: dict[socket.socket, threading.Thread] = {}
        self._aborted: set[socket.socket] = set()
        self._live_lock = threading.Lock()
        super().__init__((host, port), _Handler)
        self._accepting = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, name="simulator", daemon=True
        )

    def server_bind(self) -> None:
        """Bind without asking the resolver for the host's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]

    def start(self) -> None:
        """Begin to accept."""
        self._accepting.start()

    def stop(self) -> None:
        """Close every connection and wait for every thread."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._live_lock:
            live = dict(self._live)
        for connection in live:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in (self._accepting, *live.values()):
            thread.join()

    def abort(self, connection: socket.socket) -> None:
        """Let closing this connection send a reset."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with self._live_lock:
            self._aborted.add(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give each connection a thread that `stop` can find."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._live_lock:
            self._live[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection; an aborted one without a goodbye."""
        with self._live_lock:
            aborted = request in self._aborted
            self._aborted.discard(request)
            self._live.pop(request, None)
        if aborted:
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are the normal case here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self._exchange()

    # The base class finds these by name, and its names are what they are.
    do_PUT = do_POST = do_HEAD = do_DELETE = do_OPTIONS = do_PATCH = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: whoever wants to know reads `Simulator.requests`."""

    def client_is_gone(self) -> bool:
        """Whether the other side has hung up."""
        try:
            readable, _, _ = select.select([self.connection], [], [], 0)
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True

    def _exchange(self) -> None:
        # The request line as sent: the base class tidies leading slashes away.
        target = self.requestline.split()[1]
        try:
            length = int(self.headers.get("Content-Length", 0))
        except ValueError:
            length = _LARGEST_BODY + 1
        if not 0 <= length <= _LARGEST_BODY:
            self.close_connection = True
            self.wfile.write(self._head(refusal(400, "Bad Request"), ResponsePlan(0, (), None, None), 0))
            return
        request = Request(
            self.command,
            target,
            time.monotonic(),
            self.headers.get("Authorization"),
            self.rfile.read(length),
        )
        plan = self.server.receive(request)
        self.server.in_flight.enter(self)
        try:
            self._reply(request, plan)
        except OSError:
            self.close_connection = True
        finally:
            self.server.in_flight.leave(self)

    def _reply(self, request: Request, plan: ResponsePlan) -> None:
        kinds = {fault.kind for fault in plan.faults}
        if kinds & {"close", "reset", "cut", "wrong-length", "endless", "close-each", "lost-answer"}:
            self.close_connection = True
        if not self._wait(math.inf if "silent" in kinds else plan.wait):
            self.close_connection = True
            return
        if "reset" in kinds:
            self.server.abort(self.connection)
        if kinds & {"close", "reset"}:
            return
        answer = self.server.answer(request, plan)
        if "lost-answer" in kinds:
            return
        body = b"" if self.command == "HEAD" else answer.body
        if "endless" in kinds:
            self._send_endlessly(answer, plan)
            return
        if "cut" in kinds:
            head, body = self._head(answer, plan, len(body)), body[: len(body) // 2]
        else:
            extra = _MISSING_BYTES if "wrong-length" in kinds else 0
            head = self._head(answer, plan, len(body) + extra)
        drip_headers, drip = find(plan.faults, "drip-headers"), find(plan.faults, "drip")
        if drip_headers is not None:
            self._drip(head + body, drip_headers.wait)
        elif drip is not None:
            self.wfile.write(head)
            self._drip(body, drip.wait)
        else:
            self.server.in_flight.leave(self)
            # One write: two would let a client see headers and body apart, which engines seldom do.
            self.wfile.write(head + body)

    def _head(self, answer: EngineAnswer, plan: ResponsePlan, length: int | None) -> bytes:
        try:
            phrase = HTTPStatus(answer.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {answer.status} {phrase}"]
        if plan.server_header is not None:
            lines.append(f"Server: {plan.server_header}")
        if plan.date is not None:
            lines.append(f"Date: {formatdate(plan.date, usegmt=True)}")
        if answer.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Type: {answer.content_type}")
            if length is not None:
                lines.append(f"Content-Length: {length}")
        lines += [f"{name}: {value}" for name, value in answer.headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")

    def _drip(self, data: bytes, pause: float) -> None:
        for number in range(len(data)):
            if number == len(data) - 1:
                self.server.in_flight.leave(self)
            self.wfile.write(data[number : number + 1])
            if not self._wait(pause):
                self.close_connection = True
                return

    def _send_endlessly(self, answer: EngineAnswer, plan: ResponsePlan) -> None:
        begin, piece = endless_body(answer.body)
        self.wfile.write(self._head(answer, plan, None) + begin)
        sent = 0
        while sent < _ENDLESS_BYTES and not self.server.stopping.is_set():
            self.wfile.write(piece)
            sent += len(piece)

    def _wait(self, seconds: float) -> bool:
        """Wait, unless the server stops or the client leaves; whether to go on."""
        end = time.monotonic() + seconds
        while not self.server.stopping.is_set():
            if self.client_is_gone():
                return False
            left = end - time.monotonic()
            if left <= 0:
                return True
            # Woken by what a client sends; one that sends ahead must not make this spin.
            readable, _, _ = select.select([self.connection], [], [], min(left, _LOOK_EVERY))
            if readable and not self.client_is_gone():
                self.server.stopping.wait(min(left, _LOOK_EVERY))
        return False
