"""The plug that a follower limits: reading it, writing its reduction, and the pending restore on disk."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from time import monotonic, sleep

from ccl_exporter.control.plug_commands import PlugCommands, active_override
from ccl_exporter.control.state import ControlState, PendingRestore, WriteEntry
from ccl_exporter.control.write import TAKEN_WITHIN, WriteOptions, Writer, Written
from ccl_exporter.errors import Absent, Garbled, StateError, TimedOut
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.catalogue import Activity
from ccl_exporter.station.plug import Plug
from ccl_exporter.station.values import Reading

_A_MOMENT = 1.0
"""Seconds that an urgent write waits for other commands; then it is sent without their lock."""


@dataclass
class FollowerState(ControlState):
    """A state that does not raise if it cannot note or log a write, so that the safe current is still written.

    Without the pending restore of `SafeCurrentGuard`, which does raise, a follower does not begin.
    """

    def note_written(self, variables: Sequence[str]) -> Callable[[], None]:
        # Lost is only how soon others may write again; `log_write` reports that the folder cannot be written.
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

    The constructor reads the plug. It raises `UsageError` if `name` is not that of one plug, and `ChargerError`;
    of these `Absent` if no variable limits the current.
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
        """Read the plug; raises `ChargerError`, of these `Garbled` if the reduction cannot be read."""
        boosted = self._state.override(self.name) is not None
        snapshot = self._lookup.read(self._timeout, self._devices, charges=boosted)
        plug = self._judged(snapshot)
        if plug.activity is Activity.UNKNOWN and not boosted:
            # chargeInfo has the state too, but needs another request.
            snapshot = self._lookup.read(self._timeout, self._devices, charges=True)
            plug = self._judged(snapshot)
        if plug.limits.reduction is None:
            raise Garbled(f"{self.variable} cannot be read")
        # Only a complete read: a write without a new read is checked against it.
        self._last = snapshot
        self._shown = self._shown or plug.limits.percent == self._sent
        return plug

    def percent(self) -> int:
        """The reduction that the charger reads back, in per cent."""
        return self.observe().limits.percent

    def plug(self) -> Plug:
        """Read the plug as `observe` does.

        Raises `Garbled` also if the state is not known or, while it charges, the power or current of a phase.
        """
        plug = self.observe()
        if plug.activity is Activity.UNKNOWN:
            raise Garbled(f"the state of {self.name} cannot be read")
        if plug.is_charging and (plug.powers.is_unread or plug.currents.is_unread):
            # The power available to all phases would go to some of them.
            raise Garbled(f"the meter of {self.name} does not report power and current of each phase")
        return plug

    def is_boosted(self, plug: Plug, now: float) -> bool:
        """Whether the override of `charge start --now` holds at `now` (Unix seconds); removes one that is over."""
        if active_override(self._state.override(self.name), plug, now) is not None:
            return True
        with suppress(StateError, TimedOut):
            self._state.clear_override(self.name)
        return False

    def send(self, percent: int, urgent: bool = False) -> Written:
        """Write the reduction without waiting for its effect.

        An urgent write waits at most `_A_MOMENT` for other commands, and is then sent without their lock.
        """
        # Until a write takes effect, the charger reads back the earlier value: an equal one is written again.
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
        """Write the reduction and read back for up to `wait` seconds whether it took effect.

        First waits until the last write has taken effect, or can no longer.
        """
        while monotonic() < self._sent_at + TAKEN_WITHIN and self.percent() != self._sent:
            sleep(self._writer.look_every)
        with ExitStack() as stack:
            with suppress(StateError):
                stack.enter_context(self._state.exclusive(monotonic() + self._timeout))
            return self._put(percent, self._read(), WriteOptions(least_pause=0.0, wait=wait))

    def _put(self, percent: int, snapshot: Snapshot, how: WriteOptions) -> Written:
        return self._writer.write(self.device, snapshot, {self.variable: float(percent)}, how)


class SafeCurrentGuard:
    """Keeps the reduction to leave behind, `at_end`, as a pending restore on disk in case the follower is killed.

    `cover` and `release` raise `StateError` if the folder cannot be written.
    """

    def __init__(self, control_state: ControlState, device: str, variable: str, at_end: int) -> None:
        self._state = control_state
        self._device, self._variable, self.at_end = device, variable, at_end
        self._last: int | None = None
        self._may_hold: set[int] = set()
        self._held = ExitStack()

    def cover(self, percent: int, now: float) -> None:
        """Store the pending restore for a reduction that holds or is about to be written; `now`: Unix seconds."""
        before, during = {self._variable: float(self.at_end)}, {self._variable: float(percent)}
        # When the follower is killed, a write may have failed, been ignored, or not have taken effect yet.
        earlier = {self._variable: [float(one) for one in sorted(self._may_hold)]}
        self._last = percent
        self._may_hold.add(percent)
        fresh = ExitStack()
        way = PendingRestore(self._device, before, during, sent=now, earlier=earlier)
        fresh.callback(fresh.enter_context(self._state.pending(way)))
        stale, self._held = self._held, fresh
        stale.close()

    def seen(self, percent: int) -> None:
        """Note that the charger has this reduction; if it is the last one written, no earlier one can return."""
        if percent == self._last:
            self._may_hold.clear()
        self._may_hold.add(percent)

    def release(self) -> None:
        """Remove the pending restore, as the reduction is set."""
        stale, self._held = self._held, ExitStack()
        stale.close()
