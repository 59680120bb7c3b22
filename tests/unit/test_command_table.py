"""The table of commands, from which `--help` is made without importing them."""

import importlib
import inspect
import subprocess
import sys

import pytest

from ccl_exporter.cli.main import CHARGE_COMMANDS, COMMANDS


@pytest.mark.parametrize(("place", "summary"), [*COMMANDS.values(), *CHARGE_COMMANDS.values()])
def test_the_summary_of_a_command_is_the_first_paragraph_of_its_docstring(place: str, summary: str) -> None:
    module, _, function = place.partition(":")
    command = getattr(importlib.import_module(f"ccl_exporter.cli.{module}"), function)

    assert (inspect.getdoc(command) or "").partition("\n\n")[0] == summary


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

    known = {"ccl_exporter.cli", "ccl_exporter.cli.exit_codes", "ccl_exporter.cli.main", "ccl_exporter.errors"}
    assert set(done.stderr.split()) == known
