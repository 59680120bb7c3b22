"""The HTTP server: cheroot's, in which who says nothing holds up nobody and who has hung up is not answered."""

import logging
import select
from contextlib import suppress
from typing import Any

from cheroot.server import HTTPConnection
from cheroot.wsgi import Server

log = logging.getLogger(__name__)

LEAST_SCRAPES, MOST_SCRAPES = 8, 256
"""Scrapes at once: each charger that does not answer holds one up for as long as its scraper waits."""


class Connection(HTTPConnection):
    """A connection whose request is not answered any more once who asked has hung up, tired of waiting."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # These caches, which nobody asks, tie it to itself: only the collector could free it.
        for name in ("resolve_peer_creds", "get_peer_creds"):
            vars(self).pop(name, None)

    @property
    def hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self.socket.fileno(), getattr(select, "POLLRDHUP", 0))
        return bool(poll.poll(0))

    def close(self) -> None:
        super().close()
        if not self.linger:
            # What was not sent has nobody to go to; Python 3.13 would try it once more, and tell that it failed.
            with suppress(OSError):
                self.wfile.close()

    def communicate(self) -> bool:
        return not self.hung_up and bool(super().communicate())  # type: ignore[no-untyped-call] # it has no types


class WebServer(Server):
    """Cheroot's server, in which connections that say nothing hold up nobody, and which logs as we do."""

    ConnectionClass = Connection
    _threads = LEAST_SCRAPES

    def process_conn(self, conn: Any) -> None:
        """A new connection waits for its first byte with the idle ones, not in a worker."""
        if conn.last_used is None:
            self._connections.put(conn)  # type: ignore[attr-defined] # the idle ones are its private matter
        elif conn.hung_up:
            conn.close()
        else:
            if self.requests.idle <= self.requests.qsize:
                self.requests.grow(self._threads)
                self._threads = min(self._threads * 2, MOST_SCRAPES)
            super().process_conn(conn)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        log.log(level, "%s", msg.strip(), exc_info=traceback)
