"""Rows of variables for tables: each with its value as sent, and what else is known of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches

from ccl_exporter.errors import UsageError
from ccl_exporter.powerstudio.snapshot import Moment, Snapshot, Value
from ccl_exporter.station.values import Reading, is_status
from ccl_exporter.text import MASK


@dataclass(frozen=True, slots=True)
class VariableRow:
    """One variable: its value as the engine sends it, with its unit, and what else is known of it.

    `value` is None where there is none, or where the STATUS of its device is not 1; a date is ISO 8601 in UTC, a
    hidden value `text.MASK`. `minimum` and `maximum` are what may be written. They and `writable` are None if
    unknown.
    """

    device: str
    variable: str
    title: str
    value: float | str | None
    unit: str
    writable: bool | None
    minimum: float | None
    maximum: float | None

    @property
    def id(self) -> str:
        return f"{self.device}.{self.variable}"


def variable_rows(snapshot: Snapshot, sensitive: bool = False) -> list[VariableRow]:
    """Every variable of a snapshot; personal values are hidden unless `sensitive`."""
    reading = Reading(snapshot)
    found = []
    for variable in reading.walk():
        device, name, info = variable.device, variable.name, variable.info
        known = reading.facts.known(device.type, name)
        low, high = known.range if known is not None and known.range is not None else (None, None)
        is_shown = variable.has_value and (is_status(name) or reading.trusted(variable))
        value = _plain(snapshot.values.get(variable.id)) if is_shown else None
        if value is not None and not sensitive and reading.is_personal(variable.id):
            value = MASK
        found.append(
            VariableRow(
                device=device.id,
                variable=name,
                title=variable.title,
                value=value,
                unit=variable.symbol,
                writable=variable.writable,
                minimum=low if info is None or info.minimum is None else info.minimum,
                maximum=high if info is None or info.maximum is None else info.maximum,
            )
        )
    return found


def _plain(value: Value) -> float | str | None:
    if isinstance(value, Moment):
        return datetime.fromtimestamp(value.seconds, UTC).isoformat().replace("+00:00", "Z")
    return value


def find_row(found: Sequence[VariableRow], name: str) -> VariableRow:
    """The row of a full id; raises `UsageError` that suggests the nearest ones."""
    by_id = {row.id: row for row in found}
    if name in by_id:
        return by_id[name]
    folded = {id.lower(): id for id in by_id}
    near = [folded[id] for id in get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
    hint = f"; did you mean {' or '.join(repr(id) for id in near)}?" if near else ""
    raise UsageError(f"the charger has no variable {name!r}{hint}")
