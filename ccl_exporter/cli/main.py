"""The entry point: what has to be done before the imports of a command, which take a while."""

import os
import sys
from io import TextIOWrapper

from ccl_exporter.cli.service_signals import SIGNALS


def main() -> None:
    """Run a command."""
    _open_closed_streams()
    if sys.argv[1:2] in (["serve"], ["demo"]) and "--config.check" not in sys.argv:
        SIGNALS.install()
    from ccl_exporter.cli.command_table import run  # noqa: PLC0415 - Typer is most of a start

    run()


def _open_closed_streams() -> None:
    """Else a file or a connection would get the number of a closed standard stream, and what is written there.

    Python has no object for a closed stream, and commands do not ask whether there is one.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115 - kept
            setattr(sys, name, stream)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        # A name of a file may hold bytes that are not UTF-8.
        sys.stdout.reconfigure(errors="surrogateescape")
