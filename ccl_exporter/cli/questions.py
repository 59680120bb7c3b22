"""The commands that ask a charger and print what it says: check, show, get, dump."""

import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from ccl_exporter.cli.shared import (
    STOP_SIGNALS,
    ChargerOption,
    ConfigFile,
    Patience,
    Sensitive,
    address,
    exit_code,
    on_signals,
    transport,
)
from ccl_exporter.errors import ChargerError, Garbled, Refused


def check(
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    timeout: Patience = 15.0,
) -> None:
    """Say what a charger can do, how fast, what is missing; and if it does not answer, why that may be."""
    from ccl_exporter.diagnostics import check as diagnosis  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.powerstudio import advice  # noqa: PLC0415 - keeps --help quick

    settings = address(charger, config_file)
    with transport(settings) as connection:
        try:
            report = diagnosis.check(settings.name, connection, timeout)
        except ChargerError as error:
            typer.echo(f"ccl-exporter: {error}", err=True)
            typer.echo(f"ccl-exporter: {advice.advice(error, settings.url)}", err=True)
            raise typer.Exit(exit_code(error)) from error
    typer.echo(report.as_json() if json else "\n".join(report.lines()))


def show(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    patterns: Annotated[
        list[str] | None, typer.Argument(help="Only variables whose id or title fits, with * and ?; any case.")
    ] = None,
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    device: Annotated[str | None, typer.Option("--device", help="Only variables of this device.")] = None,
    writable: Annotated[bool, typer.Option("--writable", help="Only what can be written.")] = False,
    sensitive: Sensitive = False,
    json: Annotated[bool, typer.Option("--json", help="The list as JSON.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option("--interval", min=1, help="Seconds between two looks.")] = 5.0,
    timeout: Patience = 15.0,
) -> None:
    """List devices and variables with title, value, unit, whether they can be written, and range."""
    from ccl_exporter.diagnostics import variable_table  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.diagnostics.check import ALL  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.powerstudio.advice import failure  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.powerstudio.engine import Engine  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.station.rows import variable_rows  # noqa: PLC0415 - keeps --help quick

    settings = address(charger, config_file)
    stopped = threading.Event()
    with transport(settings) as connection, on_signals(stopped.set, *STOP_SIGNALS):
        engine = Engine(settings.name, settings.url, transport=connection)
        engine.reach(timeout)
        while not stopped.is_set():
            snapshot = engine.read(ALL)
            if not snapshot.up:
                raise failure(snapshot)
            found = variable_table.chosen(variable_rows(snapshot, sensitive), patterns or [], device, writable)
            if watch:
                typer.echo("\x1b[H\x1b[2J" if sys.stdout.isatty() else "")
            typer.echo(variable_table.as_json(found) if json else variable_table.table(found))
            if not watch:
                break
            stopped.wait(interval)


def get(
    variable: Annotated[str, typer.Argument(help="The full id, such as 'EVSE.PLUG.AE'.")],
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    unit: Annotated[bool, typer.Option("--unit", help="Put the unit behind the number.")] = False,
    sensitive: Sensitive = False,
    timeout: Patience = 15.0,
) -> None:
    """Print the value of one variable as the charger sends it, for a script."""
    from ccl_exporter.powerstudio.command_reader import read_variable  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.station.rows import find_row, variable_rows  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.text import MASK, number  # noqa: PLC0415 - keeps --help quick

    with transport(address(charger, config_file)) as connection:
        snapshot = read_variable(connection, variable, timeout)
    row = find_row(variable_rows(snapshot, sensitive) if snapshot is not None else [], variable)
    if row.value == MASK:
        raise Refused(f"{variable} is personal; ask for it with --sensitive")
    if row.value is None:
        raise Garbled(f"{variable} has no value now")
    typer.echo(" ".join(filter(None, (number(row.value), row.unit if unit else ""))))


def dump(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty folder, or one to be made.")],
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
) -> None:
    """Record a charger's answers with everything personal masked, to be replayed by `simulate --recordings`."""
    from ccl_exporter.diagnostics import dump as recording  # noqa: PLC0415 - keeps --help quick

    with transport(address(charger, config_file)) as connection:
        made = recording.dump(connection, folder)
    typer.echo(f"{len(made.written)} documents are in {folder}, {len(made.left_out)} did not come; see about.txt.")
    typer.echo(
        f"Look through them before you send them; ccl-exporter simulate --recordings {folder} replays them."
    )
