"""TLS and logins over real sockets, with cheroot as the service runs it; the same files under `promtool`."""

import base64
import contextlib
import http.client
import os
import re
import socket
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import trustme
from helpers.support import Start, server

from ccl_exporter.errors import UsageError
from ccl_exporter.exporter.web.security import WebSecurity
from ccl_exporter.exporter.web.server import WebServer

WORKERS = 4
PAIR = "cert_file: server.crt, key_file: server.key"
REFUSED = (ssl.SSLError, ConnectionError)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    version: str | None = None
    certificate: bytes | None = None


@dataclass
class Site:
    """A folder with a configuration, certificates of an authority, and a server that runs from them."""

    folder: Path
    ca: trustme.CA = field(default_factory=trustme.CA)
    port: int = 0
    reads: int = 0
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ca.cert_pem.write_to_path(self.folder / "ca.crt")
        self.renew()

    @property
    def path(self) -> Path:
        return self.folder / "web.yml"

    def renew(self) -> bytes:
        """Write a new pair, each file in one step as ACME clients do, and return the certificate."""
        pair = self.ca.issue_cert("localhost", "127.0.0.1")
        (self.folder / "new").write_bytes(pair.private_key_pem.bytes())
        (self.folder / "new").rename(self.folder / "server.key")
        (self.folder / "new").write_bytes(pair.cert_chain_pems[0].bytes())
        (self.folder / "new").rename(self.folder / "server.crt")
        return ssl.PEM_cert_to_DER_cert(pair.cert_chain_pems[0].bytes().decode())

    def answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """An application of three endpoints, that counts the reads of its metrics."""
        status = "200 OK" if environ["PATH_INFO"] in ("/", "/metrics", "/-/healthy") else "404 Not Found"
        self.reads += environ["PATH_INFO"] == "/metrics"
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else b"ccl_up 1\n"
        start_response(status, [("Content-Type", "text/plain"), ("Content-Length", "9")])
        return [body]

    def complain(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        self.complaints.append(msg)

    @contextlib.contextmanager
    def serving(self, text: str, timeout: float = 30) -> Iterator["Site"]:
        self.path.write_text(text, encoding="utf-8")
        security = WebSecurity(self.path)
        web = WebServer(
            ("127.0.0.1", 0),
            security.wrap(self.answer),
            numthreads=WORKERS,
            max=WORKERS,
            timeout=timeout,
            shutdown_timeout=1,
        )
        web.ssl_adapter = security.ssl_adapter()
        web.error_log = self.complain  # type: ignore[method-assign] # cheroot: "override as desired"
        web.prepare()
        self.port = web.bind_addr[1]
        thread = threading.Thread(target=web.serve)
        thread.start()
        try:
            yield self
        finally:
            web.stop()
            thread.join()

    def trusting(self, identity: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """A client's TLS that trusts the authority, perhaps with a certificate of its own."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if identity is not None:
            identity.configure_cert(context)
        return context

    def https(self, context: ssl.SSLContext | None = None, path: str = "/metrics") -> Answer:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=context or self.trusting(), timeout=20
        )
        with contextlib.closing(connection):
            connection.connect()
            assert isinstance(connection.sock, ssl.SSLSocket)
            version, certificate = connection.sock.version(), connection.sock.getpeercert(binary_form=True)
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read(), version, certificate)

    def http(self, path: str = "/metrics", method: str = "GET", authorization: str | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            headers = {} if authorization is None else {"Authorization": authorization}
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def raw(self, content: bytes) -> bytes:
        """What comes back when these bytes are sent, to the end of the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            found = b""
            try:
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65536):
                    found += part
            except TimeoutError:
                raise
            except OSError:
                pass  # the server has had enough before we were done
            return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    assert site.complaints == []


def tls(more: str = "", pair: str = PAIR) -> str:
    return f"tls_server_config: {{{pair}{', ' if more else ''}{more}}}\n"


def clients(auth: str, more: str = "") -> str:
    return tls(f"client_ca_file: ca.crt, client_auth_type: {auth}{', ' if more else ''}{more}")


def user(name: str, password: str, cost: int = 4) -> str:
    return f"basic_auth_users: {{{name}: {bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()}}}\n"


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


def can_speak_tls_1_1(context: ssl.SSLContext, site: Site) -> bool:
    """Whether OpenSSL as it is here would agree on TLS 1.1 with a server that takes it."""
    agreeing = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    agreeing.load_cert_chain(site.folder / "server.crt", site.folder / "server.key")
    agreeing.minimum_version = ssl.TLSVersion.TLSv1_1
    agreeing.set_ciphers("ALL:@SECLEVEL=0")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(down, up, server_hostname="localhost")
    other = agreeing.wrap_bio(up, down, server_side=True)
    for _ in range(6):
        try:
            for side in (client, other):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        except ssl.SSLError:
            return False
    return client.version() == "TLSv1.1"


class TestVersions:
    @pytest.mark.parametrize(
        ("maximum", "spoken"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
    )
    def test_https_is_spoken_in_the_versions_of_today(
        self, site: Site, maximum: ssl.TLSVersion, spoken: str
    ) -> None:
        context = site.trusting()
        context.maximum_version = maximum
        with site.serving(tls()):
            answer = site.https(context)

        assert (answer.status, answer.body, answer.version) == (200, b"ccl_up 1\n", spoken)

    def test_tls_1_1_is_refused(self, site: Site) -> None:
        context = site.trusting()
        with warnings.catch_warnings(), site.serving(tls()):
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
            context.set_ciphers("ALL:@SECLEVEL=0")
            if not can_speak_tls_1_1(context, site):
                pytest.skip(f"{ssl.OPENSSL_VERSION} does not speak TLS 1.1 at all: its refusal is not shown")
            with pytest.raises(REFUSED):
                site.https(context)

        assert site.reads == 0

    def test_the_minimum_and_maximum_of_the_file_hold(self, site: Site) -> None:
        old, new = site.trusting(), site.trusting()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        new.minimum_version = ssl.TLSVersion.TLSv1_3
        for text, good, bad in (("min_version: TLS13", new, old), ("max_version: TLS12", old, new)):
            with site.serving(tls(text)):
                assert site.https(good).status == 200
                with pytest.raises(REFUSED):
                    site.https(bad)

    def test_a_cipher_that_is_not_named_is_not_spoken(self, site: Site) -> None:
        context = site.trusting()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with site.serving(tls("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]")):
            assert site.https(context).status == 200
            context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
            with pytest.raises(REFUSED):
                site.https(context)

    def test_a_curve_that_is_not_named_is_not_spoken(self, site: Site) -> None:
        context = site.trusting()
        with site.serving(tls("curve_preferences: [CurveP384]")):
            assert site.https(context).status == 200
            context.set_ecdh_curve("X25519")
            with pytest.raises(REFUSED):
                site.https(context)


class TestClientCertificates:
    def test_a_required_client_certificate_must_be_valid(self, site: Site) -> None:
        stranger = trustme.CA().issue_cert("prometheus")
        with site.serving(clients("RequireAndVerifyClientCert")):
            assert site.https(site.trusting(site.ca.issue_cert("prometheus"))).status == 200
            for context in (site.trusting(), site.trusting(stranger)):
                with pytest.raises(REFUSED):
                    site.https(context)

        assert site.reads == 1

    def test_an_optional_client_certificate_must_be_valid(self, site: Site) -> None:
        stranger = trustme.CA().issue_cert("prometheus")
        with site.serving(clients("VerifyClientCertIfGiven")):
            assert site.https(site.trusting(site.ca.issue_cert("prometheus"))).status == 200
            assert site.https().status == 200
            with pytest.raises(REFUSED):
                site.https(site.trusting(stranger))

        assert site.reads == 2

    def test_an_intermediate_authority_is_trusted_without_its_root(self, site: Site) -> None:
        between = site.ca.create_child_ca()
        (site.folder / "ca.crt").write_bytes(between.cert_pem.bytes())
        with site.serving(clients("RequireAndVerifyClientCert")):
            assert site.https(site.trusting(between.issue_cert("prometheus"))).status == 200
            with pytest.raises(REFUSED):
                site.https(site.trusting(site.ca.issue_cert("prometheus")))

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    @pytest.mark.parametrize(
        ("allowed", "name", "let_in"),
        [
            pytest.param("prometheus.example", "prometheus.example", True, id="a host"),
            pytest.param("other.example", "prometheus.example", False, id="another host"),
            pytest.param("example", "prometheus.example", False, id="a part of a host"),
            pytest.param("prometheus.example", "*.example", False, id="a wildcard for it"),
            pytest.param("192.0.2.1", "192.0.2.1", True, id="an address"),
            pytest.param("2001:db8::1", "2001:db8::1", True, id="an IPv6 address"),
            pytest.param("192.0.2.2", "192.0.2.1", False, id="another address"),
            pytest.param("scraper@example.org", "scraper@example.org", True, id="a mailbox"),
        ],
    )
    def test_only_names_on_the_list_are_let_in(
        self, site: Site, version: ssl.TLSVersion, allowed: str, name: str, let_in: bool
    ) -> None:
        context = site.trusting(site.ca.issue_cert(name))
        context.maximum_version = version
        text = clients("RequireAndVerifyClientCert", f"client_allowed_sans: ['{allowed}', nobody]")
        with site.serving(text):
            if let_in:
                assert site.https(context).status == 200
            else:
                with pytest.raises(REFUSED):
                    site.https(context)

        assert site.reads == let_in

    def test_a_connection_of_before_certificates_were_required_is_refused(self, site: Site) -> None:
        with site.serving(tls()):
            connection = http.client.HTTPSConnection("127.0.0.1", site.port, context=site.trusting(), timeout=20)
            with contextlib.closing(connection):
                found = []
                for change in (site.renew, partial(site.path.write_text, clients("RequireAndVerifyClientCert"))):
                    connection.request("GET", "/metrics")
                    kept, answer = connection.sock, connection.getresponse()
                    answer.read()
                    found.append(answer.status)
                    change()
                connection.request("GET", "/metrics")
                assert connection.sock is kept
                answer = connection.getresponse()
                found.append(answer.status)

        assert found == [200, 200, 421]
        assert answer.getheader("Connection") == "close"

    def test_a_name_that_leaves_the_list_is_refused_from_the_next_connection_on(self, site: Site) -> None:
        text = clients("RequireAndVerifyClientCert", "client_allowed_sans: [one]")
        context = site.trusting(site.ca.issue_cert("one"))
        with site.serving(text):
            assert site.https(context).status == 200
            site.path.write_text(text.replace("[one]", "[two]"))
            with pytest.raises(REFUSED):
                site.https(context)


class TestRenewal:
    def test_the_next_connection_has_the_renewed_certificate(self, site: Site) -> None:
        with site.serving(tls()):
            before = site.https().certificate
            renewed = site.renew()
            after = site.https().certificate

        assert before != after == renewed

    def test_a_certificate_behind_a_link_that_is_moved_is_renewed(self, site: Site) -> None:
        # As Kubernetes does with secrets: the files stay where they are, a folder in their path is swapped.
        old, new = site.folder / "old", site.folder / "new-one"
        old.mkdir()
        new.mkdir()
        for folder in (old, new):
            site.renew()
            for name in ("server.crt", "server.key"):
                (site.folder / name).rename(folder / name)
        (site.folder / "..data").symlink_to(old)
        with site.serving(tls(pair="cert_file: ..data/server.crt, key_file: ..data/server.key")):
            before = site.https().certificate
            (site.folder / "link").symlink_to(new)
            (site.folder / "link").rename(site.folder / "..data")
            after = site.https().certificate

        assert before != after

    @pytest.mark.parametrize(
        "damage",
        [
            pytest.param(lambda site: (site.folder / "server.crt").unlink(), id="gone"),
            pytest.param(lambda site: (site.folder / "server.crt").write_text("half a cert"), id="half written"),
            pytest.param(
                lambda site: site.ca.issue_cert("x").private_key_pem.write_to_path(site.folder / "server.key"),
                id="only the key so far",
            ),
            pytest.param(lambda site: site.path.write_text("tls_server_config: {"), id="a broken file"),
            pytest.param(lambda site: site.path.write_text(""), id="no TLS any more"),
            pytest.param(lambda site: site.path.unlink(), id="no file"),
        ],
    )
    def test_a_broken_renewal_keeps_the_old_and_is_said_once_at_its_begin_and_end(
        self, site: Site, caplog: pytest.LogCaptureFixture, damage: Callable[[Site], None]
    ) -> None:
        with site.serving(tls()):
            before = site.https().certificate
            damage(site)
            during = [site.https().certificate for _ in range(3)]
            warned = [record.levelname for record in caplog.records]
            site.path.write_text(tls())
            renewed = site.renew()
            after = site.https().certificate

        assert during == [before] * 3
        assert warned == ["WARNING"]
        assert after == renewed
        assert [r.levelname for r in caplog.records if r.levelname != "INFO"] == ["WARNING", "WARNING"]
        assert "PRIVATE" not in caplog.text

    def test_lost_rights_keep_the_old_until_they_are_back(self, site: Site, start: Start) -> None:
        site.path.write_text(tls())
        # Root reads whatever it wants, unless it gives that up.
        within = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
        flags = ("--web.listen-address", "127.0.0.1:0", "--web.config.file", str(site.path))
        command = start("serve", "http://127.0.0.1:1", *flags, within=within)
        site.port = int(command.line(r"https://127\.0\.0\.1:(\d+)/metrics")[1])
        before = site.https(path="/-/healthy").certificate
        (site.folder / "server.key").chmod(0)
        during = site.https(path="/-/healthy").certificate
        command.wait_for_log(r"is invalid, the running one is kept: .*server\.key")
        (site.folder / "server.key").chmod(0o600)
        after = site.https(path="/-/healthy").certificate
        command.wait_for_log("can be used again")

        assert before == during == after
        assert sum("web configuration" in line for line in command.log) == 2

    def test_scrapers_notice_nothing_of_many_renewals(self, site: Site) -> None:
        over, failures, answers = threading.Event(), [], []

        def scrape() -> None:
            while not over.is_set():
                try:
                    answers.append(site.https().status)
                except OSError as error:
                    failures.append(error)

        with site.serving(tls()):
            threads = [threading.Thread(target=scrape) for _ in range(4)]
            for thread in threads:
                thread.start()
            for _ in range(15):
                renewed = site.renew()
                assert site.https().certificate == renewed
            over.set()
            for thread in threads:
                thread.join()

        assert failures == []
        assert set(answers) == {200}


class TestStrangers:
    def test_plain_http_gets_a_hint_and_does_not_block_others(self, site: Site) -> None:
        with site.serving(tls()):
            for _ in range(3 * WORKERS):
                answer = site.http()
                assert (answer.status, answer.body) == (400, b"This port speaks only HTTPS.\n")
            assert site.https().status == 200

        assert site.reads == 1

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(b"\x00" * 100, id="zeros"),
            pytest.param(b"OPTIONS / HTTP/1.1\r\n\r\n", id="a method OpenSSL does not know"),
            pytest.param(b"CONNECT a:1 HTTP/1.1\r\n\r\n", id="a proxy's method"),
            pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 505, id="a broken hello"),
            pytest.param(b"\x16\x03\x01\x40\x00", id="half a hello"),
            pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="SSH"),
            pytest.param(os.urandom(20_000), id="noise"),
        ],
    )
    def test_nonsense_does_not_block_others(self, site: Site, content: bytes) -> None:
        with site.serving(tls()):
            for _ in range(3 * WORKERS):
                assert b"ccl_up" not in site.raw(content)
            assert site.https().status == 200

    def test_what_was_refused_leaves_nothing_open(self, site: Site) -> None:
        def refused() -> None:
            site.http()
            site.raw(b"\x00" * 100)
            with pytest.raises(REFUSED):
                site.https(ssl.create_default_context())

        with site.serving(tls()):
            for _ in range(WORKERS):
                refused()
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(30):
                refused()
            after = len(os.listdir("/proc/self/fd"))

        # A worker may still be about to close its last one.
        assert after <= before + WORKERS

    def test_an_idle_connection_does_not_block_others(self, site: Site) -> None:
        # The server would wait 30 s for the silent ones, the client gives up after 20.
        with contextlib.ExitStack() as silent, site.serving(tls()):
            for _ in range(WORKERS - 1):
                silent.enter_context(socket.create_connection(("127.0.0.1", site.port)))
            assert [site.https().status for _ in range(3)] == [200] * 3
            silent.close()

    def test_a_handshake_that_trickles_in_has_one_deadline(self, site: Site) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = site.trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        hello = outgoing.read()
        sent, cut_off = 0, False
        with (
            site.serving(tls(), timeout=0.5),
            socket.create_connection(("127.0.0.1", site.port), timeout=0.1) as slow,
        ):
            while sent < 60 and not cut_off:  # twelve times the deadline
                with contextlib.suppress(TimeoutError):
                    try:
                        slow.sendall(hello[sent : sent + 1])
                        cut_off = slow.recv(1) == b""
                    except ConnectionError:
                        cut_off = True
                sent += 1

        assert cut_off

    def test_noise_after_the_handshake_only_ends_the_connection(self, site: Site) -> None:
        with site.serving(tls()):
            for _ in range(2 * WORKERS):
                plain = socket.create_connection(("127.0.0.1", site.port), timeout=20)
                with site.trusting().wrap_socket(plain, server_hostname="127.0.0.1") as connection:
                    socket.socket.sendall(connection, b"\x17\x03\x03\x00\x20" + b"\xff" * 32)
                    with contextlib.suppress(OSError):
                        assert connection.recv(1) == b""
            assert site.https().status == 200

    def test_a_connection_is_kept_for_the_next_scrape(self, site: Site) -> None:
        with site.serving(tls()):
            connection = http.client.HTTPSConnection("127.0.0.1", site.port, context=site.trusting(), timeout=20)
            with contextlib.closing(connection):
                connection.connect()
                socket_of_the_first = connection.sock
                for _ in range(5):
                    connection.request("GET", "/metrics")
                    assert connection.getresponse().read() == b"ccl_up 1\n"
                    assert connection.sock is socket_of_the_first


class TestLogins:
    PATHS = ("/", "/metrics", "/-/healthy", "/nowhere", "/metrics?target=x", "//", "/%2e%2e/")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "BREW"])
    def test_every_endpoint_is_guarded_and_every_answer_has_the_headers(self, site: Site, method: str) -> None:
        headers = "http_server_config: {headers: {X-Frame-Options: deny, Content-Security-Policy: default-src}}\n"
        with site.serving(headers + user("alice", "x")):
            for path in self.PATHS:
                refused = site.http(path, method)
                allowed = site.http(path, method, basic("alice:x"))

                assert refused.status == 401
                assert re.match(r"Basic realm=", refused.headers["WWW-Authenticate"])
                assert allowed.status != 401
                for answer in (refused, allowed):
                    assert answer.headers["X-Frame-Options"] == "deny"
                    assert answer.headers["Content-Security-Policy"] == "default-src"

    @pytest.mark.parametrize(
        ("authorization", "status"),
        [
            pytest.param(None, 401, id="missing"),
            pytest.param("", 401, id="empty"),
            pytest.param(basic("alice:x"), 200, id="right"),
            pytest.param(basic("alice:y"), 401, id="wrong password"),
            pytest.param(basic("bob:x"), 401, id="wrong user"),
            pytest.param(basic("alice:"), 401, id="no password"),
            pytest.param(basic(":"), 401, id="neither"),
            pytest.param("Basic", 401, id="nothing in it"),
            pytest.param("Basic \xff\xfe", 401, id="not even ASCII"),
            pytest.param("Bearer abc", 401, id="another scheme"),
            pytest.param(basic("alice:" + "x" * 10_000), 401, id="very long"),
            pytest.param(basic("alice:x\0"), 401, id="a zero behind"),
        ],
    )
    def test_a_valid_login_is_answered(self, site: Site, authorization: str | None, status: int) -> None:
        with site.serving(user("alice", "x")):
            assert site.http(authorization=authorization).status == status

        assert site.reads == (status == 200)

    def test_logins_work_behind_tls_and_a_client_certificate_is_no_login(self, site: Site) -> None:
        text = clients("RequireAndVerifyClientCert") + user("alice", "x")
        with site.serving(text):
            assert site.https(site.trusting(site.ca.issue_cert("prometheus"))).status == 401

    def test_two_hundred_scrapes_cost_far_less_than_two_hundred_hashes(self, site: Site) -> None:
        def seconds(times: int, login: str, status: int) -> float:
            before = time.perf_counter()
            for _ in range(times):
                assert site.http("/-/healthy", authorization=basic(login)).status == status
            return time.perf_counter() - before

        with site.serving(user("alice", "x", cost=12)):
            one = seconds(5, "alice:wrong", 401) / 5
            all_of_them = seconds(200, "alice:x", 200)

        assert all_of_them < 200 * one / 5

    def test_an_unknown_name_takes_as_long_as_a_known_one(self, site: Site) -> None:
        def seconds(login: str) -> float:
            before = time.perf_counter()
            assert site.http(authorization=basic(login)).status == 401
            return time.perf_counter() - before

        with site.serving(user("alice", "x", cost=11)):
            known, unknown = (sorted(seconds(f"{name}:wrong") for _ in range(5)) for name in ("alice", "bob"))

        # The fastest of each, as other programs on the machine can only make it slower.
        assert known[0] / 3 < unknown[0] < known[0] * 3


class TestCommand:
    def test_a_file_that_is_emptied_while_it_runs_opens_nothing(self, site: Site, start: Start) -> None:
        site.path.write_text(user("alice", "x"))
        flags = ("--web.listen-address", "127.0.0.1:0", "--web.config.file", str(site.path))
        command = start("serve", "http://127.0.0.1:1", *flags)
        site.port = int(command.line(r"http://127\.0\.0\.1:(\d+)/metrics")[1])
        site.path.write_text("")

        assert site.http("/-/healthy").status == 401
        assert site.http("/-/healthy", authorization=basic("alice:x")).status == 200
        command.wait_for_log("is invalid, the running one is kept: .*only a restart removes all users")

    def test_an_empty_file_is_a_warning_at_the_start_and_of_the_check(self, site: Site, start: Start) -> None:
        site.path.write_text("")
        flags = ("serve", "http://127.0.0.1:1", "--web.config.file", str(site.path))
        for more in (["--web.listen-address", "127.0.0.1:0"], ["--config.check"]):
            warning = start(*flags, *more).wait_for_log("web configuration .*web.yml is empty")

            assert "level=warn" in warning

    def test_only_allowed_hosts_are_answered(self, site: Site, start: Start) -> None:
        hosts = ("--web.allowed-hosts", "evse.example, [::1]:80", "--web.allowed-hosts", "127.0.0.1")
        command = start("serve", "http://127.0.0.1:1", "--web.listen-address", "127.0.0.1:0", *hosts)
        site.port = int(command.line(r"http://127\.0\.0\.1:(\d+)/metrics")[1])
        head = b"GET /-/healthy HTTP/1.1\r\nConnection: close\r\nHost: %s\r\n\r\n"

        def status(host: bytes) -> bytes:
            with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
                connection.sendall(head % host)
                return connection.recv(100).split()[1]

        assert site.http("/-/healthy").status == 200
        assert {host: status(host) for host in (b"evse.example:9986", b"[::1]", b"evil.example")} == {
            b"evse.example:9986": b"200",
            b"[::1]": b"421",
            b"evil.example": b"421",
        }
        wrong = start("serve", "http://127.0.0.1:1", "--web.allowed-hosts", "http://evse")
        assert wrong.process.wait(60) == 2


GOOD = [
    pytest.param("", id="empty"),
    pytest.param(tls(), id="a pair"),
    pytest.param(tls("client_auth_type: NoClientCert, min_version: TLS12, max_version: TLS13"), id="defaults"),
    pytest.param(clients("RequireAndVerifyClientCert"), id="clients"),
    pytest.param(clients("VerifyClientCertIfGiven"), id="clients who want"),
    pytest.param(
        tls(
            "min_version: TLS13, prefer_server_cipher_suites: false, curve_preferences: [CurveP256], "
            "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]"
        ),
        id="ciphers and curves",
    ),
    pytest.param(tls() + user("alice", "x") + "http_server_config: {http2: false}", id="users"),
    pytest.param("http_server_config: {http2: yes}\ntls_server_config:", id="without TLS"),
    pytest.param(
        "http_server_config:\n  headers:\n    X-XSS-Protection: 0\n"
        "    Content-Security-Policy: default-src 'self'\n    X-Frame-Options: sameorigin\n"
        "    X-Content-Type-Options: nosniff\n    Strict-Transport-Security: max-age=3600\n",
        id="headers",
    ),
]

# Younger than Debian's promtool: it either takes them or says that it has never heard of them.
YOUNGER = [
    pytest.param(
        clients("RequireAndVerifyClientCert", "client_allowed_sans: [a]"),
        "client_allowed_sans",
        id="names of clients",
    ),
    pytest.param("rate_limit: {interval: 1s, burst: 5}", "rate_limit", id="a limit"),
]

# What both refuse.
BAD = [
    pytest.param("tls: {}", id="unknown"),
    pytest.param("tls_server_config: {cert_file: server.crt}", id="no key"),
    pytest.param(tls(pair="cert_file: ca.crt, key_file: server.key"), id="another's key"),
    pytest.param(tls("client_ca_file: ca.crt"), id="an authority without clients"),
    pytest.param(tls("min_version: SSL3"), id="a wrong version"),
    pytest.param(tls("cipher_suites: [RC4]"), id="a wrong cipher"),
    pytest.param("http_server_config: {headers: {X-Frame-Options: none}}", id="a wrong header"),
    pytest.param("basic_auth_users: {alice: x}", id="a password"),
]


def promtool_says(path: Path) -> tuple[int, str]:
    found = subprocess.run(
        [server("promtool"), "check", "web-config", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return found.returncode, found.stdout + found.stderr


class TestPromtool:
    @pytest.mark.parametrize("text", GOOD)
    def test_takes_what_we_take(self, site: Site, text: str) -> None:
        site.path.write_text(text)
        WebSecurity(site.path)

        assert promtool_says(site.path) == (0, f"{site.path} SUCCESS\n")

    @pytest.mark.parametrize(("text", "name"), YOUNGER)
    def test_takes_what_we_take_or_is_too_old_to_know_it(self, site: Site, text: str, name: str) -> None:
        site.path.write_text(text)
        WebSecurity(site.path)
        code, said = promtool_says(site.path)

        assert code == 0 or f"field {name} not found" in said

    @pytest.mark.parametrize("text", BAD)
    def test_refuses_what_we_refuse(self, site: Site, text: str) -> None:
        site.path.write_text(text)
        with pytest.raises(UsageError, match=re.escape(str(site.path))):
            WebSecurity(site.path)

        assert promtool_says(site.path)[0] != 0
