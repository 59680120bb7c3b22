"""The queries of the built dashboards, and how Grafana fills in their variables."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from helpers.support import PROJECT

FOLDER = PROJECT / "dashboards"
BOARDS: Mapping[str, dict[str, Any]] = {
    path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}

OWN = (
    *("Version", "Configuration", "Broker", "Points in queues", "Queues on disk", "Last write"),
    *("Age of the oldest queued reading", "Points", "Duration of a write", "Reads of chargers"),
    *("Messages to the broker", "Chargers in backoff", "Price of a kilowatt-hour", "Cheap hours"),
    *("variable exporter", "variable currency", "annotation Cheap hours"),
)
"""What only the exporter itself has, on /metrics."""

Values = Mapping[str, str | Sequence[str]]
"""What is chosen: a text, or for a variable of several values a list; an empty list is all."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a board: where it stands, and how it is asked."""

    board: str
    place: str
    text: str
    kind: str
    instant: bool = False
    table: bool = False
    interval: str = ""
    last: str = ""

    def __str__(self) -> str:
        return f"{self.board}: {self.place}"


def title(query: Query) -> str:
    return query.place if " " in query.place and query.kind in ("variable", "annotation") else query.place[:-2]


def panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels but rows, also those within folded rows."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def source(board: Mapping[str, Any]) -> str:
    """The kind of data source that a board asks for."""
    (found,) = [one["query"] for one in board["templating"]["list"] if one["type"] == "datasource"]
    return str(found)


def panel_queries(name: str) -> Iterator[Query]:
    for panel in panels(BOARDS[name]):
        for target in panel["targets"]:
            yield Query(
                board=name,
                place=f"{panel['title']} {target['refId']}",
                text=target.get("expr") or target["query"],
                kind=panel["type"],
                instant=target.get("instant", False),
                table="table" in (target.get("format"), target.get("resultFormat")),
                interval=panel.get("interval", ""),
                last=panel.get("timeFrom", ""),
            )


def variable_queries(name: str) -> Iterator[Query]:
    for variable in BOARDS[name]["templating"]["list"]:
        if variable["type"] == "query":
            query = variable["query"]
            text = query if isinstance(query, str) else query["query"]
            yield Query(name, f"variable {variable['name']}", text, "variable")


def annotation_queries(name: str) -> Iterator[Query]:
    for mark in BOARDS[name]["annotations"]["list"]:
        yield Query(name, f"annotation {mark['name']}", mark.get("expr") or mark["query"], "annotation")


def queries(name: str) -> list[Query]:
    return [*panel_queries(name), *variable_queries(name), *annotation_queries(name)]


def defaults(name: str) -> dict[str, str | Sequence[str]]:
    """What is chosen when the board is opened: all of what is a list."""
    return {
        variable["name"]: [] if variable["type"] == "query" else variable["current"].get("value", "")
        for variable in BOARDS[name]["templating"]["list"]
    }


def filled(query: Query, chosen: Values, built_in: Mapping[str, str]) -> str:
    """The text that Grafana sends.

    `${name:regex}` escapes as Grafana's format `regex` does.
    A plain `$name` of several values in PromQL is escaped for a pattern in double quotes.
    """
    variables = {variable["name"]: variable for variable in BOARDS[query.board]["templating"]["list"]}

    def replacement(found: re.Match[str]) -> str:
        name, style = found["braced"] or found["plain"], found["style"]
        if name in built_in:
            return built_in[name]
        if name not in chosen:
            return found[0]
        value = chosen[name]
        if isinstance(value, str):
            return _regex(value) if style == "regex" else value
        if not value:
            return str(variables[name]["allValue"])
        parts = [_regex(one) if style == "regex" else _in_double_quotes(one) for one in value]
        return parts[0] if len(parts) == 1 else f"({'|'.join(parts)})"

    return re.sub(r"\$\{(?P<braced>\w+)(?::(?P<style>\w+))?\}|\$(?P<plain>\w+)", replacement, query.text)


def _regex(value: str) -> str:
    return re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", value)


def _in_double_quotes(value: str) -> str:
    return re.sub(r"[$^*{}\[\]+?.()|]", r"\\\\\g<0>", value.replace("\\", "\\\\\\\\"))
