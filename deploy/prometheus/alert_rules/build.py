"""The files that are made of the alerts: rules of Prometheus and vmalert, and rules that Grafana evaluates itself."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from alert_rules.chargers import AVAILABILITY, CHARGERS, FIRMWARE
from alert_rules.control import CONTROL
from alert_rules.exporter import EXPORTER
from alert_rules.model import Alert, Group, Life, Recording
from alert_rules.plugs import CHARGING, CURRENTS, FAULTS, REGISTERS, WINDOWS

Json = dict[str, Any]

GROUPS: Sequence[Group] = (
    EXPORTER,
    CHARGERS,
    FAULTS,
    CHARGING,
    *WINDOWS,
    CURRENTS,
    REGISTERS,
    CONTROL,
    *AVAILABILITY,
)
ALERTS: Mapping[str, Alert] = {
    rule.name: rule for group in (*GROUPS, FIRMWARE) for rule in group.rules if isinstance(rule, Alert)
}
"""By name, in the order of the runbook."""

_GENERATED = (
    "# Written by `python tests/generate.py` from deploy/prometheus/alert_rules; README.md beside it explains.\n"
)
_FOR = {
    Life.HOME: "# Alerts for a home. Load them with recording.yml, and fleet.yml without them.\n",
    Life.FLEET: "# Alerts and availability for chargers that others rely on."
    " Load them with recording.yml, and home.yml without them.\n",
}


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def _yaml(document: Any) -> str:
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000))


def _of_life(groups: Sequence[Group], life: Life) -> Iterator[Group]:
    for group in groups:
        rules = tuple(rule for rule in group.rules if _belongs(rule, life))
        if rules:
            yield Group(group.name, rules, group.interval)


def _belongs(rule: Alert | Recording, life: Life) -> bool:
    return life is Life.FLEET if isinstance(rule, Recording) else rule.severity(life) is not None


# Prometheus

_RUNBOOK = "{{{{ with $externalLabels.ccl_runbook }}}} {{{{ . }}}}#{anchor}{{{{ end }}}}"
_BOARD = "{{ with $externalLabels.ccl_grafana }} {{ . }}/d/ccl-charger?var-instance={{ urlquery $labels.instance }}{{ end }}"
"""Links at the end of a description, where every receiver shows them; none where the base is not configured."""


def rule_groups(life: Life, groups: Sequence[Group] = GROUPS) -> list[Json]:
    """The groups of a life as Prometheus loads them."""
    return [
        {
            "name": group.name,
            "interval": group.interval,
            "rules": [_rule(rule, life, group.name != EXPORTER.name) for rule in group.rules],
        }
        for group in _of_life(groups, life)
    ]


def _rule(rule: Alert | Recording, life: Life, of_charger: bool) -> Json:
    if isinstance(rule, Recording):
        return {"record": rule.name, "expr": rule.expr}
    links = _RUNBOOK.format(anchor=rule.name.lower()) + (_BOARD if of_charger else "")
    return {
        "alert": rule.name,
        "expr": rule.expr,
        **({"for": rule.hold} if rule.hold else {}),
        "labels": {"severity": str(rule.severity(life))},
        "annotations": {"summary": rule.summary, "description": f"{rule.description}{links}"},
    }


def rule_file(life: Life, groups: Sequence[Group] = GROUPS, about: str = "") -> str:
    """The text of a rule file."""
    lines = [f"{about or _FOR[life]}{_GENERATED}groups:\n"]
    comments = {rule.name: rule.why for group in groups for rule in group.rules}
    for group in rule_groups(life, groups):
        rules = group.pop("rules")
        lines.append(_item(group) + "  rules:\n")
        for rule in rules:
            why = comments[rule.get("alert") or rule["record"]]
            comment = f"  # {why}\n" if why else ""
            lines.append(comment + re.sub(r"(?m)^(?=.)", "  ", _item(rule)))
    return "".join(lines[:1]) + re.sub(r"(?m)^(?=.)", "  ", "".join(lines[1:]))


def _item(document: Json) -> str:
    """A mapping as an item of a list."""
    return _yaml([document])


def firmware_file() -> str:
    """The alert on old software, which is a file of its own, to be loaded by those who want it."""
    about = "# One alert more, for those who want it, and for any life: load it beside home.yml or fleet.yml.\n"
    return rule_file(Life.HOME, (FIRMWARE,), about)


# Grafana

SOURCE = "ccl-prometheus"
"""The data source of deploy/grafana/provisioning/datasources/ccl.yml."""

_ALWAYS = "is_number($query) || is_nan($query) || is_inf($query)"
"""What Grafana's own import of Prometheus' rules asks: any result is an alert, whatever its value."""


def grafana_file(life: Life) -> str:
    """The alerts as a file for Grafana's `provisioning/alerting`, for those without an Alertmanager."""
    groups = []
    for group in _of_life(GROUPS, life):
        rules = [_grafana_rule(rule, life) for rule in group.rules if isinstance(rule, Alert)]
        if rules:
            named = {"orgId": 1, "name": group.name, "folder": "EV chargers", "interval": group.interval}
            groups.append({**named, "rules": rules})
    return (
        "# The alerts of deploy/prometheus/rules for Grafana, which evaluates them itself. Use these or those.\n"
        + _GENERATED
        + _yaml({"apiVersion": 1, "groups": groups})
    )


def _grafana_rule(alert: Alert, life: Life) -> Json:
    return {
        "uid": f"ccl-{life}-{alert.name.removeprefix('Ccl').lower()}",
        "title": alert.name,
        "condition": "threshold",
        "data": [
            _step("query", SOURCE, {"expr": alert.expr, "instant": True, "range": False}, 600),
            _step("math", "__expr__", {"type": "math", "expression": _ALWAYS}),
            _step(
                "threshold",
                "__expr__",
                {
                    "type": "threshold",
                    "expression": "math",
                    "conditions": [{"evaluator": {"type": "gt", "params": [0]}}],
                },
            ),
        ],
        # No result is the normal case.
        "noDataState": "OK",
        "execErrState": "Error",
        "for": alert.hold or "0s",
        "annotations": {
            "summary": _for_grafana(alert.summary),
            "description": _for_grafana(alert.description),
        },
        "labels": {"severity": str(alert.severity(life))},
        "isPaused": False,
    }


def _step(name: str, source: str, model: Json, since: int = 0) -> Json:
    return {
        "refId": name,
        "relativeTimeRange": {"from": since, "to": 0},
        "datasourceUid": source,
        "model": {"refId": name, **model},
    }


def _for_grafana(text: str) -> str:
    """Grafana's `$value` is a text about all values."""
    return text.replace("$value", "$values.query.Value")
