"""One GET at a time against servers that behave, and against servers that do not."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from helpers.raw_server import DRIP, OK, PATIENCE, Peer, Server, serving, with_body

from ccl_exporter.clock import Clock
from ccl_exporter.errors import (
    Absent,
    AccessDenied,
    ChargerError,
    ConnectRefused,
    Garbled,
    HostNotFound,
    NoRoute,
    TimedOut,
    TooLarge,
    Unreachable,
)
from ccl_exporter.powerstudio.endpoints import quoted
from ccl_exporter.powerstudio.transport import MAX_BYTES, Transport
from ccl_exporter.settings import Credentials

SHORT = 0.3  # seconds for what should never come
MIB = 1024 * 1024


@contextmanager
def talking(script: Callable[[Peer], None], **more: Any) -> Iterator[tuple[Server, Transport]]:
    """A server and a transport to it."""
    with serving(script) as server:
        transport = Transport(server.url, **more)
        try:
            yield server, transport
        finally:
            transport.close()


def get(transport: Transport, target: str = "x.xml", seconds: float = PATIENCE) -> bytes:
    return transport.get(target, monotonic() + seconds)


def always(answer: bytes, close: bool = False) -> Callable[[Peer], None]:
    """Answer every request alike; `close` ends the connection after the first."""

    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(answer)
            if close:
                return

    return script


class TestConnection:
    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(OK, id="with a length"),
            pytest.param(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", id="chunked"
            ),
            pytest.param(
                b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", id="HTTP/1.0"
            ),
            pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, id="a word before"),
        ],
    )
    def test_several_gets_use_one_connection(self, answer: bytes) -> None:
        with talking(always(answer)) as (server, transport):
            assert [get(transport) for _ in range(5)] == [b"ok"] * 5

        assert (server.connections, transport.requests) == (1, 5)

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", id="it says so"),
            pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="HTTP/1.0"),
            pytest.param(b"HTTP/1.0 200 OK\r\n\r\nok", id="without a length"),
            pytest.param(b"HTTP/1.1 200 OK\r\n\r\nok", id="without a length, HTTP/1.1"),
        ],
    )
    def test_a_server_that_closes_each_time_is_asked_on_a_new_one(self, answer: bytes) -> None:
        with talking(always(answer, close=True)) as (server, transport):
            assert [get(transport) for _ in range(3)] == [b"ok"] * 3

        assert (server.connections, transport.requests) == (3, 3)

    def test_nothing_is_opened_before_the_first_get(self) -> None:
        with talking(always(OK)) as (server, _):
            pass

        assert server.connections == 0

    def test_closing_it_closes_the_connection(self) -> None:
        with serving(always(OK)) as server:
            transport = Transport(server.url)
            assert get(transport) == b"ok"
            transport.close()
            server.wait_until_closed(1)

    def test_an_empty_body_is_an_answer(self) -> None:
        with talking(always(with_body(b""))) as (_, transport):
            assert get(transport) == b""

    def test_a_kept_connection_that_was_closed_in_between_is_no_failure(self) -> None:
        with talking(always(OK, close=True)) as (server, transport):
            assert get(transport) == b"ok"
            server.wait_until_closed(1)

            assert get(transport) == b"ok"

        assert (server.connections, transport.requests) == (2, 2)

    def test_a_request_that_a_kept_connection_swallowed_is_sent_again_and_counted(self) -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.send(OK)
            if peer.number == 1:
                peer.request()

        with talking(script) as (server, transport):
            assert get(transport, "first") == b"ok"
            assert get(transport, "second") == b"ok"

        assert server.lines == [f"GET /{target} HTTP/1.1".encode() for target in ("first", "second", "second")]
        assert (server.connections, transport.requests) == (2, 3)

    def test_it_is_sent_again_only_once(self) -> None:
        def script(peer: Peer) -> None:
            peer.request()
            if peer.number == 1:
                peer.send(OK)
                peer.request()

        with talking(script) as (server, transport):
            assert get(transport) == b"ok"
            with pytest.raises(Garbled):
                get(transport)

        assert (len(server.requests), transport.requests) == (3, 3)

    def test_a_request_that_a_fresh_connection_swallowed_is_sent_only_once(self) -> None:
        def script(peer: Peer) -> None:
            peer.request()

        with talking(script) as (server, transport), pytest.raises(Garbled):
            get(transport)

        assert (len(server.requests), transport.requests) == (1, 1)

    def test_a_connection_opened_anew_is_a_fresh_one(self) -> None:
        def script(peer: Peer) -> None:
            peer.request()
            if peer.number == 1:
                peer.send(OK)

        with talking(script) as (server, transport):
            assert get(transport) == b"ok"
            server.wait_until_closed(1)
            with pytest.raises(Garbled):
                get(transport)

        assert (len(server.requests), transport.requests) == (2, 2)

    def test_half_an_answer_on_a_kept_connection_is_not_asked_for_again(self) -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.send(OK)
            peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<values>")

        with talking(script) as (server, transport):
            assert get(transport) == b"ok"
            with pytest.raises(Garbled):
                get(transport)

        assert (len(server.requests), transport.requests) == (2, 2)

    def test_an_answer_that_came_too_late_is_not_taken_for_the_next(self) -> None:
        late = threading.Event()

        def script(peer: Peer) -> None:
            while (head := peer.request()) is not None:
                if b"slow" in head:
                    late.wait(PATIENCE)
                    peer.send(with_body(b"slow"))
                else:
                    peer.send(with_body(b"quick"))

        with talking(script) as (_, transport):
            with pytest.raises(TimedOut):
                get(transport, "slow", SHORT)
            late.set()

            assert get(transport, "quick") == b"quick"

    def test_more_than_the_length_says_does_not_leak_into_the_next_answer(self) -> None:
        with talking(always(OK + b"<values>more</values>")) as (_, transport):
            assert [get(transport) for _ in range(3)] == [b"ok"] * 3

    @pytest.mark.parametrize("status", [b"404 Not Found", b"500 Oops", b"302 Found", b"401 Unauthorized"])
    def test_after_an_invalid_response_the_next_one_is_read(self, status: bytes) -> None:
        def script(peer: Peer) -> None:
            while (head := peer.request()) is not None:
                body = b"<html>no</html>"
                peer.send(OK if b"good" in head else with_body(body, b"Location: /good", status=status))

        with talking(script) as (_, transport):
            with pytest.raises(ChargerError):
                get(transport, "bad")

            assert get(transport, "good") == b"ok"


class TestRequest:
    @pytest.mark.parametrize(
        "target",
        [
            "services/user/devices.xml",
            "services/user/values.xml?id=Plug%20-%207",
            "services/user/values.xml?var=A%26B.X&var=C.Y",
            "services/user/values.xml?var=A.X?var=B.Y?var=C.Z",
            "services/user/values.xml?id=50%25%20%2B%201",
            "services/user/values.xml?id=Caf%C3%A9",
            "services/user/values.xml?id=Caf%E9",
            "services/user/values.xml?id=a.b-c_d~e%2Ff",
            "services/user/values.xml?id=R%24SYS%3F%23%22%27%3C%3E%7C%5C%5E%60%7B%7D",
            "services/user/values.xml?id=..",
            "services/user/values.xml?id=" + "A" * 1500,
        ],
    )
    def test_a_target_is_sent_byte_for_byte(self, target: str) -> None:
        with talking(always(OK)) as (server, transport):
            get(transport, target)

        assert server.lines == [f"GET /{target} HTTP/1.1".encode()]

    @pytest.mark.parametrize(
        ("name", "written"),
        [
            ("EVSE", "EVSE"),
            ("Plug - 7", "Plug%20-%207"),
            ("A&B?", "A%26B%3F"),
            ("50% + 1", "50%25%20%2B%201"),
            ("R$SYS", "R%24SYS"),
            ("a/b=c", "a%2Fb%3Dc"),
            ("a.b-c_d~e", "a.b-c_d~e"),
            ("Café", "Caf%C3%A9"),
            ("\U0001f50c", "%F0%9F%94%8C"),
            ("", ""),
        ],
    )
    def test_a_name_is_written_without_plus_and_without_separators(self, name: str, written: str) -> None:
        assert quoted(name) == written

    def test_the_engine_may_live_under_a_path(self) -> None:
        with serving(always(OK)) as server:
            transport = Transport(f"{server.url}/site/")
            get(transport, "a.xml")
            transport.close()

        assert server.lines == [b"GET /site/a.xml HTTP/1.1"]

    def test_it_asks_for_plain_xml_and_names_itself(self) -> None:
        with talking(always(OK)) as (server, transport):
            get(transport)

        headers = dict(line.lower().split(b": ", 1) for line in server.requests[0].split(b"\r\n")[1:])
        assert headers[b"host"] == f"127.0.0.1:{server.port}".encode()
        assert headers[b"accept-encoding"] == b"identity"
        assert headers[b"user-agent"].startswith(b"ccl-exporter/")
        assert not headers.keys() & {b"authorization", b"cookie", b"content-length"}

    def test_a_proxy_in_the_environment_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(always(OK)) as proxy, talking(always(OK)) as (server, transport):
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            get(transport)

        assert (proxy.connections, server.lines) == (0, [b"GET /x.xml HTTP/1.1"])

    def test_a_password_in_the_users_netrc_is_not_sent(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login owner password open-sesame\n", encoding="utf-8")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))

        with talking(always(OK)) as (server, transport):
            get(transport)

        assert b"authorization" not in server.requests[0].lower()


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "error"),
        [
            *((status, AccessDenied) for status in (401, 403)),
            *((status, Absent) for status in (400, 404, 405, 410, 414, 501)),
            *((status, Garbled) for status in (201, 204, 206, 300, 301, 302, 303, 304, 307, 308)),
            *((status, Garbled) for status in (402, 406, 408, 418, 429, 500, 502, 503, 504, 599, 999)),
        ],
    )
    def test_each_status_has_its_error(self, status: int, error: type[ChargerError]) -> None:
        with (
            talking(always(with_body(b"<values></values>", status=b"%d Word" % status))) as (server, transport),
            pytest.raises(ChargerError) as raised,
        ):
            get(transport)

        assert type(raised.value) is error
        assert (len(server.requests), transport.requests) == (1, 1)

    @pytest.mark.parametrize(
        "status", [b"301 Moved", b"302 Found", b"303 See", b"307 Temporary", b"308 Permanent"]
    )
    def test_a_redirect_is_not_followed(self, status: bytes) -> None:
        with serving(always(OK)) as other:
            location = f"Location: {other.url}/x.xml".encode()
            with (
                talking(always(with_body(b"", location, status=status))) as (server, transport),
                pytest.raises(Garbled),
            ):
                get(transport)

        assert (other.connections, len(server.requests)) == (0, 1)

    @pytest.mark.parametrize(
        "location",
        [
            pytest.param(b"/html/setup.html", id="a path"),
            pytest.param(b"", id="nothing"),
            pytest.param(b"http://[", id="half a bracket"),
            pytest.param(b"http://evse:port/", id="port in letters"),
            pytest.param(b"/caf\xe9", id="Latin-1"),
            pytest.param(b"\xff\xfe", id="no text"),
            pytest.param(b"//", id="slashes"),
            pytest.param(b"javascript:alert(1)", id="a script"),
        ],
    )
    def test_where_a_redirect_leads_does_not_matter(self, location: bytes) -> None:
        with (
            talking(always(with_body(b"", b"Location: " + location, status=b"302 Found"))) as (_, transport),
            pytest.raises(Garbled),
        ):
            get(transport)


class TestNonsense:
    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(b"hello\r\n\r\n", id="no HTTP"),
            pytest.param(b"\r\n\r\n", id="blank lines"),
            pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
            pytest.param(b"HTTP/1.1 abc OK\r\n\r\n", id="status in letters"),
            pytest.param(b"HTTP/1.1 20", id="cut in the status"),
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<values>", id="cut in the body"),
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", id="cut before the body"),
            pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx", id="no chunk"),
            pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort", id="cut in a chunk"),
            pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", id="no last chunk"),
            pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", id="a header too long"),
            pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n", id="too many headers"),
            pytest.param(b"HTTP/1.1 200 " + b"O" * 100_000 + b"\r\n\r\n", id="a status line too long"),
            pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        ],
    )
    def test_what_is_no_whole_answer_is_garbled(self, answer: bytes) -> None:
        with talking(always(answer, close=True)) as (server, transport), pytest.raises(Garbled):
            get(transport)

        assert (len(server.requests), transport.requests) == (1, 1)

    @pytest.mark.parametrize("length", [b"-5", b"many", b"1e3", b""])
    def test_a_length_that_is_none_counts_as_none(self, length: bytes) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\nok"

        with talking(always(answer, close=True)) as (_, transport):
            assert get(transport) == b"ok"

    def test_a_body_of_the_largest_size_is_read(self) -> None:
        with talking(always(with_body(b"x" * MAX_BYTES))) as (_, transport):
            assert len(get(transport)) == MAX_BYTES

    def test_one_byte_more_is_too_large(self) -> None:
        with talking(always(with_body(b"x" * (MAX_BYTES + 1)))) as (_, transport), pytest.raises(TooLarge):
            get(transport)

    @pytest.mark.parametrize(
        ("head", "error"),
        [
            pytest.param(b"200 OK\r\n", TooLarge, id="without a length"),
            pytest.param(b"200 OK\r\nContent-Length: 99999999999\r\n", TooLarge, id="with a huge length"),
            pytest.param(
                b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
                TooLarge,
                id="in a chunk of less than nothing",
            ),
            pytest.param(
                b"200 OK\r\n" + b"X-Many: headers\r\n" * 1_000_000, Garbled, id="after headers without end"
            ),
            pytest.param(b"404 Not Found\r\n", Absent, id="not found"),
            pytest.param(b"500 Oops\r\n", Garbled, id="broken"),
            pytest.param(b"401 Unauthorized\r\n", AccessDenied, id="refused"),
            pytest.param(b"302 Found\r\n", Garbled, id="a redirect to nowhere"),
            pytest.param(b"302 Found\r\nLocation: /\r\n", Garbled, id="a redirect"),
        ],
    )
    def test_a_body_without_end_is_not_read_to_its_end(self, head: bytes, error: type[ChargerError]) -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.send(b"HTTP/1.1 " + head + b"\r\n")
            peer.pour(96 * MIB)

        with talking(script) as (server, transport):
            with pytest.raises(ChargerError) as raised:
                get(transport)
            server.wait_until_closed(1)

        assert type(raised.value) is error
        # What was on its way in the kernel's buffers counts too.
        assert server.sent < 48 * MIB


class TestDeadline:
    @pytest.mark.parametrize("at", [-1e9, 1e9])
    def test_it_is_by_the_clock_of_the_transport(self, at: float) -> None:
        clock = Clock(monotonic=lambda: at)
        with talking(always(OK), clock=clock) as (_, transport):
            assert transport.get("x.xml", at + PATIENCE) == b"ok"
            with pytest.raises(TimedOut):
                transport.get("x.xml", at - 0.001)
            assert transport.requests == 1
        with talking(Peer.hang, clock=clock) as (_, transport), pytest.raises(TimedOut):
            transport.get("x.xml", at + 0.05)

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(b"HTTP/1.1 200 OK\r\nServer: " + b"x" * 2000 + b"\r\n\r\n", id="headers"),
            pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, id="words before"),
            pytest.param(with_body(b"<values>" + b" " * 2000), id="body with a length"),
            pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000, id="body without a length"),
            pytest.param(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 400, id="chunks"
            ),
            pytest.param(with_body(b"x" * 2000, b"Location: /", status=b"302 Found"), id="a redirect"),
            pytest.param(b"HTTP/1.1 " + b"2" * 2000, id="status"),
        ],
    )
    def test_it_holds_when_the_answer_drips(self, answer: bytes) -> None:
        head, _, body = answer.partition(b"\r\n\r\n")

        def script(peer: Peer) -> None:
            peer.request()
            if len(body) > len(head):
                # Everything up to the body at once, so that it is the body that drips.
                peer.send(head + b"\r\n\r\n")
                peer.drip(body)
            else:
                peer.drip(answer)

        began = monotonic()
        with talking(script) as (_, transport):
            with pytest.raises(ChargerError) as raised:
                get(transport, seconds=SHORT)
            took = monotonic() - began

        whole = DRIP * max(len(body), len(head))
        assert took < (SHORT + whole) / 2
        assert type(raised.value) is (Garbled if b"302" in head else TimedOut)

    def test_it_holds_when_no_answer_comes(self) -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.hang()

        began = monotonic()
        with talking(script) as (_, transport):
            with pytest.raises(TimedOut):
                get(transport, seconds=SHORT)
            took = monotonic() - began

        assert SHORT * 0.9 < took < (SHORT + PATIENCE) / 2

    def test_it_holds_for_both_attempts_together(self) -> None:
        def script(peer: Peer) -> None:
            peer.request()
            if peer.number == 1:
                peer.send(OK)
                peer.request()
            else:
                peer.hang()

        with talking(script) as (_, transport):
            get(transport)
            began = monotonic()
            with pytest.raises(TimedOut):
                get(transport, seconds=SHORT)
            took = monotonic() - began

        assert took < (SHORT + PATIENCE) / 2
        assert transport.requests == 3

    def test_each_get_has_its_own_on_a_kept_connection(self) -> None:
        def script(peer: Peer) -> None:
            while (head := peer.request()) is not None:
                peer.drip(OK) if b"slow" in head else peer.send(OK)

        with talking(script) as (server, transport):
            assert get(transport, "quick", PATIENCE) == b"ok"
            assert get(transport, "slow", PATIENCE) == b"ok"
            with pytest.raises(TimedOut):
                get(transport, "slow", SHORT)

        assert server.connections == 1

    @pytest.mark.parametrize("left", [0.0, -1.0])
    def test_without_time_nothing_is_sent(self, left: float) -> None:
        with talking(always(OK)) as (server, transport), pytest.raises(TimedOut):
            get(transport, seconds=left)

        assert (server.connections, transport.requests) == (0, 0)

    def test_it_holds_when_no_connection_comes_about(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            port = listener.getsockname()[1]
            waiting = [socket.socket() for _ in range(4)]
            try:
                for sock in waiting:
                    # No one accepts: a full queue makes the kernel drop what comes next.
                    sock.setblocking(False)
                    with suppress(BlockingIOError):
                        sock.connect(("127.0.0.1", port))
                began = monotonic()
                transport = Transport(f"http://127.0.0.1:{port}")
                with pytest.raises(TimedOut):
                    get(transport, seconds=SHORT)
                took = monotonic() - began
                transport.close()
            finally:
                for sock in waiting:
                    sock.close()

        assert took < (SHORT + PATIENCE) / 2

    def test_it_holds_when_the_name_server_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = threading.Event()

        def silent(*_: Any, **__: Any) -> list[Any]:
            answer.wait(PATIENCE)
            return []

        monkeypatch.setattr(socket, "getaddrinfo", silent)
        transport = Transport("http://evse.invalid")
        try:
            with pytest.raises(TimedOut):
                get(transport, seconds=SHORT)
        finally:
            answer.set()
            transport.close()


class TestUnreachable:
    def test_a_port_without_a_listener(self) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            transport = Transport(f"http://127.0.0.1:{bound.getsockname()[1]}")
            with pytest.raises(ConnectRefused, match=r"127\.0\.0\.1"):
                get(transport)
            transport.close()

        assert transport.requests == 1

    def test_an_address_to_which_no_network_leads(self) -> None:
        # No connection leads to a broadcast address, whatever networks the machine has.
        transport = Transport("http://255.255.255.255")
        with pytest.raises(NoRoute, match=r"no route to 255\.255\.255\.255"):
            get(transport)
        transport.close()

    @pytest.mark.parametrize(
        "host",
        [
            pytest.param("nosuchhost.invalid", id="no such name"),
            pytest.param("evse..invalid", id="an empty label"),
            pytest.param("a" * 64 + ".invalid", id="a label too long"),
        ],
    )
    def test_a_host_that_does_not_exist(self, host: str) -> None:
        transport = Transport(f"http://{host}")
        with pytest.raises(HostNotFound, match="host name not found"):
            get(transport, seconds=5)
        transport.close()

    def test_a_server_that_is_gone_since_the_last_answer(self) -> None:
        with serving(always(OK, close=True)) as server:
            transport = Transport(server.url)
            assert get(transport) == b"ok"
            server.wait_until_closed(1)

        with pytest.raises(Unreachable):
            get(transport)
        transport.close()

    def test_a_server_that_goes_while_it_is_asked(self) -> None:
        gone = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                peer, _ = listener.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(OK)
                    peer.recv(65536)
                    listener.close()
                gone.set()

            thread = threading.Thread(target=serve)
            thread.start()
            transport = Transport(f"http://127.0.0.1:{listener.getsockname()[1]}")
            assert get(transport) == b"ok"
            with pytest.raises(Unreachable, match="refused"):
                get(transport)
            thread.join()
            transport.close()

    def test_the_first_of_several_addresses_that_answers_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as bound, serving(always(OK)) as server:
            bound.bind(("127.0.0.1", 0))
            addresses = [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
                for address in (bound.getsockname(), ("127.0.0.1", server.port))
            ]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
            transport = Transport("http://evse.invalid")

            assert get(transport) == b"ok"
            transport.close()
            server.wait_until_closed(1)


class TestLogin:
    CREDENTIALS = Credentials("reader", "open-sesame")
    BASIC = b'WWW-Authenticate: Basic realm="Yard"'
    DIGEST = b'WWW-Authenticate: Digest realm="Yard", nonce="0123456789abcdef", qop="auth", algorithm=MD5'

    def guarded(self, challenge: bytes, opens: bool = True) -> Callable[[Peer], None]:
        def script(peer: Peer) -> None:
            while (head := peer.request()) is not None:
                shown = b"authorization:" in head.lower()
                peer.send(OK if shown and opens else with_body(b"", challenge, status=b"401 Unauthorized"))

        return script

    @pytest.mark.parametrize("challenge", [BASIC, DIGEST], ids=["Basic", "Digest"])
    def test_without_a_login_it_is_refused_after_one_request(self, challenge: bytes) -> None:
        with talking(self.guarded(challenge)) as (_, transport), pytest.raises(AccessDenied):
            get(transport)

        assert transport.requests == 1

    @pytest.mark.parametrize("challenge", [BASIC, DIGEST], ids=["Basic", "Digest"])
    def test_with_one_it_is_let_in_and_need_not_be_asked_again(self, challenge: bytes) -> None:
        with talking(self.guarded(challenge), credentials=self.CREDENTIALS) as (server, transport):
            assert [get(transport), get(transport)] == [b"ok", b"ok"]

        assert transport.requests == 3
        assert [b"authorization:" in request.lower() for request in server.requests] == [False, True, True]

    def test_nothing_is_shown_to_a_server_that_does_not_ask(self) -> None:
        with talking(always(OK), credentials=self.CREDENTIALS) as (server, transport):
            get(transport)

        assert b"authorization" not in server.requests[0].lower()

    @pytest.mark.parametrize("challenge", [BASIC, DIGEST], ids=["Basic", "Digest"])
    def test_a_login_that_is_not_taken_is_refused_and_not_insisted_on(self, challenge: bytes) -> None:
        with (
            talking(self.guarded(challenge, opens=False), credentials=self.CREDENTIALS) as (_, transport),
            pytest.raises(AccessDenied) as raised,
        ):
            get(transport)

        assert transport.requests == 2
        assert "open-sesame" not in str(raised.value)

    def test_the_first_request_with_a_nonce_is_counted_as_its_first(self) -> None:
        with talking(self.guarded(self.DIGEST), credentials=self.CREDENTIALS) as (server, transport):
            get(transport)
            get(transport)

        assert [re.findall(rb"nc=(\d+)", request) for request in server.requests[1:]] == [
            [b"00000001"],
            [b"00000002"],
        ]

    @pytest.mark.parametrize("challenge", [BASIC, DIGEST], ids=["Basic", "Digest"])
    def test_a_user_name_may_have_letters_of_any_language_and_quotes(self, challenge: bytes) -> None:
        with talking(self.guarded(challenge), credentials=Credentials('Łukasz "Ł" \\ Ö', "ż")) as (
            server,
            transport,
        ):
            assert get(transport) == b"ok"

        if challenge == self.DIGEST:
            assert 'username="Łukasz \\"Ł\\" \\\\ Ö"'.encode() in server.requests[1]

    @pytest.mark.parametrize(
        "challenge",
        [
            b"X-Nothing: 1",
            b"WWW-Authenticate: ",
            b"WWW-Authenticate: Negotiate",
            b"WWW-Authenticate: Digest",
            b"WWW-Authenticate: Digest nonce",
            b'WWW-Authenticate: Digest realm="a", nonce',
            b'WWW-Authenticate: Digest realm="a", nonce="b", algorithm=ROT13',
            b'WWW-Authenticate: Digest realm="a", nonce="b", qop="other"',
            b"WWW-Authenticate: \xff\xfe",
        ],
    )
    def test_an_unknown_challenge_is_refused(self, challenge: bytes) -> None:
        with (
            talking(self.guarded(challenge), credentials=self.CREDENTIALS) as (server, transport),
            pytest.raises(AccessDenied),
        ):
            get(transport)

        assert all(b"authorization" not in request.lower() for request in server.requests)


class TestClock:
    NOON = datetime(2023, 6, 1, 12, tzinfo=UTC).timestamp()

    def clock(self, *headers: bytes) -> float | None:
        with talking(always(with_body(b"ok", *headers))) as (_, transport):
            assert transport.date is None
            assert get(transport) == b"ok"
            return transport.date

    def test_the_servers_date_is_remembered(self) -> None:
        assert self.clock(b"Date: Thu, 01 Jun 2023 12:00:00 GMT") == self.NOON

    def test_a_server_that_reports_none_has_none(self) -> None:
        assert self.clock() is None

    @pytest.mark.parametrize(
        "date",
        [
            b"",
            b"today",
            b"Thu, 32 Jun 2023 12:00:00 GMT",
            b"Thu, 01 Jun 99999 12:00:00 GMT",
            b"Thu, 99999999999999999999 Jun 2023 12:00:00 GMT",
            b"Thu, 01 Jun 2023 12:00:00 +99999999999999",
            b"\xff",
        ],
    )
    def test_a_date_that_makes_no_sense_is_none(self, date: bytes) -> None:
        assert self.clock(b"Date: " + date) is None

    @pytest.mark.parametrize(
        "date", [b"Thu, 01 Jun 2023 12:00:00", b"Thu, 01 Jun 2023 12:00:00 -0000"], ids=["no zone", "-0000"]
    )
    def test_a_date_without_a_zone_is_utc_wherever_we_are(
        self, date: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            assert self.clock(b"Date: " + date) == self.NOON
        finally:
            monkeypatch.undo()
            time.tzset()
