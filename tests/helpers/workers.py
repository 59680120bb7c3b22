"""Workers of tests: under a supervisor for as long as a test needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from ccl_exporter.exporter.poll_loop import PollLoop
from ccl_exporter.workers import Pool, Supervisor, Worker

PATIENCE = 90.0


@contextmanager
def supervised(*members: Worker | Pool) -> Iterator[Supervisor]:
    """Workers and pools that run, and are started again where they are not."""
    supervisor = Supervisor()
    supervisor.start()
    supervisor.add(*members)
    try:
        yield supervisor
    finally:
        supervisor.stop()
        for member in members:
            member.join(monotonic() + PATIENCE)


@contextmanager
def polling(loop: PollLoop) -> Iterator[PollLoop]:
    """A poll loop that runs, with its output."""
    supervisor = Supervisor()
    supervisor.add(*loop.members)
    try:
        yield loop
    finally:
        loop.stop()
        loop.wait(monotonic() + PATIENCE)
        for member in loop.members:
            member.join(monotonic() + PATIENCE)
