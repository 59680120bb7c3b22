"""What is refused is divided: the good arrives, the bad is found, whatever the database says of it."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_exporter.outputs.influxdb.bisection import Bisection
from ccl_exporter.outputs.influxdb.client import Accepted, Rejected, RequestTooLarge
from ccl_exporter.outputs.influxdb.line_protocol import by_field, field_of
from ccl_exporter.outputs.influxdb.spool import Batch


class Picky:
    """A database in memory that refuses fields by name, as InfluxDB does: with their whole lines.

    `partial`: it keeps the other lines. What it says of the bad ones is true, or anything.
    """

    def __init__(
        self, bad: set[str], most: int = 10**9, partial: bool = True, lies: random.Random | None = None
    ) -> None:
        self.bad, self.most, self.partial, self.lies = bad, most, partial, lies
        self.stored: set[str] = set()
        self.oldest = -1
        self.requests = 0

    def write(self, lines: Sequence[str]) -> Accepted | Rejected | RequestTooLarge:
        self.requests += 1
        if sum(map(len, lines)) > self.most:
            return RequestTooLarge("it answers 413")
        wrong = [number for number, line in enumerate(lines) if self.is_bad(line)]
        if not wrong or self.partial:
            self.stored |= {piece for line in lines if not self.is_bad(line) for piece in by_field(line)}
        if not wrong:
            return Accepted()
        if self.lies is None:
            fields = [field_of(piece)[1] for piece in by_field(lines[wrong[0]])]
            named = next((field for field in fields if field in self.bad), None)
            return Rejected(f"{named} clashes", len(wrong), frozenset(wrong), named)
        some = frozenset(self.lies.sample(range(len(lines)), self.lies.randint(0, len(lines))))
        return Rejected("no", self.lies.randint(0, 9), some, self.lies.choice([None, *"abcdefg"]))

    def is_bad(self, line: str) -> bool:
        fields = {field_of(piece)[1] for piece in by_field(line)}
        return bool(fields & self.bad) or int(line.rsplit(" ", 1)[1]) < self.oldest


def line(number: int, fields: Sequence[str], head: str = "m,charger=c") -> str:
    return f"{head} {','.join(f'{name}={number}' for name in fields)} {number}"


class Sorting:
    """A bisection before a database, to which a newest reading of another charger is written first."""

    def __init__(self, database: Picky) -> None:
        self.database, self.bisection = database, Bisection()
        self.refused: dict[str, str] = {}
        self.points = 0
        self.id = 10**6
        self.newest()

    def newest(self, lines: Sequence[str] = ("m,charger=other ok=1 999999",)) -> None:
        self.id += 1
        batch = Batch(self.id, tuple(lines))
        self.bisection.passed([batch])
        assert isinstance(self.database.write(lines), Accepted)
        self.bisection.accepted([batch], are_newest=True)

    def sort(self, batches: Sequence[Batch]) -> None:
        """Until every batch is done."""
        self.bisection.add(batches)
        left = {batch.id for batch in batches if batch.lines}
        while left:
            if self.bisection.has_to_confirm:
                assert isinstance(self.database.write(self.bisection.witness), Accepted)
                self.bisection.confirm()
            else:
                self.bisection.answered(self.database.write(self.bisection.request()))
            for batch, refused, points in self.bisection.settled():
                left.discard(batch.id)
                assert not self.refused.keys() & {item.line for item in refused}
                self.refused |= {item.line: item.reason for item in refused}
                self.points += points
        assert self.bisection.is_idle


LINES = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True), min_size=1, max_size=30)


def batches_of(lines: Sequence[str], size: int) -> list[Batch]:
    return [Batch(at + 1, tuple(lines[at : at + size])) for at in range(0, len(lines), size)]


@settings(max_examples=100, deadline=None)
@given(LINES, st.sets(st.sampled_from("abcdef")), st.booleans(), st.none() | st.integers(0, 99), st.integers(1, 9))
def test_exactly_the_good_fields_arrive_and_exactly_the_bad_are_set_aside(
    fields: list[list[str]], bad: set[str], partial: bool, lies: int | None, size: int
) -> None:
    sent = [line(number, names) for number, names in enumerate(fields)]
    database = Picky(bad, partial=partial, lies=None if lies is None else random.Random(lies))
    sorting = Sorting(database)
    every = {piece for item in sent for piece in by_field(item)}
    for _ in range(2):  # the second time with what was learned
        sorting.refused, sorting.points = {}, 0
        sorting.sort(batches_of(sent, size))
        assert sorting.refused.keys() == {piece for piece in every if field_of(piece)[1] in bad}
        assert sorting.points == sum(bool(set(names) & bad) for names in fields)
        assert database.stored >= {piece for piece in every if field_of(piece)[1] not in bad}


@settings(max_examples=60, deadline=None)
@given(LINES, st.integers(30, 200))
def test_what_is_too_large_is_sent_in_smaller_parts(fields: list[list[str]], most: int) -> None:
    sent = [line(number, names) for number, names in enumerate(fields)]
    database = Picky(set(), most)
    sorting = Sorting(database)
    sorting.sort(batches_of(sent, 3))

    assert database.stored >= {piece for item in sent for piece in by_field(item)}
    assert not sorting.refused


def test_a_single_field_that_is_too_large_is_set_aside() -> None:
    sorting = Sorting(Picky(set(), 60))
    large = f'm,charger=c text="{"x" * 100}" 1'
    sorting.sort([Batch(1, (large, "m,charger=c a=1 1"))])

    assert list(sorting.refused) == [large]


def test_each_field_has_its_own_reason_also_where_the_first_one_is_named_alone() -> None:
    sorting = Sorting(Picky({"b", "d"}))
    sorting.sort(batches_of([line(number, "abcde") for number in range(100)], 10))

    assert {field_of(piece)[1]: reason for piece, reason in sorting.refused.items()} == {
        "b": "b clashes",
        "d": "d clashes",
    }


def test_fields_that_were_refused_cost_few_requests_from_then_on() -> None:
    database = Picky({"b", "d"}, partial=False)
    sorting = Sorting(database)
    sorting.sort(batches_of([line(number, "abcde") for number in range(1000)], 10))
    assert database.requests <= 20
    database.requests = 0
    sorting.sort(batches_of([line(number, "abcde") for number in range(1000, 2000)], 10))

    assert len(sorting.refused) == 4000
    assert database.requests <= 5


def test_a_thousand_fields_that_were_refused_are_not_each_tried_each_time() -> None:
    names = [f"f{number}" for number in range(1000)]
    database = Picky(set(names), partial=False)
    sorting = Sorting(database)
    sorting.sort([Batch(1, (line(1, names), line(1, "a")))])
    database.requests = 0
    sorting.sort([Batch(2, (line(2, names), line(2, "a")))])
    assert database.requests <= 25
    database.bad = set()
    sorting.refused = {}
    sorting.sort([Batch(3, (line(3, names), line(3, "a")))])

    assert not sorting.refused, "a field that is taken again is trusted again"


def test_one_variable_does_not_stand_for_all_in_the_narrow_layout() -> None:
    class Full(Picky):
        def is_bad(self, line: str) -> bool:
            return "variable=new" in line

    database = Full(set(), partial=False)
    sorting = Sorting(database)
    names = ("VI", "new", "AI")
    for number in range(2):
        lines = tuple(f"ccl_value,charger=c,variable={name} value=1 {number}" for name in names)
        sorting.sort([Batch(number + 1, lines)])

    assert {piece.split(" ")[0] for piece in sorting.refused} == {"ccl_value,charger=c,variable=new"}
    assert len(database.stored) == 2 * 2 + 1


def test_batches_that_are_too_old_cost_a_few_requests_each() -> None:
    fields = [f"V{number}" for number in range(100)]

    def reading(number: int) -> tuple[str, ...]:
        return line(number, fields), line(number, "ab", "n,charger=c")

    database = Picky(set(), partial=False)
    database.oldest = 1000
    sorting = Sorting(database)
    sorting.newest(reading(2000))
    sorting.sort([Batch(number + 1, reading(number)) for number in range(100)])

    assert database.requests < 2.5 * 100
    assert sorting.refused.keys() == {item for number in range(100) for item in reading(number)}
    assert sorting.points == 200


def test_one_bad_value_in_an_older_batch_does_not_cost_the_others() -> None:
    class Strict(Picky):
        def is_bad(self, line: str) -> bool:
            return "b=7" in line

    database = Strict(set(), partial=False)
    sorting = Sorting(database)
    sorting.newest([line(100, "abc"), line(100, "ab", "n,charger=c")])
    sorting.sort(
        [Batch(number + 1, (line(number, "abc"), line(number, "ac", "n,charger=c"))) for number in range(9)]
    )

    assert list(sorting.refused) == [line(7, "abc")], "as the newest line like it is taken, it goes whole"
    assert len(database.stored) == 9 * 5 - 3 + 5 + 1


def test_nothing_is_set_aside_without_a_newest_reading_that_is_taken() -> None:
    database = Picky({"a", "b"})
    bisection = Bisection()
    bisection.passed([Batch(1, (line(1, "ab"),))])
    bisection.add([Batch(1, (line(1, "ab"),))])
    while bisection.request():
        bisection.answered(database.write(bisection.request()))

    assert not bisection.has_to_confirm
    assert not bisection.is_idle
    assert not bisection.settled()


def test_what_was_refused_before_anything_was_accepted_is_sent_once_more() -> None:
    database = Picky({"a"}, partial=False)
    bisection = Bisection()
    reading = Batch(1, tuple(line(1, "ab", f"m,charger=c,n={number}") for number in range(4)))
    bisection.passed([reading])
    bisection.add([reading])
    while not database.stored:
        bisection.answered(database.write(bisection.request()))
    database.bad = set()
    while bisection.request():
        bisection.answered(database.write(bisection.request()))

    assert bisection.settled() == [(reading, [], 0)]
    assert database.stored == {piece for item in reading.lines for piece in by_field(item)}


def test_a_finished_charge_is_no_reading_that_is_taken() -> None:
    bisection = Bisection()
    charge = Batch(1, ("ccl_finished_charge,charger=c,plug=p energy_joules=1 1",))
    bisection.passed([charge])
    bisection.accepted([charge], are_newest=True)

    assert not bisection.witness
