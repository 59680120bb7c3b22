"""Starting a charge where a limit below the minimum current stands in its way."""

from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import pytest
from helpers.plugs import plug as a_plug

from ccl_exporter.control.plug_commands import PlugCommands, active_override, is_stopped
from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.state import ControlState, Override, PendingRestore
from ccl_exporter.control.write import WriteOptions, Writer
from ccl_exporter.errors import WriteRejected
from ccl_exporter.simulator import Simulator

PLUG, MODE3 = "EVSE.PLUG", "Plug - Mode 3"
PREDUCTION = f"{MODE3}.PREDUCTION"
NOW = WriteOptions(least_pause=0.0, wait=2.0)


@pytest.fixture
def charger() -> Iterator[Simulator]:
    """A charger with a car that was not started, a hundred times as fast as in life."""
    with Simulator(autopilot=False, speed=100) as simulator:
        simulator.site.plugs[0].plug_in(50_000)
        yield simulator


@pytest.fixture
def state(charger: Simulator, tmp_path: Path) -> ControlState:
    return ControlState(tmp_path, charger.url)


@pytest.fixture
def plug(charger: Simulator, state: ControlState) -> Iterator[PlugCommands]:
    control = WritableTransport(charger.url)
    yield PlugCommands(Writer(control, state, 15.0, "test", look_every=0.01), None, 15.0)
    control.close()


def puts(charger: Simulator) -> int:
    return sum(request.method == "PUT" for request in charger.requests)


@pytest.mark.parametrize("under_way", [False, True])
def test_a_limit_that_a_command_has_left_is_lifted(
    charger: Simulator, plug: PlugCommands, under_way: bool
) -> None:
    assert plug.limit("0A", NOW).outcome == "done"
    if under_way:
        charger.site.plugs[0].authorise()
    planned = plug.start(WriteOptions(dry_run=True, least_pause=0.0))
    assert (planned.outcome, plug.look().limits.percent) == ("planned", 100)
    started = plug.start(NOW)

    assert (started.outcome, started.seen.is_charging, started.seen.limits.percent) == ("done", True, 0)
    assert "the limit of 0 A was lifted" in started.says


def test_a_limit_that_another_program_has_set_is_refused_before_anything_is_written(
    charger: Simulator, plug: PlugCommands
) -> None:
    plug.disable(NOW)
    charger.site.force(MODE3, [(PREDUCTION, 90.0)], 0.0)
    before = puts(charger)

    with pytest.raises(WriteRejected, match=r"limited to 3\.20 A.*`charge start --now` helps"):
        plug.start(NOW)
    assert puts(charger) == before


def test_a_boost_lifts_a_limit_that_another_program_has_set(charger: Simulator, plug: PlugCommands) -> None:
    charger.site.force(MODE3, [(PREDUCTION, 90.0)], 0.0)
    started = plug.start(NOW, boosted=True)

    assert (started.outcome, started.seen.is_charging, started.seen.limits.percent) == ("done", True, 0)


def test_a_limit_of_a_command_that_still_runs_is_refused(plug: PlugCommands, state: ControlState) -> None:
    plug.limit("0A", NOW)
    with (
        state.pending(PendingRestore(MODE3, {PREDUCTION: 0.0}, {PREDUCTION: 100.0})),
        pytest.raises(WriteRejected, match="by a command that still runs"),
    ):
        plug.start(NOW)


def test_a_dry_run_of_a_start_without_a_vehicle_says_no_write(charger: Simulator, plug: PlugCommands) -> None:
    charger.site.plugs[0].unplug()
    assert plug.disable(NOW).outcome == "done"
    planned = plug.start(WriteOptions(dry_run=True, least_pause=0.0))

    assert (planned.outcome, planned.says) == ("no_vehicle", "EVSE.PLUG: no vehicle is connected")


@pytest.mark.parametrize(
    ("word", "stopped"),
    [("charging", False), ("not_initialised", False), (None, False), ("available", True)],
)
def test_a_charge_has_stopped_only_if_the_charger_says_so(word: str | None, stopped: bool) -> None:
    assert is_stopped(a_plug(word)) is stopped


def test_a_cap_below_the_minimum_current_is_refused_with_its_cure(charger: Simulator, plug: PlugCommands) -> None:
    charger.site.force("EVSE", [("EVSE.PLUG.CURRENT_REDUCTION", 5.0)], 0.0)

    with pytest.raises(WriteRejected, match=r"`set EVSE\.PLUG\.CURRENT_REDUCTION 32 --force` helps"):
        plug.start(NOW)
    assert puts(charger) == 0


def test_beside_a_follower_the_session_begins_and_the_follower_decides(
    charger: Simulator, plug: PlugCommands, state: ControlState
) -> None:
    charger.site.force(MODE3, [(PREDUCTION, 100.0)], 0.0)
    with state.followed(PLUG):
        started = plug.start(NOW)
        again = plug.start(NOW)

    assert (started.outcome, started.seen.is_under_way, started.seen.limits.percent) == ("done", True, 100)
    assert started.says.endswith("; `charge start --now` helps")
    assert again.outcome == "already"
    assert puts(charger) == 1


def test_the_end_of_a_night_leaves_a_followed_plug_in_service(
    charger: Simulator, plug: PlugCommands, state: ControlState
) -> None:
    with state.followed(PLUG):
        left = plug.disable(NOW, nightly=True)
    restarting = plug.disable(NOW, nightly=True)
    state.now = lambda: time() + 121
    over = plug.disable(NOW, nightly=True)
    with state.followed(PLUG):
        late = plug.disable(NOW, nightly=True)

    outcomes = [each.outcome for each in (left, restarting, over, late)]
    assert outcomes == ["nothing", "nothing", "done", "nothing"]
    assert puts(charger) == 1
    assert restarting.says == "EVSE.PLUG stays in service for two minutes: `charge follow` has just ended"
    assert left.says == "EVSE.PLUG stays in service: `charge follow` decides its current"
    assert late.says == "EVSE.PLUG is out of service, so `charge follow` cannot charge: `charge start` helps"


def test_a_boost_ends_in_time_with_its_energy_or_when_the_car_leaves() -> None:
    def active(override: Override, **more: Any) -> bool:
        seen = a_plug("charging", requested=10.0, **more)
        return active_override(override, seen, 1000.0) is not None

    assert active(Override(10.0, 900.0))
    assert not active(Override(10.0, 900.0), vehicle_connected=False)
    assert active(Override(10.0, 900.0, until=1001.0))
    assert not active(Override(10.0, 900.0, until=1000.0))
    assert active(Override(10.0, 900.0, energy=3.6e6), energy=3.5e6)
    assert not active(Override(10.0, 900.0, energy=3.6e6), energy=3.6e6)
    assert active(Override(10.0, 900.0, energy=3.6e6))
