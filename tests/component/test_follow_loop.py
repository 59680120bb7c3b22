"""The whole loop of a follower in simulated time, against a simulated charger."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from time import monotonic

import pytest
from helpers.following import MODE3, PREDUCTION, reduction
from helpers.house import evening
from helpers.support import Clock

from ccl_exporter.control.follow.follower import Follower
from ccl_exporter.control.follow.input_filter import InputFilter, InputSpec
from ccl_exporter.control.follow.limiter import FollowedPlug, FollowerState, SafeCurrentGuard
from ccl_exporter.control.follow.policy import Budget, Policy, Rules
from ccl_exporter.control.follow.sources import LatestValue
from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.state import ControlState
from ccl_exporter.control.write import Writer
from ccl_exporter.simulator import Fault, Simulator
from ccl_exporter.station.current_limit import percent_for


class Loop:
    """A follower in a time that a test moves, against a charger over loopback."""

    def __init__(self, folder: Path, clock: Clock, simulator: Simulator, rules: Rules, supply: float) -> None:
        self.clock, self.simulator = clock, simulator
        self.said: list[str] = []
        self.control_state = FollowerState(folder, simulator.url, now=clock, say=self.said.append)
        self.control = WritableTransport(simulator.url)
        writer = Writer(self.control, self.control_state, 1.0, "charge follow", look_every=0.02)
        plug = FollowedPlug(writer, self.control_state, None, 1.0)
        self.newest = LatestValue(clock, clock)
        self.follower = Follower(
            plug,
            self.newest,
            InputFilter(InputSpec("import", "W", rules.mode, (supply, "W"), 0.0)),
            Policy(rules, Budget(60)),
            SafeCurrentGuard(
                self.control_state, plug.device, plug.variable, percent_for(rules.safe, plug.largest)
            ),
            self.said.append,
            clock=clock,
            wall=clock,
        )
        self.follower.begin()

    @property
    def watts(self) -> float:
        return self.simulator.site.plugs[0].watts

    @property
    def amperes(self) -> float:
        return self.simulator.site.plugs[0].amperes

    def live(self, seconds: int, load: Callable[[int], float] | None, every: int = 2) -> Iterator[int]:
        """Second by second; the meter of the house is silent without a load."""
        for second in range(seconds):
            if load is not None:
                self.newest.take(load(second) + self.watts)
            if second % every == 0:
                self.follower.step()
            yield second
            self.clock.at += 1


@pytest.fixture
def loop(wallbox: Simulator, clock: Clock, tmp_path: Path) -> Iterator[Loop]:
    wallbox.site.plugs[0].plug_in(1e6)
    wallbox.site.plugs[0].authorise()
    clock.at += 10
    with ExitStack() as stack:
        rules = Rules("supply", 32.0, safe=6.1)
        found = Loop(tmp_path / "state", clock, wallbox, rules, 14_000.0)
        stack.callback(found.control.close)
        yield found


def test_an_evening_in_the_real_loop_keeps_within_the_supply(loop: Loop) -> None:
    house = evening(4, 13_500.0)
    begin = max(range(0, house.seconds - 900, 60), key=lambda at: house.at(at + 300)[1] - house.at(at + 200)[1])
    above = longest = 0
    for second in loop.live(900, lambda second: house.at(begin + second)[1]):
        above = above + 1 if house.at(begin + second)[1] + loop.watts > 14_000 else 0
        longest = max(longest, above)

    assert longest <= 10
    assert any(line.startswith("the limit is to be") for line in loop.said)


def test_an_input_that_never_came_is_said_so_until_it_comes(loop: Loop) -> None:
    for _ in loop.live(90, None):
        pass

    assert [line for line in loop.said if line.startswith("stale:")] == [
        "stale: the input is stale (no value has arrived yet)"
    ]
    for _ in loop.live(60, lambda second: 400.0):
        pass
    assert loop.newest.failure == ""


def test_a_charger_that_ignores_writes_is_named_and_not_asked_for_ever(loop: Loop) -> None:
    loop.simulator.faults = (Fault("ignore-writes"),)
    for _ in loop.live(900, lambda second: 11_000.0 + second % 9, every=5):
        pass

    assert any(line.startswith("write_ignored: ") for line in loop.said)
    puts = [request for request in loop.simulator.requests if request.method == "PUT"]
    assert 2 <= len(puts) <= 12
    loop.simulator.faults = ()
    for _ in loop.live(400, lambda second: 11_000.0 + second % 9, every=4):
        pass
    assert loop.watts + 11_000 < 14_000
    assert loop.follower.status.reason == "following"


def test_a_charger_that_cannot_be_read_gets_the_safe_current_all_the_same(loop: Loop) -> None:
    for _ in loop.live(60, lambda second: 2000.0 + second % 9):
        pass
    assert loop.amperes == 32
    loop.simulator.faults = (Fault("status-500", "values"), Fault("status-500", "deviceState"))
    for _ in loop.live(60, lambda second: 2000.0 + second % 9, every=5):
        pass

    assert 6 <= loop.amperes < 6.2
    assert any("charger_unavailable" in line for line in loop.said)
    loop.simulator.faults = ()
    for _ in loop.live(150, lambda second: 2000.0 + second % 9):
        pass
    assert loop.amperes > 20


def test_a_charger_that_falls_silent_before_a_write_shows_gets_the_safe_current_though_it_read_that(
    loop: Loop,
) -> None:
    loop.simulator.site.force(MODE3, [(PREDUCTION, 81.0)], 0.0)
    for _ in loop.live(200, lambda second: 2000.0 + second % 9):
        if any(line.startswith("the limit is to be") for line in loop.said):
            break
    assert reduction(loop.simulator) == 81
    loop.simulator.faults = (Fault("status-500", "values"), Fault("status-500", "deviceState"))
    for _ in loop.live(60, None):
        pass

    assert reduction(loop.simulator) == 81


def test_a_charger_whose_mode_3_device_is_silent_gets_the_safe_current_all_the_same(loop: Loop) -> None:
    for _ in loop.live(60, lambda second: 2000.0 + second % 9):
        pass
    assert loop.amperes == 32
    loop.simulator.faults = (Fault("device-error", arg=MODE3),)
    for _ in loop.live(60, lambda second: 2000.0 + second % 9):
        pass

    assert 6 <= loop.amperes < 6.2


def test_where_nothing_can_be_kept_the_limit_stays_and_the_safe_current_is_set_all_the_same(loop: Loop) -> None:
    folder = loop.control_state.folder
    folder.rename(folder.with_name("gone"))
    folder.write_text("")
    for _ in loop.live(60, lambda second: 10_000.0 + second % 9):
        pass
    unkept = [line for line in loop.said if "does not follow" in line]
    assert len(unkept) == 1
    assert "cannot be written" in unkept[0]
    for _ in loop.live(60, None):
        pass

    assert 6 <= loop.amperes < 6.2


def test_at_its_end_too_a_follower_sets_the_safe_current_where_nothing_can_be_kept(loop: Loop) -> None:
    folder = loop.control_state.folder
    folder.rename(folder.with_name("gone"))
    folder.write_text("")
    ending = threading.Thread(target=lambda: loop.said.append(str(loop.follower.shutdown(5.0))))
    ending.start()
    while ending.is_alive():
        loop.clock.at += 1
        ending.join(0.05)

    assert loop.said[-1] == "True"
    assert reduction(loop.simulator) == 81
    assert any("stays pending" in line for line in loop.said)


def test_a_meter_of_three_phases_that_does_not_answer_is_not_taken_for_one_phase(tmp_path: Path) -> None:
    with Simulator("twin", autopilot=False) as charger, closing(WritableTransport(charger.url)) as control:
        control_state = ControlState(tmp_path, charger.url)
        plug = FollowedPlug(
            Writer(control, control_state, 5.0, "charge follow"), control_state, "Poste Été.PLUG_A", 5.0
        )
        assert plug.plug().phases == 3
        charger.faults = (Fault("device-error", arg="Meter"),)

        assert plug.observe().phases == 3
        assert plug.observe().power is None


def test_a_charger_that_fails_at_once_is_asked_for_the_safe_current_with_rests(loop: Loop) -> None:
    loop.follower.clock = monotonic
    loop.simulator.faults = (Fault("status-500"),)
    good = loop.follower.shutdown(5.0)

    assert not good
    assert 1 <= sum(line.startswith("the limit to leave behind could not be set") for line in loop.said) <= 3


def test_writes_of_the_last_hour_are_known_after_a_restart(loop: Loop, clock: Clock) -> None:
    for _ in loop.live(30, lambda second: 11_000.0 + second % 9):
        pass
    ages = loop.control_state.written_lately(PREDUCTION, 3600)

    assert len(ages) == loop.follower.status.writes > 0
    assert all(0 <= age <= 40 for age in ages)
    other = ControlState(loop.control_state.folder, "http://192.0.2.1", clock)
    assert other.written_lately(PREDUCTION, 3600) == []
    clock.at += 4000
    assert loop.control_state.written_lately(PREDUCTION, 3600) == []


def test_another_command_that_takes_long_does_not_keep_the_safe_current_out(loop: Loop) -> None:
    for _ in loop.live(60, lambda second: 2000.0 + second % 9):
        pass
    with loop.control_state.exclusive(float("inf")):
        for _ in loop.live(60, None):
            pass

    assert 6 <= loop.amperes < 6.2
