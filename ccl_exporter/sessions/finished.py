"""A charge that ended, as samples for a database; on /metrics it would be a label for every charge."""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Protocol

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.sessions.tracker import FinishedCharge
from ccl_exporter.station.catalogue import catalogue


class FinishedCharges(Protocol):
    """The record of charges that ended."""

    def finished(self, after: int) -> Sequence[tuple[int, FinishedCharge]]:
        """Those with an id above `after`, ids ascending."""
        ...


def charge_samples(charge: FinishedCharge) -> Iterator[Sample]:
    """The samples of one charge; what is not known has none."""
    labels = (charge.plug,)
    for family, value in (
        (f.FINISHED_REQUEST, charge.requested),
        (f.FINISHED_BEGIN, charge.begun),
        (f.FINISHED_END, charge.ended),
        (f.FINISHED_ENERGY, charge.joules),
        (f.FINISHED_DURATION, charge.seconds),
        (f.FINISHED_HIGHEST_POWER, charge.highest_watts),
    ):
        if value is not None and isfinite(value):
            yield Sample(family, labels, float(value))
    if charge.stop_reason is not None:
        word = catalogue().codes["stop_reason"].get(charge.stop_reason, "unknown")
        yield Sample(f.FINISHED_STOP_REASON, labels, float(charge.stop_reason), (word,))
