"""Samples as Prometheus text or OpenMetrics; the writing itself is prometheus_client's."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ccl_exporter.model import Family, Sample

# The unit that OpenMetrics names; the longest one that ends the name counts.
_UNITS = (
    "voltampere_seconds",
    "var_seconds",
    "seconds",
    "joules",
    "volts",
    "amperes",
    "watts",
    "voltamperes",
    "vars",
    "hertz",
    "celsius",
    "degrees",
    "ratio",
)


def exposition(
    samples: Iterable[Sample], order: Sequence[Family], accept: str, others: Sequence[Collector] = ()
) -> tuple[bytes, str]:
    """The body and content type that suit an Accept header: OpenMetrics where it is asked for, else text 0.0.4.

    Families come in `order`, their samples by labels, so that two scrapes differ only in values.
    `others` are collectors of prometheus_client that come behind, such as those of the process.
    """
    encode: Callable[[_Collected], bytes]
    encode, content_type = choose_encoder(accept)
    metrics = metric_families(samples, order)
    for other in others:
        metrics.extend(other.collect())
    return encode(_Collected(metrics)), content_type


def metric_families(samples: Iterable[Sample], order: Sequence[Family]) -> list[Metric]:
    """Families of prometheus_client, without those that have no sample."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.family.name, []).append(sample)
    return [
        _metric(family, sorted(by_name[family.name], key=lambda sample: sample.labels))
        for family in order
        if family.name in by_name
    ]


class _Collected:
    """What prometheus_client's encoders want of a registry."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _metric(family: Family, samples: list[Sample]) -> Metric:
    names = family.labels
    rows = [sample.labels for sample in samples]
    if "phase" in names and not any(row[names.index("phase")] for row in rows):
        # Without phases the label would be empty on every series.
        keep = [position for position, name in enumerate(names) if name != "phase"]
        names = tuple(names[position] for position in keep)
        rows = [tuple(row[position] for position in keep) for row in rows]
    match family.kind:
        case "stateset":
            states = StateSetMetricFamily(family.name, family.help, labels=names)
            for row, sample in zip(rows, samples, strict=True):
                states.add_metric(row, {word: word in sample.active for word in family.states})
            return states
        case "info":
            info = InfoMetricFamily(family.name.removesuffix("_info"), family.help, labels=names)
            for row in rows:
                info.add_metric(row, {})
            return info
        case "counter":
            counter = CounterMetricFamily(
                family.name.removesuffix("_total"), family.help, labels=names, unit=_unit(family.name)
            )
            for row, sample in zip(rows, samples, strict=True):
                counter.add_metric(row, sample.value)
            return counter
        case "gauge":
            gauge = GaugeMetricFamily(family.name, family.help, labels=names, unit=_unit(family.name))
            for row, sample in zip(rows, samples, strict=True):
                gauge.add_metric(row, sample.value)
            return gauge


def _unit(name: str) -> str:
    bare = name.removesuffix("_total")
    return next((unit for unit in _UNITS if bare.endswith(f"_{unit}")), "")
