"""The balancer of the fleet on loopback, before exporters that a test started."""

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from helpers.databases import free_port
from helpers.support import PROJECT, get, server

FLEET = PROJECT / "deploy" / "kustomize" / "fleet"


@contextmanager
def balanced(folder: Path, exporters: Sequence[str]) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A balancer before these addresses, not those that a cluster names; yields its own address and process."""
    port = free_port()
    text = (FLEET / "haproxy.cfg").read_text(encoding="utf-8")
    lines = "\n".join(f"    server exporter{number} {address}" for number, address in enumerate(exporters))
    text, replaced = re.subn(r"^    server-template .*$", lines, text, flags=re.MULTILINE)
    assert replaced == 1
    assert "bind :9986" in text
    path, log = folder / "haproxy.cfg", folder / "haproxy.log"
    path.write_text(text.replace("bind :9986", f"bind 127.0.0.1:{port}"))
    with log.open("wb") as said:
        process = subprocess.Popen([server("haproxy"), "-db", "-f", str(path)], stdout=said, stderr=said)
    try:
        await_true(lambda: _answers(f"http://127.0.0.1:{port}/-/healthy"), log.read_text, 60)
        yield f"127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(timeout=60)


def _answers(url: str) -> bool:
    try:
        return bool(get(url))
    except OSError:
        return False


def await_true(holds: Callable[[], bool], explain: Callable[[], object], seconds: float) -> None:
    """Ask until something holds that nothing announces."""
    began = monotonic()
    while not holds():
        assert monotonic() - began < seconds, explain()
        sleep(0.25)
