"""The web configuration file of Prometheus' exporter-toolkit, read strictly: the same file serves every exporter.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

import re
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ccl_exporter.errors import UsageError

if TYPE_CHECKING:
    from ccl_exporter.yaml_reader import FileErrors

T = TypeVar("T")

# The last character of the salt holds two bits; bcrypt refuses others, and only when somebody logs in.
_BCRYPT = re.compile(r"\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_TLS13_SUITES = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
_TLS12_SUITES = {
    **{
        f"TLS_ECDHE_{key}_WITH_{go}": f"ECDHE-{key}-{openssl}"
        for key in ("ECDSA", "RSA")
        for go, openssl in {
            "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
            "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
            "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
            "AES_128_CBC_SHA": "AES128-SHA",
            "AES_256_CBC_SHA": "AES256-SHA",
        }.items()
    },
    # Without forward secrecy: older toolkits take these.
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
_CLIENT_AUTH = {
    "": ssl.CERT_NONE,
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
# Which values a header may have; None for any.
_HEADERS = {
    "Content-Security-Policy": None,
    "Strict-Transport-Security": None,
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": None,
}


@dataclass(frozen=True, slots=True)
class Pem:
    """Certificates or a key, in a file or in the configuration itself; `place` is its key in the file."""

    place: str
    path: Path | None = None
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Certificate, key, and requirements for clients."""

    certificate: Pem
    key: Pem
    client_ca: Pem | None = None
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    allowed_sans: frozenset[str] | None = None
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: str | None = None
    server_preference: bool = True
    curve: str | None = None

    def files(self) -> tuple[Path, ...]:
        return tuple(pem.path for pem in (self.certificate, self.key, self.client_ca) if pem and pem.path)


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The content of the file. An empty file means no TLS and no login."""

    tls: TlsConfig | None = None
    headers: tuple[tuple[str, str], ...] = ()
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    rate_interval: float = 0.0
    rate_burst: int = 0

    def loss_since(self, before: "WebConfig") -> str | None:
        """What the configuration `before` required of every client and this one does not; None if nothing.

        Files are emptied by accident, and half of one can be read while an editor saves it.
        """
        tls, old = self.tls, before.tls
        if (tls is None) != (old is None):
            return "only a restart switches TLS on or off"
        if before.users and not self.users:
            return "only a restart removes all users"
        if tls is None or old is None:
            return None
        if old.client_auth is ssl.CERT_REQUIRED and tls.client_auth is not ssl.CERT_REQUIRED:
            return "only a restart lets clients in without a certificate"
        if old.allowed_sans is not None and tls.allowed_sans is None:
            return "only a restart removes client_allowed_sans"
        return None


def parse(path: Path) -> WebConfig:
    """Read the file, not yet the certificates that it names; raises `UsageError`."""
    from ccl_exporter.yaml_reader import FileErrors, Reader, read_text  # noqa: PLC0415 - most run without this file

    try:
        text = read_text(path)
    except UsageError as error:
        raise UsageError(f"{path}: the web configuration {error}") from error
    errors = FileErrors(str(path), hidden=("basic_auth_users",))
    data = Reader(text, errors, as_written=True).read()
    errors.check()
    sections = _Value(errors, (), data).section(
        ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
    )
    http = sections["http_server_config"].section(("http2", "headers")) if "http_server_config" in sections else {}
    rate = sections["rate_limit"].section(("interval", "burst")) if "rate_limit" in sections else {}
    _take(http, "http2", _Value.boolean, True)  # we speak HTTP/1.1, which every client of HTTP/2 speaks too
    interval = _take(rate, "interval", _Value.seconds, 0.0)
    burst = _take(rate, "burst", _Value.whole, 0)
    if interval and not burst:
        raise sections["rate_limit"].wrong("no client would be accepted: give a burst of 1 or more")
    return WebConfig(
        tls=_take(sections, "tls_server_config", _tls, None),
        headers=_take(http, "headers", _headers, ()),
        users=_take(sections, "basic_auth_users", _users, {}),
        rate_interval=interval,
        rate_burst=burst,
    )


@dataclass(frozen=True, slots=True)
class _Value:
    """A value in the file, with its place, so that every complaint can say where."""

    errors: "FileErrors"
    where: tuple[str | int, ...]
    data: object
    name: str = ""

    @property
    def place(self) -> str:
        place = f"{self.errors.file}:{self.errors.line(self.where)}"
        return f"{place}: {self.name}" if self.name else place

    @property
    def blank(self) -> bool:
        return self.data is None or self.data == ""

    def wrong(self, what: str) -> UsageError:
        return UsageError(f"{self.place}: {what}")

    def section(self, known: Collection[str] | None) -> dict[str, "_Value"]:
        """The values by key; all keys are `known`, or any key will do. A section with nothing in it is empty."""
        if self.blank:
            return {}
        if not isinstance(self.data, dict):
            raise self.wrong("keys with values are expected here")
        values: dict[str, _Value] = {}
        for key, data in self.data.items():
            where = (*self.where, key)
            if known is not None and key not in known:
                # What is long may be a secret on the wrong side of the colon.
                shown = repr(key) if len(key) <= 40 else "a key"
                wrong = _Value(self.errors, where, data)
                raise wrong.wrong(f"{shown} is not known here, only {', '.join(known)}")
            name = self.name if known is None else f"{self.name}.{key}".lstrip(".")
            values[key] = _Value(self.errors, where, data, name)
        return values

    def text(self) -> str:
        """As written: a `0` or a `yes` is text where text is expected, as for Go."""
        if self.blank:
            return ""
        if not isinstance(self.data, str):
            raise self.wrong("text is expected here")
        return str(self.data)

    def texts(self) -> tuple[str, ...]:
        if self.blank:
            return ()
        if not isinstance(self.data, list):
            raise self.wrong("a list is expected here")
        return tuple(_Value(self.errors, self.where, data, self.name).text() for data in self.data)

    def boolean(self) -> bool:
        """Any word of YAML 1.1 for true or false, as for Go; in quotes it is none."""
        word = str(self.data).lower()
        if word not in _BOOLEANS or type(self.data) is str:  # without quotes it is a `Plain`
            raise self.wrong("true or false is expected here")
        return _BOOLEANS[word]

    def whole(self) -> int:
        text = self.text()
        if not text.isascii() or not text.isdecimal() or len(text) > 9:
            raise self.wrong("a whole number is expected here")
        return int(text)

    def seconds(self) -> float:
        """A duration as Go writes it: `1s`, `1m30s`, `250ms`, or 0."""
        text = self.text()
        if text != "0" and (not text or _DURATION.sub("", text)):
            raise self.wrong("a duration such as 1s or 250ms is expected here")
        return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))

    def choice(self, known: Mapping[str, T]) -> T:
        text = self.text()
        if text not in known:
            raise self.wrong(f"{text!r} is not one of {', '.join(filter(None, known))}")
        return known[text]


def _take(section: Mapping[str, _Value], key: str, read: Callable[[_Value], T], default: T) -> T:
    """A value if it is there and not blank: blank is what an unset variable of a template leaves."""
    value = section.get(key)
    return default if value is None or value.blank else read(value)


def _tls(value: _Value) -> TlsConfig | None:
    found = value.section(
        (
            *("cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file", "client_auth_type"),
            *("client_allowed_sans", "min_version", "max_version", "cipher_suites"),
            *("prefer_server_cipher_suites", "curve_preferences"),
        )
    )
    if not found:
        return None
    certificate, key, client_ca = (_pem(value, found, name) for name in ("cert", "key", "client_ca"))
    if certificate is None or key is None:
        missing = "cert_file" if certificate is None else "key_file"
        raise value.wrong(f"{missing} is missing, and without it there is no TLS")
    auth = _take(found, "client_auth_type", _client_auth, ssl.CERT_NONE)
    if auth is ssl.CERT_NONE and client_ca is not None:
        raise value.wrong("there is a client_ca but client_auth_type does not ask for client certificates")
    if auth is not ssl.CERT_NONE and client_ca is None:
        raise value.wrong("client_auth_type needs a client_ca_file: else any authority's certificate would do")
    sans = frozenset(found["client_allowed_sans"].texts()) if "client_allowed_sans" in found else None
    if sans is not None and auth is not ssl.CERT_REQUIRED:
        raise found["client_allowed_sans"].wrong("needs client_auth_type RequireAndVerifyClientCert")
    minimum = _take(found, "min_version", _version, ssl.TLSVersion.TLSv1_2)
    maximum = _take(found, "max_version", _version, ssl.TLSVersion.TLSv1_3)
    if minimum > maximum:
        raise value.wrong("min_version is above max_version, so no version is left")
    suites = found["cipher_suites"].texts() if "cipher_suites" in found else ()
    for suite in suites:
        if suite not in _TLS12_SUITES and suite not in _TLS13_SUITES:
            raise found["cipher_suites"].wrong(f"{suite!r} is not a suite that Go calls secure")
    # Neither Go nor Python lets one choose among the suites of TLS 1.3.
    ciphers = ":".join(_TLS12_SUITES[suite] for suite in suites if suite in _TLS12_SUITES) or None
    if suites and ciphers is None:
        if maximum < ssl.TLSVersion.TLSv1_3:
            raise found["cipher_suites"].wrong("none of these is a suite of TLS 1.2, and max_version is TLS12")
        minimum = ssl.TLSVersion.TLSv1_3
    return TlsConfig(
        certificate=certificate,
        key=key,
        client_ca=client_ca,
        client_auth=auth,
        allowed_sans=sans,
        minimum=minimum,
        maximum=maximum,
        ciphers=ciphers,
        server_preference=_take(found, "prefer_server_cipher_suites", _Value.boolean, True),
        curve=_take(found, "curve_preferences", _curve, None),
    )


def _pem(tls: _Value, found: Mapping[str, _Value], name: str) -> Pem | None:
    text, file = (_take(found, key, _Value.text, "") for key in (name, f"{name}_file"))
    if text and file:
        raise tls.wrong(f"give {name} or {name}_file, not both")
    if file:
        value = found[f"{name}_file"]
        return Pem(value.place, path=Path(value.errors.file).parent / file)
    return Pem(found[name].place, text=text) if text else None


def _client_auth(value: _Value) -> ssl.VerifyMode:
    if value.text() in _UNVERIFIED:
        raise value.wrong(
            f"{value.text()} accepts certificates of unknown issuers, which Python's TLS cannot do: "
            "write VerifyClientCertIfGiven or RequireAndVerifyClientCert"
        )
    return value.choice(_CLIENT_AUTH)


def _version(value: _Value) -> ssl.TLSVersion:
    if value.text() in ("TLS10", "TLS11"):
        raise value.wrong("TLS before 1.2 is broken (RFC 8996) and OpenSSL has it switched off: write TLS12")
    return value.choice(_VERSIONS)


def _curve(value: _Value) -> str | None:
    names = value.texts()
    for name in names:
        if name not in _CURVES:
            raise value.wrong(f"{name!r} is not one of {', '.join(_CURVES)}")
    if len(names) > 1:
        raise value.wrong("Python's TLS takes one curve or its own choice: keep one, or leave this out")
    if not names:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve(_CURVES[names[0]])
    except (ssl.SSLError, ValueError):
        # As X25519 in Debian 12, whose Python is 3.11.2.
        raise value.wrong(f"this Python's TLS does not offer {names[0]}: choose another one") from None
    return _CURVES[names[0]]


def _headers(value: _Value) -> tuple[tuple[str, str], ...]:
    headers = []
    for name, header in value.section(_HEADERS).items():
        # A folded YAML text ends in a line break.
        text = header.text().strip()
        allowed = _HEADERS[name]
        if text and allowed is not None and text not in allowed:
            raise header.wrong(f"must be {' or '.join(allowed)}")
        if not text.isascii() or not text.isprintable():
            raise header.wrong("a header is one line of plain ASCII")
        if text:
            headers.append((name, text))
    return tuple(headers)


def _users(value: _Value) -> dict[str, bytes]:
    users = {}
    for name, password in value.section(None).items():
        # The name is not shown: who has swapped name and hash would find the hash in the log.
        if ":" in name:
            raise password.wrong("a user's name cannot hold a colon, which ends it when it is sent")
        if not _BCRYPT.fullmatch(password.text()):
            raise password.wrong("this is not a bcrypt hash; `htpasswd -nBC 10 NAME` makes one")
        users[name] = password.text().encode()
    return users
