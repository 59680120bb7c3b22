"""`show`: devices and variables as a table."""

import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from ccl_exporter.cli.exit_codes import Exit
from ccl_exporter.cli.progress import progress, reading, requests
from ccl_exporter.cli.shared import (
    PATIENCE,
    STOP_SIGNALS,
    ChargerOption,
    ConfigFile,
    Duration,
    Patience,
    Sensitive,
    address,
    duration_option,
    fail,
    learned,
    on_signals,
    transport,
    warn,
)
from ccl_exporter.cli.terminal import highlighted
from ccl_exporter.diagnostics import variable_table
from ccl_exporter.diagnostics.check import ALL
from ccl_exporter.errors import ChargerError
from ccl_exporter.powerstudio.advice import failure
from ccl_exporter.powerstudio.command_reader import CommandReader
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.rows import variable_rows


def show(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATTERN", help="Only variables whose id matches, or title if no id does, with * and ?."
        ),
    ] = None,
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="DEVICE", help="Only variables of this device.")
    ] = None,
    writable: Annotated[bool, typer.Option("--writable", help="Only writable variables.")] = False,
    sensitive: Sensitive = False,
    as_json: Annotated[bool, typer.Option("--json", help="The list as JSON.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat until Ctrl-C.")] = False,
    interval: Annotated[
        Duration,
        duration_option("--interval", 1, help="Time between two reads."),
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

    def show_rows(snapshot: Snapshot) -> bool:
        """Print what is wanted; whether there is anything."""
        if not snapshot.up:
            raise failure(snapshot)
        found = variable_table.select_rows(variable_rows(snapshot, sensitive), patterns or [], device, writable)
        if watch and sys.stdout.isatty():
            typer.echo("\x1b[H\x1b[2J")
        roles = variable_table.device_roles(snapshot)
        if as_json:
            typer.echo(variable_table.as_json(found, roles))
        elif found:
            typer.echo(highlighted(variable_table.table(found, roles)))
        return bool(found)

    with transport(settings) as connection:
        memory = learned(settings)
        lookup, engine = CommandReader(connection, memory), Engine(settings.name, connection, memory)
        read: Callable[[], Snapshot] | None = None
        try:
            if patterns or device is not None:
                with progress(lambda: requests("reading variables", connection.requests)):
                    read = variable_table.chosen_reader(lookup, patterns or [], device, timeout)
            if read is None:
                with progress(lambda: reading(engine)):
                    engine.reach(timeout)
                    snapshot = engine.read(ALL)
                read = partial(engine.read, ALL)
            else:
                with progress(lambda: requests("reading variables", connection.requests)):
                    snapshot = read()
            found = show_rows(snapshot)
            if watch:
                _repeat(lambda: show_rows(read()), interval)
        except ChargerError as error:
            fail(error, settings.url)
    if not found and not watch:
        hint = "" if not patterns or "*" in "".join(patterns) else "; * stands for any characters"
        warn(f"no variable matches{hint}")
        raise typer.Exit(Exit.NOTHING)


def _repeat(act: Callable[[], object], interval: float) -> None:
    """Do something at intervals until the command is stopped."""
    stopped = threading.Event()
    with on_signals(stopped.set, *STOP_SIGNALS):
        while not stopped.wait(interval):
            act()
