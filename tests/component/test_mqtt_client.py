"""The connection to a broker, against one that is slow to confirm."""

import socket
import threading
from time import monotonic, sleep

from ccl_exporter.outputs.mqtt.client import MqttClient
from ccl_exporter.outputs.mqtt.payload import OFFLINE, ONLINE
from ccl_exporter.settings import MqttSettings

PATIENCE = 30.0
STATUS = "ccl/status"
CONNECT, PUBLISH, SUBSCRIBE, DISCONNECT = 1, 3, 8, 14


class SlowBroker:
    """Speaks as much MQTT 3.1.1 as one client needs; confirms nothing until it is told to."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.heard = threading.Event()
        self.confirm = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with self._listener, connection, connection.makefile("rb") as stream:
            connection.settimeout(PATIENCE)
            while head := stream.read(1):
                length, shift = 0, 0
                while (byte := stream.read(1)[0]) & 0x80:
                    length, shift = length | (byte & 0x7F) << shift, shift + 7
                body = stream.read(length | byte << shift)
                kind = head[0] >> 4  # MQTT 3.1.1, 2.2.1
                if kind == CONNECT:
                    connection.sendall(b"\x20\x02\x00\x00")
                elif kind == PUBLISH:
                    end = 2 + int.from_bytes(body[:2], "big")
                    if body[2:end].decode() == STATUS:
                        self.published.append(body[end + 2 :].decode())
                    self.heard.set()
                    self.confirm.wait(PATIENCE)
                    connection.sendall(b"\x40\x02" + body[end : end + 2])
                elif kind == SUBSCRIBE:
                    connection.sendall(b"\x90\x03" + body[:2] + b"\x01")
                elif kind == DISCONNECT:
                    return

    def close(self) -> None:
        self.confirm.set()
        self._thread.join()


def test_who_ends_before_being_known_as_there_is_known_as_gone() -> None:
    slow = SlowBroker()
    broker = MqttClient(MqttSettings("127.0.0.1", slow.port), STATUS, (STATUS,), (), lambda *_: None)
    broker.publish_retained(STATUS, ONLINE)
    broker.start()
    try:
        assert slow.heard.wait(PATIENCE)
        ending = threading.Thread(target=broker.stop, args=(monotonic() + PATIENCE,))
        ending.start()
        sleep(0.1)  # nothing tells from outside that it waits by now; earlier, the test would only be weaker
        slow.confirm.set()
        ending.join()
    finally:
        broker.stop(monotonic())
        slow.close()

    assert slow.published == [ONLINE, OFFLINE]
