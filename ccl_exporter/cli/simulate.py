"""`simulate`: a PowerStudio engine to try an exporter on."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ccl_exporter.cli.shared import STOP_SIGNALS, LifeOption, Listen, Speed, exists, on_signals, say
from ccl_exporter.errors import UsageError
from ccl_exporter.settings import ListenAddress, listen_address
from ccl_exporter.simulator import DIALECTS, FAULTS, MODELS, Dialect, Fault, Simulator

SIMULATE_LISTEN = "127.0.0.1:9987"

_ROWS = 20  # how many rows of ports are tried


def simulate(  # noqa: PLR0913, PLR0917 - each is a flag of the command
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
    life: LifeOption = "busy",
    chargers: Annotated[int, typer.Option("--chargers", min=1, max=5000, help="How many, on ports in a row.")] = 1,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", help="What goes wrong, KIND[:ARG][@PATH], or `list`; may be repeated."),
    ] = None,
) -> None:
    """Simulate a charger with its PowerStudio engine, to try an exporter on.

    \b
    Examples:
      ccl-exporter simulate
      ccl-exporter simulate --dialect wallbox-proven --fault slow:0.2
    """
    if "list" in (dialect or []):
        return _list({name: named.says for name, named in DIALECTS.items()})
    if "list" in (fault or []):
        return _list(FAULTS)
    where = listen_address(listen)
    if model not in MODELS:
        raise UsageError(f"there is no model '{model}'; there is {', '.join(MODELS)}")
    if recordings is not None and not (exists(recordings) and (recordings / "services").is_dir()):
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
                seed=number + 1,
                life=life,
            )
            for number in range(chargers)
        ]
    except ValueError as error:
        raise UsageError(str(error)) from error
    return _simulate(simulators, where)


def _list(rows: Mapping[str, str]) -> None:
    width = max(map(len, rows))
    for name, says in rows.items():
        typer.echo(f"{name:{width}}  {says}")


def _simulate(simulators: Sequence[Simulator], where: ListenAddress) -> None:
    stopped = threading.Event()
    with on_signals(stopped.set, *STOP_SIGNALS), _started(simulators, where):
        first, last = simulators[0], simulators[-1]
        if first is last:
            say(f"A simulated charger answers on {first.url}. Stop it with Ctrl-C.")
        else:
            count, host = len(simulators), first.url.rpartition(":")[0]
            say(f"{count} simulated chargers answer on {first.url} to {last.url}. Stop them with Ctrl-C.")
            entry = f"  sim-$port: {{url: '{host}:$port'}}"
            ports = f"$(seq {first.port} {last.port})"
            say(
                f'A configuration: (echo chargers:; for port in {ports}; do echo "{entry}"; done) > simulated.yaml'
            )
        stopped.wait()


def _started(simulators: Sequence[Simulator], where: ListenAddress) -> ExitStack:
    """Start them on ports in a row; where any port will do, the first row that is free."""
    for _ in range(1 if where.port else _ROWS):
        port = where.port
        with ExitStack() as running:
            try:
                for simulator in simulators:
                    simulator.port = port
                    simulator.start()
                    running.callback(simulator.stop)
                    simulator.site.identity = f"port {simulator.port}"
                    port = simulator.port + 1
            except (OSError, OverflowError) as error:  # no port is above 65535
                failure = ListenAddress(where.host, port).failure(error)
            else:
                return running.pop_all()
    raise failure
