"""The plug that a follower limits: its meter, the one variable that is written, what is kept on disk."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic, sleep

from ccl_exporter.control.plug_commands import PlugCommands
from ccl_exporter.control.state import JOURNAL, ControlState, PendingRestore, WriteEntry
from ccl_exporter.control.write import TAKEN_WITHIN, WriteOptions, Writer, Written
from ccl_exporter.errors import Absent, Garbled, StateError, TimedOut, WriteRejected
from ccl_exporter.locks import try_lock
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.catalogue import Activity
from ccl_exporter.station.plug import Plug
from ccl_exporter.station.values import Reading

_A_MOMENT = 1.0
"""Seconds that an urgent write waits for other commands; the charger itself still takes one request at a time."""

_JOURNAL_TAIL = 512 * 1024


@dataclass
class FollowerState(ControlState):
    """Says what it cannot keep, as a safe current is written all the same.

    What must not be written without a record is not: a follower keeps the safe current first (`SafeCurrentGuard`).
    """

    say: Callable[[str], None] = field(kw_only=True)

    def note_written(self, variables: Sequence[str]) -> Callable[[], None]:
        # Only how soon others may write again is lost; the journal is what tells that nothing can be kept.
        with suppress(StateError, TimedOut):
            return super().note_written(variables)
        return lambda: None

    def log_write(self, entry: WriteEntry) -> None:
        try:
            super().log_write(entry)
        except StateError as error:
            self.say(str(error))


class FollowedPlug(PlugCommands):
    """A plug whose limit is set again and again. `timeout` is for each answer, in seconds.

    Raises what is wrong with the charger, `Absent` if it has nothing that limits a current.
    """

    def __init__(self, writer: Writer, control_state: ControlState, name: str | None, timeout: float) -> None:
        super().__init__(writer, name, timeout)
        self._state = control_state
        snapshot = self._read()
        limits, vehicle = self._judged(snapshot).limits, self._info.vehicle_device
        self.variable = f"{vehicle}.PREDUCTION"
        if vehicle is None or not limits.rated or self.variable not in Reading(snapshot).listed:
            raise Absent(f"the charger does not tell how the current of {self.name} is limited")
        self.device = vehicle
        self.largest = limits.rated
        self._lookup.describe([self.variable], monotonic() + timeout)
        self._last = self._read()
        self._sent, self._sent_at, self._shown = 0, float("-inf"), True

    def observe(self) -> Plug:
        """What the plug does now; raises `Garbled` if its reduction cannot be read."""
        snapshot = self._lookup.read(self._timeout, self._devices)
        plug = self._judged(snapshot)
        if plug.activity is Activity.UNKNOWN:
            # Only then, as it is a request more: chargeInfo tells the state too.
            snapshot = self._lookup.read(self._timeout, self._devices, charges=True)
            plug = self._judged(snapshot)
        if plug.limits.reduction is None:
            raise Garbled(f"the charger does not tell {self.variable}")
        # Only then: what is written blindly needs a reading that tells what can be written.
        self._last = snapshot
        self._shown = self._shown or plug.limits.percent == self._sent
        return plug

    def percent(self) -> int:
        """The reduction in force."""
        return self.observe().limits.percent

    def plug(self) -> Plug:
        """What the plug does now.

        Raises `Garbled` if nobody can say, for which the follower sets the safe current.
        """
        plug = self.observe()
        if plug.activity is Activity.UNKNOWN:
            raise Garbled(f"the state of {self.name} cannot be read")
        if plug.is_charging and (plug.powers.is_unread or plug.currents.is_unread):
            # A part of the phases would be given what is free for all of them.
            raise Garbled(f"the meter of {self.name} does not tell power and current of each phase")
        return plug

    def send(self, percent: int, urgent: bool = False) -> Written:
        """Write the reduction without waiting for what comes of it; an urgent one waits for nobody."""
        # Until a write shows, the charger reads as before it, which says nothing of what is to be.
        how = WriteOptions(least_pause=0.0, no_readback=True, even_if_equal=not self._shown)
        with ExitStack() as stack:
            try:
                stack.enter_context(self._state.exclusive(monotonic() + (_A_MOMENT if urgent else self._timeout)))
            except (TimedOut, StateError):
                if not urgent:
                    raise
            self._sent, self._sent_at, self._shown = percent, monotonic(), False
            return self._put(percent, self._last, how)

    def set(self, percent: int, wait: float) -> Written:
        """Write the reduction once the last one acts, which would come after it, and see that it holds."""
        while monotonic() < self._sent_at + TAKEN_WITHIN and self.percent() != self._sent:
            sleep(self._writer.look_every)
        with ExitStack() as stack:
            with suppress(StateError):
                stack.enter_context(self._state.exclusive(monotonic() + self._timeout))
            return self._put(percent, self._read(), WriteOptions(least_pause=0.0, wait=wait))

    def _put(self, percent: int, snapshot: Snapshot, how: WriteOptions) -> Written:
        return self._writer.write(self.device, snapshot, {self.variable: float(percent)}, how)


class SafeCurrentGuard:
    """The safe current, kept on disk as the pending restore of a follower that is killed."""

    def __init__(self, control_state: ControlState, device: str, variable: str, safe: int) -> None:
        self._state = control_state
        self._device, self._variable, self._safe = device, variable, safe
        self._last: int | None = None
        self._may_hold: set[int] = set()
        self._held = ExitStack()

    def cover(self, percent: int, now: float) -> None:
        """Keep it before a reduction that is in force or about to be written; `now` in Unix seconds."""
        before, during = {self._variable: float(self._safe)}, {self._variable: float(percent)}
        # A write may fail, be ignored, or be still to act when the follower is killed.
        earlier = {self._variable: [float(one) for one in sorted(self._may_hold)]}
        self._last = percent
        self._may_hold.add(percent)
        fresh = ExitStack()
        way = PendingRestore(self._device, before, during, sent=now, earlier=earlier)
        fresh.callback(fresh.enter_context(self._state.pending(way)))
        stale, self._held = self._held, fresh
        stale.close()

    def seen(self, percent: int) -> None:
        """The charger reads this reduction; once it is the last one, none from before it can still hold."""
        if percent == self._last:
            self._may_hold.clear()
        self._may_hold.add(percent)

    def release(self) -> None:
        """The safe current is set: nothing is pending any more."""
        stale, self._held = self._held, ExitStack()
        stale.close()


@contextmanager
def only_one(control_state: ControlState, plug: str) -> Iterator[None]:
    """Keep a second follower of a plug out; raises `WriteRejected`, and `StateError` if nothing can be locked."""
    own = control_state.folder / "follow"
    path = own / hashlib.sha256(f"{control_state.id} {plug}".encode()).hexdigest()[:16]
    try:
        own.mkdir(parents=True, exist_ok=True, mode=0o700)
        opened = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise StateError(
            f"{own} cannot be written ({error.strerror}), so nobody could keep a second follower out:"
            " set STATE_DIRECTORY"
        ) from error
    with opened as lock:
        if not try_lock(lock):
            lock.seek(0)
            who = lock.read(20).strip()
            raise WriteRejected(
                f"{plug} of {control_state.url} is followed already, by process {who}: stop that one first,"
                " two would set its limit against each other"
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def written_lately(control_state: ControlState, variable: str, now: float, seconds: float) -> list[float]:
    """How many seconds ago commands of this machine wrote a variable, by their journal; `now` in Unix seconds."""
    ages: list[float] = []
    with suppress(OSError), (control_state.folder / JOURNAL).open("rb") as journal:
        journal.seek(0, os.SEEK_END)
        journal.seek(max(journal.tell() - _JOURNAL_TAIL, 0))
        for line in journal.read().splitlines():
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                age = now - datetime.fromisoformat(entry["time"]).timestamp()
                # Version 0.1 knew a charger by its URL only.
                known = (entry["id"], control_state.id) if "id" in entry else (entry["charger"], control_state.url)
                if known[0] == known[1] and variable in entry["variables"] and age < seconds:
                    ages.append(max(age, 0.0))
    return ages
