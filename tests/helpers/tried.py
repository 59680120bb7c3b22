"""The tables of what was tried with what, from one file."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

TRIED = Path(__file__).parents[1] / "tried.toml"


@cache
def _rows() -> list[Mapping[str, Any]]:
    return list(tomllib.loads(TRIED.read_text(encoding="utf-8"))["tried"])


def table(page: str) -> str:
    """The table of a page; those that have files of ours for it have a column for them."""
    rows = [row for row in _rows() if page in row["pages"]]
    has_files = all("how" in row for row in rows)
    head = ["with", "version", *(["how"] if has_files else []), "tried"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        when = f" ({row['when']})" if "when" in row else ""
        files = [row["how"]] if has_files else []
        lines.append([row["name"], row.get("version", ""), *files, f"{row['what']}{when}"])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
