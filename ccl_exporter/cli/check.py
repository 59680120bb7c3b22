"""`check`: what a charger can do, how fast, what is missing."""

from typing import Annotated

import typer

from ccl_exporter.cli.exit_codes import exit_code
from ccl_exporter.cli.shared import ChargerOption, ConfigFile, Patience, address, transport
from ccl_exporter.diagnostics import check as diagnosis
from ccl_exporter.errors import ChargerError
from ccl_exporter.powerstudio.advice import advice


def check(
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    timeout: Patience = 15.0,
) -> None:
    """Say what a charger can do, how fast, what is missing; and if it does not answer, why that may be."""
    settings = address(charger, config_file)
    with transport(settings) as connection:
        try:
            report = diagnosis.check(settings.name, connection, timeout)
        except ChargerError as error:
            typer.echo(f"ccl-exporter: {error}", err=True)
            typer.echo(f"ccl-exporter: {advice(error, settings.url)}", err=True)
            raise typer.Exit(exit_code(error)) from error
    typer.echo(report.as_json() if json else "\n".join(report.lines()))
