"""Restoring temporary changes: in time, on a signal, or by the next command after a crash."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from time import monotonic, sleep, time

from ccl_exporter.control.state import ControlState, PendingRestore
from ccl_exporter.control.write import (
    TAKEN_WITHIN,
    WriteOptions,
    Writer,
    Written,
    held_by_another,
    numbers_of,
    same,
)
from ccl_exporter.errors import CclError, Garbled, WriteRejected
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.remedies import LIFT
from ccl_exporter.text import format_number

Say = Callable[[str], None]
"""Takes a sentence for a person."""


class TemporaryChange:
    """A temporary change of a command, kept on disk until it is restored; a context manager."""

    def __init__(self, control_state: ControlState) -> None:
        self._state = control_state
        self._stack = ExitStack()
        self._pending: list[tuple[PendingRestore, Callable[[], None]]] = []

    def __enter__(self) -> "TemporaryChange":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def restorable(self, written: Written) -> Mapping[str, float]:
        """What was there before a write; raises `WriteRejected` if it is not known or another command holds it."""
        before = {name: value for name, value in written.before.items() if name in written.wanted}
        known = {name: value for name, value in before.items() if value is not None}
        if known != before:
            raise WriteRejected("the value before is not known, so it could not be restored")
        if held := [name for name in known if name not in self.variables and self._state.is_held(name)]:
            raise held_by_another(held)
        return known

    def remember(self, written: Written) -> None:
        """Remember what there was before a write; raises as `restorable` does."""
        known = self.restorable(written)
        way = PendingRestore(written.device, known, dict(written.wanted), time())
        self._pending.append((way, self._stack.enter_context(self._state.pending(way))))

    @property
    def variables(self) -> Sequence[str]:
        """The variables that are to be restored."""
        return [name for way, _ in self._pending for name in way.before]

    def restore(self, writer: Writer, say: Say, again: bool = False) -> bool:
        """Restore everything, the newest first; False if something could not be restored.

        With `again` also values that read as before: an earlier write may still take effect.
        """
        put = [_restore(writer, way, done, say, again) for way, done in reversed(self._pending)]
        return all(put)


def restore_pending(control_state: ControlState, writer: Writer, say: Say) -> None:
    """Carry out the pending restores of commands that were killed."""
    with control_state.pending_restores() as pending:
        for way, done in pending:
            say("a command was ended before it could restore what it had changed for a while")
            _restore(writer, way, done, say)


def _restore(writer: Writer, way: PendingRestore, done: Callable[[], None], say: Say, again: bool = False) -> bool:
    names = ", ".join(way.before)
    try:
        snapshot, reads = _once_taken(writer, way)
        ours = {
            name: value
            for name, value in way.before.items()
            if any(same(reads[name], one) for one in way.ours(name))
        }
        changed = [name for name in way.before if name not in ours]
        if changed:
            say(f"{', '.join(changed)} was changed by something else meanwhile and is left as it is")
        if not ours:
            done()
            return True
        names = ", ".join(ours)
        how = WriteOptions(force=True, is_restore=True, least_pause=0.0, even_if_equal=again)
        written = writer.write(way.device, snapshot, ours, how)
    except CclError as error:
        say(f"{names} could not be restored, the next command tries again: {error}")
        return False
    if written.outcome == "not_taken":
        say(f"{names} could not be restored, the next command tries again")
        return False
    lift = (
        f"; `{LIFT}` lifts it"
        if any(name.endswith(".PREDUCTION") and value for name, value in ours.items())
        else ""
    )
    say(f"{names} is what it was before: {', '.join(format_number(value) for value in ours.values())}{lift}")
    done()
    return True


def _once_taken(writer: Writer, way: PendingRestore) -> tuple[Snapshot, Mapping[str, float]]:
    """What the variables read once the last write to them acts; until then they read as before it.

    If nothing is to be seen of that write, it can still come for `TAKEN_WITHIN` after it was sent.
    """
    deadline = monotonic() + min(way.sent + TAKEN_WITHIN - time(), TAKEN_WITHIN)
    while True:
        _, snapshot = writer.look_up(list(way.before))
        reads = _numbers(snapshot, way)
        taken = way.during != way.before and all(same(reads[name], way.during[name]) for name in way.before)
        if taken or monotonic() >= deadline:
            return snapshot, reads
        sleep(writer.look_every)


def _numbers(snapshot: Snapshot, way: PendingRestore) -> Mapping[str, float]:
    numbers = numbers_of(snapshot)
    found = {name: value for name in way.before if (value := numbers.get(name)) is not None}
    silent = [name for name in way.before if name not in found]
    if silent:
        raise Garbled(f"{', '.join(silent)} has no number now, so its device may be silent")
    return found
