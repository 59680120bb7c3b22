"""The gate before an energy register is shown: a glitch never becomes a bill.

Prometheus takes a register that falls for a reset and counts its whole value again.
So a reading that falls to zero, rolls back, or grows faster than the plug can deliver is held back,
until it has stayed there long enough to be the truth.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from ccl_exporter.powerstudio.snapshot import ChargeRecord, Snapshot
from ccl_exporter.station.values import Reading

Reason = Literal["zero", "rollback", "jump"]
REASONS: tuple[Reason, ...] = ("zero", "rollback", "jump")

SETTLE_SECONDS = 60.0
SETTLE_READINGS = 4
"""A strange register is believed once it has stayed for both this long and this many readings."""

MOST_WATTS = 1e6
"""No register grows faster, whatever belongs to it."""

_VOLTS = 264.0  # the highest voltage of a supply of 240 V (EN 50160: 10 % above)
_AMPERES = 63.0  # the largest socket of IEC 62196, for a plug that does not tell its own
_SLACK = 1.25
_STEP = 72_000.0  # joules: meters count in tens of watt-hours, and two steps may fall between two readings


@dataclass(frozen=True, slots=True)
class RegisterLevel:
    """The level at which a register is believed to be, as it is stored: joules, or var or voltampere seconds.

    `at` is the time of the read and `clock` that of the device's own clock, in Unix seconds: the latter counts
    where it runs faster, after a break of the connection or in a simulation. `falls` are the Unix seconds of the
    register's falls within the last 24 hours. `is_partial` says that it may fall, and stays so.
    """

    value: float
    at: float
    clock: float | None = None
    falls: tuple[float, ...] = ()
    is_partial: bool = False

    def seconds_since(self, before: "RegisterLevel") -> float:
        """The seconds by the clock that ran faster; never negative."""
        own = 0.0 if self.clock is None or before.clock is None else self.clock - before.clock
        return max(self.at - before.at, own, 0.0)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A strange level that waits to be believed."""

    level: RegisterLevel
    since: float
    readings: int


class RegisterFilter:
    """Holds back registers that cannot be right, for one charger; one caller at a time."""

    def __init__(
        self, levels: Mapping[str, RegisterLevel] = MappingProxyType({}), most_watts: float = MOST_WATTS
    ) -> None:
        self._believed: dict[str, RegisterLevel] = dict(levels)
        self._most_watts = most_watts
        self._waiting: dict[str, _Candidate] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._doubted: frozenset[str] = frozenset()

    @property
    def levels(self) -> Mapping[str, RegisterLevel]:
        """The level of each register by full variable id, of chargeInfo's copy by `chargeInfo PLUG`; to be stored."""
        return dict(self._believed)

    @property
    def needs_second_read(self) -> bool:
        """Whether the last read brought a first value that only another read can confirm."""
        return False

    def apply(self, snapshot: Snapshot, now: float) -> Snapshot:
        """The snapshot without the values that are held back, and with the counts so far."""
        if not snapshot.up:
            return replace(snapshot, rejected=dict(self._counts))
        reading = Reading(snapshot)
        watts, reported = _watts(reading), _reported_registers(reading)
        # A register whose unit chargeInfo contradicted is not believed because chargeInfo is silent for once.
        self._doubted = self._doubted - reading.register_checks.keys() | reading.unit_conflicts
        held = set(self._doubted - reading.unit_conflicts)
        for name, understood in reading.registers():
            for counted in _counted(name):
                self._counts.setdefault(counted, 0)
            if name in held:
                continue
            clock = reading.number(f"{understood.device}.VDTTM", "timestamp")
            level = RegisterLevel(understood.value, snapshot.taken, clock)
            reason_now = self._judge(name, level, watts.get(name), reported.get(name, 0.0))
            if reason_now is not None:
                self._counts[name, reason_now] += 1
                held.add(name)
        values = {name: value for name, value in snapshot.values.items() if name not in held}
        charges = {key: self._apply_to_charge(charge, reading, watts) for key, charge in snapshot.charges.items()}
        return replace(snapshot, values=values, charges=charges, rejected=dict(self._counts))

    def _apply_to_charge(self, charge: ChargeRecord, reading: Reading, watts: Mapping[str, float]) -> ChargeRecord:
        """A charge without its meter's energy if that cannot be right: it stands for a register not listed."""
        if charge.meter_watt_hours is None:
            return charge
        clock = reading.number(f"{reading.owner(charge.name)}.VDTTM", "timestamp")
        level = RegisterLevel(charge.meter_watt_hours * 3600, reading.snapshot.taken, clock)
        strange = self._judge(f"chargeInfo {charge.name}", level, watts.get(f"{charge.name}.AE"), 0.0)
        return charge if strange is None else replace(charge, meter_watt_hours=None)

    def _judge(self, name: str, level: RegisterLevel, watts: float | None, reported: float) -> Reason | None:
        """Why a reading is to be held back, or None; `told` is what chargeInfo says of the register."""
        before = self._believed.get(name)
        reason = _strange(before, level, watts)
        if before is None and level.value == 0 and reported > 0:
            reason = "zero"
        if reason is None:
            self._believed[name] = level
            self._waiting.pop(name, None)
            return None
        candidate = self._waiting.get(name)
        if candidate is None or _strange(candidate.level, level, watts) is not None:
            self._waiting[name] = _Candidate(level, level.at, 1)
            return reason
        candidate = _Candidate(level, candidate.since, candidate.readings + 1)
        self._waiting[name] = candidate
        if candidate.readings < SETTLE_READINGS or level.at - candidate.since < SETTLE_SECONDS:
            return reason
        self._believed[name] = level
        del self._waiting[name]
        return None


@lru_cache(maxsize=10_000)
def _counted(name: str) -> tuple[tuple[str, str], ...]:
    """What is counted of a register, by id and reason; chargers of one make share it."""
    return tuple((name, reason) for reason in REASONS)


def _strange(before: RegisterLevel | None, level: RegisterLevel, watts: float | None) -> Reason | None:
    """What is wrong with a level after another one; nothing with the very first."""
    if before is None:
        return None
    if level.value < before.value:
        return "zero" if level.value == 0 else "rollback"
    if watts is not None and level.value - before.value > watts * level.seconds_since(before) * _SLACK + _STEP:
        return "jump"
    return None


def _reported_registers(reading: Reading) -> Mapping[str, float]:
    """What chargeInfo says of the registers of plugs and their meters, in watt-hours by variable id."""
    meters = {plug.name: plug.meter for plug in reading.snapshot.inventory.plugs}
    return {
        f"{device}.AE": charge.meter_watt_hours or 0.0
        for charge in reading.snapshot.charges.values()
        for device in (charge.name, meters.get(charge.name))
    }


def _watts(reading: Reading) -> Mapping[str, float]:
    """The most power that can flow through a register, by variable id, for those that belong to a plug."""
    found: dict[str, float] = {}
    for plug in reading.snapshot.inventory.plugs:
        phases = 3 if any(f"{plug.meter}.AI{phase}" in reading.listed for phase in "123") else 1
        watts = (plug.supported_amperes or _AMPERES) * _VOLTS * phases
        for device in (plug.name, plug.meter):
            found.update({f"{device}.AE{phase}": watts for phase in ("", "1", "2", "3")})
    return found
