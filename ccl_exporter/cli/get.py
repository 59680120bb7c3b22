"""`get`: the value of one variable, for a script."""

from typing import Annotated

import typer

from ccl_exporter.cli.progress import progress, requests
from ccl_exporter.cli.shared import (
    PATIENCE,
    ChargerOption,
    ConfigFile,
    Patience,
    Sensitive,
    address,
    learned,
    transport,
)
from ccl_exporter.errors import AccessDenied, Garbled
from ccl_exporter.powerstudio.command_reader import read_variable
from ccl_exporter.station.rows import find_row, variable_rows
from ccl_exporter.text import MASK, format_number


def get(
    variable: Annotated[str, typer.Argument(metavar="VARIABLE", help="The full id, such as EVSE.PLUG.AE.")],
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    unit: Annotated[bool, typer.Option("--unit", help="Print the unit after the number.")] = False,
    sensitive: Sensitive = False,
    timeout: Patience = PATIENCE,
) -> None:
    """Print the value of one variable as the charger sends it, for a script.

    \b
    Example:
      ccl-exporter get EVSE.PLUG.AE --unit -c http://evse
    """
    settings = address(charger, config_file)
    with (
        transport(settings) as connection,
        progress(lambda: requests(f"reading {variable}", connection.requests)),
    ):
        snapshot = read_variable(connection, variable, timeout, learned(settings))
    row = find_row(variable_rows(snapshot, sensitive), variable)
    if row.value == MASK:
        raise AccessDenied(f"{variable} is personal or may be; ask for it with --sensitive")
    if row.value is None:
        raise Garbled(f"{variable} has no value now")
    typer.echo(" ".join(filter(None, (format_number(row.value), row.unit if unit else ""))))
