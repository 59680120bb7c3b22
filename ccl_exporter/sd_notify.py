"""What a service manager such as systemd wants to hear: sd_notify(3), without its library."""

import socket
from collections.abc import Mapping
from contextlib import suppress


def notify_ready(environment: Mapping[str, str]) -> None:
    """Tell the manager that is listening on `$NOTIFY_SOCKET`, if any, that the service takes requests."""
    path = environment.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    # `@` stands for the zero byte of an abstract address.
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(b"READY=1", address)
