"""The commands; the only place that prints and picks exit codes."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccl_exporter import __version__
from ccl_exporter.errors import CclError, ChargerError, Garbled, Refused, TimedOut, Unreachable, UsageError

if TYPE_CHECKING:
    from ccl_exporter.settings import ChargerSettings
    from ccl_exporter.simulator import Simulator

LISTEN = "127.0.0.1:9986"
SIMULATE_LISTEN = "127.0.0.1:9987"


class Exit(IntEnum):
    """Exit codes that scripts may rely on."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4


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
ChargerOption = Annotated[
    str | None,
    typer.Option(
        "--charger", "-c", envvar="CCL_CHARGER", help="The charger: http://evse, a host name or an address."
    ),
]
Patience = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for a first answer.")]
Sensitive = Annotated[bool, typer.Option("--sensitive", help="Show personal values too: tags, users, free texts.")]
Speed = Annotated[float, typer.Option("--speed", min=0.01, max=100_000, help="Simulated seconds per second.")]


def main() -> None:
    """Run a command; every error of ours becomes one line and an exit code."""
    try:
        app()
    except CclError as error:
        typer.echo(f"ccl-exporter: {error}", err=True)
        sys.exit(_exit_code(error))


def _exit_code(error: CclError) -> Exit:
    match error:
        case UsageError():
            return Exit.USAGE
        case Unreachable() | TimedOut():
            return Exit.UNREACHABLE
        case Refused():
            return Exit.REFUSED
        case ChargerError():
            return Exit.FAILED
        case _:
            return Exit.FAILED


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
def serve(
    charger: Annotated[
        str | None,
        typer.Argument(envvar="CCL_CHARGER", help="The charger: http://evse, a host name or an address."),
    ] = None,
    listen: Listen = LISTEN,
    level: Level = LogLevel.INFO,
    format: Format = LogFormat.LOGFMT,
) -> None:
    """Serve a charger's metrics."""
    _log_to_stderr(level, format)
    _serve(charger, listen)


@app.command()
def demo(
    listen: Listen = LISTEN,
    speed: Speed = 1.0,
    level: Level = LogLevel.INFO,
    format: Format = LogFormat.LOGFMT,
) -> None:
    """Serve the metrics of a simulated charger: a vehicle comes, charges and leaves, again and again."""
    from ccl_exporter.simulator import Simulator  # noqa: PLC0415 - no other command needs it

    _log_to_stderr(level, format)
    with Simulator(speed=speed) as simulator:
        _serve(simulator.url, listen)


@app.command()
def check(
    charger: ChargerOption = None,
    json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    timeout: Patience = 15.0,
) -> None:
    """Say what a charger can do, how fast, what is missing; and if it does not answer, why that may be."""
    from ccl_exporter import diagnosis  # noqa: PLC0415 - keeps --help quick

    address = _address(charger)
    try:
        report = diagnosis.check(address.name, address.url, address.credentials, timeout)
    except ChargerError as error:
        typer.echo(f"ccl-exporter: {error}", err=True)
        typer.echo(f"ccl-exporter: {diagnosis.advice(error, address.url)}", err=True)
        raise typer.Exit(_exit_code(error)) from error
    typer.echo(report.as_json() if json else "\n".join(report.lines()))


@app.command()
def show(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    patterns: Annotated[
        list[str] | None, typer.Argument(help="Only variables whose id or title fits, with * and ?; any case.")
    ] = None,
    charger: ChargerOption = None,
    device: Annotated[str | None, typer.Option("--device", help="Only variables of this device.")] = None,
    writable: Annotated[bool, typer.Option("--writable", help="Only what can be written.")] = False,
    sensitive: Sensitive = False,
    json: Annotated[bool, typer.Option("--json", help="The list as JSON.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option("--interval", min=1, help="Seconds between two looks.")] = 5.0,
    timeout: Patience = 15.0,
) -> None:
    """List devices and variables with title, value, unit, whether they can be written, and range."""
    from ccl_exporter import listing  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.diagnosis import ALL, failure  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.powerstudio.engine import Engine  # noqa: PLC0415 - keeps --help quick

    address = _address(charger)
    engine = Engine(address.name, address.url, address.credentials)
    engine.reach(timeout)
    stopped = threading.Event()
    with _on_stop_signal(stopped.set):
        while not stopped.is_set():
            snapshot = engine.read(ALL)
            if not snapshot.up:
                raise failure(snapshot)
            found = listing.chosen(listing.rows(snapshot, sensitive), patterns or [], device, writable)
            if watch:
                typer.echo("\x1b[H\x1b[2J" if sys.stdout.isatty() else "")
            typer.echo(listing.as_json(found) if json else listing.table(found))
            if not watch:
                break
            stopped.wait(interval)
    engine.close()


@app.command()
def get(
    variable: Annotated[str, typer.Argument(help="The full id, such as 'EVSE.PLUG.AE'.")],
    charger: ChargerOption = None,
    unit: Annotated[bool, typer.Option("--unit", help="Put the unit behind the number.")] = False,
    sensitive: Sensitive = False,
    timeout: Patience = 15.0,
) -> None:
    """Print the value of one variable as the charger sends it, for a script."""
    from ccl_exporter import listing  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.powerstudio.engine import Engine  # noqa: PLC0415 - keeps --help quick

    address = _address(charger)
    engine = Engine(address.name, address.url, address.credentials)
    snapshot = engine.read_variable(variable, timeout)
    engine.close()
    row = listing.the_one(listing.rows(snapshot, sensitive) if snapshot is not None else [], variable)
    if row.value == listing.MASK:
        raise Refused(f"{variable} is personal; ask for it with --sensitive")
    if row.value is None:
        raise Garbled(f"{variable} has no value now")
    typer.echo(" ".join(filter(None, (listing.number(row.value), row.unit if unit else ""))))


@app.command()
def dump(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty folder, or one to be made.")],
    charger: ChargerOption = None,
) -> None:
    """Record a charger's answers with everything personal masked, to be replayed by `simulate --recordings`."""
    from ccl_exporter import recording  # noqa: PLC0415 - keeps --help quick

    address = _address(charger)
    made = recording.dump(address.url, address.credentials, folder)
    typer.echo(f"{len(made.written)} documents are in {folder}, {len(made.left_out)} did not come; see about.txt.")
    typer.echo(
        f"Look through them before you send them; ccl-exporter simulate --recordings {folder} replays them."
    )


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
    address = listen_address(listen)
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
                host=address.host,
                port=address.port + number if address.port else 0,
                seed=number + 1,
            )
            for number in range(chargers)
        ]
    except ValueError as error:
        raise UsageError(str(error)) from error
    return _simulate(simulators)


def _address(charger: str | None) -> "ChargerSettings":
    from ccl_exporter.settings import charger_settings  # noqa: PLC0415 - keeps --help quick

    if charger is None:
        raise UsageError("no charger is named: give its address, such as http://evse, or set CCL_CHARGER")
    return charger_settings(charger, os.environ)


def _list(rows: Mapping[str, str]) -> None:
    width = max(map(len, rows))
    for name, says in rows.items():
        typer.echo(f"{name:{width}}  {says}")


def _simulate(simulators: "list[Simulator]") -> None:
    stopped = threading.Event()
    with _on_stop_signal(stopped.set), ExitStack() as running:
        for simulator in simulators:
            try:
                simulator.start()
            except OSError as error:
                raise UsageError(f"cannot listen: {error.strerror or error}") from error
            running.callback(simulator.stop)
            typer.echo(f"A simulated charger answers on {simulator.url}. Stop it with Ctrl-C.")
        stopped.wait()


def _serve(charger: str | None, listen: str) -> None:
    from ccl_exporter.service import Service  # noqa: PLC0415 - the libraries behind it would slow every --help
    from ccl_exporter.settings import listen_address  # noqa: PLC0415 - keeps --help quick

    address = _address(charger)
    service = Service(address, listen_address(listen))
    url = service.bind()
    with _on_stop_signal(lambda: threading.Thread(target=service.stop, name="stop").start()):
        typer.echo(f"Metrics of {address.url} are on {url}/metrics. Stop with Ctrl-C.")
        service.run()


@contextmanager
def _on_stop_signal(stop: Callable[[], object]) -> Iterator[None]:
    """SIGINT and SIGTERM end a command in good order."""
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop()) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log_to_stderr(level: LogLevel, format: LogFormat) -> None:
    from ccl_exporter.logs import JsonFormatter, LogfmtFormatter  # noqa: PLC0415 - keeps --help quick

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format is LogFormat.JSON else LogfmtFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("ccl_exporter").setLevel({"warn": "WARNING"}.get(level.value, level.value.upper()))
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        logging.getLogger(__name__).warning("running as root, which an exporter does not need")
