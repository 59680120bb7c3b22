"""The row of the Fleet board about the exporter itself, whose metrics come from its /metrics."""

from collections.abc import Iterator, Sequence

from boards.grafana import Data, Json, Line, Panel, Target, graph, stat, timeline, words
from boards.promql import Scraped
from boards.units import UP_DOWN, about, unit
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family

_EXPORTER = 'instance=~"$exporter"'

_scraped = Scraped()


def _own(family: Family, *, rate: bool = False) -> str:
    series = f"{family.name}{{{_EXPORTER}}}"
    return f"rate({series}[$__rate_interval])" if rate else series


def _flow(title: str, text: str, families: Sequence[Family], labels: Sequence[str]) -> Panel:
    """Several counters by the second."""
    legend = " ".join(f"{{{{{label}}}}}" for label in ("instance", *labels))
    targets = tuple(Target(_own(family, rate=True), f"{legend} {_said(family)}") for family in families)
    return graph(title, about(text, *families), Data(targets), "cps", {"min": 0})


def _said(family: Family) -> str:
    name = family.name.removesuffix("_total")
    for part in ("ccl_exporter_charger_", "ccl_influxdb_", "ccl_mqtt_", "_points", "_messages"):
        name = name.replace(part, "")
    return name.replace("_", " ")


def exporter_lines() -> Iterator[Line]:
    """How the exporter, its queues and its broker fare."""

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
                _scraped.one(_own(f.BUILD_INFO), legend="{{version}}"),
                "none",
                words({1: ("runs", "green")}),
            ),
            last(
                "Configuration",
                "",
                f.RELOAD_SUCCESSFUL,
                "none",
                words({0: ("refused", "red"), 1: ("well", "green")}),
            ),
            last("Broker", "", f.MQTT_CONNECTED, "none", UP_DOWN),
            last("Waiting in queues", "", f.INFLUXDB_SPOOL_POINTS, "short", by="sink"),
            last("Queues on disk", "", f.INFLUXDB_SPOOL_BYTES, "bytes", by="sink"),
            last("Database last took", "", f.INFLUXDB_LAST_SUCCESS, "dateTimeFromNow", by="sink"),
        ),
    )
    oldest = f"time() - {_own(f.INFLUXDB_SPOOL_OLDEST)}"
    yield Line(
        8,
        (
            graph(
                "Age of the oldest reading that waits",
                about("It grows while a database is away; none is well.", f.INFLUXDB_SPOOL_OLDEST),
                _scraped.one(oldest, legend="{{instance}} {{sink}}"),
                "s",
                {"min": 0, "noValue": "none"},
            ),
            _flow(
                "Points",
                "What is stored to be sent, sent, refused and lost.",
                (f.INFLUXDB_SPOOLED, f.INFLUXDB_SENT, f.INFLUXDB_REJECTED, f.INFLUXDB_DROPPED),
                ("sink",),
            ),
            graph(
                "Time a database takes",
                about("", f.INFLUXDB_SEND_SECONDS),
                _scraped.one(_own(f.INFLUXDB_SEND_SECONDS), legend="{{instance}} {{sink}}"),
                "s",
                {"min": 0},
            ),
        ),
    )
    yield Line(
        8,
        (
            _flow(
                "Readings of chargers",
                "By charger; shared ones cost a charger nothing, spared ones would have asked one that is absent.",
                (f.READS, f.FAILED_READS, f.SHARED_READINGS, f.SKIPPED_READS),
                ("charger",),
            ),
            _flow("Messages to the broker", "", (f.MQTT_SENT,), ()),
            timeline(
                "Chargers that are left alone",
                about("Whether an absent charger is not even tried now.", f.BACKOFF_UNTIL),
                _scraped.one(f"{_own(f.BACKOFF_UNTIL)} > bool time()", legend="{{charger}}"),
                words({0: ("no", "green"), 1: ("left alone", "yellow")}),
            ),
        ),
    )
    yield Line(
        6,
        (
            graph(
                "Price of a kilowatt-hour",
                about("By the tariff in the configuration file; none without one.", f.TARIFF_PRICE),
                _scraped.one(_own(f.TARIFF_PRICE), legend="{{instance}} {{currency}}"),
                "none",
            ),
            timeline(
                "Cheap hours",
                about("", f.TARIFF_CHEAP),
                _scraped.one(_own(f.TARIFF_CHEAP), legend="{{instance}}"),
                words({0: ("no", "blue"), 1: ("cheap", "green")}),
            ),
        ),
    )
