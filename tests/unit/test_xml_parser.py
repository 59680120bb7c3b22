"""What each document means, and that nothing else is ever taken for it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from ccl_exporter.errors import AccessDenied, CclError, Garbled, TooLarge
from ccl_exporter.powerstudio import xml_parser
from ccl_exporter.powerstudio.inventory import Device, Information, PlugInfo, VariableInfo
from ccl_exporter.powerstudio.snapshot import ChargeRecord, Moment, PlugStateRecord, SystemStatus

DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
GUID = "0C0FFEE0-1111-2222-3333-444455556666.0DECAF00-7777-8888-9999-AAAABBBBCCCC"


def moment(*parts: int) -> Moment:
    return Moment(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]  # year to microsecond


def xml(body: str) -> bytes:
    return (DECLARATION + body).encode()


def values_of(inner: str) -> bytes:
    """values.xml of one variable, with `inner` behind its id."""
    return xml(f"<values><variable><id>Pump.X</id>{inner}</variable></values>")


def var_info_of(inner: str) -> VariableInfo:
    [(_, _, info)] = xml_parser.var_info(xml(f"<varInfo><var><id>X</id>{inner}</var></varInfo>"))
    return info


def charge_of(inner: str) -> ChargeRecord:
    return xml_parser.charge_info(
        xml(f"<chargesInfo><chargeInfo><name>Bay.A</name>{inner}</chargeInfo></chargesInfo>")
    )["Bay.A"]


PARSERS: dict[str, tuple[Callable[[bytes], Any], str]] = {
    "devices": (xml_parser.devices, "devices"),
    "device_info": (xml_parser.device_info, "devices"),
    "var_info": (xml_parser.var_info, "varInfo"),
    "values": (xml_parser.values, "values"),
    "plug_info": (xml_parser.plug_info, "plugsInfo"),
    "plug_state": (xml_parser.plug_state, "plugsState"),
    "charge_info": (xml_parser.charge_info, "chargesInfo"),
    "system_status": (xml_parser.system_status, "systemStatus"),
    "information": (xml_parser.information, "systemInformation"),
}


def outcome(parse: Callable[[bytes], Any], data: bytes) -> type:
    """The type of the error that a parser raises, else of what it returns."""
    try:
        return type(parse(data))
    except CclError as error:
        return type(error)


class TestDevices:
    def test_they_come_in_the_engines_order(self) -> None:
        assert xml_parser.devices(xml("<devices><id>Zeta</id><id>Alfa</id></devices>")) == ("Zeta", "Alfa")

    def test_a_device_listed_twice_is_one_device(self) -> None:
        assert xml_parser.devices(xml("<devices><id>A</id><id>B</id><id>A</id></devices>")) == ("A", "B")

    def test_a_device_without_a_name_is_none(self) -> None:
        assert xml_parser.devices(xml("<devices><id></id><id> </id><id/><id>A</id></devices>")) == ("A",)

    def test_no_devices_are_no_error(self) -> None:
        assert xml_parser.devices(xml("<devices></devices>")) == ()


class TestDeviceInfo:
    @pytest.mark.parametrize(
        ("outer", "inner"),
        [
            pytest.param("devices", "device", id="user"),
            pytest.param("devicesInfo", "deviceInfo", id="chargePointsInterface"),
        ],
    )
    def test_both_shapes_report_the_same(self, outer: str, inner: str) -> None:
        body = (
            f"<{outer}><{inner}><id>Hall - Meter</id><type>CVM1D</type><typeDescription>CVM-1D</typeDescription>"
            f"<var>Hall - Meter.AE</var><var>Hall - Meter.VI</var></{inner}></{outer}>"
        )

        assert xml_parser.device_info(xml(body)) == (
            Device("Hall - Meter", "CVM1D", "CVM-1D", ("Hall - Meter.AE", "Hall - Meter.VI")),
        )

    def test_a_name_without_its_device_gets_it(self) -> None:
        body = "<devices><device><id>Hall</id><var>AE</var><var>SUB.AE</var><var>Hall.VI</var></device></devices>"

        [device] = xml_parser.device_info(xml(body))

        assert device.variables == ("Hall.AE", "Hall.SUB.AE", "Hall.VI")

    def test_a_longer_name_that_begins_like_the_device_is_not_taken_for_it(self) -> None:
        body = "<devices><device><id>Hall</id><var>Hall2.AE</var></device></devices>"

        [device] = xml_parser.device_info(xml(body))

        assert device.variables == ("Hall.Hall2.AE",)

    def test_a_variable_sent_twice_is_one_variable(self) -> None:
        body = "<devices><device><id>A</id><var>A.X</var><var>X</var><var>A.X</var></device></devices>"

        [device] = xml_parser.device_info(xml(body))

        assert device.variables == ("A.X",)

    def test_a_device_without_a_name_is_none(self) -> None:
        assert xml_parser.device_info(xml("<devices><device><type>CVM1D</type></device></devices>")) == ()

    def test_what_is_not_reported_is_none(self) -> None:
        assert xml_parser.device_info(xml("<devices><device><id>A</id><type/></device></devices>")) == (
            Device("A"),
        )

    def test_variables_of_a_module_are_no_variables_of_the_device(self) -> None:
        body = "<devices><device><id>A</id><modules><module><var>A.M</var></module></modules></device></devices>"

        [device] = xml_parser.device_info(xml(body))

        assert device.variables == ()


class TestValues:
    @pytest.mark.parametrize(
        ("inner", "value"),
        [
            pytest.param("<value>32.000000</value>", 32.0, id="six decimals"),
            pytest.param("<value>-100.000000</value>", -100.0, id="negative"),
            pytest.param("<value>7</value>", 7.0, id="whole"),
            pytest.param("<value>0.000000</value>", 0.0, id="zero"),
            pytest.param("<value>1e3</value>", 1000.0, id="exponent"),
            pytest.param("<value> \n 5.5\t</value>", 5.5, id="blanks around"),
            pytest.param("<value>-</value>", None, id="dash"),
            pytest.param("<value> - </value>", None, id="dash with blanks"),
            pytest.param("<value></value>", None, id="empty"),
            pytest.param("<value/>", None, id="closed at once"),
            pytest.param("", None, id="no element"),
            pytest.param("<value>1e999</value>", None, id="too large for a number"),
            pytest.param("<value>-1e999</value>", None, id="too small for a number"),
            pytest.param("<textValue>Hall lamp</textValue>", "Hall lamp", id="text"),
            pytest.param("<textValue>  padded  </textValue>", "padded", id="padded text"),
            pytest.param("<textValue>-</textValue>", None, id="text that is a dash"),
            pytest.param("<textValue></textValue>", None, id="empty text"),
            pytest.param("<textValue>12.5</textValue>", "12.5", id="text of digits stays text"),
            pytest.param("<value>17102022135525</value>", moment(2022, 10, 17, 13, 55, 25), id="date"),
            pytest.param(
                "<value>17102022135525250</value>", moment(2022, 10, 17, 13, 55, 25, 250000), id="date with ms"
            ),
            pytest.param("<value>31022022000000</value>", None, id="14 digits that are no date"),
            pytest.param("<value>99999999999999</value>", None, id="14 nines"),
            pytest.param("<value>00000000000000</value>", None, id="14 zeros"),
            pytest.param("<value>17102022245525250</value>", None, id="17 digits that are no date"),
            pytest.param("<value>123456789012345</value>", 123456789012345.0, id="15 digits"),
            pytest.param("<value>17102022</value>", 17102022.0, id="8 digits are a number"),
            pytest.param("<value>17102022135525.000000</value>", 17102022135525.0, id="date with a point"),
        ],
    )
    def test_a_value_is_what_was_sent(self, inner: str, value: object) -> None:
        read = xml_parser.values(values_of(inner))

        assert read == {"Pump.X": value}
        assert type(read["Pump.X"]) is type(value)

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("nan", id="nan"),
            pytest.param("NaN", id="NaN"),
            pytest.param("inf", id="inf"),
            pytest.param("-Infinity", id="infinity"),
            pytest.param("32,5", id="comma"),
            pytest.param("1_000", id="underscore"),
            pytest.param("\u0663\u0662", id="arabic digits"),
            pytest.param("\uff13\uff12", id="wide digits"),
            pytest.param("0x20", id="hexadecimal"),
            pytest.param("1 000", id="blank inside"),
            pytest.param("12.5 A", id="unit behind"),
            pytest.param("--", id="two dashes"),
            pytest.param("1e", id="half an exponent"),
            pytest.param(".", id="a point"),
            pytest.param("\u0661\u0667\u0661\u0660\u0662\u0660\u0662\u0662135525", id="date in arabic digits"),
        ],
    )
    def test_what_only_looks_like_a_number_is_none(self, text: str) -> None:
        value = xml_parser.values(values_of(f"<value>{text}</value>"))["Pump.X"]

        assert not isinstance(value, float | Moment)

    @pytest.mark.parametrize(
        ("inner", "value"),
        [
            pytest.param("<textValue><value>239.400000</value></textValue>", 239.4, id="number"),
            pytest.param("<textValue><value>-</value></textValue>", None, id="number that is a dash"),
            pytest.param("<textStr>Hello  </textStr>", "Hello", id="text"),
            pytest.param("<textStr>-</textStr>", None, id="dash"),
            pytest.param("<textStr></textStr>", None, id="empty text"),
            pytest.param("<textStr>12.5</textStr>", "12.5", id="text of digits stays text"),
            pytest.param("<textDate><date>17102022135525</date></textDate>", moment(2022, 10, 17, 13, 55, 25)),
            pytest.param("<textDate><date>-</date></textDate>", None, id="date that is a dash"),
            pytest.param("<textDate><date></date></textDate>", None, id="empty date"),
            pytest.param("<textDate></textDate>", None, id="no date"),
            pytest.param("", None, id="nothing"),
        ],
    )
    def test_device_state_reports_the_same_in_types(self, inner: str, value: object) -> None:
        body = (
            f"<deviceState><id>{GUID}</id><device>Pump</device>"
            f"<variable><id>Pump.X</id><text>{inner}</text></variable></deviceState>"
        )

        read = xml_parser.values(xml(body))

        assert read == {"Pump.X": value}
        assert type(read["Pump.X"]) is type(value)

    @pytest.mark.parametrize(
        ("date", "value"),
        [
            pytest.param("17102022", moment(2022, 10, 17), id="day only"),
            pytest.param("17102022135525250", moment(2022, 10, 17, 13, 55, 25, 250000), id="with ms"),
            pytest.param("0", None, id="zero"),
            pytest.param("-1.000000", None, id="minus one"),
            pytest.param("1633452620", None, id="10 digits"),
            pytest.param("yesterday", None, id="a word"),
        ],
    )
    def test_a_date_of_device_state_is_an_instant_or_nothing(self, date: str, value: Moment | None) -> None:
        body = f"<variable><id>A.B</id><text><textDate><date>{date}</date></textDate></text></variable>"

        assert xml_parser.values(xml(f"<deviceState>{body}</deviceState>")) == {"A.B": value}

    def test_a_variable_sent_twice_alike_keeps_its_value(self) -> None:
        body = "<variable><id>A.X</id><value>1.5</value></variable>" * 2

        assert xml_parser.values(xml(f"<values>{body}</values>")) == {"A.X": 1.5}

    @pytest.mark.parametrize(
        "sent",
        [
            pytest.param(["1.0", "2.0"], id="twice"),
            pytest.param(["1.0", "2.0", "1.0"], id="thrice, the last as the first"),
            pytest.param(["1.0", "2.0", "2.0"], id="thrice, the last as the second"),
            pytest.param(["1.0", "-"], id="once a dash"),
            pytest.param(["-", "1.0"], id="first a dash"),
            pytest.param(["1.0", "17102022135525"], id="number and date"),
        ],
    )
    def test_a_variable_sent_differently_has_no_value(self, sent: list[str]) -> None:
        body = "".join(f"<variable><id>A.X</id><value>{value}</value></variable>" for value in sent)

        assert xml_parser.values(xml(f"<values>{body}</values>")) == {"A.X": None}

    def test_a_value_without_a_name_is_left_out(self) -> None:
        body = "<variable><value>1.0</value></variable><variable><id> </id><value>2.0</value></variable>"

        assert xml_parser.values(xml(f"<values>{body}</values>")) == {}

    def test_an_empty_root_is_no_values(self) -> None:
        assert xml_parser.values(xml("<values></values>")) == {}

    def test_names_keep_their_blanks_signs_and_accents(self) -> None:
        body = "<variable><id>Caf\u00e9 - R$1 &amp; \u00bfqu\u00e9? +.A.B</id><value>1.0</value></variable>"

        assert xml_parser.values(xml(f"<values>{body}</values>")) == {
            "Caf\u00e9 - R$1 & \u00bfqu\u00e9? +.A.B": 1.0
        }

    def test_a_text_may_say_anything_even_not_granted(self) -> None:
        assert xml_parser.values(values_of("<textValue>not granted</textValue>")) == {"Pump.X": "not granted"}


class TestDates:
    @pytest.mark.parametrize(
        ("digits", "expected"),
        [
            pytest.param("05102021", moment(2021, 10, 5), id="day"),
            pytest.param("05102021165020", moment(2021, 10, 5, 16, 50, 20), id="second"),
            pytest.param("05102021165020091", moment(2021, 10, 5, 16, 50, 20, 91000), id="millisecond"),
            pytest.param("29022024000000", moment(2024, 2, 29), id="leap day"),
            pytest.param("01011999000000", moment(1999, 1, 1), id="a clock never set is still a date"),
            pytest.param("01010001000000", moment(1, 1, 1), id="first year"),
            pytest.param("31129999235959", moment(9999, 12, 31, 23, 59, 59), id="last second"),
            pytest.param("29022023000000", None, id="no leap year"),
            pytest.param("00102021165020", None, id="day 0"),
            pytest.param("05132021165020", None, id="month 13"),
            pytest.param("05100000165020", None, id="year 0"),
            pytest.param("05102021240000", None, id="hour 24"),
            pytest.param("05102021166020", None, id="minute 60"),
            pytest.param("05102021165060", None, id="second 60"),
            pytest.param("165020", None, id="a time of day only"),
            pytest.param("", None, id="nothing"),
            pytest.param("0510202116502", None, id="13 digits"),
            pytest.param("05102021 16502", None, id="blank inside"),
            pytest.param("+5102021165020", None, id="sign"),
            pytest.param("\u0660\u0665102021", None, id="arabic digits"),
            pytest.param("\u00b2\u00b3102021", None, id="superscript digits"),
        ],
    )
    def test_a_date_is_read_as_utc_by_its_length(self, digits: str, expected: Moment | None) -> None:
        assert xml_parser.parse_date(digits) == expected


class TestVarInfo:
    def test_everything_that_is_reported_is_taken(self) -> None:
        body = (
            "<varInfo><var><id>Hall.AE</id><idEx>Hall.AE</idEx><title>Energ\u00eda activa</title>"
            "<hasValue>T</hasValue><hasLogger>T</hasLogger><hasForced>F</hasForced><sampleMode>differential</sampleMode>"
            "<measureUnits>#WH</measureUnits><unitsFactor>3</unitsFactor><decimals>3</decimals>"
            "<varType>double</varType><valueInfo><ctrlType>EDIT</ctrlType><min>0</min><max>32.5</max></valueInfo>"
            "</var></varInfo>"
        )

        assert xml_parser.var_info(xml(body)) == (
            (
                "Hall.AE",
                "Hall.AE",
                VariableInfo(
                    title="Energ\u00eda activa",
                    unit="#WH",
                    factor=3,
                    has_value=True,
                    writable=False,
                    sample_mode="differential",
                    type="double",
                    minimum=0.0,
                    maximum=32.5,
                ),
            ),
        )

    def test_without_id_ex_the_name_may_be_short(self) -> None:
        [(id, id_ex, _)] = xml_parser.var_info(xml("<varInfo><var><id>AE</id></var></varInfo>"))

        assert (id, id_ex) == ("AE", None)

    def test_both_names_are_kept_as_sent(self) -> None:
        [(id, id_ex, _)] = xml_parser.var_info(
            xml("<varInfo><var><id>AE</id><idEx>Hall.B.AE</idEx></var></varInfo>")
        )

        assert (id, id_ex) == ("AE", "Hall.B.AE")

    @pytest.mark.parametrize(
        ("inner", "unit", "factor"),
        [
            pytest.param("<measureUnits>#V</measureUnits><unitsFactor>0</unitsFactor>", "#V", 0, id="both"),
            pytest.param(
                "<measureUnits>#V</measureUnits><unitsFactor>-3</unitsFactor>", "#V", -3, id="negative factor"
            ),
            pytest.param(
                "<measureUnits>KgCO2</measureUnits><unitsFactor>3</unitsFactor>",
                "KgCO2",
                3,
                id="a user's own unit",
            ),
            pytest.param("<measureUnits>#V</measureUnits>", None, None, id="no factor"),
            pytest.param("<unitsFactor>3</unitsFactor>", None, None, id="no unit"),
            pytest.param("<measureUnits/><unitsFactor>3</unitsFactor>", None, None, id="empty unit"),
            pytest.param("<measureUnits>#V</measureUnits><unitsFactor/>", None, None, id="empty factor"),
            pytest.param("<measureUnits>#V</measureUnits><unitsFactor>-</unitsFactor>", None, None, id="dash"),
            pytest.param(
                "<measureUnits>#V</measureUnits><unitsFactor>k</unitsFactor>", None, None, id="no number"
            ),
            pytest.param("<measureUnits>#V</measureUnits><unitsFactor>1.5</unitsFactor>", None, None, id="half"),
            pytest.param(
                "<measureUnits>#V</measureUnits><unitsFactor>13</unitsFactor>", None, None, id="implausible"
            ),
            pytest.param("<measureUnits>#V</measureUnits><unitsFactor>-99</unitsFactor>", None, None, id="tiny"),
            pytest.param(
                "<measureUnits>#V</measureUnits><unitsFactor>1e300</unitsFactor>", None, None, id="1e300"
            ),
        ],
    )
    def test_unit_and_factor_come_together_or_not_at_all(
        self, inner: str, unit: str | None, factor: int | None
    ) -> None:
        info = var_info_of(inner)

        assert (info.unit, info.factor) == (unit, factor)

    @pytest.mark.parametrize(
        ("inner", "has_value"),
        [
            pytest.param("<hasValue>T</hasValue>", True, id="T"),
            pytest.param("<hasValue>F</hasValue>", False, id="F"),
            pytest.param("", True, id="not reported"),
            pytest.param("<hasValue>?</hasValue>", True, id="nonsense"),
        ],
    )
    def test_only_an_f_takes_the_value_away(self, inner: str, has_value: bool) -> None:
        assert var_info_of(inner).has_value is has_value

    @pytest.mark.parametrize(
        ("inner", "writable"),
        [
            pytest.param("<hasForced>T</hasForced>", True, id="T"),
            pytest.param("<hasForced>F</hasForced>", False, id="F"),
            pytest.param("", False, id="not reported"),
            pytest.param("<hasForced>true</hasForced>", False, id="nonsense"),
        ],
    )
    def test_only_a_t_makes_it_writable(self, inner: str, writable: bool) -> None:
        assert var_info_of(inner).writable is writable

    def test_limits_that_are_no_numbers_are_none(self) -> None:
        info = var_info_of("<valueInfo><min>-</min><max>lots</max></valueInfo>")

        assert (info.minimum, info.maximum) == (None, None)

    def test_the_options_of_a_list_do_no_harm(self) -> None:
        info = var_info_of(
            "<valueInfo><ctrlType>COMBO</ctrlType><options><option><xmlValue>&lt;value&gt;1&lt;/value&gt;</xmlValue>"
            "<value>On</value></option></options></valueInfo><title>Lamp</title>"
        )

        assert info == VariableInfo(title="Lamp")


class TestPlugInfo:
    def test_everything_that_is_reported_is_taken(self) -> None:
        body = (
            f"<plugsInfo><plugInfo><id>{GUID}</id><name>Bay.A</name><number>1</number><chargeMode>3</chargeMode>"
            "<connectorType>unknown</connectorType><supportedCurrent>16</supportedCurrent>"
            "<EVCommDevice>Bay - Pilot</EVCommDevice><hasCover>F</hasCover><hasLock>T</hasLock>"
            "<meter>Bay - Meter</meter></plugInfo></plugsInfo>"
        )

        assert xml_parser.plug_info(xml(body)) == (PlugInfo("Bay.A", 16.0, "Bay - Pilot", "Bay - Meter"),)

    @pytest.mark.parametrize(
        "text", [pytest.param("-", id="dash"), pytest.param("", id="empty"), pytest.param(" ", id="blank")]
    )
    def test_a_device_that_is_not_there_is_none(self, text: str) -> None:
        body = (
            f"<plugInfo><name>Bay.A</name><EVCommDevice>{text}</EVCommDevice><meter>{text}</meter>"
            f"<supportedCurrent>{text}</supportedCurrent></plugInfo>"
        )

        assert xml_parser.plug_info(xml(f"<plugsInfo>{body}</plugsInfo>")) == (PlugInfo("Bay.A"),)

    @pytest.mark.parametrize("text", ["0", "-1", "-1.000000", "lots", "1e999"])
    def test_a_current_that_no_plug_has_is_none(self, text: str) -> None:
        body = f"<plugInfo><name>Bay.A</name><supportedCurrent>{text}</supportedCurrent></plugInfo>"

        [plug] = xml_parser.plug_info(xml(f"<plugsInfo>{body}</plugsInfo>"))

        assert plug.supported_amperes is None

    def test_a_plug_without_a_name_is_none(self) -> None:
        assert xml_parser.plug_info(xml(f"<plugsInfo><plugInfo><id>{GUID}</id></plugInfo></plugsInfo>")) == ()

    def test_a_plug_listed_twice_is_there_twice_so_that_it_is_noticed(self) -> None:
        plug = "<plugInfo><name>Bay.A</name><meter>M</meter></plugInfo>"
        found = xml_parser.plug_info(xml(f"<plugsInfo>{plug * 2}</plugsInfo>"))

        assert found == (PlugInfo("Bay.A", meter="M"),) * 2


class TestPlugState:
    def test_everything_that_is_reported_is_taken(self) -> None:
        body = (
            f"<plugsState><plugState><id>{GUID}</id><name>Bay.A</name><number>1</number><state>8</state>"
            "<previousState>6</previousState><stateDate>1700000000.250000</stateDate><error>4</error>"
            "<vehicleConnected>T</vehicleConnected><locked>F</locked></plugState></plugsState>"
        )

        assert xml_parser.plug_state(xml(body)) == {"Bay.A": PlugStateRecord("Bay.A", 8, 4, True, False)}

    @pytest.mark.parametrize("text", ["", "-", "1.5", "eight", "1e999", "t", "1"])
    def test_what_is_no_flag_is_none(self, text: str) -> None:
        body = f"<plugState><name>Bay.A</name><vehicleConnected>{text}</vehicleConnected><locked>{text}</locked>"

        state = xml_parser.plug_state(xml(f"<plugsState>{body}</plugState></plugsState>"))["Bay.A"]

        assert (state.vehicle_connected, state.locked) == (None, None)

    @pytest.mark.parametrize("text", ["", "-", "1.5", "eight", "1e999"])
    def test_what_is_no_whole_number_is_no_code(self, text: str) -> None:
        body = f"<plugState><name>Bay.A</name><state>{text}</state><error>{text}</error>"

        state = xml_parser.plug_state(xml(f"<plugsState>{body}</plugState></plugsState>"))["Bay.A"]

        assert (state.state, state.error) == (None, None)

    @pytest.mark.parametrize("text", ["-100", "-100.000000"])
    def test_a_negative_code_is_a_code(self, text: str) -> None:
        body = f"<plugState><name>Bay.A</name><state>{text}</state></plugState>"

        assert xml_parser.plug_state(xml(f"<plugsState>{body}</plugsState>"))["Bay.A"].state == -100


class TestChargeInfo:
    def test_everything_but_the_person_is_taken(self) -> None:
        body = (
            f"<chargesInfo><chargeInfo><id>{GUID}</id><name>Bay.A</name><number>1</number><chargeId>{GUID}</chargeId>"
            "<state>8</state><user>00BADC0DE0</user><activeEnergy>1234560.000000</activeEnergy>"
            "<partialActiveEnergy>7890.000000</partialActiveEnergy><requestDate>1700000000.125000</requestDate>"
            "<beginDate>1700000003.500000</beginDate><endDate>1700003600.000000</endDate>"
            "<chargeTime>3596</chargeTime><stopped>4</stopped></chargeInfo></chargesInfo>"
        )

        assert xml_parser.charge_info(xml(body)) == {
            "Bay.A": ChargeRecord(
                "Bay.A", 8, 1234560.0, 7890.0, 1700000000.125, 1700000003.5, 1700003600.0, 3596.0, stop_reason=4
            )
        }

    @pytest.mark.parametrize("text", ["-1", "-1.000000", "-", "", "soon", "1e999", "nan"])
    def test_minus_one_and_nonsense_are_none(self, text: str) -> None:
        tags = ("activeEnergy", "partialActiveEnergy", "requestDate", "beginDate", "endDate", "chargeTime")

        assert charge_of("".join(f"<{tag}>{text}</{tag}>" for tag in tags)) == ChargeRecord("Bay.A")

    def test_nothing_delivered_yet_is_zero_and_not_none(self) -> None:
        charge = charge_of("<partialActiveEnergy>0.000000</partialActiveEnergy><chargeTime>0</chargeTime>")

        assert (charge.watt_hours, charge.seconds) == (0.0, 0.0)

    def test_each_plug_has_its_own(self) -> None:
        body = "".join(
            f"<chargeInfo><name>{name}</name><stopped>{reason}</stopped></chargeInfo>"
            for name, reason in (("Bay.A", 1), ("Bay.B", 2), ("", 3))
        )

        assert xml_parser.charge_info(xml(f"<chargesInfo>{body}</chargesInfo>")) == {
            "Bay.A": ChargeRecord("Bay.A", stop_reason=1),
            "Bay.B": ChargeRecord("Bay.B", stop_reason=2),
        }

    def test_a_document_whose_tags_do_not_match_is_garbled(self) -> None:
        with pytest.raises(Garbled):
            xml_parser.charge_info(xml("<chargesinfo><chargeinfo><name>Bay.A</name></chargeInfo></chargesInfo>"))


class TestSystem:
    def test_events_are_no_change_of_the_configuration(self) -> None:
        body = (
            "<systemStatus><deviceStatus>1</deviceStatus><systemId>S-1</systemId><deviceId>D-2</deviceId>"
            "<calculatedVariablesId>C-3</calculatedVariablesId><activeEvents>2</activeEvents>"
            "<eventId>{}</eventId></systemStatus>"
        )

        one, other = (xml_parser.system_status(xml(body.format(event))) for event in ("E-4", "E-5"))

        assert one == other == SystemStatus(("S-1", "D-2", "C-3"), 2)

    @pytest.mark.parametrize("text", ["", "-", "some", "1.5"])
    def test_a_number_of_events_that_is_none_is_none(self, text: str) -> None:
        status = xml_parser.system_status(xml(f"<systemStatus><activeEvents>{text}</activeEvents></systemStatus>"))

        assert status.active_events is None

    def test_the_version_of_the_engine_is_not_that_of_its_picture(self) -> None:
        body = (
            "<systemInformation><splash><version><x>1</x></version></splash><name>Yard Scada</name>"
            "<company>Acme</company><appImage>AAAA</appImage></systemInformation>"
        )

        assert xml_parser.information(xml(body)) == Information("Yard Scada", "", "Acme")

    def test_the_engines_own_name_is_taken(self) -> None:
        body = "<name>Yard Scada</name><version>1.2.3</version><company>Acme</company>"

        assert xml_parser.information(xml(f"<systemInformation>{body}</systemInformation>")) == Information(
            "Yard Scada", "1.2.3", "Acme"
        )


class TestPrivacy:
    def test_user_charge_and_serial_number_never_enter_the_model(self) -> None:
        secrets = {"user": "00BADC0DE0", "chargeId": "CHARGE-77AA", "serialNumber": "SN-4711", "TAG": "5EC2E7"}
        inner = "".join(f"<{tag}>{text}</{tag}>" for tag, text in secrets.items())
        read = [
            xml_parser.charge_info(
                xml(f"<chargesInfo><chargeInfo><name>A</name>{inner}</chargeInfo></chargesInfo>")
            ),
            xml_parser.plug_state(xml(f"<plugsState><plugState><name>A</name>{inner}</plugState></plugsState>")),
            xml_parser.plug_info(xml(f"<plugsInfo><plugInfo><name>A</name>{inner}</plugInfo></plugsInfo>")),
            xml_parser.device_info(xml(f"<devices><device><id>A</id>{inner}</device></devices>")),
            xml_parser.device_info(xml(f"<devicesInfo><deviceInfo><id>A</id>{inner}</deviceInfo></devicesInfo>")),
            xml_parser.var_info(xml(f"<varInfo><var><id>A.X</id>{inner}</var></varInfo>")),
            xml_parser.system_status(xml(f"<systemStatus>{inner}</systemStatus>")),
            xml_parser.information(xml(f"<systemInformation>{inner}</systemInformation>")),
        ]

        assert [secret for secret in secrets.values() if secret in repr(read)] == []


class TestEnvelope:
    def test_unknown_elements_attributes_and_comments_are_ignored(self) -> None:
        stranger = '<{0} new="1"><!-- so --><future><id>X</id></future> text <?pi?></{0}>'
        plain = {name: parse(xml(f"<{root}></{root}>")) for name, (parse, root) in PARSERS.items()}

        assert {name: parse(xml(stranger.format(root))) for name, (parse, root) in PARSERS.items()} == plain

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param("<values><variable><id>A.\u00e9</id><value>1.5</value></variable></values>", id="bare"),
            pytest.param(
                f"\ufeff{DECLARATION}<values><variable><id>A.\u00e9</id><value>1.5</value></variable></values>",
                id="byte order mark",
            ),
            pytest.param(
                "<?xml version='1.0'?>\n<values>\n\t<variable>\n\t<id>A.\u00e9</id>\n<value>1.5</value>\n"
                "</variable>\n</values>\n",
                id="indented",
            ),
            pytest.param(
                "<?xml version='1.0'?><values><variable><id><![CDATA[A.\u00e9]]></id>"
                "<value>1.5</value></variable></values>",
                id="CDATA",
            ),
            pytest.param(
                "<?xml version='1.0'?><values><variable><id>A.&#233;</id><value>1.5</value></variable></values>",
                id="character reference",
            ),
        ],
    )
    def test_a_document_in_utf8_is_read_whatever_stands_before_it(self, data: str) -> None:
        assert xml_parser.values(data.encode()) == {"A.\u00e9": 1.5}

    @pytest.mark.parametrize(
        ("declared", "codec"),
        [
            pytest.param("UTF-16", "utf-16", id="UTF-16 with its mark"),
            pytest.param("ISO-8859-1", "latin-1", id="Latin-1"),
            pytest.param("windows-1252", "cp1252", id="Windows"),
            pytest.param("ISO-8859-15", "iso-8859-15", id="Latin-9"),
            pytest.param("utf-8", "utf-8", id="small letters"),
        ],
    )
    def test_another_encoding_is_read_if_it_is_declared(self, declared: str, codec: str) -> None:
        text = (
            f'<?xml version="1.0" encoding="{declared}"?>'
            "<values><variable><id>Ca\u00f1a.X</id><value>1.5</value></variable></values>"
        )

        assert xml_parser.values(text.encode(codec)) == {"Ca\u00f1a.X": 1.5}

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"", id="empty"),
            pytest.param(b" \r\n", id="blank"),
            pytest.param(b"\xef\xbb\xbf", id="only a byte order mark"),
            pytest.param(b"OK", id="a word"),
            pytest.param(b'{"values": []}', id="JSON"),
            pytest.param(b"<html><head><title>Home</title></head><body><br></body></html>", id="HTML"),
            pytest.param(b"<!DOCTYPE html><html><body>Home</body></html>", id="HTML with a doctype"),
            pytest.param(b"<html><body><p>Home</p></body></html>", id="XHTML"),
            pytest.param(b"<error>busy</error>", id="an error element"),
            pytest.param(b"<Values></Values>", id="root in other letters"),
            pytest.param(b'<values xmlns="urn:other"></values>', id="root of another namespace"),
            pytest.param(b"<values><variable><id>A.X</id><val", id="cut in a tag"),
            pytest.param(b"<values><variable><id>A.X</id><value>12", id="cut in a value"),
            pytest.param(b"<values><variable><id>A.X</id><value>12</value></variable>", id="cut before the end"),
            pytest.param(b"<values></values><values></values>", id="two documents"),
            pytest.param(b"<values></values>rest", id="something behind"),
            pytest.param(b"\r\n<?xml version='1.0'?><values></values>", id="something before"),
            pytest.param(b"<values><variable><id>A.\xe9</id></variable></values>", id="Latin-1 undeclared"),
            pytest.param(b"<values><variable><id>A.\x00</id></variable></values>", id="a zero byte"),
            pytest.param(b"<values><variable><id>A.\x1b[0m</id></variable></values>", id="a control character"),
            pytest.param(b"<?xml version='1.0' encoding='klingon'?><values/>", id="unknown encoding"),
            pytest.param(b"<?xml version='1.0' encoding='zlib'?><values/>", id="a codec that is no encoding"),
            pytest.param(
                b"<?xml version='1.0' encoding='shift_jis'?><values/>", id="an encoding of several bytes"
            ),
            pytest.param(b"<?xml version='1.0' encoding='utf-7'?><values/>", id="an encoding of escapes"),
            pytest.param(b"<values>&nbsp;</values>", id="an entity of HTML"),
            pytest.param(b"\x1f\x8b\x08\x00\x00\x00\x00\x00", id="compressed"),
        ],
    )
    def test_what_is_no_such_document_is_garbled(self, data: bytes) -> None:
        with pytest.raises(Garbled) as raised:
            xml_parser.values(data)

        assert not isinstance(raised.value, TooLarge)

    def test_each_parser_wants_its_own_root(self) -> None:
        found = {
            name: outcome(parse, xml("<somethingElse></somethingElse>")) for name, (parse, _) in PARSERS.items()
        }

        assert found == dict.fromkeys(PARSERS, Garbled)

    @pytest.mark.parametrize(
        "doctype",
        [
            pytest.param("<!DOCTYPE values>", id="empty"),
            pytest.param('<!DOCTYPE values SYSTEM "http://192.0.2.1/x.dtd">', id="from elsewhere"),
            pytest.param('<!DOCTYPE values [<!ENTITY a "1">]>', id="entity"),
            pytest.param('<!DOCTYPE values [<!ENTITY a SYSTEM "file:///etc/hostname">]>', id="a file's content"),
            pytest.param(
                '<!DOCTYPE values [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
                id="billion laughs",
            ),
            pytest.param(
                '<!DOCTYPE values [<!ENTITY % p SYSTEM "http://192.0.2.1/p"> %p;]>', id="parameter entity"
            ),
        ],
    )
    def test_a_document_with_a_doctype_is_garbled(self, doctype: str) -> None:
        encodings = ("utf-8", "utf-16", "latin-1")
        text = '<?xml version="1.0" encoding="{}"?>{}<values></values>'
        found = {
            encoding: outcome(xml_parser.values, text.format(encoding, doctype).encode(encoding))
            for encoding in encodings
        }

        assert found == dict.fromkeys(encodings, Garbled)

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"Access not granted", id="text"),
            pytest.param(b"ACCESS NOT GRANTED\r\n", id="capitals"),
            pytest.param(b"<html><body>Access not granted</body></html>", id="XHTML"),
            pytest.param(b"<html><head><meta charset='utf-8'><body>Not granted<br></html>", id="HTML"),
            pytest.param(b"<!DOCTYPE html><html><body>Not granted</body></html>", id="HTML with a doctype"),
            pytest.param(b"<error>resource not granted</error>", id="an error element"),
            pytest.param(b"<html>" + b" " * 5000 + b"not granted</html>", id="far down"),
        ],
    )
    def test_an_answer_that_says_not_granted_is_refused(self, data: bytes) -> None:
        found = {name: outcome(parse, data) for name, (parse, _) in PARSERS.items()}

        assert found == dict.fromkeys(PARSERS, AccessDenied)


class TestLimits:
    def test_a_document_of_the_deepest_level_is_read(self) -> None:
        inner = xml_parser.MAX_DEPTH - 1

        assert xml_parser.values(b"<values>" + b"<a>" * inner + b"</a>" * inner + b"</values>") == {}

    def test_one_level_more_is_too_large(self) -> None:
        with pytest.raises(TooLarge):
            xml_parser.values(
                b"<values>" + b"<a>" * xml_parser.MAX_DEPTH + b"</a>" * xml_parser.MAX_DEPTH + b"</values>"
            )

    def test_a_document_that_only_goes_down_is_too_large(self) -> None:
        with pytest.raises(TooLarge):
            xml_parser.values(b"<a>" * 100_000)

    def test_depth_is_counted_anew_after_each_end(self) -> None:
        branch = b"<a>" * 20 + b"</a>" * 20

        assert xml_parser.values(b"<values>" + branch * 50 + b"</values>") == {}

    def test_as_many_elements_as_allowed_are_read(self) -> None:
        body = b"<values>" + b"<a/>" * (xml_parser.MAX_ELEMENTS - 1) + b"</values>"

        assert xml_parser.values(body) == {}

    def test_one_element_more_is_too_large(self) -> None:
        with pytest.raises(TooLarge):
            xml_parser.values(b"<values>" + b"<a/>" * xml_parser.MAX_ELEMENTS + b"</values>")

    def test_the_largest_known_inventory_is_read(self) -> None:
        var = (
            "<var><id>X{0}</id><idEx>Yard.X{0}</idEx><title>Title {0}</title><hasValue>T</hasValue>"
            "<hasLogger>T</hasLogger><hasForced>F</hasForced><sampleMode>last</sampleMode>"
            "<measureUnits>#V</measureUnits><unitsFactor>0</unitsFactor><decimals>1</decimals></var>"
        )
        body = "".join(var.format(number) for number in range(1425))

        assert len(xml_parser.var_info(xml(f"<varInfo>{body}</varInfo>"))) == 1425
