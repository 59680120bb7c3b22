"""The sender of a queue on a virtual clock: whatever is answered, no batch blocks the others and none is lost."""

import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import count, pairwise
from math import inf
from pathlib import Path

import pytest
from helpers.support import Clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccl_exporter.clock import Clock as ExporterClock
from ccl_exporter.outputs.influxdb.client import Accepted, Outcome, Rejected, RequestTooLarge, RetryLater
from ccl_exporter.outputs.influxdb.line_protocol import by_field
from ccl_exporter.outputs.influxdb.queue_sender import LONGEST_REST, QueueSender
from ccl_exporter.outputs.influxdb.spool import Spool

HOUR = 3600.0
AWAY = RetryLater("no connection")
ERROR = RetryLater("it answers 500: panic")


class Database:
    """A database in memory: takes a request whole or not at all, unless `partial`; counts what it was asked."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.answer: Callable[[str], Outcome] = lambda line: Accepted()
        """What a line alone would be answered."""
        self.is_away = False
        self.partial = False
        self.hangs = ""
        self.stored: list[str] = []
        self.times: list[float] = []
        self.arrivals: list[float] = []
        self.checks = 0

    def check(self) -> Outcome:
        self.checks += 1
        return AWAY if self.is_away else Accepted()

    def advice(self) -> str:
        return ""

    def write(self, lines: Sequence[str], most_seconds: float = inf) -> Outcome:
        self.times.append(self.clock.at)
        if self.is_away:
            return AWAY
        if self.hangs and any(self.hangs in line for line in lines):
            self.clock.at += min(most_seconds, 120.0)
            return RetryLater("no complete answer in time")
        answers = {line: self.answer(line) for line in lines}
        good = [line for line, answer in answers.items() if isinstance(answer, Accepted)]
        bad = [answer for answer in answers.values() if not isinstance(answer, Accepted)]
        if not bad:
            self.arrivals.append(self.clock.at)
        if not bad or (self.partial and isinstance(bad[0], Rejected)):
            self.stored += good
        if not bad:
            return Accepted()
        if self.partial and isinstance(bad[0], Rejected):
            return Rejected(bad[0].reason, len(bad))
        return bad[0]


class Pushing:
    """A queue, its sender and a database; a reading of some chargers comes every 15 s while it runs, if wanted."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock(0.0)
        self.path = path
        both = ExporterClock(lambda: 1_790_000_000.0 + self.clock.at, self.clock)
        self.spool = Spool(path, 2**30, 1e9, both)
        self.spool.open()
        self.database = Database(self.clock)
        self.sender = QueueSender("db", "http://db", self.spool, self.database, both)
        self.put: list[str] = []

    def reading(self, *words: str) -> None:
        """Store a batch of three lines, one with each word at least."""
        number = len(self.put)
        named = [*words, "a", "a", "a"][:3]
        lines = [f"m,c={word} x={number},y={number} {number + part}" for part, word in enumerate(named)]
        assert self.spool.put(lines, self.clock.at + 1_790_000_000.0)
        self.put += lines

    def run(self, seconds: float, each: float | None = None) -> None:
        """Let virtual time pass; a step that asks for no pause takes a millisecond."""
        end, reading_at = self.clock.at + seconds, self.clock.at + (each or 0.0)
        while self.clock.at < end:
            pause = max(self.sender.step(self.clock.at), 0.001)
            if each is not None and self.clock.at + pause >= reading_at:
                self.reading()
                self.clock.at, reading_at = max(self.clock.at, reading_at), reading_at + each
            else:
                self.clock.at += pause

    def stored(self) -> list[str]:
        """The lines that arrived whole, or field by field, in the order of their last field."""
        line_of = {piece: line for line in self.put for piece in by_field(line)}
        left = {line: set(by_field(line)) for line in self.put}
        whole: dict[str, None] = {}
        for sent in self.database.stored:
            for piece in by_field(sent):
                line = line_of[piece]
                left[line].discard(piece)
                if not left[line]:
                    whole.setdefault(line)
        return list(whole)

    def refused(self) -> list[str]:
        with closing(sqlite3.connect(self.path)) as db:
            return [line for (line,) in db.execute("SELECT line FROM refused ORDER BY id")]

    def with_word(self, word: str) -> list[str]:
        return [line for line in self.put if f"c={word} " in line]

    def pieces(self, word: str) -> list[str]:
        return [piece for line in self.with_word(word) for piece in by_field(line)]


_numbers = count()


@pytest.fixture
def pushing(tmp_path: Path) -> Iterator[Pushing]:
    found = Pushing(tmp_path / "spool.db")
    yield found
    found.spool.close()


def refuses(word: str, answer: Outcome) -> Callable[[str], Outcome]:
    return lambda line: answer if f"c={word} " in line else Accepted()


def hostile(line: str) -> Outcome:
    return BAD if "c=bad " in line else ERROR if "c=poison " in line else Accepted()


WHOLE = ("bad", "bad", "bad")
BAD = Rejected("it answers 422: no such thing")


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize("bad", [1, 3])
def test_what_is_behind_a_batch_that_is_refused_whole_arrives_and_the_batch_is_set_aside(
    bad: int, partial: bool, pushing: Pushing
) -> None:
    pushing.database.answer, pushing.database.partial = refuses("bad", BAD), partial
    for _ in range(bad):
        pushing.reading(*WHOLE)
    for _ in range(2):
        pushing.reading()
    pushing.run(60)

    counts = pushing.spool.counts
    assert sorted(pushing.stored()) == sorted(pushing.with_word("a"))
    assert (counts.points, counts.sent, counts.rejected, counts.dropped) == (0, 6, 3 * bad, 0)
    assert sorted(pushing.refused()) == sorted(pushing.pieces("bad"))
    assert pushing.sender.refusals > 0


def test_a_bad_batch_that_comes_while_others_are_accepted_is_set_aside_once_the_next_one_was_accepted(
    pushing: Pushing,
) -> None:
    pushing.database.answer = refuses("bad", BAD)
    pushing.reading()
    pushing.run(60)
    pushing.reading(*WHOLE)
    pushing.run(HOUR)
    assert (pushing.spool.counts.points, pushing.spool.counts.rejected) == (3, 0), "perhaps it refuses everything"
    pushing.reading()
    pushing.run(LONGEST_REST)

    assert (pushing.spool.counts.points, pushing.spool.counts.rejected) == (0, 3)
    assert sorted(pushing.stored()) == sorted(pushing.with_word("a"))


def test_a_thousand_bad_batches_do_not_keep_the_good_ones_for_long(pushing: Pushing) -> None:
    pushing.database.answer = refuses("bad", BAD)
    for _ in range(1000):
        pushing.reading(*WHOLE)
    for _ in range(10):
        pushing.reading()
    pushing.run(HOUR / 4)

    assert sorted(pushing.stored()) == sorted(pushing.with_word("a"))
    assert (pushing.spool.counts.points, pushing.spool.counts.rejected) == (0, 3000)


def test_a_database_that_refuses_everything_costs_nothing_and_is_not_stormed(
    pushing: Pushing, caplog: pytest.LogCaptureFixture
) -> None:
    pushing.database.answer = lambda _: Rejected("it answers 400: no gzip, please")
    for _ in range(20):
        pushing.reading()
    pushing.run(HOUR)
    assert len(pushing.put) == pushing.spool.counts.points
    assert len(pushing.database.times) < HOUR / 30 * (20 + 30) * 1.5
    assert len([record for record in caplog.records if "it refuses everything" in record.getMessage()]) == 1
    pushing.database.answer = lambda _: Accepted()
    pushing.run(2 * LONGEST_REST)

    assert sorted(pushing.stored()) == sorted(pushing.put)
    assert (pushing.spool.counts.points, pushing.spool.counts.rejected) == (0, 0)


def test_a_database_that_begins_to_refuse_everything_costs_nothing(pushing: Pushing) -> None:
    pushing.run(300, each=15)
    pushing.database.answer = lambda _: Rejected("it answers 422: too many databases")
    pushing.run(HOUR, each=15)
    assert pushing.spool.counts.rejected == 0
    pushing.database.answer = lambda _: Accepted()
    pushing.run(2 * LONGEST_REST)

    assert sorted(pushing.stored()) == sorted(pushing.put)
    assert pushing.spool.counts.rejected == 0


def test_where_each_batch_has_a_bad_line_among_good_ones_the_good_ones_arrive(pushing: Pushing) -> None:
    pushing.database.answer = refuses("bad", BAD)
    pushing.reading(*WHOLE)
    for _ in range(200):
        pushing.reading("bad")
    pushing.run(HOUR / 6)

    assert sorted(pushing.stored()) == sorted(pushing.with_word("a"))
    assert (pushing.spool.counts.points, pushing.spool.counts.rejected) == (0, 203)


@pytest.mark.parametrize("words", [("poison",), ("a", "poison"), ("poison", "poison", "poison")])
@pytest.mark.parametrize("behind", [1, 300])
def test_a_batch_that_a_database_always_answers_with_an_error_blocks_nothing(
    words: Sequence[str], behind: int, pushing: Pushing
) -> None:
    pushing.database.answer = refuses("poison", ERROR)
    pushing.run(60, each=15)
    pushing.reading(*words)
    for _ in range(behind):
        pushing.reading()
    pushing.run(HOUR / 4)

    assert sorted(pushing.stored()) == sorted(pushing.with_word("a"))
    counts = pushing.spool.counts
    assert (counts.points, counts.rejected, counts.dropped) == (0, words.count("poison"), 0)
    assert {piece.split(" ")[0] for piece in pushing.refused()} == {"m,c=poison"}


def test_poison_in_many_batches_blocks_nothing(pushing: Pushing) -> None:
    pushing.database.answer = refuses("poison", ERROR)
    for number in range(100):
        pushing.reading(*(["poison"] if number % 10 == 0 else []))
    pushing.run(2 * HOUR, each=15)

    assert set(pushing.with_word("a")[:280]) <= set(pushing.stored())
    assert pushing.spool.counts.rejected == 10


def test_a_batch_that_is_refused_and_has_a_line_that_breaks_the_database_blocks_nothing(pushing: Pushing) -> None:
    pushing.database.answer = lambda line: (
        BAD if "c=bad " in line else ERROR if "c=poison " in line else Accepted()
    )
    pushing.reading("bad", "bad", "poison")
    pushing.reading("poison", "bad", "bad")
    pushing.reading()
    pushing.run(HOUR / 4)

    assert sorted(pushing.stored()) == sorted(pushing.with_word("a"))
    assert (pushing.spool.counts.points, pushing.spool.counts.rejected) == (0, 6)


def test_a_line_that_makes_the_database_hang_holds_up_new_readings_for_one_request_at_most(
    pushing: Pushing,
) -> None:
    pushing.run(60, each=15)
    pushing.database.hangs = "c=slow "
    pushing.reading("slow")
    began = pushing.clock.at
    pushing.run(HOUR, each=15)
    # The first tries are those of a database that may be away.
    late = [later - sooner for sooner, later in pairwise(pushing.database.arrivals) if sooner > began + 600]

    assert max(late) <= 30 + 10
    assert set(pushing.refused()) == set(pushing.pieces("slow"))
    assert pushing.spool.counts.points <= 3


def test_an_outage_changes_no_order_and_costs_nothing(pushing: Pushing) -> None:
    pushing.run(300, each=15)
    pushing.database.is_away = True
    pushing.run(5 * HOUR, each=15)
    pushing.database.is_away = False
    pushing.run(2 * LONGEST_REST)

    assert pushing.database.stored == pushing.put
    # A pause ends with a step, which takes a moment of this clock too.
    assert max(later - sooner for sooner, later in pairwise(pushing.database.times)) <= LONGEST_REST + 1


def test_errors_that_a_database_answers_to_everything_are_no_poison(pushing: Pushing) -> None:
    pushing.run(300, each=15)
    pushing.database.answer = lambda _: ERROR  # but not an empty request: as where its disk is full
    pushing.run(5 * HOUR, each=15)
    pushing.database.answer = lambda _: Accepted()
    pushing.run(2 * LONGEST_REST)

    assert sorted(pushing.stored()) == sorted(pushing.put)
    assert pushing.spool.counts.rejected == 0


def test_it_waits_as_long_as_the_database_wants(pushing: Pushing) -> None:
    pushing.database.answer = lambda _: RetryLater("it answers 429", 900.0)
    for _ in range(5):
        pushing.reading()
    pushing.run(5 * HOUR)
    assert min(later - sooner for sooner, later in pairwise(pushing.database.times)) >= 900
    assert pushing.database.checks == 1


def test_what_is_too_large_is_sent_in_parts(pushing: Pushing) -> None:
    write = pushing.database.write
    pushing.database.write = lambda lines, most_seconds=inf: (  # type: ignore[method-assign] # of the fake
        RequestTooLarge("it answers 413") if len(lines) > 7 else write(lines, most_seconds)
    )
    for _ in range(40):
        pushing.reading()
    pushing.run(60)

    assert pushing.stored() == pushing.put


def stepped(pushing: Pushing, seconds: float) -> int:
    """Run as a worker does that fails and is started again; how often it failed."""
    failures, end = 0, pushing.clock.at + seconds
    while pushing.clock.at < end:
        try:
            pushing.run(end - pushing.clock.at)
        except OverflowError:
            failures += 1
            pushing.clock.at += 1.0
    return failures


def test_an_exception_loses_nothing_and_the_batch_is_sent_again(pushing: Pushing) -> None:
    chance = random.Random(1)

    def answer(line: str) -> Outcome:
        if chance.random() < 0.02:
            raise OverflowError("date value out of range")
        return Accepted()

    pushing.database.answer = answer
    for _ in range(300):
        pushing.reading()
    assert stepped(pushing, HOUR) > 0

    assert set(pushing.stored()) == set(pushing.put)
    assert (pushing.spool.counts.points, pushing.spool.counts.rejected) == (0, 0)


def test_an_exception_that_comes_with_one_batch_each_time_blocks_nothing(pushing: Pushing) -> None:
    def answer(line: str) -> Outcome:
        if "c=odd " in line:
            raise OverflowError("date value out of range")
        return Accepted()

    pushing.database.answer = answer
    pushing.reading("odd")
    for _ in range(5):
        pushing.reading()
    assert stepped(pushing, HOUR) >= 3

    assert sorted(pushing.stored()) == sorted(pushing.with_word("a"))
    assert (pushing.spool.counts.points, pushing.spool.counts.rejected) == (0, 1)


def test_a_step_is_one_request_at_most(pushing: Pushing) -> None:
    pushing.database.answer = refuses("bad", BAD)
    for number in range(50):
        pushing.reading(*(WHOLE if number % 7 == 0 else ("bad",)))
    pushing.reading()
    for _ in range(3000):
        before = len(pushing.database.times) + pushing.database.checks
        pushing.clock.at += pushing.sender.step(pushing.clock.at)
        assert len(pushing.database.times) + pushing.database.checks <= before + 1
    assert pushing.spool.counts.points == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.sampled_from(["a", "bad", "poison"]), max_size=3), min_size=1, max_size=30),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_whatever_is_bad_all_good_lines_arrive_and_only_bad_ones_are_refused(
    tmp_path: Path, batches: list[list[str]], partial: bool, seed: int
) -> None:
    """The database is away now and then."""
    pushing, chance = Pushing(tmp_path / f"{next(_numbers)}.db"), random.Random(seed)
    pushing.database.partial = partial
    pushing.database.answer = lambda line: (
        BAD if "c=bad " in line else ERROR if "c=poison " in line else Accepted()
    )
    for words in batches:
        pushing.reading(*words)
        if chance.random() < 0.3:
            pushing.database.is_away = not pushing.database.is_away
            pushing.run(chance.uniform(0, 60))
    pushing.database.is_away = False
    pushing.run(3 * HOUR, each=600)

    assert set(pushing.stored()) >= set(pushing.with_word("a")[:-3])
    assert set(pushing.refused()) == {*pushing.pieces("bad"), *pushing.pieces("poison")}
    assert pushing.spool.counts.points <= 3
    pushing.spool.close()
