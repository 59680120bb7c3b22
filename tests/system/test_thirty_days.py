"""Days in the life of chargers at home and in a fleet: normal ones raise nothing, each fault is raised in time.

By default two days, in which each fault of the story happens once but those that take a day by themselves.
`CCL_DAYS=30` lets the home with the night tariff and the normal chargers of the fleet live thirty days on end.
"""

import math
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pytest
from alert_rules.build import ALERTS
from alert_rules.model import Life as Rules
from helpers.lives import HOUR, MINUTE, SHORT, START, Expected, Life, Role, live, put, roles
from helpers.replay import Firing, History, firing, replay, value
from helpers.support import RULES, get

DAYS = float(os.environ.get("CCL_DAYS", SHORT))
STEP_JOULES = 36_000.0
"""Ten watt-hours, the resolution of a register."""


@dataclass
class Story:
    """What was simulated, and the database in which the rules' results are."""

    database: str
    roles: list[Role]
    lives: dict[str, Life]
    end: float

    def expected(self, rules: Rules) -> list[Expected]:
        """What these rules must raise, of the chargers that they watch."""
        found = [one for role in self.watched(rules) for one in self.lives[role.name].expected]
        away = Expected("CclExporterDown", "b:9986", "", START + 10 * HOUR, 6 * MINUTE, START + 10.5 * HOUR)
        return [one for one in (*found, away) if ALERTS[one.alert].severity(rules)]

    def fired(self, rules: Rules) -> list[Firing]:
        """What these rules raised, of the chargers that they watch, or of no charger."""
        others = {role.name for role in self.roles} - {role.name for role in self.watched(rules)}
        return [
            one
            for one in firing(self.database)
            if one.labels["rules"] == rules and one.labels.get("instance") not in others
        ]

    def watched(self, rules: Rules) -> list[Role]:
        return [role for role in self.roles if rules in role.watched_as]

    def sum(self, series: str, role: Role) -> dict[tuple[str, str], float]:
        """What was recorded of a charger in its life, by instance and plug."""
        name = f'{series}{{instance="{role.name}"}}'
        end = START + (role.begins + role.hours) * HOUR + 10 * MINUTE
        return value(self.database, f"sum without (month) (sum_over_time({name}[100d]))", end)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("days")
    database = History(folder / "victoria")
    database.start()
    try:
        yield story_of(database.url, folder)
    finally:
        database.stop()


def story_of(database: str, folder: Path) -> Story:
    cast = list(roles(DAYS))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        lives = pool.map(live, cast, [database] * len(cast))
        found = {role.name: life for role, life in zip(cast, lives, strict=True)}
    end = START + max(role.begins + role.hours for role in cast) * HOUR
    for exporter in ("a:9986", "b:9986"):
        times = range(round(START), round(end), 60)
        away = {at for at in times if exporter == "b:9986" and 0 <= at - START - 10 * HOUR < 20 * MINUTE}
        lines = "\n".join(
            f"up {int(at not in away)} {at}000\nccl_tariff_cheap {int(30 <= at // 60 % 1440 < 270)} {at}000"
            for at in times
        )
        put(database, lines, {"job": "ccl-exporter", "instance": exporter, "exporter": exporter})
    get(f"{database}/internal/force_flush")
    replay(database, RULES / "recording.yml", START, end, folder)
    for rules in Rules:
        replay(database, RULES / f"{rules}.yml", START, end, folder, rules=str(rules))
        replay(database, RULES / "firmware.yml", START, end, folder, rules=str(rules))
    return Story(database, cast, found, end)


@pytest.mark.parametrize("rules", Rules)
def test_each_fault_is_raised_in_time(story: Story, rules: Rules) -> None:
    late = []
    fired = story.fired(rules)
    for one in story.expected(rules):
        times = [at for found in fired if of(found, one) for at in found.times if one.at <= at <= one.until]
        if not times or min(times) > one.at + one.within:
            late.append((one, min(times, default=None)))

    assert late == []
    assert len({one.alert for one in story.expected(rules)}) >= 24


@pytest.mark.parametrize("rules", Rules)
def test_nothing_else_is_raised(story: Story, rules: Rules) -> None:
    expected = story.expected(rules)
    needless = [
        (found.labels, at)
        for found in story.fired(rules)
        for at in found.times
        if not any(of(found, one) and one.at <= at <= one.until for one in expected)
    ]

    assert needless == []
    assert not any(one.instance in ("garage", "street", "serviced") for one in expected)
    # The home was disabled for most of the time, with a car that waited, and lost readings.
    assert story.lives["garage"].truths["EVSE.PLUG"].idle > 2 * HOUR
    assert story.lives["garage"].reads < story.roles[0].hours * 60


def of(found: Firing, one: Expected) -> bool:
    """Whether what fired is the alert that was expected, of the same charger and plug."""
    labels = found.labels
    return (labels["alertname"], labels.get("instance", ""), labels.get("plug", "")) == (
        one.alert,
        one.instance,
        one.plug,
    )


def test_availability_is_true_within_a_thousandth(story: Story) -> None:
    for role in story.roles:
        end = START + (role.begins + role.hours) * HOUR
        # Evaluated every hour, and a charger that is over counts no more.
        series = f'last_over_time(plug:ccl_plug_available:ratio30d{{instance="{role.name}"}}[2h])'
        recorded = value(story.database, series, START + math.ceil((end - START) / HOUR) * HOUR)
        for plug, truth in story.lives[role.name].truths.items():
            assert recorded[role.name, plug] == pytest.approx(truth.available / truth.counted, abs=0.001), (
                role.name
            )
    assert story.lives["old"].truths["EVSE.PLUG"].available < story.lives["old"].truths["EVSE.PLUG"].counted


def test_energy_cost_charges_and_idle_time_are_those_of_the_chargers(story: Story) -> None:
    for role in story.roles:
        if role.name in ("old", "street"):
            continue  # one has a register that jumps, the other charges at its very last reading
        joules = story.sum("plug:ccl_plug_energy_joules:sum5m", role)
        cost = story.sum("plug:ccl_plug_cost:sum5m", role)
        idle = story.sum("plug:ccl_plug_idle:bool", role)
        charges = story.sum("plug:ccl_charge:count5m", role)
        charged = story.sum("plug:ccl_charge_energy_joules:sum5m", role)
        for plug, truth in story.lives[role.name].truths.items():
            one = (role.name, plug)
            assert joules[one] == pytest.approx(truth.joules, abs=STEP_JOULES), one
            # Five minutes at either edge of the cheap hours may be priced as the other side.
            assert cost[one] == pytest.approx(truth.cost, rel=0.02), one
            assert idle[one] * 60 == pytest.approx(truth.idle, rel=0.05, abs=300), one
            if role.name == "serviced":
                assert charges == {}  # its engine has no chargeInfo
                continue
            assert charges[one] == truth.charges, one
            assert charged[one] == pytest.approx(truth.charge_joules, abs=1), one


def test_months_are_apart(story: Story) -> None:
    """The story begins on 30 October at noon."""
    name = 'last_over_time(plug:ccl_plug_idle_seconds:sum_month{instance="missed",month="2025-11"}[2h])'

    assert value(story.database, name, START + 30 * HOUR) == {}
    assert value(story.database, name, START + 45 * HOUR) != {}
