"""Many chargers on a page: totals, and a table that is filtered, sorted and turned over by links."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from math import inf
from urllib.parse import parse_qs, quote, urlencode

from ccl_exporter.exporter.web.markup import (
    MOST_TEXT,
    NOTHING,
    PageTime,
    kilowatt_hours,
    kilowatts,
    pill,
    search_form,
    text,
)
from ccl_exporter.exporter.web.plug_words import faults, is_present, state
from ccl_exporter.exporter.web.views import ChargerView
from ccl_exporter.station.catalogue import Activity, NotCharging
from ccl_exporter.station.plug import Plug
from ccl_exporter.text import count, natural_key

PER_PAGE = 50

_GROUPS = {
    "fault": "with a fault",
    "unreachable": "not reachable",
    "charging": "charging",
    "waiting": "waiting",
    "available": "available",
    "out_of_service": "out of service",
    "unknown": "unknown",
}
"""What a row may be filtered by, in the order in which rows are sorted by their state."""

_OF_ACTIVITY = {
    Activity.FAULTED: "fault",
    Activity.CHARGING: "charging",
    Activity.OUT_OF_SERVICE: "out_of_service",
    Activity.UNKNOWN: "unknown",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A plug in the table, or a charger of which no plug is known."""

    view: ChargerView
    plug: Plug | None

    @property
    def group(self) -> str:
        last = self.view.last
        if last is not None and not last.snapshot.up:
            return "unreachable"
        if last is None or self.plug is None:
            return "unknown"
        if self.plug.faults or last.faults:
            return "fault"
        if self.plug.activity is Activity.IDLE and self.plug.not_charging is NotCharging.NO_VEHICLE:
            return "available"
        return _OF_ACTIVITY.get(self.plug.activity, "waiting")

    @property
    def energy(self) -> float | None:
        """Joules of the present session."""
        return self.plug.session.energy if self.plug is not None and is_present(self.plug) else None

    @property
    def taken(self) -> float | None:
        """When a read last brought values, in Unix seconds."""
        last = self.view.last
        return last.snapshot.taken if last is not None and last.snapshot.up else self.view.last_up_at

    def has(self, words: str) -> bool:
        """Whether a name, a title or a label has these words in it, in any case."""
        names = [self.view.name, self.view.title, *self.view.labels.values()]
        if self.plug is not None:
            names += [self.plug.name, self.view.plug(self.plug.name)]
        return any(words.casefold() in name.casefold() for name in names)


def _least(value: float | None) -> float:
    return inf if value is None else value


_SORTS: Mapping[str, tuple[str, Callable[[Row], object]]] = {
    "name": ("Charger", lambda row: 0),
    "state": ("State", lambda row: list(_GROUPS).index(row.group)),
    "power": ("Power", lambda row: -(row.plug.power or 0.0) if row.plug is not None else inf),
    "energy": ("This session", lambda row: -(row.energy or 0.0)),
    "read": ("Read", lambda row: _least(row.taken)),
}


@dataclass(frozen=True, slots=True)
class Selection:
    """What a query of the address selects; what it does not know counts as not given."""

    state: str = ""
    q: str = ""
    sort: str = "state"
    page: int = 1

    @classmethod
    def parse(cls, query: str) -> "Selection":
        """The selection of a query string; invalid parameters are ignored."""
        try:
            given = {name: values[0].strip() for name, values in parse_qs(query, max_num_fields=10).items()}
        except ValueError:
            return cls()
        state, sort, page = given.get("state", ""), given.get("sort", ""), given.get("page", "")
        return cls(
            state=state if state in _GROUPS else "",
            q=given.get("q", "")[:MOST_TEXT],
            sort=sort if sort in _SORTS else "state",
            page=max(int(page), 1) if page.isascii() and page.isdecimal() and len(page) < 7 else 1,
        )

    @property
    def query(self) -> str:
        """The shortest query that selects the same; empty for everything."""
        plain = Selection()
        given = {name: getattr(self, name) for name in ("state", "q", "sort", "page")}
        return urlencode({name: value for name, value in given.items() if value != getattr(plain, name)})

    def link(self, words: str, current: bool = False, **changed: object) -> str:
        """A link to what differs in this, on its first page unless `page` says another."""
        query = replace(self, **{"page": 1, **changed}).query  # type: ignore[arg-type] # its own fields
        mark = ' aria-current="true"' if current else ""
        return f'<a href="{escape(f"?{query}")}"{mark}>{words}</a>'


def rows(views: Iterable[ChargerView]) -> list[Row]:
    """A row for each plug, and one for each charger of which none is known."""
    return [
        Row(view, plug)
        for view in views
        for plug in ((view.last.plugs if view.last is not None else ()) or (None,))
    ]


def headline(found: Sequence[Row]) -> str:
    """What matters most, for the tab's title."""
    groups = [row.group for row in found]
    bad = [f"{groups.count(group)} {_GROUPS[group]}" for group in ("fault", "unreachable") if group in groups]
    charging = sum(row.plug is not None and row.plug.is_charging for row in found)
    return ", ".join([*bad, f"{charging} of {len(found)} charging"])


def fleet(found: Sequence[Row], selected: Selection, time: PageTime, chargers: int) -> str:
    """Totals, filters, and the page of the table that is selected."""
    shown = [row for row in found if not selected.state or row.group == selected.state]
    shown = [row for row in shown if row.has(selected.q)] if selected.q else shown
    key = _SORTS[selected.sort][1]
    shown.sort(key=lambda row: natural_key(row.view.shown))
    shown.sort(key=key)  # type: ignore[arg-type] # each key is a number
    pages = max(-(-len(shown) // PER_PAGE), 1)
    page = min(selected.page, pages)
    part = shown[(page - 1) * PER_PAGE : page * PER_PAGE]
    return "".join(
        (
            f"<section>{_totals(found, selected, chargers)}{_search(selected)}",
            f"{_table(part, selected, time)}{_pages(len(shown), page, pages, selected)}</section>",
        )
    )


def _totals(found: Sequence[Row], selected: Selection, chargers: int) -> str:
    groups = [row.group for row in found]
    powers = [row.plug.power for row in found if row.plug is not None and row.plug.power is not None]
    # Without those that were not measured the sum is one of a part, which has to be said.
    measured = (
        "together" if len(powers) == len(found) else f"measured at {len(powers)} of {count(len(found), 'plug')}"
    )
    links = [
        selected.link(
            f"all {count(len(found), 'plug')} at {count(chargers, 'charger')}", not selected.state, state=""
        )
    ]
    links += [
        selected.link(f"<strong>{groups.count(group)}</strong> {words}", group == selected.state, state=group)
        for group, words in _GROUPS.items()
        if group in groups or group == selected.state
    ]
    items = "".join(f"<li>{link}</li>" for link in links)
    return (
        f'<p class="total">{kilowatts(sum(powers) if powers else None)} <span class="quiet">{measured}</span></p>'
        f'<nav aria-label="Filter"><ul class="filters">{items}</ul></nav>'
    )


def _search(selected: Selection) -> str:
    kept = {"state": selected.state, "sort": selected.sort if selected.sort != "state" else ""}
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{value}">' for name, value in kept.items() if value
    )
    return search_form(selected.q, "Name, title or label", hidden)


def _table(part: Sequence[Row], selected: Selection, time: PageTime) -> str:
    if not part:
        return '<p class="why">No charger matches.</p>'
    heads = "".join(
        f'<th scope="col"{" aria-sort=other" if sort == selected.sort else ""}>'
        f"{selected.link(words, sort=sort)}</th>"
        for sort, (words, _) in _SORTS.items()
    )
    lines = "\n".join(_line(row, time) for row in part)
    return f'<table class="fleet"><thead><tr>{heads}</tr></thead><tbody>\n{lines}</tbody></table>'


def _line(row: Row, time: PageTime) -> str:
    view, plug, last = row.view, row.plug, row.view.last
    link = f'<a href="charger/{quote(view.name, safe="")}">{text(view.shown)}</a>'
    if plug is not None and last is not None and (len(last.plugs) > 1 or plug.name in view.plug_titles):
        link += f' <span class="quiet">{text(view.plug(plug.name))}</span>'
    if last is None:
        shown = pill("Not read yet", "off")
    elif not last.snapshot.up:
        shown = pill("Not reachable", "bad")
    else:
        shown = pill(*state(plug)) if plug is not None else pill("No plugs", "off")
    wrong = [*(plug.faults or ()), *(last.faults or ())] if plug is not None and last is not None else []
    note = f'<p class="fault">{faults(wrong)}</p>' if wrong else ""
    age = NOTHING if row.taken is None else time.age(row.taken)
    return (
        f'<tr><th scope="row">{link}</th><td>{shown}{note}</td><td>{kilowatts(plug.power if plug else None)}</td>'
        f"<td>{kilowatt_hours(row.energy)}</td><td>{age}</td></tr>"
    )


def _pages(number: int, page: int, pages: int, selected: Selection) -> str:
    if pages == 1:
        return ""
    steps = [(page - 1, "Previous"), (page + 1, "Next")]
    links = " ".join(selected.link(words, page=step) for step, words in steps if 1 <= step <= pages)
    first = (page - 1) * PER_PAGE + 1
    last = min(page * PER_PAGE, number)
    return f'<nav aria-label="Pages" class="top"><p>{first} to {last} of {number:,}</p><p>{links}</p></nav>'
