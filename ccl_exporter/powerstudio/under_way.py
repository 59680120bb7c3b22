"""What an engine keeps in mind during one read, and of a document between two reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ccl_exporter.powerstudio.inventory import Inventory, Needed, owner
from ccl_exporter.powerstudio.snapshot import Value

# What shows in the values that a charge began or ended, that it went on, that a plug changed (protocol.md 9).
TURNS = ("STATE", "CC", "STOPPED", "CHARGE", "REQUESTDATE", "BEGINDATE", "ENDDATE")
PROGRESS = ("AE", "AEP")
PLUG_SIGNS = ("STATE", "CC", "LOCK", "ERROR")

Signs = tuple[Value, ...]
"""What the values show of all plugs, for telling whether anything has changed."""

Wanted = Callable[[Inventory], Needed | None]
"""Which variables of an inventory are needed; None is all of them."""


@dataclass
class Held:
    """A document kept between reads: when it was asked for, how that went, what the values showed by then."""

    asked: float = float("-inf")
    good: bool = False
    missed: bool = False
    turns: Signs | None = None
    signs: Signs | None = None


@dataclass
class UnderWay:
    """One read under way, since `began` on the schedule's clock; `over` once time or charger is gone."""

    began: float
    deadline: float
    wanted: Wanted | None = None
    values: Mapping[str, Value] = field(default_factory=dict)
    asked: frozenset[str] | None = None
    answered: frozenset[str] = frozenset()
    up: bool = False
    over: bool = False


class Rare:
    """The values that are only asked for now and then, `every` so many seconds, and kept meanwhile."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._values: Mapping[str, Value] = {}
        self._of: Inventory | None = None
        self._asked = float("-inf")

    def names(self, needed: Needed, inventory: Inventory, now: float) -> frozenset[str]:
        """What is to be asked for now; the rare ones too where they are old or the inventory is another one.

        What shows that a plug or its charge has turned is always among them.
        """
        plugs = [plug.name for plug in inventory.plugs]
        often = needed.often | {f"{plug}.{sign}" for plug in plugs for sign in TURNS + PROGRESS + PLUG_SIGNS}
        if self._of is not inventory or now - self._asked >= self._every:
            return often | needed.rarely
        return often

    def keep(self, needed: Needed, inventory: Inventory, read: UnderWay) -> None:
        """Keep what came, or add what is kept; of a device that was silent nothing is added."""
        if needed.rarely <= read.values.keys():
            self._values = {name: read.values[name] for name in needed.rarely}
            self._of, self._asked = inventory, read.began
        elif self._of is inventory:
            kept = {name: value for name, value in self._values.items() if owner(name, read.answered) is not None}
            read.values = {**kept, **read.values}
