"""Who may ask: Basic, and Digest with MD5 and qop=auth (protocol 7)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
from dataclasses import dataclass, field

from ccl_exporter.simulator.answers import NOT_GRANTED, EngineAnswer
from ccl_exporter.simulator.dialects import Dialect

_REALM = "CirCarLife Scada"
_PARAMETER = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


@dataclass
class LoginGate:
    """Checks credentials against one user; nonces follow from `seed`, one after the other."""

    username: str | None
    password: str | None
    seed: int
    _nonce_number: int = 0
    _uses: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, method: str, target: str, authorization: str | None, dialect: Dialect) -> EngineAnswer | None:
        """Nothing if the request may pass, else the refusal to send."""
        if dialect.auth == "none" or (dialect.auth_writes_only and method == "GET"):
            return None
        scheme, _, rest = (authorization or "").partition(" ")
        with self._lock:
            granted = False
            if scheme.lower() == "basic" and dialect.auth in ("basic", "not-granted"):
                granted = self._basic(rest)
            elif scheme.lower() == "digest" and dialect.auth in ("digest", "not-granted"):
                granted = self._digest(method, target, rest)
            stale = False
            if granted and dialect.nonce_uses is not None:
                self._uses += 1
                stale = self._uses > dialect.nonce_uses
            if stale:
                self._nonce_number, self._uses = self._nonce_number + 1, 0
            return None if granted and not stale else self._refusal(dialect, stale)

    def _basic(self, credentials: str) -> bool:
        try:
            given = base64.b64decode(credentials, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return False
        return given == f"{self.username}:{self.password}"

    def _digest(self, method: str, target: str, fields: str) -> bool:
        given = {name: quoted or bare for name, quoted, bare in _PARAMETER.findall(fields)}
        # The uri must be the target byte for byte: an engine compares, and so must we.
        expected = {"username": self.username, "realm": _REALM, "nonce": self._nonce(), "uri": target}
        if any(given.get(name) != value for name, value in expected.items()) or given.get("qop") != "auth":
            return False
        first = _md5(f"{self.username}:{_REALM}:{self.password}")
        second = _md5(f"{method}:{target}")
        middle = ":".join((self._nonce(), given.get("nc", ""), given.get("cnonce", ""), "auth"))
        return given.get("response") == _md5(f"{first}:{middle}:{second}")

    def _nonce(self) -> str:
        return _md5(f"{self.seed}/{self._nonce_number}")

    def _refusal(self, dialect: Dialect, stale: bool) -> EngineAnswer:
        if dialect.auth == "not-granted":
            return NOT_GRANTED
        challenge = f'Basic realm="{_REALM}"'
        if dialect.auth == "digest":
            challenge = f'Digest realm="{_REALM}", nonce="{self._nonce()}", qop="auth", algorithm=MD5'
            challenge += ", stale=true" if stale else ""
        return EngineAnswer(401, b"Unauthorized", "text/plain", (("WWW-Authenticate", challenge),))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
