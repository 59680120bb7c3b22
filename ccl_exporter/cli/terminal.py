"""What a terminal gets besides the text of a pipe: colour, and lines that end at words."""

import os
import re
import sys
import textwrap
from typing import TextIO

import typer

_LABEL = re.compile(r"\s*\S+:\s+")


def coloured(text: str, colour: str | None = None, bold: bool = False) -> str:
    """A text in colour for `typer.echo`, which takes it away in a pipe; plain if NO_COLOR is set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return typer.style(text, fg=colour, bold=bold or None)


def wrapped(text: str, stream: TextIO) -> str:
    """Lines that end at words before the width of the terminal; as they are if `stream` is none.

    What follows a label, such as `plugs:`, is indented like the text behind it.
    """
    width = _width(stream)
    if not width:
        return text
    return "\n".join(_wrapped(line, width) for line in text.split("\n"))


def _wrapped(line: str, width: int) -> str:
    label = _LABEL.match(line)
    indent = len(label[0]) if label is not None and label.end() < width // 2 else 0
    return textwrap.fill(
        line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def _width(stream: TextIO) -> int:
    """The columns of a terminal; 0 if it is none, or none that says it."""
    if not stream.isatty():
        return 0
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() else os.get_terminal_size(stream.fileno()).columns


def highlighted(table: str) -> str:
    """A table for standard output with its header in bold; the last column has lines of its own if need be."""
    header, line_end, rows = "\n".join(_fitting(table.split("\n"), _width(sys.stdout))).partition("\n")
    return coloured(header, bold=True) + line_end + rows


def _fitting(lines: list[str], width: int) -> list[str]:
    start = lines[0].rstrip().rfind("  ") + 2
    if not 0 < width < max(map(len, lines)) or any(line[start - 2 : start].strip() for line in lines):
        return lines
    return [
        f"{line[:start].rstrip()}\n    {line[start:]}" if len(line) > start else line.rstrip() for line in lines
    ]
