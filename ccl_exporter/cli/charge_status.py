"""`charge status`: what a plug does, and why it does not charge."""

from typing import TYPE_CHECKING

from ccl_exporter.cli.charge import PlugName
from ccl_exporter.cli.shared import ChargerOption, ConfigFile, Patience, address, transport
from ccl_exporter.cli.write_session import (
    AsJson,
    Ended,
    finish,
)

if TYPE_CHECKING:
    pass


def status(
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    plug: PlugName = None,
    as_json: AsJson = False,
    timeout: Patience = 15.0,
) -> None:
    """Say what the plug does, and why it does not charge if it does not. Writes nothing."""
    from ccl_exporter.control.plug_commands import PlugReader  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.wording import describe, facts  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.powerstudio.command_reader import CommandReader  # noqa: PLC0415 - keeps --help quick

    with transport(address(charger, config_file)) as connection:
        seen = PlugReader(CommandReader(connection), plug, timeout).look()
    finish(Ended("done", describe(seen), {"plug": facts(seen)}), as_json)
