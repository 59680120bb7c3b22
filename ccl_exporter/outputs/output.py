"""What an output is. It is handed readings and writes them down; it reads no charger and knows no poll loop."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ccl_exporter.metrics.families import Sample
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.settings import Module


@dataclass(frozen=True, slots=True)
class ChargerReading:
    """One read of a charger: its name and URL, whether it answered, when (Unix seconds), and what that gave."""

    charger: str
    url: str
    up: bool
    taken: float
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class OutputContext:
    """What an output may need besides its settings: state folder, session log, the chargers' URLs by name."""

    state: Path
    recorder: SessionRecorder | None
    urls: Callable[[], Mapping[str, str]]


class Output(Protocol):
    """Something that readings are written to.

    Every `interval` seconds each charger is read for it, with the samples of `modules`, from a read
    that was begun at most `max_age` seconds before.
    """

    name: str
    """What the output is called in the log and in the names of threads."""

    interval: float
    modules: Sequence[Module]
    max_age: float

    def is_ready(self) -> bool:
        """Whether readings can be accepted; asked again until they can."""

    def accept(self, reading: ChargerReading) -> None:
        """Take a reading; called from several threads, for one charger from one at a time."""

    def after_round(self) -> None:
        """Called each interval, after every charger that is due was asked for."""

    def samples(self) -> Iterator[Sample]:
        """How the output fares."""

    def stop(self) -> None:
        """Tell it to end; returns at once."""

    def close(self, deadline: float) -> None:
        """End, at `deadline` (monotonic) at the latest."""
