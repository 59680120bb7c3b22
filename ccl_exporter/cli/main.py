"""The commands; only here and in `commands` is anything printed or an exit code picked."""

import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccl_exporter import __version__
from ccl_exporter.cli import charge, charge_follow, charge_plan, questions, write
from ccl_exporter.cli.shared import STOP_SIGNALS, ConfigFile, address, exit_code, on_signals
from ccl_exporter.errors import CclError, UsageError
from ccl_exporter.gc_tuning import collect_seldom, share_memory
from ccl_exporter.sd_notify import say_ready

if TYPE_CHECKING:
    from ccl_exporter.exporter.service import Options, Service
    from ccl_exporter.simulator import Simulator

LISTEN = "127.0.0.1:9986"
SIMULATE_LISTEN = "127.0.0.1:9987"


class LogLevel(StrEnum):
    """Least grave kind of message that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line is written."""

    LOGFMT = "logfmt"
    JSON = "json"


app = typer.Typer(
    name="ccl-exporter",
    help="Prometheus exporter for Circontrol and evolt chargers and any other PowerStudio engine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Listen = Annotated[
    str, typer.Option("--web.listen-address", help="Address and port to serve on; port 0 is any free one.")
]
Level = Annotated[LogLevel, typer.Option("--log.level", help="Least grave messages to log.")]
Format = Annotated[LogFormat, typer.Option("--log.format", help="How log lines are written.")]
Speed = Annotated[float, typer.Option("--speed", min=0.01, max=100_000, help="Simulated seconds per second.")]


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


@app.command()
def serve(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    charger: Annotated[
        str | None,
        typer.Argument(
            envvar="CCL_CHARGER", help="The charger: http://evse, a host name, an address, or its name."
        ),
    ] = None,
    listen: Listen = LISTEN,
    config_file: ConfigFile = None,
    config_check: Annotated[
        bool, typer.Option("--config.check", help="Check the configuration files, say what is wrong, and leave.")
    ] = False,
    web_config_file: Annotated[
        Path | None, typer.Option("--web.config.file", help="TLS and users, in exporter-toolkit's format.")
    ] = None,
    lifecycle: Annotated[
        bool, typer.Option("--web.enable-lifecycle", help="Let POST /-/reload read the configuration again.")
    ] = False,
    fail_on_down: Annotated[
        bool, typer.Option("--web.fail-on-down", help="Answer 503 for a charger that is down, besides ccl_up 0.")
    ] = False,
    level: Level = LogLevel.INFO,
    format: Format = LogFormat.LOGFMT,
) -> None:
    """Serve the metrics of one charger, or of all that the configuration file names."""
    from ccl_exporter.exporter.service import Options  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.locks import state_folder  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.settings import listen_address  # noqa: PLC0415 - keeps --help quick

    _log_to_stderr(level, format)
    options = Options(listen_address(listen), web_config_file, lifecycle, fail_on_down)
    if config_check:
        return _check_files(config_file, web_config_file)
    return _serve(charger, config_file, options, state_folder(os.environ))


def _check_files(config_file: Path | None, web_config_file: Path | None) -> None:
    from ccl_exporter.exporter.web.security import WebSecurity  # noqa: PLC0415 - only here

    if config_file is None and web_config_file is None:
        raise UsageError("there is nothing to check: name --config.file or --web.config.file")
    if config_file is not None:
        from ccl_exporter.config import document as configuration  # noqa: PLC0415 - only with a file

        count = len(configuration.load(config_file, os.environ).settings.chargers)
        typer.echo(f"{config_file} is well: {count} {'charger' if count == 1 else 'chargers'}.")
    if web_config_file is not None:
        WebSecurity(web_config_file)
        typer.echo(f"{web_config_file} is well.")


@app.command()
def demo(
    listen: Listen = LISTEN,
    speed: Speed = 1.0,
    level: Level = LogLevel.INFO,
    format: Format = LogFormat.LOGFMT,
) -> None:
    """Serve the metrics of a simulated charger: a vehicle comes, charges and leaves, again and again."""
    from ccl_exporter.exporter.service import Options  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.settings import listen_address  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.simulator import Simulator  # noqa: PLC0415 - no other command needs it

    _log_to_stderr(level, format)
    options = Options(listen_address(listen))
    with Simulator(speed=speed) as simulator:
        # Nobody's charges: they have no place in a ledger.
        _serve(simulator.url, None, options, None)


for question in (questions.check, questions.show, questions.get, questions.dump):
    app.command()(question)
# Else a value below zero would be taken for an option.
app.command("set", context_settings={"ignore_unknown_options": True})(write.set_variables)
for command in (charge_follow.follow, charge_plan.plan):
    charge.charge.command()(command)
app.add_typer(charge.charge)


@app.command()
def simulate(
    listen: Listen = SIMULATE_LISTEN,
    speed: Speed = 1.0,
    recordings: Annotated[
        Path | None,
        typer.Option("--recordings", help="Replay a recorded folder laid out like the URLs instead of a model."),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help="Which engine: wallbox, or twin with two plugs.")
    ] = "wallbox",
    dialect: Annotated[
        list[str] | None, typer.Option("--dialect", help="How the engine behaves, or `list`; may be repeated.")
    ] = None,
    chargers: Annotated[int, typer.Option("--chargers", min=1, max=5000, help="How many, on ports in a row.")] = 1,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", help="What goes wrong, KIND[:ARG][@PATH], or `list`; may be repeated."),
    ] = None,
) -> None:
    """Be a PowerStudio engine: a simulated charger to try an exporter on."""
    from ccl_exporter.settings import listen_address  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.simulator import (  # noqa: PLC0415 - no other command needs it
        DIALECTS,
        FAULTS,
        MODELS,
        Dialect,
        Fault,
        Simulator,
    )

    if "list" in (dialect or []):
        return _list({name: named.says for name, named in DIALECTS.items()})
    if "list" in (fault or []):
        return _list(FAULTS)
    where = listen_address(listen)
    if model not in MODELS:
        raise UsageError(f"there is no model '{model}'; there is {', '.join(MODELS)}")
    if recordings is not None and not (recordings / "services").is_dir():
        raise UsageError(f"{recordings} holds no recording: it has no folder 'services'")
    try:
        simulators = [
            Simulator(
                model,
                dialect=Dialect.parse(dialect or []),
                faults=tuple(Fault.parse(text) for text in fault or []),
                speed=speed,
                recordings=recordings,
                host=where.host,
                port=where.port + number if where.port else 0,
                seed=number + 1,
            )
            for number in range(chargers)
        ]
    except ValueError as error:
        raise UsageError(str(error)) from error
    return _simulate(simulators)


def _list(rows: Mapping[str, str]) -> None:
    width = max(map(len, rows))
    for name, says in rows.items():
        typer.echo(f"{name:{width}}  {says}")


def _simulate(simulators: "list[Simulator]") -> None:
    stopped = threading.Event()
    with on_signals(stopped.set, *STOP_SIGNALS), ExitStack() as running:
        for simulator in simulators:
            try:
                simulator.start()
            except OSError as error:
                raise UsageError(f"cannot listen: {error.strerror or error}") from error
            running.callback(simulator.stop)
            typer.echo(f"A simulated charger answers on {simulator.url}. Stop it with Ctrl-C.")
        stopped.wait()


def _allow_many_connections() -> None:
    """Raise the soft limit of open files to the hard one; each charger takes a few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _serve(charger: str | None, config_file: Path | None, options: "Options", state: Path | None) -> None:
    from ccl_exporter.exporter.service import Service  # noqa: PLC0415 - the libraries behind it would slow every --help
    from ccl_exporter.exporter.target_registry import one  # noqa: PLC0415 - keeps --help quick

    _allow_many_connections()
    share_memory()
    collect_seldom()
    if config_file is None:
        settings = address(charger)
        what = settings.url
        service = Service(one(settings), options, state)
    else:
        from ccl_exporter.config import document as configuration  # noqa: PLC0415 - only with a file

        if charger is not None:
            raise UsageError("name a charger or a configuration file, not both")
        path = config_file
        read = configuration.load(path, os.environ, patient=True)
        what = f"{len(read.settings.chargers)} chargers"
        service = Service(
            read.settings, options, state, lambda: configuration.load(path, os.environ, patient=True), read
        )
    url = service.bind()
    with (
        on_signals(lambda: threading.Thread(target=service.stop, name="stop").start(), *STOP_SIGNALS),
        on_signals(
            lambda: threading.Thread(target=_reload, args=(service,), name="reload").start(), signal.SIGHUP
        ),
    ):
        typer.echo(f"Metrics of {what} are on {url}/metrics. Stop with Ctrl-C.")
        say_ready(os.environ)
        service.run()


def _reload(service: "Service") -> None:
    with suppress(UsageError):
        service.reload()


def _log_to_stderr(level: LogLevel, format: LogFormat) -> None:
    from ccl_exporter.logs import to_stderr  # noqa: PLC0415 - keeps --help quick

    to_stderr(level.value, format is LogFormat.JSON)
    if os.geteuid() == 0:
        logging.getLogger(__name__).warning("running as root, which an exporter does not need")
