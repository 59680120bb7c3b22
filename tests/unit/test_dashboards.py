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

from ccl_exporter.metrics.families import EXPORTER, FAMILIES, FINISHED_CHARGE, FOLLOW, PLAN, Family, Sample
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
    "__to": "1790086400000",
    "__range": "1d",
    "__range_s": "86400",
    "timeFilter": "time > now() - 1d",
}

UNITS = {
    *("none", "short", "percentunit", "cps", "bytes", "s", "dthms", "dateTimeAsLocal", "dateTimeFromNow"),
    *("watt", "voltamp", "voltampreact", "amp", "volt", "hertz", "degree", "celsius"),
    *("suffix:kWh", "suffix:kVAh", "suffix:kvarh", "suffix:h"),
}
"""Those of Grafana's categories.ts that are used here, and fixed ones: the linter's `kwatth` makes MWh and Wh."""

WIDTH_OF_A_COLUMN, WIDTH_OF_A_CHARACTER, BESIDE_A_TITLE = 52, 7.2, 56
"""Pixels: of a window of 1280, of Grafana's font of 14 on average, of margins with the sign for a description."""


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
    "station",
    "station.catalogue",
}
"""What the source may import of the exporter: its catalogue and names, never what reads or serves."""


def test_the_source_knows_the_exporters_catalogue_and_stays_small() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in (FOLDER / "boards").glob("*.py")}
    pattern = r"^from ccl_exporter import (\w+)|^from ccl_exporter\.([\w.]+) import"
    found = {one or other for text in texts.values() for one, other in re.findall(pattern, text, re.MULTILINE)}

    assert found - MAY_KNOW == set()
    assert found
    assert {name for name, text in texts.items() if text.count("\n") > 450} == set()


def test_a_board_loads_from_a_file_without_editing() -> None:
    wrong = []
    for name, board in BOARDS.items():
        text = (FOLDER / name).read_text(encoding="utf-8")
        if board["id"] is not None or board["schemaVersion"] != 42:
            wrong.append(f"{name}: id or version of the schema")
        if not re.fullmatch(r"ccl-[a-z-]{1,36}", board["uid"]):
            wrong.append(f"{name}: uid")
        if re.search(r"__inputs|__requires|__elements|\$\{DS_", text):
            wrong.append(f"{name}: something to fill in")
        if "formatTime" in text:
            wrong.append(f"{name}: formatTime, which schemaVersion 43 would rewrite")

    assert wrong == []
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)


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


def variables(name: str, type: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in BOARDS[name]["templating"]["list"] if one["type"] == type}


def titled_panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel of every board, with what names it in a message."""
    for name in NAMES:
        for panel in panels(BOARDS[name]):
            yield f"{name}: {panel.get('title')}", panel


def test_lint_template_datasource() -> None:
    """Nor may a board name somebody's data source."""
    wanted: list[tuple[str, str, bool, dict[str, object]]] = [("datasource", "Data source", True, {})]
    found = {
        name: [
            (one["name"], one["label"], one["query"] in ("prometheus", "influxdb"), one["current"])
            for one in variables(name, "datasource").values()
        ]
        for name in NAMES
    }

    assert found == dict.fromkeys(NAMES, wanted)


def test_lint_template_job_and_template_instance() -> None:
    wrong = []
    for name in NAMES:
        found = variables(name, "query")
        for variable in ("job", "instance") if name not in PUSHED else ("charger",):
            one = found[variable]
            shown = (one["label"], one["multi"], one["allValue"], one["datasource"]["uid"])
            if shown != (variable.capitalize(), True, ".+", "${datasource}"):
                wrong.append((name, variable, shown))

    assert wrong == []


def test_lint_template_on_time_change_reload() -> None:
    found = [(name, one, found["refresh"]) for name in NAMES for one, found in variables(name, "query").items()]

    assert [one for one in found if one[-1] != 2] == []
    assert found


def test_lint_panel_datasource_and_no_logql() -> None:
    wrong = []
    for name, board in BOARDS.items():
        wanted = {"type": source(board), "uid": "${datasource}"}
        for panel in panels(board):
            if any(one["datasource"] != wanted for one in (panel, *panel["targets"])):
                wrong.append((name, panel["title"]))
        if any(mark["datasource"] != wanted for mark in board["annotations"]["list"]):
            wrong.append((name, "annotations"))

    assert wrong == []


def test_lint_panel_title_description_and_no_targets() -> None:
    wrong = [
        place
        for place, panel in titled_panels()
        if not (panel["title"] and panel["description"].strip() and panel["targets"])
        or len({target["refId"] for target in panel["targets"]}) < len(panel["targets"])
    ]

    assert wrong == []


def test_lint_panel_units() -> None:
    """Also of panels that map values to words, and of columns."""
    wrong = []
    for place, panel in titled_panels():
        used = [panel["fieldConfig"]["defaults"]["unit"]]
        for override in panel["fieldConfig"]["overrides"]:
            used += [one["value"] for one in override["properties"] if one["id"] == "unit"]
        wrong += [(place, unit) for unit in used if unit not in UNITS]

    assert wrong == []


def test_lint_target_promql_and_template_label_promql() -> None:
    parsed = {name: len(list(expressions(name))) for name in PROMETHEUS}

    assert parsed == {name: len(queries(name)) for name in PROMETHEUS}


def test_lint_target_rate_interval() -> None:
    """Also of `increase`, which the linter lets pass."""
    wrong = [
        str(query)
        for name in PROMETHEUS
        for query in queries(name)
        for window in re.findall(r"(?:rate|irate|increase)\([^[]*\[([^]]*)\]", query.text)
        if window != "$__rate_interval"
    ]

    assert wrong == []


def unbound(name: str, query: Query, selector: str) -> str:
    """Why a selector may show what was not chosen; empty if it is right."""
    if name in PUSHED:
        return "" if "charger=~`$x`" in selector else PUSHED[name]
    if "$exporter" in selector:
        own = re.search(r"ccl_(exporter|influxdb|mqtt|tariff)_", query.text)
        return "" if own or query.place.startswith("variable") else OWN
    if 'job=~"$job"' not in selector:
        return "no job"
    chooses = query.place in ("variable instance", "variable group")
    return "" if chooses or 'instance=~"$instance"' in selector else "no instance"


def test_lint_target_job_and_target_instance() -> None:
    wrong = []
    for name in PROMETHEUS:
        for query in queries(name):
            if query.place in ("variable job", "variable charger", "variable exporter"):
                continue  # it is what the others are chosen by
            for selector in re.findall(r"\{[^{}]*\}", re.sub(r"\$\{[^}]*\}", "$x", query.text)):
                if why := unbound(name, query, selector):
                    wrong.append(f"{query}: {why}")

    assert wrong == []


REGISTERS_AS_THEY_ARE = {
    "Meter",
    "Chargers and plugs",
    "Values now",
    "Registers of active energy",
    "Registers of reactive energy",
    "Registers of apparent energy",
}
"""Panels that show where a register stands, which is what an owner compares with the display."""


def test_lint_target_counter_agg() -> None:
    """A counter is under rate or increase, or a difference of two of its values is taken, which does not guess."""
    wanted = {"rate", "irate", "increase", "last_over_time", "min_over_time", "clamp_min"}
    wrong = [
        str(query)
        for name in PROMETHEUS
        for query, expression in expressions(name)
        for selector, path in inside(expression)
        if (selector.name or "").endswith("_total")
        and query.place.rpartition(" ")[0] not in REGISTERS_AS_THEY_ARE
        and not wanted & set(calls(path))
    ]

    assert wrong == []


def test_lint_uneditable_dashboard() -> None:
    assert [name for name in NAMES if BOARDS[name]["editable"] is not False] == []


# What is asked for is there

RECORDED = {
    rule["record"]
    for name in ("recording.yml", "fleet.yml")
    for group in yaml.safe_load((PROJECT / "deploy/prometheus/rules" / name).read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
}
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

    found = {family.name: labels(family) for family in (*FAMILIES, *EXPORTER, *FOLLOW, *PLAN)}
    found |= {name: {"plug"} | ATTACHED for name in RECORDED}
    return found | {"ALERTS": {"alertname", "alertstate"} | ATTACHED, "up": ATTACHED}


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


def test_a_board_asks_only_for_metrics_and_labels_that_there_are() -> None:
    pushed, scraped = pushed_names(), scraped_names()
    wrong = [
        f"{query}: {found}"
        for name in PROMETHEUS
        for query, expression in expressions(name)
        for found in unknown(expression, pushed if name in PUSHED else scraped)
    ]

    assert wrong == []


def test_a_metric_or_label_that_is_not_there_is_found() -> None:
    asked = promql.parse(
        'rate(ccl_plug_colour[5m]) + ccl_up{plug="EVSE.PLUG"} + {__name__=~"ccl_plug_p.+", phase="l1"}'
    )

    assert set(unknown(asked, scraped_names())) == {
        "ccl_plug_colour",
        "plug of ccl_up",
        "phase of ccl_plug_power_reduction_ratio",
    }


def test_a_board_asks_only_for_words_that_a_stateset_has() -> None:
    states = {family.name: set(family.states) for family in FAMILIES if family.states}
    asked = [
        (str(query), selector.name, word)
        for name in SCRAPED
        for query, expression in expressions(name)
        for selector, _ in inside(expression)
        for word in filter(None, matchers(selector).get(selector.name or "", "").split("|"))
    ]

    assert [one for one in asked if one[2] not in states.get(one[1] or "", set())] == []
    assert asked


def test_the_influxdb_board_asks_only_for_measurements_tags_and_fields_that_are_written() -> None:
    written_: dict[str, set[str]] = {}
    for family in (*FAMILIES, *FINISHED_CHARGE):
        for phase in ("", "l1", "l2", "l3"):
            labels = tuple(phase if label == "phase" else label for label in family.labels)
            for line in lines([Sample(family, labels, 1.0, family.states[:1])], "charger", 0):
                measurement, *tags = line.split(" ")[0].split(",")
                known = written_.setdefault(measurement, set())
                known |= {tag.partition("=")[0] for tag in tags} | {field_of(one)[1] for one in by_field(line)}
    wrong = []
    for query in queries("charger-influxdb.json"):
        measurements = set(re.findall(r'FROM "(\w+)"', query.text))
        ours = set(re.findall(r'AS "([\w ]+)"', query.text))
        known = set().union(*(written_.get(measurement, set()) for measurement in measurements))
        asked = set(re.findall(r'"([\w ]+)"', query.text)) - measurements - ours
        if unwritten := (measurements - set(written_)) | (asked - known):
            wrong.append(f"{query}: {sorted(unwritten)}")

    assert wrong == []


def test_a_metric_that_is_not_there_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    board = BOARDS["charger.json"]
    targets = next(panels(board))["targets"]
    monkeypatch.setitem(targets[0], "expr", "ccl_plug_colour{}")

    with pytest.raises(AssertionError, match="ccl_plug_colour"):
        test_a_board_asks_only_for_metrics_and_labels_that_there_are()


def test_legends_name_labels_that_the_answer_has() -> None:
    every = {"charger", "$label"}.union(*scraped_names().values())
    wrong = [
        (name, panel["title"], label)
        for name in PROMETHEUS
        for panel in panels(BOARDS[name])
        for target in panel["targets"]
        for label in re.findall(r"\{\{([^}]+)\}\}", target["legendFormat"])
        if label not in every
    ]

    assert wrong == []


# Layout


def misplaced(name: str) -> Iterator[str]:
    """Panels that lie over others, gaps, and ids that are there twice."""
    taken: dict[tuple[int, int], str] = {}
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        for y in range(place["y"], place["y"] + place["h"]):
            for x in range(place["x"], place["x"] + place["w"]):
                if (x, y) in taken:
                    yield f"{name}: {panel['title']} lies over {taken[x, y]}"
                taken[x, y] = panel["title"]
    height = max(y for _, y in taken) + 1
    if len(taken) != height * COLUMNS:
        yield f"{name}: there is a gap"
    if len({panel["id"] for panel in BOARDS[name]["panels"]}) < len(BOARDS[name]["panels"]):
        yield f"{name}: an id is given twice"


def test_panels_fill_the_grid_without_gap_or_overlap() -> None:
    assert [one for name in NAMES for one in misplaced(name)] == []


def width(title: str) -> float:
    return len(title.replace("${currency}", "GBP")) * WIDTH_OF_A_CHARACTER


def test_no_title_is_cut() -> None:
    wrong = [
        place
        for place, panel in titled_panels()
        if width(panel["title"]) > panel["gridPos"]["w"] * WIDTH_OF_A_COLUMN - BESIDE_A_TITLE
    ]

    assert wrong == []


# Numbers as people read them

STATS = [(place, panel) for place, panel in titled_panels() if panel["type"] == "stat"]
FIXED = {"suffix:kWh", "suffix:kvarh", "suffix:kVAh", "suffix:h"}
"""Units that do not scale themselves."""

TRAPS = {
    "kwatth": "makes MWh of a meter, and one column has Wh and kWh",
    "watth": "the same",
    "joule": "no bill is in joules",
    "dtdurations": "says '1 hour' for 1 h 59 min",
    "s": "says '1.98 hours' for 1 h 59 min, so it is for seconds only",
    "h": "turns into days and weeks",
    "m": "turns into hours",
}
SECONDS_ONLY = {"Time to read the charger", "Age of the oldest queued reading", "Duration of a write"}


def shown_values(panel: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The options of each kind of value of a panel: of all, then of each column, with its name."""
    defaults = panel["fieldConfig"]["defaults"]
    yield "", defaults
    for override in panel["fieldConfig"]["overrides"]:
        yield (
            override["matcher"]["options"],
            defaults | {one["id"]: one["value"] for one in override["properties"]},
        )


def colour(options: Mapping[str, Any], value: float) -> str:
    """The colour of a number as Grafana takes it from the options of a field."""
    assert options["color"]["mode"] == "thresholds", "the colour does not follow the thresholds"
    steps = options["thresholds"]["steps"]
    return str([step["color"] for step in steps if step["value"] is None or step["value"] <= value][-1])


def panel_of(name: str, title: str) -> dict[str, Any]:
    return next(panel for panel in panels(BOARDS[name]) if panel["title"] == title)


def test_no_unit_rounds_or_scales_what_is_compared_with_a_bill() -> None:
    wrong = [
        (place, options["unit"], TRAPS[options["unit"]])
        for place, panel in titled_panels()
        for _, options in shown_values(panel)
        if options["unit"] in TRAPS and panel["title"] not in SECONDS_ONLY
    ]

    assert wrong == []


def test_energy_is_in_kilowatt_hours_with_fixed_decimals() -> None:
    wrong = [
        (place, column)
        for place, panel in titled_panels()
        for column, options in shown_values(panel)
        if options["unit"] in FIXED and "decimals" not in options and not place.startswith("variables.json")
    ]
    unconverted = [
        place
        for place, panel in titled_panels()
        if panel["fieldConfig"]["defaults"]["unit"] == "suffix:kWh"
        for target in panel["targets"]
        if " / 3600000" not in (target.get("expr") or target["query"])
    ]

    assert wrong == []
    assert unconverted == []


def test_costs_have_two_decimals_and_name_their_currency() -> None:
    costs = [(place, panel) for place, panel in titled_panels() if "cost" in panel["title"].lower()]

    assert [place for place, panel in costs if "${currency}" not in panel["title"]] == []
    assert [place for place, panel in costs if panel["fieldConfig"]["defaults"].get("decimals") != 2] == []
    assert len(costs) == 3 * 5


def test_colours_follow_the_thresholds() -> None:
    wrong = []
    for place, panel in titled_panels():
        for column, options in shown_values(panel):
            steps = options["thresholds"]["steps"]
            limits = [step["value"] for step in steps]
            if limits[0] is not None or limits[1:] != sorted(limits[1:]):
                wrong.append((place, column, "the steps do not rise"))
            lines = options.get("custom", {}).get("thresholdsStyle", {}).get("mode") == "dashed"
            if len(steps) > 1 and not lines and options["color"]["mode"] != "thresholds":
                wrong.append((place, column, "coloured by its place, not by its value"))

    assert wrong == []
    for title in ("Availability of 30 days", "Availability by month"):
        options = panel_of("fleet.json", title)["fieldConfig"]["defaults"]
        assert [colour(options, share) for share in (1.0, 0.97, 0.96, 0.9)] == ["green", "green", "yellow", "red"]


def test_a_column_that_is_coloured_by_its_place_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = panel_of("fleet.json", "Availability by month")["fieldConfig"]["defaults"]
    monkeypatch.setitem(defaults, "color", {"mode": "palette-classic"})

    with pytest.raises(AssertionError, match="coloured by its place"):
        test_colours_follow_the_thresholds()


def mapped(options: Mapping[str, Any]) -> dict[str, str]:
    """The words of mapped values with their colours."""
    found = [one["options"] for one in options.get("mappings", ()) if one["type"] == "value"]
    return {one["text"]: one["color"] for mapping in found for one in mapping.values()}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("charger")])
def test_only_ends_by_a_fault_are_red(name: str) -> None:
    columns = dict(shown_values(panel_of(name, "Sessions")))
    colours = mapped(columns["Stopped by"])
    red = {"error", "vehicle communication", "vehicle over current"}

    assert {word for word, color in colours.items() if color == "red"} == red
    assert {color for word, color in colours.items() if word not in red} == {"text"}


def test_values_of_stats_are_of_one_size_and_fit() -> None:
    """At 1280 pixels; a letter is about half as wide as it is high."""
    sizes = {(panel["options"]["text"]["valueSize"], panel["options"]["text"]["titleSize"]) for _, panel in STATS}
    assert len(sizes) == 1
    ((size, _),) = sizes

    wrong = [
        (place, word)
        for place, panel in STATS
        for word in mapped(panel["fieldConfig"]["defaults"])
        if len(word) * size / 2 > panel["gridPos"]["w"] * WIDTH_OF_A_COLUMN - 16
    ]
    assert wrong == []


def test_dates_are_local() -> None:
    """In the time zone of the board and the reader's order of day and month, from milliseconds."""
    dates = [
        (place, column, options["unit"])
        for place, panel in titled_panels()
        for column, options in shown_values(panel)
        if options["unit"].startswith(("dateTime", "time:"))
    ]
    seconds = [
        place
        for place, panel in titled_panels()
        if panel["fieldConfig"]["defaults"]["unit"].startswith("dateTime")
        for target in panel["targets"]
        if " * 1000" not in (target.get("expr") or target["query"])
    ]

    assert {unit for _, _, unit in dates} == {"dateTimeAsLocal", "dateTimeFromNow"}
    assert seconds == []
    assert {board["timezone"] for board in BOARDS.values()} == {"browser"}


def test_days_of_influxdb_are_those_of_the_time_zone_on_top() -> None:
    days = [query for query in queries("charger-influxdb.json") if "time(1d)" in query.text]

    assert len(days) == 5
    assert [str(query) for query in days if not query.text.endswith("tz('${timezone}')")] == []


# The first screen

ROW_HEIGHT, SCREEN = 38, 800
FIRST_SCREEN = [
    *("State", "Reason", "Faults", "Power", "Limit", "Charger"),
    *("Session", "Duration", "Session cost ${currency}"),
    *("Today", "Cost today ${currency}", "This month", "Meter"),
    *("Power", "Energy per day", "Activity", "Sessions"),
]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("charger")])
def test_the_first_screen_of_a_charger_needs_no_scrolling(name: str) -> None:
    """What an owner wants to know, at 1280 x 800; the rest is folded."""
    shown = [panel for panel in BOARDS[name]["panels"] if panel["type"] != "row"]
    rows = [panel for panel in BOARDS[name]["panels"] if panel["type"] == "row"]

    assert [panel["title"] for panel in shown] == FIRST_SCREEN
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in shown) * ROW_HEIGHT <= SCREEN
    assert all(row["collapsed"] and row["panels"] for row in rows)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("charger")])
def test_one_plug_of_one_charger_is_shown_at_first(name: str) -> None:
    """Grafana begins with the first value of a variable that does not offer all."""
    found = variables(name, "query")
    chosen = [found[one] for one in ("instance", "charger", "plug") if one in found]

    assert len(chosen) == 2
    assert [(one["includeAll"], one["current"]) for one in chosen] == [(False, {})] * 2


def test_every_timeline_has_a_legend() -> None:
    """Grafana fills it with the words of the values, unless the colours are those of several thresholds."""
    found = [
        (panel["options"]["legend"]["showLegend"], len(panel["fieldConfig"]["defaults"]["thresholds"]["steps"]))
        for _, panel in titled_panels()
        if panel["type"] == "state-timeline"
    ]

    assert set(found) == {(True, 1)}


def test_what_needs_attention_comes_first_in_the_fleet() -> None:
    table = panel_of("fleet.json", "Chargers and plugs")
    (numbers,) = [one["options"] for one in dict(shown_values(table))["Status"]["mappings"]]
    in_order = [numbers[number]["text"] for number in sorted(numbers, key=int, reverse=True)]

    assert table["options"]["sortBy"] == [{"displayName": "Status", "desc": True}]
    assert in_order[:3] == ["not reachable", "out of order", "inoperative"]
    assert in_order[-2:] == ["charging", "available"]
