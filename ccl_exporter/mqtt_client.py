"""One connection to an MQTT broker: login, TLS, deadlines, a backoff, and reasons of failures as sentences.

The library only encodes and decodes here: the network loop is ours, so that it runs in a supervised worker,
is not limited to 1,024 open files as the library's `select` is, and makes no call while the library holds a lock.
"""

import logging
import select
import socket
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from ccl_exporter.http_client import addresses_of
from ccl_exporter.settings import BrokerSettings

log = logging.getLogger(__name__)

STEADY = 10.0
"""Seconds after which a connection counts as good; one that breaks off before is not tried again at once."""

_QOS = 1
_KEEPALIVE = 30
_FIRST_BACKOFF, _LONGEST_BACKOFF = 1.0, 30.0  # seconds between two attempts, doubled from the first to the longest
_CONFIRM_WITHIN = 60.0
_IDLE = 1.0  # seconds that one step waits for the network


Will = tuple[str, str]
"""A topic and a message."""


class ConnectionListener(Protocol):
    """Callbacks of a connection, in the thread that calls `MqttConnection.step`."""

    def on_connected(self) -> None:
        """The broker has accepted the connection: subscribe now."""

    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        """A message; an exception of this callback is logged, and the message ignored."""

    def on_failed(self, why: str) -> None:
        """An attempt to connect failed, or the connection broke off."""


class _Link:
    """One network connection from its beginning to its end. What the broker sends waits until it is taken."""

    def __init__(self, client: Client, broker: BrokerSettings, patience: float, will: Will | None) -> None:
        self.has_will = will is not None
        self.accepted: float | None = None
        self.subscribed = False
        self._refused = ""
        self._messages: deque[MQTTMessage] = deque()
        self._confirmed = monotonic()
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self.client = client
        client.connect_timeout = patience
        client.on_connect = self._on_connect
        client.on_message = lambda _client, _data, message: self._messages.append(message)
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        # With this the library leaves sending to our loop, whichever thread publishes.
        client.on_socket_register_write = lambda *_: self.wake()
        try:
            if will is not None:
                client.will_set(*will, qos=_QOS, retain=True)
            if broker.credentials is not None:
                client.username_pw_set(broker.credentials.username, broker.credentials.password)
            if broker.tls:
                # An empty password: else a key that has one would be asked for at a terminal.
                client.tls_set(broker.ca_file, broker.cert_file, broker.key_file, keyfile_password="")
            client.connect(broker.host, broker.port, _KEEPALIVE)
        except BaseException:
            self.close()
            raise
        self._answer_until = monotonic() + patience

    # Called by the library while it holds locks of its own, so nothing but notes is taken here

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, reason: ReasonCode, _more: Any) -> None:
        if reason.is_failure:
            self._refused = f"the broker refuses the connection: {str(reason).lower()}"
        else:
            self.accepted = monotonic()

    def _on_subscribe(self, *_: Any) -> None:
        self.subscribed = True

    def _on_publish(self, *_: Any) -> None:
        self._confirmed = monotonic()

    def wake(self) -> None:
        """End the wait for the network; from any thread."""
        with suppress(OSError):
            self._wake.send(b"\0")

    def exchange(self, patience: float) -> None:
        """Wait up to `patience` seconds, then receive and send; raises whatever is wrong with the connection."""
        client = self.client
        if (sock := client.socket()) is None:
            raise ConnectionError("the connection broke off")
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        poll.register(self._woken, select.POLLIN)
        has_pending = bool(getattr(sock, "pending", lambda: 0)())  # decrypted already, which no poll reports
        poll.poll(0 if has_pending else patience * 1000)
        with suppress(BlockingIOError):
            self._woken.recv(4096)
        for work in (client.loop_read, client.loop_write, client.loop_misc):
            if work() != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
                raise ConnectionError(self._refused or "the connection broke off")
        if self.accepted is None and monotonic() > self._answer_until:
            raise TimeoutError("the broker does not answer")

    def take(self) -> Iterable[MQTTMessage]:
        while self._messages:
            yield self._messages.popleft()

    def is_stuck(self, sent: float) -> bool:
        """Whether nothing was confirmed for a minute, though a message that was sent at `sent` should be."""
        return monotonic() - max(sent, self._confirmed) > _CONFIRM_WITHIN

    def close(self, is_polite: bool = False) -> None:
        """End the connection; only a polite end keeps the broker from publishing the will."""
        client = self.client
        if is_polite:
            with suppress(Exception):  # it is over either way
                client.disconnect()
                client.loop_write()
        client.on_connect = client.on_message = client.on_subscribe = client.on_publish = None
        client.on_socket_register_write = None
        if (sock := client.socket()) is not None:
            sock.close()
        self._wake.close()
        self._woken.close()


class MqttConnection:
    """A connection to a broker that `step` keeps up; `step` is for one thread, the rest for any.

    `will` is what the broker publishes, retained, if the next connection breaks off. Resolving the name apart,
    `patience` is the seconds for an address to connect, for the TLS handshake, and for the broker's answer.
    """

    def __init__(self, broker: BrokerSettings, listener: ConnectionListener, patience: float = 5.0) -> None:
        self.will: Will | None = None
        self._broker = broker
        self._listener = listener
        self._patience = patience
        # The same for all connections: the broker ends an old one when the new one comes.
        self._client_id = f"ccl-exporter-{uuid4().hex[:8]}"
        self._stepping = threading.Lock()
        self._link: _Link | None = None
        self._closed = self._abandoned = False
        self._backoff = 0.0
        self._retry_at = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, including one that is being made."""
        return self._link is not None

    @property
    def connected(self) -> bool:
        link = self._link
        return link is not None and link.accepted is not None

    @property
    def subscribed(self) -> bool:
        """Whether the broker has confirmed a subscription since connecting."""
        link = self._link
        return link is not None and link.subscribed

    @property
    def has_will(self) -> bool:
        link = self._link
        return link is not None and link.has_will

    def publish(self, topic: str, payload: str) -> MQTTMessageInfo | None:
        """Publish a retained message; None without a connection. It is confirmed when `is_published`."""
        link = self._link
        if link is None or link.accepted is None:
            return None
        info = link.client.publish(topic, payload, qos=_QOS, retain=True)
        return info if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def subscribe(self, topics: Iterable[str], qos: int = _QOS) -> None:
        if (link := self._link) is not None and (wanted := [(topic, qos) for topic in topics]):
            link.client.subscribe(wanted)

    def unsubscribe(self, topics: Iterable[str]) -> None:
        if (link := self._link) is not None and (wanted := list(topics)):
            link.client.unsubscribe(wanted)

    def step(self, now: float, patience: float = _IDLE) -> float:
        """Connect, or wait `patience` seconds for the network and pass on what came.

        Returns seconds until the next call, as a worker's step does.
        """
        if self._closed:
            return _IDLE
        with self._stepping:
            if self._link is not None:
                self._exchange(self._link, patience)
            elif now < self._retry_at:
                return self._retry_at - now
            else:
                self._connect()
            if self._abandoned:
                self.restart()
        return 0.0

    def restart(self) -> None:
        """End the connection without a will and have the next step connect anew; for the thread of `step`."""
        if (link := self._link) is not None:
            self._link = None
            link.close(is_polite=True)

    def check_confirmations(self, sent: float) -> None:
        """Give up a connection on which nothing was confirmed for a minute; for the thread of `step`.

        `sent` is the monotonic time of the oldest message that is not confirmed.
        """
        if self._link is not None and self._link.is_stuck(sent):
            self._fail(TimeoutError("the broker acknowledges nothing"))

    def close(self, deadline: float, last: Iterable[MQTTMessageInfo | None] = ()) -> None:
        """End once the broker has confirmed the `last` messages, at `deadline` (monotonic) at the latest."""
        self._closed = True
        if (link := self._link) is not None:
            link.wake()
        if not self._stepping.acquire(timeout=max(deadline - monotonic(), 0.0)):
            # It is connecting still; the step that does so ends it, unless it has ended just now.
            self._abandoned = True
            if not self._stepping.acquire(blocking=False):
                return
        try:
            waiting = [info for info in last if info is not None]
            while self._link is not None and not all(info.is_published() for info in waiting):
                if (left := deadline - monotonic()) <= 0:
                    break
                self._exchange(self._link, min(left, _IDLE))
            self.restart()
        finally:
            self._stepping.release()

    def _connect(self) -> None:
        try:
            # The library resolves the name itself, without a deadline: by then the answer is known.
            addresses_of(self._broker.host, self._broker.port, self._patience)
            client = Client(CallbackAPIVersion.VERSION2, self._client_id)
            self._link = _Link(client, self._broker, self._patience, self.will)
        except Exception as error:  # noqa: BLE001 - the library raises more than OSError, for a host name for example
            self._fail(error)

    def _exchange(self, link: _Link, patience: float) -> None:
        was_accepted = link.accepted is not None
        try:
            link.exchange(patience)
            if link.accepted is not None and not was_accepted:
                self._listener.on_connected()
        except Exception as error:  # noqa: BLE001 - the library raises a lot of what a broker may send
            return self._fail(error)
        for message in link.take():
            try:
                self._listener.on_message(message.topic, bytes(message.payload), message.retain)
            except Exception as error:  # noqa: BLE001 - anybody may write there
                log.warning("mqtt: %s: a message is skipped: %s", self._broker.shown, repr(error)[:200])
        return None

    def _fail(self, error: Exception) -> None:
        log.debug("mqtt: %s: the connection failed", self._broker.shown, exc_info=error)
        link, self._link = self._link, None
        lasted = 0.0
        if link is not None:
            lasted = monotonic() - link.accepted if link.accepted is not None else 0.0
            link.close()
        if lasted >= STEADY:
            self._backoff = 0.0
        self._backoff = min(max(self._backoff * 2, _FIRST_BACKOFF), _LONGEST_BACKOFF)
        self._retry_at = monotonic() + self._backoff
        if isinstance(error, OSError):
            self._listener.on_failed(error.strerror or str(error))
        else:
            self._listener.on_failed(str(error) or "the broker sends invalid packets")
