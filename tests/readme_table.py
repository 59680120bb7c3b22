"""The README's table of metrics, made from the families themselves; run it to write the table anew."""

from collections.abc import Sequence
from pathlib import Path

from ccl_exporter.families import EXPORTER, FAMILIES
from ccl_exporter.model import Family

README = Path(__file__).parent.parent / "README.md"
TABLES = {"metrics": FAMILIES, "own metrics": EXPORTER}


def row(family: Family) -> str:
    labels = [*family.labels, *([family.name] if family.states else [])]
    words = f" One of: {', '.join(f'`{word}`' for word in family.states)}." if family.states else ""
    shown = ", ".join(f"`{label}`" for label in labels)
    return f"| `{family.name}` | {family.kind} | {shown} | {family.help}{words} |\n"


def table(families: Sequence[Family]) -> str:
    return "| metric | type | labels | what |\n| --- | --- | --- | --- |\n" + "".join(map(row, families))


def with_table(readme: str) -> str:
    """The README's text with the tables as they should be."""
    for name, families in TABLES.items():
        begin = f"<!-- {name}: written by `python tests/readme_table.py`, compared by a test -->\n"
        end = f"<!-- end of {name} -->\n"
        before, _, rest = readme.partition(begin)
        readme = f"{before}{begin}\n{table(families)}\n{end}{rest.partition(end)[2]}"
    return readme


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
