"""The live page: one charger, or many; and all variables of one. Pure: what was read to HTML.

What a charger says is hostile input: it passes through `markup.text` and nowhere else into the page.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from string import Template
from urllib.parse import quote

from ccl_exporter.exporter.web.charger_section import charger_section
from ccl_exporter.exporter.web.fleet import Selection, fleet, headline, rows
from ccl_exporter.exporter.web.markup import STALE, PageTime, duration, fact_list, text
from ccl_exporter.exporter.web.plug_words import state
from ccl_exporter.exporter.web.variables_table import variables_table
from ccl_exporter.exporter.web.views import ChargerView, PageContext
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.plug import Plug
from ccl_exporter.text import count

_FILES = files("ccl_exporter.exporter.web")
_STYLE, _SCRIPT, _HTML = (
    _FILES.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js", "html")
)
_PAGE = Template(_HTML)


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The header to serve the page with: its own stylesheet and script and nothing else may be used."""

FRAMED_SECURITY_POLICY = CONTENT_SECURITY_POLICY.replace("frame-ancestors 'none'", "frame-ancestors 'self'")
"""The header where the page may be in a frame of its own site."""


def front_page(views: Sequence[ChargerView], context: PageContext, query: str = "") -> bytes:
    """The page of all chargers; of one charger, if there is one. `query` is that of its address."""
    health = _outputs(context)
    if len(views) == 1:
        (view,) = views
        body = f"{charger_section(view, context.time, _variables_link(view))}{health}"
        return _page(context, _title(view), text(view.shown), body)
    found, selected = rows(views), Selection.parse(query)
    body = fleet(found, selected, context.time, len(views)) if views else "<p>No charger is configured.</p>"
    heading = count(len(views), "charger")
    return _page(context, f"{headline(found)} | {heading}", heading, f"{body}{health}", query=selected.query)


def charger_page(view: ChargerView, snapshot: Snapshot | None, context: PageContext, query: str = "") -> bytes:
    """The page of one charger with all its variables, of a `snapshot` that has them; `query` may search them."""
    selected = Selection(q=Selection.parse(query).q)
    body = f"{charger_section(view, context.time)}{variables_table(snapshot, selected.q)}"
    return _page(context, _title(view), text(view.shown), body, root="../", query=selected.query)


def _page(context: PageContext, title: str, heading: str, body: str, *, root: str = "", query: str = "") -> bytes:
    time = context.time
    names = {"metrics": "Metrics", "config": "Configuration", "sd": "Service discovery"}
    links = [f'<a href="{root}{path}">{name}</a>' for path, name in names.items()]
    filled = {
        "title": text(title),
        "back": f'<nav><a href="{root}">Overview</a></nav>' if root else "",
        "heading": heading,
        "clock": f"{time.local:%Y-%m-%d %H:%M:%S %Z}",
        "body": body,
        "links": " · ".join(links),
        "version": text(context.version),
        "zone": text(f"{time.local:%Z}"),
        "query": query.replace("&", "&amp;"),
    }
    return _PAGE.substitute(filled, style=_STYLE, script=_SCRIPT).encode()


def _variables_link(view: ChargerView) -> str:
    place = f"charger/{quote(view.name, safe='')}"
    return f'<a href="{place}#variables">All variables</a> · <a href="{place}.json">JSON</a>'


def _title(view: ChargerView) -> str:
    """What matters most of one charger, for the tab's title."""
    if view.last is None or not view.last.snapshot.up:
        words = "Not read yet" if view.last is None else "Not reachable"
    else:
        words = ", ".join(_plug_title(plug) for plug in view.last.plugs)
    return f"{words} | {view.shown}" if words else view.shown


def _plug_title(plug: Plug) -> str:
    words = state(plug)[0]
    power = f" {plug.power / 1000:.2f} kW" if plug.is_charging and plug.power is not None else ""
    return words + power


def _outputs(context: PageContext) -> str:
    """How databases and the broker fare; empty without any."""
    facts = dict(_output_facts(context.outputs, context.time))
    return f"<section><h2>Outputs</h2>{fact_list(facts)}</section>" if facts else ""


def _output_facts(samples: Sequence[Sample], time: PageTime) -> Iterator[tuple[str, str]]:
    sinks: dict[str, dict[str, float]] = {}
    for sample in samples:
        if sample.family is f.MQTT_CONNECTED:
            yield "MQTT", "connected" if sample.value else '<span class="fault">not connected</span>'
        elif sample.family.labels == ("sink",):
            sinks.setdefault(sample.labels[0], {})[sample.family.name] = sample.value
    for sink, found in sinks.items():
        yield f"InfluxDB {text(sink)}", _sink(found, time)


def _sink(found: Mapping[str, float], time: PageTime) -> str:
    oldest, success = found.get(f.INFLUXDB_SPOOL_OLDEST.name), found.get(f.INFLUXDB_LAST_SUCCESS.name)
    written = f"written {duration(time.now - success)} ago" if success else "not written yet"
    points = found.get(f.INFLUXDB_SPOOL_POINTS.name, 0.0)
    if oldest is None or time.now - oldest <= STALE:
        return written
    waiting = f"{count(int(points), 'point')} waiting{time.moment(oldest, ' since ')}"
    return f'{written}, <span class="fault">{waiting}</span>'
