"""Why a charger could not be read, and what the owner can do."""

from urllib.parse import urlsplit

from ccl_exporter.errors import (
    Absent,
    AccessDenied,
    ChargerError,
    ConnectRefused,
    ConnectTimedOut,
    Garbled,
    HostNotFound,
    NoRoute,
    TimedOut,
    Unreachable,
)
from ccl_exporter.powerstudio.snapshot import Snapshot

_FIND = "`scan` finds the chargers of a network"


def failure(snapshot: Snapshot) -> ChargerError:
    """Why a read had no value: the most informative failure of its documents."""
    failures = [document.failure for document in snapshot.documents if document.failure is not None]
    order = (Unreachable, AccessDenied, TimedOut, Garbled)
    failures.sort(key=lambda error: next((rank for rank, kind in enumerate(order) if isinstance(error, kind)), 9))
    return failures[0] if failures else TimedOut("nothing came from the charger in time")


def advice(error: ChargerError, url: str) -> str:
    """What the owner can do about a charger that cannot be read, as a sentence."""
    host = urlsplit(url).hostname
    match error:
        case TimedOut() | ConnectTimedOut():
            return (
                f"{host} is switched off or has another address, or this machine is in another subnet: "
                "by default a charger answers only clients on its own subnet"
            )
        case HostNotFound():
            return f"use the charger's address instead of its name; {_FIND}"
        case NoRoute():
            return (
                f"{host} is switched off or has another address, or this machine is not connected to the "
                f"charger's network; {_FIND}"
            )
        case ConnectRefused():
            return f"{host} is in use, but has no web server on this port; check address and port; {_FIND}"
        case Unreachable():
            return f"check {url}: http or https, address and port"
        case AccessDenied():
            return (
                "the engine asks for a login; it is read from CCL_USERNAME and CCL_PASSWORD_FILE, or in a "
                "configuration file from `username` and `password_file`"
            )
        case Absent():
            return (
                f"what answers on {url} does not respond like a PowerStudio engine; is the address right? "
                "A Wibeee, which has the same paths and other names, is not supported"
            )
        case _:
            return f"what answers on {url} does not respond like a PowerStudio engine; is the address right?"
