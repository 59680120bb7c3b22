"""The commands; only here and in `commands` is anything printed or an exit code picked."""

import logging
import sys
from typing import Annotated

import typer

from ccl_exporter import __version__
from ccl_exporter.cli import (
    charge,
    charge_follow,
    charge_log,
    charge_plan,
    charge_status,
    check,
    demo,
    dump,
    get,
    serve,
    show,
    simulate,
)
from ccl_exporter.cli import set as set_command
from ccl_exporter.cli.shared import exit_code
from ccl_exporter.errors import CclError

app = typer.Typer(
    name="ccl-exporter",
    help="Prometheus exporter for Circontrol and evolt chargers and any other PowerStudio engine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run a command; every error of ours becomes one line and an exit code."""
    try:
        app()
    except CclError as error:
        typer.echo(f"ccl-exporter: {error}", err=True)
        sys.exit(exit_code(error))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ccl-exporter {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Prometheus exporter for Circontrol and evolt chargers and any other PowerStudio engine."""
    # Commands say what went wrong themselves; only the service logs.
    logging.getLogger("ccl_exporter").addHandler(logging.NullHandler())


for command in (serve.serve, demo.demo, check.check, show.show, get.get, dump.dump):
    app.command()(command)
# Else a value below zero would be taken for an option.
app.command("set", context_settings={"ignore_unknown_options": True})(set_command.set_variables)
charge.charge.command()(charge_status.status)
charge.charge.command()(charge_follow.follow)
charge.charge.command()(charge_plan.plan)
charge.charge.command("log")(charge_log.list_charges)
app.add_typer(charge.charge)
app.command()(simulate.simulate)
