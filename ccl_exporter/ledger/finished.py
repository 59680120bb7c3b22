"""A charge that ended, as samples for a database; on /metrics it would be a label for every charge."""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Protocol

from ccl_exporter.catalogue import catalogue
from ccl_exporter.families import CHARGE_STOP_REASON
from ccl_exporter.ledger.accounts import FinishedCharge
from ccl_exporter.model import Family, Sample

_PLUG = ("plug",)

REQUEST = Family("ccl_finished_charge_request_timestamp_seconds", "gauge", "When the charge was asked for.", _PLUG)
BEGIN = Family("ccl_finished_charge_begin_timestamp_seconds", "gauge", "When the charge began.", _PLUG)
END = Family("ccl_finished_charge_end_timestamp_seconds", "gauge", "When the charge ended.", _PLUG)
ENERGY = Family("ccl_finished_charge_energy_joules", "gauge", "Energy of the charge.", _PLUG)
DURATION = Family("ccl_finished_charge_duration_seconds", "gauge", "How long the charge took.", _PLUG)
HIGHEST_POWER = Family("ccl_finished_charge_highest_power_watts", "gauge", "The highest power seen.", _PLUG)
STOP_REASON = Family(
    "ccl_finished_charge_stop_reason", "stateset", "Why the charge stopped.", _PLUG, CHARGE_STOP_REASON.states
)
FINISHED_CHARGE = (REQUEST, BEGIN, END, ENERGY, DURATION, HIGHEST_POWER, STOP_REASON)


class FinishedCharges(Protocol):
    """The record of charges that ended."""

    def finished(self, after: int) -> Sequence[tuple[int, FinishedCharge]]:
        """Those with an id above `after`, ids ascending."""
        ...


def charge_samples(charge: FinishedCharge) -> Iterator[Sample]:
    """The samples of one charge; what is not known has none."""
    labels = (charge.plug,)
    for family, value in (
        (REQUEST, charge.requested),
        (BEGIN, charge.begun),
        (END, charge.ended),
        (ENERGY, charge.joules),
        (DURATION, charge.seconds),
        (HIGHEST_POWER, charge.highest_watts),
    ):
        if value is not None and isfinite(value):
            yield Sample(family, labels, float(value))
    if charge.stop_reason is not None:
        word = catalogue().codes["stop_reason"].get(charge.stop_reason, "unknown")
        yield Sample(STOP_REASON, labels, float(charge.stop_reason), (word,))
