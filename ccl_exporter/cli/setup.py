"""`setup`: a configuration file for a charger that answers."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ccl_exporter.cli.exit_codes import Exit
from ccl_exporter.cli.progress import progress
from ccl_exporter.cli.scan import ADDRESS_TIMEOUT, Networks, Port, Yes, run_scan
from ccl_exporter.cli.shared import (
    PATIENCE,
    ChargerOption,
    Patience,
    address,
    configuration,
    exists,
    fail,
    program,
    transport,
    warn,
)
from ccl_exporter.config.new_file import new_file
from ccl_exporter.diagnostics.scan import FoundEngine, identify
from ccl_exporter.errors import ChargerError, UsageError
from ccl_exporter.text import printable_text


def setup(
    networks: Networks = None,
    charger: ChargerOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("ccl.yaml"),
    name: Annotated[
        str, typer.Option("--name", help="What the charger is called; several are numbered.")
    ] = "garage",
    port: Port = 80,
    yes: Yes = False,
    timeout: Patience = PATIENCE,
) -> None:
    """Find the charger or take its address, check it, and write a configuration file.

    Without `--charger` it searches the networks, by default those of this machine, and asks for an address if
    nothing is found.
    A file that exists is never overwritten.

    \b
    Examples:
      ccl-exporter setup
      ccl-exporter setup -c http://evse --output garage.yaml
    """
    if exists(output):
        _refuse(output)
    found = run_scan(networks, port, yes, ADDRESS_TIMEOUT).found if charger is None else []
    login: Mapping[str, str] = {}
    if not found:
        found, login = [_identified(charger or _asked(), timeout)], os.environ
    names = [name] if len(found) == 1 else [f"{name}-{number}" for number in range(1, len(found) + 1)]
    chargers = {each: engine.url for each, engine in zip(names, found, strict=True)}
    _write(output, new_file(chargers, login))
    for each, engine in zip(names, found, strict=True):
        about = printable_text(f"{engine.product or 'unnamed product'} {engine.version}")
        typer.echo(f"{each}: {engine.url}, {about}".rstrip())
    _say_next(output, names)


def _asked() -> str:
    if not sys.stdin.isatty():
        warn("name the charger with --charger")
        raise typer.Exit(Exit.NOTHING)
    answer: str = typer.prompt("Address of the charger", err=True)
    return answer


def _write(output: Path, text: str) -> None:
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _refuse(output)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror or error}") from error
    try:
        configuration(output)
    except UsageError:
        output.unlink()
        raise


def _identified(charger: str, timeout: float) -> FoundEngine:
    settings = address(charger)
    with transport(settings) as connection:
        try:
            with progress(lambda: f"asking {settings.url} what it is"):
                return identify(connection, timeout)
        except ChargerError as error:
            fail(error, settings.url)


def _refuse(output: Path) -> NoReturn:
    warn(f"{output} exists and is not overwritten; --output names another file")
    raise typer.Exit(Exit.REFUSED)


def _say_next(output: Path, names: Sequence[str]) -> None:
    file = f"--config.file {shlex.quote(str(output))}"
    typer.echo(f"{output} is written. Next:")
    for command in (f"serve {file}", f"charge status {file} -c {names[0]}", f"check {file} --all"):
        typer.echo(f"  {program()} {command}")
