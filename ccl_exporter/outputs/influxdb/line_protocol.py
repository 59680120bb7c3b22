"""Samples in InfluxDB's line protocol, escaped by influxdb-client. Pure.

A family's name is `ccl_<measurement>_<field>`; its labels are tags, and `charger` is one more:

    ccl_plug,charger=garage,plug=EVSE.PLUG power_watts=7350,state=11i,state_text="charging" 1790000000000
    ccl_variable,charger=garage,device=Plug\\ -\\ Meter VI_volts=232.1,AE_joules_total=4446540000 1790000000000
    ccl_value,charger=garage,device=Plug\\ -\\ Meter,unit=volts,variable=VI value=232.1 1790000000000

The second and the third line have the variable `VI` in the layouts `wide` and `narrow`.

Numbers are floats, so that a field never changes its type; only the codes of states are integers.
"""

from collections.abc import Iterable, Sequence
from functools import cache

from influxdb_client.client.write.point import Point
from influxdb_client.domain.write_precision import WritePrecision

from ccl_exporter.metrics.families import Sample
from ccl_exporter.settings import InfluxLayout

_FINISHED = "ccl_finished_charge"
_MEASUREMENTS = (
    _FINISHED,
    "ccl_variable",
    "ccl_rejected",
    "ccl_charge",
    "ccl_station",
    "ccl_device",
    "ccl_plug",
)
_READING = "ccl_scrape"
_LEFT_OUT = "ccl_variable_info"  # titles and units, which the fields' names have; 170 texts a reading
_CODES = range(-(2**63), 2**63)

_Field = float | int | str

Key = tuple[str, str, str]
"""Measurement with tags, field, and type of value of a line with one field."""


def lines(samples: Iterable[Sample], charger: str, milliseconds: int, layout: InfluxLayout = "wide") -> list[str]:
    """One line for each measurement and set of tags; NaN and infinite values are omitted.

    `milliseconds` is the Unix time of all lines.
    In the narrow layout a variable is a tag of `ccl_value`, not a field: its tables have few columns.
    """
    points: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, _Field]] = {}
    for sample in samples:
        name = sample.family.name
        if name == _LEFT_OUT:
            continue
        measurement, field = _split(name)
        labels = dict(zip(sample.family.labels, sample.labels, strict=True))
        if measurement == "ccl_variable":
            if layout == "narrow":
                measurement, field, labels["unit"] = "ccl_value", "value", field
            else:
                field = f"{labels.pop('variable')}_{field}"
        elif measurement == "ccl_rejected":
            if layout == "narrow":
                measurement, field = "ccl_rejection", "total"
            else:
                field = f"{labels.pop('variable')}_{labels.pop('reason')}_total"
        if phase := labels.pop("phase", ""):
            field = f"{field}_{phase}"
        texts = _texts(labels) if sample.family.kind == "info" else {}
        fields = points.setdefault((measurement, tuple(labels.items())), {})
        fields.update(texts or _fields(sample, field))
    found = (
        _line(measurement, charger, tags, fields, milliseconds) for (measurement, tags), fields in points.items()
    )
    return [line for line in found if line]


@cache
def _split(name: str) -> tuple[str, str]:
    """Measurement and field of a family; families about the read itself belong to `ccl_scrape`."""
    for measurement in _MEASUREMENTS:
        if name.startswith(f"{measurement}_"):
            return measurement, name.removeprefix(f"{measurement}_")
    return _READING, name.removeprefix("ccl_").removeprefix("scrape_")


def _texts(labels: dict[str, str]) -> dict[str, _Field]:
    """The labels of an info family as text fields, as a changed description must not begin a new series."""
    return {name: labels.pop(name) for name in list(labels) if name != "device"}


def _fields(sample: Sample, field: str) -> dict[str, _Field]:
    if sample.family.kind != "stateset":
        return {field: float(sample.value)}
    text: dict[str, _Field] = {f"{field}_text": ",".join(sample.active)}
    code = float(sample.value)
    return {field: int(code), **text} if code.is_integer() and int(code) in _CODES else text


def _line(
    measurement: str, charger: str, tags: Sequence[tuple[str, str]], fields: dict[str, _Field], milliseconds: int
) -> str:
    point = {
        "measurement": measurement,
        "tags": {**dict(tags), "charger": charger},
        # The library escapes line breaks in tags, but not in texts.
        "fields": {name: _one_line(value) if isinstance(value, str) else value for name, value in fields.items()},
        "time": milliseconds,
    }
    return str(Point.from_dict(point, WritePrecision.MS).to_line_protocol())  # type: ignore[arg-type] # is a str


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\r", "\\r")


def by_field(line: str) -> list[str]:
    """A line as several lines of one field each; a line that cannot be divided is returned unchanged."""
    if "\\" not in line and '"' not in line:
        parts = line.split(" ")
        if len(parts) != 3 or not all(parts):
            return [line]
        head, fields, end = parts
        return [f"{head} {piece} {end}" for piece in fields.split(",")]
    place = _until(line, 0, " ")
    last = line.rfind(" ")
    if not 0 < place < last:
        return [line]
    pieces, begin = [], place + 1
    while (cut := _until(line, begin, ",")) < last:
        pieces.append(line[begin:cut])
        begin = cut + 1
    pieces.append(line[begin:last])
    return [f"{line[:place]} {piece}{line[last:]}" for piece in pieces]


def joined(pieces: Sequence[str]) -> str:
    """Lines of the same measurement, tags and time as one line: the inverse of `by_field`."""
    place, last = _until(pieces[0], 0, " "), pieces[0].rfind(" ")
    fields = ",".join(piece[place + 1 : piece.rfind(" ")] for piece in pieces)
    return f"{pieces[0][:place]} {fields}{pieces[0][last:]}"


def field_of(line: str) -> tuple[str, str]:
    """Measurement and name of the only field of a line, escaped as in the line."""
    head = _until(line, 0, " ")
    return line[: min(_until(line, 0, ","), head)], line[head + 1 : _until(line, head + 1, "=")]


def names_of(line: str) -> tuple[str, str]:
    """Measurement, and field or variable, of a line, for people; an empty field if the line has several."""
    head = line[: _until(line, 0, " ")]
    measurement = head[: _until(head, 0, ",")]
    begin = head.find(",variable=")
    if begin >= 0:
        return measurement, head[begin + 10 : _until(head, begin + 1, ",")]
    return measurement, field_of(line)[1] if len(by_field(line)) == 1 else ""


def key_of(line: str) -> Key:
    """The identity of the only field of a line: two lines with the same key differ in value and time."""
    head = _until(line, 0, " ")
    name = _until(line, head + 1, "=")
    value = line[name + 1 : line.rfind(" ")]
    kind = value[:1] if value[:1] in '"tTfF' else "i" if value.endswith("i") else ""
    return line[:head], line[head + 1 : name], kind


def charger_of(line: str) -> str | None:
    """The charger's tag in a line, such as `charger=garage`, escaped; None for a finished session."""
    if line.startswith(f"{_FINISHED},"):
        return None
    head = line[: _until(line, 0, " ")]
    begin = head.find(",charger=")
    return head[begin + 1 : _until(head, begin + 1, ",")] if begin >= 0 else ""


def milliseconds_of(line: str) -> int | None:
    """The time of a line in Unix milliseconds; None if it has none."""
    end = line[line.rfind(" ") + 1 :]
    return int(end) if end.isdecimal() else None


def _until(line: str, begin: int, mark: str) -> int:
    """The next position of a character that is neither escaped nor in a quoted text; the line's length if none."""
    if "\\" not in line and '"' not in line:
        found = line.find(mark, begin)
        return found if found >= 0 else len(line)
    quoted, position = False, begin
    while position < len(line):
        character = line[position]
        if quoted and character == "\\":
            position += 1
        elif character == '"' and mark == "," and begin:
            quoted = not quoted
        elif character == mark and not quoted and line[position - 1] != "\\":
            return position
        position += 1
    return position
