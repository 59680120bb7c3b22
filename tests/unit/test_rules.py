"""The rules of deploy/prometheus name what the exporter emits, and say what a person needs."""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import promql_parser as promql
import pytest
import yaml
from helpers.promql_check import EMITTED, TARGET, Series, look
from helpers.support import PROJECT

from ccl_exporter.diagnostics.check import known_weaknesses

FOLDER = PROJECT / "deploy" / "prometheus"
RULES = FOLDER / "rules"


def rules(name: str) -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load((RULES / name).read_text())["groups"]:
        yield from group["rules"]


RECORDED = tuple(rules("recording.yml"))
ALERTS = tuple(rules("alerts.yml"))


def name_of(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


@cache
def known() -> dict[str, Series]:
    """What the exporter emits, and what the recording rules make of it, in their order."""
    found = dict(EMITTED)
    for rule in RECORDED:
        labels = look(rule["expr"], found).labels or frozenset()
        found[rule["record"]] = Series(labels - TARGET, target=labels & TARGET)
    return found


def test_a_rule_names_metrics_labels_and_words_that_exist() -> None:
    complaints = {name_of(rule): look(rule["expr"], known()).complaints for rule in RECORDED + ALERTS}

    assert {name: found for name, found in complaints.items() if found} == {}
    assert len(complaints) == len(RECORDED + ALERTS), "two rules of one name"


def test_no_two_rules_have_the_same_expression() -> None:
    names = defaultdict(list)
    for rule in RECORDED + ALERTS:
        # As it is parsed: blanks and the order of matchers make no other expression.
        names[promql.parse(rule["expr"]).prettify()].append(name_of(rule))

    assert [same for same in names.values() if len(same) > 1] == []


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("ccl_plug_energy_joules", "nobody emits ccl_plug_energy_joules"),
        ('ccl_plug_locked{socket="A"} == 1', "ccl_plug_locked has no label socket"),
        ('ccl_plug_state{ccl_plug_state="chargin"}', "ccl_plug_state is never chargin"),
        ('ccl_plug_error{ccl_plug_error=~"rcd|gfci"}', "ccl_plug_error is never gfci"),
        ("sum by (socket) (ccl_plug_power_watts)", "sum over a label socket that is not there"),
        (
            "ccl_plug_locked == 1 and ignoring () ccl_plug_state == 1",
            "and never matches: only one side has ccl_plug_state",
        ),
        ("ccl_up == 0 and on (plug) ccl_plug_locked", "and on a label plug that one side does not have"),
        ("ccl_up - ccl_up", "- does not state the labels that it joins by"),
        ("max without (plug) (ccl_plug_locked) > on (plug) ccl_plug_locked", "> on a label plug"),
        ("ccl_plug_locked * on (job) group_left (city) ccl_up", "* carries over a label city that is not there"),
        ('label_replace(ccl_up, "a", "$1", "city", "(.*)")', "label_replace of a label city that is not there"),
        ("rate(ccl_plug_energy_joules_total[5m:1m]) + on () nothing", "nobody emits nothing"),
    ],
)
def test_what_does_not_exist_is_found(expression: str, complaint: str) -> None:
    assert any(found.startswith(complaint) for found in look(expression).complaints)


WITHOUT_VALUE = ("CclNothingRead", "CclFirmwareVulnerable")
"""Alerts whose value is always 1."""


def shortcomings(rule: dict[str, Any]) -> Iterator[str]:
    """What an alert does not say, or says in another form than the others."""
    name, told = rule["alert"], rule["annotations"]
    if rule["labels"]["severity"] not in ("critical", "warning", "info"):
        yield f"{name}: severity"
    if told.keys() != {"summary", "description", "runbook_url"}:
        yield f"{name}: annotations"
    if "{{" in told["summary"] or not told["summary"].endswith("."):
        yield f"{name}: summary"
    if "$value" not in told["description"] and name not in WITHOUT_VALUE:
        yield f"{name}: no value"
    if told["runbook_url"] != f"deploy/prometheus/README.md#{name.lower()}":
        yield f"{name}: runbook"
    labels = look(rule["expr"], known()).labels or frozenset()
    for label in re.findall(r"\$labels\.(\w+)", told["description"]):
        if label not in labels:
            yield f"{name}: has no label {label}"


def test_an_alert_says_what_how_bad_and_where_to_read_on() -> None:
    assert [one for rule in ALERTS for one in shortcomings(rule)] == []


def test_each_paragraph_of_the_runbook_is_of_an_alert() -> None:
    text = (FOLDER / "README.md").read_text()
    runbook = text[text.index("## Runbook") :]

    assert re.findall(r"^### (\w+)$", runbook, re.MULTILINE) == [rule["alert"] for rule in ALERTS]


def test_a_recorded_name_says_its_level_and_its_operation() -> None:
    pattern = r"(plug|tariff|calendar):[a-z0-9_]+:[a-z0-9_]+"

    assert [rule["record"] for rule in RECORDED if not re.fullmatch(pattern, rule["record"])] == []


VULNERABLE = ("4.2.3", "4.2", "4.0.9-rc1", "3.10.2", "0.9", "4.3", "4.3.0", "4.3.0.7", "4.3-beta")
MENDED = ("4.3.1", "4.3.2", "4.3.10", "4.10", "4.10.1", "4.4", "4.30", "5.0", "10.2", "40.1", "44.3.0", "", "?")


def test_the_vulnerable_versions_are_those_that_check_names() -> None:
    (rule,) = (rule for rule in ALERTS if rule["alert"] == "CclFirmwareVulnerable")
    patterns = dict(re.findall(r'(\w+)=~"([^"]*)"', rule["expr"]))

    assert re.fullmatch(patterns["product"], "CirCarLife Scada")
    assert not re.fullmatch(patterns["product"], "PowerStudio Scada")
    found = [version for version in VULNERABLE + MENDED if re.fullmatch(patterns["version"], version)]
    named = [version for version in VULNERABLE + MENDED if known_weaknesses("CirCarLife Scada", version)]
    assert found == named == [*VULNERABLE]
