"""Which of several exporters publishes on a topic: the one that renews the record on `TOPIC/owner`.

    {"id": "5f2c9d…", "interval": 15, "run": "b81a…", "time": 1790000000}

The owner renews the record every `interval` seconds. Another exporter takes over when three intervals pass
without a renewal, judged by its own monotonic clock as two clocks may differ, or when the record is removed.
`time` (Unix seconds) only says that a record is too old to wait for. `id` stays the same over restarts, `run` is
of one process. If two claim the topic at the same moment, the one with the lower `id` and `run` has it.
"""

import json
import logging
import os
import re
from dataclasses import dataclass
from enum import Enum, auto
from math import isfinite
from pathlib import Path
from uuid import uuid4

from ccl_exporter.locks import try_lock

log = logging.getLogger(__name__)

LONGEST_RENEWAL = 60.0
"""Maximum seconds between two renewals, so that after a kill another exporter waits at most three minutes."""

EXPIRES_AFTER = 3
"""Intervals without a renewal after which a topic may be taken over."""

SETTLE = 0.5
"""Seconds to wait for a record after the subscription, and for the claims of others after a claim."""

_ANSWER_WITHIN = 5.0  # seconds to wait instead if the broker confirms neither the subscription nor the claim
_CLOCKS_DIFFER = 60.0  # seconds
_DISPUTED = 1.0  # seconds until a record that another one has overwritten is published again
_LONGEST_RECORD = 1024  # bytes
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_KEPT_ID = re.compile(r"[0-9a-f]{16}")


class ExporterId:
    """The id of an exporter on a topic, kept in a file that is locked for this process alone.

    A second process with the same state folder, and one that cannot write there, has an id of its own.
    """

    def __init__(self, path: Path) -> None:
        self.value = uuid4().hex[:16]
        self._file: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._file = file
            if not try_lock(file):
                self.close()
                return
            kept = os.read(file, 64).decode("ascii", "replace")
            if _KEPT_ID.fullmatch(kept):
                self.value = kept
            else:
                os.ftruncate(file, 0)
                os.pwrite(file, self.value.encode(), 0)
        except OSError as error:
            log.warning("mqtt: the id cannot be kept in %s, so that a restart may wait: %s", path, error.strerror)

    def close(self) -> None:
        """Release the file; the id stays."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@dataclass(frozen=True, slots=True)
class OwnerRecord:
    """The record on `TOPIC/owner`: `interval` in seconds, `time` in Unix seconds."""

    id: str
    run: str
    interval: float
    time: float

    def text(self) -> str:
        members = {"id": self.id, "run": self.run, "interval": self.interval, "time": self.time}
        return json.dumps(members, sort_keys=True)


def parse_record(message: bytes) -> OwnerRecord | None:
    """The record in a message; None if the message is not valid."""
    if len(message) > _LONGEST_RECORD:
        return None
    try:
        found = json.loads(message)
        id, run = found["id"], found["run"]
        interval, time = found["interval"], found["time"]
        texts = all(isinstance(text, str) and _ID.fullmatch(text) for text in (id, run))
        numbers = all(type(number) in (int, float) and isfinite(number) for number in (interval, time))
        if not texts or not numbers or not 0 < interval <= LONGEST_RENEWAL:
            return None
        return OwnerRecord(id, run, float(interval), float(time))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


class Role(Enum):
    """The role of an exporter on its topic."""

    LOOKING = auto()
    """It does not know yet whether there is an owner."""

    CLAIMING = auto()
    """It publishes a record and waits for the claims of others."""

    OWNER = auto()
    STANDBY = auto()


class TopicOwnership:
    """Decides who publishes, from the records on the topic. Pure: `now` is monotonic, `wall` Unix seconds.

    `began` is when this process began, in Unix seconds.
    """

    def __init__(self, id: str, run: str, interval: float, began: float) -> None:
        self.role = Role.LOOKING
        self.other: OwnerRecord | None = None
        """The latest record of another exporter that publishes on the topic, while it does."""
        self._self = (id, run)
        self._began = began
        self._interval = min(interval, LONGEST_RENEWAL)
        self._other_until = float("-inf")
        self._decide_at = float("inf")
        self._renew_at = float("-inf")
        self._published = float("-inf")
        self._renewed = float("-inf")  # when the last record was sent that the broker confirmed

    @property
    def is_owner(self) -> bool:
        return self.role is Role.OWNER

    @property
    def has_record(self) -> bool:
        """Whether the record on the topic may be ours."""
        return self.role in (Role.CLAIMING, Role.OWNER)

    # The connection

    def disconnected(self, now: float) -> None:
        """There is no connection: a topic that was not renewed for three intervals may be another one's."""
        if self.role is Role.CLAIMING or (self.is_owner and self._has_expired(now)):
            self.role = Role.LOOKING

    def connected(self, now: float) -> None:
        """A connection begins, with a subscription to the record."""
        self.disconnected(now)
        self._renew_at = now
        self._decide_at = now + _ANSWER_WITHIN
        # Renewals may have been missed while there was no connection.
        self._other_until = max(self._other_until, self._decide_at)

    def subscribed(self, now: float) -> None:
        """The broker has confirmed the subscription: a record that is there comes now."""
        if self.role is Role.LOOKING:
            self._decide_at = min(self._decide_at, now + SETTLE)

    def confirmed(self, sent: float, now: float) -> None:
        """The broker has confirmed the record that was sent at `sent`."""
        self._renewed = sent
        if self.role is Role.CLAIMING:
            self._decide_at = min(self._decide_at, now + SETTLE)

    # What others say

    def heard(self, message: bytes, retained: bool, now: float, wall: float) -> None:
        """Process a message on the topic of the record; `retained`: the broker had it before the subscription."""
        record = parse_record(message)
        if record is None:
            if self.has_record:
                self._dispute()
            elif not message:
                self._claim(now)  # its owner has ended
        elif (record.id, record.run) == self._self:
            if self.role is Role.LOOKING:
                self._own(now)
        elif self._is_from_before(record, retained) and self.role is not Role.STANDBY:
            if self.is_owner:
                self._dispute()
            else:
                self._own(now)
        elif self.has_record:
            self._contend(record, retained, now, wall)
        elif record != self.other:
            if retained and wall - record.time > EXPIRES_AFTER * record.interval + _CLOCKS_DIFFER:
                if self.role is Role.LOOKING:
                    self._claim(now)
            else:
                self._stand_by(record, now)

    def _is_from_before(self, record: OwnerRecord, retained: bool) -> bool:
        """Whether a record is ours from before a restart.

        A busy broker may deliver the last record of a killed process after the subscription, as not retained.
        """
        return record.id == self._self[0] and (retained or record.time < self._began)

    def _contend(self, record: OwnerRecord, retained: bool, now: float, wall: float) -> None:
        """Both exporters have a record: one of the two steps back."""
        if retained and wall - record.time > EXPIRES_AFTER * record.interval + _CLOCKS_DIFFER:
            self._dispute()
        elif (record.id, record.run) < self._self or (self.is_owner and self._has_expired(now)):
            self._stand_by(record, now)
        else:
            self._dispute()

    # Time

    def step(self, now: float) -> None:
        """Decide what is due; only while there is a connection."""
        if (self.role is Role.STANDBY and now >= self._other_until) or (
            self.role is Role.LOOKING and now >= self._decide_at
        ):
            self._claim(now)
        elif self.role is Role.CLAIMING and now >= self._decide_at:
            self._own(now)

    def next_record(self, now: float, wall: float) -> str | None:
        """The record, if it is to be published now."""
        if not self.has_record or now < self._renew_at:
            return None
        self._published, self._renew_at = now, now + self._interval
        return OwnerRecord(*self._self, self._interval, round(wall, 3)).text()

    def wait(self, now: float) -> float:
        """Seconds until something is due."""
        at = self._other_until if self.role is Role.STANDBY else self._decide_at
        due = self._renew_at if self.is_owner else min(at, self._renew_at) if self.has_record else at
        return max(due - now, 0.0)

    def _has_expired(self, now: float) -> bool:
        return now - self._renewed > EXPIRES_AFTER * self._interval

    def _claim(self, now: float) -> None:
        self.role, self.other = Role.CLAIMING, None
        self._renew_at = now
        self._decide_at = now + _ANSWER_WITHIN

    def _own(self, now: float) -> None:
        self.role = Role.OWNER
        self._renewed = max(self._renewed, now)

    def _stand_by(self, record: OwnerRecord, now: float) -> None:
        self.role, self.other = Role.STANDBY, record
        self._other_until = now + EXPIRES_AFTER * record.interval

    def _dispute(self) -> None:
        """Overwrite the record on the topic with ours, at most once in `_DISPUTED` seconds."""
        self._renew_at = min(self._renew_at, self._published + _DISPUTED)
