"""The alerts for Grafana are alert rules by Grafana's own types, and ask what Prometheus' rules ask."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from alert_rules.build import ALERTS
from alert_rules.model import Life
from helpers.support import PROJECT, server

FOLDER = PROJECT / "deploy" / "grafana" / "alerting"
SOURCES = PROJECT / "deploy" / "grafana" / "provisioning" / "datasources" / "ccl.yml"
PACKAGES = ("typescript@5.9.3", "@grafana/grafana-foundation-sdk@0.0.21")

OF_A_FILE = {"folderUID": "", "orgID": 1, "ruleGroup": ""}
"""What a rule has in Grafana's API and its group has in a file."""


def groups(life: Life) -> list[dict[str, Any]]:
    document = yaml.safe_load((FOLDER / f"{life}.yml").read_text(encoding="utf-8"))
    assert document.keys() == {"apiVersion", "groups"}
    found: list[dict[str, Any]] = document["groups"]
    return found


def rules(life: Life) -> list[dict[str, Any]]:
    return [rule for group in groups(life) for rule in group["rules"]]


MODELS = {"query": "Dataquery", "math": "TypeMath", "threshold": "TypeThreshold"}
"""The types of the three steps of a rule, which the type of a rule leaves open."""


def typed(found: list[dict[str, Any]]) -> str:
    """Rules as TypeScript, with the models of their steps beside them."""
    lines = [
        'import type { Rule } from "@grafana/grafana-foundation-sdk/alerting";',
        'import type { TypeMath, TypeThreshold } from "@grafana/grafana-foundation-sdk/expr";',
        'import type { Dataquery } from "@grafana/grafana-foundation-sdk/prometheus";',
        'type Plain<T> = Omit<T, "_implementsDataqueryVariant">;',
    ]
    steps = [{**step, "rule": place} for place, rule in enumerate(found) for step in rule["data"]]
    for step in steps:
        name, model = f"{step['refId']}{step['rule']}", json.dumps(step["model"], ensure_ascii=False)
        lines.append(f"export const {name}: Plain<{MODELS[step['refId']]}> = {model};")
    bare = [
        {
            **rule,
            **OF_A_FILE,
            "data": [{key: step[key] for key in step.keys() - {"model"}} for step in rule["data"]],
        }
        for rule in found
    ]
    lines.append(f"export const rules: Rule[] = {json.dumps(bare, ensure_ascii=False)};")
    return "\n".join(lines)


def test_the_rules_are_rules_by_grafanas_own_types(tmp_path: Path) -> None:
    """With Grafana's Foundation SDK and TypeScript from npm."""
    (tmp_path / "package.json").write_text('{"private": true}')
    install = [server("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True)
    for life in Life:
        (tmp_path / f"{life}.ts").write_text(typed(rules(life)))
    right = typed(rules(Life.HOME))
    invalid = {
        '"noDataState": "OK"': '"noDataState": "Fine"',
        '"type": "gt"': '"type": "odd"',
        '"instant"': '"instat"',
    }
    for number, (before, after) in enumerate(invalid.items()):
        (tmp_path / f"wrong{number}.ts").write_text(right.replace(before, after, 1))

    assert _checked(tmp_path, *(f"{life}.ts" for life in Life)) == ""
    found = _checked(tmp_path, *(f"wrong{number}.ts" for number in range(len(invalid))))
    assert [number for number in range(len(invalid)) if f"wrong{number}.ts" not in found] == []


def _checked(folder: Path, *files: str) -> str:
    options = ["--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext"]
    tsc = str(folder / "node_modules" / ".bin" / "tsc")
    done = subprocess.run([tsc, *options, *files], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout


@pytest.mark.parametrize("life", Life)
def test_a_rule_asks_the_provisioned_data_source_and_has_an_identity_of_its_own(life: Life) -> None:
    sources = {one["uid"] for one in yaml.safe_load(SOURCES.read_text(encoding="utf-8"))["datasources"]}
    found = rules(life)

    assert {one["datasourceUid"] for rule in found for one in rule["data"]} - {"__expr__"} <= sources
    uids = [rule["uid"] for one in Life for rule in rules(one)]
    assert len(set(uids)) == len(uids)
    assert [uid for uid in uids if not re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", uid)] == []
    for group in groups(life):
        assert group.keys() == {"orgId", "name", "folder", "interval", "rules"}


@pytest.mark.parametrize("life", Life)
def test_grafana_asks_what_prometheus_asks_and_says_the_same(life: Life) -> None:
    wanted = {name: alert for name, alert in ALERTS.items() if alert.severity(life) is not None}
    wanted.pop("CclFirmwareVulnerable")
    found = {rule["title"]: rule for rule in rules(life)}

    assert found.keys() == wanted.keys()
    for name, rule in found.items():
        query = next(one["model"] for one in rule["data"] if one["refId"] == "query")
        promql.parse(query["expr"])
        assert (query["expr"], rule["for"]) == (wanted[name].expr, wanted[name].hold or "0s")
        texts = " ".join(rule["annotations"].values())
        assert "$value " not in texts
        assert "$externalLabels" not in texts
