"""Scrapes by the thousand, as Prometheus sends them: one kept connection a target, at its instant of the interval.

Run as a process of its own: `python load.py PORT MODULE paced INTERVAL ROUNDS` or `... flat-out SCRAPES`;
names of targets come on standard input, what came of them goes as JSON to standard output.
"""

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter

TIMEOUT = 10.0
_UP = re.compile(rb"^ccl_up ([01])", re.MULTILINE)
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass
class Scrapes:
    """What came of them: seconds by kind of target, those that failed, those of chargers that were down."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    failed: int = 0
    down: dict[str, int] = field(default_factory=dict)
    late_to_start: float = 0.0


class Target:
    """One charger of the exporter, over a connection of its own."""

    def __init__(self, port: int, name: str, module: str) -> None:
        self._port = port
        self.kind = name.partition("-")[0]
        query = f"/probe?target={name}" + (f"&module={module}" if module != "both" else "")
        self._request = (
            f"GET {query} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/openmetrics-text; version=1.0.0\r\n"
            f"X-Prometheus-Scrape-Timeout-Seconds: {TIMEOUT:g}\r\n\r\n"
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def scrape(self, found: Scrapes) -> None:
        began = perf_counter()
        try:
            body = await asyncio.wait_for(self._exchange(), TIMEOUT + 1)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            found.failed += 1
            if self._streams is not None:
                self._streams[1].close()
            self._streams = None
            return
        found.seconds.setdefault(self.kind, []).append(perf_counter() - began)
        up = _UP.search(body)
        if up is None:
            found.failed += 1
        elif up[1] == b"0":
            found.down[self.kind] = found.down.get(self.kind, 0) + 1

    async def _exchange(self) -> bytes:
        if self._streams is not None:
            try:
                return await self._once(*self._streams)
            except (OSError, asyncio.IncompleteReadError):
                # A kept connection that was closed meanwhile is no failure.
                self._streams[1].close()
        self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return await self._once(*self._streams)

    async def _once(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(self._request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        return await reader.readexactly(int(length[1]) if length is not None else 0)


async def paced(targets: Sequence[Target], interval: float, rounds: int) -> Scrapes:
    """Each target once an interval, spread evenly over it."""
    found = Scrapes()
    began = perf_counter() + 0.2

    async def keep(number: int, target: Target) -> None:
        for turn in range(rounds):
            due = began + (turn + number / len(targets)) * interval
            await asyncio.sleep(max(0.0, due - perf_counter()))
            found.late_to_start = max(found.late_to_start, perf_counter() - due)
            await target.scrape(found)

    await asyncio.gather(*(keep(number, target) for number, target in enumerate(targets)))
    return found


async def flat_out(targets: Sequence[Target], scrapes: int, workers: int = 4) -> Scrapes:
    """One after the other around the ring, a few at a time."""
    found = Scrapes()
    order = iter(range(scrapes))

    async def work() -> None:
        for number in order:
            await targets[number % len(targets)].scrape(found)

    await asyncio.gather(*(work() for _ in range(workers)))
    return found


def main(port: int, module: str, how: str, *numbers: str) -> None:
    targets = [Target(port, name, module) for name in sys.stdin.read().split()]
    if how == "paced":
        found = asyncio.run(paced(targets, float(numbers[0]), int(numbers[1])))
    else:
        found = asyncio.run(flat_out(targets, int(numbers[0])))
    json.dump(asdict(found), sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
