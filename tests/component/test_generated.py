"""Files that are made from the code are those that are committed."""

import subprocess
import sys

from helpers.generated import COMMAND, GENERATED
from helpers.support import PROJECT


def test_every_generated_file_is_what_the_code_makes() -> None:
    stale = [
        str(path.relative_to(PROJECT))
        for path, make in GENERATED.items()
        if not path.exists() or path.read_text(encoding="utf-8") != make()
    ]

    assert stale == [], f"run: {COMMAND}"


def test_the_command_runs_by_itself_and_finds_nothing_to_write() -> None:
    found = subprocess.run([sys.executable, *COMMAND.split()[1:]], cwd=PROJECT, check=True, capture_output=True)

    assert found.stdout == b"", f"run: {COMMAND}"
