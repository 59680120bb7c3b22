"""Variables as a table: their order, and what stands beside codes."""

import json

from ccl_exporter.diagnostics.variable_table import as_json, select_rows, table
from ccl_exporter.station.rows import VariableRow


def row(variable: str, value: float | str | None = 1.0, unit: str = "") -> VariableRow:
    return VariableRow("EVSE", variable, "", value, unit, None, None, None)


def test_variables_are_in_natural_order() -> None:
    rows = [row("PLUG10.AE"), row("PLUG9.AE"), row("AE")]

    assert [one.variable for one in select_rows(rows, [], None, False)] == ["AE", "PLUG9.AE", "PLUG10.AE"]


def test_beside_a_code_stands_what_it_means_and_beside_a_number_its_unit() -> None:
    rows = [row("PLUG.STATE", 8.0), row("PLUG.AE", 9.0, "kWh"), row("PLUG.STATE", None)]

    assert [line.split()[2:] for line in table(rows, {"EVSE": "engine"}).splitlines()[1:]] == [
        ["charging"],
        ["kWh"],
        [],
    ]
    assert [one["words"] for one in json.loads(as_json(rows, {"EVSE": "engine"}))] == ["charging", None, None]


def test_a_code_of_a_device_of_another_kind_has_no_words() -> None:
    assert table([row("PLUG.STATE", 8.0)]).splitlines()[1].split() == ["EVSE.PLUG.STATE", "8"]


def test_a_pattern_means_ids_and_only_where_none_fits_titles() -> None:
    rows = [
        VariableRow("EVSE", variable, title, 1.0, "", None, None, None)
        for variable, title in (("API", "Power"), ("POWER", "Lamp"), ("AE", "Energy"))
    ]

    def chosen(*patterns: str) -> list[str]:
        return [one.variable for one in select_rows(rows, patterns, None, False)]

    assert chosen("*power*") == ["POWER"]
    assert chosen("ener*") == ["AE"]
    assert chosen("evse.a*") == ["AE", "API"]
