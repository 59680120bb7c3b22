"""Everything that can be wrong with an engine, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

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
_TIMED = frozenset({"slow", "drip", "drip-headers", "late-writes", "back-end"})
_DEFAULT_SECONDS: Mapping[str, float] = MappingProxyType(
    {"slow": 12.0, "drip": 1.0, "drip-headers": 1.0, "late-writes": 30.0, "back-end": 300.0}
)


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
        if kind in _TIMED and argument:
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
