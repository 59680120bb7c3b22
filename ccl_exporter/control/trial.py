"""A guided trial of the commands on a real charger, which checks facts of the protocol page.

It limits, pauses, resumes and stops a session and starts another one while a person watches the vehicle.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic, sleep, time
from typing import Literal

from ccl_exporter.control.follow.limiter import FollowedPlug, SafeCurrentGuard
from ccl_exporter.control.plug_commands import CHARGE_PATIENCE, is_stopped, within_limit
from ccl_exporter.control.wording import describe
from ccl_exporter.control.write import WriteOptions
from ccl_exporter.errors import CclError, ChargerError, WriteRejected
from ccl_exporter.station.catalogue import Activity, NotCharging
from ccl_exporter.station.current_limit import amperes_left, percent_for
from ccl_exporter.station.plug import IN_SESSION, Plug

TRIAL_AMPERES = 10.0
"""The current limit that a trial sets, in amperes."""

_TAKES_EFFECT_WITHIN = 5.0  # seconds, protocol 9.2
_LOWEST_FLOW = 0.5  # amperes; below it nothing flows
_POWER_SLACK = 0.15  # relative; for the power factor, and the time between two values
_UNFIT = frozenset({NotCharging.FAULT, NotCharging.RESERVED, NotCharging.DISABLED})

Ask = Callable[[str], bool | None]
"""Asks the person beside the vehicle; None if the answer is not known."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a trial for one fact of the protocol page, in its `section`."""

    section: str
    fact: str
    outcome: Literal["confirmed", "contradicted", "not shown"]
    detail: str

    def __str__(self) -> str:
        return f"{self.outcome}: {self.fact} (section {self.section}): {self.detail}"


@dataclass
class TrialReport:
    """What a trial found, without names, addresses, dates, tags and registers.

    `product` is what the engine calls itself. `trace` has a line for each change of the plug: seconds since the
    beginning, state, current, reduction. `ended_by` is the kind of error that ended the trial early, else empty.
    """

    product: str
    findings: list[Finding] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    is_restored: bool = True
    ended_by: str = ""

    def __str__(self) -> str:
        ended = [f"The trial ended early: {self.ended_by}"] if self.ended_by else []
        restored = "Everything is as before." if self.is_restored else "Not everything could be restored."
        trace = ["", "Seconds, state, current, reduction:", *self.trace]
        return "\n".join([f"Trial of {self.product}", "", *map(str, self.findings), *ended, restored, *trace, ""])


@dataclass(frozen=True, slots=True)
class _Effect:
    """The effect of a write: the plug at the last read, and the seconds until the effect, None without one."""

    plug: Plug
    seconds: float | None

    @property
    def detail(self) -> str:
        return "no effect in time" if self.seconds is None else f"after {self.seconds:.1f} s"


class TrialPlug(FollowedPlug):
    """A plug whose session can be started and stopped without waiting for the effect."""

    def command(self, name: Literal["START", "STOP"]) -> None:
        how = WriteOptions(least_pause=0.0, no_readback=True, even_if_equal=True)
        with self._state.exclusive(monotonic() + self._timeout):
            self._write(f"{self.name}.REMOTE_{name}", 1.0, how)

    def wait(self) -> None:
        """Wait until the plug may be read again."""
        sleep(self._writer.look_every)


class Trial:
    """One trial of a plug; the caller holds `ControlState.followed`.

    `wait` is how many seconds a limit may take to have an effect; a start, stop or resumption may take
    `CHARGE_PATIENCE` times as many.
    """

    def __init__(self, plug: TrialPlug, ask: Ask, say: Callable[[str], None], wait: float) -> None:
        self._plug, self._ask, self._say = plug, ask, say
        self._wait, self._patience = wait, wait * CHARGE_PATIENCE
        self._percent = percent_for(TRIAL_AMPERES, plug.largest)
        self._allowed = amperes_left(self._percent, plug.largest)
        self._began = monotonic()
        self._delays: list[float] = []

    def check(self) -> Plug:
        """The plug before the trial; raises `WriteRejected` if its state or limit rules one out."""
        plug = self._plug.look()
        unknown = plug.activity is Activity.UNKNOWN or plug.limits.allowed is None
        held = plug.is_under_way and not plug.is_charging
        if unknown or held or plug.is_limit_below_minimum or plug.not_charging in _UNFIT:
            raise WriteRejected(f"{describe(plug)}; a trial needs a plug that can charge, nothing was written")
        return plug

    def run(self, before: Plug, guard: SafeCurrentGuard, report: TrialReport) -> None:
        """Carry out the trial from the plug that was checked, fill the report, and restore everything.

        A `CclError` ends the trial and its kind is in the report. Any other exception is raised after the restore.
        """
        self._guard, self._report = guard, report
        try:
            self._limits(self._charging(before))
            self._stop_and_start()
            self._delay_of_writes()
        except CclError as error:
            report.ended_by = type(error).__name__  # its sentence may name the charger
            self._say(f"the trial ends early: {error}")
        except BaseException:
            report.ended_by = "interrupted"
            raise
        finally:
            report.is_restored = self._restore(before)

    def _charging(self, before: Plug) -> Plug:
        """Start a session unless one is charging, and wait for a steady current above the limit of the trial."""
        connected = before.vehicle_connected
        self._add("9", "CC is 1 while a vehicle is connected", connected, f"CC reads {_bit(connected)}")
        if not before.is_charging:
            self._start("REMOTE_START starts a session")
        last = 0.0

        def is_steady(plug: Plug) -> bool:
            # While the current rises, its meter may report power and current of different instants.
            nonlocal last
            before_it, last = last, plug.current or 0.0
            return (
                plug.is_charging and not within_limit(plug, self._allowed) and abs(last - before_it) < _LOWEST_FLOW
            )

        full = self._effect(lambda: None, is_steady, self._wait).plug
        product = _volts_times_amperes(full)
        is_so = None if not product or full.power is None else abs(full.power / product - 1) <= _POWER_SLACK
        detail = f"{_number(full.power, 'W')}, {_number(product, 'VA')}"
        self._add("3.4", "the power of the meter is that of its voltages and currents", is_so, detail)
        return full

    def _limits(self, full: Plug) -> None:
        """Limit, pause by a limit of 0 A, and resume."""
        effect = self._limit(self._percent, lambda plug: within_limit(plug, self._allowed), self._wait)
        is_shown = full.is_charging and not within_limit(full, self._allowed)
        detail = f"{_number(full.current, 'A')} before, {_number(effect.plug.current, 'A')} {effect.detail}"
        fact = f"PREDUCTION {self._percent} limits a vehicle that charges to {self._allowed:g} A"
        self._add("12", fact, effect.seconds is not None if is_shown else None, detail)

        effect = self._limit(100, lambda plug: not _flows(plug), self._wait)
        paused = effect.seconds is not None and effect.plug.activity in IN_SESSION
        state = effect.plug.state.word if effect.plug.state is not None else "unknown"
        fact = "a limit of 0 A pauses the session and does not end it"
        self._add("12", fact, paused, f"state {state} {effect.detail}", charges=False)

        effect = self._limit(self._percent, _flows, self._patience)
        fact = "a vehicle charges again by itself once a limit of 0 A is lifted"
        self._add("12", fact, effect.seconds is not None, effect.detail, charges=True)
        if effect.seconds is None:
            self._start("REMOTE_START resumes a vehicle that a limit of 0 A has paused")

    def _stop_and_start(self) -> None:
        effect = self._end()
        detail = f"stop reason {effect.plug.stop_reason or 'unknown'} {effect.detail}"
        self._add("9", "REMOTE_STOP ends the session", effect.seconds is not None, detail, charges=False)
        self._start("REMOTE_START starts another session of a vehicle that stays connected")

    def _delay_of_writes(self) -> None:
        slowest = max(self._delays, default=None)
        fact = f"a write takes effect within {_TAKES_EFFECT_WITHIN:g} s"
        is_so = None if slowest is None else slowest <= _TAKES_EFFECT_WITHIN
        self._add("9.2", fact, is_so, f"PREDUCTION read as written after {_number(slowest, 's')} at most")

    def _start(self, fact: str) -> None:
        effect = self._effect(lambda: self._plug.command("START"), _flows, self._patience)
        self._add("12", fact, effect.seconds is not None, effect.detail, charges=True)

    def _end(self) -> _Effect:
        return self._effect(lambda: self._plug.command("STOP"), is_stopped, self._patience)

    def _limit(self, percent: int, so: Callable[[Plug], bool], patience: float) -> _Effect:
        self._guard.cover(percent, time())
        began, shown = monotonic(), False

        def is_so(plug: Plug) -> bool:
            nonlocal shown
            if not shown and plug.limits.percent == percent:
                shown = True
                self._delays.append(monotonic() - began)
            return shown and so(plug)

        return self._effect(lambda: self._plug.send(percent), is_so, patience)

    def _effect(self, write: Callable[[], object], so: Callable[[Plug], bool], patience: float) -> _Effect:
        """Write, and read the plug until `so` holds or `patience` seconds have passed."""
        write()
        began, plug = monotonic(), None
        while True:
            with suppress(ChargerError):
                plug = self._plug.look()
                self._note(plug)
                if so(plug):
                    return _Effect(plug, monotonic() - began)
            if monotonic() - began >= patience:
                return _Effect(plug or self._plug.look(), None)
            self._plug.wait()

    def _note(self, plug: Plug) -> None:
        state = plug.state.word if plug.state is not None else "unknown"
        line = f"{state} {_number(plug.current, 'A')} {plug.limits.percent} %"
        if not self._report.trace or self._report.trace[-1].partition(" ")[2] != line:
            self._report.trace.append(f"{monotonic() - self._began:.1f} {line}")

    def _add(self, section: str, fact: str, is_so: bool | None, detail: str, charges: bool | None = None) -> None:
        """Add a finding; `charges` is what the vehicle must show, None without a question to the person."""
        seen = None if charges is None else self._ask("Does the vehicle show that it charges now?")
        if seen is not None:
            detail += f", the vehicle shows that it {'charges' if seen else 'does not charge'}"
            is_so = is_so if seen is charges else False
        outcome = "not shown" if is_so is None else "confirmed" if is_so else "contradicted"
        finding = Finding(section, fact, outcome, detail)  # type: ignore[arg-type]
        self._report.findings.append(finding)
        self._say(str(finding))

    def _restore(self, before: Plug) -> bool:
        """Restore limit and session; False if one of them failed. The next command restores only the limit."""
        try:
            if self._plug.set(before.limits.percent, self._wait).outcome == "not_taken":
                self._say("the limit did not take effect; the next command that writes restores it")
                return False
            self._guard.release()
            is_under_way = self._plug.look().is_under_way
            if is_under_way and not before.is_under_way:
                return self._end().seconds is not None
            if before.is_under_way and not is_under_way:
                effect = self._effect(lambda: self._plug.command("START"), _flows, self._patience)
                return effect.seconds is not None
        except CclError as error:
            self._say(f"not everything could be restored: {error}")
            return False
        return True


def _flows(plug: Plug) -> bool:
    """Whether a vehicle charges, with a current where the meter reports one."""
    return plug.is_charging and (plug.current is None or plug.current > _LOWEST_FLOW)


def _volts_times_amperes(plug: Plug) -> float | None:
    volts, amperes = dict(plug.voltages.by_phase), dict(plug.currents.by_phase)
    pairs = [(volts.get(phase), current) for phase, current in amperes.items()]
    if not plug.is_charging or not pairs or any(None in pair for pair in pairs):
        return None
    return sum((volt or 0.0) * (current or 0.0) for volt, current in pairs)


def _bit(value: bool | None) -> str:
    return "nothing" if value is None else str(int(value))


def _number(value: float | None, unit: str) -> str:
    return "no value" if value is None else f"{value:.1f} {unit}"
