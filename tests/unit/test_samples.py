"""What each snapshot becomes: which series there are, with which labels and values, and which must never be."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_exporter.metrics.families import FAMILIES, PLUG_NOT_CHARGING, READING, Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.powerstudio.inventory import Device, Information, Inventory, PlugInfo, VariableInfo, owner
from ccl_exporter.powerstudio.snapshot import (
    ChargeRecord,
    Document,
    Moment,
    PlugStateRecord,
    Snapshot,
    SystemStatus,
    Value,
)

JUNE = datetime(2023, 6, 1, 12, 30, 15, tzinfo=UTC).timestamp()
ENGINE, METER, PILOT, BOARD, READER, SCREEN = (
    "CCL1ENGINE",
    "CVM1D",
    "MODO3",
    "CCL1MINIEMBEDDED",
    "TAGREADER",
    "DISPLAYCCL1MINI",
)
TYPES: Mapping[str, str | None] = {
    "Box": ENGINE,
    "Box - Meter": METER,
    "Box - Pilot": PILOT,
    "Board": BOARD,
    "Tags": READER,
    "Screen": SCREEN,
}
PLUG = PlugInfo("Box.BAY", 32.0, "Box - Pilot", "Box - Meter")
SETS = {family.name for family in FAMILIES if family.kind == "stateset"}


def snapshot(
    values: Mapping[str, Value],
    types: Mapping[str, str | None] = TYPES,
    listed: Iterable[str] = (),
    infos: Mapping[str, VariableInfo] | None = None,
    settled: bool = True,
    **more: Any,
) -> Snapshot:
    """A snapshot of devices by name and type; `more` are fields of Snapshot, or `plugs` and `information`."""
    names = [*values, *listed]
    inventory = Inventory(
        devices=tuple(
            Device(id, type, variables=tuple(name for name in names if owner(name, types) == id))
            for id, type in types.items()
        ),
        variables=infos or {},
        settled=frozenset(names) if settled else frozenset(),
        plugs=more.pop("plugs", (PLUG,)),
        information=more.pop("information", None),
    )
    fields: dict[str, Any] = {
        "seconds": 0.25,
        "timeout": 9.5,
        "requests": 3,
        "up": True,
        "answered": frozenset(types),
    }
    return Snapshot(taken=JUNE, inventory=inventory, values=values, **{**fields, **more})


class Shown:
    """The samples of a snapshot, checked against the list of families."""

    def __init__(self, taken: Snapshot) -> None:
        self.samples = samples(taken)
        self.found: dict[tuple[str, tuple[str, ...]], Sample] = {}
        for sample in self.samples:
            assert sample.family in FAMILIES
            assert len(sample.labels) == len(sample.family.labels)
            assert set(sample.active) <= set(sample.family.states)
            assert isfinite(sample.value)
            key = (sample.family.name, sample.labels)
            assert key not in self.found, f"{key} is given twice"
            self.found[key] = sample

    def value(self, name: str, *labels: str) -> float | None:
        sample = self.found.get((f"ccl_{name}", labels))
        return None if sample is None else sample.value

    def words(self, name: str, *labels: str) -> tuple[str, ...] | None:
        """The words that hold of a stateset; None if it is not there."""
        assert f"ccl_{name}" in SETS
        sample = self.found.get((f"ccl_{name}", labels))
        return None if sample is None else sample.active

    def named(self, name: str) -> dict[tuple[str, ...], float]:
        """Every series of a family."""
        return {labels: sample.value for (family, labels), sample in self.found.items() if family == f"ccl_{name}"}

    def walked(self, device: str, variable: str) -> dict[str, float]:
        """The series of a variable, by family; there should be one at most."""
        return {
            family: sample.value
            for (family, labels), sample in self.found.items()
            if labels == (device, variable) and family.startswith("ccl_variable_")
        }


def shown(values: Mapping[str, Value], **more: Any) -> Shown:
    return Shown(snapshot(values, **more))


class TestReading:
    def test_of_a_charger_that_did_not_answer_only_the_read_is_reported(self) -> None:
        found = Shown(
            snapshot(
                {"Box.BAY.STATE": 8.0, "Box - Meter.AE": 7.0},
                up=False,
                documents=(Document("values", False, 9.5),),
                charges={"Box.BAY": ChargeRecord("Box.BAY", watt_hours=5.0)},
                plug_states={"Box.BAY": PlugStateRecord("Box.BAY", 8)},
                status=SystemStatus(("a", "b", "c"), 2),
                information=Information("p", "v", "c"),
                clock=JUNE,
            )
        )

        assert {family for family, _ in found.found} == {family.name for family in READING}
        assert found.value("up") == 0
        assert found.value("scrape_document_success", "values") == 0

    def test_each_document_reports_how_it_fared(self) -> None:
        documents = (Document("values", True, 0.125), Document("charge_info", False, 0.5))

        found = shown({}, documents=documents)

        assert found.value("up") == 1
        assert found.value("scrape_duration_seconds") == 0.25
        assert found.value("scrape_timeout_seconds") == 9.5
        assert found.value("scrape_requests") == 3
        assert found.named("scrape_document_success") == {("values",): 1, ("charge_info",): 0}
        assert found.named("scrape_document_duration_seconds") == {("values",): 0.125, ("charge_info",): 0.5}


class TestDevices:
    def test_a_device_reports_its_type_and_that_it_is_up(self) -> None:
        taken = snapshot({"Box.STATUS": 1.0}, types={"Box": ENGINE})
        device = replace(taken.inventory.devices[0], description="Post 7")

        found = Shown(replace(taken, inventory=replace(taken.inventory, devices=(device,))))

        assert found.named("device_info") == {("Box", ENGINE, "Post 7"): 1}
        assert found.named("device_up") == {("Box",): 1}
        assert found.named("device_status") == {("Box",): 1}

    def test_an_unavailable_device_reports_its_status_and_nothing_else(self) -> None:
        values = {"Box - Meter.STATUS": 34.0, "Box - Meter.AE": 0.0, "Box - Meter.VI": 0.0}

        found = shown(values)

        assert found.value("device_up", "Box - Meter") == 0
        assert found.value("device_status", "Box - Meter") == 34
        assert [key for key in found.found if "Box - Meter" in key[1] and "_info" not in key[0]] == [
            ("ccl_device_up", ("Box - Meter",)),
            ("ccl_device_status", ("Box - Meter",)),
        ]
        assert found.named("plug_energy_joules_total") == found.named("plug_voltage_volts") == {}

    def test_a_device_that_did_not_answer_is_down(self) -> None:
        found = shown({"Box.STATUS": 1.0}, answered=frozenset({"Box"}))

        assert found.value("device_up", "Box") == 1
        assert found.value("device_up", "Screen") == 0
        assert found.value("device_status", "Screen") is None

    def test_an_unavailable_sub_device_leaves_its_device_up(self) -> None:
        found = shown({"Box.STATUS": 1.0, "Box.BAY.STATUS": 34.0, "Box.BAY.AE": 0.0, "Box.CREDITS": 5.0})

        assert found.value("device_up", "Box") == 1
        assert found.walked("Box", "BAY.AE") == {}
        assert found.walked("Box", "CREDITS") == {"ccl_variable_value": 5}

    def test_a_device_of_unknown_type_is_reported_as_such(self) -> None:
        assert shown({}, types={"X": None}).named("device_info") == {("X", "", ""): 1}


class TestWalk:
    @pytest.mark.parametrize(
        ("name", "sent", "family", "value"),
        [
            pytest.param("Box.BAY.AE", 1234.56, "joules_total", 4444416000.0, id="register"),
            pytest.param("Box.BAY.AEP", 1.0, "partial_joules", 3600000.0, id="energy of the charge"),
            pytest.param("Box - Meter.IE", 1.0, "var_seconds_total", 3600000.0, id="reactive register"),
            pytest.param("Box - Meter.IEB", 1.0, "partial_var_seconds", 3600000.0, id="reactive energy"),
            pytest.param("Box - Meter.API", 7.36, "watts", 7360.0, id="power"),
            pytest.param("Box - Meter.IPI", 0.5, "vars", 500.0, id="reactive power"),
            pytest.param("Box - Meter.VAI", 7.5, "voltamperes", 7500.0, id="apparent power"),
            pytest.param("Box - Meter.AI", 32.0, "amperes", 32.0, id="current"),
            pytest.param("Box - Meter.VI", 230.0, "volts", 230.0, id="voltage"),
            pytest.param("Box - Meter.HZI", 50.0, "hertz", 50.0, id="frequency"),
            pytest.param("Box - Meter.PFI", 0.9, "ratio", 0.9, id="power factor"),
            pytest.param("Box - Pilot.PREDUCTION", 50.0, "ratio", 0.5, id="percent"),
            pytest.param("Board.TCI", 28.2, "celsius", 28.2, id="celsius"),
            pytest.param("Board.TFI", 82.76, "celsius", 28.2, id="fahrenheit"),
            pytest.param("Board.RUNTIME", Moment(JUNE), "timestamp_seconds", JUNE, id="date"),
            pytest.param("Box.STATUS", 1.0, "value", 1.0, id="status"),
            pytest.param("Box.BAY.STOPPED", 6.0, "value", 6.0, id="code"),
            pytest.param("Box.BAY.FUTURE", 6.5, "value", 6.5, id="unknown to all"),
        ],
    )
    def test_each_variable_is_in_one_family_of_its_unit(
        self, name: str, sent: Value, family: str, value: float
    ) -> None:
        device = owner(name, TYPES) or ""

        assert shown({name: sent}).walked(device, name[len(device) + 1 :]) == {f"ccl_variable_{family}": value}

    @pytest.mark.parametrize(
        ("unit", "factor", "family", "value"),
        [
            pytest.param("#VAH", 3, "partial_voltampere_seconds", 7200000.0, id="apparent energy"),
            pytest.param("#HOURS", 0, "seconds", 7200.0, id="hours"),
            pytest.param("#DEGREES", 0, "degrees", 2.0, id="angle"),
            pytest.param("KgCO2", 3, "value", 2.0, id="a user's own unit"),
        ],
    )
    def test_the_engines_unit_decides(self, unit: str, factor: int, family: str, value: float) -> None:
        found = shown({"Box.X": 2.0}, infos={"Box.X": VariableInfo(unit=unit, factor=factor)})

        assert found.walked("Box", "X") == {f"ccl_variable_{family}": value}

    @pytest.mark.parametrize(
        ("name", "sent", "info"),
        [
            pytest.param("Box.X", None, None, id="no value"),
            pytest.param("Box.X", "idle", None, id="text"),
            pytest.param("Box - Meter.PFMN", 2.55, None, id="a power factor that cannot be"),
            pytest.param("Box - Meter.PFI", 9998.0, None, id="another"),
            pytest.param("Box.RUNTIME", Moment(915148800.0), None, id="a date of 1999"),
            pytest.param("Box - Meter.AEE", 0.0, VariableInfo(has_value=False), id="the engine says it has none"),
        ],
    )
    def test_a_variable_without_a_value_has_no_series(
        self, name: str, sent: Value, info: VariableInfo | None
    ) -> None:
        device = owner(name, TYPES) or ""

        assert (
            shown({name: sent}, infos={name: info} if info else {}).walked(device, name[len(device) + 1 :]) == {}
        )

    def test_a_variable_that_was_not_described_is_withheld_until_then(self) -> None:
        assert shown({"Box.FUTURE": 5.0}, settled=False).walked("Box", "FUTURE") == {}
        assert shown({"Box.FUTURE": 5.0}).walked("Box", "FUTURE") == {"ccl_variable_value": 5}

    def test_a_device_whose_name_begins_like_another_keeps_its_own(self) -> None:
        found = shown({"Box.X": 1.0, "Box - Meter.X": 2.0, "Box.N.X": 3.0}, types={**TYPES, "Box.N": METER})

        assert found.named("variable_value") == {("Box", "X"): 1, ("Box - Meter", "X"): 2, ("Box.N", "X"): 3}


class TestVariableInfo:
    def test_it_reports_what_the_engine_says(self) -> None:
        info = VariableInfo(title="Active energy", unit="#WH", factor=3, writable=False)

        found = shown({"Box.BAY.AE": 1.0}, infos={"Box.BAY.AE": info})

        assert found.named("variable_info") == {("Box", "BAY.AE", "Active energy", "kWh", "false"): 1}

    @pytest.mark.parametrize(
        ("name", "info", "labels"),
        [
            pytest.param(
                "Board.TFI", None, ("Board", "TFI", "Temperature of the board", "°F", ""), id="catalogue only"
            ),
            pytest.param("Board.TFI", VariableInfo("Heat"), ("Board", "TFI", "Heat", "°F", "false"), id="both"),
            pytest.param(
                "Box.X", VariableInfo("X", "MyUnit", 3), ("Box", "X", "X", "10^3 MyUnit", "false"), id="own unit"
            ),
            pytest.param("Box.X", VariableInfo(writable=True), ("Box", "X", "", "", "true"), id="no unit"),
            pytest.param("Box.X", None, ("Box", "X", "", "", ""), id="nothing known"),
            pytest.param(
                "Box.X", VariableInfo("Gone", has_value=False), ("Box", "X", "Gone", "", "false"), id="no value"
            ),
        ],
    )
    def test_it_reports_what_is_known(self, name: str, info: VariableInfo | None, labels: tuple[str, ...]) -> None:
        assert set(shown({name: 1.0}, infos={name: info} if info else {}).named("variable_info")) == {labels}

    def test_it_is_there_for_what_is_listed_and_not_read(self) -> None:
        found = set(shown({}, listed=["Board.TCI"]).named("variable_info"))
        assert found == {("Board", "TCI", "Temperature of the board", "°C", "")}

    def test_it_is_not_there_for_what_is_not_settled(self) -> None:
        assert shown({"Box.FUTURE": 1.0}, settled=False).named("variable_info") == {}


class TestPrivacy:
    PERSONAL = (
        *("Box.TAG", "Box.TAG_EX", "Box.BAY.RESERVE", "Box.BAY.RESERVE_EX", "Tags.TAG", "Tags.TAGEX"),
        *("Screen.TEXT", "Box.NAME", "Box.DESCRIPTION", "Box.LASTUSER", "Box.BAY.CARD_ID", "Tags.RFID1"),
        *("Box.USERPIN", "Board.SERIALNUMBER"),
    )

    @pytest.mark.parametrize(
        "secret", ["00BADC0DE0", 48879.0, Moment(JUNE + 0.625)], ids=["text", "number", "date"]
    )
    def test_personal_data_is_nowhere(self, secret: Value) -> None:
        infos = {name: VariableInfo(f"Title of {name}") for name in self.PERSONAL}

        found = shown(dict.fromkeys(self.PERSONAL, secret), infos=infos)

        exposed = {sample.value for sample in found.samples} | {
            label for _, labels in found.found for label in labels
        }
        assert not exposed & {secret, JUNE + 0.625, *(info.title for info in infos.values())}
        assert not {name.partition(".")[2] for name in self.PERSONAL} & {str(label) for label in exposed}

    def test_a_personal_variable_has_no_series(self) -> None:
        infos = dict.fromkeys((*self.PERSONAL, "Box.X"), VariableInfo("T", "#V", 0))

        found = shown(dict.fromkeys(infos, 4711.0), infos=infos)

        assert found.named("variable_volts") == {("Box", "X"): 4711}
        assert [labels[:2] for labels in found.named("variable_info")] == [("Box", "X")]
        assert [name for name in self.PERSONAL if found.walked(*name.split(".", 1))] == []

    def test_a_persons_words_in_the_values_become_no_labels(self) -> None:
        found = shown({"Box.BAY.STATE": "Anna's car", "Box.X": "Anna's car", "Screen.TEXT": "Hello Anna"})

        assert "Anna" not in repr(found.samples)


class TestPlugs:
    STATE: Mapping[str, Value] = {"Box.BAY.STATE": 0.0, "Box.BAY.ERROR": 0.0, "Box.BAY.CC": 0.0}

    def plugs(self, values: Mapping[str, Value], **more: Any) -> set[str]:
        return {labels[0] for labels in shown(values, **more).named("plug_state")}

    def test_they_are_those_of_plug_info(self) -> None:
        values = {**self.STATE, "Box.OTHER.STATE": 0.0}

        assert self.plugs(values) == {"Box.BAY"}

    def test_else_those_of_charge_info(self) -> None:
        values = {**self.STATE, "Box.OTHER.STATE": 0.0}

        assert self.plugs(values, plugs=(), charges={"Box.OTHER": ChargeRecord("Box.OTHER")}) == {"Box.OTHER"}

    def test_else_those_of_plug_state(self) -> None:
        assert self.plugs({}, plugs=(), plug_states={"Box.BAY": PlugStateRecord("Box.BAY", 0)}) == {"Box.BAY"}

    def test_else_what_stands_before_state_in_an_engine(self) -> None:
        values = {
            **self.STATE,
            "Box.STATE": 0.0,
            "Box.BAY2.STATE": 8.0,
            "Box - Pilot.STATE": 0.0,
            "Board.STATE": 0.0,
        }

        assert self.plugs(values, plugs=()) == {"Box.BAY", "Box.BAY2"}

    @pytest.mark.parametrize(
        ("values", "plugs"),
        [
            pytest.param(STATE, {"Box.BAY"}, id="state, error and connection"),
            pytest.param({"Box.BAY.STATE": 0.0}, set(), id="a state alone"),
            pytest.param({"Box.STATE": 0.0, "Box.ERROR": 0.0, "Box.CC": 0.0}, set(), id="the device itself"),
        ],
    )
    def test_a_device_of_unknown_type_has_a_plug_if_it_looks_like_one(
        self, values: Mapping[str, Value], plugs: set[str]
    ) -> None:
        assert self.plugs(values, plugs=(), types={"Box": None}) == plugs

    def test_a_plug_listed_twice_has_its_series_once(self) -> None:
        found = shown({**self.STATE, "Box.BAY.AE": 1.0}, plugs=(PLUG, PLUG))

        assert found.words("plug_state", "Box.BAY") == ("available",)

    def test_without_plug_info_the_only_meter_serves_the_only_plug(self) -> None:
        values = {**self.STATE, "Box - Meter.VI": 230.0, "Box - Pilot.INTENSITY": 16.0}

        found = shown(values, plugs=())

        assert found.named("plug_voltage_volts") == {("Box.BAY", ""): 230}
        assert found.named("plug_current_max_amperes") == {("Box.BAY",): 16}

    @pytest.mark.parametrize(
        ("values", "types"),
        [
            pytest.param({"Box.BAY2.STATE": 0.0}, TYPES, id="two plugs"),
            pytest.param({"Second.VI": 231.0}, {**TYPES, "Second": METER}, id="two meters"),
        ],
    )
    def test_without_plug_info_it_is_unknown_which_of_several_serves_which(
        self, values: Mapping[str, Value], types: Mapping[str, str | None]
    ) -> None:
        found = shown({**self.STATE, **values, "Box - Meter.VI": 230.0}, types=types, plugs=())

        assert found.named("plug_voltage_volts") == {}


class TestPlugState:
    @pytest.mark.parametrize(
        ("code", "word"),
        [
            pytest.param(-100.0, "not_initialised", id="-100"),
            pytest.param(-99.0, "unknown", id="-99"),
            pytest.param(-2.0, "disabled", id="-2"),
            pytest.param(-1.0, "error", id="-1"),
            pytest.param(0.0, "available", id="0"),
            pytest.param(8.0, "charging", id="8"),
            pytest.param(12.0, "waiting_for_disconnection", id="12"),
            pytest.param(99.0, "unknown", id="a code too far"),
            pytest.param(-50.0, "unknown", id="a code between"),
            pytest.param(7.5, "unknown", id="a fraction"),
            pytest.param(1e300, "unknown", id="a huge one"),
        ],
    )
    def test_one_word_holds_and_the_code_is_kept(self, code: float, word: str) -> None:
        found = shown({"Box.BAY.STATE": code})

        assert found.words("plug_state", "Box.BAY") == (word,)
        assert found.value("plug_state", "Box.BAY") == code

    @pytest.mark.parametrize("code", [7.5, -0.5, 0.9, 8.1])
    def test_a_code_that_is_no_whole_number_is_unknown_in_the_words_of_ocpi_too(self, code: float) -> None:
        assert shown({"Box.BAY.STATE": code}).words("plug_status", "Box.BAY") == ("unknown",)

    @pytest.mark.parametrize("sent", [None, "charging", Moment(JUNE)], ids=["nothing", "text", "date"])
    def test_without_a_code_there_is_no_state(self, sent: Value) -> None:
        found = shown({"Box.BAY.STATE": sent, "Box.BAY.ERROR": sent})

        assert found.named("plug_state") == found.named("plug_status") == found.named("plug_error") == {}

    def test_a_state_that_the_engine_says_has_no_value_is_none(self) -> None:
        found = shown({"Box.BAY.STATE": 0.0}, infos={"Box.BAY.STATE": VariableInfo(has_value=False)})

        assert found.named("plug_state") == found.named("plug_status") == {}

    def test_the_variable_goes_before_the_document(self) -> None:
        found = shown(
            {"Box.BAY.STATE": 8.0, "Box.BAY.ERROR": 4.0, "Box.BAY.CC": 1.0},
            plug_states={"Box.BAY": PlugStateRecord("Box.BAY", 0, 1, vehicle_connected=False)},
        )

        assert found.words("plug_state", "Box.BAY") == ("charging",)
        assert found.words("plug_error", "Box.BAY") == ("beacon",)
        assert found.value("plug_vehicle_connected", "Box.BAY") == 1

    def test_the_document_stands_in_where_the_engine_lists_no_variable(self) -> None:
        found = shown({}, plug_states={"Box.BAY": PlugStateRecord("Box.BAY", 8, 5, vehicle_connected=True)})

        assert found.words("plug_state", "Box.BAY") == ("charging",)
        assert found.words("plug_error", "Box.BAY") == ("cfg", "beacon")
        assert found.value("plug_vehicle_connected", "Box.BAY") == 1

    def test_of_an_unavailable_engine_the_zeros_are_no_state(self) -> None:
        found = shown({"Box.STATUS": 34.0, "Box.BAY.STATE": 0.0, "Box.BAY.ERROR": 0.0, "Box.BAY.CC": 0.0})

        plug = [key[0] for key in found.found if key[0].startswith("ccl_plug_") and "max" not in key[0]]
        assert plug == ["ccl_plug_not_charging_reason", "ccl_plug_current_limit_amperes"]
        assert found.words("plug_not_charging_reason", "Box.BAY") == ("unknown",)

    @pytest.mark.parametrize(
        ("mask", "words"),
        [
            pytest.param(0.0, (), id="none"),
            pytest.param(1.0, ("cfg",), id="bit 0"),
            pytest.param(32.0, ("rcd",), id="bit 5"),
            pytest.param(2048.0, ("other",), id="bit 11"),
            pytest.param(4095.0, None, id="all that are known"),
            pytest.param(4096.0, ("unknown",), id="bit 12"),
            pytest.param(4104.0, ("lock", "unknown"), id="bits 3 and 12"),
            pytest.param(float(2**40), ("unknown",), id="bit 40"),
            pytest.param(-1.0, ("unknown",), id="negative"),
            pytest.param(1.5, ("unknown",), id="a fraction"),
        ],
    )
    def test_each_bit_of_the_mask_is_a_word(self, mask: float, words: tuple[str, ...] | None) -> None:
        found = shown({"Box.BAY.ERROR": mask}).words("plug_error", "Box.BAY")

        assert found is not None
        assert found == words or (words is None and len(found) == 12 and "unknown" not in found)

    @pytest.mark.parametrize(
        ("state", "error", "enable", "word"),
        [
            pytest.param(0, 0, 1, "available", id="available"),
            pytest.param(1, 0, 1, "reserved", id="reserved"),
            *(pytest.param(code, 0, 1, "blocked", id=f"waiting, {code}") for code in (2, 3, 4, 5, 12)),
            *(pytest.param(code, 0, 1, "charging", id=f"serving, {code}") for code in (6, 7, 8, 9, 10, 11)),
            pytest.param(-2, 0, 1, "inoperative", id="disabled"),
            pytest.param(-1, 0, 1, "outoforder", id="error"),
            pytest.param(-99, 0, 1, "unknown", id="unknown"),
            pytest.param(-100, 0, 1, "unknown", id="not initialised"),
            pytest.param(99, 0, 1, "unknown", id="an unknown code"),
            pytest.param(0, 32, 1, "outoforder", id="available with a fault"),
            pytest.param(1, 32, 1, "outoforder", id="reserved with a fault"),
            pytest.param(12, 1, 1, "outoforder", id="waiting with a fault"),
            pytest.param(8, 4, 1, "charging", id="charging with a fault"),
            pytest.param(0, 0, 0, "inoperative", id="available but not enabled"),
            pytest.param(1, 0, 0, "inoperative", id="reserved but not enabled"),
            pytest.param(8, 0, 0, "charging", id="charging but not enabled"),
            pytest.param(0, 1, 0, "outoforder", id="fault and not enabled"),
            pytest.param(0, None, None, "available", id="nothing but the state is known"),
        ],
    )
    def test_the_word_of_ocpi(self, state: int, error: int | None, enable: int | None, word: str) -> None:
        values = {"STATE": state, "ERROR": error, "ENABLE": enable}

        found = shown({f"Box.BAY.{name}": float(value) for name, value in values.items() if value is not None})

        assert found.words("plug_status", "Box.BAY") == (word,)

    @pytest.mark.parametrize(
        ("sent", "value"), [(0.0, 0), (1.0, 1), (2.0, None), (-1.0, None), (0.5, None), (None, None)]
    )
    def test_only_zero_and_one_answer_yes_or_no(self, sent: float | None, value: float | None) -> None:
        found = shown({"Box.BAY.CC": sent, "Box.BAY.LOCK": sent})

        assert found.value("plug_vehicle_connected", "Box.BAY") == value
        assert found.value("plug_locked", "Box.BAY") == value

    @pytest.mark.parametrize(("locked", "value"), [(True, 1), (False, 0), (None, 1)])
    def test_a_lock_is_that_of_the_document_before_the_variable(self, locked: bool | None, value: float) -> None:
        state = PlugStateRecord("Box.BAY", locked=locked)

        assert (
            shown({"Box.BAY.LOCK": 1.0}, plug_states={"Box.BAY": state}).value("plug_locked", "Box.BAY") == value
        )

    @pytest.mark.parametrize(
        ("values", "enabled"),
        [
            pytest.param({"Box.BAY.ENABLE": 1.0, "Box - Pilot.OUT_OF_SERVICE": 0.0}, 1, id="both say so"),
            pytest.param({"Box.BAY.ENABLE": 0.0, "Box - Pilot.OUT_OF_SERVICE": 0.0}, 0, id="not enabled"),
            pytest.param({"Box.BAY.ENABLE": 1.0, "Box - Pilot.OUT_OF_SERVICE": 1.0}, 0, id="out of service"),
            pytest.param({"Box.BAY.ENABLE": 1.0}, 1, id="ENABLE alone"),
            pytest.param({"Box - Pilot.OUT_OF_SERVICE": 0.0}, 1, id="OUT_OF_SERVICE alone"),
            pytest.param({"Box - Pilot.OUT_OF_SERVICE": 1.0}, 0, id="OUT_OF_SERVICE alone, set"),
            pytest.param({"Box.BAY.ENABLE": None, "Box - Pilot.OUT_OF_SERVICE": 1.0}, 0, id="one unread, one no"),
            pytest.param({"Box.BAY.ENABLE": 1.0, "Box - Pilot.OUT_OF_SERVICE": None}, None, id="one unread"),
            pytest.param({}, None, id="nothing"),
        ],
    )
    def test_a_plug_is_enabled_if_both_say_so(self, values: Mapping[str, Value], enabled: float | None) -> None:
        assert shown(values).value("plug_enabled", "Box.BAY") == enabled


class TestPlugMeter:
    def test_the_plugs_own_variables_go_before_the_meters(self) -> None:
        own = {"AE": 1.0, "API": 2.0, "AI": 3.0, "VI": 4.0}

        found = shown(
            {f"Box.BAY.{name}": value for name, value in own.items()}
            | {f"Box - Meter.{name}": value * 10 for name, value in own.items()}
        )

        assert found.named("plug_energy_joules_total") == {("Box.BAY",): 3600000}
        assert found.named("plug_power_watts") == {("Box.BAY", ""): 2000}
        assert found.named("plug_current_amperes") == {("Box.BAY", ""): 3}
        assert found.named("plug_voltage_volts") == {("Box.BAY", ""): 4}

    def test_the_meters_stand_in_where_the_plug_lists_none(self) -> None:
        found = shown(
            {
                "Box.BAY.STATE": 8.0,
                **{f"Box - Meter.{name}": 2.0 for name in ("AE", "API", "AI", "VI")},
            }
        )

        assert found.named("plug_energy_joules_total") == {("Box.BAY",): 7200000}
        assert found.named("plug_power_watts") == {("Box.BAY", ""): 2000}

    def test_a_plug_whose_name_is_no_devices_has_the_energy_of_its_meter(self) -> None:
        found = shown({"Box - Meter.AE": 2.0}, plugs=(PlugInfo("Outlet 1", meter="Box - Meter"),))

        assert found.named("plug_energy_joules_total") == {("Outlet 1",): 7200000}

    def test_what_the_plug_lists_is_its_source_even_when_it_cannot_be_read(self) -> None:
        values = {"Box.BAY.AE": None, "Box.BAY.API": None, "Box - Meter.AE": 5.0, "Box - Meter.API": 5.0}

        found = shown(values, charges={"Box.BAY": ChargeRecord("Box.BAY", meter_watt_hours=5000.0)})

        assert found.named("plug_energy_joules_total") == found.named("plug_power_watts") == {}

    def test_while_the_engine_is_unavailable_the_meter_does_not_take_over(self) -> None:
        values = {"Box.STATUS": 34.0, "Box.BAY.AE": 0.0, "Box - Meter.STATUS": 1.0, "Box - Meter.AE": 5.0}

        assert shown(values).named("plug_energy_joules_total") == {}

    def test_as_long_as_the_engines_variables_are_not_known_the_meter_does_not_stand_in(self) -> None:
        assert shown({"Box - Meter.AE": 5.0}).named("plug_energy_joules_total") == {}

    def test_a_meter_with_phases_is_exposed_by_phase(self) -> None:
        phases = {f"Box - Meter.{name}{phase}": phase * 1.0 for name in ("API", "AI", "VI") for phase in (1, 2, 3)}
        values = {**phases, "Box - Meter.API": 6.0, "Box.BAY.API": 6.0, "Box.BAY.AI": 2.0, "Box.BAY.VI": 2.0}

        found = shown(values, types={**TYPES, "Box - Meter": "CVMMINI"})

        assert found.named("plug_power_watts") == {("Box.BAY", f"l{phase}"): phase * 1000 for phase in (1, 2, 3)}
        assert found.named("plug_current_amperes") == {("Box.BAY", f"l{phase}"): phase for phase in (1, 2, 3)}
        assert found.named("plug_voltage_volts") == {("Box.BAY", f"l{phase}"): phase for phase in (1, 2, 3)}

    def test_a_phase_that_cannot_be_read_is_missing_and_the_sum_does_not_stand_in(self) -> None:
        values = {"Box - Meter.AI1": 5.0, "Box - Meter.AI2": None, "Box.BAY.AI": 9.0}

        found = shown(values, types={**TYPES, "Box - Meter": "CVMMINI"})

        assert found.named("plug_current_amperes") == {("Box.BAY", "l1"): 5}

    def test_a_register_in_doubt_gives_way_to_the_charges_own(self) -> None:
        found = shown(
            {"Box.BAY.AE": 1234.56},
            infos={"Box.BAY.AE": VariableInfo(unit="#WH", factor=0)},
            charges={"Box.BAY": ChargeRecord("Box.BAY", meter_watt_hours=1234560.0)},
        )

        assert found.walked("Box", "BAY.AE") == {"ccl_variable_value": 1234.56}
        assert found.value("plug_energy_joules_total", "Box.BAY") == 4444416000

    def test_a_register_in_doubt_is_in_doubt_without_plug_info_too(self) -> None:
        found = shown(
            {"Box.BAY.AE": 1234.56, "Box.BAY.STATE": 0.0},
            infos={"Box.BAY.AE": VariableInfo(unit="#WH", factor=0)},
            charges={"Box.BAY": ChargeRecord("Box.BAY", meter_watt_hours=1234560.0)},
            plugs=(),
        )

        assert found.value("plug_energy_joules_total", "Box.BAY") == 4444416000

    def test_without_any_register_listed_the_charges_own_is_exposed(self) -> None:
        charge = ChargeRecord("Box.BAY", meter_watt_hours=1000.0)

        found = shown({"Box.BAY.STATE": 0.0}, charges={"Box.BAY": charge})

        assert found.value("plug_energy_joules_total", "Box.BAY") == 3600000


class TestPlugLimits:
    @pytest.mark.parametrize(
        ("intensity", "reduction", "cap", "limit"),
        [
            pytest.param(32.0, 0.0, None, 32.0, id="nothing reduced"),
            pytest.param(32.0, 50.0, None, 16.0, id="half"),
            pytest.param(32.0, 100.0, None, 0.0, id="all"),
            pytest.param(16.0, 29.0, None, 11.36, id="no rounding left over"),
            pytest.param(32.0, 0.0, 20.0, 20.0, id="capped"),
            pytest.param(32.0, 50.0, 20.0, 16.0, id="the cap is higher"),
        ],
    )
    def test_the_limit_is_what_is_left_and_at_most_the_assigned_current(
        self, intensity: float, reduction: float, cap: float | None, limit: float
    ) -> None:
        values = {"Box - Pilot.INTENSITY": intensity, "Box - Pilot.PREDUCTION": reduction}
        if cap is not None:
            values["Box.BAY.CURRENT_REDUCTION"] = cap

        found = shown(values)

        assert found.value("plug_current_limit_amperes", "Box.BAY") == limit
        assert found.value("plug_power_reduction_ratio", "Box.BAY") == reduction / 100

    def test_the_cap_counts_in_amperes_even_without_a_unit(self) -> None:
        values = {"Box - Pilot.INTENSITY": 32.0, "Box - Pilot.PREDUCTION": 0.0, "Box.BAY.CURRENT_REDUCTION": 20.0}

        found = shown(values, types={**TYPES, "Box": "SOMETHING_NEW"})

        assert found.value("plug_current_limit_amperes", "Box.BAY") == 20

    @pytest.mark.parametrize(
        "missing", ["Box - Pilot.INTENSITY", "Box - Pilot.PREDUCTION", "Box.BAY.CURRENT_REDUCTION"]
    )
    def test_without_one_of_its_parts_there_is_no_limit(self, missing: str) -> None:
        values: dict[str, Value] = {
            "Box - Pilot.INTENSITY": 32.0,
            "Box - Pilot.PREDUCTION": 50.0,
            "Box.BAY.CURRENT_REDUCTION": 20.0,
        }

        assert shown({**values, missing: None}).named("plug_current_limit_amperes") == {}

    @pytest.mark.parametrize(
        ("reduction", "cap"),
        [
            pytest.param(255.0, 32.0, id="a reduction that cannot be"),
            pytest.param(0.0, -1.0, id="an assigned current that cannot be"),
        ],
    )
    def test_a_limit_is_never_below_zero(self, reduction: float, cap: float) -> None:
        values = {
            "Box - Pilot.INTENSITY": 32.0,
            "Box - Pilot.PREDUCTION": reduction,
            "Box.BAY.CURRENT_REDUCTION": cap,
        }

        limit = shown(values).value("plug_current_limit_amperes", "Box.BAY")

        assert limit is None or limit >= 0

    @pytest.mark.parametrize(
        ("supported", "intensity", "most"),
        [(32.0, 16.0, 32), (None, 16.0, 16), (32.0, None, 32), (None, None, None)],
    )
    def test_the_highest_current_is_the_sockets_before_the_setting(
        self, supported: float | None, intensity: float | None, most: float | None
    ) -> None:
        found = shown({"Box - Pilot.INTENSITY": intensity}, plugs=(replace(PLUG, supported_amperes=supported),))

        assert found.value("plug_current_max_amperes", "Box.BAY") == most


class TestCharge:
    def charge(self, **fields: Any) -> Shown:
        return shown({"Box.BAY.STOPPED": 6.0}, charges={"Box.BAY": ChargeRecord("Box.BAY", **fields)})

    def test_everything_that_is_sent_is_shown_in_base_units(self) -> None:
        found = self.charge(
            watt_hours=1500.0, requested=JUNE, begun=JUNE + 1, ended=JUNE + 2, seconds=1.0, stop_reason=4
        )

        assert found.value("charge_energy_joules", "Box.BAY") == 5400000
        assert found.value("charge_request_timestamp_seconds", "Box.BAY") == JUNE
        assert found.value("charge_begin_timestamp_seconds", "Box.BAY") == JUNE + 1
        assert found.value("charge_end_timestamp_seconds", "Box.BAY") == JUNE + 2
        assert found.value("charge_duration_seconds", "Box.BAY") == 1
        assert found.words("charge_stop_reason", "Box.BAY") == ("disconnect",)

    def test_what_is_not_sent_has_no_series(self) -> None:
        found = self.charge()

        assert [key for key in found.found if key[0].startswith("ccl_charge")] == []

    def test_nothing_delivered_yet_is_zero(self) -> None:
        assert self.charge(watt_hours=0.0).value("charge_energy_joules", "Box.BAY") == 0

    def test_an_energy_too_large_to_scale_is_not_shown(self) -> None:
        found = self.charge(watt_hours=1e308, meter_watt_hours=1e308)

        assert found.named("charge_energy_joules") == found.named("plug_energy_joules_total") == {}

    @pytest.mark.parametrize("instant", [0.0, 915148800.0, 946684799.9])
    def test_an_instant_before_2000_is_not_shown(self, instant: float) -> None:
        found = self.charge(requested=instant, begun=instant, ended=instant)

        assert [key for key in found.found if key[0].startswith("ccl_charge")] == []

    @pytest.mark.parametrize(
        ("code", "word"),
        [(0, "none"), (5, "remote"), (10, "vehicle_over_current"), (11, "unknown"), (-1, "unknown")],
    )
    def test_the_reason_is_a_word(self, code: int, word: str) -> None:
        found = self.charge(stop_reason=code)

        assert found.words("charge_stop_reason", "Box.BAY") == (word,)
        assert found.value("charge_stop_reason", "Box.BAY") == code

    def test_the_variable_of_that_name_stays_a_plain_number(self) -> None:
        found = self.charge(stop_reason=5)

        assert found.walked("Box", "BAY.STOPPED") == {"ccl_variable_value": 6}
        assert found.words("charge_stop_reason", "Box.BAY") == ("remote",)
        assert self.charge().named("charge_stop_reason") == {}


class TestStation:
    def test_state_and_faults_are_those_of_the_engine(self) -> None:
        found = shown({"Box.STATE": 2.0, "Box.ERROR": 66.0, "Box - Pilot.ERROR": 1.0, "Box - Pilot.STATE": 1.0})

        assert found.words("station_state") == ("waiting_for_tag",)
        assert found.words("station_error") == ("reader", "rcd")

    @pytest.mark.parametrize(("code", "word"), [(3.0, "unknown"), (0.5, "unknown"), (-100.0, "not_initialised")])
    def test_a_code_without_a_word_is_unknown(self, code: float, word: str) -> None:
        assert shown({"Box.STATE": code}).words("station_state") == (word,)

    def test_with_two_engines_it_is_unknown_which_one_is_the_station(self) -> None:
        values = {"Box.STATE": 0.0, "Box.ERROR": 0.0, "Twin.STATE": 2.0, "Twin.ERROR": 1.0}

        found = shown(values, types={**TYPES, "Twin": ENGINE})

        assert found.named("station_state") == found.named("station_error") == {}

    def test_the_engine_names_itself(self) -> None:
        found = shown({}, information=Information(product="Yard Scada", version="1.2.3", company="Acme"))

        assert found.named("station_info") == {("Acme", "Yard Scada", "1.2.3"): 1}

    def test_temperature_is_that_of_the_board(self) -> None:
        found = shown({"Board.TCI": 28.2, "Board.TFI": 82.76})

        assert found.named("station_temperature_celsius") == {(): 28.2}

    def test_it_was_started_when_the_board_was(self) -> None:
        found = shown({"Board.RUNTIME": Moment(JUNE), "Box.RUNTIME": Moment(JUNE + 5)})

        assert found.named("station_boot_timestamp_seconds") == {(): JUNE}

    def test_without_a_board_it_was_started_when_the_engine_was(self) -> None:
        assert shown({"Box.RUNTIME": Moment(JUNE)}).named("station_boot_timestamp_seconds") == {(): JUNE}

    def test_a_start_before_2000_is_none(self) -> None:
        assert shown({"Board.RUNTIME": Moment(5.0)}).named("station_boot_timestamp_seconds") == {}

    @pytest.mark.parametrize(
        ("status", "events"),
        [
            pytest.param(SystemStatus(("a", "b", "c"), 2), 2, id="some"),
            pytest.param(SystemStatus(("a", "b", "c"), 0), 0, id="none"),
            pytest.param(SystemStatus(("a", "b", "c")), None, id="not sent"),
            pytest.param(None, None, id="no document"),
        ],
    )
    def test_active_events_are_counted(self, status: SystemStatus | None, events: float | None) -> None:
        assert shown({}, status=status).value("station_active_events") == events

    @pytest.mark.parametrize("clock", [JUNE, None])
    def test_its_clock_is_exposed_only_if_it_sends_it(self, clock: float | None) -> None:
        assert shown({}, clock=clock).value("station_clock_timestamp_seconds") == clock

    def test_an_unavailable_engine_has_no_state(self) -> None:
        found = shown({"Box.STATUS": 34.0, "Box.STATE": 0.0, "Box.ERROR": 0.0})

        assert found.named("station_state") == found.named("station_error") == {}


# Any engine: whatever it lists and says, the samples keep to the contract.

NAMES = (
    *(
        "AE",
        "AE1",
        "AEP",
        "API",
        "API1",
        "AI",
        "AI2",
        "VI",
        "VI3",
        "PFI",
        "STATE",
        "ERROR",
        "CC",
        "LOCK",
        "ENABLE",
    ),
    *(
        "STOPPED",
        "CURRENT_REDUCTION",
        "INTENSITY",
        "PREDUCTION",
        "OUT_OF_SERVICE",
        "TCI",
        "TFI",
        "RUNTIME",
        "STATUS",
    ),
    *("VDTTM", "TAG", "X", "BAY.STATE", "BAY.ERROR", "BAY.CC", "BAY.AE", "BAY.STATUS", "BAY.ENABLE", "BAY.TAG"),
)
numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-101, 5000).map(float))
values = st.one_of(st.just(1.0), numbers, st.none(), st.text(max_size=5), st.floats(-6e10, 2.5e11).map(Moment))
units = st.sampled_from(["#WH", "#V", "#A", "#PERCENT", "#DATETIME", "#PF", "#HOURS", "#NEW", "fahrenheit"])
infos = st.builds(
    lambda unit, has_value, type, mode: VariableInfo(
        "T", unit=unit[0], factor=unit[1], has_value=has_value, type=type, sample_mode=mode
    ),
    st.just((None, None)) | st.tuples(units, st.integers(-12, 12)),
    st.booleans(),
    st.sampled_from([None, "date", "double"]),
    st.sampled_from([None, "differential", "last"]),
)
optional_number = st.none() | st.floats(0, 1e300)
optional_code = st.none() | st.integers(-(10**9), 10**9)
types = st.sampled_from([ENGINE, METER, PILOT, BOARD, READER, "CVMMINI", "SOMETHING_NEW", None])


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    devices = draw(
        st.dictionaries(
            st.sampled_from(["Box", "Box.BAY", "Box - Meter", "A.B", "A"]), types, min_size=1, max_size=4
        )
    )
    names = st.builds(lambda device, name: f"{device}.{name}", st.sampled_from([*devices]), st.sampled_from(NAMES))
    plug_names = st.sampled_from(["Box.BAY", "Box", "Outlet", "A.B"])
    device_names = st.none() | st.sampled_from([*devices, "Gone"])
    flags = st.none() | st.booleans()
    plugs = st.builds(PlugInfo, plug_names, optional_number, device_names, device_names)
    states = st.builds(PlugStateRecord, plug_names, optional_code, optional_code, flags, flags)
    charges = st.builds(ChargeRecord, plug_names, optional_code, *[optional_number] * 6, optional_code)
    return snapshot(
        draw(st.dictionaries(names, values, max_size=25)),
        types=devices,
        listed=draw(st.lists(names, max_size=5)),
        infos=draw(st.dictionaries(names, infos, max_size=8)),
        settled=draw(st.booleans()),
        plugs=tuple(draw(st.lists(plugs, max_size=2, unique_by=lambda plug: plug.name))),
        charges={charge.name: charge for charge in draw(st.lists(charges, max_size=2))},
        plug_states={state.name: state for state in draw(st.lists(states, max_size=2))},
        answered=frozenset(draw(st.lists(st.sampled_from([*devices])))),
    )


class TestContract:
    @given(taken=snapshots())
    @settings(max_examples=150, deadline=None)
    def test_whatever_an_engine_says_the_samples_keep_to_the_list_of_families(self, taken: Snapshot) -> None:
        found = Shown(taken)

        for sample in found.samples:
            if sample.family.kind == "info":
                assert sample.value == 1
            if sample.family.kind == "counter":
                assert sample.value >= 0
            if sample.family is PLUG_NOT_CHARGING:
                assert len(sample.active) <= 1
            elif sample.family.kind == "stateset" and not sample.family.name.endswith("_error"):
                assert len(sample.active) == 1
            if "timestamp" in sample.family.name:
                assert sample.value >= datetime(2000, 1, 1, tzinfo=UTC).timestamp()
        for device, variable in {labels for _, labels in found.found if len(labels) == 2}:
            assert len(found.walked(device, variable)) <= 1

    @given(taken=snapshots())
    @settings(max_examples=30, deadline=None)
    def test_the_same_snapshot_gives_the_same_samples(self, taken: Snapshot) -> None:
        assert samples(taken) == samples(taken)
