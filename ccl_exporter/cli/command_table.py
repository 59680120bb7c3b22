"""The command line: which commands there are. Only `cli` prints or picks an exit code.

The module of a command is imported when the command runs or shows its own help: so `--help` stays quick,
and a command loads only what it needs.
"""

import logging
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

import ccl_exporter
from ccl_exporter.cli.exit_codes import exit_code
from ccl_exporter.errors import CclError

COMMANDS = {
    "serve": ("serve:serve", "Serve the metrics of one charger, or of all that the configuration file names."),
    "demo": (
        "demo:demo",
        "Serve the metrics of a simulated charger: a vehicle comes, charges and leaves, again and again.",
    ),
    "scan": ("scan:scan", "Find PowerStudio engines in the given networks, or in those of this machine."),
    "setup": ("setup:setup", "Find the charger or take its address, check it, and write a configuration file."),
    "check": (
        "check:check",
        "Say what a charger can do, how fast, what is missing; and if it does not answer, why that may be.",
    ),
    "show": (
        "show:show",
        "List devices and variables with title, value, unit, whether they can be written, and range.",
    ),
    "get": ("get:get", "Print the value of one variable as the charger sends it, for a script."),
    "dump": (
        "dump:dump",
        "Record a charger's answers with everything personal masked, to be replayed by `simulate --recordings`.",
    ),
    "set": (
        "set:set_variables",
        "Write variables, if the charger says that they can be written, and see that they hold.",
    ),
    "simulate": ("simulate:simulate", "Be a PowerStudio engine: a simulated charger to try an exporter on."),
}
"""Each command: the module in `cli` and the function that it is, and the first paragraph of its docstring."""

CHARGE_COMMANDS = {
    "start": (
        "charge:start",
        "Put the plug into service if need be, start a charge, and wait until it flows.",
    ),
    "stop": ("charge:stop", "End the charge."),
    "pause": ("charge:pause", "Hold the charge until it is started again."),
    "enable": (
        "charge:enable",
        "Put the plug into service; a car that is connected does not notice it, see `charge start`.",
    ),
    "disable": ("charge:disable", "Take the plug out of service; a charge that is under way ends."),
    "limit": ("charge:limit", "Limit the current, and see that a car that is charging follows."),
    "status": (
        "charge:status",
        "Say what the plug does, and why it does not charge if it does not. Writes nothing.",
    ),
    "follow": (
        "charge_follow:follow",
        "Follow the sun, or what a supply has left: set the limit by a number that comes again and again.",
    ),
    "plan": ("charge_plan:plan", "Charge when it costs least: show the plan, and stay to carry it out."),
    "log": (
        "charge_log:list_charges",
        "List the sessions that `serve` recorded, and the energy that flowed outside of them.",
    ),
}


class ImportedCommand(TyperCommand):
    """A command of which only the name and the summary are known until it is wanted; its callback imports it."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """The context of the imported command, which runs in place of this one."""
        imported: Any = self.callback
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(self.name, context_settings=dict(self.context_settings))(imported())
        return get_command(alone).make_context(*args, **extra)


def run() -> None:
    """Run the command of the command line; every error of ours becomes one line and an exit code."""
    try:
        app()
    except CclError as error:
        typer.echo(f"ccl-exporter: {error}", err=True)
        sys.exit(exit_code(error))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ccl-exporter {ccl_exporter.__version__}")
        raise typer.Exit


def _group(name: str, says: str) -> typer.Typer:
    return typer.Typer(
        name=name,
        help=says,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


app = _group(
    "ccl-exporter", "Prometheus exporter for Circontrol and evolt chargers and any other PowerStudio engine."
)
charge = _group("charge", "Start, stop and limit charges; why there is none; the log of those that ended.")


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    # Commands say what went wrong themselves; only the service logs.
    logging.getLogger("ccl_exporter").addHandler(logging.NullHandler())


def _importer(place: str) -> Callable[[], Callable[..., None]]:
    """What imports a command, of `module:function`."""

    def imported() -> Callable[..., None]:
        module, _, function = place.partition(":")
        command: Callable[..., None] = getattr(import_module(f"ccl_exporter.cli.{module}"), function)
        return command

    return imported


for group, commands in ((app, COMMANDS), (charge, CHARGE_COMMANDS)):
    for command, (place, summary) in commands.items():
        # Else a value below zero would be taken for an option.
        settings = {"ignore_unknown_options": True} if command == "set" else None
        group.command(command, cls=ImportedCommand, help=summary, context_settings=settings)(_importer(place))
app.add_typer(charge)
