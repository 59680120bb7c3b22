"""Reads a request's target the way an engine does (protocol 6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ccl_exporter.simulator.dialects import Dialect


@dataclass(frozen=True)
class Query:
    """A target in parts; parameters decoded, in order."""

    path: str
    parameters: tuple[tuple[str, str], ...]

    def named(self, *names: str) -> list[tuple[str, str]]:
        """The parameters of these names that have a value."""
        return [(name, value) for name, value in self.parameters if name in names and value]

    def first(self, name: str) -> str | None:
        """The first value of a parameter."""
        return next((value for key, value in self.parameters if key == name), None)


def parse(target: str, dialect: Dialect) -> Query:
    """Part a target at the dialect's separators; a separator at the end is tolerated."""
    path, _, raw = target.partition("?")
    pieces = re.split(f"[{re.escape(dialect.separators)}]", raw) if dialect.separators else [raw]
    pieces = [piece for piece in pieces if piece]
    if len(pieces) > 1 and dialect.many != "all":
        pieces = pieces[:1] if dialect.many == "first" else []
    parameters = []
    for piece in pieces:
        name, _, value = piece.partition("=")
        parameters.append((decoded(name, dialect), decoded(value, dialect)))
    return Query(decoded(path, dialect), tuple(parameters))


def decoded(text: str, dialect: Dialect) -> str:
    """Undo percent-encoding; `+` stays a plus unless the dialect says otherwise."""
    if dialect.plus_is_blank:
        text = text.replace("+", " ")
    return unquote_to_bytes(text.encode("latin-1", "replace")).decode(dialect.names_charset, "replace")
