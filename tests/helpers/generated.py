"""Every file that is made from the code, and how; `python tests/generate.py` writes them, tests compare them."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from alert_rules import build as alert_rules
from alert_rules.model import Life
from boards.build import BOARDS, written

from helpers import golden, prometheus_rule, readme_table
from helpers.support import PROJECT, RULES

ALERTING = PROJECT / "deploy" / "grafana" / "alerting"
KUSTOMIZE = PROJECT / "deploy" / "kustomize"


def _board(name: str) -> str:
    return written(BOARDS[name])


GENERATED: Mapping[Path, Callable[[], str]] = {
    PROJECT / "README.md": readme_table.readme,
    readme_table.METRICS_README: readme_table.metrics_readme,
    PROJECT / "ccl_exporter" / "outputs" / "README.md": readme_table.outputs_readme,
    readme_table.NEIGHBOURS_README: readme_table.neighbours_readme,
    RULES / "home.yml": partial(alert_rules.rule_file, Life.HOME),
    RULES / "fleet.yml": partial(alert_rules.rule_file, Life.FLEET),
    RULES / "firmware.yml": alert_rules.firmware_file,
    ALERTING / "home.yml": partial(alert_rules.grafana_file, Life.HOME),
    ALERTING / "fleet.yml": partial(alert_rules.grafana_file, Life.FLEET),
    KUSTOMIZE / "base" / "prometheusrule.yaml": partial(prometheus_rule.prometheus_rule, Life.HOME),
    KUSTOMIZE / "fleet" / "prometheusrule.yaml": partial(prometheus_rule.prometheus_rule, Life.FLEET),
    golden.FOLDER / "wallbox.lp": golden.line_protocol,
    golden.FOLDER / "wallbox.mqtt": golden.messages,
    golden.FOLDER / "wallbox.discovery": golden.discovery_messages,
    **{PROJECT / "dashboards" / name: partial(_board, name) for name in BOARDS},
}
"""By path, what makes the text that the file should hold; a table in a page is made within the page's own text."""

COMMAND = "python tests/generate.py"
