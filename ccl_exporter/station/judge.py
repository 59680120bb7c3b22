"""The judgement of a snapshot: the state of the charger as a whole, and its plugs."""

from collections.abc import Sequence
from functools import cached_property

from ccl_exporter.powerstudio.inventory import Inventory, VariableSelection, cached_per_inventory
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.catalogue import last_part
from ccl_exporter.station.plug import Plug, only_device, plugs, word, words_of_bits
from ccl_exporter.station.values import Reading, VariableValue

_BOOT = "RUNTIME"
_RARELY = (_BOOT, "INTENSITY")
"""Core variables that hardly ever change."""


class Station:
    """A snapshot of a charger, judged on first use; None is what cannot be read.

    A charger that did not answer has no plugs and no values.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    @cached_property
    def reading(self) -> Reading:
        """The values of the snapshot in base units, as far as they can be trusted."""
        return Reading(self.snapshot)

    @cached_property
    def plugs(self) -> Sequence[Plug]:
        return tuple(plugs(self.reading)) if self.snapshot.up else ()

    @cached_property
    def _engine(self) -> str | None:
        return only_device(self.reading, "engine")

    @cached_property
    def _board(self) -> str | None:
        return only_device(self.reading, "board")

    def _raw(self, device: str | None, variable: str) -> float | None:
        return self.reading.raw(f"{device}.{variable}") if device is not None else None

    def _number(self, device: str | None, variable: str, quantity: str) -> float | None:
        return self.reading.number(f"{device}.{variable}", quantity) if device is not None else None

    @property
    def state_code(self) -> float | None:
        return self._raw(self._engine, "STATE")

    @property
    def state(self) -> str | None:
        """The word of the charger's own state, which is not that of a plug (protocol 9.1)."""
        code = self.state_code
        return None if code is None else word(code, self.reading.facts.codes["station_state"])

    @property
    def fault_mask(self) -> float | None:
        return self._raw(self._engine, "ERROR")

    @property
    def faults(self) -> tuple[str, ...] | None:
        return words_of_bits(self.fault_mask, self.reading.facts.bits["station_error"])

    @property
    def celsius(self) -> float | None:
        """Temperature of the board."""
        return self._number(self._board, "TCI", "celsius")

    @property
    def booted(self) -> float | None:
        """The start of the charger in Unix seconds: RUNTIME of the board, else of the engine."""
        found = (self._number(device, _BOOT, "timestamp") for device in (self._board, self._engine))
        return next((boot for boot in found if boot is not None), None)


class _AskedReading(Reading):
    """A reading that notes which variables it is asked for."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot)
        self.asked: set[str] = set()

    def raw(self, name: str | None) -> float | None:
        self.asked.update(() if name is None else (name,))
        return super().raw(name)

    def understand(self, name: str) -> VariableValue | None:
        self.asked.add(name)
        return super().understand(name)


@cached_per_inventory
def core_variables(inventory: Inventory) -> VariableSelection | None:
    """The variables that plugs and station are judged by, with the STATUS of their devices.

    They are found by judging an empty snapshot, as the inventory alone decides which variables that asks for.
    None, which is all, without plugInfo: then only a read shows which plugs there are.
    """
    if not inventory.plugs:
        return None
    snapshot = Snapshot(0.0, 0.0, 0.0, 0, up=True, inventory=inventory)
    station = Station(snapshot)
    station.reading = reading = _AskedReading(snapshot)
    _ = station.plugs, station.state, station.faults, station.celsius, station.booted
    asked = reading.asked & reading.listed
    rarely = {name for name in asked if last_part(name) in _RARELY}
    often = asked - rarely
    for known in filter(None, map(reading.variable, asked)):
        often |= {f"{prefix}.STATUS" for prefix in known.within}
        if known.register:
            # The filter for registers uses the device's own clock too.
            often.add(f"{known.device.id}.VDTTM")
    return VariableSelection(frozenset(often & reading.listed), frozenset(rarely))
