"""`check`: what a charger can do, how fast, what is missing."""

import json
import sys
from typing import Annotated

import typer

from ccl_exporter.cli.exit_codes import Exit, exit_code
from ccl_exporter.cli.progress import progress, reading
from ccl_exporter.cli.shared import (
    PATIENCE,
    ChargerOption,
    ConfigFile,
    Patience,
    address,
    configuration,
    fail,
    open_engine,
)
from ccl_exporter.cli.terminal import coloured, highlighted, wrapped
from ccl_exporter.diagnostics import check as diagnosis
from ccl_exporter.errors import ChargerError, UsageError
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.text import count

_ATTENTION = ("failing", "offline", "hidden", "missing", "security")
"""Labels of a report that need attention."""


def check(
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    every: Annotated[bool, typer.Option("--all", help="Check all chargers of the configuration file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    timeout: Patience = PATIENCE,
) -> None:
    """Report what a charger can do, how fast, and what is missing; or why it may not answer.

    \b
    Examples:
      ccl-exporter check -c http://evse
      ccl-exporter check --all --config.file ccl.yaml
    """
    if every:
        if config_file is None:
            raise UsageError("--all checks the chargers of a configuration file: name it with --config.file")
        known = configuration(config_file, patient=False).settings.chargers
        return _check_all(list(known.values()), as_json, timeout)
    settings = address(charger, config_file)
    with open_engine(settings) as engine:
        try:
            with progress(lambda: reading(engine)):
                report = diagnosis.check(engine, timeout)
        except ChargerError as error:
            fail(error, settings.url)
    typer.echo(report.as_json() if as_json else "\n".join(map(_highlighted, report.lines())))
    return None


def _highlighted(line: str) -> str:
    """A line of a report, wrapped; with its label in yellow if it needs attention."""
    label, colon, rest = wrapped(line, sys.stdout).partition(":")
    return f"{coloured(label, 'yellow')}{colon}{rest}" if label in _ATTENTION else label + colon + rest


def _check_all(chargers: list[ChargerSettings], as_json: bool, timeout: float) -> None:
    """Check chargers; the exit code is that of all that cannot be read, or 1 where these differ."""
    results: list[diagnosis.CheckResult] = []
    with progress(lambda: f"checked {len(results)} of {count(len(chargers), 'charger')}"):
        results.extend(diagnosis.check_all(chargers, open_engine, timeout))
    place = {charger.name: number for number, charger in enumerate(chargers)}
    results.sort(key=lambda result: place[result.charger])
    if as_json:
        typer.echo(json.dumps([result.facts() for result in results], ensure_ascii=False, indent=2))
    else:
        typer.echo(highlighted(diagnosis.check_table(results)))
        for result in results:
            if result.advice is not None:
                typer.echo(wrapped(f"{result.charger}: {result.advice}", sys.stdout))
    codes = {exit_code(result.error) for result in results if result.error is not None}
    if codes:
        raise typer.Exit(codes.pop() if len(codes) == 1 else Exit.FAILED)
