"""The rows of the Charger board about energy, cost and charges."""

from collections.abc import Iterable, Iterator, Sequence

from boards import cost
from boards.grafana import Json, Line, coloured, column, graph, per_day, stat, summed_bars, table
from boards.influxql import InfluxQL
from boards.sources import Source
from boards.units import about, states
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family

MONEY: Json = {"decimals": 2}

_CHARGE_COLUMNS = (
    "Charger",
    "Instance",
    "Plug",
    "Begin",
    "End",
    "Duration",
    "Energy",
    "Cost",
    "Highest power",
    "Stopped by",
)


_DAYS = {
    "prometheus": "A day begins at midnight on the time axis, today's is what there is so far.",
    "influxdb": "A day begins at midnight in UTC, today's is what there is so far.",
}
_BY_REGISTER = (
    "From differences of the register, not from `increase()`, which extrapolates. "
    "Energy that flowed while nobody read counts when the charger is read again."
)
_BY_HOUR = "From differences of the register by hour, each at its price: exact where prices change on the hour."
_BY_CHARGE = "On the day on which a charge ended, its energy shared between the two prices by time."


def energy_lines(source: Source) -> Iterator[Line]:
    days = _DAYS[source.source]
    how = _BY_CHARGE if isinstance(source, InfluxQL) else _BY_HOUR
    paid = (
        (f.FINISHED_ENERGY, f.FINISHED_BEGIN, f.FINISHED_END) if isinstance(source, InfluxQL) else (f.PLUG_ENERGY,)
    )
    yield Line(
        8,
        (
            per_day(
                "Energy per day",
                about(f"{_BY_REGISTER} {days}", f.PLUG_ENERGY),
                source.energy_per_day(),
                "kwatth",
                weight=8,
            ),
            summed_bars(
                "Energy per month",
                about("Of all plugs that are chosen; the sum of the days.", f.PLUG_ENERGY),
                source.energy_per_month(),
                "kwatth",
                {"decimals": 2},
                weight=4,
            ),
        ),
    )
    yield Line(
        8,
        (
            per_day(
                "Cost per day",
                about(f"{how} {cost.UTC}", *paid),
                source.cost_per_day(),
                "none",
                MONEY,
                weight=8,
            ),
            summed_bars(
                "Cost per month",
                about(f"Of all plugs that are chosen; the sum of the days. {cost.UTC}", *paid),
                source.cost_per_month(),
                "none",
                MONEY,
                weight=4,
            ),
        ),
    )
    yield Line(
        8,
        (
            per_day(
                "Idle while occupied",
                about(
                    f"How long a vehicle was connected and did not charge, to a minute or two. {days}",
                    f.PLUG_CONNECTED,
                    f.PLUG_STATE,
                ),
                source.idle_per_day(),
                "dtdurations",
                weight=8,
            ),
            graph(
                "Meter",
                about("The register; it only grows.", f.PLUG_ENERGY),
                source.gauge(f.PLUG_ENERGY),
                "kwatth",
                {"decimals": 2},
                weight=4,
            ),
        ),
    )


def charge_lines(source: Source) -> Iterator[Line]:
    count, energy, paid = source.charges_summed()
    families = _families(source)
    shared = (
        f"The charger's own energy; a charge that spans both prices is shared between them by time. {cost.UTC}"
    )
    yield Line(
        4,
        (
            stat("Number of charges", about("That ended in the range of the board.", families[2]), count, "none"),
            stat("Their energy", about("What the charger itself says.", families[0]), energy, "kwatth"),
            stat("Their cost", about(shared, *families[:3]), paid, "none", MONEY),
        ),
    )
    yield Line(
        10,
        (
            table(
                "Charges",
                about(
                    "Those that ended in the range of the board, the latest first. Times are the charger's own. "
                    + shared,
                    *families,
                ),
                source.charges(_CHARGE_COLUMNS),
                tuple(_charge_columns()),
                sort="End",
            ),
        ),
    )


def _families(source: Source) -> Sequence[Family]:
    """Energy, begin, end and duration of the charges that ended."""
    if isinstance(source, InfluxQL):
        return (f.FINISHED_ENERGY, f.FINISHED_BEGIN, f.FINISHED_END, f.FINISHED_DURATION)
    return source.charge


def _charge_columns() -> Iterable[Json]:
    yield column("Begin", "dateTimeAsLocal")
    yield column("End", "dateTimeAsLocal")
    yield column("Duration", "dtdurations")
    yield column("Energy", "kwatth", decimals=3)
    yield column("Cost", "none", decimals=2)
    yield column("Highest power", "watt")
    yield coloured("Stopped by", states("stop_reason"))
