"""The preview draws every board, and an open panel has data or says why it has none."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from helpers.board_queries import BOARDS
from helpers.support import PROJECT

FOLDER = PROJECT / "dashboards" / "preview"


@pytest.fixture(scope="module")
def preview() -> ModuleType:
    spec = importlib.util.spec_from_file_location("preview", FOLDER / "preview.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["preview"] = module
    spec.loader.exec_module(module)
    return module


def test_every_board_is_drawn_and_open_panels_have_data_or_a_reason(preview: ModuleType, tmp_path: Path) -> None:
    """Two days; the pictures of the project are of thirty (dashboards/preview/README.md)."""
    pictures = [one for one in preview.PICTURES if one.name in preview.COMMITTED]
    assert {one.board for one in pictures} == set(BOARDS)
    empty: dict[str, str] = {}
    data = preview.month(tmp_path, 2.0)
    drawn = list(preview.draw(pictures, data, tmp_path, tmp_path, empty.__setitem__))
    others = [preview.shoot_live_page(data, tmp_path, tmp_path), preview.shoot_terminal(tmp_path, tmp_path)]

    assert [path.read_bytes()[:4] for path in others] == [b"\x89PNG"] * 2
    assert [path.read_bytes()[:4] for path in drawn] == [b"\x89PNG"] * len(pictures)
    assert [panel for panel, reason in empty.items() if not reason] == []
    assert [panel for panel in empty if "Availability" in panel] == []  # the rules have recorded it


def test_a_panel_that_cannot_be_drawn_is_named(preview: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "board.js").write_text("document.body.innerHTML = '<p data-error=\"Power\"></p>'")
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><div id="root"></div><script src="board.js"></script>')

    with pytest.raises(AssertionError, match="cannot be drawn: Power"):
        preview.shoot(page, tmp_path / "page.png", preview.PICTURES[0])


def test_the_pictures_are_in_the_project(preview: ModuleType) -> None:
    names = (*preview.COMMITTED, preview.LIVE_PAGE, preview.TERMINAL)

    assert [name for name in names if not (PROJECT / "dashboards" / f"{name}.png").exists()] == []
