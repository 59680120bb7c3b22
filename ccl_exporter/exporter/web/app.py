"""Routes: metrics, probes, discovery, configuration, health, the live page. Reads only."""

import gzip
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

from ccl_exporter.errors import UsageError
from ccl_exporter.exporter.web.charger_json import PREFIX, charger_named
from ccl_exporter.exporter.web.history_access import may_see_history
from ccl_exporter.exporter.web.page import CONTENT_SECURITY_POLICY, FRAMED_SECURITY_POLICY
from ccl_exporter.exporter.web.trusted_proxy import IN_FRAME
from ccl_exporter.logs import warn_renamed
from ccl_exporter.settings import MODULES, Module, module_named
from ccl_exporter.text import quote_short

DEFAULT_TIMEOUT = 10.0
"""Seconds for a read when the scraper does not say how long it waits."""

TIMEOUT_OFFSET = 0.5
"""Seconds kept back of the scraper's patience, so that the answer arrives before it gives up."""

MIN_TIMEOUT, MAX_TIMEOUT = 0.1, 120.0


_TEXT = "text/plain; charset=utf-8"

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*[A-Za-z0-9_-])\.?(?P<port>(?::[0-9]+)?)")


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response: the body, its content type, and the status."""

    body: bytes
    content_type: str = _TEXT
    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Scrape:
    """The parameters of a scrape: timeout in seconds, Accept header, modules."""

    timeout: float
    accept: str
    modules: tuple[Module, ...] = MODULES


class Exporter(Protocol):
    """What the routes need of the service."""

    def metrics(self, scrape: Scrape) -> HttpResponse: ...

    def probe(self, target: str, scrape: Scrape, debug: bool) -> HttpResponse:
        """Raises `UsageError` for a target that may not be read."""
        ...

    def charger_json(self, name: str, with_variables: bool) -> HttpResponse | None:
        """What is known of one charger as JSON; None if the configuration has no such charger."""
        ...

    def targets(self) -> Sequence[tuple[str, Mapping[str, str]]] | None:
        """All chargers with their labels; None while the inventory has not been read since the start."""
        ...

    def config(self) -> str: ...

    def ready(self) -> bool: ...

    def down(self) -> Sequence[str]:
        """The workers because of which the process should be restarted."""
        ...

    def reload(self) -> None:
        """Raises `UsageError` with what is wrong; the old configuration stays."""
        ...

    def page(self, query: str, with_history: bool) -> bytes:
        """The live page of all chargers; `query` is that of its address."""
        ...

    def charger_page(self, name: str, query: str, with_history: bool) -> bytes | None:
        """The page of one charger with its variables; None if there is no such charger."""
        ...


class App:
    """The WSGI application of one exporter.

    `lifecycle` lets a POST reload the configuration; requests to hosts other than `hosts` get 421.
    """

    def __init__(self, exporter: Exporter, lifecycle: bool = False, hosts: Collection[str] = ()) -> None:
        self._exporter = exporter
        self._lifecycle = lifecycle
        self._hosts = hosts
        self._routes: Mapping[str, Callable[[WSGIEnvironment], HttpResponse]] = {
            "/": self._page,
            "/metrics": lambda environ: exporter.metrics(_scrape(environ)),
            "/probe": self._probe,
            "/sd": self._targets,
            "/config": lambda _: HttpResponse(exporter.config().encode()),
            "/-/healthy": self._healthy,
            "/-/ready": self._ready,
            "/-/reload": self._reload,
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._answer(environ)
        body = answer.body
        headers = [("Content-Type", answer.content_type), ("X-Content-Type-Options", "nosniff"), *answer.headers]
        if accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")) and len(body) > 1000:
            # Level 1: most of the gain for a twentieth of the time.
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        headers += [("Vary", "Accept, Accept-Encoding"), ("Content-Length", str(len(body)))]
        start_response(f"{answer.status.value} {answer.status.phrase}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _answer(self, environ: WSGIEnvironment) -> HttpResponse:
        if self._hosts and not _host_names(environ.get("HTTP_HOST", "")) & frozenset(self._hosts):
            # What RFC 9110 (15.5.20) has for a request to a host that a server does not stand for.
            return HttpResponse(b"--web.allowed-hosts lacks this host.\n", status=HTTPStatus.MISDIRECTED_REQUEST)
        path = environ.get("PATH_INFO", "/")
        allowed = ("POST",) if path == "/-/reload" else ("GET", "HEAD")
        if environ["REQUEST_METHOD"] not in allowed:
            text, allow = f"Only {' and '.join(allowed)}.\n", (("Allow", ", ".join(allowed)),)
            return HttpResponse(text.encode(), status=HTTPStatus.METHOD_NOT_ALLOWED, headers=allow)
        if (name := charger_named(path)) is not None:
            return self._charger_json(environ, name)
        if path.startswith(PREFIX):
            return self._page(environ)
        if path not in self._routes:
            text = "Not found; see /, /metrics, /probe, /sd.\n"
            return HttpResponse(text.encode(), status=HTTPStatus.NOT_FOUND)
        return self._routes[path](environ)

    def _reload(self, environ: WSGIEnvironment) -> HttpResponse:
        if not self._lifecycle:
            return HttpResponse(b"Off; --web.enable-lifecycle allows it.\n", status=HTTPStatus.FORBIDDEN)
        own = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}".lower()
        site = environ.get("HTTP_SEC_FETCH_SITE", "none")
        if environ.get("HTTP_ORIGIN", own).lower() != own or site not in ("none", "same-origin"):
            return HttpResponse(b"Not from a page of another site.\n", status=HTTPStatus.FORBIDDEN)
        try:
            self._exporter.reload()
        except UsageError as error:
            return HttpResponse(f"{error}\n".encode(), status=HTTPStatus.INTERNAL_SERVER_ERROR)
        return HttpResponse(b"Reloaded.\n")

    def _probe(self, environ: WSGIEnvironment) -> HttpResponse:
        try:
            query = parse_qs(
                environ.get("QUERY_STRING", ""), keep_blank_values=True, max_num_fields=10, errors="strict"
            )
            target, name, debug = _single(query, "target"), _single(query, "module"), _single(query, "debug")
            if not target:
                raise UsageError("name one target: /probe?target=NAME")
            modules = MODULES if name is None else (_module(name),)
            return self._exporter.probe(target, _scrape(environ, modules), debug == "true")
        except (UsageError, ValueError) as error:
            text = str(error) if isinstance(error, UsageError) else "the query cannot be read"
            return HttpResponse(f"{text}\n".encode(), status=HTTPStatus.BAD_REQUEST)

    def _charger_json(self, environ: WSGIEnvironment, name: str) -> HttpResponse:
        with_variables = parse_qs(environ.get("QUERY_STRING", "")).get("variables") == ["true"]
        answer = self._exporter.charger_json(name, with_variables)
        return answer or HttpResponse(b"There is no such charger; see /sd.\n", status=HTTPStatus.NOT_FOUND)

    def _targets(self, _: WSGIEnvironment) -> HttpResponse:
        targets = self._exporter.targets()
        if targets is None:
            # Prometheus keeps the list that it has.
            return HttpResponse(b"The inventory is being read.\n", status=HTTPStatus.SERVICE_UNAVAILABLE)
        groups = [{"targets": [name], "labels": dict(labels)} for name, labels in targets]
        return HttpResponse(json.dumps(groups, ensure_ascii=False).encode(), "application/json")

    def _healthy(self, _: WSGIEnvironment) -> HttpResponse:
        if not (down := self._exporter.down()):
            return HttpResponse(b"Healthy\n")
        text = f"Unhealthy: these workers could not be restarted for two minutes: {', '.join(down)}\n"
        return HttpResponse(text.encode(), status=HTTPStatus.SERVICE_UNAVAILABLE)

    def _ready(self, _: WSGIEnvironment) -> HttpResponse:
        if self._exporter.ready():
            return HttpResponse(b"Ready\n")
        return HttpResponse(b"Stopping\n", status=HTTPStatus.SERVICE_UNAVAILABLE)

    def _page(self, environ: WSGIEnvironment) -> HttpResponse:
        policy = FRAMED_SECURITY_POLICY if environ.get(IN_FRAME) is True else CONTENT_SECURITY_POLICY
        headers = (("Content-Security-Policy", policy), ("Cache-Control", "no-store"))
        query, with_history = environ.get("QUERY_STRING", ""), may_see_history(environ)
        path = environ.get("PATH_INFO", "/")
        if path.startswith(PREFIX):
            name = path.removeprefix(PREFIX).encode("latin-1").decode("utf-8", "replace")
            body = self._exporter.charger_page(name, query, with_history)
        else:
            body = self._exporter.page(query, with_history)
        if body is None:
            return HttpResponse(
                b"There is no charger of this name; see / for those there are.\n", status=HTTPStatus.NOT_FOUND
            )
        return HttpResponse(body, "text/html; charset=utf-8", headers=headers)


def _single(query: Mapping[str, list[str]], name: str) -> str | None:
    """A parameter that may be given once; raises `UsageError` if it comes twice."""
    values = query.get(name, [])
    if len(values) > 1:
        raise UsageError(f"name one {name}, not several")
    return values[0] if values else None


def _module(name: str) -> Module:
    module = module_named(name, lambda old, new: warn_renamed(f"module={old}", f"module={new}"))
    if module is None:
        raise UsageError(f"there is no such module; there are {' and '.join(MODULES)}")
    return module


def _scrape(environ: WSGIEnvironment, modules: tuple[Module, ...] = MODULES) -> Scrape:
    return Scrape(read_timeout(environ), environ.get("HTTP_ACCEPT", ""), modules)


def allowed_hosts(texts: Iterable[str]) -> frozenset[str]:
    """The hosts of lists with commas, each with or without a port; raises `UsageError` for what is no host."""
    found = [text.strip() for entry in texts for text in entry.split(",") if text.strip()]
    for text in found:
        if not _HOST.fullmatch(text):
            raise UsageError(f"{quote_short(text)} is not a host; it looks like evse.example, [::1] or evse:9986")
    return frozenset(max(_host_names(text), key=len) for text in found)


def _host_names(host: str) -> frozenset[str]:
    """A host with its port, as far as it has one, and without it."""
    found = _HOST.fullmatch(host.lower())
    return frozenset((found["name"], found["name"] + found["port"])) if found else frozenset()


def read_timeout(environ: WSGIEnvironment) -> float:
    """Seconds that a read may take: the scrape timeout of Prometheus less an offset; 10 without a valid header."""
    try:
        patience = float(environ.get("HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS", ""))
    except ValueError:
        return DEFAULT_TIMEOUT
    if not 0 < patience < 3600:
        return DEFAULT_TIMEOUT
    return min(max(patience - TIMEOUT_OFFSET, MIN_TIMEOUT), MAX_TIMEOUT)


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header accepts gzip, by name or by `*` (RFC 9110, 12.5.3)."""
    weights: dict[str, bool] = {}
    for part in header.lower().split(","):
        coding, _, parameters = part.partition(";")
        weight = parameters.replace(" ", "").removeprefix("q=")
        weights[coding.strip()] = weight == "" or weight.strip("0.") != ""
    return weights.get("gzip", weights.get("*", False))
