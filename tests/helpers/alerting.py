"""deploy/prometheus in a hurry: copies of its files with every duration divided, and a receiver of alerts."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from helpers.prometheus import listening
from helpers.support import PROJECT, get, server

DEPLOYED = PROJECT / "deploy" / "prometheus"
PATIENCE = 120.0
"""Seconds to wait for what must come; far more than it takes."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def divided(text: str, speed: float) -> str:
    """A file of Prometheus or Alertmanager with every duration divided."""

    def shorter(found: re.Match[str]) -> str:
        return f"{round(int(found[1]) * _SECONDS[found[2]] * 1000 / speed)}ms"

    return re.sub(r"\b(\d+)([smhd])\b", shorter, text)


def prometheus_files(folder: Path, speed: float, exporter: str, alertmanager: str) -> Path:
    """A copy of prometheus.yml and its rules, where only durations and addresses differ.

    It scrapes every second and waits that long, as who asks more often shares a reading.
    """
    (folder / "rules").mkdir()
    for rules in (DEPLOYED / "rules").glob("*.yml"):
        (folder / "rules" / rules.name).write_text(divided(rules.read_text(), speed))
    text = divided((DEPLOYED / "prometheus.yml").read_text(), speed)
    text = re.sub(r"(scrape_(?:interval|timeout)): \w+", r"\1: 1s", text)
    config = folder / "prometheus.yml"
    config.write_text(text.replace("127.0.0.1:9986", exporter).replace("127.0.0.1:9093", alertmanager))
    return config


@dataclass
class Receiver:
    """What Alertmanager has sent by webhook: each alert's labels and `firing` or `resolved`, in order."""

    received: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""
    _news: threading.Condition = field(default_factory=threading.Condition)

    def take(self, message: dict[str, Any]) -> None:
        with self._news:
            self.received += [(alert["status"], alert["labels"]) for alert in message["alerts"]]
            self._news.notify_all()

    def have(self, status: str, **labels: str) -> bool:
        """Whether the newest of such alerts that was sent has this status; false while none was sent."""
        received = [kind for kind, found in self.received if labels.items() <= found.items()]
        return bool(received) and received[-1] == status

    def wait(self, status: str, **labels: str) -> dict[str, str]:
        """Wait until an alert with these labels was sent with this status; returns all its labels."""
        with self._news:
            came = self._news.wait_for(lambda: self.have(status, **labels), PATIENCE)
            assert came, f"{status} {labels} did not arrive, but {self.received}"
            return next(found for _, found in reversed(self.received) if labels.items() <= found.items())

    def alarms(self) -> set[tuple[str, str]]:
        """Alert and instance of everything that was sent as a warning or worse."""
        with self._news:
            return {
                (labels["alertname"], labels.get("instance", ""))
                for _, labels in self.received
                if labels["severity"] != "info"
            }


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A webhook receiver on loopback."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        found.url = f"http://127.0.0.1:{httpd.server_port}/"
        try:
            yield found
        finally:
            httpd.shutdown()
            thread.join()


@contextmanager
def alertmanager(folder: Path, speed: float, hook: str) -> Iterator[str]:
    """The deployed Alertmanager in a hurry, whose receivers send to a webhook; yields its URL."""
    text = divided((DEPLOYED / "alertmanager.yml").read_text(), speed)
    config = folder / "alertmanager.yml"
    config.write_text(re.sub(r"https://ntfy\.example\.org/\S+", hook, text))
    with listening(
        server("prometheus-alertmanager"),
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        "--web.listen-address=127.0.0.1:0",
        "--cluster.listen-address=",
    ) as url:
        yield url


def await_alert(url: str, sure: Callable[[dict[str, Any]], bool], **labels: str) -> dict[str, Any]:
    """Ask an Alertmanager until it has an alert with these labels of which something is true."""
    began = monotonic()
    while True:
        alerts = [
            one for one in json.loads(get(f"{url}/api/v2/alerts")) if labels.items() <= one["labels"].items()
        ]
        for one in alerts:
            if sure(one):
                return dict(one)
        assert monotonic() - began < PATIENCE, f"{labels} never was so: {alerts}"
        sleep(0.1)
