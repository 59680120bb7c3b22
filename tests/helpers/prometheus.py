"""A real Prometheus on loopback, and what it answers."""

import json
import subprocess
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

from helpers.support import get, server


@contextmanager
def running(folder: Path, scrape_configs: str, *, agent: bool = False) -> Iterator[str]:
    """A Prometheus on loopback with these scrape configurations, every second; yields its URL.

    As an agent it stores nothing and only forwards.
    """
    config = folder / "prometheus.yml"
    config.write_text(f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{scrape_configs}")
    with server_of(config, folder, agent=agent) as url:
        yield url


@contextmanager
def server_of(config: Path, folder: Path, *flags: str, agent: bool = False) -> Iterator[str]:
    """A Prometheus with a configuration file; yields its URL."""
    with listening(
        server("prometheus"),
        f"--config.file={config}",
        *(("--enable-feature=agent",) if agent else ()),
        f"--storage.{'agent' if agent else 'tsdb'}.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        *flags,
    ) as url:
        yield url


@contextmanager
def listening(*command: str) -> Iterator[str]:
    """A server of the Prometheus family on a port that it chose; yields its URL once it listens."""
    process = subprocess.Popen([*command, "--log.format=json"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    # Read on after that, lest a full pipe stops it.
    reader = threading.Thread(target=process.stderr.read)
    try:
        for line in process.stderr:
            said = json.loads(line)
            if said.get("msg") == "Listening on":
                break
        else:
            raise AssertionError(f"{command[0]} did not start")
        reader.start()
        yield f"http://{said['address']}"
    finally:
        process.terminate()
        if reader.is_alive():
            reader.join()
        process.communicate()


def query(url: str, expression: str) -> float | None:
    """The one value of an instant query; None while there is none."""
    try:
        answer = json.loads(get(f"{url}/api/v1/query?query={quote(expression)}"))
    except urllib.error.HTTPError:
        return None  # not ready yet
    results = answer["data"]["result"]
    assert len(results) <= 1, results
    return float(results[0]["value"][1]) if results else None


def await_value(url: str, expression: str) -> float:
    """Ask until there is an answer, as Prometheus has no event to wait for."""
    began = monotonic()
    while (value := query(url, expression)) is None:
        assert monotonic() - began < 120, f"no answer to {expression}"
        sleep(0.25)
    return value
