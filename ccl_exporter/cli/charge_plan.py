"""`charge plan`: charge in the cheapest half-hours, or in those with the least carbon."""

import re
import shlex
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path
from time import time
from typing import Annotated

import typer

from ccl_exporter.cli.exit_codes import Exit
from ccl_exporter.cli.shared import STOP_OR_HANG_UP, Zone, on_signals, say, transport
from ccl_exporter.cli.terminal import highlighted
from ccl_exporter.cli.write_session import Target, restore, session, write_command
from ccl_exporter.control.plan.planner import Goal, Planner
from ccl_exporter.control.plan.prices import Slot, parse
from ccl_exporter.control.plan.schedule import Plan, cheapest, deadline
from ccl_exporter.control.plan.timers import LOADED_WITHIN, NAME, units
from ccl_exporter.control.plug_commands import PlugCommands, PlugReader, Result
from ccl_exporter.control.restore import TemporaryChange
from ccl_exporter.control.time_window import zone_of
from ccl_exporter.control.write import Written
from ccl_exporter.errors import UsageError
from ccl_exporter.powerstudio.command_reader import CommandReader
from ccl_exporter.text import align_columns

_ENERGY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(kWh|Wh)")
_POWER = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(kW|W)")
_EVERY = 30.0
_NEARLY = 0.02
_MOST = 50_000_000


@write_command("charge plan", without=["wait", "least_pause", "length", "as_json"])
def plan(
    prices: Annotated[
        str, typer.Argument(metavar="PRICES", help="CSV or JSON with begin, end and price; - is standard input.")
    ],
    need: Annotated[str, typer.Option("--need", metavar="ENERGY", help="What the car needs, such as 20kWh.")],
    by: Annotated[
        str, typer.Option("--by", metavar="TIME", help="By when: 07:00, or an instant with its offset.")
    ],
    *,
    power: Annotated[
        str, typer.Option("--power", metavar="POWER", help="The power at which the car charges.")
    ] = "7.2kW",
    target: Target,
    timezone: Zone = None,
    timers: Annotated[
        Path | None, typer.Option("--timers", metavar="DIR", help="Write systemd timers to this folder and exit.")
    ] = None,
) -> None:
    """Charge when it costs least: print the plan and carry it out.

    The price may be carbon intensity as well: the lowest sum is chosen.

    \b
    Example:
      ccl-exporter charge plan rates.json --need 20kWh --by 07:00 -c http://evse
    """
    where, now = zone_of(timezone) if timezone is not None else None, time()
    goal = Goal(
        _quantity(_ENERGY, need, "--need", "20kWh"),
        deadline(by, now, where),
        _quantity(_POWER, power, "--power", "7.2kW"),
    )
    read = _prices(prices)
    if target.dry_run or timers is not None:
        begin = now + LOADED_WITHIN if timers is not None else now
        planned = cheapest(read(), goal.need, goal.kilowatts, begin, goal.by)
        _show(where, planned)
        if timers is not None and not target.dry_run:
            _write_timers(timers, planned, target)
        return
    _carry_out(goal, read, where, target)


def _carry_out(goal: Goal, read: Callable[[], Sequence[Slot]], where: tzinfo | None, target: Target) -> None:
    disabled: list[Written] = []
    stopped = threading.Event()
    with TemporaryChange(target.control_state) as meanwhile, on_signals(stopped.set, *STOP_OR_HANG_UP):

        def keep(written: Written) -> None:
            # One way back is enough: the plug is in service again once the plan is over.
            if not disabled:
                meanwhile.remember(written)
                disabled.append(written)

        def start() -> Result:
            with session(target) as writer:
                return PlugCommands(writer, target.plug, target.timeout).start(target.how)

        def stop() -> Result:
            with session(target) as writer:
                return PlugCommands(writer, target.plug, target.timeout).disable(replace(target.how, keep=keep))

        with transport(target.settings) as connection:
            reader = PlugReader(CommandReader(connection), target.plug, target.timeout)
            planner = Planner(goal, read, reader.look, start, stop, partial(_show, where), say)
            try:
                while not stopped.is_set() and planner.step():
                    turns = planner.plan.turns_next(time())
                    stopped.wait(min(_EVERY, max(turns - time(), 0.0) if turns is not None else _EVERY))
            finally:
                good = restore(target, meanwhile)
    raise typer.Exit(Exit.DONE if good and planner.left <= goal.need * _NEARLY else Exit.FAILED)


def _prices(name: str) -> Callable[[], Sequence[Slot]]:
    """What reads the prices as they are now; standard input is read once."""
    if name == "-":
        once = parse(sys.stdin.read(_MOST))
        return lambda: once

    def read() -> Sequence[Slot]:
        try:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(_MOST)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        try:
            return parse(text)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from error

    return read


def _show(where: tzinfo | None, planned: Plan) -> None:
    def clock(at: float) -> str:
        return datetime.fromtimestamp(at, UTC).astimezone(where).isoformat(timespec="minutes")

    lines = [("BEGIN", "END", "PRICE", "KWH", "COST")]
    lines += [
        (clock(one.begin), clock(one.end), f"{one.price:g}", f"{one.kilowatt_hours:.2f}", f"{one.cost:.2f}")
        for one in planned.pieces
    ]
    say(highlighted(align_columns(lines)))
    total = planned.kilowatt_hours
    mean = f", {planned.cost / total:.2f} for each" if total else ""
    say(f"{total:.2f} kWh cost {planned.cost:.2f}{mean}")
    if planned.missing > 0.005:
        say(f"{planned.missing:.2f} kWh cannot be had: there is no time, or no price, for them")


def _write_timers(folder: Path, planned: Plan, target: Target) -> None:
    if not planned.blocks:
        raise UsageError("there is nothing to charge, so there are no timers")
    own = str(Path(sys.argv[0]).resolve())
    more = ["--charger", target.charger or target.settings.url]
    more += ["--config.file", str(target.config_file.resolve())] if target.config_file is not None else []
    more += ["--plug", target.plug] if target.plug is not None else []
    # Nobody tries a unit again: it must not be refused where a block or a gap is shorter than a minute,
    # and an end has to outlast a start that still waits for its charge.
    more += ["--min-interval", "0", "--timeout", "120"]
    start, end = (_unit_words([own, "charge", word, *more]) for word in ("start", "disable"))
    try:
        for name, text in units(planned, start, end, with_secrets=target.config_file is not None).items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error
    # Timers of an earlier plan are active even when their times are over, and `start` would leave them so.
    typer.echo(
        f"Four units are in {folder}; within five minutes:"
        f" systemctl daemon-reload && systemctl restart {NAME}-{{start,end}}.timer\n"
        "Until the first start a car charges as it likes: `charge disable` makes it wait"
    )


def _unit_words(words: Sequence[str]) -> str:
    """A command line as units have it: per cent and dollar signs mean nothing there."""
    return " ".join(shlex.quote(word).replace("%", "%%").replace("$", "$$") for word in words)


def _quantity(pattern: re.Pattern[str], text: str, flag: str, sample: str) -> float:
    found = pattern.fullmatch(text.strip())
    if found is None or float(found[1]) <= 0:
        raise UsageError(f"{flag} {text!r} cannot be; it looks like {sample}")
    return float(found[1]) * (1 if found[2].startswith("k") else 0.001)
