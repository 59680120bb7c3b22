"""`charge trial`: a guided trial on real hardware."""

import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from ccl_exporter.cli.exit_codes import Exit
from ccl_exporter.cli.shared import STOP_OR_HANG_UP, exists, say, signal_handler, warn
from ccl_exporter.cli.write_session import Target, writable_transport, write_command
from ccl_exporter.control.follow.limiter import SafeCurrentGuard
from ccl_exporter.control.restore import restore_pending
from ccl_exporter.control.trial import TRIAL_AMPERES, Trial, TrialPlug, TrialReport
from ccl_exporter.control.write import Writer
from ccl_exporter.errors import UsageError

_STEPS = f"""\
This trial needs a connected vehicle that is not full, and somebody who watches it. It takes a few minutes:
it starts a session unless there is one, limits it to {TRIAL_AMPERES:g} A, pauses it by a limit of 0 A, resumes it,
stops it, starts another one, and restores everything. That is fewer than ten writes."""


@write_command("charge trial", without=["dry_run", "least_pause", "length", "as_json"])
def trial(
    report: Annotated[Path, typer.Argument(metavar="FILE", help="A new file for the report.")],
    target: Target,
    yes: Annotated[bool, typer.Option("--yes", help="Begin at once, and ask nothing.")] = False,
) -> None:
    """Try limit, pause, start and stop with a vehicle while you watch it, and write a report to send.

    The report holds no name, address, date, tag or meter reading.

    \b
    Example:
      ccl-exporter charge trial report.txt -c http://evse
    """
    if exists(report):
        raise UsageError(f"{report} exists already: name a new file")
    say(_STEPS)
    if not yes and not typer.confirm("Begin?"):
        raise typer.Exit(Exit.NOTHING)
    state = target.control_state
    with writable_transport(target.settings) as control, signal_handler(_once(), *STOP_OR_HANG_UP):
        writer = Writer(control, state, target.timeout, target.command)
        writer.identify()
        plug = TrialPlug(writer, state, target.plug, target.timeout)
        with state.followed(plug.name):
            with state.exclusive(monotonic() + target.timeout):
                restore_pending(state, writer, warn)
            made = Trial(plug, _unasked if yes else _ask, say, target.wait)
            before = made.check()
            if before.vehicle_connected is False:
                say(f"{plug.name}: no vehicle is connected; connect it and try again")
                raise typer.Exit(Exit.NO_VEHICLE)
            about = writer.lookup.information(monotonic() + target.timeout)
            found = TrialReport(f"{about.product} {about.version}".strip() or "an engine without a name")
            try:
                made.run(before, SafeCurrentGuard(state, plug.device, plug.variable, before.limits.percent), found)
            finally:
                _write(report, found)
    raise typer.Exit(Exit.DONE if found.is_restored and not found.ended_by else Exit.FAILED)


def _once() -> Callable[[], None]:
    """What ends the trial at the first signal; what is restored then is not interrupted by another one."""
    signals = iter([KeyboardInterrupt])

    def interrupt() -> None:
        for error in signals:
            raise error

    return interrupt


def _ask(question: str) -> bool | None:
    say(f"{question} [y/n, Enter if you cannot tell]")
    return {"y": True, "n": False}.get(sys.stdin.readline().strip().lower()[:1])


def _unasked(question: str) -> None:
    return None


def _write(path: Path, report: TrialReport) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(str(report))
    except OSError as error:
        warn(f"{path} cannot be written ({error.strerror}); this is the report:")
        say(str(report))
        return
    say(f"The report is in {path}; read it before you send it.")
