"""Shared by all processes of a machine: the state folder, file locks, and the lock of each charger."""

import fcntl
import logging
import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep, time
from typing import IO, Any

from ccl_exporter.errors import TimedOut
from ccl_exporter.http_client import resolved_address
from ccl_exporter.text import file_key

log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.02  # seconds; the kernel has no way to wait for a file lock until a deadline


def state_folder(environment: Mapping[str, str]) -> Path:
    """Where state is kept: `$STATE_DIRECTORY` (systemd), else the XDG state folder of the user."""
    if folder := environment.get("STATE_DIRECTORY"):
        return Path(folder.partition(":")[0])
    if folder := environment.get("XDG_STATE_HOME"):
        return Path(folder) / "ccl-exporter"
    return Path(environment.get("HOME") or "/nonexistent") / ".local" / "state" / "ccl-exporter"


def try_lock(file: int | IO[str]) -> bool:
    """Lock an open file for its holder alone; False if another has it. Raises `OSError` if it cannot be locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(file: int | IO[str]) -> bool:
    """Whether another holds the lock of an open file.

    It takes a shared lock until the file is closed, so that those who only ask do not see each other.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def wait_for_lock(file: int | IO[str], deadline: float, reason: str) -> None:
    """Lock an open file; raises `TimedOut` with the `reason` if another has it until `deadline` (monotonic)."""
    while not try_lock(file):
        if monotonic() + _LOOK_AGAIN >= deadline:
            raise TimedOut(reason)
        sleep(_LOOK_AGAIN)


class ChargerLock:
    """Serialises requests to one charger over all processes of this machine, with a pause between them.

    The lock is a file, by the resolved address, port and path: a name, an address and `localhost` are one charger.
    Its modification time says when the last request ended.
    Without a writable folder, or a file system with locks, there is no lock; this is logged once.
    """

    def __init__(self, folder: Path, url: str, pause: float = 0.0) -> None:
        self._folder = folder
        self._url = url
        self._pause = pause
        self._file: int | None = None
        self._closing: weakref.finalize[Any, Any] | None = None
        self._cannot_lock = False
        self._ended = 0.0

    def close(self) -> None:
        if self._closing is not None:
            self._closing()
        self._closing = self._file = None

    @contextmanager
    def turn(self, deadline: float) -> Iterator[None]:
        """Hold the charger for one request; raises `TimedOut` if it is not free by `deadline` (monotonic)."""
        self._acquire(deadline)
        try:
            self._rest(deadline)
            try:
                yield
            finally:
                self._ended = time()
                if self._file is not None:
                    # A disk that can only be read any more must not keep a charger from being read.
                    with suppress(OSError):
                        os.utime(self._file)
        except BaseException:
            # Its name may lead elsewhere by now.
            self.close()
            raise
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _acquire(self, deadline: float) -> None:
        if self._cannot_lock:
            return
        if self._file is None:
            # Half of the time: a name server that does not answer is for the request to report.
            address = resolved_address(self._url, (deadline - monotonic()) / 2) or self._url
            name = file_key(address)
            try:
                self._folder.joinpath("locks").mkdir(parents=True, exist_ok=True)
                path = self._folder / "locks" / name
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                self._give_up(f"{self._folder} cannot be written", error)
                return
            # A charger that a reload took away may be in the middle of a request: its lock goes when it does.
            self._closing = weakref.finalize(self, os.close, self._file)
        try:
            wait_for_lock(self._file, deadline, "another command was reading the charger all the time")
        except OSError as error:
            self._give_up("its file cannot be locked", error)

    def _give_up(self, reason: str, error: OSError) -> None:
        log.warning("no lock for %s: %s: %s", self._url, reason, error.strerror or error)
        self.close()
        self._cannot_lock = True

    def _rest(self, deadline: float) -> None:
        """Wait until the pause after the last request is over; a clock that was set back makes it no longer."""
        if self._pause <= 0:
            return
        ended = self._ended if self._file is None else max(self._ended, os.fstat(self._file).st_mtime)
        left = min(self._pause, self._pause - (time() - ended))
        if left > 0:
            if monotonic() + left >= deadline:
                raise TimedOut("no time was left after the pause between two requests")
            sleep(left)
