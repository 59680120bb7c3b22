"""The Fleet board: which plug is broken, idle or absent, by the labels that /sd gives to chargers."""

from collections.abc import Iterator

from boards.energy_queries import total_per_day
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
    merged,
    per_day,
    stat,
    steps,
    summed_bars,
    summed_by_series,
    table,
    timeline,
)
from boards.templating import source_variable
from boards.units import FAULTS, KWH, REASONS, UP_DOWN, YES_NO, about, numbered
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family

AVAILABLE_BY_MONTH = "plug:ccl_plug_available:ratio_month"
AVAILABLE = "plug:ccl_plug_available:ratio30d"
"""Recording rules of deploy/prometheus/rules/recording.yml."""

_GOAL = steps((None, "red"), (0.95, "yellow"), (0.97, "green"))
"""97 per cent is what 23 CFR 680.116 wants."""

_ZERO_IS_WELL = steps((None, "green"), (1, "red"))


def board() -> Board:
    return Board(
        uid="ccl-fleet",
        title="Fleet",
        description="All chargers: status, availability, faults, energy, idle time, absence, and the exporter.",
        source=fleet.source,
        variables=(source_variable(fleet.source), *fleet.variables),
        annotations=fleet.annotations,
        rows=(
            Row("Now", tuple(_now())),
            Row("Availability", tuple(_availability())),
            Row("Faults", tuple(_faults())),
            Row("Energy", tuple(_energy())),
            Row("Idle while occupied", tuple(_idle())),
            Row("Absent and slow chargers", tuple(_contact())),
            Row("Exporter and queues", tuple(exporter_lines())),
        ),
    )


def _count(title: str, text: str, expression: str, *families: Family, extra: Json | None = None) -> Panel:
    """A number of chargers or plugs; none is zero."""
    data = Data((Target(f"{expression} or vector(0)", title),))
    return stat(title, about(text, *families), data, "short", extra)


def _plugs_that(*words_: str) -> str:
    return f"sum({fleet.is_in(f.PLUG_STATUS, *words_)})"


def _now() -> Iterator[Line]:
    up = fleet.of_station(f.UP)
    register = fleet.of_plug(f.PLUG_ENERGY)
    grown = f"sum(clamp_min(last_over_time({register}[1d]) - min_over_time({register}[1d]), 0)){KWH}"
    yield Line(
        4,
        (
            _count("Chargers", "That are scraped.", f"count({up})", f.UP),
            _count("Absent", "Chargers that do not answer.", f"sum(1 - {up})", f.UP, extra=_ZERO_IS_WELL),
            _count(
                "Plugs",
                "Of chargers that answer.",
                f"count({fleet.is_in(f.PLUG_STATUS, 'unknown')})",
                f.PLUG_STATUS,
            ),
            _count("Charging", "Plugs with a charge under way.", _plugs_that("charging"), f.PLUG_STATUS),
            _count("Free", "Plugs that a driver can use now.", _plugs_that("available"), f.PLUG_STATUS),
            _count(
                "Broken",
                "Plugs with a fault.",
                _plugs_that("outoforder"),
                f.PLUG_STATUS,
                extra=_ZERO_IS_WELL,
            ),
            stat(
                "Power",
                about("Of all plugs.", f.PLUG_POWER),
                fleet.one(f"sum({fleet.phases(f.PLUG_POWER)})", legend="Power"),
                "watt",
                sparkline=True,
            ),
            stat(
                "Energy of 24 hours",
                about("Growth of all registers.", f.PLUG_ENERGY),
                fleet.one(grown, legend="Energy"),
                "kwatth",
                {"decimals": 1},
            ),
        ),
    )
    yield Line(10, (_plugs(),))
    yield Line(
        10,
        (
            timeline(
                "Status of each plug",
                about("The words of OCPI, the same for every make.", f.PLUG_STATUS),
                fleet.one(fleet.status()),
                numbered(f.PLUG_STATUS),
            ),
        ),
    )


_LINK: Json = {
    "targetBlank": False,
    "title": "This charger",
    "url": "/d/ccl-charger?var-datasource=${datasource}&var-instance=${__data.fields.Instance:percentencode}"
    "&var-plug=${__data.fields.Plug:percentencode}&${__url_time_range}",
}


def _plugs() -> Panel:
    """A row for each plug."""
    asked = (
        (fleet.status(), "Status"),
        (fleet.code(f.PLUG_NOT_CHARGING, "not_charging"), "Why not charging"),
        (fleet.most(fleet.of_plug(f.PLUG_CONNECTED)), "Vehicle"),
        (fleet.summed(fleet.phases(f.PLUG_POWER)), "Power"),
        (fleet.most(fleet.of_plug(f.PLUG_CURRENT_LIMIT)), "Limit"),
        (fleet.most(fleet.of_plug(f.CHARGE_ENERGY)) + KWH, "This charge"),
        (fleet.most(fleet.of_plug(f.PLUG_ENERGY)) + KWH, "Meter"),
    )
    site = f"max by (job, instance, $label) ({fleet.of_station(f.UP)})"
    joined = "* on (job, instance) group_left (group) label_join(({site}) * 0 + 1, `group`, ``, `$label`)"
    targets = tuple(
        Target(f"({expression}) {joined.format(site=site)}", instant=True, table=True) for expression, _ in asked
    )
    columns = {f"Value #{letter}": heading for letter, (_, heading) in zip("ABCDEFG", asked, strict=True)}
    places = {"group": "Group", "instance": "Instance", "plug": "Plug"}
    headings = (*places.values(), *columns.values())
    return table(
        "Plugs",
        about(
            "Of chargers that answer; the link leads to the board of the charger. "
            "Group is the value of the label that is chosen on top.",
            f.PLUG_STATUS,
            f.PLUG_POWER,
            f.PLUG_CURRENT_LIMIT,
            f.CHARGE_ENERGY,
            f.PLUG_ENERGY,
        ),
        Data(targets, merged(places | columns, headings)),
        (
            column("Instance", link=_LINK),
            coloured("Status", numbered(f.PLUG_STATUS)),
            coloured("Why not charging", REASONS),
            column("Vehicle", **YES_NO),
            column("Power", "watt"),
            column("Limit", "amp"),
            column("This charge", "kwatth", decimals=2),
            column("Meter", "kwatth", decimals=1),
        ),
        sort="Instance",
        descending=False,
    )


def _availability() -> Iterator[Line]:
    formula = (
        "Minutes in which a plug was not `outoforder`, `inoperative` or `unknown`, of the minutes that count: "
        "a charger that does not answer is not available, and planned outages (label `planned_outage`) do not "
        "count. Needs the recording rules of deploy/prometheus."
    )
    by_month = f"last_over_time({AVAILABLE_BY_MONTH}{{{fleet.station}}}[400d])"
    named = f"label_join({by_month}, `which`, ` `, `instance`, `plug`)"
    matrix: Json = {
        "id": "groupingToMatrix",
        "options": {"columnField": "month", "emptyValue": "null", "rowField": "which", "valueField": "Value"},
    }
    yield Line(
        9,
        (
            bars(
                "Availability of 30 days",
                about(formula, f.PLUG_STATUS),
                fleet.one(f"{AVAILABLE}{{{fleet.station}}}"),
                "percentunit",
                {"min": 0, "max": 1, "decimals": 2, **_GOAL},
            ),
            _as_shares(
                table(
                    "Availability by month",
                    about(f"{formula} Months are those of UTC.", f.PLUG_STATUS),
                    Data((Target(named, instant=True, table=True),), (matrix,)),
                    (),
                )
            ),
        ),
    )


def _as_shares(panel: Panel) -> Panel:
    """A table whose columns are months and whose cells are shares."""
    panel.defaults.update({"unit": "percentunit", "decimals": 2, **_GOAL})
    panel.defaults["custom"]["cellOptions"] = {"type": "color-text"}
    return panel


def _faults() -> Iterator[Line]:
    held = f"avg_over_time({fleet.of_plug(f.PLUG_ERROR)}[$__range]) > 0"
    station = f"avg_over_time({fleet.of_station(f.STATION_ERROR)}[$__range]) > 0"
    yield Line(
        8,
        (
            bars(
                "Share of the time with a fault",
                about("In the range of the board; none is well.", f.PLUG_ERROR, f.STATION_ERROR),
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
                about("A lane for each fault that held; none is well.", f.PLUG_ERROR, f.STATION_ERROR),
                Data(
                    (*fleet.faults(f.PLUG_ERROR).targets, *fleet.faults(f.STATION_ERROR).targets),
                ),
                FAULTS,
                weight=2,
            ),
        ),
    )


def _energy() -> Iterator[Line]:
    days = total_per_day(fleet.of_plug(f.PLUG_ENERGY))
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
                "kwatth",
                weight=2,
            ),
            summed_bars(
                "Energy per month",
                about("Of all plugs; the sum of the days.", f.PLUG_ENERGY),
                fleet.energy_per_month(),
                "kwatth",
                {"decimals": 1},
            ),
            summed_bars(
                "Energy of 30 days by plug",
                about("The sum of the days, the thirty plugs with the most.", f.PLUG_ENERGY),
                Data(
                    (Target(f"topk(30, {fleet.summed(days)})", fleet.legend),),
                    summed_by_series(),
                ),
                "kwatth",
                {"decimals": 1},
                last="30d",
            ),
        ),
    )


def _idle() -> Iterator[Line]:
    ended = f"time() - {fleet.most(fleet.of_plug(f.CHARGE_END))} and {fleet.idle()} == 1"
    yield Line(
        8,
        (
            per_day(
                "Idle while occupied, per day",
                about(
                    "How long vehicles were connected and did not charge, to two minutes.",
                    f.PLUG_CONNECTED,
                    f.PLUG_STATE,
                ),
                fleet.idle_per_day(),
                "dtdurations",
                weight=2,
            ),
            bars(
                "Still there after the charge",
                about(
                    "How long ago the last charge ended, where a vehicle is idle now.",
                    f.CHARGE_END,
                    f.PLUG_CONNECTED,
                ),
                Data((Target(ended, fleet.legend, instant=True),)),
                "dtdurations",
                {"noValue": "none", "min": 0, **steps((None, "green"), (3600, "yellow"), (14400, "red"))},
            ),
        ),
    )


def _contact() -> Iterator[Line]:
    up, legend = fleet.of_station(f.UP), fleet.station_legend
    share = f"{fleet.of_station(f.SCRAPE_DURATION)} / {fleet.of_station(f.SCRAPE_TIMEOUT)}"
    versions = f"count by (company, product, version) ({fleet.of_station(f.STATION_INFO)})"
    failing = f"1 - avg_over_time({fleet.of_station(f.DOCUMENT_SUCCESS)}[$__range]) > 0"
    yield Line(
        8,
        (
            bars(
                "Share of the time absent",
                about("Chargers that did not answer in the range of the board; none is well.", f.UP),
                Data((Target(f"1 - avg_over_time({up}[$__range]) > 0", legend, instant=True),)),
                "percentunit",
                {"min": 0, "max": 1, "noValue": "none", **steps((None, "yellow"), (0.5, "red"))},
            ),
            graph(
                "The ten slowest",
                about(
                    "Share of the time that a reading may take; at 1 it is cut short.",
                    f.SCRAPE_DURATION,
                    f.SCRAPE_TIMEOUT,
                ),
                fleet.one(f"topk(10, {share})", legend=legend),
                "percentunit",
                {"min": 0},
            ),
            bars(
                "Documents that fail",
                about("Share of the readings in the range of the board; none is well.", f.DOCUMENT_SUCCESS),
                Data((Target(failing, f"{legend} {{{{document}}}}", instant=True),)),
                "percentunit",
                {"min": 0, "max": 1, "noValue": "none", **steps((None, "yellow"), (0.5, "red"))},
            ),
        ),
    )
    columns = {**{name: name.capitalize() for name in f.STATION_INFO.labels}, "Value": "Chargers"}
    yield Line(
        7,
        (
            timeline("Contact", about("", f.UP), fleet.contact(), UP_DOWN, weight=2),
            table(
                "Firmware",
                about("How many chargers have which.", f.STATION_INFO),
                Data((Target(versions, instant=True, table=True),), merged(columns, tuple(columns.values()))),
                (),
            ),
        ),
    )
