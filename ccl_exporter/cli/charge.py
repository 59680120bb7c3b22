"""The commands about charges: start, stop and limit them, why there is none, and the log of those that ended."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ccl_exporter.cli.shared import ChargerOption, ConfigFile, Patience, address
from ccl_exporter.cli.write_session import (
    AsJson,
    DryRun,
    Ended,
    For,
    LeastPause,
    Target,
    Wait,
    WriteSession,
    carry_out,
    facts,
    finish,
)

if TYPE_CHECKING:
    from ccl_exporter.control.plug_commands import PlugCommands, Result
    from ccl_exporter.control.time_window import TimeWindow
    from ccl_exporter.control.write import WriteOptions

charge = typer.Typer(
    name="charge",
    help="Start, stop and limit charges; why there is none; the log of those that ended.",
    no_args_is_help=True,
)

PlugName = Annotated[str | None, typer.Option("--plug", help="The plug, where a charger has several.")]
Zone = Annotated[
    str | None, typer.Option("--timezone", help="Such as Europe/London; by default that of this machine.")
]


@charge.callback()
def _charge() -> None:
    """Start, stop and limit charges; why there is none; the log of those that ended."""


def _how(dry_run: bool, wait: float, least_pause: float) -> "WriteOptions":
    from ccl_exporter.control.write import WriteOptions  # noqa: PLC0415 - keeps --help quick

    return WriteOptions(dry_run=dry_run, wait=wait, least_pause=least_pause)


def _at_plug(
    target: Target,
    plug: str | None,
    work: "Callable[[PlugCommands, WriteSession], Result]",
    as_json: bool,
    length: str | None = None,
) -> None:
    """Do something at a plug and say what came of it."""
    from ccl_exporter.control.plug_commands import PlugCommands  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.wording import facts as plug_facts  # noqa: PLC0415 - keeps --help quick

    def at_plug(session: WriteSession) -> Ended:
        result = work(PlugCommands(session.writer, plug, session.timeout), session)
        return Ended(result.outcome, result.says, {"plug": plug_facts(result.seen), **facts(result.written)})

    carry_out(target, at_plug, as_json, length)


def _keeps_out(between: str | None, outside: str | None, zone: str | None) -> str | None:
    """Why the hour is not one in which something is to be done; None if it is."""
    from ccl_exporter.control.time_window import window  # noqa: PLC0415 - keeps --help quick

    at = time.time()
    for text, inside in ((between, True), (outside, False)):
        if text is not None:
            hours = window(text, zone)
            if hours.holds(at) is not inside:
                return f"nothing to do: {hours.clock(at):%H:%M} is {'outside' if inside else 'within'} {hours}"
    return None


def _start_once(hours: "TimeWindow", now: bool, at: "PlugCommands", session: WriteSession) -> "Result":
    """Start a charge, unless one has ended in these hours and none is wanted `now`."""
    from ccl_exporter.control.plug_commands import already_charged_in_window, ended_at_once  # noqa: PLC0415 - keeps --help quick

    memory, before = session.control_state, at.look()
    if not now:
        over = already_charged_in_window(before, memory.charged_in_window_at(at.name), hours.opened(time.time()))
        if over is not None:
            return over
    result = at.start(session.how)
    if not session.how.dry_run and (result.seen.is_charging or ended_at_once(before, result.seen)):
        # One that was begun before these hours counts as well: full is full.
        memory.note_charged_in_window(at.name)
    return result


@charge.command()
def start(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    plug: PlugName = None,
    between: Annotated[
        str | None, typer.Option("--between", help="Only within these hours, such as 00:30-04:30.")
    ] = None,
    timezone: Zone = None,
    now: Annotated[
        bool, typer.Option("--now", help="At any hour, and past `disable --nightly`, until the car leaves.")
    ] = False,
    dry_run: DryRun = False,
    wait: Wait = 20.0,
    least_pause: LeastPause = 60.0,
    as_json: AsJson = False,
    timeout: Patience = 15.0,
) -> None:
    """Put the plug into service if need be, start a charge, and wait until it flows."""

    from ccl_exporter.control.time_window import window  # noqa: PLC0415 - keeps --help quick

    hours = window(between, timezone) if between is not None else None

    def work(at: "PlugCommands", session: WriteSession) -> "Result":
        result = at.start(session.how) if hours is None else _start_once(hours, now, at, session)
        if now and not session.how.dry_run and result.outcome in ("done", "already"):
            requested = result.seen.session.requested if result.seen.session is not None else None
            session.control_state.set_override(at.name, requested)
            return replace(result, says=f"{result.says}; it goes on until the car leaves")
        return result

    if not now and (why := _keeps_out(between, None, timezone)) is not None:
        return finish(Ended("nothing", why, {}), as_json)
    target = Target("charge start", address(charger, config_file), timeout, _how(dry_run, wait, least_pause))
    return _at_plug(target, plug, work, as_json)


@charge.command()
def stop(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    plug: PlugName = None,
    dry_run: DryRun = False,
    wait: Wait = 20.0,
    least_pause: LeastPause = 60.0,
    as_json: AsJson = False,
    timeout: Patience = 15.0,
) -> None:
    """End the charge."""
    target = Target("charge stop", address(charger, config_file), timeout, _how(dry_run, wait, least_pause))
    _at_plug(target, plug, lambda at, session: at.stop(session.how), as_json)


@charge.command()
def pause(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    plug: PlugName = None,
    dry_run: DryRun = False,
    wait: Wait = 20.0,
    least_pause: LeastPause = 60.0,
    as_json: AsJson = False,
    timeout: Patience = 15.0,
) -> None:
    """Hold the charge until it is started again."""
    target = Target("charge pause", address(charger, config_file), timeout, _how(dry_run, wait, least_pause))
    _at_plug(target, plug, lambda at, session: at.pause(session.how), as_json)


@charge.command()
def enable(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    plug: PlugName = None,
    dry_run: DryRun = False,
    wait: Wait = 20.0,
    least_pause: LeastPause = 60.0,
    length: For = None,
    as_json: AsJson = False,
    timeout: Patience = 15.0,
) -> None:
    """Put the plug into service; a car that is connected does not notice it, see `charge start`."""
    target = Target("charge enable", address(charger, config_file), timeout, _how(dry_run, wait, least_pause))
    _at_plug(target, plug, lambda at, session: at.enable(session.how), as_json, length)


@charge.command()
def disable(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    plug: PlugName = None,
    nightly: Annotated[
        bool, typer.Option("--nightly", help="Leave a charge alone that was begun by `start --now`.")
    ] = False,
    outside: Annotated[
        str | None, typer.Option("--outside", help="Only outside these hours, such as 00:30-04:30.")
    ] = None,
    timezone: Zone = None,
    dry_run: DryRun = False,
    wait: Wait = 20.0,
    least_pause: LeastPause = 60.0,
    length: For = None,
    as_json: AsJson = False,
    timeout: Patience = 15.0,
) -> None:
    """Take the plug out of service; a charge that is under way ends."""

    def work(at: "PlugCommands", session: WriteSession) -> "Result":
        from ccl_exporter.control.plug_commands import override_active  # noqa: PLC0415 - keeps --help quick

        override = session.control_state.override(at.name)
        if nightly and override is not None:
            alone = override_active(at.look(), override, time.time())
            if alone is not None:
                return alone
        if not session.how.dry_run:
            session.control_state.clear_override(at.name)
        return at.disable(session.how)

    if (why := _keeps_out(None, outside, timezone)) is not None:
        return finish(Ended("nothing", why, {}), as_json)
    target = Target("charge disable", address(charger, config_file), timeout, _how(dry_run, wait, least_pause))
    return _at_plug(target, plug, work, as_json, length)


@charge.command()
def limit(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    current: Annotated[str, typer.Argument(metavar="LIMIT", help="16A, or 50% of what the plug has; 0A stops.")],
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    plug: PlugName = None,
    dry_run: DryRun = False,
    wait: Wait = 20.0,
    least_pause: LeastPause = 60.0,
    length: For = None,
    as_json: AsJson = False,
    timeout: Patience = 15.0,
) -> None:
    """Limit the current, and see that a car that is charging follows."""
    target = Target("charge limit", address(charger, config_file), timeout, _how(dry_run, wait, least_pause))
    _at_plug(target, plug, lambda at, session: at.limit(current, session.how), as_json, length)
