"""The Charger board: what the plug does and why not, energy, cost and charges; one source for three databases."""

from collections.abc import Iterator

from boards import cost
from boards.energy_rows import charge_lines, energy_lines
from boards.following import follow_lines
from boards.grafana import (
    Board,
    Line,
    Panel,
    Row,
    graph,
    series,
    stat,
    steps,
    table,
    timeline,
)
from boards.promql import Scraped
from boards.sources import Source
from boards.templating import source_variable
from boards.units import FAULTS, REASONS, UP_DOWN, YES_NO, about, states, unit
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family

BAND = steps((None, "red"), (207, "green"), (253, "red"))
"""230 V and ten per cent either way (EN 50160)."""


def board(source: Source, uid: str, title: str, description: str) -> Board:
    """The board for one kind of database."""
    return Board(
        uid=uid,
        title=title,
        description=description,
        source=source.source,
        variables=(source_variable(source.source), *source.variables, *cost.VARIABLES),
        annotations=source.annotations,
        rows=tuple(rows(source)),
    )


def rows(source: Source) -> Iterator[Row]:
    """The rows from top to bottom; a new one is one more line here."""
    yield Row("Now", tuple(_now(source)))
    yield Row("What it did", tuple(_states(source)))
    yield Row("Power", tuple(_power(source)))
    if isinstance(source, Scraped):
        yield Row("Following the sun or a supply", tuple(follow_lines(source)))
    yield Row("Energy and cost", tuple(energy_lines(source)))
    yield Row("Charges", tuple(charge_lines(source)))
    yield Row("Station and contact", tuple(_station(source)))


def _value(source: Source, title: str, text: str, family: Family, *, weight: int = 3) -> Panel:
    """The last value of a family of the plug."""
    return stat(title, about(text, family), source.gauge(family), unit(family).name, weight=weight)


def _now(source: Source) -> Iterator[Line]:
    state = stat(
        "State",
        about("What the plug does now.", f.PLUG_STATE),
        source.state(),
        "none",
        states("plug_state"),
        weight=5,
    )
    yield Line(
        4,
        (
            state,
            _why(source),
            stat(
                "Power",
                about("Of all phases.", f.PLUG_POWER),
                source.power(),
                "watt",
                weight=3,
                sparkline=True,
            ),
            stat(
                "Current",
                about("Of the phase with the most; with InfluxQL the mean.", f.PLUG_CURRENT),
                source.current(),
                "amp",
                weight=3,
            ),
            _value(source, "Limit", "A car needs at least 6 A.", f.PLUG_CURRENT_LIMIT),
            stat(
                "Voltage", about("Mean of the phases.", f.PLUG_VOLTAGE), source.voltage(), "volt", BAND, weight=3
            ),
        ),
    )
    yield Line(
        4,
        (
            _value(source, "This charge", "Of the running charge, or of the last.", f.CHARGE_ENERGY),
            _value(source, "Its duration", "", f.CHARGE_DURATION),
            _value(source, "It began", "", f.CHARGE_BEGIN, weight=4),
            _value(source, "Meter", "The register, as it is on the display.", f.PLUG_ENERGY),
            stat(
                "Temperature",
                about("", f.STATION_TEMPERATURE),
                source.of_the_station(f.STATION_TEMPERATURE),
                "celsius",
                steps((None, "green"), (55, "yellow"), (70, "red")),
                weight=3,
            ),
            stat(
                "Charger",
                about("Whether the exporter can read it.", f.UP),
                source.contact(),
                "none",
                UP_DOWN,
                weight=4,
            ),
            stat(
                "Last read",
                about("", f.SCRAPE_TIMESTAMP),
                source.of_the_station(f.SCRAPE_TIMESTAMP),
                "dateTimeFromNow",
                weight=4,
            ),
        ),
    )


def _why(source: Source) -> Panel:
    return stat(
        "Why it is not charging",
        about("The one reason; a fault comes before all others.", f.PLUG_NOT_CHARGING),
        source.reason(),
        "none",
        REASONS,
        weight=7,
    )


def _states(source: Source) -> Iterator[Line]:
    yield Line(
        5,
        (
            timeline(
                "State",
                about("", f.PLUG_STATE),
                source.state(),
                states("plug_state"),
            ),
        ),
    )
    text = about("The reason, over time.", f.PLUG_NOT_CHARGING)
    yield Line(5, (timeline("Why it was not charging", text, source.reason(), REASONS),))
    yield Line(
        7,
        (
            timeline(
                "Faults of the plug",
                about("A lane for each fault that held; none is well.", f.PLUG_ERROR),
                source.faults(f.PLUG_ERROR),
                FAULTS,
            ),
            timeline(
                "Faults of the station",
                about("A lane for each fault that held; none is well.", f.STATION_ERROR),
                source.faults(f.STATION_ERROR),
                FAULTS,
            ),
            timeline(
                "Vehicle, lock, service",
                about("", f.PLUG_CONNECTED, f.PLUG_LOCKED, f.PLUG_ENABLED),
                source.in_use(),
                YES_NO,
            ),
        ),
    )


def _power(source: Source) -> Iterator[Line]:
    yield Line(
        8,
        (
            graph(
                "Power",
                about("By phase, where the meter tells.", f.PLUG_POWER),
                source.by_phase(f.PLUG_POWER),
                "watt",
            ),
            graph(
                "Current against the limit",
                about(
                    "The car chooses what it takes; the limit is what it may take.",
                    f.PLUG_CURRENT,
                    f.PLUG_CURRENT_LIMIT,
                    f.PLUG_CURRENT_MAX,
                ),
                source.current_and_limits(),
                "amp",
                {"min": 0},
                overrides=(
                    series("limit$", "orange", lineStyle={"dash": [10, 10], "fill": "dash"}, fillOpacity=0),
                    series("socket$", "red", lineStyle={"dash": [2, 10], "fill": "dash"}, fillOpacity=0),
                ),
            ),
        ),
    )
    yield Line(
        8,
        (
            graph(
                "Voltage",
                about("230 V and ten per cent either way are well.", f.PLUG_VOLTAGE),
                source.by_phase(f.PLUG_VOLTAGE),
                "volt",
                BAND,
                steps_shown=True,
            ),
            graph(
                "Energy of this charge",
                about("It begins anew with each charge and stays until the next.", f.CHARGE_ENERGY),
                source.gauge(f.CHARGE_ENERGY),
                "kwatth",
                {"min": 0},
            ),
        ),
    )


def _station(source: Source) -> Iterator[Line]:
    yield Line(
        7,
        (
            graph(
                "Temperature",
                about("Of the board.", f.STATION_TEMPERATURE),
                source.of_the_station(f.STATION_TEMPERATURE),
                "celsius",
            ),
            graph(
                "Time to read the charger",
                about("Near the second line readings are cut short.", f.SCRAPE_DURATION, f.SCRAPE_TIMEOUT),
                source.reading_time(),
                "s",
                {"min": 0},
            ),
        ),
    )
    yield Line(
        8,
        (
            timeline("Contact", about("", f.UP), source.contact(), UP_DOWN),
            timeline("Documents", about("", f.DOCUMENT_SUCCESS), source.documents(), UP_DOWN),
            timeline(
                "Station",
                about("", f.STATION_STATE),
                source.station_state(),
                states("station_state") | {"noValue": "not told"},
            ),
        ),
    )
    columns = ("Charger", "Instance", "Company", "Product", "Version")
    firmware, rejected = source.firmware(columns), source.rejected()
    last = []
    if firmware is not None:
        last.append(table("Firmware", about("", f.STATION_INFO), firmware, ()))
    if rejected is not None:
        text = "Implausible values, normally none; no other panel shows them."
        last.append(
            graph("Rejected values", about(text, f.REJECTED), rejected, "short", {"min": 0, "noValue": "none"})
        )
    if last:
        yield Line(6, tuple(last))
