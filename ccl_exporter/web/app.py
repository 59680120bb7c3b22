"""Routes: the metrics, a word on being alive, a first page. Reads only, and only what is configured."""

import gzip
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

DEFAULT_TIMEOUT = 30.0
"""Seconds for a read when the scraper does not say how long it waits."""

TIMEOUT_OFFSET = 0.5
"""Seconds kept back of the scraper's patience, so that the answer arrives before it gives up."""

MIN_TIMEOUT = 0.1

Metrics = Callable[[float, str], tuple[bytes, str]]
"""Seconds to read in and an Accept header, to body and content type."""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>ccl-exporter</title></head>
<body><h1>ccl-exporter</h1><p>Version {version}</p><ul><li><a href="metrics">Metrics</a></li></ul></body>
</html>
"""


class App:
    """The WSGI application of one exporter."""

    def __init__(self, metrics: Metrics, version: str) -> None:
        self._metrics = metrics
        self._page = _PAGE.format(version=version).encode()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/")
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        if method not in ("GET", "HEAD"):
            status, body = "405 Method Not Allowed", b"Only GET and HEAD.\n"
            headers.append(("Allow", "GET, HEAD"))
        elif path == "/metrics":
            status, headers, body = self._answer_metrics(environ)
        elif path == "/-/healthy":
            status, body = "200 OK", b"Healthy\n"
        elif path == "/":
            status, headers, body = "200 OK", [("Content-Type", "text/html; charset=utf-8")], self._page
        else:
            status, body = "404 Not Found", b"There is /metrics, /-/healthy and /.\n"
        headers.append(("Content-Length", str(len(body))))
        start_response(status, headers)
        return [b"" if method == "HEAD" else body]

    def _answer_metrics(self, environ: "WSGIEnvironment") -> tuple[str, list[tuple[str, str]], bytes]:
        body, content_type = self._metrics(read_timeout(environ), environ.get("HTTP_ACCEPT", ""))
        headers = [("Content-Type", content_type), ("Vary", "Accept, Accept-Encoding")]
        if accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
            # Level 1: most of the gain for a twentieth of the time.
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        return "200 OK", headers, body


def read_timeout(environ: "WSGIEnvironment") -> float:
    """Seconds that a read may take: what Prometheus says it waits, less an offset; 30 without a usable word."""
    try:
        patience = float(environ.get("HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS", ""))
    except ValueError:
        return DEFAULT_TIMEOUT
    if not 0 < patience < 3600:
        return DEFAULT_TIMEOUT
    return max(patience - TIMEOUT_OFFSET, MIN_TIMEOUT)


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header takes gzip: what it says of gzip, else of anything (RFC 9110, 12.5.3)."""
    weights: dict[str, bool] = {}
    for part in header.lower().split(","):
        coding, _, parameters = part.partition(";")
        weight = parameters.replace(" ", "").removeprefix("q=")
        weights[coding.strip()] = weight == "" or weight.strip("0.") != ""
    return weights.get("gzip", weights.get("*", False))
