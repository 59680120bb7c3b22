"""The deadline of each client holds for the whole exchange, whatever a server does; no word of it is a secret."""

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import trustme
from helpers import exchanges
from helpers.exchanges import KINDS, SECRET, UPLOAD
from helpers.raw_server import DRIP, OK, PATIENCE, Peer, Server, serving, with_body

from ccl_exporter.http_client import Failure, HttpClient, HttpError, target_of, unix_time

SHORT = 0.3  # seconds
CHUNKED = b"HTTP/1.1 %d OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = 3000
"""Bytes of an answer that drips, 30 seconds in all."""

# What comes at once, and what drips after it; both for a status whose body is read.
ANSWERS = {
    "status": (b"", b"HTTP/1.1 %d "),
    "one header": (b"HTTP/1.1 %d OK\r\nServer: ", b""),
    "many headers": (b"HTTP/1.1 %d OK\r\n", b"Server: x" + b"y" * 50 + b"\r\n"),
    "words before": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body with a length": (b"HTTP/1.1 %d OK\r\nContent-Length: 9999\r\n\r\n", b""),
    "body without a length": (b"HTTP/1.1 %d OK\r\n\r\n", b""),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "the size of a chunk": (CHUNKED, b"0"),
    "behind the last chunk": (CHUNKED + b"0\r\n", b"X: y\r\n"),
}
clients = pytest.mark.parametrize("client", ["charger", "database", "inventory", "query"])


def dripping(at_once: bytes, again: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(at_once)
        peer.drip(again + (again or b"x") * (ENDLESS // len(again or b"x")))

    return script


def answer_for(client: str, name: str) -> tuple[bytes, bytes]:
    at_once, again = ANSWERS[name]
    status = KINDS[client].body_of
    return at_once.replace(b"%d", b"%d" % status), again.replace(b"%d", b"%d" % status)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def run_trusting(authority: trustme.CA, tmp_path: Path) -> Callable[[str, str, float], str]:
    """Run a client in a process whose system trusts the authority; gives what it says."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def run(client: str, url: str, seconds: float) -> str:
        done = subprocess.run(
            [sys.executable, exchanges.__file__, client, url, str(seconds)],
            env={**os.environ, "SSL_CERT_FILE": str(tmp_path / "ca.pem")},
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout

    return run


@clients
@pytest.mark.parametrize("name", ANSWERS)
def test_it_holds_when_an_answer_drips(client: str, name: str) -> None:
    with serving(dripping(*answer_for(client, name))) as server:
        said = KINDS[client].run(server.url, SHORT)

    assert server.sent < ENDLESS / 2
    assert "no complete answer" in said
    assert SECRET not in said


@clients
@pytest.mark.parametrize("name", ["one header", "body with a length", "chunks"])
def test_it_holds_behind_tls(
    client: str, name: str, context: ssl.SSLContext, run_trusting: Callable[[str, str, float], str]
) -> None:
    # A handshake on a busy machine may take longer than `SHORT`.
    with serving(dripping(*answer_for(client, name)), context) as server:
        said = run_trusting(client, server.url, 4 * SHORT)

    assert 0 < server.sent < ENDLESS / 2
    assert "no complete answer" in said


@pytest.mark.parametrize(
    "head", ["1.1 2", "1.1 204 No Content", "1.1 200 OK\r\n", "1.1 200 OK\r\nx", "1.1 200 OK\r\nA: b\r\n"]
)
def test_a_head_that_breaks_off_is_no_answer(head: str) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(f"HTTP/{head}".encode())

    with (
        serving(script) as server,
        closing(HttpClient(server.url)) as client,
        pytest.raises(HttpError) as raised,
    ):
        client.request("POST", "/write", monotonic() + PATIENCE, body=b"", most_bytes=1000)

    assert raised.value.failure is Failure.BROKE_OFF


@clients
def test_it_holds_when_the_handshake_drips(client: str) -> None:
    def script(peer: Peer) -> None:
        peer.drip(b"\x16\x03\x03\x40\x00" + b"\x02" * ENDLESS)

    with serving(script) as server:
        said = KINDS[client].run(server.url.replace("http:", "https:"), SHORT)

    assert server.sent < ENDLESS / 2
    assert "no complete answer" in said


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "TLS"])
def test_it_holds_when_a_request_is_taken_bit_by_bit(
    is_secure: bool, context: ssl.SSLContext, run_trusting: Callable[[str, str, float], str]
) -> None:
    received = 0

    def script(peer: Peer) -> None:
        nonlocal received
        while (came := peer.take(16 * 1024)) and not peer.server.over.wait(DRIP / 4):
            received += came

    with serving(script, context if is_secure else None) as server:
        said = run_trusting("upload", server.url, 1.0)
        by_then = received

    assert 0 < by_then < UPLOAD / 2
    assert "no complete answer" in said


@clients
def test_it_holds_when_the_name_server_does_not_answer(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def silent(*_: Any, **__: Any) -> list[Any]:
        answer.wait(PATIENCE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    began = monotonic()
    said = KINDS[client].run("http://server.invalid", SHORT)
    took = monotonic() - began
    answer.set()

    assert took < PATIENCE / 2
    assert "no complete answer" in said


@contextmanager
def unreachable() -> Iterator[int]:
    """A port of loopback to which no connection comes about: its queue is full, so the kernel drops what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(("127.0.0.1", port))
        yield port
        for sock in waiting:
            sock.close()


@clients
def test_an_address_that_does_not_answer_takes_a_part_of_the_time(client: str) -> None:
    began = monotonic()
    with unreachable() as port:
        said = KINDS[client].run(f"http://127.0.0.1:{port}", 60.0)
        took = monotonic() - began

    assert took < 60.0 / 2
    assert "no connection to 127.0.0.1 within 5 seconds" in said


def test_the_address_after_one_that_does_not_answer_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with unreachable() as port, serving(lambda peer: peer.send(OK)) as server:
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", p)) for p in (port, server.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)

        assert KINDS["charger"].run("http://two.invalid", 60.0) == "ok"


def ask(server: Server, most_bytes: int = 100, body_of: int | None = None) -> tuple[int, bytes, bool]:
    client = HttpClient(server.url)
    try:
        answer = client.request("GET", "/", monotonic() + PATIENCE, most_bytes=most_bytes, body_of=body_of)
    finally:
        client.close()
    return answer.status, answer.body, answer.whole


class TestAnswer:
    @pytest.mark.parametrize(
        ("most_bytes", "body_of", "body", "is_whole"),
        [
            (100, None, b"0123456789", True),
            (10, None, b"0123456789", True),
            (9, None, b"012345678", False),
            (100, 200, b"0123456789", True),
            (100, 201, b"", False),
        ],
    )
    @pytest.mark.parametrize("is_chunked", [False, True])
    def test_as_much_of_a_body_is_read_as_was_asked_for(
        self, is_chunked: bool, most_bytes: int, body_of: int | None, body: bytes, is_whole: bool
    ) -> None:
        whole = with_body(b"0123456789")
        if is_chunked:
            whole = CHUNKED % 200 + b"4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"
        with serving(lambda peer: peer.send(whole)) as server:
            assert ask(server, most_bytes, body_of) == (200, body, is_whole)

    def test_no_body_is_waited_for_that_is_not_read(self) -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.send(b"HTTP/1.1 302 Found\r\nTransfer-Encoding: chunked\r\n\r\n")
            peer.hang()

        began = monotonic()
        with serving(script) as server:
            assert ask(server, body_of=200) == (302, b"", False)
            took = monotonic() - began

        assert took < PATIENCE / 2

    def test_values_of_a_header_that_stands_twice_are_one(self) -> None:
        answer = with_body(b"", b"WWW-Authenticate: Basic", b"www-authenticate: Digest", status=b"401 No")
        with serving(lambda peer: peer.send(answer)) as server:
            client = HttpClient(server.url)
            found = client.request("GET", "/", monotonic() + PATIENCE, most_bytes=0)
            client.close()

        assert found.header("WWW-Authenticate") == "Basic, Digest"
        assert found.header("Date") == ""


class TestFailure:
    @pytest.mark.parametrize(
        ("sent", "failure"),
        [
            (b"", Failure.BROKE_OFF),
            (b"SSH-2.0-OpenSSH_9\r\n", Failure.BROKE_OFF),
            (with_body(b"x" * 50)[:-1], Failure.BROKE_OFF),
            (CHUNKED % 200 + b"-5\r\n", Failure.BROKE_OFF),
            (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, Failure.BROKE_OFF),
            (b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, Failure.TOO_LARGE),
            (CHUNKED % 200 + b"0\r\n" + b"X: y\r\n" * 100_000, Failure.TOO_LARGE),
        ],
        ids=["nothing", "another protocol", "cut", "negative chunk", "many headers", "words before", "trailers"],
    )
    def test_the_kind_of_a_failure_is_known(self, sent: bytes, failure: Failure) -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.send(sent)

        with serving(script) as server, pytest.raises(HttpError) as raised:
            ask(server)

        assert raised.value.failure is failure
        assert raised.value.sent
        assert not raised.value.stale

    def test_without_a_connection_nothing_was_sent(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as bound:
            port = bound.getsockname()[1]
        client = HttpClient(f"http://127.0.0.1:{port}")
        with pytest.raises(HttpError, match=r"no connection to 127\.0\.0\.1: Connection refused") as raised:
            client.request("PUT", "/", monotonic() + PATIENCE, most_bytes=0)

        assert raised.value.failure is Failure.REFUSED
        assert not raised.value.sent

    def test_a_server_without_tls_has_none(self) -> None:
        with serving(lambda peer: peer.send(b"HTTP/1.1 400 Bad\r\n\r\n")) as server:
            client = HttpClient(server.url.replace("http:", "https:"))
            with pytest.raises(HttpError, match=r"no TLS at 127\.0\.0\.1") as raised:
                client.request("GET", "/", monotonic() + PATIENCE, most_bytes=0)

        assert raised.value.failure is Failure.NO_TLS
        assert not raised.value.sent

    def test_a_server_with_an_unknown_authority_is_not_trusted(self, context: ssl.SSLContext) -> None:
        with serving(lambda peer: peer.send(OK), context) as server:
            client = HttpClient(server.url)
            with pytest.raises(HttpError, match=r"the certificate of 127\.0\.0\.1 is not trusted") as raised:
                client.request("GET", "/", monotonic() + PATIENCE, most_bytes=0)

        assert raised.value.failure is Failure.NOT_TRUSTED
        assert not raised.value.sent

    def test_a_machine_without_threads_has_no_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)

        assert KINDS["charger"].run("http://server.invalid", SHORT) == (
            "no connection to server.invalid: can't start new thread"
        )

    def test_what_cannot_be_sent_names_no_secret(self) -> None:
        with serving(lambda peer: peer.hang()) as server:
            client = HttpClient(server.url, {"Authorization": f"Token {SECRET}\n"})
            with pytest.raises(HttpError) as raised:
                client.request("GET", f"/?{SECRET}\x00", monotonic() + PATIENCE, most_bytes=0)

        assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://evse", "/"),
        ("http://evse/", "/"),
        ("http://evse?x=1", "/?x=1"),
        ("http://evse/a%20b?x=1&y=%26#top", "/a%20b?x=1&y=%26"),
        ("http://evse/é b", "/%C3%A9%20b"),
        ("http://evse/a;b=(c)?d=[e]", "/a;b=(c)?d=[e]"),
    ],
)
def test_a_target_is_what_a_request_may_hold(url: str, target: str) -> None:
    assert target_of(url) == target


def test_a_date_is_one_or_none() -> None:
    assert unix_time("Thu, 01 Jan 1970 00:01:00 GMT") == 60.0
    assert unix_time("Thu, 01 Jan 1970 01:01:00 +0100") == 60.0
    assert unix_time("soon") is None
