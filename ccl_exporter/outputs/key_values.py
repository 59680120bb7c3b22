"""Samples as documents: one for each plug, for the station and for each device, as MQTT and JSON show it. Pure.

Keys are the metrics' names without `ccl_`, `ccl_plug_`, `ccl_station_` or `ccl_variable_`. Energies are also in
kWh, and the power of three phases also as their sum. A value that is not available has no key.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from ccl_exporter.metrics.families import Sample

_PHASES = ("l1", "l2", "l3")
_YES_OR_NO = ("vehicle_connected", "locked", "enabled")
_JOULES_A_KWH = 3.6e6

Scalar = float | int | bool | str
Value = Scalar | list[str]
Document = dict[str, Value]


class Subject(NamedTuple):
    """The subject of a document: its kind, and the name of the plug or device as the engine sends it."""

    kind: Literal["plug", "station", "device"]
    name: str = ""


def by_subject(samples: Iterable[Sample]) -> dict[Subject, Document]:
    """A document for each plug, for the station and for each device."""
    found: dict[Subject, Document] = {}
    for sample in samples:
        labels = dict(zip(sample.family.labels, sample.labels, strict=True))
        subject = _subject(sample.family.name, labels)
        if subject is None:
            continue
        document = found.setdefault(subject, {})
        if sample.family.kind == "info":
            document.update(labels)
        else:
            document.update(_values(field_key(sample.family.name, labels), sample))
    for document in found.values():
        phases = [document.get(f"power_watts_{phase}") for phase in _PHASES]
        watts = [value for value in phases if isinstance(value, int | float)]
        if len(watts) == len(_PHASES):  # a partial sum is a wrong number
            document["power_watts"] = _number(round(float(sum(watts)), 6))
    return found


def _subject(name: str, labels: dict[str, str]) -> Subject | None:
    """The subject of a family, whose label is removed from `labels`; None if the family is in no document."""
    if "plug" in labels:
        return Subject("plug", labels.pop("plug"))
    if name.startswith("ccl_station_"):
        return Subject("station")
    if name.startswith("ccl_variable_") and name != "ccl_variable_info":
        return Subject("device", labels.pop("device"))
    return None


def field_key(name: str, labels: Mapping[str, str]) -> str:
    """The key of a family's value in its document."""
    for prefix in ("ccl_plug_", "ccl_station_"):
        name = name.removeprefix(prefix)
    if name.startswith("ccl_variable_"):
        name = f"{labels['variable']}_{name.removeprefix('ccl_variable_')}"
    phase = labels.get("phase")
    return f"{name.removeprefix('ccl_')}_{phase}" if phase else name.removeprefix("ccl_")


def _values(key: str, sample: Sample) -> Document:
    if sample.family.kind == "stateset":
        # Only faults can have several active states.
        return {key: list(sample.active) if key == "error" else ",".join(sample.active)}
    if key in _YES_OR_NO:
        return {key: sample.value != 0}
    found: Document = {key: _number(sample.value)}
    if "joules" in key:
        kwh = key.removesuffix("_total").replace("joules", "kwh")
        found[kwh] = _number(round(sample.value / _JOULES_A_KWH, 6))
    return found


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else value
