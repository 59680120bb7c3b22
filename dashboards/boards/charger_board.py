"""The Charger board: what the plug does and why not, energy, cost and sessions; one source for three databases.

Its first screen is 1280 pixels wide and 800 high, and says all that an owner wants to know; the rest is folded.
"""

from collections.abc import Iterator

from boards.energy_rows import charge_table, cost_title, energy_lines, energy_per_day, priced
from boards.following import follow_lines
from boards.grafana import (
    Board,
    Json,
    Line,
    Panel,
    Row,
    coloured,
    graph,
    renamed,
    series,
    stat,
    steps,
    table,
    timeline,
)
from boards.influxql import FAULT_TEXT, InfluxQL
from boards.scraped import VULNERABILITIES, Scraped
from boards.sources import Source
from boards.templating import source_variable
from boards.units import (
    CONTACT,
    ENERGY,
    FAULT_NAMES,
    FAULT_TEXTS,
    FAULTS,
    LOCAL_TIME,
    REASONS,
    SUCCESS,
    UPDATE,
    YES_NO,
    about,
    states,
    unit,
)
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family

BAND = steps((None, "red"), (207, "green"), (253, "red"))
"""230 V and ten per cent either way (EN 50160)."""

_NOT_NOW: Json = {"noValue": "-"}
"""For values of which only the present one is worth showing."""

HOT = steps((None, "green"), (55, "yellow"), (70, "red"))

COST: Json = {"decimals": 2, "noValue": "-"}


def board(source: Source, uid: str, title: str, description: str) -> Board:
    """The board for one kind of database."""
    return Board(
        uid=uid,
        title=title,
        description=description,
        source=source.source,
        variables=(source_variable(source.source), *source.variables),
        annotations=source.annotations,
        rows=tuple(rows(source)),
    )


def rows(source: Source) -> Iterator[Row]:
    """The rows from top to bottom; a new one is one more line here."""
    yield Row("", tuple(_first_screen(source)))
    yield Row("Faults, alerts and vehicle (empty without faults)", tuple(_faults(source)), collapsed=True)
    yield Row("Power, current and voltage", tuple(_power(source)), collapsed=True)
    yield Row("Cost, months and idle time", tuple(energy_lines(source)), collapsed=True)
    if isinstance(source, Scraped):
        yield Row(
            "Following the sun or a supply (only with charge follow)", tuple(follow_lines(source)), collapsed=True
        )
    yield Row("Charger and its contact", tuple(_station(source)), collapsed=True)


def _value(source: Source, title: str, text: str, family: Family, decimals: int | None, weight: int) -> Panel:
    """The value of a family of the plug now."""
    extra = _NOT_NOW if decimals is None else {"decimals": decimals, **_NOT_NOW}
    return stat(title, about(text, family), source.gauge_now(family), unit(family).name, extra, weight=weight)


def _first_screen(source: Source) -> Iterator[Line]:
    yield Line(3, tuple(_now(source)))
    yield Line(3, tuple(_energy(source)))
    yield Line(
        5,
        (
            graph(
                "Power",
                about("Of all phases.", f.PLUG_POWER),
                source.power(),
                "watt",
                {"min": 0},
                weight=14,
                legend=False,
            ),
            energy_per_day(source, weight=10, legend=False),
        ),
    )
    yield Line(
        4,
        (
            timeline(
                "Activity",
                about("Charging, or why not.", f.PLUG_NOT_CHARGING),
                source.reason(),
                REASONS,
            ),
        ),
    )
    yield Line(6, (charge_table(source),))


def _now(source: Source) -> Iterator[Panel]:
    yield stat(
        "State",
        about("What the plug does now.", f.PLUG_STATE),
        source.state_now(),
        "none",
        states("plug_state") | _NOT_NOW,
        weight=6,
        filled=True,
    )
    yield stat(
        "Reason",
        about("Why the plug does not charge: the one reason, a fault before all others.", f.PLUG_NOT_CHARGING),
        source.reason_now(),
        "none",
        REASONS | _NOT_NOW,
        weight=5,
    )
    yield _faults_now(source)
    yield stat("Power", about("Of all phases.", f.PLUG_POWER), source.power_now(), "watt", _NOT_NOW, weight=3)
    text = "The highest current that the car may take; it needs at least 6 A."
    yield _value(source, "Limit", text, f.PLUG_CURRENT_LIMIT, None, 2)
    yield stat(
        "Charger",
        about("Whether the exporter can read it.", f.UP),
        source.contact_now(),
        "none",
        CONTACT,
        weight=4,
    )


def _faults_now(source: Source) -> Panel:
    texts = isinstance(source, InfluxQL)
    found = stat(
        "Faults",
        about("Of the plug, all that hold now.", f.PLUG_ERROR),
        source.faults_now(),
        "none",
        FAULT_TEXTS if texts else {"noValue": "none", **steps((None, "text"), (1, "red"))},
        weight=4,
        names=not texts,
        overrides=() if texts else renamed(FAULT_NAMES),
    )
    if texts:
        found.options["reduceOptions"] = {**found.options["reduceOptions"], "fields": f"/^{FAULT_TEXT}$/"}
    return found


def _energy(source: Source) -> Iterator[Panel]:
    of_session = "Of the session that is under way, or of the last one."
    yield _value(source, "Session", of_session, f.CHARGE_ENERGY, 2, 3)
    yield _value(source, "Duration", of_session, f.CHARGE_DURATION, None, 3)
    yield stat(
        cost_title("Session cost"),
        about(f"{of_session} {priced(source)}", f.CHARGE_ENERGY, f.CHARGE_BEGIN),
        source.session_cost(),
        "none",
        COST,
        weight=4,
    )
    grown = "Growth of the register since {}, by the time zone of the board."
    yield stat(
        "Today",
        about(grown.format("midnight"), f.PLUG_ENERGY),
        source.energy_in_range(),
        ENERGY,
        {"decimals": 2},
        weight=3,
        last="now/d",
    )
    yield stat(
        cost_title("Cost today"),
        about(f"Of today's energy. {priced(source)}", f.PLUG_ENERGY),
        source.cost_in_range(),
        "none",
        COST,
        weight=4,
        last="now/d",
    )
    yield stat(
        "This month",
        about(grown.format("the first of the month"), f.PLUG_ENERGY),
        source.energy_in_range(),
        ENERGY,
        {"decimals": 1},
        weight=3,
        last="now/M",
    )
    yield _value(source, "Meter", "The register, as the display shows it.", f.PLUG_ENERGY, 1, 4)


def _faults(source: Source) -> Iterator[Line]:
    yield Line(
        7,
        (
            timeline(
                "Faults of the plug",
                about("A lane for each fault that held.", f.PLUG_ERROR),
                source.faults(f.PLUG_ERROR),
                FAULTS,
            ),
            timeline(
                "Faults of the station",
                about("A lane for each fault that held.", f.STATION_ERROR),
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
    alerts = source.alerts(("Alert", "Severity", "Instance", "Plug"))
    if alerts is not None:
        text = "Alerts that fire now, of the alert rules in deploy/prometheus; none is listed if all is normal."
        yield Line(6, (table("Alerts", text, alerts, (), none="none"),))


def _power(source: Source) -> Iterator[Line]:
    yield Line(
        3,
        (
            stat(
                "Current",
                about("Of the phase with the most; with InfluxQL the mean.", f.PLUG_CURRENT),
                source.current_now(),
                "amp",
                {"decimals": 1},
            ),
            stat(
                "Voltage",
                about("Mean of the phases.", f.PLUG_VOLTAGE),
                source.voltage_now(),
                "volt",
                {"decimals": 0, **BAND},
            ),
        ),
    )
    yield Line(
        8,
        (
            graph(
                "Power by phase",
                about("Of a three-phase meter; else the whole.", f.PLUG_POWER),
                source.by_phase(f.PLUG_POWER),
                "watt",
            ),
            graph(
                "Current and limits",
                about(
                    "The car chooses its current up to the limit.",
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
                about("Within 10 % of 230 V is normal.", f.PLUG_VOLTAGE),
                source.by_phase(f.PLUG_VOLTAGE),
                "volt",
                BAND,
                steps_shown=True,
            ),
            graph(
                "Energy of the session",
                about("It begins at zero with each session and stays until the next.", f.CHARGE_ENERGY),
                source.gauge(f.CHARGE_ENERGY),
                ENERGY,
                {"min": 0, "decimals": 1},
            ),
        ),
    )


def _station(source: Source) -> Iterator[Line]:
    yield Line(
        3,
        (
            stat(
                "Last read",
                about("", f.SCRAPE_TIMESTAMP),
                source.of_the_station(f.SCRAPE_TIMESTAMP),
                LOCAL_TIME,
            ),
            stat(
                "Temperature of the board",
                about("", f.STATION_TEMPERATURE),
                source.station_now(f.STATION_TEMPERATURE),
                "celsius",
                {"decimals": 0, **HOT},
            ),
        ),
    )
    yield Line(
        7,
        (
            graph(
                "Temperature",
                about("Of the charger's circuit board.", f.STATION_TEMPERATURE),
                source.of_the_station(f.STATION_TEMPERATURE),
                "celsius",
            ),
            graph(
                "Time to read the charger",
                about("Close to the second line reads are cut short.", f.SCRAPE_DURATION, f.SCRAPE_TIMEOUT),
                source.reading_time(),
                "s",
                {"min": 0},
            ),
        ),
    )
    yield Line(
        8,
        (
            timeline("Contact", about("", f.UP), source.contact(), CONTACT),
            timeline(
                "Responses",
                about("Each kind of response of the engine.", f.DOCUMENT_SUCCESS),
                source.documents(),
                SUCCESS,
            ),
            timeline(
                "Station",
                about("", f.STATION_STATE),
                source.station_state(),
                states("station_state") | {"noValue": "not reported"},
            ),
        ),
    )
    columns = ("Charger", "Instance", "Company", "Product", "Version", VULNERABILITIES)
    firmware, rejected = source.firmware(columns), source.rejected()
    last = []
    if firmware is not None:
        last.append(table("Firmware", about("", f.STATION_INFO), firmware, (coloured(VULNERABILITIES, UPDATE),)))
    if rejected is not None:
        text = "Implausible values, normally none; no other panel shows them."
        last.append(
            graph("Rejected values", about(text, f.REJECTED), rejected, "short", {"min": 0, "noValue": "none"})
        )
    if last:
        yield Line(6, tuple(last))
