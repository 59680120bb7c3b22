"""`show`: devices and variables as a table."""

import sys
import threading
from typing import Annotated

import typer

from ccl_exporter.cli.progress import progress, reading
from ccl_exporter.cli.shared import (
    PATIENCE,
    STOP_SIGNALS,
    ChargerOption,
    ConfigFile,
    Duration,
    Patience,
    Sensitive,
    address,
    duration_of_at_least,
    on_signals,
    transport,
)
from ccl_exporter.diagnostics import variable_table
from ccl_exporter.diagnostics.check import ALL
from ccl_exporter.powerstudio.advice import failure
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.station.rows import variable_rows


def show(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATTERN", help="Only variables whose id or title matches, with * and ?; any case."
        ),
    ] = None,
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="DEVICE", help="Only variables of this device.")
    ] = None,
    writable: Annotated[bool, typer.Option("--writable", help="Only writable variables.")] = False,
    sensitive: Sensitive = False,
    json: Annotated[bool, typer.Option("--json", help="The list as JSON.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat until Ctrl-C.")] = False,
    interval: Annotated[
        Duration,
        typer.Option(
            "--interval", parser=duration_of_at_least(1), metavar="DURATION", help="Time between two reads."
        ),
    ] = Duration(5),
    timeout: Patience = PATIENCE,
) -> None:
    """List variables with value, unit, range, title, and whether they can be written.

    \b
    Examples:
      ccl-exporter show -c http://evse
      ccl-exporter show 'EVSE.PLUG.*' -c http://evse
      ccl-exporter show --writable --json -c http://evse
    """
    settings = address(charger, config_file)
    stopped = threading.Event()
    with transport(settings) as connection, on_signals(stopped.set, *STOP_SIGNALS):
        engine = Engine(settings.name, connection)
        with progress(lambda: reading(engine)):
            engine.reach(timeout)
            snapshot = engine.read(ALL)
        while not stopped.is_set():
            if not snapshot.up:
                raise failure(snapshot)
            found = variable_table.select_rows(
                variable_rows(snapshot, sensitive), patterns or [], device, writable
            )
            if watch:
                typer.echo("\x1b[H\x1b[2J" if sys.stdout.isatty() else "")
            typer.echo(variable_table.as_json(found) if json else variable_table.table(found))
            if not watch:
                break
            stopped.wait(interval)
            snapshot = engine.read(ALL)
