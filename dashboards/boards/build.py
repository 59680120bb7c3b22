"""The boards that Grafana loads, by the names of their files."""

import json
from collections.abc import Mapping

from boards import charger_board, fleet_board, variables_board
from boards.grafana import Board
from boards.influxql import InfluxQL
from boards.layout import document
from boards.pushed import Pushed
from boards.scraped import Scraped

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
