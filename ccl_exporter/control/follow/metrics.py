"""The metrics of a follower, and their HTTP server."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from ccl_exporter.control.follow.follower import Status
from ccl_exporter.control.metrics_server import serve_collector
from ccl_exporter.metrics import families as f
from ccl_exporter.settings import ListenAddress


@dataclass(frozen=True, eq=False)
class _Shown(Collector):
    status: Callable[[], Status]
    info: dict[str, str]

    def collect(self) -> Iterator[Metric]:
        status = self.status()
        yield InfoMetricFamily(f.FOLLOW_INFO.name.removesuffix("_info"), f.FOLLOW_INFO.help, value=self.info)
        for family, value in (
            (f.FOLLOW_INPUT, status.number),
            (f.FOLLOW_INPUT_TIME, status.number_taken),
            (f.FOLLOW_AVAILABLE, status.free),
            (f.FOLLOW_TARGET, status.target),
            (f.FOLLOW_LIMIT, status.limit),
            (f.FOLLOW_CURRENT, status.amperes),
            (f.FOLLOW_WRITES_LEFT, status.writes_left),
        ):
            if value is not None:
                yield GaugeMetricFamily(family.name, family.help, value=value)
        for family, count in (
            (f.FOLLOW_WRITES, status.writes),
            (f.FOLLOW_FAILED_WRITES, status.failed_writes),
            (f.FOLLOW_STARTS, status.starts),
        ):
            yield CounterMetricFamily(family.name, family.help, value=count)
        reasons = Metric(f.FOLLOW_REASON.name, f.FOLLOW_REASON.help, "stateset")
        for word in f.FOLLOW_REASON.states:
            reasons.add_sample(f.FOLLOW_REASON.name, {f.FOLLOW_REASON.name: word}, float(word == status.reason))
        yield reasons


def serve_metrics(
    where: ListenAddress, status: Callable[[], Status], info: dict[str, str]
) -> tuple[int, Callable[[], None]]:
    """Serve the metrics of a follower; returns the port and a function that stops the server.

    Raises `UsageError` if it cannot listen there.
    """
    return serve_collector(where, _Shown(status, info))
