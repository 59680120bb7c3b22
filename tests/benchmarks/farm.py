"""Simulated chargers by the thousand, behind one port, answering from what was rendered before.

`http://127.0.0.1:PORT/SITE-NUMBER` is the root of an engine; a site is one of `SITES`, `dead` or `drip`.
Each answer is made once and kept, so that the farm is not what is measured; it counts what it is asked.
Run as a process of its own: `python farm.py LATENCY`, which prints its port.
"""

import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from urllib.parse import unquote

from ccl_exporter.simulator import Dialect, Simulator

FROZEN = 1_790_000_000.0
Respond = Callable[[str], bytes]


def simulated(dialect: Sequence[str], charging: bool) -> Respond:
    """What a simulated wallbox answers, at an instant that never passes."""
    at = [FROZEN]
    simulator = Simulator(dialect=Dialect.parse(dialect), autopilot=False, clock=lambda: at[0])
    simulator.start()
    if charging:
        simulator.site.plugs[0].plug_in()
        simulator.site.plugs[0].authorise()
        at[0] += 600

    def respond(target: str) -> bytes:
        try:
            with urllib.request.urlopen(f"{simulator.url}/{target}") as answer:
                return _response(200, answer.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return _response(refusal.code, refusal.read())

    return respond


def made(variables: int) -> Respond:
    """An engine with meters of a hundred variables each, or fewer."""
    meters = {
        f"Meter {first // 100}": [f"X{number}" for number in range(first, min(first + 100, variables))]
        for first in range(0, variables, 100)
    }

    def respond(target: str) -> bytes:
        path, _, query = target.partition("?")
        ids = [unquote(part.partition("=")[2]) for part in query.split("&") if part.startswith("id=")]
        names = [(id, name) for id in ids if id in meters for name in meters[id]]
        match path.rpartition("/")[2] if path.startswith("services/user/") else "":
            case "devices.xml":
                body = "<devices>" + "".join(f"<id>{id}</id>" for id in meters) + "</devices>"
            case "deviceInfo.xml":
                parts = (
                    f"<device><id>{id}</id><type>METER</type>"
                    + "".join(f"<var>{id}.{name}</var>" for name in meters[id])
                    + "</device>"
                    for id in ids
                )
                body = f"<devices>{''.join(parts)}</devices>"
            case "varInfo.xml":
                body = "".join(
                    f"<var><id>{name}</id><idEx>{id}.{name}</idEx><title>{name}</title><hasValue>T</hasValue>"
                    f"<hasForced>F</hasForced><sampleMode>last</sampleMode><measureUnits>#V</measureUnits>"
                    f"<unitsFactor>0</unitsFactor><decimals>1</decimals></var>"
                    for id, name in names
                )
                body = f"<varInfo>{body}</varInfo>"
            case "values.xml":
                body = "".join(
                    f"<variable><id>{id}.{name}</id><value>230.100000</value></variable>" for id, name in names
                )
                body = f"<values>{body}</values>"
            case _:
                return _response(404, b"")
        return _response(200, body.encode())

    return respond


SITES: dict[str, Callable[[], Respond]] = {
    "idle": lambda: simulated((), charging=False),
    "charging": lambda: simulated((), charging=True),
    "proven": lambda: simulated(("wallbox-proven",), charging=False),
    "v10": lambda: made(10),
    "v171": lambda: made(171),
    "v2000": lambda: made(2000),
}


def _response(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} .\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@cache
def _site(name: str) -> Respond:
    return cache(SITES[name]())


class _Connection(asyncio.Protocol):
    def __init__(self, latency: float, counts: Counter[str], targets: dict[str, list[str]]) -> None:
        self._latency = latency
        self._counts = counts
        self._targets = targets
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self._requested(head.split(b" ", 2)[1].decode(), len(head) + 4)

    def _requested(self, target: str, size: int) -> None:
        name, _, rest = target[1:].partition("/")
        site = name.partition("-")[0]
        if name == "counts":
            report = {"counts": self._counts, "targets": self._targets.get(rest, [])}
            self._transport.write(_response(200, json.dumps(report).encode()))
            return
        if site == "dead":
            return
        answer = _site("idle" if site == "drip" else site)(rest)
        if len(self._targets) < 50 or name in self._targets:
            self._targets.setdefault(name, []).append(rest)
        self._counts[f"{site} requests"] += 1
        self._counts[f"{site} body bytes"] += len(answer.partition(b"\r\n\r\n")[2])
        self._counts[f"{site} wire bytes"] += len(answer) + size
        if site == "drip":
            self._drip(answer)
        else:
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)

    def _drip(self, left: bytes) -> None:
        if left and not self._transport.is_closing():
            self._transport.write(left[:1])
            asyncio.get_running_loop().call_later(1.0, self._drip, left[1:])


async def _main(latency: float) -> None:
    counts: Counter[str] = Counter()
    targets: dict[str, list[str]] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(latency, counts, targets), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - the parent process reads the port
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1])))
