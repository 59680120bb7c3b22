"""All variables of a charger as tables by device; personal ones are not even named."""

from collections.abc import Sequence

from ccl_exporter.exporter.web.markup import NOTHING, search_form, text
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.code_words import words_of_code
from ccl_exporter.station.judge import Station
from ccl_exporter.station.rows import VariableRow, variable_rows
from ccl_exporter.text import count, format_number, natural_key


def variables_table(snapshot: Snapshot | None, words: str) -> str:
    """The variables with `words` in device, name or title, in any case; every device can be folded."""
    if snapshot is None or not snapshot.up:
        return ""
    station = Station(snapshot)
    reading = station.reading
    public = [row for row in variable_rows(snapshot) if not reading.is_personal(row.id)]
    found: dict[str, list[VariableRow]] = {device: [] for device in sorted(reading.devices, key=natural_key)}
    for row in sorted(public, key=lambda row: natural_key(row.variable)):
        if words.casefold() in f"{row.id}\n{row.title}".casefold():
            found[row.device].append(row)
    parts = []
    for device, rows in found.items():
        kind = reading.devices[device].type or ""
        if not rows and words:
            continue
        silent = ", does not answer" if _is_silent(station, device) else ""
        about = f"{kind}, {count(len(rows), 'variable')}{silent}".removeprefix(", ")
        role = reading.facts.role(kind)
        parts.append(
            f'<details open><summary>{text(device)} <span class="quiet">{text(about)}</span></summary>'
            f'<table><thead class="aside"><tr><th scope="col">Variable</th><th scope="col">Value</th></tr></thead>'
            f"<tbody>{_table_rows(rows, role)}</tbody></table></details>"
        )
    shown = "".join(parts) or '<p class="why">No variable matches.</p>'
    return (
        f'<section id="variables"><div class="top"><h2>Variables</h2></div>'
        f"{search_form(words, 'Device, name or title', place='#variables')}{shown}</section>"
    )


def _is_silent(station: Station, device: str) -> bool:
    """Whether a device that was asked did not answer, or says itself that it does not."""
    snapshot = station.snapshot
    asked = snapshot.asked is None or device in snapshot.asked
    return not (asked and device in snapshot.answered and station.reading.status_ok(device))


def _table_rows(rows: Sequence[VariableRow], role: str) -> str:
    return "".join(_table_row(row, words_of_code(role, row.variable, row.value)) for row in rows)


def _table_row(row: VariableRow, words: str) -> str:
    # Dates are shown as dates, whose unit says nothing more.
    unit = "" if row.unit == "date" or row.value is None else f" {row.unit}"
    title = f"<span>{text(row.title)}</span>" if row.title else ""
    beside = f' <span class="quiet">{text(words)}</span>' if words else ""
    value = NOTHING if row.value is None else text(f"{format_number(row.value)}{unit}")
    return f'<tr><th scope="row">{text(row.variable)}{title}</th><td>{value}{beside}</td></tr>'
