"""`set`: write variables and see that they hold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite, nan
from typing import Annotated

import typer

from ccl_exporter.cli.write_session import Ended, Target, carry_out, facts, write_command
from ccl_exporter.control.plug_commands import unchanged
from ccl_exporter.control.write import WriteOptions, Writer
from ccl_exporter.errors import UsageError
from ccl_exporter.text import MASK, format_number


@write_command("set", without=["plug"])
def set_variables(
    pairs: Annotated[
        list[str],
        typer.Argument(metavar="VARIABLE VALUE...", help="Full ids and values of variables of one device."),
    ],
    target: Target,
    force: Annotated[
        bool, typer.Option("--force", help="Write also without a known range, or if not declared writable.")
    ] = False,
) -> None:
    """Write variables that the charger declares writable, and check that the values hold.

    \b
    Example:
      ccl-exporter set 'Plug - Mode 3.PREDUCTION' 50 -c http://evse
    """
    wanted = _pairs(pairs)

    def work(writer: Writer, how: WriteOptions) -> Ended:
        written = writer.set(wanted, replace(how, force=force))

        def change(name: str) -> str:
            if name in written.personal:
                return f"{name}: {MASK}"
            before = format_number(written.before[name])
            return f"{name}: {before} -> {format_number(written.wanted[name])}"

        changes = ", ".join(map(change, written.wanted))
        says = {
            "done": changes,
            "planned": f"would write {changes}",
            "already": f"nothing to do, already set: {changes}",
        }
        return Ended(written.outcome, says.get(written.outcome) or unchanged(written), facts([written]))

    carry_out(target, work)


def _pairs(texts: Sequence[str]) -> Mapping[str, float]:
    """Variables and values; raises `UsageError` for what is no number, or named twice."""
    if len(texts) % 2:
        raise UsageError(f"{texts[-1]!r} has no value: give VARIABLE VALUE, names with blanks in quotes")
    wanted: dict[str, float] = {}
    for name, text in zip(texts[::2], texts[1::2], strict=True):
        if name.startswith("--"):
            raise UsageError(f"no such option: {name}")
        try:
            value = float(text)
        except ValueError:
            value = nan
        if not isfinite(value):
            raise UsageError(f"{text!r} is no value for {name}: only numbers can be written")
        if name in wanted:
            raise UsageError(f"{name} is given twice")
        wanted[name] = value
    return wanted
