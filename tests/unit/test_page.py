"""The live page: what it says, what it must never say, and that nothing of a charger becomes markup."""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from html import escape
from html.parser import HTMLParser
from itertools import pairwise, product

import pytest
from helpers.plugs import plug

from ccl_exporter.errors import Unreachable
from ccl_exporter.exporter.web.page import CONTENT_SECURITY_POLICY, ChargerView, page, why_not_charging
from ccl_exporter.powerstudio.inventory import Device, Information, Inventory, PlugInfo, VariableInfo, owner
from ccl_exporter.powerstudio.snapshot import ChargeRecord, Document, Moment, Snapshot, SystemStatus, Value
from ccl_exporter.station.catalogue import catalogue
from ccl_exporter.station.plug import Measured, Plug, Session

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
        (self.styles if self.open[-1:] == ["style"] else self.words).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def shown(*views: ChargerView, now: float = NOW) -> Parsed:
    return Parsed(page(views, now, "0.1.0").decode())


def text(told: Snapshot | None, now: float = NOW) -> str:
    """What a person reads of one charger."""
    return shown(ChargerView("garage", told), now=now).text


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
            pytest.param(plug(vehicle_connected=False), "No vehicle is connected.", id="nobody there"),
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
            pytest.param(
                plug("waiting_for_power", allowed=None), "It waits for power.", id="a limit nobody knows"
            ),
            pytest.param(plug("waiting_for_power", allowed=16.0), "It waits for power.", id="no power for 16 A"),
            pytest.param(
                plug("waiting_for_power", allowed=3.2),
                "The current limit is below the minimum of a vehicle (3.2 A of 6 A).",
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
                "A fault prevents it: residual-current device (RCD), temperature.",
                id="faults go before everything else",
            ),
            pytest.param(plug("error"), "unknown fault", id="an error without a bit"),
        ],
    )
    def test_it_says_what_stands_in_the_way(self, seen: Plug, why: str) -> None:
        told = why_not_charging(seen, "waiting_for_tag")

        assert why in told
        assert (why == "") == (told == "")

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
            told = why_not_charging(seen, station)
            assert (told == "") == (row is not None and row.word == "charging")
            assert re.fullmatch(r"|[A-Z][^{}_]+\.", told), told

    def test_faults_are_told_for_every_bit_that_there_is(self) -> None:
        for word in catalogue().bits["plug_error"]:
            told = why_not_charging(plug(vehicle_connected=False, faults=(word,)), None)
            assert re.fullmatch(r"A fault prevents it: [A-Za-z -]+(\(RCD\))?\.", told)


class TestWhatIsShown:
    def test_a_running_charge_is_told_in_the_units_that_people_use(self) -> None:
        told = text(snapshot(information=Information("CirCarLife", "4.2.3", "Circontrol")))

        assert "Chargers: 1 of 1 charging" in told
        assert (
            "EVSE.PLUG Charging Power 7.36 kW Current 31.9 A Voltage 231.4 V Current limit 16.0 A of 32 A" in told
        )
        assert "This charge 3.42 kWh 1 h 2 min since 2026-09-21 13:11:20 UTC" in told
        assert "Meter 4855.39 kWh Vehicle connected plug locked Faults none" in told
        assert "Not charging" not in told
        assert "Read 3 s ago, 2026-09-21 14:13:17 UTC" in told
        assert "Active events 2" in told
        assert "Engine CirCarLife 4.2.3" in told

    def test_a_finished_charge_is_the_present_one_until_the_vehicle_leaves(self) -> None:
        ended = snapshot({**CHARGING, "EVSE.PLUG.STATE": 12.0, "EVSE.PLUG.API": 0.0}, charge=ENDED)
        left = snapshot({**CHARGING, "EVSE.PLUG.STATE": 0.0, "EVSE.PLUG.CC": 0.0}, charge=ENDED)

        assert "This charge 3.42 kWh 1 h 2 min until 2026-09-21 14:12:20 UTC ended by the vehicle" in text(ended)
        assert "Not charging: The session has ended and the vehicle is still connected; it was ended by" in text(
            ended
        )
        assert "Last charge 3.42 kWh" in text(left)
        assert "Not charging: No vehicle is connected." in text(left)

    def test_faults_are_told_in_words_where_they_are_looked_for(self) -> None:
        told = text(snapshot({**CHARGING, "EVSE.PLUG.STATE": -1.0, "EVSE.PLUG.ERROR": 288.0, "EVSE.ERROR": 2.0}))

        assert "Not charging: A fault prevents it: residual-current device (RCD), emergency stop." in told
        assert "Faults residual-current device (RCD), emergency stop" in told
        assert "Faults card reader" in told

    def test_three_phases_are_shown_each_and_only_power_is_added_up(self) -> None:
        meter = {
            f"M.{name}{n}": value + n for n in (1, 2, 3) for name, value in (("API", 3.0), ("AI", 15), ("VI", 230))
        }
        plug = replace(PLUG, meter="M")
        values = {"EVSE.PLUG.STATE": 8.0, **{name: float(value) for name, value in meter.items()}}
        told = text(snapshot(values, {"EVSE": "CCL1ENGINE", "M": "CVMMINI"}, plugs=(plug,)))

        assert "Power 15.00 kW L1 4.00 kW L2 5.00 kW L3 6.00 kW" in told
        assert "Current 18.0 A L1 16.0 A L2 17.0 A L3 18.0 A" in told
        assert "Voltage 233.0 V L1 231.0 V L2 232.0 V L3 233.0 V" in told

    def test_two_plugs_each_have_their_own_state(self) -> None:
        values = {"EVSE.A.STATE": 8.0, "EVSE.A.API": 3.5, "EVSE.B.STATE": 0.0, "EVSE.B.CC": 0.0}
        two = snapshot(values, {"EVSE": "CCL1ENGINE"}, charge=None, plugs=(PlugInfo("EVSE.A"), PlugInfo("EVSE.B")))
        told = shown(ChargerView("post", two), ChargerView("other", None)).text

        assert "EVSE.A Charging Power 3.50 kW" in told
        assert "EVSE.B Available Not charging: No vehicle is connected." in told
        assert "post EVSE.A Charging 3.50 kW – 3 s ago post EVSE.B Available – – 3 s ago" in told  # noqa: RUF001

    def test_a_charger_that_is_not_reachable_says_why_and_when_it_was_tried(self) -> None:
        told = text(DOWN)

        assert "Not reachable no connection to <evse>" in told
        assert "Tried 2 h 1 min ago, 2026-09-21 12:12:15 UTC" in told

    def test_a_charger_that_was_not_read_yet_says_so(self) -> None:
        assert "Not read yet The first reading has not ended." in text(None)

    def test_an_engine_without_plugs_shows_its_devices(self) -> None:
        told = text(snapshot({"Yard.AE": 2.5}, {"Yard": "CVM1D"}, charge=None, plugs=()))

        assert "It tells of no plug." in told
        assert "Yard CVM1D variables: 1 Variable Value AE 2.5 kWh" in told

    def test_no_charger_at_all_is_a_page_too(self) -> None:
        assert "No charger is configured." in shown().text

    def test_what_is_missing_is_a_dash_and_never_a_zero(self) -> None:
        told = text(snapshot({"EVSE.PLUG.STATE": 8.0}, charge=None))

        assert "Power – Current – Voltage – Current limit 32.0 A of 32 A" in told  # noqa: RUF001
        assert "Last charge – Meter –" not in told  # noqa: RUF001
        assert "This charge – Meter – Vehicle – Faults –" in told  # noqa: RUF001

    def test_documents_that_failed_are_named(self) -> None:
        partial = replace(
            snapshot(), documents=(Document("charge_info", False, 0.1), Document("values", True, 0.1))
        )

        assert "Not read charge info" in text(partial)

    @pytest.mark.parametrize(
        ("seconds", "age"),
        [
            (-5, "now"),
            (0.4, "now"),
            (59, "59 s ago"),
            (61, "1 min 1 s ago"),
            (7200, "2 h ago"),
            (90061, "1 d 1 h ago"),
        ],
    )
    def test_the_age_of_a_reading_is_told(self, seconds: float, age: str) -> None:
        assert f"Read {age}, " in text(snapshot(taken=NOW - seconds))

    def test_old_values_are_marked_as_old(self) -> None:
        marked = [{"class": "stale"}]

        assert [a for a in shown(ChargerView("g", snapshot(taken=NOW - 119))).all("span") if a in marked] == []
        assert [a for a in shown(ChargerView("g", snapshot(taken=NOW - 121))).all("span") if a in marked] == marked

    @pytest.mark.parametrize("absurd", [1e300, 1e12, -1.0])
    def test_an_instant_that_no_calendar_has_is_left_out(self, absurd: float) -> None:
        told = text(snapshot(charge=replace(RUNNING, begun=absurd)))

        assert "This charge 3.42 kWh Meter" in told

    def test_devices_show_all_their_variables_with_title_value_and_unit(self) -> None:
        values: dict[str, Value] = {
            "EVSE.PLUG.AE": 4855.39,
            "EVSE.RUNTIME": Moment(NOW - 100_000),
            "EVSE.NOTHING": None,
            "Mode.STATUS": 34.0,
            "Mode.INTENSITY": 0.0,
        }
        told = text(snapshot(values, titles={"EVSE.PLUG.AE": "Active energy"}))

        assert "EVSE CCL1ENGINE variables: 3" in told
        assert "PLUG.AE Active energy 4855.39 kWh" in told
        assert "RUNTIME 2026-09-20T10:26:40Z" in told
        assert "NOTHING –" in told  # noqa: RUF001
        assert "Mode MODO3 variables: 2, does not answer" in told
        assert "INTENSITY –" in told, "zeros of a silent device are no readings"  # noqa: RUF001

    def test_fifty_chargers_begin_with_a_table_whose_links_lead_to_each(self) -> None:
        told = shown(*(ChargerView(f"bay-{n}", (snapshot(), DOWN, None)[n % 3]) for n in range(50)))
        anchors = [(a["href"] or "").partition("#")[2] for a in told.all("a") if a["href"] != "metrics"]
        ids = [attributes["id"] for _, attributes in told.elements if "id" in attributes]

        assert "Chargers: 17 of 50 charging" in told.text
        assert "Charger State Power This charge Read bay-0 Charging 7.36 kW 3.42 kWh 3 s ago bay-1" in told.text
        assert len(ids) == len(set(ids))
        assert set(anchors) == set(ids)
        assert anchors[:50] == [f"charger-{n}" for n in range(1, 51)]


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
        device = "".join(name.split("."))
        values: dict[str, Value] = {
            f"{device}.PLUG.STATE": 8.0,
            f"{device}.{name}": name,
            f"{device}.REMARK": name,
        }
        told = snapshot(
            values,
            {device: "CCL1ENGINE", f"{name}2": name},
            plugs=(PlugInfo(f"{device}.PLUG"),),
            charge=None,
            titles=dict.fromkeys(values, name),
            information=Information(name, name, name),
        )
        down = replace(DOWN, documents=(Document("devices", False, 0.1, Unreachable(name)),))
        calm = snapshot(
            {"D.PLUG.STATE": 8.0, "D.N": "N", "D.REMARK": "N"},
            {"D": "CCL1ENGINE", "N2": "N"},
            plugs=(PlugInfo("D.PLUG"),),
            charge=None,
            titles={"D.PLUG.STATE": "N", "D.N": "N", "D.REMARK": "N"},
            information=Information("N", "N", "N"),
        )

        found, expected = (
            shown(ChargerView(label, read), ChargerView(label, failed))
            for label, read, failed in ((name, told, down), ("N", calm, DOWN))
        )

        assert found.elements == expected.elements
        assert name.split("\n", maxsplit=1)[0] in found.text

    def test_characters_that_hide_or_turn_text_are_made_visible(self) -> None:
        assert "two lines and�more�" in shown(ChargerView(HOSTILE[-1], None)).text

    def test_numbers_as_large_as_they_come_make_a_page(self) -> None:
        values: dict[str, Value] = dict.fromkeys(CHARGING, 1.7e308)
        charge = replace(RUNNING, watt_hours=1.7e308, seconds=1e308, begun=NOW)

        assert "Power" in text(snapshot(values, charge=charge))


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
        told = snapshot({**CHARGING, **secrets, "New.COUNT": 5.0}, {**TYPES, **types})
        html = page([ChargerView("garage", told), ChargerView("again", told)], NOW, "0.1.0").decode()

        assert "PLANT" not in html
        for name, value in secrets.items():
            assert f">{name.partition('.')[2]}<" not in html, name
            assert not isinstance(value, float) or f"{value:.0f}" not in html, name
        assert "(hidden)" not in html
        assert "COUNT</th><td>5<" in html

    def test_the_free_description_of_a_device_is_not_shown(self) -> None:
        told = snapshot()
        devices = tuple(replace(device, description="PLANT") for device in told.inventory.devices)

        assert "PLANT" not in text(replace(told, inventory=replace(told.inventory, devices=devices)))


class TestTheDocument:
    @pytest.fixture
    def document(self) -> Parsed:
        return shown(ChargerView("garage", snapshot()), ChargerView("down", DOWN), ChargerView("new", None))

    def test_the_policy_allows_its_own_stylesheet_and_nothing_else(self, document: Parsed) -> None:
        (style,) = document.styles
        digest = b64encode(sha256(style.encode()).digest()).decode()

        assert CONTENT_SECURITY_POLICY.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")
        assert "unsafe" not in CONTENT_SECURITY_POLICY
        assert not re.search(r"url\(|@import|@font-face|</", style)

    def test_it_needs_no_script_and_nothing_from_elsewhere(self, document: Parsed) -> None:
        tags = {tag for tag, _ in document.elements}

        assert not tags & {"script", "iframe", "object", "embed", "img", "link", "form", "base", "svg"}
        for tag, attributes in document.elements:
            assert not [name for name in attributes if name.startswith("on") or name in ("style", "src")], tag
            assert re.match(r"(\?[a-z0-9-]+)?#|metrics$", attributes.get("href") or "#"), attributes

    def test_it_renews_itself_and_fits_a_telephone(self, document: Parsed) -> None:
        metas = document.all("meta")

        assert {"http-equiv": "refresh", "content": "10; url=."} in metas
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
        assert "prefers-color-scheme: dark" in document.styles[0]

    def test_the_device_that_its_address_names_stays_unfolded(self) -> None:
        views = [ChargerView("garage", snapshot())]
        told = Parsed(page(views, NOW, "0.1.0", "charger-1-device-2").decode())

        assert told.all("details") == [{}, {"open": None}]
        assert {"http-equiv": "refresh", "content": "10; url=?charger-1-device-2"} in told.all("meta")
        assert [a["href"] for a in told.all("a")][:2] == ["?charger-1-device-1#charger-1-device-1", ".#charger-1"]

    @pytest.mark.parametrize(
        "query", ["", "x", '"><script>', "charger-1", "charger-1-device-1&a=b", "charger-1-device-٣"]
    )
    def test_any_other_query_changes_nothing(self, query: str) -> None:
        views = [ChargerView("garage", snapshot())]

        assert page(views, NOW, "0.1.0", query) == page(views, NOW, "0.1.0")

    def test_it_can_be_walked_by_its_headings(self, document: Parsed) -> None:
        levels = [int(tag[1]) for tag, _ in document.elements if re.fullmatch(r"h[1-6]", tag)]

        assert document.all("html") == [{"lang": "en"}]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
        assert all("scope" in attributes for attributes in document.all("th"))

    def test_it_leads_to_the_metrics_and_tells_its_version(self, document: Parsed) -> None:
        assert {"href": "metrics"} in document.all("a")
        assert "ccl-exporter 0.1.0" in document.text

    def test_the_same_readings_make_the_same_bytes(self) -> None:
        views = [ChargerView("garage", snapshot()), ChargerView("down", DOWN)]

        assert page(views, NOW, "0.1.0") == page(views, NOW, "0.1.0")

    def test_the_name_of_a_charger_stands_in_the_page_as_it_is(self) -> None:
        name = 'Müller & Söhne "Nord"'

        assert f"<h2>{escape(name)}</h2>" in page([ChargerView(name, None)], NOW, "0.1.0").decode()

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_every_text_has_the_contrast_that_wcag_aa_asks_for(self, document: Parsed, scheme: str) -> None:
        pairs = [
            *product(("ink", "quiet", "link", "bad"), ("ground", "card")),
            *((name, f"{name}-ground") for name in ("good", "wait", "bad", "calm", "off")),
        ]
        blocks = [
            dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in document.styles[0].split(":root")
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
