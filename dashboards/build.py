"""Writes the dashboards that Grafana loads, `*.json` beside this file: `python dashboards/build.py`."""

import json
from collections.abc import Mapping
from pathlib import Path

import charger_board
import fleet_board
import variables_board
from grafana import Board
from grid import document
from influxql import InfluxQL
from promql import Pushed, Scraped

HERE = Path(__file__).parent

BOARDS: Mapping[str, Board] = {
    "charger.json": charger_board.board(
        Scraped(),
        "ccl-charger",
        "Charger",
        "What a charger does and why it does not charge, its energy, cost and charges; from Prometheus.",
    ),
    "charger-influxdb.json": charger_board.board(
        InfluxQL(),
        "ccl-charger-influxdb",
        "Charger (InfluxDB)",
        "What a charger does, its energy, cost and charges; from an InfluxDB that the exporter writes to.",
    ),
    "charger-victoriametrics.json": charger_board.board(
        Pushed(),
        "ccl-charger-victoriametrics",
        "Charger (VictoriaMetrics)",
        "What a charger does and why it does not charge, its energy, cost and charges; "
        "from a VictoriaMetrics that the exporter writes to.",
    ),
    "fleet.json": fleet_board.board(),
    "variables.json": variables_board.board(),
}


def written(board: Board) -> str:
    """A board as it is in its file."""
    return json.dumps(document(board), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    for name, board in BOARDS.items():
        (HERE / name).write_text(written(board), encoding="utf-8")


if __name__ == "__main__":
    main()
