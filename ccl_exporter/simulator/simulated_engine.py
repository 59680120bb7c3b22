"""Requests to answers: which document, in which dialect, or which recording. No sockets here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes
from xml.etree import ElementTree

from ccl_exporter.simulator import documents
from ccl_exporter.simulator.answers import Element, EngineAnswer, Request, document, node, refusal
from ccl_exporter.simulator.dialects import Dialect
from ccl_exporter.simulator.faults import Fault, find
from ccl_exporter.simulator.site import PlugPlace, Shown, Site, SiteView

USER = "/services/user/"
CHARGE_POINTS = "/services/chargePointsInterface/"
FORCE = USER + "forceVariables.xml"


@dataclass(frozen=True)
class Query:
    """A target in parts; parameters decoded, in order."""

    path: str
    parameters: tuple[tuple[str, str], ...]

    def named(self, *names: str) -> list[tuple[str, str]]:
        """The parameters of these names that have a value."""
        return [(name, value) for name, value in self.parameters if name in names and value]

    def first(self, name: str) -> str | None:
        """The first value of a parameter."""
        return next((value for key, value in self.parameters if key == name), None)


@lru_cache(256)
def parse(target: str, dialect: Dialect) -> Query:
    """Part a target at the dialect's separators; a separator at the end is tolerated."""
    path, _, raw = target.partition("?")
    pieces = re.split(f"[{re.escape(dialect.separators)}]", raw) if dialect.separators else [raw]
    pieces = [piece for piece in pieces if piece]
    if len(pieces) > 1 and dialect.many != "all":
        pieces = pieces[:1] if dialect.many == "first" else []
    parameters = []
    for piece in pieces:
        name, _, value = piece.partition("=")
        parameters.append((decoded(name, dialect), decoded(value, dialect)))
    return Query(decoded(path, dialect), tuple(parameters))


def decoded(text: str, dialect: Dialect) -> str:
    """Undo percent-encoding; `+` stays a plus unless the dialect says otherwise."""
    if dialect.plus_is_blank:
        text = text.replace("+", " ")
    return unquote_to_bytes(text.encode("latin-1", "replace")).decode(dialect.names_charset, "replace")


_Handler = Callable[[SiteView, Query], Element]


def _device_info(root: str, item: str) -> _Handler:
    return lambda view, query: documents.device_info(view, [name for _, name in query.named("id")], root, item)


def _plugs(root: str, item: str, describe: Callable[[SiteView, PlugPlace], list[Element]]) -> _Handler:
    return lambda view, _: documents.plugs(view, root, item, describe)


def _values(view: SiteView, query: Query) -> Element:
    found = _asked(view, query, view.dialect.values_by_id, view.dialect.bare_names)
    return documents.values(view, [item for item, _ in found])


def _var_info(view: SiteView, query: Query) -> Element:
    return documents.var_info(view, _asked(view, query, view.dialect.var_info_by_id, False))


_DOCUMENTS: Mapping[str, tuple[str, _Handler]] = {
    USER + "devices.xml": ("devices", lambda view, _: documents.devices(view)),
    USER + "deviceInfo.xml": ("devices", _device_info("devices", "device")),
    USER + "varInfo.xml": ("varInfo", _var_info),
    USER + "values.xml": ("values", _values),
    CHARGE_POINTS + "devices.xml": ("devices", lambda view, _: documents.devices(view)),
    CHARGE_POINTS + "deviceInfo.xml": ("devicesInfo", _device_info("devicesInfo", "deviceInfo")),
    **{
        CHARGE_POINTS + f"{item}.xml": (root, _plugs(root, item, describe))
        for root, item, describe in (
            ("plugsInfo", "plugInfo", documents.plug_info),
            ("plugsState", "plugState", documents.plug_state),
            ("chargesInfo", "chargeInfo", documents.charge_info),
            ("chargesState", "chargeState", documents.charge_state),
        )
    },
    "/services/devices/deviceState.xml": (
        "deviceState",
        lambda view, query: documents.device_state(view, query.first("id")),
    ),
    "/services/system/status.xml": ("systemStatus", lambda view, _: documents.status(view)),
    "/services/system/information.xml": ("systemInformation", lambda view, _: documents.information(view)),
    "/services/system/eventsActions.xml": ("eventsActions", lambda *_: node("eventsActions")),
    "/services/events/actived.xml": ("activedEvents", lambda *_: node("activedEvents")),
    "/services/events/notified.xml": ("notifiedEvents", lambda *_: node("notifiedEvents")),
}
"""The root that a document has when it is empty, and what writes it."""


class ModelEngine:
    """A PowerStudio engine over a live model."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def answer(self, request: Request, dialect: Dialect, faults: Sequence[Fault]) -> EngineAnswer:
        """Answer one request at the site's present time."""
        query = parse(request.target, dialect)
        known = _DOCUMENTS.get(query.path)
        if dialect.length_limit is not None and len(request.target) > dialect.length_limit:
            if dialect.length_answer == "empty" and known is not None:
                return EngineAnswer(200, document(node(known[0]), dialect))
            return refusal(414, "Request-URI Too Long")
        if query.path == FORCE and not dialect.lacks(FORCE):
            return self._force(request, query, dialect, faults)
        if query.path == "/":
            return EngineAnswer(302, b"", "text/html", (("Location", "/html/setup.html"),))
        if query.path == "/html/setup.html":
            return refusal(200, "Set-up of a simulated engine")
        if known is None or dialect.lacks(query.path):
            return refusal(404, "Not Found")
        if request.method != "GET":
            return refusal(405, "Method Not Allowed")
        with self._site.present() as now:
            root = known[1](SiteView(self._site, now, dialect, faults), query)
            return EngineAnswer(200, document(root, dialect))

    def _force(self, request: Request, query: Query, dialect: Dialect, faults: Sequence[Fault]) -> EngineAnswer:
        if request.method != "PUT":
            return refusal(405, "Method Not Allowed")
        if dialect.read_only:
            return refusal(403, "Forbidden")
        try:
            wanted = _writes(request.body)
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


class RecordingsEngine:
    """Answers a GET with the file named like its target, decoded or as sent; anything else is 404.

    A file's name holds the parameters: `services/user/values.xml?var=EVSE.STATUS`.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ValueError(f"no folder of recordings at {folder}")
        self._folder = folder.resolve()

    def answer(self, request: Request, dialect: Dialect, faults: Sequence[Fault]) -> EngineAnswer:
        """Answer one request from the folder; neither faults nor dialect change what was recorded."""
        if dialect.length_limit is not None and len(request.target) > dialect.length_limit:
            return refusal(414, "Request-URI Too Long")
        path, _, query = request.target.partition("?")
        if dialect.lacks(unquote(path)):
            return refusal(404, "Not Found")
        if request.method != "GET":
            return refusal(405, "Method Not Allowed")
        # "document.xml?" is the document without parameters.
        spellings = [unquote(path) + (f"?{unquote(query)}" if query else ""), request.target]
        for spelling in spellings:
            content = self._read(spelling.lstrip("/"))
            if content is not None:
                return EngineAnswer(200, content)
        return refusal(404, "Not Found")

    def _read(self, name: str) -> bytes | None:
        try:
            file = (self._folder / name).resolve()
            if not file.is_relative_to(self._folder) or not file.is_file():
                return None
            return file.read_bytes()
        except (OSError, ValueError):
            # A name too long or with a NUL in it is no file's name.
            return None
