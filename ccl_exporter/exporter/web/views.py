"""The data of the page: chargers as they are now, with their recorded history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ccl_exporter.exporter.recent_readings import LastRead
from ccl_exporter.exporter.web.markup import PageTime
from ccl_exporter.metrics.families import Sample
from ccl_exporter.sessions.tracker import Costs, FinishedSession

MOST_SESSIONS = 10
"""Sessions that a page shows of a charger."""


class EnergyRecord(Protocol):
    """The session log, as far as the page reads it."""

    def energy_by_day(self, charger: str, since_day: str) -> Mapping[str, Mapping[str, float]]:
        """Joules by plug and local day (`YYYY-MM-DD`), from a day on."""
        ...

    def costs(self, charger: str, since_day: str) -> Costs | None:
        """The costs of energy from a day on, and of the running session; None without a tariff."""
        ...

    def latest_sessions(self, charger: str, most: int) -> Sequence[FinishedSession]:
        """The last sessions of a charger, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class ChargerHistory:
    """The history of a charger; see `history_access`.

    `powers` are watts of each minute by plug, the last one that of now, NaN where nothing was read;
    `days` joules by plug and local day; `sessions` the last ones, newest first; `costs` None without a tariff.
    """

    powers: Mapping[str, Sequence[float]] = field(default_factory=dict)
    days: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    sessions: Sequence[FinishedSession] = ()
    costs: Costs | None = None


@dataclass(frozen=True, slots=True)
class ChargerView:
    """A charger by its name in the configuration, and its last read; None: not read yet.

    `last_up_at` is when a read last brought values, in Unix seconds.
    Titles are those of the configuration, those of plugs by their names.
    `history` is None where it must not be shown. `program` is this program as a person starts it.
    """

    name: str
    last: LastRead | None
    url: str = ""
    title: str = ""
    plug_titles: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    last_up_at: float | None = None
    history: ChargerHistory | None = None
    program: str = "ccl-exporter"

    @property
    def shown(self) -> str:
        return self.title or self.name

    def plug(self, name: str) -> str:
        """A plug as it is shown."""
        return self.plug_titles.get(name) or name


@dataclass(frozen=True, slots=True)
class PageContext:
    """Data of every page besides chargers: the time, the version, the health of the outputs."""

    time: PageTime
    version: str
    outputs: Sequence[Sample] = ()
