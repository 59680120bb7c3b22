"""Who publishes on a topic, when several exporters could: simulated on one topic, with a clock moved by hand."""

import json
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_exporter.outputs.mqtt.ownership import (
    EXPIRES_AFTER,
    LONGEST_RENEWAL,
    ExporterId,
    OwnerRecord,
    Role,
    TopicOwnership,
    parse_record,
)

INTERVAL = 5.0
TICK = 0.1
WALL = 1_790_000_000.0


@dataclass(eq=False)
class Peer:
    """An exporter as `MqttClient` drives it: its connection has a last will exactly while it is the owner."""

    ownership: TopicOwnership
    skew: float = 0.0
    connected: bool = False
    has_will: bool = False
    waiting: list[tuple[float, bytes, bool]] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    roles: list[Role] = field(default_factory=lambda: [Role.LOOKING])

    @property
    def publishes(self) -> bool:
        return self.connected and self.has_will and self.ownership.is_owner


class Topic:
    """A broker with one topic, which delivers after a tick."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.retained = b""
        self.peers: list[Peer] = []
        self.most = 0  # exporters that published at a time

    def peer(self, id: str, run: str = "r", interval: float = INTERVAL, skew: float = 0.0) -> Peer:
        peer = Peer(TopicOwnership(id, run, interval, began=WALL + self.now + skew), skew)
        self.peers.append(peer)
        self.connect(peer)
        return peer

    def connect(self, peer: Peer) -> None:
        peer.ownership.disconnected(self.now)
        peer.connected, peer.has_will, peer.sent = True, peer.ownership.is_owner, []
        peer.ownership.connected(self.now)
        peer.waiting = [(self.now + TICK, self.retained, True)] if self.retained else []

    def end(self, peer: Peer) -> None:
        """As a clean stop does."""
        had = peer.ownership.has_record
        self.kill(peer)
        if had:
            self.publish(b"")

    def kill(self, peer: Peer) -> None:
        peer.connected = False
        self.peers.remove(peer)

    def publish(self, message: bytes) -> None:
        self.retained = message
        for peer in self.peers:
            if peer.connected:
                peer.waiting.append((self.now + TICK, message, False))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            for peer in list(self.peers):
                if peer.connected:
                    self._step(peer)
                else:
                    peer.ownership.disconnected(self.now)
            self.most = max(self.most, sum(peer.publishes for peer in self.peers))

    def _step(self, peer: Peer) -> None:
        own = peer.ownership
        wall = WALL + self.now + peer.skew
        own.subscribed(self.now)
        while peer.waiting and peer.waiting[0][0] <= self.now:
            _, message, retained = peer.waiting.pop(0)
            own.heard(message, retained, self.now, wall)
        while peer.sent and peer.sent[0] + TICK <= self.now:
            own.confirmed(peer.sent.pop(0), self.now)
        own.step(self.now)
        if peer.roles[-1] is not own.role:
            peer.roles.append(own.role)
        if own.is_owner != peer.has_will:
            self.connect(peer)
        elif (text := own.next_record(self.now, wall)) is not None:
            peer.sent.append(self.now)
            self.publish(text.encode())

    def publishing(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.publishes]


@pytest.fixture
def topic() -> Topic:
    return Topic()


def test_one_alone_publishes_after_a_moment(topic: Topic) -> None:
    peer = topic.peer("a")
    topic.run(2.0)

    assert topic.publishing() == [peer]
    assert peer.roles == [Role.LOOKING, Role.CLAIMING, Role.OWNER]


@pytest.mark.parametrize("first", ["a", "c"])
def test_a_second_one_publishes_nothing_while_the_first_does(topic: Topic, first: str) -> None:
    peer = topic.peer(first)
    topic.run(60.0)
    second = topic.peer("b")
    topic.run(600.0)

    assert topic.publishing() == [peer]
    assert second.roles == [Role.LOOKING, Role.STANDBY]
    assert topic.most == 1


@pytest.mark.parametrize("skew", [-3600.0, 30.0, 3600.0])
def test_clocks_that_differ_change_nothing_for_long(topic: Topic, skew: float) -> None:
    """A clock that is far ahead makes an exporter claim the topic; that is settled once and for all."""
    topic.peer("b")
    topic.run(60.0)
    other = topic.peer("a", skew=skew)
    topic.run(10.0)
    before = [len(peer.roles) for peer in topic.peers]
    topic.run(3600.0)

    assert len(topic.publishing()) == 1
    assert [len(peer.roles) for peer in topic.peers] == before
    assert skew > 60 or not other.publishes


def test_it_takes_over_three_intervals_after_the_last_renewal(topic: Topic) -> None:
    first = topic.peer("a")
    topic.run(60.0)
    second = topic.peer("b")
    topic.run(7.0)
    topic.kill(first)
    killed = topic.now
    while not second.publishes:
        topic.run(TICK)

    assert (EXPIRES_AFTER - 1) * INTERVAL < topic.now - killed < EXPIRES_AFTER * INTERVAL + 3


def test_it_takes_over_at_once_after_a_clean_end(topic: Topic) -> None:
    first = topic.peer("a")
    topic.run(60.0)
    second = topic.peer("b")
    topic.run(7.0)
    topic.end(first)
    topic.run(2.0)

    assert second.publishes


@pytest.mark.parametrize("runs", [("one", "two"), ("two", "one")])
def test_the_same_exporter_has_its_topic_at_once_after_a_kill(topic: Topic, runs: tuple[str, str]) -> None:
    first = topic.peer("b", runs[0])
    topic.run(60.0)
    topic.kill(first)
    again = topic.peer("b", runs[1])
    topic.run(0.5)

    assert again.publishes
    assert again.roles == [Role.LOOKING, Role.OWNER]
    topic.run(60.0)
    assert again.publishes


@pytest.mark.parametrize("runs", [("one", "two"), ("two", "one")])
@pytest.mark.parametrize("after", [0.1, 0.3, 1.0])
def test_its_own_record_from_before_a_kill_may_come_late(
    topic: Topic, runs: tuple[str, str], after: float
) -> None:
    """A busy broker delivers what the killed one sent last after the new one has subscribed."""
    last = OwnerRecord("b", runs[0], INTERVAL, WALL + topic.now - 1).text().encode()
    again = topic.peer("b", runs[1])
    topic.run(after)
    topic.publish(last)
    topic.run(2.0)

    assert again.publishes
    assert Role.STANDBY not in again.roles


def test_a_record_that_is_old_by_its_own_words_is_not_waited_for(topic: Topic) -> None:
    topic.retained = OwnerRecord("a", "r", INTERVAL, WALL + topic.now - 3600).text().encode()
    peer = topic.peer("b")
    topic.run(2.0)

    assert peer.publishes


@pytest.mark.parametrize("ids", [("a", "b"), ("b", "a"), ("a", "b", "c"), ("c", "b", "a")])
def test_of_those_that_start_at_the_same_moment_one_publishes(topic: Topic, ids: tuple[str, ...]) -> None:
    peers = [topic.peer(id) for id in ids]
    topic.run(60.0)

    assert [peer for peer in peers if peer.publishes] == [peers[ids.index("a")]]
    assert topic.most == 1


def test_of_two_with_the_same_state_folder_copied_one_publishes(topic: Topic) -> None:
    peers = [topic.peer("a", "one"), topic.peer("a", "two")]
    topic.run(60.0)
    before = [len(peer.roles) for peer in peers]
    topic.run(600.0)

    assert len(topic.publishing()) == 1
    assert [len(peer.roles) for peer in peers] == before


def test_different_intervals_do_not_make_one_take_the_topic_of_the_other(topic: Topic) -> None:
    slow = topic.peer("b", interval=86_400.0)
    topic.run(10.0)
    quick = topic.peer("a", interval=1.0)
    topic.run(1000.0)

    assert topic.publishing() == [slow]
    assert quick.roles == [Role.LOOKING, Role.STANDBY]


def test_an_exporter_that_was_away_for_long_reads_the_topic_before_it_publishes_again(topic: Topic) -> None:
    first = topic.peer("a")
    topic.run(60.0)
    second = topic.peer("b")
    topic.run(10.0)
    first.connected = False
    topic.run(30.0)
    assert second.publishes
    topic.connect(first)
    topic.run(60.0)

    assert topic.publishing() == [second]
    assert topic.most == 1


def test_an_exporter_that_was_away_for_a_moment_keeps_its_topic(topic: Topic) -> None:
    first = topic.peer("b")
    topic.run(60.0)
    topic.peer("a")
    topic.run(10.0)
    first.connected = False
    topic.run(INTERVAL)
    topic.connect(first)
    topic.run(60.0)

    assert topic.publishing() == [first]


def test_a_broker_that_forgets_everything_does_not_bring_the_second_one_forward(topic: Topic) -> None:
    first = topic.peer("b")
    topic.run(60.0)
    second = topic.peer("a")
    topic.run(10.0)
    topic.retained = b""
    topic.connect(second)
    first.connected = False
    topic.run(INTERVAL)
    topic.connect(first)
    topic.run(60.0)

    assert topic.publishing() == [first]
    assert second.roles == [Role.LOOKING, Role.STANDBY]


def test_an_exporter_that_was_suspended_steps_back(topic: Topic) -> None:
    """Its connection is still there when it wakes up, and with it the records of the other one."""
    first = topic.peer("a")
    topic.run(60.0)
    second = topic.peer("b")
    topic.run(10.0)
    topic.peers.remove(first)
    for _ in range(300):
        topic.run(TICK)
        if second.sent and second.sent[-1] == topic.now:
            first.waiting.append((topic.now, topic.retained, False))
    assert second.publishes
    topic.peers.append(first)
    topic.run(60.0)

    assert topic.publishing() == [second]


HOSTILE = {
    "nothing like it": b"[" * 100_000,
    "deep": b"[" * 1000,
    "huge": json.dumps({"id": "a" * 100_000}).encode(),
    "a list": b"[]",
    "null": b"null",
    "not UTF-8": b"\xff\xfe",
    "no time": b'{"id": "0", "run": "0", "interval": 5}',
    "a huge number": b'{"id": "0", "run": "0", "interval": 5, "time": 1e400}',
    "more digits than a number may have": b'{"id": "0", "run": "0", "interval": 5, "time": ' + b"9" * 900 + b"}",
    "no number": b'{"id": "0", "run": "0", "interval": 5, "time": NaN}',
    "a truth": b'{"id": "0", "run": "0", "interval": true, "time": 1}',
    "an interval of years": b'{"id": "0", "run": "0", "interval": 1e9, "time": 1}',
    "an interval below zero": b'{"id": "0", "run": "0", "interval": -1, "time": 1}',
    "an id that is a number": b'{"id": 0, "run": "0", "interval": 5, "time": 1}',
    "an id for the log": b'{"id": "a\\nb", "run": "0", "interval": 5, "time": 1}',
    "an empty id": b'{"id": "", "run": "", "interval": 5, "time": 1}',
}
YEAR_9999 = OwnerRecord("0", "0", LONGEST_RENEWAL, 253_402_300_799.0).text().encode()


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_record_is_overwritten_without_waiting(topic: Topic, message: bytes) -> None:
    topic.retained = message
    peer = topic.peer("a")
    topic.run(2.0)
    assert peer.publishes
    topic.publish(message)
    topic.run(2.0)

    assert parse_record(message) is None
    assert topic.publishing() == [peer]
    assert parse_record(topic.retained) is not None


def test_a_record_of_the_year_9999_is_waited_for_three_intervals(topic: Topic) -> None:
    topic.retained = YEAR_9999
    peer = topic.peer("a")
    topic.run(EXPIRES_AFTER * LONGEST_RENEWAL - 1)
    assert not peer.publishes
    topic.run(5.0)

    assert peer.publishes


def test_a_foreign_record_that_comes_once_is_an_interruption_and_not_the_end(topic: Topic) -> None:
    peer = topic.peer("a")
    topic.run(10.0)
    topic.publish(YEAR_9999)
    topic.run(1.0)
    assert not peer.publishes
    topic.run(EXPIRES_AFTER * LONGEST_RENEWAL + 5)

    assert peer.publishes


def test_records_that_others_write_again_and_again_are_not_answered_each_time(topic: Topic) -> None:
    peer = topic.peer("a")
    topic.run(10.0)
    written = 0
    for _ in range(100):
        topic.publish(b"{")
        topic.run(TICK)
        written += topic.retained != b"{"

    assert topic.publishing() == [peer]
    assert written <= 11


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.binary()
    | st.builds(
        lambda members: json.dumps(members).encode(),
        st.fixed_dictionaries(dict.fromkeys(("id", "run", "interval", "time"), JSON)),
    )
)
def test_no_message_raises(message: bytes) -> None:
    for role in Role:
        ownership = TopicOwnership("a", "b", INTERVAL, began=WALL)
        ownership.role = role
        ownership.heard(message, True, 0.0, WALL)
        ownership.heard(message, False, 0.0, WALL)
        ownership.step(1.0)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["start", "end", "kill", "lose", "find", "wait", "forget"]),
        st.integers(0, 3),
        st.floats(0.1, 30.0),
    ),
    max_size=25,
)


@given(EVENTS)
def test_whatever_happens_one_publishes_in_the_end(events: list[tuple[str, int, float]]) -> None:
    topic = Topic()
    peers: dict[int, Peer] = {}
    runs = 0
    for what, number, seconds in events:
        peer: Any = peers.get(number)
        if what == "start" and peer is None:
            runs += 1
            peers[number] = topic.peer(f"id-{number}", f"run-{runs}", skew=20.0 * number)
        elif what in ("end", "kill") and peer is not None:
            {"end": topic.end, "kill": topic.kill}[what](peers.pop(number))
        elif what == "lose" and peer is not None:
            peer.connected = False
        elif what == "find" and peer is not None and not peer.connected:
            topic.connect(peer)
        elif what == "forget":
            topic.retained = b""
        topic.run(seconds)
    for peer in peers.values():
        if not peer.connected:
            topic.connect(peer)
    topic.run(EXPIRES_AFTER * INTERVAL + 30)
    before = [len(peer.roles) for peer in peers.values()]
    topic.run(120.0)

    assert len(topic.publishing()) == bool(peers)
    assert [len(peer.roles) for peer in peers.values()] == before


def test_the_id_is_kept_for_its_user_and_for_one_process(tmp_path: Path) -> None:
    path = tmp_path / "state" / "mqtt.id"
    first = ExporterId(path)
    second = ExporterId(path)
    first.close()
    again = ExporterId(path)
    again.close()
    second.close()

    assert again.value == first.value != second.value
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert parse_record(OwnerRecord(first.value, second.value, 5.0, WALL).text().encode()) is not None


@pytest.mark.parametrize("kept", [b"", b"x" * 100, b"\xff" * 16, b"0123456789abcdef\n"])
def test_a_damaged_id_is_replaced(tmp_path: Path, kept: bytes) -> None:
    path = tmp_path / "mqtt.id"
    path.write_bytes(kept)
    found = ExporterId(path)
    found.close()

    assert path.read_text() == found.value


def test_without_a_folder_there_is_an_id_and_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    found = ExporterId(tmp_path / "file" / "mqtt.id")
    found.close()

    assert len(found.value) == 16
    assert len(caplog.records) == 1
    assert "the id cannot be kept" in caplog.records[0].getMessage()
