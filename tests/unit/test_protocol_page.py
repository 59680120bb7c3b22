"""`protocol N` in a comment or docstring is a section of the protocol page that exists."""

import re
from collections.abc import Iterator

import pytest
from helpers.support import PROJECT

PAGE = PROJECT / "ccl_exporter" / "powerstudio" / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")
SECTIONS = re.findall(r"^#{2,3} ([0-9]+(?:\.[0-9]+)?)\.? ", TEXT, re.MULTILINE)
UNKNOWNS = re.findall(r"^\| ([0-9]+) \|", TEXT.partition("\n## 11.")[2], re.MULTILINE)

_SECTION = r"[0-9]+(?:\.[0-9]+)?"
_PLACE = rf"(?:{_SECTION}(?:\s#[0-9]+)?|#[0-9]+)"
CITATION = re.compile(rf"\bprotocol\s({_PLACE}(?:(?:,|\sand|\sto)\s{_PLACE})*)")
"""Several places may follow the word: `protocol 2.1 and 2.2`, `protocol 2 to 5`, `protocol 11 #1, #2`."""

FORMER_NAME = "protocol" + ".md"  # as one word it would be found here


def texts() -> Iterator[tuple[str, str]]:
    """The name and text of each source and page that may cite the protocol."""
    for folder in ("ccl_exporter", "tests", "dashboards", "deploy"):
        for path in sorted((PROJECT / folder).rglob("*")):
            if path.suffix in (".py", ".toml", ".md", ".yml", ".yaml", ".service") and path.is_file():
                yield str(path.relative_to(PROJECT)), path.read_text(encoding="utf-8")
    yield "README.md", (PROJECT / "README.md").read_text(encoding="utf-8")


def places(text: str) -> Iterator[str]:
    """The sections and rows that a text cites, such as `9.1` and `#5`."""
    for found in CITATION.finditer(text):
        yield from re.findall(rf"#[0-9]+|{_SECTION}", found[1])


def test_every_section_that_is_cited_is_there() -> None:
    cited = [(name, place) for name, text in texts() for place in places(text)]
    known = {*SECTIONS, *(f"#{row}" for row in UNKNOWNS)}

    assert [f"{name} cites protocol {place}" for name, place in cited if place not in known] == []
    assert len(cited) > 100, "the pattern finds the citations"


def test_no_file_cites_the_page_by_its_former_name() -> None:
    assert [name for name, text in texts() if FORMER_NAME in text] == []


def test_sections_are_numbered_in_order() -> None:
    numbers = [tuple(map(int, section.split("."))) for section in SECTIONS]

    assert numbers == sorted(set(numbers))
    assert [int(row) for row in UNKNOWNS] == list(range(1, len(UNKNOWNS) + 1))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("(protocol 9).", ["9"], id="one"),
        pytest.param("protocol 2.1 and 2.2", ["2.1", "2.2"], id="two"),
        pytest.param("protocol 3, 8, 11).", ["3", "8", "11"], id="three"),
        pytest.param("protocol 2 to 5 and 9.", ["2", "5", "9"], id="from and to"),
        pytest.param("protocol 11 #1, #2", ["11", "#1", "#2"], id="rows"),
        pytest.param("protocol 9, 11 #19", ["9", "11", "#19"], id="a section and a row"),
        pytest.param("the line protocol, 2 points", [], id="another protocol"),
    ],
)
def test_a_citation_names_each_of_its_places(text: str, found: list[str]) -> None:
    assert list(places(text)) == found


def test_the_page_says_how_it_is_cited() -> None:
    for page in (PAGE, PROJECT / "ccl_exporter" / "README.md"):
        assert "`protocol N`" in page.read_text(encoding="utf-8"), page
