"""Keeps the newest message of each topic retained on an MQTT broker, while this exporter owns the topic.

There is no queue: while the broker is not reachable, a newer message replaces the older one of its topic. After
each connection the newest of every topic is sent again, as the broker may have lost it.
Quality of service is 1: a subscriber may get a message twice.
While another exporter owns the topic (`ownership`), nothing is published, and there is no last will.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic, time

from paho.mqtt.client import MQTTMessageInfo

from ccl_exporter.mqtt_client import STEADY, MqttConnection
from ccl_exporter.outputs.mqtt.ownership import TopicOwnership
from ccl_exporter.outputs.mqtt.payload import OFFLINE, ONLINE
from ccl_exporter.settings import MqttSettings

log = logging.getLogger(__name__)

_SHORTEST_WAIT, _LONGEST_WAIT = 0.05, 1.0  # seconds for the network in one step

AHEAD_PAUSE = 3.0
"""Seconds before and after a message of `publish_ahead`."""

Received = Callable[[str, bytes, bool], None]
"""Called with topic, payload and whether it was retained."""


class MqttClient:
    """Publishes the newest message of each topic. Safe to be called from several threads; `step` is for a worker.

    The last will is `offline` on the topic `status`. `received` gets, while this exporter owns its topic, every
    message on the topics of `listen_to`, and those on the topics of `read_once` and `subscribe_once` from the
    subscription until `end_lookups`. The topics of `read_once` are subscribed after each connection.
    """

    def __init__(
        self,
        settings: MqttSettings,
        ownership: TopicOwnership,
        status: str,
        read_once: Sequence[str],
        listen_to: Sequence[str],
        received: Received,
    ) -> None:
        self._shown = settings.broker.shown
        self._topic = settings.topic
        self._ownership = ownership
        self._owner = f"{settings.topic}/owner"
        self._status = status
        self._read_once = read_once
        self._listen_to = listen_to
        self._received = received
        self._lock = threading.Lock()
        self._newest: dict[str, str] = {}
        self._sent: dict[str, tuple[str, MQTTMessageInfo]] = {}
        self._looking: dict[str, bool] = {}  # by topic of a lookup, whether it began before the last end_lookups
        self._ahead: dict[str, tuple[float, str]] = {}  # due time and message; empty for the newest of the topic
        self._record: tuple[float, MQTTMessageInfo] | None = None  # our last one, until the broker confirms it
        self._publishing = False
        self._publishing_since = 0.0
        self._stopping = False
        self._reported: str | None = ""
        self._is_flapping = False
        self._reported_owner = ""
        self.count = 0
        self._connection = MqttConnection(settings.broker, self)

    @property
    def connected(self) -> bool:
        return self._connection.connected

    def step(self, now: float) -> float:
        """Keep the connection and the ownership of the topic; returns the seconds until the next call."""
        connection, ownership = self._connection, self._ownership
        patience = _LONGEST_WAIT
        if not connection.is_open:
            ownership.disconnected(now)
            connection.will = (self._status, OFFLINE) if ownership.is_owner else None
        elif connection.connected:
            patience = min(max(ownership.wait(now), _SHORTEST_WAIT), _LONGEST_WAIT)
        pause = connection.step(now, patience)
        if connection.connected and not self._stopping:
            self._keep_topic(monotonic())
        return pause

    def close(self, deadline: float) -> None:
        """Publish `offline`, remove our record, and disconnect, at `deadline` (monotonic) at the latest."""
        last = []
        with self._lock:
            self._stopping = True
            if self._publishing:
                last.append(self._connection.publish(self._status, OFFLINE))
            if self._ownership.has_record:
                last.append(self._connection.publish(self._owner, ""))
        self._connection.close(deadline, last)

    def publish_retained(self, topic: str, payload: str) -> None:
        """Publish a retained message, now or once that is possible; an empty one removes the topic."""
        with self._lock:
            self._newest[topic] = payload
            if not payload:
                self._ahead.pop(topic, None)
            self._send(topic)

    def publish_ahead(self, topic: str, payload: str) -> None:
        """Send a message before the newest of its topic is sent again, with a pause before and after it.

        For subscribers that need time for each message. It is dropped if there is no connection.
        """
        with self._lock:
            self._ahead[topic] = monotonic() + AHEAD_PAUSE, payload

    def catch_up(self) -> None:
        """Send messages that were held back because an older one of their topic was not confirmed yet."""
        with self._lock:
            for topic, payload in list(self._newest.items()):
                sent, info = self._sent.get(topic, (None, None))
                if sent != payload:
                    self._send(topic)
                elif not payload and not _under_way(info):
                    del self._newest[topic], self._sent[topic]

    def send_again(self) -> None:
        """Send the newest message of every topic."""
        with self._lock:
            for topic in list(self._newest):
                self._send(topic)

    def subscribe_once(self, topics: Sequence[str]) -> None:
        """Begin a lookup of what the broker retains on these topics; it lasts until `end_lookups`."""
        with self._lock:
            self._looking.update(dict.fromkeys(topics, False))
        self._connection.subscribe(topics)

    def end_lookups(self) -> None:
        """End the lookups that began before the previous call of this method."""
        with self._lock:
            over = [topic for topic, known in self._looking.items() if known]
            self._looking = {topic: True for topic in self._looking if topic not in over}
        self._connection.unsubscribe(over)

    def _send(self, topic: str) -> None:
        if not self._publishing or self._stopping or topic in self._ahead:
            return
        if _under_way(self._sent.get(topic, (None, None))[1]):
            return
        payload = self._newest[topic]
        info = self._connection.publish(topic, payload)
        if info is not None:
            self._sent[topic] = payload, info
            self.count += 1

    def _send_ahead(self, now: float) -> None:
        with self._lock:
            for topic, (at, payload) in list(self._ahead.items()):
                if now < at or not self._publishing:
                    continue
                del self._ahead[topic]
                if payload:
                    self._connection.publish(topic, payload)
                    self._ahead[topic] = now + AHEAD_PAUSE, ""
                elif topic in self._newest:
                    self._send(topic)

    def _keep_topic(self, now: float) -> None:
        """Claim, renew or leave the topic. Only a connection of its owner has the last will."""
        connection, ownership = self._connection, self._ownership
        if connection.subscribed:
            ownership.subscribed(now)
        if self._record is not None:
            sent, info = self._record
            if info.is_published():
                ownership.confirmed(sent, now)
                self._record = None
            else:
                connection.check_confirmations(sent)
        ownership.step(now)
        self._report_owner()
        if ownership.is_owner != connection.has_will:
            self._stop_publishing()
            connection.restart()
            return
        self._renew(now)
        self._send_ahead(now)
        if self._publishing and now - self._publishing_since >= STEADY:
            self._is_flapping = False
            self._report(None)

    def _renew(self, now: float) -> None:
        with self._lock:  # `close` removes the record, and none may follow
            if self._stopping or self._record is not None:
                return
            if (text := self._ownership.next_record(now, time())) is not None:
                info = self._connection.publish(self._owner, text)
                self._record = (now, info) if info is not None else None

    def _stop_publishing(self) -> None:
        with self._lock:
            self._publishing = False

    # Called by the connection, in the thread of `step`

    def on_connected(self) -> None:
        now = monotonic()
        self._record = None
        self._ownership.connected(now)
        self._connection.subscribe([self._owner])
        if not self._ownership.is_owner or not self._connection.has_will:
            return
        self._connection.subscribe([self._status, *self._listen_to])
        with self._lock:
            self._looking.clear()
        # Before anything is sent, as that overwrites what the broker retains.
        self.subscribe_once(self._read_once)
        self._renew(now)
        with self._lock:
            self._sent.clear()
            self._ahead.clear()
            self._newest[self._status] = ONLINE
            self._publishing = True
        self._publishing_since = now
        if not self._is_flapping:
            self._report(None)
        self.send_again()

    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        if self._stopping:
            return
        if topic == self._owner:
            self._ownership.heard(payload, retained, monotonic(), time())
            if not self._ownership.is_owner:
                self._stop_publishing()
        elif topic == self._status:
            # The last will of an earlier connection may come late.
            if not retained and payload != ONLINE.encode():
                self.publish_retained(self._status, ONLINE)
        elif self._publishing:
            self._received(topic, payload, retained)

    def on_failed(self, why: str) -> None:
        if self._publishing:
            self._is_flapping = monotonic() - self._publishing_since < STEADY
        self._stop_publishing()
        self._report(why)

    def _report_owner(self) -> None:
        """Log once that another exporter publishes on the topic."""
        other = self._ownership.other
        owner = other.id if other is not None else ""
        if owner and owner != self._reported_owner:
            text = "mqtt: %s: %s is published by another exporter (%s); publishes nothing until that one ends"
            log.warning(text, self._shown, self._topic, owner)
        self._reported_owner = owner

    def _report(self, reason: str | None) -> None:
        """Log when the broker becomes reachable, and when it fails or fails for another reason."""
        if reason == self._reported or self._stopping:
            return
        self._reported = reason
        if reason is None:
            log.info("mqtt: %s accepts messages", self._shown)
        else:
            log.warning("mqtt: %s: %s; the newest is published once it is reachable", self._shown, reason)


def _under_way(info: MQTTMessageInfo | None) -> bool:
    """Whether the broker has not yet confirmed a message."""
    return info is not None and not info.is_published()
