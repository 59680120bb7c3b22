"""The state of a service for a service manager such as systemd: sd_notify(3), without its library."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic_ns

READY, STOPPING = "READY=1", "STOPPING=1"
_WATCHDOG = "WATCHDOG=1"
_PATIENCE = 1.0  # seconds that a manager which does not read may hold up the service


def reloading() -> tuple[str, str]:
    """The state of a service that reads its configuration again, until it is `READY`."""
    return "RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}"


def notify(environment: Mapping[str, str], *state: str) -> bool:
    """Send the state to the manager that listens on `$NOTIFY_SOCKET`, if any; False if it could not be sent."""
    path = environment.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return False
    # `@` stands for the zero byte of an abstract address.
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(_PATIENCE)
        manager.sendto("\n".join(state).encode(), address)
        return True
    return False


class Watchdog:
    """Tells the manager that the service works, if it asks for that with `$WATCHDOG_USEC`; else does nothing."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        asked = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.interval = int(asked) / 2e6 if ours and asked.isascii() and asked.isdecimal() else 0.0
        """Seconds between two beats, half of what the manager allows; 0 if it does not ask."""
        self._due = float("-inf")

    def beat(self, now: float, healthy: bool) -> None:
        """Send a beat if one is due and the service is healthy; to be called each second, `now` monotonic."""
        if self.interval and healthy and now >= self._due and notify(self._environment, _WATCHDOG):
            self._due = now + self.interval
