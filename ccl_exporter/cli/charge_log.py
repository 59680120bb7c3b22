"""`charge log`: the sessions that have ended."""

import os
import sys
from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from ccl_exporter.cli.shared import ChargerOption, ConfigFile, address
from ccl_exporter.cli.terminal import highlighted, wrapped
from ccl_exporter.errors import UsageError
from ccl_exporter.locks import state_folder
from ccl_exporter.sessions import report
from ccl_exporter.sessions.store import SESSIONS_FILE, Recorded, read


def list_charges(
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="Sessions that ended at this date or later.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="Sessions that ended by this date.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="RFC 4180, for a spreadsheet.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Sessions and registers as JSON.")] = False,
) -> None:
    """List the sessions that `serve` recorded, and the energy that flowed outside of them.

    Needs no charger, only the session log that `serve` keeps in the state folder.
    Dates are local on a terminal, else in UTC.

    \b
    Examples:
      ccl-exporter charge log
      ccl-exporter charge log --csv --since 2026-09-01 --until 2026-09-30
    """
    if as_csv and as_json:
        raise UsageError("choose --csv or --json, not both")
    begin = report.instant(since) if since is not None else None
    end = report.instant(until, whole_day=True) if until is not None else None
    path = state_folder(os.environ) / SESSIONS_FILE
    recorded = read(path)
    found = report.select_sessions(recorded, _names(charger, config_file, recorded), begin, end)
    zone = None if sys.stdout.isatty() else UTC
    if as_csv:
        typer.echo(report.as_csv(found), nl=False)
    elif as_json:
        typer.echo(report.as_json(found))
    elif not found.charges and not found.accounts:
        whose = f" of {charger}" if charger is not None else ""
        others = ", ".join(sorted(recorded.chargers))
        hint = f"there are those of {others}" if others else "serve records them as they end"
        typer.echo(wrapped(f"No session{whose} is recorded in {path}; {hint}.", sys.stdout))
    else:
        table = highlighted(report.session_table(found, zone)) if found.charges else ""
        in_time = " in this time" if begin is not None or end is not None else ""
        typer.echo(table or f"No session has ended{in_time}.")
        balance = list(report.balance(found, zone)) if begin is None and end is None else []
        if balance:
            typer.echo("\n" + "\n".join(balance))


def _names(charger: str | None, config_file: Path | None, recorded: Recorded) -> tuple[str, ...]:
    """The names of a charger in the session log: by its name there, else by the configuration file and its URL."""
    if charger is None:
        return ()
    if charger in recorded.chargers:
        return (charger,)
    settings = address(charger, config_file)
    return (settings.name, recorded.names.get(settings.url, settings.name))
