"""evcc with the files of deploy/neighbours as they are: over some sunny minutes, and however a charge ends."""

import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic

import pytest
import yaml
from helpers.evcc import INTERVAL, MINIMUM, Loadpoint, PluginError, Plugins
from helpers.support import PROJECT, Clock

from ccl_exporter.cli.exit_codes import Exit, exit_code
from ccl_exporter.clock import Clock as ExporterClock
from ccl_exporter.control.plug_commands import PlugCommands
from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.state import ControlState
from ccl_exporter.control.write import WriteOptions, Writer
from ccl_exporter.errors import CclError
from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.web.charger_json import charger_json
from ccl_exporter.metrics.samples import samples
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.simulator import Fault, Simulator
from ccl_exporter.simulator.physics import State, Stop

NEIGHBOURS = PROJECT / "deploy" / "neighbours"

# What the script finds as `ccl-exporter`: the command runs in the test, in the test's time.
COMMAND = """#!{python} -IS
import json, socket, sys
with socket.socket(socket.AF_UNIX) as test:
    test.connect({path!r})
    test.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    sys.exit(int(test.recv(9)))
"""
CODES = {"done": Exit.DONE, "not_taken": Exit.NOT_TAKEN, "no_vehicle": Exit.NO_VEHICLE}


class SimulatedTime(Clock):
    """Time that passes a little with everything that the simulated charger does."""

    def __call__(self) -> float:
        self.at += 0.05
        return self.at


class House:
    """A simulated charger, the exporter, the commands and evcc, all in one simulated time."""

    def __init__(self, charger: Simulator, time: Clock, folder: Path) -> None:
        self.charger, self.time, self._folder = charger, time, folder
        self.plug = charger.site.plugs[0]
        self._minute = time.at
        self._reader = Charger(
            ChargerSettings("evse", charger.url),
            clock=ExporterClock(wall=lambda: self.time.at, monotonic=lambda: self._minute),
        )
        self._state = ControlState(folder, charger.url, lambda: self.time.at)
        (configured,) = yaml.safe_load((NEIGHBOURS / "evcc.yaml").read_text(encoding="utf-8"))["chargers"]
        self.wait = 5.0
        """Real seconds within which a command must take effect."""
        self.commands: list[Sequence[str]] = []
        self.evcc = Loadpoint(configured, Plugins(self._json, self._script, lambda: self.time.at))

    def minutes(self, *surplus: float) -> None:
        """Let minutes pass, with so many watts to spare in each."""
        for watts in surplus:
            self._minute += INTERVAL
            assert self.time.at <= self._minute, "evcc was not ready within a minute"
            self.time.at = self._minute
            self.evcc.cycle(watts)

    @property
    def allowed(self) -> float:
        """The current that the charger offers."""
        return 32.0 * (100 - self.reduction) / 100

    @property
    def reduction(self) -> float:
        with self.charger.site.present() as now:
            found = next(one for one in self.charger.site.devices() if one.name == "Plug - Mode 3").values(now)
        assert isinstance(found["PREDUCTION"], float)
        return found["PREDUCTION"]

    def _json(self, uri: str) -> bytes:
        assert uri == "http://127.0.0.1:9986/charger/evse.json"
        snapshot = self._reader.read(8.0)
        return charger_json("evse", "evse", snapshot.taken, snapshot.up, samples(snapshot), ["core"])

    def _script(self, command: str) -> int:
        program, *arguments = command.split(" ")
        assert program == "/usr/local/bin/evcc-charger.sh"
        script = [str(NEIGHBOURS / "evcc-charger.sh"), *arguments]
        return subprocess.run(script, env={"PATH": f"{self._folder}:/usr/bin:/bin"}, check=False).returncode

    def command(self, arguments: Sequence[str]) -> int:
        """Carry out `ccl-exporter charge …` and return its exit code."""
        charge, name, *values, flag, charger = arguments
        assert (charge, flag, charger) == ("charge", "-c", "http://evse")
        self.commands.append((name, *values))
        how = WriteOptions(wait=self.wait)
        with closing(WritableTransport(self.charger.url)) as control, self._state.exclusive(monotonic() + 5):
            try:
                plug = PlugCommands(Writer(control, self._state, 15.0, "charge", look_every=0.0), None, 15.0)
                done = plug.limit(values[0], how) if values else getattr(plug, name)(how)
            except CclError as error:
                return exit_code(error)
        return CODES.get(done.outcome, Exit.NOTHING)


@contextmanager
def answering(house: House, folder: Path) -> Iterator[None]:
    """Carry out what the script calls as `ccl-exporter`."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(str(int(house.command(json.loads(self.rfile.readline())))).encode())

    command, path = folder / "ccl-exporter", folder / "commands"
    command.write_text(COMMAND.format(python=sys.executable, path=str(path)))
    command.chmod(0o755)
    with socketserver.UnixStreamServer(str(path), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield
        finally:
            server.shutdown()
            serving.join()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    time = SimulatedTime(1_790_000_000.0)
    with Simulator(autopilot=False, clock=time) as charger:
        made = House(charger, time, tmp_path)
        with answering(made, tmp_path):
            made.evcc.prepare()
            yield made


def charging(house: House, need: float = 60_000.0) -> None:
    """A car has come and charges with sun."""
    house.plug.plug_in(need)
    house.minutes(2500.0, 2500.0, 2500.0)
    assert (house.evcc.status, house.evcc.enabled) == ("C", True)


def writes(house: House) -> int:
    return sum(request.method == "PUT" for request in house.charger.requests)


def test_the_charge_follows_the_sun_stops_and_starts_again(house: House) -> None:
    house.plug.plug_in(60_000.0)
    offered = []
    for surplus, length in ((2000.0, 4), (1500.0, 2), (200.0, 5), (1500.0, 2), (2850.0, 2), (0.0, 5)):
        for _ in range(length):
            house.minutes(surplus)
            offered.append(house.evcc.offered if house.plug.watts > 0 else 0)
            if asked := house.evcc.offered:
                # The one limit that is above what was asked is evcc's minimum.
                assert asked - 0.32 < house.allowed <= (6.08 if asked == MINIMUM else asked)

    assert offered == [6, 8, 8, 8, 6, 6, 6, 6, 6, 0, 0, 0, 6, 12, 12, 6, 6, 6, 0, 0]
    assert house.evcc.log == []
    assert writes(house) == 9


@pytest.mark.parametrize("sun", [2500.0, 0.0], ids=["evcc enables", "evcc disables"])
class TestEnds:
    """The car or a command ends the charge, the car is still connected, and evcc wants to charge or to stop."""

    def test_a_full_car_is_not_started_again(self, house: House, sun: float) -> None:
        charging(house, need=150.0)
        while house.plug.state is not State.WAITING_FOR_DISCONNECTION:
            house.minutes(2500.0)
        house.minutes(*[sun] * 8)

        assert (house.plug.state, house.plug.stopped) == (State.WAITING_FOR_DISCONNECTION, Stop.DISCONNECT)
        assert house.commands.count(("start",)) == 1
        # Without sun evcc switches off what is over already; then it wonders once in a while, which harms nothing.
        assert set(house.evcc.log) == (set() if sun else {"WARN charger out of sync: expected False, got True"})

    def test_a_charge_that_a_command_ended_is_started_again_once_there_is_sun(
        self, house: House, sun: float
    ) -> None:
        charging(house)
        house.plug.stop(Stop.REMOTE)
        house.minutes(*[sun] * 4)

        assert (house.plug.watts > 0) is (sun > 0)
        assert house.evcc.enabled is (sun > 0)
        assert house.evcc.log == ["WARN charger out of sync: expected True, got False"]

    def test_a_charge_that_evcc_ended_is_started_again_once_there_is_sun(self, house: House, sun: float) -> None:
        charging(house)
        house.evcc.enable(False)
        assert house.plug.stopped == Stop.REMOTE
        house.minutes(*[sun] * 4)

        assert (house.plug.watts > 0) is (sun > 0)
        assert house.evcc.log == []


def test_a_full_car_that_is_started_on_purpose_ends_again(house: House) -> None:
    charging(house, need=150.0)
    while house.plug.state is not State.WAITING_FOR_DISCONNECTION:
        house.minutes(2500.0)
    house.wait = 0.1
    with pytest.raises(PluginError, match="exit status 5"):
        house.evcc.enable(True)
    house.minutes(2500.0, 2500.0)

    assert (house.plug.state, house.plug.stopped) == (State.WAITING_FOR_DISCONNECTION, Stop.DISCONNECT)
    assert house.commands.count(("start",)) == 2


@pytest.mark.parametrize(
    "faults", [[Fault("close")], [Fault("device-error", arg="EVSE"), Fault("status-500", "chargePointsInterface")]]
)
def test_while_values_are_missing_evcc_waits_and_sees_no_car_leave(house: House, faults: Sequence[Fault]) -> None:
    charging(house)
    before = writes(house)
    house.charger.faults = faults
    house.minutes(2500.0, 0.0, 2500.0)
    log = list(house.evcc.log)
    house.charger.faults = ()
    house.minutes(2500.0, 2500.0)

    assert len(log) >= 3
    assert all(line.startswith("ERROR ") and len(line) < 100 for line in log), log
    assert (house.evcc.status, house.evcc.enabled, house.plug.state) == ("C", True, State.CHARGING)
    assert (house.evcc.log, writes(house)) == (log, before)
