"""`charge plan`: charge in the cheapest half-hours, or in those with the lowest carbon intensity."""

import os
import re
import shlex
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from functools import partial
from math import inf, isfinite
from pathlib import Path
from time import time
from typing import Annotated

import typer

from ccl_exporter.cli.exit_codes import Exit
from ccl_exporter.cli.shared import (
    STOP_OR_HANG_UP,
    Duration,
    Need,
    Zone,
    configuration,
    duration_option,
    learned,
    on_signals,
    say,
    say_wrapped,
    transport,
    warn,
)
from ccl_exporter.cli.terminal import highlighted
from ccl_exporter.cli.write_session import (
    Target,
    has_pending,
    restore,
    restore_only,
    session,
    write_command,
)
from ccl_exporter.control.metrics_server import serve_collector
from ccl_exporter.control.plan.plan_metrics import PlanMetrics
from ccl_exporter.control.plan.planner import Goal, Planner
from ccl_exporter.control.plan.price_source import MOST, UrlPrices, file_prices, is_url, token_header
from ccl_exporter.control.plan.prices import DIRECT_DEBIT, Slot, parse
from ccl_exporter.control.plan.schedule import FULL, Plan, deadline, is_clock, is_met
from ccl_exporter.control.plan.timers import LOADED_WITHIN, NAME, units
from ccl_exporter.control.plug_commands import PlugCommands, PlugReader, Result, active_override
from ccl_exporter.control.restore import TemporaryChange
from ccl_exporter.control.wording import describe_boost
from ccl_exporter.control.write import Written, identify
from ccl_exporter.errors import UsageError
from ccl_exporter.locks import state_folder
from ccl_exporter.powerstudio.command_reader import CommandReader
from ccl_exporter.settings import DEFAULT_MAX_POWER, listen_address
from ccl_exporter.station.plug import Plug
from ccl_exporter.tariff import zone_of
from ccl_exporter.text import JOULES_PER_KWH, align_columns, quote_short, url_host

_POWER = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(kW|W)")
_EVERY = 30.0
_MISSING = 0.005
"""Kilowatt-hours below which nothing is missing."""


@write_command("charge plan", without=["wait", "least_pause", "length", "as_json"])
def plan(  # noqa: PLR0913 - each is a flag of the command
    prices: Annotated[
        str | None,
        typer.Argument(metavar="PRICES", help="A file or a URL with prices in CSV or JSON; - is standard input."),
    ] = None,
    need: Need = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="TIME", help="By when: 07:00, or an instant with its offset.")
    ] = None,
    below: Annotated[
        float | None,
        typer.Option("--below", metavar="PRICE", help="Instead of a need: charge in every hour that is cheaper."),
    ] = None,
    *,
    power: Annotated[
        str, typer.Option("--power", metavar="POWER", help="The power at which the car charges.")
    ] = "7.2kW",
    least_block: Annotated[
        Duration,
        duration_option(
            "--least-block",
            300,  # the search for a plan takes the longer, the shorter its blocks are
            needs_unit=True,
            help="Shortest time of charging without a break; fewer starts spare contactors.",
        ),
    ] = Duration(900),
    every_day: Annotated[
        bool, typer.Option("--every-day", help="Plan anew for the next day once the time of --by is over.")
    ] = False,
    payment_method: Annotated[
        str,
        typer.Option("--payment-method", metavar="METHOD", help="Which of the prices of Octopus Energy count."),
    ] = DIRECT_DEBIT,
    target: Target,
    timezone: Zone = None,
    timers: Annotated[
        Path | None, typer.Option("--timers", metavar="DIR", help="Write systemd timers to this folder and exit.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option("--web.listen-address", metavar="ADDRESS", help="Serve metrics, such as on 127.0.0.1:9989."),
    ] = None,
    put_back: Annotated[
        bool,
        typer.Option("--restore", help="Only restore what a plan that was killed had changed."),
    ] = False,
) -> None:
    """Charge when it costs least: print the plan and carry it out.

    The price may be carbon intensity as well: the lowest sum is chosen.

    \b
    Examples:
      ccl-exporter charge plan rates.json --need 20kWh --by 07:00 -c http://evse
      ccl-exporter charge plan https://prices.example/today --below 10 -c http://evse
    """
    if put_back:
        restore_only(target)
    if prices is None:
        raise UsageError("say where the prices are: a file, a URL, or - for standard input")
    if (need is None) == (below is None):
        raise UsageError("say what the car needs by --need, or up to which price it charges by --below")
    if need is not None and need / JOULES_PER_KWH <= FULL:
        raise UsageError(f"--need: {need} is too little to be measured: give more than {FULL:g}kWh")
    if below is not None and not isfinite(below):
        raise UsageError(f"--below: {below} is not a price")
    if need is not None and by is None:
        raise UsageError("--need needs --by: the time at which the car is to have it")
    if every_day and not is_clock(by or ""):
        raise UsageError("--every-day needs --by with a time of the day, such as 07:00")
    where = zone_of(timezone)
    asked = Goal(
        need / JOULES_PER_KWH if need is not None else None,
        inf,
        _kilowatts(power),
        least_block,
        below if below is not None else inf,
    )

    def goal(now: float) -> Goal:
        return replace(asked, by=deadline(by, now, where)) if by is not None else asked

    wanted = goal(time())
    read = _prices(prices, partial(parse, payment_method=payment_method))
    if not target.dry_run and timers is None:
        _carry_out(_PlanTask(target, goal, read, where, every_day, listen))
    now = time() + (LOADED_WITHIN if timers is not None else 0.0)
    planned = wanted.plan(read(), wanted.need or 0.0, now)
    _show(where, planned)
    if timers is not None and not target.dry_run:
        _write_timers(timers, planned, target)
    raise typer.Exit(Exit.FAILED if planned.missing > _MISSING else Exit.DONE)


@dataclass(frozen=True)
class _PlanTask:
    """What the flags ask for; `goal` is that of an instant, as there is another one every day."""

    target: Target
    goal: Callable[[float], Goal]
    prices: Callable[[], Sequence[Slot]]
    where: tzinfo | None
    every_day: bool
    listen: str | None


def _carry_out(task: _PlanTask) -> None:
    target, stopped = task.target, threading.Event()
    planners: list[Planner] = []
    with ExitStack() as running:
        running.enter_context(on_signals(stopped.set, *STOP_OR_HANG_UP))
        lookup = CommandReader(running.enter_context(transport(target.settings)), learned(target.settings))
        identify(target.control_state, lookup, target.timeout)
        reader = PlugReader(lookup, target.plug, target.timeout)
        running.enter_context(target.control_state.planning(reader.name))
        if task.listen is not None:
            where = listen_address(task.listen)
            metrics = PlanMetrics(lambda: planners[-1].status if planners else None)
            port, end = serve_collector(where, metrics)
            running.callback(end)
            say_wrapped(f"Metrics of the plan are on http://{url_host(where.host)}:{port}/metrics.")
        if has_pending(target):
            with session(target):
                pass  # A plan that was killed has left the plug as it was then.
        while True:
            is_restored, is_met = _carry_out_once(task, reader, planners, stopped)
            if not task.every_day:
                break
            while not stopped.is_set() and time() < planners[-1].goal.by:
                stopped.wait(min(_EVERY, planners[-1].goal.by - time()))
            if stopped.is_set():
                break
    # What is to be done every day is never done: to be stopped is its only end.
    raise typer.Exit(Exit.DONE if is_restored and (is_met or task.every_day) else Exit.FAILED)


def _carry_out_once(
    task: _PlanTask, reader: PlugReader, planners: list[Planner], stopped: threading.Event
) -> tuple[bool, bool]:
    """Carry out the plan of one goal: whether the plug was restored, and whether the car has what it needs."""
    target, state, goal = task.target, task.target.control_state, task.goal(time())
    disabled: list[Written] = []
    with TemporaryChange(state) as meanwhile:

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
                at = PlugCommands(writer, target.plug, target.timeout)
                # Another command may have begun a boost while this one waited for its turn.
                if boosted := boost(seen := at.look()):
                    return Result("nothing", boosted, seen)
                return at.disable(replace(target.how, keep=keep))

        def boost(seen: Plug) -> str:
            override = active_override(state.override(seen.name), seen, time())
            return f"{seen.name}: {describe_boost(override, is_followed=False)}" if override is not None else ""

        kept = state.plan_progress(reader.name)
        if kept is None or goal.need is None or (kept.need, kept.by) != (goal.need, goal.by):
            kept = None
        elif not is_met(goal.need, kept.charged):
            say_wrapped(
                f"goes on with a plan that was ended early: {kept.charged:.2f} of {goal.need:g} kWh are charged"
            )
        planner = Planner(
            goal,
            task.prices,
            reader.look,
            start,
            stop,
            partial(_show, task.where),
            say_wrapped,
            keep=partial(state.keep_plan_progress, reader.name),
            progress=kept,
            clock=partial(_clock, task.where),
            # The prices may be unreadable just when the next day begins.
            slots=(planners[-1].slots or ()) if planners else None,
            boost=boost,
        )
        planners[:] = [planner]
        try:
            while not stopped.is_set() and planner.step():
                turns = planner.plan.turns_next(time())
                stopped.wait(min(_EVERY, max(turns - time(), 0.0) if turns is not None else _EVERY))
        finally:
            is_restored = restore(target, meanwhile)
    # What is stored stays until the time is over: the same command must not charge the whole need again.
    return is_restored, goal.need is None or planner.is_met


def _prices(name: str, parse: Callable[[str], Sequence[Slot]]) -> Callable[[], Sequence[Slot]]:
    """What reads the prices as they are now; standard input is read once."""
    if name == "-":
        once = parse(sys.stdin.read(MOST))
        return lambda: once
    if not is_url(name):
        return partial(file_prices, name, parse)
    source = UrlPrices(name, state_folder(os.environ), parse, warn, token_header(os.environ))

    def read() -> Sequence[Slot]:
        before = source.age()
        found, age = source.read(), source.age()
        if age is not None and (before is None or age < before):
            say_wrapped(f"Prices of {source.shown}: {age / 60:.0f} min old.")
        return found

    return read


def _clock(where: tzinfo | None, at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone(where).isoformat(timespec="minutes")


def _show(where: tzinfo | None, planned: Plan) -> None:
    lines = [("BEGIN", "END", "PRICE", "KWH", "COST")]
    for one in planned.pieces:
        price, cost = ("?", "?") if one.price is None else (f"{one.price:g}", f"{one.cost:.2f}")
        lines.append((_clock(where, one.begin), _clock(where, one.end), price, f"{one.kilowatt_hours:.2f}", cost))
    say(highlighted(align_columns(lines)))
    priced = planned.kilowatt_hours - planned.unpriced
    mean = f", {planned.cost / priced:.2f} for each" if priced else ""
    say_wrapped(f"{priced:.2f} kWh cost {planned.cost:.2f}{mean}")
    if planned.unpriced:
        says = "have no price yet: they are charged as late as possible, and planned again when prices come"
        say_wrapped(f"{planned.unpriced:.2f} kWh {says}")
    if planned.missing > _MISSING:
        say_wrapped(f"{planned.missing:.2f} kWh cannot be had: there is no time for them")


def _write_timers(folder: Path, planned: Plan, target: Target) -> None:
    if not planned.blocks:
        raise UsageError("there is nothing to charge, so there are no timers")
    own = str(Path(sys.argv[0]).resolve())
    more = ["--charger", target.charger or target.settings.url]
    more += ["--config.file", str(target.config_file.resolve())] if target.config_file is not None else []
    more += ["--plug", target.plug] if target.plug is not None else []
    # No unit is tried again: it must not be refused where a block or a gap is shorter than a minute,
    # and an end has to outlast a start that still waits for its charge.
    more += ["--min-interval", "0", "--timeout", "120"]
    start, end = (_unit_words([own, "charge", word, *more]) for word in ("start", "disable"))
    config = target.config_file
    chargers = configuration(config, patient=False).settings.chargers if config is not None else ()
    is_one_of_several = len(chargers) > 1 and target.settings.name in chargers
    name = f"{NAME}-{target.settings.name}" if is_one_of_several else NAME
    try:
        for file, text in units(planned, start, end, target.config_file is not None, name).items():
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error
    # Timers of an earlier plan are active even when their times are over, and `start` would leave them so.
    typer.echo(
        f"Four units are in {folder}; within five minutes:"
        f" systemctl daemon-reload && systemctl restart {name}-{{start,end}}.timer\n"
        "Until the first start a car charges as it likes: `charge disable` makes it wait"
    )


def _unit_words(words: Sequence[str]) -> str:
    """A command line as units have it: per cent and dollar signs mean nothing there."""
    return " ".join(shlex.quote(word).replace("%", "%%").replace("$", "$$") for word in words)


def _kilowatts(text: str) -> float:
    found = _POWER.fullmatch(text.strip())
    watts = float(found[1]) * (1000 if found[2] == "kW" else 1) if found is not None else 0.0
    if not 0 < watts <= DEFAULT_MAX_POWER:
        raise UsageError(f"--power: {quote_short(text)} is not a power up to 1 MW; it looks like 7.2kW")
    return watts / 1000
