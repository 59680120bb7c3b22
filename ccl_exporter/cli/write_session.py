"""Shared by the commands that write: flags, a writable connection, their end."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, wraps
from inspect import Parameter, Signature, signature
from time import monotonic
from typing import Annotated, Any, NoReturn

import typer

from ccl_exporter.cli.exit_codes import Exit
from ccl_exporter.cli.progress import progress, requests
from ccl_exporter.cli.shared import (
    PATIENCE,
    STOP_OR_HANG_UP,
    WRITE_OPTIONS,
    ChargerOption,
    ConfigFile,
    Duration,
    Patience,
    PlugName,
    address,
    charger_lock,
    duration_option,
    on_signals,
    say,
    say_wrapped,
    warn,
)
from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.restore import TemporaryChange, restore_pending
from ccl_exporter.control.state import ControlState
from ccl_exporter.control.write import LEAST_PAUSE, Outcome, WriteOptions, Writer, Written
from ccl_exporter.errors import CclError
from ccl_exporter.locks import state_folder
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.text import MASK

_IDENTIFY_WITHIN = 5.0  # seconds; a unit that stops must not wait long for a charger that is off

_EXIT = {
    "done": Exit.DONE,
    "planned": Exit.DONE,
    "not_taken": Exit.NOT_TAKEN,
    "empty": Exit.FAILED,
    "already": Exit.NOTHING,
    "nothing": Exit.NOTHING,
    "no_vehicle": Exit.NO_VEHICLE,
}

DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", rich_help_panel=WRITE_OPTIONS, help="Check everything and report what would be written."
    ),
]
Wait = Annotated[
    Duration,
    duration_option(
        "--wait",
        0,
        rich_help_panel=WRITE_OPTIONS,
        help="How long a write may take to show; a vehicle has three times as long.",
    ),
]
LeastPause = Annotated[
    Duration,
    duration_option(
        "--min-interval",
        0,
        rich_help_panel=WRITE_OPTIONS,
        help="Minimum time between two writes of a variable, as each wears out the charger's memory.",
    ),
]
For = Annotated[
    Duration | None,
    duration_option(
        "--for",
        1,
        needs_unit=True,
        rich_help_panel=WRITE_OPTIONS,
        help="Keep running, and restore the previous values after this time, such as 2h, or when stopped.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON.")]

_FIRST = ("charger", "config_file", "plug")
"""The flags of `Target` that stand before those of a command's own."""


@dataclass(frozen=True)
class Target:
    """The charger of a command that writes, and the flags that such commands share, in the order of their help.

    Its settings are read once: a configuration file that is being edited must not prevent a restore.
    """

    command: str
    charger: ChargerOption = None
    config_file: ConfigFile = None
    plug: PlugName = None
    dry_run: DryRun = False
    wait: Wait = Duration(20)
    least_pause: LeastPause = Duration(LEAST_PAUSE)
    length: For = None
    as_json: AsJson = False
    timeout: Patience = PATIENCE

    @cached_property
    def settings(self) -> ChargerSettings:
        return address(self.charger, self.config_file)

    @cached_property
    def how(self) -> WriteOptions:
        return WriteOptions(dry_run=self.dry_run, wait=self.wait, least_pause=self.least_pause)

    @cached_property
    def control_state(self) -> ControlState:
        """What commands keep of this charger."""
        return ControlState(state_folder(os.environ), self.settings.url, say=warn)


def write_command(name: str, without: Sequence[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make the command of a name from a function with a parameter `target`, which is `Target` or a kind of it.

    The command has the fields of that class as flags, but those that it is `without`: the first ones stand in its
    help where `target` stands among the function's parameters, which are its other flags, and the rest at the end.
    """

    def decorated(work: Callable[..., None]) -> Callable[..., None]:
        own = signature(work).parameters
        kind = own["target"].annotation
        shared = {
            flag.name: Parameter(flag.name, Parameter.KEYWORD_ONLY, default=flag.default, annotation=flag.type)
            for flag in fields(kind)
            if flag.name not in ("command", *without)
        }
        flags: dict[str, Parameter] = {}
        for each, parameter in own.items():
            first = {flag: shared[flag] for flag in _FIRST if flag in shared}
            flags |= first if each == "target" else {each: parameter.replace(kind=Parameter.KEYWORD_ONLY)}
        flags |= shared

        @wraps(work)
        def command(**given: Any) -> None:
            target = kind(name, **{flag: given.pop(flag) for flag in shared})
            work(target=target, **given)

        command.__signature__ = Signature(list(flags.values()))  # type: ignore[attr-defined] # what Typer looks at
        return command

    return decorated


@dataclass(frozen=True)
class Ended:
    """How a command ended: in one sentence, and as facts for a program."""

    outcome: Outcome
    says: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def writable_transport(settings: ChargerSettings) -> closing[WritableTransport]:
    """A connection to a charger that can write, and takes turns with whatever else on this machine reads it."""
    return closing(
        WritableTransport(settings.url, settings.credentials, settings.source_address, charger_lock(settings))
    )


@contextmanager
def session(target: Target, tell: Callable[[str], None] = warn, purpose: str = "") -> Iterator[Writer]:
    """A charger to which no other command writes meanwhile; pending restores of others are carried out first.

    `purpose` stands behind the command in the journal of writes.
    """
    control_state = target.control_state
    with writable_transport(target.settings) as control:
        writer = Writer(control, control_state, target.timeout, target.command + purpose)
        writer.identify()
        with control_state.exclusive(monotonic() + target.timeout):
            if not target.dry_run:
                restore_pending(control_state, writer, tell)
            yield writer


def carry_out(target: Target, work: Callable[[Writer, WriteOptions], Ended]) -> NoReturn:
    """Run the work of a command, print its result, and exit with its code.

    With `--for` stay until it is over or the command is stopped, and restore everything.
    """
    if target.length is None or target.dry_run:
        keep = TemporaryChange(target.control_state).restorable if target.length is not None else None
        with session(target) as writer, _progress(target, writer):
            ended = work(writer, replace(target.how, keep=keep))
        finish(ended, target.as_json)
    stopped = threading.Event()
    good, late = True, False
    with TemporaryChange(target.control_state) as meanwhile, on_signals(stopped.set, *STOP_OR_HANG_UP):
        try:
            with session(target) as writer, _progress(target, writer):
                ended = work(writer, replace(target.how, keep=meanwhile.remember))
            late = ended.outcome == "not_taken"
            _tell(ended, target.as_json)
            if ended.outcome == "done":
                stopped.wait(target.length)
        finally:
            good = restore(target, meanwhile, again=late)
    raise typer.Exit(_EXIT[ended.outcome] if good else Exit.FAILED)


def _progress(target: Target, writer: Writer) -> AbstractContextManager[None]:
    return progress(lambda: requests(target.command, writer.lookup.requests))


def restore(target: Target, meanwhile: TemporaryChange, again: bool = False) -> bool:
    """Restore a temporary change, with `again` also values that read as before; False if that failed."""
    if not meanwhile.variables:
        return True
    try:
        with session(target, purpose=", restore") as writer:
            return meanwhile.restore(writer, warn, again)
    except CclError as error:
        names = ", ".join(meanwhile.variables)
        warn(f"{names} could not be restored, the next command tries again: {error}")
        return False


def has_pending(target: Target) -> bool:
    """Whether a command that was killed has left something to restore."""
    with target.control_state.pending_restores() as pending:
        return bool(pending)


def restore_only(target: Target) -> NoReturn:
    """Carry out the pending restores of a command that was killed, and nothing else."""
    if not has_pending(target):
        # The charger may have had another address when the command was killed.
        with suppress(CclError), writable_transport(target.settings) as control:
            Writer(control, target.control_state, min(target.timeout, _IDENTIFY_WITHIN), target.command).identify()
    if not has_pending(target):
        say("nothing to restore")
        raise typer.Exit(Exit.NOTHING)
    if target.dry_run:
        say("would restore what is pending")
        raise typer.Exit(Exit.DONE)
    with session(target, say, ", restore"):
        pass  # It restores what is pending.
    raise typer.Exit(Exit.FAILED if has_pending(target) else Exit.DONE)


def finish(ended: Ended, as_json: bool) -> NoReturn:
    """Print the result of a command, and exit with its code."""
    _tell(ended, as_json)
    raise typer.Exit(_EXIT[ended.outcome])


def _tell(ended: Ended, as_json: bool) -> None:
    if as_json:
        facts = {"outcome": ended.outcome, "says": ended.says, **ended.facts}
        say(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        say_wrapped(ended.says)


def facts(written: Sequence[Written]) -> Mapping[str, Any]:
    """What was written, for a program; personal values are hidden."""
    return {
        "written": [
            {
                "variable": name,
                "before": MASK if name in one.personal else one.before[name],
                "wanted": MASK if name in one.personal else value,
                "after": MASK if name in one.personal else one.after[name],
            }
            for one in written
            for name, value in one.wanted.items()
        ]
    }
