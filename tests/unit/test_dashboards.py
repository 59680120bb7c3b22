"""The built dashboards: as their source says, fit for provisioning, lint-clean, and about metrics that there are.

The rules are those of Grafana's dashboard-linter, for every kind of panel; what departs from one says why.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import promql_parser as promql
import pytest
import yaml
from boards.build import BOARDS as SOURCES
from boards.layout import COLUMNS
from helpers.board_queries import BOARDS, FOLDER, Query, defaults, filled, panels, queries, source
from helpers.support import PROJECT

from ccl_exporter.metrics.families import EXPORTER, FAMILIES, FINISHED_CHARGE, FOLLOW, Family, Sample
from ccl_exporter.outputs.influxdb.line_protocol import by_field, field_of, lines

NAMES = sorted(BOARDS)
PROMETHEUS = [name for name in NAMES if source(BOARDS[name]) == "prometheus"]
SCRAPED = [name for name in PROMETHEUS if name != "charger-victoriametrics.json"]
PUSHED = {
    "charger-influxdb.json": "the push has no job and no instance: `charger` stands for both",
    "charger-victoriametrics.json": "the push has no job and no instance: `charger` stands for both",
}
OWN = "the exporter's own metrics come from /metrics, whose instance is the exporter and not a charger"

BUILT_IN = {
    "__interval": "1m",
    "__rate_interval": "1m",
    "__from": "1790000000000",
    "__range": "1d",
    "__range_s": "86400",
    "timeFilter": "time > now() - 1d",
}

UNITS = {
    *("none", "short", "percentunit", "cps", "bytes", "s", "dtdurations", "dateTimeAsLocal", "dateTimeFromNow"),
    *("watt", "voltamp", "voltampreact", "kwatth", "amp", "volt", "hertz", "degree", "celsius"),
}
"""Those of Grafana's categories.ts that are used here."""

WIDTH_OF_A_COLUMN, WIDTH_OF_A_CHARACTER, BESIDE_A_TITLE = 66, 7.2, 40
"""Pixels: of a window of 1600, of Grafana's font of 14 on average, of margins with the sign for a description."""


def expressions(name: str) -> Iterator[tuple[Query, promql.Expr]]:
    """Every query in PromQL with its parsed form."""
    for query in queries(name):
        text = filled(query, {**defaults(name), "price": "0.3", "cheap_price": "0.1"}, BUILT_IN)
        if query.kind == "variable":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", text)
            assert found, f"{query}: {text}"
            text = found[1]
        yield query, promql.parse(text)


def inside(expression: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[promql.VectorSelector, tuple[Any, ...]]]:
    """Every selector with the expressions around it."""
    if isinstance(expression, promql.MatrixSelector):
        yield expression.vector_selector, (*path, expression)
    elif isinstance(expression, promql.VectorSelector):
        yield expression, path
    else:
        for name in ("lhs", "rhs", "expr", "param"):
            part = getattr(expression, name, None)
            if isinstance(part, promql.Expr | promql.MatrixSelector):
                yield from inside(part, (*path, expression))
        for part in getattr(expression, "args", None) or ():
            yield from inside(part, (*path, expression))


def matchers(selector: promql.VectorSelector) -> dict[str, str]:
    return {one.name: one.value for one in selector.matchers.matchers}


def calls(path: tuple[Any, ...]) -> list[str]:
    return [one.func.name for one in path if isinstance(one, promql.Call)]


# The files


def test_the_page_names_every_board() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")

    assert [name for name in BOARDS if f"`{name}`" not in page] == []
    assert set(SOURCES) == set(BOARDS)


MAY_KNOW = {
    "metrics",
    "metrics.families",
    "outputs.influxdb.line_protocol",
    "station.catalogue",
}
"""What the source may import of the exporter: its catalogue, never what reads or serves."""


def test_the_source_knows_the_exporters_catalogue_and_stays_small() -> None:
    for path in (FOLDER / "boards").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"^from ccl_exporter\.([\w.]+) import", text, re.MULTILINE)
        assert set(found) <= MAY_KNOW, path.name


@pytest.mark.parametrize("name", NAMES)
def test_a_board_loads_from_a_file_without_editing(name: str) -> None:
    board, text = BOARDS[name], (FOLDER / name).read_text(encoding="utf-8")

    assert board["id"] is None
    assert board["schemaVersion"] == 42
    assert re.fullmatch(r"ccl-[a-z-]{1,36}", board["uid"])
    assert not re.search(r"__inputs|__requires|__elements|\$\{DS_", text)
    assert "formatTime" not in text, "schemaVersion 43 would rewrite it"
    assert [one["uid"] for one in BOARDS.values()].count(board["uid"]) == 1


def test_the_provisioning_files_load_the_folder() -> None:
    folder = PROJECT / "deploy" / "grafana" / "provisioning"
    boards = yaml.safe_load((folder / "dashboards" / "ccl.yml").read_text())
    sources = yaml.safe_load((folder / "datasources" / "ccl.yml").read_text())

    (provider,) = boards["providers"]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False
    assert {one["type"] for one in sources["datasources"]} == {source(board) for board in BOARDS.values()}
    assert all(one["uid"] and one["access"] == "proxy" for one in sources["datasources"])
    assert all(one["jsonData"]["timeInterval"] for one in sources["datasources"])


# The linter's rules


@pytest.mark.parametrize("name", NAMES)
def test_lint_template_datasource(name: str) -> None:
    (found,) = [one for one in BOARDS[name]["templating"]["list"] if one["type"] == "datasource"]

    assert found["name"] == "datasource"
    assert found["label"] == "Data source"
    assert found["query"] in ("prometheus", "influxdb")
    assert not found["current"], "a board must not name somebody's data source"


@pytest.mark.parametrize("name", NAMES)
def test_lint_template_job_and_template_instance(name: str) -> None:
    found = {one["name"]: one for one in BOARDS[name]["templating"]["list"] if one["type"] == "query"}

    for variable in ("job", "instance") if name not in PUSHED else ("charger",):
        assert found[variable]["label"] == variable.capitalize()
        assert found[variable]["multi"]
        assert found[variable]["allValue"] == ".+"
        assert found[variable]["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("name", NAMES)
def test_lint_template_on_time_change_reload(name: str) -> None:
    for variable in BOARDS[name]["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["refresh"] == 2, variable["name"]


@pytest.mark.parametrize("name", NAMES)
def test_lint_panel_datasource_and_no_logql(name: str) -> None:
    wanted = {"type": source(BOARDS[name]), "uid": "${datasource}"}

    for panel in panels(BOARDS[name]):
        assert panel["datasource"] == wanted
        assert all(target["datasource"] == wanted for target in panel["targets"])
    assert all(mark["datasource"] == wanted for mark in BOARDS[name]["annotations"]["list"])


@pytest.mark.parametrize("name", NAMES)
def test_lint_panel_title_description_and_no_targets(name: str) -> None:
    for panel in panels(BOARDS[name]):
        assert panel["title"]
        assert panel["description"].strip(), panel["title"]
        assert panel["targets"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("name", NAMES)
def test_lint_panel_units(name: str) -> None:
    """Also of panels that map values to words, and of columns."""
    for panel in panels(BOARDS[name]):
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        for override in panel["fieldConfig"]["overrides"]:
            for one in override["properties"]:
                assert one["id"] != "unit" or one["value"] in UNITS, panel["title"]


@pytest.mark.parametrize("name", PROMETHEUS)
def test_lint_target_promql_and_template_label_promql(name: str) -> None:
    assert len(list(expressions(name))) == len(queries(name))


@pytest.mark.parametrize("name", PROMETHEUS)
def test_lint_target_rate_interval(name: str) -> None:
    """Also of `increase`, which the linter lets pass."""
    for query in queries(name):
        for window in re.findall(r"(?:rate|irate|increase)\([^[]*\[([^]]*)\]", query.text):
            assert window == "$__rate_interval", query


@pytest.mark.parametrize("name", PROMETHEUS)
def test_lint_target_job_and_target_instance(name: str) -> None:
    for query in queries(name):
        if query.place in ("variable job", "variable charger", "variable exporter"):
            continue  # it is what the others are chosen by
        for selector in re.findall(r"\{[^{}]*\}", re.sub(r"\$\{[^}]*\}", "$x", query.text)):
            if name in PUSHED:
                assert "charger=~`$x`" in selector, f"{query}: {PUSHED[name]}"
            elif "$exporter" in selector:
                assert (
                    query.place.startswith("variable")
                    or "ccl_exporter_" in query.text
                    or re.search(r"ccl_(influxdb|mqtt)_", query.text)
                ), f"{query}: {OWN}"
            else:
                assert 'job=~"$job"' in selector, query
                assert 'instance=~"$instance"' in selector or query.place in (
                    "variable instance",
                    "variable group",
                ), query


REGISTERS_AS_THEY_ARE = {
    "Meter",
    "Plugs",
    "Values now",
    "Registers of active energy (kWh)",
    "Registers of reactive energy (kvarh)",
    "Registers of apparent energy (kVAh)",
}
"""Panels that show where a register stands, which is what an owner compares with the display."""


@pytest.mark.parametrize("name", PROMETHEUS)
def test_lint_target_counter_agg(name: str) -> None:
    """A counter is under rate or increase, or a difference of two of its values is taken, which does not guess."""
    for query, expression in expressions(name):
        for selector, path in inside(expression):
            if (selector.name or "").endswith("_total") and query.place.rpartition(" ")[
                0
            ] not in REGISTERS_AS_THEY_ARE:
                wanted = {"rate", "irate", "increase", "last_over_time", "min_over_time"}
                assert wanted & set(calls(path)), query


@pytest.mark.parametrize("name", NAMES)
def test_lint_uneditable_dashboard(name: str) -> None:
    assert BOARDS[name]["editable"] is False


# What is asked for is there

RULES = yaml.safe_load((PROJECT / "deploy/prometheus/rules/recording.yml").read_text())
RECORDED = {rule["record"] for group in RULES["groups"] for rule in group["rules"]}
ATTACHED = {"job", "instance", "month", "site", "planned_outage"}
"""Labels that Prometheus or a rule attaches."""


def pushed_names() -> dict[str, set[str]]:
    """Names in VictoriaMetrics with their labels, from what the sink writes of every family."""
    found: dict[str, set[str]] = {}
    for family in (*FAMILIES, *FINISHED_CHARGE):
        for phase in ("", "l1", "l2", "l3"):
            labels = tuple(phase if label == "phase" else label for label in family.labels)
            for line in lines([Sample(family, labels, 1.0, family.states[:1])], "charger", 0):
                tags = {tag.partition("=")[0] for tag in line.split(" ")[0].split(",")[1:]}
                for piece in by_field(line):
                    measurement, field = field_of(piece)
                    found[f"{measurement}_{field}"] = tags
    return found


def scraped_names() -> dict[str, set[str]]:
    def labels(family: Family) -> set[str]:
        return {*family.labels, *([family.name] if family.states else [])} | ATTACHED

    found = {family.name: labels(family) for family in (*FAMILIES, *EXPORTER, *FOLLOW)}
    found |= {name: {"plug"} | ATTACHED for name in RECORDED}
    return found | {"ALERTS": {"alertname", "alertstate"} | ATTACHED}


def unknown(expression: promql.Expr, known: Mapping[str, set[str]]) -> Iterator[str]:
    """Metrics and labels of an expression that there are not."""
    for selector, _ in inside(expression):
        asked = matchers(selector)
        pattern = asked.pop("__name__", None) or re.escape(selector.name or "")
        fitting = [one for one in known if re.fullmatch(pattern, one)]
        if not fitting:
            yield pattern
        for metric in fitting:
            yield from (f"{label} of {metric}" for label in set(asked) - known[metric])


@pytest.mark.parametrize("name", PROMETHEUS)
def test_a_board_asks_only_for_metrics_and_labels_that_there_are(name: str) -> None:
    known = pushed_names() if name in PUSHED else scraped_names()
    for query, expression in expressions(name):
        assert not list(unknown(expression, known)), query


def test_a_metric_or_label_that_is_not_there_is_found() -> None:
    asked = promql.parse(
        'rate(ccl_plug_colour[5m]) + ccl_up{plug="EVSE.PLUG"} + {__name__=~"ccl_plug_p.+", phase="l1"}'
    )

    assert set(unknown(asked, scraped_names())) == {
        "ccl_plug_colour",
        "plug of ccl_up",
        "phase of ccl_plug_power_reduction_ratio",
    }


@pytest.mark.parametrize("name", SCRAPED)
def test_a_board_asks_only_for_words_that_a_stateset_has(name: str) -> None:
    states = {family.name: set(family.states) for family in FAMILIES if family.states}
    for query, expression in expressions(name):
        for selector, _ in inside(expression):
            words = matchers(selector).get(selector.name or "", "")
            assert set(filter(None, words.split("|"))) <= states.get(selector.name or "", set()), query


def test_the_influxdb_board_asks_only_for_measurements_tags_and_fields_that_are_written() -> None:
    written_: dict[str, set[str]] = {}
    for family in (*FAMILIES, *FINISHED_CHARGE):
        for phase in ("", "l1", "l2", "l3"):
            labels = tuple(phase if label == "phase" else label for label in family.labels)
            for line in lines([Sample(family, labels, 1.0, family.states[:1])], "charger", 0):
                measurement, *tags = line.split(" ")[0].split(",")
                known = written_.setdefault(measurement, set())
                known |= {tag.partition("=")[0] for tag in tags} | {field_of(one)[1] for one in by_field(line)}
    for query in queries("charger-influxdb.json"):
        measurements = set(re.findall(r'FROM "(\w+)"', query.text))
        ours = set(re.findall(r'AS "([\w ]+)"', query.text))
        assert measurements <= set(written_), query
        known = set().union(*(written_[measurement] for measurement in measurements))
        asked = set(re.findall(r'"([\w ]+)"', query.text)) - measurements - ours
        assert asked <= known, f"{query}: {asked - known}"


def test_a_metric_that_is_not_there_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    board = BOARDS["charger.json"]
    targets = next(panels(board))["targets"]
    monkeypatch.setitem(targets[0], "expr", "ccl_plug_colour{}")

    with pytest.raises(AssertionError, match="ccl_plug_colour"):
        test_a_board_asks_only_for_metrics_and_labels_that_there_are("charger.json")


def test_legends_name_labels_that_the_answer_has() -> None:
    every = {"charger", "$label"}.union(*scraped_names().values())
    for name in PROMETHEUS:
        for panel in panels(BOARDS[name]):
            for target in panel["targets"]:
                assert set(re.findall(r"\{\{([^}]+)\}\}", target["legendFormat"])) <= every, panel["title"]


# Layout


@pytest.mark.parametrize("name", NAMES)
def test_panels_fill_the_grid_without_gap_or_overlap(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        for y in range(place["y"], place["y"] + place["h"]):
            for x in range(place["x"], place["x"] + place["w"]):
                assert (x, y) not in taken, f"{panel['title']} lies over {taken[x, y]}"
                taken[x, y] = panel["title"]

    height = max(y for _, y in taken) + 1
    assert len(taken) == height * COLUMNS, "there is a gap"
    assert len({panel["id"] for panel in BOARDS[name]["panels"]}) == len(BOARDS[name]["panels"])


@pytest.mark.parametrize("name", NAMES)
def test_no_title_is_cut(name: str) -> None:
    for panel in panels(BOARDS[name]):
        room = panel["gridPos"]["w"] * WIDTH_OF_A_COLUMN - BESIDE_A_TITLE
        assert len(panel["title"]) * WIDTH_OF_A_CHARACTER <= room, panel["title"]
