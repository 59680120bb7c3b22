"""The interface of outputs: an output writes the readings that it is given, and does not read chargers itself."""

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
    """One read of a charger: its name and URL, whether it answered, the time (Unix seconds), and the samples.

    `title` and `plug_titles` (by plug name) are the configured titles.
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

    The URLs are None while not all chargers are known; until then an output removes nothing of other chargers.
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
    """The name of the output's poll loop in the log and in metrics."""

    interval: float
    modules: Sequence[Module]
    max_age: float

    @property
    def workers(self) -> Sequence[Worker]:
        """The workers of the output; its owner starts and stops them."""

    def is_ready(self) -> bool:
        """Whether readings can be accepted; asked again until they can."""

    def accept(self, reading: ChargerReading) -> None:
        """Accept a reading; called from several threads, but for one charger from one thread at a time."""

    def after_round(self) -> None:
        """Called each interval, once the reads of all chargers are queued; they need not have ended."""

    def missed(self, readings: int) -> None:
        """Count readings that were due but were not taken in time."""

    def samples(self) -> Iterator[Sample]:
        """The metrics of the output itself."""

    def stop(self) -> None:
        """Begin to end; returns at once. `close` follows."""

    def close(self, deadline: float) -> None:
        """End, at `deadline` (monotonic) at the latest."""
