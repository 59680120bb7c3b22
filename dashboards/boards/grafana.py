"""Pieces of Grafana dashboards in the classic JSON form (schemaVersion 42) that Grafana 10 to 13 load from files.

Panels are values without a place; a board is rows of lines of panels, and `grid.py` gives each its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]

DataSource = Literal["prometheus", "influxdb"]


@dataclass(frozen=True, slots=True)
class Target:
    """One query. `instant` asks for the end of the range only, `table` for rows instead of series."""

    query: str
    legend: str = ""
    instant: bool = False
    table: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """What a panel shows: its queries, and what Grafana makes of the answers before it draws them."""

    targets: tuple[Target, ...]
    transformations: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel without a place; `weight` is its share of the width of its line.

    `last` shows another range than the board's, such as `30d` or `now/d`; `interval` is the least step.
    """

    kind: str
    title: str
    description: str
    data: Data
    defaults: Json
    options: Json
    overrides: tuple[Json, ...] = ()
    weight: int = 1
    last: str = ""
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """Panels side by side, all of one height in units of the grid."""

    height: int
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Row:
    """Lines under a title that folds them away; without a title they are always shown."""

    title: str
    lines: Sequence[Line]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard. `range` is how far back it looks at first."""

    uid: str
    title: str
    description: str
    source: DataSource
    variables: Sequence[Json]
    annotations: Sequence[Json]
    rows: Sequence[Row]
    range: str = "24h"
    tags: Sequence[str] = field(default=("ccl-exporter",))


def data_source(kind: DataSource) -> Json:
    """The data source that the board's variable chooses."""
    return {"type": kind, "uid": "${datasource}"}


# Colours and words


def words(mapping: Mapping[int, tuple[str, str]]) -> Json:
    """What values are called, and their colours."""
    options = {
        str(value): {"index": index, "text": text, "color": color}
        for index, (value, (text, color)) in enumerate(mapping.items())
    }
    return {"mappings": [{"type": "value", "options": options}]}


def steps(*pairs: tuple[float | None, str]) -> Json:
    """Colours from a value upwards; the first begins at None."""
    return {
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in pairs]}
    }


PLAIN = steps((None, "blue"))

VALUE_SIZE, TITLE_SIZE = 22, 14
"""Pixels of the text in a stat: Grafana would fit each to its panel, so that a short value shouts."""


# Panels


def _defaults(unit: str, extra: Json, custom: Json | None = None) -> Json:
    found: Json = {"unit": unit, "color": {"mode": "thresholds" if custom is None else "palette-classic"}}
    if custom is not None:
        found["custom"] = custom
    return found | PLAIN | extra


_REDUCED = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def _legend(*calcs: str, show: bool = True) -> Json:
    calcs = calcs if show else ()
    return {
        "calcs": list(calcs),
        "displayMode": "table" if calcs else "list",
        "placement": "bottom",
        "showLegend": show,
    }


def stat(  # noqa: PLR0913 - what a stat has
    title: str,
    description: str,
    data: Data,
    unit: str,
    extra: Json | None = None,
    *,
    weight: int = 1,
    filled: bool = False,
    last: str = "",
    names: bool = False,
    overrides: Sequence[Json] = (),
) -> Panel:
    """One large value for each series: its last, in the size of all others.

    `filled` colours the whole panel; `names` shows what the series are called instead of their values.
    """
    options = {
        "colorMode": "background" if filled else "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": _REDUCED,
        "showPercentChange": False,
        "text": {"titleSize": TITLE_SIZE, "valueSize": VALUE_SIZE},
        "textMode": "name" if names else "auto",
        "wideLayout": True,
    }
    defaults = _defaults(unit, extra or {})
    return Panel("stat", title, description, data, defaults, options, tuple(overrides), weight, last)


def bars(
    title: str, description: str, data: Data, unit: str, extra: Json | None = None, *, weight: int = 1
) -> Panel:
    """One horizontal bar for each series."""
    options = {
        "displayMode": "basic",
        "legend": _legend(show=False),
        "maxVizHeight": 300,
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "auto",
        "orientation": "horizontal",
        "reduceOptions": _REDUCED,
        "showUnfilled": True,
        "sizing": "auto",
        "text": {"titleSize": TITLE_SIZE, "valueSize": TITLE_SIZE},
        "valueMode": "color",
    }
    return Panel("bargauge", title, description, data, _defaults(unit, extra or {}), options, weight=weight)


def _over_time(legend: Json) -> Json:
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def graph(  # noqa: PLR0913 - what a graph has
    title: str,
    description: str,
    data: Data,
    unit: str,
    extra: Json | None = None,
    *,
    weight: int = 1,
    overrides: Sequence[Json] = (),
    steps_shown: bool = False,
    legend: bool = True,
) -> Panel:
    """Lines over time. `steps_shown` draws the thresholds as lines."""
    custom = {
        "drawStyle": "line",
        "fillOpacity": 10,
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "none"},
        "thresholdsStyle": {"mode": "dashed" if steps_shown else "off"},
    }
    options = _over_time(_legend("lastNotNull", "max", show=legend))
    defaults = _defaults(unit, extra or {}, custom)
    return Panel("timeseries", title, description, data, defaults, options, tuple(overrides), weight)


def per_day(
    title: str,
    description: str,
    data: Data,
    unit: str,
    extra: Json | None = None,
    *,
    weight: int = 1,
    legend: bool = True,
) -> Panel:
    """A stacked bar for each of the last thirty days, drawn to the right of the midnight at which it begins."""
    custom = {
        "barAlignment": 1,
        "barWidthFactor": 0.8,
        "drawStyle": "bars",
        "fillOpacity": 80,
        "lineWidth": 0,
        "showPoints": "never",
        "stacking": {"group": "A", "mode": "normal"},
        "thresholdsStyle": {"mode": "off"},
    }
    options = _over_time(_legend("sum", show=legend))
    defaults = _defaults(unit, {"min": 0, **(extra or {})}, custom)
    return Panel(
        "timeseries", title, description, data, defaults, options, weight=weight, last="30d", interval="1d"
    )


def summed_bars(  # noqa: PLR0913 - what a chart has
    title: str,
    description: str,
    data: Data,
    unit: str,
    extra: Json | None = None,
    *,
    weight: int = 1,
    last: str = "400d",
    horizontal: bool = False,
) -> Panel:
    """A bar for each row of sums of days, named by its first column; by default of the last thirteen months."""
    custom = {"fillOpacity": 80, "gradientMode": "none", "lineWidth": 1}
    options = {
        "barRadius": 0,
        "barWidth": 0.8,
        "fullHighlight": False,
        "groupWidth": 0.7,
        "legend": _legend(show=False),
        "orientation": "horizontal" if horizontal else "auto",
        "showValue": "auto",
        "stacking": "none",
        "tooltip": {"mode": "single", "sort": "none"},
        "xTickLabelRotation": 0,
        "xTickLabelSpacing": 0,
    }
    defaults = _defaults(unit, {"min": 0, **(extra or {})}, custom)
    return Panel("barchart", title, description, data, defaults, options, weight=weight, last=last, interval="1d")


def timeline(title: str, description: str, data: Data, extra: Json, *, weight: int = 1) -> Panel:
    """A lane for each series, coloured by its value; the legend has the words of all colours."""
    options = {
        "alignValue": "left",
        "legend": _legend(),
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 80, "lineWidth": 0, "spanNulls": False}
    defaults = _defaults("none", extra, custom)
    defaults["color"] = {"mode": "thresholds"}
    return Panel("state-timeline", title, description, data, defaults, options, weight=weight)


def table(  # noqa: PLR0913 - what a table has
    title: str,
    description: str,
    data: Data,
    overrides: Sequence[Json],
    *,
    weight: int = 1,
    sort: str = "",
    descending: bool = True,
    none: str = "",
) -> Panel:
    """Rows and columns; each column's unit is an override. `none` is shown if there are no rows."""
    options = {
        "cellHeight": "sm",
        "showHeader": True,
        "sortBy": [{"displayName": sort, "desc": descending}] if sort else [],
    }
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    defaults = _defaults("none", {"noValue": none} if none else {}, custom)
    defaults["color"] = {"mode": "thresholds"}
    return Panel("table", title, description, data, defaults, options, tuple(overrides), weight)


# Overrides: how one column or series differs from its panel


def _override(matcher: str, of: str, properties: Json) -> Json:
    return {
        "matcher": {"id": matcher, "options": of},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }


def column(name: str, unit: str = "", *, link: Json | None = None, **properties: Any) -> Json:
    """A table's column: its unit, a link behind its cells, and whatever else (`decimals=2`)."""
    found: Json = {"unit": unit} if unit else {}
    return _override("byName", name, found | properties | ({"links": [link]} if link else {}))


def coloured(name: str, mapping: Json) -> Json:
    """A table's column of words with their colours."""
    shown = {"custom.align": "left", "custom.cellOptions": {"type": "color-text"}}
    return _override("byName", name, mapping | shown)


def row_names(name: str) -> Json:
    """A table's column of names, whatever colours the cells of the others."""
    return _override("byName", name, {"custom.align": "left", "custom.cellOptions": {"type": "auto"}})


def renamed(names: Mapping[str, str]) -> tuple[Json, ...]:
    """What series are called."""
    return tuple(_override("byName", name, {"displayName": text}) for name, text in names.items())


def series(pattern: str, color: str, **custom: Any) -> Json:
    """The series whose name matches a pattern, in a colour and another style."""
    properties = {f"custom.{name}": value for name, value in custom.items()}
    return _override("byRegexp", f"/{pattern}/", {"color": {"mode": "fixed", "fixedColor": color}, **properties})


# Transformations


def merged(columns: Mapping[str, str], order: Sequence[str]) -> tuple[Json, ...]:
    """Answers of several queries as one table: `columns` are those that stay and their headings, in `order`."""
    return (
        {"id": "merge", "options": {}},
        {"id": "filterFieldsByName", "options": {"include": {"names": list(columns)}}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {},
                "indexByName": {name: order.index(heading) for name, heading in columns.items()},
                "renameByName": {name: heading for name, heading in columns.items() if name != heading},
            },
        },
    )


def summed_by_series() -> tuple[Json, ...]:
    """One row for each series, with its name and the sum of its values."""
    return ({"id": "reduce", "options": {"labelsToFields": False, "mode": "seriesToRows", "reducers": ["sum"]}},)


def highest_first() -> Json:
    """Rows of `summed_by_series` by their sums."""
    return {"id": "sortBy", "options": {"fields": {}, "sort": [{"desc": True, "field": "Total"}]}}


def summed_by_month(time: str, value: str) -> tuple[Json, ...]:
    """Rows of days as one row for each month."""
    as_text = {"targetField": time, "destinationType": "string", "dateFormat": "YYYY-MM"}
    return (
        {"id": "convertFieldType", "options": {"fields": {}, "conversions": [as_text]}},
        {
            "id": "groupBy",
            "options": {
                "fields": {
                    time: {"aggregations": [], "operation": "groupby"},
                    value: {"aggregations": ["sum"], "operation": "aggregate"},
                }
            },
        },
    )
