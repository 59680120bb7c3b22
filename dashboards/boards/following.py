"""The row of the Charger board for `charge follow`, which serves its own metrics; only a Prometheus has them."""

from collections.abc import Iterator

from boards.grafana import Data, Line, Target, graph, timeline, words
from boards.scraped import Scraped
from boards.units import about
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family

_SCRAPED = "Of `charge follow`, if it is scraped with the job and the instance of its charger."


def follow_lines(source: Scraped) -> Iterator[Line]:
    """What is available, what is taken, and why."""
    yield Line(
        8,
        (
            graph(
                "Available power and input",
                about(_SCRAPED, f.FOLLOW_AVAILABLE, f.FOLLOW_INPUT),
                _asked(source, f.FOLLOW_AVAILABLE, f.FOLLOW_INPUT),
                "watt",
            ),
            graph(
                "Limit and current",
                about(_SCRAPED, f.FOLLOW_TARGET, f.FOLLOW_LIMIT, f.FOLLOW_CURRENT),
                _asked(source, f.FOLLOW_TARGET, f.FOLLOW_LIMIT, f.FOLLOW_CURRENT),
                "amp",
                {"min": 0},
            ),
        ),
    )
    yield Line(
        6,
        (
            timeline(
                "Reason for the limit",
                about(_SCRAPED, f.FOLLOW_REASON),
                source.faults(f.FOLLOW_REASON),
                words({1: ("yes", "blue")}),
                weight=2,
            ),
            graph(
                "Writes left",
                about(_SCRAPED, f.FOLLOW_WRITES_LEFT),
                _asked(source, f.FOLLOW_WRITES_LEFT),
                "short",
                {"min": 0},
            ),
        ),
    )


def _asked(source: Scraped, *families: Family) -> Data:
    """A line for each family, called as it is without the beginning and the unit."""
    return Data(
        tuple(
            Target(
                source.of_station(family),
                f"{source.station_legend} {family.name.removeprefix('ccl_follow_').rpartition('_')[0]}",
            )
            for family in families
        )
    )
