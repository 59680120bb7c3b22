"""Debian's mosquitto, started and ended by a test, and somebody who listens to it."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from helpers.databases import free_port
from helpers.support import server

PATIENCE = 90.0


@dataclass
class Broker:
    """A broker that can be killed and started again; it forgets everything then. `more` is configuration."""

    folder: Path
    more: str = "allow_anonymous true"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "mosquitto.conf"
        config.write_text(f"listener {self.port} 127.0.0.1\n{self.more}\n")
        log = self.folder / "log"
        with log.open("wb") as output:
            self.process = subprocess.Popen([server("mosquitto"), "-c", str(config)], stdout=output, stderr=output)
        began = monotonic()
        while b" running" not in log.read_bytes():
            assert self.process.poll() is None, log.read_text()
            assert monotonic() - began < PATIENCE, "the broker did not start"
            sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def running(broker: Broker) -> Iterator[Broker]:
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


class Listener:
    """Hears everything on a broker: the newest message of each topic, and all of them in order."""

    def __init__(self, port: int, adjust: Callable[[Client], object] = lambda client: None) -> None:
        self.newest: dict[str, bytes] = {}
        self.heard: list[tuple[str, bytes, bool, float]] = []
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2)
        adjust(self.client)
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._subscribed.wait(PATIENCE)

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        with self._changed:
            self.heard.append((message.topic, bytes(message.payload), message.retain, monotonic()))
            self.newest[message.topic] = bytes(message.payload)
            self._changed.notify_all()

    def wait(self, what: Callable[[], object]) -> None:
        """Wait until something holds of what was heard."""
        with self._changed:
            assert self._changed.wait_for(what, PATIENCE), self.newest

    def text(self, topic: str, *texts: str) -> str:
        """Wait for a message on a topic, or for one of these."""
        self.wait(lambda: topic in self.newest and (not texts or self.newest[topic].decode() in texts))
        return self.newest[topic].decode()

    def document(self, topic: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text(topic))
        return found

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def listening(port: int, adjust: Callable[[Client], object] = lambda client: None) -> Iterator[Listener]:
    listener = Listener(port, adjust)
    try:
        yield listener
    finally:
        listener.stop()
