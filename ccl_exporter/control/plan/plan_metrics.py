"""The metrics of a planner."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ccl_exporter.control.plan.planner import PlanStatus
from ccl_exporter.metrics import families as f

_JOULES = 3.6e6


@dataclass(frozen=True, eq=False)
class PlanMetrics(Collector):
    """The metrics of the plan that is carried out; nothing while there is none."""

    status: Callable[[], PlanStatus | None]

    def collect(self) -> Iterator[Metric]:
        status = self.status()
        if status is None:
            return
        for family, value in (
            (f.PLAN_NEEDED, status.need * _JOULES if status.need is not None else None),
            (f.PLAN_CHARGED, status.charged * _JOULES),
            (f.PLAN_NEXT_START, status.next_start),
            (f.PLAN_DEADLINE, status.by),
            (f.PLAN_FEASIBLE, float(status.feasible)),
        ):
            if value is not None:
                yield GaugeMetricFamily(family.name, family.help, value=value)
