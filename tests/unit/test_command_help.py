"""The help of commands, and the ways to reach it."""

import shlex
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from ccl_exporter.cli.command_table import CHARGE_COMMANDS, COMMANDS, app
from ccl_exporter.cli.shared import Duration, duration_of_at_least

ALL = [*COMMANDS, *(f"charge {name}" for name in CHARGE_COMMANDS)]


def shown(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments, prog_name="ccl-exporter").output


def joined(text: str) -> str:
    return " ".join(text.split())


def test_summaries_are_not_cut() -> None:
    for commands, text in ((COMMANDS, joined(shown("-h"))), (CHARGE_COMMANDS, joined(shown("charge", "-h")))):
        for name, (_, summary) in commands.items():
            assert f"{name} {summary}" in text


@pytest.mark.parametrize("command", ["", *ALL])
def test_help_is_reached_by_a_letter_too(command: str) -> None:
    assert shown(*command.split(), "-h") == shown(*command.split(), "--help")
    assert "Show this message and exit." in joined(shown(*command.split(), "-h"))


@pytest.mark.parametrize("command", ALL)
def test_examples_in_the_help_are_command_lines_that_can_be_used(command: str) -> None:
    lines = [line for line in shown(*command.split(), "-h").splitlines() if line.startswith("    ccl-exporter ")]

    assert lines
    for line in lines:
        _, *arguments = shlex.split(line)
        assert command.split() == arguments[: len(command.split())]
        group: Any = get_command(app)
        context = group.make_context("ccl-exporter", arguments[:1])
        for depth in range(len(command.split())):
            group = group.commands[arguments[depth]]
            is_last = depth + 1 == len(command.split())
            context = group.make_context(
                arguments[depth], arguments[depth + 1 :] if is_last else ["x"], parent=context
            )


def test_flags_stand_in_groups() -> None:
    text = shown("charge", "limit", "-h")
    charger, _, write = text.partition("\nCharger options:\n")[2].partition("\nWrite options:\n")

    assert "--charger" in charger
    assert "--timeout DURATION" in charger
    assert "--dry-run" in write
    assert "--min-interval DURATION" in write


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("15s", 15), ("2m", 120), ("15", 15), ("0.5", 0.5), (Duration(5), 5)]
)
def test_durations_have_units_and_numbers_alone_are_seconds(text: object, seconds: float) -> None:
    assert duration_of_at_least(0.1)(text) == seconds


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "15 s", "1e3", "", "0.01", "99ms"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    done = CliRunner().invoke(app, ["get", "X", "--timeout", text])

    assert done.exit_code == 2
    assert "is not a duration" in done.output or "is too short: give at least 100ms" in done.output


@pytest.mark.parametrize(
    ("command", "most"),
    [
        ("charge start --now --for 367d", "366d"),
        ("show X --watch --interval 31622401", "366d"),
        ("set X 1 --wait 999999999d", "366d"),
        ("check --timeout 25d", "1d"),
        ("scan 192.0.2.1/32 --timeout 999999999d", "1d"),
    ],
)
def test_a_duration_for_which_nothing_can_wait_is_refused(command: str, most: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), *(("-c", "192.0.2.1") if "scan" not in command else ())])

    assert done.exit_code == 2
    assert f"is too long: give at most {most}" in done.output


def test_the_default_of_a_duration_is_shown_with_its_unit() -> None:
    assert "[default: 15s]" in shown("get", "-h")
