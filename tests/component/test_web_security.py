"""What the web configuration file may say, the message for an error in it, and which login is valid."""

import base64
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import bcrypt
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from ccl_exporter.config.web import WebConfig, parse
from ccl_exporter.errors import UsageError
from ccl_exporter.exporter.web.history_access import LOGGED_IN
from ccl_exporter.exporter.web.security import WebSecurity

HASH = "$2y$04$" + "a" * 21 + "u" + "b" * 31
PAIR = "cert_file: server.crt, key_file: server.key"
CLIENTS = f"{PAIR}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt"


def load(path: Path) -> WebConfig:
    """The configuration of a file that can be used."""
    WebSecurity(path)
    return parse(path)


def tls(more: str, pair: str = PAIR) -> str:
    return f"tls_server_config: {{{pair}, {more}}}"


@pytest.fixture(scope="session")
def certificates() -> dict[str, bytes]:
    """A pair, its authority, and a key of somebody else; also what such files look like when they are wrong."""
    ca = trustme.CA()
    pair, other = ca.issue_cert("localhost"), ca.issue_cert("localhost")
    crt, key = pair.cert_chain_pems[0].bytes(), pair.private_key_pem.bytes()
    locked = load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    return {
        "server.crt": crt,
        "server.key": key,
        "ca.crt": ca.cert_pem.bytes(),
        "notes.crt": "Freundlicher Name: Säule 7\n".encode() + crt + b"\n" + key,
        "other.key": other.private_key_pem.bytes(),
        "locked.key": locked,
        "damaged.crt": crt[:100] + b"AAAA" + crt[104:],
        "half.key": key[: len(key) // 2],
        "empty": b"",
    }


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, certificates: dict[str, bytes]) -> Write:
    for name, content in certificates.items():
        (tmp_path / name).write_bytes(content)

    def run(text: str) -> Path:
        path = tmp_path / "web.yml"
        path.write_text(text, encoding="utf-8")
        return path

    return run


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            pytest.param("a: [", "is not YAML", id="broken YAML"),
            pytest.param("a: 1\n\tb: 2", ":2: is not YAML: found a tab", id="a tab"),
            pytest.param("basic_auth_users: {alice: *hunter2}", ":1: basic_auth_users: an alias", id="an alias"),
            pytest.param(
                "basic_auth_users:\n  hunter2: a\n  hunter2: b",
                ":3: basic_auth_users: is given twice",
                id="a user twice",
            ),
            pytest.param("basic_auth_users: {hunter2}", "this is not a bcrypt hash", id="a user alone"),
            pytest.param("basic_auth_users: {a: 'hunter2}", "is not YAML: ", id="an open quote"),
            pytest.param("[" * 5000, "is not YAML", id="very deep"),
            pytest.param("--- {}\n--- {}", ":2: is not YAML: a second document", id="two documents"),
            pytest.param("a: \x07", "is not YAML: a control character", id="a control character"),
            pytest.param("just text", ":1: keys with values are expected here", id="text"),
            pytest.param("- a", ":1: keys with values are expected here", id="a list"),
            pytest.param("\ntls: {}", ":2: 'tls' is not known here, only tls_server_config, http_", id="unknown"),
            pytest.param("<<: {}", ":1: '<<' is not known here", id="a merge key"),
            pytest.param("? [a]\n: b", "a key must be a plain word", id="a key that is a list"),
            pytest.param("rate_limit: {}\nrate_limit: {}", ":2: rate_limit: is given twice", id="twice"),
            pytest.param("tls_server_config: yes", "tls_server_config: keys with values", id="TLS is text"),
            pytest.param(
                "tls_server_config: {cert_file: [a]}", "cert_file: text is expected", id="a path is a list"
            ),
            pytest.param("tls_server_config: {certfile: a}", "'certfile' is not known here", id="unknown in TLS"),
            pytest.param("tls_server_config: {min_version: TLS13}", "cert_file is missing", id="no certificate"),
            pytest.param("tls_server_config: {cert_file: ''}", "cert_file is missing", id="a blank certificate"),
            pytest.param("tls_server_config: {cert_file: server.crt}", "key_file is missing", id="no key"),
            pytest.param("tls_server_config: {key_file: server.key}", "cert_file is missing", id="only a key"),
            pytest.param(tls("cert: x"), "give cert or cert_file, not both", id="two certificates"),
            pytest.param(tls("min_version: TLS11"), "min_version: TLS before 1.2 is broken", id="TLS 1.1"),
            pytest.param(tls("min_version: '1.2'"), "'1.2' is not one of TLS12, TLS13", id="a wrong version"),
            pytest.param(
                tls("min_version: TLS13, max_version: TLS12"), "min_version is above", id="no version left"
            ),
            pytest.param(
                tls("client_auth_type: Maybe"), "'Maybe' is not one of NoClientCert, Ver", id="wrong auth"
            ),
            pytest.param(tls("client_auth_type: RequestClientCert"), "of unknown issuers", id="unverified"),
            pytest.param(
                tls("client_auth_type: RequireAnyClientCert"),
                "of unknown issuers",
                id="any certificate",
            ),
            pytest.param(
                tls("client_auth_type: RequireAndVerifyClientCert"), "needs a client_ca_file", id="no authority"
            ),
            pytest.param(
                tls("client_ca_file: ca.crt"), "does not ask for client certificates", id="unused authority"
            ),
            pytest.param(
                tls("client_allowed_sans: [a]"), "client_allowed_sans: needs client_auth", id="SANs alone"
            ),
            pytest.param(tls("client_allowed_sans: a", CLIENTS), "a list is expected here", id="SANs are text"),
            pytest.param(tls("cipher_suites: [RC4]"), "'RC4' is not a suite", id="unknown cipher"),
            pytest.param(
                tls("cipher_suites: [TLS_AES_128_GCM_SHA256], max_version: TLS12"), "none of these", id="no cipher"
            ),
            pytest.param(tls("curve_preferences: [P256]"), "'P256' is not one of CurveP256", id="unknown curve"),
            pytest.param(tls("curve_preferences: [X25519, CurveP256]"), "takes one curve", id="two curves"),
            pytest.param(tls("prefer_server_cipher_suites: 1"), "true or false is expected", id="not a boolean"),
            pytest.param("http_server_config: {http2: 2}", "http2: true or false", id="http2"),
            pytest.param("http_server_config: {http2: 'yes'}", "http2: true or false", id="a truth in quotes"),
            pytest.param("http_server_config: {headers: {X-Me: a}}", "'X-Me' is not known here", id="own header"),
            pytest.param(
                "http_server_config: {headers: {X-Frame-Options: no}}", "must be deny or sameorigin", id="framing"
            ),
            pytest.param(
                "http_server_config: {headers: {X-Content-Type-Options: sniff}}", "must be nosniff", id="sniffing"
            ),
            pytest.param(
                'http_server_config: {headers: {X-XSS-Protection: "0\\r\\nSet-Cookie: a"}}',
                "one line of plain ASCII",
                id="two headers in one",
            ),
            pytest.param(
                'http_server_config: {headers: {X-XSS-Protection: "é"}}', "one line of plain ASCII", id="not ASCII"
            ),
            pytest.param("basic_auth_users: [alice]", "keys with values are expected", id="users are a list"),
            pytest.param("basic_auth_users: {alice: }", "this is not a bcrypt hash", id="no hash"),
            pytest.param("basic_auth_users: {alice: hunter2}", "this is not a bcrypt hash", id="a password"),
            pytest.param(f"basic_auth_users: {{alice: {HASH}b}}", "not a bcrypt hash", id="a long hash"),
            pytest.param(
                f"basic_auth_users: {{alice: {HASH.replace('$04', '$03')}}}", "not a bcrypt hash", id="too cheap"
            ),
            pytest.param(f'basic_auth_users: {{"a:b": {HASH}}}', "cannot hold a colon", id="a colon"),
            pytest.param("rate_limit: {interval: 1s}", "rate_limit: no client would be accepted", id="no burst"),
            pytest.param("rate_limit: {interval: 1}", "a duration such as 1s", id="no unit"),
            pytest.param("rate_limit: {interval: -1s}", "a duration such as 1s", id="a negative time"),
            pytest.param("rate_limit: {burst: -1}", "a whole number is expected", id="a negative number"),
            pytest.param("rate_limit: {burst: '²'}", "a whole number is expected", id="a digit of another kind"),
        ],
    )
    def test_an_error_in_the_file_is_reported_with_its_place(self, write: Write, text: str, sentence: str) -> None:
        path = write(text)

        with pytest.raises(UsageError) as caught:
            WebSecurity(path)

        message = str(caught.value)
        assert sentence in message
        assert message.startswith(f"{path}:") or message.startswith(str(path))
        assert "\n" not in message
        assert "hunter2" not in message

    @pytest.mark.parametrize(
        ("pair", "sentence"),
        [
            pytest.param(
                ("gone.crt", "server.key"), "cert_file: {}/gone.crt cannot be read: No such", id="no file"
            ),
            pytest.param((".", "server.key"), "cert_file: {} cannot be read: Is a directory", id="a folder"),
            pytest.param(("server.crt", "gone.key"), "key_file: {}/gone.key cannot be read: No such", id="no key"),
            pytest.param(("empty", "server.key"), "cert_file: there is no certificate", id="an empty file"),
            pytest.param(("server.key", "server.crt"), "cert_file: there is no certificate", id="swapped"),
            pytest.param(("damaged.crt", "server.key"), "cert_file: a certificate in it is damaged", id="damaged"),
            pytest.param(("server.crt", "empty"), "key_file: there is no private key", id="an empty key"),
            pytest.param(("server.crt", "half.key"), "key_file: there is no private key", id="half a key"),
            pytest.param(("server.crt", "other.key"), "key_file: the key does not belong to", id="another's key"),
            pytest.param(
                ("server.crt", "locked.key"), "key_file: the key is protected by a password", id="locked"
            ),
        ],
    )
    def test_a_certificate_or_key_that_cannot_be_used_gets_a_sentence_with_its_place(
        self, write: Write, pair: tuple[str, str], sentence: str
    ) -> None:
        path = write(f"tls_server_config:\n  cert_file: {pair[0]}\n  key_file: {pair[1]}")

        with pytest.raises(UsageError) as caught:
            WebSecurity(path)

        assert sentence.format(path.parent) in str(caught.value)
        assert "PRIVATE" not in str(caught.value)

    @pytest.mark.parametrize("name", ["gone", "empty", "server.key", "damaged.crt"])
    def test_an_authority_that_cannot_be_used_gets_a_sentence_with_its_place(
        self, write: Write, name: str
    ) -> None:
        path = write(f"tls_server_config: {{{CLIENTS.replace('ca.crt', name)}}}")

        with pytest.raises(UsageError, match="client_ca_file: "):
            WebSecurity(path)

    def test_a_file_that_is_not_there_or_not_text_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="cannot be read: No such file"):
            WebSecurity(tmp_path / "web.yml")
        with pytest.raises(UsageError, match="cannot be read: Is a directory"):
            WebSecurity(tmp_path)
        (tmp_path / "web.yml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(UsageError, match="is not text in UTF-8"):
            WebSecurity(tmp_path / "web.yml")

    def test_what_is_long_on_the_left_of_a_colon_may_be_a_secret(self, write: Write) -> None:
        with pytest.raises(UsageError) as caught:
            WebSecurity(write(f'"{HASH}": alice'))

        assert HASH not in str(caught.value)

    def test_the_start_fails_on_a_bad_file(self, write: Write) -> None:
        with pytest.raises(UsageError):
            WebSecurity(write("tls_server_config: {cert_file: gone}"))


class TestMeaning:
    @pytest.mark.parametrize(
        "text", ["", "# nothing", "---", "{}", "tls_server_config:\nbasic_auth_users: {}\nhttp_server_config: ~"]
    )
    def test_an_empty_file_asks_for_nothing(self, write: Write, text: str) -> None:
        assert parse(write(text)) == WebConfig()
        assert WebSecurity(write(text)).ssl_adapter() is None

    def test_files_are_looked_for_beside_the_configuration(self, write: Write) -> None:
        path = write(f"tls_server_config: {{{CLIENTS}}}")
        config = parse(path)

        assert config.tls is not None
        assert config.tls.files() == tuple(path.parent / name for name in ("server.crt", "server.key", "ca.crt"))

    def test_tls_begins_at_version_1_2_and_asks_for_no_certificate(self, write: Write) -> None:
        found = parse(write(f"tls_server_config: {{{PAIR}}}")).tls

        assert found is not None
        assert (found.minimum, found.maximum) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
        assert (found.client_auth, found.allowed_sans) == (ssl.CERT_NONE, None)

    def test_certificates_and_keys_may_stand_in_the_file(
        self, write: Write, certificates: dict[str, bytes]
    ) -> None:
        def inline(name: str) -> str:
            return "".join(f"    {line}\n" for line in certificates[name].decode().splitlines())

        text = "tls_server_config:\n  cert: |\n{}  key: |\n{}  client_ca: |\n{}".format(
            *map(inline, ("server.crt", "server.key", "ca.crt"))
        )
        path = write(f"{text}  client_auth_type: VerifyClientCertIfGiven\n")
        config = parse(path)

        assert WebSecurity(path).scheme == "https"
        assert config.tls is not None
        assert config.tls.client_auth is ssl.CERT_OPTIONAL
        assert "PRIVATE" not in repr(config)

    def test_notes_and_a_key_around_a_certificate_do_no_harm(self, write: Write) -> None:
        WebSecurity(write("tls_server_config: {cert_file: notes.crt, key_file: notes.crt}"))

    @pytest.mark.parametrize(
        ("more", "names"),
        [
            pytest.param(
                "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]", {"ECDHE-RSA-AES128-GCM-SHA256"}, id="one"
            ),
            pytest.param(
                "cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256]",
                {"ECDHE-ECDSA-CHACHA20-POLY1305"},
                id="one of each version",
            ),
        ],
    )
    def test_ciphers_are_those_that_are_named(self, write: Write, more: str, names: set[str]) -> None:
        security = WebSecurity(write(tls(more)))

        found = {cipher["name"] for cipher in security.context().get_ciphers()}
        assert {name for name in found if not name.startswith("TLS_")} == names

    def test_every_cipher_that_go_names_is_known_to_openssl(self, write: Write) -> None:
        suites = [
            f"TLS_ECDHE_{key}_WITH_{cipher}"
            for key in ("RSA", "ECDSA")
            for cipher in (
                *("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"),
                *("AES_128_CBC_SHA", "AES_256_CBC_SHA"),
            )
        ]
        context = WebSecurity(write(tls(f"cipher_suites: [{', '.join(suites)}]"))).context()

        assert len([c for c in context.get_ciphers() if not c["name"].startswith("TLS_")]) == len(suites)

    def test_ciphers_of_tls_1_3_alone_leave_no_older_version(self, write: Write) -> None:
        context = WebSecurity(write(tls("cipher_suites: [TLS_AES_256_GCM_SHA384]"))).context()

        assert context.minimum_version == ssl.TLSVersion.TLSv1_3

    @pytest.mark.parametrize("wish", [True, False])
    def test_the_server_chooses_the_cipher_unless_configured_otherwise(self, write: Write, wish: bool) -> None:
        context = WebSecurity(write(tls(f"prefer_server_cipher_suites: {str(wish).lower()}"))).context()

        assert bool(context.options & ssl.OP_CIPHER_SERVER_PREFERENCE) is wish

    @pytest.mark.parametrize("curve", ["CurveP256", "CurveP384", "CurveP521"])
    def test_one_curve_can_be_chosen(self, write: Write, curve: str) -> None:
        WebSecurity(write(tls(f"curve_preferences: [{curve}]")))

    def test_a_curve_that_this_python_does_not_offer_is_an_error(self, write: Write) -> None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve("X25519")
        except ssl.SSLError:
            with pytest.raises(UsageError, match="this Python's TLS does not offer X25519: choose another one"):
                WebSecurity(write(tls("curve_preferences: [X25519]")))
        else:
            WebSecurity(write(tls("curve_preferences: [X25519]")))

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("0", 0), ("1s", 1), ("250ms", 0.25), ("1m30s", 90), ("1.5h", 5400), (".5s", 0.5), ("10us", 1e-5)],
    )
    def test_durations_are_those_of_go(self, write: Write, text: str, seconds: float) -> None:
        config = parse(write(f"rate_limit: {{interval: {text}, burst: 1}}"))

        assert config.rate_interval == pytest.approx(seconds)

    def test_blank_headers_are_not_sent_and_long_ones_may_be_folded(self, write: Write) -> None:
        headers = parse(
            write(
                "http_server_config:\n  http2: yes\n  headers:\n    X-Frame-Options: ''\n    X-XSS-Protection: 0\n"
                "    Content-Security-Policy: >\n      default-src 'none';\n      img-src 'self'\n"
            )
        ).headers

        assert headers == (
            ("X-XSS-Protection", "0"),
            ("Content-Security-Policy", "default-src 'none'; img-src 'self'"),
        )

    def test_a_name_that_yaml_takes_for_something_else_is_a_name(self, write: Write) -> None:
        assert set(parse(write(f"basic_auth_users: {{no: {HASH}, 007: {HASH}}}")).users) == {"no", "007"}

    def test_hashes_are_not_printed(self, write: Write) -> None:
        assert HASH not in repr(parse(write(f"basic_auth_users: {{alice: {HASH}}}")))


def hello(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Frame-Options", "sameorigin")])
    return [b"hello"]


def ask(
    security: WebSecurity, login: str | None = None, application: Any = hello, **environ: str
) -> tuple[str, list[tuple[str, str]], bytes]:
    """One request to an application behind the guard, with a Basic login or any headers."""
    started: list[Any] = []
    request: dict[str, Any] = {"PATH_INFO": "/metrics", **environ}
    if login is not None:
        request["HTTP_AUTHORIZATION"] = "Basic " + base64.b64encode(login.encode()).decode()
    setup_testing_defaults(request)
    body = b"".join(security.wrap(application)(request, lambda *arguments: started.append(arguments)))  # type: ignore[arg-type] # no `write`
    return started[0][0], started[0][1], body


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


class TestLogins:
    def test_without_a_file_nothing_is_added(self) -> None:
        security = WebSecurity(None)

        assert security.wrap(hello) is hello
        assert (security.ssl_adapter(), security.scheme) == (None, "http")

    @pytest.mark.parametrize("kind", ["2a", "2b", "2y"])
    def test_hashes_of_every_program_are_understood(self, write: Write, kind: str) -> None:
        security = WebSecurity(write(f"basic_auth_users: {{alice: ${kind}{hashed('x')[3:]}}}"))

        assert ask(security, "alice:x")[0] == "200 OK"
        assert ask(security, "alice:y")[0] == "401 Unauthorized"

    def test_the_password_of_one_is_not_the_password_of_another(self, write: Write) -> None:
        security = WebSecurity(write(f"basic_auth_users: {{alice: {hashed('a')}, bob: {hashed('b')}}}"))

        logins = [f"{name}:{password}" for name in ("alice", "bob", "carol", "") for password in ("a", "b", "")]
        for _ in range(2):
            assert [login for login in logins if ask(security, login)[0] == "200 OK"] == ["alice:a", "bob:b"]

    def test_passwords_may_hold_colons_and_any_letters_and_be_long(self, write: Write) -> None:
        words = {"a": ":x:", "b": "grüße 🚗", "c": "c" * 72}
        security = WebSecurity(
            write("basic_auth_users:\n" + "".join(f" {k}: {hashed(v)}\n" for k, v in words.items()))
        )

        assert {ask(security, f"{name}:{word}")[0] for name, word in words.items()} == {"200 OK"}
        # As with htpasswd: bcrypt does not look further.
        assert ask(security, "c:" + "c" * 5000)[0] == "200 OK"
        assert ask(security, "c:" + "c" * 71)[0] == "401 Unauthorized"

    @pytest.mark.parametrize(
        "header",
        [
            *("", "Basic", "Basic ", "basic", "Bearer YTpi", "YWxpY2U6eA==", "Basic YWxpY2U6eA", "Basic YWxpY2U="),
            *("Basic !!!!", "Basic é", "Basic YWxpY2U6eA== YWxpY2U6eA==", "Basic /////w==", "Basic Og==", "\x00"),
            *("Digest username=alice", "Basic " + "YWFh" * 20000, "BasicYWxpY2U6eA=="),
        ],
    )
    def test_a_header_that_is_no_login_is_refused(self, write: Write, header: str) -> None:
        security = WebSecurity(write(f"basic_auth_users: {{alice: {hashed('x')}}}"))

        assert ask(security, HTTP_AUTHORIZATION=header)[0] == "401 Unauthorized"

    def test_the_scheme_is_known_in_any_case(self, write: Write) -> None:
        security = WebSecurity(write(f"basic_auth_users: {{alice: {hashed('x')}}}"))

        assert ask(security, HTTP_AUTHORIZATION="bASIC  YWxpY2U6eA== ")[0] == "200 OK"

    def test_a_refusal_says_how_to_log_in_and_has_the_headers(self, write: Write) -> None:
        text = (
            f"http_server_config: {{headers: {{X-Frame-Options: deny}}}}\nbasic_auth_users: {{a: {hashed('x')}}}"
        )
        security = WebSecurity(write(text))
        _, headers, body = ask(security)

        assert dict(headers)["WWW-Authenticate"].startswith("Basic ")
        assert dict(headers)["X-Frame-Options"] == "deny"
        assert dict(headers)["Content-Length"] == str(len(body))
        assert ask(security, REQUEST_METHOD="HEAD")[2] == b""

    def test_a_header_of_the_file_replaces_that_of_the_page(self, write: Write) -> None:
        security = WebSecurity(write("http_server_config: {headers: {X-Frame-Options: deny}}"))

        assert [value for name, value in ask(security)[1] if name == "X-Frame-Options"] == ["deny"]

    @pytest.mark.parametrize(
        ("text", "login", "logged_in"),
        [
            ("http_server_config: {http2: yes}", None, False),
            (f"tls_server_config: {{{PAIR}}}", None, False),
            (tls("client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.crt"), None, False),
            (f"tls_server_config: {{{CLIENTS}}}", None, True),
            (f"basic_auth_users: {{alice: {hashed('x')}}}", "alice:x", True),
        ],
        ids=["neither", "TLS", "certificates of some", "certificates of all", "users"],
    )
    def test_the_application_knows_whether_everybody_has_to_log_in(
        self, write: Write, text: str, login: str | None, logged_in: bool
    ) -> None:
        seen: list[object] = []

        def note(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            seen.append(environ[LOGGED_IN])
            return hello(environ, start_response)

        assert ask(WebSecurity(write(text)), login, application=note)[0] == "200 OK"
        assert seen == [logged_in]

    def test_users_are_those_of_the_file_as_it_is_now(self, write: Write) -> None:
        security = WebSecurity(write(f"basic_auth_users: {{alice: {hashed('x')}}}"))
        assert ask(security, "alice:x")[0] == "200 OK"

        write(f"basic_auth_users: {{alice: {hashed('other')}}}")
        assert ask(security, "alice:x")[0] == "401 Unauthorized"
        assert ask(security, "alice:other")[0] == "200 OK"

    @pytest.mark.parametrize(
        "text",
        [
            *(
                "",
                "# nothing",
                "{}",
                "basic_auth_users:",
                "basic_auth_users: {}",
                "rate_limit: {interval: 1s, burst: 9}",
            ),
            *("basic_auth_us", "http_server_config: {http2: true}", "basic_auth_users:\n  alice:"),
        ],
    )
    def test_a_file_that_lost_its_users_admits_no_user(
        self, write: Write, caplog: pytest.LogCaptureFixture, text: str
    ) -> None:
        security = WebSecurity(write(f"basic_auth_users: {{alice: {hashed('x')}}}"))
        write(text)

        assert [ask(security)[0] for _ in range(3)] == ["401 Unauthorized"] * 3
        assert ask(security, "alice:x")[0] == "200 OK"
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    def test_no_part_of_a_file_that_is_being_saved_lets_anybody_in(self, write: Write) -> None:
        text = f"basic_auth_users:\n  alice: {hashed('x')}\n  bob: {hashed('x')}\nrate_limit:\n  burst: 100\n"
        security = WebSecurity(write(text))

        for length in range(len(text)):
            write(text[:length])
            assert ask(security)[0] == "401 Unauthorized", text[:length]

    @pytest.mark.parametrize("more", ["", "client_ca_file: ca.crt, client_auth_type: VerifyClientCertIfGiven"])
    def test_a_file_that_lost_its_client_certificates_changes_nothing(
        self, write: Write, caplog: pytest.LogCaptureFixture, more: str
    ) -> None:
        security = WebSecurity(write(tls("client_allowed_sans: [prometheus]", CLIENTS)))
        for text in (tls(more) if more else f"tls_server_config: {{{PAIR}}}", tls("", CLIENTS), ""):
            write(text)
            context = security.context()

            assert context.verify_mode is ssl.CERT_REQUIRED
            assert context.allowed_sans == frozenset({"prometheus"})
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    def test_an_empty_file_at_the_start_is_a_warning(self, write: Write, caplog: pytest.LogCaptureFixture) -> None:
        security = WebSecurity(write("# nothing yet"))
        assert ask(security)[0] == "200 OK"
        write(f"basic_auth_users: {{alice: {hashed('x')}}}")
        assert ask(security)[0] == "401 Unauthorized"

        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "is empty" in caplog.messages[0]

    def test_a_broken_file_admits_no_new_user(self, write: Write, caplog: pytest.LogCaptureFixture) -> None:
        path = write(f"basic_auth_users: {{alice: {hashed('x')}}}")
        security = WebSecurity(path)
        for broken in ("basic_auth_users: {", "", None):
            if broken == "":
                path.write_text(f"tls_server_config: {{{PAIR}}}")  # TLS cannot come while running
            elif broken is None:
                path.unlink()
            else:
                path.write_text(broken)
            assert ask(security)[0] == "401 Unauthorized"
            assert ask(security, "alice:x")[0] == "200 OK"
        assert len(caplog.messages) == 1

        write(f"basic_auth_users: {{alice: {hashed('y')}}}")
        assert ask(security, "alice:y")[0] == "200 OK"

        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
        assert str(path) in caplog.messages[0]

    def test_more_requests_than_the_limit_are_refused_with_the_reason(self, write: Write) -> None:
        security = WebSecurity(write("rate_limit: {interval: 1h, burst: 3}"))

        statuses = [ask(security)[0] for _ in range(5)]
        assert statuses == ["200 OK"] * 3 + ["429 Too Many Requests"] * 2

    def test_guesses_wait_in_small_numbers_and_good_logins_not_at_all(self, write: Write) -> None:
        slow = bcrypt.hashpw(b"x", bcrypt.gensalt(11)).decode()
        security = WebSecurity(write(f"basic_auth_users: {{alice: {slow}}}"))
        assert ask(security, "alice:x", REMOTE_ADDR="192.0.2.1")[0] == "200 OK"
        answers: list[tuple[str, list[tuple[str, str]], bytes]] = []

        def guess(number: int) -> None:
            answers.append(ask(security, f"alice:{number}", REMOTE_ADDR=f"192.0.2.{number % 2}"))

        threads = [threading.Thread(target=guess, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        good = [ask(security, "alice:x", REMOTE_ADDR="192.0.2.1")[0] for _ in range(100)]
        for thread in threads:
            thread.join()
        refused = [headers for status, headers, _ in answers if status == "503 Service Unavailable"]

        assert set(good) == {"200 OK"}
        assert len(refused) > len(threads) / 2, "eight of each peer wait"
        assert all(dict(headers)["Retry-After"] == "1" for headers in refused)
        assert {status for status, _, _ in answers} <= {"503 Service Unavailable", "401 Unauthorized"}

    def test_guesses_of_one_peer_take_no_place_of_another(self, write: Write) -> None:
        slow = bcrypt.hashpw(b"x", bcrypt.gensalt(10)).decode()
        security = WebSecurity(write(f"basic_auth_users: {{alice: {slow}}}"))
        threads = [
            threading.Thread(target=ask, args=(security, f"alice:{number}"), kwargs={"REMOTE_ADDR": "192.0.2.1"})
            for number in range(50)
        ]
        for thread in threads:
            thread.start()
        answer = ask(security, "alice:x", REMOTE_ADDR="192.0.2.2")[0]
        for thread in threads:
            thread.join()

        assert answer == "200 OK"

    def test_many_at_once_get_the_same_word(self, write: Write) -> None:
        security = WebSecurity(write(f"basic_auth_users: {{alice: {hashed('x')}}}"))
        answers: list[str] = []
        threads = [
            threading.Thread(target=lambda login=login: answers.append(login + ask(security, login)[0]))
            for login in ["alice:x", "alice:y"] * 16
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(answers) == ["alice:x200 OK"] * 16 + ["alice:y401 Unauthorized"] * 16

    def test_without_a_file_neither_yaml_nor_bcrypt_is_loaded(self) -> None:
        program = (
            "import sys; from ccl_exporter.exporter.web.security import WebSecurity; WebSecurity(None);"
            "print(sorted({'yaml', 'bcrypt'} & set(sys.modules)))"
        )
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

        assert found.stdout.strip() == "[]"
