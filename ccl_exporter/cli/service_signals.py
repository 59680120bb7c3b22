"""What signals do to a service, from its first moment on; so this imports little."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from types import FrameType

_END_WITHIN = 4.7
"""Seconds after the first signal to stop in which the process ends in any case."""

_LAST_WORDS = 0.5
"""Seconds for the end of a stop of which the service did not wait for all, such as answers to slow clients."""


class ServiceSignals:
    """SIGINT and SIGTERM stop a service, SIGHUP reloads it.

    While none runs the first two exit with 0 at once, and any number of SIGHUPs leads to one reload once it runs.
    """

    def __init__(self) -> None:
        # Unlike locks, threads and events these queues are safe in a handler, which may interrupt anything.
        self._stops: SimpleQueue[None] = SimpleQueue()
        self._reloads: SimpleQueue[None] = SimpleQueue()
        self._running = self._stopping = self._listening = False

    def install(self) -> None:
        """Handle the signals from now on; may be called twice."""
        if not self._listening:
            self._listening = True
            heard, tell = os.pipe()
            os.set_blocking(tell, False)
            with suppress(RuntimeError):  # no thread can be started
                threading.Thread(target=self._listen, args=(heard,), name="signals", daemon=True).start()
            signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, lambda *_: self._reloads.put(None))

    @contextmanager
    def handled_by(self, stop: Callable[[], object], reload: Callable[[], object]) -> Iterator[None]:
        """Let the signals call these, which raise nothing, in a thread for each: a reload may take long."""

        def stop_once() -> None:
            self._stops.get()
            stop()

        def reload_each() -> None:
            while True:
                self._reloads.get()
                while not self._reloads.empty():
                    self._reloads.get()
                reload()

        stopper = threading.Thread(target=stop_once, name="stop", daemon=True)
        for thread in (stopper, threading.Thread(target=reload_each, name="reload", daemon=True)):
            thread.start()
        self._running = True
        try:
            yield
        finally:
            self._running = False
            if self._stopping:
                stopper.join(_LAST_WORDS)

    def _listen(self, heard: int) -> None:
        """End the process during the start: a handler does not run while the main thread blocks.

        A signal interrupts a blocking call only if it comes after its begin.
        """
        while received := os.read(heard, 1):
            if received[0] in (signal.SIGINT, signal.SIGTERM) and not (self._running or self._stopping):
                os._exit(0)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        if not (self._running or self._stopping):
            os._exit(0)  # without waiting for what is being imported, read or bound
        if not self._stopping:
            # Whatever holds up the end then, such as a disk that hangs or a log that is not read, is left.
            signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
            signal.setitimer(signal.ITIMER_REAL, _END_WITHIN)
        self._stopping = True
        self._stops.put(None)


SIGNALS = ServiceSignals()
"""Those of this process."""
