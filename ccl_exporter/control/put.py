"""The one request that changes something: PUT forceVariables.xml (protocol 9.2). For commands only.

Nothing that the service imports may import this, and a test says so.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from time import monotonic
from xml.etree import ElementTree as ET

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import NewConnectionError

from ccl_exporter.errors import Absent, AccessDenied, Garbled, TimedOut, Unsure
from ccl_exporter.powerstudio.endpoints import quoted
from ccl_exporter.powerstudio.transport import HEADERS, LOGIN_TRIES, NOT_THIS_WAY, Transport, causes

_FORCE = "services/user/forceVariables.xml"
_ACCEPTED = (200, 204)
_MOST = 64 * 1024


def body(values: Mapping[str, float]) -> bytes:
    """The document that forces variables, by full id, to values as the engine takes them."""
    root = ET.Element("forceVariables")
    for name, value in values.items():
        item = ET.SubElement(root, "forceVar")
        ET.SubElement(item, "forceName").text = name
        ET.SubElement(item, "forceValue").text = f"{value:.6f}".rstrip("0").rstrip(".")
    found: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return found


class WritableTransport(Transport):
    """A transport that can write, too."""

    def put(self, device: str, values: Mapping[str, float], deadline: float) -> None:
        """Force variables of one device; `deadline` is in monotonic seconds.

        That the engine accepts it does not say that it does it: read back what came of it.
        Raises `Unsure` if it may have been taken though no answer came;
        with `Unreachable`, `AccessDenied`, `Absent`, `TimedOut` or `Garbled` nothing was written.
        """
        with self._lock.turn(deadline) if self._lock is not None else nullcontext():
            # A kept connection may be closed by now, and then nobody could say whether the request arrived.
            self._pool.close()
            self._pool = self._connections()
            try:
                status, answer = self._translated(lambda: self._force(device, values, deadline))
            except (Garbled, TimedOut) as error:
                if any(isinstance(cause, NewConnectionError) for cause in causes(error)):
                    raise
                raise Unsure(f"the write was sent, but no answer came: {error}") from error
        self._judge(status, answer)

    def _force(self, device: str, values: Mapping[str, float], deadline: float) -> tuple[int, bytes]:
        url = f"{self.url}/{_FORCE}?id={quoted(device)}"
        response = self._write(url, body(values), deadline)
        for _ in range(LOGIN_TRIES):
            if response.status != 401 or not self._login.accept(response.headers.get("WWW-Authenticate", ""), url):
                break
            response.close()
            response = self._write(url, body(values), deadline)
        try:
            return response.status, response.read(_MOST)
        finally:
            response.close()

    def _write(self, url: str, document: bytes, deadline: float) -> BaseHTTPResponse:
        self.requests += 1
        self._line.begin(deadline)
        return self._pool.urlopen(
            "PUT",
            url[self._root :],
            body=document,
            headers=HEADERS | {"Content-Type": "text/xml"} | self._login.headers(url, "PUT"),
            retries=False,
            redirect=False,
            timeout=max(deadline - monotonic(), 0.001),
            preload_content=False,
            decode_content=False,
        )

    def _judge(self, status: int, answer: bytes) -> None:
        if status == 401:
            raise AccessDenied(self._login.refusal)
        if status == 403 or b"not granted" in answer.lower():
            raise AccessDenied("the charger does not allow this")
        if status in NOT_THIS_WAY:
            raise Absent(f"the engine cannot be written to: it answers {status}")
        if status >= 500:
            raise Unsure(f"the charger answers {status} to the write, which says nothing of it")
        if status not in _ACCEPTED:
            raise Garbled(f"the charger answers {status} to a write")
        self._login.granted()
