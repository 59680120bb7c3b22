"""One charger and its one reader: whoever asks while it is being read gets the same result."""

import threading
from time import monotonic, time

from ccl_exporter.model import Credentials, Snapshot
from ccl_exporter.powerstudio.engine import Engine


class Charger:
    """Guards an engine so that it never has two requests in flight; safe to be called from several threads."""

    def __init__(self, name: str, url: str, credentials: Credentials | None = None) -> None:
        self.name = name
        self._engine = Engine(name, url, credentials)
        self._turn = threading.Condition()
        self._reading = False
        self._latest: Snapshot | None = None

    def close(self) -> None:
        self._engine.close()

    def read(self, timeout: float) -> Snapshot:
        """Everything that can be read within `timeout` seconds, or what another caller is just reading.

        Never raises for what the charger does.
        """
        started = monotonic()
        with self._turn:
            if self._reading:
                done = self._turn.wait_for(lambda: not self._reading, timeout)
                if done and self._latest is not None:
                    return self._latest
                return Snapshot(time(), monotonic() - started, timeout, requests=0, up=False)
            self._reading = True
            self._latest = None
        snapshot = None
        try:
            snapshot = self._engine.read(timeout)
        finally:
            with self._turn:
                self._reading = False
                self._latest = snapshot
                self._turn.notify_all()
        return snapshot
