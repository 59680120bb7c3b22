"""`charge log`: the sessions that have ended."""

import os
from typing import Annotated

import typer

from ccl_exporter.cli.shared import ChargerOption
from ccl_exporter.errors import UsageError
from ccl_exporter.locks import state_folder
from ccl_exporter.sessions import report
from ccl_exporter.sessions.store import SESSIONS_FILE, read
from ccl_exporter.settings import charger_settings


def list_charges(
    charger: ChargerOption = None,
    since: Annotated[str | None, typer.Option("--since", help="Charges that ended at this date or later.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Charges that ended by this date.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="RFC 4180, for a spreadsheet.")] = False,
) -> None:
    """List the charges that `serve` saw end, with dates in UTC, and which energy belongs to none.

    Needs no charger, only the ledger that `serve` keeps in the state folder.
    """
    begin = report.instant(since) if since is not None else None
    end = report.instant(until, whole_day=True) if until is not None else None
    path = state_folder(os.environ) / SESSIONS_FILE
    recorded = read(path)
    found = report.select_sessions(recorded, _names(charger), begin, end)
    if as_csv:
        typer.echo(report.as_csv(found), nl=False)
    elif not found.charges and not found.accounts:
        whose = f" of {charger}" if charger is not None else ""
        others = ", ".join(sorted({name for name, _, _ in recorded.accounts}))
        hint = f"there are those of {others}" if others else "serve records them as they end"
        typer.echo(f"No charge{whose} is recorded in {path}; {hint}.")
    else:
        typer.echo(report.session_table(found) if found.charges else "No charge ended in this time.")
        if begin is None and end is None:
            typer.echo("\n" + "\n".join(report.balance(found)))


def _names(charger: str | None) -> tuple[str, ...]:
    """What a charger may be called in the ledger: its name in the configuration file, else its host."""
    if charger is None:
        return ()
    try:
        return (charger, charger_settings(charger, {}).name)
    except UsageError:
        return (charger,)
