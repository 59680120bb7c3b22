"""What a command is doing, on a terminal: one line on standard error that is gone at the end."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
