"""Slow, idle or many peers do not block others; a peer that has hung up gets no answer."""

import contextlib
import logging
import re
import resource
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator
from time import sleep
from typing import Any

import pytest
from helpers.support import Start

from ccl_exporter.exporter.web.server import (
    Connection,
    PeerSocket,
    Wait,
    WaitingConnections,
    WebServer,
    peer_of,
)

HEAD = b"GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"
POST = b"GET /metrics HTTP/1.1\r\nHost: exporter\r\nContent-Length: 1000\r\n\r\n"
LARGE = 12_000_000
"""Bytes of an answer that no socket's buffer holds."""


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = b"x" * LARGE if environ["PATH_INFO"] == "/large" else b"ccl_up 1\n"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@contextlib.contextmanager
def serving(timeout: float = 10, workers: int = 4) -> Iterator[int]:
    """The port of a server with deadlines of so many seconds."""
    server = WebServer(("127.0.0.1", 0), app, numthreads=workers, max=workers, timeout=timeout, shutdown_timeout=1)
    server.answer_timeout = timeout
    server.request_queue_size = 1000
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server.bind_addr[1]
    finally:
        server.stop()
        thread.join()


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))


def ask(connection: socket.socket, content: bytes = HEAD) -> bytes:
    """The first line of what comes back."""
    connection.sendall(content)
    found = b""
    while not re.search(rb"\r\n\r\n.", found) and (part := connection.recv(4096)):
        found += part
    return found.partition(b"\r\n")[0]


def is_cut_off(connection: socket.socket) -> bool:
    """Whether the other side has ended a connection, perhaps with a word."""
    connection.settimeout(0)
    with contextlib.suppress(ConnectionError):
        try:
            connection.recv(4096)
        except BlockingIOError:
            return False
    return True


@pytest.mark.parametrize(("hangs_up", "answered"), [(False, ["/metrics"]), (True, [])], ids=["waits", "hung up"])
def test_only_a_client_that_still_waits_is_answered(hangs_up: bool, answered: list[str]) -> None:
    asked: list[str] = []

    def app(environ: dict[str, str], start_response: object) -> Iterable[bytes]:
        asked.append(environ["PATH_INFO"])
        assert callable(start_response)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    server = WebServer(("127.0.0.1", 0), app)
    server.prepare()
    ours, theirs = socket.socketpair()
    with theirs, ours:
        theirs.sendall(b"GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n")
        if hangs_up:
            theirs.close()
        connection = Connection(server, PeerSocket(fileno=ours.detach()))
        connection.communicate()
        connection.close()
    server.stop()

    assert asked == answered


def test_what_could_not_be_sent_goes_with_the_connection() -> None:
    """Python 3.13 would try to send it once more whenever it frees it, and tell of the error."""
    server = WebServer(("127.0.0.1", 0), lambda *_: [])
    ours, theirs = socket.socketpair()
    connection = Connection(server, PeerSocket(fileno=ours.detach()))
    theirs.close()
    with pytest.raises(OSError, match="Broken pipe"):
        connection.wfile.write(b"an answer")
    connection.close()

    assert connection.wfile.closed


class TestDeadlines:
    @pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\nX: ", POST], ids=["head", "body"])
    def test_what_trickles_in_has_one_deadline(self, begin: bytes) -> None:
        sent = 0
        with serving(timeout=0.5) as port, connect(port) as slow:
            slow.sendall(begin)
            while sent < 60 and not is_cut_off(slow):  # twelve times the deadline
                slow.settimeout(20)
                with contextlib.suppress(ConnectionError):  # it was cut off just now
                    slow.sendall(b"a")
                sent += 1
                sleep(0.1)

        assert sent < 50

    def test_an_answer_that_is_received_slowly_has_one_deadline(self) -> None:
        taken = 0
        with serving(timeout=0.5) as port, connect(port) as slow:
            slow.sendall(HEAD.replace(b"metrics", b"large"))
            with contextlib.suppress(OSError):
                while part := slow.recv(500_000):
                    taken += len(part)
                    sleep(0.1 if taken < LARGE / 2 else 0)

        assert taken < LARGE

    def test_a_peer_that_takes_no_answer_does_not_delay_the_end(self) -> None:
        ended = threading.Event()

        def serve_and_stop() -> None:
            with contextlib.ExitStack() as stack:
                with serving(timeout=60, workers=1) as port:
                    deaf = stack.enter_context(connect(port))
                    deaf.sendall(HEAD.replace(b"metrics", b"large"))
                    deaf.recv(1)
                ended.set()

        threading.Thread(target=serve_and_stop, daemon=True).start()

        assert ended.wait(30)


class TestPeers:
    @pytest.mark.parametrize(
        ("address", "peer"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
        ],
    )
    def test_an_ipv6_subscriber_is_one_peer(self, address: str, peer: str) -> None:
        assert peer_of(address) == peer

    @pytest.mark.parametrize("wait", Wait)
    def test_twice_too_many_of_one_peer_cost_the_oldest(self, wait: Wait) -> None:
        waiting = WaitingConnections()
        with contextlib.ExitStack() as stack:
            others = []
            for number in range(2 * wait.value + 1 + 5):
                ours, theirs = map(stack.enter_context, socket.socketpair())
                sock = stack.enter_context(PeerSocket(fileno=ours.detach()))
                # The last five are of another peer.
                sock.admit("192.0.2.1" if number <= 2 * wait.value else "192.0.2.2", WaitingConnections())
                sock.wait = wait
                waiting.add(sock)
                others.append(theirs)
            cut = [number for number, theirs in enumerate(others) if is_cut_off(theirs)]

        assert cut == [0]

    def test_a_new_request_of_a_peer_that_drips_is_answered(self) -> None:
        with contextlib.ExitStack() as stack, serving(timeout=60, workers=100) as port:
            for number in range(300):
                slow = stack.enter_context(connect(port))
                slow.sendall(b"GET / HTTP/1.1\r\nX: a")
                if number % 50 == 49:
                    assert ask(stack.enter_context(connect(port))) == b"HTTP/1.1 200 OK"
            with connect(port, "127.0.0.2") as other:
                assert ask(other) == b"HTTP/1.1 200 OK"

    def test_answers_that_are_not_received_do_not_block_others(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.ExitStack() as stack:
            # With few descriptors less is let so far, which a test can afford.
            resource.setrlimit(resource.RLIMIT_NOFILE, (160, hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            port = stack.enter_context(serving(timeout=60, workers=45))
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for _ in range(60):
                stack.enter_context(connect(port)).sendall(HEAD.replace(b"metrics", b"large"))
            with connect(port, "127.0.0.2") as other:
                assert ask(other) == b"HTTP/1.1 200 OK"

    def test_whole_heads_and_idle_connections_are_never_cut_off(self) -> None:
        with contextlib.ExitStack() as stack, serving(workers=20) as port:
            idle = [stack.enter_context(connect(port)) for _ in range(5)]
            assert [ask(each) for each in idle] == [b"HTTP/1.1 200 OK"] * 5
            many = [stack.enter_context(connect(port)) for _ in range(400)]
            for each in many:
                each.sendall(HEAD)
            answers = {ask(each, b"") for each in many}
            for _ in range(600):
                stack.enter_context(connect(port))

            assert answers == {b"HTTP/1.1 200 OK"}
            assert [ask(each) for each in idle] == [b"HTTP/1.1 200 OK"] * 5

    def test_idle_connections_of_one_peer_are_bounded(self) -> None:
        with contextlib.ExitStack() as stack, serving(timeout=60) as port:
            silent = [stack.enter_context(connect(port)) for _ in range(700)]
            # One thread accepts all of them, in order.
            assert ask(stack.enter_context(connect(port))) == b"HTTP/1.1 200 OK"
            open_ones = [number for number, each in enumerate(silent) if not is_cut_off(each)]

        assert 0 < len(open_ones) <= 2 * Wait.HEAD.value
        assert open_ones[-1] == 699, "the newest stay"


class TestAccepting:
    def test_without_descriptors_it_pauses_says_so_once_and_goes_on(self, start: Start) -> None:
        within = ("prlimit", "--nofile=64")
        process = start("serve", "http://127.0.0.1:9", "--web.listen-address", "127.0.0.1:0", within=within)
        port = int(process.line(r"http://127\.0\.0\.1:(\d+)/metrics")[1])
        with contextlib.ExitStack() as stack:
            # As many peers, as one alone is not let so far.
            for number in range(100):
                stack.enter_context(connect(port, f"127.0.1.{1 + number}"))
            process.wait_for_log("cannot accept connections: Too many open files")
            sleep(2)
        with connect(port) as other:
            assert ask(other, HEAD.replace(b"metrics", b"-/healthy")) == b"HTTP/1.1 200 OK"

        assert sum("accept" in line for line in process.log) == 1
        assert len(process.log) < 10

    def test_it_says_when_it_works_again(self, start: Start) -> None:
        process = start("serve", "http://127.0.0.1:9", "--web.listen-address", "127.0.0.1:0")
        port = int(process.line(r"http://127\.0\.0\.1:(\d+)/metrics")[1])

        def limit(count: str) -> None:
            subprocess.run(["prlimit", f"--pid={process.process.pid}", f"--nofile={count}:"], check=True)

        limit("3")
        with connect(port):
            process.wait_for_log("cannot accept connections")
            limit("1000")
            for _ in range(120):
                with connect(port) as other:
                    assert ask(other, HEAD.replace(b"metrics", b"-/healthy")) == b"HTTP/1.1 200 OK"
                if any("accepted again" in line for line in process.log):
                    break
                sleep(0.2)

        assert [word for line in process.log for word in ("cannot accept", "accepted again") if word in line] == [
            "cannot accept",
            "accepted again",
        ]


class TestHost:
    @pytest.mark.parametrize(
        ("head", "status"),
        [
            ("HTTP/1.1\r\nHost: a", b"200"),
            ("HTTP/1.1\r\nHost: a.example:9986", b"200"),
            ("HTTP/1.1\r\nHost: [::1]:9986", b"200"),
            ("HTTP/1.0", b"200"),
            ("HTTP/1.0\r\nHost: a", b"200"),
            ("HTTP/1.1", b"400"),
            ("HTTP/1.1\r\nHost:", b"400"),
            ("HTTP/1.1\r\nHost: a\r\nHost: a", b"400"),
            ("HTTP/1.1\r\nHost: a\r\nhOST : b", b"400"),
            ("HTTP/1.0\r\nHost: a\r\nHost: b", b"400"),
            ("HTTP/1.1\r\nHost: a b", b"400"),
            ("HTTP/1.1\r\nHost: a/b", b"400"),
            ("HTTP/1.1\r\nHost: u@a", b"400"),
            ("HTTP/1.1\r\nHost: a, b", b"400"),
        ],
    )
    def test_a_request_names_one_host(self, head: str, status: bytes) -> None:
        with serving() as port, connect(port) as connection:
            assert ask(connection, f"GET / {head}\r\n\r\n".encode()).split()[1] == status

    def test_what_follows_a_body_in_chunks_is_no_request(self) -> None:
        with serving() as port, connect(port) as connection:
            connection.sendall(
                HEAD[:-2]
                + b"Transfer-Encoding: chunked\r\n\r\n"
                + b"0\r\n\r\n"
                + HEAD.replace(b"metrics", b"second")
            )
            found = b""
            with contextlib.suppress(OSError):
                while part := connection.recv(4096):
                    found += part

        assert found.count(b"HTTP/1.1") == 1


def test_what_anybody_can_cause_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = WebServer(("127.0.0.1", 0), app)
    server.error_log("a client is lost")
    server.error_log("something else", level=logging.WARNING)

    assert caplog.messages == ["something else"]
