"""The table of commands, from which `--help` is made without importing them."""

import importlib
import inspect

import pytest

from ccl_exporter.cli.main import CHARGE_COMMANDS, COMMANDS


@pytest.mark.parametrize(("place", "summary"), [*COMMANDS.values(), *CHARGE_COMMANDS.values()])
def test_the_summary_of_a_command_is_the_first_paragraph_of_its_docstring(place: str, summary: str) -> None:
    module, _, function = place.partition(":")
    command = getattr(importlib.import_module(f"ccl_exporter.cli.{module}"), function)

    assert (inspect.getdoc(command) or "").partition("\n\n")[0] == summary
