"""What was learned of an engine, stored between runs: its dialect, its devices and their variables.

It is valid only while the engine has the same change stamps; the reader compares them.
"""

import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from ccl_exporter.powerstudio.snapshot import SystemStatus
from ccl_exporter.text import file_key

log = logging.getLogger(__name__)

Facts = Mapping[str, Any]
"""What a part of the reader has learned, as JSON can hold it."""

_FORMAT = 1
_MOST_BYTES = 16 * 2**20


def holds(facts: Facts, status: SystemStatus | None) -> bool:
    """Whether the facts are still valid for an engine with this status."""
    return status is not None and any(status.stamps) and list(status.stamps) == facts["stamps"]


class LearnedFile:
    """The file of one charger, `chargers/ID.json` in the state folder.

    A file that cannot be used is reported once, and replaced as soon as everything was learned anew.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self._url = url
        self._path = folder / "chargers" / f"{file_key(url)}.json"
        self._is_reported = False
        self._in_file = ""

    def load(self) -> Facts | None:
        """The facts in the file; None if there is no usable file."""
        try:
            if not self._path.exists():
                return None
            if not self._path.is_file() or self._path.stat().st_size > _MOST_BYTES:
                raise ValueError("not a file of this program")
            content = json.loads(self._path.read_text(encoding="utf-8"))
            facts: Facts = content["learned"]
            if content != self._content(facts):
                raise ValueError("damaged, or not written by this version")
            self._in_file = content["sha256"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            self._report("be used, everything is read from the charger", error)
            return None
        return facts

    def save(self, facts: Facts) -> None:
        """Replace the file if it does not hold these facts already; never raises."""
        content = self._content(facts)
        try:
            if content["sha256"] == self._in_file and self._path.exists():
                return
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with NamedTemporaryFile(  # which no other user can read
                "w", encoding="utf-8", dir=self._path.parent, suffix=".new", delete=False
            ) as file:
                try:
                    file.write(json.dumps(content))  # in C, which json.dump is not
                    file.close()
                    os.replace(file.name, self._path)
                    self._in_file = content["sha256"]
                except OSError:
                    with suppress(OSError):
                        os.unlink(file.name)
                    raise
        except OSError as error:
            self._report("be written, the next start reads everything from the charger", error)

    def _content(self, facts: Facts) -> Mapping[str, Any]:
        text = json.dumps(facts, sort_keys=True)
        digest = sha256(f"{_FORMAT} {self._url} {text}".encode()).hexdigest()
        return {"format": _FORMAT, "url": self._url, "sha256": digest, "learned": facts}

    def _report(self, what: str, error: Exception) -> None:
        if not self._is_reported:
            log.warning("%s cannot %s: %s", self._path, what, getattr(error, "strerror", None) or error)
        self._is_reported = True
