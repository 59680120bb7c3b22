"""The rules of deploy/prometheus name what the exporter emits, and say what a person needs."""

import re
from collections.abc import Iterator
from typing import Any

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


def known() -> dict[str, Series]:
    """What the exporter emits, and what the recording rules make of it, in their order."""
    found = dict(EMITTED)
    for rule in RECORDED:
        labels = look(rule["expr"], found).labels or frozenset()
        found[rule["record"]] = Series(labels - TARGET, target=labels & TARGET)
    return found


@pytest.mark.parametrize("rule", RECORDED + ALERTS, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_metrics_labels_and_words_that_exist(rule: dict[str, Any]) -> None:
    found = look(rule["expr"], known())

    assert found.complaints == []


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


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_how_bad_and_where_to_read_on(rule: dict[str, Any]) -> None:
    told = rule["annotations"]
    paragraphs = re.findall(r"^### (\w+)$", (FOLDER / "README.md").read_text(), re.MULTILINE)

    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert told.keys() == {"summary", "description", "runbook_url"}
    assert "{{" not in told["summary"]
    assert told["summary"].endswith(".")
    # These two have no value but 1.
    assert "$value" in told["description"] or rule["alert"] in ("CclNothingRead", "CclFirmwareVulnerable")
    assert told["runbook_url"] == f"deploy/prometheus/README.md#{rule['alert'].lower()}"
    assert rule["alert"] in paragraphs


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_a_description_uses_labels_that_its_alert_has(rule: dict[str, Any]) -> None:
    labels = look(rule["expr"], known()).labels or frozenset()

    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"])) <= labels


def test_each_paragraph_of_the_runbook_is_of_an_alert() -> None:
    text = (FOLDER / "README.md").read_text()
    runbook = text[text.index("## Runbook") :]

    assert re.findall(r"^### (\w+)$", runbook, re.MULTILINE) == [rule["alert"] for rule in ALERTS]


def test_a_recorded_name_says_its_level_and_its_operation() -> None:
    for rule in RECORDED:
        assert re.fullmatch(r"(plug|tariff|calendar):[a-z0-9_]+:[a-z0-9_]+", rule["record"]), rule["record"]


@pytest.mark.parametrize(
    "version",
    [
        *("4.2.3", "4.2", "4.0.9-rc1", "3.10.2", "0.9", "4.3", "4.3.0", "4.3.0.7", "4.3-beta"),
        *("4.3.1", "4.3.2", "4.3.10", "4.10", "4.10.1", "4.4", "4.30", "5.0", "10.2", "40.1", "44.3.0", "", "?"),
    ],
)
def test_the_vulnerable_versions_are_those_that_check_names(version: str) -> None:
    (rule,) = (rule for rule in ALERTS if rule["alert"] == "CclFirmwareVulnerable")
    patterns = dict(re.findall(r'(\w+)=~"([^"]*)"', rule["expr"]))

    assert re.fullmatch(patterns["product"], "CirCarLife Scada")
    assert not re.fullmatch(patterns["product"], "PowerStudio Scada")
    assert bool(re.fullmatch(patterns["version"], version)) == bool(known_weaknesses("CirCarLife Scada", version))
