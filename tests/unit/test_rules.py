"""The rules of deploy/prometheus name what the exporter emits, and say what a person needs."""

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import promql_parser as promql
import pytest
import yaml
from alert_rules.build import ALERTS as SOURCES
from alert_rules.build import rule_groups
from alert_rules.model import Life
from helpers.promql_check import EMITTED, TARGET, Series, look
from helpers.support import PROJECT
from typer.testing import CliRunner

from ccl_exporter.cli.command_table import app
from ccl_exporter.diagnostics.check import known_weaknesses

FOLDER = PROJECT / "deploy" / "prometheus"
RULES = FOLDER / "rules"


def rules(name: str) -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load((RULES / name).read_text())["groups"]:
        yield from group["rules"]


FLEET = tuple(rules("fleet.yml"))
RECORDED = (*rules("recording.yml"), *(rule for rule in FLEET if "record" in rule))
HOME = tuple(rules("home.yml"))
OPTIONAL = tuple(rules("firmware.yml"))
ALERTS = tuple({rule["alert"]: rule for rule in (*HOME, *FLEET, *OPTIONAL) if "alert" in rule}.values())


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
        ("ccl_plug_energy_joules", "no metric is called ccl_plug_energy_joules"),
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
        ("rate(ccl_plug_energy_joules_total[5m:1m]) + on () nothing", "no metric is called nothing"),
    ],
)
def test_what_does_not_exist_is_found(expression: str, complaint: str) -> None:
    assert any(found.startswith(complaint) for found in look(expression).complaints)


def shortcomings(rule: dict[str, Any]) -> Iterator[str]:
    """What an alert does not say, or says in another form than the others."""
    name, annotations = rule["alert"], rule["annotations"]
    if annotations.keys() != {"summary", "description"}:
        yield f"{name}: annotations"
    labels = look(rule["expr"], known()).labels or frozenset()
    if (
        "instance" in labels
        and name != "CclNothingRead"
        and not annotations["summary"].startswith("{{ $labels.instance }}")
    ):
        yield f"{name}: does not name the charger or the exporter first"
    if "plug" in labels and "$labels.plug" not in annotations["summary"]:
        yield f"{name}: does not name the plug"
    if not annotations["summary"].endswith("."):
        yield f"{name}: summary"
    for label in re.findall(
        r"\$labels\.(\w+)", f"{annotations['summary']} {annotations['description']}".partition("$external")[0]
    ):
        if label not in labels | {"instance", "plug"}:
            yield f"{name}: has no label {label}"
    if f"#{name.lower()}" not in annotations["description"]:
        yield f"{name}: runbook"


def test_an_alert_says_who_what_and_where_to_read_on() -> None:
    assert [one for rule in ALERTS for one in shortcomings(rule)] == []


def test_a_number_in_an_alert_has_words_about_it() -> None:
    """No raw "(1)": a value is formatted, or chosen by."""
    raw = re.compile(r"\{\{ *\$value *\}\}|\(\{\{")

    assert [rule["alert"] for rule in ALERTS if raw.search(str(rule["annotations"]))] == []


COMMAND = re.compile(r"`ccl-exporter ([^`]+)`")


def test_a_command_in_an_alert_exists_with_its_flags() -> None:
    wrong = []
    for line in {line for rule in ALERTS for line in COMMAND.findall(rule["annotations"]["description"])}:
        words = shlex.split(re.sub(r"\{\{ (with|end)[^}]*\}\}|FILE", "", line).replace("{{ . }}", "x"))
        words = [word for word in words if word not in ("{{", "}}", "$labels.instance", "$labels.variable")]
        names = words[: 2 if words[0] == "charge" else 1]
        shown = CliRunner().invoke(app, [*names, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
        flags = [word for word in words if word.startswith("--")]
        wrong += [line for flag in flags if shown.exit_code or f"{flag} " not in shown.output.replace(",", " ")]

    assert wrong == []
    assert len(COMMAND.findall(str(ALERTS))) > 20


def test_home_has_what_a_household_acts_upon() -> None:
    """A box that is switched off is not critical at home; availability and visitors belong to a fleet."""
    severities = {
        life: {rule["alert"]: rule["labels"]["severity"] for rule in found if "alert" in rule}
        for life, found in (("home", HOME), ("fleet", FLEET))
    }
    only = {
        life: severities[life].keys() - severities[other].keys()
        for life, other in (("home", "fleet"), ("fleet", "home"))
    }

    assert severities["home"]["CclChargerUnreachable"] == "warning"
    assert severities["fleet"]["CclChargerUnreachable"] == "critical"
    assert not any("available" in rule["expr"] for rule in HOME)
    assert only == {
        "home": {"CclCheapHoursNotCharging"},
        "fleet": {"CclAvailabilityLow", "CclOutOfService", "CclBlockedAfterCharge"},
    }
    assert "CclFirmwareVulnerable" not in severities["home"].keys() | severities["fleet"].keys()


@pytest.mark.parametrize("life", Life)
def test_a_severity_is_the_only_difference_between_lives(life: Life) -> None:
    found = [rule for group in rule_groups(life) for rule in group["rules"] if "alert" in rule]

    for rule in found:
        assert rule["expr"] == SOURCES[rule["alert"]].expr
        assert rule["labels"] == {"severity": str(SOURCES[rule["alert"]].severity(life))}


def test_each_paragraph_of_the_runbook_is_of_an_alert() -> None:
    text = (FOLDER / "README.md").read_text()
    runbook = text[text.index("## Runbook") :]

    assert re.findall(r"^### (\w+)$", runbook, re.MULTILINE) == list(SOURCES)


def test_a_recorded_name_says_its_level_and_its_operation() -> None:
    pattern = r"(plug|tariff|calendar):[a-z0-9_]+:[a-z0-9_]+"

    assert [rule["record"] for rule in RECORDED if not re.fullmatch(pattern, rule["record"])] == []


SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
SCRAPE = 15
"""Seconds between two scrapes, by prometheus.yml."""


def seconds(text: str) -> int:
    return int(text[:-1]) * SPANS[text[-1]]


def samples_per_hour(groups: Iterable[dict[str, Any]], steps: Mapping[str, int]) -> dict[str, float]:
    """How many samples of one series each rule reads in an hour, by the ranges of its expression."""
    ranges = re.compile(r"([a-z_:][a-z0-9_:]*)(?:\{[^}]*\})?\[(\d+[smhd])\]")
    return {
        name_of(rule): sum(seconds(span) / steps.get(name, SCRAPE) for name, span in ranges.findall(rule["expr"]))
        * 3600
        / seconds(group["interval"])
        for group in groups
        for rule in group["rules"]
    }


def test_no_rule_reads_more_than_some_days_of_scrapes_in_an_hour() -> None:
    """A month of minutes every five minutes would be half a million samples an hour for each plug."""
    paths = (RULES / name for name in ("recording.yml", "home.yml", "fleet.yml"))
    groups = [group for path in paths for group in yaml.safe_load(path.read_text())["groups"]]
    rules_ = [(rule, seconds(group["interval"])) for group in groups for rule in group["rules"]]
    steps = {rule["record"]: interval for rule, interval in rules_ if "record" in rule}
    month = {"interval": "5m", "rules": [{"alert": "Month", "expr": "sum_over_time(x[31d])"}]}

    assert {name: read for name, read in samples_per_hour(groups, steps).items() if read > 150_000} == {}
    assert samples_per_hour([month], {"x": 60}) == {"Month": 535_680}


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
