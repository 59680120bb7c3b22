"""The page of many chargers: totals, filters, order, pages, and what a query may not do."""

import re
from dataclasses import replace
from typing import Any

import pytest
from helpers.pages import page, view
from helpers.plugs import plug

from ccl_exporter.exporter.web.fleet import PER_PAGE, Selection
from ccl_exporter.exporter.web.views import ChargerView
from ccl_exporter.powerstudio.inventory import Inventory
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.plug import Measured, Plug, Session

NOW = 1_790_000_000.0
UP = Snapshot(NOW - 3, 0.1, 5.0, 1, up=True, inventory=Inventory())
DOWN = replace(UP, up=False)


def charger(
    name: str, *plugs: Plug, faults: tuple[str, ...] = (), taken: float = NOW - 3, **more: Any
) -> ChargerView:
    """A charger that answered with these plugs."""
    found = view(name, replace(UP, taken=taken), **more)
    assert found.last is not None
    return replace(found, last=replace(found.last, plugs=plugs, faults=faults))


def charging(kilowatts: float = 7.0, kilowatt_hours: float = 1.0) -> Plug:
    power = Measured((("", kilowatts * 1000),))
    return replace(plug("charging", powers=power), session=Session(energy=kilowatt_hours * 3.6e6))


def words(html: bytes) -> str:
    """What a person reads."""
    body = html.decode().partition("<main>")[2].partition("</main>")[0]
    return " ".join(re.sub("<[^>]*>", " ", body).replace("&nbsp;", " ").split())


def names(html: bytes) -> list[str]:
    """The chargers in the order of the table."""
    return re.findall(r'href="charger/([^"]*)"', html.decode())


FLEET = [
    charger("bay-10", charging(7.0, 9.0)),
    charger("bay-9", charging(11.0, 2.0), taken=NOW - 50),
    charger("free", plug(vehicle_connected=False), labels={"site": "north"}),
    charger("waiting", plug("waiting_for_permission"), title="Bay at the gate"),
    charger("out", plug("disabled")),
    charger("rcd", plug("error", faults=("rcd",))),
    charger("tilted", plug(vehicle_connected=False), faults=("tilt",)),
    charger("minor", replace(charging(1.0), faults=("meter",))),
    view("down", DOWN, last_up_at=NOW - 7300),
    view("new", None),
    charger("post", plug("available"), charging(22.0), plug_titles={"P": "Left"}),
]


class TestTotals:
    def test_they_count_plugs_by_what_they_do(self) -> None:
        seen = words(page(FLEET, NOW))

        assert "41.00 kW measured at 4 of 12 plugs all 12 plugs at 11 chargers" in seen
        assert "18.00 kW together all 2 plugs at 2 chargers" in words(page(FLEET[:2], NOW))
        assert "3 with a fault 1 not reachable 3 charging 3 available" not in seen
        assert "3 with a fault 1 not reachable 3 charging 2 waiting 1 available 1 out of service 1 unknown" in seen

    def test_the_title_of_the_tab_says_what_is_wrong_first(self) -> None:
        html = page(FLEET, NOW).decode()

        assert (
            "<title>3 with a fault, 1 not reachable, 4 of 12 charging | 11 chargers | ccl-exporter</title>" in html
        )
        calm = page(FLEET[:2], NOW).decode()
        assert "<title>2 of 2 charging | 2 chargers | ccl-exporter</title>" in calm


class TestTheTable:
    def test_faults_come_first_then_what_is_not_reachable_then_the_rest_as_people_count(self) -> None:
        assert names(page(FLEET, NOW)) == [
            *("minor", "rcd", "tilted", "down", "bay-9", "bay-10", "post"),
            *("waiting", "post", "free", "out", "new"),
        ]

    def test_a_row_says_what_a_plug_does(self) -> None:
        seen = words(page(FLEET, NOW))

        assert "bay-10 Charging 7.00 kW 9.00 kWh 3 s ago" in seen
        assert "rcd Error safety switch (RCD) tripped – – 3 s ago" in seen  # noqa: RUF001
        assert "tilted Available charger tilted" in seen
        assert "Bay at the gate Waiting for permission" in seen
        assert "down Not reachable – – 2 h ago" in seen  # noqa: RUF001
        assert "new Not read yet – – –" in seen  # noqa: RUF001
        assert "post Left Charging" in seen

    @pytest.mark.parametrize(
        ("query", "shown"),
        [
            ("state=fault", ["minor", "rcd", "tilted"]),
            ("state=unreachable", ["down"]),
            ("state=available", ["free"]),
            ("state=waiting", ["waiting", "post"]),
            ("state=out_of_service", ["out"]),
            ("state=unknown", ["new"]),
            ("q=north", ["free"]),
            ("q=BAY", ["bay-9", "bay-10", "waiting"]),
            ("q=left", ["post", "post"]),
            ("state=charging&q=bay&sort=power", ["bay-9", "bay-10"]),
            ("state=charging&sort=power", ["post", "bay-9", "bay-10"]),
            ("state=charging&sort=energy", ["bay-10", "bay-9", "post"]),
            ("state=charging&sort=name", ["bay-9", "bay-10", "post"]),
            ("state=charging&sort=read", ["bay-9", "bay-10", "post"]),
            ("q=zzz", []),
        ],
    )
    def test_links_filter_and_sort(self, query: str, shown: list[str]) -> None:
        html = page(FLEET, NOW, query)

        assert names(html) == shown
        assert ("No charger matches." in words(html)) == (not shown)

    def test_each_link_keeps_what_else_is_selected(self) -> None:
        html = page(FLEET, NOW, "state=charging&q=b&sort=power").decode()

        assert 'href="?q=b&amp;sort=power"' in html, "all chargers"
        assert 'href="?state=fault&amp;q=b&amp;sort=power"' in html
        assert 'href="?state=charging&amp;q=b&amp;sort=energy"' in html
        assert 'content="10; url=?state=charging&amp;q=b&amp;sort=power"' in html
        assert (
            '<input type="hidden" name="state" value="charging"><input type="hidden" name="sort" value="power">'
            in html
        )


MANY = [charger(f"bay-{number}", charging()) for number in range(120)]


class TestPages:
    @pytest.mark.parametrize(
        ("number", "first", "last", "steps"),
        [
            (1, 0, 49, ["Next"]),
            (2, 50, 99, ["Previous", "Next"]),
            (3, 100, 119, ["Previous"]),
            (9, 100, 119, ["Previous"]),
        ],
    )
    def test_fifty_are_on_a_page(self, number: int, first: int, last: int, steps: list[str]) -> None:
        html = page(MANY, NOW, f"page={number}")
        found = names(html)

        assert (found[0], found[-1]) == (f"bay-{first}", f"bay-{last}")
        assert f"{first + 1} to {last + 1} of 120 {' '.join(steps)}" in words(html)

    def test_a_thousand_chargers_have_a_first_page_of_at_most_60_kilobytes(self) -> None:
        many = [
            charger(f"charger-{n:04}-of-the-car-park", replace(charging(), faults=("rcd", "meter")))
            for n in range(1000)
        ]

        assert len(names(page(many, NOW))) == PER_PAGE
        assert len(page(many, NOW)) <= 60_000


@pytest.mark.parametrize(
    "query",
    [
        *("", "x", "state=nothing", "sort=__class__", "page=0", "page=-1", "page=1e3", "page=99999999", "page=٣"),
        *("state=", "q=", "&".join(["q=1"] * 50), "state=fault;q=x"),
    ],
)
def test_what_a_query_says_wrongly_counts_as_not_said(query: str) -> None:
    assert Selection.parse(query) == Selection()


def test_a_selection_has_the_query_that_selects_it() -> None:
    selected = Selection("fault", "a&b=<ü>", "power", 3)

    assert Selection.parse(selected.query) == selected
    assert Selection().query == ""
