"""The built dashboards are dashboards by Grafana's own types."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.board_queries import BOARDS, panels
from helpers.support import server

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
    # and a data source that is not chosen yet.
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

    invalid = {'"graphTooltip": 1': '"graphTooltip": "one"', '"textMode": "auto"': '"textMode": "odd"'}
    text = typed(BOARDS["charger.json"])
    for right, wrong in invalid.items():
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
