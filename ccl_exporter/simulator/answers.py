"""Requests and answers as they go over the wire, and how engines put a document into bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from ccl_exporter.simulator.dialects import Dialect

_DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MUST_ESCAPE = re.compile(r"[&<>\x00-\x1f\x85\u2028]")


@dataclass(frozen=True)
class Request:
    """One request that arrived. `at` is in seconds of the monotonic clock."""

    method: str
    target: str
    at: float
    authorization: str | None
    body: bytes


@dataclass(frozen=True)
class EngineAnswer:
    """What goes back over the wire."""

    status: int
    body: bytes = b""
    content_type: str = "text/xml"
    headers: tuple[tuple[str, str], ...] = ()


def refusal(status: int, words: str) -> EngineAnswer:
    """An answer that is no document."""
    page = f"<html><head><title>{status}</title></head><body>{words}</body></html>"
    return EngineAnswer(status, page.encode(), "text/html")


NOT_GRANTED = EngineAnswer(200, b"Access to this resource was not granted.", "text/plain")
"""A refusal that looks like success (protocol 7)."""


class Element(NamedTuple):
    """An element with children or a text; engines use no attributes (protocol 1)."""

    tag: str
    children: tuple[Element, ...] = ()
    text: str = ""


def leaf(tag: str, text: object) -> Element:
    """An element that holds only a text."""
    return Element(tag, text=str(text))


def node(tag: str, *children: Element) -> Element:
    """An element that holds other elements."""
    return Element(tag, children=children)


def document(root: Element, dialect: Dialect) -> bytes:
    """The bytes of a document as this dialect writes them; always UTF-8 (protocol 1)."""
    if dialect.extra_elements:
        root = _with_strangers(root)
    parts = [_DECLARATION] if dialect.declaration else []
    _write(root, dialect, parts, "")
    return (b"\xef\xbb\xbf" if dialect.bom else b"") + "".join(parts).encode()


def _write(element: Element, dialect: Dialect, parts: list[str], indent: str) -> None:
    tag, end = element.tag, "\n" if dialect.pretty else ""
    if not element.children:
        text = _MUST_ESCAPE.sub(_escape, element.text)
        padding = " \t" if dialect.padded and text else ""
        parts.append(f"{indent}<{tag}>{padding}{text}{padding}</{tag}>{end}")
        return
    parts.append(f"{indent}<{tag}>{end}")
    deeper = f"{indent}  " if dialect.pretty else ""
    for child in element.children:
        _write(child, dialect, parts, deeper)
    parts.append(f"{indent}</{tag}>{end}")


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    return {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(character, f"&#{ord(character)};")


def _with_strangers(element: Element) -> Element:
    if not element.children:
        return element
    stranger = node("vendorNote", leaf("id", "?"), leaf("value", "1.000000"))
    return element._replace(children=(stranger, *(_with_strangers(child) for child in element.children)))
