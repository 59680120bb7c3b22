"""How numbers, durations and tables are written for a person; what is hidden, and what could steer a terminal."""

from collections.abc import Sequence

MASK = "(hidden)"


def number(value: float | str | None) -> str:
    """A value as text: numbers without needless zeros."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else (value or "-")


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as columns; control characters of a charger cannot move a terminal's cursor."""
    shown = [tuple(printable(cell) for cell in line) for line in lines]
    widths = [max(len(line[column]) for line in shown) for column in range(len(shown[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in shown
    )


def printable(text: str) -> str:
    """A text without control characters."""
    return "".join(character if character.isprintable() else "�" for character in text)


def echo(value: object) -> str:
    """A value that is no secret, on one line and of a bearable length."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def written(seconds: float) -> str:
    """A duration as it stands in a file."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
