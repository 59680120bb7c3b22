"""What each route answers, how long a read may take, and that all of it is proper WSGI."""

import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import product
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from prometheus_client.exposition import choose_encoder

from ccl_exporter.errors import UsageError
from ccl_exporter.exporter.web.app import App, Scrape, accepts_gzip, allowed_hosts, read_timeout
from ccl_exporter.exporter.web.app import HttpResponse as Said

BODY = b"ccl_up 1.0\n" * 200
TIMEOUT_HEADER = "HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS"


@dataclass
class Answer:
    status: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Bench:
    """An app over made-up metrics, with what it asked for."""

    asked: list[tuple[float, str]] = field(default_factory=list)

    probed: list[tuple[str, tuple[str, ...], bool]] = field(default_factory=list)
    json_asked: list[tuple[str, bool]] = field(default_factory=list)
    lifecycle: bool = False
    error: str = ""
    lost: Sequence[str] = ()
    pending: bool = False
    hosts: frozenset[str] = frozenset()
    reloads: int = 0
    pages: list[tuple[str, str, bool]] = field(default_factory=list)

    def metrics(self, scrape: Scrape) -> Said:
        self.asked.append((scrape.timeout, scrape.accept))
        return Said(BODY, choose_encoder(scrape.accept)[1])

    def probe(self, target: str, scrape: Scrape, debug: bool) -> Said:
        if target != "garage":
            raise UsageError("this target is not in the configuration")
        self.probed.append((target, scrape.modules, debug))
        return self.metrics(scrape)

    def charger_json(self, name: str, with_variables: bool) -> Said | None:
        self.json_asked.append((name, with_variables))
        return Said(b"{}", "application/json") if name == "garage" else None

    def targets(self) -> Sequence[tuple[str, Mapping[str, str]]] | None:
        if self.pending:
            return None
        return [("garage", {"site": "north"}), ("attic", {})]

    def config(self) -> str:
        return "chargers: {}\n"

    def ready(self) -> bool:
        return not self.error

    def down(self) -> Sequence[str]:
        return self.lost

    def reload(self) -> None:
        self.reloads += 1
        if self.error:
            raise UsageError(self.error)

    def page(self, query: str, with_history: bool) -> bytes:
        self.pages.append(("", query, with_history))
        return b'<a href="metrics">1.2.3</a>'

    def charger_page(self, name: str, query: str, with_history: bool) -> bytes | None:
        self.pages.append((name, query, with_history))
        return b"all variables" if name in ("garage", "[::1]:80", "é") else None

    def ask(self, path: str, method: str = "GET", **environ: str) -> Answer:
        """One request, through the checks of the standard library."""
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started.append((status, headers))
            return BytesIO().write

        request: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "wsgi.errors": sys.stderr,
            **environ,
        }
        setup_testing_defaults(request)
        # The check wants a query; without one it warns.
        request.setdefault("QUERY_STRING", "")
        answer = validator(App(self, self.lifecycle, self.hosts))(request, start_response)
        try:
            body = b"".join(answer)
        finally:
            answer.close()  # type: ignore[attr-defined]  # the check's own iterator has one
        [(status, headers)] = started
        assert len(headers) == len({name.lower() for name, _ in headers})
        return Answer(status, dict(headers), body)


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestRoutes:
    def test_metrics_are_what_was_read(self, bench: Bench) -> None:
        answer = bench.ask("/metrics")

        assert (answer.status, answer.body) == ("200 OK", BODY)
        assert len(bench.asked) == 1

    def test_the_exporter_is_healthy_without_asking_the_charger(self, bench: Bench) -> None:
        answer = bench.ask("/-/healthy")

        assert (answer.status, answer.body) == ("200 OK", b"Healthy\n")
        assert bench.asked == []

    def test_the_exporter_is_not_healthy_while_a_worker_cannot_be_restarted(self, bench: Bench) -> None:
        bench.lost = ["influxdb_send:home", "mqtt"]
        answer = bench.ask("/-/healthy")

        assert answer.status == "503 Service Unavailable"
        assert b": influxdb_send:home, mqtt\n" in answer.body

    def test_targets_are_not_listed_before_the_inventory_was_read(self, bench: Bench) -> None:
        """An empty list would make Prometheus forget the targets that it has."""
        bench.pending = True

        assert bench.ask("/sd").status == "503 Service Unavailable"

    def test_the_first_page_names_the_version_and_leads_to_the_metrics(self, bench: Bench) -> None:
        answer = bench.ask("/")

        assert answer.status == "200 OK"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert b"1.2.3" in answer.body
        assert b'href="metrics"' in answer.body
        assert bench.asked == []

    @pytest.mark.parametrize("name", ["garage", "[::1]:80", "é"])
    def test_the_page_of_a_charger_is_found_by_its_name(self, bench: Bench, name: str) -> None:
        answer = bench.ask(f"/charger/{name}".encode().decode("latin-1"), QUERY_STRING="q=AE")

        assert (answer.status, answer.body) == ("200 OK", b"all variables")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert bench.pages == [(name, "q=AE", False)]

    @pytest.mark.parametrize("name", ["", "nobody", "garage/", "../", "\xff"])
    def test_a_charger_that_there_is_not_has_no_page(self, bench: Bench, name: str) -> None:
        assert bench.ask(f"/charger/{name}").status == "404 Not Found"

    @pytest.mark.parametrize("path", ["/", "/charger/garage"])
    def test_history_is_shown_on_this_machine_only(self, bench: Bench, path: str) -> None:
        bench.ask(path, HTTP_HOST="localhost:9986", REMOTE_ADDR="127.0.0.1")
        bench.ask(path, HTTP_HOST="evse:9986", REMOTE_ADDR="192.0.2.7")

        assert [with_history for _, _, with_history in bench.pages] == [True, False]

    def test_anything_else_is_not_found_and_asks_nobody(self, bench: Bench) -> None:
        paths = ("/metric", "/metrics/", "/Metrics", "/-/healthy/x", "/html/log", "//", "/é")
        found = {path: bench.ask(path.encode().decode("latin-1")).status for path in paths}

        assert found == dict.fromkeys(paths, "404 Not Found")
        assert bench.asked == []

    def test_a_target_that_is_not_configured_is_not_read(self, bench: Bench) -> None:
        bench.ask("/metrics", QUERY_STRING="target=192.0.2.1")

        assert bench.asked == [(10.0, "")]

    def test_nothing_can_be_written(self, bench: Bench) -> None:
        requests = [*product(("/", "/metrics", "/-/healthy"), ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"))]
        answers = {request: bench.ask(*request) for request in requests}

        assert {request: (answer.status, answer.headers["Allow"]) for request, answer in answers.items()} == (
            dict.fromkeys(requests, ("405 Method Not Allowed", "GET, HEAD"))
        )
        assert bench.asked == []

    @pytest.mark.parametrize("encoding", ["identity", "gzip"])
    def test_head_has_the_headers_of_get_and_no_body(self, bench: Bench, encoding: str) -> None:
        for path in ("/", "/metrics", "/-/healthy", "/nowhere"):
            got = bench.ask(path, HTTP_ACCEPT_ENCODING=encoding)
            head = bench.ask(path, "HEAD", HTTP_ACCEPT_ENCODING=encoding)

            assert (head.status, head.headers) == (got.status, got.headers), path
            assert head.body == b"", path

    @pytest.mark.parametrize("encoding", ["identity", "gzip"])
    def test_the_length_is_that_of_the_body(self, bench: Bench, encoding: str) -> None:
        requests = [*product(("/", "/metrics", "/-/healthy", "/nowhere"), ("GET", "POST"))]
        answers = {request: bench.ask(*request, HTTP_ACCEPT_ENCODING=encoding) for request in requests}

        assert {request: answer.headers["Content-Length"] for request, answer in answers.items()} == {
            request: str(len(answer.body)) for request, answer in answers.items()
        }


class TestContent:
    @pytest.mark.parametrize(
        ("accept", "begins"),
        [
            pytest.param("", "text/plain; version=0.0.4", id="nothing asked"),
            pytest.param("*/*", "text/plain; version=0.0.4", id="anything"),
            pytest.param("text/html", "text/plain; version=0.0.4", id="a browser"),
            pytest.param("text/plain", "text/plain; version=0.0.4", id="text"),
            pytest.param(
                "application/openmetrics-text; version=1.0.0",
                "application/openmetrics-text; version=1.0.0",
                id="OpenMetrics",
            ),
        ],
    )
    def test_the_type_is_that_of_the_exposition(self, bench: Bench, accept: str, begins: str) -> None:
        environ = {"HTTP_ACCEPT": accept} if accept else {}

        answer = bench.ask("/metrics", **environ)

        assert answer.headers["Content-Type"].startswith(begins)
        assert bench.asked == [(10.0, accept)]

    def test_a_cache_in_between_learns_what_the_answer_depends_on(self, bench: Bench) -> None:
        for encoding in ("identity", "gzip"):
            answer = bench.ask("/metrics", HTTP_ACCEPT_ENCODING=encoding)

            assert answer.headers["Vary"] == "Accept, Accept-Encoding"

    def test_a_compressed_answer_is_the_same_answer(self, bench: Bench) -> None:
        answer = bench.ask("/metrics", HTTP_ACCEPT_ENCODING="gzip")

        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(answer.body) == BODY

    def test_compressing_twice_gives_the_same_bytes(self, bench: Bench) -> None:
        one, other = (bench.ask("/metrics", HTTP_ACCEPT_ENCODING="gzip") for _ in range(2))

        assert one.body == other.body

    def test_an_answer_that_is_not_compressed_does_not_say_so(self, bench: Bench) -> None:
        assert "Content-Encoding" not in bench.ask("/metrics").headers

    @pytest.mark.parametrize(
        ("header", "accepted"),
        [
            pytest.param("gzip", True, id="gzip"),
            pytest.param("GZIP", True, id="capitals"),
            pytest.param("gzip, deflate, br", True, id="first of several"),
            pytest.param("deflate , gzip", True, id="last of several"),
            pytest.param("gzip;q=1", True, id="q=1"),
            pytest.param("gzip;q=1.000", True, id="q=1.000"),
            pytest.param("gzip; q=0.5", True, id="q=0.5"),
            pytest.param("gzip ;q=0.001", True, id="q=0.001"),
            pytest.param("*", True, id="anything"),
            pytest.param("*;q=0.1", True, id="anything a little"),
            pytest.param("identity;q=0.5, *", True, id="anything else"),
            pytest.param("*;q=0, gzip", True, id="only gzip"),
            pytest.param("identity, *;q=0, gzip;q=0.5", True, id="only gzip and plain"),
            pytest.param("", False, id="nothing"),
            pytest.param("identity", False, id="plain"),
            pytest.param("deflate, br", False, id="others"),
            pytest.param("gzip;q=0", False, id="q=0"),
            pytest.param("gzip; q=0.0", False, id="q=0.0"),
            pytest.param("gzip;q=0.000", False, id="q=0.000"),
            pytest.param("gzip;Q=0", False, id="Q=0"),
            pytest.param("gzip;q=0, *", False, id="anything but gzip"),
            pytest.param("*, gzip;q=0", False, id="anything but gzip, named last"),
            pytest.param("*;q=0", False, id="nothing at all"),
            pytest.param("notgzip", False, id="a longer name"),
            pytest.param(",,;", False, id="nonsense"),
        ],
    )
    def test_gzip_is_sent_to_those_who_take_it(self, header: str, accepted: bool) -> None:
        assert accepts_gzip(header) is accepted


class TestTimeout:
    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            pytest.param("10", 9.5, id="whole seconds"),
            pytest.param("10.000000", 9.5, id="as Prometheus writes it"),
            pytest.param("2.5", 2.0, id="half a second"),
            pytest.param("0.6", pytest.approx(0.1), id="just enough"),
            pytest.param("0.1", 0.1, id="less than the offset"),
            pytest.param("120", 119.5, id="two minutes"),
        ],
    )
    def test_a_read_ends_half_a_second_before_the_scraper_gives_up(self, header: str, seconds: float) -> None:
        assert read_timeout({TIMEOUT_HEADER: header}) == seconds

    def test_a_word_that_makes_no_sense_is_not_heard(self) -> None:
        words = ("", "soon", "10s", "nan", "inf", "-inf", "-5", "0", "1e9", "1,5", "0x10")

        assert [word for word in words if read_timeout({TIMEOUT_HEADER: word}) != 10] == []

    def test_without_a_word_it_is_ten_seconds(self) -> None:
        assert read_timeout({}) == 10

    def test_the_header_reaches_the_read(self, bench: Bench) -> None:
        bench.ask("/metrics", **{TIMEOUT_HEADER: "5"})

        assert bench.asked == [(4.5, "")]


class TestProbe:
    def test_a_configured_target_is_probed(self, bench: Bench) -> None:
        answer = bench.ask("/probe", QUERY_STRING="target=garage")

        assert answer.status == "200 OK"
        assert bench.probed == [("garage", ("core", "variables"), False)]

    @pytest.mark.parametrize("module", ["core", "variables"])
    def test_a_module_may_be_asked_for_alone(self, bench: Bench, module: str) -> None:
        bench.ask("/probe", QUERY_STRING=f"target=garage&module={module}&debug=true")

        assert bench.probed == [("garage", (module,), True)]

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "target=",
            "target=192.0.2.1",
            "target=garage&target=garage",
            "target=garage&module=everything",
            "target=garage&module=variables&module=core",
            "target=%FF",
            "&".join(f"a{number}=1" for number in range(50)),
        ],
    )
    def test_anything_else_is_a_bad_request_and_reads_nothing(self, bench: Bench, query: str) -> None:
        answer = bench.ask("/probe", QUERY_STRING=query)

        assert answer.status == "400 Bad Request"
        assert not bench.asked


class TestJson:
    def test_a_charger_is_asked_for_by_its_name(self, bench: Bench) -> None:
        answers = [
            bench.ask(f"/charger/{name}.json") for name in ("garage", "attic", "é".encode().decode("latin-1"))
        ]

        assert [answer.status for answer in answers] == ["200 OK", *["404 Not Found"] * 2]
        assert bench.json_asked == [("garage", False), ("attic", False), ("é", False)]

    def test_variables_are_there_on_demand(self, bench: Bench) -> None:
        bench.ask("/charger/garage.json", QUERY_STRING="variables=true")

        assert bench.json_asked == [("garage", True)]

    def test_nothing_can_be_written(self, bench: Bench) -> None:
        assert bench.ask("/charger/garage.json", "PUT").status == "405 Method Not Allowed"
        assert bench.json_asked == []


class TestRunning:
    def test_discovery_lists_targets_with_their_labels(self, bench: Bench) -> None:
        answer = bench.ask("/sd")

        assert answer.headers["Content-Type"] == "application/json"
        assert json.loads(answer.body) == [
            {"targets": ["garage"], "labels": {"site": "north"}},
            {"targets": ["attic"], "labels": {}},
        ]

    @pytest.mark.parametrize(
        ("method", "lifecycle", "error", "status"),
        [
            ("GET", True, "", "405 Method Not Allowed"),
            ("POST", False, "", "403 Forbidden"),
            ("POST", True, "", "200 OK"),
            ("POST", True, "line 3 is wrong", "500 Internal Server Error"),
        ],
    )
    def test_a_reload_is_a_post_that_a_flag_allows(
        self, method: str, lifecycle: bool, error: str, status: str
    ) -> None:
        answer = Bench(lifecycle=lifecycle, error=error).ask("/-/reload", method)

        assert answer.status == status
        assert error in answer.body.decode()

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"HTTP_ORIGIN": "http://evse:9986"}, "200 OK"),
            ({"HTTP_ORIGIN": "http://EVSE:9986", "HTTP_SEC_FETCH_SITE": "same-origin"}, "200 OK"),
            ({"HTTP_SEC_FETCH_SITE": "none"}, "200 OK"),
            ({"HTTP_ORIGIN": "https://evse:9986", "wsgi.url_scheme": "https"}, "200 OK"),
            ({"HTTP_ORIGIN": "https://evse:9986"}, "403 Forbidden"),
            ({"HTTP_ORIGIN": "http://evse"}, "403 Forbidden"),
            ({"HTTP_ORIGIN": "http://evil.example"}, "403 Forbidden"),
            ({"HTTP_ORIGIN": "null"}, "403 Forbidden"),
            ({"HTTP_ORIGIN": ""}, "403 Forbidden"),
            ({"HTTP_SEC_FETCH_SITE": "cross-site"}, "403 Forbidden"),
            ({"HTTP_SEC_FETCH_SITE": "same-site"}, "403 Forbidden"),
        ],
    )
    def test_a_page_of_another_site_reloads_nothing(self, headers: dict[str, str], status: str) -> None:
        bench = Bench(lifecycle=True)

        assert bench.ask("/-/reload", "POST", HTTP_HOST="evse:9986", **headers).status == status
        assert bench.reloads == (status == "200 OK")

    @pytest.mark.parametrize(
        ("allowed", "host", "answered"),
        [
            ("evse", "evse", True),
            ("evse", "EVSE:9986", True),
            ("evse", "evse.:80", True),
            ("EVSE.", "evse", True),
            ("a, evse:9986", "evse:9986", True),
            ("[::1]", "[::1]:9986", True),
            ("192.0.2.1", "192.0.2.1:9986", True),
            ("evse:9986", "evse", False),
            ("evse:9986", "evse:80", False),
            ("evse", "evil.example", False),
            ("evse", "evse.evil.example", False),
            ("evse", "not-evse", False),
            ("evse", "", False),
            ("evse", "evse:x", False),
        ],
    )
    def test_only_allowed_hosts_are_answered(self, allowed: str, host: str, answered: bool) -> None:
        bench = Bench(hosts=allowed_hosts([allowed, "other"]))
        statuses = {bench.ask(path, HTTP_HOST=host).status for path in ("/", "/metrics", "/-/healthy", "/config")}

        assert statuses == {"200 OK" if answered else "421 Misdirected Request"}

    @pytest.mark.parametrize("text", ["http://evse", "evse/", "::1", "a b", "evse:x", "ev*se"])
    def test_what_is_no_host_cannot_be_allowed(self, text: str) -> None:
        with pytest.raises(UsageError, match="is not a host"):
            allowed_hosts(["evse", text])

    def test_it_is_ready_until_it_stops(self) -> None:
        assert Bench().ask("/-/ready").status == "200 OK"
        assert Bench(error="stopping").ask("/-/ready").status == "503 Service Unavailable"

    def test_the_page_may_load_nothing_from_elsewhere(self, bench: Bench) -> None:
        assert "default-src 'none'" in bench.ask("/").headers["Content-Security-Policy"]


@pytest.mark.parametrize(("old", "new"), [("meaning", "core"), ("walk", "variables")])
def test_a_module_of_version_0_1_is_still_probed(old: str, new: str) -> None:
    bench = Bench()
    bench.ask("/probe", QUERY_STRING=f"target=garage&module={old}")

    assert bench.probed == [("garage", (new,), False)]
