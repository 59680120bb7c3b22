"""One exchange of each client of ours with a server, and what it says of it."""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from ccl_exporter.config.charger_source import ChargerSource
from ccl_exporter.control.follow.sources import LatestValue, PromQuery
from ccl_exporter.errors import CclError
from ccl_exporter.http_client import HttpClient, HttpError
from ccl_exporter.outputs.influxdb.client import InfluxClient
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.settings import InfluxSettings, Settings, SpoolSettings

UPLOAD = 32 * 1024 * 1024
SECRET = "hunter-4711"  # noqa: S105 - nobody's


class Once(threading.Event):
    """An event that its waiter sets: a loop that checks it between two steps runs once."""

    def wait(self, timeout: float | None = None) -> bool:
        self.set()
        return super().wait(timeout)


def charger(url: str, seconds: float) -> str:
    transport = Transport(url)
    try:
        return transport.get("x.xml", monotonic() + seconds).decode()
    except CclError as error:
        return str(error)
    finally:
        transport.close()


def database(url: str, seconds: float) -> str:
    client = InfluxClient(InfluxSettings("db", url, 2, SpoolSettings(Path("x")), token=SECRET, timeout=seconds))
    outcome = client.write(["m x=1 1"])
    client.close()
    return getattr(outcome, "reason", "")


def upload(url: str, seconds: float) -> str:
    """More than the buffers of two kernels hold."""
    client = HttpClient(url)
    try:
        return str(client.request("POST", "/", monotonic() + seconds, body=bytes(UPLOAD), most_bytes=0).status)
    except HttpError as error:
        return str(error)
    finally:
        client.close()


def inventory(url: str, seconds: float) -> str:
    source = ChargerSource(Settings({}), 60.0, lambda *_: {}, url=f"{url}/x?token={SECRET}", timeout=seconds)
    try:
        source.settings()
    except CclError as error:
        return str(error)
    return ""


def query(url: str, seconds: float) -> str:
    latest = LatestValue()
    PromQuery(url, "up", 1.0, timeout=seconds).run(latest, Once())
    return latest.failure


@dataclass(frozen=True)
class Kind:
    run: Callable[[str, float], str]
    body_of: int
    """A status whose body it reads."""


KINDS = {
    "charger": Kind(charger, 200),
    "database": Kind(database, 400),
    "inventory": Kind(inventory, 200),
    "query": Kind(query, 200),
    "upload": Kind(upload, 200),
}


if __name__ == "__main__":
    sys.stdout.write(KINDS[sys.argv[1]].run(sys.argv[2], float(sys.argv[3])))
