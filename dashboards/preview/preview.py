"""Pictures of the dashboards, without a Grafana: `python dashboards/preview/preview.py --help`.

A simulated month goes into a real Prometheus, InfluxDB and VictoriaMetrics; the queries of each board are asked as
Grafana asks them; headless Chromium draws the answers with Grafana's own components (board.jsx). Run it from a
development install, with npm and the Debian packages of tests/debian-packages.txt.
"""

import argparse
import copy
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "tests"), str(HERE)]

from helpers.board_asking import Asker, span  # noqa: E402 - the path comes first
from helpers.board_data import in_milliseconds, in_pieces, post, prometheus  # noqa: E402 - likewise
from helpers.board_queries import BOARDS, Query, defaults, panel_queries, panels, title  # noqa: E402 - likewise
from helpers.databases import Influx, Victoria, running  # noqa: E402 - likewise
from helpers.replay import AVAILABILITY_RULES, History, fleet_rules, replay  # noqa: E402 - likewise
from helpers.support import server  # noqa: E402 - likewise
from helpers.terminal import on_terminal  # noqa: E402 - likewise
from month import END, HOME, Month, month  # noqa: E402 - likewise

from ccl_exporter.simulator import Simulator  # noqa: E402 - likewise

_ROW, _MARGIN = 38, 8
_INTERVAL = 240.0
"""Seconds between two readings of the month: the scrape interval of the data source."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: a board with what is chosen on top of it, its width in pixels, and how much of it is seen."""

    name: str
    board: str
    chosen: Mapping[str, str | Sequence[str]]
    width: int = 1280
    height: int | None = None
    is_open: bool = False
    """With the panels of its folded rows."""
    is_dark: bool = True


_OF_HOME = {"instance": [HOME], "plug": ["EVSE.PLUG"]}
_PUSHED = {
    **{"charger": [HOME], "plug": ["EVSE.PLUG"]},
    **{"price": "0.2877", "cheap_price": "0.085", "cheap_from": "0", "cheap_to": "4"},
}
PICTURES = (
    Picture("charger", "charger.json", _OF_HOME, height=800),
    Picture("charger-light", "charger.json", _OF_HOME, height=800, is_dark=False),
    Picture("charger-open", "charger.json", _OF_HOME, is_open=True),
    Picture("charger-influxdb", "charger-influxdb.json", _PUSHED, height=800),
    Picture("charger-victoriametrics", "charger-victoriametrics.json", _PUSHED, height=800),
    Picture("fleet", "fleet.json", {}, width=1600),
    Picture("fleet-first-screen", "fleet.json", {}, height=800),
    Picture("variables", "variables.json", {"instance": [HOME]}, width=1600),
)
LIVE_PAGE, TERMINAL = "live-page", "check"
COMMITTED = ("charger", "charger-influxdb", "charger-victoriametrics", "fleet", "variables")
"""The pictures that are in `dashboards/`."""


def main() -> None:
    """Draw the boards and write them as PNG."""
    parser = argparse.ArgumentParser(description="Draw the dashboards with a simulated month.")
    parser.add_argument("--days", type=float, default=30.0, help="length of the simulated time")
    parser.add_argument("--faulty", action="store_true", help="with a fault in the night before the last")
    parser.add_argument("--out", type=Path, default=HERE.parent, help="folder of the pictures")
    parser.add_argument("--all", action="store_true", help="also those that are not in the project")
    parser.add_argument("names", nargs="*", help="pictures to draw, by default those of the project")
    asked = parser.parse_args()
    names = asked.names or [one.name for one in PICTURES if asked.all or one.name in COMMITTED]
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="preview-") as folder:
        chosen = [one for one in PICTURES if one.name in names]
        data = month(Path(folder), asked.days, asked.faulty)
        for path in draw(chosen, data, Path(folder), asked.out):
            print(path)  # noqa: T201 - this is a command
        if not asked.names:
            print(shoot_live_page(data, Path(folder), asked.out))  # noqa: T201 - likewise
            print(shoot_terminal(Path(folder), asked.out))  # noqa: T201 - likewise


def draw(
    pictures: Sequence[Picture],
    data: Month,
    folder: Path,
    out: Path,
    on_empty: Callable[[str, str], None] = lambda panel, reason: None,
) -> Iterator[Path]:
    """Draw the pictures; yields the path of each. Raises AssertionError if a panel cannot be drawn.

    `on_empty` is called for each open panel that has no data, with its place and the reason that it shows, if any.
    """
    build(folder)
    with ExitStack() as stack:
        sources = _Sources(stack, data, folder)
        for picture in pictures:
            asker = sources.asker(picture)
            found = answers(picture.board, asker)
            for panel in BOARDS[picture.board]["panels"]:
                if panel["type"] != "row" and not found[str(panel["id"])]:
                    on_empty(f"{picture.board}: {panel['title']}", _reason(panel))
            page = folder / f"{picture.name}.html"
            page.write_text(_page(picture, asker, found), encoding="utf-8")
            yield shoot(page, out / f"{picture.name}.png", picture)


def _reason(panel: Mapping[str, Any]) -> str:
    return str(panel["fieldConfig"]["defaults"].get("noValue", ""))


def build(folder: Path) -> None:
    """Install what board.jsx needs into `folder` and bundle it there as board.js."""
    for name in ("package.json", "package-lock.json", "board.jsx"):
        shutil.copy(HERE / name, folder)
    npm = server("npm")
    # Scripts of packages are not run; esbuild's program is a package of its own.
    install = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    subprocess.run(install, cwd=folder, check=True)
    subprocess.run([npm, "run", "--silent", "build"], cwd=folder, check=True)


class _Sources:
    """The databases with the data; each ends with the stack."""

    def __init__(self, stack: ExitStack, data: Month, folder: Path) -> None:
        self._prometheus = stack.enter_context(prometheus(folder, data.scraped + _availability(data, folder)))
        self._victoria = Victoria(folder / "victoria")
        influx = Influx(folder / "influx")
        for database in (self._victoria, influx):
            stack.enter_context(running(database))
        influx.create()
        for piece in in_pieces(data.pushed, 5000):
            post(f"{self._victoria.url}/api/v2/write?precision=ms", piece)
            post(f"{influx.url}/write?db=evse&precision=ms", piece)
        self._victoria.export("ccl_scrape_up")  # makes what was written visible
        self._influx = influx.url

    def asker(self, picture: Picture) -> Asker:
        url, database = self._prometheus, ""
        if "influxdb" in picture.board:
            url, database = self._influx, "evse"
        elif "victoriametrics" in picture.board:
            url = self._victoria.url
        chosen = {**defaults(picture.board), **picture.chosen, "currency": "GBP"}
        return Asker(url, chosen, END, interval=_INTERVAL, database=database)


def _availability(data: Month, folder: Path) -> list[str]:
    """What the recording rules make of the month, as further scraped series."""
    history = History(folder / "history")
    with running(history):
        needed = [line for line in data.scraped if line.startswith(("ccl_plug_status{", "up{"))]
        for piece in in_pieces(in_milliseconds(needed)):
            post(f"{history.url}/api/v1/import/prometheus", piece)
        history.export("up")  # makes what was written visible
        replay(history.url, fleet_rules(AVAILABILITY_RULES, folder), data.begin, END, folder)
        recorded = history.export('{__name__=~".+:ratio.+"}')
    found = []
    for labels, times, values in recorded:
        name = labels.pop("__name__")
        own = ",".join(f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in labels.items())
        found += [f"{name}{{{own}}} {value} {at // 1000}" for at, value in zip(times, values, strict=True)]
    return found


def _page(picture: Picture, asker: Asker, found: Mapping[str, Any]) -> str:
    board = opened(BOARDS[picture.board]) if picture.is_open else BOARDS[picture.board]
    text = filled_in(json.dumps(board), asker)
    preview = {
        "board": json.loads(text),
        "answers": found,
        "spans": {
            panel["id"]: span(panel["timeFrom"], asker.end) * 1000
            for panel in panels(BOARDS[picture.board])
            if panel.get("timeFrom")
        },
        "from": (asker.end - asker.range) * 1000,
        "to": asker.end * 1000,
        "width": picture.width - 2 * _MARGIN,
        "dark": picture.is_dark,
    }
    data = json.dumps(preview).replace("</", "<\\/")
    return (
        '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="board.css"><div id="root"></div>'
        f'<script>window.PREVIEW = {data}</script><script src="board.js"></script>'
    )


def filled_in(text: str, asker: Asker) -> str:
    """Titles and legends with what is chosen on top of the board."""
    chosen = {name: value for name, value in asker.chosen.items() if isinstance(value, str)}
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: chosen.get(found[1] or found[2], found[0]), text)


def opened(board: Mapping[str, Any]) -> dict[str, Any]:
    """The board with every folded row open, what is below moved down."""
    whole = copy.deepcopy(dict(board))
    shown, shift = [], 0
    for panel in whole["panels"]:
        panel["gridPos"]["y"] += shift
        shown.append(panel)
        inner = panel.pop("panels", None) or []
        if not inner:
            continue
        panel["collapsed"] = False
        for one in inner:
            one["gridPos"]["y"] += shift
            shown.append(one)
        lowest = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in inner)
        shift += lowest - panel["gridPos"]["y"] - 1
    whole["panels"] = shown
    return whole


def answers(board: str, asker: Asker) -> dict[str, list[dict[str, Any]]]:
    """Frames for each panel by its id, as the data source makes them of its answers."""
    by_panel: dict[str, list[dict[str, Any]]] = {}
    queries = panel_queries(board)
    for panel in panels(BOARDS[board]):
        frames = by_panel.setdefault(str(panel["id"]), [])
        several = len(panel["targets"]) > 1
        for target in panel["targets"]:
            query = next(queries)
            assert title(query) == panel["title"]
            answer = asker.ask(query)
            if asker.database:
                frames += _of_influx(answer, query, target, asker.step(query))
            elif query.table:
                frames += _table(answer, target["refId"], several)
            else:
                form = filled_in(target.get("legendFormat", ""), asker)
                frames += [_series(one, target["refId"], form, asker.step(query)) for one in answer]
    return by_panel


def _table(answer: list[Any], ref: str, several: bool) -> list[dict[str, Any]]:
    names = sorted({name for one in answer for name in one["metric"]})
    rows = [(one["metric"], at, value) for one in answer for at, value in one.get("values") or [one["value"]]]
    if not rows:
        return []
    value_name = f"Value #{ref}" if several else "Value"
    columns = [
        {"name": name, "type": "string", "values": [row[0].get(name, "") for row in rows]} for name in names
    ]
    time = {"name": "Time", "type": "time", "values": [row[1] * 1000 for row in rows]}
    value = {"name": value_name, "type": "number", "values": [float(row[2]) for row in rows]}
    return [{"refId": ref, "fields": [time, *columns, value]}]


def _series(one: Mapping[str, Any], ref: str, form: str, step: float) -> dict[str, Any]:
    labels = one["metric"]
    points = [(at, float(value)) for at, value in one.get("values") or [one["value"]]]
    return _frame(points, ref, labels, _legend(form, labels), step)


def _legend(form: str, labels: Mapping[str, str]) -> str:
    if form:
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), form)
    rest = ", ".join(f'{name}="{value}"' for name, value in labels.items() if name != "__name__")
    return f"{labels.get('__name__', '')}{{{rest}}}"


def _frame(
    points: Sequence[tuple[float, float | None]],
    ref: str,
    labels: Mapping[str, str],
    name: str,
    step: float,
) -> dict[str, Any]:
    """Points in Unix seconds; a gap of more than a step is a null, as in Grafana."""
    filled: list[tuple[float, float | None]] = []
    for at, value in points:
        if filled and at - filled[-1][0] > step * 1.5:
            filled.append((filled[-1][0] + step, None))
        filled.append((at, value))
    config = {"displayNameFromDS": name}
    values = [point for _, point in filled]
    return {
        "refId": ref,
        "fields": [
            {"name": "Time", "type": "time", "values": [at * 1000 for at, _ in filled]},
            {"name": "Value", "type": "number", "labels": dict(labels), "config": config, "values": values},
        ],
        "meta": {"custom": {"step": step}},
    }


def _of_influx(answer: list[Any], query: Query, target: Mapping[str, Any], step: float) -> list[dict[str, Any]]:
    if query.table:
        return _influx_table(answer, target["refId"])
    frames = []
    for one in answer:
        for number, column in enumerate(one["columns"][1:], 1):
            points = [(row[0] / 1000, row[number]) for row in one["values"] if row[number] is not None]
            name = _alias(target.get("alias", ""), one["tags"]).replace("$col", column) or column
            frames.append(_frame(points, target["refId"], one["tags"], name, step))
    return frames


def _alias(form: str, tags: Mapping[str, str]) -> str:
    return re.sub(r"\$tag_(\w+)", lambda found: tags.get(found[1], ""), form)


def _influx_table(answer: list[Any], ref: str) -> list[dict[str, Any]]:
    rows = [
        {**one["tags"], **dict(zip(one["columns"], row, strict=True))} for one in answer for row in one["values"]
    ]
    if not rows:
        return []

    def column(name: str) -> dict[str, Any]:
        values = [row.get(name) for row in rows]
        is_text = any(isinstance(value, str) for value in values)
        kind = "time" if name == "time" else "string" if is_text else "number"
        return {"name": "Time" if name == "time" else name, "type": kind, "values": values}

    return [{"refId": ref, "fields": [column(name) for name in rows[0]]}]


def shoot(page: Path, picture: Path, what: Picture) -> Path:
    """Draw a page in headless Chromium. Raises AssertionError with the titles of panels that cannot be drawn."""
    board = BOARDS[what.board]
    shown = opened(board)["panels"] if what.is_open else board["panels"]
    whole = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in shown) * _ROW + 2 * _MARGIN
    command = _chromium(page, what.width, what.height or whole)
    dumped = _run([*command, "--dump-dom"])
    broken = re.findall(r'data-error="([^"]*)"', dumped)
    assert not broken, f"{what.name}: these panels cannot be drawn: {', '.join(broken)}"
    assert "data-panel=" in dumped, f"{what.name}: nothing was drawn"
    _run([*command, f"--screenshot={picture}"])
    return picture


def shoot_live_page(data: Month, folder: Path, out: Path) -> Path:
    """The exporter's own page of the home."""
    page, picture = folder / "live-page.html", out / f"{LIVE_PAGE}.png"
    page.write_bytes(data.live_page)
    _run([*_chromium(page, 1280, 900), f"--screenshot={picture}"])
    return picture


def shoot_terminal(folder: Path, out: Path) -> Path:
    """A terminal with `ccl-exporter check`."""
    with Simulator(life="home") as charger:
        _, _, shown = on_terminal(
            "check", "-c", charger.url, piped=False, COLUMNS="100", STATE_DIRECTORY=str(folder)
        )
    shown = settled(shown).replace(charger.url, "http://evse")
    terminal = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    terminal.print(Text.from_ansi(f"$ ccl-exporter check -c http://evse\n{shown}"))
    page, picture = folder / "terminal.html", out / f"{TERMINAL}.png"
    page.write_text(terminal.export_html(theme=MONOKAI), encoding="utf-8")
    height = 40 + 18 * (shown.count("\n") + 2)
    _run([*_chromium(page, 980, height), f"--screenshot={picture}"])
    return picture


def settled(shown: str) -> str:
    """What stays on a terminal after the last progress was erased: text and colours."""
    text = shown.rpartition("\x1b[2K")[2]
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-ln-z]", "", text).replace("\r", "").strip()


def _chromium(page: Path, width: int, height: int) -> list[str]:
    return [
        *(server("chromium"), "--headless", "--lang=en-GB", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--allow-file-access-from-files", "--virtual-time-budget=10000", f"--window-size={width},{height}"),
        f"file://{page}",
    ]


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


if __name__ == "__main__":
    main()
