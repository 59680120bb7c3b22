"""How long a change at a plug takes to a subscriber of the broker, as a table.

    python tests/benchmarks/bus.py [CHANGES]

A simulated vehicle comes and goes at moments that no timer knows; the broker is Debian's mosquitto on loopback.
"""

import json
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic, sleep

sys.path.insert(0, str(Path(__file__).parent.parent))

from helpers.brokers import Broker, Listener, listening, running
from helpers.support import Process

from benchmarks.processes import farm
from ccl_exporter.simulator import Simulator

PLUG = "ccl/garage/plug/EVSE.PLUG"
TOLERANCE = 0.2


def shows(listener: Listener, connected: bool) -> bool:
    return json.loads(listener.newest.get(PLUG, b"{}")).get("vehicle_connected") is connected


@contextmanager
def publishing(folder: Path, port: int, interval: int, chargers: dict[str, str]) -> Iterator[None]:
    """An exporter that publishes what these chargers say."""
    config = folder / f"{len(chargers)}.yaml"
    rows = "".join(f"  {name}: {{url: '{url}'}}\n" for name, url in chargers.items())
    config.write_text(f"chargers:\n{rows}mqtt: {{url: 'mqtt://127.0.0.1:{port}', interval: {interval}s}}\n")
    arguments = ("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")
    process = Process(*arguments, env={"XDG_STATE_HOME": str(folder)})
    try:
        yield
    finally:
        process.stop()


def delays(garage: Simulator, listener: Listener, changes: int, interval: int) -> list[float]:
    """Seconds from each change to the message with it."""
    found = []
    for number in range(changes):
        sleep(random.random() * interval)
        began = monotonic()
        garage.site.plugs[0].unplug() if number % 2 else garage.site.plugs[0].plug_in()
        listener.wait(partial(shows, listener, number % 2 == 0))
        found.append(monotonic() - began)
    return found


def measured(others: int, interval: int, changes: int) -> tuple[list[float], int]:
    """The delays of one charger among others, and how many connections the exporter made to the broker."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        running(Broker(Path(temporary) / "broker")) as broker,
        listening(broker.port) as listener,
        farm(0.005) as idle,
        Simulator(autopilot=False) as garage,
    ):
        names = {f"bay-{bay}": idle.url(f"idle-{bay}") for bay in range(others)}
        with publishing(Path(temporary), broker.port, interval, {"garage": garage.url, **names}):
            listener.wait(lambda: all(f"ccl/{name}/plug/EVSE.PLUG" in listener.newest for name in names))
            listener.wait(lambda: shows(listener, False))
            found = delays(garage, listener, changes, interval)
        return found, (broker.folder / "log").read_text().count("connected from") - 1


def main(changes: int) -> None:
    print("| chargers | interval | changes | median | highest | must reach | later | connections |")  # noqa: T201 - the result
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")  # noqa: T201 - the result
    for others, interval, count in ((0, 1, changes), (99, 5, max(changes // 5, 2))):
        found, connections = measured(others, interval, count)
        allowed = interval + TOLERANCE
        late = sum(delay > allowed for delay in found)
        row = (others + 1, f"{interval} s", count, f"{median(found):.2f} s", f"{max(found):.2f} s", f"{allowed} s")
        print("| " + " | ".join(map(str, (*row, late, connections))) + " |", flush=True)  # noqa: T201 - the result


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
