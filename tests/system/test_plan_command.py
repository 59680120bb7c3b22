"""Plans carried out: against a simulated charger at speed, and by the installed command."""

import json
import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep, time

import pytest
from helpers.support import COMMAND, PROJECT, Process, Start, get, server

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
        self.price_error: str | None = None
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
        if self.price_error is not None:
            raise UsageError(self.price_error)
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
    assert "the need is met" in house.said[-1]
    assert house.now() < house.begin + 6 * QUARTER


@pytest.mark.parametrize(
    ("need", "kilowatts", "says"),
    [
        pytest.param(1.0, KILOWATTS / 2, "the need is met", id="the car takes more than was thought"),
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
    house.price_error = "the file is empty"
    house.live(lambda: any("the file is empty" in line for line in house.said))
    assert house.simulator.site.plugs[0].watts > 0
    house.price_error = None
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
    (own / "facts.json").mkdir()
    house.cost(*[1] * 8)
    house.live(lambda: any("failed and is tried again: " in line for line in house.said))
    assert house.charged == 0
    (own / "facts.json").rmdir()
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


def test_the_timers_of_each_of_several_chargers_have_its_name(tmp_path: Path) -> None:
    prices, config = tmp_path / "prices.csv", tmp_path / "ccl.yaml"
    config.write_text("chargers: {garage: {url: 'http://192.0.2.10'}, bay-7: {url: 'http://192.0.2.17'}}\n")
    prices.write_text(table(time() - 60, 1, 9, 9, 9))
    flags = ["--need", "1kWh", "--by", clock(time() + 7000), "--timers", str(tmp_path)]
    command = [str(COMMAND), "charge", "plan", str(prices), *flags, "--config.file", str(config), "-c"]
    shown = [
        subprocess.run([*command, charger], check=True, capture_output=True, text=True).stdout
        for charger in ("garage", "http://192.0.2.17")
    ]

    for name, charger, says in zip(("garage", "bay-7"), ("garage", "http://192.0.2.17"), shown, strict=True):
        assert f"systemctl restart ccl-charge-plan-{name}-{{start,end}}.timer" in says
        assert f"--charger {charger} " in (tmp_path / f"ccl-charge-plan-{name}-end.service").read_text()
    assert len(list(tmp_path.glob("ccl-charge-plan-*"))) == 8


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


@contextmanager
def authorised() -> Iterator[Simulator]:
    """A charger at speed with a car that is connected and authorised."""
    with Simulator(autopilot=False, speed=10) as simulator:
        plug = simulator.site.plugs[0]
        plug.plug_in(50_000)
        plug.authorise()
        yield simulator


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_the_command_keeps_a_car_waiting_and_leaves_the_plug_in_service(
    ending: signal.Signals, start: Start, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(table(time() - 60, 9, 2, 4, 9, 9))
    with authorised() as simulator:
        plug = simulator.site.plugs[0]
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


def test_a_boost_goes_on_beside_a_plan_until_it_is_ended(start: Start, tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(table(time() - 60, 9, 2, 4, 9, 9))
    with authorised() as simulator:
        plug = simulator.site.plugs[0]
        flags = ("--need", "5kWh", "--by", clock(time() + 7000), "-c", simulator.url)
        begin = [str(COMMAND), "charge", "start", "--min-interval", "0", "-c", simulator.url]
        plan: Process = start("charge", "plan", str(prices), *flags)
        plan.line("is out of service")
        subprocess.run([*begin, "--now"], check=True)
        plan.line("EVSE.PLUG: goes on until the car leaves, as `charge start --now` asked for")
        assert plug.watts > 0
        ended = subprocess.run(begin, capture_output=True, text=True, check=True).stdout
        plan.line("is out of service|stop failed and is tried again: .* was written")

    assert "the boost is over, `charge plan` decides when it charges" in ended


def test_a_configuration_that_is_being_edited_at_the_end_of_a_plan_keeps_no_plug_out_of_service(
    start: Start, tmp_path: Path
) -> None:
    prices, config = tmp_path / "prices.csv", tmp_path / "ccl.yaml"
    prices.write_text(table(time() - 60, 9, 2, 4, 9, 9))
    with authorised() as simulator:
        config.write_text(f"chargers:\n  garage:\n    url: {simulator.url}\n")
        flags = ("--need", "5kWh", "--by", clock(time() + 7000), "-c", "garage", "--config.file", str(config))
        process: Process = start("charge", "plan", str(prices), *flags)
        process.line("is out of service")
        config.write_text("chargers:\n  garage:\n")
        code = process.stop()

        assert code == 1, "the car has not got what it needs"
        with simulator.site.present():
            assert simulator.site.model.places[0].plug.limits.usable


def test_a_plug_that_a_plan_must_leave_out_of_service_is_reported_and_the_next_command_puts_it_back(
    start: Start, tmp_path: Path, state: Path
) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(table(time() - 60, 9, 2, 4, 9, 9))
    with authorised() as simulator:
        flags = ("--need", "5kWh", "--by", clock(time() + 7000), "-c", simulator.url, "--timeout", "3")
        process: Process = start("charge", "plan", str(prices), *flags)
        process.line("is out of service")
        with ControlState(state, simulator.url).exclusive(monotonic() + 5):
            code = process.stop()
        said = process.log[-1]
        subprocess.run([str(COMMAND), "charge", "stop", "-c", simulator.url], check=False)

        assert code == 1
        assert "Mode 3.OUT_OF_SERVICE could not be restored, the next command tries again: another" in said
        with simulator.site.present():
            assert simulator.site.model.places[0].plug.limits.usable


def test_prices_that_cannot_be_read_from_the_first_end_the_command_and_no_charge(
    start: Start, tmp_path: Path
) -> None:
    with authorised() as simulator:
        flags = ("--need", "5kWh", "--by", clock(time() + 7000), "-c", simulator.url)
        process: Process = start("charge", "plan", str(tmp_path / "misspelt.csv"), *flags)
        process.wait_for_log("misspelt.csv cannot be read: No such file")

        assert process.process.wait() == 2
        assert not any(request.method == "PUT" for request in simulator.requests)


def rates(now: float, *rows: tuple[float, float | None, float | None, str | None]) -> str:
    """What Octopus Energy answers: price, begin and end in hours from now, payment method."""
    results = [
        {
            "value_inc_vat": price,
            "valid_from": None if begin is None else clock(now + begin * 3600),
            "valid_to": None if end is None else clock(now + end * 3600),
            "payment_method": method,
        }
        for price, begin, end, method in rows
    ]
    return json.dumps({"count": len(rows), "next": None, "previous": None, "results": results})


def carbon(now: float) -> str:
    """What the Carbon Intensity API answers for a region."""
    rows = [
        {
            "from": clock(now + number * 1800),
            "to": clock(now + (number + 1) * 1800),
            "intensity": {"forecast": forecast, "index": "low"},
            "generationmix": [{"fuel": "gas", "perc": 10}],
        }
        for number, forecast in enumerate([300, 100, 300, 300])
    ]
    return json.dumps({"data": {"regionid": 3, "shortname": "North West England", "data": rows}})


def second_early(now: float) -> str:
    rows = [
        f"{clock(now + n * 3600)},{clock(now + (n + 1) * 3600 - 1)},{10 if n < 3 else 30}" for n in range(-1, 8)
    ]
    return "\n".join(["begin,end,price", *rows, ""])


@pytest.mark.parametrize(
    ("prices", "need", "price"),
    [
        (lambda now: rates(now, (21.0, -72.0, None, None)), 14.0, 21.0),
        (lambda now: rates(now, (21.0, None, None, None)), 14.0, 21.0),
        (
            lambda now: rates(now, (21.0, -72.0, None, "DIRECT_DEBIT"), (22.05, -72.0, None, "NON_DIRECT_DEBIT")),
            14.0,
            21.0,
        ),
        (second_early, 14.0, 10.0),
        (lambda now: table(now, 7.5).replace(",", ";").replace("7.5", "7,5"), 3.0, 7.5),
        (lambda now: table(now, 7.5).replace(",", ", "), 3.0, 7.5),
    ],
    ids=["no end", "neither begin nor end", "payment methods", "ends a second early", "semicolons", "blanks"],
)
def test_prices_as_they_come_give_the_right_plan(
    prices: Callable[[float], str], need: float, price: float
) -> None:
    now = time() - 5
    flags = ["--need", f"{need}kWh", "--by", clock(now + 8 * 3600), "--dry-run", "-c", "192.0.2.10"]
    ran = subprocess.run(
        [str(COMMAND), "charge", "plan", "-", *flags],
        input=prices(now),
        capture_output=True,
        text=True,
        check=True,
    )
    *lines, total = [line.split() for line in ran.stdout.splitlines()[1:]]

    assert {line[2] for line in lines} == {f"{price:g}"}
    assert total[:4] == [f"{need:.2f}", "kWh", "cost", f"{need * price:.2f},"]


def test_the_carbon_of_a_region_gives_a_plan(tmp_path: Path) -> None:
    flags = ["--need", "3.6kWh", "--by", clock(time() + 7000), "--dry-run", "-c", "192.0.2.10"]
    ran = subprocess.run(
        [str(COMMAND), "charge", "plan", "-", *flags],
        input=carbon(time()),
        capture_output=True,
        text=True,
        check=True,
    )

    assert [line.split()[2:] for line in ran.stdout.splitlines()[1:-1]] == [["100", "3.60", "360.00"]]


def test_an_end_a_second_before_the_next_begin_is_one_timer(tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(second_early(time() + 900))
    flags = ["--need", "14kWh", "--by", clock(time() + 8 * 3600), "--timers", str(tmp_path), "-c", "192.0.2.10"]
    subprocess.run([str(COMMAND), "charge", "plan", str(prices), *flags], check=True, capture_output=True)

    for word in ("start", "end"):
        assert (tmp_path / f"ccl-charge-plan-{word}.timer").read_text().count("OnCalendar=") == 1


def test_a_dry_run_says_by_its_exit_code_whether_the_need_can_be_met() -> None:
    def ran(need: str) -> subprocess.CompletedProcess[str]:
        flags = ["--need", need, "--by", clock(time() + 7200), "--dry-run", "-c", "192.0.2.10"]
        return subprocess.run(
            [str(COMMAND), "charge", "plan", "-", *flags],
            input=table(time() - 60, 9),
            capture_output=True,
            text=True,
            check=False,
        )

    possible, impossible = ran("14kWh"), ran("15kWh")

    assert (possible.returncode, impossible.returncode) == (0, 1)
    assert "kWh have no price yet: they are charged as late as possible" in possible.stdout
    assert "kWh cannot be had: there is no time for them" in impossible.stdout


def test_below_a_price_no_need_is_needed() -> None:
    flags = ["--below", "5", "--dry-run", "-c", "192.0.2.10", "--power", "2kW"]
    ran = subprocess.run(
        [str(COMMAND), "charge", "plan", "-", *flags],
        input=table(time() - 60, 9, 2, 5, -4),
        capture_output=True,
        text=True,
        check=True,
    )

    assert [line.split()[2:] for line in ran.stdout.splitlines()[1:-1]] == [
        ["2", "1.00", "2.00"],
        ["-4", "1.00", "-4.00"],
    ]


def test_a_plan_without_a_need_is_in_the_status_only_while_it_runs(start: Start, tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(table(time() - 60, 9, 2))
    with Simulator(autopilot=False) as simulator:
        process: Process = start("charge", "plan", str(prices), "--below", "5", "-c", simulator.url)
        process.line("next: a charge from")

        def status(*flags: str) -> str:
            command = [str(COMMAND), "charge", "status", "-c", simulator.url, *flags]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        while "plan" not in (shown := status("--json")):
            sleep(0.05)
        process.stop()
        after = status()

    (found,) = json.loads(shown, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert (found["plan"]["need"], found["plan"]["by"], found["plan"]["running"]) == (None, None, True)
    assert "plan:" not in after


def test_a_plan_that_was_killed_is_shown_restored_and_goes_on_with_what_is_left(
    start: Start, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(table(time() - 60, 1, 9, 9, 9))
    by = clock(time() + 7000)
    with Simulator(autopilot=False, speed=60) as simulator:
        plug = simulator.site.plugs[0]
        plug.plug_in(50_000)
        flags = ("--need", "10kWh", "--by", by, "-c", simulator.url, "--power", "7.4kW")
        command = ("charge", "plan", str(prices), *flags)
        status = [str(COMMAND), "charge", "status", "-c", simulator.url]
        process: Process = start(*command, "--web.listen-address", "127.0.0.1:0")
        port = process.line(r"http://127\.0\.0\.1:(\d+)/metrics")[1]
        process.line("EVSE.PLUG: charging")
        assert "ccl_plan_needed_joules 3.6e+07" in get(f"http://127.0.0.1:{port}/metrics")
        began = plug.energy_wh
        second = subprocess.run([str(COMMAND), *command], capture_output=True, text=True, check=False)
        shown = subprocess.run(status, capture_output=True, text=True, check=True).stdout
        while plug.energy_wh < began + 1000:
            sleep(0.05)
        process.process.kill()
        process.process.wait()
        charged = (plug.energy_wh - began) / 1000
        left = subprocess.run(status, capture_output=True, text=True, check=True).stdout
        again: Process = start(*command)
        again.line("goes on with a plan that was ended early: [0-9.]+ of 10 kWh are charged")
        planned = float(again.line("([0-9.]+) kWh cost")[1])
        again.stop()
        restored = subprocess.run(
            [str(COMMAND), "charge", "plan", "--restore", "-c", simulator.url],
            capture_output=True,
            text=True,
            check=False,
        )

    assert (second.returncode, "another `charge plan` runs for EVSE.PLUG" in second.stderr) == (4, True)
    assert re.search(r"plan: \d\.\d\d of 10 kWh until .*; charges from ", shown)
    assert "ended early, the same `charge plan` goes on with it" in left
    # It went on charging until the second command had looked.
    assert planned <= 10.05 - charged
    assert (restored.returncode, restored.stdout) == (6, "nothing to restore\n")


def test_the_same_command_after_the_need_was_met_charges_nothing(start: Start, tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(table(time() - 60, 1, 1, 1, 1))
    with Simulator(autopilot=False, speed=SPEED) as simulator:
        simulator.site.plugs[0].plug_in(50_000)
        flags = ("--need", "0.15kWh", "--by", clock(time() + 7000), "-c", simulator.url, "--power", "100kW")
        first: Process = start("charge", "plan", str(prices), *flags)
        first.line("the need is met")
        codes = [first.process.wait()]
        writes = [request for request in simulator.requests if request.method == "PUT"]
        again: Process = start("charge", "plan", str(prices), *flags)
        again.line("the need is met")
        codes.append(again.process.wait())
        status = [str(COMMAND), "charge", "status", "-c", simulator.url]
        shown = subprocess.run(status, capture_output=True, text=True, check=True).stdout

    assert codes == [0, 0]
    assert [request for request in simulator.requests if request.method == "PUT"] == writes
    assert re.search(r"plan: \S+ of 0.15 kWh until \S+; the need is met", shown)


def test_a_disk_that_is_full_when_the_time_is_over_ends_the_plan_like_any_other(
    start: Start, tmp_path: Path, state: Path
) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(table(time() - 60, 1, 1, 1, 1))
    with Simulator(autopilot=False) as simulator:
        flags = ("--need", "5kWh", "--by", clock(time() + 20), "-c", simulator.url)
        process: Process = start("charge", "plan", str(prices), *flags)
        process.line("cannot be had")
        while not (facts := [*(state / "writes").glob("*/facts.json")]):
            sleep(0.05)
        facts[0].unlink()
        facts[0].mkdir()
        process.line("the time is over: 0.00 of 5 kWh are charged")
        process.line("what was charged could not be stored: ")
        process.process.wait()

        assert (process.process.returncode, process.log) == (1, [])


def test_the_plug_of_a_plan_that_was_killed_is_put_back_by_a_command_of_its_own(
    start: Start, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(table(time() - 60, 9, 1, 9, 9))
    with authorised() as simulator:
        process: Process = start(
            "charge", "plan", str(prices), "--need", "2kWh", "--by", clock(time() + 7000), "-c", simulator.url
        )
        process.line("is out of service")
        process.process.kill()
        process.process.wait()
        restore = [str(COMMAND), "charge", "plan", "--restore", "-c", simulator.url]
        done = [subprocess.run(restore, capture_output=True, check=False).returncode for _ in range(2)]
        with simulator.site.present():
            usable = simulator.site.model.places[0].plug.limits.usable

    assert (done, usable) == ([0, 6], True)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--need", "5kWh", "--by", "07:00"), "say where the prices are"),
        (("-", "--by", "07:00"), "--need, or up to which price it charges by --below"),
        (("-", "--need", "5kWh", "--below", "3", "--by", "07:00"), "--need, or up to which price"),
        (("-", "--need", "5kWh"), "--need needs --by"),
        (("-", "--need", "5kWh", "--by", "2040-01-01T00:00Z", "--every-day"), "such as 07:00"),
        (("-", "--need", "5kWh", "--by", "07:00", "--least-block", "15"), "not a duration"),
        (("-", "--need", "5kWh", "--by", "07:00", "--least-block", "4m"), "too short: give at least 5m"),
        (("-", "--need", "50Wh", "--by", "07:00"), "is too little to be measured: give more than 0.05kWh"),
        (("-", "--below", "nan"), "nan is not a price"),
        (("-", "--need", "5kWh", "--by", "9999-12-31T23:59Z"), "too late: give a time before the year 2200"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags: tuple[str, ...], says: str) -> None:
    done = subprocess.run(
        [str(COMMAND), "charge", "plan", *flags, "-c", "http://192.0.2.10"],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--need", "5", "--by", "07:00"), "'5' is not an energy"),
        (("--need", "0kWh", "--by", "07:00"), "'0kWh' is not an energy"),
        (("--need", "9" * 400 + "kWh", "--by", "07:00"), "is not an energy; it looks like 10kWh"),
        (("--need", "5kWh", "--by", "7"), "is not a time"),
        (("--need", "5kWh", "--by", "07:00", "--power", "16A"), "'16A' is not a power"),
        (("--need", "5kWh", "--by", "07:00", "--power", "99999kW"), "is not a power up to 1 MW"),
        (("--need", "5kWh", "--by", "07:00", "--power", f"{'9' * 400}kW"), "is not a power up to 1 MW"),
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


# The unit

UNIT = PROJECT / "deploy" / "systemd" / "ccl-charge-plan@.service"
INSTALLED = "/opt/ccl-exporter/bin/ccl-exporter"


def agile_day() -> str:
    """The unit with the lines of the page."""
    page = (PROJECT / "deploy" / "follow" / "README.md").read_text(encoding="utf-8")
    lines = page.partition("### A plan as a service")[2].partition("```ini\n")[2].partition("```")[0]
    return UNIT.read_text(encoding="utf-8") + lines


def unit_command(unit: str) -> list[str]:
    """What a unit runs, with what its environment says in the place of variables."""
    text = unit.replace("\\\n", " ")
    environment = dict(
        pair.split("=", 1) for line in re.findall(r"^Environment=(.*)$", text, re.M) for pair in line.split()
    )
    starts = [line.strip() for line in re.findall(r"^ExecStart=(.*)$", text, re.M)]
    (line,) = starts[len(starts) - starts[::-1].index("") :] if "" in starts else starts
    return [re.sub(r"\$\{(\w+)\}", lambda found: environment[found[1]], word) for word in shlex.split(line)]


def test_systemd_finds_nothing_to_complain_of_in_the_unit_and_it_is_exposed_to_little(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(INSTALLED, str(COMMAND)))
    for arguments in (("verify", "--man=no"), ("security", "--offline=true", "--threshold=15")):
        judged = subprocess.run(
            [server("systemd-analyze"), *arguments, str(unit)], capture_output=True, text=True, check=False
        )
        assert judged.returncode == 0, judged.stdout + judged.stderr


def test_an_agile_day_of_the_page_is_one_unit_with_a_url(start: Start, tmp_path: Path, state: Path) -> None:
    """What stands on the page against a simulated charger; its prices come from a server of the test."""
    answer = rates(time() - 60, *((price, n / 2, n / 2 + 0.5, None) for n, price in enumerate([30, 1, 30, 30])))
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["If-None-Match"]))
            if asked[-1][1] == '"one"':
                self.send_response(304)
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("ETag", '"one"')
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None: ...

    installed, *words = unit_command(agile_day())
    assert words[2].startswith("https://"), words
    config = tmp_path / "ccl.yaml"
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as market, Simulator(autopilot=False, speed=10) as charger:
        thread = threading.Thread(target=market.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        config.write_text(f"chargers:\n  garage:\n    url: {charger.url}\n")
        charger.site.plugs[0].plug_in(50_000)
        charger.site.plugs[0].authorise()
        flags = {"--need": "3kWh", "--by": f"{datetime.now(UTC) + timedelta(hours=3):%H:%M}", "--timezone": "UTC"}
        url = f"http://127.0.0.1:{market.server_port}/rates?key=secret"
        command = [flags.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        command[command.index(words[2])] = url
        command[command.index("127.0.0.1:9989")] = "127.0.0.1:0"
        env = {"CCL_CHARGER": "garage", "CCL_CONFIG_FILE": str(config), "STATE_DIRECTORY": str(state)}
        process: Process = start(*command, env=env)
        process.line(r"Prices of http://127\.0\.0\.1:\d+/rates\?\(hidden\): 0 min old")
        planned = process.line(r"T\S+ +(\S+) +3\.00 +3\.00")
        process.line("is out of service")
        code = process.stop()
        with charger.site.present():
            usable = charger.site.model.places[0].plug.limits.usable
        (kept,) = (state / "prices").iterdir()
        kept.write_text(
            json.dumps(json.loads(kept.read_text()) | {"asked": time() - 1801, "taken": time() - 1801})
        )
        again: Process = start(*command, env=env)
        again.line(r": 0 min old")
        again.stop()
        market.shutdown()
        thread.join()

    assert installed == INSTALLED
    assert "--every-day" in words
    assert (planned[1], code, usable) == ("1", 0, True)
    assert asked == [("/rates?key=secret", None), ("/rates?key=secret", '"one"')]
