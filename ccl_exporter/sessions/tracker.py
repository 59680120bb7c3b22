"""Recognises finished sessions, and divides the growth of a plug's register among sessions. Pure.

chargeInfo keeps the last session after its end (protocol 12). So a session is identified by its dates, and is
recorded only once, also after a restart.
Implausible values of a register are rejected by the filter (`station.plausibility`), and then nothing is recorded.
Sessions of a plug without a register are not recorded either.
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
_REMEMBERED = 4  # recorded sessions of a plug that are recognised if they come again


@dataclass(frozen=True, slots=True)
class FinishedSession:
    """A session that has ended, or a request for one that ended before energy flowed: then `begun` is None.

    Instants are Unix seconds by the charger's clock, None if not reported or implausible.
    If another session replaced it between two reads, `ended`, `seconds` and `stop_reason` are None. `joules` is
    then its energy at the last read, plus what flowed until the next session if at most 10 min passed.
    `seconds` is the duration that chargeInfo reports, else that from begin to end. `stop_reason` is a code of
    protocol 9.1. `highest_watts` is the highest power of the reads during the session, None without any.
    `cost` is in `currency`, by the price when the energy flowed; None if a part of it has no known price.
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
    """The cost of energy in `currency`: by plug and local day (`2026-11-30`), and by plug of the running session.

    A day is None if a part of its energy has no known price; such a running session is left out.
    """

    currency: str
    days: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    running: Mapping[str, float] = field(default_factory=dict)


class SessionRecord(Protocol):
    """A source of finished sessions, such as the session log."""

    def finished(self, after: int) -> Sequence[tuple[int, FinishedSession]]:
        """Sessions with ids above `after`, ids ascending; not all at once if there are many."""
        ...


@dataclass(frozen=True, slots=True)
class PlugReading:
    """What one read says of a plug: its chargeInfo, its register in joules, and its power.

    `taken` is the time of the read, `clock` that of the charger's own clock (VDTTM), in Unix seconds.
    """

    taken: float
    charge: ChargeRecord
    register: float | None = None
    watts: float | None = None
    clock: float | None = None

    @property
    def activity(self) -> Activity:
        """The activity by the state in chargeInfo."""
        state = catalogue().plug_state(self.charge.state)
        return Activity.UNKNOWN if state is None else state.activity

    @property
    def has_ended(self) -> bool:
        """Whether the session in chargeInfo has ended.

        If the state does not say, an end before the begin is that of the session before.
        """
        charge = self.charge
        if not charge.ended or self.activity in IN_SESSION:
            return False
        return self.activity in NOT_IN_SESSION or charge.ended >= (charge.begun or charge.requested or 0.0)

    @property
    def joules(self) -> float:
        """The energy of the session; 0 if it is not reported."""
        return (self.charge.watt_hours or 0.0) * 3600

    @property
    def is_usable(self) -> bool:
        """Whether the register is known, and the energy of the session: known once it has begun, and plausible."""
        if self.register is None or (self.charge.watt_hours is None and self.charge.begun):
            return False
        return 0 <= self.joules <= _MOST_WATTS * (judge_session(self.charge).duration or _LONGEST) + _STEP


@dataclass(frozen=True, slots=True)
class TrackedSession:
    """The running session of a plug, or one that was recorded.

    `key` identifies it in the log: the `session_key` of the chargeInfo in which it was first read.
    `requested` and `begun` are as the charger sent them.
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
        """The energy of the session that belongs to the account and is not recorded yet."""
        return max(self.joules - self.before, 0.0)

    def has_dates_of(self, charge: ChargeRecord) -> bool:
        """Whether chargeInfo has this session: one of the dates is the same."""
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
    """The balance of a register in joules, from the value `first` to `latest`.

    A new account with the next `register_generation` begins when the register was reset or exchanged.
    `began` and `at` are Unix seconds of the first and the last read, `clock` the charger's own time at the last.
    `charged` is the energy of the sessions that ended; `recorded` are the last of these, latest first.
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
        """The energy of the running session that belongs to this account and is not recorded yet."""
        return 0.0 if self.running is None else self.running.unrecorded

    @property
    def unassigned(self) -> float:
        """Unattributed energy; negative if the sessions report more than the register has grown."""
        return self.grown - self.charged - self.under_way

    @property
    def sessions(self) -> Sequence[TrackedSession]:
        """The running session and the recorded ones, latest first."""
        return (*((self.running,) if self.running is not None else ()), *self.recorded)

    def recorded_as(self, key: float) -> TrackedSession | None:
        return next((each for each in self.recorded if each.key == key), None)

    def closed(self, session: TrackedSession) -> "RegisterAccount":
        """The account after a session was recorded."""
        others = (each for each in self.recorded if each.key != session.key)
        return replace(self, charged=self.charged + session.unrecorded, recorded=(session, *others)[:_REMEMBERED])


@dataclass(frozen=True, slots=True)
class TrackerResult:
    """The account after a read, and the sessions that have ended since the last one, each with its key.

    `from_before` says that the plug was read for the first time, or that the charger was exchanged, so the session
    may have ended long before.
    `is_settled` is False if sessions claim more energy than the register gave: only the register was recorded.
    """

    account: RegisterAccount
    finished: tuple[tuple[float, FinishedSession], ...] = ()
    from_before: bool = False
    is_settled: bool = True


def plug_readings(station: Station) -> dict[str, PlugReading]:
    """The readings of the plugs in chargeInfo, by plug; of all plugs if the engine has no chargeInfo."""
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
    """The date that identifies a session: its request, else its begin, else its end; None without a session."""
    return next((at for at in (charge.requested, charge.begun, charge.ended) if at), None)


def update(
    charger: str,
    account: RegisterAccount | None,
    reading: PlugReading,
    tariff: Tariff | None = None,
    is_exchanged: bool = False,
) -> TrackerResult | None:
    """Record a read in the `account` of the last one; None if the read is unusable or out of date.

    With a tariff, sessions have a cost. A new account begins if the charger `is_exchanged`.
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
            # Too short for a third session: what is not of the next one is of this one.
            rest = grown - (session.unrecorded if session is not None else 0.0)
            joules = running.joules + max(rest, 0.0)
            running = replace(running, joules=joules, cost=_cost(running, joules, before, reading, tariff))
        # A replaced session without energy and power is not worth a row.
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
    return TrackerResult(account, tuple(finished), before is None or is_exchanged)


def watched(account: RegisterAccount | None, reading: PlugReading) -> RegisterAccount | None:
    """The account with the power of a read that could not be recorded; None if another session or none runs."""
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
    """The session in chargeInfo, a known or a new one; None if there is none."""
    charge, joules, key = reading.charge, reading.joules, session_key(reading.charge)
    if key is None:
        return None
    known = account.sessions
    found = next((each for each in known if each.has_dates_of(charge)), None)
    if found is not None:
        found = replace(found, requested=charge.requested or found.requested, begun=charge.begun or found.begun)
    elif known and not begins and joules >= known[0].joules > _STEP:
        # If the session has more energy than the register has grown since, it is the last one with other dates.
        # Where that had ended, the meter of the sessions may only show more than the register.
        last = known[0]
        share = 0.0 if last is account.running or last.is_open else _SHARE
        found = last if joules > (1 + share) * (account.latest - last.level) + _STEP else None
    if found is None:
        found = TrackedSession(key, charge.requested, charge.begun)
        # If chargeInfo could not be read at first, the session may be older than the account.
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
    """The cost of a session: that of `known`, read `before`, and of its energy since; None if it is not known."""
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
    """Whether the sessions claim more energy than the register gave."""
    claimed = after.charged + after.under_way - before.charged - before.under_way
    allowed = _STEP + _SHARE * reading.joules + (0.0 if reading.has_ended else _FLOW)
    return claimed > max(before.unassigned, 0.0) + grown + allowed


def _began_anew(account: RegisterAccount, level: float, reading: PlugReading) -> bool:
    """Whether the register was reset or is another meter's: it fell, or grew more than any charger gives."""
    own = (reading.clock or 0.0) - account.clock if reading.clock and account.clock else float("-inf")
    elapsed = max(reading.taken - account.at, own)  # a clock may stand still or be set back
    grown = level - account.latest
    # If all clocks were set back, it is not known how much may have flowed.
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
