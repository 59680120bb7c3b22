"""The catalogue's rows agree with each other, and its patterns draw the line where it belongs."""

import re
from collections import Counter
from importlib.resources import files

import pytest

from ccl_exporter.metrics.families import VARIABLES
from ccl_exporter.station.catalogue import ROLES, Known, catalogue, last_part, parse_catalogue

FACTS = catalogue()
TEXT = files("ccl_exporter.station").joinpath("catalogue.toml").read_text(encoding="utf-8")
PARTS_IN_ERROR_MASK = 12  # bits 0 to 11 (protocol 9.1)
WORD = r"[a-z]+(_[a-z]+)*"
ROWS = [(group.types[0], name, row) for group in FACTS.groups for name, row in group.variables.items()]


class TestRows:
    def test_a_row_names_a_unit_that_exists(self) -> None:
        wrong = [(type, name) for type, name, row in ROWS if row.unit not in (None, *FACTS.units)]

        assert wrong == []
        assert len(ROWS) > 100

    def test_a_row_can_be_found_by_its_own_name(self) -> None:
        wrong = [
            (type, name) for type, name, row in ROWS if name != last_part(name) or FACTS.known(type, name) != row
        ]

        assert wrong == []

    def test_what_looks_personal_is_marked(self) -> None:
        wrong = [(type, name) for type, name, row in ROWS if not row.sensitive and FACTS.looks_personal(name)]

        assert wrong == []

    def test_no_device_type_stands_in_two_groups(self) -> None:
        counts = Counter(type for group in FACTS.groups for type in group.types)

        assert [type for type, count in counts.items() if count > 1] == []

    def test_no_variable_is_both_plain_and_with_a_unit(self) -> None:
        for group in TEXT.split("[[devices]]")[1:]:
            plain, _, rows = group.partition("[devices.titles]")[0].partition("[devices.variables]")
            names = re.findall(r'"([A-Z0-9_]+)"', plain.partition("plain = [")[2])
            names += re.findall(r"^([A-Z0-9_]+) = ", rows, re.MULTILINE)

            assert [name for name, count in Counter(names).items() if count > 1] == []

    @pytest.mark.parametrize(
        ("known", "wrong", "message"),
        [
            pytest.param(
                'names = ["EVSE"]',
                'nmaes = ["EVSE"]',
                "devices of types ['CCL1ENGINE', 'CCL1MINIENGINE']: unknown keys: nmaes",
                id="a key of a group",
            ),
            pytest.param(
                'role = "reader"',
                'role = "raeder"',
                "devices of types ['TAGREADER']: unknown role 'raeder'",
                id="a role",
            ),
            pytest.param(
                "TEXT = { sensitive = true }",
                "TEXT = { senstive = true }",
                "devices of types ['DISPLAYCCL1MINI']: TEXT: unknown keys: senstive",
                id="a key of a variable",
            ),
            pytest.param(
                'code = 6, word = "starting", status',
                'code = 6, word = "starting", staus',
                "plug_states: 6: unknown keys: staus",
                id="a key of a state",
            ),
        ],
    )
    def test_an_unused_key_is_refused_with_the_name_of_its_row(self, known: str, wrong: str, message: str) -> None:
        assert TEXT.count(known) == 1

        with pytest.raises(ValueError, match=rf"^{re.escape(message)}$"):
            parse_catalogue(TEXT.replace(known, wrong))

    def test_every_role_is_that_of_a_device(self) -> None:
        assert {group.role for group in FACTS.groups} == ROLES

    def test_the_group_of_all_devices_comes_last(self) -> None:
        assert [group.types for group in FACTS.groups][-1] == ("*",)


class TestUnits:
    def test_each_quantity_has_its_family(self) -> None:
        assert [code for code, unit in FACTS.units.items() if unit.quantity not in VARIABLES] == []

    def test_each_family_with_a_unit_has_a_code(self) -> None:
        quantities = {unit.quantity for unit in FACTS.units.values()}

        assert {quantity.removesuffix("_total") for quantity in VARIABLES if quantity is not None} == quantities

    @pytest.mark.parametrize(
        ("code", "sent", "base"),
        [
            pytest.param("#WH", 1.0, 3600.0, id="watt-hour"),
            pytest.param("#VAH", 1.0, 3600.0, id="volt-ampere-hour"),
            pytest.param("#VARH", 1.0, 3600.0, id="var-hour"),
            pytest.param("#VARLH", 1.0, 3600.0, id="inductive"),
            pytest.param("#VARCH", 1.0, 3600.0, id="capacitive"),
            pytest.param("#HOURS", 1.5, 5400.0, id="hours"),
            pytest.param("#SECONDS", 7.0, 7.0, id="seconds"),
            pytest.param("#PERCENT", 50.0, 0.5, id="percent"),
            pytest.param("#PF", 0.9, 0.9, id="power factor"),
            pytest.param("#DEGREES", 120.0, 120.0, id="angle"),
            pytest.param("celsius", -40.0, -40.0, id="celsius"),
            pytest.param("fahrenheit", 212.0, 100.0, id="water boils"),
            pytest.param("fahrenheit", 32.0, 0.0, id="ice melts"),
            pytest.param("fahrenheit", -40.0, -40.0, id="as cold in both"),
        ],
    )
    def test_one_of_it_in_base_units(self, code: str, sent: float, base: float) -> None:
        unit = FACTS.units[code]

        assert (sent + unit.offset) * unit.scale == pytest.approx(base)

    @pytest.mark.parametrize(
        ("code", "factor", "shown"),
        [
            pytest.param("#WH", 3, "kWh", id="kilo"),
            pytest.param("#WH", 0, "Wh", id="plain"),
            pytest.param("#W", 6, "MW", id="mega"),
            pytest.param("#A", -3, "mA", id="milli"),
            pytest.param("#VARL", 3, "kvar", id="reactive"),
            pytest.param("#PERCENT", 0, "%", id="percent"),
            pytest.param("fahrenheit", 0, "°F", id="fahrenheit"),
            pytest.param("KgCO2", 3, "10^3 KgCO2", id="a user's own unit"),
            pytest.param("KgCO2", 0, "KgCO2", id="a user's own unit without a factor"),
            pytest.param("#FURLONG", 0, "#FURLONG", id="an unknown code"),
            pytest.param("#A", 2, "10^2 A", id="a factor without a prefix"),
        ],
    )
    def test_a_unit_is_shown_as_a_person_reads_it(self, code: str, factor: int, shown: str) -> None:
        assert FACTS.symbol(code, factor) == shown


class TestWords:
    def test_words_are_snake_case_and_differ(self) -> None:
        wrong = [
            (name, word, count)
            for name, table in FACTS.codes.items()
            for word, count in Counter(table.values()).items()
            if count > 1 or not re.fullmatch(WORD, word)
        ]

        assert wrong == []

    def test_each_bit_has_its_own_word(self) -> None:
        wrong = [
            (mask, word, count)
            for mask, words in FACTS.bits.items()
            for word, count in Counter(words).items()
            if count > 1 or word == "ok" or not re.fullmatch(WORD, word)
        ]

        assert wrong == []
        assert {len(words) for words in FACTS.bits.values()} == {PARTS_IN_ERROR_MASK}

    def test_a_code_has_the_word_of_the_protocol(self) -> None:
        words = {
            ("station_state", 0): "none",
            ("station_state", 2): "waiting_for_tag",
            ("stop_reason", 4): "disconnect",
            ("stop_reason", 5): "remote",
            ("stop_reason", 10): "vehicle_over_current",
        }

        assert {(table, code): FACTS.codes[table][code] for table, code in words} == words

    def test_a_bit_has_the_word_of_the_protocol(self) -> None:
        words = {
            ("plug_error", 0): "cfg",
            ("plug_error", 3): "lock",
            ("plug_error", 5): "rcd",
            ("plug_error", 11): "other",
            ("station_error", 1): "reader",
            ("station_error", 6): "rcd",
            ("station_error", 11): "version",
        }

        assert {(mask, bit): FACTS.bits[mask][bit] for mask, bit in words} == words


class TestSensitive:
    PERSONAL = (
        *("TAG", "TAG_EX", "TAGEX", "TAG2", "LAST_TAG", "PLUG.TAG", "tag", "Tag", "TAGID", "TAGEX2"),
        *("USER", "LASTUSER", "USERPIN", "USER_NAME", "CARD_ID", "IDCARD", "RFID1", "RFID"),
        *("RESERVE", "RESERVE_EX", "PIN", "PINCODE", "SERIALNUMBER", "SERIAL"),
        *("WIFI_KEY", "wifiKey", "WiFiKey", "WIFIPASSWORD", "WLAN_PSK", "KEY", "SECURKEY", "securKey", "API_KEY2"),
        *("ACCESSCODE", "CODE", "accessCode", "PASS", "WIFIPASS", "passWord", "PASSPHRASE", "SSID", "ssid2"),
        *(
            "MAC",
            "macAddr",
            "MACADDRESS",
            "ETH_MAC",
            "PHONE",
            "PHONE1",
            "MAIL",
            "E_MAIL",
            "userMail",
            "UID",
            "TAG_UID",
        ),
        *(
            "EVCCID",
            "evccId",
            "EMAID",
            "emaId",
            "EMA_ID",
            "CONTRACT",
            "ContractId",
            "VIN",
            "EV_VIN",
            "ICCID",
            "iccId",
        ),
        *(
            "IDENTITY",
            "EvIdentity",
            "CLIENT",
            "CLIENT_ID",
            "SN",
            "SN2",
            "FIRST_NAME",
            "lastName",
            "OWNER",
            "ID_TOKEN",
        ),
        *("TEXT", "KEYPAD1"),
    )
    NOT_PERSONAL = (
        *("VOLTAGE", "VOLTAGE1", "PERCENTAGE", "STAGE", "STAGE2", "VI", "AE", "STATE", "STATUS"),
        *("TEMPERATURE", "LEAKAGE", "USAGE", "TAG.VI", "USER.AE"),
        *(
            "KEYPAD_STATE",
            "keyPadState",
            "CODEC",
            "ERROR_CODE",
            "errorCode",
            "FAULTCODES",
            "STATUS_CODE",
            "DECODED",
        ),
        *(
            "BYPASS",
            "BYPASS_STATE",
            "PASSES",
            "LIQUID_FLOW",
            "FLUIDTEMP",
            "MACHINE",
            "PROCESS_ID",
            "PING",
            "CLIENTS",
        ),
        *("DISCARDED", "CONTRACTED_POWER", "TIMEINTERVAL", "SNR", "MONITOR", "VINPUT", "V_IN", "DI1", "CREDITS"),
    )

    @pytest.mark.parametrize("type", ["SOMETHING_NEW", None])
    def test_an_unknown_variable_that_looks_personal_is_sensitive(self, type: str | None) -> None:
        assert [name for name in self.PERSONAL if not FACTS.sensitive(type, name)] == []

    def test_an_unknown_variable_that_does_not_look_personal_is_not(self) -> None:
        assert [name for name in self.NOT_PERSONAL if FACTS.sensitive("SOMETHING_NEW", name)] == []

    @pytest.mark.parametrize("type", ["CVM1D", "SOMETHING_NEW", None])
    def test_a_text_of_an_unknown_variable_is(self, type: str | None) -> None:
        assert FACTS.sensitive(type, "REMARK", text=True)
        assert not FACTS.sensitive(type, "STATUS", text=True)

    def test_a_number_in_a_personal_part_of_a_device_is_unless_it_has_a_unit(self) -> None:
        assert FACTS.sensitive("SOMETHING_NEW", "PLUG.USER.NUMBER")
        assert not FACTS.sensitive("SOMETHING_NEW", "PLUG.USER.NUMBER", measured=True)

    def test_while_the_type_is_not_known_a_number_is_unless_it_is_certainly_harmless(self) -> None:
        assert FACTS.sensitive(None, "COUNT")
        assert not FACTS.sensitive("SOMETHING_NEW", "COUNT")
        assert not FACTS.sensitive(None, "COUNT", measured=True)
        assert [name for name in ("AE", "PLUG.STATE", "VI3", "DI1", "STATUS") if FACTS.sensitive(None, name)] == []
        assert [name for name in self.PERSONAL if not FACTS.sensitive(None, name, measured=True)] == []

    @pytest.mark.parametrize(
        ("type", "name"),
        [
            pytest.param("CCL1ENGINE", "TAG", id="tag of the engine"),
            pytest.param("CCL1ENGINE", "TAG_EX", id="tag as text"),
            pytest.param("CCL1ENGINE", "PLUG.RESERVE", id="reservation of a plug"),
            pytest.param("CCL1ENGINE", "PLUG.RESERVE_EX", id="reservation as text"),
            pytest.param("TAGREADER", "TAG", id="tag of the reader"),
            pytest.param("TAGREADER", "TAGEX", id="tag of the reader as text"),
            pytest.param("DISPLAYCCL1MINI", "TEXT", id="what the display shows"),
            pytest.param("CVM1D", "NAME", id="a person's name for a device"),
            pytest.param(None, "DESCRIPTION", id="a person's words on a device"),
        ],
    )
    def test_a_known_variable_is_sensitive_if_it_is_marked(self, type: str | None, name: str) -> None:
        assert FACTS.sensitive(type, name)

    @pytest.mark.parametrize(
        ("type", "name"),
        [
            pytest.param("CCL1ENGINE", "PLUG.STATE", id="state"),
            pytest.param("TAGREADER", "RESTRICTED", id="restriction"),
            pytest.param("CCL1ENGINE", "PLUG.AE", id="energy"),
            pytest.param("CVM1D", "VDTTM", id="date of the data"),
        ],
    )
    def test_a_known_variable_is_not_sensitive_if_it_is_not_marked(self, type: str, name: str) -> None:
        assert not FACTS.sensitive(type, name)


class TestRegisters:
    GROWS = (
        *("AE", "IE", "CE", "VAE", "NAE", "NIE", "NCE", "AE1", "AE2", "AE3", "NAE1", "VAE3"),
        *("AET1", "AE1T2", "NCET12", "PLUG.AE", "Module2.AE", "ae"),
    )
    MAY_FALL = (
        *("AEB", "AEE", "AEP", "PAE", "PIE", "PCE", "RPE", "NAEB", "NIEE", "AE4", "AE12", "AE0", "AET", "AETX"),
        *("API", "AI", "E", "NE", "CAE", "AE.X", "STATE", "DATE", "PHASE"),
    )

    def test_some_names_are_those_of_registers_that_only_grow(self) -> None:
        assert [name for name in self.GROWS if not FACTS.register(name, None)] == []
        assert [name for name in self.MAY_FALL if FACTS.register(name, None)] == []

    def test_what_the_engine_counts_differences_of_only_grows(self) -> None:
        assert [name for name in ("ENERGY", "AEB", "X") if not FACTS.register(name, "differential")] == []

    def test_another_mode_says_nothing(self) -> None:
        modes = ("last", "first", "average", "maxDemand", "")

        assert [mode for mode in modes if not FACTS.register("AE", mode)] == []
        assert [mode for mode in modes if FACTS.register("AEB", mode)] == []


class TestDevices:
    def test_a_type_has_its_role(self) -> None:
        roles = {
            "CVM1D": "meter",
            "CVMMINI": "meter",
            "CEMC10": "meter",
            "CEMC30": "meter",
            "CCL1ENGINE": "engine",
            "CCL1MINIENGINE": "engine",
            "MODO3": "vehicle",
            "M1CD": "vehicle",
            "CCL1MINIEMBEDDED": "board",
            "TAGREADER": "reader",
            "DISPLAYCCL1MINI": "display",
            "SOMETHING_NEW": "",
            "": "",
            None: "",
        }

        assert {type: FACTS.role(type) for type in roles} == roles

    def test_a_title_names_the_phase(self) -> None:
        assert FACTS.title("CVM1D", "AE") == "Active energy"
        assert FACTS.title("CVM1D", "VI2") == "Voltage, L2"
        assert FACTS.title("CCL1ENGINE", "PLUG.VDTTM") == "Time of the newest data"
        assert FACTS.title("unknown", "AE") == ""

    def test_a_meters_phase_is_like_the_whole(self) -> None:
        whole = {"AE1": "AE", "VI3": "VI", "API2": "API", "PFI1": "PFI", "IE2": "IE"}
        wrong = [
            name
            for name, like in whole.items()
            if FACTS.known("CVMMINI", like) is None or FACTS.known("CVMMINI", name) != FACTS.known("CVMMINI", like)
        ]

        assert wrong == []

    def test_only_one_of_three_is_a_phase(self) -> None:
        names = ("VI0", "VI4", "VI12", "VI_1", "1", "", "VDTTM1", "STATUS2")

        assert [name for name in names if FACTS.known("CVMMINI", name) is not None] == []

    def test_only_a_meter_has_phases(self) -> None:
        assert FACTS.known("CCL1ENGINE", "PLUG.AE1") is None

    def test_a_sub_device_has_the_variables_of_its_device(self) -> None:
        assert FACTS.known("CCL1ENGINE", "PLUG.AE") == FACTS.known("CCL1ENGINE", "AE")
        assert FACTS.known("CVM1D", "Module2.VI") == FACTS.known("CVM1D", "VI")

    def test_another_device_does_not(self) -> None:
        assert FACTS.known("TAGREADER", "AE") is None

    @pytest.mark.parametrize("type", ["CVM1D", "TAGREADER", "SOMETHING_NEW", None])
    def test_every_device_has_a_status_and_a_date(self, type: str | None) -> None:
        assert FACTS.known(type, "STATUS") == Known()
        assert FACTS.known(type, "VDTTM") == Known(unit="#DATETIME")

    def test_the_last_part_is_what_stands_behind_the_last_dot(self) -> None:
        parts = {"AE": "AE", "PLUG.ae": "AE", "a.b.C": "C", "": "", "A.": ""}

        assert {name: last_part(name) for name in parts} == parts
