"""Where configuration comes from: text of a file or a URL, its YAML as data with places, and an inventory
of more chargers that is read again while the service runs, without a gap. No charger is contacted here.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from urllib.parse import urljoin, urlsplit

from ccl_exporter.errors import UsageError
from ccl_exporter.http_client import Answer, HttpClient, HttpError, target_of
from ccl_exporter.settings import ChargerSettings, Settings
from ccl_exporter.yaml_reader import MAX_BYTES, decoded, read_text

_TRY_AGAIN = 60.0  # seconds at most until an inventory that could not be used is read again
_SETTLES = 10.0  # seconds after the interval in which a file that changes all the time may settle
_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"Accept": "application/yaml, application/json, text/*"}


@dataclass(frozen=True, slots=True)
class ChargerSource:
    """The source of more chargers: exactly one of `file` and `url`, read every `interval` seconds.

    `own` is what the main configuration file says; `parse` turns the text of the source, and what the
    source is called, into chargers and raises `UsageError` with the place of every error.
    """

    own: Settings
    interval: float
    parse: Callable[[str, str], Mapping[str, ChargerSettings]] = field(repr=False, compare=False)
    file: Path | None = None
    url: str | None = field(default=None, repr=False)
    timeout: float = 10.0
    """Seconds that a URL may take, redirects included."""

    @property
    def shown(self) -> str:
        """The path, or the URL without its query, which often holds a token."""
        return self.url.partition("?")[0] if self.url is not None else str(self.file)

    def settings(self) -> Settings:
        """The settings of the main file with the chargers of the source.

        Raises `UsageError` with the place of every error.
        """
        try:
            text = (
                decoded(_fetched(self.url, self.timeout))
                if self.url is not None
                else read_text(self.file or Path())
            )
        except UsageError as error:
            raise UsageError(f"{self.shown}: {error}") from error
        return replace(self.own, chargers={**self.own.chargers, **self.parse(text, self.shown)})

    def stamp(self) -> tuple[int, ...] | None:
        """The identity, size and time of the file; None for a URL, and for a file that cannot be read."""
        if self.file is None:
            return None
        try:
            status = self.file.stat()
        except (OSError, ValueError):
            return None
        # The inode too: a file that was replaced as a whole may have the size and the time of the old one.
        return status.st_mtime_ns, status.st_size, status.st_ino


class ChargerInventory:
    """The settings with the last good inventory; safe to use from several threads.

    `settings` are the main file's with the chargers of the last inventory that had no error, before the first
    refresh, which always reads, those that it is made with. `error` is why the last reading failed, one line
    an error and without secrets; None if it did not.
    """

    def __init__(self, source: ChargerSource, settings: Settings, error: str | None = None) -> None:
        self._source = source
        self.settings = settings
        self.error = error
        self._tried: float | None = None
        self._stamp: tuple[int, ...] | None = None
        self._seen: tuple[int, ...] | None = None
        self._refreshing = threading.Lock()
        self.was_read = False
        """Whether it was read with success since this was made."""

    def refresh(self, now: float) -> bool:
        """Read the source again if it is due, and say whether the settings are others now; raises nothing.

        `now` is in seconds of any clock, the same for every call; a file is due when it changed, too.
        While one thread reads, the others go on with what is there.
        """
        if not self._refreshing.acquire(blocking=False):
            return False
        try:
            return self._refresh(now)
        finally:
            self._refreshing.release()

    def _refresh(self, now: float) -> bool:
        # Taken before reading: a file that changes meanwhile is read once more rather than never.
        stamp = self._source.stamp()
        pause = self._source.interval if self.error is None else min(self._source.interval, _TRY_AGAIN)
        if self._tried is not None and stamp == self._stamp and 0 <= now - self._tried < pause:
            return False
        # One that has just changed may not be written to its end.
        is_new, self._seen = stamp != self._seen, stamp
        if self._tried is not None and is_new and 0 <= now - self._tried < pause + _SETTLES:
            return False
        self._tried, self._stamp = now, stamp
        before = self.settings
        try:
            self.settings = self._source.settings()
        except UsageError as error:
            self.error = str(error)
            return False
        self.error = None
        self.was_read = True
        return self.settings != before


def _fetched(url: str, timeout: float) -> bytes:
    """The body of a GET, at most one byte more than `MAX_BYTES`; raises `UsageError` without the URL."""
    deadline = monotonic() + timeout
    for _ in range(_MAX_REDIRECTS + 1):
        client = HttpClient(url, _HEADERS)
        try:
            answer = client.request("GET", target_of(url), deadline, most_bytes=MAX_BYTES + 1, body_of=200)
        except HttpError as error:
            raise UsageError(f"cannot be read: {error}") from error
        finally:
            client.close()
        if answer.status not in _REDIRECTS:
            return _content(answer)
        url = _redirected(url, answer.header("Location"))
    raise UsageError(f"cannot be read: more than {_MAX_REDIRECTS} redirects")


def _content(answer: Answer) -> bytes:
    if answer.status != 200:
        raise UsageError(f"cannot be read: it answers {answer.status}")
    # Unpacked, a small answer could be larger than any limit on what is received.
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise UsageError("cannot be read: its response is compressed, which was not requested")
    return answer.body


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads: on the same server only, or from http to https of the same host."""
    try:
        target = urljoin(url, location)
        old, new = urlsplit(url), urlsplit(target)
        same = (new.scheme, new.hostname, new.port) == (old.scheme, old.hostname, old.port)
    except ValueError as error:
        raise UsageError("cannot be read: it redirects to what is not HTTP") from error
    upgrade = (old.scheme, new.scheme, new.hostname) == ("http", "https", old.hostname)
    if not location or "@" in new.netloc or not (same or upgrade):
        raise UsageError("cannot be read: it redirects to another host, which is not followed")
    return target
