"""What a command is doing, on a terminal: one line on standard error that is gone at the end."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.snapshot import DocumentName
from ccl_exporter.text import count

_READS: Mapping[DocumentName | None, str] = {
    "devices": "the list of devices",
    "device_info": "devices",
    "plug_info": "plugs",
    "information": "the name of the engine",
    "var_info": "descriptions",
}


def reading(engine: Engine) -> str:
    """What is being read of an engine, how much of it is left, and why it takes long."""
    progress = engine.progress
    what = f"reading {_READS.get(progress.document, 'values')}"
    if not progress.total:
        return what
    # By then it is known whether the engine takes several names at once.
    is_slow = progress.document == "var_info" and not engine.separators
    why = "; this charger answers one at a time" if is_slow else ""
    return f"{what} {progress.done} of {progress.total}{why}"


def requests(what: str, number: int) -> str:
    """What a command does, and how many requests it has sent."""
    return f"{what}: {count(number, 'request')} so far"


@contextmanager
def progress(says: Callable[[], str]) -> Iterator[None]:
    """Show what `says` returns, again and again, until the block ends; nothing if standard error is no terminal.

    `says` is called by another thread.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - a script does not wait for it
    from rich.live import Live  # noqa: PLC0415 - likewise
    from rich.spinner import Spinner  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    spinner = Spinner("line")

    def line() -> Spinner:
        # As a Text, since a name of a device may look like markup.
        spinner.update(text=Text(says()))
        return spinner

    console = Console(stderr=True)
    with Live(get_renderable=line, console=console, refresh_per_second=8, transient=True, redirect_stdout=False):
        yield
