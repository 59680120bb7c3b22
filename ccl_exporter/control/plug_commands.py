"""Commands for a plug: start, stop, pause, enable, disable, limit; all write through `Writer`.

The variables (protocol 9 and 12):
OUT_OF_SERVICE or ENABLE take a plug out of use, REMOTE_START starts (a car does not notice a mere enable),
PREDUCTION reduces the power by so many per cent of the plug's largest current.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic, sleep

from ccl_exporter.control.state import Override
from ccl_exporter.control.wording import describe
from ccl_exporter.control.write import Confirm, Outcome, WriteOptions, Writer, Written
from ccl_exporter.errors import Absent, ChargerError, Garbled, UsageError, WriteRejected
from ccl_exporter.powerstudio.command_reader import CommandReader
from ccl_exporter.powerstudio.inventory import PlugInfo, owner
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.catalogue import Activity, NotCharging, last_part
from ccl_exporter.station.current_limit import MINIMUM_AMPERES, amperes_left, minimum_current, percent_for
from ccl_exporter.station.judge import Station
from ccl_exporter.station.plug import IN_SESSION, Plug, plug_infos
from ccl_exporter.station.remedies import REMEDIES, remedy_of
from ccl_exporter.station.values import Reading
from ccl_exporter.text import MASK, format_number

CHARGE_PATIENCE = 3.0
"""How many times as long as for a write a charge may take to begin: the car has a say in it."""

_A_DAY = 86_400.0

MINIMUM = "min"
"""The limit that is the minimum current."""

_AMPERES = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(A|%)")
_SLACK, _MORE = 1.03, 0.5
"""What a current may be above its limit: a meter's class, and what its last digit may hide, in amperes."""


def reduction(text: str, largest: float) -> int:
    """The PREDUCTION for a limit such as `16A`, `50%` of the plug's largest current, or `min`.

    `min` is the lowest current for a vehicle that whole per cent allow: the one limit that may exceed its number.
    Raises `UsageError` for what is no limit, `WriteRejected` for one that a car cannot use;
    0 is allowed, as it stops.
    """
    found = _AMPERES.fullmatch(text.strip())
    if text.strip() == MINIMUM:
        amperes = minimum_current(largest)
    elif found is None:
        raise UsageError(f"{text!r} is not a limit; it looks like 16A, 50% or {MINIMUM}")
    else:
        amperes = float(found[1]) * largest / 100 if found[2] == "%" else float(found[1])
    if amperes > largest:
        raise WriteRejected(f"{text} is more than the plug has, which is {largest:g} A")
    percent = percent_for(amperes, largest)
    if amperes > 0 and percent == 100:
        raise WriteRejected(
            f"{text} is too little: a car needs {MINIMUM_AMPERES} A, and in whole per cent the minimum is"
            f" {minimum_current(largest):.2f} A (`charge limit {MINIMUM}`);"
            " `charge limit 0A` or `charge stop` stops it"
        )
    return percent


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a command: a sentence, the plug after it, and what was written."""

    outcome: Outcome
    says: str
    seen: Plug
    written: Sequence[Written] = ()


def read_plugs(lookup: CommandReader, name: str | None, timeout: float) -> Sequence[Plug]:
    """The plugs of a charger now: all, or the one that `name` matches. `timeout` is for each answer, in seconds.

    They have no register, as no filter has checked it. Raises `Absent` if there is no plug.
    """
    _, snapshot = _read_all(lookup, timeout)
    found = plug_infos(Reading(snapshot))
    chosen = found if found and name is None else [_chosen(found, name)]
    return [_plug(snapshot, plug.name) for plug in chosen]


def _read_all(lookup: CommandReader, timeout: float) -> tuple[Sequence[str], Snapshot]:
    """The ids of all devices, and their values."""
    deadline = monotonic() + timeout
    ids = lookup.devices(deadline)
    lookup.learn(ids, deadline)
    lookup.learn_plugs(deadline)
    return ids, lookup.read(timeout, charges=True)


def _plug(snapshot: Snapshot, name: str) -> Plug:
    found = next((plug for plug in Station(snapshot).plugs if plug.name == name), Plug(name))
    return replace(found, energy=None)


class PlugReader:
    """Reads one plug of a charger. `timeout` is for each answer, in seconds."""

    def __init__(self, lookup: CommandReader, name: str | None, timeout: float) -> None:
        self._lookup = lookup
        self._timeout = timeout
        ids, first = _read_all(lookup, timeout)
        self._info = _chosen(plug_infos(Reading(first)), name)
        self.name = self._info.name
        devices = (owner(self.name, ids), self._info.vehicle_device, self._info.meter)
        self._devices = list(dict.fromkeys(filter(None, devices)))

    def look(self) -> Plug:
        """The plug now, without its register, as no filter has checked it."""
        return self._judged(self._read())

    def _judged(self, snapshot: Snapshot) -> Plug:
        return _plug(snapshot, self.name)

    def _read(self) -> Snapshot:
        return self._lookup.read(self._timeout, self._devices, charges=True)


class PlugCommands(PlugReader):
    """Commands one plug of a charger."""

    def __init__(self, writer: Writer, name: str | None, timeout: float) -> None:
        super().__init__(writer.lookup, name, timeout)
        self._writer = writer

    def _until(self, so: Callable[[Plug], bool], deadline: float) -> Plug:
        """Look until something is so or `deadline` (monotonic) has passed; raises if nothing could be seen."""
        while True:
            failure: ChargerError | None = None
            try:
                seen = self.look()
                if so(seen):
                    return seen
            except ChargerError as error:
                failure = error
            if monotonic() + self._writer.look_every >= deadline:
                if failure is not None:
                    raise failure
                return seen
            sleep(self._writer.look_every)

    def _switches(self, snapshot: Snapshot) -> Sequence[tuple[str, float]]:
        """What takes the plug out of use, and the value with which it does not; the one to use first."""
        names = ((f"{self._info.vehicle_device}.OUT_OF_SERVICE", 0.0), (f"{self.name}.ENABLE", 1.0))
        listed = Reading(snapshot).listed
        found = [(name, good) for name, good in names if name in listed]
        if not found:
            raise Absent(f"the charger has nothing that takes {self.name} out of service")
        return found

    def _write(self, name: str, value: float, how: WriteOptions, holds: Confirm | None = None) -> Written:
        device = next((id for id in self._devices if name.startswith(f"{id}.")), None)
        snapshot = self._read()
        if device is None or name not in Reading(snapshot).listed:
            raise Absent(f"the charger has no {name}")
        self._lookup.describe([name], monotonic() + self._timeout)
        reading = Reading(snapshot := self._read())
        if reading.raw(name) is not None and reading.writable(name) is None:
            # An engine that describes no variable obeys all the same, and what is written here is known.
            how = replace(how, force=True)
        return self._writer.write(device, snapshot, {name: value}, how, holds)

    def enable(self, how: WriteOptions) -> Result:
        """Put the plug into service."""
        seen = self.look()
        if seen.enabled is True:
            return Result("already", f"{self.name} is in service already", seen)
        written = []
        reading = Reading(snapshot := self._read())
        for name, good in self._switches(snapshot):
            if reading.raw(name) != good:
                written.append(self._write(name, good, how))
                if written[-1].outcome == "not_taken":
                    return self._not_taken(written)
        if how.dry_run:
            return Result("planned", f"would put {self.name} into service", seen, written)
        seen = self._until(lambda now: now.enabled is True and _in_service(now), monotonic() + how.wait)
        if seen.enabled is not True or not _in_service(seen):
            return Result("not_taken", f"{describe(seen)}, though it was put into service", seen, written)
        return Result("done", f"{self.name} is in service", seen, written)

    def disable(self, how: WriteOptions, nightly: bool = False) -> Result:
        """Take the plug out of service; a charge that is under way ends.

        `nightly` leaves it in service beside a follower, which decides whether it charges.
        """
        seen = self.look()
        if nightly and self._writer.state.was_followed(self.name):
            says = "stays in service: `charge follow` decides its current"
            if not self._writer.state.is_followed(self.name):
                says = "stays in service for two minutes: `charge follow` has just ended"
            if seen.enabled is False:
                says = "is out of service, so `charge follow` cannot charge: `charge start` helps"
            return Result("nothing", f"{self.name} {says}", seen)
        if seen.enabled is False:
            return Result("already", f"{self.name} is out of service already", seen)
        name, good = self._switches(self._read())[0]
        written = [self._write(name, 1.0 - good, how)]
        if written[0].outcome == "not_taken":
            return self._not_taken(written)
        if how.dry_run:
            return Result("planned", f"would take {self.name} out of service", seen, written)
        seen = self._until(lambda now: now.enabled is False and not now.is_under_way, monotonic() + how.wait)
        if seen.enabled is not False or seen.is_under_way:
            return Result("not_taken", f"{describe(seen)}, though it was taken out of service", seen, written)
        return Result("done", f"{self.name} is out of service", seen, written)

    def start(self, how: WriteOptions, boosted: bool = False) -> Result:
        """Put the plug into service, see that there is a vehicle, start, and wait until it charges.

        A limit below the minimum current that a command has left is lifted, if `boosted` any but a cap. That of
        a follower stays; `boosted` waits until it has lifted it.
        """
        seen = _known(self.look())
        if seen.faults:
            raise WriteRejected(f"{self.name} reports a fault ({', '.join(seen.faults)}); nothing was started")
        followed = self._writer.state.is_followed(self.name)
        low = seen.is_limit_below_minimum and seen.vehicle_connected is not False and not followed
        if low:
            self._check_limit(seen, boosted)
        held = followed and seen.is_limit_below_minimum
        if seen.is_under_way and not seen.is_paused and not low and not (boosted and held):
            return Result("already", describe(seen), seen)
        written: list[Written] = []
        if low:
            written.append(self._write(f"{self._info.vehicle_device}.PREDUCTION", 0.0, how))
            if written[-1].outcome == "not_taken":
                return self._not_taken(written)
        if not _in_service(seen):
            enabled = self.enable(how)
            written += enabled.written
            if enabled.outcome == "not_taken":
                return enabled
            seen = self.look() if not how.dry_run else seen
        if seen.vehicle_connected is False:
            enabled_now = "; it is in service now" if written and not how.dry_run else ""
            says = f"{self.name}: no vehicle is connected{enabled_now}"
            return Result("no_vehicle", says, seen, written)
        last = [seen]

        def waits(now: Plug) -> bool:
            return followed and now.not_charging is NotCharging.LIMIT_BELOW_MINIMUM

        def charges(deadline: float) -> bool:
            last[0] = self._until(lambda now: now.is_charging or (waits(now) and not boosted), deadline)
            return last[0].is_charging or waits(last[0])

        patient = replace(how, wait=how.wait * CHARGE_PATIENCE)
        if not seen.is_under_way or seen.is_paused:
            written.append(self._write(f"{self.name}.REMOTE_START", 1.0, patient, charges))
        elif not how.dry_run and not charges(monotonic() + patient.wait):
            return Result("not_taken", f"the limit was lifted, but {describe(last[0])}", last[0], written)
        result = self._result(written, last[0], f"would start a charge at {self.name}", "the start was accepted")
        lifted = f"; the limit of {seen.limits.allowed:g} A was lifted" if low and result.outcome == "done" else ""
        return replace(result, says=f"{result.says}{lifted}")

    def _check_limit(self, seen: Plug, boosted: bool) -> None:
        """Raise `WriteRejected` unless a start may lift the limit below the minimum current.

        It may if a command that has ended left it or the start is `boosted`, but never with a cap.
        """
        name, limits = f"{self._info.vehicle_device}.PREDUCTION", seen.limits
        state = self._writer.state
        if limits.cap is not None and limits.cap < MINIMUM_AMPERES:
            raise WriteRejected(
                f"CURRENT_REDUCTION caps {self.name} at {limits.cap:.2f} A, and a car needs {MINIMUM_AMPERES} A;"
                f" nothing was written; `{remedy_of(seen)}` helps"
            )
        left = (
            state.last_written(name) == limits.percent
            and amperes_left(limits.percent, limits.rated or 0.0) < MINIMUM_AMPERES
        )
        if boosted or (left and not state.is_held(name)):
            return
        who = "by a command that still runs" if state.is_held(name) else "not by a command of this machine"
        raise WriteRejected(
            f"{self.name} is limited to {limits.allowed:.2f} A, {who}, and a car needs {MINIMUM_AMPERES} A;"
            f" nothing was written; `{REMEDIES[NotCharging.LIMIT_BELOW_MINIMUM]}` helps"
        )

    def stop(self, how: WriteOptions) -> Result:
        """End the charge."""
        return self._end("STOP", how, is_stopped, "stop")

    def pause(self, how: WriteOptions) -> Result:
        """Pause the charge until it is started again."""
        return self._end("PAUSE", how, lambda now: now.is_paused, "pause")

    def _end(self, command: str, how: WriteOptions, so: Callable[[Plug], bool], word: str) -> Result:
        seen = _known(self.look())
        if so(seen) and seen.is_under_way:
            return Result("already", describe(seen), seen)
        if not seen.is_under_way:
            return Result("nothing", f"nothing to {word}: {describe(seen)}", seen)
        last = [seen]

        def ended(deadline: float) -> bool:
            last[0] = self._until(so, deadline)
            return so(last[0])

        written = [self._write(f"{self.name}.REMOTE_{command}", 1.0, how, ended)]
        return self._result(
            written, last[0], f"would {word} the charge at {self.name}", f"the {word} was accepted"
        )

    def limit(self, text: str, how: WriteOptions) -> Result:
        """Limit the current; while a vehicle charges, the measured amperes must follow."""
        limits, vehicle = self.look().limits, self._info.vehicle_device
        if not limits.rated:
            raise Absent(f"the rated current of {self.name} cannot be read, so a limit has no meaning")
        percent = reduction(text, limits.rated)
        if self._writer.state.is_followed(self.name):
            raise WriteRejected(
                f"`charge follow` runs for {self.name} and would overwrite the limit: stop it first,"
                f" or begin a boost with `{REMEDIES[NotCharging.LIMIT_BELOW_MINIMUM]}`"
            )
        if text.strip() == MINIMUM and limits.cap is not None and limits.cap < MINIMUM_AMPERES:
            cap = f"CURRENT_REDUCTION caps {self.name} at {limits.cap:.2f} A"
            raise WriteRejected(f"{cap}, and a car needs {MINIMUM_AMPERES} A")
        allowed = amperes_left(percent, limits.rated)
        variable = f"{vehicle}.PREDUCTION"
        reads = float(limits.percent) if limits.reduction is not None else None
        self._writer.check_stays({variable: float(percent)}, {variable: reads})
        written = self._write(variable, float(percent), how)
        seen = self.look()
        says = f"{self.name} may take {allowed:.2f} A of {limits.rated:g} A (PREDUCTION {percent})"
        if limits.cap is not None and limits.cap < allowed:
            says = f"{self.name} may take {limits.cap:.2f} A: CURRENT_REDUCTION caps it below {allowed:.2f} A"
            allowed = limits.cap
        if written.outcome == "not_taken":
            return self._not_taken([written])
        if written.outcome == "planned":
            return Result("planned", f"would see that {says}", seen, [written])
        seen = self._until(lambda now: within_limit(now, allowed), monotonic() + how.wait)
        if not within_limit(seen, allowed):
            flows = (
                f"PREDUCTION reads {percent}, but {seen.current or 0:.1f} A flow and {allowed:.2f} A are allowed"
            )
            return Result("not_taken", f"{self.name}: {flows}", seen, [written])
        if written.outcome == "already":
            return Result("already", f"{says} already", seen, [written])
        return Result("done", says, seen, [written])

    def _result(self, written: Sequence[Written], seen: Plug, plan: str, accepted: str) -> Result:
        """What came of a command to the plug."""
        outcome = written[-1].outcome if written else "done"
        if outcome == "planned":
            return Result("planned", plan, seen, written)
        if outcome == "not_taken":
            sent = written[-1].doubt or accepted
            return Result("not_taken", f"{sent}, but {describe(seen)}", seen, written)
        return Result("done", describe(seen), seen, written)

    def _not_taken(self, written: Sequence[Written]) -> Result:
        return Result("not_taken", unchanged(written[-1]), self.look(), written)


def is_stopped(seen: Plug) -> bool:
    """Whether it is known that no session is under way, not even one that is stopping."""
    return seen.activity not in IN_SESSION and seen.activity is not Activity.UNKNOWN


def active_override(override: Override | None, seen: Plug, now: float) -> Override | None:
    """The override of a plug; None if there is none, it is over, or the car has left or charges anew.

    Where the charger does not report when a charge was requested, another one cannot be distinguished from it:
    there it is left alone for a day at most. `now` is in Unix seconds.
    """
    if override is None or seen.vehicle_connected is False:
        return None
    if override.until is not None and now >= override.until:
        return None
    if override.energy is not None and (seen.session.energy or 0.0) >= override.energy:
        return None
    requested = seen.session.requested
    if requested is None or override.requested is None:
        if not 0 <= now - override.said < _A_DAY:
            return None
    elif requested != override.requested:
        return None
    return override


def ended_at_once(before: Plug, after: Plug) -> bool:
    """Whether a start has begun a charge that is over already, as the car is full.

    Only where the charger reports when a charge was requested: else it may have ignored the start as well.
    """
    old, new = before.session.requested, after.session.requested
    return after.activity is Activity.ENDED and new is not None and new != old


def unchanged(written: Written) -> str:
    """The sentence for a write that did not take effect."""
    reads = ", ".join(f"{name} reads {shown(written, name)}" for name in written.wanted)
    return f"{written.doubt or 'the charger accepted the write'}, but {reads}"


def shown(written: Written, name: str) -> str:
    """The value of a variable after a write, as text; personal ones are hidden."""
    value = written.after[name]
    return MASK if name in written.personal else format_number(value) if value is not None else "nothing"


def _chosen(found: Sequence[PlugInfo], name: str | None) -> PlugInfo:
    """The plug of a name, of the last part of its name, or of any part that only it has; else the only one."""
    names = ", ".join(repr(plug.name) for plug in found)
    if not found:
        raise Absent("the charger reports no plug")
    if name is None and len(found) > 1:
        raise UsageError(f"the charger has several plugs: name one with --plug, there are {names}")
    short = "" if name is None else name.casefold()
    for chosen in (
        [plug for plug in found if plug.name == name],
        [plug for plug in found if last_part(plug.name).casefold() == short],
        [plug for plug in found if short in plug.name.casefold()],
    ):
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            raise UsageError(f"{name!r} may be several plugs; there are {names}")
    raise UsageError(f"the charger has no plug {name!r}; it has {names}")


def _known(seen: Plug) -> Plug:
    """The plug; raises `Garbled` if it is not known what it does, and then nothing is started or ended."""
    if seen.activity is Activity.UNKNOWN:
        raise Garbled(f"{describe(seen)}; nothing was written")
    return seen


def _in_service(seen: Plug) -> bool:
    """Whether neither a switch nor the state says that the plug is out of service."""
    return seen.enabled is not False and (seen.state is None or seen.state.activity is not Activity.OUT_OF_SERVICE)


def within_limit(seen: Plug, allowed: float) -> bool:
    """Whether no more current flows than a limit in amperes allows, as far as the meter shows."""
    return not seen.is_charging or seen.current is None or seen.current <= allowed * _SLACK + _MORE
