"""Generated days and evenings of a house: what a follower reaches there, beside somebody who knows the whole day.

CI runs a few. `CCL_DAYS=30 CCL_EVENINGS=30 pytest -s tests/component/test_follow_days.py` is the long form,
two minutes of processor time; it shows each day.
"""

import os
import random
from collections.abc import Sequence
from typing import Literal

import pytest
from helpers.house import STARTS, Days, Feed, evening, optimum, solar_day

from ccl_exporter.control.follow.policy import Mode, Rules
from ccl_exporter.control.follow.sources import LatestValue

DAYS = int(os.environ.get("CCL_DAYS", "6"))
EVENINGS = int(os.environ.get("CCL_EVENINGS", "3"))
SUPPLY, LESS_THAN_SUPPLY = 14_000.0, 13_500.0
SOURCES: Sequence[Literal["arrival", "sample", "query"]] = ("arrival", "sample", "query")
FACTORS = (-1.0, 0.001, 1000.0)


def tell(sentence: str) -> None:
    print(sentence)  # noqa: T201 - the figures of the proof, seen with -s


def test_92_per_cent_of_the_sun_goes_into_the_car_and_hardly_anything_from_the_grid() -> None:
    days = Days(Rules("surplus", 32.0, starts_a_day=STARTS), seed=1, every=5)
    sun = grid = best = unlimited = quiet_sun = quiet_best = 0.0
    for seed in range(DAYS):
        house = solar_day(seed)
        most, without_limit = optimum(house), optimum(house, None)
        day = days.live(house)
        sun, grid = sun + day.sun, grid + day.grid
        best, unlimited = best + most, unlimited + without_limit
        if most > 15_000 and most >= 0.97 * without_limit:
            # Few clouds: more starts would give nothing more.
            quiet_sun, quiet_best = quiet_sun + day.sun, quiet_best + most
        tell(
            f"day {seed}: {day.sun / 1000:.1f} kWh of {most / 1000:.1f} (any starts: {without_limit / 1000:.1f}),"
            f" grid {day.grid / 1000:.2f} kWh, {day.starts} starts,"
            f" at most {day.most_writes_an_hour()} writes an hour"
        )

        assert day.starts <= STARTS
        assert day.most_writes_an_hour() <= 60
    tell(
        f"sun {sun / best:.3f} of the optimum ({sun / unlimited:.3f} with any starts), on quiet days"
        f" {quiet_sun / quiet_best:.3f}, grid {grid / sun:.4f} of it"
    )

    assert sun >= 0.92 * best
    assert quiet_sun >= 0.95 * quiet_best > 0
    assert grid < 0.03 * min(sun, best)


def losses(seed: int, seconds: int) -> Sequence[tuple[int, int]]:
    """Three times at which the meter falls silent, for one to ten minutes."""
    chance = random.Random(f"loss {seed}")
    begins = sorted(chance.sample(range(600, seconds - 900, 1200), 3))
    return [(begin, begin + chance.randint(60, 600)) for begin in begins]


def test_a_supply_is_never_exceeded_for_longer_than_ten_seconds() -> None:
    days = Days(Rules("supply", 32.0, safe=6.1), seed=2, every=2, supply=SUPPLY)
    for seed in range(EVENINGS):
        night = days.live(evening(seed, LESS_THAN_SUPPLY))
        tell(
            f"evening {seed}: exceeded for {night.exceeded:.0f} s at most, {night.grid / 1000:.1f} kWh charged,"
            f" {night.starts} starts, at most {night.most_writes_an_hour()} writes an hour"
        )

        assert night.exceeded <= 10
        assert night.grid > 20_000
        assert night.most_writes_an_hour() <= 60


@pytest.mark.parametrize("is_frozen", [False, True])
def test_when_the_input_is_lost_or_repeats_there_is_the_safe_current_within_a_minute_every_time(
    is_frozen: bool,
) -> None:
    days = Days(Rules("supply", 32.0, safe=6.1), seed=3, every=2, supply=SUPPLY)
    for seed in range(EVENINGS):
        house, by = evening(100 + seed, LESS_THAN_SUPPLY), SOURCES[seed % len(SOURCES)]
        lost = losses(seed, house.seconds)
        night = days.live(house, Feed(LatestValue(days.bench.at, days.bench.at), 2, by, lost, is_frozen))
        tell(
            f"evening {seed}, {'repeated' if is_frozen else 'lost'}, by {by}: safe after {night.safe_after} s,"
            f" unsafe for {night.unsafe:.0f} s later; exceeded for {night.exceeded_lost:.0f} s while lost"
        )

        assert len(night.safe_after) == len(lost)
        assert max(night.safe_after) <= 60
        assert night.unsafe == 0
        assert night.exceeded_lost <= 60
        assert night.most_writes_an_hour() <= 60


@pytest.mark.parametrize(("mode", "most"), [("supply", 60), ("surplus", 120)])
def test_an_input_of_a_wrong_sign_or_scale_is_not_trusted_for_long(mode: Mode, most: float) -> None:
    """A surplus needs some changes of the car to tell a wrong sign from panels and clouds.

    By a scale that is wrong it never starts a car.
    """
    is_supply = mode == "supply"
    days = Days(
        Rules(mode, 32.0, safe=6.1 if is_supply else 0.0), seed=4, every=2, supply=SUPPLY if is_supply else None
    )
    for seed in range(EVENINGS):
        house = evening(200 + seed, LESS_THAN_SUPPLY) if is_supply else solar_day(200 + seed)
        factor = FACTORS[seed % len(FACTORS)] if is_supply else -1.0
        day = days.live(house, Feed(LatestValue(days.bench.at, days.bench.at), 2, factor=factor))
        tell(f"{mode} {seed} times {factor}: more than the safe current for {day.trusted:.0f} s at most")

        assert day.trusted <= most


def test_no_follower_has_more_sun_than_the_optimum_without_a_limit_on_starts() -> None:
    for seed in range(3):
        house = solar_day(seed)

        assert 0 < optimum(house, 1) <= optimum(house, 3) <= optimum(house) <= optimum(house, None)
