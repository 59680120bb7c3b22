"""InfluxDB 2.8.0 and 3.6.0 as they answered in reality: retention, types, columns, databases, sizes, counts.

`tests/golden/influxdb-answers.json` has what the real ones said; a test compares. Each stand-in can be asked in
memory (`answer`), or over HTTP (`serving`).
"""

import gzip
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from line_protocol_parser import LineFormatError, parse_line

TOKEN = "TOKEN"  # noqa: S105 - nobody's
READ_ONLY = "READ-ONLY-TOKEN"
EMPTY = "incoming write was empty"
_LARGEST = 10 * 1024**2
_REASONS = {200: "OK", 204: "No Content", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden"}
_REASONS |= {404: "Not Found", 422: "Unprocessable Entity", 500: "Internal Server Error"}


class Answer(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...]
    body: str = ""

    @property
    def reason(self) -> str:
        return _REASONS[self.status]


class Point(NamedTuple):
    """A line: table, tags, fields with their values, milliseconds."""

    table: str
    tags: tuple[tuple[str, str], ...]
    fields: dict[str, float | int | str | bool]
    time: int


def _point(line: str) -> Point | None:
    """None if it cannot be read."""
    try:
        found = parse_line(line)
    except LineFormatError:
        return None
    # The parser has the last field first.
    tags, fields = reversed(found["tags"].items()), reversed(found["fields"].items())
    return Point(found["measurement"], tuple(tags), dict(fields), found["time"])


def _kind(value: object) -> str:
    names = {bool: "boolean", int: "integer", str: "string"}
    return names.get(type(value), "float")


@dataclass
class StandIn:
    """What both have: databases with tables, whose columns have a kind each; what was asked.

    `wall` is the server's clock (Unix seconds), `write_seconds` how long an accepted write takes; `override`
    answers instead, where it has an answer.
    """

    wall: Callable[[], float] = time
    write_seconds: float = 0.0
    override: Callable[[Sequence[str]], Answer | None] = lambda _: None
    columns: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    rows: dict[tuple[str, str, tuple[tuple[str, str], ...], int], dict[str, object]] = field(default_factory=dict)
    requests: list[tuple[float, int]] = field(default_factory=list)
    """When each write came (by its clock), and how many lines it had."""
    paths: set[str] = field(default_factory=set)
    largest: int = 0
    """Bytes of the largest write."""

    def answer(self, method: str, target: str, login: str | None, body: str) -> tuple[Answer, float]:
        """The answer, and the seconds that it takes."""
        path, query = urlsplit(target).path, urlsplit(target).query
        self.paths.add(path)
        if method == "GET":
            return self.get(path, login), 0.0
        lines = [line for line in body.split("\n") if line]
        self.requests.append((self.wall(), len(lines)))
        self.largest = max(self.largest, len(body.encode()))
        found = self.override(lines) or self.write(
            path, {name: values[0] for name, values in parse_qs(query).items()}, login, lines, len(body.encode())
        )
        return found, self.write_seconds if found.status == 204 and lines else 0.0

    def get(self, path: str, login: str | None) -> Answer:
        raise NotImplementedError

    def write(
        self, path: str, query: dict[str, str], login: str | None, lines: Sequence[str], size: int
    ) -> Answer:
        raise NotImplementedError

    def store(self, database: str, point: Point) -> None:
        columns = self.columns.setdefault((database, point.table), {"time": "time"})
        columns |= dict.fromkeys((name for name, _ in point.tags), "tag")
        columns |= {name: _kind(value) for name, value in point.fields.items()}
        row = self.rows.setdefault((database, point.table, tuple(sorted(point.tags)), point.time), {})
        row.update(point.fields)

    def clash(self, database: str, point: Point) -> tuple[str, str, str] | None:
        """The first column of a point that has another kind in the table: name, kind there, kind here."""
        columns = self.columns.get((database, point.table), {})
        here = [*((name, "tag") for name, _ in point.tags), *((n, _kind(v)) for n, v in point.fields.items())]
        return next(((name, columns[name], kind) for name, kind in here if columns.get(name, kind) != kind), None)

    def newest(self, table: str, **tags: str) -> float | None:
        """Unix seconds of the newest row of a table with some tags."""
        found = (row[3] for row in self.rows if row[1] == table and tags.items() <= dict(row[2]).items())
        return max((at / 1000 for at in found), default=None)

    def count(self, table: str, column: str) -> int:
        return sum(row[1] == table and column in fields for row, fields in self.rows.items())


@dataclass
class Influx28(StandIn):
    """InfluxDB 2.8.0: `retention` is seconds by bucket, None for ever."""

    retention: dict[str, float | None] = field(default_factory=lambda: {"evse": None})
    org: str = "home"

    def get(self, path: str, login: str | None) -> Answer:
        body = (
            '{"name":"influxdb", "message":"ready for queries and writes", "status":"pass", "checks":[], '
            '"version": "dev", "commit": "none"}\n'
        )
        if path == "/ping":
            return Answer(204, (("Vary", "Accept-Encoding"), *_BUILD))
        return Answer(200, (("Content-Type", "application/json; charset=utf-8"), *_BUILD, _length(body)), body)

    def write(
        self, path: str, query: dict[str, str], login: str | None, lines: Sequence[str], size: int
    ) -> Answer:
        if path == "/api/v3/write_lp":
            body = "no assets included in binary\n"
            kind = (("Cache-Control", "public, max-age=3600"), ("Content-Type", "text/plain; charset=utf-8"))
            return Answer(404, (*kind, ("X-Content-Type-Options", "nosniff"), *_BUILD, _length(body)), body)
        if path == "/api/v2/write" and login != f"Token {TOKEN}":
            if login == f"Token {READ_ONLY}":
                return _platform(403, "forbidden", "insufficient permissions for write")
            return _platform(401, "unauthorized", "unauthorized access")
        if path == "/api/v2/write" and query.get("org") != self.org:
            return _platform(404, "not found", f'organization name "{query.get("org")}" not found')
        bucket = query.get("bucket") or query["db"]
        if bucket not in self.retention:
            return _platform(404, "not found", f'bucket "{bucket}" not found')
        points = [_point(line) for line in lines]
        if None in points:
            line = lines[points.index(None)]
            return _platform(400, "invalid", f"unable to parse '{line}': invalid field format")
        said = self._take(bucket, [point for point in points if point is not None])
        if said:
            words = f"failure writing points to database: partial write: {said}"
            return _platform(422, "unprocessable entity", words)
        return Answer(204, (*([("Vary", "Accept-Encoding")] if path == "/write" else []), *_BUILD))

    def _take(self, bucket: str, points: Sequence[Point]) -> str:
        """Store what can be; what is said of the rest. Of two kinds only one is named, with its count."""
        keeps = self.retention[bucket]
        bound = self.wall() - keeps if keeps is not None else float("-inf")
        old = [point for point in points if point.time / 1000 < bound]
        clashes = []
        for point in points:
            if point.time / 1000 < bound:
                continue
            if (clash := self.clash(bucket, point)) is not None:
                clashes.append((clash, point.table))
            else:
                self.store(bucket, point)
        if clashes:
            (name, there, here), table = clashes[0]
            return (
                f'field type conflict: input field "{name}" on measurement "{table}" is type {here}, '
                f"already exists as type {there} dropped={len(clashes)}"
            )
        if old:
            oldest, newest = min(old, key=lambda point: point.time), max(old, key=lambda point: point.time)
            why = f"dropped because it violates a Retention Policy Lower Bound at {_date(bound)}"
            return (
                f"dropped {len(old)} points outside retention policy of duration {_hours(keeps or 0)} - "
                f"oldest point {_series(oldest)} {why}, newest point {_series(newest)} {why} "
                f"dropped={len(old)} for database: baee9f85aa2ee40b for retention policy: autogen"
            )
        return ""


@dataclass
class Influx36(StandIn):
    """InfluxDB 3.6.0 Core; the path of version 2 keeps nothing if a line is bad."""

    write_seconds: float = 0.95
    most_columns: int = 500
    most_databases: int = 5
    databases: set[str] = field(default_factory=set)

    def get(self, path: str, login: str | None) -> Answer:
        if login not in (f"Bearer {TOKEN}", f"Token {TOKEN}"):
            return _plain(401)
        body = json.dumps({"version": "3.6.0", "revision": "7e07b134f4"}, separators=(",", ":"))
        kind = (("content-type", "application/json"), ("x-influxdb-build", "Core"))
        return Answer(200, (*kind, ("x-influxdb-version", "3.6.0"), *_ANY, _length(body, "content-length")), body)

    def write(
        self, path: str, query: dict[str, str], login: str | None, lines: Sequence[str], size: int
    ) -> Answer:
        is_native = path == "/api/v3/write_lp"
        if login not in (f"Bearer {TOKEN}", f"Token {TOKEN}"):
            return _plain(401)
        if size > _LARGEST:
            return _plain(500, f"max request size ({_LARGEST} bytes) exceeded")
        if not lines:
            return _plain(400, EMPTY if is_native else _invalid(EMPTY))
        database = query.get("bucket") or query["db"]
        if database not in self.databases and len(self.databases) >= self.most_databases:
            said = f"Adding a new database would exceed limit of {self.most_databases} databases"
            if is_native:
                return _plain(422, json.dumps({"error": said}, separators=(",", ":")))
            return _plain(400, _invalid(f"catalog update error: {said}"))
        points = [_point(line) for line in lines]
        if is_native:
            self.databases.add(database)
            return self._partly(database, lines, points)
        before = {table: dict(columns) for table, columns in self.columns.items()}
        for point in points:
            if point is None or self._wrong(database, point):
                self.columns = before
                return _plain(400, _invalid("parsing for line protocol failed"))
            self.columns.setdefault((database, point.table), {"time": "time"}).update(_columns(point))
        self.databases.add(database)
        for point in points:
            if point is not None:
                self.store(database, point)
        return Answer(204, _ANY)

    def _partly(self, database: str, lines: Sequence[str], points: Sequence[Point | None]) -> Answer:
        wrong: list[dict[str, object]] = []
        for number, (line, point) in enumerate(zip(lines, points, strict=True), 1):
            said = "No fields were provided" if point is None else self._wrong(database, point)
            if said:
                wrong.append({"error_message": said, "line_number": number, "original_line": line[:20]})
            elif point is not None:
                self.store(database, point)
        if not wrong:
            return Answer(204, _ANY)
        body = {"error": "partial write of line protocol occurred", "data": wrong}
        status = 422 if "limit of" in str(wrong[0]["error_message"]) else 400
        return _plain(status, json.dumps(body, separators=(",", ":")))

    def _wrong(self, database: str, point: Point) -> str:
        if (clash := self.clash(database, point)) is not None:
            name, there, here = clash
            return f"invalid column type for column '{name}', expected {_iox(there)}, got {_iox(here)}"
        columns = self.columns.get((database, point.table), {"time": "time"})
        if len(columns | _columns(point)) > self.most_columns:
            most = self.most_columns
            return f"Update to schema would exceed number of columns per table limit of {most} columns"
        return ""


_BUILD = (("X-Influxdb-Build", "OSS"), ("X-Influxdb-Version", "dev"))
_ANY = (("access-control-allow-origin", "*"),)


def _length(body: str, name: str = "Content-Length") -> tuple[str, str]:
    return name, str(len(body.encode()))


def _platform(status: int, code: str, message: str) -> Answer:
    body = json.dumps({"code": code, "message": message}, separators=(",", ":"), ensure_ascii=False)
    kind = ("Content-Type", "application/json; charset=utf-8")
    return Answer(status, (kind, *_BUILD, ("X-Platform-Error-Code", code), _length(body)), body)


def _plain(status: int, body: str = "") -> Answer:
    return Answer(status, (_length(body, "content-length"),), body)


def _invalid(message: str) -> str:
    return json.dumps({"code": "invalid", "message": f"write buffer error: {message}"}, separators=(",", ":"))


def _columns(point: Point) -> dict[str, str]:
    return {
        **{name: "tag" for name, _ in point.tags},
        **{name: _kind(value) for name, value in point.fields.items()},
    }


def _iox(kind: str) -> str:
    return "iox::column_type::tag" if kind == "tag" else f"iox::column_type::field::{kind}"


def _series(point: Point) -> str:
    head = ",".join([point.table, *(f"{name}={value}" for name, value in point.tags)])
    return f"{head} at {_date(point.time / 1000)}"


def _date(at: float) -> str:
    found = datetime.fromtimestamp(round(at, 3), UTC)
    return f"{found:%Y-%m-%dT%H:%M:%S}{f'.{found.microsecond:06}'.rstrip('0').rstrip('.')}Z"


def _hours(seconds: float) -> str:
    return f"{int(seconds // 3600)}h{int(seconds % 3600 // 60)}m{int(seconds % 60)}s"


@contextmanager
def serving(database: StandIn, port: int = 0) -> Iterator[str]:
    """A stand-in on loopback; its URL. A write that takes its time does not hold up others."""
    lock, over = threading.Lock(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            self._answer((gzip.decompress(body) if is_packed else body).decode())

        def _answer(self, body: str) -> None:
            with lock:
                found, seconds = database.answer(self.command, self.path, self.headers["Authorization"], body)
            over.wait(seconds)
            self.send_response_only(found.status, found.reason)
            for name, value in found.headers:
                self.send_header(name, value)
            with suppress(ConnectionError):  # a client that waits no longer
                self.end_headers()
                self.wfile.write(found.body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that went away needs no answer."""

    with Server(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            over.set()
            server.shutdown()
            thread.join()
