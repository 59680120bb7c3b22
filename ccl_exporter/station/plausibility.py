"""Implausible values are rejected before they are shown; the package's README has the rules.

Prometheus takes a register that falls for a reset and counts its whole value again. So a register that falls, or
grows faster than possible, is held back until its new level has lasted or is confirmed.
A gauge is held back as long as it is a sentinel or out of range.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Literal, NamedTuple

from ccl_exporter.powerstudio.snapshot import ChargeRecord, Snapshot
from ccl_exporter.settings import DEFAULT_MAX_POWER
from ccl_exporter.station.bounds import (
    SENTINELS,
    SETTLE_READINGS,
    SETTLE_SECONDS,
    USUAL_WATTS,
    RegisterBounds,
    bounds,
)
from ccl_exporter.station.plug import IN_SESSION
from ccl_exporter.station.unit_watch import UnitWatch, is_of_catalogue
from ccl_exporter.station.values import Reading

__all__ = ["SETTLE_READINGS", "SETTLE_SECONDS", "RegisterFilter", "RegisterLevel"]

Reason = Literal["zero", "rollback", "jump", "sentinel", "range", "unit"]
REASONS: tuple[Reason, ...] = ("zero", "rollback", "jump")
"""Every register has a counter of these reasons from its first read; other counters begin when they count."""

Verdict = Reason | Literal["unconfirmed"]
"""Why a value is held back. An `unconfirmed` first value waits for further reads; it is not counted."""

MOST_FALLS = 3
FALLS_WITHIN = 86_400.0
"""A register with this number of falls within these seconds is that of a net meter."""

_SLACK = 1.25
_STEP = 72_000.0  # joules: meters count in tens of watt-hours, and two steps may fall between two reads
_BETWEEN = 60.0  # seconds that may lie between the values and the chargeInfo of one snapshot
_CONTRADICTED_SECONDS = 3600.0  # for which a level waits while another response confirms the one before
_GAP = 3600.0  # seconds without a read that are worth a line in the log
_NONE = -1.0  # engines send it for "none" (protocol 3.3)
_MOST_WATT_HOURS = 1e12
_COPY = "chargeInfo "
_NO_BOUNDS = RegisterBounds(None, (), "", plug="")


@dataclass(frozen=True, slots=True)
class RegisterLevel:
    """The believed level of a register, as it is stored: joules, or var or voltampere seconds.

    `at` is the time of the read and `clock` the VDTTM of the device, both in Unix seconds. `falls` are the Unix
    seconds of falls that may be those of a net meter; `is_partial` says, for good, that it is a net meter's.
    """

    value: float
    at: float
    clock: float | None = None
    falls: tuple[float, ...] = ()
    is_partial: bool = False

    def seconds_since(self, before: "RegisterLevel") -> float:
        """Seconds between the two reads by the clock that advanced more; never negative."""
        own = 0.0 if self.clock is None or before.clock is None else self.clock - before.clock
        return max(self.at - before.at, own, 0.0)


class _Read(NamedTuple):
    """A level with the monotonic time of its read; None if an earlier process read it."""

    level: RegisterLevel
    now: float | None

    def seconds_since(self, before: "_Read") -> float:
        """Seconds by the clock that advanced most.

        A suspended host stops its monotonic clock, and the other clocks can be set back.
        """
        monotonic = 0.0 if self.now is None or before.now is None else self.now - before.now
        return max(self.level.seconds_since(before.level), monotonic)


class _Candidate(NamedTuple):
    """A level that waits to be believed: its last read, the monotonic time of its first, the number of its reads.

    `is_contradicted` says that another response, when it was last available, confirmed the level before.
    """

    read: _Read
    since: float
    readings: int
    is_contradicted: bool


class _Claim(NamedTuple):
    """The level of a register in one read, and what it is judged by.

    `raw` is the number as sent, `is_within` whether it is in the range of its quantity, `watts` the highest
    power that can flow. `reported` is the same register in another response, in joules: chargeInfo's copy, or
    for the copy the variable. Zero neither confirms a level nor contradicts one.
    """

    name: str
    raw: float
    is_within: bool
    bounds: RegisterBounds
    read: _Read
    watts: float
    reported: float | None
    reading: Reading

    @property
    def value(self) -> float:
        return self.read.level.value

    @property
    def is_confirmed(self) -> bool:
        """Whether both responses agree; in a session energy may have flowed between them."""
        if not self.reported:
            return False
        apart = abs(self.value - self.reported)
        return apart <= _STEP or (
            apart <= _STEP + self.watts * _BETWEEN and _is_in_session(self.reading, self.bounds.plug or "")
        )

    def is_contradicted(self, before: _Read) -> bool:
        """Whether the other response confirms the level before instead of this one."""
        if not self.reported or self.is_confirmed:
            return False
        return -_STEP <= self.reported - before.level.value <= _flown(self.watts, before, self.read)


class _Register(NamedTuple):
    """A register of a read: its name, the number as sent, whether that is in its range, and what bounds it."""

    name: str
    raw: float
    is_within: bool
    bounds: RegisterBounds


class RegisterFilter:
    """Rejects implausible values of one charger; one caller at a time.

    `levels` are those that an earlier process believed.
    """

    def __init__(
        self, levels: Mapping[str, RegisterLevel] = MappingProxyType({}), most_watts: float = DEFAULT_MAX_POWER
    ) -> None:
        self._believed: dict[str, _Read] = {}
        self._partial = frozenset[str]()
        self.most_watts = most_watts
        """In watts; a register that grows faster is implausible, whatever its plug can deliver."""
        self._waiting: dict[str, _Candidate] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._powers: dict[tuple[str, ...], tuple[float, float, float]] = {}
        self._units = UnitWatch()
        self._changes: list[str] = []
        self._needs_second_read = False
        self._proven: set[str] = set()
        self.recall(levels)

    def recall(self, levels: Mapping[str, RegisterLevel]) -> None:
        """Take over the levels of an earlier process, also after the first reads.

        A level that was believed meanwhile stays if it can follow the stored one. Otherwise the stored one
        replaces it, and the new one has to last.
        """
        for name, level in levels.items():
            before, read = _Read(level, None), self._believed.get(name)
            if read is None or not self._follows(before, read):
                self._believed[name] = before
                self._waiting.pop(name, None)
            else:
                falls, is_partial = level.falls + read.level.falls, level.is_partial or read.level.is_partial
                self._believed[name] = read._replace(level=replace(read.level, falls=falls, is_partial=is_partial))
        self._partial |= {name for name, level in levels.items() if level.is_partial}

    def _follows(self, before: _Read, read: _Read, may_fall: bool = False) -> bool:
        """Whether a register may have come from one level to another, by no more than the highest power."""
        change = read.level.value - before.level.value
        if may_fall or before.level.is_partial:
            change = abs(change)
        return 0 <= change <= _flown(self.most_watts, before, read)

    @property
    def levels(self) -> Mapping[str, RegisterLevel]:
        """The level of each register by full variable id, and of chargeInfo's copy by `chargeInfo PLUG`."""
        return {name: read.level for name, read in self._believed.items()}

    @property
    def needs_second_read(self) -> bool:
        """Whether the last read brought a first value that only another read can confirm."""
        return self._needs_second_read

    def apply(self, snapshot: Snapshot, now: float) -> Snapshot:
        """The snapshot without the values that are held back, and with the counts so far.

        `now` is in monotonic seconds.
        """
        self._needs_second_read, self._changes, self._proven = False, [], set()
        if not snapshot.up:
            return replace(snapshot, rejected=dict(self._counts), partial_registers=self._partial)
        reading = self._without_wrong_copies(Reading(snapshot), now)
        snapshot = reading.snapshot
        held = self._judge_units(reading, now)
        registers = self._judge_gauges(reading, held)
        self._note_powers(reading, registers, held)
        # Zeros come last: they are believed sooner if another register shows that the device has not just started.
        for claim in sorted(self._claims(reading, registers, now), key=lambda claim: claim.value == 0):
            verdict = self._judge(claim)
            if verdict is not None:
                held[claim.name] = verdict
        if any(name.startswith(_COPY) for name in held):
            # The snapshot loses the copies that contradict these units, so nothing after this sees the conflict.
            held |= dict.fromkeys(reading.unit_conflicts, "unit")
        for name, verdict in held.items():
            if verdict != "unconfirmed" and not name.startswith(_COPY):
                self._counts[name, verdict] = self._counts.get((name, verdict), 0) + 1
        values = snapshot.values
        if held:
            values = {name: value for name, value in values.items() if name not in held}
        return replace(
            snapshot,
            values=values,
            charges={key: _without(charge, held) for key, charge in snapshot.charges.items()},
            rejected=dict(self._counts),
            partial_registers=self._partial,
            changes=tuple(self._changes),
        )

    def _continues(self, taken: float, now: float, name: str, value: float) -> bool | None:
        """Whether a register may have this value now, in base units; None if its level is not known."""
        before = self._believed.get(name)
        return None if before is None else self._follows(before, _Read(RegisterLevel(value, taken), now))

    def _without_wrong_copies(self, reading: Reading, now: float) -> Reading:
        """The reading without chargeInfo's copies that left their level while the register itself goes on.

        Such a copy looks like a wrong unit of the register.
        """
        if not reading.unit_conflicts:
            return reading
        snapshot, wrong = reading.snapshot, dict[str, Verdict]()
        continues = partial(self._continues, snapshot.taken, now)
        for plug, charge in snapshot.charges.items():
            meters = (each.meter for each in snapshot.inventory.plugs if each.name == plug)
            copy = (charge.meter_watt_hours or 0.0) * 3600
            for name in {f"{prefix}.AE" for prefix in (plug, *meters)} & reading.unit_conflicts:
                variable, raw = reading.variable(name), reading.raw(name)
                goes_on = variable and raw is not None and continues(name, variable.base(raw))
                if goes_on and continues(_COPY + plug, copy) is False:
                    wrong[_COPY + plug] = "jump"
        charges = {plug: _without(charge, wrong) for plug, charge in snapshot.charges.items()}
        return Reading(replace(snapshot, charges=charges))

    def _judge_units(self, reading: Reading, now: float) -> dict[str, Verdict]:
        """The variables to hold back because their unit is not confirmed."""
        continues = partial(self._continues, reading.snapshot.taken, now)
        unsure, sentences = self._units.judge(reading, continues, now)
        self._changes += sentences
        return dict.fromkeys(unsure, "unit")

    def _judge_gauges(self, reading: Reading, held: dict[str, Verdict]) -> Sequence[_Register]:
        """Add implausible gauges to `held`; return the registers, which are judged by more than their range."""
        registers, values = [], reading.snapshot.values
        for name, (low, high, register) in bounds(reading.snapshot.inventory).of(values):
            value = values.get(name)
            if type(value) is not float:
                continue
            is_within = low <= value <= high
            if register is not None:
                if reading.raw(name) is None or name in reading.unit_conflicts:
                    continue
                if (name, REASONS[0]) not in self._counts:
                    self._counts.update({(name, reason): 0 for reason in REASONS})
                if name not in held:
                    registers.append(_Register(name, value, is_within, register))
            elif (not is_within or value in SENTINELS) and reading.raw(name) is not None:
                held[name] = "sentinel" if value in SENTINELS else "range"
        return registers

    def _note_powers(self, reading: Reading, registers: Sequence[_Register], held: Mapping[str, Verdict]) -> None:
        """Keep the watts that registers count: the highest so far, those of this read and of the last one."""
        copies = bounds(reading.snapshot.inventory).copies.values()
        for names in {found.powers for found in (*(register.bounds for register in registers), *copies)}:
            highest, last, _ = self._powers.get(names, (0.0, 0.0, 0.0))
            watts = [None if name in held else reading.number(name, "watts") for name in names]
            power = sum(abs(each) for each in watts if each is not None) if None not in watts else last
            self._powers[names] = max(highest, power), power, last

    def _watts(self, register: RegisterBounds) -> float:
        """The highest power that can have flowed through a register since the read before."""
        highest, *recent = self._powers.get(register.powers, (0.0, 0.0, 0.0))
        if register.watts is not None:
            return min(max(register.watts, *recent), self.most_watts)
        return min(max(highest, USUAL_WATTS), self.most_watts) if register.powers else self.most_watts

    def _claims(self, reading: Reading, registers: Sequence[_Register], now: float) -> Iterator[_Claim]:
        """What a read says of registers and of chargeInfo's copies of them; each may confirm the other."""
        copies = {
            charge.name: charge.meter_watt_hours
            for charge in reading.snapshot.charges.values()
            if charge.meter_watt_hours is not None
        }
        own = {f"{plug}.AE": plug for plug in copies}
        originals: dict[str, float] = {}
        for register in (_of_plug(register, own) for register in registers):
            variable = reading.variable(register.name)
            if variable is None:
                continue
            value, plug, reported = variable.base(register.raw), register.bounds.plug, None
            if plug is not None:
                if register.is_within and register.raw not in SENTINELS:
                    originals[plug] = originals.get(plug) or value
                copy = copies.get(plug)
                reported = copy * 3600 if copy is not None and copy not in SENTINELS else None
            yield self._claim(reading, register, value, reported, now)
        table = bounds(reading.snapshot.inventory)
        for plug, copy in copies.items():
            register = _Register(
                _COPY + plug, copy, 0 <= copy <= _MOST_WATT_HOURS, table.copies.get(plug, _NO_BOUNDS)
            )
            yield self._claim(reading, register, copy * 3600, originals.get(plug), now)

    def _claim(
        self, reading: Reading, register: _Register, value: float, reported: float | None, now: float
    ) -> _Claim:
        clock = reading.number(register.bounds.clock, "timestamp")
        read = _Read(RegisterLevel(value, reading.snapshot.taken, clock), now)
        return _Claim(*register, read, self._watts(register.bounds), reported, reading)

    def _judge(self, claim: _Claim) -> Verdict | None:
        """Why a register is held back; None if its level is believed, which is then stored."""
        before = self._believed.get(claim.name)
        verdict: Verdict | None = None
        if before is not None and self._is_next(before, claim):
            self._note_gap(before, claim)
            self._believe(claim)
        elif claim.raw in SENTINELS:
            verdict = "sentinel"
        elif not claim.is_within or claim.raw == _NONE or (claim.value < 0 and not claim.bounds.may_fall):
            verdict = "range"
        elif before is None and claim.value and claim.is_confirmed:
            self._believe(claim)
        elif before is not None and self._is_net(before, claim):
            self._believe(claim, is_partial=True)
        elif before is not None and _is_rescaled(before, claim):
            verdict = "unit"
        else:
            level = before.level.value if before is not None else claim.reported or None
            verdict = self._wait(claim, _reason(level, claim.value))
        return verdict

    def _is_next(self, before: _Read, claim: _Claim) -> bool:
        """Whether a register may have come to this level since it was read last."""
        change = claim.value - before.level.value
        is_net = before.level.is_partial or (claim.bounds.may_fall and claim.value < 0 and claim.raw != _NONE)
        change = abs(change) if is_net else change
        if change == 0:
            return True
        if not 0 < change <= _flown(self.most_watts, before, claim.read):
            return False
        return change <= _flown(claim.watts, before, claim.read) or claim.is_confirmed

    def _note_gap(self, before: _Read, claim: _Claim) -> None:
        """Log what a plug delivered while nothing read it, as after a downtime or a suspended host."""
        grown = claim.value - before.level.value
        if not grown or claim.bounds.plug is None or claim.name.startswith(_COPY):
            return
        was, level = before.level, claim.read.level
        seconds = level.at - was.at
        if level.clock is not None and was.clock is not None:
            # If only one clock advanced, it was set.
            seconds = min(seconds, level.clock - was.clock)
        if seconds >= _GAP:
            hours = f"{seconds / 3600:.1f} h"
            self._changes.append(f"{claim.name}: grew by {_shown(grown, claim)} in {hours} without a read")

    def _is_net(self, before: _Read, claim: _Claim) -> bool:
        """Store a fall that may be one of a net meter; True once there were enough of them."""
        waiting, at = self._waiting.get(claim.name), claim.read.level.at
        previous = waiting.read if waiting is not None else before
        fallen = before.level.value - claim.value
        falls = (*(fall for fall in before.level.falls if abs(at - fall) < FALLS_WITHIN), at)
        is_last = len(falls) >= MOST_FALLS
        # Only a net meter falls repeatedly and then below zero, however far.
        is_possible = fallen <= _flown(self.most_watts, before, claim.read) or (is_last and claim.value < 0)
        if not claim.bounds.may_fall or not claim.value or not is_possible:
            return False
        if fallen <= 0 or claim.value >= previous.level.value:
            return False
        self._believed[claim.name] = before._replace(level=replace(before.level, falls=falls))
        return is_last

    def _wait(self, claim: _Claim, verdict: Verdict) -> Verdict | None:
        """Hold a level back until it has lasted; None once it is believed.

        A first value needs two reads. A first zero has to last like any later level, unless it is no plug's and
        another register of its device has a value.
        """
        waiting, now = self._waiting.get(claim.name), claim.read.now or 0.0
        is_awake = claim.value != 0 or (claim.bounds.plug is None and claim.bounds.clock in self._proven)
        is_first = verdict == "unconfirmed" and is_awake
        before = self._believed.get(claim.name)
        is_contradicted = waiting is not None and waiting.is_contradicted
        if claim.reported is not None:
            is_contradicted = before is not None and claim.is_contradicted(before)
        since, readings = now, 1
        if waiting is None:
            self._needs_second_read |= is_first
        elif is_contradicted == waiting.is_contradicted and self._follows(
            waiting.read, claim.read, claim.bounds.may_fall
        ):
            since, readings = waiting.since, waiting.readings + 1
        least, seconds = (2, 0.0) if is_first else (SETTLE_READINGS, SETTLE_SECONDS)
        if readings < least or now - since < (_CONTRADICTED_SECONDS if is_contradicted else seconds):
            self._waiting[claim.name] = _Candidate(claim.read, since, readings, is_contradicted)
            return verdict
        if before is not None:
            was, after = (_shown(level, claim) for level in (before.level.value, claim.value))
            minutes = f"{(now - since) / 60:.0f} min"
            self._changes.append(f"{claim.name}: was {was} and goes on at {after}, which lasted for {minutes}")
        self._believe(claim)
        return None

    def _believe(self, claim: _Claim, is_partial: bool = False) -> None:
        before, read = self._believed.get(claim.name), claim.read
        level = read.level
        is_kept = before is not None and before.now is not None and level.value == before.level.value
        if before is not None and is_kept and claim.name.startswith(_COPY):
            # chargeInfo is not requested in every read, so this copy may be that of an earlier one.
            read = before
        falls: tuple[float, ...] = ()
        if before is not None:
            is_partial |= before.level.is_partial
            falls = before.level.falls
            if falls and level.value >= before.level.value:
                # The fall was a glitch if the register came back.
                falls = tuple(fall for fall in falls if fall <= before.level.at)
        if is_partial or level.value < 0:
            read = read._replace(level=replace(level, is_partial=True))
            self._partial |= {claim.name}
        elif falls:
            read = read._replace(level=replace(level, falls=falls))
        if level.value and not claim.name.startswith(_COPY):
            self._proven.add(claim.bounds.clock)
        self._believed[claim.name] = read
        self._waiting.pop(claim.name, None)


def _of_plug(register: _Register, own: Mapping[str, str]) -> _Register:
    """The register with its plug, if only chargeInfo names the plug; `own` maps registers to plugs."""
    if register.bounds.plug is not None or register.name not in own:
        return register
    return register._replace(bounds=replace(register.bounds, plug=own[register.name], may_fall=False))


def _flown(watts: float, before: _Read, read: _Read) -> float:
    """Joules that may have flowed between two reads."""
    return watts * read.seconds_since(before) * _SLACK + _STEP


def _is_rescaled(before: _Read, claim: _Claim) -> bool:
    """Whether a register is off by a factor of a thousand: its unit changed while the exporter was not running."""
    variable = claim.reading.variable(claim.name)
    if variable is None or claim.is_confirmed or is_of_catalogue(claim.reading, variable):
        return False
    level = before.level.value
    return any(abs(claim.value * wrong - level) < 0.02 * level for wrong in (1e-3, 1e3))


def _reason(before: float | None, value: float) -> Verdict:
    """The reason against a value that follows the level `before`; `unconfirmed` without such a level."""
    if before is None:
        return "unconfirmed"
    if value < 0:
        return "range"
    if value < before:
        return "rollback" if value else "zero"
    return "jump"


def _shown(level: float, claim: _Claim) -> str:
    variable = claim.reading.variable(claim.name)
    code = variable.described.code if variable is not None and variable.described is not None else None
    return f"{level / 3.6e6:.10g} {claim.reading.facts.symbol(code or '#WH', 3)}"


def _is_in_session(reading: Reading, plug: str) -> bool:
    """Whether energy may flow: the state of the plug, or that of its chargeInfo, says so or is not known."""
    charge = reading.snapshot.charges.get(plug)
    states = reading.raw(f"{plug}.STATE"), charge.state if charge is not None else None
    known = [state for state in map(reading.facts.plug_state, states) if state is not None]
    return not known or any(state.activity in IN_SESSION for state in known)


def _without(charge: ChargeRecord, held: Mapping[str, Verdict]) -> ChargeRecord:
    """A charge without implausible energies; the session's goes with the meter's, as both are of one response."""
    if _COPY + charge.name in held:
        charge = replace(charge, meter_watt_hours=None, watt_hours=None)
    return replace(charge, watt_hours=None) if charge.watt_hours in SENTINELS else charge
