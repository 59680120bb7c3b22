"""`scan`: the PowerStudio engines in a network."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from ccl_exporter.cli.exit_codes import Exit
from ccl_exporter.cli.progress import progress
from ccl_exporter.cli.shared import Duration, timeout_option, warn
from ccl_exporter.cli.terminal import highlighted
from ccl_exporter.diagnostics.scan import Scan, own_networks, parse_network
from ccl_exporter.text import align_columns, count

_MANY = 1024
"""How many addresses are asked without a question."""

ADDRESS_TIMEOUT = Duration(1.5)
"""How long an address is waited for; one that no machine has takes all of it."""

Networks = Annotated[
    list[str] | None,
    typer.Argument(metavar="NETWORK", help="Such as 192.0.2.0/24; by default those of this machine."),
]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="The port of the engines.")]
AddressTimeout = Annotated[
    Duration,
    timeout_option(help="How long to wait for each address."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask more than 1,024 addresses without a question.")]


def scan(
    networks: Networks = None,
    port: Port = 80,
    yes: Yes = False,
    as_json: Annotated[bool, typer.Option("--json", help="The engines as JSON.")] = False,
    timeout: AddressTimeout = ADDRESS_TIMEOUT,
) -> None:
    """Find PowerStudio engines in the given networks, or in those of this machine.

    \b
    Examples:
      ccl-exporter scan
      ccl-exporter scan 192.0.2.0/24 --json
    """
    done = run_scan(networks, port, yes, timeout)
    if as_json:
        typer.echo(json.dumps([asdict(engine) for engine in done.found], ensure_ascii=False, indent=2))
    elif done.found:
        rows = [(engine.url, engine.product, engine.version) for engine in done.found]
        typer.echo(highlighted(align_columns([("URL", "PRODUCT", "VERSION"), *rows])))
    if not done.found:
        raise typer.Exit(Exit.NOTHING)


def run_scan(networks: Sequence[str] | None, port: int, yes: bool, timeout: float) -> Scan:
    """Search networks, else those of this machine, and say on standard error what a person must know."""
    running = Scan([parse_network(text) for text in networks or ()] or own_networks(), port, timeout)
    shown = ", ".join(map(str, running.networks))
    if not running.networks:
        warn("this machine is in no network: name one, such as 192.0.2.0/24")
        return running
    if running.total > _MANY and not yes:
        addresses = f"{shown}: {count(running.total, 'address')}"
        if not sys.stdin.isatty():
            warn(f"{addresses}; name a smaller network, or say --yes")
            raise typer.Exit(Exit.REFUSED)
        typer.confirm(f"{addresses}. Ask them all?", abort=True, err=True)
    with progress(lambda: _says(running, shown)):
        running.run()
    for url in running.logins:
        warn(f"{url} asks for a login, so it is not known what it is")
    if not running.found:
        warn(f"no PowerStudio engine in {shown}")
    return running


def _says(running: Scan, shown: str) -> str:
    found = count(len(running.found), "engine")
    return f"asked {running.done:,} of {count(running.total, 'address')} in {shown}; found {found}"
