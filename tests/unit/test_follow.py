"""How a follower decides: by a number that it may not believe, with writes that are counted."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest
from helpers.plugs import Car

from ccl_exporter.control.follow.input_filter import InputFilter, InputSpec, InputValue, Unit, What
from ccl_exporter.control.follow.policy import Budget, Decision, Full, Mode, Observation, Policy, Rules
from ccl_exporter.control.follow.sources import (
    File,
    LatestValue,
    NoValueError,
    answered,
    descriptor_lines,
    mqtt,
    prom_query,
    reading,
)
from ccl_exporter.errors import UsageError
from ccl_exporter.settings import Credentials
from ccl_exporter.station.current_limit import amperes_left, percent_for

CHARGING = Car()


@dataclass
class Room:
    """A policy, a trust, and a car that obeys at once and takes `most` amperes at most."""

    mode: Mode = "surplus"
    what: What = "available"
    unit: Unit = "W"
    roof: float = 8000.0
    supply: float | None = None
    most: float = 32.0
    obeys: bool = True
    every: float = 2.0
    writes: int = 60
    safe: float = 0.0
    full: Full = ""
    now: float = 1000.0
    car: Car = CHARGING
    sent: list[tuple[float, int]] = field(default_factory=list)
    last: Decision = field(default_factory=lambda: Decision(None, 0.0, ""))

    def __post_init__(self) -> None:
        has_supply = self.supply is not None or (self.mode == "supply" and self.what == "import")
        supply = (self.supply or 14_000.0, "W") if has_supply else None
        self.input_filter = InputFilter(InputSpec(self.what, self.unit, self.mode, supply, self.roof))
        self.policy = Policy(Rules(self.mode, 32.0, safe=self.safe, supply=has_supply), Budget(self.writes))

    @property
    def limit(self) -> float:
        return amperes_left(self.car.percent, 32.0)

    def look(self, number: InputValue | None, day: int = 1) -> Decision:
        self.now += self.every
        known = self.input_filter.judge(number, self.now, self.car.plug)
        self.last = self.policy.decide(Observation(self.now, day, self.car.plug, *known, full=self.full))
        if self.last.percent is not None:
            self.policy.wrote(self.now, self.last.percent)
            self.sent.append((self.now, self.last.percent))
            if self.obeys:
                self.obey(self.last.percent)
        return self.last

    def obey(self, percent: int) -> None:
        limit = amperes_left(percent, 32.0)
        amperes = min(limit, self.most) if limit >= 6 and self.car.wants else 0.0
        self.car = replace(self.car, percent=percent, amperes=amperes, watts=amperes * 230.0)

    def hear(self, value: float, seconds: float, day: int = 1) -> Decision:
        """New numbers of one value for some time."""
        for _ in range(int(seconds / self.every)):
            self.look(InputValue(value, self.now + self.every), day)
        return self.last

    def hear_house(self, load: float, seconds: float, lie: float = 1.0) -> Decision:
        """The import of a house with this load besides the car, times a lie, for some time."""
        for step in range(int(seconds / self.every)):
            self.look(InputValue((load + self.car.watts + step % 7) * lie, self.now + self.every))
        return self.last

    def silence(self, seconds: float) -> Decision:
        """No new number for some time."""
        old = self.input_filter._last
        for _ in range(int(seconds / self.every)):
            self.look(old)
        return self.last


# Following


@pytest.mark.parametrize("mode", ["surplus", "supply"])
def test_a_cap_of_another_program_is_no_reason_to_write_again_and_again(mode: Mode) -> None:
    room = Room(mode, car=replace(CHARGING, percent=81, amperes=6.0, watts=1380.0, cap=10.0), most=10.0)
    room.hear(7000, 900)

    assert room.limit >= 10
    assert len(room.sent) <= 3


def test_below_a_cap_the_limit_is_what_the_supply_leaves_should_the_cap_be_lifted() -> None:
    room = Room("supply", what="import", supply=14_000.0, most=10.0)
    room.car = replace(CHARGING, amperes=10.0, watts=2300.0, cap=10.0)
    room.hear_house(14_000 - 16 * 230, 900)

    assert 14 <= room.limit <= 16
    assert len(room.sent) <= 2


def test_the_sun_is_followed_down_at_once_and_up_with_patience() -> None:
    room = Room()
    room.hear(4600, 30)
    assert 18 < room.limit <= 20

    room.hear(2300, 12)
    assert 9 < room.limit <= 10
    room.hear(4600, 10)
    assert room.limit <= 10
    room.hear(4600, 30)
    assert 18 < room.limit <= 20


def test_noise_costs_no_writes() -> None:
    room = Room()
    room.hear(4600, 60)
    before = len(room.sent)
    for number in range(600):
        room.look(InputValue(4600 + 60 * math.sin(number), room.now + 2))

    assert len(room.sent) <= before + 2


def test_without_enough_sun_the_car_pauses_and_it_does_not_start_at_every_ray() -> None:
    room = Room()
    room.hear(4600, 120)
    room.hear(0, 600)
    assert room.limit == 0
    assert room.last.reason == "below_minimum"
    for _ in range(30):
        room.hear(2000, 20)
        room.hear(0, 40)
    assert room.policy.starts == 0

    room.hear(3500, 600)
    assert room.limit > 12
    assert room.policy.starts == 1


def test_a_passing_cloud_is_bridged_with_the_least_current() -> None:
    room = Room()
    room.hear(5000, 600)
    room.hear(1000, 60)

    assert room.last.reason == "bridging"
    assert 6 <= room.limit < 6.2


def test_a_day_has_so_many_starts_and_the_next_day_has_them_again() -> None:
    room = Room()
    for _ in range(20):
        room.hear(0, 900)
        room.hear(5000, 900)
    assert room.policy.starts == 8
    room.hear(0, 900)
    assert room.limit == 0

    room.hear(5000, 900, day=2)
    assert room.policy.starts == 9


def test_with_a_floor_the_car_never_pauses() -> None:
    room = Room(mode="floor")
    room.hear(4600, 60)
    room.hear(-500, 1200)

    assert 6 <= room.limit < 6.2
    assert room.policy.starts == 0


def test_a_supply_that_is_exceeded_means_less_at_the_next_look() -> None:
    room = Room(mode="supply", what="import", safe=6.1)
    room.hear_house(2000, 300)
    assert room.limit == 32
    decision = room.look(InputValue(12_000 + room.car.watts, room.now + 2))

    assert decision.urgent
    assert room.limit * 230 <= 14_000 - 12_000


def test_a_supply_that_is_exceeded_leaves_room_for_one_more_load() -> None:
    room = Room(mode="supply", what="import", safe=6.1)
    room.hear_house(6400, 60)
    assert room.limit == 32
    room.look(InputValue(7000 + room.car.watts, room.now + 2))

    assert 6 <= room.limit <= 7000 / 230 - 15


def test_a_limit_that_a_car_does_not_use_is_lowered_without_a_pause() -> None:
    car = replace(CHARGING, amperes=10.0, watts=2300.0)
    room = Room(mode="supply", what="import", safe=6.1, most=10.0, car=car)
    room.hear_house(2000, 60)
    assert room.limit == 32
    room.hear_house(9500, 30)

    assert 10 < room.limit < 20
    assert room.car.amperes == 10


def test_a_supply_gives_back_in_steps_and_only_what_stays_free() -> None:
    room = Room(mode="supply", what="import", safe=6.1)
    room.hear_house(13_000, 60)
    assert room.limit == 0
    room.hear_house(2000, 90)
    assert room.limit == 0
    room.hear_house(2000, 300)
    assert room.limit == 32
    (began, first), (next_at, second) = room.sent[1:]
    assert amperes_left(first, 32.0) == 16
    assert next_at - began >= 15
    assert second == 0


def test_no_more_is_raised_at_once_than_the_ramp_allows() -> None:
    room = Room()
    room.hear(1500, 60)
    room.hear(7400, 40)
    steps = [amperes_left(percent, 32.0) for _, percent in room.sent]

    assert len(steps) >= 2
    assert max(after - before for before, after in pairwise(steps)) <= 16


def test_a_car_that_takes_less_than_allowed_is_offered_no_more_and_costs_no_writes() -> None:
    room = Room(most=10.0)
    room.hear(3500, 60)
    before = len(room.sent)
    for _ in range(20):
        room.hear(4500, 60)
        room.hear(6500, 60)

    assert len(room.sent) <= before + 2
    assert room.limit < 20


def test_without_a_charge_there_is_the_safe_current_written_once() -> None:
    room = Room(car=replace(CHARGING, amperes=0.0, watts=0.0, wants=False))
    room.hear(5000, 1200)

    assert room.last.reason == "no_vehicle"
    assert room.sent == [(room.sent[0][0], 100)]


# The whole day: sun, full hours, boosts, within a supply


def test_in_the_full_hours_the_car_has_all_whatever_the_sun_does_and_then_pauses_at_once() -> None:
    room = Room(what="import", full="full_hours")
    room.hear_house(500, 120)
    assert (room.limit, room.last.reason) == (32, "full_hours")
    room.full = ""
    room.hear_house(500, 20)

    assert room.limit == 0


def test_without_a_supply_the_full_hours_need_no_input() -> None:
    room = Room(full="boost")
    for _ in range(60):
        room.look(None)
    assert (room.limit, room.last.reason) == (32, "boost")
    room.full = ""
    room.look(None)

    assert (room.limit, room.last.reason) == (0, "stale")


@pytest.mark.parametrize("full", ["full_hours", "boost"])
def test_the_supply_limits_the_full_hours_too(full: Full) -> None:
    room = Room(what="import", supply=14_000.0, safe=6.1, full=full)
    room.hear_house(2000, 300)
    assert room.limit == 32
    room.look(InputValue(12_000 + room.car.watts, room.now + 2))
    assert room.limit * 230 <= 2000
    room.silence(60)

    assert 6 <= room.limit < 6.2


def test_a_supply_that_is_exceeded_counts_more_than_the_floor() -> None:
    room = Room(mode="floor", what="import", supply=3000.0, safe=6.1)
    room.hear_house(-1900, 600)
    room.hear_house(500, 60)
    assert 6 <= room.limit < 6.2
    room.hear_house(2500, 4)

    assert room.limit == 0


def test_full_hours_use_none_of_the_starts_that_the_sun_has() -> None:
    room = Room(full="full_hours")
    for _ in range(20):
        room.hear(0, 300)
        room.full = "" if room.full else "full_hours"
    assert room.policy.starts > 8
    room.full = ""
    room.hear(5000, 900)

    assert room.limit > 20


@pytest.mark.parametrize(
    ("rules", "found", "left"),
    [
        pytest.param(Rules("surplus", 32.0), 0, 0, id="no limit before"),
        pytest.param(Rules("surplus", 32.0), 50, 50, id="a limit before"),
        pytest.param(Rules("surplus", 32.0), 82, 0, id="a limit below the minimum current"),
        pytest.param(Rules("surplus", 32.0, safe=6.1, supply=True), 0, 81, id="a supply"),
        pytest.param(Rules("supply", 32.0, safe=6.1), 100, 81, id="the mode of a supply"),
    ],
)
def test_what_is_left_at_the_end_keeps_no_car_from_charging(rules: Rules, found: int, left: int) -> None:
    assert rules.at_end(found) == left


# Numbers that are not to be believed


@pytest.mark.parametrize("mode", ["surplus", "floor", "supply"])
def test_a_stale_number_means_the_safe_current_within_a_minute_and_it_is_left_when_the_number_returns(
    mode: Mode,
) -> None:
    room = Room(mode=mode, what="available", safe=6.1)
    room.hear(5000, 200)
    assert room.limit > 15
    lost = room.now
    room.silence(60)
    assert room.last.reason == "stale"
    assert 6 <= room.limit < 6.2
    assert room.sent[-1][0] - lost <= 40

    room.hear(5000, 300)
    assert room.limit > 15


def test_a_number_that_is_repeated_with_its_old_date_is_stale() -> None:
    room = Room()
    room.hear(5000, 120)
    old = InputValue(5000.0, room.now)
    for _ in range(25):
        room.look(InputValue(old.value, old.at))

    assert room.last.reason == "stale"
    assert room.limit == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 5e6, 1e308])
def test_implausible_inputs_are_skipped_and_if_nothing_else_comes_the_current_is_safe(value: float) -> None:
    room = Room()
    room.hear(5000, 120)
    before = room.limit
    room.hear(value, 10)
    assert room.limit == before
    room.hear(value, 40)

    assert room.last.reason == "implausible"
    assert room.limit == 0


def test_a_number_whose_date_is_none_does_not_count() -> None:
    newest = LatestValue(lambda: 1000.0, lambda: 1000.0)
    newest.take_text("4000 nan", None)

    assert newest.number is None
    assert "date" in newest.failure


def test_a_sign_that_is_wrong_is_seen_by_what_the_car_takes() -> None:
    room = Room(mode="surplus", what="import", roof=4000.0)
    room.hear_house(2500, 400, lie=-1.0)

    assert room.last.reason == "contradiction"
    assert room.limit == 0
    assert room.policy.starts == 1
    spent = len(room.sent)
    room.hear_house(2500, 400, lie=-1.0)
    assert len(room.sent) == spent


def test_a_unit_that_changes_is_seen_by_what_the_car_takes() -> None:
    room = Room(mode="supply", what="import", roof=0.0, safe=6.1)
    room.hear_house(2000, 300)
    assert room.limit == 32
    room.hear_house(2000, 30, lie=0.001)

    assert room.last.reason == "contradiction"
    assert 6 <= room.limit < 6.2


def test_an_import_that_stands_still_while_the_car_changes_is_stale_until_it_moves() -> None:
    room = Room(mode="supply", what="import", safe=6.1)
    room.hear_house(8000, 120)
    assert 10 < room.limit < 32
    frozen = 8000 + room.car.watts
    room.hear(frozen, 6)
    room.car = replace(room.car, amperes=6.0, watts=1380.0)
    room.hear(frozen, 40)
    assert room.last.reason == "stale"
    assert 6 <= room.limit < 6.2
    room.hear_house(8000, 300)

    assert room.last.reason == "following"


@pytest.mark.parametrize(("finer", "reason"), [(0.5, "stale"), (100.0, "following")])
def test_an_import_that_repeats_exactly_is_stale_where_its_source_is_finer(finer: float, reason: str) -> None:
    room = Room(mode="supply", what="import", safe=6.1)
    for step in range(100):
        room.look(InputValue(4000 + room.car.watts // 100 * 100 + step % 3 * finer, room.now + 2))
    room.hear(4000 + room.car.watts // 100 * 100, 100)

    assert room.last.reason == reason


@pytest.mark.parametrize(("every", "reason"), [(2, "stale"), (60, "")])
def test_without_a_supply_a_meter_may_be_slow(every: int, reason: str) -> None:
    """An import that repeats for 100 s, of a meter that was read every so many seconds before."""
    judged = InputFilter(InputSpec("import", "W", "surplus", None, 7000.0))
    for second in range(0, 1200, 2):
        judged.judge(InputValue(second // every % 5 - 500.0, second), second, CHARGING.plug)
    for second in range(1200, 1300, 2):
        known = judged.judge(InputValue(-500.5, second), second, CHARGING.plug)

    assert known.reason == reason


@pytest.mark.parametrize(
    ("meter", "phase", "is_dated"),
    [pytest.param(15, 0, False, id="sent again as new"), pytest.param(10, 3, True, id="between two looks")],
)
def test_an_input_of_before_the_limit_was_lowered_lowers_it_no_further(
    meter: int, phase: int, is_dated: bool
) -> None:
    """A load of 2.3 kW begins beside 5 kW of sun; the meter is slower than the looks, a write acts after 4 s."""
    room = Room(what="import", every=5.0, obeys=False, now=-5.0)
    room.obey(percent_for(20.0, 32.0))
    number, acts = InputValue(room.car.watts - 4700.0, -1.0), -1
    for second in range(200):
        if second == acts:
            room.obey(room.sent[-1][1])
        if second % meter == phase:
            load = 300.0 if second < 60 else 2600.0
            number = InputValue(load + room.car.watts + second % 7 - 5000.0, second)
        if second % 5 == 0:
            decision = room.look(number if is_dated else InputValue(number.value, second))
            acts = second + 4 if decision.percent is not None else acts

    assert 9.5 < room.limit <= 2400 / 230
    assert min(amperes_left(percent, 32.0) for _, percent in room.sent) == room.limit


@pytest.mark.parametrize(("before", "after"), [(10.0, 20.0), (20.0, 10.0)])
def test_while_an_import_repeats_the_supply_goes_by_the_smaller_current_of_the_car(
    before: float, after: float
) -> None:
    judged = InputFilter(InputSpec("import", "W", "surplus", (14_000.0, "W"), 7000.0))
    for second in range(0, 18, 2):
        amperes = before if second < 10 else after
        car = replace(CHARGING, amperes=amperes, watts=amperes * 230)
        known = judged.judge(InputValue(12_000.0, second), second, car.plug)

    assert known == (before * 230 - 12_000, "", 10 * 230 + 2000)


@pytest.mark.parametrize(
    ("unit", "value", "left"), [("W", 18_400.0, 6900.0), ("kW", 3.9, 41_400.0), ("A", 60, 6900)]
)
def test_of_three_phases_the_supply_leaves_what_the_fullest_of_them_leaves(
    unit: Unit, value: float, left: float
) -> None:
    """60 A a phase; besides the car's 10 A the import is 50 A on one phase, or 3 kW are sold."""
    judged = InputFilter(InputSpec("import", unit, "supply", (60.0, "A"), 10_000.0))
    car = replace(CHARGING, amperes=10.0, watts=6900.0, phases=3)
    for second in range(10):
        known = judged.judge(InputValue(value, second), second, car.plug)

    assert known.headroom == pytest.approx(left)


def test_a_house_of_three_phases_in_whole_amperes_contradicts_no_car_of_one() -> None:
    room = Room(mode="surplus", what="import", unit="A", roof=7000.0)
    others = [9, 14, 8]
    for step in range(600):
        # The car's phase is the first; the fullest one is often another.
        fullest = max(others[0] + step // 60 % 2, others[1], others[2]) if step % 97 else 15
        amperes = 6.0 + step // 45 % 3 * 3
        room.car = replace(room.car, amperes=amperes, watts=amperes * 230)
        phases = (amperes + 1, fullest)
        room.look(InputValue(float(int(max(phases))), room.now + 2))
        assert room.last.reason != "contradiction", step


@pytest.mark.parametrize("lie", [-1.0, 0.001, 0.0])
def test_a_wrong_sign_or_scale_is_seen_by_what_the_car_changes(lie: float) -> None:
    room = Room(mode="surplus", what="import", roof=30_000.0)
    room.car = replace(room.car, percent=100, amperes=0.0, watts=0.0)
    for amperes in (0, 6, 16, 24, 30):
        room.car = replace(room.car, amperes=float(amperes), watts=amperes * 230.0)
        for step in range(10):
            room.now += 2
            car = room.car.plug
            number = InputValue((-3000.0 + room.car.watts + step % 7) * lie, room.now)
            known = room.input_filter.judge(number, room.now, car)

    assert known == (None, "contradiction", None)


def test_amperes_are_those_of_the_phase_and_kilowatts_a_thousand_watts() -> None:
    for unit, value in (("kW", 4.6), ("A", 20.0), ("W", 4600.0)):
        room = Room(unit=unit)  # type: ignore[arg-type] # one of the units
        room.hear(value, 60)
        assert 19 < room.limit <= 20, unit


# Writes


def wild(room: Room) -> Iterator[InputValue]:
    """The worst that a feed can do: from much to nothing and back, for ever."""
    step = 0
    while True:
        step += 1
        yield InputValue(14_000.0 if step // 20 % 2 else 0.0, room.now + room.every)


@pytest.mark.parametrize("mode", ["surplus", "floor", "supply"])
def test_whatever_the_feed_does_an_hour_has_no_more_writes_than_the_budget(mode: Mode) -> None:
    room = Room(mode=mode, what="available", roof=20_000.0, safe=6.1)
    numbers = wild(room)
    for _ in range(3 * 1800):
        room.look(next(numbers))

    times = [at for at, _ in room.sent]
    assert max(sum(at <= other < at + 3600 for other in times) for at in times) <= 60


def test_a_supply_keeps_writes_for_what_cannot_wait_so_that_the_last_word_is_a_low_one() -> None:
    room = Room(mode="supply", what="available", safe=6.1, writes=20)
    numbers = wild(room)
    for _ in range(1800):
        number = next(numbers)
        room.look(number)
        if number.value == 0.0 and room.last.percent is None:
            assert room.limit == 0


@pytest.mark.parametrize("writes", [10, 14])
def test_a_small_budget_too_has_a_write_left_for_the_safe_current(writes: int) -> None:
    room = Room(writes=writes)
    for _ in range(20):
        room.hear(6500, 60)
        room.hear(2500, 60)
    room.hear(5000, 120)
    assert room.limit > 0
    room.silence(60)

    assert (room.last.reason, room.limit) == ("stale", 0)


def test_a_charger_that_ignores_a_write_is_asked_again_after_longer_and_longer_rests() -> None:
    room = Room(obeys=False)
    room.hear(3000, 3600)

    assert room.last.reason == "write_ignored"
    assert 5 <= len(room.sent) <= 20
    room.obeys = True
    room.hear(3000, 700)
    assert room.last.reason == "following"
    assert room.limit < 13.1


def test_a_write_that_an_earlier_one_overtakes_is_sent_again_before_others_are() -> None:
    """Each write acts some seconds after it was sent, and an earlier one may act later."""
    room = Room(mode="supply", what="import", safe=6.1, obeys=False)
    room.car = replace(room.car, percent=50, amperes=16.0, watts=3680.0)
    while not room.sent:
        room.hear_house(2000, 2)
    raised = room.sent[-1][1]
    room.hear_house(11_500, 2)
    at, lowered = room.sent[-1]
    assert lowered > 50 > raised
    room.obey(raised)
    while room.now <= at + 8:
        room.hear_house(11_500, 2)

    assert room.sent[-1][1] == lowered
    assert room.sent[-1][0] - at == 6


def test_a_supply_that_stays_exceeded_though_the_limit_is_low_pauses_the_car() -> None:
    room = Room(mode="supply", what="import", safe=6.1)
    room.hear_house(9000, 120)
    limit = room.limit
    assert 6 < limit < 32
    room.car = replace(room.car, amperes=32.0, watts=7360.0)
    for step in range(15):
        room.look(InputValue(9000 + 7360.0 + step % 7, room.now + 2))

    assert room.last.reason in ("limit_exceeded", "below_minimum")
    assert room.sent[-1][1] == 100


def test_writes_of_before_the_start_count() -> None:
    budget = Budget(60, [990.0, 900.0, -2700.0])

    assert budget.left(1000.0) == 58
    assert budget.left(4600.0) == 60


# What feeds give


def test_a_number_may_be_dated_and_may_be_a_member_of_json() -> None:
    assert reading("1234.5", None) == (1234.5, None)
    assert reading(" -3 1790000000 ", None) == (-3.0, 1790000000.0)
    assert reading('{"emeter": {"power": -12.5}}', "emeter.power") == (-12.5, None)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (f'{{"power": 1{"0" * 400}}}', "power"),
        ("", None),
        ("on", None),
        ("1 2 3", None),
        ("{}", "power"),
        ("[1]", "power"),
        ("5", "a"),
    ],
)
def test_what_is_no_number_is_reported(text: str, field: str | None) -> None:
    with pytest.raises(NoValueError):
        reading(text, field)


@pytest.mark.parametrize("url", ["", "http://", "ftp://host", "http://host:port", "http://[", "file:///x"])
def test_what_is_no_prometheus_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"--prometheus\.url is not the URL of a Prometheus"):
        prom_query(url, "up", 1.0)


@pytest.mark.parametrize(
    ("url", "shown"),
    [("localhost:9090", "http://localhost:9090"), ("https://host/p?t=hunter", "https://host/p?(hidden)")],
)
def test_a_prometheus_is_named_without_its_secrets(url: str, shown: str) -> None:
    assert prom_query(url, "up", 1.0).says == f"the query up at {shown}"


def test_a_login_in_the_url_of_a_prometheus_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError, match=r"must not hold a user name or password: the follower sends none$"):
        prom_query("https://me:hunter@host/p", "up", 1.0)


def test_the_password_of_a_broker_is_the_line_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(" of the broker \r\n")
    login = {"CCL_MQTT_USERNAME": "follower", "CCL_MQTT_PASSWORD_FILE": str(path)}

    assert mqtt("mqtt://192.0.2.5", "house", None, login).broker.credentials == Credentials(
        "follower", " of the broker "
    )


def test_the_answers_of_prometheus_are_understood_with_the_date_of_a_sample() -> None:
    def answer(kind: str, result: str) -> bytes:
        return f'{{"status": "success", "data": {{"resultType": "{kind}", "result": {result}}}}}'.encode()

    assert answered(answer("scalar", '[1790000000, "3.5"]')) == (3.5, None)
    assert answered(answer("vector", '[{"metric": {}, "value": [1790000000, "-7"]}]')) == (-7.0, None)
    assert answered(answer("matrix", '[{"values": [[1789999990, "1"], [1789999995.5, "2"]]}]')) == (
        2.0,
        1789999995.5,
    )
    for wrong in (
        answer("vector", "[]"),
        b"<html>",
        b"[]",
        answer("vector", '[{"value": 1}]'),
        b"null",
        answer("scalar", f"[0, 1{'0' * 400}]"),
    ):
        with pytest.raises(NoValueError):
            answered(wrong)
    with pytest.raises(NoValueError, match=r"\(HTTP 401\) is not one of Prometheus"):
        answered(b"Unauthorized", 401)
    with pytest.raises(NoValueError, match="bad query"):
        answered(b'{"status": "error", "error": "bad query"}')


def test_a_clock_that_is_set_makes_no_number_younger() -> None:
    now, wall = [100.0], [1_790_000_000.0]
    newest = LatestValue(lambda: now[0], lambda: wall[0])
    newest.take(5.0, wall[0] - 20)
    assert newest.number == InputValue(5.0, 80.0)
    wall[0] += 3600
    newest.take(6.0, wall[0] - 20)
    assert newest.number == InputValue(6.0, 80.0)
    wall[0] -= 7200
    newest.take(7.0, wall[0] + 3600)
    assert newest.number == InputValue(6.0, 80.0)
    assert "clocks" in newest.failure


def test_a_value_with_a_date_ahead_of_our_clock_grows_old_from_when_it_first_came() -> None:
    now = [100.0]
    newest = LatestValue(lambda: now[0], lambda: now[0])
    for now[0] in (100.0, 130.0, 159.0, 200.0):
        newest.take(5.0, 159.0)
        assert newest.number == InputValue(5.0, 100.0)
    newest.take(6.0, 190.0)
    assert newest.number == InputValue(6.0, 190.0)
    # The monotonic clock stands still while a machine is suspended.
    newest = LatestValue(lambda: 100.0, lambda: now[0])
    for now[0] in (190.0, 3790.0):
        newest.take(6.0, 190.0)
    assert newest.number == InputValue(6.0, -3500.0)


def test_lines_of_a_descriptor_come_as_they_are_written_and_end_with_it() -> None:
    reading_end, writing_end = os.pipe()
    lines = descriptor_lines(reading_end)
    os.write(writing_end, b"21\xb0C\n3000\n40")
    assert [next(lines), next(lines)] == ["21\ufffdC", "3000"]
    os.write(writing_end, b"00")
    os.close(writing_end)

    assert list(lines) == ["4000"]
    os.close(reading_end)
    assert list(descriptor_lines(reading_end)) == [""]


def test_a_missing_file_is_news_at_once_and_once(tmp_path: Path) -> None:
    newest = LatestValue()
    File(tmp_path / "import", 1.0).look(newest)
    assert newest.news.is_set()
    assert newest.failure.endswith("cannot be read: No such file or directory")
    newest.news.clear()
    File(tmp_path / "import", 1.0).look(newest)

    assert not newest.news.is_set()
