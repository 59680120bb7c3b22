"""The table of commands, from which `--help` is made without importing them."""

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields

import pytest

from ccl_exporter.cli.command_table import CHARGE_COMMANDS, COMMANDS
from ccl_exporter.cli.write_session import Target


def imported(place: str) -> Callable[..., None]:
    module, _, function = place.partition(":")
    command: Callable[..., None] = getattr(importlib.import_module(f"ccl_exporter.cli.{module}"), function)
    return command


@pytest.mark.parametrize(("place", "summary"), [*COMMANDS.values(), *CHARGE_COMMANDS.values()])
def test_the_summary_of_a_command_is_the_first_paragraph_of_its_docstring(place: str, summary: str) -> None:
    assert (inspect.getdoc(imported(place)) or "").partition("\n\n")[0] == summary


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (
            "charge start",
            "charger config_file plug between timezone now restart_remote lasts need dry_run wait least_pause"
            " as_json timeout",
        ),
        ("charge stop", "charger config_file plug dry_run wait least_pause as_json timeout"),
        ("charge pause", "charger config_file plug dry_run wait least_pause as_json timeout"),
        ("charge enable", "charger config_file plug dry_run wait least_pause length as_json timeout"),
        (
            "charge disable",
            "charger config_file plug nightly outside timezone dry_run wait least_pause length as_json timeout",
        ),
        ("charge limit", "current charger config_file plug dry_run wait least_pause length as_json timeout"),
        (
            "charge plan",
            "prices need by below power least_block every_day payment_method charger config_file plug"
            " timezone timers listen put_back dry_run timeout",
        ),
        ("set", "pairs charger config_file force dry_run wait least_pause length as_json timeout"),
    ],
)
def test_commands_that_write_share_their_flags(command: str, shown: str) -> None:
    group, _, name = command.rpartition(" ")
    parameters = inspect.signature(imported((CHARGE_COMMANDS if group else COMMANDS)[name][0])).parameters

    assert list(parameters) == shown.split()
    shared = {field.name: (field.type, field.default) for field in fields(Target)}
    assert {
        name: (parameter.annotation, parameter.default)
        for name, parameter in parameters.items()
        if name in shared and (parameter.annotation, parameter.default) != shared[name]
    } == {}


def test_a_command_may_give_a_shared_flag_another_default() -> None:
    parameters = inspect.signature(imported(CHARGE_COMMANDS["follow"][0])).parameters

    assert parameters["timeout"].default == 5.0
    assert list(parameters)[:4] == ["charger", "config_file", "plug", "mode"]


@pytest.mark.parametrize("arguments", [["--help"], ["charge", "--help"], ["--version"]])
def test_the_top_level_imports_no_command(arguments: list[str]) -> None:
    code = (
        "import sys; sys.argv[0] = 'ccl-exporter'\n"
        "from ccl_exporter.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith('ccl_exporter.')), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)

    known = {"ccl_exporter.cli", "ccl_exporter.errors"} | {
        f"ccl_exporter.cli.{name}" for name in ("command_table", "exit_codes", "main", "service_signals")
    }
    assert set(done.stderr.split()) == known
