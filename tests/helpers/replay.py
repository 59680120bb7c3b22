"""Rules replayed over what a VictoriaMetrics holds, by Debian's vmalert."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import yaml

from helpers.databases import Victoria
from helpers.support import RULES, get, server

AVAILABILITY_RULES = "calendar:month:info|plug:ccl_plug_(status:seen|available:.+)"
"""The names of the rules that record availability."""


class History(Victoria):
    """A VictoriaMetrics for queries over a month minute by minute."""

    def command(self) -> list[str]:
        return [*super().command(), "-search.maxPointsPerTimeseries=100000", "-search.maxUniqueTimeseries=1000000"]


def fleet_rules(names: str, folder: Path) -> Path:
    """A file with the rules of a fleet whose names match a pattern."""
    groups = [
        {**group, "rules": [rule for rule in group["rules"] if re.fullmatch(names, _name(rule))]}
        for file in ("recording.yml", "fleet.yml")
        for group in yaml.safe_load((RULES / file).read_text())["groups"]
    ]
    path = folder / "chosen.yml"
    path.write_text(yaml.safe_dump({"groups": [group for group in groups if group["rules"]]}))
    return path


def _name(rule: Mapping[str, str]) -> str:
    return rule.get("record") or rule["alert"]


def replay(database: str, rules: Path, begin: float, end: float, folder: Path, /, **labels: str) -> None:
    """Evaluate the rules of a file over a span of time (Unix seconds), and store what they give.

    Its alerts have `labels` besides.
    Each rule is evaluated over all of it at once, so that an alert's `for` has no seams,
    and those that record one after the other, as a database shows what it took only when it was flushed.
    """
    for group in yaml.safe_load(rules.read_text())["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["labels"].update(labels)
        together = [group["rules"]] if "alert" in group["rules"][0] else [[rule] for rule in group["rules"]]
        for some in together:
            file = folder / "replayed.yml"
            file.write_text(yaml.safe_dump({"groups": [{**group, "rules": some}]}))
            _replay(database, file, begin, end)
            get(f"{database}/internal/force_flush")


def _replay(database: str, rules: Path, begin: float, end: float) -> None:
    done = subprocess.run(
        [
            *(server("vmalert"), f"-rule={rules}"),
            *(f"-datasource.url={database}", f"-remoteWrite.url={database}", "-datasource.queryStep=0s"),
            *(f"-replay.timeFrom={_stamp(begin)}", f"-replay.timeTo={_stamp(end)}"),
            *("-replay.maxDatapointsPerQuery=100000", "-replay.rulesDelay=0s", "-remoteWrite.flushInterval=100ms"),
            *("-replay.disableProgressBar", "-httpListenAddr=127.0.0.1:0"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "replay finished" in done.stderr, done.stderr[-3000:]


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Firing:
    """An alert of one label set and the times (Unix seconds) at which it was firing."""

    labels: dict[str, str]
    times: list[float]


def firing(database: str) -> Iterator[Firing]:
    """Everything that fired."""
    query = urlencode({"match[]": 'ALERTS{alertstate="firing"}'})
    for line in get(f"{database}/api/v1/export?{query}").splitlines():
        found = json.loads(line)
        yield Firing(found["metric"], [at / 1000 for at in found["timestamps"]])


def value(database: str, expression: str, at: float) -> dict[tuple[str, str], float]:
    """An instant query, by instance and plug."""
    answer = json.loads(get(f"{database}/api/v1/query?{urlencode({'query': expression, 'time': at})}"))
    return {
        (one["metric"].get("instance", ""), one["metric"].get("plug", "")): float(one["value"][1])
        for one in answer["data"]["result"]
    }
