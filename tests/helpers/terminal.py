"""A command of ours on a terminal, as a person has it."""

import os
import pty
import re
import subprocess
import threading
from contextlib import suppress

from helpers.support import COMMAND

PATIENCE = 60
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def plain(text: str) -> str:
    """What a terminal shows, without colours and movements of the cursor."""
    return _CONTROL.sub("", text)


def on_terminal(*arguments: str, typed: str = "", piped: bool = True, **environment: str) -> tuple[int, str, str]:
    """Run a command on a terminal, its output perhaps `piped`: exit code, what is piped, what it shows."""
    person, terminal = pty.openpty()
    process = subprocess.Popen(
        [str(COMMAND), *arguments],
        stdin=terminal,
        stdout=subprocess.PIPE if piped else terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **environment},
    )
    os.close(terminal)
    os.write(person, typed.encode())
    shown: list[bytes] = []

    def read() -> None:
        # The end of a terminal is an error.
        with suppress(OSError):
            while data := os.read(person, 65536):
                shown.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        out, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        reader.join()
        os.close(person)
    return process.returncode, (out or b"").decode(), b"".join(shown).decode()
