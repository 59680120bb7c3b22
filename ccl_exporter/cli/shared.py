"""Shared by the commands: options, and the connection to a charger."""

import os
import re
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn
from urllib.parse import urlsplit

import typer

from ccl_exporter.cli.exit_codes import exit_code
from ccl_exporter.cli.terminal import coloured, wrapped
from ccl_exporter.errors import ChargerError, UsageError
from ccl_exporter.locks import ChargerLock, state_folder
from ccl_exporter.powerstudio.advice import advice
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.learned import LearnedFile
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.settings import ChargerSettings, charger_settings
from ccl_exporter.tariff import Tariff, TimeWindow, window
from ccl_exporter.text import JOULES_PER_KWH, format_duration, parse_duration, parse_energy

if TYPE_CHECKING:
    from ccl_exporter.config.document import Configuration

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]+)?")
_LONGEST = 366 * 86400.0
"""Seconds that a duration may be: instants so far from now still have a date."""
_SOME = 5
"""Chargers that a message names."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOP_OR_HANG_UP = (*STOP_SIGNALS, signal.SIGHUP)
"""For commands that have something to restore: a terminal that is closed ends them as well."""

CHARGER_OPTIONS = "Charger options"
WRITE_OPTIONS = "Write options"
WEB_OPTIONS = "Web server options"
"""Groups of flags in the help of commands."""

web_option = partial(typer.Option, rich_help_panel=WEB_OPTIONS)
"""The declaration of a flag in the group of the web server."""


class Duration(float):
    """Seconds, which are written as on the command line: 15s."""

    def __str__(self) -> str:
        return format_duration(self)


class Energy(float):
    """Joules, which are written as on the command line: 10kWh."""

    def __str__(self) -> str:
        return f"{self / JOULES_PER_KWH:g}kWh"


def energy(given: object) -> Energy:
    """What a flag says of an energy, such as 10kWh or 500Wh."""
    try:
        return Energy(parse_energy(str(given)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def duration_of_at_least(
    least: float, needs_unit: bool = False, most: float = _LONGEST
) -> Callable[[object], Duration]:
    """What reads a duration such as 200ms, 15s or 1m from a flag, of `least` to `most` seconds.

    A number without a unit is in seconds, as in version 0.1, unless it `needs_unit`.
    """

    def parsed(given: object) -> Duration:
        text = str(given)
        try:
            found = Duration(text if _NUMBER.fullmatch(text) and not needs_unit else parse_duration(text))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        if found < least:
            raise typer.BadParameter(f"{text} is too short: give at least {Duration(least)}")
        if found > most:
            raise typer.BadParameter(f"{text} is too long: give at most {Duration(most)}")
        return found

    return parsed


def duration_option(flag: str, least: float, needs_unit: bool = False, most: float = _LONGEST, **more: Any) -> Any:
    """The declaration of a flag that is a duration of `least` to `most` seconds."""
    return typer.Option(flag, parser=duration_of_at_least(least, needs_unit, most), metavar="DURATION", **more)


timeout_option = partial(duration_option, "--timeout", 0.1, most=86400)
"""The declaration of how long to wait for a network, which cannot wait for a month."""


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config.file",
        envvar="CCL_CONFIG_FILE",
        metavar="FILE",
        rich_help_panel=CHARGER_OPTIONS,
        help="The chargers by name, in YAML.",
    ),
]
ChargerOption = Annotated[
    str | None,
    typer.Option(
        "--charger",
        "-c",
        envvar="CCL_CHARGER",
        metavar="CHARGER",
        rich_help_panel=CHARGER_OPTIONS,
        help="URL, host name or address of the charger, or its name in the configuration file.",
    ),
]
Patience = Annotated[
    Duration,
    timeout_option(rich_help_panel=CHARGER_OPTIONS, help="How long to wait for a first answer."),
]
PATIENCE = Duration(15)
Need = Annotated[
    Energy | None,
    typer.Option("--need", parser=energy, metavar="ENERGY", help="Energy that the car needs, such as 20kWh."),
]
PlugName = Annotated[
    str | None,
    typer.Option(
        "--plug",
        metavar="PLUG",
        rich_help_panel=CHARGER_OPTIONS,
        help="The plug, where a charger has several; a part of its name will do if no other plug has it.",
    ),
]
Zone = Annotated[
    str | None,
    typer.Option("--timezone", metavar="ZONE", help="Such as Europe/London; by default that of this machine."),
]
Listen = Annotated[
    str,
    web_option(
        "--web.listen-address", metavar="ADDRESS", help="Address and port to serve on; port 0 is any free one."
    ),
]
Speed = Annotated[float, typer.Option("--speed", min=0.01, max=100_000, help="Simulated seconds per second.")]
LifeOption = Annotated[
    Literal["busy", "home"],
    typer.Option(
        "--life", help="Who charges: one vehicle after the other, or one that comes home in the evening."
    ),
]
Sensitive = Annotated[bool, typer.Option("--sensitive", help="Show personal values too: tags, users, free texts.")]


def configuration(config_file: Path, patient: bool = True, fetch: bool = True) -> "Configuration":
    """What a configuration file says now; if `patient`, or not to `fetch` it, its inventory may come later."""
    from ccl_exporter.config import document  # noqa: PLC0415 - half of a start, and few have a file

    return document.load(config_file, os.environ, patient=patient, fetch=fetch)


def address(charger: str | None, config_file: Path | None = None) -> ChargerSettings:
    """The charger of a command: by its name in the configuration file, or by its address there or elsewhere.

    Without either, the one of the file. Raises `UsageError` if that is not exactly one, or if the inventory cannot
    be read and `charger` may be a name in it: neither a charger of the file itself nor an address.
    """
    read = configuration(config_file) if config_file is not None else None
    named = read.settings.chargers if read is not None else {}
    if charger is not None and charger in named:
        return named[charger]
    given = charger_settings(charger, os.environ) if charger is not None else None
    found = next((one for one in named.values() if given is not None and one.url == given.url), given)
    if read is not None and read.source_error is not None and found is given and not _is_address(charger or ""):
        raise UsageError(
            f"{read.source_error}; so it is not known which charger is meant: give its URL, such as http://evse"
        )
    if given is None or found is None:
        if len(named) == 1:
            return next(iter(named.values()))
        if not named:
            raise UsageError("no charger is named: give its address, such as http://evse, or set CCL_CHARGER")
        some = ", ".join(islice(named, _SOME)) + (", …" if len(named) > _SOME else "")
        raise UsageError(f"no charger is named: give one of {config_file} with -c: {some}")
    return replace(found, credentials=given.credentials or found.credentials)


def _is_address(charger: str) -> bool:
    """Whether a text is a URL or an IP address, perhaps with a port, and so no charger's name."""
    with suppress(ValueError):
        return "://" in charger or bool(ip_address(urlsplit(f"//{charger}").hostname or ""))
    return False


def hours(text: str, timezone: str | None, config_file: Path | None) -> TimeWindow | Tariff:
    """Hours of the day from `00:30-04:30`, or with `tariff` the cheap hours of the configuration file."""
    if text != "tariff":
        return window(text, timezone)
    tariff = configuration(config_file).settings.tariff if config_file is not None else None
    if tariff is None or not tariff.windows:
        raise UsageError("`tariff` needs a configuration file whose `tariff` section has windows")
    if timezone is not None:
        raise UsageError("the tariff has a time zone of its own: leave out --timezone")
    return tariff


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; raises `UsageError` for a name that none can have."""
    try:
        return path.exists()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def charger_lock(settings: ChargerSettings) -> ChargerLock:
    """The lock by which all programs on this machine take turns at a charger."""
    return ChargerLock(state_folder(os.environ), settings.url, settings.pause)


def transport(settings: ChargerSettings) -> closing[Transport]:
    """A connection to a charger that takes turns with whatever else on this machine reads it."""
    return closing(Transport(settings.url, settings.credentials, settings.source_address, charger_lock(settings)))


def learned(settings: ChargerSettings) -> LearnedFile:
    """The file of what the service and other commands have learned of a charger."""
    return LearnedFile(state_folder(os.environ), settings.url)


@contextmanager
def open_engine(settings: ChargerSettings) -> Iterator[Engine]:
    """A charger to be read as a whole, with what is known of it."""
    with transport(settings) as connection:
        yield Engine(settings.name, connection, learned(settings))


def program() -> str:
    """This program as it was started, for commands that a person can copy."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python3 -m ccl_exporter"
    return called.name if shutil.which(called.name) == str(called) else shlex.quote(str(called))


def program_for_others() -> str:
    """The program as the live page writes it: CCL_PROGRAM of a unit, else as it was started.

    A full path may name a person, and is not shown.
    """
    started = program()
    return os.environ.get("CCL_PROGRAM") or ("ccl-exporter" if started.lstrip("'").startswith("/") else started)


def say(sentence: str, err: bool = False) -> None:
    """Print a sentence; a reader that is gone, such as a `tee` that has ended, must stop nothing."""
    try:
        typer.echo(sentence, err=err)
    except OSError:
        flush_streams()


def say_wrapped(sentence: str) -> None:
    """Print a sentence for a person; on a terminal its lines end at words."""
    say(wrapped(sentence, sys.stdout))


def flush_streams() -> None:
    """Flush, and drop what cannot be printed: otherwise Python fails on it at the exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def warn(sentence: str, colour: str = "yellow") -> None:
    """Print a sentence on standard error, whatever the command prints."""
    name, _, rest = wrapped(f"ccl-exporter: {sentence}", sys.stderr).partition(" ")
    say(f"{coloured(name, colour)} {rest}", err=True)


def fail(error: ChargerError, url: str) -> NoReturn:
    """Say why a charger cannot be read and what its owner can do, and end with the exit code for that."""
    warn(str(error), "red")
    warn(advice(error, url))
    raise typer.Exit(exit_code(error)) from error


@contextmanager
def signal_handler(handler: Callable[[], object], *numbers: signal.Signals) -> Iterator[None]:
    """Let signals call something instead of ending the process; a hang-up that `nohup` ignores stays ignored."""
    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    before = {number: signal.signal(number, lambda *_: handler()) for number in numbers if number not in ignored}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def on_signals(act: Callable[[], object], *numbers: signal.Signals) -> Iterator[None]:
    """Let these signals call something, in a thread, and the process go on.

    A signal handler could not set an event safely: it may interrupt a wait that holds the lock of the event, or
    that is just about to begin.
    """
    heard, tell = os.pipe()
    os.set_blocking(tell, False)

    def listen() -> None:
        while received := os.read(heard, 1):
            if received[0] in numbers:
                act()

    listener = threading.Thread(target=listen, name="signals", daemon=True)
    listener.start()
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    try:
        with signal_handler(lambda: None, *numbers):
            yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(tell)
        listener.join()
        os.close(heard)
