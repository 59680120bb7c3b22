"""Work on many items at once."""

from itertools import count
from threading import Barrier
from threading import enumerate as enumerate_threads

import pytest

from ccl_exporter.diagnostics.in_parallel import in_parallel


def test_as_many_items_as_allowed_are_under_way_at_once() -> None:
    together = Barrier(4, timeout=10)

    assert sorted(in_parallel(lambda item: item + 0 * together.wait(), range(8), 4)) == list(range(8))


def test_items_are_taken_one_by_one_until_no_result_is_wanted() -> None:
    taken = count()
    results = in_parallel(lambda item: item, taken, 1)
    assert next(results) == 0
    results.close()
    for thread in enumerate_threads():
        if thread.name == "in parallel":
            thread.join(10)
            assert not thread.is_alive()


def test_an_error_of_the_work_is_raised_where_the_results_are_awaited() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_parallel(lambda item: 1 // item, [1, 0, 1], 2))
