"""Every query of every dashboard, asked of real databases: it is understood, finds something, and tells the truth.

Simulated chargers are read by the exporter's own code over two days in a time of their own, across the end of a
month, in some twenty seconds. CCL_BOARD_DAYS=7 in the environment makes it a week, in a few minutes.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import pytest
import yaml
from board_asking import Asker
from board_data import (
    DOUBLE,
    END,
    GARAGE,
    STEP,
    Days,
    days,
    in_milliseconds,
    in_pieces,
    post,
    prometheus,
    recorded,
)
from board_queries import BOARDS, Query, defaults, panels, queries
from brokers import Broker
from brokers import running as broker_running
from databases import Influx, Victoria, running
from prometheus import running as scraping
from support import PROJECT, Start, server

from ccl_exporter.simulator import Simulator

LENGTH = float(os.environ.get("CCL_BOARD_DAYS", "1.75")) * 86_400
PRICES: Mapping[str, str] = {"price": "0.30", "cheap_price": "0.10", "cheap_from": "22", "cheap_to": "6"}

RIGHTLY_EMPTY = {
    "Station": "the simulated engines, as some real ones, do not tell a STATE of their own",
    "Registers held back": "no register lied on these days",
    "Other reactive energy (kvarh)": "no simulated meter has such a variable",
    "Other apparent energy (kVAh)": "no simulated meter has such a variable",
}
"""Panels that are empty on these days, and why."""

BY_RULES = ("Availability of 30 days", "Availability by month", "annotation Alerts")
OWN = (
    *("Version", "Configuration", "Broker", "Waiting in queues", "Queues on disk", "Database last took"),
    *("Age of the oldest reading that waits", "Points", "Time a database takes", "Readings of chargers"),
    *("Messages to the broker", "Chargers that are left alone", "variable exporter"),
)
"""What only the exporter itself has, on /metrics."""

BIT_BY_BIT = {"Faults of the plug": 2, "Faults of the station": 1}
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
    victoria, influx = Victoria(folder / "victoria"), Influx(folder / "influx")
    with ExitStack() as stack:
        url = stack.enter_context(prometheus(folder, found.scraped))
        stack.enter_context(running(victoria))
        stack.enter_context(running(influx))
        influx.create()
        for piece in in_pieces(found.pushed, 5000):
            post(f"{victoria.url}/api/v2/write?precision=ms", piece)
            post(f"{influx.url}/write?db=evse&precision=ms", piece)
        victoria.export("ccl_scrape_up")  # makes what was written visible
        yield Sources(found, url, victoria.url, influx.url)


def title(query: Query) -> str:
    return query.place if " " in query.place and query.kind in ("variable", "annotation") else query.place[:-2]


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_every_query_finds_something(sources: Sources, board: str) -> None:
    asker, empty, bits = sources.asker(board), set(), dict.fromkeys(BIT_BY_BIT, 0)
    for query in queries(board):
        answer = asker.ask(query)
        if board == "charger-victoriametrics.json" and title(query) in BIT_BY_BIT:
            bits[title(query)] += bool(answer)
        elif not answer and not (title(query) in OWN or title(query) in BY_RULES):
            empty.add(title(query))

    assert empty <= set(RIGHTLY_EMPTY)
    if board == "charger-victoriametrics.json":
        assert bits == BIT_BY_BIT


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

    for begin, end in ((FIRST, LAST), (LAST, END)):
        shown = by_plug(answer, begin)
        for key in sources.days.registers:
            truth = register_at(sources.days, key, end) - register_at(sources.days, key, begin)
            assert shown[key[1]] == pytest.approx(truth / 3.6e6, rel=1e-9)


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
    for what in ("Energy", "Cost"):
        rows = sources.ask(board, f"{what} per month A")
        days_ = sources.ask(board, f"{what} per day A")
        by_month, by_day = (
            sum(row[1] for one in answer for row in one["values"] if row[0] >= FIRST * 1000)
            for answer in (rows, days_)
        )
        assert by_month == pytest.approx(by_day, rel=1e-9)


@pytest.mark.parametrize("board", BY_REGISTER)
def test_cost_per_day_goes_by_the_register_hour_by_hour(sources: Sources, board: str) -> None:
    shown = by_plug(sources.ask(board, "Cost per day A"), FIRST)

    for key in sources.days.registers:
        truth = 0.0
        for hour in range(24):
            begin = FIRST + hour * 3600
            grown = register_at(sources.days, key, begin + 3600) - register_at(sources.days, key, begin)
            truth += grown / 3.6e6 * (0.10 if hour >= 22 or hour < 6 else 0.30)
        assert shown[key[1]] == pytest.approx(truth, rel=1e-9)


def cheap_seconds(begin: float, end: float) -> float:
    """Seconds between 22 and 6 o'clock, counted one by one."""
    return sum(1 for at in range(int(begin), int(end)) if not 6 <= at // 3600 % 24 < 22)


@pytest.mark.parametrize("board", CHARGER_BOARDS)
def test_charges_are_those_of_the_ledger_with_their_cost(sources: Sources, board: str) -> None:
    ended = [one for one in sources.days.finished if (one.ended or 0.0) > END - 86_400 and one.begun]
    energy = dict.fromkeys([one.plug for one in ended], 0.0)
    cost = dict(energy)
    for one in ended:
        assert one.begun
        assert one.ended
        assert one.joules is not None
        share = cheap_seconds(one.begun, one.ended) / (one.ended - one.begun)
        energy[one.plug] += one.joules / 3.6e6
        cost[one.plug] += one.joules / 3.6e6 * (0.30 - 0.20 * share)

    for place, truth in (("Their energy A", energy), ("Their cost A", cost)):
        answer = sources.ask(board, place)
        shown = {
            (one.get("metric") or one["tags"])["plug"]: float(
                one["value"][1] if "value" in one else one["values"][0][1]
            )
            for one in answer
        }
        assert shown == pytest.approx(truth, rel=1e-3), place


@pytest.mark.parametrize("board", CHARGER_BOARDS)
def test_the_table_of_charges_has_a_row_for_each(sources: Sources, board: str) -> None:
    truth = {
        (one.plug, round(one.ended or 0.0)): (one.joules or 0.0) / 3.6e6
        for one in sources.days.finished
        if (one.ended or 0.0) > END - 86_400 and one.begun
    }
    if board == "charger-influxdb.json":
        (table,) = sources.ask(board, "Charges A")
        at = table["columns"].index
        shown = {
            (row[at("Plug")], round(row[at("End")] / 1000)): row[at("Energy")]
            for row in table["values"]
            if row[at("Begin")] is not None
        }
    else:
        began = {_charge(one) for one in sources.ask(board, "Charges B")}
        energies = {_charge(one): float(one["value"][1]) for one in sources.ask(board, "Charges C")}
        shown = {charge: energies[charge] for charge in energies if charge in began}

    assert shown == pytest.approx(truth, rel=1e-9)


def _charge(one: Mapping[str, Any]) -> tuple[str, int]:
    return one["metric"]["plug"], round(float(one["metric"]["end"]))


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


# What the rules record


def test_availability_and_alerts_are_what_the_rules_say(sources: Sources, tmp_path: Path) -> None:
    folder = PROJECT / "deploy/prometheus/rules"
    groups = [
        group
        for name in ("recording.yml", "alerts.yml")
        for group in yaml.safe_load((folder / name).read_text())["groups"]
    ]
    history, begin = Victoria(tmp_path / "history"), max(sources.days.start, END - 2 * 86_400)
    with running(history):
        for piece in in_pieces(in_milliseconds(sources.days.scraped)):
            post(f"{history.url}/api/v1/import/prometheus", piece)
        history.export("ccl_up")  # makes what was written visible
        # One after the other, as each needs what the one before has recorded.
        for pattern in ("calendar:month:info|.*:seen", ".*available:bool", ".*available:ratio.*|CclGroundFault"):
            chosen = [
                {**group, "rules": [rule for rule in group["rules"] if re.fullmatch(pattern, _name(rule))]}
                for group in groups
            ]
            rules = tmp_path / "rules.yml"
            rules.write_text(yaml.safe_dump({"groups": [group for group in chosen if group["rules"]]}))
            recorded(history.url, rules, begin)
        asker = Asker(history.url, defaults("fleet.json"), END, interval=STEP)
        found = {query.place: asker.ask(query) for query in queries("fleet.json") if title(query) in BY_RULES}

    plugs = {plug for _, plug in sources.days.registers}
    assert {one["metric"]["plug"] for one in found["Availability of 30 days A"]} == plugs
    assert {one["metric"]["month"] for one in found["Availability by month A"]} == {"2026-09", "2026-10"}
    assert all(0.5 < float(one["value"][1]) <= 1 for one in found["Availability by month A"])
    assert {one["metric"]["instance"] for one in found["annotation Alerts"]} == {GARAGE}


def _name(rule: Mapping[str, str]) -> str:
    return rule.get("record") or rule["alert"]


# The exporter itself


def test_the_exporter_and_its_queues_are_shown_as_they_run(start: Start, tmp_path: Path, state: Path) -> None:
    """With a database that takes everything, one that is away, a broker, and an absent charger."""
    broker, victoria = Broker(tmp_path / "broker"), Victoria(tmp_path / "victoria")
    away = Victoria(tmp_path / "away")
    with Simulator() as wallbox, Simulator("twin") as twin, broker_running(broker), running(victoria):
        config = tmp_path / "ccl.yaml"
        config.write_text(
            f"chargers:\n  garage: {{url: '{wallbox.url}', labels: {{site: home}}}}\n"
            f"  double: {{url: '{twin.url}', labels: {{site: north}}}}\n"
            f"  absent: {{url: '{away.url}', labels: {{site: north}}, timeout: 500ms}}\n"
            "influxdb:\n"
            f"  - {{url: '{victoria.url}', version: 2, org: home, bucket: evse, "
            "token: t, name: here, interval: 1s}\n"
            f"  - {{url: '{away.url}', version: 1, database: evse, name: away, interval: 1s}}\n"
            f"mqtt: {{url: 'mqtt://127.0.0.1:{broker.port}', interval: 1s}}\n"
        )
        process = start("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")
        address = process.line(r"http://(127\.0\.0\.1:\d+)")[1]
        jobs = f"""\
- job_name: exporter
  static_configs: [{{targets: ["{address}"]}}]
- job_name: evse
  metrics_path: /probe
  http_sd_configs: [{{url: "http://{address}/sd"}}]
  relabel_configs:
  - {{source_labels: [__address__], target_label: __param_target}}
  - {{source_labels: [__param_target], target_label: instance}}
  - {{target_label: __address__, replacement: "{address}"}}
"""
        with scraping(tmp_path, jobs) as url:
            missing = _await_answers(url)

    assert not missing


def _await_answers(url: str) -> set[str]:
    """Ask until every query of the exporter's row has an answer, and for a while at most; those that have none."""
    began = monotonic()
    mine = [query for query in queries("fleet.json") if title(query) in OWN]
    missing = {query.place: query for query in mine}
    while missing and monotonic() - began < 120:
        sleep(1)
        asker = Asker(url, defaults("fleet.json"), time(), range=300.0, interval=1.0)
        missing = {place: query for place, query in missing.items() if not _answered(asker, query)}
    asker = Asker(url, defaults("fleet.json"), time(), range=300.0, interval=1.0)
    for query in queries("fleet.json"):
        asker.ask(query)  # raises where it is not understood
    return set(missing)


def _answered(asker: Asker, query: Query) -> bool:
    try:
        return bool(asker.ask(query))
    except OSError:
        return False  # not ready yet


# Grafana's own types

OPTIONS = {
    "stat": "stat",
    "bargauge": "bargauge",
    "timeseries": "timeseries",
    "state-timeline": "statetimeline",
    "barchart": "barchart",
    "table": "table",
}
"""Kinds of panels and where the types of their options are."""

OF_A_DATA_SOURCE = {
    *("expr", "query", "alias", "editorMode", "format", "instant", "legendFormat", "range", "rawQuery"),
    *(
        "resultFormat",
        "titleFormat",
        "textFormat",
        "step",
        "tagsColumn",
        "textColumn",
        "timeEndColumn",
        "titleColumn",
    ),
}
"""Keys that a data source adds to a query, which the type of a dashboard leaves open."""

PLAIN = """\
type Plain<T> = 0 extends 1 & T ? any
  : T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer Item)[] ? Plain<Item>[]
  : T extends object ? { [Key in keyof T]: Plain<T[Key]> } : T;
"""
"""In JSON a member of an enumeration is its text."""


def typed(board: Mapping[str, Any]) -> str:
    """A board as TypeScript, with the options of each panel beside it."""
    marks = [_of_grafana(mark) for mark in board["annotations"]["list"]]
    # Grafana itself writes these two and its type does not have them: what a list of variables shows of a query,
    # and a data source that nobody has chosen yet.
    variables = [
        {key: one[key] for key in one if key != "definition" and (key, one[key]) != ("current", {})}
        for one in board["templating"]["list"]
    ]
    shown = [
        {**panel, "targets": [_of_grafana(target) for target in panel["targets"]]} if "targets" in panel else panel
        for panel in board["panels"]
    ]
    whole = {**board, "annotations": {"list": marks}, "templating": {"list": variables}, "panels": shown}
    lines = ['import type { Dashboard } from "@grafana/schema";', PLAIN]
    folder = "./node_modules/@grafana/schema/dist/types/raw/composable"
    for name in OPTIONS.values():
        lines.append(f'import type {{ Options as {name} }} from "{folder}/{name}/panelcfg/x/types.gen";')
    lines.append(f"export const board: Plain<Dashboard> = {json.dumps(whole, ensure_ascii=False)};")
    for panel in panels(board):
        options = json.dumps(panel["options"], ensure_ascii=False)
        lines.append(f"export const options{panel['id']}: Partial<Plain<{OPTIONS[panel['type']]}>> = {options};")
    return "\n".join(lines)


def _of_grafana(query: Mapping[str, Any]) -> dict[str, Any]:
    return {key: query[key] for key in query if key not in OF_A_DATA_SOURCE}


def test_the_json_is_a_dashboard_by_grafanas_own_types(tmp_path: Path) -> None:
    """With @grafana/schema and TypeScript from npm."""
    npm = server("npm")
    (tmp_path / "package.json").write_text('{"private": true}')
    packages = ["typescript@5.9.3", "@grafana/schema@13.2.3"]
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True)
    for name, board in BOARDS.items():
        (tmp_path / f"{Path(name).stem}.ts").write_text(typed(board))
    done = _checked(tmp_path)
    assert done.returncode == 0, done.stdout[:3000]

    mistakes = {'"graphTooltip": 1': '"graphTooltip": "one"', '"textMode": "auto"': '"textMode": "odd"'}
    text = typed(BOARDS["charger.json"])
    for right, wrong in mistakes.items():
        text = text.replace(right, wrong)
    (tmp_path / "charger.ts").write_text(text)
    found = _checked(tmp_path, "charger.ts").stdout
    assert "DashboardCursorSync" in found, "it would not have found a wrong value of the board"
    assert '"odd"' in found, "it would not have found a wrong option of a panel"


def _checked(folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    tsc = folder / "node_modules" / ".bin" / "tsc"
    options = ["--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext"]
    return subprocess.run(
        [str(tsc), *options, *(files or sorted(path.name for path in folder.glob("*.ts")))],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
