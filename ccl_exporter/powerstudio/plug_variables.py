"""The variables of a plug and of the devices that serve it (protocol 9), by their vendor names."""

from collections.abc import Sequence
from dataclasses import dataclass

PHASES = ("1", "2", "3")
"""What stands behind a variable's name for one phase of a meter."""


@dataclass(frozen=True, slots=True)
class PlugVariable:
    """A variable of a plug and what follows from a change of it.

    `core` says that the core metrics need it. A change of it tells that a session began or ended (`session`),
    that the session went on (`progress`), or that plugState.xml changed (`plug`).
    """

    name: str
    core: bool = False
    session: bool = False
    progress: bool = False
    plug: bool = False


OWN = (
    PlugVariable("STATE", core=True, session=True, plug=True),
    PlugVariable("CC", core=True, session=True, plug=True),
    PlugVariable("LOCK", core=True, plug=True),
    PlugVariable("ERROR", core=True, plug=True),
    PlugVariable("ENABLE", core=True),
    PlugVariable("CURRENT_REDUCTION", core=True),
    PlugVariable("AE", core=True, progress=True),
    PlugVariable("API", core=True),
    PlugVariable("AI", core=True),
    PlugVariable("VI", core=True),
    PlugVariable("STOPPED", session=True),
    PlugVariable("CHARGE", session=True),
    PlugVariable("REQUESTDATE", session=True),
    PlugVariable("BEGINDATE", session=True),
    PlugVariable("ENDDATE", session=True),
    PlugVariable("AEP", progress=True),
)
"""Of the plug itself."""

VEHICLE = ("OUT_OF_SERVICE", "PREDUCTION")
VEHICLE_RARELY = ("INTENSITY",)
"""Of the device that talks to the vehicle; the last ones hardly ever change."""

METER = ("AE", "API", "AI", "VI")
"""Of the meter."""

ENGINE = ("STATE", "ERROR")
BOARD = ("TCI",)
BOOT = "RUNTIME"
"""Of the whole station; when it was started is told by board or engine, and hardly ever changes."""


def _names(rows: Sequence[PlugVariable], what: str) -> tuple[str, ...]:
    return tuple(row.name for row in rows if getattr(row, what))


CORE = _names(OWN, "core")
SESSION_SIGNS = _names(OWN, "session")
PROGRESS_SIGNS = _names(OWN, "progress")
PLUG_SIGNS = _names(OWN, "plug")

CHARGING = 8.0
"""The plug state in which energy flows (protocol 9.1): chargeInfo changes with each read then."""
