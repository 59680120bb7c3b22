"""What Prometheus' and VictoriaMetrics' own tools say of deploy/prometheus."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from helpers.promql_check import EMITTED, TARGET
from helpers.support import PROJECT, server

FOLDER = PROJECT / "deploy" / "prometheus"
TESTS = sorted((FOLDER / "rules" / "tests").glob("*.yml"))

# What a user gives to chargers in the exporter's configuration.
_OWN = {"site"}


def run(*command: str) -> str:
    done = subprocess.run(
        [server(command[0]), *command[1:]], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    said = run("promtool", "check", "config", "prometheus.yml")

    assert "2 rule files found" in said
    run("promtool", "check", "rules", *(str(rules) for rules in (FOLDER / "rules").glob("*.yml")))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.stem))
def test_each_rule_fires_when_it_should_and_not_otherwise(path: Path) -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", str(path))


def test_every_rule_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires: dict[str, set[bool]] = {}
    for case in (case for path in TESTS for case in yaml.safe_load(path.read_text())["tests"]):
        for one in case.get("alert_rule_test", ()):
            fires.setdefault(one["alertname"], set()).add(bool(one.get("exp_alerts")))
        for one in case.get("promql_expr_test", ()):
            found = [sample["value"] for sample in one.get("exp_samples", ())]
            name = re.search(r"[a-z0-9_]+:[a-z0-9_:]+", one["expr"])
            assert name is not None
            fires.setdefault(name[0], set()).update(value != 0 for value in found or [0])
    names = {
        rule.get("alert") or rule["record"]
        for path in (FOLDER / "rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    }
    # There is always a month, and always a price.
    always = {"calendar:month:info", "tariff:price_per_kilowatt_hour:now", "plug:ccl_plug_available:ratio_month"}
    always |= {"plug:ccl_plug_available:ratio30d"}

    assert fires.keys() == names
    assert {name for name, seen in fires.items() if seen != {True, False}} <= always


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.stem))
def test_the_cases_are_made_of_series_that_the_exporter_emits(path: Path) -> None:
    for case in yaml.safe_load(path.read_text())["tests"]:
        for series in (one["series"] for one in case.get("input_series", ())):
            name, _, rest = series.partition("{")
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', rest))
            known = EMITTED[name]
            assert labels.keys() - TARGET - _OWN in (known.labels, known.labels - {"phase"}), series
            assert {"job", "instance"} <= labels.keys(), series
            for label, words in known.words.items():
                assert labels[label] in words, series


def test_vmalert_takes_the_rules() -> None:
    run("vmalert", "-rule=rules/*.yml", "-dryRun")


def test_alertmanager_takes_the_configuration() -> None:
    assert "SUCCESS" in run("amtool", "check-config", "alertmanager.yml")


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=CclGroundFault", "severity=critical"), "critical"),
        (("alertname=CclOverCurrent", "severity=critical", "planned_outage=new cable"), "nobody"),
        (("alertname=CclPhaseMissing", "severity=warning"), "warning"),
        (("alertname=CclOutOfService", "severity=info"), "info"),
    ],
)
def test_an_alert_goes_where_it_should(labels: tuple[str, ...], receiver: str) -> None:
    said = run("amtool", "config", "routes", "test", "--config.file=alertmanager.yml", *labels)

    assert said.split() == [receiver]
