"""The commands about charges: start, stop and limit them, and why there is none."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from time import time
from typing import Annotated, NoReturn

import typer

from ccl_exporter.cli.progress import progress, requests
from ccl_exporter.cli.shared import (
    PATIENCE,
    ChargerOption,
    ConfigFile,
    Patience,
    PlugName,
    Zone,
    address,
    say,
    transport,
)
from ccl_exporter.cli.terminal import coloured, wrapped
from ccl_exporter.cli.write_session import AsJson, Ended, Target, carry_out, facts, finish, write_command
from ccl_exporter.control import wording
from ccl_exporter.control.plug_commands import (
    PlugCommands,
    Result,
    already_charged_in_window,
    ended_at_once,
    override_active,
    read_plugs,
)
from ccl_exporter.control.state import ControlState
from ccl_exporter.control.time_window import TimeWindow, window
from ccl_exporter.control.write import WriteOptions, Writer
from ccl_exporter.powerstudio.command_reader import CommandReader
from ccl_exporter.station.catalogue import NotCharging

_COLOURS = {None: "green", NotCharging.FAULT: "red"}
"""Of a plug by the reason why it does not charge; None is one that charges."""


def _at_plug(target: Target, work: Callable[[PlugCommands, WriteOptions], Result]) -> NoReturn:
    """Do something at a plug and say what came of it."""

    def at_plug(writer: Writer, how: WriteOptions) -> Ended:
        result = work(PlugCommands(writer, target.plug, target.timeout), how)
        return Ended(result.outcome, result.says, {"plug": wording.facts(result.seen), **facts(result.written)})

    carry_out(target, at_plug)


def _exit_unless(inside: bool, hours: TimeWindow, as_json: bool) -> None:
    """End the command, with nothing done, unless it is now inside these hours, or outside."""
    now = time()
    if hours.holds(now) is not inside:
        where = "outside" if inside else "within"
        finish(Ended("nothing", f"nothing to do: {hours.clock(now):%H:%M} is {where} {hours}"), as_json)


def _start_once(hours: TimeWindow, now: bool, at: PlugCommands, how: WriteOptions, memory: ControlState) -> Result:
    """Start a charge, unless one has ended in these hours and none is wanted `now`."""
    before = at.look()
    if not now:
        over = already_charged_in_window(before, memory.charged_in_window_at(at.name), hours.opened(time()))
        if over is not None:
            return over
    result = at.start(how)
    if not how.dry_run and (result.seen.is_charging or ended_at_once(before, result.seen)):
        # One that was begun before these hours counts as well: full is full.
        memory.note_charged_in_window(at.name)
    return result


@write_command("charge start", without=["length"])
def start(
    target: Target,
    between: Annotated[
        str | None,
        typer.Option("--between", metavar="HOURS", help="Only within these hours, such as 00:30-04:30."),
    ] = None,
    timezone: Zone = None,
    now: Annotated[
        bool, typer.Option("--now", help="At any hour, and despite `disable --nightly`, until the car leaves.")
    ] = False,
) -> None:
    """Put the plug into service if needed, start charging, and wait until energy flows.

    \b
    Examples:
      ccl-exporter charge start -c http://evse
      ccl-exporter charge start --between 00:30-04:30 -c http://evse
    """
    hours = window(between, timezone) if between is not None else None
    if hours is not None and not now:
        _exit_unless(True, hours, target.as_json)

    def work(at: PlugCommands, how: WriteOptions) -> Result:
        memory = target.control_state
        result = at.start(how) if hours is None else _start_once(hours, now, at, how, memory)
        if now and not how.dry_run and result.outcome in ("done", "already"):
            memory.set_override(at.name, result.seen.session.requested)
            return replace(result, says=f"{result.says}; it goes on until the car leaves")
        return result

    _at_plug(target, work)


@write_command("charge stop", without=["length"])
def stop(target: Target) -> None:
    """End the charging session.

    \b
    Example:
      ccl-exporter charge stop -c http://evse
    """
    _at_plug(target, lambda at, how: at.stop(how))


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
        bool, typer.Option("--nightly", help="Do not end a session that `start --now` began.")
    ] = False,
    outside: Annotated[
        str | None,
        typer.Option("--outside", metavar="HOURS", help="Only outside these hours, such as 00:30-04:30."),
    ] = None,
    timezone: Zone = None,
) -> None:
    """Take the plug out of service; a running session ends.

    \b
    Examples:
      ccl-exporter charge disable -c http://evse
      ccl-exporter charge disable --nightly --outside 00:30-04:30 -c http://evse
    """
    if outside is not None:
        _exit_unless(False, window(outside, timezone), target.as_json)

    def work(at: PlugCommands, how: WriteOptions) -> Result:
        memory = target.control_state
        override = memory.override(at.name)
        if nightly and override is not None:
            alone = override_active(at.look(), override, time())
            if alone is not None:
                return alone
        if not how.dry_run:
            memory.clear_override(at.name)
        return at.disable(how)

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
    """Report what each plug does, or why it does not charge. Writes nothing.

    \b
    Example:
      ccl-exporter charge status -c http://evse
    """
    with (
        transport(address(charger, config_file)) as connection,
        progress(lambda: requests("reading plugs", connection.requests)),
    ):
        seen = read_plugs(CommandReader(connection), plug, timeout)
    if as_json:
        say(json.dumps([wording.facts(one) for one in seen], ensure_ascii=False, indent=2))
    else:
        for one in seen:
            line = wrapped(wording.describe(one), sys.stdout)
            say(coloured(line, _COLOURS.get(one.not_charging)))
