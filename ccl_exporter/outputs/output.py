"""The interface of outputs: an output writes the readings it gets; it reads no charger and knows no poll loop."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ccl_exporter.metrics.families import Sample
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.settings import Module
from ccl_exporter.workers import Worker


@dataclass(frozen=True, slots=True)
class ChargerReading:
    """One read of a charger: its name and URL, whether it answered, when (Unix seconds), and what that gave.

    `title` and `plug_titles`, by the names of plugs, are what a person calls them.
    """

    charger: str
    url: str
    up: bool
    taken: float
    samples: Sequence[Sample]
    title: str = ""
    plug_titles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutputContext:
    """The environment of an output: state folder, session log, the chargers' URLs by name.

    The URLs are None while not all chargers are known; until then nothing of other chargers is removed.
    """

    state: Path
    recorder: SessionRecorder | None
    urls: Callable[[], Mapping[str, str] | None]


class Output(Protocol):
    """A destination of readings, such as a database or a broker.

    Every `interval` seconds each charger is read for it, with the samples of `modules`, from a read
    that was begun at most `max_age` seconds before.
    """

    name: str
    """What the worker that has chargers read for the output is called in the log and in metrics."""

    interval: float
    modules: Sequence[Module]
    max_age: float

    @property
    def workers(self) -> Sequence[Worker]:
        """The workers of the output; its owner starts and stops them."""

    def is_ready(self) -> bool:
        """Whether readings can be accepted; asked again until they can."""

    def accept(self, reading: ChargerReading) -> None:
        """Take a reading; called from several threads, for one charger from one at a time."""

    def after_round(self) -> None:
        """Called each interval, after every charger that is due was asked for."""

    def missed(self, readings: int) -> None:
        """Count readings that were due and not taken in time."""

    def samples(self) -> Iterator[Sample]:
        """The metrics of the output itself."""

    def stop(self) -> None:
        """Have it end; returns at once."""

    def close(self, deadline: float) -> None:
        """End, at `deadline` (monotonic) at the latest."""
