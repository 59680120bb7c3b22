"""One connection to an MQTT broker, over which the newest message of each topic is kept retained there.

Nothing waits in a queue but that: while the broker is away a newer message takes the place of an older one,
and when it is back all of them are sent again, as it may have forgotten them.
Quality of service is 1: who subscribes with a session that lasts misses no reading while he is away.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from ccl_exporter.outputs.mqtt.payload import OFFLINE, ONLINE
from ccl_exporter.settings import MqttSettings

log = logging.getLogger(__name__)

_QOS = 1
_KEEPALIVE = 30
_FIRST_REST, _LONGEST_REST = 1, 30
"""Seconds between two tries to connect, doubled from the first to the longest."""

Received = Callable[[str, bytes, bool], None]
"""Called with topic, payload and whether it was retained."""


class _Client(Client):
    """paho's client, which says that a connection failed but not why."""

    failure = ""

    def reconnect(self) -> MQTTErrorCode:
        try:
            return super().reconnect()
        except OSError as error:
            self.failure = error.strerror or str(error)
            raise


class MqttClient:
    """Safe to be called from several threads. `status` is where the broker says `offline` once we are gone.

    What it has on the topics of `read_once` is passed to `received` after each connecting, as is what it has on
    those of `subscribe_once`, until `end_lookups`; what comes on those of `listen_to`, always.
    """

    def __init__(
        self,
        settings: MqttSettings,
        status: str,
        read_once: Sequence[str],
        listen_to: Sequence[str],
        received: Received,
    ) -> None:
        self.settings = settings
        self._status = status
        self._read_once = read_once
        self._listen_to = listen_to
        self._received = received
        self._lock = threading.Lock()
        self._newest: dict[str, str] = {}
        self._sent: dict[str, tuple[str, MQTTMessageInfo]] = {}
        self._looking: dict[str, bool] = {}  # whether it was so at the last call of end_lookups
        self._stopping = False
        self._gone = threading.Event()
        self._trouble: str | None = ""
        self.connected = False
        self.count = 0
        self._client = _Client(CallbackAPIVersion.VERSION2, f"ccl-exporter-{uuid4().hex[:8]}")
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(_FIRST_REST, _LONGEST_REST)
        self._client.will_set(status, OFFLINE, qos=_QOS, retain=True)
        if settings.credentials is not None:
            self._client.username_pw_set(settings.credentials.username, settings.credentials.password)
        if settings.tls:
            self._client.tls_set(settings.ca_file, settings.cert_file, settings.key_file)

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        self._client.connect_async(self.settings.host, self.settings.port, _KEEPALIVE)
        self._client.loop_start()

    def stop(self, deadline: float) -> None:
        """Say that we are gone and end, at `deadline` (monotonic) at the latest."""
        self.publish_retained(self._status, OFFLINE)
        self._await_status(deadline)
        self.catch_up()  # it was passed over if an older one was under way still
        with self._lock:
            self._stopping = True
        self._await_status(deadline)
        was = self.connected
        self._client.disconnect()
        # The library's thread ends by itself; while it tries to connect that would be long to wait for.
        if was:
            self._gone.wait(max(deadline - monotonic(), 0.0))

    def _await_status(self, deadline: float) -> None:
        with self._lock:
            _, last = self._sent.get(self._status, ("", None))
        if self.connected and last is not None and last.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
            last.wait_for_publish(max(deadline - monotonic(), 0.0))

    def publish_retained(self, topic: str, payload: str) -> None:
        """Have a message retained in the place of an older one; an empty one takes the topic away."""
        with self._lock:
            self._newest[topic] = payload
            self._send(topic)

    def catch_up(self) -> None:
        """Send what was passed over because an older message of its topic was still under way."""
        with self._lock:
            for topic, payload in list(self._newest.items()):
                sent, info = self._sent.get(topic, (None, None))
                if sent != payload:
                    self._send(topic)
                elif not payload and not _under_way(info):
                    del self._newest[topic], self._sent[topic]

    def send_again(self) -> None:
        """Send the newest of every topic."""
        with self._lock:
            for topic in list(self._newest):
                self._send(topic)

    def subscribe_once(self, topics: Sequence[str]) -> None:
        """Look at what the broker has on these, too."""
        with self._lock:
            self._looking.update(dict.fromkeys(topics, False))
        self._client.subscribe([(topic, _QOS) for topic in topics])

    def end_lookups(self) -> None:
        """End looking at what the broker had, where that has begun before the last call of this."""
        with self._lock:
            over = [topic for topic, known in self._looking.items() if known]
            self._looking = {topic: True for topic in self._looking if topic not in over}
        if over:
            self._client.unsubscribe(over)

    def _send(self, topic: str) -> None:
        if not self.connected or self._stopping or _under_way(self._sent.get(topic, (None, None))[1]):
            return
        payload = self._newest[topic]
        info = self._client.publish(topic, payload, qos=_QOS, retain=True)
        self._sent[topic] = payload, info
        self.count += info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    # Called by the library, in its thread

    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: ReasonCode, _more: Any) -> None:
        if reason.is_failure:
            self._say(f"the broker refuses us: {str(reason).lower()}")
            return
        if self._listen_to:
            client.subscribe([(topic, _QOS) for topic in self._listen_to])
        # Before anything is sent: what it had is to be seen before it is overwritten.
        self.subscribe_once(self._read_once)
        with self._lock:
            self.connected = True
            self._gone.clear()
            if not self._stopping:
                self._newest[self._status] = ONLINE
        self._say(None)
        self.send_again()

    def _on_connect_fail(self, client: Client, _data: Any) -> None:
        self._say(getattr(client, "failure", "") or "no connection")

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, _reason: Any, _more: Any) -> None:
        with self._lock:
            was, self.connected = self.connected, False
        self._gone.set()
        if was:
            self._say("the connection broke off")

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        # Anybody may write there, and what is raised here would end the library's thread unnoticed.
        try:
            self._received(message.topic, bytes(message.payload), message.retain)
        except Exception as error:  # noqa: BLE001 - whatever it may be
            log.warning("mqtt: %s: a message is passed over: %s", self.settings.shown, repr(error)[:200])

    def _say(self, trouble: str | None) -> None:
        """A line in the log when the broker becomes or is no longer reachable, or for another reason."""
        if trouble == self._trouble or self._stopping:
            return
        self._trouble = trouble
        if trouble is None:
            log.info("mqtt: %s takes what is published", self.settings.shown)
        else:
            log.warning("mqtt: %s: %s; the newest is published once it is back", self.settings.shown, trouble)


def _under_way(info: MQTTMessageInfo | None) -> bool:
    """Whether the broker has not yet confirmed a message."""
    return info is not None and info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS and not info.is_published()
