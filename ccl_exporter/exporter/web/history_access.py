"""Access to the history of a charger, which shows when the people of a house are away."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

LOGGED_IN = "ccl_exporter.logged_in"
"""The key of a WSGI environment that holds True for a request with a login or a checked client certificate."""

_FORWARDED = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")


def may_see_history(environ: Mapping[str, Any]) -> bool:
    """Whether a request may see sessions, energy by day and the power of the last hours.

    Whoever has logged in may, and this machine itself: then the request comes from loopback, names loopback
    as its host, which a page that rebinds a name cannot, and was passed on by no proxy that says so.
    """
    if environ.get(LOGGED_IN) is True:
        return True
    host = re.sub(":[0-9]+$", "", environ.get("HTTP_HOST", ""))
    return (
        _is_loopback(environ.get("REMOTE_ADDR", ""))
        and (host.lower() == "localhost" or _is_loopback(host.strip("[]")))
        and not any(name in environ for name in _FORWARDED)
    )


def _is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
