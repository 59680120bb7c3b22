"""What an alert is, and how severe it is in a life: at home, or in a fleet."""

from dataclasses import dataclass
from enum import StrEnum


class Life(StrEnum):
    """Who relies on the chargers: one household, or drivers and operators."""

    HOME = "home"
    FLEET = "fleet"


class Severity(StrEnum):
    """`critical` wants somebody to look now, `warning` today, `info` some day."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Alert:
    """An alert rule. In `summary` and `description` labels and value are as in Prometheus' templates.

    `home` and `fleet` are its severities; None leaves it out. `hold` is `for` of Prometheus.
    `why` says what the expression does not.
    """

    name: str
    expr: str
    summary: str
    description: str
    home: Severity | None
    fleet: Severity | None
    hold: str = ""
    why: str = ""

    def severity(self, life: Life) -> Severity | None:
        return self.home if life is Life.HOME else self.fleet


@dataclass(frozen=True)
class Recording:
    """A recording rule that only a fleet has."""

    name: str
    expr: str
    why: str


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated together, every `interval`."""

    name: str
    rules: tuple[Alert | Recording, ...]
    interval: str = "1m"
