"""The Fleet board: which plug is out of order, idle or not reachable, by the labels that /sd gives to chargers."""

from collections.abc import Iterator
from dataclasses import replace

from boards import energy_queries
from boards.exporter_row import exporter_lines
from boards.fleet import fleet
from boards.grafana import (
    Board,
    Data,
    Json,
    Line,
    Panel,
    Row,
    Target,
    bars,
    coloured,
    column,
    graph,
    highest_first,
    merged,
    per_day,
    row_names,
    stat,
    steps,
    summed_bars,
    summed_by_series,
    table,
    timeline,
)
from boards.scraped import ANNOTATIONS, VULNERABILITIES
from boards.templating import source_variable
from boards.units import CONTACT, DURATION, ENERGY, FAULTS, HOURS, KWH, REASONS_AND_FAULTS, STATUS, UPDATE, about
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family

AVAILABLE_BY_MONTH = "plug:ccl_plug_available:ratio_month"
AVAILABLE = "plug:ccl_plug_available:ratio30d"
"""Recording rules of deploy/prometheus/rules/fleet.yml, evaluated every hour."""

_NEEDS_RULES = "needs the recording rules"

_GOAL = steps((None, "red"), (0.95, "yellow"), (0.97, "green"))
"""97 per cent is what 23 CFR 680.116 wants."""

_NONE_IS_NORMAL = steps((None, "green"), (1, "red"))


def board() -> Board:
    return Board(
        uid="ccl-fleet",
        title="Fleet",
        description="All chargers: what needs attention, energy, availability, idle time, contact, the exporter.",
        source=fleet.source,
        variables=(source_variable(fleet.source), *fleet.variables),
        annotations=ANNOTATIONS,
        rows=(
            Row("", tuple(_now())),
            Row("Energy", tuple(_energy())),
            Row(f"Availability = {_FORMULA}", tuple(_availability())),
            Row("Faults and alerts (empty without faults)", tuple(_faults()), collapsed=True),
            Row("Idle while occupied", tuple(_idle()), collapsed=True),
            Row("Contact and slow chargers", tuple(_contact()), collapsed=True),
            Row("Exporter, queues and broker (only what is configured)", tuple(exporter_lines()), collapsed=True),
        ),
    )


def _count(
    title: str, text: str, expression: str, *families: Family, weight: int = 2, extra: Json | None = None
) -> Panel:
    """A number of chargers or plugs; none is zero."""
    data = fleet.now(f"{expression} or vector(0)", legend=title)
    return stat(title, about(text, *families), data, "none", extra, weight=weight)


def _plugs_that(*words_: str) -> str:
    return f"sum({fleet.is_in(f.PLUG_STATUS, *words_)})"


def _now() -> Iterator[Line]:
    register = fleet.of_plug(f.PLUG_ENERGY)
    grown = f"sum(clamp_min(last_over_time({register}[1d]) - min_over_time({register}[1d]), 0)){KWH}"
    yield Line(
        3,
        (
            _count("Chargers unreachable", "", f"count({fleet.down()})", f.UP, weight=4, extra=_NONE_IS_NORMAL),
            _count(
                "Plugs out of order", "", _plugs_that("outoforder"), f.PLUG_STATUS, weight=4, extra=_NONE_IS_NORMAL
            ),
            _count("Chargers", "", f"count({fleet.of_station(f.UP)} or {fleet.down()})", f.UP, weight=3),
            _count("Plugs", "That answered within a week.", f"count({fleet.seen()})", f.PLUG_STATUS),
            _count(
                "Charging", "Plugs with a session under way.", _plugs_that("charging"), f.PLUG_STATUS, weight=3
            ),
            _count("Free", "Plugs that a driver can use now.", _plugs_that("available"), f.PLUG_STATUS),
            stat(
                "Power",
                about("Of all plugs.", f.PLUG_POWER),
                fleet.now(f"sum({fleet.phases(f.PLUG_POWER)})", legend="Power"),
                "watt",
                weight=3,
            ),
            stat(
                "Energy, 24 h",
                about("Growth of all registers.", f.PLUG_ENERGY),
                fleet.now(grown, legend="Energy"),
                ENERGY,
                {"decimals": 1},
                weight=3,
            ),
        ),
    )
    yield Line(9, (_plugs(),))
    yield Line(
        9,
        (
            timeline(
                "Status of each plug",
                about(f"In the words of OCPI. {_OCCUPIED}", f.PLUG_STATUS),
                fleet.one(fleet.status()),
                STATUS,
            ),
        ),
    )


_OCCUPIED = "Occupied (`blocked`): a vehicle is connected and does not charge."

_LINK: Json = {
    "targetBlank": False,
    "title": "This charger",
    "url": "/d/ccl-charger?var-datasource=${datasource}&var-instance=${__data.fields.Instance:percentencode}"
    "&var-plug=${__data.fields.Plug:percentencode}&${__url_time_range}",
}


def _plugs() -> Panel:
    """A row for each plug, and for each charger that was never reached."""
    up = fleet.of_station(f.UP)
    last_read = f"last_over_time(timestamp({up} == 1)[{energy_queries.LONGEST_GAP}:5m])"
    hours = f"(time() - {last_read}) / 3600"
    asked = (
        (fleet.status(), "Status"),
        (fleet.reason_or_fault(), "Reason"),
        (f"{fleet.not_reachable(0)} + on (job, instance) group_left () {hours}", "Not read for"),
        (fleet.summed(fleet.phases(f.PLUG_POWER)), "Power"),
        (fleet.most(fleet.of_plug(f.PLUG_CURRENT_LIMIT)), "Limit"),
        (fleet.most(fleet.of_plug(f.CHARGE_ENERGY)) + KWH, "Session"),
        (fleet.most(fleet.of_plug(f.PLUG_ENERGY)) + KWH, "Meter"),
    )
    # Also of a charger whose exporter does not answer.
    site = f"max by (job, instance, $label) (last_over_time({up}[{energy_queries.LONGEST_GAP}:10m]))"
    joined = f"* on (job, instance) group_left (group) label_join(({site}) * 0 + 1, `group`, ``, `$label`)"
    targets = tuple(Target(f"({expression}) {joined}", instant=True, table=True) for expression, _ in asked)
    columns = {f"Value #{letter}": heading for letter, (_, heading) in zip("ABCDEFG", asked, strict=True)}
    places = {"group": "Group", "instance": "Instance", "plug": "Plug"}
    headings = (*places.values(), *columns.values())
    return table(
        "Chargers and plugs",
        about(
            "What needs attention comes first. The link leads to the board of the charger. "
            f"Group is the value of the label that is chosen on top. "
            f"Session is the one under way, or the last one. {_OCCUPIED}",
            f.PLUG_STATUS,
            f.PLUG_NOT_CHARGING,
            f.PLUG_ERROR,
            f.UP,
            f.PLUG_POWER,
            f.PLUG_CURRENT_LIMIT,
            f.CHARGE_ENERGY,
            f.PLUG_ENERGY,
        ),
        Data(targets, merged(places | columns, headings)),
        (
            column("Instance", link=_LINK),
            coloured("Status", STATUS),
            coloured("Reason", REASONS_AND_FAULTS),
            column("Not read for", HOURS, decimals=1),
            column("Power", "watt"),
            column("Limit", "amp"),
            column("Session", ENERGY, decimals=2),
            column("Meter", ENERGY, decimals=1),
        ),
        sort="Status",
    )


_FORMULA = "minutes available / minutes that count"


def _availability() -> Iterator[Line]:
    formula = (
        f"{_FORMULA.capitalize()}. A plug is available unless it is `outoforder`, `inoperative` or `unknown`, "
        "or its charger is not reachable. All minutes count but those of planned outages (label "
        "`planned_outage`). Needs the recording rules of deploy/prometheus."
    )
    by_month = f"last_over_time({AVAILABLE_BY_MONTH}{{{fleet.station}}}[400d])"
    named = f"label_join({by_month}, `which`, ` `, `instance`, `plug`)"
    yield Line(
        9,
        (
            bars(
                "Availability of 30 days",
                about(formula, f.PLUG_STATUS),
                fleet.one(f"last_over_time({AVAILABLE}{{{fleet.station}}}[2h])"),
                "percentunit",
                {"min": 0, "max": 1, "decimals": 2, "noValue": _NEEDS_RULES, **_GOAL},
            ),
            _as_shares(
                table(
                    "Availability by month",
                    about(f"{formula} Months are those of UTC.", f.PLUG_STATUS),
                    Data((Target(named, instant=True, table=True),), _matrix("which", "Plug", "Value")),
                    (row_names("Plug"),),
                    none=_NEEDS_RULES,
                )
            ),
        ),
    )


def _as_shares(panel: Panel) -> Panel:
    """A table whose columns are months and whose cells are shares."""
    panel.defaults.update({"unit": "percentunit", "decimals": 2, **_GOAL})
    panel.defaults["custom"]["cellOptions"] = {"type": "color-text"}
    panel.defaults["custom"]["align"] = "right"
    return panel


def _faults() -> Iterator[Line]:
    held = f"avg_over_time({fleet.of_plug(f.PLUG_ERROR)}[$__range]) > 0"
    station = f"avg_over_time({fleet.of_station(f.STATION_ERROR)}[$__range]) > 0"
    yield Line(
        8,
        (
            bars(
                "Share of the time with a fault",
                about("In the range of the board.", f.PLUG_ERROR, f.STATION_ERROR),
                Data(
                    (
                        Target(held, f"{fleet.legend} {{{{{f.PLUG_ERROR.name}}}}}", instant=True),
                        Target(station, f"{fleet.station_legend} {{{{{f.STATION_ERROR.name}}}}}", instant=True),
                    )
                ),
                "percentunit",
                {"min": 0, "max": 1, "noValue": "none", **steps((None, "red"))},
            ),
            timeline(
                "Faults",
                about("A lane for each fault that held.", f.PLUG_ERROR, f.STATION_ERROR),
                Data(
                    (*fleet.faults(f.PLUG_ERROR).targets, *fleet.faults(f.STATION_ERROR).targets),
                ),
                FAULTS,
                weight=2,
            ),
        ),
    )
    alerts = fleet.alerts(("Alert", "Severity", "Instance", "Plug"))
    if alerts is not None:
        text = "Alerts that fire now, of the alert rules in deploy/prometheus."
        yield Line(8, (table("Alerts", text, alerts, (column("Instance", link=_LINK),), none="none"),))


def _energy() -> Iterator[Line]:
    days = energy_queries.per_day(fleet.of_plug(f.PLUG_ENERGY))
    text = (
        "From differences of the registers. A day begins at midnight on the time axis, "
        "today's is what there is so far."
    )
    yield Line(
        9,
        (
            per_day(
                "Energy per day",
                about(f"By the label that is chosen on top. {text}", f.PLUG_ENERGY),
                fleet.one(f"sum by ($label) ({days})", legend="{{$label}}"),
                ENERGY,
                {"decimals": 1},
                weight=2,
            ),
            _by_month(days),
            summed_bars(
                "Energy by plug, 30 days",
                about("The sum of the days; of each day the twelve plugs with the most.", f.PLUG_ENERGY),
                Data(
                    (Target(f"topk(12, {fleet.summed(days)})", fleet.legend),),
                    (*summed_by_series(), highest_first()),
                ),
                ENERGY,
                {"decimals": 1},
                last="30d",
                horizontal=True,
            ),
        ),
    )


def _by_month(days: str) -> Panel:
    """A table of sites and months."""
    per_month = f"sum by ($label, month) ({days} * on () group_left (month) {energy_queries.MONTH})"
    named = f"label_join({per_month}, `group`, ``, `$label`)"
    summed: Json = {
        "id": "groupBy",
        "options": {
            "fields": {
                "group": {"aggregations": [], "operation": "groupby"},
                "month": {"aggregations": [], "operation": "groupby"},
                "Value": {"aggregations": ["sum"], "operation": "aggregate"},
            }
        },
    }
    found = table(
        "Energy per ${label} and month",
        about("By the label that is chosen on top; the sum of the days.", f.PLUG_ENERGY),
        Data((Target(named, table=True),), (summed, *_matrix("group", "Group", "Value (sum)"))),
        (),
    )
    found.defaults.update({"unit": ENERGY, "decimals": 1})
    return replace(found, last="400d", interval="1d")


def _matrix(rows: str, heading: str, values: str) -> tuple[Json, ...]:
    """A column for each month."""
    options = {"columnField": "month", "emptyValue": "null", "rowField": rows, "valueField": values}
    names = {"excludeByName": {}, "indexByName": {}, "renameByName": {f"{rows}\\month": heading}}
    return (
        {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": "month"}]}},
        {"id": "groupingToMatrix", "options": options},
        {"id": "organize", "options": names},
    )


def _idle() -> Iterator[Line]:
    ended = f"time() - {fleet.most(fleet.of_plug(f.CHARGE_END))} and {fleet.idle()} == 1"
    yield Line(
        8,
        (
            per_day(
                "Idle while occupied, per day",
                about(
                    "Hours in which vehicles were connected and did not charge, to two minutes.",
                    f.PLUG_CONNECTED,
                    f.PLUG_STATE,
                ),
                fleet.idle_per_day(),
                HOURS,
                {"decimals": 1},
                weight=2,
            ),
            bars(
                "Still connected after the session",
                about(
                    "How long ago the last session ended, where a vehicle is idle now.",
                    f.CHARGE_END,
                    f.PLUG_CONNECTED,
                ),
                Data((Target(ended, fleet.legend, instant=True),)),
                DURATION,
                {"noValue": "none", "min": 0, **steps((None, "green"), (3600, "yellow"), (14400, "red"))},
            ),
        ),
    )


def _contact() -> Iterator[Line]:
    up, legend = fleet.of_station(f.UP), fleet.station_legend
    share = f"{fleet.of_station(f.SCRAPE_DURATION)} / {fleet.of_station(f.SCRAPE_TIMEOUT)}"
    versions = f"count by (company, product, version) ({fleet.of_station(f.STATION_INFO)})"
    vulnerable = f"max by (company, product, version) ({fleet.vulnerable()})"
    failing = f"1 - avg_over_time({fleet.of_station(f.DOCUMENT_SUCCESS)}[$__range]) > 0"
    yield Line(
        8,
        (
            bars(
                "Share of the time not reachable",
                about("In the range of the board; only chargers that were not reachable.", f.UP),
                Data((Target(f"1 - avg_over_time({up}[$__range]) > 0", legend, instant=True),)),
                "percentunit",
                {"min": 0, "max": 1, "noValue": "none", **steps((None, "yellow"), (0.5, "red"))},
            ),
            graph(
                "The ten slowest",
                about(
                    "Share of the time that a read may take; at 100 % it is cut short.",
                    f.SCRAPE_DURATION,
                    f.SCRAPE_TIMEOUT,
                ),
                fleet.one(f"topk(10, {share})", legend=legend),
                "percentunit",
                {"min": 0},
            ),
            bars(
                "Responses that fail",
                about("Share of the reads in the range of the board.", f.DOCUMENT_SUCCESS),
                Data((Target(failing, f"{legend} {{{{document}}}}", instant=True),)),
                "percentunit",
                {"min": 0, "max": 1, "noValue": "none", **steps((None, "yellow"), (0.5, "red"))},
            ),
        ),
    )
    columns = {
        **{name: name.capitalize() for name in f.STATION_INFO.labels},
        "Value #A": "Chargers",
        "Value #B": VULNERABILITIES,
    }
    yield Line(
        7,
        (
            timeline("Contact", about("", f.UP), fleet.contact(), CONTACT, weight=2),
            table(
                "Firmware",
                about("How many chargers have which version.", f.STATION_INFO),
                Data(
                    (Target(versions, instant=True, table=True), Target(vulnerable, instant=True, table=True)),
                    merged(columns, tuple(columns.values())),
                ),
                (coloured(VULNERABILITIES, UPDATE),),
            ),
        ),
    )
