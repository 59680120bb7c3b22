"""What an answer of a database means, by the answers of a server on loopback; and what is sent to it."""

import gzip
import json
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ccl_exporter.outputs.influxdb.client import (
    LONGEST_WAIT,
    MOST_BYTES,
    Accepted,
    InfluxClient,
    Outcome,
    Rejected,
    RequestTooLarge,
    RetryLater,
    outcome,
)
from ccl_exporter.settings import Credentials, InfluxSettings, SpoolSettings

JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html"}
PAGE = "<!DOCTYPE html><html><body>Log in</body></html>"
SECRET = "hunter-4711"  # noqa: S105 - nobody's


@contextmanager
def answering(
    status: int, headers: dict[str, str], text: str, after: float = 0.0
) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """A server that gives one answer to every request, `after` some seconds; its URL, and the requests.

    These are target, headers, body.
    """
    asked: list[tuple[str, dict[str, str], bytes]] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.path, dict(self.headers), body))
            over.wait(after)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(text.encode())))
            # The client no longer waits: no late answer.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            over.set()
            server.shutdown()
            thread.join()


@contextmanager
def at_a_socket(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that does something with its one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def settings(url: str, timeout: float = 10.0) -> InfluxSettings:
    return InfluxSettings("db", url, 1, SpoolSettings(Path("spool.db")), database="evse", timeout=timeout)


# Status, headers, text; what it means and what of its words is passed on.
ANSWERS: dict[str, tuple[int, dict[str, str], str, type[Outcome], str]] = {
    "no content": (204, {}, "", Accepted, ""),
    "an empty answer": (200, {}, "", Accepted, ""),
    "a web page": (200, HTML, PAGE, RetryLater, "look at the URL"),
    "JSON of another service": (200, JSON, '{"status": "ok"}', RetryLater, "look at the URL"),
    "a redirect": (302, {"Location": "/login"}, "", RetryLater, "look at the URL"),
    "a bad line": (400, JSON, '{"error": "unable to parse \'x\'"}', Rejected, "unable to parse 'x'"),
    "a bad line in 2": (400, JSON, '{"code": "invalid", "message": "bad"}', Rejected, "bad"),
    "a bad line without a word": (400, {}, "", Rejected, "400"),
    "a proxy's 400": (400, HTML, PAGE, RetryLater, "look at the URL"),
    "unprocessable": (422, JSON, '{"message": "schema"}', Rejected, "schema"),
    "a wrong token": (401, JSON, '{"code": "unauthorized", "message": "no"}', RetryLater, "rejects the login"),
    "no right": (403, JSON, '{"error": "not authorized"}', RetryLater, "no permission to write"),
    "no database": (404, JSON, '{"error": "database not found: \\"x\\""}', RetryLater, 'database not found: "x"'),
    "a time-out of its own": (408, {}, "", RetryLater, "408"),
    "too much": (413, JSON, '{"error": "too large"}', RequestTooLarge, "too large"),
    "too often": (429, {"Retry-After": "7"}, "", RetryLater, "429"),
    "an error": (500, JSON, '{"error": "timeout"}', RetryLater, "timeout"),
    "not now": (503, {}, "", RetryLater, "503"),
    "a gateway": (502, HTML, PAGE, RetryLater, "502"),
    "a teapot": (418, {}, "", RetryLater, "418"),
}


@pytest.mark.parametrize(("status", "headers", "text", "kind", "said"), ANSWERS.values(), ids=ANSWERS)
def test_each_answer_has_one_meaning(
    status: int, headers: dict[str, str], text: str, kind: type[Outcome], said: str
) -> None:
    with answering(status, headers, text) as (url, asked):
        outcome = InfluxClient(settings(url)).write(["m x=1 1"])

    assert type(outcome) is kind
    assert said in getattr(outcome, "reason", "")
    assert len(asked) == 1


def test_how_many_lines_were_left_out_is_understood() -> None:
    with answering(400, JSON, '{"error":"partial write: field type conflict: x dropped=3"}') as (url, _):
        outcome = InfluxClient(settings(url)).write(["m x=1 1"])

    assert isinstance(outcome, Rejected)
    assert outcome.dropped == 3


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("9999", 3600, 3600),
        ("999999", None, None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None, None),
        ("in ten minutes", 1, 600),
        ("ten minutes ago", 0, 0),
        ("soon", None, None),
        ("-1", None, None),
        ("", None, None),
    ],
)
def test_retry_after_is_understood(text: str, low: float | None, high: float | None) -> None:
    now = datetime.now(UTC)
    dates = {"in ten minutes": now + timedelta(minutes=10), "ten minutes ago": now - timedelta(minutes=10)}
    header = format_datetime(dates[text], usegmt=True) if text in dates else text
    with answering(503, {"Retry-After": header}, "") as (url, _):
        outcome = InfluxClient(settings(url)).write(["m x=1 1"])

    assert isinstance(outcome, RetryLater)
    if low is None or high is None:
        assert outcome.wait is None
    else:
        assert outcome.wait is not None
        assert low <= outcome.wait <= high


@given(
    st.one_of(
        st.text(),
        st.text("0123456789²٣-+. :"),
        st.builds(
            "{}, {} {} {} {}:{}:{} {}".format,
            st.sampled_from(["Mon", "Fri", ""]),
            st.integers() | st.integers(1, 31),
            st.sampled_from(["Jan", "Dec", "Foo"]),
            st.integers() | st.sampled_from([0, 1, 9999, 10000, 10**30]),
            *[st.integers(-1, 99) | st.integers()] * 3,
            st.sampled_from(["GMT", "-0000", "+2359", "-2359", "+9999", ""]) | st.integers().map("{:+}".format),
        ),
    )
)
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Thu, 99999999999999999999 Jun 2023 12:00:00 GMT")
@example("Thu, 01 Jun 2023 12:00:00 +99999999999999")
@example("9" * 5000)
def test_retry_after_counts_for_an_hour_at_most(text: str) -> None:
    found = outcome(503, {"Retry-After": text}, "", 1)

    assert isinstance(found, RetryLater)
    assert found.wait is None or 0 <= found.wait <= LONGEST_WAIT


def test_version_1_is_written_to_by_database_policy_and_login() -> None:
    with answering(204, {}, "") as (url, asked):
        one = replace(
            settings(f"{url}/influx"), retention_policy="a year", credentials=Credentials("ccl", "pass:word")
        )
        assert InfluxClient(one).write(["m x=1 1", "m x=2 2"]) == Accepted()

    ((target, headers, body),) = asked
    assert urlsplit(target).path == "/influx/write"
    assert parse_qs(urlsplit(target).query) == {"db": ["evse"], "rp": ["a year"], "precision": ["ms"]}
    assert headers["Authorization"] == f"Basic {b64encode(b'ccl:pass:word').decode()}"
    assert gzip.decompress(body) == b"m x=1 1\nm x=2 2"


def test_version_2_is_written_to_by_bucket_and_token() -> None:
    with answering(204, {}, "") as (url, asked):
        two = replace(settings(url), version=2, database="", org="me & you", bucket="evse/autogen", token=SECRET)
        assert InfluxClient(two).write(["m x=1 1"]) == Accepted()

    ((target, headers, _),) = asked
    assert urlsplit(target).path == "/api/v2/write"
    wanted = {"org": ["me & you"], "bucket": ["evse/autogen"], "precision": ["ms"]}
    assert parse_qs(urlsplit(target).query) == wanted
    assert headers["Authorization"] == f"Token {SECRET}"
    assert SECRET not in target


@pytest.mark.parametrize("token", ["", SECRET])
def test_version_3_is_written_to_in_its_own_way(token: str) -> None:
    with answering(204, {}, "") as (url, asked):
        three = replace(settings(f"{url}/influx"), version=3, database="", bucket="a & b", token=token)
        assert InfluxClient(three).write(["m x=1 1"]) == Accepted()

    ((target, headers, body),) = asked
    assert urlsplit(target).path == "/influx/api/v3/write_lp"
    assert parse_qs(urlsplit(target).query) == {"db": ["a & b"], "precision": ["millisecond"]}
    assert headers.get("Authorization") == (f"Bearer {token}" if token else None)
    assert gzip.decompress(body) == b"m x=1 1"


def test_version_3_names_the_bad_lines() -> None:
    data = [
        {"error_message": f"invalid column type for column '{name}', expected x", "line_number": number}
        for name, number in (("power_watts", 2), ("state", 3), ("state", 9))
    ]
    text = json.dumps({"error": "partial write of line protocol occurred", "data": data})
    with answering(400, {}, text) as (url, _):
        found = InfluxClient(settings(url)).write(["m x=1 1"] * 4)

    assert isinstance(found, Rejected)
    assert "'power_watts', expected x" in found.reason
    assert (sorted(found.named), found.field, found.dropped) == ([1, 2], "power_watts", 3)


ODD = [
    '{"data": 7}',
    '{"data": [7, {"line_number": "1"}, {"line_number": -1}]}',
    "[" * 100_000,
    '{"error": ["x"]}',
    "{",
]


@pytest.mark.parametrize("text", ODD)
def test_an_answer_that_is_no_answer_names_nothing(text: str) -> None:
    found = outcome(422, {}, text, 3)

    assert isinstance(found, Rejected)
    assert not found.named
    assert len(found.reason) <= 230


def test_a_megabyte_of_bad_lines_is_understood_and_a_body_without_end_is_cut() -> None:
    message = "invalid column type for column 'power_watts', expected iox::column_type::field::float"
    data = [
        {"error_message": message, "line_number": number + 1, "original_line": "x" * 20} for number in range(9000)
    ]
    with answering(400, {}, json.dumps({"error": "partial", "data": data})) as (url, _):
        found = InfluxClient(settings(url)).write(["m x=1 1"] * 9000)
    assert isinstance(found, Rejected)
    assert len(found.named) == 9000

    def without_end(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(b"HTTP/1.1 422 No\r\n\r\n")
            while True:
                connection.sendall(b"no more " * 8192)

    with at_a_socket(without_end) as url:
        found = InfluxClient(settings(url)).write(["m x=1 1"])
    assert isinstance(found, Rejected)
    assert len(found.reason) < 300


def test_a_request_has_at_most_eight_megabytes_before_it_is_compressed() -> None:
    with answering(204, {}, "") as (url, asked):
        writer = InfluxClient(settings(url))
        large = ["m x=1 1".ljust(1023)] * (MOST_BYTES // 1024 + 1)
        assert isinstance(writer.write(large), RequestTooLarge)
        assert not asked
        assert writer.write(large[1:]) == Accepted()


PING = {"2 at a 3": (2, "3.6.0"), "3 at a 2": (3, "2.8.0"), "3 at a 1": (3, "1.8.10"), "3 at a v2": (3, "v2.7.1")}
FITTING = {"2": (2, "2.8.0"), "3": (3, "3.6.0"), "dev": (3, "dev"), "nothing": (2, ""), "a 1": (2, "1.8.0")}


@pytest.mark.parametrize(("version", "said"), PING.values(), ids=PING)
def test_another_version_than_is_configured_is_noticed(version: Literal[2, 3], said: str) -> None:
    with answering(204, {"x-influxdb-version": said}, "") as (url, asked):
        one = replace(settings(url), version=version, database="", org="o", bucket="b", token=SECRET)
        assert (
            InfluxClient(one).advice() == f"the server is InfluxDB {said}, but `version: {version}` is configured"
        )

    ((target, headers, _),) = asked
    assert target == "/ping"
    assert SECRET in headers["Authorization"]


@pytest.mark.parametrize(("version", "said"), FITTING.values(), ids=FITTING)
def test_a_fitting_or_unknown_version_is_no_advice(version: Literal[2, 3], said: str) -> None:
    with answering(204, {"X-Influxdb-Version": said}, "") as (url, _):
        assert InfluxClient(replace(settings(url), version=version)).advice() == ""
    assert InfluxClient(replace(settings(url), version=version)).advice() == "", "it is not there"


def test_a_check_writes_nothing_and_is_content_when_nothing_is_too_little() -> None:
    with answering(400, JSON, '{"message": "writing requires points"}') as (url, asked):
        assert InfluxClient(settings(url)).check() == Accepted()

    assert gzip.decompress(asked[0][2]) == b""


def closed_at_once(connection: socket.socket) -> None:
    connection.close()


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def dribbling(connection: socket.socket) -> None:
    """An answer of a byte now and then, so that no single wait is long."""
    stop = threading.Event()
    try:
        connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 9999\r\n\r\n")
        while True:
            connection.sendall(b"x")
            stop.wait(0.05)
    except OSError:
        connection.close()


def gibberish(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9\r\n\r\n")
    connection.close()


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (closed_at_once, "broke off"),
        (silent, "no complete answer within 0.5 seconds"),
        (dribbling, "no complete answer within 0.5 seconds"),
        (gibberish, "broke off"),
    ],
)
def test_no_answer_is_for_later_and_is_waited_for_no_longer_than_configured(
    behave: Callable[[socket.socket], None], said: str
) -> None:
    with at_a_socket(behave) as url:
        began = monotonic()
        writer = InfluxClient(settings(url, timeout=0.5))
        outcome = writer.write(["m x=1 1"])
        took = monotonic() - began
        writer.close()

    assert isinstance(outcome, RetryLater)
    assert said in outcome.reason
    assert took < 30  # of a server that would answer for ever


def test_a_database_that_always_needs_longer_than_configured_is_understood_in_the_end() -> None:
    """It stores what it gets: who never waited for its answer would send the same for ever."""
    with answering(204, {}, "", after=0.5) as (url, asked):
        writer = InfluxClient(settings(url, timeout=0.1))
        outcomes = [writer.write(["m x=1 1"])]
        while not isinstance(outcomes[-1], Accepted):
            outcomes.append(writer.write(["m x=1 1"]))
            assert len(outcomes) < 10
        needed = len(asked)
        # And the next one is not too short for it again.
        assert writer.write(["m x=2 2"]) == Accepted()
        writer.close()

    assert needed > 1
    assert set(map(type, outcomes[:-1])) == {RetryLater}
    # A log gets a change, not a state.
    assert len({outcome.reason for outcome in outcomes if isinstance(outcome, RetryLater)}) == 1


def test_an_unreachable_server_is_tried_again_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    outcome = InfluxClient(settings(f"http://127.0.0.1:{port}")).write(["m x=1 1"])
    assert outcome == RetryLater("no connection to 127.0.0.1: Connection refused")
    outcome = InfluxClient(settings("http://no-such-host.invalid")).write([])
    assert outcome == RetryLater("host name not found: no-such-host.invalid")
