"""`check`: what a charger can do, how fast, what is missing."""

from typing import Annotated

import typer

from ccl_exporter.cli.shared import (
    ChargerOption,
    ConfigFile,
    Patience,
    address,
    exit_code,
    transport,
)
from ccl_exporter.errors import ChargerError


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
