"""The commands `charge start`, `stop`, `pause`, `enable`, `disable`, `limit` and `status`."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from math import ceil
from time import time
from typing import Annotated, Any, NoReturn

import typer

from ccl_exporter.cli.progress import progress, requests
from ccl_exporter.cli.shared import (
    PATIENCE,
    ChargerOption,
    ConfigFile,
    Duration,
    Energy,
    Need,
    Patience,
    PlugName,
    Zone,
    address,
    duration_option,
    hours,
    learned,
    transport,
)
from ccl_exporter.cli.terminal import coloured, wrapped
from ccl_exporter.cli.write_session import AsJson, Ended, Target, carry_out, facts, finish, write_command
from ccl_exporter.control import wording
from ccl_exporter.control.night import has_had_its_night, next_step
from ccl_exporter.control.plug_commands import (
    PlugCommands,
    Result,
    active_override,
    ended_at_once,
    read_plugs,
)
from ccl_exporter.control.state import ControlState
from ccl_exporter.control.write import WriteOptions, Writer
from ccl_exporter.errors import StateError, UsageError
from ccl_exporter.locks import state_folder
from ccl_exporter.powerstudio.command_reader import CommandReader
from ccl_exporter.station.catalogue import NotCharging
from ccl_exporter.station.plug import Plug
from ccl_exporter.station.remedies import fault_steps
from ccl_exporter.tariff import Tariff, TimeWindow

_COLOURS = {None: "green", NotCharging.FAULT: "red"}
"""Of a plug by the reason why it does not charge; None is one that charges."""


def _at_plug(target: Target, work: Callable[[PlugCommands, WriteOptions], Result]) -> NoReturn:
    """Do something at a plug and say what came of it."""

    def at_plug(writer: Writer, how: WriteOptions) -> Ended:
        result = work(PlugCommands(writer, target.plug, target.timeout), how)
        return Ended(result.outcome, result.says, {"plug": wording.facts(result.seen), **facts(result.written)})

    carry_out(target, at_plug)


def _exit_unless(inside: bool, window: TimeWindow | Tariff, as_json: bool) -> None:
    """End the command, with nothing done, unless it is now inside these hours, or outside."""
    now = time()
    if window.holds(now) is not inside:
        where = "outside" if inside else "within"
        finish(Ended("nothing", f"nothing to do: {window.clock(now):%H:%M} is {where} {window}"), as_json)


def _start_once(
    window: TimeWindow | Tariff, restart_remote: bool, at: PlugCommands, how: WriteOptions, memory: ControlState
) -> Result:
    """Start a charge, unless one has ended in these hours; one that failed is begun again, with pauses."""
    before, now = at.look(), time()
    night = memory.night(at.name, window.opened(now))
    step, wait = next_step(before, night, memory.stopped_at(at.name), restart_remote, now)
    if step in ("start", "restart"):
        result = at.start(how)
    else:
        says = (
            f"begun again in {ceil(wait / 60)} min" if step == "wait" else "nothing to do in these hours any more"
        )
        result = Result("nothing", f"{says}: {wording.describe(before)}", before)
    seen = result.seen
    if not how.dry_run:
        is_empty = (step in ("wait", "give_up") or result.outcome == "not_taken") and not has_had_its_night(seen)
        night = replace(
            night,
            # A charge that was begun before these hours counts as well: full is full.
            is_begun=night.is_begun or seen.is_charging or ended_at_once(before, seen),
            restarts=(*night.restarts, now) if step == "restart" else night.restarts,
            failure=wording.describe(seen) if is_empty else "",
        )
        memory.set_night(at.name, night)
    return result


def _with_night(result: Result, name: str, window: TimeWindow | Tariff, memory: ControlState) -> Result:
    """A result, which says once if the hours that are over have left a car empty."""
    night = memory.night(name, window.opened(time()))
    if not night.failure:
        return result
    memory.set_night(name, replace(night, failure=""))
    return replace(
        result, outcome="empty", says=f"{result.says}; the car got nothing in {window}: {night.failure}"
    )


@write_command("charge start", without=["length"])
def start(
    target: Target,
    between: Annotated[
        str | None,
        typer.Option(
            "--between",
            metavar="HOURS",
            help="Only within these hours, such as 00:30-04:30, or `tariff`: its cheap hours.",
        ),
    ] = None,
    timezone: Zone = None,
    now: Annotated[
        bool,
        typer.Option(
            "--now",
            help="At any hour, despite `disable --nightly`, a plan, a limit and a follower's sun, until the car"
            " leaves or as --for and --need say.",
        ),
    ] = False,
    restart_remote: Annotated[
        bool,
        typer.Option(
            "--restart-remote",
            help="With --between: begin again also what a remote stop has ended, but not one of this machine.",
        ),
    ] = False,
    lasts: Annotated[
        Duration | None,
        duration_option("--for", 1, needs_unit=True, help="With --now: for so long only, such as 2h."),
    ] = None,
    need: Need = None,
) -> None:
    """Put the plug into service if needed, start charging, and wait until energy flows.

    \b
    Examples:
      ccl-exporter charge start -c http://evse
      ccl-exporter charge start --between 00:30-04:30 -c http://evse
    """
    window = hours(between, timezone, target.config_file) if between is not None else None
    boost = _boost_of(now, lasts, need)
    if window is not None and not now:
        _exit_unless(True, window, target.as_json)

    def work(at: PlugCommands, how: WriteOptions) -> Result:
        if boost is not None:
            return _boost(boost, at, how, target.control_state)
        if window is None:
            return _start(at, how, target.control_state)
        return _start_once(window, restart_remote, at, how, target.control_state)

    _at_plug(target, work)


def _start(at: PlugCommands, how: WriteOptions, memory: ControlState) -> Result:
    """Start a charge; beside a follower or a plan this ends a boost."""
    result = at.start(how)
    followed = "`charge follow` decides the current" if memory.is_followed(at.name) else ""
    decides = followed or ("`charge plan` decides when it charges" if memory.is_planning(at.name) else "")
    if how.dry_run or not decides or active_override(memory.override(at.name), result.seen, time()) is None:
        return result
    memory.clear_override(at.name)
    says = f"{result.says}; the boost is over, {decides}"
    return replace(result, outcome="done" if result.outcome == "already" else result.outcome, says=says)


@dataclass(frozen=True)
class _Boost:
    """When a charge that begins now ends: after seconds, with joules; without either once the car leaves."""

    lasts: float | None
    need: float | None
    says: str


def _boost_of(now: bool, lasts: Duration | None, need: Energy | None) -> _Boost | None:
    if not now:
        if lasts is not None or need is not None:
            raise UsageError("--for and --need belong to --now")
        return None
    ends = [f"for {lasts}"] if lasts is not None else []
    ends += [f"until the car has got {need}"] if need is not None else []
    says = " or ".join(ends) or "until the car leaves"
    return _Boost(lasts, need, says)


def _boost(boost: _Boost, at: PlugCommands, how: WriteOptions, memory: ControlState) -> Result:
    """Start a charge that neither the end of the night nor a follower or a plan holds back."""
    if how.dry_run:
        result = at.start(how, boosted=True)
        if result.outcome not in ("planned", "already", "done"):
            return result
        return replace(result, outcome="planned", says=f"{result.says}; it would go on {boost.says}")
    before = at.look().session
    with ExitStack() as failing:
        # Before the start, as a follower that runs is to lift its limit.
        memory.set_override(at.name, None, boost.lasts)
        failing.callback(memory.clear_override, at.name)
        result = at.start(how, boosted=True)
        if result.outcome not in ("done", "already"):
            return result
        failing.pop_all()
    session = result.seen.session
    had = session.energy or 0.0 if session.requested == before.requested else 0.0
    energy = had + boost.need if boost.need is not None else None
    memory.set_override(at.name, session.requested, boost.lasts, energy)
    followed = "; `charge follow` raises the current limit" if memory.is_followed(at.name) else ""
    # "done" also for a car that charges already: the boost is new.
    return replace(result, outcome="done", says=f"{result.says}; it goes on {boost.says}{followed}")


@write_command("charge stop", without=["length"])
def stop(target: Target) -> None:
    """End the charging session.

    A boost of `charge start --now` ends with it.

    \b
    Example:
      ccl-exporter charge stop -c http://evse
    """

    def work(at: PlugCommands, how: WriteOptions) -> Result:
        try:
            return at.stop(how)
        finally:
            if not how.dry_run:
                target.control_state.clear_override(at.name)

    _at_plug(target, work)


@write_command("charge pause", without=["length"])
def pause(target: Target) -> None:
    """Pause charging until it is started again.

    \b
    Example:
      ccl-exporter charge pause -c http://evse
    """
    _at_plug(target, lambda at, how: at.pause(how))


@write_command("charge enable")
def enable(target: Target) -> None:
    """Put the plug into service; a connected vehicle does not notice it, see `charge start`.

    \b
    Example:
      ccl-exporter charge enable -c http://evse
    """
    _at_plug(target, lambda at, how: at.enable(how))


@write_command("charge disable")
def disable(
    target: Target,
    nightly: Annotated[
        bool,
        typer.Option("--nightly", help="Leave a session that `start --now` began, and a plug that is followed."),
    ] = False,
    outside: Annotated[
        str | None,
        typer.Option(
            "--outside",
            metavar="HOURS",
            help="Only outside these hours, such as 00:30-04:30, or `tariff`: its cheap hours.",
        ),
    ] = None,
    timezone: Zone = None,
) -> None:
    """Take the plug out of service; a running session ends.

    \b
    Examples:
      ccl-exporter charge disable -c http://evse
      ccl-exporter charge disable --nightly --outside 00:30-04:30 -c http://evse
    """
    window = hours(outside, timezone, target.config_file) if outside is not None else None
    if window is not None:
        _exit_unless(False, window, target.as_json)

    def work(at: PlugCommands, how: WriteOptions) -> Result:
        memory = target.control_state
        override = memory.override(at.name)
        if nightly and override is not None and active_override(override, seen := at.look(), time()) is not None:
            ends = wording.describe_boost_end(override)
            says = f"left alone {ends}, as `start --now` says: {wording.describe(seen)}"
            return Result("nothing", says, seen)
        if not how.dry_run:
            memory.clear_override(at.name)
        result = at.disable(how, nightly)
        return result if window is None or how.dry_run else _with_night(result, at.name, window, memory)

    _at_plug(target, work)


@write_command("charge limit")
def limit(
    current: Annotated[
        str,
        typer.Argument(
            metavar="LIMIT",
            help="16A, or 50% of the rated current; min is the minimum current of a car, 0A stops.",
        ),
    ],
    target: Target,
) -> None:
    """Limit the current, and check that a charging vehicle follows.

    \b
    Examples:
      ccl-exporter charge limit 16A -c http://evse
      ccl-exporter charge limit 50% --for 2h -c http://evse
    """
    _at_plug(target, lambda at, how: at.limit(current, how))


def status(
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    plug: PlugName = None,
    as_json: AsJson = False,
    timeout: Patience = PATIENCE,
) -> None:
    """Report what each plug does, or why it does not charge, and what is planned. Writes nothing.

    \b
    Example:
      ccl-exporter charge status -c http://evse
    """
    settings = address(charger, config_file)
    with (
        transport(settings) as connection,
        progress(lambda: requests("reading plugs", connection.requests)),
    ):
        seen = read_plugs(CommandReader(connection, learned(settings)), plug, timeout)
    commands = _commands(settings.url, seen)
    if as_json:
        found = [{**wording.facts(one), **commands.get(one.name, _NO_COMMANDS)[1]} for one in seen]
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for one in seen:
        line = wrapped(wording.describe(one), sys.stdout)
        typer.echo(coloured(line, _COLOURS.get(one.not_charging)))
        if one.not_charging is NotCharging.FAULT:
            typer.echo(wrapped(fault_steps(one.faults or ("unknown",)), sys.stdout))
        for more in commands.get(one.name, _NO_COMMANDS)[0]:
            typer.echo(wrapped(more, sys.stdout))


_Commands = tuple[Sequence[str], Mapping[str, Any]]
_NO_COMMANDS: _Commands = (), {}


def _commands(url: str, plugs: Sequence[Plug]) -> Mapping[str, _Commands]:
    """What commands of this machine do at each plug, in lines and as facts; without a state folder nothing."""
    found = {}
    with suppress(StateError):
        state, now = ControlState(state_folder(os.environ), url), time()
        for plug in plugs:
            lines, known = list[str](), dict[str, Any]()
            is_followed, is_planning = state.is_followed(plug.name), state.is_planning(plug.name)
            if is_followed:
                lines.append(f"{plug.name}: `charge follow` decides its current")
                known["followed"] = True
            override = active_override(state.override(plug.name), plug, now)
            if override is not None:
                lines.append(f"{plug.name}: {wording.describe_boost(override, is_followed)}")
            plan = state.plan_progress(plug.name)
            if plan is not None and (is_planning if plan.by is None else plan.by > now):
                lines.append(wording.describe_plan(plan, is_planning, now))
                known["plan"] = {**asdict(plan), "running": is_planning}
            limit = wording.describe_limit(plug)
            if limit and not is_followed and not is_planning:
                lines.append(f"{plug.name}: {limit}")
            found[plug.name] = lines, known
    return found
