"""`assets`: the dashboards and rules that come with the package."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from ccl_exporter.errors import UsageError


def assets(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; it is made if it is missing.")],
) -> None:
    """Copy the Grafana dashboards and the Prometheus rules of this version to a folder.

    Files of the same names are overwritten.

    \b
    Examples:
      ccl-exporter assets /etc/ccl-exporter/assets
    """
    shipped = files("ccl_exporter") / "assets"
    if not shipped.is_dir():
        raise UsageError(
            "this is not an installed wheel: the files are in dashboards/ and deploy/prometheus/rules/"
        )
    with as_file(shipped) as source:
        try:
            shutil.copytree(source, folder, dirs_exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from error
        for path in sorted(source.rglob("*.*")):
            typer.echo(folder / path.relative_to(source))
