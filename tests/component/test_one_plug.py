"""Metrics, page, status, session log, MQTT and commands say the same of a plug."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import pytest
from helpers.pages import page, view
from helpers.support import Clock

from ccl_exporter.control.follow.limiter import FollowedPlug
from ccl_exporter.control.plan.planner import Goal, Planner
from ccl_exporter.control.plan.prices import Slot
from ccl_exporter.control.plug_commands import PlugCommands, PlugReader, Result
from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.state import ControlState
from ccl_exporter.control.wording import describe, facts
from ccl_exporter.control.write import WriteOptions, Writer
from ccl_exporter.errors import Garbled
from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.collector import Collector
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family, Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.mqtt.payload import documents
from ccl_exporter.powerstudio.command_reader import CommandReader
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.sessions.tracker import plug_readings
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.simulator import Fault, Simulator
from ccl_exporter.station.judge import Station

TWIN = "Poste Été.PLUG_A"
CAP = 10.0


class RunningClock(Clock):
    """A clock that goes on by `step` seconds whenever somebody looks at it."""

    step = 0.0

    def __call__(self) -> float:
        self.at += self.step
        return self.at


@dataclass
class Views:
    """What each view says of the first plug of a charger."""

    simulator: Simulator
    clock: RunningClock
    folder: Path

    def __post_init__(self) -> None:
        self._charger = Charger(ChargerSettings("garage", self.simulator.url), clock=self.clock.still)
        self._charger.read(30)

    def close(self) -> None:
        self._charger.close()

    def read(self) -> Station:
        """A new read of the service's charger."""
        self.clock.at += 5
        return Station(self._charger.read(30))

    def sample(self, family: Family, station: Station) -> Sample | None:
        return next((sample for sample in samples(station) if sample.family is family), None)

    def page(self, station: Station) -> str:
        return page([view("garage", station.snapshot)], self.clock()).decode()

    def status(self) -> str:
        with closing(Transport(self.simulator.url)) as transport:
            return describe(PlugReader(CommandReader(transport), self.name, 5.0).look())

    @property
    def name(self) -> str:
        return self.simulator.site.plugs[0].name

    def command(self, work: Callable[[PlugCommands], Result]) -> Result:
        """A command that writes; what it says."""
        self.clock.step = 0.2
        control_state = ControlState(self.folder, self.simulator.url)
        with closing(WritableTransport(self.simulator.url)) as control, control_state.exclusive(monotonic() + 5):
            return work(PlugCommands(Writer(control, control_state, 5.0, "test", look_every=0.02), self.name, 5.0))

    def follower(self) -> FollowedPlug:
        control_state = ControlState(self.folder, self.simulator.url)
        control = WritableTransport(self.simulator.url)
        return FollowedPlug(Writer(control, control_state, 5.0, "follow"), control_state, self.name, 5.0)


@pytest.fixture(params=["wallbox"])
def views(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Views]:
    clock = RunningClock(1.75e9)
    with Simulator(request.param, autopilot=False, clock=clock) as simulator:
        found = Views(simulator, clock, tmp_path)
        yield found
        found.close()


def charge(views: Views, **limits: float) -> None:
    """A vehicle comes and charges, as far as the limits let it."""
    plug = views.simulator.site.plugs[0]
    for name, value in limits.items():
        setattr(views.simulator.site.model.places[0].plug.limits, name, value)
    plug.plug_in(1e6)
    plug.authorise()
    for _ in range(12):
        views.clock.at += 5
        with views.simulator.site.present():
            pass


@pytest.mark.parametrize("views", ["twin"], indirect=True)
def test_one_unreadable_phase_of_three_makes_the_power_unknown_for_everybody(views: Views) -> None:
    charge(views)
    whole = views.read()
    power = whole.plugs[0].power
    assert power is not None
    assert whole.plugs[0].phases == 3
    meter = whole.snapshot.inventory.plugs[0].meter
    views.simulator.faults = (
        Fault("unreadable", arg=f"{meter}.API2"),
        Fault("unreadable", arg=f"{meter}.AI2"),
    )
    station = views.read()

    assert (station.plugs[0].power, station.plugs[0].phases) == (None, 3)
    assert [s for s in samples(station) if s.family is f.PLUG_POWER and s.labels[0] == views.name] == []
    assert "power_watts" not in documents(samples(station))[f"plug/{views.name}"]
    assert plug_readings(station)[views.name].watts is None
    assert "Power – L1" not in views.page(whole)  # noqa: RUF001
    assert '<dt>Power</dt><dd class="number">–</dd>' in views.page(station)  # noqa: RUF001
    assert " kW," not in views.status()
    with pytest.raises(Garbled, match="power and current of each phase"):
        views.follower().plug()


def test_the_smallest_limit_counts_for_everybody(views: Views) -> None:
    charge(views, cap=CAP)
    station = views.read()
    limit = views.sample(f.PLUG_CURRENT_LIMIT, station)
    result = views.command(lambda plug: plug.limit("16A", WriteOptions(wait=1.0)))

    assert limit is not None
    assert limit.value == CAP
    assert "limit 10.0 A" in views.status()
    assert "10.0<small>&nbsp;A" in views.page(station)
    assert views.follower().plug().limits.allowed == CAP
    assert result.outcome == "done"
    assert "may take 10.00 A: CURRENT_REDUCTION caps it below 16.00 A" in result.says


def test_a_reduction_that_cannot_be_read_leaves_the_limit_unknown(views: Views) -> None:
    charge(views)
    views.simulator.faults = (Fault("unreadable", arg="Plug - Mode 3.PREDUCTION"),)
    station = views.read()

    assert views.sample(f.PLUG_CURRENT_LIMIT, station) is None
    assert "limit" not in views.status()
    assert facts(station.plugs[0])["limit"] is None


def test_a_state_that_cannot_be_read_is_charging_for_everybody_and_nothing_is_written(views: Views) -> None:
    charge(views)
    views.simulator.faults = (Fault("unreadable", arg="EVSE.PLUG.STATE"),)
    station = views.read()
    state = views.sample(f.PLUG_STATE, station)
    reason = views.sample(f.PLUG_NOT_CHARGING, station)
    written: list[str] = []

    def refuse() -> Result:
        written.append("start")
        raise AssertionError("the planner wrote")

    with closing(Transport(views.simulator.url)) as transport:
        planner = Planner(
            Goal(20.0, views.clock() + 7200, 7.0),
            lambda: [Slot(views.clock() - 60, views.clock() + 7200, 1.0)],
            PlugReader(CommandReader(transport), None, 5.0).look,
            refuse,
            refuse,
            lambda _: None,
            lambda _: None,
            now=views.clock,
        )
        assert planner.step()

    assert state is not None
    assert state.active == ("charging",)
    assert reason is not None
    assert reason.active == ()
    assert views.status().startswith("EVSE.PLUG: charging, ")
    assert "Not charging" not in views.page(station)
    assert documents(samples(station))["plug/EVSE.PLUG"]["state"] == "charging"
    assert views.follower().plug().is_charging
    assert written == []


@pytest.mark.parametrize("command", ["start", "stop", "pause"])
def test_where_the_state_is_unknown_no_command_writes(views: Views, command: str) -> None:
    charge(views)
    views.simulator.faults = (
        Fault("unreadable", arg="EVSE.PLUG.STATE"),
        Fault("status-404", path="plugState"),
        Fault("status-404", path="chargeInfo"),
    )

    with pytest.raises(Garbled, match=r"does not report the state of the plug; nothing was written"):
        views.command(lambda plug: getattr(plug, command)(WriteOptions(wait=1.0)))
    assert not [request for request in views.simulator.requests if request.method == "PUT"]


def test_the_state_of_the_documents_is_a_new_one_with_each_read(views: Views) -> None:
    """Where a variable cannot be read, nothing else tells that a document has changed."""
    charge(views)
    views.simulator.faults = (Fault("unreadable", arg="EVSE.PLUG.STATE"),)
    assert views.read().plugs[0].is_charging

    views.simulator.site.plugs[0].unplug()
    views.clock.at += 5

    assert not views.read().plugs[0].is_charging


@pytest.mark.parametrize(
    ("limits", "reason", "words"),
    [
        (
            {"reduction": 100.0},
            "limit_below_minimum",
            "the current limit is 0 A, but a vehicle needs at least 6 A",
        ),
        ({"enabled": False}, "disabled", "the plug is out of service"),
    ],
    ids=["0 A", "out of service"],
)
def test_everybody_has_the_same_reason(views: Views, limits: Mapping[str, float], reason: str, words: str) -> None:
    charge(views, **limits)
    station = views.read()
    sample = views.sample(f.PLUG_NOT_CHARGING, station)

    assert sample is not None
    assert sample.active == (reason,)
    assert words in views.status()
    assert words[1:] in views.page(station)
    assert documents(samples(station))["plug/EVSE.PLUG"]["not_charging_reason"] == reason
    assert facts(station.plugs[0])["not_charging_reason"] == reason


def test_a_contradiction_of_the_inventory_is_logged_once(views: Views, caplog: pytest.LogCaptureFixture) -> None:
    collector = Collector(None)
    charger = Charger(ChargerSettings("garage", views.simulator.url), clock=views.clock.still)
    collector.read_and_record(charger, 30)
    assert caplog.records == []
    doubled = charger.read(30).inventory
    doubled = replace(doubled, plugs=(*doubled.plugs, *doubled.plugs))
    charger._engine._inventory.inventory = doubled  # no simulated engine contradicts itself
    times = []
    for kept in (["garage"], ["garage"], ["carport"], ["carport"]):
        views.clock.at += 5
        collector.read_and_record(charger, 30)
        collector.forget_all_but(kept)
        times.append(len(caplog.records))
    charger.close()

    said: Sequence[str] = [record.getMessage() for record in caplog.records]
    assert set(said) == {"garage: plugInfo lists the plug EVSE.PLUG several times; only the last one is used"}
    assert times == [1, 1, 1, 2], "a charger that is gone is not forgotten"
