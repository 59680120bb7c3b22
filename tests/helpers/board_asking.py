"""Asking the queries of the dashboards as Grafana does, of a Prometheus, a VictoriaMetrics or an InfluxDB."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from helpers.board_queries import Query, Values, filled

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_POINTS = 1000  # as wide as a panel may be


@dataclass(frozen=True, slots=True)
class Asker:
    """A data source and a time: what is chosen on top of the board, its end and range, the data source's interval.

    Times are in Unix seconds, ranges in seconds.
    """

    url: str
    chosen: Values
    end: float
    range: float = 86_400.0
    interval: float = 15.0
    database: str = ""

    def ask(self, query: Query) -> list[Any]:
        """The series, rows or values of an answer; raises AssertionError with what is wrong with the query."""
        last, step = self._span(query), self.step(query)
        begin = self.end - last
        text = filled(
            query,
            self.chosen,
            {
                "__interval": f"{step:.0f}s",
                "__rate_interval": f"{max(step + self.interval, 4 * self.interval):.0f}s",
                "__from": f"{begin * 1000:.0f}",
                "__to": f"{self.end * 1000:.0f}",
                "__range": f"{last:.0f}s",
                "__range_s": f"{last:.0f}",
                "timeFilter": f"time >= {begin * 1000:.0f}ms and time <= {self.end * 1000:.0f}ms",
            },
        )
        if self.database:
            return self._influxql(query, text)
        if query.kind == "variable":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", text)
            assert found, text
            asked = {"match[]": found[1], "start": f"{begin:.0f}", "end": f"{self.end:.0f}"}
            return list(self._get(query, f"label/{found[2]}/values", asked))
        if query.instant:
            return list(self._get(query, "query", {"query": text, "time": f"{self.end:.0f}"})["result"])
        aligned = {"start": f"{begin // step * step:.3f}", "end": f"{self.end // step * step:.3f}"}
        return list(self._get(query, "query_range", {"query": text, "step": f"{step:.3f}", **aligned})["result"])

    def step(self, query: Query) -> float:
        """Seconds between two points of the answer to a query over a time."""
        own = _seconds(query.interval) if query.interval else 0.0
        return max(own, self._span(query) / _POINTS, self.interval)

    def _span(self, query: Query) -> float:
        return span(query.last, self.end) if query.last else self.range

    def _get(self, query: Query, path: str, asked: Mapping[str, str]) -> Any:
        body = urlencode(asked).encode()
        url = f"{self.url}/api/v1/{path}"
        # A browser's URL may be too long for a query, so Grafana posts; names of labels can only be got.
        request = f"{url}?{body.decode()}" if path.startswith("label/") else urllib.request.Request(url, body)
        return _answer(query, request)["data"]

    def _influxql(self, query: Query, text: str) -> list[Any]:
        asked = urlencode({"db": self.database, "epoch": "ms", "q": text}).encode()
        (result,) = _answer(query, urllib.request.Request(f"{self.url}/query", asked))["results"]
        assert "error" not in result, f"{query}: {result['error']}: {text}"
        return [
            {"tags": one.get("tags", {}), "columns": one["columns"], "values": one["values"]}
            for one in result.get("series", [])
        ]


def _answer(query: Query, request: str | urllib.request.Request) -> Any:
    try:
        with urllib.request.urlopen(request, timeout=300) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{query}: {error.read().decode(errors='replace')[-2000:]}") from None


def span(last: str, end: float) -> float:
    """Seconds of a panel's own range: `30d`, or since a day or month of UTC began (`now/d`, `now/M`)."""
    if not last.startswith("now/"):
        return _seconds(last)
    day = datetime.fromtimestamp(end, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return end - (day if last == "now/d" else day.replace(day=1)).timestamp()


def _seconds(text: str) -> float:
    return float(text[:-1]) * _SECONDS[text[-1]]
