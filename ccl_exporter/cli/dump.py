"""`dump`: a recording of a charger with everything personal masked."""

from pathlib import Path
from typing import Annotated

import typer

from ccl_exporter.cli.progress import progress
from ccl_exporter.cli.shared import ChargerOption, ConfigFile, address, transport
from ccl_exporter.diagnostics import dump as recording
from ccl_exporter.text import count


def dump(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
) -> None:
    """Record a charger's responses with everything personal masked; `simulate --recordings` replays them.

    \b
    Example:
      ccl-exporter dump recording -c http://evse
    """
    with transport(address(charger, config_file)) as connection:
        made = recording.Recording()
        with progress(lambda: _says(made)):
            recording.dump(connection, folder, made)
    written, missing = count(len(made.written), "document"), len(made.left_out)
    typer.echo(f"{folder} holds {written}; {missing} not available, see about.txt.")
    typer.echo(f"Check them before you send them; `simulate --recordings {folder}` replays them.")


def _says(made: recording.Recording) -> str:
    if not made.total:
        return "reading the list of devices"
    return f"recorded {made.done} of {count(made.total, 'document')}, one at a time"
