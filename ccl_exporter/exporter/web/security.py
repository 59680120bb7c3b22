"""TLS, logins and headers by the web configuration file, which may change while the exporter runs."""

import base64
import logging
import math
import os
import re
import secrets
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from hashlib import blake2b
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from cheroot.errors import FatalSSLAlert
from cheroot.makefile import MakeFile
from cheroot.ssl import Adapter

from ccl_exporter.config.web import Pem, TlsConfig, WebConfig, parse
from ccl_exporter.errors import UsageError
from ccl_exporter.exporter.web.history_access import LOGGED_IN
from ccl_exporter.exporter.web.server import PeerSocket, peer_of

log = logging.getLogger(__name__)

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_MAX_REMEMBERED = 100
"""Good logins kept at a time; one for each user is enough, but a long password can be written in many ways."""

_BCRYPT_BYTES = 72
"""All that bcrypt looks at. The library refuses more; every other exporter, and `htpasswd`, cuts it off."""

_MOST_LOGINS, _MOST_OF_PEER, _MOST_WAITING = 8, 32, 128
"""What may wait for bcrypt: different logins of a peer, its requests, all requests. Each one holds a thread."""

_RETRY_SECONDS = 5.0

_CLIENTS = "ccl_exporter.clients"
"""The key in a WSGI environ of the rules for client certificates under which the connection began."""

_HTTPS_ONLY = b"This port speaks only HTTPS.\n"


class WebSecurity:
    """Protects an application as the file says; without a file there is no login.

    Raises `UsageError` if the file or a certificate that it names cannot be used.
    A change of the file, or of a certificate, counts from the next request or connection on. While a change
    cannot be used, or would admit clients without what was required before, the previous configuration stays in
    force.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path.absolute() if path is not None else None
        self._lock = threading.Lock()
        self._trouble = False
        self._retry_at = math.inf
        self._files: tuple[Path, ...] = () if self._path is None else (self._path,)
        self._seen: tuple[object, ...] = ()
        self._loaded = _Loaded(WebConfig()) if self._path is None else self._load(self._path)
        if self._path is not None and self._loaded.config == WebConfig():
            log.warning("the web configuration %s is empty: it asks for neither TLS nor logins", self._path)
        self._stamps: tuple[object, ...] = self._seen

    @property
    def scheme(self) -> str:
        return "http" if self._loaded.context is None else "https"

    def wrap(self, app: WSGIApplication) -> WSGIApplication:
        """The application behind the login, every answer with the configured headers."""
        if self._path is None:
            return app

        def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            loaded = self._current()
            configured = loaded.config.headers
            names = {name.lower() for name, _ in configured}

            def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
                others = [(name, value) for name, value in headers if name.lower() not in names]
                return start_response(status, [*others, *configured], exc_info)

            # The rules for client certificates may have changed since the connection began.
            is_current = environ.get(_CLIENTS, loaded.clients) == loaded.clients
            refusal = loaded.refusal(environ) if is_current else HTTPStatus.MISDIRECTED_REQUEST
            if refusal is None:
                environ[LOGGED_IN] = loaded.asks_for_login
                return app(environ, start)
            body = f"{refusal.phrase}\n".encode()
            headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
            if refusal is HTTPStatus.MISDIRECTED_REQUEST:
                headers.append(("Connection", "close"))
            if refusal is HTTPStatus.UNAUTHORIZED:
                headers.append(("WWW-Authenticate", 'Basic realm="ccl-exporter", charset="UTF-8"'))
            if refusal is HTTPStatus.SERVICE_UNAVAILABLE:
                headers.append(("Retry-After", "1"))
            start(f"{refusal.value} {refusal.phrase}", headers)
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

        return guarded

    def ssl_adapter(self) -> "TlsAdapter | None":
        """What cheroot's server wants for TLS, or None for plain HTTP."""
        return None if self._loaded.context is None else TlsAdapter(self)

    def context(self) -> "_Context":
        """The TLS of the next connection; only where there is TLS at all."""
        context = self._current().context
        if context is None:
            raise AssertionError("TLS is neither switched on nor off while running")
        return context

    def _current(self) -> "_Loaded":
        """What counts now. Costs a `stat` of each file while nothing changes."""
        if self._path is not None and self._outdated():
            with self._lock:
                if self._outdated():
                    self._reload(self._path)
                    # Last, so that the old configuration is not taken for the new one meanwhile.
                    self._stamps = self._seen
        return self._loaded

    def _outdated(self) -> bool:
        return self._stamped() != self._stamps or time.monotonic() >= self._retry_at

    def _reload(self, path: Path) -> None:
        try:
            loaded = self._load(path)
            if (loss := loaded.config.loss_since(self._loaded.config)) is not None:
                raise UsageError(f"{path}: {loss}")
        except (UsageError, OSError) as error:
            if not self._trouble:
                log.warning("the web configuration is invalid, the running one is kept: %s", error)
            # Some troubles end without a change of the files: too many open files, a network drive.
            self._trouble, self._retry_at = True, time.monotonic() + _RETRY_SECONDS
            return
        self._loaded, self._retry_at = loaded, math.inf
        if self._trouble:
            log.warning("the web configuration can be used again and is in force")
        else:
            log.info("the web configuration or a certificate has changed and is in force")
        self._trouble = False

    def _load(self, path: Path) -> "_Loaded":
        # Stamps are taken before reading, so what changes in between is read again. The files of a configuration
        # that cannot be used are watched too, as it is often one of them that is then mended.
        self._seen = self._stamped()
        first = _stamp(path)
        config = parse(path)
        named = config.tls.files() if config.tls else ()
        self._files = (path, *named)
        self._seen = (first, *(_stamp(file) for file in named))
        return _Loaded(config)

    def _stamped(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in self._files)


def _stamp(path: Path) -> object:
    """What changes when a file does, its rights included; links are followed, as renewal often swaps one."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        return str(error)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class _Loaded:
    """A configuration in force: its certificates are read, and it knows the logins that were good under it."""

    def __init__(self, config: WebConfig) -> None:
        self.config = config
        self.context = None if config.tls is None else _context(config.tls)
        self.clients: tuple[object, ...] = self.context.clients if self.context is not None else ()
        self._users = {name.encode(): hashed for name, hashed in config.users.items()}
        self._key = secrets.token_bytes(32)
        self._good: dict[bytes, None] = {}
        self._bcrypt = threading.Lock()
        self._waiting: list[tuple[str, bytes]] = []
        self._tokens, self._filled = float(config.rate_burst), time.monotonic()
        self._counts = threading.Lock()

    @property
    def asks_for_login(self) -> bool:
        """Whether every client has logged in, with a password or a client certificate that was checked."""
        certificate = self.context is not None and self.context.verify_mode is ssl.CERT_REQUIRED
        return bool(self._users) or certificate

    def refusal(self, environ: WSGIEnvironment) -> HTTPStatus | None:
        """Why this request is not answered; None if it is."""
        if self.config.rate_interval and not self._token():
            return HTTPStatus.TOO_MANY_REQUESTS
        if not self._users:
            return None
        login = _basic_login(environ.get("HTTP_AUTHORIZATION", ""))
        if login is None:
            return HTTPStatus.UNAUTHORIZED
        mark = self._hash(login)
        if mark in self._good:
            return None
        entry = peer_of(environ.get("REMOTE_ADDR", "")), mark
        with self._counts:
            same_peer = [mark for peer, mark in self._waiting if peer == entry[0]]
            if (
                len(self._waiting) >= _MOST_WAITING
                or len(same_peer) >= _MOST_OF_PEER
                or len({*same_peer, mark}) > _MOST_LOGINS
            ):
                return HTTPStatus.SERVICE_UNAVAILABLE
            self._waiting.append(entry)
        try:
            return None if self._is_good(login, mark) else HTTPStatus.UNAUTHORIZED
        finally:
            with self._counts:
                self._waiting.remove(entry)

    def _token(self) -> bool:
        with self._counts:
            now = time.monotonic()
            gained = (now - self._filled) / self.config.rate_interval
            self._tokens, self._filled = min(self._tokens + gained, self.config.rate_burst), now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def _is_good(self, login: bytes, mark: bytes) -> bool:
        import bcrypt  # noqa: PLC0415 - most exporters run without logins

        name, _, password = login.partition(b":")
        known = name in self._users
        hashed = self._users[name] if known else self._decoy(name)
        # One at a time: guesses cost one processor, not all. Only good logins are remembered, so guesses push
        # none of them out.
        with self._bcrypt:
            if mark not in self._good and not (bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed) and known):
                return False
            if len(self._good) >= _MAX_REMEMBERED:
                del self._good[next(iter(self._good))]
            self._good[mark] = None
            return True

    def _decoy(self, name: bytes) -> bytes:
        """A real hash for an unknown name, always the same one, so that its check takes as long as any."""
        hashes = list(self._users.values())
        return hashes[int.from_bytes(self._hash(name)) % len(hashes)]

    def _hash(self, content: bytes) -> bytes:
        return blake2b(content, key=self._key).digest()


def _basic_login(header: str) -> bytes | None:
    """Name, colon and password of an Authorization header."""
    scheme, _, coded = header.partition(" ")
    try:
        login = base64.b64decode(coded.strip(), validate=True)
    except ValueError:
        return None
    return login if scheme.lower() == "basic" and b":" in login else None


class TlsAdapter(Adapter):
    """TLS for cheroot's server: each connection with the certificates of the moment.

    Cheroot's own adapter shakes hands in the one thread that accepts, where a client that connects and says
    nothing holds up everybody else. Here a worker does it when it first reads.
    """

    def __init__(self, security: WebSecurity) -> None:
        super().__init__(None, None)
        self._security = security

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, Any]]:
        context = self._security.context()
        try:
            connection = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            raise FatalSSLAlert(*error.args) from error
        return connection, {**self.get_environ(), _CLIENTS: context.clients}

    def get_environ(self) -> dict[str, str]:
        return {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def makefile(self, sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:
        return MakeFile(sock, mode, bufsize)


class _TlsConnection(PeerSocket, ssl.SSLSocket):
    """A connection that shakes hands when it is first read from."""

    _greeted = False

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        try:
            if not self._greeted:
                self.patiently(select.POLLIN, self.do_handshake)
                self._check_name()
                self._greeted = True
            return self.patiently(select.POLLIN, partial(ssl.SSLSocket.recv_into, self), buffer, nbytes, flags)
        except (OSError, ValueError) as error:
            if self._greeted and not isinstance(error, ssl.SSLError):
                raise
            if getattr(error, "reason", None) == "HTTP_REQUEST":
                self._answer_plainly()
            # Not louder: anybody who can connect can cause it.
            log.debug("a TLS connection failed: %s", error)
            # Cheroot drops the connection at this one, and would answer any other in clear.
            raise FatalSSLAlert(*error.args) from error

    def _check_name(self) -> None:
        allowed = self.context.allowed_sans if isinstance(self.context, _Context) else None
        if allowed is not None and allowed.isdisjoint(_names(self.getpeercert())):
            raise ssl.SSLError("no name of the client's certificate is in client_allowed_sans")

    def _answer_plainly(self) -> None:
        """Tell a client that speaks plain HTTP; past TLS, and after reading on, lest the reset overtake it."""
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(_HTTPS_ONLY)}\r\nConnection: close\r\n\r\n"
        with suppress(OSError):
            self.settimeout(0)
            with suppress(BlockingIOError):
                socket.socket.recv(self, 65536)
            socket.socket.send(self, head.encode() + _HTTPS_ONLY)


class _Context(ssl.SSLContext):
    sslsocket_class = _TlsConnection
    allowed_sans: frozenset[str] | None = None
    clients: tuple[object, ...] = ()
    """The rules for client certificates; a renewal of the server's certificate does not change them."""


def _names(certificate: Any) -> Iterator[str]:
    """The alternative names of a certificate as Go writes them."""
    for kind, name in (certificate or {}).get("subjectAltName", ()):
        if kind in ("DNS", "email", "URI"):
            yield name
        elif kind == "IP Address":
            with suppress(ValueError):
                yield str(ip_address(name.strip()))


def _context(tls: TlsConfig) -> _Context:
    """Read the certificates and the key as they are now; raises `UsageError`."""
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = tls.minimum, tls.maximum
    if tls.ciphers is not None:
        context.set_ciphers(tls.ciphers)
    if tls.curve is not None:
        context.set_ecdh_curve(tls.curve)
    if tls.server_preference:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    _load_pair(context, tls.certificate, tls.key)
    ca = _certificates(tls.client_ca) if tls.client_ca is not None else None
    if ca is not None:
        context.load_verify_locations(cadata=ca)
        # As in Go: what is in the file is trusted, an intermediate authority without its root too.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = tls.client_auth
    context.allowed_sans = tls.allowed_sans
    context.clients = (tls.client_auth, ca, tls.allowed_sans)
    return context


def _load_pair(context: ssl.SSLContext, certificate: Pem, key: Pem) -> None:
    contents = (_certificates(certificate).encode(), _content(key))
    with ExitStack() as stack:
        # Python takes a pair from files only. These are in memory, so a key that stands in the configuration
        # gets on no disk.
        files = [stack.enter_context(os.fdopen(os.memfd_create("pem"), "wb", buffering=0)) for _ in contents]
        for file, content in zip(files, contents, strict=True):
            file.write(content)
        paths = [f"/proc/self/fd/{file.fileno()}" for file in files]
        try:
            # With an empty password, as OpenSSL would ask for one on the terminal and wait.
            context.load_cert_chain(paths[0], paths[1], password="")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                what = "the key does not belong to the certificate: renew both together"
            elif b"ENCRYPTED" in contents[1]:
                what = "the key is protected by a password: write it without one (openssl pkey)"
            elif not error.reason:
                what = "there is no private key in PEM format in it, or it is damaged"
            else:
                what = f"OpenSSL refuses the certificate or its key ({error.reason}): issue them anew"
            raise UsageError(f"{key.place}: {what}") from error


def _certificates(pem: Pem) -> str:
    """The certificates alone, each one checked: there may be a key or comments around them."""
    found = b"\n".join(_CERTIFICATE.findall(_content(pem))).decode("latin-1")
    if not found:
        raise UsageError(f"{pem.place}: there is no certificate in PEM format in it")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=found)
    except (ssl.SSLError, TypeError, ValueError) as error:
        raise UsageError(f"{pem.place}: a certificate in it is damaged: issue it anew") from error
    return found


def _content(pem: Pem) -> bytes:
    if pem.path is None:
        return pem.text.encode()
    try:
        return pem.path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no file has such a name"
        raise UsageError(f"{pem.place}: {pem.path} cannot be read: {why}") from error
