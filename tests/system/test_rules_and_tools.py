"""What Prometheus' and VictoriaMetrics' own tools say of deploy/prometheus."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from alert_rules.model import Life
from helpers.promql_check import EMITTED, TARGET
from helpers.rule_cases import CASES, cases, promtool_test
from helpers.support import PROJECT, RULES, server

FOLDER = PROJECT / "deploy" / "prometheus"

# What a user gives to chargers in the exporter's configuration.
_OWN = {"site"}


def run(*command: str, cwd: Path = FOLDER) -> str:
    done = subprocess.run([server(command[0]), *command[1:]], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("life", Life)
def test_prometheus_takes_the_configuration_and_the_rules(life: Life, tmp_path: Path) -> None:
    text = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
    # As a user may: the links, the other life, and the alert that is an offer.
    text = re.sub(r"(?m)^( *)# (- rules/|external_labels|  ccl_)", r"\1\2", text)
    (tmp_path / "rules").symlink_to(RULES)
    (tmp_path / "prometheus.yml").write_text(text.replace("rules/home.yml", f"rules/{life}.yml"))

    assert "3 rule files found" in run("promtool", "check", "config", "prometheus.yml", cwd=tmp_path)
    assert "2 rule files found" in run("promtool", "check", "config", "prometheus.yml")


@pytest.mark.parametrize("life", Life)
@pytest.mark.parametrize("path", CASES, ids=lambda path: str(path.stem))
def test_each_rule_fires_when_it_should_and_not_otherwise(path: Path, life: Life, tmp_path: Path) -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", str(promtool_test(path, life, tmp_path)))


def test_an_alert_links_to_where_the_configuration_says(tmp_path: Path) -> None:
    case = {
        "interval": "1m",
        "external_labels": {"ccl_runbook": "https://docs.example/README.md", "ccl_grafana": "https://grafana"},
        "input_series": [{"series": 'ccl_up{job="evse", instance="garage 1"}', "values": "0x20"}],
        "alert_rule_test": [
            {
                "alertname": "CclChargerUnreachable",
                "eval_time": "15m",
                "exp_alerts": [
                    {
                        "exp_labels": {"job": "evse", "instance": "garage 1", "severity": "warning"},
                        "exp_annotations": {
                            "summary": "garage 1: the charger does not answer.",
                            "description": "It answered 0% of the reads of the last 5 minutes."
                            " It is switched off, has another address, or is in another subnet."
                            " `ccl-exporter check --charger garage 1` says which. https://docs.example/README.md#cclchargerunreachable"
                            " https://grafana/d/ccl-charger?var-instance=garage+1",
                        },
                    }
                ],
            }
        ],
    }
    test = tmp_path / "links.yml"
    test.write_text(yaml.safe_dump({"rule_files": [str(RULES / "home.yml")], "tests": [case]}))

    assert "SUCCESS" in run("promtool", "test", "rules", str(test))


def test_every_rule_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires: dict[str, set[bool]] = {}
    for case in (case for path in CASES for case in cases(path)):
        for one in case.get("alert_rule_test", ()):
            fires.setdefault(one["alertname"], set()).add(bool(one.get("exp_alerts")))
        for one in case.get("promql_expr_test", ()):
            found = [sample["value"] for sample in one.get("exp_samples", ())]
            name = re.search(r"[a-z0-9_]+:[a-z0-9_:]+", one["expr"])
            assert name is not None
            fires.setdefault(name[0], set()).update(value != 0 for value in found or [0])
    names = {
        rule.get("alert") or rule["record"]
        for path in RULES.glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    }
    # There is always a month, and always a price.
    always = {"calendar:month:info", "tariff:price_per_kilowatt_hour:now"}

    assert fires.keys() == names
    assert {name for name, seen in fires.items() if seen != {True, False}} <= always


@pytest.mark.parametrize("path", CASES, ids=lambda path: str(path.stem))
def test_the_cases_are_made_of_series_that_the_exporter_emits(path: Path) -> None:
    for case in cases(path):
        for series in (one["series"] for one in case.get("input_series", ())):
            name, _, rest = series.partition("{")
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', rest))
            assert {"job", "instance"} <= labels.keys(), series
            if ":" in name:
                continue  # what another rule records
            known = EMITTED[name]
            assert labels.keys() - TARGET - _OWN in (known.labels, known.labels - {"phase"}), series
            for label, words in known.words.items():
                assert labels[label] in words, series


def test_vmalert_takes_the_rules() -> None:
    run("vmalert", "-rule=rules/*.yml", "-dryRun")


def test_alertmanager_takes_the_configuration() -> None:
    assert "SUCCESS" in run("amtool", "check-config", "alertmanager.yml")


def test_alertmanager_takes_the_lines_that_are_an_offer(tmp_path: Path) -> None:
    text = (FOLDER / "alertmanager.yml").read_text(encoding="utf-8")
    offered = re.sub(r"(?m)^( +)# (http_config|email_configs|  [- ] )", r"\1\2", text)
    (tmp_path / "alertmanager.yml").write_text(offered)

    assert "SUCCESS" in run("amtool", "check-config", "alertmanager.yml", cwd=tmp_path)
    receivers = {one["name"]: one for one in yaml.safe_load(offered)["receivers"]}
    (mail,) = receivers["info"]["email_configs"]
    assert mail["smarthost"] == "smtp.example.org:587"
    assert "http_config" in receivers["critical"]["webhook_configs"][0]


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=CclGroundFault", "severity=critical"), "critical"),
        (("alertname=CclOverCurrent", "severity=critical", "planned_outage=new cable"), "none"),
        (("alertname=CclPhaseMissing", "severity=warning"), "warning"),
        (("alertname=CclOutOfService", "severity=info"), "info"),
    ],
)
def test_an_alert_goes_where_it_should(labels: tuple[str, ...], receiver: str) -> None:
    said = run("amtool", "config", "routes", "test", "--config.file=alertmanager.yml", *labels)

    assert said.split() == [receiver]
