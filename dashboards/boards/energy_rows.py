"""The panels of the Charger board about energy, cost and sessions."""

from collections.abc import Iterable, Iterator, Sequence

from boards import cost
from boards.grafana import Json, Line, Panel, coloured, column, graph, per_day, stat, summed_bars, table
from boards.influxql import InfluxQL
from boards.scraped import Scraped
from boards.sources import Source
from boards.units import DURATION, ENERGY, HOURS, LOCAL_TIME, about, states
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
    "influxdb": "A day begins at midnight of the time zone on top, today's is what there is so far.",
}
_BY_REGISTER = (
    "From differences of the register, not from `increase()`, which extrapolates. "
    "Energy of a time without readings counts on the day on which the charger is read again."
)
_BY_REGISTER_COST = (
    "From differences of the register by half-hour, each at its price: exact where prices change on the half-hour."
)
_BY_CHARGE = "On the day on which a session ended, its energy shared between the two prices by time."


def cost_title(title: str) -> str:
    """A title with the currency, which is empty where none is known."""
    return f"{title} ${{currency}}"


def priced(source: Source) -> str:
    """Where prices come from."""
    return cost.TARIFF if isinstance(source, Scraped) else cost.UTC


def energy_per_day(source: Source, *, weight: int, legend: bool = True) -> Panel:
    return per_day(
        "Energy per day",
        about(f"{_BY_REGISTER} {_DAYS[source.source]}", f.PLUG_ENERGY),
        source.energy_per_day(),
        ENERGY,
        {"decimals": 1},
        weight=weight,
        legend=legend,
    )


def energy_lines(source: Source) -> Iterator[Line]:
    how = _BY_CHARGE if isinstance(source, InfluxQL) else _BY_REGISTER_COST
    paid = (
        (f.FINISHED_ENERGY, f.FINISHED_BEGIN, f.FINISHED_END) if isinstance(source, InfluxQL) else (f.PLUG_ENERGY,)
    )
    yield Line(3, tuple(_sums(source)))
    yield Line(
        8,
        (
            per_day(
                cost_title("Cost per day"),
                about(f"{how} {priced(source)}", *paid),
                source.cost_per_day(),
                "none",
                MONEY,
                weight=8,
            ),
            summed_bars(
                cost_title("Cost per month"),
                about(f"Of all plugs that are chosen; the sum of the days. {priced(source)}", *paid),
                source.cost_per_month(),
                "none",
                MONEY,
                weight=4,
            ),
            summed_bars(
                "Energy per month",
                about("Of all plugs that are chosen; the sum of the days.", f.PLUG_ENERGY),
                source.energy_per_month(),
                ENERGY,
                {"decimals": 1},
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
                    f"Hours in which a vehicle was connected and did not charge. {_DAYS[source.source]}",
                    f.PLUG_CONNECTED,
                    f.PLUG_STATE,
                ),
                source.idle_per_day(),
                HOURS,
                {"decimals": 1},
                weight=8,
            ),
            graph(
                "Meter",
                about("The register; it only grows.", f.PLUG_ENERGY),
                source.gauge(f.PLUG_ENERGY),
                ENERGY,
                {"decimals": 1},
                weight=8,
            ),
        ),
    )


def _sums(source: Source) -> Iterator[Panel]:
    count, energy, paid = source.charges_summed()
    families = _families(source)
    yield stat("Sessions that ended", about("In the range of the board.", families[2]), count, "none")
    text = "Of the sessions that ended in the range of the board, as the charger says."
    yield stat("Energy of these sessions", about(text, families[0]), energy, ENERGY, {"decimals": 2})
    yield stat(cost_title("Cost of these sessions"), about(_shared(source), *families[:3]), paid, "none", MONEY)


def charge_table(source: Source) -> Panel:
    """The sessions that ended."""
    return table(
        "Sessions",
        about(
            "Those that ended in the range of the board, the latest first. Times are by the charger's clock. "
            + _shared(source),
            *_families(source),
        ),
        source.charges(_CHARGE_COLUMNS),
        tuple(_charge_columns()),
        sort="End",
        none="no session ended in this range",
    )


def _shared(source: Source) -> str:
    if isinstance(source, Scraped):
        return f"Cost: the session's energy at the mean price of what its meter counted. {cost.TARIFF}"
    return f"Cost: a session that spans both prices is shared between them by time. {cost.UTC}"


def _families(source: Source) -> Sequence[Family]:
    """Energy, begin, end and duration of the sessions that ended."""
    if isinstance(source, InfluxQL):
        return (f.FINISHED_ENERGY, f.FINISHED_BEGIN, f.FINISHED_END, f.FINISHED_DURATION)
    return source.charge


def _charge_columns() -> Iterable[Json]:
    yield column("Begin", LOCAL_TIME)
    yield column("End", LOCAL_TIME)
    yield column("Duration", DURATION)
    yield column("Energy", ENERGY, decimals=2)
    yield column("Cost", "none", decimals=2, displayName=cost_title("Cost"))
    yield column("Highest power", "watt")
    yield coloured("Stopped by", states("stop_reason"))
