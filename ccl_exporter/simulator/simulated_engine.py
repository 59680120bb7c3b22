"""Requests to answers: which document, in which dialect. No sockets here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from xml.etree import ElementTree

from ccl_exporter.simulator import charge_points, documents
from ccl_exporter.simulator.dialects import Dialect
from ccl_exporter.simulator.faults import Fault, find
from ccl_exporter.simulator.query import Query, parse
from ccl_exporter.simulator.site import Site
from ccl_exporter.simulator.site_view import Shown, SiteView
from ccl_exporter.simulator.xml import Element, document, node

USER = "/services/user/"
CHARGE_POINTS = "/services/chargePointsInterface/"
FORCE = USER + "forceVariables.xml"


@dataclass(frozen=True)
class EngineAnswer:
    """What goes back over the wire."""

    status: int
    body: bytes = b""
    content_type: str = "text/xml"
    headers: tuple[tuple[str, str], ...] = field(default=())


class SimulatedEngine(Protocol):
    """Answers requests; a model does, and so does a folder of recordings."""

    def answer(
        self, method: str, target: str, body: bytes, dialect: Dialect, faults: Sequence[Fault]
    ) -> EngineAnswer:
        """Answer one request; `faults` are those that concern its target."""


def refusal(status: int, words: str) -> EngineAnswer:
    """An answer that is no document."""
    page = f"<html><head><title>{status}</title></head><body>{words}</body></html>"
    return EngineAnswer(status, page.encode(), "text/html")


Handler = Callable[[SiteView, Query, Dialect, Sequence[Fault]], Element]


class ModelEngine:
    """A PowerStudio engine over a live model."""

    def __init__(self, site: Site) -> None:
        self._site = site
        # The root each document has is needed for empty answers, so it stands beside the handler.
        self._documents: dict[str, tuple[str, Handler]] = {
            USER + "devices.xml": ("devices", lambda view, *_: documents.devices(view)),
            USER + "deviceInfo.xml": ("devices", self._device_info("devices", "device")),
            USER + "varInfo.xml": ("varInfo", self._var_info),
            USER + "values.xml": ("values", self._values),
            CHARGE_POINTS + "devices.xml": ("devices", lambda view, *_: documents.devices(view)),
            CHARGE_POINTS + "deviceInfo.xml": ("devicesInfo", self._device_info("devicesInfo", "deviceInfo")),
            CHARGE_POINTS + "plugInfo.xml": ("plugsInfo", self._plugs(charge_points.plug_info)),
            CHARGE_POINTS + "plugState.xml": ("plugsState", self._plugs(charge_points.plug_state)),
            CHARGE_POINTS + "chargeInfo.xml": ("chargesInfo", self._plugs(charge_points.charge_info)),
            CHARGE_POINTS + "chargeState.xml": ("chargesState", self._plugs(charge_points.charge_state)),
            "/services/devices/deviceState.xml": ("deviceState", self._device_state),
            "/services/system/status.xml": ("systemStatus", lambda *_: documents.status(site)),
            "/services/system/information.xml": ("systemInformation", self._information),
            "/services/system/eventsActions.xml": ("eventsActions", lambda *_: node("eventsActions")),
            "/services/events/actived.xml": ("activedEvents", lambda *_: node("activedEvents")),
            "/services/events/notified.xml": ("notifiedEvents", lambda *_: node("notifiedEvents")),
        }

    def answer(
        self, method: str, target: str, body: bytes, dialect: Dialect, faults: Sequence[Fault]
    ) -> EngineAnswer:
        """Answer one request at the site's present time."""
        query = parse(target, dialect)
        known = self._documents.get(query.path)
        if dialect.length_limit is not None and len(target) > dialect.length_limit:
            if dialect.length_answer == "empty" and known is not None:
                return EngineAnswer(200, documents.empty(known[0], dialect))
            return refusal(414, "Request-URI Too Long")
        if query.path == FORCE and not dialect.lacks(FORCE):
            return self._force(method, query, body, dialect, faults)
        if query.path in ("/", "/html/setup.html"):
            return _front_page(query.path)
        if known is None or dialect.lacks(query.path):
            return refusal(404, "Not Found")
        if method != "GET":
            return refusal(405, "Method Not Allowed")
        _, handler = known
        with self._site.present() as now:
            view = SiteView(self._site, now, dialect, faults)
            return EngineAnswer(200, document(handler(view, query, dialect, faults), dialect))

    def _force(
        self, method: str, query: Query, body: bytes, dialect: Dialect, faults: Sequence[Fault]
    ) -> EngineAnswer:
        if method != "PUT":
            return refusal(405, "Method Not Allowed")
        if dialect.read_only:
            return refusal(403, "Forbidden")
        try:
            wanted = _writes(body)
        except (ElementTree.ParseError, ValueError):
            return refusal(400, "Bad Request")
        late = find(faults, "late-writes")
        with self._site.present() as now:
            view = SiteView(self._site, now, dialect, faults)
            shown = query.first("id") or ""
            device = view.devices.get(shown)
            if device is not None and find(faults, "ignore-writes") is None:
                own = [
                    (f"{device.name}{name.removeprefix(shown)}", value)
                    for name, value in wanted
                    if name.startswith(f"{shown}.")
                ]
                self._site.force(device.name, own, None if late is None else late.wait)
        return EngineAnswer(204)

    def _device_info(self, root: str, item: str) -> Handler:
        def handler(view: SiteView, query: Query, _dialect: Dialect, _faults: Sequence[Fault]) -> Element:
            return documents.device_info(view, [name for _, name in query.named("id")], root, item)

        return handler

    def _plugs(self, build: Callable[[SiteView, Site], Element]) -> Handler:
        return lambda view, *_: build(view, self._site)

    def _information(self, _view: SiteView, _query: Query, dialect: Dialect, _faults: Sequence[Fault]) -> Element:
        return documents.information(self._site, dialect.version)

    def _device_state(self, view: SiteView, query: Query, dialect: Dialect, faults: Sequence[Fault]) -> Element:
        return documents.device_state(view, dialect, faults, self._site, query.first("id"))

    def _values(self, view: SiteView, query: Query, dialect: Dialect, faults: Sequence[Fault]) -> Element:
        found = _asked(view, query, dialect.values_by_id, dialect.bare_names)
        return documents.values(view, dialect, faults, [item for item, _ in found])

    def _var_info(self, view: SiteView, query: Query, dialect: Dialect, _faults: Sequence[Fault]) -> Element:
        return documents.var_info(view, dialect, _asked(view, query, dialect.var_info_by_id, False))


def _asked(view: SiteView, query: Query, by_id: bool, bare: bool) -> list[tuple[Shown, bool]]:
    """What the var= and id= of a query name, once each, with whether it was by id=; unknown names nothing."""
    found: dict[str, tuple[Shown, bool]] = {}
    for parameter, name in query.named("var", "id"):
        if parameter == "id":
            items = view.shown(name) if by_id and name in view.devices else []
        elif bare and "." not in name:
            items = [item for device in view.devices for item in view.shown(device)]
            items = [item for item in items if item.variable.name == name]
        else:
            item = view.find(name)
            items = [] if item is None else [item]
        for item in items:
            found.setdefault(item.full, (item, parameter == "id"))
    return list(found.values())


def _writes(body: bytes) -> list[tuple[str, float]]:
    # Our own tests and command line write this body, on loopback: no stranger's XML arrives here.
    root = ElementTree.fromstring(body)  # noqa: S314
    if root.tag != "forceVariables":
        raise ValueError(f"root is {root.tag}")
    wanted = []
    for item in root.iter("forceVar"):
        value = float(item.findtext("forceValue", "").strip())
        if not math.isfinite(value):
            raise ValueError("not a number")
        wanted.append((item.findtext("forceName", "").strip(), value))
    return wanted


def _front_page(path: str) -> EngineAnswer:
    if path == "/":
        return EngineAnswer(302, b"", "text/html", (("Location", "/html/setup.html"),))
    return refusal(200, "Set-up of a simulated engine")
