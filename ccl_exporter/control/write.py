"""Writing variables: checks, the write, and reading it back.

A write is rejected if the engine does not declare the variable writable, if the value is out of range,
or if the last write was too recent. A value that the variable has already is not written.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from time import monotonic, sleep
from typing import Literal

from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.state import ControlState, WriteEntry
from ccl_exporter.errors import ChargerError, Garbled, Unreachable, Unsure, UsageError, WriteRejected
from ccl_exporter.locks import ChargerLock
from ccl_exporter.powerstudio.command_reader import CommandReader, may_have_id
from ccl_exporter.powerstudio.inventory import owner
from ccl_exporter.powerstudio.learned import LearnedFile
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.catalogue import last_part
from ccl_exporter.station.plug import plug_infos, plugs
from ccl_exporter.station.rows import VariableRow, find_row, variable_rows
from ccl_exporter.station.values import Reading
from ccl_exporter.text import MASK, format_number

LEAST_PAUSE = 59.0
"""Minimum seconds between two writes of a variable, as each wears out the charger's memory (flash).

It is a second less than a minute, for programs that write once a minute and are not quite punctual.
"""

TAKEN_WITHIN = 10.0
"""Seconds after a write in which it may still take effect.

The charger takes up to five, and reads as before until then (protocol 9.2).
"""

PATIENCE = 20.0
"""The default of `WriteOptions.wait`, in seconds."""

LOOK_EVERY = 0.5
"""Seconds between two reads while a command waits until a write takes effect."""

_ELSEWHERE_WITHIN = 3.0  # seconds for the charger that had the same id

_CURRENTS = frozenset({"INTENSITY", "CURRENT_REDUCTION"})

_SAME = 1e-6  # six decimals are what the engine sends

Outcome = Literal["done", "already", "planned", "sent", "not_taken", "nothing", "no_vehicle", "empty"]
"""The outcome of a command: `planned` with --dry-run, `sent` without a readback, `not_taken` if it did not take
effect, `nothing` if there was nothing to do, `empty` at the end of a night in which a car got no energy.
"""


@dataclass(frozen=True, slots=True)
class Written:
    """The result of a write: values by variable before and after, as the engine sends them.

    None is a value that is not known. `personal` names variables with personal values.
    `doubt` says why it is not known whether the engine accepted the write, else it is empty.
    """

    outcome: Outcome
    device: str
    wanted: Mapping[str, float]
    before: Mapping[str, float | None]
    after: Mapping[str, float | None]
    personal: frozenset[str] = frozenset()
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """The options of a write.

    `force` writes a variable whose range, value or writability is not known. `dry_run` checks only.
    A write that `is_restore` does not count for the pause before later writes, so that these are not rejected.
    `wait` is how many seconds a write may take to have an effect, `least_pause` the minimum pause in seconds.
    `keep` is called with each write that can be restored, before it is sent, or instead with `dry_run`.
    With `no_readback` the write is sent and not read back, for a caller that reads soon and must not wait.
    `even_if_equal` writes a value that the variable has already, as an earlier write may still take effect.
    """

    force: bool = False
    dry_run: bool = False
    is_restore: bool = False
    wait: float = PATIENCE
    least_pause: float = LEAST_PAUSE
    keep: Callable[[Written], object] | None = None
    no_readback: bool = False
    even_if_equal: bool = False


def identify(state: ControlState, lookup: CommandReader, timeout: float) -> None:
    """Use the state of the charger that answers; `timeout` in seconds. Raises `ChargerError` and `StateError`."""

    def has_id(url: str, id: str) -> bool:
        return may_have_id(url, id, _ELSEWHERE_WITHIN, ChargerLock(state.folder, url))

    state.identify(lookup.plug_ids(monotonic() + timeout), has_id)


Confirm = Callable[[float], bool]
"""Waits until a command was carried out, at most until a deadline (monotonic); True if it was."""


class Writer:
    """Writes to one charger; the caller holds `ControlState.exclusive`.

    `timeout` is for each read or write, in seconds; `command` is the name in the journal.
    """

    def __init__(
        self,
        control: WritableTransport,
        control_state: ControlState,
        timeout: float,
        command: str,
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._control = control
        self.state = control_state
        self._timeout = timeout
        self._command = command
        self.look_every = look_every
        self.lookup = CommandReader(control, LearnedFile(control_state.folder, control_state.url))

    def identify(self) -> None:
        """Use the state of the charger that answers; raises `ChargerError` and `StateError`."""
        identify(self.state, self.lookup, self._timeout)

    def look_up(self, names: Sequence[str]) -> tuple[str, Snapshot]:
        """The device of these variables, and a snapshot of it with their descriptions and values.

        Raises `UsageError` if a name has no device or they have several, and `ChargerError`.
        """
        deadline = monotonic() + self._timeout
        ids = self.lookup.devices(deadline)
        devices = {owner(name, ids) for name in names}
        if None in devices:
            wrong = next(name for name in names if owner(name, ids) is None)
            raise UsageError(f"the charger has no device for {wrong!r}; it has {', '.join(map(repr, ids))}")
        if len(devices) > 1:
            several = ", ".join(sorted(filter(None, devices)))
            raise UsageError(f"these are of several devices, {several}: write those of one at a time")
        (device,) = filter(None, devices)
        deadline = monotonic() + self._timeout
        self.lookup.learn([device], deadline)
        self.lookup.describe(names, deadline)
        return device, self.lookup.read(self._timeout)

    def set(self, wanted: Mapping[str, float], how: WriteOptions) -> Written:
        """Write variables of one device, if the checks allow it, and read back whether that took effect.

        Raises `UsageError` for an unknown name, `WriteRejected` for an unsafe write, `StateError` if the write
        cannot be recorded, and `ChargerError`.
        """
        device, snapshot = self.look_up(list(wanted))
        if currents := {name: value for name, value in wanted.items() if last_part(name) in _CURRENTS}:
            self._check_currents(currents)
        self.check_stays(wanted, numbers_of(snapshot))
        return self.write(device, snapshot, wanted, how)

    def check_stays(self, wanted: Mapping[str, float], reads: Mapping[str, float | None]) -> None:
        """Reject values that are there already, but only until a running command restores the earlier ones."""
        lost = [
            name for name, value in wanted.items() if same(reads.get(name), value) and self.state.is_held(name)
        ]
        if lost:
            raise held_by_another(lost)

    def _check_currents(self, wanted: Mapping[str, float]) -> None:
        """Reject a limit above the rating of its plug, even with `force`, whatever range the engine declares."""
        deadline = monotonic() + self._timeout
        self.lookup.learn(self.lookup.devices(deadline), deadline)
        self.lookup.learn_plugs(deadline)
        reading = Reading(self.lookup.read(self._timeout))
        for info, plug in zip(plug_infos(reading), plugs(reading), strict=True):
            stands = {
                f"{info.name}.CURRENT_REDUCTION": plug.limits.rated,
                f"{info.vehicle_device}.INTENSITY": plug.limits.socket,
            }
            for name, value in wanted.items():
                most, variable = stands.get(name), reading.variable(name)
                amperes = variable.base(value) if variable is not None else value
                if most is not None and amperes > most + _SAME:
                    raise WriteRejected(f"{name} {amperes:g} is more than {plug.name} is rated for: {most:g} A")

    def write(
        self,
        device: str,
        snapshot: Snapshot,
        wanted: Mapping[str, float],
        how: WriteOptions,
        holds: "Confirm | None" = None,
    ) -> Written:
        """`set` for a device that was read already, without the check of limits against the rating of the plug.

        `holds` is for a command, whose variable does not keep the value: it says whether it was carried out.
        """
        rows = variable_rows(snapshot, sensitive=True)
        found = {name: find_row(rows, name) for name in wanted}
        # Not by the row, which uses the catalogue if the charger does not say.
        is_writable = Reading(snapshot).writable
        for name, row in found.items():
            _check_writable(name, is_writable(name), row, how.force)
        before = {name: _number_of(row) for name, row in found.items()}
        due = {
            name: value
            for name, value in wanted.items()
            if holds or how.even_if_equal or not same(before[name], value)
        }
        plan = Written("already", device, wanted, before, before, _personal(snapshot, wanted))
        if not due:
            return plan
        for name, value in due.items():
            _check_range(name, value, found[name], how.force)
            _check_pause(name, self.state.seconds_since(name), how.least_pause)
        sent = replace(plan, wanted=due)
        if how.keep is not None and holds is None:
            how.keep(sent)
        if how.dry_run:
            return replace(plan, outcome="planned")
        return self._put(sent, how, holds)

    def _put(self, plan: Written, how: WriteOptions, holds: "Confirm | None") -> Written:
        # First, as what cannot be noted is not written.
        take_back = self.state.note_written(list(plan.wanted)) if not how.is_restore else lambda: None
        plan = replace(plan, after=dict.fromkeys(plan.wanted))
        result, done, failed = "failed", plan, "failed"
        try:
            try:
                self._control.put(plan.device, plan.wanted, monotonic() + self._timeout)
                result, failed = "accepted, but not read back", "accepted, but"
            except Unsure as error:
                plan = replace(plan, doubt=str(error))
            except ChargerError:
                take_back()
                raise
            if how.no_readback:
                done = replace(plan, outcome="sent")
            elif holds is None:
                done = self._read_back(plan, how.wait)
            else:
                try:
                    done = replace(plan, outcome="done" if holds(monotonic() + how.wait) else "not_taken")
                except ChargerError as error:
                    raise _unread(plan, error) from error
            result = done.outcome
        except ChargerError as error:
            result = f"{failed}: {error}"
            raise
        finally:
            self.state.log_write(_entry(self._control.url, self._command, done, result))
        return done

    def _read_back(self, plan: Written, wait: float) -> Written:
        """Read until the variables have the values or `wait` seconds have passed."""
        deadline = monotonic() + wait
        after: dict[str, float | None] | None = None
        failure: ChargerError | None = None
        while True:
            try:
                snapshot = self.lookup.read(self._timeout, [plan.device])
                reads = numbers_of(snapshot)
                after = {name: reads.get(name) for name in plan.wanted}
                if all(same(after[name], value) for name, value in plan.wanted.items()):
                    return replace(plan, outcome="done", after=after)
            except ChargerError as error:
                failure = error
            if monotonic() + self.look_every >= deadline:
                break
            sleep(self.look_every)
        if after is None:
            raise _unread(plan, failure) from failure
        return replace(plan, outcome="not_taken", after=after)


def held_by_another(names: Sequence[str]) -> WriteRejected:
    """The error for variables that a command which still runs is to restore."""
    return WriteRejected(
        f"a command that still runs has changed {', '.join(names)} for a while and restores it:"
        " stop that one first"
    )


def _unread(plan: Written, failure: ChargerError | None) -> Unreachable:
    sent = plan.doubt or "the charger accepted the write"
    return Unreachable(f"{sent}; what came of it cannot be read: {failure}")


def _personal(snapshot: Snapshot, names: Iterable[str]) -> frozenset[str]:
    reading = Reading(snapshot)
    return frozenset(filter(reading.is_personal, names))


def _entry(url: str, command: str, written: Written, result: str) -> WriteEntry:
    def shown(values: Mapping[str, float | None]) -> Sequence[float | str | None]:
        return [MASK if name in written.personal else values[name] for name in written.wanted]

    return WriteEntry(
        charger=url,
        command=command,
        variables=list(written.wanted),
        before=shown(written.before),
        wanted=shown(written.wanted),
        after=shown(written.after),
        result=result,
    )


def numbers_of(snapshot: Snapshot) -> Mapping[str, float | None]:
    """The values of all variables as numbers; None for one that has none, or whose device is not available."""
    return {row.id: _number_of(row) for row in variable_rows(snapshot, sensitive=True)}


def _number_of(row: VariableRow) -> float | None:
    return row.value if isinstance(row.value, float) else None


def same(value: float | None, wanted: float) -> bool:
    """Whether a variable with this value has the `wanted` one, allowing for rounding."""
    return value is not None and abs(value - wanted) < _SAME


def _check_writable(name: str, is_writable: bool | None, row: VariableRow, force: bool) -> None:
    if is_writable is False:
        raise WriteRejected(f"{name} cannot be written: the charger says it is read-only")
    if is_writable is None and not force:
        raise WriteRejected(
            f"the charger does not say whether {name} can be written; --force writes it all the same"
        )
    if isinstance(row.value, str):
        raise WriteRejected(f"{name} holds a text, and only numbers can be written")
    if row.value is None and not force:
        raise Garbled(f"{name} has no number now, so its device may be silent; --force writes it all the same")


def _check_range(name: str, value: float, row: VariableRow, force: bool) -> None:
    low, high = row.minimum, row.maximum
    if low is None and high is None and not force:
        raise WriteRejected(f"the range of {name} is not known; --force sets it all the same")
    if (low is not None and value < low) or (high is not None and value > high):
        limits = "..".join(format_number(limit) if limit is not None else "" for limit in (low, high))
        raise WriteRejected(f"{format_number(value)} is out of the range of {name}, which is {limits}")


def _check_pause(name: str, since: float | None, least: float) -> None:
    if since is not None and since < least:
        raise WriteRejected(
            f"{name} was written {int(since)} s ago; wait {ceil(least - since)} s more, as each write wears out"
            " the charger's memory, or say --min-interval 0"
        )
