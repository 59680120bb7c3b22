"""The connection to a broker and what is kept on it, against brokers that are slow, broken or hostile."""

import logging
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import pytest
from helpers.brokers import (
    CONNECT,
    DISCONNECT,
    PUBLISH,
    SUBSCRIBE,
    Broker,
    FakeBroker,
    Packet,
    listening,
    pretending,
    running,
    topic_of,
)
from helpers.workers import supervised

from ccl_exporter.control.follow.sources import LatestValue, Mqtt
from ccl_exporter.mqtt_client import MqttConnection
from ccl_exporter.outputs.mqtt.client import MqttClient
from ccl_exporter.outputs.mqtt.ownership import TopicOwnership
from ccl_exporter.outputs.mqtt.payload import OFFLINE, ONLINE
from ccl_exporter.settings import BrokerSettings, MqttSettings
from ccl_exporter.workers import StartThread, Worker, start_thread

PATIENCE = 30.0
STATUS = "ccl/status"
DRIP = 0.02


def client_of(host: str, port: int) -> MqttClient:
    settings = MqttSettings(BrokerSettings(host, port), interval=5.0)
    return MqttClient(settings, TopicOwnership("a", "b", 5.0, began=0.0), STATUS, (), (), lambda *_: None)


@contextmanager
def at_work(client: MqttClient, start: StartThread = start_thread) -> Iterator[MqttClient]:
    with supervised(Worker("mqtt_network", client.step, start)):
        yield client
        client.close(monotonic() + PATIENCE)


class Notes:
    """What a connection says."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.messages: list[bytes] = []
        self.opened = 0
        self.error: Exception | None = None
        self.changed = threading.Condition()

    def on_connected(self) -> None:
        with self.changed:
            self.opened += 1
            self.changed.notify_all()
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def on_message(self, _topic: str, payload: bytes, _retained: bool) -> None:
        with self.changed:
            self.messages.append(payload)
            self.changed.notify_all()

    def on_failed(self, why: str) -> None:
        with self.changed:
            self.failures.append(why)
            self.changed.notify_all()

    def wait(self, what: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(what, PATIENCE), (self.failures, self.opened)


@contextmanager
def connecting(broker: BrokerSettings, patience: float = PATIENCE) -> Iterator[tuple[MqttConnection, Notes]]:
    notes = Notes()
    connection = MqttConnection(broker, notes, patience)
    with supervised(Worker("mqtt_network", connection.step)):
        yield connection, notes
        connection.close(monotonic())


def test_a_client_that_ends_before_it_is_online_is_offline() -> None:
    confirm = threading.Event()

    def slow(_number: int, packet: Packet, _connection: socket.socket) -> None:
        if packet[0] == PUBLISH and topic_of(packet[1]) == STATUS:
            confirm.wait(PATIENCE)

    with pretending(FakeBroker(slow)) as broker, ExitStack() as ended:
        ended.callback(confirm.set)
        with at_work(client_of("127.0.0.1", broker.port)) as client:
            broker.wait(lambda: broker.published(STATUS))
            ending = threading.Thread(target=client.close, args=(monotonic() + PATIENCE,))
            ending.start()
            sleep(0.1)  # nothing tells from outside that it waits by now; earlier, the test would only be weaker
            confirm.set()
            ending.join()

        assert broker.published(STATUS) == [ONLINE, OFFLINE]
        assert broker.published("ccl/owner")[-1] == ""
        broker.wait(lambda: broker.packets[-1][1] == (DISCONNECT, b""))


GARBAGE = {
    "a web server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": bytes(100),
    "a length without an end": b"\x30\xff\xff\xff\xff\xff",
    "an answer to nothing that is too short": b"\x90\x00",
    "a confirmation that is too short": b"\x40\x00",
    "the end of a subscription that is too short": b"\xb0\x01\x00",
    "a message whose topic is longer than itself": b"\x30\x02\xff\xff",
    "a message without a topic": b"\x30\x00",
    "a message of one byte": b"\x30\x01\x00",
    "a quality of service that there is not": b"\x36\x05\x00\x01a\x00\x01",
    "a message whose topic is not UTF-8": b"\x30\x05\x00\x02\xff\xfeb",
    "a greeting that is too short": b"\x20\x00",
    "a greeting with a reason that there is not": b"\x20\x02\x00\xff",
}


def has_been_published(broker: FakeBroker, status: str) -> bool:
    return status in broker.published(STATUS)


def sends(garbage: bytes, when: int, then: bytes | None = None) -> FakeBroker:
    """A broker that sends garbage on its first connection when a packet comes, and on the others this answer."""

    def misbehave(number: int, packet: Packet, connection: socket.socket) -> bytes | None:
        if packet[0] != when or number > 0:
            return then if packet[0] == when else None
        with suppress(OSError):
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
        return b""

    return FakeBroker(misbehave)


@pytest.mark.parametrize("when", [CONNECT, SUBSCRIBE, PUBLISH], ids=["at once", "later", "last"])
def test_a_broker_that_sends_garbage_is_tried_again(when: int) -> None:
    with ExitStack() as opened:
        brokers = [opened.enter_context(pretending(sends(garbage, when))) for garbage in GARBAGE.values()]
        for broker in brokers:
            opened.enter_context(at_work(client_of("127.0.0.1", broker.port)))
        for broker in brokers:
            broker.wait(partial(has_been_published, broker, ONLINE))


def test_a_follower_connects_again_after_garbage() -> None:
    message = b"\x30\x06\x00\x01p42."
    stopped = threading.Event()
    found = []
    with ExitStack() as opened:
        for garbage in GARBAGE.values():
            latest = LatestValue()
            broker = opened.enter_context(pretending(sends(garbage, SUBSCRIBE, message)))
            source = Mqtt(BrokerSettings("127.0.0.1", broker.port), "p")
            thread = threading.Thread(target=source.run, args=(latest, stopped))
            thread.start()
            opened.callback(thread.join)
            found.append(latest)
        opened.callback(stopped.set)
        for latest in found:
            while latest.number is None:  # a failure is news as well
                assert latest.news.wait(PATIENCE)
                latest.news.clear()

    assert [latest.number and latest.number.value for latest in found] == [42.0] * len(GARBAGE)


def test_a_host_that_no_name_service_can_be_asked_for_is_a_failure_in_words() -> None:
    with connecting(BrokerSettings("x" * 70, 1)) as (connection, notes):
        notes.wait(lambda: len(notes.failures) == 2)

        assert not connection.connected
    assert "label" in notes.failures[0]


def test_an_error_in_a_callback_ends_the_connection_and_not_the_thread() -> None:
    with pretending(FakeBroker()) as broker:
        with connecting(BrokerSettings("127.0.0.1", broker.port)) as (_, notes):
            notes.wait(lambda: notes.opened == 1)
        notes = Notes()
        notes.error = ZeroDivisionError("an error of ours")
        connection = MqttConnection(BrokerSettings("127.0.0.1", broker.port), notes)
        with supervised(Worker("mqtt_network", connection.step)):
            notes.wait(lambda: notes.opened == 2)
            connection.close(monotonic() + PATIENCE)

    assert notes.failures == ["an error of ours"]


def test_a_name_server_that_does_not_answer_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer.wait(PATIENCE) and [])

    with ExitStack() as ended:
        ended.callback(answer.set)
        with connecting(BrokerSettings("broker.invalid", 1883), patience=0.1) as (_, notes):
            notes.wait(lambda: notes.failures)

    assert notes.failures[0] == "no answer from the name server"


def test_a_thread_that_cannot_be_started_is_started_later(caplog: pytest.LogCaptureFixture) -> None:
    refused = 0

    def start(target: Callable[[], None], name: str) -> threading.Thread:
        nonlocal refused
        if refused < 2:
            refused += 1
            raise RuntimeError("can't start new thread")
        return start_thread(target, name)

    with pretending(FakeBroker()) as broker, at_work(client_of("127.0.0.1", broker.port), start):
        broker.wait(lambda: ONLINE in broker.published(STATUS))

    assert [record.getMessage() for record in caplog.records if "can't start" in record.getMessage()] == [
        "worker mqtt_network: failed and will be restarted: RuntimeError: can't start new thread"
    ]


def drip(connection: socket.socket, start: bytes) -> None:
    """Send a byte now and then, until the other side ends."""
    with suppress(OSError):
        connection.sendall(start)
        while True:
            connection.sendall(b"\0")
            sleep(DRIP)


# The library leaves the socket of a failed handshake to be collected, which happens at once.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("tls", "first"),
    [(True, b"\x16\x03\x03\x40\x00"), (False, b"\x20\xff\xff\x7f"), (False, b"\x30\xff\xff\xff\x7f")],
    ids=["TLS handshake", "greeting", "message"],
)
def test_a_broker_that_answers_byte_by_byte_has_a_deadline(tls: bool, first: bytes) -> None:
    with (
        pretending(FakeBroker(begin=lambda connection: drip(connection, first))) as broker,
        connecting(BrokerSettings("127.0.0.1", broker.port, tls=tls), patience=10 * DRIP) as (_, notes),
    ):
        notes.wait(lambda: len(notes.failures) == 2)

    assert all("does not answer" in why or "timed out" in why for why in notes.failures)


@contextmanager
def blackhole() -> Iterator[int]:
    """A port to which no connection comes about: its queue is full."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filling = opened.enter_context(socket.socket())
            filling.setblocking(False)
            with suppress(BlockingIOError):
                filling.connect(listener.getsockname())
        yield listener.getsockname()[1]


def silent_after(kind: int, topic: str = "") -> Callable[[int, Packet, socket.socket], bytes | None]:
    def misbehave(_number: int, packet: Packet, _connection: socket.socket) -> bytes | None:
        return b"" if packet[0] == kind and (not topic or topic_of(packet[1]) == topic) else None

    return misbehave


@pytest.mark.parametrize("kind", [CONNECT, SUBSCRIBE, PUBLISH])
def test_the_end_comes_by_its_deadline_though_the_broker_answers_nothing(kind: int) -> None:
    with pretending(FakeBroker(silent_after(kind))) as broker:
        client = client_of("127.0.0.1", broker.port)
        with supervised(Worker("mqtt_network", client.step)):
            broker.wait(lambda: any(packet[0] == kind for _, packet in broker.packets))
            ending = threading.Thread(target=client.close, args=(monotonic() + 0.2,))
            ending.start()
            ending.join(PATIENCE)

            assert not ending.is_alive()


@pytest.mark.parametrize("is_waiting", [False, True], ids=["connecting", "in a backoff"])
def test_the_end_comes_by_its_deadline_though_nothing_is_connected(is_waiting: bool) -> None:
    """The attempt to connect would take longer than the test waits."""
    with ExitStack() as opened:
        port = 1 if is_waiting else opened.enter_context(blackhole())
        notes = Notes()
        connection = MqttConnection(BrokerSettings("127.0.0.1", port), notes, patience=2 * PATIENCE)
        worker = Worker("mqtt_network", connection.step)
        worker.check(monotonic())
        if is_waiting:
            notes.wait(lambda: notes.failures)
        else:
            sleep(0.2)  # nothing tells from outside that it is connecting; earlier, the test would only be weaker
        worker.stop()
        ending = threading.Thread(target=connection.close, args=(monotonic() + 0.2,))
        ending.start()
        ending.join(PATIENCE)

        assert not ending.is_alive()
        assert not connection.connected


def test_a_broker_that_ends_every_connection_is_a_few_lines_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Else the log would grow as long as two clients have the same id, or the broker dislikes a topic."""
    caplog.set_level(logging.INFO)

    def misbehave(_number: int, packet: Packet, connection: socket.socket) -> None:
        if packet[0] == PUBLISH and topic_of(packet[1]) == STATUS:
            connection.shutdown(socket.SHUT_RDWR)

    with pretending(FakeBroker(misbehave)) as broker, at_work(client_of("127.0.0.1", broker.port)):
        broker.wait(lambda: len(broker.published(STATUS)) >= 3)

    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("mqtt: ")]
    assert [line.split(": ", 2)[-1] for line in lines] == [
        f"mqtt://127.0.0.1:{broker.port} accepts messages",
        "the connection broke off; the newest is published once it is reachable",
    ]


def test_a_last_will_that_comes_late_is_overwritten(tmp_path: Path) -> None:
    """It is of a connection that the broker gives up only when its keepalive is over."""
    with (
        running(Broker(tmp_path / "broker")) as broker,
        listening(broker.port) as listener,
        at_work(client_of("127.0.0.1", broker.port)),
    ):
        listener.text(STATUS, ONLINE)
        listener.client.publish(STATUS, OFFLINE, qos=1, retain=True)
        listener.wait(
            lambda: [m for t, m, _, _ in listener.heard if t == STATUS] == [b"online", b"offline", b"online"]
        )


def test_more_open_files_than_select_knows_are_no_obstacle() -> None:
    """A fleet has a connection for each of its chargers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as opened:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(2048, hard)), hard))
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1100):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        broker = opened.enter_context(pretending(FakeBroker()))
        opened.enter_context(at_work(client_of("127.0.0.1", broker.port)))
        broker.wait(partial(has_been_published, broker, ONLINE))
