"""Everything that can be wrong with an engine, by name, and how answers are spoilt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ccl_exporter.simulator.answers import NOT_GRANTED, EngineAnswer, refusal

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "silent": "takes the request and never answers",
        "slow": "answers late; argument: seconds",
        "drip": "sends the body a byte at a time; argument: seconds between two",
        "drip-headers": "sends headers and body a byte at a time; argument: seconds between two",
        "cut": "closes the connection half way through the body",
        "close": "closes the connection without an answer",
        "reset": "resets the connection without an answer",
        "lost-answer": "does what it is asked and closes the connection without an answer",
        "close-each": "closes the connection after each answer without saying so",
        "wrong-length": "announces a longer body than it sends",
        "endless": "sends a body that does not end (64 MB)",
        "garbled": "sends XML that is not well-formed",
        "truncated": "sends the first half of the document as if it were all",
        "html": "sends an HTML page with code 200",
        "empty": "sends an empty body with code 200",
        "laughs": "sends a document whose entities grow without bounds",
        "utf16-dtd": "sends a document with a DTD in UTF-16",
        "not-utf8": "sends bytes that are not UTF-8 in a document that says so",
        "redirect": "redirects to another host; argument: the address",
        "not-granted": "sends a text that says 'not granted' with code 200",
        "duplicate": "sends a variable twice with different values; argument: its full name, else all",
        "control": "uses quotes, line ends and control characters in names and texts",
        "device-error": "STATUS 34 and zeros for a device; argument: its name, else all",
        "unreadable": "a variable has no value; argument: its full name",
        "vanish": "leaves a device out of everything; argument: its name",
        "zeros": "energy registers read 0",
        "ignore-writes": "accepts writes and does nothing",
        "late-writes": "carries writes out late; argument: seconds",
        "back-end": "a back end starts and stops charges, as OCPP would; argument: seconds between the two",
    }
)
"""Kinds and what the engine does; besides these there is `status-NNN`, an answer with that code."""

_STATUS = re.compile(r"status-[1-9][0-9][0-9]")
_DEFAULT_SECONDS: Mapping[str, float] = MappingProxyType(
    {"slow": 12.0, "drip": 1.0, "drip-headers": 1.0, "late-writes": 30.0, "back-end": 300.0}
)
"""The kinds whose argument is a time."""

_ROOT = re.compile(rb"<([A-Za-z]\w*)")
_ELSEWHERE = "http://192.0.2.1/"
_PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><br>Please log in<p></body></html>"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong (protocol 3.1, 7 and 11.1).

    It concerns the requests whose target, as sent or decoded, contains `path`; `times` limits it to the
    first so many of them. Data faults (from `duplicate` on, in `KINDS`) change documents, not answers.
    """

    kind: str
    path: str = ""
    seconds: float | None = None
    arg: str = ""
    times: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS and not _STATUS.fullmatch(self.kind):
            raise ValueError(f"unknown fault {self.kind!r}; known are: {', '.join(KINDS)}, status-NNN")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read `kind[:argument][@part of the target]`, as in `slow:12@values.xml`."""
        head, _, path = text.partition("@")
        kind, _, argument = head.partition(":")
        if kind in _DEFAULT_SECONDS and argument:
            try:
                return cls(kind, path, float(argument))
            except ValueError:
                raise ValueError(f"fault {text!r}: {argument!r} is not a number of seconds") from None
        return cls(kind, path, arg=argument)

    @property
    def wait(self) -> float:
        """Its seconds, or what its kind takes by default."""
        return _DEFAULT_SECONDS.get(self.kind, 0.0) if self.seconds is None else self.seconds

    @property
    def status(self) -> int | None:
        """The code of a `status-NNN` fault."""
        return int(self.kind.removeprefix("status-")) if _STATUS.fullmatch(self.kind) else None

    @property
    def refuses(self) -> bool:
        """Whether an engine that answers so has not done what it was asked."""
        status = self.status
        return self.kind in ("not-granted", "redirect") or (status is not None and status < 500)

    def concerns(self, targets: Iterable[str]) -> bool:
        """Whether one of these spellings of a request's target contains `path`."""
        return any(self.path in target for target in targets)


def find(faults: Iterable[Fault], kind: str) -> Fault | None:
    """The first fault of a kind."""
    return next((fault for fault in faults if fault.kind == kind), None)


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
