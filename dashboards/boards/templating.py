"""What stands on top of a dashboard: variables, annotations, links."""

from collections.abc import Sequence
from typing import Any

from boards.grafana import DataSource, Json, data_source


def source_variable(kind: DataSource) -> Json:
    """The one choice of a data source."""
    return {
        "current": {},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": kind,
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
        "type": "datasource",
    }


def query_variable(  # noqa: PLR0913 - what a variable has
    kind: DataSource,
    name: str,
    label: str,
    query: str,
    *,
    description: str = "",
    every: str = ".+",
    first: bool = False,
    hidden: bool = False,
) -> Json:
    """Values that the data source knows, one or several or all; `every` is the pattern for all.

    With `first` the first one is chosen when the board opens, and several can be, but not all at once:
    Grafana begins with all where it offers that.
    """
    written: Json | str = query
    if kind == "prometheus":
        written = {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"}
    return {
        "allValue": every,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]} if not first else {},
        "datasource": data_source(kind),
        "definition": query,
        "description": description,
        "hide": 2 if hidden else 0,
        "includeAll": not first,
        "label": label,
        "multi": True,
        "name": name,
        "options": [],
        "query": written,
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
        "type": "query",
    }


def text_variable(name: str, label: str, value: str, description: str) -> Json:
    """Something to type in."""
    chosen = {"selected": True, "text": value, "value": value}
    return {
        "current": chosen,
        "description": description,
        "hide": 0,
        "label": label,
        "name": name,
        "options": [chosen],
        "query": value,
        "skipUrlSync": False,
        "type": "textbox",
    }


def annotation(kind: DataSource, name: str, color: str, **query: Any) -> Json:
    """Marks on every graph, from a query."""
    return {
        "datasource": data_source(kind),
        "enable": True,
        "hide": False,
        "iconColor": color,
        "name": name,
        **query,
    }


LINKS: Sequence[Json] = (
    {
        "asDropdown": True,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "tags": ["ccl-exporter"],
        "targetBlank": False,
        "title": "Chargers",
        "tooltip": "",
        "type": "dashboards",
        "url": "",
    },
)
