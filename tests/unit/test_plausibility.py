"""The gate: a glitch never becomes a bill, a real reset is believed in the end."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_exporter.powerstudio.inventory import Device, Inventory, PlugInfo, VariableInfo
from ccl_exporter.powerstudio.snapshot import ChargeRecord, Moment, Snapshot, Value
from ccl_exporter.station.plausibility import SETTLE_READINGS, SETTLE_SECONDS, RegisterFilter

AE = "EVSE.PLUG.AE"
INVENTORY = Inventory(
    devices=(
        Device("EVSE", "CCL1ENGINE", "", (AE, "EVSE.STATUS", "EVSE.VDTTM")),
        Device("Panel", "CVMMINI", "", ("Panel.AE",)),
    ),
    variables={AE: VariableInfo(unit="#WH", factor=3), "Panel.AE": VariableInfo(unit="#WH", factor=3)},
    settled=frozenset({AE, "Panel.AE"}),
    plugs=(PlugInfo("EVSE.PLUG", supported_amperes=32.0),),
)


class Meter:
    """A gate that is shown one register every 15 seconds."""

    def __init__(self, name: str = AE, told: float | None = None) -> None:
        self.charges = {} if told is None else {"EVSE.PLUG": ChargeRecord("EVSE.PLUG", meter_watt_hours=told)}
        self.register_filter = RegisterFilter()
        self.name = name
        self.at = 1_790_000_000.0
        self.counts: dict[str, int] = {}

    def show(self, kilowatt_hours: float, seconds: float = 15.0, clock: float | None = None) -> float | None:
        """What is let through of a reading, in kWh as the meter sends it."""
        self.at += seconds
        values: dict[str, Value] = {self.name: kilowatt_hours, "EVSE.STATUS": 1.0}
        if clock is not None:
            values["EVSE.VDTTM"] = Moment(clock)
        snapshot = Snapshot(self.at, 0.1, 10, 1, up=True, inventory=INVENTORY, values=values, charges=self.charges)
        apply = self.register_filter.apply(snapshot, snapshot.taken)
        self.counts = {
            reason: count for (name, reason), count in apply.rejected.items() if name == self.name and count
        }
        value = apply.values.get(self.name)
        assert value is None or isinstance(value, float)
        return value


@pytest.mark.parametrize(
    ("glitch", "reason"),
    [(0.0, "zero"), (4000.0, "rollback"), (4854.0, "rollback"), (9999.0, "jump"), (4860.0, "jump")],
)
def test_a_reading_that_cannot_be_is_held_back_counted_and_forgotten(glitch: float, reason: str) -> None:
    meter = Meter()
    shown = [meter.show(reading) for reading in (4855.39, glitch, glitch, 4855.42, 4855.45)]

    assert shown == [4855.39, None, None, 4855.42, 4855.45]
    assert meter.counts == {reason: 2}


def test_every_reason_is_counted_from_the_start() -> None:
    register_filter = RegisterFilter()
    values: dict[str, Value] = {AE: 1.0, "EVSE.STATUS": 1.0}
    snapshot = Snapshot(1_790_000_000, 0.1, 10, 1, up=True, inventory=INVENTORY, values=values)
    apply = register_filter.apply(snapshot, 0.0)

    assert apply.rejected == {(AE, "zero"): 0, (AE, "rollback"): 0, (AE, "jump"): 0}


@pytest.mark.parametrize("after", [0.0, 12.5, 4850.0])
def test_a_register_that_stays_where_it_fell_was_really_reset(after: float) -> None:
    meter = Meter()
    meter.show(4855.39)
    shown = [meter.show(after + step * 0.03) for step in range(8)]

    believed = next(index for index, value in enumerate(shown) if value is not None)
    assert believed + 1 >= SETTLE_READINGS
    assert believed * 15 >= SETTLE_SECONDS
    assert shown[believed:] == [after + step * 0.03 for step in range(believed, 8)]


def test_a_reset_is_not_believed_for_many_readings_in_a_short_time() -> None:
    meter = Meter()
    meter.show(4855.39)

    assert [meter.show(0.0, seconds=1) for _ in range(50)] == [None] * 50


def test_a_first_reading_of_zero_waits_where_charge_info_knows_better() -> None:
    glitch, new, other = Meter(told=4855390.0), Meter(told=4855390.0), Meter()

    assert [glitch.show(0.0), glitch.show(4855.39)] == [None, 4855.39]
    assert [new.show(0.0) for _ in range(6)][-1] == 0.0
    assert other.show(0.0) == 0.0


def test_a_charge_at_full_power_passes() -> None:
    meter = Meter()
    readings = [round(100 + 32 * 240 / 1000 / 3600 * 15 * step, 2) for step in range(200)]

    assert [meter.show(reading) for reading in readings] == readings


def test_what_a_charge_brought_while_nobody_looked_passes() -> None:
    meter = Meter()
    meter.show(100.0)

    assert meter.show(140.0, seconds=6 * 3600) == 140.0
    assert meter.counts == {}


def test_a_register_of_no_plug_may_grow_as_fast_as_it_likes() -> None:
    meter = Meter("Panel.AE")

    assert [meter.show(reading) for reading in (100.0, 5000.0, 0.0, 5001.0)] == [100.0, 5000.0, None, 5001.0]


def test_time_is_what_the_devices_clock_says_where_that_runs_faster() -> None:
    slow, fast = Meter(), Meter()
    slow.show(100.0, clock=1_790_000_000)
    fast.show(100.0, clock=1_790_000_000)

    assert slow.show(101.0, clock=1_790_000_015) is None
    assert fast.show(101.0, clock=1_790_000_900) == 101.0


def test_a_register_whose_unit_was_contradicted_is_held_back_while_charge_info_is_silent() -> None:
    wrong = replace(INVENTORY, variables={AE: VariableInfo(unit="#WH", factor=0)})
    right = replace(INVENTORY, variables={AE: VariableInfo(unit="#WH", factor=3)})
    told = {"EVSE.PLUG": ChargeRecord("EVSE.PLUG", meter_watt_hours=4_855_390.0)}
    register_filter = RegisterFilter()

    def shown(inventory: Inventory, charges: dict[str, ChargeRecord]) -> bool:
        values: dict[str, Value] = {AE: 4855.39, "EVSE.STATUS": 1.0}
        snapshot = Snapshot(1.79e9, 0.1, 10, 1, up=True, inventory=inventory, values=values, charges=charges)
        return AE in register_filter.apply(snapshot, snapshot.taken).values

    assert [shown(wrong, told), shown(wrong, {}), shown(wrong, {}), shown(wrong, told)] == [
        True,
        False,
        False,
        True,
    ]
    assert [shown(right, told), shown(right, {})] == [True, True]


def test_what_charge_info_says_of_the_meter_is_held_back_when_it_cannot_be() -> None:
    register_filter = RegisterFilter()
    apply = []
    for step, told in enumerate((4_855_390.0, 0.0, 4_855_420.0, 9_999_999.0, 4_855_450.0)):
        charges = {"EVSE.PLUG": ChargeRecord("EVSE.PLUG", meter_watt_hours=told, watt_hours=30.0)}
        values: dict[str, Value] = {"EVSE.STATUS": 1.0}
        at = 1_790_000_000.0 + 15 * step
        snapshot = Snapshot(at, 0.1, 10, 1, up=True, inventory=INVENTORY, values=values, charges=charges)
        apply.append(register_filter.apply(snapshot, snapshot.taken).charges["EVSE.PLUG"])

    assert [charge.meter_watt_hours for charge in apply] == [4_855_390.0, None, 4_855_420.0, None, 4_855_450.0]
    assert {charge.watt_hours for charge in apply} == {30.0}


def test_a_silent_charger_changes_nothing() -> None:
    meter = Meter()
    meter.show(4855.39)
    down = replace(Snapshot(meter.at, 0.1, 10, 1, up=False), values={AE: 0.0})

    assert meter.register_filter.apply(down, meter.at).values == down.values
    assert meter.show(4855.40) == 4855.40


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(0, 0.03), st.sampled_from([None, None, None, "zero", "spike", "old", "half"])),
        min_size=5,
        max_size=60,
    )
)
def test_whatever_glitches_come_the_register_never_falls_and_never_gains_what_was_not_charged(
    steps: list[tuple[float, str | None]],
) -> None:
    meter, truth = Meter(), 4855.39
    shown = [meter.show(truth)]
    streak = 0
    for grown, wanted in steps:
        truth = round(truth + grown, 2)
        streak = streak + 1 if wanted and streak + 1 < SETTLE_READINGS else 0
        glitch = wanted if streak else None  # one that stays is no glitch any more
        told = {"zero": 0.0, "spike": truth * 3, "old": truth - 7, "half": truth / 2, None: truth}[glitch]
        value = meter.show(told)
        assert value is None or value == truth
        shown.append(value)

    seen = [value for value in shown if value is not None]
    assert seen == sorted(seen)
