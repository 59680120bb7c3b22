"""The README's table of metrics, made from the families themselves; run it to write the table anew."""

from pathlib import Path

from ccl_exporter.families import FAMILIES
from ccl_exporter.model import Family

README = Path(__file__).parent.parent / "README.md"
BEGIN = "<!-- metrics: written by `python tests/readme_table.py`, compared by a test -->\n"
END = "<!-- end of metrics -->\n"


def row(family: Family) -> str:
    labels = [*family.labels, *([family.name] if family.states else [])]
    words = f" One of: {', '.join(f'`{word}`' for word in family.states)}." if family.states else ""
    shown = ", ".join(f"`{label}`" for label in labels)
    return f"| `{family.name}` | {family.kind} | {shown} | {family.help}{words} |\n"


def table() -> str:
    return "| metric | type | labels | what |\n| --- | --- | --- | --- |\n" + "".join(map(row, FAMILIES))


def with_table(readme: str) -> str:
    """The README's text with the table as it should be."""
    before, _, rest = readme.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
