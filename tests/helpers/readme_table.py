"""The tables of pages: metrics and fields, made from the families themselves, and what was tried with what."""

from collections.abc import Sequence
from pathlib import Path

from ccl_exporter.metrics.families import EXPORTER, FAMILIES, FINISHED_CHARGE, Family, Sample
from ccl_exporter.outputs.influxdb.line_protocol import by_field, field_of, lines
from ccl_exporter.settings import InfluxLayout
from helpers import tried

README = Path(__file__).parents[2] / "README.md"
FIELDS_README = README.parent / "ccl_exporter" / "outputs" / "README.md"
NEIGHBOURS_README = README.parent / "deploy" / "neighbours" / "README.md"
METRICS_README = README.parent / "ccl_exporter" / "metrics" / "README.md"
TABLES = {"metrics": FAMILIES, "own metrics": EXPORTER}


def row(family: Family) -> str:
    labels = [*family.labels, *([family.name] if family.states else [])]
    words = f" One of: {', '.join(f'`{word}`' for word in family.states)}." if family.states else ""
    shown = ", ".join(f"`{label}`" for label in labels)
    return f"| `{family.name}` | {family.kind} | {shown} | {family.help}{words} |\n"


def table(families: Sequence[Family]) -> str:
    return "| metric | type | labels | what |\n| --- | --- | --- | --- |\n" + "".join(map(row, families))


NARROW = tuple(family for family in FAMILIES if {"variable", "device"} <= {*family.labels})
"""What the layouts write differently."""


def fields_table(families: Sequence[Family] = (*FAMILIES, *FINISHED_CHARGE), layout: InfluxLayout = "wide") -> str:
    """Measurements with their tags and fields, as the sink writes a sample of every family."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for family in families:
        labels = tuple(
            {"phase": "", "variable": "<variable>", "reason": "<reason>"}.get(x, x) for x in family.labels
        )
        for line in lines([Sample(family, labels, 1.0, family.states[:1])], "charger", 0, layout):
            tags = ", ".join(f"`{tag.partition('=')[0]}`" for tag in line.split(" ")[0].split(",")[1:])
            for piece in by_field(line):
                measurement, field = field_of(piece)
                found.setdefault((measurement, tags), {})[f"`{field}`"] = None
    rows = (f"| `{name}` | {tags} | {', '.join(fields)} |\n" for (name, tags), fields in found.items())
    return "| measurement | tags | fields |\n| --- | --- | --- |\n" + "".join(rows)


def _replaced(text: str, name: str, table: str) -> str:
    begin = f"<!-- {name}: written by `python tests/generate.py`, compared by a test -->\n"
    end = f"<!-- end of {name} -->\n"
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def readme() -> str:
    """The README with the table as it should be."""
    return _replaced(README.read_text(encoding="utf-8"), "tried", tried.table("main"))


def metrics_readme() -> str:
    """The page of the metrics with the tables as they should be."""
    text = METRICS_README.read_text(encoding="utf-8")
    for name, families in TABLES.items():
        text = _replaced(text, name, table(families))
    return text


def outputs_readme() -> str:
    """The page of the outputs with the tables as they should be."""
    text = _replaced(FIELDS_README.read_text(encoding="utf-8"), "fields", fields_table())
    text = _replaced(text, "fields of the narrow layout", fields_table(NARROW, "narrow"))
    return _replaced(text, "tried", tried.table("outputs"))


def neighbours_readme() -> str:
    """The page of the neighbours with the table as it should be."""
    return _replaced(NEIGHBOURS_README.read_text(encoding="utf-8"), "tried", tried.table("neighbours"))
