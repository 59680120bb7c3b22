"""Plans carried out: against a simulated charger at speed, and by the installed command."""

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep, time

import pytest
from helpers.support import COMMAND, PROJECT, Process, Start

from ccl_exporter.control.plan.planner import Goal, Planner
from ccl_exporter.control.plan.prices import Slot, parse
from ccl_exporter.control.plan.schedule import Plan
from ccl_exporter.control.plug_commands import PlugCommands, Result
from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.state import ControlState
from ccl_exporter.control.write import WriteOptions, Writer
from ccl_exporter.errors import UsageError
from ccl_exporter.simulator import Simulator, State

SPEED = 240.0
QUARTER = 900.0
KILOWATTS = 7.4


class House:
    """A planner and the charger it plans for, in the charger's own quick time."""

    def __init__(
        self, simulator: Simulator, folder: Path, need: float, kilowatts: float = KILOWATTS, quarters: int = 8
    ) -> None:
        self.simulator = simulator
        self.control_state = ControlState(folder, simulator.url)
        self.control = WritableTransport(simulator.url)
        self.begin = self.now()
        self.slots: Sequence[Slot] = ()
        self.trouble: str | None = None
        self.plans: list[Plan] = []
        self.said: list[str] = []
        self._register = simulator.site.plugs[0].energy_wh
        writer = Writer(self.control, self.control_state, 2.0, "test", look_every=0.02)
        plug = PlugCommands(writer, None, 2.0)
        how = WriteOptions(wait=1.0, least_pause=0.0)

        def at_plug(work: Callable[[], Result]) -> Result:
            with self.control_state.exclusive(monotonic() + 5):
                return work()

        self.planner = Planner(
            Goal(need, self.begin + quarters * QUARTER, kilowatts),
            self.prices,
            plug.look,
            lambda: at_plug(lambda: plug.start(how)),
            lambda: at_plug(lambda: plug.disable(how)),
            self.plans.append,
            self.said.append,
            self.now,
        )

    def now(self) -> float:
        with self.simulator.site.present() as now:
            return now

    def prices(self) -> Sequence[Slot]:
        if self.trouble is not None:
            raise UsageError(self.trouble)
        return self.slots

    def cost(self, *prices: float) -> None:
        """Prices of the quarters of an hour since the begin."""
        self.slots = [
            Slot(self.begin + number * QUARTER, self.begin + (number + 1) * QUARTER, price)
            for number, price in enumerate(prices)
        ]

    def live(self, until: Callable[[], bool] = lambda: False) -> None:
        """Rounds until the plan is over, or something else is so."""
        while self.planner.step() and not until():
            sleep(0.05)

    @property
    def charged(self) -> float:
        """Kilowatt-hours since the begin."""
        return (self.simulator.site.plugs[0].energy_wh - self._register) / 1000


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Simulator(autopilot=False, speed=SPEED) as simulator:
        simulator.site.plugs[0].plug_in(50_000)
        found = House(simulator, tmp_path / "state", 2.5)
        yield found
        found.control.close()


def test_a_plan_is_carried_out_in_its_cheap_time_and_is_over_when_the_need_is_met(house: House) -> None:
    house.cost(9, 9, 2, 1, 9, 9, 9, 9)
    house.live(lambda: house.now() > house.begin + 1.5 * QUARTER)
    assert house.charged == 0
    house.live()

    assert house.planner.left <= 0.1
    assert 2.3 <= house.charged <= 4.0
    assert "all that was needed" in house.said[-1]
    assert house.now() < house.begin + 6 * QUARTER


@pytest.mark.parametrize(
    ("need", "kilowatts", "says"),
    [
        pytest.param(1.0, KILOWATTS / 2, "all that was needed", id="the car takes more than was thought"),
        pytest.param(50.0, KILOWATTS, "the time is over", id="there is not enough time"),
    ],
)
def test_no_charge_goes_on_when_a_plan_is_over(tmp_path: Path, need: float, kilowatts: float, says: str) -> None:
    with Simulator(autopilot=False, speed=SPEED) as simulator:
        simulator.site.plugs[0].plug_in(50_000)
        house = House(simulator, tmp_path / "state", need, kilowatts, quarters=2)
        house.cost(1, 1, 9)
        house.live()
        after = house.planner.look()
        house.control.close()

    assert house.charged > 0
    assert says in house.said[-1]
    assert not after.is_under_way


def test_a_new_plan_is_made_when_the_prices_change_and_the_last_one_stays_while_they_cannot_be_read(
    house: House,
) -> None:
    house.cost(1, 1, 9, 9, 9, 9, 9, 9)
    house.live(lambda: house.simulator.site.plugs[0].watts > 0)
    house.trouble = "the file is empty"
    house.live(lambda: any("the file is empty" in line for line in house.said))
    assert house.simulator.site.plugs[0].watts > 0
    house.trouble = None
    house.cost(9, 9, 9, 9, 1, 1, 1, 9)
    house.live(lambda: house.simulator.site.plugs[0].watts == 0)

    assert len(house.plans) >= 2
    assert any(line == "a new plan: the prices changed" for line in house.said)
    assert all(piece.begin >= house.begin + 4 * QUARTER for piece in house.plans[-1].pieces)


def test_a_new_plan_is_made_when_the_car_takes_less_than_was_thought(house: House) -> None:
    plug = house.simulator.site.plugs[0]
    plug.unplug()
    plug.plug_in(50_000, most_amperes=10.0)
    house.cost(1, 1, 3, 3, 9, 9, 9, 9)
    house.live(lambda: len(house.plans) > 1)

    assert any(re.search(r"a new plan: .* kWh are left", line) for line in house.said)
    assert house.plans[-1].pieces[-1].end > house.plans[0].pieces[-1].end


def test_a_car_that_comes_later_gets_a_plan_of_what_is_left_of_the_time(house: House) -> None:
    house.simulator.site.plugs[0].unplug()
    house.cost(1, 1, 3, 2, 9, 9, 9, 9)
    house.live(lambda: house.now() > house.begin + 2 * QUARTER)
    house.simulator.site.plugs[0].plug_in(50_000)
    house.live(lambda: any("the car came" in line for line in house.said))

    assert house.plans[-1].pieces[0].begin >= house.begin + 2 * QUARTER


@pytest.mark.parametrize("full", [True, False], ids=["the car is full", "its driver stops it"])
def test_a_charge_that_the_car_or_its_driver_ended_is_not_begun_again_until_the_car_leaves(
    tmp_path: Path, full: bool
) -> None:
    with Simulator(autopilot=False, speed=SPEED) as simulator:
        plug = simulator.site.plugs[0]
        plug.plug_in(500 if full else 50_000)
        house = House(simulator, tmp_path / "state", 20.0, quarters=24)
        house.cost(*[1] * 24)
        house.live(lambda: plug.watts > 0)
        if not full:
            plug.authorise()
        house.live(lambda: plug.state is State.WAITING_FOR_DISCONNECTION)
        ended = house.now()
        house.live(lambda: house.now() > ended + QUARTER)
        writes = sum(request.method == "PUT" for request in simulator.requests)
        plug.unplug()
        house.planner.step()
        plug.plug_in(50_000)
        house.live(lambda: plug.watts > 0)
        house.control.close()

    assert writes == 1
    assert any("the car or its driver ended the charge" in line for line in house.said)
    assert plug.watts > 0


def test_what_is_no_fault_of_the_charger_ends_no_plan_either(house: House, tmp_path: Path) -> None:
    (own,) = (tmp_path / "state" / "writes").iterdir()
    (own / "facts.new").mkdir()
    house.cost(*[1] * 8)
    house.live(lambda: any("it is tried again in a minute" in line for line in house.said))
    assert house.charged == 0
    (own / "facts.new").rmdir()
    house.live(lambda: house.simulator.site.plugs[0].watts > 0)

    assert any("and nothing is written to a charger without a record of it" in line for line in house.said)
    assert house.simulator.site.plugs[0].watts > 0


# The command


def clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def table(now: float, *prices: float) -> str:
    rows = [f"{clock(now + n * 1800)},{clock(now + (n + 1) * 1800)},{price}" for n, price in enumerate(prices)]
    return "\n".join(["begin,end,price", *rows, ""])


def test_a_plan_is_shown_and_nothing_is_done_in_a_dry_run(tmp_path: Path) -> None:
    by = clock(time() + 4 * 1800 - 300)
    shown = subprocess.run(
        [str(COMMAND), "charge", "plan", "-", "--need", "5kWh", "--by", by, "--dry-run", "--timezone", "UTC"],
        input=table(time() - 60, 9, 2, 4, 9, 9),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    assert shown[0].split() == ["BEGIN", "END", "PRICE", "KWH", "COST"]
    assert [line.split()[2:] for line in shown[1:-1]] == [["2", "3.60", "7.20"], ["4", "1.40", "5.60"]]
    assert shown[-1] == "5.00 kWh cost 12.80, 2.56 for each"


def test_a_plan_becomes_timers(tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(table(time() - 60, 9, 2, 4, 9, 9))
    flags = ["--need", "5kWh", "--by", clock(time() + 7000), "--timers", str(tmp_path), "-c", "http://192.0.2.10"]
    subprocess.run([str(COMMAND), "charge", "plan", str(prices), *flags], check=True, capture_output=True)

    service = (tmp_path / "ccl-charge-plan-start.service").read_text()
    waits = "--min-interval 0 --timeout 120"
    assert f"ExecStart={COMMAND} charge start --charger http://192.0.2.10 {waits}\n" in service
    assert "charge disable" in (tmp_path / "ccl-charge-plan-end.service").read_text()
    assert (tmp_path / "ccl-charge-plan-start.timer").read_text().count("OnCalendar=") == 1


def test_timers_can_be_loaded_before_they_begin_and_know_the_secrets_of_a_configuration(tmp_path: Path) -> None:
    prices, config = tmp_path / "prices.csv", tmp_path / "ccl.yaml"
    config.write_text("chargers:\n  garage:\n    url: http://192.0.2.10\n")
    now = time()
    prices.write_text(table(now - 60, 1, 9, 9, 9))
    flags = ["--need", "1kWh", "--by", clock(now + 7000), "--timers", str(tmp_path), "-c", "garage"]
    shown = subprocess.run(
        [str(COMMAND), "charge", "plan", str(prices), *flags, "--config.file", str(config)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    (begin,) = re.findall(r"OnCalendar=(.*) UTC", (tmp_path / "ccl-charge-plan-start.timer").read_text())
    assert datetime.fromisoformat(f"{begin}+00:00").timestamp() >= now + 299
    assert "systemctl daemon-reload && systemctl restart ccl-charge-plan-{start,end}.timer" in shown
    for service in ("start", "end"):
        unit = (tmp_path / f"ccl-charge-plan-{service}.service").read_text()
        assert "\nLoadCredential=secrets:/etc/ccl-exporter/secrets\n" in unit


def test_a_timer_may_end_a_charge_at_once_that_another_has_begun_and_begin_it_at_once_again(
    tmp_path: Path,
) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(table(time() - 60, 9, 2, 4, 9, 9))
    with Simulator(autopilot=False, speed=20) as simulator:
        plug = simulator.site.plugs[0]
        plug.plug_in(50_000)
        flags = ["--need", "5kWh", "--by", clock(time() + 7000), "--timers", str(tmp_path), "-c", simulator.url]
        subprocess.run([str(COMMAND), "charge", "plan", str(prices), *flags], check=True, capture_output=True)
        found = []
        for name in ("start", "end", "start", "end"):
            unit = (tmp_path / f"ccl-charge-plan-{name}.service").read_text()
            (words,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
            ran = subprocess.run(shlex.split(words), check=False)
            found.append((ran.returncode, plug.watts > 0))

    assert found == [(0, True), (0, False)] * 2


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_the_command_keeps_a_car_waiting_and_leaves_the_plug_in_service(
    ending: signal.Signals, start: Start, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(table(time() - 60, 9, 2, 4, 9, 9))
    with Simulator(autopilot=False, speed=10) as simulator:
        plug = simulator.site.plugs[0]
        plug.plug_in(50_000)
        plug.authorise()
        flags = ("--need", "5kWh", "--by", clock(time() + 7000), "-c", simulator.url)
        process: Process = start("charge", "plan", str(prices), *flags)
        process.line("5.00 kWh cost")
        process.line("is out of service")
        with simulator.site.present():
            assert not simulator.site.model.places[0].plug.limits.usable
        process.process.send_signal(ending)
        code = process.process.wait()

        assert code == 1, "the car has not got what it needs"
        assert plug.watts == 0
        with simulator.site.present():
            assert simulator.site.model.places[0].plug.limits.usable


def test_a_configuration_that_is_being_edited_at_the_end_of_a_plan_keeps_no_plug_out_of_service(
    start: Start, tmp_path: Path
) -> None:
    prices, config = tmp_path / "prices.csv", tmp_path / "ccl.yaml"
    prices.write_text(table(time() - 60, 9, 2, 4, 9, 9))
    with Simulator(autopilot=False, speed=10) as simulator:
        plug = simulator.site.plugs[0]
        plug.plug_in(50_000)
        plug.authorise()
        config.write_text(f"chargers:\n  garage:\n    url: {simulator.url}\n")
        flags = ("--need", "5kWh", "--by", clock(time() + 7000), "-c", "garage", "--config.file", str(config))
        process: Process = start("charge", "plan", str(prices), *flags)
        process.line("is out of service")
        config.write_text("chargers:\n  garage:\n")
        code = process.stop()

        assert code == 1, "the car has not got what it needs"
        with simulator.site.present():
            assert simulator.site.model.places[0].plug.limits.usable


def test_a_plug_that_a_plan_must_leave_out_of_service_is_told_and_the_next_command_puts_it_back(
    start: Start, tmp_path: Path, state: Path
) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(table(time() - 60, 9, 2, 4, 9, 9))
    with Simulator(autopilot=False, speed=10) as simulator:
        plug = simulator.site.plugs[0]
        plug.plug_in(50_000)
        plug.authorise()
        flags = ("--need", "5kWh", "--by", clock(time() + 7000), "-c", simulator.url, "--timeout", "3")
        process: Process = start("charge", "plan", str(prices), *flags)
        process.line("is out of service")
        with ControlState(state, simulator.url).exclusive(monotonic() + 5):
            code = process.stop()
        said = process.log[-1]
        subprocess.run([str(COMMAND), "charge", "stop", "-c", simulator.url], check=False)

        assert code == 1
        assert "Mode 3.OUT_OF_SERVICE could not be put back, the next command will try it again: another" in said
        with simulator.site.present():
            assert simulator.site.model.places[0].plug.limits.usable


def test_prices_that_cannot_be_read_from_the_first_end_the_command_and_no_charge(
    start: Start, tmp_path: Path
) -> None:
    with Simulator(autopilot=False, speed=10) as simulator:
        plug = simulator.site.plugs[0]
        plug.plug_in(50_000)
        plug.authorise()
        flags = ("--need", "5kWh", "--by", clock(time() + 7000), "-c", simulator.url)
        process: Process = start("charge", "plan", str(tmp_path / "misspelt.csv"), *flags)
        process.wait_for_log("misspelt.csv cannot be read: No such file")

        assert process.process.wait() == 2
        assert not any(request.method == "PUT" for request in simulator.requests)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--need", "5", "--by", "07:00"), "--need '5'"),
        (("--need", "0kWh", "--by", "07:00"), "--need '0kWh'"),
        (("--need", "5kWh", "--by", "7"), "is not a time"),
        (("--need", "5kWh", "--by", "07:00", "--power", "16A"), "--power '16A'"),
        (("--need", "5kWh", "--by", "07:00", "--timezone", "Mars/Olympus"), "no such time zone"),
        (("--need", "5kWh", "--by", "07:00"), "there are no prices in it"),
    ],
)
def test_a_plan_that_cannot_be_made_is_refused(flags: tuple[str, ...], says: str) -> None:
    done = subprocess.run(
        [str(COMMAND), "charge", "plan", "-", "--dry-run", *flags],
        input="",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CCL_CHARGER": "http://192.0.2.10"},
    )

    assert done.returncode == 2
    assert says in done.stderr


PAGE = PROJECT / "deploy" / "follow" / "README.md"
PAGES = PAGE.read_text(encoding="utf-8") + (PROJECT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(
    set(re.findall(r"^(?:\.venv/bin/)?ccl-exporter (charge (?:follow|plan) .*)$", PAGES, re.MULTILINE))
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_pages_runs_as_it_stands_there(
    command: str, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rates.json").write_text(
        json.dumps(
            [
                {"begin": clock(time() + n * 1800), "end": clock(time() + (n + 1) * 1800), "price": 5}
                for n in range(60)
            ]
        )
    )
    with Simulator(autopilot=False) as simulator:
        words = [simulator.url if word == "http://evse" else word for word in shlex.split(command)]
        words = [str(tmp_path) if word == "/etc/systemd/system" else word for word in words]
        process: Process = start(*words)
        if "--timers" in words:
            process.line("Four units are in")
        else:
            process.line("BEGIN" if "plan" in words else "Safe current")


def test_the_sample_of_prices_is_understood() -> None:
    (sample,) = re.findall(r"```csv\n(.*?)```", PAGES, re.DOTALL)

    assert [slot.price for slot in parse(sample)] == [7.5, 6.9]
