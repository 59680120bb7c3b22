"""What the commands share: their options, exit codes, and the way to a charger."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccl_exporter.errors import AccessDenied, CclError, TimedOut, Unreachable, UsageError, WriteRejected

if TYPE_CHECKING:
    from ccl_exporter.powerstudio.transport import Transport
    from ccl_exporter.settings import ChargerSettings

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOP_OR_HANG_UP = (*STOP_SIGNALS, signal.SIGHUP)
"""For those who have something to put back: a terminal that is closed ends them as well."""


class Exit(IntEnum):
    """Exit codes that scripts may rely on."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    NOT_TAKEN = 5
    NOTHING = 6
    NO_VEHICLE = 7


ConfigFile = Annotated[
    Path | None,
    typer.Option("--config.file", envvar="CCL_CONFIG_FILE", help="The chargers by name, in YAML."),
]
ChargerOption = Annotated[
    str | None,
    typer.Option(
        "--charger", "-c", envvar="CCL_CHARGER", help="The charger: http://evse, a host name or an address."
    ),
]
Patience = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for a first answer.")]
Sensitive = Annotated[bool, typer.Option("--sensitive", help="Show personal values too: tags, users, free texts.")]


def exit_code(error: CclError) -> Exit:
    match error:
        case UsageError():
            return Exit.USAGE
        case Unreachable() | TimedOut():
            return Exit.UNREACHABLE
        case AccessDenied() | WriteRejected():
            return Exit.REFUSED
        case _:
            return Exit.FAILED


def address(charger: str | None, config_file: Path | None = None) -> "ChargerSettings":
    """The charger of a command: by its name in the configuration file, or by its address."""
    from ccl_exporter.settings import charger_settings  # noqa: PLC0415 - keeps --help quick

    if charger is None:
        raise UsageError("no charger is named: give its address, such as http://evse, or set CCL_CHARGER")
    if config_file is not None:
        from ccl_exporter.config import document as configuration  # noqa: PLC0415 - only with a file

        named = configuration.load(config_file, os.environ, patient=True).settings.chargers
        if charger in named:
            return named[charger]
    return charger_settings(charger, os.environ)


@contextmanager
def transport(settings: "ChargerSettings") -> "Iterator[Transport]":
    """A connection to a charger that takes turns with whatever else on this machine reads it."""
    from ccl_exporter.locks import ChargerLock, state_folder  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.powerstudio.transport import Transport  # noqa: PLC0415 - keeps --help quick

    lock = ChargerLock(state_folder(os.environ), settings.url, settings.pause)
    transport = Transport(settings.url, settings.credentials, settings.source_address, lock)
    try:
        yield transport
    finally:
        transport.close()


def say(sentence: str, err: bool = False) -> None:
    """Print a sentence; that nobody reads any more, such as a `tee` that is gone, must stop nothing."""
    try:
        typer.echo(sentence, err=err)
    except OSError:
        # Nor may what could not be printed fail again when Python flushes it at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, (sys.stderr if err else sys.stdout).fileno())
        os.close(nowhere)


@contextmanager
def on_signals(act: Callable[[], object], *numbers: signal.Signals) -> Iterator[None]:
    """Let signals call something instead of ending the process."""
    before = {number: signal.signal(number, lambda *_: act()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
