"""The live page: what it says, what it must never say, and that nothing of a charger becomes markup."""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta, timezone
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise, product
from typing import Any
from urllib.parse import urlencode

import pytest
from helpers.pages import context, page, view, whole_page
from helpers.plugs import plug

from ccl_exporter.cli.command_table import CHARGE_COMMANDS
from ccl_exporter.errors import AccessDenied, Unreachable
from ccl_exporter.exporter.web.page import CONTENT_SECURITY_POLICY, front_page
from ccl_exporter.exporter.web.plug_words import why_not_charging
from ccl_exporter.exporter.web.views import ChargerHistory, ChargerView
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.powerstudio.inventory import Device, Information, Inventory, PlugInfo, VariableInfo, owner
from ccl_exporter.powerstudio.snapshot import ChargeRecord, Document, Moment, Snapshot, SystemStatus, Value
from ccl_exporter.sessions.tracker import Costs, FinishedSession
from ccl_exporter.station.catalogue import catalogue
from ccl_exporter.station.plug import Measured, Plug, Session
from ccl_exporter.station.remedies import FAULT_STEPS, REMEDIES, fault_steps

NOW = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
CHARGING = {
    "EVSE.PLUG.STATE": 8.0,
    "EVSE.PLUG.ERROR": 0.0,
    "EVSE.PLUG.CC": 1.0,
    "EVSE.PLUG.LOCK": 1.0,
    "EVSE.PLUG.ENABLE": 1.0,
    "EVSE.PLUG.AE": 4855.39,
    "EVSE.PLUG.API": 7.36,
    "EVSE.PLUG.AI": 31.9,
    "EVSE.PLUG.VI": 231.4,
    "EVSE.STATE": 0.0,
    "EVSE.ERROR": 0.0,
    "Mode.INTENSITY": 32.0,
    "Mode.PREDUCTION": 50.0,
}
TYPES = {"EVSE": "CCL1ENGINE", "Mode": "MODO3"}
PLUG = PlugInfo("EVSE.PLUG", supported_amperes=32.0, vehicle_device="Mode")
RUNNING = ChargeRecord("EVSE.PLUG", watt_hours=3420.0, begun=NOW - 3720, seconds=3720.0, stop_reason=0)
ENDED = replace(RUNNING, ended=NOW - 60, stop_reason=4)


def snapshot(
    values: Mapping[str, Value] = CHARGING,
    types: Mapping[str, str] = TYPES,
    charge: ChargeRecord | None = RUNNING,
    plugs: tuple[PlugInfo, ...] = (PLUG,),
    titles: Mapping[str, str] | None = None,
    taken: float = NOW - 3,
    information: Information | None = None,
) -> Snapshot:
    """What a charger of these devices (by name and type) tells."""
    return Snapshot(
        taken=taken,
        seconds=0.5,
        timeout=9.5,
        requests=1,
        up=True,
        inventory=Inventory(
            devices=tuple(
                Device(id, type, variables=tuple(name for name in values if owner(name, types) == id))
                for id, type in types.items()
            ),
            variables={name: VariableInfo(title=title) for name, title in (titles or {}).items()},
            settled=frozenset(values),
            plugs=plugs,
            information=information,
        ),
        values=values,
        answered=frozenset(types),
        charges={charge.name: charge} if charge is not None else {},
        status=SystemStatus((), active_events=2),
    )


DOWN = Snapshot(
    taken=NOW - 7265,
    seconds=0.1,
    timeout=9.5,
    requests=1,
    up=False,
    documents=(Document("devices", False, 0.1, Unreachable("no connection to <evse>")),),
)


class Parsed(HTMLParser):
    """A page taken apart: its text, its elements; fails where tags do not balance."""

    VOID = ("meta", "link", "br", "img", "input", "hr")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.styles: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split()).replace(" ,", ",")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.styles if self.open[-1:] in (["style"], ["script"]) else self.words).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def shown(*views: ChargerView, now: float = NOW, query: str = "") -> Parsed:
    return Parsed(page(views, now, query).decode())


def text(read: Snapshot | None, now: float = NOW, **more: Any) -> str:
    """What a person reads of one charger."""
    return shown(view("garage", read, **more), now=now).text


NONE_FLOWS = Measured((("", 0.0),))
BAD_END = "the last session was ended because the vehicle took too much current."


class TestWhyNotCharging:
    @pytest.mark.parametrize(
        ("seen", "why"),
        [
            pytest.param(plug("charging", powers=Measured((("", 7000.0),))), "", id="it charges"),
            pytest.param(plug("charging"), "", id="it charges and measures nothing"),
            pytest.param(plug("charging", faults=("meter",)), "", id="it charges in spite of a fault"),
            pytest.param(plug("charging", powers=NONE_FLOWS), "the vehicle takes none", id="a full car"),
            pytest.param(plug(vehicle_connected=False), "No vehicle is connected.", id="no vehicle"),
            pytest.param(plug(), "A vehicle is connected, but no session was requested.", id="not started"),
            pytest.param(
                plug(stopped="disconnect"),
                "A vehicle is connected, but no session was requested.",
                id="an earlier session that ended normally explains nothing",
            ),
            pytest.param(plug(stopped="vehicle_over_current"), BAD_END, id="an earlier session that failed"),
            pytest.param(plug("reserved"), "The plug is reserved.", id="reserved"),
            pytest.param(
                plug("waiting_for_vehicle", vehicle_connected=False),
                "No vehicle is connected.",
                id="no vehicle yet",
            ),
            pytest.param(plug("waiting_for_vehicle"), "does not ask for power", id="a sleeping vehicle"),
            pytest.param(plug("waiting_for_permission"), "an RFID tag", id="no permission"),
            pytest.param(plug("waiting_for_schedule"), "own schedule does not allow it yet.", id="too early"),
            pytest.param(plug("waiting_for_power", allowed=None), "It waits for power.", id="an unknown limit"),
            pytest.param(plug("waiting_for_power", allowed=16.0), "It waits for power.", id="no power for 16 A"),
            pytest.param(
                plug("waiting_for_power", allowed=3.2),
                "The current limit is 3.2 A, but a vehicle needs at least 6 A.",
                id="a limit below what a vehicle takes",
            ),
            pytest.param(plug("starting"), "is starting", id="starting"),
            pytest.param(plug("resuming"), "is resuming", id="resuming"),
            pytest.param(plug("pausing"), "is being paused", id="pausing"),
            pytest.param(plug("paused"), "The session is paused.", id="paused"),
            pytest.param(plug("stopping", stopped="user"), "it was ended by its user.", id="stopping"),
            pytest.param(plug("stopping", stopped="none"), "The session is ending.", id="stopping, no reason"),
            pytest.param(
                plug("waiting_for_disconnection", stopped="remote"),
                "The session has ended and the vehicle is still connected; it was ended remotely.",
                id="ended",
            ),
            pytest.param(plug("not_initialised"), "The charger is starting up.", id="not initialised"),
            pytest.param(plug("unknown"), "a state that is not known", id="unknown"),
            pytest.param(plug(None), "does not report the state", id="nothing is known"),
            pytest.param(plug("disabled"), "The plug is out of service.", id="disabled"),
            pytest.param(
                plug("waiting_for_permission", enabled=False),
                "The plug is out of service.",
                id="out of service goes before what the state waits for",
            ),
            pytest.param(
                plug("error", enabled=False, faults=("rcd", "temperature")),
                "A fault prevents it: safety switch (RCD) tripped, temperature.",
                id="faults go before everything else",
            ),
            pytest.param(plug("error"), "unknown fault", id="an error without a bit"),
        ],
    )
    def test_it_says_what_stands_in_the_way(self, seen: Plug, why: str) -> None:
        sentence = why_not_charging(seen, "waiting_for_tag")

        assert why in sentence
        assert (why == "") == (sentence == "")

    def test_the_state_of_the_whole_station_explains_what_no_fault_does(self) -> None:
        assert why_not_charging(plug(), "disabled") == "The state of the whole station is: disabled."

    def test_every_combination_has_one_sentence_and_only_charging_may_have_none(self) -> None:
        facts = catalogue()
        for row, enabled, connected, faults, stop, station in product(
            (*facts.plug_states.values(), None),
            (True, False, None),
            (True, False, None),
            (None, (), ("rcd",), ("unknown",)),
            (*facts.codes["stop_reason"], None),
            (*facts.codes["station_state"].values(), None),
        ):
            seen = Plug(
                "P",
                state=row,
                enabled=enabled,
                vehicle_connected=connected,
                faults=faults,
                session=Session(stop_reason=stop),
            )
            sentence = why_not_charging(seen, station)
            assert (sentence == "") == (row is not None and row.word == "charging")
            assert re.fullmatch(r"|[A-Z][^{}_]+\.", sentence), sentence

    def test_faults_are_named_for_every_bit_that_there_is(self) -> None:
        for word in catalogue().bits["plug_error"]:
            sentence = why_not_charging(plug(vehicle_connected=False, faults=(word,)), None)
            assert re.fullmatch(r"A fault prevents it: [A-Za-z() -]+\.", sentence)


class TestOneCharger:
    def test_a_running_session_is_shown_in_the_units_that_people_use(self) -> None:
        seen = text(snapshot(information=Information("CirCarLife", "4.2.3", "Circontrol")))

        assert "EVSE.PLUG Charging Power 7.36 kW This session 3.42 kWh 1 h 2 min since 13:11" in seen
        assert "Meter 4855.39 kWh Current 31.9 A Current limit 16.0 A of 32 A Voltage 231.4 V" in seen
        assert "Vehicle connected plug locked Faults of the plug none Read 3 s ago" in seen
        assert "Not charging" not in seen
        assert "Active events 2" in seen
        assert "Engine CirCarLife 4.2.3" in seen

    def test_a_finished_session_is_the_present_one_until_the_vehicle_is_unplugged(self) -> None:
        ended = text(snapshot({**CHARGING, "EVSE.PLUG.STATE": 12.0, "EVSE.PLUG.API": 0.0}, charge=ENDED))
        left = text(snapshot({**CHARGING, "EVSE.PLUG.STATE": 0.0, "EVSE.PLUG.CC": 0.0}, charge=ENDED))

        assert "This session 3.42 kWh 1 h 2 min until 14:12 ended by the vehicle" in ended
        assert "Not charging: the session has ended and the vehicle is still connected; it was ended by" in ended
        assert "Last session 3.42 kWh" in left
        assert "Not charging: no vehicle is connected." in left

    def test_faults_are_named_where_they_are_looked_for(self) -> None:
        seen = text(snapshot({**CHARGING, "EVSE.PLUG.STATE": -1.0, "EVSE.PLUG.ERROR": 288.0, "EVSE.ERROR": 2.0}))

        assert "Not charging: a fault prevents it: safety switch (RCD) tripped, emergency stop. The" in seen
        assert "call an electrician. The emergency stop was used. Release it" in seen
        assert "Faults of the plug safety switch (RCD) tripped, emergency stop" in seen
        assert "The charger reports: card reader. Unplug the vehicle, switch the charger off and on;" in seen
        assert "Faults of the charger card reader" in seen

    def test_no_fault_of_the_charger_and_no_event_are_left_out(self) -> None:
        """Beside a fault of the plug "none" would contradict it."""
        read = snapshot({**CHARGING, "EVSE.PLUG.ERROR": 32.0, "EVSE.ERROR": 0.0})
        seen = text(replace(read, status=SystemStatus((), active_events=0)))

        assert "Faults of the plug safety switch (RCD) tripped" in seen
        assert "Faults of the charger" not in seen
        assert "Active events" not in seen

    def test_three_phases_are_shown_each_and_only_power_is_added_up(self) -> None:
        meter = {
            f"M.{name}{n}": value + n for n in (1, 2, 3) for name, value in (("API", 3.0), ("AI", 15), ("VI", 230))
        }
        plug = replace(PLUG, meter="M")
        values = {"EVSE.PLUG.STATE": 8.0, **{name: float(value) for name, value in meter.items()}}
        seen = text(snapshot(values, {"EVSE": "CCL1ENGINE", "M": "CVMMINI"}, plugs=(plug,)))

        assert "Power 15.00 kW L1 4.00 kW L2 5.00 kW L3 6.00 kW" in seen
        assert "Current 18.0 A L1 16.0 A L2 17.0 A L3 18.0 A" in seen
        assert "Voltage 233.0 V L1 231.0 V L2 232.0 V L3 233.0 V" in seen

    def test_a_charger_that_is_not_reachable_says_why_since_when_and_what_to_do(self) -> None:
        words = text(DOWN, url="http://192.0.2.10", last_up_at=NOW - 90_000)

        assert "Not reachable No answer from the charger since 20 Sep 13:13 . It may still charge;" in words
        assert "check its power and network. No connection to <evse>." in words
        assert "192.0.2.10" in words
        assert "To find out more, run: ccl-exporter check --charger http://192.0.2.10" in words

    def test_a_charger_that_never_answered_says_so(self) -> None:
        assert "Not reachable No answer from the charger yet; check its power and network. No" in text(DOWN)

    def test_a_charger_that_was_not_read_yet_says_so(self) -> None:
        assert "Not read yet The first read has not ended." in text(None)

    def test_no_charger_at_all_is_a_page_too(self) -> None:
        assert "No charger is configured." in shown().text

    def test_an_engine_without_plugs_says_so(self) -> None:
        assert "No plug reported." in text(snapshot({"Yard.AE": 2.5}, {"Yard": "CVM1D"}, charge=None, plugs=()))

    def test_what_is_missing_is_a_dash_and_never_a_zero(self) -> None:
        seen = text(snapshot({"EVSE.PLUG.STATE": 8.0}, charge=None), history=ChargerHistory())

        assert "Power – This session – Today – This month – Meter – Current –" in seen  # noqa: RUF001
        assert "Current limit 32.0 A of 32 A Voltage – Vehicle – Faults of the plug –" in seen  # noqa: RUF001

    def test_documents_that_failed_are_named(self) -> None:
        partial = replace(
            snapshot(), documents=(Document("charge_info", False, 0.1), Document("values", True, 0.1))
        )

        assert "Not read charge info" in text(partial)

    @pytest.mark.parametrize(
        ("seconds", "age"),
        [(-5, "now"), (0.4, "now"), (59, "59 s ago"), (61, "1 min ago"), (7200, "2 h ago"), (90061, "1 d ago")],
    )
    def test_the_age_of_a_read_is_shown(self, seconds: float, age: str) -> None:
        assert f"Read {age} " in text(snapshot(taken=NOW - seconds))

    def test_old_values_are_marked_as_old(self) -> None:
        marked = [{"class": "stale"}]

        assert [a for a in shown(view("g", snapshot(taken=NOW - 119))).all("span") if a in marked] == []
        assert [a for a in shown(view("g", snapshot(taken=NOW - 121))).all("span") if a in marked] == marked

    @pytest.mark.parametrize("instant", [1e300, 1e12, -1.0])
    def test_an_instant_that_no_calendar_has_is_left_out(self, instant: float) -> None:
        seen = text(snapshot(charge=replace(RUNNING, begun=instant)))

        assert "This session 3.42 kWh Meter" in seen

    def test_times_are_those_of_the_zone_which_is_named(self) -> None:
        zone = timezone(timedelta(hours=-10), "HST")
        html = front_page([view("garage", snapshot())], context(NOW, zone)).decode()

        assert "2026-09-21 04:13:20 HST" in html
        assert '<time datetime="2026-09-21T03:11:20-10:00">03:11</time>' in html
        assert "Times are in HST." in html

    def test_titles_of_the_configuration_go_before_the_names_of_the_charger(self) -> None:
        titled = view("garage", snapshot(), title="Wallbox", plug_titles={"EVSE.PLUG": "Left"})
        seen = shown(titled)

        assert seen.text.startswith("Charging 7.36 kW | Wallbox | ccl-exporter Wallbox ")
        assert "Left Charging" in seen.text
        assert "EVSE.PLUG" not in seen.text

    @pytest.mark.parametrize(
        ("read", "title"),
        [
            (None, "Not read yet | garage"),
            (DOWN, "Not reachable | garage"),
            (snapshot(), "Charging 7.36 kW | garage"),
            (snapshot({**CHARGING, "EVSE.PLUG.STATE": 10.0}), "Paused | garage"),
            (snapshot({}, {"Yard": "CVM1D"}, charge=None, plugs=()), "garage"),
        ],
    )
    def test_the_title_of_the_tab_is_the_state(self, read: Snapshot | None, title: str) -> None:
        assert text(read).startswith(f"{title} | ccl-exporter ")


class TestWhatHelps:
    @pytest.mark.parametrize(
        ("values", "before", "command"),
        [
            ({"EVSE.PLUG.STATE": 3.0}, "Hold your card to the charger, or", "charge start"),
            ({"EVSE.PLUG.STATE": 10.0}, "To start charging,", "charge start"),
            ({"EVSE.PLUG.STATE": -2.0, "EVSE.PLUG.ENABLE": 0.0}, "To start charging,", "charge start --now"),
            ({"EVSE.PLUG.STATE": 5.0, "Mode.PREDUCTION": 100.0}, "To lift the limit,", "charge start --now"),
            ({"EVSE.PLUG.STATE": 3.0, "Mode.PREDUCTION": 100.0}, "To lift the limit,", "charge start --now"),
        ],
    )
    def test_the_command_that_helps_names_the_charger(
        self, values: Mapping[str, float], before: str, command: str
    ) -> None:
        seen = text(snapshot({**CHARGING, **values}), url="http://192.0.2.10")

        assert f"{before} run: ccl-exporter {command} --charger http://192.0.2.10 " in seen

    @pytest.mark.parametrize("state", [8.0, 0.0, -1.0, 4.0, 11.0])
    def test_where_no_command_helps_none_is_named(self, state: float) -> None:
        values = {**CHARGING, "EVSE.PLUG.STATE": state, "EVSE.PLUG.CC": float(state != 0)}

        assert " run: ccl-exporter" not in text(snapshot(values))

    def test_of_several_plugs_the_command_names_the_one_as_a_shell_takes_it(self) -> None:
        values = {"EVSE.A.STATE": 8.0, "EVSE.B B.STATE": 10.0, "EVSE.B B.CC": 1.0}
        two = snapshot(
            values, {"EVSE": "CCL1ENGINE"}, charge=None, plugs=(PlugInfo("EVSE.A"), PlugInfo("EVSE.B B"))
        )

        assert "charge start --charger http://evse --plug 'EVSE.B B'" in text(two, url="http://evse")

    def test_every_command_exists(self) -> None:
        assert {command.split()[1] for command in REMEDIES.values()} <= CHARGE_COMMANDS.keys()

    def test_every_fault_has_a_step_and_several_faults_repeat_none(self) -> None:
        bits = catalogue().bits
        words = {*bits["plug_error"], *bits["station_error"], "unknown"}

        assert FAULT_STEPS.keys() <= words
        for word in words:
            assert re.fullmatch(r"[A-Z][^_{}]+\.", fault_steps((word,)))
        assert fault_steps(("other", "master")) == fault_steps(("unknown",))
        assert fault_steps(("rcd", "other")) == f"{fault_steps(('rcd',))} {fault_steps(('other',))}"

    def test_a_login_that_is_refused_is_no_silence(self) -> None:
        refused = (Document("devices", False, 0.1, AccessDenied("the charger wants a login")),)
        seen = text(replace(DOWN, documents=refused), last_up_at=NOW - 90_000)

        assert "No values from the charger since 20 Sep 13:13 . It may still charge. The charger wants" in seen


SESSION = FinishedSession("garage", "EVSE.PLUG", NOW - 90_100, NOW - 90_000, NOW - 86_400, 9e6, 3600.0, 4, 7400.0)


class TestHistory:
    def test_energy_of_today_and_of_the_month_are_local_days(self) -> None:
        days = {"EVSE.PLUG": {"2026-09-21": 3.6e6, "2026-09-01": 7.2e6, "2026-08-31": 3.6e9}}

        assert "Today 1.00 kWh This month 3.00 kWh" in text(snapshot(), history=ChargerHistory(days=days))
        late = front_page(
            [view("garage", snapshot(), history=ChargerHistory(days=days))],
            context(NOW, timezone(timedelta(hours=-20))),
        )
        assert "Today 0.00 kWh This month 3.00 kWh" in Parsed(late.decode()).text

    def test_with_a_tariff_session_today_and_month_have_their_cost(self) -> None:
        days = {"EVSE.PLUG": {"2026-09-21": 3.6e6, "2026-09-01": 7.2e6}}
        paid = {"2026-09-21": 0.1, "2026-09-01": 0.25}
        costs = Costs("GBP", {"EVSE.PLUG": paid}, {"EVSE.PLUG": 1.234})
        sessions = (replace(SESSION, cost=0.2, currency="GBP"), SESSION)
        history = ChargerHistory(days=days, sessions=sessions, costs=costs)
        seen = text(snapshot({"EVSE.PLUG.STATE": 8.0}), history=history)

        assert "Today 1.00 kWh 0.10 GBP This month 3.00 kWh 0.35 GBP" in seen
        assert "Ended Cost" in seen
        assert seen.count("by the vehicle 0.20 GBP") == 1
        assert "1.23 GBP" in seen
        unknown = replace(history, costs=replace(costs, days={"EVSE.PLUG": {**paid, "2026-09-01": None}}))
        seen = text(snapshot(), history=unknown)
        assert "Today 1.00 kWh 0.10 GBP This month 3.00 kWh Meter" in seen

    def test_the_last_sessions_are_listed(self) -> None:
        request = replace(
            SESSION, begun=None, ended=NOW, joules=0.0, seconds=0.0, stop_reason=None, highest_watts=None
        )
        seen = text(snapshot(), history=ChargerHistory(sessions=(request, SESSION)))

        assert "Last sessions Begin Energy Duration Highest power Ended" in seen
        assert "20 Sep 13:11 0.00 kWh 0 s – 20 Sep 13:13 2.50 kWh 1 h 7.40 kW by the vehicle" in seen  # noqa: RUF001

    def test_sessions_of_several_plugs_name_them(self) -> None:
        sessions = (SESSION, replace(SESSION, plug="EVSE.OTHER"))
        seen = text(snapshot(), history=ChargerHistory(sessions=sessions), plug_titles={"EVSE.PLUG": "Left"})

        assert "20 Sep 13:13 Left 2.50 kWh" in seen
        assert "20 Sep 13:13 EVSE.OTHER 2.50 kWh" in seen

    def test_without_any_session_it_says_so(self) -> None:
        assert "No session has been recorded yet." in text(snapshot(), history=ChargerHistory())

    def test_the_power_of_the_day_is_drawn(self) -> None:
        powers = {"EVSE.PLUG": [0.0] * 1439 + [7400.0]}
        seen = shown(view("garage", snapshot(), history=ChargerHistory(powers=powers)))

        assert len(seen.all("path")) == 1
        assert "Power, last 24 hours highest 7.40 kW 24 h ago now" in seen.text

    def test_where_it_must_not_be_shown_nothing_of_it_is_there(self) -> None:
        seen = shown(view("garage", snapshot()))

        assert seen.all("svg") == []
        assert "Today" not in seen.text
        assert "Last sessions" not in seen.text
        assert (
            "are shown on this machine itself, and elsewhere once --web.config.file asks for a login." in seen.text
        )


class TestOutputs:
    @pytest.mark.parametrize(
        ("samples", "words"),
        [
            ([Sample(f.MQTT_CONNECTED, (), 1.0)], "MQTT connected"),
            ([Sample(f.MQTT_CONNECTED, (), 0.0)], "MQTT not connected"),
            ([Sample(f.INFLUXDB_SPOOL_POINTS, ("home",), 0.0)], "InfluxDB home not written yet"),
            ([Sample(f.INFLUXDB_LAST_SUCCESS, ("home",), NOW - 12)], "InfluxDB home written 12 s ago"),
            (
                [
                    Sample(f.INFLUXDB_LAST_SUCCESS, ("home",), NOW - 7200),
                    Sample(f.INFLUXDB_SPOOL_POINTS, ("home",), 4711.0),
                    Sample(f.INFLUXDB_SPOOL_OLDEST, ("home",), NOW - 7200),
                ],
                "InfluxDB home written 2 h ago, 4,711 points waiting since 12:13",
            ),
        ],
    )
    @pytest.mark.parametrize("chargers", [1, 2])
    def test_how_outputs_fare_is_shown(self, samples: list[Sample], words: str, chargers: int) -> None:
        html = front_page([view("garage", snapshot())] * chargers, context(NOW, outputs=samples)).decode()

        assert f"Outputs {words} " in Parsed(html).text

    def test_without_outputs_nothing_is_said_of_them(self) -> None:
        assert "Outputs" not in text(snapshot())


class TestVariables:
    VALUES: Mapping[str, Value] = {
        "EVSE.PLUG.AE": 4855.39,
        "EVSE.RUNTIME": Moment(NOW - 100_000),
        "EVSE.NOTHING": None,
        "EVSE.PLUG.STATE": 8.0,
        "EVSE.PLUG.ERROR": 288.0,
        "EVSE.STATE": 2.0,
        "EVSE.X10": 1.0,
        "EVSE.X9": 2.0,
        "Mode.STATUS": 34.0,
        "Mode.INTENSITY": 0.0,
    }

    def seen(self, query: str = "") -> str:
        read = snapshot(self.VALUES, titles={"EVSE.PLUG.AE": "Active energy"})
        return Parsed(whole_page(read, NOW, query).decode()).text

    def test_all_have_title_value_and_unit(self) -> None:
        seen = self.seen()

        assert "EVSE CCL1ENGINE, 8 variables" in seen
        assert "PLUG.AE Active energy 4855.39 kWh" in seen
        assert "RUNTIME Start of the engine 2026-09-20T10:26:40Z" in seen
        assert "NOTHING –" in seen  # noqa: RUF001
        assert "Mode MODO3, 2 variables, does not answer" in seen
        assert "INTENSITY Rated current of the socket –" in seen, "zeros of a silent device are no values"  # noqa: RUF001

    def test_codes_have_their_words_beside_them(self) -> None:
        seen = self.seen()

        assert "PLUG.STATE State 8 charging" in seen
        assert "PLUG.ERROR Faults 288 rcd, emergency" in seen
        assert " STATE State 2 waiting for tag" in seen

    def test_they_are_sorted_as_people_count(self) -> None:
        assert "X9 2 X10 1" in self.seen()

    @pytest.mark.parametrize("query", ["q=ACTIVE+energy", "q=plug.ae", "q=EVSE.PLUG.AE&x=1"])
    def test_a_search_looks_in_device_name_and_title(self, query: str) -> None:
        seen = self.seen(query)

        assert "EVSE CCL1ENGINE, 1 variable " in seen
        assert "PLUG.AE" in seen
        assert "RUNTIME" not in seen
        assert "Mode" not in seen.partition("Variables")[2].partition("Search")[2]

    def test_a_search_without_a_match_says_so(self) -> None:
        assert "No variable matches." in self.seen("q=zzz")

    def test_it_leads_back_and_each_page_leads_to_the_other(self) -> None:
        read = snapshot()
        front, whole = shown(view("192.0.2.1:80", read)), Parsed(whole_page(read, NOW).decode())

        assert {"href": "charger/192.0.2.1%3A80#variables"} in front.all("a")
        assert {"href": "charger/192.0.2.1%3A80.json"} in front.all("a")
        assert {"href": "../"} in whole.all("a")
        assert {"href": "../metrics"} in whole.all("a")
        assert "variables" in [attributes.get("id") for _, attributes in whole.elements]

    def test_of_a_charger_that_is_not_reachable_there_are_none(self) -> None:
        seen = Parsed(whole_page(DOWN, NOW).decode())

        assert "Not reachable" in seen.text
        assert seen.all("details") == []


HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"' onload='x' style=\"x",
    "</title></style></section><h1>",
    "&lt;b&gt; &amp; $style ${body} {0} %s",
    "two\nlines\r\tand\x00more\u202e\ud800\ufeff",
)


class TestWhatIsHostile:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_names_titles_and_values_are_text_and_nothing_else(self, name: str) -> None:
        def documents(name: str, device: str) -> list[Parsed]:
            values: dict[str, Value] = {
                f"{device}.PLUG.STATE": 8.0,
                f"{device}.{name}": name,
                f"{device}.REMARK": name,
            }
            read = snapshot(
                values,
                {device: "CCL1ENGINE", f"{name}2": name},
                plugs=(PlugInfo(f"{device}.PLUG"),),
                charge=None,
                titles=dict.fromkeys(values, name),
                information=Information(name, name, name),
            )
            down = replace(DOWN, documents=(Document("devices", False, 0.1, Unreachable(name)),))
            history = ChargerHistory(sessions=[replace(SESSION, plug=name)])
            titled = view("N", read, title=name, plug_titles={f"{device}.PLUG": name}, history=history)
            return [
                Parsed(whole_page(read, NOW).decode()),
                shown(titled),
                shown(view("N", down, url=name)),
                shown(titled, titled, query=urlencode({"q": f"{name} without a match"}, errors="replace")),
            ]

        found, expected = documents(name, "".join(name.split("."))), documents("N", "D")

        for one, other in zip(found, expected, strict=True):
            assert [(tag, attributes.keys()) for tag, attributes in one.elements] == [
                (tag, attributes.keys()) for tag, attributes in other.elements
            ]
        assert name.split("\n", maxsplit=1)[0] in found[0].text

    def test_characters_that_hide_or_turn_text_are_made_visible(self) -> None:
        assert "two lines and�more�" in shown(view("N", None, title=HOSTILE[-1])).text

    def test_numbers_as_large_as_they_come_make_a_page(self) -> None:
        values: dict[str, Value] = dict.fromkeys(CHARGING, 1.7e308)
        charge = replace(RUNNING, watt_hours=1.7e308, seconds=1e308, begun=NOW)

        assert "Power" in text(snapshot(values, charge=charge))
        assert "Variables" in Parsed(whole_page(snapshot(values, charge=charge), NOW).decode()).text


class TestWhatIsPrivate:
    def test_nothing_personal_is_shown_not_even_that_it_exists(self) -> None:
        secrets: dict[str, Value] = {
            "EVSE.TAG": 9911223344.0,
            "EVSE.TAG_EX": "PLANT-tag-ex",
            "EVSE.PLUG.RESERVE": 7766554433.0,
            "EVSE.RESERVE_EX": "PLANT-reserve",
            "EVSE.NAME": "PLANT-name",
            "EVSE.DESCRIPTION": "PLANT-description",
            "Reader.TAG": "PLANT-tag",
            "Reader.TAGEX": 5544332211.0,
            "Display.TEXT": "PLANT-display",
            "Board.KEYPAD1": 1234567.0,
            "New.CARD_NUMBER": 6655443322.0,
            "New.USERNAME": "PLANT-user",
            "New.SERIAL": None,
            "New.EMAID": "PLANT-emaid",
            "New.VIN": "PLANT-vin",
            "New.PASSWORD": "PLANT-password",
            "New.wifiKey": 8877665544.0,
            "New.REMARK": "PLANT-remark",
            "Blank.REMARK": "PLANT-blank",
            "Blank.X": 9988776655.0,
        }
        types = {"Reader": "TAGREADER", "Display": "DISPLAYCCL1MINI", "Board": "CCL1MINIEMBEDDED", "New": "NEW"}
        types |= {"Blank": ""}
        read = snapshot({**CHARGING, **secrets, "New.COUNT": 5.0}, {**TYPES, **types})
        html = whole_page(read, NOW).decode() + page([view("garage", read)], NOW).decode()

        assert "PLANT" not in html
        for name, value in secrets.items():
            assert f">{name.partition('.')[2]}<" not in html, name
            assert not isinstance(value, float) or f"{value:.0f}" not in html, name
        assert "(hidden)" not in html
        assert "COUNT</th><td>5<" in html

    def test_a_search_finds_nothing_personal(self) -> None:
        read = snapshot({**CHARGING, "EVSE.TAG": 9911223344.0})

        assert "No variable matches." in Parsed(whole_page(read, NOW, "q=EVSE.TAG").decode()).text

    def test_the_free_description_of_a_device_is_not_shown(self) -> None:
        read = snapshot()
        devices = tuple(replace(device, description="PLANT") for device in read.inventory.devices)
        read = replace(read, inventory=replace(read.inventory, devices=devices))

        assert b"PLANT" not in page([view("garage", read)], NOW) + whole_page(read, NOW)


def documents() -> list[Parsed]:
    """A page of each kind."""
    history = ChargerHistory(powers={"EVSE.PLUG": [1000.0] * 1440}, sessions=[SESSION])
    views = [view("garage", snapshot(), history=history), view("down", DOWN), view("new", None)]
    return [*(shown(one) for one in views), shown(*views), Parsed(whole_page(snapshot(), NOW).decode())]


class TestTheDocument:
    @pytest.fixture(params=range(5), ids=["charging", "down", "new", "many", "variables"])
    def document(self, request: pytest.FixtureRequest) -> Parsed:
        which: int = request.param
        return documents()[which]

    def test_the_policy_allows_its_own_stylesheet_and_script_and_nothing_else(self, document: Parsed) -> None:
        (style, script) = document.styles
        hashes = [b64encode(sha256(part.encode()).digest()).decode() for part in (style, script)]

        assert CONTENT_SECURITY_POLICY.startswith(
            f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        )
        assert "unsafe" not in CONTENT_SECURITY_POLICY
        assert not re.search(r"url\(|@import|@font-face|</", style)
        assert not re.search(r"</|innerHTML|eval|//[a-z]", script)

    def test_it_needs_nothing_from_elsewhere(self, document: Parsed) -> None:
        tags = {tag for tag, _ in document.elements}

        assert not tags & {"iframe", "object", "embed", "img", "link", "base"}
        for tag, attributes in document.elements:
            assert not [name for name in attributes if name.startswith("on") or name in ("style", "src")], tag
            assert re.match(
                r"(\.\./)?(metrics|config|sd|charger/[a-z]+(#variables|\.json)?|\?[a-z=&]*)?$",
                attributes.get("href") or "",
            )

    def test_without_a_script_it_reloads_itself(self, document: Parsed) -> None:
        assert {"http-equiv": "refresh", "content": "10; url=?"} in document.all("meta")
        assert len(document.all("noscript")) == 1

    def test_it_fits_a_telephone_and_has_a_dark_form(self, document: Parsed) -> None:
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in document.all("meta")
        assert "prefers-color-scheme: dark" in document.styles[0]

    def test_it_can_be_walked_by_its_headings(self, document: Parsed) -> None:
        levels = [int(tag[1]) for tag, _ in document.elements if re.fullmatch(r"h[1-6]", tag)]

        assert document.all("html") == [{"lang": "en"}]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
        assert all("scope" in attributes for attributes in document.all("th"))

    def test_it_names_its_version(self, document: Parsed) -> None:
        assert "ccl-exporter 0.1.0" in document.text

    def test_no_identifier_stands_for_two_elements(self, document: Parsed) -> None:
        ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]

        assert len(ids) == len(set(ids))

    def test_a_page_of_one_charger_has_at_most_20_kilobytes(self) -> None:
        minutes = [1000.0 + 6000 * (minute // 5 % 2) for minute in range(1440)]
        plugs = ("EVSE.A", "EVSE.B")
        history = ChargerHistory(
            powers=dict.fromkeys(plugs, minutes),
            days={},
            sessions=[replace(SESSION, plug=plugs[n % 2]) for n in range(10)],
        )
        values = {f"{plug}.{name}": 3.0 for plug in plugs for name in ("STATE", "CC", "API", "AI", "VI")}
        read = snapshot(values, {"EVSE": "CCL1ENGINE"}, charge=None, plugs=tuple(map(PlugInfo, plugs)))

        assert len(page([view("garage", read, history=history, url="http://192.0.2.10")], NOW)) <= 20_000

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_every_text_has_the_contrast_that_wcag_aa_asks_for(self, scheme: str) -> None:
        pairs = [
            *product(("ink", "quiet", "link", "bad"), ("ground", "card")),
            *((name, f"{name}-ground") for name in ("good", "wait", "bad", "calm", "off")),
        ]
        blocks = [
            dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part))
            for part in documents()[0].styles[0].split(":root")
        ]
        colours = blocks[1 if scheme == "light" else 2]

        assert [(ink, on) for ink, on in pairs if contrast(colours[ink], colours[on]) < 4.5] == []


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.1."""

    def luminance(colour: str) -> float:
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
