"""Charging sessions as they end, and where the energy of a plug's register went; pure.

A session is known by its request or its begin, so that whoever sees it again, after a restart too, records nothing
twice: chargeInfo keeps the last session after its end (protocol 12).
Registers are judged by the filter (`station.plausibility`) and nowhere else; while it holds one back, nothing is
recorded. A plug without a register has no account, and its sessions are not recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Protocol

from ccl_exporter.powerstudio.snapshot import ChargeRecord, Moment
from ccl_exporter.station.catalogue import Activity, catalogue
from ccl_exporter.station.judge import Station
from ccl_exporter.station.plug import IN_SESSION, NOT_IN_SESSION, Plug, judge_session, session_date
from ccl_exporter.tariff import Tariff

_STEP = 72_000.0  # joules: two steps of a meter that counts in tens of watt-hours
_MOST_WATTS = 1e6  # no plug delivers more
_SHARE = 0.25  # by which two meters of one charger may differ
_FLOW = 1.5e6  # joules that may flow between the values and the chargeInfo of one read: 22 kW for a minute
_LONGEST = 31 * 86_400.0  # seconds
_STALE = 60.0  # seconds; an older reading that a thread brings late may show the register as it was
_SOON = 600.0  # seconds between two reads in which no session passes unseen
_REMEMBERED = 4  # recorded sessions of a plug that are known by their dates if they come again


@dataclass(frozen=True, slots=True)
class FinishedSession:
    """A session that has ended, or a request for one that ended before energy flowed: then `begun` is None.

    Instants in Unix seconds by the charger's clock, None if the charger has no sound one.
    Of a session that another one replaced between two reads `ended` and all that is reported with it are None; the
    energy is that of the last read and, if that was not long ago, of the register until the next session.
    `seconds` is how long it charged, `stop_reason` a code of protocol 9.1.
    `highest_watts` is the highest power that was read during the session: of a part of it
    if nothing read during the rest, None if nothing read at all.
    `cost` is what the energy cost in `currency`, by the tariff at the time when it flowed; None if there was no
    tariff for all of it, or if too little was read to say at which of its prices it flowed.
    """

    charger: str
    plug: str
    requested: float | None
    begun: float | None
    ended: float | None
    joules: float
    seconds: float | None = None
    stop_reason: int | None = None
    highest_watts: float | None = None
    cost: float | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Costs:
    """What energy cost in `currency`: by plug and local day (`2026-11-30`), and of the sessions that run.

    None is a day of which not all has a known price.
    """

    currency: str
    days: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    running: Mapping[str, float] = field(default_factory=dict)


class SessionRecord(Protocol):
    """The record of sessions that ended."""

    def finished(self, after: int) -> Sequence[tuple[int, FinishedSession]]:
        """Those with an id above `after`, ids ascending."""
        ...


@dataclass(frozen=True, slots=True)
class PlugReading:
    """What one read says of a plug: chargeInfo as the charger sent it, and the register in joules.

    `taken` is Unix seconds, `clock` the same by the charger's own clock.
    """

    taken: float
    charge: ChargeRecord
    register: float | None = None
    watts: float | None = None
    clock: float | None = None

    @property
    def activity(self) -> Activity:
        """What the plug did by the state that chargeInfo tells."""
        state = catalogue().plug_state(self.charge.state)
        return Activity.UNKNOWN if state is None else state.activity

    @property
    def has_ended(self) -> bool:
        """Whether chargeInfo tells of a session that is over.

        Where the state leaves it open, an end before the begin is that of the session before.
        """
        charge = self.charge
        if not charge.ended or self.activity in IN_SESSION:
            return False
        return self.activity in NOT_IN_SESSION or charge.ended >= (charge.begun or charge.requested or 0.0)

    @property
    def joules(self) -> float:
        """Energy of the session."""
        return (self.charge.watt_hours or 0.0) * 3600

    @property
    def is_usable(self) -> bool:
        """Whether the register is known, and the energy of the session if there is one."""
        if self.register is None or (self.charge.watt_hours is None and self.charge.begun):
            return False
        return 0 <= self.joules <= _MOST_WATTS * (judge_session(self.charge).duration or _LONGEST) + _STEP


@dataclass(frozen=True, slots=True)
class TrackedSession:
    """A session that runs, or one of those that were recorded last.

    `key` is what the log knows it by: of the dates that it was first read with, its request, else its begin, else
    its end. `requested` and `begun` are as the charger wrote them.
    `joules` is its energy at the last read, `before` what of it lies before the account or is recorded already,
    `level` the register at that read.
    `is_open` says that it was recorded without its end. `cost` is that of its energy, None if it is not known.
    """

    key: float
    requested: float | None
    begun: float | None
    joules: float = 0.0
    before: float = 0.0
    level: float = 0.0
    highest_watts: float | None = None
    is_open: bool = False
    cost: float | None = None

    @property
    def unrecorded(self) -> float:
        """Its energy that is of the account and not recorded yet."""
        return max(self.joules - self.before, 0.0)

    def has_dates_of(self, charge: ChargeRecord) -> bool:
        """Whether chargeInfo tells of this session, by its dates."""
        return (
            session_key(charge) == self.key
            or bool(charge.requested and charge.requested == self.requested)
            or bool(charge.begun and charge.begun == self.begun)
        )

    def with_power(self, reading: PlugReading) -> "TrackedSession":
        watts = (self.highest_watts, reading.watts)
        seen = [each for each in watts if each is not None and isfinite(each)]
        return replace(self, highest_watts=max(seen, default=None))


@dataclass(frozen=True, slots=True)
class RegisterAccount:
    """Where a register's energy went since `first`, in joules; it begins anew where the register was reset.

    `began` and `at` are Unix seconds of the first and the last read, `clock` the charger's own of the last.
    `charged` is the energy of the sessions that ended, the last of which are `recorded`, latest first.
    """

    register_generation: int
    began: float
    first: float
    latest: float
    at: float
    clock: float | None = None
    charged: float = 0.0
    running: TrackedSession | None = None
    recorded: tuple[TrackedSession, ...] = ()

    @property
    def grown(self) -> float:
        return self.latest - self.first

    @property
    def under_way(self) -> float:
        """Energy of the session that runs, as far as it is of this account."""
        return 0.0 if self.running is None else self.running.unrecorded

    @property
    def unassigned(self) -> float:
        """What belongs to no session; it can be negative only if the charger contradicts itself."""
        return self.grown - self.charged - self.under_way

    @property
    def sessions(self) -> Sequence[TrackedSession]:
        """The sessions that are known, latest first."""
        return (*((self.running,) if self.running is not None else ()), *self.recorded)

    def recorded_as(self, key: float) -> TrackedSession | None:
        return next((each for each in self.recorded if each.key == key), None)

    def closed(self, session: TrackedSession) -> "RegisterAccount":
        """The account after a session was recorded."""
        others = (each for each in self.recorded if each.key != session.key)
        return replace(self, charged=self.charged + session.unrecorded, recorded=(session, *others)[:_REMEMBERED])


@dataclass(frozen=True, slots=True)
class TrackerResult:
    """What a read made of an account, and the sessions that ended, each with its key.

    `from_before` says that the plug was read for the first time: such a session was over before.
    `is_settled` is False if what chargeInfo tells of the session cannot be: then only the register was recorded.
    """

    account: RegisterAccount
    finished: tuple[tuple[float, FinishedSession], ...] = ()
    from_before: bool = False
    is_settled: bool = True


def plug_readings(station: Station) -> dict[str, PlugReading]:
    """What a snapshot says of each plug that chargeInfo tells of; of all plugs if the engine has no chargeInfo."""
    snapshot, plugs = station.snapshot, {plug.name: plug for plug in station.plugs}
    found, charges = {}, snapshot.charges
    if not charges and all(document.name != "charge_info" for document in snapshot.documents):
        charges = {name: ChargeRecord(name) for name in plugs}
    for name, charge in charges.items():
        plug = plugs.get(name, Plug(name))
        clock = snapshot.values.get(f"{station.reading.owner(name)}.VDTTM")
        found[name] = PlugReading(
            taken=snapshot.taken,
            charge=charge,
            register=plug.energy,
            watts=plug.power,
            clock=clock.seconds if isinstance(clock, Moment) else None,
        )
    return found


def session_key(charge: ChargeRecord) -> float | None:
    """What a session is known by, as the charger wrote it; None if there was none yet."""
    return next((at for at in (charge.requested, charge.begun, charge.ended) if at), None)


def update(
    charger: str,
    account: RegisterAccount | None,
    reading: PlugReading,
    tariff: Tariff | None = None,
    is_exchanged: bool = False,
) -> TrackerResult | None:
    """Record a read; None if there is nothing that can be believed. `account` is that of the last read.

    With a tariff the sessions have a cost. The account begins anew if the charger `is_exchanged` since.
    """
    level = reading.register
    if level is None or not reading.is_usable:
        return None
    if (
        not is_exchanged
        and account is not None
        and level < account.latest - 1
        and reading.taken < account.at - _STALE
    ):
        return None
    before = account
    if account is None or is_exchanged or _began_anew(account, level, reading):
        account = _new_account(account, level, reading)
    begins = account is not before
    grown = level - account.latest
    account = replace(account, latest=level, at=reading.taken, clock=reading.clock)
    session = _session_of(account, reading, begins)
    if session is not None:
        known = next((each for each in account.sessions if each.key == session.key), None)
        session = replace(session, cost=_cost(known, session.joules, before, reading, tariff))
    if session is None and reading.activity not in NOT_IN_SESSION:
        return TrackerResult(account)
    finished = []
    running, account = account.running, replace(account, running=None)
    if running is not None and (session is None or session.key != running.key):
        if before is not None and not begins and 0 <= reading.taken - before.at <= _SOON:
            # No third session passed meanwhile: what is not of the next one is of this one.
            rest = grown - (session.unrecorded if session is not None else 0.0)
            joules = running.joules + max(rest, 0.0)
            running = replace(running, joules=joules, cost=_cost(running, joules, before, reading, tariff))
        # Of a session whose end was not seen and that had neither there is nothing to record.
        if running.joules or running.highest_watts:
            finished.append((running.key, _with_currency(_replaced(charger, reading, running), tariff)))
        account = account.closed(replace(running, is_open=True))
    if session is not None and not reading.has_ended:
        account = replace(account, running=session.with_power(reading))
    elif session is not None:
        known = account.recorded_as(session.key)
        if known is None or known.is_open or known.joules < session.joules:
            finished.append((session.key, _with_currency(_finished(charger, reading, session), tariff)))
            account = account.closed(session)
    if before is not None and not begins and _claims_too_much(before, account, grown, reading):
        return TrackerResult(
            replace(before, latest=level, at=reading.taken, clock=reading.clock), is_settled=False
        )
    return TrackerResult(account, tuple(finished), before is None)


def watched(account: RegisterAccount | None, reading: PlugReading) -> RegisterAccount | None:
    """The account with the power of a read that could not be recorded; None if no session runs."""
    running = account.running if account is not None else None
    if account is None or running is None or reading.has_ended or not running.has_dates_of(reading.charge):
        return None
    return replace(account, running=running.with_power(reading))


def _new_account(before: RegisterAccount | None, level: float, reading: PlugReading) -> RegisterAccount:
    account = RegisterAccount(1, reading.taken, level, level, reading.taken)
    if before is None:
        return account
    running = before.running
    return replace(
        account,
        register_generation=before.register_generation + 1,
        running=replace(running, before=running.joules, level=level) if running is not None else None,
        recorded=tuple(replace(session, level=level) for session in before.recorded),
    )


def _session_of(account: RegisterAccount, reading: PlugReading, begins: bool) -> TrackedSession | None:
    """The session that chargeInfo tells of: one that is known already, or a new one; None if it tells of none."""
    charge, joules, key = reading.charge, reading.joules, session_key(reading.charge)
    if key is None:
        return None
    known = account.sessions
    found = next((each for each in known if each.has_dates_of(charge)), None)
    if found is not None:
        found = replace(found, requested=charge.requested or found.requested, begun=charge.begun or found.begun)
    elif known and not begins and joules >= known[0].joules > _STEP:
        # What did not flow since that one was read was charged before: only the dates are others.
        found = known[0] if joules > account.latest - known[0].level + _STEP else None
    if found is None:
        found = TrackedSession(key, charge.requested, charge.begun)
        # One that began when chargeInfo could not be read yet may be older than the account.
        begins |= not known and key < account.began and joules > account.grown + _STEP
    elif found.key != (account.running.key if account.running is not None else None):
        found = replace(found, before=found.joules)
    before = joules if begins else found.before
    return replace(found, joules=joules, before=before, level=account.latest, is_open=False)


def _cost(
    known: TrackedSession | None,
    joules: float,
    before: RegisterAccount | None,
    reading: PlugReading,
    tariff: Tariff | None,
) -> float | None:
    """What a session costs that is `known` from the read `before`, with what it was charged since."""
    counted, cost = (known.joules, known.cost) if known is not None else (0.0, 0.0)
    if tariff is None or cost is None or joules == counted:
        return cost if tariff is not None else None
    judged = judge_session(reading.charge)
    since, until = (judged.began, judged.ended or reading.taken) if before is None else (before.at, reading.taken)
    more = None if since is None else tariff.known_cost(joules - counted, since, until)
    return None if more is None else cost + more


def _with_currency(session: FinishedSession, tariff: Tariff | None) -> FinishedSession:
    return session if session.cost is None or tariff is None else replace(session, currency=tariff.currency)


def _claims_too_much(before: RegisterAccount, after: RegisterAccount, grown: float, reading: PlugReading) -> bool:
    """Whether the sessions claim energy that the register did not give."""
    claimed = after.charged + after.under_way - before.charged - before.under_way
    allowed = _STEP + _SHARE * reading.joules + (0.0 if reading.has_ended else _FLOW)
    return claimed > max(before.unassigned, 0.0) + grown + allowed


def _began_anew(account: RegisterAccount, level: float, reading: PlugReading) -> bool:
    """Whether the register was reset or is another meter's: it fell, or grew more than any charger gives."""
    own = (reading.clock or 0.0) - account.clock if reading.clock and account.clock else float("-inf")
    elapsed = max(reading.taken - account.at, own)  # a clock may stand still or be set back
    grown = level - account.latest
    # Where all clocks were set back nothing says how much may have flowed.
    return grown < -1 or (elapsed >= 0 and grown > _MOST_WATTS * elapsed + _STEP)


def _replaced(charger: str, reading: PlugReading, session: TrackedSession) -> FinishedSession:
    """What is known of a session whose end was not seen."""
    return FinishedSession(
        charger=charger,
        plug=reading.charge.name,
        requested=session_date(session.requested),
        begun=session_date(session.begun),
        ended=None,
        joules=session.joules,
        highest_watts=session.highest_watts,
        cost=session.cost,
    )


def _finished(charger: str, reading: PlugReading, session: TrackedSession) -> FinishedSession:
    judged = judge_session(reading.charge)
    reason = judged.stop_reason
    return FinishedSession(
        charger=charger,
        plug=reading.charge.name,
        requested=judged.requested,
        begun=judged.began,
        ended=judged.ended,
        joules=session.joules,
        seconds=judged.duration,
        stop_reason=reason if reason is not None and abs(reason) < 2**31 else None,
        highest_watts=session.highest_watts,
        cost=session.cost,
    )
