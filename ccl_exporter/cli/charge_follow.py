"""`charge follow`: set the limit of a plug by an input that arrives regularly."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Annotated, TypeVar

import typer

from ccl_exporter.cli.exit_codes import Exit
from ccl_exporter.cli.shared import (
    CHARGER_OPTIONS,
    STOP_OR_HANG_UP,
    Duration,
    Zone,
    duration_option,
    hours,
    on_signals,
    say,
    say_wrapped,
    timeout_option,
    warn,
)
from ccl_exporter.cli.write_session import Target, restore_only, writable_transport, write_command
from ccl_exporter.control.follow import arguments, sources
from ccl_exporter.control.follow.follower import Follower
from ccl_exporter.control.follow.input_filter import InputFilter, InputSpec, Unit, What
from ccl_exporter.control.follow.limiter import (
    FollowedPlug,
    FollowerState,
    SafeCurrentGuard,
)
from ccl_exporter.control.follow.metrics import serve_metrics
from ccl_exporter.control.follow.policy import HOUR, Budget, Mode, Policy, Rules
from ccl_exporter.control.restore import restore_pending
from ccl_exporter.control.write import Writer
from ccl_exporter.errors import UsageError
from ccl_exporter.locks import state_folder
from ccl_exporter.settings import listen_address
from ccl_exporter.station.current_limit import amperes_left
from ccl_exporter.tariff import Tariff, TimeWindow
from ccl_exporter.text import count, url_host

_Flag = TypeVar("_Flag")

_INPUT = "Input options"
_LIMITS = "Limits"
_input = partial(typer.Option, rich_help_panel=_INPUT)
_limit = partial(typer.Option, rich_help_panel=_LIMITS)

_STDIN = 0
_LEAVE_WITHIN = 20.0
_LEAST_PACE = 1.0


@dataclass(frozen=True)
class _Target(Target):
    timeout: Annotated[
        Duration,
        timeout_option(rich_help_panel=CHARGER_OPTIONS, help="How long to wait for a first answer, at most 10s."),
    ] = Duration(5)


@write_command("charge follow", without=["wait", "least_pause", "length", "as_json"])
def follow(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    target: _Target,
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode",
            help="surplus: only solar surplus; floor: the same, but never less than --floor; supply: what the"
            " supply of the house has left.",
        ),
    ] = "surplus",
    number: Annotated[
        What,
        _input(
            "--input",
            help="What the input is: the house's import at its meter (positive when it buys, negative when it"
            " sells), or the power that is available to the car.",
        ),
    ] = "import",
    unit: Annotated[
        Unit,
        _input("--unit", help="Its unit; A: of the phase with the highest current."),
    ] = "W",
    query: Annotated[
        str | None,
        _input("--query", metavar="PROMQL", help="Take it from a query; METRIC[1m] says how old its sample is."),
    ] = None,
    prometheus: Annotated[
        str,
        _input("--prometheus.url", metavar="URL", help="The server that answers the query."),
    ] = "http://127.0.0.1:9090",
    topic: Annotated[
        str | None,
        _input("--topic", metavar="TOPIC", help="Take it from this topic of an MQTT broker."),
    ] = None,
    broker: Annotated[
        str,
        _input(
            "--broker",
            metavar="URL",
            help="The broker; its login is read from CCL_MQTT_USERNAME and CCL_MQTT_PASSWORD_FILE.",
        ),
    ] = "mqtt://127.0.0.1:1883",
    file: Annotated[
        Path | None,
        _input("--file", metavar="FILE", help="Take it from a file that holds one number."),
    ] = None,
    stdin: Annotated[
        bool,
        _input("--stdin", help="Take it from standard input, one number a line."),
    ] = False,
    field: Annotated[
        str | None,
        _input(
            "--field", metavar="MEMBER", help="The member of a JSON object that holds it, such as emeter.power."
        ),
    ] = None,
    supply: Annotated[
        str | None,
        _limit(
            "--supply",
            metavar="LIMIT",
            help="What the house may import, in every mode: 60A on each phase, or 14kW.",
        ),
    ] = None,
    full_between: Annotated[
        list[str] | None,
        _limit(
            "--full-between",
            metavar="HOURS",
            help="Full current within these hours, such as 00:30-04:30, or those of the `tariff`; repeatable.",
        ),
    ] = None,
    timezone: Zone = None,
    roof: Annotated[
        str | None,
        _input(
            "--pv-peak", metavar="POWER", help="PV peak power, such as 4kW; by default 10kW, in mode supply 0W."
        ),
    ] = None,
    floor: Annotated[
        str | None,
        _limit(
            "--floor",
            metavar="CURRENT",
            help="The lowest current in the mode `floor`; by default the minimum of the plug.",
        ),
    ] = None,
    safe: Annotated[
        str | None,
        _limit(
            "--safe",
            metavar="CURRENT",
            help="The safe current, while the input is stale or implausible, with a supply also after the end; by"
            " default 0A, the floor, or with a supply the minimum current.",
        ),
    ] = None,
    stale: Annotated[
        Duration,
        duration_option(
            "--stale", 1, needs_unit=True, help="How old the input may be, at most 40s.", rich_help_panel=_INPUT
        ),
    ] = Duration(30),
    interval: Annotated[
        Duration | None,
        duration_option(
            "--interval", 1, needs_unit=True, help="Time between two steps; by default 5s, for a supply 2s."
        ),
    ] = None,
    writes: Annotated[
        int,
        _limit("--writes", metavar="NUMBER", min=10, max=60, help="At most this many writes an hour."),
    ] = 60,
    starts: Annotated[
        int,
        _limit("--starts", metavar="NUMBER", min=1, max=100, help="At most this many solar starts a day."),
    ] = 8,
    listen: Annotated[
        str | None,
        typer.Option("--web.listen-address", metavar="ADDRESS", help="Serve metrics, such as on 127.0.0.1:9988."),
    ] = None,
    put_back: Annotated[
        bool, typer.Option("--restore", help="Only set the limit that a killed follower was to leave behind.")
    ] = False,
    old_number: Annotated[What | None, typer.Option("--number", hidden=True)] = None,
    old_roof: Annotated[str | None, typer.Option("--roof", hidden=True)] = None,
    old_put_back: Annotated[bool, typer.Option("--put-back", hidden=True)] = False,
) -> None:
    """Follow solar surplus or the capacity of a supply: set the limit by an input that arrives regularly.

    Runs until it is stopped. The safe current holds while the input is stale or implausible, and with a supply
    after the end; without one the limit of before is restored.

    \b
    Examples:
      ccl-exporter charge follow --topic home/meter --field power -c http://evse
      ccl-exporter charge follow --mode supply --supply 60A --file import.txt -c http://evse
    """
    number = _renamed("--number", old_number, "--input", number)
    roof = _renamed("--roof", old_roof, "--pv-peak", roof)
    put_back = _renamed("--put-back", old_put_back or None, "--restore", put_back)
    if put_back:
        restore_only(target)
    every = interval if interval is not None else (2.0 if mode == "supply" else 5.0)
    if stale > 40:
        raise UsageError("--stale is at most 40s: the safe current must be set within 60 s")
    if every > 10:
        raise UsageError("--interval is at most 10s: the safe current must be set within 60 s")
    if target.timeout > 10:
        raise UsageError("--timeout is at most 10s: the safe current must be set within 60 s")
    if sum([query is not None, topic is not None, file is not None, stdin]) != 1:
        raise UsageError("name the source of the input: one of --query, --topic, --file and --stdin")
    meaning = arguments.input_spec(number, unit, mode, supply, roof, stale)
    source: sources.InputSource
    if query is not None:
        source = sources.prom_query(prometheus, query, every)
    elif topic is not None:
        source = sources.mqtt(broker, topic, field, os.environ)
    elif file is not None:
        source = sources.File(file, min(every, 2.0), field)
    else:
        source = sources.Lines(sources.descriptor_lines(_STDIN), field)
    currents = arguments.amperes(floor, "--floor"), arguments.amperes(safe, "--safe")
    rules = partial(arguments.rules, mode, supply is not None, *currents, starts)
    full_hours = [hours(text, timezone, target.config_file) for text in full_between or ()]
    return _run(_Task(target, meaning, rules, full_hours, writes, source, every, listen))


def _renamed(old: str, given: _Flag | None, new: str, value: _Flag) -> _Flag:
    """The value of a flag, also where it was given by its name of version 0.1."""
    if given is None:
        return value
    warn(f"{old} is called {new} since version 0.2; 0.3 accepts only that")
    return given


@dataclass(frozen=True)
class _Task:
    """What the flags ask for. `rules` takes the largest current of the plug, `every` is in seconds."""

    target: Target
    meaning: InputSpec
    rules: Callable[[float], Rules]
    full_hours: Sequence[TimeWindow | Tariff]
    writes: int
    source: sources.InputSource
    every: float
    listen: str | None


def _run(task: _Task) -> None:
    stopped = threading.Event()
    latest = sources.LatestValue()

    def stop() -> None:
        stopped.set()
        latest.news.set()

    with ExitStack() as running:
        follower = _follower(task, latest, running)
        running.enter_context(on_signals(stop, *STOP_OR_HANG_UP))
        _promise(task, follower)
        follower.begin()
        threading.Thread(
            target=sources.run_source, args=(task.source, latest, stopped), name="feed", daemon=True
        ).start()
        try:
            while not stopped.is_set():
                latest.news.wait(task.every)
                latest.news.clear()
                if stopped.is_set():
                    # A new limit would be all that another round could give.
                    break
                began = monotonic()
                if latest.ended and (latest.broken or latest.number is None):
                    break
                follower.step()
                if latest.ended:
                    warn("the input has ended")
                    break
                stopped.wait(max(_LEAST_PACE - (monotonic() - began), 0.0))
        finally:
            stop()
            good = follower.shutdown(_LEAVE_WITHIN)
    if latest.broken:
        # Not done, so that a service manager begins anew.
        warn("the input has ended by an error of this program, shown above: please report it")
        raise typer.Exit(Exit.FAILED if good else Exit.NOT_TAKEN)
    raise typer.Exit(Exit.DONE if good else Exit.NOT_TAKEN)


def _follower(task: _Task, latest: sources.LatestValue, running: ExitStack) -> Follower:
    """A follower of the plug, and no other one beside it."""
    target, settings = task.target, task.target.settings
    control_state = FollowerState(state_folder(os.environ), settings.url, say=warn)
    control = running.enter_context(writable_transport(settings))
    writer = Writer(control, control_state, target.timeout, target.command)
    writer.identify()
    plug = FollowedPlug(writer, control_state, target.plug, target.timeout)
    rules = task.rules(plug.largest)
    running.enter_context(control_state.followed(plug.name))
    if not target.dry_run:
        with control_state.exclusive(monotonic() + target.timeout):
            restore_pending(control_state, writer, warn)
    ages = control_state.written_lately(plug.variable, HOUR)
    budget = Budget(task.writes, [monotonic() - age for age in ages])
    input_filter = InputFilter(task.meaning)
    guard = SafeCurrentGuard(control_state, plug.device, plug.variable, rules.at_end(plug.percent()))
    policy = Policy(rules, budget)
    follower = Follower(plug, latest, input_filter, policy, guard, _say_when, task.full_hours, target.dry_run)
    if task.listen is not None:
        where = listen_address(task.listen)
        info = {"mode": rules.mode, "plug": plug.name}
        port, end = serve_metrics(where, lambda: follower.status, info)
        running.callback(end)
        say(f"Metrics of the follower are on http://{url_host(where.host)}:{port}/metrics.")
    return follower


def _say_when(sentence: str) -> None:
    """Say when something became so; where the output is kept, a journal adds the time itself."""
    say_wrapped(f"{datetime.now():%H:%M:%S} {sentence}" if sys.stdout.isatty() else sentence)


def _promise(task: _Task, follower: Follower) -> None:
    """Say, before anything is written, what is followed and what holds when it fails."""
    rules, meaning, plug = follower.policy.rules, task.meaning, follower.plug
    safe = amperes_left(follower.safe, plug.largest)
    sign = (
        "the import of the house, positive when it buys and negative when it sells"
        if meaning.what == "import"
        else "the power that is available to the car"
    )
    say_wrapped(
        f"Follows {task.source.says} at {plug.name} of {task.target.settings.url}, which has {plug.largest:g} A;"
        f" mode {rules.mode}."
    )
    say_wrapped(f"The input is {sign}, in {meaning.unit}; assumed PV peak power: {meaning.roof / 1000:g} kW.")
    say_wrapped(
        f"Safe current: {safe:.2f} A, within 60 s, when the input is older than {meaning.stale:.0f} s or"
        " implausible."
    )
    if task.full_hours:
        within = ", ".join(map(str, task.full_hours))
        need = "what the supply leaves" if rules.has_supply else "whatever the input says"
        say_wrapped(f"Within {within} and after `charge start --now`: the full current, {need}.")
    end = amperes_left(follower.guard.at_end, plug.largest)
    why = "the safe current" if rules.has_supply else "as now, or no reduction where that is too low for a car"
    say_wrapped(f"When this command ends: {end:.2f} A, {why}.")
    say_wrapped(
        "Killed with SIGKILL, this command sets nothing: the next command that writes to this charger does, or"
        " `charge follow --restore`, as the systemd unit has it."
    )
    say_wrapped(f"At most {task.writes} writes per hour and {count(rules.starts_a_day, 'start')} per day.")
