"""A follower that is started against a charging car, and the input that it gets."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
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
def input_file(path: Path, watts: float) -> Iterator[Callable[[float], None]]:
    """A file that is written every half second until the block ends; yields a function that sets its watts."""
    now, over = [watts], threading.Event()

    def rewrite() -> None:
        for number in count():
            fresh = path.with_suffix(f".{number}")
            fresh.write_text(f"{now[0]}\n")
            fresh.replace(path)
            if over.wait(0.5):
                return

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        yield lambda watts: now.__setitem__(0, watts)
    finally:
        over.set()
        writer.join()


def follow(start: Start, charging: Simulator, *arguments: str) -> Process:
    process: Process = start("charge", "follow", "--input", "available", *arguments, "-c", charging.url)
    process.line("Safe current: ")
    return process


@contextmanager
def house_of(charging: Simulator, load: float) -> Iterator[str]:
    """A Prometheus with the import of a house that takes `load` watts besides the car; yields its URL."""

    class Prometheus(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with charging.site.present():
                watts = load + charging.site.plugs[0].watts + next(noise) % 7
            data = {"resultType": "vector", "result": [{"metric": {}, "value": [0, str(watts)]}]}
            body = json.dumps({"status": "success", "data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    noise = count()
    with HTTPServer(("127.0.0.1", 0), Prometheus) as answering:
        thread = threading.Thread(target=answering.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{answering.server_port}"
        finally:
            answering.shutdown()
            thread.join()
