"""Samples as Prometheus text or OpenMetrics, byte for byte as prometheus_client writes them.

Rendering a few hundred series would cost more than reading them, so what stays from scrape to scrape is cached:
the HELP and TYPE lines of a family, which prometheus_client writes, and each series without its value.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ccl_exporter.metrics.families import Family, Sample

# The unit in OpenMetrics is the first of these that ends the name.
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

_KEPT = 50_000
"""Maximum entries in each cache of lines; a charger has about 300, and those of one model share most of them."""

_KEPT_WHOLE = 100
"""Maximum entries in the cache of info families; that of one charger has about 20,000 characters."""

_Row = tuple[str, ...]
_LABELS = attrgetter("labels")


def exposition(
    samples: Iterable[Sample], order: Sequence[Family], accept: str, others: Sequence[Collector] = ()
) -> tuple[bytes, str]:
    """The body and content type that suit an Accept header: OpenMetrics where it is asked for, else text 0.0.4.

    Families come in `order`, their samples by labels, so that two scrapes differ only in values.
    The families of `others`, collectors of prometheus_client such as that of the process, come last.
    Raises `ValueError` if the family of a sample is not in `order`.
    """
    encode: Callable[[_Collected], bytes]
    try:
        encode, content_type = choose_encoder(accept)
    except TypeError:  # a version that is not a number
        encode, content_type = choose_encoder("")
    found = _by_family(samples, order)
    behind = [metric for other in others for metric in other.collect()]
    if content_type.endswith(("escaping=dots", "escaping=values")):
        # These escapings may rewrite names, which only prometheus_client does.
        return encode(_Collected([*(_metric(*one) for one in found), *behind])), content_type
    openmetrics = content_type.startswith("application/openmetrics-text")
    text = "".join(line for one in found for line in _lines(*one, openmetrics))
    return text.encode() + encode(_Collected(behind)), content_type


def _by_family(
    samples: Iterable[Sample], order: Sequence[Family]
) -> Iterator[tuple[Family, _Row, Sequence[Sample]]]:
    """Families that have samples, with the names of their labels and the samples in the order of their labels."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.family.name, []).append(sample)
    for family in order:
        found = by_name.pop(family.name, None)
        if found is None:
            continue
        names = family.labels
        if "phase" in names and not any(sample.labels[names.index("phase")] for sample in found):
            # The label would be empty on every series.
            keep = [position for position, name in enumerate(names) if name != "phase"]
            names = tuple(names[position] for position in keep)
            found = [
                sample._replace(labels=tuple(sample.labels[position] for position in keep)) for sample in found
            ]
        found.sort(key=_LABELS)
        yield family, names, found
    if by_name:
        raise ValueError(f"samples of families that are not in the list: {', '.join(sorted(by_name))}")


def _lines(family: Family, names: _Row, found: Iterable[Sample], openmetrics: bool) -> Iterator[str]:
    yield _about(family, openmetrics)
    if family.kind == "info":
        yield _infos(family.name, names, tuple(map(_LABELS, found)))
    elif family.kind == "stateset":
        for sample in found:
            yield _states(family, names, sample.labels, sample.active)
    else:
        name = family.name
        for _, labels, number, _ in found:
            value = floatToGoString(number)  # type: ignore[no-untyped-call] # it has no types
            yield f"{_series(name, names, labels)}{value}\n"


@lru_cache(maxsize=1000)
def _about(family: Family, openmetrics: bool) -> str:
    """The HELP, TYPE and UNIT lines of a family."""
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain")
    written: bytes = encode(_Collected([_metric(family, family.labels, [])]))
    return written.decode().removesuffix("# EOF\n")


@lru_cache(maxsize=_KEPT)
def _series(name: str, names: _Row, row: _Row) -> str:
    """A series without its value; labels in the order of their names, as prometheus_client writes them."""
    labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in sorted(zip(names, row, strict=True)))
    return f"{name}{{{labels}}} " if labels else f"{name} "


@lru_cache(maxsize=_KEPT_WHOLE)
def _infos(name: str, names: _Row, rows: tuple[_Row, ...]) -> str:
    """All lines of an info family, whose value is always 1."""
    return "".join(f"{_series(name, names, row)}1.0\n" for row in rows)


@lru_cache(maxsize=_KEPT)
def _states(family: Family, names: _Row, row: _Row, active: _Row) -> str:
    """All lines of one stateset; words in the order of prometheus_client."""
    names = (*names, family.name)
    return "".join(
        f"{_series(family.name, names, (*row, word))}{float(word in active)}\n" for word in sorted(family.states)
    )


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


@dataclass
class _Collected:
    """The part of a registry that prometheus_client's encoders use."""

    metrics: list[Metric]

    def collect(self) -> list[Metric]:
        return self.metrics


def _metric(family: Family, names: _Row, found: Sequence[Sample]) -> Metric:
    """A family as a metric of prometheus_client."""
    if family.kind == "stateset":
        states = StateSetMetricFamily(family.name, family.help, labels=names)
        for sample in found:
            states.add_metric(sample.labels, {word: word in sample.active for word in family.states})
        return states
    if family.kind == "info":
        info = InfoMetricFamily(family.name.removesuffix("_info"), family.help, labels=names)
        for sample in found:
            info.add_metric(sample.labels, {})
        return info
    bare = family.name.removesuffix("_total")
    unit = next((unit for unit in _UNITS if bare.endswith(f"_{unit}")), "")
    kind: type[CounterMetricFamily | GaugeMetricFamily]
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    numbers = kind(bare, family.help, labels=names, unit=unit)
    for sample in found:
        numbers.add_metric(sample.labels, sample.value)
    return numbers
