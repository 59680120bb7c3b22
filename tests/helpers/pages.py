"""Live pages as tests want them: of a snapshot, in UTC unless another zone is asked for."""

from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any

from ccl_exporter.exporter.recent_readings import LastRead
from ccl_exporter.exporter.web.markup import PageTime
from ccl_exporter.exporter.web.page import charger_page, front_page
from ccl_exporter.exporter.web.views import ChargerView, PageContext
from ccl_exporter.metrics.families import Sample
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.judge import Station


def view(name: str, snapshot: Snapshot | None, **more: Any) -> ChargerView:
    """A charger of which this is the last read."""
    return ChargerView(name, None if snapshot is None else LastRead.of(Station(snapshot)), **more)


def context(now: float, zone: tzinfo = UTC, outputs: Sequence[Sample] = ()) -> PageContext:
    return PageContext(PageTime(now, zone), "0.1.0", outputs)


def page(views: Sequence[ChargerView], now: float, query: str = "") -> bytes:
    """The front page."""
    return front_page(views, context(now), query)


def whole_page(snapshot: Snapshot, now: float, query: str = "") -> bytes:
    """The page of one charger with all its variables."""
    return charger_page(view("charger", snapshot), snapshot, context(now), query)
