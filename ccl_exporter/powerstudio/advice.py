"""Why a charger could not be read, and what its owner may do about it."""

from urllib.parse import urlsplit

from ccl_exporter.errors import (
    Absent,
    AccessDenied,
    ChargerError,
    ConnectTimedOut,
    Garbled,
    HostNotFound,
    TimedOut,
    Unreachable,
)
from ccl_exporter.powerstudio.snapshot import Snapshot


def failure(snapshot: Snapshot) -> ChargerError:
    """Why a read brought nothing: the failure of its documents that tells most."""
    failures = [document.failure for document in snapshot.documents if document.failure is not None]
    order = (Unreachable, AccessDenied, TimedOut, Garbled)
    failures.sort(key=lambda error: next((rank for rank, kind in enumerate(order) if isinstance(error, kind)), 9))
    return failures[0] if failures else TimedOut("nothing came from the charger in time")


def advice(error: ChargerError, url: str) -> str:
    """What the owner may do about a charger that cannot be read."""
    host = urlsplit(url).hostname
    match error:
        case TimedOut() | ConnectTimedOut():
            return (
                f"{host} is switched off or has another address, or this machine is in another subnet: "
                "by default a charger answers only clients on its own subnet"
            )
        case HostNotFound():
            return "look the charger's address up in the router and name it by its address"
        case Unreachable():
            return f"something has the address {host}, but no web server on this port; is the address right?"
        case AccessDenied():
            return "the engine asks for a login; it is read from CCL_USERNAME and CCL_PASSWORD_FILE"
        case Absent():
            return (
                f"what answers on {url} does not speak as a PowerStudio engine; is the address right? "
                "A Wibeee, which has the same paths and other names, is not supported"
            )
        case _:
            return f"what answers on {url} does not speak as a PowerStudio engine; is the address right?"
