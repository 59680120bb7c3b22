"""Delivery to a database that refuses: the good arrives, the bad is found, trouble for a while costs nothing."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_exporter.outputs.influxdb.bisecting_sender import BisectingSender, Delivered
from ccl_exporter.outputs.influxdb.client import Accepted, Outcome, Rejected, RequestTooLarge, RetryLater
from ccl_exporter.outputs.influxdb.line_protocol import by_field, field_of


class Picky:
    """A database in memory that refuses fields by name, as InfluxDB does: with their whole lines."""

    def __init__(self, bad: set[str], most: int = 10**9, partial: bool = True, counts: bool = True) -> None:
        self.bad, self.most, self.partial, self.counts = bad, most, partial, counts
        self.stored: set[str] = set()
        self.requests = 0

    def write(self, lines: Sequence[str]) -> Outcome:
        self.requests += 1
        if sum(map(len, lines)) > self.most:
            return RequestTooLarge("it answers 413")
        good = [line for line in lines if not {field_of(piece)[1] for piece in by_field(line)} & self.bad]
        if len(good) == len(lines) or self.partial:
            self.stored |= {piece for line in good for piece in by_field(line)}
        if len(good) == len(lines):
            return Accepted()
        return Rejected("field type conflict", len(lines) - len(good) if self.counts else None)


def line(number: int, fields: Sequence[str]) -> str:
    return f"m,n={number} {','.join(f'{name}={number}' for name in fields)} {number}"


def go_on(delivery: BisectingSender) -> Delivered | RetryLater:
    while (result := delivery.go_on()) is None:
        pass
    return result


def deliver(delivery: BisectingSender, lines: Sequence[str]) -> Delivered | RetryLater:
    delivery.begin(lines)
    return go_on(delivery)


LINES = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(LINES, st.sets(st.sampled_from("abcdef")), st.booleans(), st.booleans())
def test_exactly_the_good_fields_arrive_and_exactly_the_bad_are_set_aside(
    fields: list[list[str]], bad: set[str], partial: bool, counts: bool
) -> None:
    sent = [line(number, names) for number, names in enumerate(fields)]
    database = Picky(bad, partial=partial, counts=counts)
    delivery = BisectingSender(database.write)
    every = {piece for item in sent for piece in by_field(item)}
    for _ in range(2):  # the second time with what was learned
        result = deliver(delivery, sent)
        assert isinstance(result, Delivered)
        assert {item.line for item in result.refused} == {piece for piece in every if field_of(piece)[1] in bad}
        assert len(result.refused) == len({item.line for item in result.refused})
        assert result.rejected == sum(bool(set(names) & bad) for names in fields)
        assert database.stored == {piece for piece in every if field_of(piece)[1] not in bad}


@settings(max_examples=60, deadline=None)
@given(LINES, st.integers(12, 200))
def test_what_is_too_large_is_sent_in_smaller_parts(fields: list[list[str]], most: int) -> None:
    sent = [line(number, names) for number, names in enumerate(fields)]
    database = Picky(set(), most)
    result = deliver(BisectingSender(database.write), sent)

    every = {piece for item in sent for piece in by_field(item)}
    assert isinstance(result, Delivered)
    assert database.stored == {piece for piece in every if len(piece) <= most}
    assert {item.line for item in result.refused} == every - database.stored


def test_a_field_that_was_refused_costs_two_requests_a_batch_from_then_on() -> None:
    database = Picky({"b"})
    delivery = BisectingSender(database.write)
    sent = [line(number, "abc") for number in range(1000)]
    deliver(delivery, sent)
    database.requests = 0
    result = deliver(delivery, sent)

    assert isinstance(result, Delivered)
    assert len(result.refused) == 1000
    assert database.requests == 2


def test_a_field_that_is_taken_again_is_trusted_again() -> None:
    database = Picky({"b"})
    delivery = BisectingSender(database.write)
    deliver(delivery, [line(1, "ab")])
    database.bad = set()
    assert deliver(delivery, [line(2, "ab")]) == Delivered()
    database.requests = 0

    assert deliver(delivery, [line(3, "ab")]) == Delivered()
    assert database.requests == 1


@pytest.mark.parametrize(
    "reason",
    [
        "partial write: points beyond retention policy",
        "partial write: dropped 100 points outside retention policy of duration 1h0m0s",  # InfluxDB 2.8
    ],
)
def test_readings_older_than_the_database_keeps_cost_one_request(reason: str) -> None:
    asked = 0

    def write(lines: Sequence[str]) -> Outcome:
        nonlocal asked
        asked += 1
        return Rejected(reason, len(lines))

    result = deliver(BisectingSender(write), [line(number, "abc") for number in range(100)])

    assert isinstance(result, Delivered)
    assert result.rejected == 100
    assert not result.nothing, "a database that says this has understood the lines"
    assert asked == 1


def test_what_was_refused_before_anything_was_accepted_is_sent_once_more() -> None:
    database = Picky({"a"}, partial=False, counts=False)
    delivery, sent = BisectingSender(database.write), [line(number, "ab") for number in range(4)]
    delivery.begin(sent)
    while not database.stored:
        assert delivery.go_on() is None
    database.bad = set()

    assert go_on(delivery) == Delivered()
    assert database.stored == {piece for item in sent for piece in by_field(item)}


def test_a_delivery_of_which_everything_is_refused_is_given_up() -> None:
    database = Picky({"a", "b"})
    delivery = BisectingSender(database.write)
    delivery.begin([line(number, "ab") for number in range(100)], most=5)
    result = go_on(delivery)

    assert isinstance(result, Delivered)
    assert result.nothing
    assert database.requests == 5


def test_a_database_that_took_nothing_at_all_is_told_apart() -> None:
    everything, something = Picky({"a", "b"}), Picky({"a"})
    sent = [line(number, "ab") for number in range(3)]

    refused = [deliver(BisectingSender(database.write), sent) for database in (everything, something)]
    assert [isinstance(result, Delivered) and result.nothing for result in refused] == [True, False]
    assert deliver(BisectingSender(everything.write), []) == Delivered()


@settings(max_examples=60, deadline=None)
@given(LINES, st.sets(st.sampled_from("abcdef")), st.integers(2, 5))
def test_trouble_in_between_costs_nothing_and_no_request_that_was_answered(
    fields: list[list[str]], bad: set[str], every: int
) -> None:
    sent = [line(number, names) for number, names in enumerate(fields)]
    calm, troubled = Picky(bad, counts=False), Picky(bad, counts=False)
    asked = 0

    def write(lines: Sequence[str]) -> Outcome:
        nonlocal asked
        asked += 1
        return RetryLater("no connection") if asked % every == 0 else troubled.write(lines)

    delivery = BisectingSender(write)
    result = deliver(delivery, sent)
    while isinstance(result, RetryLater):
        result = go_on(delivery)

    assert result == deliver(BisectingSender(calm.write), sent)
    assert troubled.stored == calm.stored
    assert troubled.requests == calm.requests
