"""A follower that is started against a charging car, and what it is told."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from ccl_exporter.control.state import JOURNAL
from ccl_exporter.simulator import Simulator
from helpers.support import Process, Start

PLUG = "EVSE.PLUG"


MODE3 = "Plug - Mode 3"


PREDUCTION = f"{MODE3}.PREDUCTION"


TO_BE = r"the limit is to be ([0-9.]+) A"


def reduction(simulator: Simulator) -> float:
    with simulator.site.present():
        return simulator.site.model.places[0].plug.limits.reduction


def limit_to(simulator: Simulator, percent: float) -> None:
    simulator.site.force(MODE3, [(PREDUCTION, percent)], 0.0)


def writes(state: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (state / JOURNAL).read_text().splitlines()]


@contextmanager
def told(path: Path, watts: float) -> Iterator[Callable[[float], None]]:
    """A file that somebody writes again and again, until the block is over; yields what changes the number."""
    now, over = [watts], threading.Event()

    def tell() -> None:
        for number in count():
            fresh = path.with_suffix(f".{number}")
            fresh.write_text(f"{now[0]}\n")
            fresh.replace(path)
            if over.wait(0.5):
                return

    teller = threading.Thread(target=tell)
    teller.start()
    try:
        yield lambda watts: now.__setitem__(0, watts)
    finally:
        over.set()
        teller.join()


def follow(start: Start, charging: Simulator, *arguments: str) -> Process:
    process: Process = start("charge", "follow", "--input", "available", *arguments, "-c", charging.url)
    process.line("Safe current: ")
    return process
