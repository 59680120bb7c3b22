"""What an engine keeps in mind during one read, and of a document between two reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ccl_exporter.model import Inventory, Value

Signs = tuple[Value, ...]
"""What the values show of all plugs, for telling whether anything has changed."""

Wanted = Callable[[Inventory], frozenset[str]]
"""Which devices of an inventory are needed."""


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
    answered: frozenset[str] = frozenset()
    up: bool = False
    over: bool = False
