"""Debian's mosquitto, started and ended by a test, a subscriber, and brokers that misbehave."""

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 8, 10, 12, 14  # MQTT 3.1.1, 2.2.1

Packet = tuple[int, bytes]
"""Kind and what follows the length."""


def topic_of(body: bytes) -> str:
    """The topic of a PUBLISH."""
    return body[2 : 2 + int.from_bytes(body[:2], "big")].decode()


def payload_of(body: bytes) -> str:
    """The message of a PUBLISH with a quality of service of 1."""
    return body[4 + int.from_bytes(body[:2], "big") :].decode()


class FakeBroker:
    """Speaks as much MQTT 3.1.1 as its clients need, and what a test wants instead.

    `answer_to` is called for each packet with the number of the connection, the packet and the socket; what it
    returns is sent instead of the usual answer, None asks for that. `begin` is called with each connection.
    """

    def __init__(
        self,
        answer_to: Callable[[int, Packet, socket.socket], bytes | None] = lambda *_: None,
        begin: Callable[[socket.socket], None] = lambda _: None,
    ) -> None:
        self.packets: list[tuple[int, Packet]] = []
        self._changed = threading.Condition()
        self._answer_to = answer_to
        self._begin = begin
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def published(self, topic: str) -> list[str]:
        return [
            payload_of(body) for _, (kind, body) in self.packets if kind == PUBLISH and topic_of(body) == topic
        ]

    def wait(self, what: Callable[[], object]) -> None:
        """Wait until something holds of the packets."""
        with self._changed:
            assert self._changed.wait_for(what, PATIENCE), self.packets

    def _accept(self) -> None:
        number = 0
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(number, connection)))
                self._threads[-1].start()
                number += 1

    def _serve(self, number: int, connection: socket.socket) -> None:
        with suppress(OSError, IndexError), connection, connection.makefile("rb") as stream:
            self._begin(connection)
            while head := stream.read(1):
                length, shift = 0, 0
                while (byte := stream.read(1)[0]) & 0x80:
                    length, shift = length | (byte & 0x7F) << shift, shift + 7
                packet = head[0] >> 4, stream.read(length | byte << shift)
                with self._changed:
                    self.packets.append((number, packet))
                    self._changed.notify_all()
                answer = self._answer_to(number, packet, connection)
                connection.sendall(self._usual(*packet) if answer is None else answer)

    @staticmethod
    def _usual(kind: int, body: bytes) -> bytes:
        if kind == CONNECT:
            return b"\x20\x02\x00\x00"
        if kind == PUBLISH:
            end = 2 + int.from_bytes(body[:2], "big")
            return b"\x40\x02" + body[end : end + 2]
        if kind == SUBSCRIBE:
            return b"\x90\x03" + body[:2] + b"\x01"
        if kind == UNSUBSCRIBE:
            return b"\xb0\x02" + body[:2]
        return b"\xd0\x00" if kind == PINGREQ else b""

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@contextmanager
def pretending(broker: FakeBroker) -> Iterator[FakeBroker]:
    try:
        yield broker
    finally:
        broker.close()
