"""Plans cost what the best one costs; prices are read as tariff APIs give them; clocks may be set.

CI compares 25 random nights; `CCL_PLANS=1000` runs the long form.
"""

import json
import os
import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import inf
from pathlib import Path
from time import tzset
from zoneinfo import ZoneInfo

import pytest
from helpers.support import server

from ccl_exporter.control.plan.prices import Slot, in_order, parse
from ccl_exporter.control.plan.schedule import Plan, below, cheapest, deadline
from ccl_exporter.control.plan.timers import units
from ccl_exporter.errors import UsageError

PLANS = int(os.environ.get("CCL_PLANS", "25"))
QUANTUM = 300
"""Seconds: in these plans what is known is a multiple of it, so that whole numbers are enough for an optimum."""

LONDON = ZoneInfo("Europe/London")
HALF_HOUR = 1800.0
EVENINGS = ("2026-06-01", "2026-11-29", "2026-03-28", "2026-10-24")
"""Two of any nights, and the two in which clocks are set."""


@dataclass(frozen=True)
class Night:
    """What a plan is made of, with `begin` and `by` in Unix seconds and `need` in seconds of charging."""

    slots: Sequence[Slot]
    begin: float
    by: float
    need: float
    kilowatts: float

    @property
    def known(self) -> float:
        """Seconds between begin and end whose price is known."""
        return sum(max(min(slot.end, self.by) - max(slot.begin, self.begin), 0.0) for slot in self.slots)

    @property
    def slack(self) -> float:
        """One per cent of the need at the mean absolute price of what is known."""
        paid = sum(
            abs(slot.price) * max(min(slot.end, self.by) - max(slot.begin, self.begin), 0.0) for slot in self.slots
        )
        return 0.01 * paid / self.known * self.need * self.kilowatts / 3600

    def plan(self) -> Plan:
        return cheapest(self.slots, self.need * self.kilowatts / 3600, self.kilowatts, self.begin, self.by)


def night_of_prices(chance: random.Random) -> Night:
    """Prices of a night and the day after it, in steps of 15, 30 or 60 minutes.

    Some are below nothing, some equal, some missing; of some nights the end is not known.
    """
    begin = at(f"{chance.choice(EVENINGS)}T{chance.randrange(15, 23)}:00+00:00") + chance.randrange(12) * QUANTUM
    by = deadline(chance.choice(["05:15", "07:00", "07:40"]), begin, LONDON)
    by += chance.choice([0, 0, 86_400])
    step = chance.choice([900, 1800, 3600])
    first = begin // 3600 * 3600
    count, height, slots = int((by - first) // step) + 4, chance.uniform(-5, 40), []
    for number in range(count):
        height = chance.uniform(-5, 40) if chance.random() < 0.2 else height + chance.uniform(-4, 4)
        price = round(height / 7) * 7.0 if chance.random() < 0.3 else height
        slots.append(Slot(first + number * step, first + (number + 1) * step, price))
    gone = chance.randrange(count)
    slots = slots[:gone] + slots[gone + chance.choice([0, 1, 3]) :]
    if chance.random() < 0.2:
        slots = slots[: max(count // 2, 1)]
    begin += chance.choice([0.0, 0.0, chance.uniform(0, 900)])
    need = chance.randint(2, max(3, int(min((by - begin) * 0.8, 36_000) // QUANTUM))) * QUANTUM
    return Night(slots, begin, by, float(need), chance.choice([1.4, 3.68, 7.2, 11.0]))


def optimum(night: Night, least: int = 3) -> tuple[float, int]:
    """The least that the need costs in blocks of at least so many quanta, and the fewest starts at that cost.

    By trying, quantum after quantum, whether the car charges in it, for all numbers of quanta charged before.
    """
    wanted = int(night.need // QUANTUM)
    least = min(least, wanted)
    quanta = []
    for slot in night.slots:
        first = -(-max(slot.begin, night.begin) // QUANTUM) * QUANTUM
        quanta += [
            (at, slot.price) for at in range(int(first), int(min(slot.end, night.by)) - QUANTUM + 1, QUANTUM)
        ]
    nothing = [(inf, 0)] * (wanted + 1)
    # What each number of quanta costs: while it does not charge, and in a block that has so many quanta.
    off, on = [(0.0, 0), *nothing[1:]], [nothing] * least
    for (when, price), before in zip(quanta, [0, *(at for at, _ in quanta)], strict=False):
        each = price * night.kilowatts * QUANTUM / 3600
        if when != before + QUANTUM:
            off = list(map(min, off, on[-1]))
            on = [nothing] * least
        ended = list(map(min, off, on[-1]))
        begun = [nothing[0], *((cost + each, starts + 1) for cost, starts in ended[:-1])]
        longer = [[nothing[0], *((cost + each, starts) for cost, starts in row[:-1])] for row in on]
        last = list(map(min, longer[-1], longer[-2])) if least > 1 else list(map(min, longer[-1], begun))
        on = [begun, *longer[:-2], last] if least > 1 else [last]
        off = ended
    return min(off[wanted], on[-1][wanted])


def test_a_plan_costs_as_little_as_any_can_with_as_few_starts() -> None:
    chance = random.Random(20)
    compared = 0
    for number in range(PLANS):
        night = night_of_prices(chance)
        plan = night.plan()
        need = night.need * night.kilowatts / 3600

        assert plan.kilowatt_hours == pytest.approx(need), number
        assert plan.missing == pytest.approx(0.0, abs=1e-6), number
        check_pieces(plan, night.slots, night.begin, night.by)
        if night.need > night.known:
            assert plan.unpriced == pytest.approx(need - night.known * night.kilowatts / 3600), number
            continue
        assert all(end - begin >= min(900, night.need) - 1 for begin, end in plan.blocks), number
        least, starts = optimum(night)
        if least < inf:
            compared += 1
            assert plan.cost <= least + night.slack + 1e-6, number
            # The optimum has no use for what is left of the quantum in which it begins.
            assert len(plan.blocks) <= starts or night.begin % QUANTUM, number
    assert compared > PLANS / 2


def check_pieces(plan: Plan, slots: Sequence[Slot], begin: float, by: float) -> None:
    """Each piece lies within the time, in slots of its price or beside all, and behind the one before it."""
    for piece in plan.pieces:
        assert begin <= piece.begin < piece.end <= by
        inside = [slot for slot in slots if slot.begin < piece.end and piece.begin < slot.end]
        assert {slot.price for slot in inside} == (set() if piece.price is None else {piece.price})
        if inside:
            assert inside[0].begin <= piece.begin
            assert piece.end <= inside[-1].end
            assert all(one.end == other.begin for one, other in pairwise(inside))
    edges = [edge for piece in plan.pieces for edge in (piece.begin, piece.end)]
    assert edges == sorted(edges)


def hours(*prices: float) -> Sequence[Slot]:
    return [Slot(number * 3600.0, (number + 1) * 3600.0, price) for number, price in enumerate(prices)]


def test_what_is_charged_within_a_second_takes_a_second() -> None:
    plan = cheapest(hours(3, 1, 2), 0.001, 7, 0, 3 * 3600)

    assert [(piece.price, piece.end - piece.begin) for piece in plan.pieces] == [(1, 1)]


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


def test_what_does_not_fit_into_known_hours_is_charged_as_late_as_possible() -> None:
    known = hours(3, 1)[1:]
    plan = cheapest(known, 10.0, 5.0, 0, 6 * 3600)

    assert plan.blocks == [(3600.0, 7200.0), (17_700.0, 21_300.0)], "five minutes are left before the end"
    assert [plan.unpriced, plan.cost, plan.missing] == pytest.approx([5.0, 5.0, 0.0])
    assert cheapest((), 10.0, 5.0, 0, 6 * 3600).blocks == [(14_100.0, 21_300.0)]
    assert cheapest((), 30.0, 5.0, 0, 6 * 3600).blocks == [(0.0, 21_600.0)], "no minute is left, if all are needed"
    assert cheapest((), 35.0, 5.0, 0, 6 * 3600).missing == pytest.approx(5.0)
    # What is late must not lie beside the known hour for nothing, and no time counts twice.
    assert cheapest(known, 24.0, 5.0, 0, 6 * 3600).kilowatt_hours == pytest.approx(24.0)


@pytest.mark.parametrize("gap", [1, 119])
def test_in_a_pause_below_two_minutes_a_charge_goes_on(gap: int) -> None:
    slots = [
        Slot(number * 3600.0, (number + 1) * 3600.0 - gap, 10.0 if number < 4 else 30.0) for number in range(8)
    ]
    plan = cheapest(slots, 15.0, 5.0, 0, 8 * 3600)

    ((begin, end),) = plan.blocks
    # What is not known is not counted, though the charge goes on.
    assert [begin, end] == pytest.approx([0.0, 3 * 3600.0 + 3 * gap])
    assert plan.holds(3600 - gap / 2)
    assert plan.kilowatt_hours == pytest.approx(15.0)


def test_in_a_pause_of_two_minutes_a_charge_stops() -> None:
    assert len(cheapest([Slot(0, 3480, 1), Slot(3600, 7200, 1)], 7.5, 5.0, 0, 7200).blocks) == 2


def test_a_charge_lasts_as_long_as_is_asked_for() -> None:
    prices = [Slot(number * 900.0, (number + 1) * 900.0, [9, 1, 9, 9, 2, 3, 9, 1][number]) for number in range(8)]

    assert cheapest(prices, 2.5, 5.0, 0, 7200).blocks == [(900.0, 1800.0), (6300.0, 7200.0)]
    assert cheapest(prices, 2.5, 5.0, 0, 7200, least=1800.0).blocks == [(3600.0, 5400.0)]
    assert cheapest(prices, 0.5, 5.0, 0, 7200).blocks == [(900.0, 1260.0)], "less is needed than a block"


def test_a_charge_that_goes_on_is_no_start() -> None:
    prices = hours(5.05, 9, 5, 9)

    assert cheapest(prices, 5.0, 5.0, 0, 4 * 3600).blocks == [(7200.0, 10_800.0)]
    assert cheapest(prices, 5.0, 5.0, 0, 4 * 3600, charging=True).blocks == [(0.0, 3600.0)]
    # It stops where that is cheaper.
    assert cheapest(hours(9, 9, 5, 5), 6.0, 5.0, 600, 4 * 3600, charging=True).blocks == [(7200.0, 11_520.0)]


def test_a_price_that_always_held_and_has_no_end_can_be_planned_with() -> None:
    plan = cheapest([Slot(-inf, inf, 21.0)], 10.0, 5.0, 1_000_000, 1_000_000 + 7 * 86_400)

    assert plan.blocks == [(1_000_000, 1_007_200)]
    assert plan.cost == pytest.approx(210.0)


def test_prices_of_five_minutes_take_no_longer_than_others() -> None:
    chance = random.Random(3)
    slots = [Slot(number * 300.0, (number + 1) * 300.0, chance.uniform(0, 30)) for number in range(600)]
    plan = cheapest(slots, 20.0, 5.0, 0, 180_000)

    assert plan.kilowatt_hours == pytest.approx(20.0)
    assert all(piece.begin % 900 == 0 for piece in plan.pieces), "prices of a quarter of an hour are one"


def test_below_a_price_every_hour_is_charged_in() -> None:
    plan = below(hours(9, 10, 10.5, -2), 10.5, 5.0, 1800, 4 * 3600)

    assert plan.blocks == [(1800.0, 7200.0), (10_800.0, 14_400.0)]
    assert plan.missing == 0


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


# A document of each kind, as its API gives it, in which 22:00 to 22:30 costs 12.2 and the next half-hour 14.1.
SHAPES = {
    "Carbon Intensity, national": {
        "data": [
            {
                "from": "2026-05-25T22:00Z",
                "to": "2026-05-25T22:30Z",
                "intensity": {"forecast": 12.2, "actual": None, "index": "low"},
            },
            {
                "from": "2026-05-25T22:30Z",
                "to": "2026-05-25T23:00Z",
                "intensity": {"forecast": 14.1, "actual": 9, "index": "low"},
            },
        ]
    },
    "Carbon Intensity, regional": {
        "data": {
            "regionid": 3,
            "postcode": "ZZ99",
            "data": [
                {
                    "from": "2026-05-25T22:00Z",
                    "to": "2026-05-25T22:30Z",
                    "intensity": {"forecast": 12.2},
                    "generationmix": [{"fuel": "gas", "perc": 10}],
                },
                {
                    "from": "2026-05-25T22:30Z",
                    "to": "2026-05-25T23:00Z",
                    "intensity": {"forecast": 14.1},
                    "generationmix": [],
                },
            ],
        }
    },
    "aWATTar": {
        "object": "list",
        "data": [
            {"start_timestamp": 1779746400000, "end_timestamp": 1779748200000, "marketprice": 12.2, "unit": "E"},
            {"start_timestamp": 1779748200000, "end_timestamp": 1779750000000, "marketprice": 14.1, "unit": "E"},
        ],
        "url": "/de/v1/marketdata",
    },
    "Energy-Charts": {
        "license_info": "CC BY 4.0",
        "unix_seconds": [1779746400, 1779748200],
        "price": [12.2, 14.1],
        "unit": "EUR / MWh",
        "deprecated": False,
    },
    "Nord Pool": {
        "deliveryDateCET": "2026-05-26",
        "deliveryAreas": ["SE3"],
        "multiAreaEntries": [
            {
                "deliveryStart": "2026-05-25T22:00:00Z",
                "deliveryEnd": "2026-05-25T22:30:00Z",
                "entryPerArea": {"SE3": 12.2},
            },
            {
                "deliveryStart": "2026-05-25T22:30:00Z",
                "deliveryEnd": "2026-05-25T23:00:00Z",
                "entryPerArea": {"SE3": 14.1},
            },
        ],
        "blockPriceAggregates": [
            {"deliveryStart": "2026-05-25T22:00:00Z", "averagePricePerArea": {"SE3": {"average": 13.0}}}
        ],
        "areaAverages": [{"areaCode": "SE3", "price": 13.0}],
    },
    "Tibber": {
        "data": {
            "viewer": {
                "homes": [
                    {
                        "currentSubscription": {
                            "priceInfo": {
                                "current": {"total": 12.2, "startsAt": "2026-05-26T00:00:00.000+02:00"},
                                "today": [{"total": 12.2, "startsAt": "2026-05-26T00:00:00.000+02:00"}],
                                "tomorrow": [{"total": 14.1, "startsAt": "2026-05-26T00:30:00.000+02:00"}],
                            }
                        }
                    }
                ]
            }
        }
    },
    "Amber": [
        {
            "type": "CurrentInterval",
            "channelType": channel,
            "startTime": f"2026-05-25T{begin}:00Z",
            "endTime": f"2026-05-25T{end}:00Z",
            "perKwh": price,
            "spotPerKwh": 1.0,
        }
        for channel, begin, end, price in (
            ("general", "22:00", "22:30", 12.2),
            ("feedIn", "22:00", "22:30", -5.0),
            ("general", "22:30", "23:00", 14.1),
            ("feedIn", "22:30", "23:00", -4.0),
        )
    ],
    "electricityMaps": {
        "zone": "GB",
        "forecast": [
            {"carbonIntensity": 12.2, "datetime": "2026-05-25T22:00:00.000Z"},
            {"carbonIntensity": 14.1, "datetime": "2026-05-25T22:30:00.000Z"},
        ],
        "updatedAt": "2026-05-25T21:00:00.000Z",
    },
    "evcc": {
        "rates": [
            {"start": "2026-05-26T00:00:00+02:00", "end": "2026-05-26T00:30:00+02:00", "value": 12.2},
            {"start": "2026-05-26T00:30:00+02:00", "end": "2026-05-26T01:00:00+02:00", "value": 14.1},
        ]
    },
    "evcc, older": {
        "result": {
            "rates": [
                {"start": "2026-05-26T00:00:00+02:00", "end": "2026-05-26T00:30:00+02:00", "price": 12.2},
                {"start": "2026-05-26T00:30:00+02:00", "end": "2026-05-26T01:00:00+02:00", "price": 14.1},
            ]
        }
    },
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_an_api_gives_is_read_as_it_comes(name: str) -> None:
    assert parse(json.dumps(SHAPES[name])) == [
        Slot(at("2026-05-25T22:00Z"), at("2026-05-25T22:30Z"), 12.2),
        Slot(at("2026-05-25T22:30Z"), at("2026-05-25T23:00Z"), 14.1),
    ]


@pytest.mark.parametrize("name", SHAPES)
def test_a_price_that_is_null_is_not_known_whatever_the_api(name: str) -> None:
    text = json.dumps(SHAPES[name]).replace("14.1", "null")

    assert parse(text) == [Slot(at("2026-05-25T22:00Z"), at("2026-05-25T22:30Z"), 12.2)]


@pytest.mark.parametrize(
    "text",
    [
        "begin,end,price\n2026-05-25T22:00Z,2026-05-25T22:30Z,12.2\n",
        "begin, end, price\n2026-05-25T22:00Z, 2026-05-25T22:30Z, 12.2\n",
        "Begin;END;Price\r\n2026-05-25T22:00Z;2026-05-25T22:30Z;12,2\r\n",
        "price;note;begin;end\n12.2;a, b;2026-05-25T22:00Z;2026-05-25T22:30Z\n",
        "\ufeffbegin,end,price\n2026-05-25T22:00Z,2026-05-25T22:30Z,12.2\n2026-05-25T22:30Z,2026-05-25T23:00Z,\n",
    ],
    ids=["as it is shown", "blanks", "semicolons", "other columns", "a price that is not known"],
)
def test_a_table_may_look_as_a_spreadsheet_writes_it(text: str) -> None:
    assert parse(text) == [Slot(at("2026-05-25T22:00Z"), at("2026-05-25T22:30Z"), 12.2)]


def rates(*rows: tuple[float | None, str | None, str | None], method: str | None = None) -> str:
    members = ("value_inc_vat", "valid_from", "valid_to")
    return json.dumps(
        {"results": [{**dict(zip(members, row, strict=True)), "payment_method": method} for row in rows]}
    )


def test_a_price_without_an_end_holds_until_a_later_row_begins() -> None:
    first, second = at("2026-05-25T22:30Z"), at("2026-05-29T06:00Z")

    assert parse(rates((7.5, "2026-05-25T22:30Z", None))) == [Slot(first, inf, 7.5)]
    assert parse(rates((7.5, None, None))) == [Slot(-inf, inf, 7.5)]
    assert parse(rates((9.0, "2026-05-29T06:00Z", None), (7.5, "2026-05-25T22:30Z", None))) == [
        Slot(first, second, 7.5),
        Slot(second, inf, 9.0),
    ]
    assert parse(rates((None, "2026-05-29T06:00Z", None), (7.5, "2026-05-25T22:30Z", None))) == [
        Slot(first, second, 7.5)
    ]
    assert parse("begin,end,price\n2026-05-25T22:30Z,,7.5\n") == [Slot(first, inf, 7.5)]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_dates_that_are_far_away_are_open_ends(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    tzset()
    try:
        ever = "begin,end,price\n0001-01-01T00:00:00+14:00,9999-12-31T23:59:59Z,7.5\n"
        assert parse(ever) == [Slot(-inf, inf, 7.5)]
        assert parse(ever + "2026-05-25T22:00Z,,12.2\n")[0] == Slot(-inf, at("2026-05-25T22:00Z"), 7.5)
        half = Slot(at("2026-05-25T22:00Z"), at("2026-05-25T22:30Z"), 12.2)
        past = "begin,end,price\n1900-01-01T00:00Z,1950-01-01T00:00Z,3\n"
        assert parse(past + "2026-05-25T22:00Z,2026-05-25T22:30Z,12.2\n") == [half]
        assert parse(ever + "9999-12-30T00:00Z,9999-12-31T00:00Z,1\n")[0] == Slot(-inf, inf, 7.5)
        with pytest.raises(UsageError, match=r"overlap: ever to 2026-05-2.* and ever to"):
            parse(ever + "1960-01-01T00:00Z,2026-05-25T22:30Z,12.2\n")
    finally:
        monkeypatch.undo()
        tzset()


def test_a_row_that_is_missing_in_a_series_is_not_known() -> None:
    seconds = [1_779_746_400 + 900 * number for number in range(10) if number not in (4, 5)]
    slots = parse(json.dumps({"unix_seconds": seconds, "price": [1.0] * 8}))

    assert [slot.begin for slot in slots] == seconds
    assert {slot.seconds for slot in slots} == {900.0}
    assert [slot.seconds for slot in parse('{"unix_seconds": [1779746400], "price": [1]}')] == [900.0]


def test_of_two_payment_methods_one_counts() -> None:
    both = json.loads(rates((21.0, "2026-05-25T22:30Z", None), method="DIRECT_DEBIT"))
    both["results"] += json.loads(rates((22.05, "2026-05-25T22:30Z", None), method="NON_DIRECT_DEBIT"))["results"]

    assert [slot.price for slot in parse(json.dumps(both))] == [21.0]
    assert [slot.price for slot in parse(json.dumps(both), "NON_DIRECT_DEBIT")] == [22.05]
    with pytest.raises(UsageError, match=r"no row counts; .* payment_method DIRECT_DEBIT, pay"):
        parse(json.dumps(both), "PREPAYMENT")


def test_prices_of_several_areas_are_not_mixed() -> None:
    text = json.dumps(SHAPES["Nord Pool"]).replace('{"SE3": 14.1}', '{"SE3": 14.1, "FI": 3.0}')

    with pytest.raises(UsageError, match="prices of Nord Pool: entry 2: it has the prices of SE3, FI; ask for"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no prices"),
        ("[]", "no prices"),
        ("from,until,price\n", "the first line has no begin, end: it names from, until, price"),
        ("begin,end,price\n", "no prices"),
        ("begin,end,price\n2026-05-25T22:00Z,2026-05-25T22:30Z,cheap\n", "line 2: 'cheap' is not a price"),
        ("begin,end,price\n2026-05-25T22:00,2026-05-25T22:30Z,1\n", "has no offset"),
        ("begin,end,price\nnoon,2026-05-25T22:30Z,1\n", "'noon' is not a time"),
        ("begin,end,price\n2026-05-25T22:30Z,2026-05-25T22:00Z,1\n", "ends before it begins"),
        ("begin,end,price\n2026-05-25T22:00Z,2026-05-25T22:30Z,nan\n", "is not a price"),
        ("begin,end,price\n2026-05-25T22:00Z,2026-05-25T22:30Z,7,5\n", "line 2: it has more values"),
        ("begin,end,price\n2026-05-25T22:00Z\n", "no prices"),
        ("{}", "no prices in it"),
        ('{"results": []}', "no prices in it"),
        ('{"errors": [{"message": "no token"}]}', "no prices were recognised in it: it is an object with errors"),
        (
            "[5]",
            "no prices were recognised in it: it is a list; known are begin, end and price, unit",
        ),
        (
            '{"data": [{"from": "2026-05-25T12:00Z", "to": null, "intensity": {}}]}',
            "carbon.*: there are no",
        ),
        (
            '[{"begin": "2026-05-25T12:00Z", "end": null, "price": true}]',
            "begin, end and price: entry 1: True is not a price",
        ),
        ('{"results": [{"valid_from": "2026-05-25T12:00Z", "value_inc_vat": 1}, 5]}', "Octopus.*: entry 2 has no"),
        ('{"unix_seconds": [1779746400, 1779747300], "price": [1]}', "lists of different lengths"),
        ("[{", "not JSON"),
        pytest.param("[" * 100_000, "not JSON", id="a pit"),
        pytest.param(f"begin,end,price,{'x' * 200_000}\n", "not CSV: field larger", id="a header without an end"),
        pytest.param(f"begin,end,price\n{'x' * 200_000}\n", "not CSV: field larger", id="a row without an end"),
    ],
)
def test_prices_that_cannot_be_used_are_reported_with_where_they_are(text: str, says: str) -> None:
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
