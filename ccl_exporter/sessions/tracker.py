"""Charges as they end, and where the energy of a plug's register went; pure.

A charge is known by its request date, so that whoever sees it again, after a restart too, records nothing twice:
chargeInfo keeps the last charge after its end (protocol 12).
Only readings whose registers passed the filter (`plausibility`) and agree with chargeInfo are recorded;
a plug without a register has no account, and its charges are not recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Protocol

from ccl_exporter.powerstudio.snapshot import ChargeRecord, Moment
from ccl_exporter.station.catalogue import Activity, catalogue
from ccl_exporter.station.judge import Station
from ccl_exporter.station.plausibility import SETTLE_READINGS, SETTLE_SECONDS
from ccl_exporter.station.plug import IN_SESSION, NOT_IN_SESSION, Plug
from ccl_exporter.station.values import OLDEST

_LATEST = 4_102_444_800.0  # 2100; a date after it is no date
_STEP = 72_000.0  # joules: two steps of a meter that counts in tens of watt-hours
_BETWEEN = 60.0  # seconds that may lie between the values and a chargeInfo of the same snapshot
_SLACK = 1.25
_MOST_WATTS = 1e6  # no charger for cars gives more
_PLUG_WATTS = 264.0 * 3  # volts on three phases (EN 50160: 10 % above 240 V), for each ampere of the plug
_AMPERES = 63.0  # the largest socket of IEC 62196, for a plug that does not tell its own


@dataclass(frozen=True, slots=True)
class FinishedSession:
    """A charge that has ended, or a request for one that ended before energy flowed: then `begun` is None.

    Instants in Unix seconds by the charger's clock, None if the charger has no sound one.
    `stop_reason` is a code of protocol 9.1.
    `highest_watts` is the highest power that was read while the charge ran: of a part of it
    if nobody read during the rest, None if nobody read at all.
    """

    charger: str
    plug: str
    requested: float | None
    begun: float | None
    ended: float | None
    joules: float
    seconds: float
    stop_reason: int | None
    highest_watts: float | None


class SessionRecord(Protocol):
    """The record of charges that ended."""

    def finished(self, after: int) -> Sequence[tuple[int, FinishedSession]]:
        """Those with an id above `after`, ids ascending."""
        ...


@dataclass(frozen=True, slots=True)
class PlugReading:
    """What one reading says of a plug: `register` and `told` in joules, by the plug and by chargeInfo.

    `clock` is the charger's own in Unix seconds, `amperes` what its socket is made for.
    """

    taken: float
    charge: ChargeRecord
    register: float | None = None
    reported: float | None = None
    watts: float | None = None
    clock: float | None = None
    amperes: float = _AMPERES

    @property
    def level(self) -> float | None:
        """The register in joules, from the document that tells the charge's energy if that tells it."""
        return self.register if self.reported is None else self.reported

    @property
    def difference(self) -> float | None:
        """What the plug's register has more than chargeInfo says, in joules."""
        return None if self.register is None or self.reported is None else self.register - self.reported


@dataclass(frozen=True, slots=True)
class Running:
    """A charge under way: `key` names it, `joules` is what it had at the last reading.

    `before` is what of them lies before the account or has been recorded already.
    """

    key: float
    joules: float
    before: float
    highest_watts: float | None = None


@dataclass(frozen=True, slots=True)
class RegisterAccount:
    """Where a register's energy went since `first`, in joules; it begins anew where the register was reset.

    `began` and `at` are Unix seconds of the first and the last reading, `clock` the charger's own of the last.
    `charged` is the energy of the charges that ended; `recorded` is the key of the last of them with its energy.
    """

    register_generation: int
    began: float
    first: float
    latest: float
    at: float
    clock: float | None = None
    charged: float = 0.0
    running: Running | None = None
    recorded: tuple[float, float] | None = None

    @property
    def grown(self) -> float:
        return self.latest - self.first

    @property
    def under_way(self) -> float:
        """Energy of the charge that runs, as far as it is of this account."""
        return 0.0 if self.running is None else self.running.joules - self.running.before

    @property
    def unassigned(self) -> float:
        """What belongs to no charge; it can be negative only if the charger contradicts itself."""
        return self.grown - self.charged - self.under_way


@dataclass(frozen=True, slots=True)
class TrackerResult:
    """What a reading made of an account, and the charge that has ended, if one has, with its key.

    `from_before` tells that the charge was over when its plug was first read.
    """

    account: RegisterAccount
    finished: FinishedSession | None = None
    key: float = 0.0
    from_before: bool = False


def plug_readings(station: Station) -> dict[str, PlugReading]:
    """What a snapshot says of each plug that chargeInfo tells of."""
    snapshot, plugs = station.snapshot, {plug.name: plug for plug in station.plugs}
    found = {}
    for name, charge in snapshot.charges.items():
        plug = plugs.get(name, Plug(name))
        clock = snapshot.values.get(f"{station.reading.owner(name)}.VDTTM")
        found[name] = PlugReading(
            taken=snapshot.taken,
            charge=charge,
            register=plug.energy,
            reported=None if charge.meter_watt_hours is None else charge.meter_watt_hours * 3600,
            watts=plug.power,
            clock=clock.seconds if isinstance(clock, Moment) else None,
            amperes=plug.limits.supported or _AMPERES,
        )
    return found


def session_key(charge: ChargeRecord) -> float | None:
    """What a charge is known by, as the charger wrote it; None if there was no charge yet."""
    return next((at for at in (charge.requested, charge.begun, charge.ended) if at), None)


def _activity(charge: ChargeRecord) -> Activity:
    """What the plug did by the state that chargeInfo tells."""
    state = catalogue().plug_state(charge.state)
    return Activity.UNKNOWN if state is None else state.activity


def has_ended(charge: ChargeRecord) -> bool:
    """Whether chargeInfo tells of a charge that is over.

    Where the state leaves it open, an end before the begin is that of the charge before.
    """
    activity = _activity(charge)
    if not charge.ended or activity in IN_SESSION:
        return False
    return activity in NOT_IN_SESSION or charge.ended >= (charge.begun or charge.requested or 0.0)


class RegisterCheck:
    """Tells which readings are to be recorded; for one plug.

    chargeInfo and the plug's register must be of one mind, and the register must not contradict the account:
    the gate forgets at a restart, accounts do not.
    What is strange is believed once it has stayed for as long as the gate asks.
    `settled` tells that the last reading was to be recorded.
    """

    def __init__(self) -> None:
        self.settled = False
        self._difference: float | None = 0.0
        self._waiting: list[PlugReading] = []

    def passes(self, account: RegisterAccount | None, reading: PlugReading) -> bool:
        self.settled = reading.register is not None and _usable(reading.charge) and self._stands(account, reading)
        return self.settled

    def _stands(self, account: RegisterAccount | None, reading: PlugReading) -> bool:
        level = reading.level or 0.0
        odd = level == 0 if account is None else _began_anew(account, level, reading)
        if odd or not _near(reading.difference, self._difference, _allowed(reading)):
            if self._waiting and not _goes_on(self._waiting[-1], reading):
                self._waiting.clear()
            self._waiting.append(reading)
            first = self._waiting[0]
            stayed = _elapsed(first.taken, first.clock, reading)
            if len(self._waiting) < SETTLE_READINGS or stayed < SETTLE_SECONDS:
                return False
            self._difference = reading.difference
        self._waiting.clear()
        return True


def _allowed(reading: PlugReading) -> float:
    """Joules that may lie between the two registers, as their documents are not of one moment."""
    in_session = _activity(reading.charge) in IN_SESSION
    return _STEP + (reading.amperes * _PLUG_WATTS * _BETWEEN if in_session else 0.0)


def _goes_on(before: PlugReading, reading: PlugReading) -> bool:
    """Whether two strange readings tell the same."""
    return (reading.level or 0.0) >= (before.level or 0.0) and _near(
        reading.difference, before.difference, _allowed(reading)
    )


def _elapsed(at: float, clock: float | None, reading: PlugReading) -> float:
    """Seconds until a reading, by our clock or the charger's: the longer, as one may stand or be set back."""
    own = reading.clock - clock if reading.clock is not None and clock is not None else float("-inf")
    return max(reading.taken - at, own)


def _near(one: float | None, other: float | None, allowed: float) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= allowed


def _usable(charge: ChargeRecord) -> bool:
    """Whether the energy of a charge is told, and no more than can be."""
    if charge.watt_hours is None:
        return not charge.begun
    if not charge.begun or not charge.ended:
        return True
    # A clock that was set back, or a time that is not told, says nothing against the energy.
    seconds = max(charge.seconds or 0.0, charge.ended - charge.begun)
    return seconds <= 0 or charge.watt_hours * 3600 <= _MOST_WATTS * seconds + _STEP


def update(charger: str, account: RegisterAccount | None, reading: PlugReading) -> TrackerResult | None:
    """Record a reading that passed; None if it has no register. `account` is that of the last reading."""
    level, charge, name = reading.level, reading.charge, session_key(reading.charge)
    if level is None:
        return None
    joules = (charge.watt_hours or 0.0) * 3600
    last = account.running if account is not None and account.running and account.running.key == name else None
    running = Running(name, joules, 0.0) if name is not None else None
    if last is not None and running is not None:
        running = replace(last, joules=joules)
    elif running is not None and account is not None and account.recorded and account.recorded[0] == name:
        running = replace(running, before=account.recorded[1])
    from_before = account is None
    if account is None or _began_anew(account, level, reading):
        running = replace(running, before=joules) if running is not None else None
        recorded = account.recorded if account is not None else None
        register_generation = account.register_generation + 1 if account is not None else 1
        account = RegisterAccount(
            register_generation, reading.taken, level, level, reading.taken, recorded=recorded
        )
    account = replace(account, latest=level, at=reading.taken, clock=reading.clock)
    if running is None or name is None:
        return TrackerResult(replace(account, running=None))
    if not has_ended(charge):
        return TrackerResult(replace(account, running=_with_power(running, reading)))
    account = replace(account, running=None)
    if account.recorded is not None and account.recorded[0] == name and account.recorded[1] >= joules:
        return TrackerResult(account)
    account = replace(account, charged=account.charged + joules - running.before, recorded=(name, joules))
    return TrackerResult(account, _finished(charger, charge, joules, running.highest_watts), name, from_before)


def watched(account: RegisterAccount | None, reading: PlugReading) -> RegisterAccount | None:
    """The account with the power of a reading that did not pass; None if no charge runs."""
    if account is None or account.running is None or account.running.key != session_key(reading.charge):
        return None
    return None if has_ended(reading.charge) else replace(account, running=_with_power(account.running, reading))


def _with_power(running: Running, reading: PlugReading) -> Running:
    watts = (running.highest_watts, reading.watts)
    seen = [each for each in watts if each is not None and isfinite(each)]
    return replace(running, highest_watts=max(seen, default=None))


def _began_anew(account: RegisterAccount, level: float, reading: PlugReading) -> bool:
    """Whether the register was reset or is another meter's: it fell, or grew more than the plug can give."""
    elapsed = _elapsed(account.at, account.clock, reading)
    most = reading.amperes * _PLUG_WATTS * elapsed * _SLACK + _STEP
    # Where all clocks were set back nobody knows how much may have flowed.
    return level < account.latest - 1 or (elapsed >= 0 and level - account.latest > most)


def _finished(charger: str, charge: ChargeRecord, joules: float, highest: float | None) -> FinishedSession:
    begun, ended = _date(charge.begun), _date(charge.ended)
    seconds = charge.seconds
    if seconds is None:
        seconds = max(ended - begun, 0.0) if begun is not None and ended is not None else 0.0
    reason = charge.stop_reason
    return FinishedSession(
        charger=charger,
        plug=charge.name,
        requested=_date(charge.requested),
        begun=begun,
        ended=ended,
        joules=joules,
        seconds=seconds,
        stop_reason=reason if reason is not None and abs(reason) < 2**31 else None,
        highest_watts=highest,
    )


def _date(at: float | None) -> float | None:
    return at if at is not None and OLDEST <= at < _LATEST else None
