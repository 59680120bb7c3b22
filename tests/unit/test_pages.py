"""What pages name is there: files, folders, and headings that a link leads to."""

import re
from pathlib import Path

import pytest
from helpers.support import PROJECT

CONTRIBUTORS = PROJECT / ".github"
PAGES = [
    PROJECT / "README.md",
    *(
        path
        for folder in ("ccl_exporter", "dashboards", "deploy", "tests")
        for path in (PROJECT / folder).rglob("*.md")
    ),
    *CONTRIBUTORS.glob("*.md"),
]
HISTORY = PROJECT / "deploy" / "CHANGELOG.md"

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(PROJECT)))


def prose(page: Path) -> str:
    """The text of a page without its fences."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_a_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", prose(page)):
        path = (page.parent / target).resolve() if target else page
        if path.is_relative_to(CONTRIBUTORS) and not CONTRIBUTORS.exists():
            continue  # a source distribution does not have it
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


@pages
def test_a_path_in_backticks_is_there(page: Path) -> None:
    """But for those with a placeholder in capitals, and those of earlier versions in the changelog."""
    named = set(re.findall(r"`((?:ccl_exporter|dashboards|deploy|tests)/[\w./*@-]+)`", prose(page)))
    missing = [name for name in named if "NAME" not in name and not list(PROJECT.glob(name.rstrip("/")))]

    assert page == HISTORY or missing == []
