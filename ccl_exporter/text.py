"""How numbers, durations and tables are written for a person; what is hidden, and what could steer a terminal."""

from collections.abc import Sequence

MASK = "(hidden)"


def format_number(value: float | str | None) -> str:
    """A value as text: numbers without needless zeros."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else (value or "-")


def align_columns(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as columns; control characters of a charger cannot move a terminal's cursor."""
    shown = [tuple(printable_text(cell) for cell in line) for line in lines]
    widths = [max(len(line[column]) for line in shown) for column in range(len(shown[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in shown
    )


def printable_text(text: str) -> str:
    """A text without control characters."""
    return "".join(character if character.isprintable() else "�" for character in text)


def quote_short(value: object) -> str:
    """A value that is no secret, on one line and of a bearable length."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def format_duration(seconds: float) -> str:
    """A duration as it stands in a file."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
