"""What reads the time goes by the clock that it was given, so that a simulation needs no waits."""

from datetime import UTC, datetime
from pathlib import Path

from helpers.support import Clock

from ccl_exporter.clock import Clock as ExporterClock
from ccl_exporter.errors import TimedOut
from ccl_exporter.exporter.charger import FIRST_BACKOFF, PATIENT_READS, SHARED_FOR, Charger
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.settings import ChargerSettings

START = datetime(2030, 1, 1, tzinfo=UTC).timestamp()


class SilentTransport(Transport):
    """An engine that never answers, in a time of its own."""

    def __init__(self, at: Clock) -> None:
        super().__init__("http://charger.invalid", clock=ExporterClock(wall=lambda: START + at(), monotonic=at))
        self._at = at

    def get(self, target: str, deadline: float) -> bytes:
        self.requests += 1
        self._at.at = deadline
        raise TimedOut("the engine does not answer")


def test_a_charger_is_read_in_the_time_of_its_transport() -> None:
    at = Clock(100.0)
    charger = Charger(ChargerSettings("garage", "http://charger.invalid"), transport=SilentTransport(at))
    for _ in range(PATIENT_READS):
        begun = at()
        snapshot = charger.read(3600)
        assert (snapshot.up, snapshot.taken, snapshot.seconds) == (False, START + begun, at() - begun)
        at.at += SHARED_FOR * 2
    ended = at() - SHARED_FOR * 2
    skipped = charger.read(3600)

    assert ended > 100 + 3600
    assert charger.counts.backoff_until == START + ended + FIRST_BACKOFF
    assert (skipped.requests, skipped.taken) == (0, START + at())


def test_a_damaged_session_log_is_set_aside_under_the_time_of_the_clock(tmp_path: Path) -> None:
    (tmp_path / "charges.db").write_bytes(b"damaged" * 1000)
    SessionRecorder(tmp_path / "charges.db", ExporterClock(wall=lambda: START)).close()

    assert (tmp_path / "charges.db.damaged-20300101T000000000000Z").exists()
