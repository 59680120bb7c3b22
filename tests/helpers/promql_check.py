"""What an expression of PromQL names: metrics and labels, held against what the exporter emits.

A rule or a panel with the name of no metric is empty for ever, and no other tool says so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import promql_parser as p

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family

TARGET = frozenset({"job", "instance", "exporter", "planned_outage"})
"""Labels that Prometheus attaches to every series of ours (deploy/prometheus/prometheus.yml)."""

_SETS = ("and", "or", "unless")


@dataclass(frozen=True)
class Series:
    """A metric that exists: its labels, the words that some are limited to, and those of its target."""

    labels: frozenset[str] = frozenset()
    words: Mapping[str, frozenset[str]] = field(default_factory=dict)
    target: frozenset[str] = TARGET


def _series(family: Family) -> Series:
    if family.kind == "stateset":
        return Series(frozenset({*family.labels, family.name}), {family.name: frozenset(family.states)})
    return Series(frozenset(family.labels))


EMITTED: Mapping[str, Series] = {
    **{family.name: _series(family) for family in (*f.FAMILIES, *f.EXPORTER, *f.FOLLOW, *f.PLAN)},
    "up": Series(),
    "process_start_time_seconds": Series(),
}
"""Every metric of the exporter, its process and its commands, and the one that Prometheus has of each target."""


@dataclass
class Finding:
    """What is wrong with an expression, in words, and the labels that its result may have; None is a scalar."""

    complaints: list[str]
    labels: frozenset[str] | None


def look(expression: str, known: Mapping[str, Series] = EMITTED) -> Finding:
    """Look an expression through; `known` are the metrics that exist."""
    reader = _Reader(known)
    labels = reader.labels(p.parse(expression))
    return Finding(reader.complaints, labels)


class _Reader:
    def __init__(self, known: Mapping[str, Series]) -> None:
        self._known = known
        self.complaints: list[str] = []

    def labels(self, expression: p.Expr) -> frozenset[str] | None:
        match expression:
            case p.VectorSelector():
                return self._selected(expression)
            case p.MatrixSelector():
                return self._selected(expression.vector_selector)
            case p.SubqueryExpr() | p.ParenExpr() | p.UnaryExpr():
                return self.labels(expression.expr)
            case p.Call():
                return self._called(expression)
            case p.AggregateExpr():
                return self._aggregated(expression)
            case p.BinaryExpr():
                return self._joined(expression)
            case _:
                return None

    def _say(self, complaint: str) -> None:
        self.complaints.append(complaint)

    def _selected(self, selector: p.VectorSelector) -> frozenset[str]:
        name = selector.name or ""
        series = self._known.get(name)
        if series is None:
            self._say(f"no metric is called {name or selector}")
            return TARGET
        labels = series.labels | series.target
        for matcher in selector.matchers.matchers:
            if matcher.name not in labels:
                self._say(f"{name} has no label {matcher.name}")
            words = series.words.get(matcher.name)
            if words is None or not matcher.value:
                continue
            wanted = [matcher.value]
            if matcher.op in (p.MatchOp.Re, p.MatchOp.NotRe):
                wanted = matcher.value.split("|")
            for pattern in wanted:
                if not any(re.fullmatch(pattern, word) for word in words):
                    self._say(f"{matcher.name} is never {pattern}")
        return labels

    def _called(self, call: p.Call) -> frozenset[str] | None:
        name = call.func.name
        found = [self.labels(argument) for argument in call.args]
        if name in ("time", "scalar"):
            return None
        labels = frozenset[str]().union(*(one for one in found if one is not None))
        if name in ("label_replace", "label_join"):
            labels |= {call.args[1].val}
            sources = [call.args[3].val] if name == "label_replace" else [one.val for one in call.args[3:]]
            for source in set(sources) - labels:
                self._say(f"{name} of a label {source} that is not there")
        return labels

    def _aggregated(self, aggregate: p.AggregateExpr) -> frozenset[str]:
        inner = self.labels(aggregate.expr) or frozenset()
        named = frozenset[str]() if aggregate.modifier is None else frozenset(aggregate.modifier.labels)
        without = aggregate.modifier is not None and aggregate.modifier.type == p.AggModifierType.Without
        for label in sorted(named - inner):
            self._say(f"{aggregate.op} over a label {label} that is not there")
        labels = inner - named if without else inner & named
        if str(aggregate.op) == "count_values" and isinstance(aggregate.param, p.StringLiteral):
            labels |= {aggregate.param.val}
        return labels

    def _joined(self, binary: p.BinaryExpr) -> frozenset[str] | None:
        left, right = self.labels(binary.lhs), self.labels(binary.rhs)
        if left is None or right is None:
            return left if right is None else right
        operator, modifier = str(binary.op), binary.modifier
        if modifier is None or modifier.matching is None:
            if operator == "or":
                return left | right
            if left | right:
                self._say(f"{operator} does not state the labels that it joins by")
            return left
        matching = frozenset(modifier.matching.labels)
        on = modifier.matching.type == p.LabelModifierType.Include
        if on:
            for label in sorted(matching - (left & right)):
                self._say(f"{operator} on a label {label} that one side does not have")
        else:
            for label in sorted(matching - (left | right)):
                self._say(f"{operator} ignoring a label {label} that is not there")
            for label in sorted((left - matching) ^ (right - matching)):
                self._say(f"{operator} never matches: only one side has {label}")
        if operator in _SETS:
            return left | right if operator == "or" else left
        if modifier.card in (p.VectorMatchCardinality.ManyToOne, p.VectorMatchCardinality.OneToMany):
            most, one = (left, right) if modifier.card == p.VectorMatchCardinality.ManyToOne else (right, left)
            carried = frozenset(modifier.group_labels or ())
            for label in sorted(carried - one):
                self._say(f"{operator} carries over a label {label} that is not there")
            return most | carried
        return matching if on else left - matching
