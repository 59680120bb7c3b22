"""The row of the Fleet board about the exporter itself, whose metrics come from its /metrics."""

from collections.abc import Iterator, Sequence

from boards.grafana import Data, Json, Line, Panel, Target, graph, stat, timeline, words
from boards.scraped import Scraped
from boards.units import BAD, GOOD, about, unit
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family

_EXPORTER = 'instance=~"$exporter"'

_scraped = Scraped()


_OPTIONAL: Json = {"noValue": "not configured"}


def _own(family: Family, *, rate: bool = False) -> str:
    series = f"{family.name}{{{_EXPORTER}}}"
    return f"rate({series}[$__rate_interval])" if rate else series


def _flow(title: str, text: str, families: Sequence[Family], labels: Sequence[str]) -> Panel:
    """Several counters by the second."""
    legend = " ".join(f"{{{{{label}}}}}" for label in ("instance", *labels))
    targets = tuple(Target(_own(family, rate=True), f"{legend} {_said(family)}") for family in families)
    return graph(title, about(text, *families), Data(targets), "cps", {"min": 0, **_OPTIONAL})


def _said(family: Family) -> str:
    name = family.name.removesuffix("_total")
    for part in ("ccl_exporter_charger_", "ccl_influxdb_", "ccl_mqtt_", "_points", "_messages"):
        name = name.replace(part, "")
    return name.replace("_", " ")


def exporter_lines() -> Iterator[Line]:
    """The state of the exporter, its queues and its broker."""

    def last(
        title: str, text: str, family: Family, unit_name: str, extra: Json | None = None, by: str = ""
    ) -> Panel:
        legend = "{{instance}}" + (f" {{{{{by}}}}}" if by else "")
        factor = unit(family).factor if unit_name == "dateTimeFromNow" else ""
        return stat(
            title, about(text, family), _scraped.one(f"{_own(family)}{factor}", legend=legend), unit_name, extra
        )

    yield Line(
        4,
        (
            stat(
                "Version",
                about("", f.BUILD_INFO),
                _scraped.now(_own(f.BUILD_INFO), legend="{{version}}"),
                "none",
                names=True,
            ),
            last(
                "Configuration",
                "",
                f.RELOAD_SUCCESSFUL,
                "none",
                words({0: ("rejected", BAD), 1: ("valid", GOOD)}),
            ),
            last(
                "Broker",
                "",
                f.MQTT_CONNECTED,
                "none",
                {**words({0: ("not connected", BAD), 1: ("connected", GOOD)}), "noValue": "not configured"},
            ),
            last("Points in queues", "", f.INFLUXDB_SPOOL_POINTS, "short", _OPTIONAL, by="sink"),
            last("Queues on disk", "", f.INFLUXDB_SPOOL_BYTES, "bytes", _OPTIONAL, by="sink"),
            last("Last write", "", f.INFLUXDB_LAST_SUCCESS, "dateTimeFromNow", _OPTIONAL, by="sink"),
        ),
    )
    oldest = f"time() - {_own(f.INFLUXDB_SPOOL_OLDEST)}"
    yield Line(
        8,
        (
            graph(
                "Age of the oldest queued reading",
                about("It grows while a database is not reachable.", f.INFLUXDB_SPOOL_OLDEST),
                _scraped.one(oldest, legend="{{instance}} {{sink}}"),
                "s",
                {"min": 0, **_OPTIONAL},
            ),
            _flow(
                "Points",
                "Queued, sent, rejected and lost.",
                (f.INFLUXDB_SPOOLED, f.INFLUXDB_SENT, f.INFLUXDB_REJECTED, f.INFLUXDB_DROPPED),
                ("sink",),
            ),
            graph(
                "Duration of a write",
                about("", f.INFLUXDB_SEND_SECONDS),
                _scraped.one(_own(f.INFLUXDB_SEND_SECONDS), legend="{{instance}} {{sink}}"),
                "s",
                {"min": 0, **_OPTIONAL},
            ),
        ),
    )
    yield Line(
        8,
        (
            _flow(
                "Reads of chargers",
                "A shared read serves several scrapes, a skipped one is not done because of the backoff.",
                (f.READS, f.FAILED_READS, f.SHARED_READINGS, f.SKIPPED_READS),
                ("charger",),
            ),
            _flow("Messages to the broker", "", (f.MQTT_SENT,), ()),
            timeline(
                "Chargers in backoff",
                about("Whether a charger that is not reachable is not tried now.", f.BACKOFF_UNTIL),
                _scraped.one(f"{_own(f.BACKOFF_UNTIL)} > bool time()", legend="{{charger}}"),
                words({0: ("no", "green"), 1: ("backoff", "yellow")}),
            ),
        ),
    )
    yield Line(
        6,
        (
            graph(
                "Price of a kilowatt-hour",
                about("By the tariff in the configuration file.", f.TARIFF_PRICE),
                _scraped.one(_own(f.TARIFF_PRICE), legend="{{instance}} {{currency}}"),
                "none",
                {"decimals": 4, **_OPTIONAL},
            ),
            timeline(
                "Cheap hours",
                about("", f.TARIFF_CHEAP),
                _scraped.one(_own(f.TARIFF_CHEAP), legend="{{instance}}"),
                words({0: ("no", "blue"), 1: ("cheap", "green")}),
            ),
        ),
    )
