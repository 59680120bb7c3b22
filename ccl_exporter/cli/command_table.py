"""The command line: which commands there are. Only `cli` prints or picks an exit code.

The module of a command is imported when the command runs or shows its own help: so `--help` stays quick,
and a command loads only what it needs.
"""

import errno
import logging
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

import ccl_exporter
from ccl_exporter.cli.exit_codes import Exit, exit_code
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
        "Report what a charger can do, how fast, and what is missing; or why it may not answer.",
    ),
    "show": (
        "show:show",
        "List variables with value, unit, range, title, and whether they can be written.",
    ),
    "get": ("get:get", "Print the value of one variable as the charger sends it, for a script."),
    "dump": (
        "dump:dump",
        "Record a charger's responses with everything personal masked; `simulate --recordings` replays them.",
    ),
    "set": (
        "set:set_variables",
        "Write variables that the charger declares writable, and check that the values hold.",
    ),
    "assets": (
        "assets:assets",
        "Copy the Grafana dashboards and the Prometheus rules of this version to a folder.",
    ),
    "simulate": ("simulate:simulate", "Simulate a charger with its PowerStudio engine, to try an exporter on."),
}
"""Each command: the module in `cli` and the function that it is, and the first paragraph of its docstring."""

CHARGE_COMMANDS = {
    "start": (
        "charge:start",
        "Put the plug into service if needed, start charging, and wait until energy flows.",
    ),
    "stop": ("charge:stop", "End the charging session."),
    "pause": ("charge:pause", "Pause charging until it is started again."),
    "enable": (
        "charge:enable",
        "Put the plug into service; a connected vehicle does not notice it, see `charge start`.",
    ),
    "disable": ("charge:disable", "Take the plug out of service; a running session ends."),
    "limit": ("charge:limit", "Limit the current, and check that a charging vehicle follows."),
    "status": (
        "charge:status",
        "Report what each plug does, or why it does not charge, and what is planned. Writes nothing.",
    ),
    "follow": (
        "charge_follow:follow",
        "Follow solar surplus or the capacity of a supply: set the limit by an input that arrives regularly.",
    ),
    "plan": ("charge_plan:plan", "Charge when it costs least: print the plan and carry it out."),
    "trial": (
        "charge_trial:trial",
        "Try limit, pause, start and stop with a vehicle while you watch it, and write a report to send.",
    ),
    "log": (
        "charge_log:list_charges",
        "List the sessions that `serve` recorded, and the energy that flowed outside of them.",
    ),
}

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of an output that cannot be written."""


class GroupedCommand(TyperCommand):
    """A command whose help shows its flags in groups, by their `rich_help_panel`."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            panel = getattr(parameter, "rich_help_panel", None)
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            if record := parameter.get_help_record(ctx):
                groups.setdefault(panel or usual, []).append(record)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


class ImportedCommand(TyperCommand):
    """A command of which only the name and the summary are known until it is wanted; its callback imports it."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """The context of the imported command, which runs in place of this one."""
        imported: Any = self.callback
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(self.name, cls=GroupedCommand, context_settings=dict(self.context_settings))(imported())
        return get_command(alone).make_context(*args, **extra)


def run() -> None:
    """Run the command of the command line; every error of ours becomes one line and an exit code.

    So does an output that cannot be written; a command that writes to a charger prints by `say`, which goes on.
    """
    try:
        app()
    except CclError as error:
        from ccl_exporter.cli.shared import warn  # noqa: PLC0415 - the command that failed has imported it

        warn(str(error), "red")
        sys.exit(exit_code(error))
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        from ccl_exporter.cli.shared import flush_streams, warn  # noqa: PLC0415 - seldom

        warn(f"the output cannot be written: {error.strerror}", "red")
        flush_streams()
        sys.exit(Exit.FAILED)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ccl-exporter {ccl_exporter.__version__}")
        raise typer.Exit


def _group(name: str, says: str, completion: bool = False) -> typer.Typer:
    return typer.Typer(
        name=name,
        help=says,
        no_args_is_help=True,
        add_completion=completion,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


app = _group(
    "ccl-exporter",
    "Prometheus exporter for Circontrol and evolt chargers and any other PowerStudio engine.",
    completion=True,
)
charge = _group("charge", "Start, stop and limit charging, report why a plug does not charge, list past sessions.")


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
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
        # Only a short help is shown whole, however long it is.
        register = group.command(
            command, cls=ImportedCommand, help=summary, short_help=summary, context_settings=settings
        )
        register(_importer(place))
app.add_typer(charge, short_help=charge.info.help)
