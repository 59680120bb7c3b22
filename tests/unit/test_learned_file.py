"""The file of what was learned of a charger: only what was written comes out of it, and nothing stops for it."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from ccl_exporter.powerstudio.learned import LearnedFile

URL = "http://garage"
FACTS = {"stamps": ["a", "b"], "inventory": {"settled": ["EVSE.PLUG.AE"]}}


def written(folder: Path, facts: object = FACTS, url: str = URL) -> Path:
    """The file of a charger in which something was saved."""
    LearnedFile(folder, url).save(facts)  # type: ignore[arg-type] # what a test breaks on purpose
    (path,) = (folder / "chargers").iterdir()
    return path


def test_what_is_saved_is_loaded_and_only_the_owner_can_read_it(tmp_path: Path) -> None:
    path = written(tmp_path)

    assert LearnedFile(tmp_path, URL).load() == FACTS
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text())["url"] == URL


def test_each_charger_has_its_own(tmp_path: Path) -> None:
    written(tmp_path)

    assert LearnedFile(tmp_path, "http://yard").load() is None


def test_no_file_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert LearnedFile(tmp_path, URL).load() is None
    assert caplog.messages == []


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _of_another(path: Path) -> None:
    other = written(path.parents[1] / "other", url="http://yard")
    path.write_bytes(other.read_bytes())


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "one letter": lambda path: path.write_bytes(path.read_bytes().replace(b"PLUG", b"PLUS")),
    "another checksum": lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "sha256": ""})),
    "a later format": lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2})),
    "of another charger": _of_another,
    "no object": lambda path: path.write_text("[1, 2]"),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "too deep": lambda path: path.write_text("[" * 100_000),
    "a folder": _folder,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_file_that_cannot_be_used_is_reported_once(
    tmp_path: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    damage(written(tmp_path))
    file = LearnedFile(tmp_path, URL)

    assert [file.load(), file.load()] == [None, None]
    assert len(caplog.records) == 1
    assert "cannot be used" in caplog.text


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    written(tmp_path).write_text("{")
    file = LearnedFile(tmp_path, URL)
    file.load()
    file.save(FACTS)

    assert file.load() == FACTS


def test_a_folder_that_cannot_be_written_is_reported_once_and_used_again_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "chargers").write_text("in the way")
    file = LearnedFile(tmp_path, URL)
    file.save(FACTS)
    file.save(FACTS)

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "cannot be written" in caplog.text

    (tmp_path / "chargers").unlink()
    file.save(FACTS)

    assert file.load() == FACTS


def test_a_save_leaves_nothing_else_behind(tmp_path: Path) -> None:
    for _ in range(3):
        written(tmp_path)


def test_a_file_that_holds_the_same_is_not_written_again(tmp_path: Path) -> None:
    path = written(tmp_path)
    first, before = LearnedFile(tmp_path, URL), path.stat().st_ino
    first.load()
    first.save(FACTS)
    assert path.stat().st_ino == before

    first.save({**FACTS, "stamps": ["a", "c"]})
    assert path.stat().st_ino != before
    path.unlink()
    first.save({**FACTS, "stamps": ["a", "c"]})
    assert path.exists()
