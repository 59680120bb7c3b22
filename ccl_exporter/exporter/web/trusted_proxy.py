"""Behind a reverse proxy that has logged in its users, such as the ingress of Home Assistant.

The proxy is known by its address: it must be the only one that can send from there. It may show pages below
a path of its own and in a frame of its own page; every link of a page is relative.
"""

from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import ip_address
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from ccl_exporter.errors import UsageError
from ccl_exporter.exporter.web.history_access import LOGGED_IN

IN_FRAME = "ccl_exporter.in_frame"
"""The key of a WSGI environment that holds True for a request whose page may be shown in a frame of its site."""


def proxy_address(text: str) -> str:
    """The address of a proxy; raises `UsageError`."""
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise UsageError(f"--web.trusted-proxy: {text!r} is not an address; it looks like 192.0.2.5") from error


def behind_proxy(app: WSGIApplication, proxy: str) -> WSGIApplication:
    """An application that answers only a proxy, whose requests count as logged in."""

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        peer = ip_address(environ.get("REMOTE_ADDR", "::"))
        if str(getattr(peer, "ipv4_mapped", None) or peer) == proxy:
            environ[LOGGED_IN] = environ[IN_FRAME] = True
            return app(environ, start_response)
        body = b"Only the proxy of --web.trusted-proxy may ask.\n"
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        status = HTTPStatus.FORBIDDEN
        start_response(f"{status.value} {status.phrase}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return guarded
