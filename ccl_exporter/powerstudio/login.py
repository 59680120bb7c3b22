"""Logging in: nothing first, Digest when the engine asks for it, Basic only when it asks for nothing better.

The schemes are those of protocol 7; the arithmetic of Digest (RFC 7616) is that of `requests`.
"""

import base64
import re
from types import SimpleNamespace
from typing import Any

from ccl_exporter.settings import Credentials

_DIGEST = re.compile(r"\bDigest\s+(.*)", re.IGNORECASE | re.DOTALL)
_BASIC = re.compile(r"\bBasic\b", re.IGNORECASE)


class Login:
    """The login at one engine; no other host gets the credentials."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials
        self._basic = False
        self._digest: Any = None
        self._granted = False
        self.refusal = "the charger requires a login: set CCL_USERNAME and CCL_PASSWORD_FILE"

    def headers(self, url: str, method: str = "GET") -> dict[str, str]:
        """The headers of the next request for `url`; empty until the engine has asked for a login."""
        if self._credentials is not None and self._digest is not None:
            header = self._digest.build_digest_header(method, url)
            name = self._credentials.username
            # Headers are sent as Latin-1, so UTF-8 is put as that; the library quotes nothing (RFC 7616 3.4).
            sent = name.replace("\\", r"\\").replace('"', r"\"").encode().decode("latin-1")
            return {"Authorization": header.replace(f'username="{name}"', f'username="{sent}"', 1)}
        if self._credentials is not None and self._basic:
            pair = f"{self._credentials.username}:{self._credentials.password}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {}

    def granted(self) -> None:
        """Note that the login was accepted: a later 401 means that the nonce has expired."""
        self._granted = self._digest is not None

    def accept(self, challenge: str, url: str) -> bool:
        """Take up the engine's WWW-Authenticate; True if it makes sense to send the request again."""
        if self._credentials is None:
            return False
        self.refusal = "the charger rejects the user name and password"
        asked = _DIGEST.search(challenge)
        trial = self._digest_of(asked[1]) if asked is not None else None
        if asked is not None and trial is not None and trial.build_digest_header("GET", url) is not None:
            # Another one, as the first request with a nonce has the count 1 (RFC 7616 3.4).
            digest = self._digest_of(asked[1])
            again = self._digest is None or self._granted or "stale=true" in challenge.lower().replace('"', "")
            self._digest, self._basic, self._granted = digest, False, False
            return again
        if _BASIC.search(challenge):
            again, self._digest, self._basic = not self._basic, None, True
            return again
        self.refusal = "the charger requires an unsupported kind of login"
        return False

    def _digest_of(self, challenge: str) -> Any:
        from requests.auth import HTTPDigestAuth  # noqa: PLC0415 - few engines ask for it
        from requests.utils import parse_dict_header  # noqa: PLC0415 - likewise

        fields: dict[str, str] = parse_dict_header(challenge)  # type: ignore[no-untyped-call] # it has no types
        if self._credentials is None or not (fields.get("realm") and fields.get("nonce")):
            return None
        digest: Any = HTTPDigestAuth(self._credentials.username, self._credentials.password)
        # Private, as requests takes a challenge only from a response of its own, and keeps it by thread; here one
        # reader at a time comes, though not always the same thread.
        digest._thread_local = SimpleNamespace(init=True, last_nonce="", nonce_count=0, chal=fields)
        return digest
