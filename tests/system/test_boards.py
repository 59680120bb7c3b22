"""Every query of every dashboard, asked of real databases: it is understood, finds something, and tells the truth.

Simulated chargers are read by the exporter's own code over two days in a time of their own, across the end of a
month, in some twenty seconds. CCL_BOARD_DAYS=5 in the environment makes it five days, in some minutes.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from boards.units import BY_URGENCY, FAULT_REASONS, NOT_REACHABLE
from helpers.board_asking import Asker
from helpers.board_data import (
    ABSENT,
    DOUBLE,
    END,
    GARAGE,
    PAID,
    STEP,
    Days,
    an_hour,
    days,
    in_milliseconds,
    in_pieces,
    post,
    prometheus,
)
from helpers.board_queries import BOARDS, OWN, defaults, queries, title
from helpers.databases import Influx, Victoria, running
from helpers.replay import AVAILABILITY_RULES, History, fleet_rules, replay

from ccl_exporter.sessions.tracker import FinishedSession
from ccl_exporter.simulator import Dialect

LENGTH = float(os.environ.get("CCL_BOARD_DAYS", "1.375")) * 86_400
PRICES: Mapping[str, str | Sequence[str]] = {
    **{"price": "0.30", "cheap_price": "0.10", "cheap_from": "22", "cheap_to": "6"},
    "exporter": ["without-a-tariff"],
}

RIGHTLY_EMPTY = {
    "Station": "the simulated engines, as some real ones, do not tell a STATE of their own",
    "Faults B": "no charger that was reachable is so no longer",
    "Chargers and plugs C": "no charger that was reachable is so no longer",
    "Rejected values": "no value was rejected on these days",
    "Other reactive energy": "no simulated meter has such a variable",
    "Other apparent energy": "no simulated meter has such a variable",
}
"""Panels that are empty on these days, and why."""

BY_RULES = ("Availability of 30 days", "Availability by month", "Alerts", "annotation Alerts")
FOLLOWER = (
    *("Available power and input", "Limit and current"),
    *("Reason for the limit", "Writes left"),
)
"""What only `charge follow` has, on its own port: tests/system/test_follow_command.py asks it."""

BIT_BY_BIT = {"Faults": 1, "Faults of the plug": 2, "Faults of the station": 1}
"""Panels with a query for each bit, and how many bits were set on these days."""


@dataclass(frozen=True, slots=True)
class Sources:
    days: Days
    prometheus: str
    victoria: str
    influx: str

    def asker(self, board: str, **chosen: str | Sequence[str]) -> Asker:
        url, database = self.prometheus, ""
        if board == "charger-influxdb.json":
            url, database = self.influx, "evse"
        elif board == "charger-victoriametrics.json":
            url = self.victoria
        return Asker(url, {**defaults(board), **PRICES, **chosen}, END, interval=STEP, database=database)

    def ask(self, board: str, place: str, **chosen: str | Sequence[str]) -> list[Any]:
        (query,) = [query for query in queries(board) if query.place == place]
        return self.asker(board, **chosen).ask(query)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    folder = tmp_path_factory.mktemp("boards")
    found = days(folder, LENGTH)
    with ExitStack() as stack:
        url = stack.enter_context(prometheus(folder, found.scraped))
        # Made now, as each chooses its port when it is made.
        victoria, influx = Victoria(folder / "victoria"), Influx(folder / "influx")
        stack.enter_context(running(victoria))
        stack.enter_context(running(influx))
        influx.create()
        for piece in in_pieces(found.pushed, 5000):
            post(f"{victoria.url}/api/v2/write?precision=ms", piece)
            post(f"{influx.url}/write?db=evse&precision=ms", piece)
        victoria.export("ccl_scrape_up")  # makes what was written visible
        yield Sources(found, url, victoria.url, influx.url)


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_every_query_finds_something(sources: Sources, board: str) -> None:
    asker, empty, bits = sources.asker(board), set(), dict.fromkeys(BIT_BY_BIT, 0)
    for query in queries(board):
        answer = asker.ask(query)
        if board == "charger-victoriametrics.json" and title(query) in BIT_BY_BIT:
            bits[title(query)] += bool(answer)
        elif not answer and not {title(query), query.place} & {*OWN, *BY_RULES, *FOLLOWER, *RIGHTLY_EMPTY}:
            empty.add(query.place)

    assert empty == set()
    if board == "charger-victoriametrics.json":
        assert bits == BIT_BY_BIT


def test_a_panel_without_data_is_folded_or_says_why() -> None:
    """In its own words where a value would be, or in the title of its row."""
    empty = {*OWN, *BY_RULES, *FOLLOWER, *RIGHTLY_EMPTY, *BIT_BY_BIT}
    wrong = []
    for name, board in BOARDS.items():
        row = ""
        for panel in board["panels"]:
            row = panel["title"] if panel["type"] == "row" else row
            for shown in panel["panels"] if panel["type"] == "row" else [panel]:
                own_words = "noValue" in shown["fieldConfig"]["defaults"]
                folded = panel["type"] == "row" and panel["collapsed"] and "(" in row
                if shown["title"] in empty and not own_words and not folded:
                    wrong.append((name, row, shown["title"]))

    assert wrong == []


# The truth


def register_at(found: Days, plug: tuple[str, str], at: float) -> float:
    return [joules for moment, joules in found.registers[plug] if moment <= at][-1]


def midnight(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def by_plug(answer: list[Any], at: float) -> dict[str, float]:
    """Values of one moment by plug."""
    found = {}
    for one in answer:
        if "metric" in one:
            pairs = {float(moment): float(value) for moment, value in one["values"]}
            found[one["metric"]["plug"]] = pairs[at]
        else:
            found[one["tags"]["plug"]] = {row[0]: row[1] for row in one["values"]}[at * 1000]
    return found


FIRST, LAST = midnight("2026-10-01"), midnight("2026-10-02")
"""The one whole day, which is the first of a month, and the day on which the boards are looked at."""

CHARGER_BOARDS = sorted(name for name in BOARDS if name.startswith("charger"))
BY_REGISTER = [name for name in CHARGER_BOARDS if name != "charger-influxdb.json"]


@pytest.mark.parametrize("board", CHARGER_BOARDS)
def test_energy_per_day_is_the_difference_of_the_register(sources: Sources, board: str) -> None:
    answer = sources.ask(board, "Energy per day A")

    # A reading at midnight itself is of the day that ends for Prometheus, of the one that begins for InfluxDB.
    early = 0.001 if board == "charger-influxdb.json" else 0.0
    for begin, end in ((FIRST, LAST - early), (LAST, END)):
        shown = by_plug(answer, begin)
        for key in sources.days.registers:
            truth = register_at(sources.days, key, end) - register_at(sources.days, key, begin - early)
            assert shown[key[1]] == pytest.approx(truth / 3.6e6, rel=1e-9)


def test_days_of_influxdb_are_local(sources: Sources) -> None:
    """A day in India begins at 18:30 of UTC."""
    begin = LAST - 5.5 * 3600
    shown = by_plug(sources.ask("charger-influxdb.json", "Energy per day A", timezone="Asia/Kolkata"), begin)

    for key in sources.days.registers:
        grown = register_at(sources.days, key, END) - register_at(sources.days, key, begin - 0.001)
        assert shown[key[1]] == pytest.approx(grown / 3.6e6, rel=1e-9)


@pytest.mark.parametrize("board", BY_REGISTER)
def test_energy_per_month_is_the_sum_of_its_days(sources: Sources, board: str) -> None:
    months = {
        one["metric"]["month"]: sum(float(value) for _, value in one["values"])
        for one in sources.ask(board, "Energy per month A")
    }
    found = sources.days

    def grown(begin: float, end: float) -> float:
        return sum(
            (register_at(found, plug, end) - register_at(found, plug, begin)) / 3.6e6 for plug in found.registers
        )

    assert months["2026-10"] == pytest.approx(grown(FIRST, END), rel=1e-9)
    if LENGTH < 2 * 86_400:
        assert months["2026-09"] == pytest.approx(grown(found.start, FIRST), rel=1e-9)


def test_months_of_influxdb_are_sums_of_its_days(sources: Sources) -> None:
    """Grafana puts the rows of days together by month; here they are of one month."""
    board = "charger-influxdb.json"
    for what in ("Energy per", "Cost per ${currency}"):
        rows = sources.ask(board, f"{what} A".replace("per", "per month"))
        days_ = sources.ask(board, f"{what} A".replace("per", "per day"))
        by_month, by_day = (
            sum(row[1] for one in answer for row in one["values"] if row[0] >= FIRST * 1000)
            for answer in (rows, days_)
        )
        assert by_month == pytest.approx(by_day, rel=1e-9)


@pytest.mark.parametrize("board", BY_REGISTER)
def test_cost_per_day_goes_by_the_register_hour_by_hour(sources: Sources, board: str) -> None:
    shown = by_plug(sources.ask(board, "Cost per day ${currency} A"), FIRST)

    for key in sources.days.registers:
        truth = 0.0
        for hour in range(24):
            begin = FIRST + hour * 3600
            grown = register_at(sources.days, key, begin + 3600) - register_at(sources.days, key, begin)
            truth += grown / 3.6e6 * (0.10 if hour >= 22 or hour < 6 else 0.30)
        assert shown[key[1]] == pytest.approx(truth, rel=1e-9)


def test_the_tariff_of_an_exporter_goes_before_the_variables(sources: Sources) -> None:
    """The day has two halves; readings are five minutes apart, so a few of them count at the other price."""
    key = (GARAGE, "EVSE.PLUG")
    chosen: dict[str, Sequence[str]] = {"instance": [GARAGE], "plug": ["EVSE.PLUG"], "exporter": [PAID]}
    noon = FIRST + 43_200
    begin, half, end = (register_at(sources.days, key, at) / 3.6e6 for at in (FIRST, noon, LAST))
    day = by_plug(sources.ask("charger.json", "Cost per day ${currency} A", **chosen), FIRST)["EVSE.PLUG"]
    (today,) = sources.ask("charger.json", "Today A", **chosen)
    (cost,) = sources.ask("charger.json", "Cost today ${currency} A", **chosen)
    (running,) = sources.ask("charger.json", "Session A", **chosen)
    (price,) = sources.ask("charger.json", "Session cost ${currency} A", **chosen)

    assert day == pytest.approx((half - begin) * 0.2 + (end - half) * 0.5, rel=0.03)
    # Today began at midnight, and it is not noon yet.
    assert float(today["value"][1]) == pytest.approx(register_at(sources.days, key, END) / 3.6e6 - end, rel=1e-9)
    assert float(cost["value"][1]) == pytest.approx(float(today["value"][1]) * 0.2, rel=1e-9)
    assert float(price["value"][1]) == pytest.approx(float(running["value"][1]) * 0.2, rel=1e-9)


def test_a_charger_that_is_not_reachable_is_shown_as_such(sources: Sources) -> None:
    """As the first row of the fleet, and in the timeline of an outage; never by its last values."""
    rows = {
        one["metric"]["instance"]: float(one["value"][1])
        for one in sources.ask("fleet.json", "Chargers and plugs A")
        if "plug" not in one["metric"]
    }
    for board, label in (("charger.json", "instance"), ("charger-victoriametrics.json", "charger")):
        (lane,) = sources.ask(board, "Activity A", **{label: [GARAGE], "plug": ["EVSE.PLUG"]})
        shown = {float(at): float(value) for at, value in lane["values"]}
        away = [at for at in shown if END - 15.9 * 3600 < at < END - 15.6 * 3600]
        assert {shown[at] for at in away} == {NOT_REACHABLE}, board
        assert len(away) >= 3, "the outage has no gap"
        assert NOT_REACHABLE not in {shown[at] for at in shown if at > END - 15.4 * 3600}, board

    assert rows == {ABSENT: len(BY_URGENCY)}


def test_the_fleet_names_the_fault_of_a_plug_and_says_that_there_are_others(sources: Sources) -> None:
    (query,) = [query for query in queries("fleet.json") if query.place == "Chargers and plugs B"]
    asker = sources.asker("fleet.json")
    shown = [
        {(one["metric"]["instance"], one["metric"]["plug"]): float(one["value"][1]) for one in each.ask(query)}
        for each in (asker, replace(asker, end=END - 19.7 * 3600))
    ]

    assert [found[GARAGE, "EVSE.PLUG"] for found in shown] == [FAULT_REASONS["rcd"], FAULT_REASONS["rcd"] + 1]
    assert {value for found in shown for (name, _), value in found.items() if name != GARAGE} <= {*range(1, 100)}


def test_the_fleet_has_no_reason_where_a_plug_charges(sources: Sources) -> None:
    """Every other plug has one."""
    charging, reasons = (
        {(one["metric"]["instance"], one["metric"].get("plug")): float(one["value"][1]) for one in answer}
        for answer in (sources.ask("fleet.json", f"Chargers and plugs {column}") for column in "AB")
    )
    plugs = {plug for plug, status in charging.items() if status == BY_URGENCY.index("charging")}

    assert plugs
    assert set(charging) == plugs | set(reasons) | {(ABSENT, None)}
    assert not plugs & set(reasons)


def test_how_long_a_charger_was_not_read_is_in_hours(sources: Sources) -> None:
    """An outage of half an hour, in its middle; the last reading is up to a step older."""
    (query,) = [query for query in queries("fleet.json") if query.place == "Chargers and plugs C"]
    (one,) = replace(sources.asker("fleet.json"), end=END - 15.75 * 3600).ask(query)

    assert one["metric"]["instance"] == GARAGE
    assert 0.25 <= float(one["value"][1]) <= 0.25 + 600 / 3600


def test_the_power_of_the_fleet_is_the_sum_of_its_rows(sources: Sources) -> None:
    """Both of the same moment: a total of the reading before would differ while a plug charges."""
    ((total,), rows) = (sources.ask("fleet.json", place) for place in ("Power A", "Chargers and plugs D"))

    assert len(rows) == len(sources.days.registers)
    assert float(total["value"][1]) == pytest.approx(sum(float(one["value"][1]) for one in rows), rel=1e-9)
    assert float(total["value"][1]) > 1000


def cheap_seconds(begin: float, end: float) -> float:
    """Seconds between 22 and 6 o'clock, counted one by one."""
    return sum(1 for at in range(int(begin), int(end)) if not 6 <= at // 3600 % 24 < 22)


def price_by_register(found: Days, session: FinishedSession, until: float) -> float:
    """The mean price of what a plug's register counted from the beginning of a session on, in the last day."""
    assert session.begun
    readings = [
        one
        for one in found.registers[session.charger, session.plug]
        if max(session.begun, END - 86_400) <= one[0] < until
    ]
    grown = [(at, after - before) for (_, before), (at, after) in pairwise(readings)]
    # The minute in which a reading is first seen ends at the next full one.
    paid = sum(joules * price_at(ceil(at / 60) * 60 - 30) for at, joules in grown)
    return paid / sum(joules for _, joules in grown)


def price_at(at: float) -> float:
    return 0.30 if 6 <= at // 3600 % 24 < 22 else 0.10


@pytest.mark.parametrize("board", CHARGER_BOARDS)
def test_charges_are_those_of_the_ledger_with_their_cost(sources: Sources, board: str) -> None:
    """A session whose end is not known has energy in InfluxDB, and no cost."""
    every = sorted((one for one in sources.days.finished if one.begun), key=lambda one: one.begun or 0.0)
    begun = [one for one in every if (one.ended or one.begun or 0.0) > END - 86_400]
    energy = dict.fromkeys([one.plug for one in begun], 0.0)
    cost = dict(energy)
    for one in begun:
        assert one.begun
        if one.ended or board == "charger-influxdb.json":
            energy[one.plug] += one.joules / 3.6e6
        if one.ended is None:
            continue
        if board == "charger.json":
            later = [at for other in every if other.plug == one.plug and (at := other.begun or 0.0) > one.begun]
            price = price_by_register(sources.days, one, later[0] if later else END)
        else:
            price = 0.30 - 0.20 * cheap_seconds(one.begun, one.ended) / (one.ended - one.begun)
        cost[one.plug] += one.joules / 3.6e6 * price

    exact = 1e-2 if board == "charger.json" else 1e-3
    for place, truth in (("Energy of these sessions A", energy), ("Cost of these sessions ${currency} A", cost)):
        answer = sources.ask(board, place)
        shown = {
            (one.get("metric") or one["tags"])["plug"]: float(
                one["value"][1] if "value" in one else one["values"][0][1]
            )
            for one in answer
        }
        assert shown == pytest.approx(truth, rel=exact), place


@pytest.mark.parametrize("board", CHARGER_BOARDS)
def test_the_table_of_charges_has_a_row_for_each(sources: Sources, board: str) -> None:
    truth = {
        (one.plug, round(one.ended or 0.0)): (one.joules or 0.0) / 3.6e6
        for one in sources.days.finished
        if (one.ended or 0.0) > END - 86_400 and one.begun
    }
    if board == "charger-influxdb.json":
        (table,) = sources.ask(board, "Sessions A")
        at = table["columns"].index
        shown = {
            (row[at("Plug")], round(row[at("End")] / 1000)): row[at("Energy")]
            for row in table["values"]
            if row[at("Begin")] is not None and row[at("End")] is not None
        }
    else:
        ends = {_session(one): round(float(one["value"][1]) / 1000) for one in sources.ask(board, "Sessions A")}
        began = {_session(one) for one in sources.ask(board, "Sessions B")}
        energies = {_session(one): float(one["value"][1]) for one in sources.ask(board, "Sessions C")}
        shown = {(one[0], ends[one]): energies[one] for one in energies if one in began}

    assert shown == pytest.approx(truth, rel=1e-9)


def _session(one: Mapping[str, Any]) -> tuple[str, int]:
    """What a session is known by."""
    return one["metric"]["plug"], round(float(one["metric"]["end" if "end" in one["metric"] else "begin"]))


# Names that hurt


HURTING = {
    "charger.json": {"instance": [DOUBLE], "plug": ["Poste Été.PLUG_A"]},
    "charger-victoriametrics.json": {"charger": [DOUBLE], "plug": ["Poste Été.PLUG_A"]},
    "charger-influxdb.json": {"charger": [DOUBLE], "plug": ["Poste Été.PLUG_A"]},
}


@pytest.mark.parametrize("board", CHARGER_BOARDS)
def test_one_plug_of_two_is_shown_alone(sources: Sources, board: str) -> None:
    asker = sources.asker(board, **HURTING[board])
    for query in queries(board):
        if query.kind in ("variable", "annotation"):
            continue
        for one in asker.ask(query):
            labels = one.get("metric") or one.get("tags", {})
            assert labels.get("plug", "Poste Été.PLUG_A") == "Poste Été.PLUG_A", query
            assert {labels.get("instance", DOUBLE), labels.get("charger", DOUBLE)} == {DOUBLE}, query
    assert asker.ask(queries(board)[0])


@pytest.mark.parametrize(
    ("device", "variable"),
    [
        ('Mode 3 "A"', "PREDUCTION"),
        ("Mode 3 - 'B'", "PREDUCTION"),
        ("Café & Co? 1+1 #2 100% R$", "R$SYS"),
        ("Board.1", "TCI"),
    ],
)
def test_a_variable_is_shown_whatever_its_device_is_called(sources: Sources, device: str, variable: str) -> None:
    asker = sources.asker("variables.json", instance=[DOUBLE], device=[device, "not there"], variable=[variable])
    shown = [
        (one["metric"]["device"], one["metric"]["variable"])
        for query in queries("variables.json")
        if query.kind in ("timeseries", "table") and query.place != "Status A"
        for one in asker.ask(query)
    ]

    assert shown == [(device, variable)] * 2  # in its graph and in the table


# Another firmware


@pytest.mark.parametrize("dialect", ["no-charge-points", "no-plug-state", "wallbox-proven", "no-information"])
def test_a_charger_that_reports_less_is_shown_as_far_as_it_goes(tmp_path: Path, dialect: str) -> None:
    found, victoria = an_hour(Dialect.parse([dialect])), Victoria(tmp_path / "victoria")
    with running(victoria):
        post(f"{victoria.url}/api/v1/import/prometheus", "\n".join(in_milliseconds(found.scraped)) + "\n")
        post(f"{victoria.url}/api/v2/write?db=pushed&precision=ms", "\n".join(found.pushed) + "\n")
        victoria.export("ccl_up")  # makes what was written visible
        for board in (*BY_REGISTER, "fleet.json"):
            asker = Asker(victoria.url, {**defaults(board), **PRICES}, END, range=3600.0, interval=STEP)
            shown = {title(query) for query in queries(board) if asker.ask(query)}
            wanted = {"Chargers and plugs", "Status of each plug", "Contact"}
            if board != "fleet.json":
                wanted = {
                    "State",
                    "Reason",
                    "Power",
                    "Limit",
                    "Meter",
                    "Energy per day",
                    "Contact",
                }
            assert wanted <= shown, board


# What the rules record


def test_availability_and_alerts_are_what_the_rules_say(sources: Sources, tmp_path: Path) -> None:
    history, begin = History(tmp_path / "history"), max(sources.days.start, END - 2 * 86_400)
    with running(history):
        for piece in in_pieces(in_milliseconds(sources.days.scraped)):
            post(f"{history.url}/api/v1/import/prometheus", piece)
        history.export("ccl_up")  # makes what was written visible
        rules = fleet_rules(f"{AVAILABILITY_RULES}|CclGroundFault", tmp_path)
        replay(history.url, rules, begin, END, tmp_path)
        asker = Asker(history.url, defaults("fleet.json"), END, interval=STEP)
        found = {query.place: asker.ask(query) for query in queries("fleet.json") if title(query) in BY_RULES}

    plugs = {plug for _, plug in sources.days.registers}
    assert {one["metric"]["plug"] for one in found["Availability of 30 days A"]} == plugs
    assert {one["metric"]["month"] for one in found["Availability by month A"]} == {"2026-09", "2026-10"}
    assert all(0.5 < float(one["value"][1]) <= 1 for one in found["Availability by month A"])
    assert {one["metric"]["instance"] for one in found["annotation Alerts"]} == {GARAGE}
