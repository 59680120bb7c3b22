"""What a simulated device is made of: variables, their values, and identifiers of the engine's shape."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal
from uuid import UUID

# An engine counts these identifiers' time in tenths of microseconds since 1582, as RFC 4122 does.
_GREGORIAN_OFFSET = 0x01B21DD213814000


@dataclass(frozen=True)
class SimulatedDate:
    """A date value, in Unix seconds; how it is written depends on the document (protocol 5)."""

    unix: float


Value = float | str | SimulatedDate | None
"""A number in the scaled unit, a text, a date, or `None` for "not available" (protocol 3)."""


@dataclass(frozen=True)
class SimulatedVariable:
    """One variable as varInfo describes it, units in the engine's own codes (protocol 4).

    `default` is the value of a variable that no physics drives.
    """

    name: str
    title: str
    units: str | None = None
    factor: int = 0
    decimals: int = 0
    kind: Literal["number", "text", "date"] = "number"
    has_value: bool = True
    forced: bool = False
    sample_mode: str = "last"
    default: Value = 0.0


Reader = Callable[[float], Mapping[str, Value]]
"""Values of a device's living variables, by short name, at a time in Unix seconds."""


@dataclass(frozen=True, eq=False)
class SimulatedDevice:
    """One device of the engine's inventory (protocol 2.1, deviceInfo)."""

    name: str
    type: str
    type_description: str
    variables: tuple[SimulatedVariable, ...]
    read: Reader
    serial: str | None = None
    modules: tuple[tuple[str, str], ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, SimulatedVariable]:
        """Its variables by short name."""
        return {variable.name: variable for variable in self.variables}

    def living(self, now: float) -> dict[str, Value]:
        """The values at `now` (Unix seconds), by short name, of the variables that do not have their default."""
        common: dict[str, Value] = {
            "NAME": self.name,
            "DESCRIPTION": "",
            "VDTTM": SimulatedDate(now),
            "STATUS": 1.0,
        }
        return {**common, **self.read(now)}

    def values(self, now: float) -> dict[str, Value]:
        """Every variable's value at `now` (Unix seconds), by short name, in the model's order."""
        living = self.living(now)
        return {variable.name: living.get(variable.name, variable.default) for variable in self.variables}


@cache
def _tables() -> dict[str, dict[str, dict[str, Any]]]:
    return tomllib.loads(files(__package__).joinpath("devices.toml").read_text(encoding="utf-8"))


def variables(table: str, *plugs: str) -> tuple[SimulatedVariable, ...]:
    """The variables of a table of `devices.toml`, then those of its `plugs`, then those of every device."""
    tables = _tables()
    rows = dict(tables[table])
    for plug in plugs:
        rows |= {f"{plug}.{name}": row for name, row in tables["plug"].items()}
    return tuple(
        SimulatedVariable(name, **(row | {"default": None} if row.get("default") == "-" else row))
        for name, row in (rows | tables["common"]).items()
    )


def random_guid(seed: int | str, purpose: str) -> str:
    """A GUID that is the same for the same seed and purpose, so that runs can be compared."""
    return str(UUID(int=random.Random(f"{seed}/{purpose}").getrandbits(128))).upper()


def time_guid(unix: float, tail: str) -> str:
    """A time-based GUID of the shape an engine makes at boot and for each charge (protocol 12).

    `tail` is the last eight hexadecimal digits.
    """
    ticks = int(unix * 10_000_000) + _GREGORIAN_OFFSET
    low, mid, high = ticks & 0xFFFFFFFF, (ticks >> 32) & 0xFFFF, (ticks >> 48) & 0x0FFF | 0x1000
    return f"{low:08X}-{mid:04X}-{high:04X}-{mid:04X}-{high:04X}{tail}"
