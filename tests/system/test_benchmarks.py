"""The benchmarks run and measure what they say; their figures stand in tests/benchmarks/README.md."""

from collections.abc import Sequence

import pytest
from benchmarks.parts import PARTS, Row, endurance, table
from helpers.support import server

# Processor and wall time of a busy machine prove nothing: only what counts is asserted here.


@pytest.fixture(scope="module")
def servers() -> None:
    server("snmpd")
    server("prometheus-snmp-exporter")


def ours(rows: Sequence[Row], what: str) -> float:
    return next(row.ours for row in rows if row.what == what)


def test_the_charger_is_asked_as_little_as_is_said() -> None:
    rows = list(PARTS["charger"](True))

    assert all(row.theirs == 349 for row in rows if row.what.startswith("requests"))
    assert ours(rows, "requests a scrape, idle, both") < 1.3
    assert ours(rows, "requests a scrape, charging, both") <= 2
    assert ours(rows, "requests a scrape, proven, both") < 7.3
    assert ours(rows, "body bytes a scrape, idle, core") < 3000
    assert ours(rows, "body bytes a scrape, charging, core") < 3000


@pytest.mark.usefixtures("servers")
def test_processor_time_is_measured_beside_the_others() -> None:
    rows = list(PARTS["processor"](True))

    assert all(row.ours > 0 and row.theirs is not None and row.theirs > 0 for row in rows)


def test_many_chargers_are_all_answered_though_some_do_not_answer_and_some_are_slow() -> None:
    rows = list(PARTS["growth"](True))

    assert [row.ours for row in rows if "late or failed" in row.what] == [0, 0, 0]


@pytest.mark.alone
def test_neither_descriptors_nor_threads_grow() -> None:
    # Fifty chargers, each scraped eleven times.
    rows = list(endurance(550, "both"))

    grown = [row for row in rows if row.what.startswith(("descriptors", "threads")) and row.ours != row.theirs]
    assert len(rows) == 7
    assert grown == []


def test_a_table_has_a_ratio_where_there_are_two() -> None:
    rows = [Row("a", 1.0, 4.0, "ms", "b", "at most 1"), Row("c", 2.0)]

    assert table(rows).splitlines()[2:] == ["| a | 1 ms | 4 ms | b | 0.25 | at most 1 |", "| c | 2 |  |  |  |  |"]
