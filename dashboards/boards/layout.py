"""From boards to the JSON that Grafana loads: every panel gets its place, its number and its data source."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from string import ascii_uppercase

from boards.grafana import Board, DataSource, Json, Line, Panel, Row, Target, data_source
from boards.templating import LINKS

COLUMNS = 24


def document(board: Board) -> Json:
    """A dashboard as Grafana reads it."""
    return {
        "annotations": {"list": list(board.annotations)},
        "description": board.description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": list(LINKS),
        "panels": list(_placed(board)),
        "refresh": "1m",
        "schemaVersion": 42,
        "tags": list(board.tags),
        "templating": {"list": list(board.variables)},
        "time": {"from": f"now-{board.range}", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": board.title,
        "uid": board.uid,
        "version": 1,
    }


def widths(panels: Sequence[Panel]) -> list[int]:
    """Columns of the panels of a line, which together are as wide as the board."""
    total = sum(panel.weight for panel in panels)
    edges = [0]
    for panel in panels:
        edges.append(edges[-1] + panel.weight)
    places = [round(edge * COLUMNS / total) for edge in edges]
    return [after - before for before, after in pairwise(places)]


def _placed(board: Board) -> Iterator[Json]:
    number, y = 1, 0
    for row in board.rows:
        inside = []
        head, number = _row(row, number, y), number + 1
        y += bool(row.title)
        for line in row.lines:
            for panel, x, width in _line(line):
                inside.append(_panel(panel, board.source, number, {"h": line.height, "w": width, "x": x, "y": y}))
                number += 1
            y += line.height
        if row.title:
            yield {**head, "panels": inside if row.collapsed else []}
        if row.collapsed:
            y = head["gridPos"]["y"] + 1
        else:
            yield from inside


def _line(line: Line) -> Iterator[tuple[Panel, int, int]]:
    x = 0
    for panel, width in zip(line.panels, widths(line.panels), strict=True):
        yield panel, x, width
        x += width


def _row(row: Row, number: int, y: int) -> Json:
    return {
        "collapsed": row.collapsed,
        "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y},
        "id": number,
        "title": row.title,
        "type": "row",
    }


def _panel(panel: Panel, source: DataSource, number: int, place: Json) -> Json:
    found: Json = {
        "datasource": data_source(source),
        "description": panel.description,
        "fieldConfig": {"defaults": panel.defaults, "overrides": list(panel.overrides)},
        "gridPos": place,
        "id": number,
        "options": panel.options,
        "targets": [
            _target(target, source, letter)
            for target, letter in zip(panel.data.targets, ascii_uppercase, strict=False)
        ],
        "title": panel.title,
        "type": panel.kind,
    }
    if panel.data.transformations:
        found["transformations"] = list(panel.data.transformations)
    if panel.last:
        found["timeFrom"] = panel.last
        # A title says it, but for the days of a graph.
        found["hideTimeOverride"] = panel.kind != "timeseries"
    if panel.interval:
        found["interval"] = panel.interval
        found["maxDataPoints"] = 1000  # or a narrow panel would take longer steps
    return found


def _target(target: Target, source: DataSource, letter: str) -> Json:
    if source == "influxdb":
        return {
            "alias": target.legend,
            "datasource": data_source(source),
            "query": target.query,
            "rawQuery": True,
            "refId": letter,
            "resultFormat": "table" if target.table else "time_series",
        }
    return {
        "datasource": data_source(source),
        "editorMode": "code",
        "expr": target.query,
        "format": "table" if target.table else "time_series",
        "instant": target.instant,
        "legendFormat": target.legend or "__auto",
        "range": not target.instant,
        "refId": letter,
    }
