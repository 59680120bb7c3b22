"""The filter: a glitch never becomes a bill, what is true is shown at once or in the end."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf, nan
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_exporter.powerstudio.inventory import Device, Inventory, PlugInfo, VariableInfo
from ccl_exporter.powerstudio.snapshot import ChargeRecord, Moment, Snapshot, Value
from ccl_exporter.station.plausibility import SETTLE_READINGS, SETTLE_SECONDS, RegisterFilter, RegisterLevel
from ccl_exporter.station.values import Reading

AE = "EVSE.PLUG.AE"
UNITS = {
    "AE": ("#WH", 3),
    "API": ("#W", 3),
    "AI": ("#A", 0),
    "VI": ("#V", 0),
    "HZI": ("#HZ", 0),
    "IE": ("#VARLH", 3),
}
TYPES = {"EVSE": "CCL1ENGINE", "Meter": "CVM1D", "Panel": "CVM-Z9"}


def site(*names: str, factors: Mapping[str, int] = MappingProxyType({}), meter: str | None = None) -> Inventory:
    """A charger with a plug of 32 A, and a panel with a meter that the catalogue does not know."""
    names = (AE, "EVSE.STATUS", "EVSE.VDTTM", "Panel.AE", *names)
    devices = [
        Device(device, kind, "", tuple(name for name in names if name.startswith(f"{device}.")))
        for device, kind in TYPES.items()
    ]
    infos = {}
    for name in names:
        code, factor = UNITS.get(name.rpartition(".")[2].rstrip("123"), (None, None))
        infos[name] = VariableInfo(unit=code, factor=factors.get(name, factor))
    return Inventory(
        devices=tuple(devices),
        variables=infos,
        settled=frozenset(names),
        plugs=(PlugInfo("EVSE.PLUG", supported_amperes=32.0, meter=meter),),
    )


INVENTORY = site()


class Meter:
    """A filter that is shown one register every 15 seconds.

    `known` is the level in kWh that an earlier process believed in, `reported` what chargeInfo says, in Wh.
    """

    def __init__(self, name: str = AE, reported: float | None = None, known: float | None = None) -> None:
        self.charges = (
            {} if reported is None else {"EVSE.PLUG": ChargeRecord("EVSE.PLUG", 0, meter_watt_hours=reported)}
        )
        self.name = name
        self.at = 1_790_000_000.0
        self.now = 1000.0
        self.register_filter = RegisterFilter(
            {} if known is None else {name: RegisterLevel(known * 1000 * 3600, self.at)}
        )
        self.counts: dict[str, int] = {}
        self.changes: list[str] = []
        self.inventory = INVENTORY

    def show(
        self,
        kilowatt_hours: float,
        seconds: float = 15.0,
        clock: float | None = None,
        set_by: float = 0.0,
        **others: float,
    ) -> float | None:
        """What is let through of a read, in kWh as the meter sends it; the host's clock may be set meanwhile."""
        self.at += seconds + set_by
        self.now += seconds
        device = self.name.rpartition(".")[0]
        values: dict[str, Value] = {self.name: kilowatt_hours, "EVSE.STATUS": 1.0}
        values |= {f"{device}.{name}": value for name, value in others.items()}
        if clock is not None:
            values["EVSE.VDTTM"] = Moment(clock)
        snapshot = read(self.at, self.inventory, values, self.charges)
        self.shown = shown = self.register_filter.apply(snapshot, self.now)
        self.counts = {
            reason: count for (name, reason), count in shown.rejected.items() if name == self.name and count
        }
        self.changes += shown.changes
        self.is_partial = self.name in shown.partial_registers
        value = shown.values.get(self.name)
        assert value is None or isinstance(value, float)
        return value

    def report(self, watt_hours: float, state: int = 0) -> None:
        """Let chargeInfo report this from now on."""
        self.charges = {"EVSE.PLUG": ChargeRecord("EVSE.PLUG", state, meter_watt_hours=watt_hours)}


def read(
    at: float,
    inventory: Inventory,
    values: Mapping[str, Value],
    charges: Mapping[str, ChargeRecord] = MappingProxyType({}),
) -> Snapshot:
    return Snapshot(at, 0.1, 10, 1, up=True, inventory=inventory, values=values, charges=charges)


def filtered(values: Mapping[str, Value]) -> Snapshot:
    """What a new filter makes of a read that brought these values."""
    return RegisterFilter().apply(read(1_790_000_000.0, site(*values), values), 0.0)


# Glitches and resets


@pytest.mark.parametrize(
    ("glitch", "reason"),
    [
        (0.0, "zero"),
        (4000.0, "rollback"),
        (4854.0, "rollback"),
        (9999.0, "jump"),
        (4860.0, "jump"),
        (9.223372036854775807e15, "sentinel"),
        (-1.0, "range"),
        (inf, "range"),
        (nan, "range"),
    ],
)
def test_a_reading_that_cannot_be_is_held_back_counted_and_forgotten(glitch: float, reason: str) -> None:
    meter = Meter(known=4855.39)
    shown = [meter.show(reading) for reading in (4855.39, glitch, glitch, 4855.42, 4855.45)]

    assert shown == [4855.39, None, None, 4855.42, 4855.45]
    assert meter.counts == {reason: 2}
    assert meter.changes == []


def test_the_reasons_of_a_register_are_counted_from_the_start() -> None:
    snapshot = read(1_790_000_000, INVENTORY, {AE: 1.0, "EVSE.STATUS": 1.0})

    assert RegisterFilter().apply(snapshot, 0.0).rejected == {
        (AE, "zero"): 0,
        (AE, "rollback"): 0,
        (AE, "jump"): 0,
    }


@pytest.mark.parametrize("after", [0.0, 12.5, 4850.0, 9999.0])
def test_a_register_that_stays_at_another_level_is_accepted_in_the_end_and_logged_once(after: float) -> None:
    meter = Meter(known=4855.39)
    shown = [meter.show(after + step * 0.03) for step in range(8)]

    believed = next(index for index, value in enumerate(shown) if value is not None)
    assert believed + 1 >= SETTLE_READINGS
    assert believed * 15 >= SETTLE_SECONDS
    assert shown[believed:] == [after + step * 0.03 for step in range(believed, 8)]
    assert meter.changes == [
        f"{AE}: was 4855.39 kWh and goes on at {after + 0.12:.10g} kWh, which lasted for 1 min"
    ]


@pytest.mark.parametrize("set_by", [0.0, 3600.0, -3600.0])
def test_waiting_takes_a_minute_and_four_reads_whatever_the_clock_of_the_host_is_set_to(set_by: float) -> None:
    quick, slow = Meter(known=4855.39), Meter(known=4855.39)
    slow.show(12.5)

    assert [quick.show(12.5, seconds=1, set_by=set_by) for _ in range(50)] == [None] * 50
    assert [slow.show(12.5, set_by=set_by), *(slow.show(12.5) for _ in range(4))][-1] == 12.5


def test_a_level_that_waits_may_grow_by_the_power_of_any_charger() -> None:
    meter = Meter(known=4855.39)

    assert [meter.show(12.5 + step * 1.0) for step in range(5)][-1] == 16.5


def test_a_candidate_that_changes_in_another_way_waits_anew() -> None:
    meter = Meter(known=4855.39)

    assert [meter.show(reading) for reading in (10.0, 5.0, 10.0, 5.0, 10.0, 5.0)] == [None] * 6


@pytest.mark.parametrize("glitch", [0.0, 12.3, 2427.69, 9710.78])
def test_a_level_that_charge_info_contradicts_does_not_settle_within_an_hour(glitch: float) -> None:
    meter = Meter(known=4855.39, reported=4_855_390.0)

    assert [meter.show(glitch) for _ in range(100)] == [None] * 100
    meter.charges = {}
    assert [meter.show(glitch) for _ in range(100)] == [None] * 100, "chargeInfo is silent for once"
    assert meter.show(4855.40) == 4855.40
    assert meter.changes == []


def test_a_level_that_charge_info_contradicts_waits_anew_once_it_agrees() -> None:
    agreeing, always = (Meter(known=4855.39, reported=4_855_390.0) for _ in range(2))
    for _ in range(100):
        agreeing.show(12.3)
    agreeing.report(12_300.0)

    assert [agreeing.show(12.3) for _ in range(5)] == [None] * 4 + [12.3]
    shown = [always.show(12.3, seconds=300) for _ in range(14)]
    assert shown == [None] * 12 + [12.3] * 2, "an hour after the first"


def test_a_new_meter_is_shown_a_minute_after_charge_info_shows_it_at_zero_too() -> None:
    meter = Meter(known=4855.39, reported=4_855_390.0)
    assert meter.show(0.0) is None
    meter.report(0.0)

    assert [meter.show(0.0) for _ in range(5)] == [None] * 4 + [0.0]


# The first value, and levels of an earlier process


def test_a_first_value_that_charge_info_confirms_is_shown_at_once() -> None:
    meter = Meter(reported=4_855_390.0)

    assert meter.show(4855.39) == 4855.39
    assert not meter.register_filter.needs_second_read


def test_a_first_value_that_nothing_confirms_waits_for_a_second_read() -> None:
    meter = Meter()
    found = [(meter.show(reading, 2), meter.register_filter.needs_second_read) for reading in (4855.39, 4855.40)]

    assert found == [(None, True), (4855.40, False)]
    assert meter.counts == {}


def test_a_second_read_is_asked_for_once_even_if_it_does_not_agree() -> None:
    meter = Meter()
    asked = []
    for reading in (4855.39, 12.0, 4855.39):
        assert meter.show(reading, seconds=2) is None
        asked.append(meter.register_filter.needs_second_read)

    assert asked == [True, False, False]


@pytest.mark.parametrize(("first", "reason"), [(0.0, "zero"), (12.3, "rollback"), (9999.0, "jump")])
def test_a_first_value_that_charge_info_contradicts_has_to_settle(first: float, reason: str) -> None:
    glitch, new = Meter(reported=4_855_390.0), Meter(reported=4_855_390.0)

    assert [glitch.show(first), glitch.show(4855.39)] == [None, 4855.39]
    assert glitch.counts == {reason: 1}
    assert [new.show(first) for _ in range(6)][-1] == first


def test_a_first_value_of_zero_has_to_settle_whatever_charge_info_says() -> None:
    silent, agreeing = Meter(), Meter(reported=0.0)

    for meter in (silent, agreeing):
        assert [meter.show(0.0, seconds=2) for _ in range(4)] == [None] * 4, "the engine has just started"
        meter.report(4_855_390.0)
        assert meter.show(4855.39) == 4855.39
    assert [Meter().show(0.0) for _ in range(6)][-1] is None
    new = Meter()
    assert [new.show(0.0) for _ in range(6)][-1] == 0.0
    assert new.counts == {}


def test_a_zero_beside_an_accepted_register_of_its_device_waits_for_a_second_read_only() -> None:
    inventory = site("Panel.IE", "EVSE.IE")
    register_filter = RegisterFilter()
    charges = {"EVSE.PLUG": ChargeRecord("EVSE.PLUG", meter_watt_hours=4_855_390.0)}
    values = {"EVSE.STATUS": 1.0, AE: 0.0, "EVSE.IE": 0.0, "Panel.AE": 100.0, "Panel.IE": 0.0}
    shown = []
    for step in range(4):
        snapshot = register_filter.apply(read(1.79e9 + 2 * step, inventory, values, charges), 2.0 * step)
        shown.append({name for name in values if name in snapshot.values} - {"EVSE.STATUS"})
        values = values if step < 1 else {**values, AE: 4855.39}

    assert shown == [
        set(),
        {"Panel.AE", "Panel.IE"},
        {AE, "EVSE.IE", "Panel.AE", "Panel.IE"},
        values.keys() - {"EVSE.STATUS"},
    ]


def test_a_first_value_within_a_charge_may_be_a_minute_ahead_of_charge_info() -> None:
    idle, charging = Meter(), Meter()
    idle.report(4_855_390.0, state=0)
    charging.report(4_855_390.0, state=8)

    assert idle.show(4855.50) is None
    assert charging.show(4855.50) == 4855.50


def test_the_levels_of_an_earlier_process_are_gone_on_from() -> None:
    before = Meter(reported=4_855_390.0)
    before.show(4855.39)
    stored = before.register_filter.levels
    after = Meter()
    after.at, after.register_filter = before.at, RegisterFilter(stored)

    assert stored[AE] == RegisterLevel(4855.39 * 3.6e6, before.at)
    assert [after.show(reading) for reading in (0.0, 0.0, 4855.40)] == [None, None, 4855.40]
    assert after.register_filter.levels[AE].value == pytest.approx(4855.40 * 3.6e6)


def test_levels_that_come_late_hold_back_what_does_not_go_on_from_them() -> None:
    meter = Meter(reported=2400_000.0)
    assert meter.show(2400.0) == 2400.0
    meter.register_filter.recall({AE: RegisterLevel(4855.0 * 3.6e6, meter.at - 3600)})

    assert meter.show(2400.0) is None
    assert meter.counts == {"rollback": 1}
    meter.report(4855_000.0)
    assert meter.show(4855.0) == 4855.0


def test_levels_that_come_late_hold_back_what_waits() -> None:
    meter = Meter()
    assert meter.show(2400.0) is None
    meter.register_filter.recall({AE: RegisterLevel(4855.0 * 3.6e6, meter.at - 3600)})

    assert [meter.show(2400.0), meter.show(4855.0)] == [None, 4855.0]


def test_levels_that_come_late_leave_what_goes_on_from_them() -> None:
    meter = Meter(reported=4855_000.0)
    assert meter.show(4855.0) == 4855.0
    meter.register_filter.recall({AE: RegisterLevel(4850.0 * 3.6e6, meter.at - 3600)})

    assert [meter.show(4855.01), meter.show(4854.0)] == [4855.01, None]


def test_that_a_register_may_fall_is_known_when_levels_come_late() -> None:
    meter = Meter("Panel.AE")
    assert [meter.show(5.0), meter.show(5.0)] == [None, 5.0]
    meter.register_filter.recall({"Panel.AE": RegisterLevel(5.1 * 3.6e6, meter.at, is_partial=True)})

    assert meter.show(4.9) == 4.9
    assert meter.is_partial


def test_a_month_of_downtime_may_have_brought_much() -> None:
    by_wall, by_device, in_no_time = Meter(known=100.0), Meter(), Meter(known=100.0)
    level = RegisterLevel(100.0 * 3.6e6, by_device.at + 1e6, clock=1_790_000_000)
    by_device.register_filter = RegisterFilter({AE: level})

    assert by_wall.show(3100.0, seconds=30 * 86_400.0) == 3100.0
    assert by_wall.changes == [f"{AE}: grew by 3000 kWh in 720.0 h without a read"]
    assert by_device.show(3100.0, clock=1_790_000_000 + 30 * 86_400.0) == 3100.0
    assert in_no_time.show(3100.0) is None


# Bounds of growth


@pytest.mark.parametrize("seconds", [2.0, 15.0, 300.0, 86_400.0])
def test_a_charge_at_full_power_passes(seconds: float) -> None:
    meter = Meter(known=100.0)
    readings = [round(100 + 32 * 240 * 3 / 1000 / 3600 * seconds * step, 2) for step in range(50)]

    assert [meter.show(reading, seconds) for reading in readings] == readings
    assert meter.counts == {}


def test_a_single_phase_meter_bounds_its_plug_by_one_phase() -> None:
    inventory = site("Meter.AI", "Meter.VI", meter="Meter")
    single, triple = Meter(known=100.0), Meter(known=100.0)
    single.inventory, triple.inventory = inventory, site("Meter.AI1", "Meter.AI2", "Meter.AI3", meter="Meter")

    assert triple.show(110.0, seconds=1800) == 110.0
    assert single.show(110.0, seconds=1800) is None


@pytest.mark.parametrize("power", [150.0, 22.0])
def test_power_that_is_measured_passes_whatever_the_plug_says(power: float) -> None:
    meter = Meter(known=100.0)
    meter.inventory = site("Meter.AI", "EVSE.PLUG.API", meter="Meter")
    readings = [round(100 + power / 3600 * 15 * step, 2) for step in range(20)]
    powers = [0.0, *[power] * 18, 0.0]

    assert [meter.show(*each) for each in zip(readings, [15.0] * 20, strict=True)][-1] is None
    again = Meter(known=100.0)
    again.inventory = meter.inventory
    assert [again.show(reading, API=kw) for reading, kw in zip(readings, powers, strict=True)] == readings
    assert again.counts == {}


def test_a_jump_that_charge_info_confirms_passes() -> None:
    meter, impossible = Meter(reported=100_000.0), Meter(reported=100_000.0)
    meter.show(100.0)
    impossible.show(100.0)
    shown = []
    for step in range(1, 6):
        meter.report(100_000.0 + 625 * step, state=8)
        shown.append(meter.show(100 + 0.625 * step))
        assert meter.shown.charges == meter.charges
    impossible.report(200_000.0, state=8)

    assert shown == [100.625, 101.25, 101.875, 102.5, 103.125]
    assert impossible.show(200.0) is None, "no charger gives as much"


def test_a_register_of_no_plug_grows_by_the_highest_power_of_its_device() -> None:
    small, large = Meter("Panel.AE", known=100.0), Meter("Panel.AE", known=100.0)
    small.inventory = large.inventory = site("Panel.API")

    assert [small.show(100.0, API=-1.2), small.show(100.1, API=-1.2), small.show(102.0)] == [100.0, 100.1, None]
    assert [large.show(100.0, API=-500.0), large.show(100.1), large.show(102.0, API=0.0)] == [100.0, 100.1, 102.0]


def test_a_register_of_no_plug_and_no_power_grows_by_a_megawatt_or_what_is_configured() -> None:
    meter, other = Meter("Panel.AE", known=100.0), Meter("Panel.AE")
    other.register_filter = RegisterFilter({"Panel.AE": RegisterLevel(100.0 * 3.6e6, other.at)}, most_watts=1e7)

    assert [meter.show(reading) for reading in (104.0, 110.0, 0.0, 110.0)] == [104.0, None, None, 110.0]
    assert other.show(110.0) == 110.0


def test_time_is_what_the_clock_says_that_ran_fastest() -> None:
    slow, device, suspended, back = Meter(), Meter(), Meter(), Meter()
    for meter in (slow, device, suspended, back):
        meter.report(100_000.0)
        assert meter.show(100.0, clock=1_790_000_000) == 100.0

    assert slow.show(101.0, clock=1_790_000_015) is None
    assert device.show(101.0, clock=1_790_000_900) == 101.0
    assert suspended.show(101.0, set_by=900.0) == 101.0
    assert back.show(101.0, seconds=900.0, set_by=-3600.0) == 101.0


def test_a_clock_that_is_set_is_no_gap() -> None:
    host, device, both = (Meter(known=100.0, reported=100_000.0) for _ in range(3))
    for meter in (host, device, both):
        meter.show(100.0, clock=1_790_000_000)
    host.show(100.01, clock=1_790_000_015, set_by=1e6)
    device.show(100.01, clock=1_790_900_000)
    both.show(100.01, clock=1_790_003_600, set_by=3585.0)

    assert (host.changes, device.changes) == ([], [])
    assert both.changes == [f"{AE}: grew by 0.01 kWh in 1.0 h without a read"]


# Sentinels and ranges


SENTINELS = [
    sign * digits * 10.0**factor
    for sign, digits in (
        *((1, 2**bits - 1) for bits in (15, 16, 31, 32, 63, 64)),
        *((-1, 2**bits) for bits in (15, 31, 63)),
    )
    for factor in range(-9, 10)
]


@pytest.mark.parametrize("value", [4294967.295, 9.223372036854775807e18, -32768.0, 6553.5, 655.349976, 4.294967])
def test_what_stands_for_none_is_never_shown(value: float) -> None:
    shown = filtered({"Panel.API": value})

    assert "Panel.API" not in shown.values
    assert shown.rejected[("Panel.API", "sentinel")] == 1
    meter = Meter("Panel.AE")
    assert [meter.show(value) for _ in range(10)] == [None] * 10


@given(st.sampled_from(SENTINELS))
def test_the_extremes_of_integers_are_none_with_any_factor(value: float) -> None:
    assert "Panel.API" not in filtered({"Panel.API": value}).values


@pytest.mark.parametrize("value", [0.0, 1.0, 32766.0, 255.0, 239.4, -100.0, 7.36, 0.003277, 0.000033, 65.5])
def test_other_numbers_are_none(value: float) -> None:
    assert filtered({"Panel.API": value}).values["Panel.API"] == value


def test_a_meter_may_pass_a_number_that_elsewhere_stands_for_none() -> None:
    meter = Meter(known=32.76)

    assert [meter.show(reading) for reading in (32.76, 32.767, 32.77, 65.535)] == [32.76, 32.767, 32.77, None]
    assert meter.counts == {"sentinel": 1}


@pytest.mark.parametrize(
    ("name", "value", "is_shown"),
    [
        ("EVSE.PLUG.API", 150.0, True),
        ("EVSE.PLUG.API", 201.0, False),
        ("EVSE.PLUG.AI", 1001.0, False),
        ("Panel.API", 900_000.0, True),
        ("Panel.API", -900_000.0, True),
        ("Panel.API", 1_100_000.0, False),
        ("Panel.VI", 132_000.0, True),
        ("Panel.VI", 1_100_000.0, False),
        ("Panel.HZI", -1.0, False),
        ("Panel.CODE", 65_535.0, True),
    ],
)
def test_a_gauge_lies_within_the_range_of_its_quantity(name: str, value: float, is_shown: bool) -> None:
    shown = filtered({name: value, "EVSE.STATUS": 1.0})

    assert (name in shown.values) is is_shown
    assert shown.rejected.get((name, "range")) == (None if is_shown else 1)


def test_what_a_device_says_that_does_not_answer_is_not_counted() -> None:
    assert filtered({"EVSE.PLUG.API": 4294967.295, "EVSE.STATUS": 34.0}).rejected == {}


def test_power_that_was_rejected_confirms_no_growth() -> None:
    meter = Meter("Panel.AE", known=100.0)
    meter.inventory = site("Panel.API")

    assert meter.show(102.0, API=4294967.295) is None


# Registers that may fall


def test_a_register_that_goes_on_falling_becomes_one_that_may_fall_for_good() -> None:
    meter = Meter("Panel.AE", known=20.0)
    shown = [meter.show(reading) for reading in (20.0, 19.9, 19.8, 19.7, 19.9, 0.1, 0.0, -0.1, -1.0)]

    assert shown == [20.0, None, None, 19.7, 19.9, None, None, None, None]
    assert meter.is_partial
    assert meter.register_filter.levels["Panel.AE"].is_partial
    assert meter.counts == {"rollback": 3, "zero": 1, "range": 2}
    again = Meter("Panel.AE")
    again.register_filter = RegisterFilter(meter.register_filter.levels)
    assert again.show(19.95, seconds=300) == 19.95
    assert again.is_partial


def test_a_register_that_fell_twice_and_is_below_zero_is_that_of_a_net_meter() -> None:
    meter = Meter("Panel.AE", known=20.0)

    assert [meter.show(reading, 1.0) for reading in (20.0, 19.9, 19.8, -0.5)] == [20.0, None, None, -0.5]
    assert meter.is_partial


def test_a_register_that_may_fall_has_another_quantity() -> None:
    inventory = site("Panel.API")
    snapshot = replace(read(0.0, inventory, {"Panel.AE": -0.5}), partial_registers=frozenset({"Panel.AE"}))

    assert Reading(snapshot).understand("Panel.AE") == ("Panel", "AE", "joules", -0.5 * 3.6e6)
    assert Reading(replace(snapshot, partial_registers=frozenset())).understand("Panel.AE") is None


@pytest.mark.parametrize(
    "readings",
    [
        (4855.0, 12.0) * 10,
        (20.0, 19.95) * 10,
        (20.0, 0.0) * 10,
        (20.0, 19.0, 0.0) * 10,
        (20.0, -1.0) * 10,
    ],
)
def test_a_register_that_comes_back_is_no_net_meter(readings: Sequence[float]) -> None:
    meter = Meter("Panel.AE", known=readings[0])
    for reading in readings:
        assert meter.show(reading) == (reading if reading == readings[0] else None)

    assert not meter.is_partial


def test_falls_of_more_than_a_day_ago_are_forgotten() -> None:
    meter = Meter("Panel.AE", known=20.0)
    for day in range(5):
        assert meter.show(20.0 - day, seconds=86_400.0) == (20.0 if not day else None)
        assert [meter.show(20.0 - day) for _ in range(4)][-1] == 20.0 - day

    assert not meter.is_partial


def test_below_zero_is_no_plug_but_a_net_meter() -> None:
    net, new, far, plug = Meter("Panel.AE", known=0.02), Meter("Panel.AE"), Meter("Panel.AE", known=20.0), Meter()

    assert net.show(-0.03) == -0.03
    assert [new.show(-7.5), new.show(-7.6)] == [None, -7.6]
    assert far.show(-7.5) is None
    assert far.counts == {"range": 1}
    assert [far.show(-7.5) for _ in range(4)][-1] == -7.5
    assert net.is_partial
    assert new.is_partial
    assert far.is_partial
    assert [plug.show(-0.03) for _ in range(10)] == [None] * 10
    assert plug.counts == {"range": 10}


@pytest.mark.parametrize("is_listed", [True, False])
def test_the_energy_of_a_plug_never_falls(is_listed: bool) -> None:
    meter = Meter(known=20.0, reported=4711.0)
    if not is_listed:
        meter.inventory = replace(meter.inventory, plugs=())

    assert [meter.show(-0.1) for _ in range(6)] == [None] * 6
    assert [meter.show(reading) for reading in (19.9, 19.8, 19.7, 19.6)] == [None] * 4
    assert not meter.is_partial


# Units that change


def test_a_register_whose_unit_was_contradicted_is_held_back_while_charge_info_is_unavailable() -> None:
    wrong = site(factors={AE: 0})
    right = site()
    reported = {"EVSE.PLUG": ChargeRecord("EVSE.PLUG", meter_watt_hours=4_855_390.0)}

    def shown(*reads: tuple[Inventory, Mapping[str, ChargeRecord]]) -> list[bool]:
        level = RegisterLevel(4855.39 * 3.6e6, 1.79e9)
        register_filter = RegisterFilter({AE: level, "chargeInfo EVSE.PLUG": level})
        values: dict[str, Value] = {AE: 4855.39, "EVSE.STATUS": 1.0}
        snapshots = [read(1.79e9, inventory, values, charges) for inventory, charges in reads]
        return [AE in register_filter.apply(snapshot, 0.0).values for snapshot in snapshots]

    assert shown((wrong, reported), (wrong, {}), (wrong, {}), (wrong, reported)) == [True, False, False, True]
    assert shown((right, reported), (right, {})) == [True, True]


def test_a_register_whose_unit_is_contradicted_is_held_back_with_what_contradicts_it() -> None:
    """chargeInfo as of a read before is not that of now: its next level looks like a jump."""
    register_filter = RegisterFilter({"chargeInfo EVSE.PLUG": RegisterLevel(48_000.0 * 3600, 1.79e9)})
    shown = []
    for reported in (48_000.0, 49_000.0):
        charges = {"EVSE.PLUG": ChargeRecord("EVSE.PLUG", meter_watt_hours=reported)}
        values = {AE: reported / 1000, "EVSE.STATUS": 1.0}
        snapshot = register_filter.apply(read(1.79e9, site(factors={AE: 6}), values, charges), 0.0)
        shown.append((AE in snapshot.values, snapshot.charges["EVSE.PLUG"].meter_watt_hours))

    assert shown == [(True, 48_000.0), (False, None)]
    assert snapshot.rejected[AE, "unit"] == 1


@pytest.mark.parametrize("times", [1000, 0.001])
def test_a_copy_that_is_wrong_by_a_thousand_is_no_conflict_while_its_register_goes_on(times: float) -> None:
    meter = Meter(known=4855.39, reported=4_855_390.0)
    assert meter.show(4855.39) == 4855.39
    meter.report(4_855_390.0 * times)
    for step in range(20):
        reading = 4855.39 + step / 100
        assert meter.show(reading) == reading
        assert meter.shown.charges["EVSE.PLUG"].meter_watt_hours is None
    meter.charges = {}

    assert meter.show(4855.6) == 4855.6
    assert meter.counts == {}


def test_charge_info_that_was_kept_from_an_earlier_read_is_as_old_as_that() -> None:
    register_filter = RegisterFilter({"chargeInfo EVSE.PLUG": RegisterLevel(48_000.0 * 3600, 1.79e9)})
    for step, reported in enumerate((48_000.0, 48_000.0, 48_000.0, 48_600.0)):
        charges = {"EVSE.PLUG": ChargeRecord("EVSE.PLUG", meter_watt_hours=reported)}
        snapshot = register_filter.apply(read(1.79e9 + 50 * step, INVENTORY, {}, charges), 50.0 * step)

        assert snapshot.charges == charges


class Changing:
    """A filter whose engine describes some variables with another factor from the second read on."""

    def __init__(self, before: Mapping[str, float], factors: Mapping[str, int]) -> None:
        self.register_filter = RegisterFilter()
        self.now = 0.0
        self.inventory = site(*before)
        self.changes: list[str] = []
        for _ in range(5):
            self.show(before)
        assert self.changes == []
        self.inventory = site(*before, factors=factors)

    def show(
        self, values: Mapping[str, float], charges: Mapping[str, ChargeRecord] = MappingProxyType({})
    ) -> set[str]:
        """The variables that are let through 15 seconds after the last read."""
        self.now += 15
        snapshot = read(1.79e9 + self.now, self.inventory, dict(values) | {"EVSE.STATUS": 1.0}, charges)
        shown = self.register_filter.apply(snapshot, self.now)
        self.changes += shown.changes
        self.rejected = {key: count for key, count in shown.rejected.items() if count}
        return shown.values.keys() & values.keys()

    def back(self) -> None:
        """Let the engine describe the variables as before."""
        self.inventory = site(*self.inventory.variables)


FLOWING = {"EVSE.PLUG.API": 7.2, "EVSE.PLUG.AI": 30.0, "EVSE.PLUG.VI": 240.0}


def test_power_whose_factor_changed_is_held_back_while_current_and_voltage_contradict() -> None:
    engine = Changing(FLOWING, {"EVSE.PLUG.API": 0})

    assert [engine.show(FLOWING) for _ in range(10)] == [FLOWING.keys() - {"EVSE.PLUG.API"}] * 10
    assert engine.rejected == {("EVSE.PLUG.API", "unit"): 10}
    assert engine.changes == ["EVSE.PLUG.API: the unit changed from kW to W, not confirmed yet"]
    engine.back()
    assert engine.show(FLOWING) == FLOWING.keys()
    assert engine.changes[1:] == ["EVSE.PLUG.API: the unit is kW again"]


def test_power_whose_factor_changed_is_shown_once_current_and_voltage_confirm_it() -> None:
    engine = Changing(FLOWING, {"EVSE.PLUG.API": 0})

    assert engine.show(dict.fromkeys(FLOWING, 0.0)) == FLOWING.keys(), "zero is zero in any unit"
    assert engine.show(FLOWING | {"EVSE.PLUG.API": 7200.0}) == FLOWING.keys()
    assert engine.show(dict.fromkeys(FLOWING, 1.0) | {"EVSE.PLUG.API": 1.0}) == FLOWING.keys()
    assert engine.changes[1:] == ["EVSE.PLUG.API: the unit is W, as other values confirm"]


def test_a_current_whose_factor_changed_is_judged_by_the_power() -> None:
    wrong, right = (Changing(FLOWING, {"EVSE.PLUG.AI": -3}) for _ in range(2))

    assert wrong.show(FLOWING) == FLOWING.keys() - {"EVSE.PLUG.AI"}
    assert right.show(FLOWING | {"EVSE.PLUG.AI": 30_000.0}) == FLOWING.keys()


def test_phases_are_judged_each_by_itself() -> None:
    values = {
        f"Panel.{name}{phase}": value
        for phase in "123"
        for name, value in (("API", 2.3), ("AI", 10.0), ("VI", 230.0))
    }
    engine = Changing(values, {"Panel.API1": 0, "Panel.API3": 0})

    assert engine.show(values | {"Panel.API1": 2300.0}) == values.keys() - {"Panel.API3"}


def test_a_unit_of_the_catalogue_gives_way_to_that_of_the_engine() -> None:
    engine = Changing({"Meter.IPI": 0.5}, {})
    unit = VariableInfo(unit="#VARL", factor=0)
    engine.inventory = replace(engine.inventory, variables={**engine.inventory.variables, "Meter.IPI": unit})

    assert engine.show({"Meter.IPI": 0.5}) == {"Meter.IPI"}
    engine.back()
    assert engine.show({"Meter.IPI": 0.5}) == set(), "the engine has lost the description"


def test_variables_that_changed_together_confirm_nothing_of_each_other() -> None:
    engine = Changing(FLOWING, {"EVSE.PLUG.API": 0, "EVSE.PLUG.AI": -3})

    assert engine.show(FLOWING) == {"EVSE.PLUG.VI"}


def test_a_register_whose_factor_changed_goes_on_from_its_level() -> None:
    before = {"Panel.AE": 100.0}
    wrong, right = (Changing(before, {"Panel.AE": 0}) for _ in range(2))

    assert [wrong.show({"Panel.AE": 100.01}) for _ in range(10)] == [set()] * 10
    assert wrong.rejected == {("Panel.AE", "unit"): 10}
    assert right.show({"Panel.AE": 100_010.0}) == {"Panel.AE"}


@pytest.mark.parametrize("sent", [0.1, 100_000.0])
def test_a_register_that_is_wrong_by_a_thousand_after_a_restart_is_not_accepted(sent: float) -> None:
    unknown, known = Meter("Panel.AE", known=100.0), Meter("Meter.AE", known=100.0)
    known.inventory = site("Meter.AE")

    assert [unknown.show(sent) for _ in range(10)] == [None] * 10
    assert unknown.counts == {"unit": 10}
    assert unknown.show(100.01) == 100.01
    assert [known.show(sent) for _ in range(6)][-1] == sent, "the catalogue has the unit"


def test_the_register_of_a_plug_is_confirmed_by_charge_info() -> None:
    engine = Changing({AE: 100.0}, {AE: 0})
    reported = {"EVSE.PLUG": ChargeRecord("EVSE.PLUG", meter_watt_hours=100_000.0)}

    assert engine.show({AE: 100.0}) == set()
    assert engine.show({AE: 100_000.0}, reported) == {AE}


def test_the_catalogue_decides_where_nothing_else_does() -> None:
    engine = Changing({"Meter.API": 0.5}, {"Meter.API": 0})

    assert [engine.show({"Meter.API": 0.5}) for _ in range(10)] == [set()] * 10
    again = Changing({"Meter.API": 0.5}, {})
    again.inventory = site("Meter.API", factors={"Meter.API": 0})
    again.register_filter = RegisterFilter()
    again.show({"Meter.API": 0.5})
    again.back()
    assert again.show({"Meter.API": 0.5}) == {"Meter.API"}
    assert again.changes[-1] == "Meter.API: the unit is kW, as other values confirm"


def test_a_unit_that_nothing_confirms_has_to_settle_at_a_number_that_changed_as_it_did() -> None:
    engine = Changing({"Panel.HZI": 50.0}, {})
    engine.show({})
    engine.inventory = site("Panel.HZI", factors={"Panel.HZI": -3})

    assert [engine.show({"Panel.HZI": 50.0}) for _ in range(10)] == [set()] * 10
    assert [len(engine.show({"Panel.HZI": 50_000.0})) for _ in range(6)] == [0, 0, 0, 0, 1, 1]


def test_what_charge_info_says_of_the_meter_is_held_back_when_it_cannot_be() -> None:
    register_filter = RegisterFilter({"chargeInfo EVSE.PLUG": RegisterLevel(4_855_390.0 * 3600, 1.79e9)})
    shown = []
    for step, reported in enumerate((4_855_390.0, 0.0, 4_855_420.0, 9_999_999.0, 4294967.295, 4_855_450.0)):
        charges = {"EVSE.PLUG": ChargeRecord("EVSE.PLUG", meter_watt_hours=reported, watt_hours=30.0)}
        snapshot = read(1.79e9 + 15 * step, INVENTORY, {"EVSE.STATUS": 1.0}, charges)
        shown.append(register_filter.apply(snapshot, 15.0 * step).charges["EVSE.PLUG"])

    assert [charge.meter_watt_hours for charge in shown] == [
        4_855_390.0,
        None,
        4_855_420.0,
        None,
        None,
        4_855_450.0,
    ]
    # The energy of the session is of the same document.
    assert [charge.watt_hours for charge in shown] == [30.0, None, 30.0, None, None, 30.0]


def test_the_energy_of_a_session_is_no_sentinel() -> None:
    charges = {"EVSE.PLUG": ChargeRecord("EVSE.PLUG", watt_hours=4294967295.0)}
    shown = RegisterFilter().apply(read(1.79e9, INVENTORY, {}, charges), 0.0)

    assert shown.charges["EVSE.PLUG"].watt_hours is None


def test_an_unavailable_charger_changes_nothing() -> None:
    meter = Meter(known=4855.39)
    down = replace(read(meter.at, INVENTORY, {AE: 0.0}), up=False)

    assert meter.register_filter.apply(down, meter.now).values == down.values
    assert meter.show(4855.40) == 4855.40


# Whatever comes


GLITCHES = ("zero", "spike", "old", "half", "int64", "negative")


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.floats(0, 1),
            st.floats(1, 1e5),
            st.floats(-5000, 5000),
            st.sampled_from([None, None, None, *GLITCHES]),
        ),
        min_size=5,
        max_size=60,
    )
)
def test_whatever_glitches_come_the_register_never_falls_and_what_is_true_is_shown_at_once(
    steps: list[tuple[float, float, float, str | None]],
) -> None:
    meter, truth, shown, streak = Meter(known=4855.39), 4855.39, 4855.39, 0
    meter.show(truth)
    for share, seconds, set_by, wanted in steps:
        truth = round(truth + share * 32 * 240 * 3 / 3.6e6 * seconds, 2)
        streak = streak + 1 if wanted and streak + 1 < SETTLE_READINGS else 0
        glitch = wanted if streak else None  # one that stays is no glitch any more
        sent = {
            "zero": 0.0,
            "spike": truth + 1.25e6 * seconds / 3.6e6 * 2 + 5000,
            "old": shown - 7,
            "half": shown / 2,
            "int64": 9223372036854775.807,
            "negative": -truth,
            None: truth,
        }[glitch]
        assert meter.show(sent, seconds, set_by=set_by) == (truth if glitch is None else None)
        shown = truth if glitch is None else shown


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.floats(0, 1), st.floats(1, 80), st.sampled_from([1.0, 1.0, 0.0, 0.0025, 0.5, 2.0, 700.0, -1.0])
        ),
        max_size=40,
    )
)
def test_while_charge_info_is_right_no_other_level_is_shown(steps: list[tuple[float, float, float]]) -> None:
    meter, truth = Meter(known=4855.39, reported=4_855_390.0), 4855.39
    meter.show(truth)
    for share, seconds, factor in steps:
        truth = round(truth + share * 32 * 240 * 3 / 3.6e6 * seconds, 2)
        meter.report(truth * 1000, state=8)

        assert meter.show(truth * factor, seconds) == (truth if factor == 1 else None)


@settings(max_examples=100, deadline=None)
@given(
    reads=st.lists(
        st.tuples(
            st.sampled_from([0.0, 12.3, 32.767, 100.0, 100.01, 4855.39, -1.0, -5.0, 9e15]), st.floats(0.1, 40)
        ),
        max_size=60,
    )
)
def test_what_is_shown_was_read_and_a_fall_has_settled(reads: list[tuple[float, float]]) -> None:
    meter = Meter(known=100.0)
    shown, history = 100.0, [(0.0, 100.0)]
    for sent, seconds in reads:
        value = meter.show(sent, seconds)
        if sent not in (32.767, -1.0, -5.0, 9e15):
            history.append((meter.now, sent))
        assert value in (None, sent)
        if value is not None and value < shown:
            assert {each for _, each in history[-SETTLE_READINGS:]} == {sent}
            assert all(each == sent for at, each in history if at >= meter.now - SETTLE_SECONDS)
        shown = value if value is not None else shown
