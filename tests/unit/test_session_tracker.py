"""When a charge is over, what is recorded of it, and that every joule of a register is accounted for."""

from dataclasses import replace

import pytest
from helpers.charging import OTHER, PLUG, START, Station
from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_exporter.powerstudio.snapshot import ChargeRecord, Moment, Snapshot
from ccl_exporter.sessions.tracker import (
    FinishedSession,
    PlugReading,
    RegisterAccount,
    plug_readings,
    session_key,
    update,
    watched,
)
from ccl_exporter.station.judge import Station as Judged
from ccl_exporter.station.plausibility import RegisterFilter

KWH = 3.6e6


class Book:
    """The accounts of one plug over a row of snapshots, as the session log keeps them behind the filter."""

    def __init__(self, plug: str = PLUG) -> None:
        self.plug = plug
        self.filter = RegisterFilter()
        self.account: RegisterAccount | None = None
        self.old: list[RegisterAccount] = []
        self.finished: list[FinishedSession] = []
        self.rows: dict[float, FinishedSession] = {}

    def take(self, snapshot: Snapshot) -> FinishedSession | None:
        """The session that ended with a read, if one did."""
        reading = plug_readings(Judged(self.filter.apply(snapshot, snapshot.taken)))[self.plug]
        result = update("garage", self.account, reading)
        if result is None:
            self.account = watched(self.account, reading) or self.account
            return None
        if self.account is not None and self.account.register_generation < result.account.register_generation:
            self.old.append(self.account)
        self.account = result.account
        self.rows |= result.finished
        self.finished += [session for _, session in result.finished]
        return result.finished[-1][1] if result.finished else None

    def restart(self) -> None:
        self.filter = RegisterFilter(self.filter.levels)

    @property
    def now(self) -> RegisterAccount:
        assert self.account is not None
        return self.account


@pytest.mark.parametrize(
    ("state", "requested", "begun", "ended", "over"),
    [
        (0, 100.0, 110.0, 200.0, True),
        (12, 100.0, 110.0, 200.0, True),
        (0, 100.0, None, 109.0, True),
        (3, 100.0, 110.0, 200.0, True),
        (None, 100.0, 110.0, 200.0, True),
        (8, 100.0, 110.0, None, False),
        (0, 100.0, 110.0, None, False),
        (8, 100.0, 110.0, 200.0, False),  # its end is that of the charge before
        (11, 100.0, 110.0, 200.0, False),  # stopping: the energy may still change
        (5, 300.0, 310.0, 200.0, False),
        (2, 300.0, None, 200.0, False),
        (0, 300.0, 310.0, 200.0, True),  # the charger's clock was set back meanwhile
        (0, None, None, None, False),
        (0, 100.0, 110.0, 0.0, False),
    ],
)
def test_a_charge_is_over_when_it_has_an_end_and_nothing_runs(
    state: int | None, requested: float | None, begun: float | None, ended: float | None, over: bool
) -> None:
    charge = ChargeRecord(PLUG, state=state, requested=requested, begun=begun, ended=ended)

    assert PlugReading(START, charge).has_ended is over


@pytest.mark.parametrize(
    ("dates", "known_by"),
    [
        ((1.5, 2.0, 3.0), 1.5),
        ((None, 2.0, 3.0), 2.0),
        ((None, None, 3.0), 3.0),
        ((0.0, 2.0, None), 2.0),
        ((None, None, None), None),
    ],
)
def test_a_charge_is_known_by_its_request_else_its_begin(
    dates: tuple[float | None, float | None, float | None], known_by: float | None
) -> None:
    requested, begun, ended = dates

    assert session_key(ChargeRecord(PLUG, requested=requested, begun=begun, ended=ended)) == known_by


def test_a_charge_is_recorded_once_with_the_highest_power_that_was_read() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.begin()
    for watts in (3000.0, 7350.0, 5000.0):
        station.flow(watts, 600)
        assert log.take(station.read()) is None
    station.end(reason=5)
    ended = station.at
    found = [log.take(station.read()) for _ in range(3)]

    assert found == [
        FinishedSession("garage", PLUG, START + 1, START + 6, ended, 15350 * 600.0, 1802, 5, 7350.0),
        None,
        None,
    ]


def test_a_request_that_ended_before_energy_flowed_is_recorded_as_one_without_a_begin() -> None:
    """As in the recording of a real charger: requestDate and endDate set, beginDate -1, stopped 5."""
    station, log = Station(), Book()
    log.take(station.read())
    station.request()
    station.at += 9
    station.end(reason=5)
    found = log.take(station.read())

    assert found is not None
    assert (found.begun, found.joules, found.seconds, found.stop_reason, found.highest_watts) == (
        *(None, 0.0, None, 5),
        None,
    )


def test_a_charge_that_nobody_watched_has_no_highest_power() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(7000, 3600)

    found = log.take(station.read())
    assert found is not None
    assert (found.joules, found.highest_watts) == (7 * KWH, None)


def test_the_charge_before_the_first_reading_is_recorded_but_not_of_the_account() -> None:
    station, log = Station(), Book()
    station.charge(7000, 3600)
    found = log.take(station.read())

    assert found is not None
    assert found.joules == 7 * KWH
    assert (log.now.grown, log.now.charged, log.now.unassigned) == (0, 0, 0)


def test_of_a_charge_that_was_running_at_the_first_reading_only_the_rest_is_of_the_account() -> None:
    station, log = Station(), Book()
    station.begin()
    station.flow(7000, 3600)
    log.take(station.read())
    station.flow(7000, 1800)
    log.take(station.read())
    assert (log.now.grown, log.now.under_way, log.now.unassigned) == (3.5 * KWH, 3.5 * KWH, 0)
    station.end()
    found = log.take(station.read())

    assert found is not None
    assert found.joules == 10.5 * KWH
    assert (log.now.charged, log.now.under_way, log.now.unassigned) == (3.5 * KWH, 0, 0)


def test_what_flows_without_a_charge_belongs_to_none() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(7000, 3600)
    log.take(station.read())
    station.flow(100, 3600)
    log.take(station.read())
    log.take(station.read())

    assert log.now.grown == pytest.approx(7.1 * KWH)
    assert log.now.charged == 7 * KWH
    assert log.now.unassigned == pytest.approx(0.1 * KWH)


def test_of_two_charges_that_nobody_saw_the_first_belongs_to_none() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(7000, 3600)
    station.charge(3500, 3600)
    log.restart()
    log.take(station.read())

    assert [charge.joules for charge in log.finished] == [3.5 * KWH]
    assert log.now.unassigned == 7 * KWH


def test_a_charge_that_goes_on_after_its_end_is_recorded_again_with_all_its_energy() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(7000, 3600)
    log.take(station.read())
    station.charges[PLUG] = replace(station.charges[PLUG], state=8, ended=None)
    station.flow(7000, 1800)
    log.take(station.read())
    assert log.now.unassigned == 0
    station.end()
    log.take(station.read())

    assert [charge.joules for charge in log.finished] == [7 * KWH, 10.5 * KWH]
    assert (log.now.charged, log.now.unassigned) == (10.5 * KWH, 0)


@pytest.mark.parametrize("register", [0.0, 12_340.0, 9_000_000.0])
def test_a_reset_or_another_meter_begins_a_new_account_once_it_has_stayed(register: float) -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.begin()
    station.flow(7000, 1800)
    log.take(station.read())
    station.registers[PLUG] = register
    log.restart()
    for _ in range(4):
        assert log.now.register_generation == 1
        station.at += 25
        log.take(station.read())
    station.flow(7000, 1800)
    station.end()
    log.take(station.read())
    (old,) = log.old

    assert (old.grown, old.charged, old.under_way, old.unassigned) == (3.5 * KWH, 0, 3.5 * KWH, 0)
    assert (log.now.register_generation, log.now.first) == (2, register * 3600)
    assert (log.now.grown, log.now.charged, log.now.unassigned) == (3.5 * KWH, 3.5 * KWH, 0)
    assert [charge.joules for charge in log.finished] == [7 * KWH]


@pytest.mark.parametrize("register", [0.0, 4_855_000.0, 2_000_000.0, 9_000_000.0])
def test_a_glitch_at_a_restart_begins_no_account_and_records_no_charge(register: float) -> None:
    """The gate has no memory then; register, chargeInfo and the charge's energy all lie."""
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(7000, 3600)
    log.restart()
    true = dict(station.registers), dict(station.charges)
    station.registers[PLUG] = register
    station.charges[PLUG] = replace(station.charges[PLUG], watt_hours=0.0)
    for _ in range(3):
        assert log.take(station.read()) is None
        station.at += 30
    station.registers, station.charges = true
    log.take(station.read())

    assert [charge.joules for charge in log.finished] == [7 * KWH]
    assert (log.now.register_generation, log.now.unassigned) == (1, 0)


@pytest.mark.parametrize("energy", [0.0, 9e9])
def test_a_glitch_of_charge_info_becomes_no_charge(energy: float) -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.begin()
    station.flow(7000, 3600)
    log.take(station.read())
    station.end()
    glitch = station.read()
    charge = replace(glitch.charges[PLUG], meter_watt_hours=energy, watt_hours=energy)
    assert log.take(replace(glitch, charges={PLUG: charge})) is None
    found = log.take(station.read())

    assert found is not None
    assert found.joules == 7 * KWH
    assert log.now.unassigned == 0


def test_a_charge_of_more_energy_than_can_be_is_none() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(7000, 60)
    station.charges[PLUG] = replace(station.charges[PLUG], watt_hours=1e9)

    assert log.take(station.read()) is None


def test_while_the_gate_holds_the_register_back_nothing_is_recorded_but_the_power_is() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.begin()
    log.take(station.read())
    station.flow(9000, 600)
    assert log.take(station.read(PLUG_AE=None)) is None
    station.flow(1000, 600)
    station.end()
    assert log.take(station.read(PLUG_AE=None)) is None
    found = log.take(station.read())

    assert found is not None
    assert found.highest_watts == 9000


def test_two_plugs_keep_two_accounts() -> None:
    station, one, two = Station(), Book(PLUG), Book(OTHER)

    def take() -> None:
        snapshot = station.read()
        one.take(snapshot)
        two.take(snapshot)

    take()
    station.begin(PLUG)
    station.begin(OTHER)
    station.flow(7000, 3600, PLUG)
    station.flow(3500, 3600, OTHER)
    take()
    station.end(plug=OTHER)
    take()
    station.end(plug=PLUG)
    take()

    assert [(charge.plug, charge.joules) for charge in (*one.finished, *two.finished)] == [
        (PLUG, 7 * KWH),
        (OTHER, 3.5 * KWH),
    ]
    assert (one.now.unassigned, two.now.unassigned) == (0, 0)


@pytest.mark.parametrize("odd", [1.0, 946_684_799.0, 946_684_815.0, 5e9, 1e300])
def test_a_date_that_cannot_be_is_left_out_and_the_charge_is_not(odd: float) -> None:
    """A clock that was never set gives dates of 1970 or 1999 (protocol 5)."""
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(7000, 3600)
    charge = station.charges[PLUG]
    station.charges[PLUG] = replace(charge, requested=odd, begun=odd, ended=odd)
    found = log.take(station.read())

    assert found is not None
    assert (found.requested, found.begun, found.ended, found.seconds) == (None, None, None, None)
    assert found.joules == 7 * KWH


def test_a_clock_that_was_set_back_while_it_charged_loses_no_charge() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.begin()
    station.flow(7000, 3600)
    log.take(station.read())
    station.end()
    station.charges[PLUG] = replace(station.charges[PLUG], ended=START - 86_400, seconds=None)
    found = log.take(station.read())

    assert found is not None
    assert (found.ended, found.seconds, found.joules) == (None, None, 7 * KWH)


@pytest.mark.parametrize("seconds", [0.0, None])
@pytest.mark.parametrize("shift", [0.0, -86_400.0])
def test_a_charge_whose_time_is_not_reported_is_recorded_all_the_same(seconds: float | None, shift: float) -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(7000, 3600)
    charge = station.charges[PLUG]
    station.charges[PLUG] = replace(charge, seconds=seconds, ended=(charge.ended or 0.0) + shift)
    found = log.take(station.read())

    assert found is not None
    assert found.joules == 7 * KWH


def test_a_reset_is_accepted_where_the_clock_of_the_charger_stands_still() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.registers[PLUG] = 10.0
    for _ in range(4):
        station.at += 25
        snapshot = station.read()
        log.take(replace(snapshot, values={**snapshot.values, "EVSE.VDTTM": Moment(START)}))

    assert (log.now.register_generation, log.now.first) == (2, 36_000)


@pytest.mark.parametrize("seconds", [-86_400, 86_400])
def test_a_clock_of_ours_that_was_set_loses_nothing_and_begins_no_new_account(seconds: float) -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.begin()
    for number in range(4):
        station.flow(7000, 900)
        snapshot = station.read()
        values = {name: value for name, value in snapshot.values.items() if name != "EVSE.VDTTM"}
        log.take(replace(snapshot, taken=snapshot.taken + (seconds if number > 1 else 0), values=values))
    station.end()
    log.take(station.read())

    assert [charge.joules for charge in log.finished] == [7 * KWH]
    assert (log.now.register_generation, log.now.charged, log.now.unassigned) == (1, 7 * KWH, 0)


def test_a_plug_that_has_never_charged_has_an_account_and_no_charge() -> None:
    station, log = Station(), Book()
    assert log.take(station.read()) is None
    assert log.now.unassigned == 0


def test_a_charge_info_that_leaves_everything_out_is_nothing() -> None:
    assert update("garage", None, PlugReading(START, ChargeRecord(PLUG))) is None


def test_a_session_that_is_replaced_between_two_reads_is_closed_with_what_is_known() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.begin()
    began = station.at
    station.flow(7000, 3600)
    log.take(station.read())
    station.end()
    station.at += 60
    station.begin()
    station.flow(3500, 3600)
    found = log.take(station.read())

    assert found == FinishedSession("garage", PLUG, began - 5, began, None, 7 * KWH, None, None, 7000.0)
    assert (log.now.charged, log.now.under_way, log.now.unassigned) == (7 * KWH, 3.5 * KWH, 0)


@pytest.mark.parametrize(("seconds", "recorded"), [(300, 7.5), (3600, 7.0)])
def test_the_rest_of_a_replaced_session_is_its_own_if_the_last_read_was_not_long_ago(
    seconds: float, recorded: float
) -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.begin()
    station.flow(7000, 3600)
    log.take(station.read())
    station.flow(500 * 3600 / seconds, seconds)
    station.end()
    station.begin()
    station.flow(7000, 60)
    log.take(station.read())
    station.flow(7000, 3600)
    station.end()
    log.take(station.read())

    assert [session.joules / KWH for session in log.finished] == pytest.approx([recorded, 7 + 7 / 60])
    assert log.now.unassigned / KWH == pytest.approx(7.5 - recorded)


@pytest.mark.parametrize(("watts", "is_recorded"), [(7000.0, True), (0.0, False)])
def test_a_replaced_session_whose_energy_was_not_reported_yet_is_known_by_its_power(
    watts: float, is_recorded: bool
) -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.begin()
    kept = station.charge_records()
    station.flow(watts, 60)
    log.take(replace(station.read(), charges=kept))
    station.flow(watts, 3600)
    station.end()
    station.begin()
    log.take(station.read())

    assert [(session.joules, session.highest_watts) for session in log.finished] == [(0.0, watts)] * is_recorded


def test_a_session_that_is_gone_when_the_plug_is_idle_is_closed_and_only_then() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.begin()
    station.flow(7000, 3600)
    log.take(station.read())
    for state in (None, 8, 0):
        assert log.finished == []
        station.charges[PLUG] = ChargeRecord(PLUG, state=state)
        log.take(station.read())

    assert [(session.joules, session.ended) for session in log.finished] == [(7 * KWH, None)]
    assert log.now.running is None


@pytest.mark.parametrize("ends_at_once", [False, True])
def test_a_session_that_was_closed_and_goes_on_takes_the_place_of_its_row(ends_at_once: bool) -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.begin()
    station.flow(7000, 3600)
    log.take(station.read())
    true = station.charges[PLUG]
    station.charges[PLUG] = ChargeRecord(PLUG, state=0)
    log.take(station.read())
    station.charges[PLUG] = true
    if not ends_at_once:
        station.flow(3500, 3600)
        log.take(station.read())
    station.end()
    log.take(station.read())

    joules = 7 * KWH if ends_at_once else 10.5 * KWH
    assert [(session.joules, session.ended is not None) for session in log.rows.values()] == [(joules, True)]
    assert (log.now.charged, log.now.unassigned) == (joules, 0)


@pytest.mark.parametrize(
    "changes", [{"requested": 1.0}, {"requested": None}, {"begun": 1.0}, {"requested": 2.0, "begun": 3.0}]
)
def test_a_session_whose_dates_change_while_it_charges_is_one(changes: dict[str, float | None]) -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.begin()
    station.flow(7000, 3600)
    log.take(station.read())
    station.charges[PLUG] = replace(station.charges[PLUG], **changes)  # type: ignore[arg-type] # dates all
    station.flow(3500, 3600)
    log.take(station.read())
    log.restart()
    station.flow(3500, 1800)
    station.end()
    log.take(station.read())
    station.charges[PLUG] = replace(station.charges[PLUG], requested=4.0, begun=5.0)
    log.take(station.read())

    assert [session.joules for session in log.finished] == [12.25 * KWH]
    assert (log.now.charged, log.now.unassigned) == (12.25 * KWH, 0)


def test_sessions_are_several_though_their_meter_shows_more_than_the_register() -> None:
    """Each is read once, after its end."""
    station, log = Station(), Book()
    log.take(station.read())
    for watts in (3500, 7000):
        station.charge(watts, 3600)
        shown = station.charges[PLUG]
        station.charges[PLUG] = replace(shown, watt_hours=1.03 * (shown.watt_hours or 0.0))
        log.take(station.read())

    assert [session.joules / KWH for session in log.rows.values()] == [pytest.approx(3.605), pytest.approx(7.21)]


def test_a_session_that_goes_on_after_its_end_with_other_dates_is_one() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(7000, 3600)
    log.take(station.read())
    station.charges[PLUG] = replace(station.charges[PLUG], state=8, requested=4.0, begun=5.0, ended=None)
    station.flow(7000, 1800)
    log.take(station.read())
    station.end()
    log.take(station.read())

    assert [session.joules / KWH for session in log.rows.values()][-1:] == [10.5]
    assert (log.now.charged / KWH, log.now.unassigned) == (10.5, 0)


def test_a_session_before_that_is_reported_once_more_changes_nothing() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(1000, 1800)
    before = station.charges[PLUG]
    log.take(station.read())
    station.begin()
    station.flow(7000, 3600)
    log.take(station.read())
    for _ in range(2):
        running, station.charges[PLUG] = station.charges[PLUG], before
        log.take(station.read())
        station.charges[PLUG] = running
        station.flow(7000, 1800)
        log.take(station.read())
    station.end()
    log.take(station.read())

    assert [session.joules / KWH for session in log.rows.values()] == [0.5, 14]
    assert (log.now.charged, log.now.unassigned) == (14.5 * KWH, 0)


def test_energy_of_the_session_before_is_not_that_of_the_next() -> None:
    """A charger that tells the energy of the last session until the next one takes some."""
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(7000, 3600)
    log.take(station.read())
    station.begin()
    station.charges[PLUG] = replace(station.charges[PLUG], watt_hours=7000.0)
    log.take(station.read())
    assert log.now.under_way == 0
    station.charges[PLUG] = replace(station.charges[PLUG], watt_hours=0.0)
    station.flow(3500, 3600)
    log.take(station.read())
    station.end()
    log.take(station.read())

    assert [session.joules for session in log.rows.values()] == [7 * KWH, 3.5 * KWH]
    assert (log.now.charged, log.now.unassigned) == (10.5 * KWH, 0)


def test_a_session_that_claims_more_than_the_register_gave_is_not_recorded() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(1000, 3600)
    station.charges[PLUG] = replace(station.charges[PLUG], watt_hours=60_000.0, seconds=None)
    assert log.take(station.read()) is None
    assert (log.now.grown, log.now.unassigned) == (KWH, KWH)
    station.charges[PLUG] = replace(station.charges[PLUG], watt_hours=1000.0)
    log.take(station.read())

    assert [session.joules for session in log.finished] == [KWH]
    assert log.now.unassigned == 0


def test_a_session_that_ended_before_charge_info_could_be_read_is_recorded_and_not_of_the_account() -> None:
    station, log = Station(), Book()
    station.charge(7000, 3600)
    log.take(replace(station.read(), charges={}))
    log.take(station.read())
    assert [session.joules for session in log.finished] == [7 * KWH]
    assert (log.now.charged, log.now.unassigned) == (0, 0)


def test_a_charge_info_that_is_gone_for_a_while_changes_nothing() -> None:
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(7000, 3600)
    log.take(station.read())
    for _ in range(2):
        station.begin()
        for _ in range(3):
            station.flow(7000, 1800)
            log.take(replace(station.read(), charges={}))
        station.end()
    log.take(station.read())

    assert [session.joules for session in log.finished] == [7 * KWH, 10.5 * KWH]
    assert log.now.unassigned == 10.5 * KWH


def test_dates_of_a_clock_that_was_set_while_it_charged_have_no_duration() -> None:
    """The clock stood at 2000-01-01 when the session began."""
    station, log = Station(), Book()
    log.take(station.read())
    station.charge(7000, 3600)
    charge = station.charges[PLUG]
    ended = 1_795_924_400.0
    station.charges[PLUG] = replace(charge, begun=946_684_815.0, ended=ended, seconds=849_239_585.0)
    found = log.take(station.read())

    assert found is not None
    assert (found.begun, found.ended, found.seconds, found.joules) == (None, ended, None, 7 * KWH)


def test_an_older_read_that_comes_late_is_no_reset() -> None:
    station, log = Station(), Book()
    old = station.read()
    log.take(old)
    station.charge(7000, 3600)
    log.take(station.read())
    reading = plug_readings(Judged(old))[PLUG]

    assert update("garage", log.account, reading) is None


Step = tuple[str, float]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["begin", "end", "look", "restart"]), st.just(0.0)),
        st.tuples(st.sampled_from(["flow"]), st.integers(0, 700).map(lambda tens: tens * 10.0)),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(STEPS)
def test_whatever_happens_every_joule_belongs_to_a_session_or_to_none(steps: list[Step]) -> None:
    """Sessions that were read are there once, with the energy of the last read; the rest flowed besides."""
    station, log = Station(), Book()
    read: dict[float, tuple[float, bool]] = {}
    powered: set[float] = set()

    def look() -> None:
        log.take(station.read())
        charge = station.charges[PLUG]
        if charge.requested is not None:
            powered.update([charge.requested] if station.watts[PLUG] else [])
            read[charge.requested] = (charge.watt_hours or 0.0) * 3600, charge.ended is not None

    look()
    first = station.registers[PLUG]
    for what, energy in steps:
        charge = station.charges[PLUG]
        runs = charge.begun is not None and charge.ended is None
        if what == "begin":
            station.begin()
        elif what == "end" and runs:
            station.end()
        elif what == "flow":
            station.flow(energy, 3600)
        elif what == "restart":
            log.restart()
        else:
            look()
    look()
    charge = station.charges[PLUG]
    under_way = (charge.watt_hours or 0.0) * 3600 if charge.begun is not None and charge.ended is None else 0.0
    truth = {
        key: (joules, has_ended)
        for key, (joules, has_ended) in read.items()
        if has_ended or ((joules or key in powered) and (key != charge.requested or charge.ended))
    }

    assert {key: (row.joules, row.ended is not None) for key, row in log.rows.items()} == truth
    assert len(log.finished) == len(truth)
    assert log.now.grown == (station.registers[PLUG] - first) * 3600
    known = sum(joules for joules, _ in truth.values())
    assert log.now.unassigned == pytest.approx(log.now.grown - known - under_way, abs=0.001)
    assert log.now.unassigned >= -0.001


CHANGES = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["begin", "end", "look", "restart", "rename", "blank", "silent", "stale"]),
            st.just(0.0),
        ),
        st.tuples(st.just("flow"), st.integers(1, 70).map(lambda hundreds: hundreds * 100.0)),
    ),
    max_size=50,
)


@settings(max_examples=300)
@given(CHANGES)
def test_no_energy_is_of_two_sessions_whatever_the_charger_reports_of_their_dates(steps: list[Step]) -> None:
    """Sessions change their dates, or for a read none or the one before is reported; others pass unseen."""
    station, log = Station(), Book()
    sessions, charged, stale = 0, 0.0, ChargeRecord(PLUG, state=0)
    log.take(station.read())
    first = station.registers[PLUG]
    for what, energy in steps:
        charge = station.charges[PLUG]
        runs = charge.begun is not None and charge.ended is None
        if what == "begin":
            stale = charge
            station.begin()
            sessions += 1
        elif what == "end" and runs:
            station.end()
        elif what == "flow":
            station.flow(energy, 3600)
            charged += energy * 3600 if runs else 0.0
        elif what == "restart":
            log.restart()
        elif what == "rename" and charge.begun is not None:
            station.at += 1
            station.charges[PLUG] = replace(charge, requested=station.at - 0.5, begun=station.at - 0.25)
        elif what in ("blank", "stale"):
            station.charges[PLUG] = stale if what == "stale" else ChargeRecord(PLUG, state=charge.state)
            log.take(station.read())
            station.charges[PLUG] = charge
        elif what == "silent":
            log.take(replace(station.read(), charges={}))
        else:
            log.take(station.read())
    log.take(station.read())
    recorded = sum(row.joules for row in log.rows.values())

    assert len(log.rows) <= sessions
    assert recorded + log.now.under_way <= charged + 0.001
    assert log.now.register_generation == 1
    assert log.now.grown == pytest.approx((station.registers[PLUG] - first) * 3600)
    assert log.now.charged == pytest.approx(recorded, abs=0.001)
    assert log.now.unassigned >= -0.001
