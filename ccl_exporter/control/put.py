"""The one request that changes something: PUT forceVariables.xml (protocol 9.2). For commands only.

Nothing that the service imports may import this, and a test says so.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from xml.etree import ElementTree as ET

from ccl_exporter.errors import Absent, AccessDenied, Garbled, Unsure
from ccl_exporter.http_client import Answer, HttpError
from ccl_exporter.powerstudio.endpoints import quoted
from ccl_exporter.powerstudio.transport import NOT_THIS_WAY, Transport, charger_error

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
        """Force variables of one device before `deadline`, as in `get`.

        An engine may accept a write that does not take effect: read it back.
        Raises `Unsure` if no answer came and the write may have taken effect;
        with `Unreachable`, `AccessDenied`, `Absent`, `TimedOut` or `Garbled` nothing was written.
        """
        target = f"{self._path}/{_FORCE}?id={quoted(device)}"
        document, deadline = body(values), self._real(deadline)
        with self._lock.turn(deadline) if self._lock is not None else nullcontext():
            try:
                answer = self._logged_in(target, lambda: self._write(target, document, deadline))
            except HttpError as error:
                if error.sent:
                    raise Unsure(f"the write was sent, but no answer came: {error}") from error
                raise charger_error(error) from error
        self._judge(answer.status, answer.body)

    def _write(self, target: str, document: bytes, deadline: float) -> Answer:
        # A kept connection may be closed by now, and then it would not be known whether the request arrived.
        self._client.close()
        self.requests += 1
        headers = {"Content-Type": "text/xml", **self._login.headers(target, "PUT")}
        return self._client.request("PUT", target, deadline, headers=headers, body=document, most_bytes=_MOST)

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
