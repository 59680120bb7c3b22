"""The simulator is what every other test trusts, so its own truths are guarded here."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_exporter.simulator import DIALECTS, FAULTS, Dialect, Fault, Simulator, State, Stop
from ccl_exporter.simulator.dialects import Named

START = 1_700_000_000.0
PASSWORD = "pass:word"  # noqa: S105  (of a simulator)
CAR = 3_000.0
IMPATIENCE = 0.2
USER = "/services/user"
POINTS = "/services/chargePointsInterface"
WALLBOX = {"CCL1Mini": 37, "Display": 6, "Plug - Mode 3": 32, "Reader": 9, "Plug - Meter": 46, "EVSE": 41}


@dataclass
class Clock:
    """A clock that only the test moves."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Answer:
    status: int
    body: bytes
    headers: http.client.HTTPMessage

    @property
    def root(self) -> ElementTree.Element:
        return ElementTree.fromstring(self.body)

    def texts(self, tag: str) -> list[str]:
        return [element.text or "" for element in self.root.iter(tag)]

    def values(self) -> dict[str, str | None]:
        return {v.findtext("id", ""): v.findtext("value") for v in self.root.iter("variable")}


@dataclass
class Bench:
    """A simulator with its clock, and the plainest of clients."""

    sim: Simulator
    clock: Clock
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, target: str, method: str = "GET", body: bytes | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.sim.port, timeout=5)
        try:
            connection.putrequest(method, quote(target, safe="/?=&%+"), skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.read(), response.headers)
        finally:
            connection.close()

    def put(self, device: str, **values: float) -> Answer:
        items = "".join(
            f"<forceVar><forceName>{device}.{name}</forceName><forceValue>{value}</forceValue></forceVar>"
            for name, value in values.items()
        )
        body = f"<forceVariables>{items}</forceVariables>".encode()
        return self.get(f"{USER}/forceVariables.xml?id={device}", "PUT", body)

    def value(self, variable: str) -> str | None:
        return self.get(f"{USER}/values.xml?var={variable}").values()[variable]

    def state(self) -> State:
        """Of the first plug; a call, because a property's value would be taken for settled."""
        return self.sim.site.plugs[0].state

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def connect(self, target: str) -> socket.socket:
        """Send a request and leave the answer to the test."""
        connection = socket.create_connection(("127.0.0.1", self.sim.port), timeout=IMPATIENCE)
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return connection


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a thread of the server, about which nothing tells us."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it never happened")


def read_all(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.fixture
def bench() -> Iterator[Bench]:
    clock = Clock()
    with Simulator(clock=clock, autopilot=False, username="owner", password=PASSWORD) as sim:
        yield Bench(sim, clock)


@pytest.fixture
def twin() -> Iterator[Bench]:
    clock = Clock()
    with Simulator("twin", clock=clock) as sim:
        yield Bench(sim, clock)


def charging(bench: Bench, need: float = CAR) -> None:
    plug = bench.sim.site.plugs[0]
    plug.plug_in(need_wh=need)
    plug.authorise()
    bench.wait(30)
    assert plug.state is State.CHARGING


class TestPhysics:
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.floats(0.01, 400), max_size=60))
    def test_energy_does_not_depend_on_who_asks_and_when(self, pauses: list[float]) -> None:
        asked, silent = Clock(), Clock()
        busy, calm = Simulator(clock=asked), Simulator(clock=silent)
        for pause in pauses:
            asked.now += pause
            busy.site.plugs[0].energy_wh  # noqa: B018  (asking is the point)
        silent.now = asked.now

        assert busy.site.plugs[0].energy_wh == calm.site.plugs[0].energy_wh
        assert busy.site.plugs[0].state is calm.site.plugs[0].state

    def test_energy_is_the_integral_of_power(self, bench: Bench) -> None:
        plug = bench.sim.site.plugs[0]
        first, integral = plug.energy_wh, 0.0
        plug.plug_in(need_wh=CAR)
        plug.authorise()
        # All that happens now happens at whole seconds; between them power is constant.
        for _ in range(3600):
            bench.wait(0.5)
            integral += plug.watts / 3600
            bench.wait(0.5)

        assert integral > CAR
        assert plug.energy_wh - first == pytest.approx(integral, abs=1e-6)

    def test_registers_never_fall_and_power_is_never_negative(self) -> None:
        clock = Clock()
        plug = Simulator(clock=clock, seed=4).site.plugs[0]
        last = plug.energy_wh
        for _ in range(600):
            clock.now += 37
            assert plug.watts >= 0
            assert plug.energy_wh >= last
            last = plug.energy_wh

    def test_the_autopilot_lives_the_life_of_a_charger(self) -> None:
        clock = Clock()
        plug = Simulator(clock=clock).site.plugs[0]
        seen: list[State] = []
        for _ in range(40_000):
            clock.now += 1
            if not seen or seen[-1] is not plug.state:
                seen.append(plug.state)
        life = [
            State.AVAILABLE,
            State.WAITING_FOR_PERMISSION,
            State.STARTING,
            State.CHARGING,
            State.STOPPING,
            State.WAITING_FOR_DISCONNECTION,
        ]

        assert seen[:13] == [*life, *life, State.AVAILABLE]

    def test_the_same_seed_makes_the_same_history(self) -> None:
        def history(seed: int) -> list[float]:
            clock = Clock()
            plug = Simulator(clock=clock, seed=seed).site.plugs[0]
            energies = []
            for _ in range(50):
                clock.now += 300
                energies.append(plug.energy_wh)
            return energies

        assert history(7) == history(7)
        assert history(7) != history(8)

    def test_current_ramps_to_the_limit_and_tapers_before_the_car_is_full(self, bench: Bench) -> None:
        plug = bench.sim.site.plugs[0]
        plug.plug_in(need_wh=CAR)
        plug.authorise()
        bench.wait(6)
        early = plug.amperes
        bench.wait(24)
        full = plug.amperes
        while plug.charge_wh < 0.95 * CAR:
            bench.wait(10)

        assert 0 < early < full == 32
        assert 0 < plug.amperes < 16

    def test_a_full_car_stops_the_charge_and_waits_to_be_unplugged(self, bench: Bench) -> None:
        plug = bench.sim.site.plugs[0]
        charging(bench)
        bench.wait(7200)

        assert bench.state() is State.WAITING_FOR_DISCONNECTION
        assert plug.stopped == Stop.DISCONNECT
        assert plug.charge_wh == pytest.approx(CAR, abs=20)
        plug.unplug()
        assert bench.state() is State.AVAILABLE

    def test_a_plug_without_permission_gives_nothing(self, bench: Bench) -> None:
        plug = bench.sim.site.plugs[0]
        before = plug.energy_wh
        plug.plug_in()
        bench.wait(3600)

        assert plug.state is State.WAITING_FOR_PERMISSION
        assert plug.energy_wh == before

    def test_a_tag_without_a_car_is_forgotten(self, bench: Bench) -> None:
        plug = bench.sim.site.plugs[0]
        plug.authorise()
        assert bench.state() is State.WAITING_FOR_VEHICLE
        bench.wait(120)

        assert bench.state() is State.AVAILABLE
        assert plug.stopped == Stop.TIMER

    def test_an_error_stops_the_charge_and_goes_when_repaired(self, bench: Bench) -> None:
        plug = bench.sim.site.plugs[0]
        charging(bench)
        plug.fail(32)

        assert bench.state() is State.ERROR
        assert plug.watts == 0
        assert bench.value("EVSE.PLUG.ERROR") == "32.000000"
        plug.fail(0)
        assert bench.state() is State.WAITING_FOR_PERMISSION

    def test_one_power_agrees_with_voltage_and_current(self, bench: Bench) -> None:
        charging(bench)
        values = bench.get(f"{USER}/values.xml?id=Plug - Meter").values()
        volts, amperes, kilowatts, factor = (
            float(values[f"Plug - Meter.{name}"] or "nan") for name in ("VI", "AI", "API", "PFI")
        )

        assert 228 < volts < 242
        assert kilowatts == pytest.approx(volts * amperes * factor / 1000, rel=0.002)


class TestWrites:
    @pytest.mark.parametrize(
        ("device", "name", "value", "amperes"),
        [
            ("Plug - Mode 3", "PREDUCTION", 50, 16),
            ("Plug - Mode 3", "INTENSITY", 10, 10),
            ("EVSE", "PLUG.CURRENT_REDUCTION", 13, 13),
            ("Plug - Mode 3", "PREDUCTION", 90, 0),
            ("Plug - Mode 3", "PREDUCTION", 400, 32),
        ],
    )
    def test_a_limit_moves_the_current(
        self, bench: Bench, device: str, name: str, value: float, amperes: float
    ) -> None:
        charging(bench)
        answer = bench.put(device, **{name: value})
        assert (answer.status, answer.body) == (204, b"")
        assert bench.sim.site.plugs[0].amperes == 32
        bench.wait(20)

        assert bench.sim.site.plugs[0].amperes == pytest.approx(amperes)

    def test_a_write_acts_within_five_seconds_but_not_at_once(self, bench: Bench) -> None:
        bench.put("Plug - Mode 3", PREDUCTION=50)
        assert bench.value("Plug - Mode 3.PREDUCTION") == "0.000000"
        bench.wait(5)

        assert bench.value("Plug - Mode 3.PREDUCTION") == "50.000000"

    @pytest.mark.parametrize(
        ("device", "name", "off"), [("EVSE", "PLUG.ENABLE", 0), ("Plug - Mode 3", "OUT_OF_SERVICE", 1)]
    )
    def test_a_disabled_plug_stops_and_needs_a_remote_start_after_enabling(
        self, bench: Bench, device: str, name: str, off: float
    ) -> None:
        plug = bench.sim.site.plugs[0]
        charging(bench)
        bench.put(device, **{name: off})
        bench.wait(20)
        assert (bench.state(), plug.stopped) == (State.DISABLED, Stop.DISABLED)
        plug.authorise()
        assert bench.state() is State.DISABLED
        bench.put(device, **{name: 1 - off})
        bench.wait(60)
        assert bench.state() is State.WAITING_FOR_PERMISSION
        bench.put("EVSE", **{"PLUG.REMOTE_START": 1})
        bench.wait(30)

        assert bench.state() is State.CHARGING

    def test_remote_stop_and_pause_do_what_they_say(self, bench: Bench) -> None:
        plug = bench.sim.site.plugs[0]
        charging(bench)
        bench.put("EVSE", **{"PLUG.REMOTE_PAUSE": 1})
        bench.wait(10)
        assert (bench.state(), plug.watts) == (State.PAUSED, 0)
        bench.put("EVSE", **{"PLUG.REMOTE_START": 1})
        bench.wait(10)
        assert bench.state() is State.CHARGING
        bench.put("EVSE", **{"PLUG.REMOTE_STOP": 1})
        bench.wait(10)

        assert (bench.state(), plug.stopped) == (State.WAITING_FOR_DISCONNECTION, Stop.REMOTE)

    def test_a_limit_below_six_amperes_waits_for_power_and_resumes(self, bench: Bench) -> None:
        plug = bench.sim.site.plugs[0]
        charging(bench)
        bench.put("Plug - Mode 3", PREDUCTION=90)
        bench.wait(10)
        assert bench.state() is State.WAITING_FOR_POWER
        bench.put("Plug - Mode 3", PREDUCTION=0)
        bench.wait(30)

        assert (bench.state(), plug.amperes) == (State.CHARGING, 32)

    def test_a_write_for_another_device_or_a_fixed_variable_is_ignored(self, bench: Bench) -> None:
        body = (
            b"<forceVariables><forceVar><forceName>Plug - Mode 3.PREDUCTION</forceName>"
            b"<forceValue>50</forceValue></forceVar></forceVariables>"
        )
        assert bench.get(f"{USER}/forceVariables.xml?id=EVSE", "PUT", body).status == 204
        assert bench.put("Plug - Meter", AE=0).status == 204
        bench.wait(30)

        assert bench.value("Plug - Mode 3.PREDUCTION") == "0.000000"
        assert bench.value("Plug - Meter.AE") == "1234.560000"

    def test_only_put_writes(self, bench: Bench) -> None:
        target = f"{USER}/forceVariables.xml?id=EVSE"
        assert bench.get(target).status == 405
        assert bench.get(target, "POST", b"<forceVariables/>").status == 405
        assert bench.get(target, "PUT", b"<forceVariables>").status == 400


class TestDocuments:
    def test_the_wallbox_has_the_inventory_of_the_real_one(self, bench: Bench) -> None:
        names = bench.get(f"{USER}/devices.xml").texts("id")
        counts = {name: len(bench.get(f"{POINTS}/deviceInfo.xml?id={name}").texts("var")) for name in names}

        assert counts == WALLBOX
        assert sum(counts.values()) == 171

    @pytest.mark.parametrize("model", ["wallbox", "twin"])
    def test_all_documents_name_the_same_variables(self, model: str) -> None:
        with Simulator(model, clock=Clock()) as sim:
            bench = Bench(sim, Clock())
            for name in bench.get(f"{USER}/devices.xml").texts("id"):
                parameter = f"id={quote(name, safe='')}"
                listed = bench.get(f"{USER}/deviceInfo.xml?{parameter}").texts("var")
                state = bench.get(f"/services/devices/deviceState.xml?{parameter}").root
                assert listed == sorted(listed)
                assert sorted(v.findtext("id", "") for v in state.iter("variable")) == listed
                assert sorted(bench.get(f"{USER}/varInfo.xml?{parameter}").texts("idEx")) == listed
                values = bench.get(f"{USER}/values.xml?{parameter}").root
                assert sorted(v.findtext("id", "") for v in values.iter("variable")) == listed

    @pytest.mark.parametrize(
        ("target", "root"),
        [
            (f"{USER}/deviceInfo.xml", "devices"),
            (f"{USER}/varInfo.xml", "varInfo"),
            (f"{USER}/values.xml", "values"),
            (f"{POINTS}/deviceInfo.xml", "devicesInfo"),
            ("/services/events/actived.xml", "activedEvents"),
            ("/services/events/notified.xml", "notifiedEvents"),
            ("/services/system/eventsActions.xml", "eventsActions"),
            (f"{USER}/values.xml?var=No.SUCH", "values"),
        ],
    )
    def test_nothing_asked_is_an_empty_root(self, bench: Bench, target: str, root: str) -> None:
        answer = bench.get(target)

        assert answer.status == 200
        assert answer.body.endswith(f"<{root}></{root}>".encode())

    def test_charges_are_reported_in_watt_hours_and_unix_seconds(self, bench: Bench) -> None:
        charging(bench)
        bench.wait(600)
        charge = bench.get(f"{POINTS}/chargeInfo.xml").root[0]
        energy = float(bench.value("EVSE.PLUG.AE") or "nan")

        assert float(charge.findtext("activeEnergy", "")) == pytest.approx(energy * 1000)
        assert charge.findtext("requestDate") == f"{START:.6f}"
        assert charge.findtext("endDate") == "-1.000000"
        assert charge.findtext("chargeTime") == "626"
        assert bench.get(f"{POINTS}/plugState.xml").root[0].findtext("vehicleConnected") == "T"

    def test_the_stopped_variable_is_one_more_than_the_document_says(self, bench: Bench) -> None:
        charging(bench)
        bench.sim.site.plugs[0].stop(Stop.REMOTE)

        assert bench.get(f"{POINTS}/chargeInfo.xml").root[0].findtext("stopped") == "5"
        assert bench.value("EVSE.PLUG.STOPPED") == "6.000000"

    def test_a_value_has_one_of_its_five_faces(self, bench: Bench) -> None:
        answer = bench.get(f"{USER}/values.xml?id=EVSE&id=Reader").body.decode()

        assert "<id>EVSE.STATUS</id><value>1.000000</value>" in answer
        assert "<id>EVSE.NAME</id><textValue>EVSE</textValue>" in answer
        assert "<id>EVSE.DESCRIPTION</id></variable>" in answer
        assert "<id>EVSE.PLUG.AEB</id><value>-</value>" in answer
        assert "<id>EVSE.VDTTM</id><value>14112023221320</value>" in answer

    def test_plus_is_a_plus_and_percent_20_a_blank(self, bench: Bench) -> None:
        assert len(bench.get(f"{USER}/values.xml?id=Plug%20-%20Meter").values()) == WALLBOX["Plug - Meter"]
        assert bench.get(f"{USER}/values.xml?id=Plug+-+Meter").values() == {}

    def test_the_front_page_redirects_and_unknown_paths_are_not_found(self, bench: Bench) -> None:
        front = bench.get("/")

        assert (front.status, front.headers["Location"]) == (302, "/html/setup.html")
        assert bench.get("/services/user/nothing.xml").status == 404

    def test_information_is_as_large_as_the_real_one(self, bench: Bench) -> None:
        answer = bench.get("/services/system/information.xml")

        assert answer.texts("version") == ["4.2.3"]
        assert 24_000 < len(answer.body) < 30_000

    def test_overrides_removals_and_stamps_show_at_once(self, bench: Bench) -> None:
        site = bench.sim.site
        before = site.stamps()
        site.set_value("Plug - Meter.VI", None)
        assert bench.value("Plug - Meter.VI") == "-"
        site.clear_value("Plug - Meter.VI")
        assert bench.value("Plug - Meter.VI") != "-"
        site.remove_device("Reader")
        assert "Reader" not in bench.get(f"{USER}/devices.xml").texts("id")
        site.restore_device("Reader")
        assert "Reader" in bench.get(f"{USER}/devices.xml").texts("id")
        bench.wait(10)
        site.reboot()
        site.new_configuration()
        after = site.stamps()

        assert {name for name in before if before[name] != after[name]} == {"systemId", "deviceId"}
        assert bench.value("EVSE.RUNTIME") == "14112023221330"

    def test_a_clock_that_is_set_during_a_charge_leaves_the_dates_of_before(self, bench: Bench) -> None:
        def charge_times() -> list[float]:
            answer = bench.get(f"{POINTS}/chargeInfo.xml")
            return [float(answer.texts(tag)[0]) for tag in ("requestDate", "beginDate", "chargeTime")]

        charging(bench)
        requested, begun, elapsed = charge_times()
        bench.sim.site.set_clock(86_400.0)

        assert charge_times() == [requested, begun, elapsed + 86_400.0]
        assert str(bench.value("EVSE.VDTTM")).startswith("15112023")

    def test_the_twin_sends_difficult_names_and_finds_them_again(self, twin: Bench) -> None:
        names = twin.get(f"{USER}/devices.xml").texts("id")
        for name in names:
            target = f"{USER}/values.xml?var={quote(name, safe='')}.STATUS"
            assert twin.get(target).values() == {f"{name}.STATUS": "1.000000"}

        assert {"Meter", "Meter.2"} <= set(names)
        for character in "é&?+\"'.#%$":
            assert any(character in name for name in names)

    def test_the_twin_charges_on_both_plugs_on_three_phases(self, twin: Bench) -> None:
        twin.wait(300)
        plugs = twin.get(f"{POINTS}/chargeState.xml").root
        assert [p.findtext("chargingPhases") for p in plugs] == ["3", "3"]
        values = twin.get(f"{USER}/values.xml?id=Meter.2").values()
        phases = sum(float(values[f"Meter.2.API{n}"] or "nan") for n in (1, 2, 3))

        assert float(values["Meter.2.API"] or "nan") == pytest.approx(phases, abs=0.01)
        assert 15 < phases < 25
        one, other = twin.sim.site.plugs
        one.unplug()
        assert other.state is State.CHARGING

    def test_a_module_does_not_shadow_its_gateway(self, twin: Bench) -> None:
        values = twin.get(f"{USER}/values.xml?id=TCP gateway").values()
        infos = twin.get(f"{USER}/varInfo.xml?id=TCP gateway")

        assert values["TCP gateway.AE"] != values["TCP gateway.Module2.AE"]
        assert {"AE", "Module1.AE", "Module2.AE"} <= set(infos.texts("id"))


BOTH = ["Plug - Meter.AE", "EVSE.PLUG.STATE"]


class TestDialects:
    @pytest.mark.parametrize(
        ("name", "ampersand", "question"),
        [
            ("full", BOTH, BOTH),
            ("amp-only", BOTH, []),
            ("question-only", [], BOTH),
            ("single", BOTH[:1], BOTH[:1]),
            ("no-separator", [], []),
        ],
    )
    def test_separators(self, bench: Bench, name: str, ampersand: list[str], question: list[str]) -> None:
        bench.sim.dialect = Dialect.parse([name])
        for separator, expected in (("&", ampersand), ("?", question)):
            parameters = separator.join(f"var={variable}" for variable in BOTH)
            assert list(bench.get(f"{USER}/values.xml?{parameters}").values()) == expected

    @pytest.mark.parametrize(
        ("name", "target"),
        [
            ("no-values", f"{USER}/values.xml"),
            ("no-varinfo", f"{USER}/varInfo.xml"),
            ("no-device-state", "/services/devices/deviceState.xml?id=EVSE"),
            ("no-user-deviceinfo", f"{USER}/deviceInfo.xml"),
            ("no-cpi-deviceinfo", f"{POINTS}/deviceInfo.xml"),
            ("no-user-devices", f"{USER}/devices.xml"),
            ("no-charge-points", f"{POINTS}/plugInfo.xml"),
            ("no-plug-info", f"{POINTS}/plugInfo.xml"),
            ("no-plug-state", f"{POINTS}/plugState.xml"),
            ("no-charge-info", f"{POINTS}/chargeInfo.xml"),
            ("no-status", "/services/system/status.xml"),
            ("no-information", "/services/system/information.xml"),
            ("no-events", "/services/events/actived.xml"),
            ("state-only", f"{USER}/values.xml"),
        ],
    )
    def test_an_absent_document_is_not_found(self, bench: Bench, name: str, target: str) -> None:
        assert bench.get(target).status == 200
        bench.sim.dialect = Dialect.parse([name])

        assert bench.get(target).status == 404

    def test_absent_documents_add_up(self) -> None:
        dialect = Dialect.parse(["no-values", "no-status", "amp-only"])

        assert dialect.lacks(f"{USER}/values.xml")
        assert dialect.lacks("/services/system/status.xml")
        assert dialect.separators == "&"

    def test_an_unknown_name_lists_the_known_ones(self) -> None:
        with pytest.raises(ValueError, match=r"no-such.*amp-only"):
            Dialect.parse(["no-such"])
        with pytest.raises(ValueError, match="seperators"):
            Named("a misspelt field", {"seperators": "&"})

    def test_every_dialect_still_writes_well_formed_documents(self, bench: Bench) -> None:
        paths = (f"{USER}/devices.xml", f"{POINTS}/devices.xml", "/services/devices/deviceState.xml?id=EVSE")
        answering, wrong = set(), []
        for name in sorted(DIALECTS):
            bench.sim.dialect = Dialect.parse([name])
            answers = [(path, bench.get(path)) for path in paths]
            for path, answer in answers:
                if answer.status == 200 and b"granted" not in answer.body:
                    answering.add(name)
                    if answer.root.tag not in ("devices", "deviceState") or not len(answer.root):
                        wrong.append((name, path))

        assert wrong == []
        # Without a login there is no value.
        guarded = {name for name in DIALECTS if Dialect.parse([name]).auth != "none"}
        assert DIALECTS.keys() - answering == guarded

    def test_the_proven_wallbox_answers_what_was_recorded_and_no_more(self, bench: Bench) -> None:
        bench.sim.dialect = Dialect.parse(["wallbox-proven"])

        assert bench.value("EVSE.PLUG.AE") == "1234.560000"
        assert bench.get(f"{USER}/varInfo.xml?var=EVSE.PLUG.AE").texts("id") == ["EVSE.PLUG.AE"]
        assert len(bench.get("/services/devices/deviceState.xml?id=EVSE").texts("value")) > 20
        assert bench.get(f"{POINTS}/deviceInfo.xml?id=EVSE").status == 200
        assert bench.get(f"{USER}/deviceInfo.xml?id=EVSE").status == 404
        assert bench.get(f"{USER}/values.xml?id=EVSE").values() == {}
        assert bench.get(f"{USER}/varInfo.xml?id=EVSE").texts("id") == []
        assert bench.get(f"{USER}/values.xml?var=STATUS").values() == {}
        assert bench.get(f"{USER}/values.xml?var=EVSE.STATUS&var=Reader.STATUS").values() == {}

    @pytest.mark.parametrize(
        ("name", "pattern"),
        [
            ("full", r"<id>AE</id><idEx>Plug - Meter.AE</idEx>.*<measureUnits>#WH</measureUnits><unitsFactor>3<"),
            ("no-idex", r"<id>AE</id><title>"),
            ("long-ids", r"<id>Plug - Meter.AE</id><idEx>"),
            ("no-units", r"^(?!.*measureUnits).*<unitsFactor>3<"),
            ("unknown-units", r"<measureUnits>#QUUX<"),
            ("typed", r"<varType>double</varType>.*<varType>wchar</varType>.*<varType>date</varType>"),
        ],
    )
    def test_var_info_comes_in_shapes(self, bench: Bench, name: str, pattern: str) -> None:
        bench.sim.dialect = Dialect.parse([name])
        answer = bench.get(f"{USER}/varInfo.xml?id=Plug - Meter").body.decode()

        assert re.search(pattern, answer.partition("\n")[2])

    def test_value_info_holds_its_options_as_escaped_xml(self, bench: Bench) -> None:
        bench.sim.dialect = Dialect.parse(["typed"])
        answer = bench.get(f"{USER}/varInfo.xml?var=Plug - Mode 3.OUT_OF_SERVICE")

        assert answer.texts("xmlValue") == ["<value>0</value>", "<value>1</value>"]

    @pytest.mark.parametrize(
        ("name", "in_values", "in_state"),
        [
            ("dash", "<value>-</value>", "<text><textStr>-</textStr></text>"),
            ("missing", "", ""),
            ("empty", "<value></value>", "<text><textStr></textStr></text>"),
            ("nan", "<value>nan</value>", "<text><textValue><value>nan</value></textValue></text>"),
        ],
    )
    def test_no_value_has_many_faces(self, bench: Bench, name: str, in_values: str, in_state: str) -> None:
        bench.sim.dialect = Dialect.parse([name])
        begin, end = "<id>Display.BACKLIGHT</id>", "</variable>"

        assert begin + in_values + end in bench.get(f"{USER}/values.xml?id=Display").body.decode()
        state = bench.get("/services/devices/deviceState.xml?id=Display").body.decode()
        assert begin + in_state + end in state

    @pytest.mark.parametrize(
        ("name", "begin"),
        [
            ("full", b"<?xml version"),
            ("bom", b"\xef\xbb\xbf<?xml"),
            ("no-declaration", b"<devices><id>CCL1Mini</id>"),
            ("pretty", b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<devices>\n  <id>'),
        ],
    )
    def test_a_document_begins_in_its_own_way(self, bench: Bench, name: str, begin: bytes) -> None:
        bench.sim.dialect = Dialect.parse([name])

        assert bench.get(f"{USER}/devices.xml").body.startswith(begin)

    def test_blanks_and_unknown_elements_stand_around_the_same_content(self, bench: Bench) -> None:
        bench.sim.dialect = Dialect.parse(["padded", "extra-elements", "pretty"])
        root = bench.get(f"{USER}/values.xml?var=EVSE.STATUS").root

        assert [v.findtext("id", "").strip() for v in root.iter("variable")] == ["EVSE.STATUS"]
        assert root.find("vendorNote") is not None
        assert root.findtext("variable/value") != "1.000000"

    @pytest.mark.parametrize(
        ("names", "length", "status"),
        [
            (["full"], 4000, 200),
            (["full"], 4001, 414),
            (["length-2000"], 2001, 414),
            (["length-empty"], 4001, 200),
            (["no-length-limit"], 9000, 200),
        ],
    )
    def test_targets_have_a_length_limit(self, bench: Bench, names: list[str], length: int, status: int) -> None:
        bench.sim.dialect = Dialect.parse(names)
        target = f"{USER}/values.xml?var=EVSE.STATUS&var="
        answer = bench.get(target + "x" * (length - len(target)))

        assert answer.status == status
        if status == 200:
            assert len(answer.values()) == (0 if names == ["length-empty"] else 1)

    def test_a_bare_name_is_asked_of_every_device(self, bench: Bench) -> None:
        assert set(bench.get(f"{USER}/values.xml?var=STATUS").values()) == {f"{d}.STATUS" for d in WALLBOX}

    def test_dates_may_have_milliseconds_and_clocks_may_be_unset(self, bench: Bench) -> None:
        bench.sim.dialect = Dialect.parse(["date17"])
        assert bench.value("EVSE.VDTTM") == "14112023221320000"
        bench.sim.dialect = Dialect.parse(["clock-1999", "date-header"])
        assert (bench.value("EVSE.VDTTM") or "").startswith("02011999")
        assert "1999" in bench.get("/").headers["Date"]
        state = bench.get(f"{POINTS}/plugState.xml").root[0].findtext("stateDate", "")
        assert state.startswith("915")

    def test_headers_are_a_matter_of_dialect(self, bench: Bench) -> None:
        headers = bench.get(f"{USER}/devices.xml").headers
        assert headers["Server"].startswith("CirCarLife Scada")
        assert headers["Date"] is None
        bench.sim.dialect = Dialect.parse(["no-server-header"])
        assert bench.get(f"{USER}/devices.xml").headers["Server"] is None

    def test_names_may_come_in_latin_1(self, twin: Bench) -> None:
        assert twin.get(f"{USER}/values.xml?var=Poste%20%C3%89t%C3%A9.STATUS").values()
        twin.sim.dialect = Dialect.parse(["latin-1"])
        assert twin.get(f"{USER}/values.xml?var=Poste%20%C9t%E9.STATUS").values()

    def test_a_read_only_engine_refuses_writes(self, bench: Bench) -> None:
        bench.sim.dialect = Dialect.parse(["read-only"])

        assert bench.put("EVSE", **{"PLUG.ENABLE": 0}).status == 403


class TestAuthentication:
    TARGET = f"{USER}/values.xml?var=Plug%20-%20Meter.AE"

    def digest(self, bench: Bench, uri: str | None = None, password: str = PASSWORD) -> str:
        challenge = bench.get(self.TARGET).headers["WWW-Authenticate"]
        nonce = re.findall(r'nonce="(\w+)"', challenge)[0]
        realm = re.findall(r'realm="([^"]+)"', challenge)[0]

        def md5(text: str) -> str:
            return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

        uri = uri or self.TARGET
        first, second = md5(f"owner:{realm}:{password}"), md5(f"GET:{uri}")
        response = md5(f"{first}:{nonce}:00000001:abc:auth:{second}")
        return (
            f'Digest username="owner", realm="{realm}", nonce="{nonce}", uri="{uri}", '
            f'qop=auth, nc=00000001, cnonce="abc", response="{response}"'
        )

    def test_digest_admits_a_client_with_the_password(self, bench: Bench) -> None:
        bench.sim.dialect = Dialect.parse(["digest"])
        bench.headers["Authorization"] = self.digest(bench)

        assert bench.get(self.TARGET).status == 200
        assert [request.authorization is not None for request in bench.sim.requests] == [False, True]

    @pytest.mark.parametrize("wrong", [{"password": "guess"}, {"uri": f"{USER}/values.xml?var=Plug - Meter.AE"}])
    def test_digest_refuses_a_wrong_password_and_another_spelling_of_the_target(
        self, bench: Bench, wrong: dict[str, str]
    ) -> None:
        bench.sim.dialect = Dialect.parse(["digest"])
        bench.headers["Authorization"] = self.digest(bench, **wrong)

        assert bench.get(self.TARGET).status == 401

    def test_a_stale_nonce_is_refused_with_a_new_one(self, bench: Bench) -> None:
        bench.sim.dialect = Dialect.parse(["digest-stale"])
        bench.headers["Authorization"] = self.digest(bench)
        answers = [bench.get(self.TARGET) for _ in range(4)]

        assert [answer.status for answer in answers] == [200, 200, 200, 401]
        assert "stale=true" in answers[-1].headers["WWW-Authenticate"]
        assert self.digest(bench) != bench.headers["Authorization"]

    def test_basic_takes_a_password_with_a_colon(self, bench: Bench) -> None:
        bench.sim.dialect = Dialect.parse(["basic"])
        assert bench.get(self.TARGET).headers["WWW-Authenticate"].startswith("Basic")
        bench.headers["Authorization"] = "Basic b3duZXI6cGFzczp3b3Jk"
        assert bench.get(self.TARGET).status == 200
        bench.headers["Authorization"] = "Basic !"
        assert bench.get(self.TARGET).status == 401

    def test_a_refusal_may_look_like_success(self, bench: Bench) -> None:
        bench.sim.dialect = Dialect.parse(["not-granted-200"])
        answer = bench.get(self.TARGET)

        assert answer.status == 200
        assert b"not granted" in answer.body

    def test_writes_alone_may_need_a_login(self, bench: Bench) -> None:
        bench.sim.dialect = Dialect.parse(["digest", "auth-writes-only"])

        assert bench.get(self.TARGET).status == 200
        assert bench.put("EVSE", **{"PLUG.ENABLE": 0}).status == 401


class TestFaults:
    TARGET = f"{USER}/values.xml?id=EVSE"

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("slow:12@values.xml", Fault("slow", "values.xml", 12.0)),
            ("close", Fault("close")),
            ("device-error:Plug - Meter", Fault("device-error", arg="Plug - Meter")),
            ("status-503@devices", Fault("status-503", "devices")),
            ("redirect:http://192.0.2.9/x", Fault("redirect", arg="http://192.0.2.9/x")),
        ],
    )
    def test_faults_are_read_from_text(self, text: str, fault: Fault) -> None:
        assert Fault.parse(text) == fault

    @pytest.mark.parametrize("text", ["slwo", "status-99", "slow:soon", ""])
    def test_a_misspelt_fault_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="fault"):
            Fault.parse(text)

    @pytest.mark.parametrize("kind", sorted(set(FAULTS) - {"silent", "slow", "drip", "drip-headers", "endless"}))
    def test_a_fault_begins_ends_and_keeps_to_its_path(self, bench: Bench, kind: str) -> None:
        bench.sim.faults = (Fault(kind, path="id=EVSE", arg="EVSE" if kind in ("vanish", "device-error") else ""),)
        with contextlib.suppress(http.client.HTTPException, OSError):
            bench.get(self.TARGET)
        assert len(bench.get(f"{USER}/devices.xml").texts("id")) == len(WALLBOX)
        bench.sim.faults = ()

        assert len(bench.get(self.TARGET).values()) == WALLBOX["EVSE"]

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("close", http.client.RemoteDisconnected),
            ("reset", ConnectionResetError),
            ("cut", http.client.IncompleteRead),
            ("wrong-length", http.client.IncompleteRead),
        ],
    )
    def test_a_broken_connection(self, bench: Bench, kind: str, error: type[Exception]) -> None:
        bench.sim.faults = (Fault(kind),)
        with pytest.raises(error) as caught:
            bench.get(self.TARGET)

        assert type(caught.value) is error

    @pytest.mark.parametrize("kind", ["garbled", "truncated", "not-utf8", "empty", "html"])
    def test_a_document_that_does_not_parse(self, bench: Bench, kind: str) -> None:
        bench.sim.faults = (Fault(kind),)
        answer = bench.get(self.TARGET)

        assert answer.status == 200
        with pytest.raises(ElementTree.ParseError):
            answer.root  # noqa: B018

    def test_documents_with_a_dtd(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("laughs"),)
        assert bench.get(self.TARGET).body.count(b"<!ENTITY") == 10
        bench.sim.faults = (Fault("utf16-dtd"),)
        answer = bench.get(self.TARGET)
        assert b"<!DOCTYPE" not in answer.body
        assert answer.root.text == "1"

    @pytest.mark.parametrize("code", [401, 403, 404, 500, 503])
    def test_a_status(self, bench: Bench, code: int) -> None:
        bench.sim.faults = (Fault(f"status-{code}"),)

        assert bench.get(self.TARGET).status == code

    def test_a_redirect_to_another_host(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("redirect"),)
        answer = bench.get(self.TARGET)

        assert answer.status == 302
        assert "127.0.0.1" not in answer.headers["Location"]

    def test_not_granted_is_a_text_with_code_200(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("not-granted"),)

        assert b"not granted" in bench.get(self.TARGET).body

    def test_a_device_in_error_reports_zeros(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("device-error", arg="Plug - Meter"),)
        values = bench.get(f"{USER}/values.xml?id=Plug - Meter").values()
        name = values.pop("Plug - Meter.NAME")
        status = values.pop("Plug - Meter.STATUS")
        date = values.pop("Plug - Meter.VDTTM") or ""

        assert (name, status, date[4:8]) == ("0.000000", "34.000000", "1999")
        assert set(values.values()) == {"0.000000"}
        assert bench.value("EVSE.PLUG.AE") == "1234.560000"

    def test_a_vanished_device_is_in_no_document(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("vanish", arg="Plug - Meter"),)

        assert "Plug - Meter" not in bench.get(f"{USER}/devices.xml").texts("id")
        for document in ("user/values", "user/varInfo", "user/deviceInfo", "devices/deviceState"):
            assert len(bench.get(f"/services/{document}.xml?id=Plug - Meter").root) == 0

    def test_zeros_are_in_every_energy_register(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("zeros"),)

        assert bench.value("Plug - Meter.AE") == "0.000000"
        assert bench.value("Plug - Meter.VI") != "0.000000"
        assert bench.get(f"{POINTS}/chargeInfo.xml").texts("activeEnergy") == ["0.000000"]

    def test_a_duplicate_disagrees_with_itself(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("duplicate", arg="EVSE.PLUG.AE"),)
        root = bench.get(self.TARGET).root
        both = [v.findtext("value") for v in root.iter("variable") if v.findtext("id") == "EVSE.PLUG.AE"]

        assert both == ["1234.560000", "1235.560000"]

    def test_control_characters_are_in_names_that_can_be_asked_for(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("control"),)
        name = bench.get(f"{USER}/devices.xml").texts("id")[0]
        answer = bench.get(f"{USER}/values.xml?var={quote(name, safe='')}.STATUS")

        assert '"' in name
        assert "\n" in name
        assert answer.values() == {f"{name}.STATUS": "1.000000"}

    def test_writes_may_be_ignored_or_late(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("ignore-writes"),)
        assert bench.put("Plug - Mode 3", PREDUCTION=50).status == 204
        bench.wait(60)
        assert bench.value("Plug - Mode 3.PREDUCTION") == "0.000000"
        bench.sim.faults = (Fault("late-writes", seconds=100),)
        bench.put("Plug - Mode 3", PREDUCTION=50)
        bench.wait(99)
        assert bench.value("Plug - Mode 3.PREDUCTION") == "0.000000"
        bench.wait(1)
        assert bench.value("Plug - Mode 3.PREDUCTION") == "50.000000"

    @pytest.mark.parametrize(
        ("kind", "done"),
        [("lost-answer", True), ("status-500", True), ("status-401", False), ("not-granted", False)],
    )
    def test_a_refused_write_is_not_done_and_one_whose_answer_is_lost_is(
        self, bench: Bench, kind: str, done: bool
    ) -> None:
        bench.sim.faults = (Fault(kind, "forceVariables"),)
        with contextlib.suppress(http.client.RemoteDisconnected):
            bench.put("Plug - Mode 3", PREDUCTION=50)
        bench.wait(60)

        assert bench.value("Plug - Mode 3.PREDUCTION") == ("50.000000" if done else "0.000000")

    def test_a_back_end_starts_and_stops_charges_under_us(self, bench: Bench) -> None:
        plug = bench.sim.site.plugs[0]
        bench.sim.faults = (Fault.parse("back-end:100"),)
        bench.wait(100)
        assert bench.state() is State.AVAILABLE
        plug.plug_in()
        bench.wait(110)
        assert bench.state() is State.CHARGING
        bench.wait(100)
        assert (bench.state(), plug.stopped) == (State.WAITING_FOR_DISCONNECTION, Stop.REMOTE)
        bench.sim.faults = ()
        bench.wait(1000)

        assert bench.state() is State.WAITING_FOR_DISCONNECTION

    def test_a_counted_fault_ends_by_itself_and_begins_anew_when_set_again(self, bench: Bench) -> None:
        fault = Fault("status-500", times=2)
        for _ in range(2):
            bench.sim.faults = (fault,)
            assert [bench.get("/services/system/status.xml").status for _ in range(3)] == [500, 500, 200]

    @pytest.mark.parametrize("fault", [Fault("silent"), Fault("slow", seconds=3600)])
    def test_no_answer_comes_while_the_engine_hangs_or_is_slow(self, bench: Bench, fault: Fault) -> None:
        bench.sim.faults = (fault,)
        with bench.connect("/services/system/status.xml") as connection:
            with pytest.raises(TimeoutError):
                connection.recv(1)
            bench.sim.stop()
            assert connection.recv(1) == b""

    def test_a_slow_answer_is_an_answer(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("slow", seconds=0.01),)

        assert bench.get("/services/system/status.xml").status == 200

    @pytest.mark.parametrize("kind", ["drip", "drip-headers"])
    def test_a_drip_is_one_byte_at_a_time(self, bench: Bench, kind: str) -> None:
        bench.sim.faults = (Fault(kind, seconds=3600),)
        received = b""
        with bench.connect("/services/system/status.xml") as connection, contextlib.suppress(TimeoutError):
            while piece := connection.recv(65536):
                received += piece

        assert received.partition(b"\r\n\r\n")[2] == (b"<" if kind == "drip" else b"")
        assert (received == b"H") == (kind == "drip-headers")

    def test_a_drip_is_whole_in_the_end(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("drip", seconds=0),)

        assert bench.get("/services/system/status.xml").root.tag == "systemStatus"

    def test_an_endless_body_goes_on_until_the_client_leaves(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("endless"),)
        with bench.connect(self.TARGET) as connection:
            received = 0
            while received < 5_000_000:
                received += len(connection.recv(1_000_000))
        bench.sim.faults = ()

        assert bench.get(self.TARGET).status == 200

    def test_close_each_leaves_a_stale_connection_behind(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("close-each"),)
        with bench.connect("/services/system/status.xml") as connection:
            answer = read_all(connection)

        assert answer.endswith(b"</systemStatus>")
        assert b"connection" not in answer.partition(b"\r\n\r\n")[0].lower()


class TestServer:
    def test_a_connection_is_kept_and_requests_are_noted_in_order(self, bench: Bench) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", bench.sim.port, timeout=5)
        for path in ("/services/system/status.xml", "/nothing", f"{USER}/devices.xml"):
            connection.request("GET", path)
            connection.getresponse().read()
        port = connection.sock.getsockname()[1] if connection.sock else None
        connection.close()

        assert port is not None
        assert [r.target for r in bench.sim.requests] == [
            "/services/system/status.xml",
            "/nothing",
            f"{USER}/devices.xml",
        ]
        bench.sim.clear_requests()
        assert bench.sim.requests == []

    def test_requests_one_after_the_other_are_never_two_in_flight(self, bench: Bench) -> None:
        for _ in range(50):
            bench.get("/services/system/status.xml")

        assert bench.sim.max_in_flight == 1

    def test_requests_at_once_are_counted_until_their_clients_leave(self, bench: Bench) -> None:
        bench.sim.faults = (Fault("silent", "devices.xml"),)
        with bench.connect(f"{USER}/devices.xml"):
            eventually(lambda: len(bench.sim.requests) == 1)
            bench.get("/services/system/status.xml")
            assert bench.sim.max_in_flight == 2
        bench.sim.clear_requests()
        bench.get("/services/system/status.xml")

        assert bench.sim.max_in_flight == 1

    def test_it_can_be_stopped_twice_and_started_again_on_its_port(self, bench: Bench) -> None:
        url = bench.sim.url
        bench.sim.stop()
        bench.sim.stop()
        with pytest.raises(ConnectionRefusedError):
            bench.get("/")
        bench.sim.start()

        assert bench.sim.url == url
        assert bench.get("/").status == 302

    def test_latency_is_before_every_answer(self, bench: Bench) -> None:
        bench.sim.latency = 3600
        with bench.connect("/") as connection, pytest.raises(TimeoutError):
            connection.recv(1)

    def test_an_unknown_model_is_refused(self) -> None:
        with pytest.raises(ValueError, match="wallbox, twin"):
            Simulator("triplet")


class TestRecordings:
    @pytest.fixture
    def recorded(self, tmp_path: Path) -> Iterator[Bench]:
        user = tmp_path / "engine" / "services" / "user"
        user.mkdir(parents=True)
        (tmp_path / "secret").write_text("no")
        (user / "devices.xml").write_text("<devices><id>Été &amp; Co</id></devices>")
        (user / "values.xml?var=Plug - Mode 3.STATE").write_text("<values>3</values>")
        (user / "values.xml?var=a%2Fb").write_text("<values>raw</values>")
        with Simulator(recordings=tmp_path / "engine") as sim:
            yield Bench(sim, Clock())

    @pytest.mark.parametrize(
        ("target", "body"),
        [
            ("/services/user/devices.xml", "<devices><id>Été &amp; Co</id></devices>"),
            ("/services/user/values.xml?var=Plug%20-%20Mode%203.STATE", "<values>3</values>"),
            ("/services/user/values.xml?var=a%2Fb", "<values>raw</values>"),
        ],
    )
    def test_a_recorded_answer_comes_back_as_it_was(self, recorded: Bench, target: str, body: str) -> None:
        answer = recorded.get(target)

        assert (answer.status, answer.body.decode()) == (200, body)

    @pytest.mark.parametrize(
        "target",
        [
            "/services/user/values.xml",
            "/services/user/values.xml?var=Plug%20-%20Mode%203.STATE&var=Plug%20-%20Mode%203.STATE",
            "/services/user/devices.xml?id=EVSE",
            "/services/user",
            "/../secret",
            "/services/../../secret",
            "/%2e%2e/secret",
            "//etc/passwd",
            "/services/user/devices.xml%00",
            "/" + "x" * 3000,
        ],
    )
    def test_what_was_not_recorded_is_not_found(self, recorded: Bench, target: str) -> None:
        assert recorded.get(target).status == 404

    def test_recordings_are_read_only_but_can_be_faulty(self, recorded: Bench) -> None:
        assert recorded.put("EVSE", **{"PLUG.ENABLE": 0}).status == 405
        recorded.sim.faults = (Fault("truncated"),)
        with pytest.raises(ElementTree.ParseError):
            recorded.get(f"{USER}/devices.xml").root  # noqa: B018

    def test_a_folder_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="no folder"):
            Simulator(recordings=tmp_path / "nothing")
