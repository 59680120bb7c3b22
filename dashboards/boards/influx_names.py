"""What a family is called where the push writes it: the exporter's own sink is asked."""

from functools import cache

from ccl_exporter.metrics.families import Family, Sample
from ccl_exporter.outputs.influxdb.line_protocol import by_field, field_of, lines


@cache
def stored(family: Family) -> tuple[str, str]:
    """Measurement and field (of a state, that of its number), as of a plug without phases."""
    labels = tuple("" if label == "phase" else label for label in family.labels)
    (line,) = lines([Sample(family, labels, 1.0, family.states[:1])], "charger", 0)
    return field_of(by_field(line)[0])
