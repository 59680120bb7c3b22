"""`charge follow`: set the limit of a plug by a number that comes again and again."""

import os
import re
import sys
import threading
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from time import monotonic, time
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ccl_exporter.cli.charge import PlugName
from ccl_exporter.cli.shared import STOP_OR_HANG_UP, ChargerOption, ConfigFile, Exit, address, on_signals, say
from ccl_exporter.cli.write_session import DryRun, seconds, warn
from ccl_exporter.errors import UsageError

if TYPE_CHECKING:
    from ccl_exporter.control.follow.follower import Follower
    from ccl_exporter.control.follow.input_filter import InputSpec
    from ccl_exporter.control.follow.policy import Rules
    from ccl_exporter.control.follow.sources import InputSource, LatestValue
    from ccl_exporter.control.state import ControlState
    from ccl_exporter.settings import ChargerSettings

_Flag = TypeVar("_Flag")

_POWER = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(W|kW|A)")
_ROOF = 10_000.0
_LEAVE_WITHIN = 20.0
_LEAST_PACE = 1.0


class ModeName(StrEnum):
    """What is followed."""

    SURPLUS = "surplus"
    FLOOR = "floor"
    SUPPLY = "supply"


class WhatName(StrEnum):
    """What the number is."""

    IMPORT = "import"
    AVAILABLE = "available"


class UnitName(StrEnum):
    """The unit of the number."""

    W = "W"
    KW = "kW"
    A = "A"


def follow(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    charger: ChargerOption = None,
    config_file: ConfigFile = None,
    plug: PlugName = None,
    mode: Annotated[
        ModeName,
        typer.Option(
            "--mode", help="surplus: only what the sun leaves; floor: and never less; supply: what a fuse leaves."
        ),
    ] = ModeName.SURPLUS,
    number: Annotated[
        WhatName,
        typer.Option(
            "--input",
            help="What the number is: the house's import at its meter (positive when it buys,"
            " negative when it sells), or the power that is available to the car.",
        ),
    ] = WhatName.IMPORT,
    unit: Annotated[UnitName, typer.Option("--unit", help="Its unit; A: of the fullest phase.")] = UnitName.W,
    query: Annotated[
        str | None, typer.Option("--query", help="From PromQL; METRIC[1m] tells how old its sample is.")
    ] = None,
    prometheus: Annotated[
        str, typer.Option("--prometheus.url", help="Who answers the query.")
    ] = "http://127.0.0.1:9090",
    topic: Annotated[str | None, typer.Option("--topic", help="From this topic of an MQTT broker.")] = None,
    broker: Annotated[
        str, typer.Option("--broker", help="The broker; a login is CCL_MQTT_USERNAME and CCL_MQTT_PASSWORD_FILE.")
    ] = "mqtt://127.0.0.1:1883",
    file: Annotated[Path | None, typer.Option("--file", help="From a file that holds one number.")] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="From standard input, a line for each.")] = False,
    field: Annotated[
        str | None,
        typer.Option("--field", help="In JSON, the member that holds it, such as emeter.power."),
    ] = None,
    supply: Annotated[
        str | None, typer.Option("--supply", help="What the house may import: 60A of each phase, or 14kW.")
    ] = None,
    roof: Annotated[
        str | None,
        typer.Option("--pv-peak", help="The most that the roof gives, such as 4kW; 0W if there is none."),
    ] = None,
    floor: Annotated[
        str | None,
        typer.Option("--floor", help="The least current in the mode `floor`, by default the least of the plug."),
    ] = None,
    safe: Annotated[
        str | None,
        typer.Option(
            "--safe",
            help="The current while nobody knows, and after the end; by default 0A, the floor, or for a supply the"
            " least of the plug.",
        ),
    ] = None,
    stale: Annotated[str, typer.Option("--stale", help="How old a number may become, at most 40s.")] = "30s",
    interval: Annotated[
        str | None, typer.Option("--interval", help="How often to look, by default 5s, for a supply 2s.")
    ] = None,
    writes: Annotated[int, typer.Option("--writes", min=10, max=60, help="Writes that an hour has.")] = 60,
    starts: Annotated[int, typer.Option("--starts", min=1, max=100, help="Starts that a day has.")] = 8,
    listen: Annotated[
        str | None, typer.Option("--web.listen-address", help="Serve metrics, such as on 127.0.0.1:9988.")
    ] = None,
    put_back: Annotated[
        bool, typer.Option("--restore", help="Only set the safe current that a killed follower has left undone.")
    ] = False,
    dry_run: DryRun = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for each answer.")] = 5.0,
    old_number: Annotated[WhatName | None, typer.Option("--number", hidden=True)] = None,
    old_roof: Annotated[str | None, typer.Option("--roof", hidden=True)] = None,
    old_put_back: Annotated[bool, typer.Option("--put-back", hidden=True)] = False,
) -> None:
    """Follow the sun, or what a supply has left: set the limit by a number that comes again and again.

    Stays until it is stopped. While the number is stale or absurd, and at the end, the car has a safe current.
    """
    from ccl_exporter.control.follow.input_filter import InputSpec  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.follow.limiter import FollowerState  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.state import ControlState  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.locks import state_folder  # noqa: PLC0415 - keeps --help quick

    number = _renamed("--number", old_number, "--input", number)
    roof = _renamed("--roof", old_roof, "--pv-peak", roof)
    put_back = _renamed("--put-back", old_put_back or None, "--restore", put_back)
    settings = address(charger, config_file)
    folder = state_folder(os.environ)
    if put_back:
        return _put_back(settings, ControlState(folder, settings.url), timeout)
    control_state = FollowerState(folder, settings.url, say=warn)
    every = seconds(interval) if interval is not None else (2.0 if mode is ModeName.SUPPLY else 5.0)
    old = seconds(stale)
    if old > 40:
        raise UsageError("a number older than 40s cannot count: the safe current is promised within 60 s")
    if every > 10:
        raise UsageError("the interval is at most 10s: the safe current is promised within 60 s")
    sources = [query is not None, topic is not None, file is not None, stdin]
    if sum(sources) != 1:
        raise UsageError("say where the number comes from: one of --query, --topic, --file and --stdin")
    if (supply is not None) != (mode is ModeName.SUPPLY and number is WhatName.IMPORT):
        raise UsageError("--supply belongs to --mode supply and --input import, and they need it")
    meaning = InputSpec(
        what=number.value,
        unit=unit.value,
        mode=mode.value,
        supply=_power(supply, "--supply") if supply is not None else None,
        roof=_watts(roof, "--pv-peak") if roof is not None else (0.0 if mode is ModeName.SUPPLY else _ROOF),
        stale=old,
    )
    source = _feed(query, prometheus, topic, broker, file, field, every)
    chosen = _Chosen(mode, floor, safe, starts, writes)
    return _run(_Run(settings, control_state, plug, meaning, chosen, source, every, listen, dry_run, timeout))


def _renamed(old: str, given: _Flag | None, new: str, value: _Flag) -> _Flag:
    """The value of a flag, also where it was given by its name of version 0.1."""
    if given is None:
        return value
    warn(f"{old} is called {new} since version 0.2; 0.3 accepts only that")
    return given


class _Chosen:
    """What was chosen of the rules, before the plug is known."""

    def __init__(self, mode: ModeName, floor: str | None, safe: str | None, starts: int, writes: int) -> None:
        self.mode, self.starts, self.writes = mode, starts, writes
        self.floor = _amperes(floor, "--floor") if floor is not None else None
        self.safe = _amperes(safe, "--safe") if safe is not None else None

    def rules(self, largest: float) -> "Rules":
        """The rules for a plug; raises `UsageError` if a current is none that it can give."""
        from ccl_exporter.control.follow.policy import Rules, least_of, percent_for  # noqa: PLC0415 - keeps --help quick

        for name, amperes in (("--floor", self.floor), ("--safe", self.safe)):
            if amperes is None:
                continue
            if amperes > largest or (amperes > 0 and percent_for(amperes, largest) == 100):
                raise UsageError(
                    f"{name} {amperes:g}A is no current of this plug: it has {largest:g} A,"
                    " a car needs 6 A, and it is set in whole per cent; 0A stops"
                )
        least = least_of(largest)
        floor = least if self.floor is None else self.floor
        by_mode = {ModeName.SURPLUS: 0.0, ModeName.FLOOR: floor, ModeName.SUPPLY: least}
        safe = by_mode[self.mode] if self.safe is None else self.safe
        return Rules(mode=self.mode.value, largest=largest, floor=floor, safe=safe, starts_a_day=self.starts)


class _Run:
    """Everything that a follower needs."""

    def __init__(  # noqa: PLR0913, PLR0917 - put together at one place
        self,
        settings: "ChargerSettings",
        control_state: "ControlState",
        plug: str | None,
        meaning: "InputSpec",
        chosen: _Chosen,
        source: "InputSource",
        every: float,
        listen: str | None,
        dry_run: bool,
        timeout: float,
    ) -> None:
        self.settings, self.control_state, self.plug, self.meaning = settings, control_state, plug, meaning
        self.chosen, self.feed, self.every = chosen, source, every
        self.listen, self.dry_run, self.timeout = listen, dry_run, timeout


def _run(run: _Run) -> None:
    from ccl_exporter.control.follow.sources import LatestValue, run_source  # noqa: PLC0415 - keeps --help quick

    stopped = threading.Event()
    newest = LatestValue()

    def stop() -> None:
        stopped.set()
        newest.news.set()

    with ExitStack() as running:
        follower = _follower(run, newest, running)
        running.enter_context(on_signals(stop, *STOP_OR_HANG_UP))
        _promise(run, follower)
        follower.begin()
        threading.Thread(target=run_source, args=(run.feed, newest, stopped), name="feed", daemon=True).start()
        try:
            while not stopped.is_set():
                newest.news.wait(run.every)
                newest.news.clear()
                if stopped.is_set():
                    # A new limit would be all that another round could give.
                    break
                began = monotonic()
                if newest.ended and (newest.broken or newest.number is None):
                    break
                follower.step()
                if newest.ended:
                    warn("no more numbers will come")
                    break
                stopped.wait(max(_LEAST_PACE - (monotonic() - began), 0.0))
        finally:
            stop()
            good = follower.shutdown(_LEAVE_WITHIN)
    if newest.broken:
        # Not done, so that a service manager begins anew.
        warn("no more numbers will come, by a mistake of ours that is shown above: please report it")
        raise typer.Exit(Exit.FAILED if good else Exit.NOT_TAKEN)
    raise typer.Exit(Exit.DONE if good else Exit.NOT_TAKEN)


def _follower(run: _Run, newest: "LatestValue", running: ExitStack) -> "Follower":
    """A follower of the plug, with nobody else who follows it."""
    from ccl_exporter.control.follow.budget import HOUR, Budget  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.follow.follower import Follower  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.follow.input_filter import InputFilter  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.follow.limiter import FollowedPlug, SafeCurrentGuard, only_one, written_lately  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.follow.policy import Policy, percent_for  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.put import WritableTransport  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.restore import restore_pending  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.write import Writer  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.locks import ChargerLock  # noqa: PLC0415 - keeps --help quick

    settings, control_state = run.settings, run.control_state
    lock = ChargerLock(control_state.folder, settings.url, settings.pause)
    control = WritableTransport(settings.url, settings.credentials, settings.source_address, lock)
    running.callback(control.close)
    writer = Writer(control, control_state, run.timeout, "charge follow")
    plug = FollowedPlug(writer, control_state, run.plug, run.timeout)
    rules = run.chosen.rules(plug.largest)
    running.enter_context(only_one(control_state.folder, settings.url, plug.name))
    if not run.dry_run:
        with control_state.exclusive(monotonic() + run.timeout):
            restore_pending(control_state, writer, warn)
    ages = written_lately(control_state.folder, settings.url, plug.variable, time(), HOUR)
    budget = Budget(run.chosen.writes, [monotonic() - age for age in ages])
    trust = InputFilter(run.meaning)
    owed = SafeCurrentGuard(control_state, plug.device, plug.variable, percent_for(rules.safe, plug.largest))
    follower = Follower(plug, newest, trust, Policy(rules, budget), owed, say, run.dry_run)
    if run.listen is not None:
        from ccl_exporter.control.follow.metrics import serve_metrics  # noqa: PLC0415 - only where they are wanted
        from ccl_exporter.settings import listen_address  # noqa: PLC0415 - likewise

        where = listen_address(run.listen)
        info = {"mode": rules.mode, "plug": plug.name}
        port, end = serve_metrics(where.host, where.port, lambda: follower.status, info)
        running.callback(end)
        say(f"Metrics of the follower are on http://{where.host}:{port}/metrics.")
    return follower


def _promise(run: _Run, follower: "Follower") -> None:
    """Say, before anything is written, what is followed and what holds when it fails."""
    from ccl_exporter.control.follow.policy import amperes_at  # noqa: PLC0415 - keeps --help quick

    rules, meaning, plug = follower.policy.rules, run.meaning, follower.plug
    safe = amperes_at(follower.safe, plug.largest)
    sign = (
        "the import of the house, positive when it buys and negative when it sells"
        if meaning.what == "import"
        else "the power that is available to the car"
    )
    say(
        f"Follows {run.feed.says} at {plug.name} of {run.settings.url}, which has {plug.largest:g} A;"
        f" mode {rules.mode}."
    )
    say(f"The number is {sign}, in {meaning.unit}; a roof of at most {meaning.roof / 1000:g} kW is believed.")
    say(
        f"Safe current: {safe:.2f} A, within 60 s, when the number is older than {meaning.stale:.0f} s or cannot"
        " be, and when this command ends; it is left again when the number returns."
    )
    say(
        "Killed with SIGKILL, this command sets nothing: the next command that writes to this charger does, or"
        " `charge follow --restore`, as the systemd unit has it."
    )
    say(f"At most {run.chosen.writes} writes in any hour, and {rules.starts_a_day} starts a day.")


def _put_back(settings: "ChargerSettings", control_state: "ControlState", timeout: float) -> None:
    from ccl_exporter.control.put import WritableTransport  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.restore import restore_pending  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.control.write import Writer  # noqa: PLC0415 - keeps --help quick
    from ccl_exporter.locks import ChargerLock  # noqa: PLC0415 - keeps --help quick

    with control_state.pending_restores() as owed:
        count = len(owed)
    if not count:
        say("nothing to put back")
        raise typer.Exit(Exit.NOTHING)
    lock = ChargerLock(control_state.folder, settings.url, settings.pause)
    control = WritableTransport(settings.url, settings.credentials, settings.source_address, lock)
    try:
        with control_state.exclusive(monotonic() + timeout):
            restore_pending(control_state, Writer(control, control_state, timeout, "charge follow, put back"), say)
    finally:
        control.close()
    with control_state.pending_restores() as owed:
        raise typer.Exit(Exit.FAILED if owed else Exit.DONE)


def _feed(
    query: str | None,
    prometheus: str,
    topic: str | None,
    broker: str,
    file: Path | None,
    field: str | None,
    every: float,
) -> "InputSource":
    from ccl_exporter.control.follow import sources  # noqa: PLC0415 - keeps --help quick

    if query is not None:
        return sources.PromQuery(prometheus, query, every)
    if topic is not None:
        return sources.mqtt(broker, topic, field, os.environ)
    if file is not None:
        return sources.File(file, min(every, 2.0), field)
    # Whatever the encoding: a line that holds no number says so, and the next may.
    return sources.Lines((line.decode("utf-8", "replace") for line in sys.stdin.buffer), field)


def _power(text: str, flag: str) -> tuple[float, str]:
    found = _POWER.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{flag} {text!r} is not a power or a current; it looks like 60A or 14kW")
    value = float(found[1])
    return (value * 1000, "W") if found[2] == "kW" else (value, found[2])


def _watts(text: str, flag: str) -> float:
    value, unit = _power(text, flag)
    if unit == "A":
        raise UsageError(f"{flag} {text!r} is not a power; it looks like 4kW")
    return value


def _amperes(text: str, flag: str) -> float:
    value, unit = _power(text, flag)
    if unit != "A":
        raise UsageError(f"{flag} {text!r} is not a current; it looks like 6.1A")
    return value
