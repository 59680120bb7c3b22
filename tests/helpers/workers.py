"""Workers of tests: under a supervisor for as long as a test needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from ccl_exporter.exporter.poll_loop import PollLoop
from ccl_exporter.workers import Pool, Supervisor, Worker


@contextmanager
def supervised(*members: Worker | Pool) -> Iterator[Supervisor]:
    """Workers and pools that run."""
    supervisor = Supervisor()
    supervisor.add(*members)
    try:
        yield supervisor
    finally:
        supervisor.stop()
        for member in members:
            member.join(monotonic() + 10)


@contextmanager
def polling(loop: PollLoop) -> Iterator[PollLoop]:
    """A poll loop that runs, with its output."""
    supervisor = Supervisor()
    supervisor.add(*loop.members)
    try:
        yield loop
    finally:
        loop.stop()
        loop.wait(monotonic() + 10)
        for member in loop.members:
            member.join(monotonic() + 10)
