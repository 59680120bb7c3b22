"""The plug that a follower limits: its meter, the variable that is written, the state on disk."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from time import monotonic, sleep

from ccl_exporter.control.plug_commands import PlugCommands, override_active
from ccl_exporter.control.state import ControlState, PendingRestore, WriteEntry
from ccl_exporter.control.write import TAKEN_WITHIN, WriteOptions, Writer, Written
from ccl_exporter.errors import Absent, Garbled, StateError, TimedOut
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.catalogue import Activity
from ccl_exporter.station.plug import Plug
from ccl_exporter.station.values import Reading

_A_MOMENT = 1.0
"""Seconds that an urgent write waits for other commands; the charger itself still takes one request at a time."""


@dataclass
class FollowerState(ControlState):
    """Logs what it cannot store instead of raising, as a safe current is written all the same.

    The safe current is stored before the first write (`SafeCurrentGuard`), which fails without it.
    """

    def note_written(self, variables: Sequence[str]) -> Callable[[], None]:
        # Only how soon others may write again is lost; the journal reports that nothing can be kept.
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

    Raises `ChargerError`, `Absent` if no variable limits the current.
    """

    def __init__(self, writer: Writer, control_state: ControlState, name: str | None, timeout: float) -> None:
        super().__init__(writer, name, timeout)
        self._state = control_state
        snapshot = self._read()
        limits, vehicle = self._judged(snapshot).limits, self._info.vehicle_device
        self.variable = f"{vehicle}.PREDUCTION"
        if vehicle is None or not limits.rated or self.variable not in Reading(snapshot).listed:
            raise Absent(f"the charger does not list what limits the current of {self.name}")
        self.device = vehicle
        self.largest = limits.rated
        self._lookup.describe([self.variable], monotonic() + timeout)
        self._last = self._read()
        self._sent, self._sent_at, self._shown = 0, float("-inf"), True

    def observe(self) -> Plug:
        """The plug now; raises `Garbled` if its reduction cannot be read."""
        boosted = self._state.override(self.name) is not None
        snapshot = self._lookup.read(self._timeout, self._devices, charges=boosted)
        plug = self._judged(snapshot)
        if plug.activity is Activity.UNKNOWN and not boosted:
            # Only then, as it is a request more: chargeInfo has the state too.
            snapshot = self._lookup.read(self._timeout, self._devices, charges=True)
            plug = self._judged(snapshot)
        if plug.limits.reduction is None:
            raise Garbled(f"{self.variable} cannot be read")
        # Only then: what is written blindly needs a read that says what can be written.
        self._last = snapshot
        self._shown = self._shown or plug.limits.percent == self._sent
        return plug

    def percent(self) -> int:
        """The reduction in force."""
        return self.observe().limits.percent

    def plug(self) -> Plug:
        """What the plug does now.

        Raises `Garbled` if that is not known, for which the follower sets the safe current.
        """
        plug = self.observe()
        if plug.activity is Activity.UNKNOWN:
            raise Garbled(f"the state of {self.name} cannot be read")
        if plug.is_charging and (plug.powers.is_unread or plug.currents.is_unread):
            # A part of the phases would be given what is free for all of them.
            raise Garbled(f"the meter of {self.name} does not report power and current of each phase")
        return plug

    def is_boosted(self, plug: Plug, now: float) -> bool:
        """Whether `charge start --now` asks for the full current, at an instant (Unix seconds)."""
        override = self._state.override(self.name)
        if override is None:
            return False
        if override_active(plug, override, now) is not None:
            return True
        with suppress(StateError, TimedOut):
            self._state.clear_override(self.name)
        return False

    def send(self, percent: int, urgent: bool = False) -> Written:
        """Write the reduction without waiting for its effect; an urgent one does not wait for others."""
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
        """Write the reduction once the last write has taken effect, and check that it holds."""
        while monotonic() < self._sent_at + TAKEN_WITHIN and self.percent() != self._sent:
            sleep(self._writer.look_every)
        with ExitStack() as stack:
            with suppress(StateError):
                stack.enter_context(self._state.exclusive(monotonic() + self._timeout))
            return self._put(percent, self._read(), WriteOptions(least_pause=0.0, wait=wait))

    def _put(self, percent: int, snapshot: Snapshot, how: WriteOptions) -> Written:
        return self._writer.write(self.device, snapshot, {self.variable: float(percent)}, how)


class SafeCurrentGuard:
    """The reduction to leave behind, stored as a pending restore in case the follower is killed."""

    def __init__(self, control_state: ControlState, device: str, variable: str, at_end: int) -> None:
        self._state = control_state
        self._device, self._variable, self.at_end = device, variable, at_end
        self._last: int | None = None
        self._may_hold: set[int] = set()
        self._held = ExitStack()

    def cover(self, percent: int, now: float) -> None:
        """Store it before a reduction that is in force or about to be written; `now` in Unix seconds."""
        before, during = {self._variable: float(self.at_end)}, {self._variable: float(percent)}
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
        """Note that the charger has this reduction; once it is the last one written, no earlier one can return."""
        if percent == self._last:
            self._may_hold.clear()
        self._may_hold.add(percent)

    def release(self) -> None:
        """Note that the reduction is set: nothing is pending any more."""
        stale, self._held = self._held, ExitStack()
        stale.close()
