"""The board of all variables: any device, any variable, from the module `variables`."""

from collections.abc import Iterator, Sequence

from boards.grafana import Board, Data, Json, Line, Panel, Row, Target, column, graph, merged, table, timeline
from boards.scraped import ANNOTATIONS, Scraped
from boards.templating import query_variable, source_variable
from boards.units import CONTACT, about, unit
from ccl_exporter.metrics import families as f

_DEVICE = f"{Scraped.station}, device=~`${{device:regex}}`"
_VARIABLE = f"{_DEVICE}, variable=~`${{variable:regex}}`"

_ROWS = {
    "Electricity": ("volts", "amperes", "watts", "voltamperes", "vars", "ratio"),
    "Energy": ("joules_total", "joules"),
    "Other": ("celsius", "timestamp", None),
    "Reactive and apparent energy, frequency, angles, durations (only of devices that have them)": (
        "var_seconds_total",
        "var_seconds",
        "voltampere_seconds_total",
        "voltampere_seconds",
        "hertz",
        "degrees",
        "seconds",
    ),
}
"""The quantities of `families.VARIABLES`, two in a line."""

_TITLES = {
    "volts": "Volts",
    "amperes": "Amperes",
    "watts": "Watts",
    "voltamperes": "Volt-amperes",
    "vars": "Volt-amperes reactive",
    "hertz": "Hertz",
    "ratio": "Ratios and power factors",
    "degrees": "Angles",
    "joules_total": "Registers of active energy",
    "joules": "Other active energy",
    "var_seconds_total": "Registers of reactive energy",
    "var_seconds": "Other reactive energy",
    "voltampere_seconds_total": "Registers of apparent energy",
    "voltampere_seconds": "Other apparent energy",
    "celsius": "Temperatures",
    "seconds": "Durations",
    "timestamp": "Dates",
    None: "Without a unit",
}


def board() -> Board:
    return Board(
        uid="ccl-variables",
        title="All variables",
        description="Any variable of any device, by unit.",
        source=Scraped.source,
        variables=(
            source_variable(Scraped.source),
            *Scraped.variables[:2],
            query_variable(
                "prometheus", "device", "Device", f"label_values(ccl_device_up{{{Scraped.station}}}, device)"
            ),
            query_variable(
                "prometheus", "variable", "Variable", f"label_values(ccl_variable_info{{{_DEVICE}}}, variable)"
            ),
        ),
        annotations=ANNOTATIONS,
        rows=(
            Row("Devices", tuple(_devices())),
            *(Row(title, tuple(_quantities(keys)), collapsed="(" in title) for title, keys in _ROWS.items()),
        ),
        range="6h",
    )


def _devices() -> Iterator[Line]:
    status = Target(f"{f.DEVICE_STATUS.name}{{{_DEVICE}}}", "{{instance}} {{device}}")
    yield Line(
        10,
        (
            timeline(
                "Devices",
                about("", f.DEVICE_UP),
                Data((Target(f"{f.DEVICE_UP.name}{{{_DEVICE}}}", "{{instance}} {{device}}"),)),
                CONTACT,
            ),
            graph("Status", about("", f.DEVICE_STATUS), Data((status,)), "none", {"decimals": 0}),
        ),
    )
    yield Line(12, (_now(),))


def _now() -> Panel:
    """Every value with what the engine says of it."""
    values = f'{{__name__=~"ccl_variable_.+", __name__!="{f.VARIABLE_INFO.name}", {_VARIABLE}}}'
    named = f"label_replace({values}, `metric`, `$1`, `__name__`, `ccl_variable_(.+)`)"
    info = f"{f.VARIABLE_INFO.name}{{{_VARIABLE}}}"
    query = f"{named} * on (job, instance, device, variable) group_left (title, unit, writable) {info}"
    columns = {
        "instance": "Instance",
        "device": "Device",
        "variable": "Variable",
        "title": "Title",
        "Value": "Value",
        "metric": "In",
        "unit": "Sent in",
        "writable": "Writable",
    }
    return table(
        "Values now",
        about(
            "In the exporter's units, the rest of the metric's name; what the engine sends may have another.",
            f.VARIABLE_INFO,
        ),
        Data((Target(query, instant=True, table=True),), merged(columns, tuple(columns.values()))),
        (column("Value", "none"),),
    )


_NONE: Json = {"noValue": "no such variable"}


def _quantities(keys: Sequence[str | None]) -> Iterator[Line]:
    panels = []
    for key in keys:
        family = f.VARIABLES[key]
        shown = unit(family)
        target = Target(f"{family.name}{{{_VARIABLE}}}{shown.factor}", "{{instance}} {{device}} {{variable}}")
        panels.append(graph(_TITLES[key], about("", family), Data((target,)), shown.name, _NONE))
    for at in range(0, len(panels), 2):
        yield Line(8, tuple(panels[at : at + 2]))
