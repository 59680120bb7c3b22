"""Spoils answers: the faults that are about what is sent, not how."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ccl_exporter.simulator.auth import NOT_GRANTED
from ccl_exporter.simulator.faults import Fault
from ccl_exporter.simulator.simulated_engine import EngineAnswer, refusal

_ROOT = re.compile(rb"<([A-Za-z]\w*)")
_ELSEWHERE = "http://192.0.2.1/"
_PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><br>Please log in<p></body></html>"


def mangled(answer: EngineAnswer, faults: Sequence[Fault]) -> EngineAnswer:
    """The answer as these faults leave it; the first one that concerns content wins."""
    for fault in faults:
        if fault.status is not None:
            return refusal(fault.status, "Error")
        if fault.kind == "redirect":
            return EngineAnswer(302, b"", "text/html", (("Location", fault.arg or _ELSEWHERE),))
        if fault.kind == "not-granted":
            return NOT_GRANTED
        if fault.kind == "html":
            return EngineAnswer(200, _PAGE, "text/html")
        if fault.kind == "empty":
            return EngineAnswer(200)
        if fault.kind in ("garbled", "truncated", "laughs", "utf16-dtd", "not-utf8"):
            return replace(answer, body=_spoilt(answer.body, fault.kind))
    return answer


def endless_body(body: bytes) -> tuple[bytes, bytes]:
    """The begin of a document that does not end, and the piece to repeat for ever."""
    root = _root_of(body)
    return b"<" + root + b">", b"<variable><id>A.B</id><value>1.000000</value></variable>" * 1000


def _spoilt(body: bytes, kind: str) -> bytes:
    root = _root_of(body)
    if kind == "garbled":
        return body.replace(b"</", b"<//")
    if kind == "truncated":
        return body[: len(body) // 2]
    if kind == "not-utf8":
        before, _, after = body.rpartition(b"</")
        return before + b"<title>\xe9\xff\xfe</title></" + after
    if kind == "utf16-dtd":
        name = root.decode()
        text = f'<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE {name} [<!ENTITY a "1">]><{name}>&a;</{name}>'
        return text.encode("utf-16")
    entities = b'<!ENTITY e0 "ha">' + b"".join(
        b'<!ENTITY e%d "%s">' % (depth, b"&e%d;" % (depth - 1) * 10) for depth in range(1, 10)
    )
    return b'<?xml version="1.0"?><!DOCTYPE %s [%s]><%s>&e9;</%s>' % (root, entities, root, root)


def _root_of(body: bytes) -> bytes:
    found = _ROOT.search(body)
    return found.group(1) if found else b"values"
