"""Work on many addresses at once; a terminal's Ctrl-C ends it at once, whatever is still under way."""

from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TypeVar, cast

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_parallel(work: Callable[[_Item], _Result], items: Iterable[_Item], most: int) -> Generator[_Result]:
    """The results of `work` for each item as they come, `most` items at a time; raises what `work` raises.

    Items are taken one by one, so there may be very many.
    """
    todo, taking = iter(items), Lock()
    results: SimpleQueue[tuple[bool, object]] = SimpleQueue()

    def run() -> None:
        try:
            while True:
                with taking:
                    item = next(todo)
                results.put((True, work(item)))
        except StopIteration:
            results.put((False, None))
        except Exception as error:  # noqa: BLE001 - it is raised where the results are awaited
            results.put((False, error))

    # An executor's threads are waited for at the end of the process, even after Ctrl-C.
    for _ in range(most):
        Thread(target=run, name="in parallel", daemon=True).start()
    running = most
    try:
        while running:
            is_result, result = results.get()
            if is_result:
                yield cast(_Result, result)
            elif isinstance(result, Exception):
                raise result
            else:
                running -= 1
    finally:
        todo = iter(())
