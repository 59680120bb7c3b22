"""The table of cases in tests/rules, made into unit tests of promtool for each life.

A case is one of `promtool test rules` without what follows from the rule's source: the severity.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from alert_rules.build import ALERTS
from alert_rules.model import Life

from helpers.support import PROJECT, RULES

CASES = sorted((PROJECT / "tests" / "rules").glob("*.yml"))

Json = dict[str, Any]


def cases(path: Path) -> list[Json]:
    """The cases of a file of the table."""
    found: list[Json] = yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
    return found


def promtool_test(path: Path, life: Life, folder: Path) -> Path:
    """Write the cases of a file for the rules of a life, without the alerts that they do not name."""
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    table["tests"] = [_of_life(case, life) for case in table["tests"]]
    named = {test["alertname"] for case in table["tests"] for test in case["alert_rule_test"]}
    groups = [
        {**group, "rules": [rule for rule in group["rules"] if rule.get("alert", "") in {"", *named}]}
        for name in ("recording.yml", f"{life}.yml", "firmware.yml")
        for group in yaml.safe_load((RULES / name).read_text(encoding="utf-8"))["groups"]
    ]
    rules = _written(folder / f"{life}-{path.stem}-rules.yml", {"groups": groups})
    return _written(folder / f"{life}-{path.name}", {**table, "rule_files": [str(rules)]})


def _written(path: Path, document: Json) -> Path:
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    return path


def _of_life(case: Json, life: Life) -> Json:
    """The case with the alerts as this life has them; what is recorded is tested in a fleet alone."""
    recorded = case.get("promql_expr_test", ()) if life is Life.FLEET else ()
    alerts = _expected(case.get("alert_rule_test", ()), life)
    return {**case, "promql_expr_test": list(recorded), "alert_rule_test": list(alerts)}


def _expected(tests: Sequence[Json], life: Life) -> Iterator[Json]:
    """What the life has of the expectations: an alert that it has not must be silent in it."""
    for test in tests:
        severity = ALERTS[test["alertname"]].severity(life)
        alerts = test.get("exp_alerts", ()) if severity is not None else ()
        for alert in alerts:
            alert["exp_labels"]["severity"] = str(severity)
        yield {**test, "exp_alerts": list(alerts)}
