"""Plans cost what the best one costs; prices are read as tariff APIs give them; clocks may be set.

CI compares 150 random days; `CCL_PLANS=1000` runs the long form.
"""

import os
import random
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from time import tzset
from zoneinfo import ZoneInfo

import pytest
from helpers.support import server

from ccl_exporter.control.plan.prices import Slot, in_order, parse
from ccl_exporter.control.plan.schedule import Plan, cheapest, deadline
from ccl_exporter.control.plan.timers import units
from ccl_exporter.errors import UsageError

PLANS = int(os.environ.get("CCL_PLANS", "150"))
QUANTUM = 300
"""Seconds: in these plans everything is a multiple of it, so that whole numbers are enough for an optimum."""

LONDON = ZoneInfo("Europe/London")
HALF_HOUR = 1800.0


def day_of_prices(chance: random.Random) -> Sequence[Slot]:
    """Half-hours of a day and a half, some below nothing, some equal, at times with a gap."""
    begin = 1_774_000_800.0 + chance.randrange(0, 48) * HALF_HOUR
    prices = [chance.choice([chance.uniform(-5, 40), round(chance.uniform(-2, 3)) * 7.0]) for _ in range(72)]
    slots = [
        Slot(begin + number * HALF_HOUR, begin + (number + 1) * HALF_HOUR, price)
        for number, price in enumerate(prices)
    ]
    gap = chance.randrange(0, 72)
    return [slot for number, slot in enumerate(slots) if number != gap or chance.random() < 0.5]


def least_cost(slots: Sequence[Slot], quanta: int, begin: float, by: float, kilowatts: float) -> float:
    """The least that so many quanta of charging cost, by trying how many each slot takes, slot after slot."""
    best = [0.0] + [float("inf")] * quanta
    for slot in slots:
        room = int((min(slot.end, by) - max(slot.begin, begin)) // QUANTUM)
        each = slot.price * kilowatts * QUANTUM / 3600
        best = [
            min(best[have - taken] + taken * each for taken in range(min(max(room, 0), have) + 1))
            for have in range(quanta + 1)
        ]
    return best[quanta]


def test_a_plan_costs_as_little_as_any_can() -> None:
    chance = random.Random(20)
    for number in range(PLANS):
        slots = day_of_prices(chance)
        begin = slots[0].begin + chance.randrange(0, 100) * QUANTUM
        by = begin + chance.randrange(40, 200) * QUANTUM
        kilowatts = chance.choice([1.4, 3.68, 7.2, 11.0])
        room = sum(max(min(slot.end, by) - max(slot.begin, begin), 0.0) for slot in slots) // QUANTUM
        quanta = chance.randint(1, int(room))
        need = quanta * QUANTUM * kilowatts / 3600
        plan = cheapest(slots, need, kilowatts, begin, by)

        assert plan.cost == pytest.approx(least_cost(slots, quanta, begin, by, kilowatts), abs=1e-6), number
        assert plan.kilowatt_hours == pytest.approx(need), number
        assert plan.missing == pytest.approx(0.0, abs=1e-6)
        check_pieces(plan, slots, begin, by)


def check_pieces(plan: Plan, slots: Sequence[Slot], begin: float, by: float) -> None:
    """Each piece lies within the time, within a slot of its price, and behind the one before it."""
    for piece in plan.pieces:
        assert begin <= piece.begin < piece.end <= by
        assert any(
            slot.begin <= piece.begin and piece.end <= slot.end and slot.price == piece.price for slot in slots
        )
    edges = [edge for piece in plan.pieces for edge in (piece.begin, piece.end)]
    assert edges == sorted(edges)


def hours(*prices: float) -> Sequence[Slot]:
    return [Slot(number * 3600.0, (number + 1) * 3600.0, price) for number, price in enumerate(prices)]


def test_among_equal_prices_there_are_as_few_starts_as_can_be() -> None:
    plan = cheapest(hours(5, 9, 5, 5, 5), 15.0, 5.0, 0, 5 * 3600)

    assert plan.blocks == [(7200.0, 18_000.0)] or len(plan.blocks) == 2
    assert cheapest(hours(1, 1, 1, 1), 10.0, 5.0, 0, 4 * 3600).blocks == [(0.0, 7200.0)]


def test_what_is_used_of_the_dearest_slot_lies_beside_the_others() -> None:
    plan = cheapest(hours(9, 5, 2), 7.5, 5.0, 0, 3 * 3600)
    assert plan.blocks == [(5400.0, 10_800.0)]
    assert plan.holds(6000)
    assert not plan.holds(10_800)
    assert plan.turns_next(0) == 5400.0

    assert cheapest(hours(2, 5, 9), 7.5, 5.0, 0, 3 * 3600).blocks == [(0.0, 5400.0)]


def test_what_cannot_be_had_is_said_and_the_rest_is_planned() -> None:
    plan = cheapest(hours(3, 1), 20.0, 5.0, 1800, 7200)

    assert plan.kilowatt_hours == pytest.approx(7.5)
    assert plan.missing == pytest.approx(12.5)
    assert cheapest((), 20.0, 5.0, 0, 7200).missing == pytest.approx(20.0)


# Clocks


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("now", "by", "expected"),
    [
        ("2026-03-28T18:00+00:00", "07:00", "2026-03-29T07:00+01:00"),
        ("2026-03-29T07:00+01:00", "07:00", "2026-03-30T07:00+01:00"),
        ("2026-10-24T23:00+01:00", "07:00", "2026-10-25T07:00+00:00"),
        ("2026-10-24T23:00+01:00", "01:30", "2026-10-25T01:30+01:00"),
        ("2026-10-25T01:45+01:00", "01:30", "2026-10-26T01:30+00:00"),
        ("2026-03-28T23:00+00:00", "01:30", "2026-03-29T00:30+00:00"),
        ("2026-06-01T06:59+01:00", "07:00", "2026-06-01T07:00+01:00"),
        ("2026-06-01T06:59+01:00", "2026-06-02T01:00+02:00", "2026-06-02T01:00+02:00"),
    ],
)
def test_a_deadline_is_the_next_such_time_also_in_the_nights_when_clocks_are_set(
    now: str, by: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deadline(by, at(now), LONDON) == at(expected)
    monkeypatch.setenv("TZ", "Europe/London")
    tzset()
    try:
        assert deadline(by, at(now), None) == at(expected)
    finally:
        monkeypatch.undo()
        tzset()


@pytest.mark.parametrize("by", ["7:00", "25:00", "2026-06-02T01:00", "soon", "2020-01-01T00:00Z", ""])
def test_a_deadline_that_is_none_is_refused(by: str) -> None:
    with pytest.raises(UsageError):
        deadline(by, at("2026-06-01T00:00Z"), LONDON)


def test_the_night_of_five_hours_and_that_of_seven_are_planned_by_the_time_that_passes() -> None:
    for day, expected in (("2026-03-29", 5), ("2026-10-25", 7), ("2026-06-01", 6)):
        midnight = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=LONDON).timestamp()
        slots = [
            Slot(midnight + number * HALF_HOUR, midnight + (number + 1) * HALF_HOUR, 5.0) for number in range(30)
        ]
        by = deadline("06:00", midnight, LONDON)

        assert cheapest(slots, 1000.0, 1.0, midnight, by).kilowatt_hours == pytest.approx(expected)


# Prices


def test_what_the_apis_give_and_a_table_are_the_same_prices() -> None:
    table = "begin,end,price\n2026-05-25T22:00Z,2026-05-25T22:30Z,12.2\n2026-05-25T22:30Z,2026-05-25T23:00Z,14.1\n"
    objects = (
        '[{"begin": "2026-05-26T00:30+02:00", "end": "2026-05-26T01:00+02:00", "price": 14.1},'
        ' {"begin": "2026-05-26T00:00+02:00", "end": "2026-05-26T00:30+02:00", "price": "12.2"}]'
    )
    rates = (
        '{"count": 2, "next": null, "results": ['
        '{"value_exc_vat": 13.4, "value_inc_vat": 14.1, "valid_from": "2026-05-25T22:30:00Z",'
        ' "valid_to": "2026-05-25T23:00:00Z", "payment_method": null},'
        '{"value_exc_vat": 11.6, "value_inc_vat": 12.2, "valid_from": "2026-05-25T22:00:00Z",'
        ' "valid_to": "2026-05-25T22:30:00Z", "payment_method": null}]}'
    )
    expected = [
        Slot(at("2026-05-25T22:00Z"), at("2026-05-25T22:30Z"), 12.2),
        Slot(at("2026-05-25T22:30Z"), at("2026-05-25T23:00Z"), 14.1),
    ]

    assert parse(table) == parse(objects) == parse(rates) == expected


def test_carbon_is_a_price_too() -> None:
    carbon = (
        '{"data": [{"from": "2026-05-25T12:00Z", "to": "2026-05-25T12:30Z",'
        ' "intensity": {"forecast": 266, "actual": null, "index": "moderate"}}]}'
    )

    assert parse(carbon) == [Slot(at("2026-05-25T12:00Z"), at("2026-05-25T12:30Z"), 266.0)]


def test_a_price_without_an_end_holds_for_two_days() -> None:
    (slot,) = parse(
        '{"results": [{"value_inc_vat": 7.5, "valid_from": "2026-05-25T22:30:00Z", "valid_to": null}]}'
    )

    assert slot.seconds == 2 * 86_400


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no prices"),
        ("[]", "no prices"),
        ("begin,end\n", "no price"),
        ("begin,end,price\n", "no prices"),
        ("begin,end,price\n2026-05-25T22:00Z,2026-05-25T22:30Z,cheap\n", "line 2: 'cheap' is not a price"),
        ("begin,end,price\n2026-05-25T22:00,2026-05-25T22:30Z,1\n", "has no offset"),
        ("begin,end,price\nnoon,2026-05-25T22:30Z,1\n", "'noon' is not a time"),
        ("begin,end,price\n2026-05-25T22:30Z,2026-05-25T22:00Z,1\n", "ends before it begins"),
        ("begin,end,price\n2026-05-25T22:00Z,2026-05-25T22:30Z,nan\n", "is not a price"),
        ("begin,end,price\n2026-05-25T22:00Z\n", "is not a price"),
        ("{}", "a list"),
        ('{"results": 5}', "a list"),
        ("[5]", "entry 1 has no"),
        ('{"data": [{"from": "2026-05-25T12:00Z", "to": null, "intensity": {}}]}', "is not a price"),
        ("[{", "not JSON"),
        pytest.param(f"begin,end,price,{'x' * 200_000}\n", "not CSV: field larger", id="a header without an end"),
        pytest.param(f"begin,end,price\n{'x' * 200_000}\n", "not CSV: field larger", id="a row without an end"),
    ],
)
def test_prices_that_cannot_be_used_are_told_with_where_they_are(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse(text)


def test_prices_that_are_there_twice_are_one_and_those_that_disagree_are_refused() -> None:
    slot = Slot(0, 1800, 5)

    assert in_order([slot, slot]) == [slot]
    with pytest.raises(UsageError, match="overlap"):
        in_order([slot, Slot(900, 2700, 6)])


# Timers


def test_timers_begin_and_end_each_block_in_utc_and_systemd_takes_them(tmp_path: Path) -> None:
    plan = cheapest(hours(1, 9, 1), 10.0, 5.0, 0, 3 * 3600)
    files = units(plan, "/bin/true charge start --charger 'http://192.0.2.10'", "/bin/true charge disable", True)
    start, end = files["ccl-charge-plan-start.timer"], files["ccl-charge-plan-end.timer"]

    assert "OnCalendar=1970-01-01 00:00:00 UTC\nOnCalendar=1970-01-01 02:00:00 UTC\n" in start
    assert "OnCalendar=1970-01-01 01:00:00 UTC\nOnCalendar=1970-01-01 03:00:00 UTC\n" in end
    assert "Persistent=no" in start
    assert "Persistent=yes" in end
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    checked_by = subprocess.run(
        [server("systemd-analyze"), "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )

    assert checked_by.returncode == 0, checked_by.stderr
    assert not [line for line in checked_by.stderr.splitlines() if "ccl-charge-plan" in line]
