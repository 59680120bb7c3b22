"""Random sequences of commands, vehicles and faults: what a command said happened is what the engine holds.

`CCL_SEQUENCES=1000` runs the long form (half an hour or more), `CCL_SEED` another series; CI runs a few.
"""

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest
from helpers.dialects import REFUSING

from ccl_exporter.control.plug_commands import PlugCommands, Result
from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.state import JOURNAL, ControlState
from ccl_exporter.control.write import WriteOptions, Writer
from ccl_exporter.errors import CclError
from ccl_exporter.settings import Credentials
from ccl_exporter.simulator import DIALECTS, Dialect, Fault, Simulator
from ccl_exporter.simulator.physics import State
from ccl_exporter.simulator.site import LivePlug

SEQUENCES = int(os.environ.get("CCL_SEQUENCES", "20"))
SEED = int(os.environ.get("CCL_SEED", "4711"))
SPEED = 100.0
PLUG = "EVSE.PLUG"
FORCE = "forceVariables"

LOGIN = Credentials("installer", "pass:word")

FAULTS: tuple[tuple[Fault, ...], ...] = (
    (),
    (),
    (Fault("ignore-writes"),),
    (Fault("late-writes", seconds=10.0),),
    (Fault("late-writes", seconds=60.0),),
    (Fault("close", FORCE),),
    (Fault("reset", FORCE, times=1),),
    (Fault("lost-answer", FORCE),),
    (Fault("back-end", seconds=20.0),),
    (Fault("status-500", FORCE),),
    (Fault("status-401", FORCE, times=1),),
    (Fault("status-403", FORCE),),
    (Fault("not-granted", FORCE),),
    (Fault("silent", FORCE, times=1),),
    (Fault("slow", FORCE, seconds=0.3),),
    (Fault("close", "values.xml", times=2),),
    (Fault("garbled", "values.xml", times=1),),
    (Fault("close-each"),),
    (Fault("device-error", arg="Plug - Mode 3"),),
)


class Bench:
    """A simulated charger at speed, the commands to it, and what its engine holds."""

    def __init__(self, charger: Simulator, folder: Path) -> None:
        self.charger = charger
        self.control_state = ControlState(folder, charger.url)
        self.how = WriteOptions(wait=20.0 / SPEED * 3, least_pause=0.0)

    @property
    def live(self) -> LivePlug:
        return self.charger.site.plugs[0]

    def value(self, name: str) -> float:
        device, _, short = name.rpartition(".")
        if device == PLUG:
            device, short = "EVSE", f"PLUG.{short}"
        with self.charger.site.present() as now:
            found = next(one for one in self.charger.site.devices() if one.name == device).values(now)[short]
        assert isinstance(found, float)
        return found

    @property
    def usable(self) -> bool:
        return self.value("Plug - Mode 3.OUT_OF_SERVICE") == 0 and self.value(f"{PLUG}.ENABLE") == 1

    def command(self, do: Callable[[PlugCommands], Result]) -> Result | CclError:
        control = WritableTransport(self.charger.url, LOGIN)
        try:
            with self.control_state.exclusive(monotonic() + 5):
                writer = Writer(control, self.control_state, 1.0, "test", look_every=0.02)
                return do(PlugCommands(writer, None, 1.0))
        except CclError as error:
            return error
        finally:
            control.close()

    def set(self, name: str, value: float) -> Result | CclError:
        def do(plug: PlugCommands) -> Result:
            written = plug._writer.set({name: value}, self.how)
            return Result(written.outcome, "", plug.look(), [written])

        return self.command(do)


def act(bench: Bench, chance: random.Random) -> str:
    """A vehicle, a driver or a back end does something."""
    live = bench.live
    moves: dict[str, Callable[[], object]] = {
        "a car comes": live.plug_in,
        "a hungry car comes": lambda: live.plug_in(need_wh=500.0),
        "the car leaves": live.unplug,
        "a tag is shown": live.authorise,
        "the back end stops": lambda: live.stop(5),
        "the back end starts": lambda: bench.charger.site.force("EVSE", [(f"{PLUG}.REMOTE_START", 1.0)], 0.0),
        "a fault": lambda: live.fail(64),
        "it is repaired": lambda: live.fail(0),
        "nothing": lambda: None,
    }
    move = chance.choice([*moves, "a car comes", "it is repaired"])
    moves[move]()
    return move


def command(bench: Bench, chance: random.Random, late: bool) -> str:
    """Give a command and compare what it says with what the engine holds; returns what was done."""
    how, live = bench.how, bench.live
    name = chance.choice(
        ["start", "start", "start", "stop", "pause", "enable", "disable", "limit", "limit", "set", "set"]
    )
    before = bench.usable
    said: Result | CclError
    if name == "limit":
        text = chance.choice(["16A", "10A", "50%", "100%", "32A", "0A", "7.5A"])
        said = bench.command(lambda plug: plug.limit(text, how))
        done = f"limit {text}"
    elif name == "set":
        variable, value = chance.choice(
            [
                ("Plug - Mode 3.PREDUCTION", float(chance.randrange(0, 101))),
                (f"{PLUG}.ENABLE", float(chance.randrange(2))),
                ("Plug - Mode 3.OUT_OF_SERVICE", float(chance.randrange(2))),
            ]
        )
        said = bench.set(variable, value)
        done = f"set {variable} {value:g}"
        if isinstance(said, Result) and not late:
            holds = bench.value(variable) == value
            assert holds is (said.outcome in ("done", "already")), f"{done}: {said}"
    else:
        said = bench.command(lambda plug: getattr(plug, name)(how))
        done = name
    if isinstance(said, CclError):
        return f"{done}: {said}"
    outcome = said.outcome
    good = outcome in ("done", "already")
    if name == "limit" and good:
        (written,) = said.written
        (wanted,) = [*written.wanted.values()]
        assert bench.value("Plug - Mode 3.PREDUCTION") == wanted, f"{done}: {said}"
        if live.state is State.CHARGING and outcome == "done":
            assert live.amperes <= 32 * (100 - wanted) / 100 + 1.5, f"{done}: {said}"
    if name == "enable" and not late:
        assert bench.usable is good, f"{done}: {said}"
    if name == "disable" and not late:
        assert bench.usable is not good, f"{done}: {said}"
    if name == "start":
        if good:
            assert said.seen.is_under_way, f"{done}: {said}"
        if outcome == "no_vehicle":
            assert said.seen.vehicle_connected is False
            assert bench.value(f"{PLUG}.CC") == 0
        if outcome == "not_taken":
            assert not said.seen.is_charging
    if name in ("stop", "pause") and outcome == "nothing":
        assert not said.seen.is_under_way
        assert bench.usable is before
    return f"{done}: {outcome}"


def test_what_a_command_says_is_what_the_engine_holds(tmp_path: Path) -> None:
    taken, ended = 0, Counter[str]()
    for number in range(SEQUENCES):
        chance = random.Random(f"{SEED}/{number}")
        dialect = chance.choice(list(DIALECTS))
        story = [f"sequence {number}, {dialect}"]
        folder = tmp_path / str(number)
        with Simulator(
            dialect=Dialect.parse([dialect]),
            autopilot=False,
            speed=SPEED,
            seed=number,
            username=LOGIN.username,
            password=LOGIN.password,
        ) as charger:
            bench = Bench(charger, folder)
            try:
                said = bench.command(lambda plug: Result("already", "", plug.look(), []))
                seen = said.seen.state if isinstance(said, Result) else None
                assert (seen is None) == (dialect in REFUSING), f"{dialect}: a command does not see the plug"
                for _ in range(chance.randrange(3, 8)):
                    charger.faults = chance.choice(FAULTS)
                    story.append(f"{[fault.kind for fault in charger.faults]}")
                    story.append(act(bench, chance))
                    late = any(fault.kind == "late-writes" for fault in charger.faults)
                    story.append(command(bench, chance, late))
                    ended[story[-1].partition(": ")[2].partition(" ")[0]] += 1
                    # What is still under way must not be taken for something that comes later.
                    with charger.site.present():
                        charger.site._pending.clear()
            except Exception as error:
                error.add_note("\n".join(story))
                raise
            writes = [request for request in charger.requests if request.method == "PUT"]
            journal = (folder / JOURNAL).read_text().splitlines()
            taken += sum('"result": "done"' in line for line in journal)
            sure = [line for line in journal if '"result": "failed' not in line]
            assert len(sure) <= len(writes), "the journal tells of no write that was none"
            if charger.dialect.auth == "none":
                assert len(writes) <= len(journal), "the journal tells of each write"

    print(ended)  # noqa: T201 - shown by `pytest -s`, to see what the sequences came to
    assert taken >= SEQUENCES / 2, "hardly a write was taken in all of these"


@pytest.mark.parametrize(
    "dialect", ["wallbox-proven", "no-varinfo", "state-only", "no-charge-points", "digest-stale"]
)
def test_a_plug_follows_commands_however_little_its_engine_reports(dialect: str, tmp_path: Path) -> None:
    with Simulator(
        dialect=Dialect.parse([dialect]),
        autopilot=False,
        speed=SPEED,
        username=LOGIN.username,
        password=LOGIN.password,
    ) as charger:
        bench = Bench(charger, tmp_path)
        bench.live.plug_in(need_wh=100_000.0)
        said = [
            bench.command(lambda plug: plug.disable(bench.how)),
            bench.command(lambda plug: plug.start(bench.how)),
            bench.command(lambda plug: plug.stop(bench.how)),
        ]
        end = bench.live.state

    assert [getattr(result, "outcome", result) for result in said] == ["done"] * 3
    assert end is State.WAITING_FOR_DISCONNECTION
