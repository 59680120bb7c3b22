"""How soon a variable may be written again: a command a minute is in time, one that comes sooner is refused."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.support import Clock

from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.state import ControlState
from ccl_exporter.control.write import WriteOptions, Writer
from ccl_exporter.errors import Unreachable, WriteRejected
from ccl_exporter.simulator import Simulator

REDUCTION = "Plug - Mode 3.PREDUCTION"
STOP = "EVSE.PLUG.REMOTE_STOP"
FORCED = WriteOptions(force=True)


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def writer(clock: Clock, tmp_path: Path) -> Iterator[Writer]:
    """Of a charger whose reduction was written just now."""
    with Simulator(autopilot=False) as charger:
        control, control_state = WritableTransport(charger.url), ControlState(tmp_path, charger.url, clock)
        control_state.note_written([REDUCTION])
        yield Writer(control, control_state, 15.0, "test")
        control.close()


@pytest.mark.parametrize("later", [59.0, 59.98, 60.0, 3600.0])
def test_a_program_that_commands_once_a_minute_is_in_time(writer: Writer, clock: Clock, later: float) -> None:
    clock.at += later

    assert writer.set({REDUCTION: 40.0}, WriteOptions(dry_run=True)).outcome == "planned"


@pytest.mark.parametrize(("later", "wait"), [(0.0, 59), (58.0, 1), (58.6, 1), (58.99, 1)])
def test_a_refusal_names_whole_seconds_and_at_least_one(
    writer: Writer, clock: Clock, later: float, wait: int
) -> None:
    clock.at += later
    says = f"was written {int(later)} s ago; wait {wait} s more"

    with pytest.raises(WriteRejected, match=re.escape(says)):
        writer.set({REDUCTION: 40.0}, WriteOptions(dry_run=True))


def test_a_pause_that_was_asked_for_is_kept_to_the_second(writer: Writer, clock: Clock) -> None:
    clock.at += 59.98

    with pytest.raises(WriteRejected, match="wait 1 s more"):
        writer.set({REDUCTION: 40.0}, WriteOptions(dry_run=True, least_pause=60.0))


def test_a_stop_that_was_accepted_counts_though_its_effect_could_not_be_read(writer: Writer) -> None:
    def holds(deadline: float) -> bool:
        raise Unreachable("no connection")

    with pytest.raises(Unreachable):
        writer.write(*writer.look_up([STOP]), {STOP: 1.0}, FORCED, holds)

    assert writer.state.stopped_at("EVSE.PLUG")
