"""What a planner does with a plug, in a time that the test moves, without a charger."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from helpers.plugs import plug
from helpers.support import PROJECT

from ccl_exporter.control.plan.plan_metrics import PlanMetrics
from ccl_exporter.control.plan.planner import Goal, Planner
from ccl_exporter.control.plan.prices import Slot
from ccl_exporter.control.plan.schedule import Piece, Plan
from ccl_exporter.control.plug_commands import Result
from ccl_exporter.control.state import PlanProgress
from ccl_exporter.control.wording import describe_plan
from ccl_exporter.errors import StateError, Unreachable, UsageError
from ccl_exporter.metrics.families import PLAN
from ccl_exporter.station.plug import Plug

HOUR = 3600.0
KILOWATTS = 6.0


def hours(*prices: float) -> Sequence[Slot]:
    return [Slot(number * HOUR, (number + 1) * HOUR, price) for number, price in enumerate(prices)]


@dataclass
class Garage:
    """A car at a plug, which charges what it `takes` while it is commanded to; what a planner did with it."""

    goal: Goal
    slots: Sequence[Slot] = ()
    at: float = 0.0
    energy: float = 0.0
    takes: float = inf
    requested: float | None = 1.0
    word: str = "charging"
    stopped: str = ""
    enabled: bool = True
    broken: bool = False
    stuck: bool = False
    disk_is_full: bool = False
    boosted: str = ""
    done: list[tuple[str, float]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    kept: list[PlanProgress] = field(default_factory=list)

    def look(self) -> Plug:
        joules = self.energy * 3.6e6
        session: dict[str, Any] = {"requested": self.requested, "stopped": self.stopped, "energy": joules}
        return plug(self.word, enabled=self.enabled, **session)

    def start(self) -> Result:
        self.done.append(("start", self.at))
        self.enabled, self.word = True, "charging"
        return Result("done", "it charges", self.look())

    def stop(self) -> Result:
        if self.stuck:
            raise Unreachable("it does not answer")
        self.done.append(("stop", self.at))
        self.enabled, self.word = False, "waiting_for_permission"
        return Result("done", "it is out of service", self.look())

    def prices(self) -> Sequence[Slot]:
        if self.broken:
            raise UsageError("the file is empty")
        return self.slots

    def keep(self, progress: PlanProgress) -> None:
        if self.disk_is_full:
            raise StateError("no space")
        self.kept.append(progress)

    def planner(self, progress: PlanProgress | None = None, slots: Sequence[Slot] | None = None) -> Planner:
        return Planner(
            self.goal,
            self.prices,
            self.look,
            self.start,
            self.stop,
            self.show,
            self.said.append,
            lambda: self.at,
            self.keep,
            progress,
            lambda at: f"{at / HOUR:.2f} h",
            slots=slots,
            boost=lambda seen: self.boosted,
        )

    def show(self, plan: Plan) -> None:
        self.said.append(f"shown: {plan.blocks}")

    def live(self, planner: Planner, until: float) -> bool:
        """Rounds of half a minute; False once the plan is over."""
        while self.at < until:
            if not planner.step():
                return False
            self.at += 30.0
            if self.word == "charging":
                self.energy = min(self.energy + KILOWATTS * 30 / HOUR, self.takes)
        return True


def test_a_car_charges_in_the_cheap_hours_and_what_is_next_is_said_meanwhile() -> None:
    garage = Garage(Goal(6.0, 5 * HOUR, KILOWATTS), hours(9, 9, 1, 9, 9))
    planner = garage.planner()

    assert not garage.live(planner, 6 * HOUR)
    assert garage.energy == pytest.approx(6.0, abs=0.1)
    assert [(word, at // HOUR) for word, at in garage.done] == [("stop", 0), ("start", 2), ("stop", 3)]
    assert garage.said[2] == "next: a charge from 2.00 h, 6.00 kWh are left"
    assert [line for line in garage.said if line.startswith("next")] == [garage.said[2]]


def test_a_rest_is_planned_too_unless_it_is_not_worth_a_start() -> None:
    slow = Garage(Goal(5.0, 5 * HOUR, 1.03 * KILOWATTS), hours(9, 9, 1, 9, 9))
    assert not slow.live(slow.planner(), 6 * HOUR)
    assert slow.energy > 4.94
    assert [(word, at // HOUR) for word, at in slow.done] == [("stop", 0), ("start", 2), ("stop", 2)]

    nearly = Garage(Goal(20.0, 8 * HOUR, 1.015 * KILOWATTS), hours(9, 9, 1, 1, 1, 1, 9, 9))
    planner = nearly.planner()
    assert not nearly.live(planner, 9 * HOUR)
    assert nearly.at < 7 * HOUR
    assert nearly.energy < 19.8
    assert planner.is_met
    assert [word for word, _ in nearly.done] == ["stop", "start", "stop"]


@pytest.mark.parametrize("by", [4 * HOUR, 3 * HOUR + 60], ids=["a car that takes no more", "no time is left"])
def test_a_rest_that_cannot_be_had_is_not_tried_for_ever(by: float) -> None:
    garage = Garage(Goal(5.0, by, KILOWATTS), hours(9, 9, 1, 9), takes=4.85)
    planner = garage.planner()

    assert not garage.live(planner, 6 * HOUR)
    assert planner.left > 0.14
    assert [word for word, _ in garage.done].count("start") == 1
    assert len([line for line in garage.said if line.startswith("shown")]) <= 2


def test_without_any_price_a_car_charges_as_late_as_possible_but_in_time() -> None:
    garage = Garage(Goal(6.0, 4 * HOUR, KILOWATTS))

    assert not garage.live(garage.planner(), 5 * HOUR)
    assert garage.energy == pytest.approx(6.0, abs=0.1)
    assert [word for word, _ in garage.done] == ["stop", "start", "stop"]
    assert 2.8 * HOUR < garage.done[1][1] < 3 * HOUR


def test_prices_that_come_while_they_are_awaited_are_planned_with() -> None:
    garage = Garage(Goal(6.0, 6 * HOUR, KILOWATTS))
    planner = garage.planner()
    garage.live(planner, HOUR)
    garage.slots = hours(9, 9, 9, 1, 9, 9)

    assert not garage.live(planner, 7 * HOUR)
    assert [(word, at // HOUR) for word, at in garage.done] == [("stop", 0), ("start", 3), ("stop", 4)]
    assert "a new plan: the prices changed" in garage.said


def test_what_has_prices_is_charged_and_the_rest_waits_for_them() -> None:
    garage = Garage(Goal(12.0, 8 * HOUR, KILOWATTS), hours(9, 2)[1:])
    planner = garage.planner()
    garage.live(planner, 3 * HOUR)
    assert garage.energy == pytest.approx(6.0, abs=0.1)
    garage.slots = hours(9, 2, 9, 9, 1, 9)

    assert not garage.live(planner, 9 * HOUR)
    assert garage.energy == pytest.approx(12.0, abs=0.2)
    assert [at // HOUR for word, at in garage.done if word == "start"] == [1, 4]


def test_after_a_kill_only_what_is_left_is_charged() -> None:
    garage = Garage(Goal(6.0, 6 * HOUR, KILOWATTS), hours(1, 1, 1, 1, 1, 1))
    garage.live(garage.planner(), 0.5 * HOUR)
    kept = garage.kept[-1]
    assert (kept.need, kept.by) == (6.0, 6 * HOUR)
    # The car goes on charging while no planner runs.
    garage.at += 600
    garage.energy += 1.0

    assert not garage.live(garage.planner(kept), 7 * HOUR)
    assert garage.energy == pytest.approx(6.0, abs=0.1)


def test_a_need_that_is_met_is_stored_and_not_charged_again() -> None:
    garage = Garage(Goal(6.0, 6 * HOUR, KILOWATTS), hours(1, 1, 1, 1, 1, 1))
    assert not garage.live(garage.planner(), 7 * HOUR)
    kept = garage.kept[-1]
    # The next car's session begins at nothing.
    garage.requested, garage.energy, garage.done = 2.0, 0.0, []

    assert not garage.planner(kept).step()
    assert (garage.done, garage.said[-1]) == ([], "the need is met: 6.00 of 6 kWh are charged")
    assert describe_plan(kept, False, garage.at).endswith("the need is met")


def test_a_boost_goes_on_in_dear_hours_and_after_the_need_is_met() -> None:
    garage = Garage(Goal(6.0, 5 * HOUR, KILOWATTS), hours(9, 9, 1, 9, 9), boosted="it goes on")
    planner = garage.planner()
    garage.live(planner, HOUR / 2)
    assert (garage.done, garage.said.count("it goes on")) == ([], 1)

    garage.boosted = ""
    garage.live(planner, HOUR)
    assert [(word, at // HOUR) for word, at in garage.done] == [("stop", 0)]

    garage.boosted, garage.word, garage.enabled = "it goes on", "charging", True
    assert garage.live(planner, 3 * HOUR)
    assert (garage.word, planner.is_met) == ("charging", True)
    garage.boosted = ""
    assert not garage.live(planner, 4 * HOUR)
    assert [(word, at // HOUR) for word, at in garage.done] == [("stop", 0), ("stop", 3)]
    assert "the need is met" in garage.said[-1]


def test_a_session_that_began_while_no_planner_ran_counts_too() -> None:
    garage = Garage(Goal(6.0, 6 * HOUR, KILOWATTS), hours(1, 1, 1, 1, 1, 1))
    garage.live(garage.planner(), 0.5 * HOUR)
    charged, kept = garage.energy, garage.kept[-1]
    garage.requested, garage.energy = 2.0, 1.0
    planner = garage.planner(kept)
    planner.step()

    assert planner.left == pytest.approx(6.0 - charged - 1.0, abs=0.1)


@pytest.mark.parametrize("glitch", [{"energy": 0.0}, {"requested": None}])
def test_a_session_of_which_one_read_is_implausible_is_counted_once(glitch: dict[str, float | None]) -> None:
    garage = Garage(Goal(12.0, 6 * HOUR, KILOWATTS), hours(1, 1, 1, 1, 1, 1))
    planner = garage.planner()
    garage.live(planner, HOUR)
    session: dict[str, Any] = {"requested": garage.requested, "energy": garage.energy * 3.6e6} | glitch
    planner.look = lambda: plug("charging", **session)
    planner.step()
    planner.look = garage.look
    garage.live(planner, 1.5 * HOUR)
    assert planner.left == pytest.approx(3.0, abs=0.1)

    # A charger that does not say when a session was requested has the next one all the same.
    garage.requested, garage.energy = None, 1.0
    planner.step()
    planner.step()
    assert planner.left == pytest.approx(2.0, abs=0.1)


def test_what_was_charged_is_stored_rarely_and_a_full_disk_ends_nothing() -> None:
    garage = Garage(Goal(6.0, 2 * HOUR, KILOWATTS), hours(1, 9), disk_is_full=True)
    planner = garage.planner()
    garage.live(planner, 0.25 * HOUR)
    assert "what was charged could not be stored: no space" in garage.said
    garage.disk_is_full = False
    garage.live(planner, 0.5 * HOUR)

    assert 0 < len(garage.kept) <= 30
    assert garage.kept[-1].charged == pytest.approx(6.0 - planner.left, abs=0.06)


def test_a_session_that_failed_is_begun_again_at_growing_intervals_and_one_that_its_driver_ended_is_not() -> None:
    def starts(stopped: str) -> Sequence[float]:
        """When charges begin within five hours, each of which ends after a minute."""
        garage = Garage(Goal(30.0, 6 * HOUR, KILOWATTS), hours(*[1] * 6), stopped=stopped)
        planner = garage.planner()
        while garage.live(planner, garage.at + 60) and garage.at < 5 * HOUR:
            garage.word = "waiting_for_disconnection"
        return [at for _, at in garage.done]

    failed = starts("error")
    assert failed[0] <= 120
    assert [later - one for one, later in pairwise(failed)] == pytest.approx([120, 240, 480, 900], abs=60)
    assert starts("user") == []


def test_a_session_that_is_ending_is_judged_once_it_has_ended() -> None:
    garage = Garage(Goal(30.0, 6 * HOUR, KILOWATTS), hours(*[1] * 6), stopped="error")
    planner = garage.planner()
    garage.live(planner, HOUR)
    garage.word = "stopping"
    garage.live(planner, garage.at + 60)
    garage.word, garage.stopped = "waiting_for_disconnection", "user"
    garage.live(planner, garage.at + 60)

    assert garage.done == []
    assert garage.said[-1].startswith("the car or its driver ended the charge")


def test_a_planner_that_is_restarted_near_the_end_lets_a_charge_go_on() -> None:
    garage = Garage(Goal(20.0, 6 * HOUR, KILOWATTS), hours(*[1] * 6), energy=19.7)
    planner = garage.planner(PlanProgress(20.0, 6 * HOUR, 19.7, 1.0, 19.7, [[0.0, HOUR]]))
    while garage.live(planner, garage.at + 30) and garage.at < HOUR:
        pass

    assert garage.energy == pytest.approx(20.0, abs=0.1)
    assert [word for word, _ in garage.done] == ["stop"]


def test_a_clock_that_is_set_back_does_not_keep_a_planner_waiting() -> None:
    garage = Garage(Goal(6.0, 9 * HOUR, KILOWATTS), hours(9, 9, 9, 9, 9, 9, 1, 9, 9), at=3 * HOUR)
    planner, garage.stuck = garage.planner(), True
    planner.step()
    garage.at, garage.stuck = HOUR, False
    planner.step()

    assert garage.done == [("stop", HOUR)]


def test_below_a_price_a_car_charges_without_a_need_and_only_then() -> None:
    garage = Garage(Goal(None, inf, KILOWATTS, below=5.0), hours(9, 4, 9, -1, 5))

    assert garage.live(garage.planner(), 5 * HOUR)
    assert garage.energy == pytest.approx(12.0, abs=0.2)
    assert [(word, at // HOUR) for word, at in garage.done] == [
        ("stop", 0),
        ("start", 1),
        ("stop", 2),
        ("start", 3),
        ("stop", 4),
    ]


def test_below_a_price_new_hours_are_planned_as_they_come() -> None:
    garage = Garage(Goal(None, inf, KILOWATTS, below=5.0), hours(9, 4))
    planner = garage.planner()
    garage.live(planner, 2 * HOUR)
    garage.slots = hours(9, 4, 9, 4)
    garage.live(planner, 4 * HOUR)

    assert [at // HOUR for word, at in garage.done if word == "start"] == [1, 3]


def test_an_empty_plan_takes_no_plug_out_of_service_where_the_price_is_not_known() -> None:
    garage = Garage(Goal(None, inf, KILOWATTS, below=5.0))
    garage.live(garage.planner(), HOUR)
    assert garage.done == []
    assert "next: prices are awaited" in garage.said

    dear = Garage(Goal(None, inf, KILOWATTS, below=5.0), hours(9, 9))
    dear.live(dear.planner(), HOUR)
    assert [word for word, _ in dear.done] == ["stop"], "a price that is known not to be below is a reason"

    later = Garage(Goal(None, inf, KILOWATTS, below=5.0), hours(9, 9, 4)[2:])
    later.live(later.planner(), HOUR)
    assert later.done == [], "a cheap hour that is ahead does not make the price of now known"


def test_prices_that_are_wrong_from_the_first_end_a_plan_and_no_charge() -> None:
    garage = Garage(Goal(6.0, 5 * HOUR, KILOWATTS), broken=True)

    with pytest.raises(UsageError):
        garage.planner().step()
    assert garage.done == []


def test_prices_that_cannot_be_read_when_the_next_day_begins_are_those_of_the_day_before() -> None:
    garage = Garage(Goal(6.0, 5 * HOUR, KILOWATTS), hours(9, 9, 9, 9, 9, 9, 1, 9, 9))
    planner = garage.planner()
    garage.live(planner, 6 * HOUR)
    garage.goal, garage.broken = Goal(6.0, 9 * HOUR, KILOWATTS), True
    garage.done.clear()

    assert not garage.live(garage.planner(slots=planner.slots), 10 * HOUR)
    assert [at // HOUR for word, at in garage.done if word == "start"] == [6]
    assert [line for line in garage.said if line.startswith("a new plan")] == []

    none = Garage(Goal(6.0, 4 * HOUR, KILOWATTS), broken=True)
    assert not none.live(none.planner(slots=()), 5 * HOUR)
    assert none.energy == pytest.approx(6.0, abs=0.1)


def test_the_metrics_of_a_plan_say_what_is_needed_charged_and_next() -> None:
    garage = Garage(Goal(6.0, 5 * HOUR, KILOWATTS), hours(9, 9, 1, 9, 9))
    planner = garage.planner()
    planner.step()

    def shown() -> dict[str, float]:
        return {
            sample.name: sample.value
            for family in PlanMetrics(lambda: planner.status).collect()
            for sample in family.samples
        }

    page = (PROJECT / "deploy" / "follow" / "README.md").read_text(encoding="utf-8")
    assert [row for family in PLAN if (row := f"| `{family.name}` | {family.help}") not in page] == []
    assert set(shown()) == {family.name for family in PLAN}
    assert shown() == {
        "ccl_plan_needed_joules": 6.0 * 3.6e6,
        "ccl_plan_charged_joules": 0.0,
        "ccl_plan_next_start_timestamp_seconds": 2 * HOUR,
        "ccl_plan_deadline_timestamp_seconds": 5 * HOUR,
        "ccl_plan_feasible": 1.0,
    }
    garage.live(planner, 2.5 * HOUR)
    assert shown()["ccl_plan_charged_joules"] == pytest.approx(3.0 * 3.6e6, rel=0.05)
    assert "ccl_plan_next_start_timestamp_seconds" not in shown()
    later = Planner(
        *(planner.goal, garage.prices, garage.look, garage.start, garage.stop, garage.show, garage.said.append),
        lambda: garage.at,
        plan=Plan((Piece(4 * HOUR, 5 * HOUR, 1.0, KILOWATTS),)),
        progress=PlanProgress(6.0, 5 * HOUR, 6.0, None, None, ()),
    )
    assert later.status.next_start is None, "the need is met"
    planner.goal = replace(planner.goal, need=60.0)
    planner.step()
    assert shown()["ccl_plan_feasible"] == 0.0
    assert [*PlanMetrics(lambda: None).collect()] == []


def test_a_plan_is_described_in_one_line() -> None:
    plan = PlanProgress(6.0, 5 * HOUR, 1.5, None, None, [[0.0, HOUR], [2 * HOUR, 3 * HOUR]])

    assert describe_plan(plan, True, 1.5 * HOUR).startswith("plan: 1.50 of 6 kWh until 1970-01-01T")
    assert "; charges from 1970-01-01T" in describe_plan(plan, True, 1.5 * HOUR)
    assert describe_plan(plan, True, 4 * HOUR).endswith("no charge is ahead")
    assert describe_plan(plan, False, 0).endswith("it was ended early, the same `charge plan` goes on with it")
    assert describe_plan(replace(plan, need=None), True, 0).startswith("plan: 1.50 kWh so far; charges from")
