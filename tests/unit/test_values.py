"""Which readings can be trusted, and what they are in base units."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import pytest

from ccl_exporter.powerstudio.inventory import Device, Inventory, PlugInfo, VariableInfo, owner
from ccl_exporter.powerstudio.snapshot import ChargeRecord, Moment, Snapshot, Value
from ccl_exporter.station.values import Reading, UnitSpec, VariableValue, is_status

STRANGER = "SOMETHING_NEW"  # a device type that the catalogue does not know
JUNE = datetime(2023, 6, 1, 12, 30, 15, tzinfo=UTC).timestamp()


def reading(
    values: Mapping[str, Value],
    types: Mapping[str, str | None],
    infos: Mapping[str, VariableInfo] | None = None,
    settled: Iterable[str] | None = None,
    listed: Iterable[str] = (),
    plugs: tuple[PlugInfo, ...] = (),
    charges: Iterable[ChargeRecord] = (),
) -> Reading:
    """A reading of devices by name and type; all variables are settled unless it is said which are."""
    names = [*values, *listed]
    return Reading(
        Snapshot(
            taken=JUNE,
            seconds=0.5,
            timeout=9.5,
            requests=1,
            up=True,
            inventory=Inventory(
                devices=tuple(
                    Device(id, type, variables=tuple(name for name in names if owner(name, types) == id))
                    for id, type in types.items()
                ),
                variables=infos or {},
                settled=frozenset(names if settled is None else settled),
                plugs=plugs,
            ),
            values=values,
            answered=frozenset(types),
            charges={charge.name: charge for charge in charges},
        )
    )


def one(
    value: Value,
    name: str = "X",
    type: str | None = STRANGER,
    info: VariableInfo | None = None,
    settled: bool = True,
) -> tuple[str | None, float] | None:
    """Quantity and value of the one variable of the device Yard, or None if it is not shown."""
    full = f"Yard.{name}"
    read = reading({full: value}, {"Yard": type}, {full: info} if info else None, [full] if settled else [])
    found = read.understood.get(full)
    return None if found is None else (found.quantity, found.value)


def info_of(unit: str | None = None, factor: int | None = None, **more: bool | str) -> VariableInfo:
    return VariableInfo(unit=unit, factor=factor, **more)  # type: ignore[arg-type]  # flags and modes by name


class TestUnits:
    def test_a_register_is_the_same_in_kilowatt_hours_as_in_watt_hours(self) -> None:
        for watt_hours in range(0, 10_000_000, 1_870):
            assert one(watt_hours / 1000, info=info_of("#WH", 3)) == one(float(watt_hours), info=info_of("#WH", 0))

    @pytest.mark.parametrize(
        ("unit", "factor", "sent", "quantity", "base"),
        [
            pytest.param("#V", 0, 239.4, "volts", 239.4, id="volts"),
            pytest.param("#A", 0, 31.9, "amperes", 31.9, id="amperes"),
            pytest.param("#A", -3, 6.0, "amperes", 0.006, id="milliamperes"),
            pytest.param("#W", 3, 7.36, "watts", 7360.0, id="kilowatts"),
            pytest.param("#VA", 3, 7.5, "voltamperes", 7500.0, id="kilovolt-amperes"),
            pytest.param("#VARL", 3, -0.25, "vars", -250.0, id="kilovars, inductive"),
            pytest.param("#VARC", 3, 0.25, "vars", 250.0, id="kilovars, capacitive"),
            pytest.param("#VAR", 0, 12.0, "vars", 12.0, id="vars"),
            pytest.param("#HZ", 0, 49.98, "hertz", 49.98, id="hertz"),
            pytest.param("#DEGREES", 0, 120.1, "degrees", 120.1, id="an angle"),
            pytest.param("#PF", 0, 0.98, "ratio", 0.98, id="power factor"),
            pytest.param("#PERCENT", 0, 50.0, "ratio", 0.5, id="percent"),
            pytest.param("#PERCENT", 0, 0.7, "ratio", 0.007, id="less than a percent"),
            pytest.param("#SECONDS", 0, 90.0, "seconds", 90.0, id="seconds"),
            pytest.param("#HOURS", 0, 1.5, "seconds", 5400.0, id="hours"),
            pytest.param("#WH", 3, 1234.56, "joules", 4444416000.0, id="kilowatt-hours"),
            pytest.param("#WH", 0, 1.0, "joules", 3600.0, id="watt-hours"),
            pytest.param("#WH", 6, 1.5, "joules", 5.4e9, id="megawatt-hours"),
            pytest.param("#WH", 3, -2.0, "joules", -7200000.0, id="energy that went back"),
            pytest.param("#VARLH", 3, 1.0, "var_seconds", 3600000.0, id="reactive energy, inductive"),
            pytest.param("#VARCH", 3, 1.0, "var_seconds", 3600000.0, id="reactive energy, capacitive"),
            pytest.param("#VARH", 0, 1.0, "var_seconds", 3600.0, id="reactive energy"),
            pytest.param("#VAH", 3, 1.0, "voltampere_seconds", 3600000.0, id="apparent energy"),
        ],
    )
    def test_a_unit_that_the_engine_reports_is_brought_to_base(
        self, unit: str, factor: int, sent: float, quantity: str, base: float
    ) -> None:
        assert one(sent, info=info_of(unit, factor)) == (quantity, base)

    @pytest.mark.parametrize(
        ("type", "name", "sent", "expected"),
        [
            pytest.param("CVM1D", "AE", 1234.56, ("joules_total", 4444416000.0), id="AE in kWh"),
            pytest.param("CVM1D", "PAE", 1.0, ("joules", 3600000.0), id="PAE is no register"),
            pytest.param("CVM1D", "AEB", 1.0, ("joules", 3600000.0), id="AEB is no register"),
            pytest.param("CVM1D", "IE", 1.0, ("var_seconds_total", 3600000.0), id="IE"),
            pytest.param("CVM1D", "API", 7.36, ("watts", 7360.0), id="API in kW"),
            pytest.param("CVM1D", "VI", 239.4, ("volts", 239.4), id="VI"),
            pytest.param("CVMMINI", "VI2", 231.0, ("volts", 231.0), id="VI of a phase"),
            pytest.param("CVMMINI", "AE3", 2.0, ("joules_total", 7200000.0), id="AE of a phase"),
            pytest.param("CCL1ENGINE", "PLUG.AE", 1.0, ("joules_total", 3600000.0), id="AE of a plug"),
            pytest.param("CCL1ENGINE", "PLUG.AEP", 1.0, ("joules", 3600000.0), id="AEP falls with each charge"),
            pytest.param("CCL1ENGINE", "PLUG.CURRENT_REDUCTION", 20.0, ("amperes", 20.0), id="assigned current"),
            pytest.param("CCL1ENGINE", "PLUG.STOPPED", 6.0, (None, 6.0), id="a code is a plain number"),
            pytest.param("CCL1MINIEMBEDDED", "TCI", 28.2, ("celsius", 28.2), id="celsius"),
            pytest.param("CCL1MINIEMBEDDED", "TFI", 82.76, ("celsius", 28.2), id="fahrenheit"),
            pytest.param("CCL1MINIEMBEDDED", "TFI", 32.0, ("celsius", 0.0), id="ice melts"),
            pytest.param("MODO3", "PREDUCTION", 25.0, ("ratio", 0.25), id="percent"),
            pytest.param("MODO3", "INTENSITY", 32.0, ("amperes", 32.0), id="amperes"),
            pytest.param("MODO3", "APILOT", 895.0, (None, 895.0), id="a raw number"),
        ],
    )
    def test_the_catalogue_stands_in_where_the_engine_reports_no_unit(
        self, type: str, name: str, sent: float, expected: tuple[str | None, float]
    ) -> None:
        assert one(sent, name, type, settled=False) == expected
        assert one(sent, name, type, settled=True) == expected
        assert one(sent, name, type, info_of()) == expected

    def test_the_engine_goes_before_the_catalogue(self) -> None:
        assert one(7.0, "API", "CVM1D", info_of("#W", 0)) == ("watts", 7.0)
        assert one(7.0, "AE", "CVM1D", info_of("#VARLH", 0)) == ("var_seconds_total", 25200.0)

    def test_an_unknown_code_is_not_overruled_by_the_catalogue(self) -> None:
        assert one(7.0, "API", "CVM1D", info_of("#KILOPOND", 0)) == (None, 7.0)

    def test_a_temperature_is_one_whatever_the_vendor_calls_its_unit(self) -> None:
        assert one(28.2, "TCI", "CCL1MINIEMBEDDED", info_of("#CELSIUS", 0)) == ("celsius", 28.2)

    def test_an_unknown_code_is_the_number_as_sent(self) -> None:
        assert one(1.5, info=info_of("KgCO2", 3)) == (None, 1.5)

    def test_a_variable_without_a_unit_is_the_number_as_sent(self) -> None:
        assert one(1.5, info=info_of()) == (None, 1.5)
        assert one(-100.0) == (None, -100.0)

    def test_a_variable_that_was_not_described_is_withheld(self) -> None:
        assert one(1.5, settled=False) is None
        assert one(Moment(JUNE), settled=False) is None

    @pytest.mark.parametrize(
        ("unit", "factor", "symbol"),
        [
            pytest.param("#WH", 3, UnitSpec("#WH", 3), id="the engine's"),
            pytest.param(None, None, UnitSpec("#W", 3), id="the catalogue's"),
            pytest.param("#KILOPOND", 2, UnitSpec("#KILOPOND", 2), id="the engine's, though unknown"),
        ],
    )
    def test_unit_and_factor_come_from_one_source(
        self, unit: str | None, factor: int | None, symbol: UnitSpec
    ) -> None:
        read = reading({"M.API": 1.0}, {"M": "CVM1D"}, {"M.API": info_of(unit, factor)})

        variable = read.variable("M.API")

        assert variable is not None
        assert variable.described == symbol

    def test_what_multiplication_adds_is_left_out(self) -> None:
        assert one(0.1, "API", "CVM1D") == ("watts", 100.0)
        assert one(4855.39, "AE", "CVM1D") == ("joules_total", 17479404000.0)
        assert one(29.0, "PREDUCTION", "MODO3") == ("ratio", 0.29)

    def test_a_value_too_large_to_scale_is_not_shown(self) -> None:
        assert one(1e307, info=info_of("#WH", 12)) is None

    def test_a_register_is_known_by_how_the_engine_counts(self) -> None:
        assert one(1.0, "ENERGY", info=info_of("#WH", 0, sample_mode="differential")) == ("joules_total", 3600.0)
        assert one(1.0, "ENERGY", info=info_of("#WH", 0, sample_mode="last")) == ("joules", 3600.0)
        assert one(1.0, "AE", info=info_of("#WH", 0, sample_mode="last")) == ("joules_total", 3600.0)

    def test_a_register_below_zero_is_not_shown(self) -> None:
        assert one(-1.0, "AE", "CVM1D") is None
        assert one(0.0, "AE", "CVM1D") == ("joules_total", 0.0)

    def test_only_energies_can_be_registers(self) -> None:
        assert one(5.0, "AE", info=info_of("#V", 0, sample_mode="differential")) == ("volts", 5.0)


class TestWithheld:
    @pytest.mark.parametrize(
        "value",
        [pytest.param(None, id="nothing"), pytest.param("Yard 7", id="text"), pytest.param("", id="empty")],
    )
    def test_only_numbers_and_dates_are_shown(self, value: Value) -> None:
        assert one(value) is None
        assert one(value, "VDTTM") is None

    def test_what_the_engine_says_has_no_value_is_not_shown(self) -> None:
        assert one(7.0, info=info_of("#V", 0, has_value=False)) is None
        assert one(0.0, "AEB", "CVM1D", info_of(has_value=False)) is None

    @pytest.mark.parametrize("sent", [2.55, 9998.0, 1.001, -1.001, 655.35])
    def test_a_power_factor_that_cannot_be_is_not_shown(self, sent: float) -> None:
        assert one(sent, "PFMN", "CVM1D") is None
        assert one(sent, "PFI2", "CVMMINI") is None
        assert one(sent, info=info_of("#PF", 0)) is None

    @pytest.mark.parametrize("sent", [-1.0, -0.5, 0.0, 1.0])
    def test_a_power_factor_that_can_be_is_shown(self, sent: float) -> None:
        assert one(sent, "PFI", "CVM1D") == ("ratio", sent)

    PERSONAL = (
        ("CCL1ENGINE", "TAG"),
        ("CCL1ENGINE", "PLUG.RESERVE"),
        ("TAGREADER", "TAG"),
        ("TAGREADER", "TAGEX"),
        ("DISPLAYCCL1MINI", "TEXT"),
        ("CVM1D", "NAME"),
        (STRANGER, "LASTUSER"),
        (STRANGER, "SUB.CARD_ID"),
        (None, "SERIALNUMBER"),
        (None, "RFID1"),
    )

    @pytest.mark.parametrize("value", [4711.0, Moment(JUNE)], ids=["number", "date"])
    @pytest.mark.parametrize("info", [None, info_of("#V", 0)], ids=["no unit", "volts"])
    def test_personal_data_is_not_shown_even_as_a_number(self, value: Value, info: VariableInfo | None) -> None:
        shown = [(type, name) for type, name in self.PERSONAL if one(value, name, type, info) is not None]

        assert shown == []

    def test_while_the_type_of_its_device_is_not_known_an_unknown_number_waits(self) -> None:
        assert one(4711.0, "COUNT", None, info_of()) is None
        assert one(Moment(JUNE), "COUNT", None, info_of()) is None
        assert one(4711.0, "COUNT", None, info_of("#V", 0)) == ("volts", 4711)
        assert one(Moment(JUNE), "COUNT", None, info_of(type="date")) == ("timestamp", JUNE)
        assert one(4711.0, "ANRCCC", None, info_of()) == (None, 4711)
        assert one(4711.0, "COUNT", STRANGER, info_of()) == (None, 4711)

    def test_what_must_not_be_shown_is_decided_by_name_type_and_value(self) -> None:
        read = reading(
            {"Yard.REMARK": "Anna", "Yard.COUNT": 3.0, "Yard.STATUS": 1.0, "Blank.COUNT": 3.0, "X": 1.0},
            {"Yard": STRANGER, "Blank": None},
        )

        assert {name for name in read.snapshot.values if read.is_personal(name)} == {
            "Yard.REMARK",
            "Blank.COUNT",
            "X",
        }

    def test_a_variable_of_no_known_device_is_not_shown(self) -> None:
        read = reading({"Yard.X": 1.0, "Other.X": 2.0, "X": 3.0}, {"Yard": STRANGER})

        assert set(read.understood) == {"Yard.X"}


class TestDates:
    @pytest.mark.parametrize(
        ("type", "name", "info"),
        [
            pytest.param(STRANGER, "X", info_of("#DATETIME", 0), id="unit of the engine"),
            pytest.param(STRANGER, "X", info_of(type="date"), id="type of the engine"),
            pytest.param("CCL1MINIEMBEDDED", "RUNTIME", None, id="catalogue"),
            pytest.param(STRANGER, "VDTTM", None, id="every device"),
            pytest.param(STRANGER, "X", None, id="only by its looks"),
        ],
    )
    def test_an_instant_is_a_timestamp(self, type: str, name: str, info: VariableInfo | None) -> None:
        assert one(Moment(JUNE), name, type, info) == ("timestamp", JUNE)

    @pytest.mark.parametrize(
        "moment",
        [
            pytest.param(datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), id="the last second of 1999"),
            pytest.param(datetime(1970, 1, 1, tzinfo=UTC), id="1970"),
            pytest.param(datetime(1, 1, 1, tzinfo=UTC), id="the year 1"),
        ],
    )
    def test_the_date_of_a_clock_never_set_is_not_shown(self, moment: datetime) -> None:
        assert one(Moment(moment.timestamp()), "VDTTM") is None

    def test_the_first_second_of_2000_is_shown(self) -> None:
        first = datetime(2000, 1, 1, tzinfo=UTC).timestamp()

        assert one(Moment(first), "VDTTM") == ("timestamp", first)

    @pytest.mark.parametrize(
        "info", [info_of("#DATETIME", 0), info_of(type="date")], ids=["unit of the engine", "type of the engine"]
    )
    @pytest.mark.parametrize(
        ("sent", "instant"),
        [
            pytest.param(1062023123015.0, JUNE, id="14 digits, the first a zero"),
            pytest.param(11062023123015.0, JUNE + 10 * 86400, id="14 digits"),
            pytest.param(1062023.0, datetime(2023, 6, 1, tzinfo=UTC).timestamp(), id="8 digits"),
            pytest.param(0.0, None, id="zero"),
            pytest.param(-1.0, None, id="minus one"),
            pytest.param(12.5, None, id="a fraction"),
            pytest.param(1685622615.0, None, id="Unix seconds are no such date"),
            pytest.param(99999999999999.0, None, id="14 nines"),
            pytest.param(1e20, None, id="far too large"),
            pytest.param(1061999123015.0, None, id="1999"),
        ],
    )
    def test_a_date_that_came_with_a_point_is_still_a_date(
        self, info: VariableInfo, sent: float, instant: float | None
    ) -> None:
        assert one(sent, info=info) == (None if instant is None else ("timestamp", instant))

    def test_a_date_in_a_variable_of_amperes_is_not_shown(self) -> None:
        assert one(Moment(JUNE), "AI", "CVM1D") is None
        assert one(5.0, info=info_of("#A", 0, type="date")) is None


class TestSilence:
    @pytest.mark.parametrize(
        "status",
        [
            pytest.param(34.0, id="off line"),
            pytest.param(1282.0, id="bad version"),
            pytest.param(0.0, id="zero"),
            pytest.param(3.0, id="OK and error"),
            pytest.param(1.5, id="a fraction"),
            pytest.param(None, id="no value"),
            pytest.param("1", id="text"),
            pytest.param(Moment(JUNE), id="date"),
        ],
    )
    def test_what_an_unavailable_device_holds_is_not_shown(self, status: Value) -> None:
        read = reading({"Yard.STATUS": status, "Yard.X": 0.0, "Yard.SUB.X": 0.0}, {"Yard": STRANGER})

        assert dict(read.understood) == {}
        assert read.raw("Yard.X") is None
        assert not read.status_ok("Yard")

    def test_its_status_is_still_exposed(self) -> None:
        assert reading({"Yard.STATUS": 34.0}, {"Yard": STRANGER}).status("Yard") == 34

    def test_a_status_that_is_listed_but_did_not_come_hides_the_device(self) -> None:
        read = reading({"Yard.X": 5.0}, {"Yard": STRANGER}, listed=["Yard.STATUS"])

        assert dict(read.understood) == {}

    def test_a_device_without_a_status_is_accepted(self) -> None:
        assert one(5.0) == (None, 5.0)

    def test_a_device_that_works_is_shown_with_its_status(self) -> None:
        read = reading({"Yard.STATUS": 1.0, "Yard.X": 5.0}, {"Yard": STRANGER})

        assert read.understood == {
            "Yard.STATUS": VariableValue("Yard", "STATUS", None, 1.0),
            "Yard.X": VariableValue("Yard", "X", None, 5.0),
        }

    def test_an_unavailable_device_does_not_hide_another(self) -> None:
        read = reading({"A.STATUS": 34.0, "A.X": 0.0, "B.STATUS": 1.0, "B.X": 5.0}, {"A": STRANGER, "B": STRANGER})

        assert set(read.understood) == {"B.STATUS", "B.X"}

    def test_an_unavailable_sub_device_hides_only_itself(self) -> None:
        values = {
            "Yard.STATUS": 1.0,
            "Yard.X": 5.0,
            "Yard.SUB.STATUS": 34.0,
            "Yard.SUB.X": 0.0,
            "Yard.SUB.DEEP.X": 0.0,
            "Yard.SUBWAY.X": 7.0,
            "Yard.OTHER.X": 6.0,
        }

        read = reading(values, {"Yard": STRANGER})

        assert set(read.understood) == {"Yard.STATUS", "Yard.X", "Yard.SUBWAY.X", "Yard.OTHER.X"}

    def test_an_unavailable_device_hides_the_sub_devices_that_report_ok(self) -> None:
        read = reading({"Yard.STATUS": 34.0, "Yard.SUB.STATUS": 1.0, "Yard.SUB.X": 0.0}, {"Yard": STRANGER})

        assert dict(read.understood) == {}


class TestNames:
    def test_a_device_whose_name_begins_like_another_keeps_its_own(self) -> None:
        values: dict[str, Value] = {
            "Yard.STATUS": 34.0,
            "Yard.X": 0.0,
            "Yard.North.STATUS": 1.0,
            "Yard.North.X": 5.0,
            "Yard 2.STATUS": 1.0,
            "Yard 2.X": 6.0,
        }

        read = reading(values, {"Yard": STRANGER, "Yard.North": STRANGER, "Yard 2": STRANGER})

        assert read.understood["Yard.North.X"] == VariableValue("Yard.North", "X", None, 5.0)
        assert read.understood["Yard 2.X"] == VariableValue("Yard 2", "X", None, 6.0)
        assert "Yard.X" not in read.understood

    def test_a_sub_device_is_part_of_the_variables_name(self) -> None:
        read = reading({"Yard.North.Module2.AE": 1.0}, {"Yard.North": "CVM1D"})

        assert read.understood["Yard.North.Module2.AE"] == VariableValue(
            "Yard.North", "Module2.AE", "joules_total", 3600000.0
        )

    @pytest.mark.parametrize(
        ("name", "device"),
        [
            ("Yard.X", "Yard"),
            ("Yard.SUB.X", "Yard"),
            ("Yard.North.X", "Yard.North"),
            ("Yard.North.SUB.X", "Yard.North"),
            ("Yard.North", "Yard"),
            ("Yard", None),
            ("Yardstick.X", None),
            (".X", None),
            ("", None),
        ],
    )
    def test_a_variable_belongs_to_the_longest_device_that_its_name_begins_with(
        self, name: str, device: str | None
    ) -> None:
        assert owner(name, {"Yard", "Yard.North"}) == device

    @pytest.mark.parametrize(
        ("variable", "status"), [("STATUS", True), ("SUB.STATUS", True), ("STATUS2", False), ("STATUS.X", False)]
    )
    def test_a_status_is_known_by_its_last_part(self, variable: str, status: bool) -> None:
        assert is_status(variable) is status


class TestQuestions:
    def test_a_number_is_given_only_in_the_quantity_that_was_asked_for(self) -> None:
        read = reading({"M.VI": 230.0}, {"M": "CVM1D"})

        assert read.number("M.VI", "volts") == 230
        assert read.number("M.VI", "amperes") is None
        assert read.number("M.AI", "amperes") is None
        assert read.number(None, "volts") is None

    def test_a_raw_number_is_as_it_was_sent(self) -> None:
        read = reading({"E.PLUG.STATE": 8.0, "E.NAME": "x", "E.D": Moment(JUNE)}, {"E": "CCL1ENGINE"})

        assert read.raw("E.PLUG.STATE") == 8
        assert [read.raw(name) for name in ("E.NAME", "E.D", "E.NONE", "F.X", None)] == [None] * 5

    def test_what_the_engine_says_has_no_value_has_no_raw_number_either(self) -> None:
        read = reading({"E.CC": 1.0}, {"E": "CCL1ENGINE"}, {"E.CC": info_of(has_value=False)})

        assert read.raw("E.CC") is None


class TestDoubt:
    """chargeInfo tells the plug's register in Wh for sure; a unit that contradicts it is not believed."""

    def registers(
        self, factor: int | None, sent: float, watt_hours: float | None, plugs: bool = True
    ) -> dict[str, tuple[str | None, float]]:
        name = "E.PLUG.AE"
        read = reading(
            {name: sent, "Meter.AE": sent, "E.PLUG.AEP": sent, "Other.AE": sent},
            {"E": "CCL1ENGINE", "Meter": "CVM1D", "Other": "CVM1D"},
            {} if factor is None else {name: info_of("#WH", factor), "Meter.AE": info_of("#WH", factor)},
            plugs=(PlugInfo("E.PLUG", meter="Meter"),) if plugs else (),
            charges=[ChargeRecord("E.PLUG", meter_watt_hours=watt_hours)],
        )
        return {name: (found.quantity, found.value) for name, found in read.understood.items()}

    @pytest.mark.parametrize(
        ("factor", "sent", "watt_hours"),
        [
            pytest.param(0, 1234.56, 1234560.0, id="a thousand too small"),
            pytest.param(6, 1234.56, 1234560.0, id="a thousand too large"),
            pytest.param(None, 1234560.0, 1234560.0, id="the catalogue is wrong"),
            pytest.param(0, 1234.56, 1240000.0, id="read a moment apart"),
        ],
    )
    def test_a_register_that_is_off_by_a_thousand_is_the_number_as_sent(
        self, factor: int | None, sent: float, watt_hours: float
    ) -> None:
        found = self.registers(factor, sent, watt_hours)

        assert found["E.PLUG.AE"] == (None, sent)
        assert found["Meter.AE"] == (None, sent)

    def test_it_does_not_take_plug_info_to_see_that(self) -> None:
        assert self.registers(0, 1234.56, 1234560.0, plugs=False)["E.PLUG.AE"] == (None, 1234.56)

    def test_others_are_accepted_as_before(self) -> None:
        assert self.registers(0, 1234.56, 1234560.0)["Other.AE"] == ("joules_total", 4444416000.0)

    @pytest.mark.parametrize(
        ("sent", "watt_hours"),
        [
            pytest.param(1234.56, 1234560.0, id="equal"),
            pytest.param(1234.56, 1234999.0, id="read a moment apart"),
            pytest.param(1234.56, 1300000.0, id="another meter"),
            pytest.param(1234.56, None, id="nothing to compare with"),
            pytest.param(1234.56, 0.0, id="zero to compare with"),
            pytest.param(0.0, 1234560.0, id="zero read"),
        ],
    )
    def test_a_register_that_is_not_off_by_a_thousand_is_accepted(
        self, sent: float, watt_hours: float | None
    ) -> None:
        assert self.registers(3, sent, watt_hours)["E.PLUG.AE"][0] == "joules_total"
