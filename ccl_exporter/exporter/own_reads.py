"""Reads that nothing asked for: of inventories, to confirm a first value, of chargers that nothing else reads.

Like all reads they go through the governors, and their sessions are recorded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.poll_loop import LONGEST_READ, PollLoop, Source
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.output import ChargerReading
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.settings import MODULES, Module
from ccl_exporter.workers import Worker

CONFIRM_AFTER = 2.0
"""Seconds after a first value until the read that confirms it."""

DEFAULT_FALLBACK = 90.0
"""Seconds after which the only configured charger is read if nothing else reads it."""

_CORE: Sequence[Module] = ("core",)
_EVERY = 1.0  # seconds between two looks at which chargers are due


class NoOutput:
    """An output that writes nothing, for a loop that only has chargers read."""

    interval = _EVERY
    modules: Sequence[Module] = ()
    max_age = _EVERY
    workers: Sequence[Worker] = ()

    def __init__(self, name: str) -> None:
        self.name = name

    def is_ready(self) -> bool:
        return True

    def accept(self, reading: ChargerReading) -> None: ...

    def after_round(self) -> None: ...

    def missed(self, readings: int) -> None: ...

    def samples(self) -> Iterator[Sample]:
        return iter(())

    def stop(self) -> None: ...

    def close(self, deadline: float) -> None: ...


def unconfirmed(chargers: Sequence[Charger]) -> list[Charger]:
    """The chargers of which a first value waits to be confirmed by now."""
    return [charger for charger in chargers if charger.needs_second_read and charger.idle >= CONFIRM_AFTER]


def unlearned(chargers: Sequence[Charger], is_alone: bool) -> list[Charger]:
    """The chargers whose inventory is not complete; of those that nothing has read only one that `is_alone`."""
    return [charger for charger in chargers if charger.has_more_to_learn or (is_alone and charger.is_unread)]


def unread(chargers: Sequence[Charger], interval: float) -> list[Charger]:
    """The chargers that nothing has read for `interval` seconds; none if that is 0."""
    return [charger for charger in chargers if 0 < interval <= charger.idle]


def fallback_interval(configured: float | None, chargers: int) -> float:
    """What is configured, else the default for so many chargers."""
    if configured is not None:
        return configured
    return DEFAULT_FALLBACK if chargers == 1 else 0.0


def confirm_loop(source: Source) -> PollLoop:
    """Reads `unconfirmed` chargers again, as they were read last."""
    return _loop(
        "confirm",
        source,
        lambda: unconfirmed(source.chargers()),
        lambda charger: MODULES if charger.was_read_whole else _CORE,
    )


def fallback_loop(source: Source, interval: Callable[[], float]) -> PollLoop:
    """Reads the core variables of `unread` chargers."""
    return _loop("poll", source, lambda: unread(source.chargers(), interval()), lambda charger: _CORE)


def inventory_loop(source: Source, is_alone: Callable[[], bool]) -> PollLoop:
    """Reads the inventories of `unlearned` chargers: what their first read had no time for, or all of it."""

    def read(charger: Charger, _: float, __: Sequence[Module], oldest: float) -> tuple[Snapshot, list[Sample]]:
        if charger.has_more_to_learn:
            return charger.learn(), []
        return source.read(charger, LONGEST_READ, MODULES, oldest)

    due = Source(lambda: unlearned(source.chargers(), is_alone()), read)
    return PollLoop(NoOutput("descriptions"), due)


def _loop(
    name: str,
    source: Source,
    due: Callable[[], list[Charger]],
    modules: Callable[[Charger], Sequence[Module]],
) -> PollLoop:
    def read(charger: Charger, _: float, __: Sequence[Module], oldest: float) -> tuple[Snapshot, list[Sample]]:
        return source.read(charger, LONGEST_READ, modules(charger), oldest)

    return PollLoop(NoOutput(name), replace(source, chargers=due, read=read))
