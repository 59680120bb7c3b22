"""The PrometheusRule of Kubernetes, made of the rules that Prometheus loads without Kubernetes."""

from pathlib import Path
from typing import Any

import yaml
from alert_rules.build import rule_groups
from alert_rules.model import Life

PROJECT = Path(__file__).parents[2]
RECORDING = PROJECT / "deploy" / "prometheus" / "rules" / "recording.yml"


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def prometheus_rule(life: Life) -> str:
    """The text of the file, with the alerts of a life."""
    groups = [*yaml.safe_load(RECORDING.read_text(encoding="utf-8"))["groups"], *rule_groups(life)]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "ccl-exporter"},
        "spec": {"groups": groups},
    }
    written = yaml.dump(rule, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=115)
    return f"# Written by `python tests/generate.py` from deploy/prometheus/rules.\n{written}"
