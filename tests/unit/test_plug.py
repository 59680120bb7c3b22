"""One plug, judged once: what is not read is not known, and every reason has its order."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import pytest
from helpers.plugs import plug, state

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.samples import samples
from ccl_exporter.powerstudio.engine import CHARGING
from ccl_exporter.powerstudio.inventory import Device, Inventory, PlugInfo, owner
from ccl_exporter.powerstudio.snapshot import ChargeRecord, PlugStateRecord, Snapshot, Value
from ccl_exporter.sessions.tracker import plug_readings
from ccl_exporter.station.catalogue import Activity, NotCharging, catalogue
from ccl_exporter.station.judge import Station, core_variables
from ccl_exporter.station.plug import Limits, Measured, Plug, Session, conflicts

TYPES = {"Box": "CCL1ENGINE", "Mode": "MODO3", "Meter": "CVM1D", "Meter2": "CVM1D"}
INFO = PlugInfo("Box.BAY", 32.0, "Mode", "Meter")
LIMITS = {"Mode.INTENSITY": 32.0, "Mode.PREDUCTION": 0.0, "Box.BAY.CURRENT_REDUCTION": 32.0}


def snapshot(
    values: Mapping[str, Value],
    plugs: tuple[PlugInfo, ...] = (INFO,),
    plug_states: Mapping[str, PlugStateRecord] | None = None,
    charges: Mapping[str, ChargeRecord] | None = None,
) -> Snapshot:
    """What an engine says whose devices list these variables and describe none."""
    inventory = Inventory(
        devices=tuple(
            Device(id, type, variables=tuple(name for name in values if owner(name, TYPES) == id))
            for id, type in TYPES.items()
        ),
        settled=frozenset(values),
        plugs=plugs,
    )
    return Snapshot(
        taken=1_790_000_000.0,
        seconds=0.1,
        timeout=9.5,
        requests=2,
        up=True,
        inventory=inventory,
        values=values,
        answered=frozenset(TYPES),
        plug_states=plug_states or {},
        charges=charges or {},
    )


def judged(values: Mapping[str, Value], **more: object) -> Plug:
    (found,) = Station(snapshot(values, **more)).plugs  # type: ignore[arg-type] # passed on as it is
    return found


PHASES = {f"Meter.{name}{phase}": value for name, value in (("API", 7.476), ("AI", 32.5)) for phase in (1, 2, 3)}


class TestMeasured:
    def test_three_phases_are_summed_and_the_highest_current_counts(self) -> None:
        found = judged({**PHASES, "Meter.AI2": 33.0})

        assert found.phases == 3
        assert found.power == pytest.approx(22_428.0)
        assert found.current == 33.0

    @pytest.mark.parametrize("missing", ["Meter.API1", "Meter.API2", "Meter.API3"])
    def test_with_one_of_three_phases_missing_there_is_no_power_and_there_are_three_phases(
        self, missing: str
    ) -> None:
        taken = snapshot(
            {**PHASES, "Box.BAY.STATE": 8.0, missing: None}, charges={"Box.BAY": ChargeRecord("Box.BAY")}
        )
        station = Station(taken)
        (found,) = station.plugs

        assert (found.phases, found.power, found.powers.is_unread) == (3, None, True)
        assert [sample for sample in samples(station) if sample.family is f.PLUG_POWER] == []
        assert len([sample for sample in samples(station) if sample.family is f.PLUG_CURRENT]) == 3
        assert plug_readings(station)["Box.BAY"].watts is None

    def test_what_is_not_listed_is_not_unread(self) -> None:
        found = judged({"Box.BAY.API": 1.5})

        assert (found.power, found.current, found.phases) == (1500.0, None, 1)
        assert not found.currents.is_unread


class TestLimits:
    def test_the_smallest_of_the_limits_is_allowed(self) -> None:
        assert judged(LIMITS).limits.allowed == 32.0
        assert judged({**LIMITS, "Mode.PREDUCTION": 50.0}).limits.allowed == 16.0
        capped = judged({**LIMITS, "Box.BAY.CURRENT_REDUCTION": 10.0})
        assert capped.limits.allowed == 10.0
        assert (capped.limits.rated, capped.limits.reduction, capped.limits.cap) == (32.0, 0.0, 10.0)

    @pytest.mark.parametrize("name", LIMITS)
    def test_a_limit_that_is_listed_and_cannot_be_read_leaves_the_allowed_current_unknown(self, name: str) -> None:
        found = judged({**LIMITS, name: None})

        assert found.limits.allowed is None
        assert not found.is_limit_below_minimum

    @pytest.mark.parametrize("ratio", [-1.0, 101.0, 4294967295.0])
    def test_a_reduction_that_cannot_be_leaves_it_unknown(self, ratio: float) -> None:
        assert judged({**LIMITS, "Mode.PREDUCTION": ratio}).limits.allowed is None

    def test_the_socket_is_the_base_only_where_no_setting_is_listed(self) -> None:
        assert judged({"Mode.PREDUCTION": 50.0}).limits.allowed == 16.0
        assert judged({"Mode.PREDUCTION": 50.0, "Mode.INTENSITY": None}).limits.allowed is None
        assert judged({"Mode.INTENSITY": 20.0}).limits.allowed == 20.0
        assert judged({}, plugs=(PlugInfo("Box.BAY"),)).limits == Limits()


RECORDS = {"Box.BAY": PlugStateRecord("Box.BAY", state=8, vehicle_connected=True)}
CHARGES = {"Box.BAY": ChargeRecord("Box.BAY", state=8)}


class TestState:
    @pytest.mark.parametrize(
        ("records", "charges"), [(RECORDS, CHARGES), (RECORDS, {}), ({}, CHARGES)], ids=["both", "state", "charge"]
    )
    @pytest.mark.parametrize("value", [None, "text"])
    def test_a_state_that_cannot_be_read_is_that_of_the_documents(
        self, value: Value, records: Mapping[str, PlugStateRecord], charges: Mapping[str, ChargeRecord]
    ) -> None:
        found = judged({"Box.BAY.STATE": value}, plug_states=records, charges=charges)

        assert found.activity is Activity.CHARGING
        assert found.not_charging is None
        assert found.status == "charging"

    def test_a_state_that_is_not_reported_is_unknown_everywhere(self) -> None:
        found = judged({"Box.BAY.STATE": None})

        assert (found.state, found.status, found.activity) == (None, None, Activity.UNKNOWN)
        assert found.not_charging is NotCharging.UNKNOWN

    def test_a_code_without_a_row_is_unknown_and_keeps_its_number(self) -> None:
        found = judged({"Box.BAY.STATE": 42.0, "Box.BAY.CC": 1.0})

        assert found.state is not None
        assert (found.state.word, found.state_code) == ("unknown", 42.0)
        assert (found.activity, found.not_charging) == (Activity.UNKNOWN, NotCharging.UNKNOWN)

    def test_every_row_says_everything_and_no_code_or_word_twice(self) -> None:
        rows = catalogue().plug_states.values()

        assert len({row.word for row in rows}) == len(rows)
        assert [row.word for row in rows if not (row.word and row.status and row.activity and row.sentence)] == []
        assert [row.word for row in rows if (row.reason is None) != (row.activity is Activity.CHARGING)] == []
        assert [row.word for row in rows if row.status not in f.PLUG_STATUS.states] == []
        assert {row.activity for row in rows} == set(Activity)
        assert [row.code for row in rows if row.word == "charging"] == [CHARGING]

    def test_every_reason_has_words_from_its_state_or_of_its_own(self) -> None:
        facts = catalogue()
        by_state = {row.reason for row in facts.plug_states.values()}

        assert [
            reason for reason in NotCharging if reason not in by_state and reason not in facts.not_charging
        ] == []
        assert {NotCharging.UNKNOWN, NotCharging.FAULT} <= facts.not_charging.keys()


class TestReason:
    @pytest.mark.parametrize(
        ("seen", "reason"),
        [
            (plug("charging"), None),
            (plug("charging", faults=("meter",)), None),
            (plug("charging", enabled=False, vehicle_connected=False), None),
            (plug("available", faults=("rcd",), vehicle_connected=False), "fault"),
            (plug("error", faults=()), "fault"),
            (plug("error", enabled=False), "fault"),
            (plug("reserved", vehicle_connected=False), "reserved"),
            (plug("available", vehicle_connected=False, enabled=False), "no_vehicle"),
            (plug("available", vehicle_connected=None), "no_vehicle"),
            (plug("waiting_for_permission", vehicle_connected=None), "waiting_for_permission"),
            (plug("available", enabled=False), "disabled"),
            (plug("disabled", enabled=None, vehicle_connected=None), "disabled"),
            (plug("available"), "waiting_for_permission"),
            (plug("waiting_for_power"), "waiting_for_power"),
            (plug("waiting_for_power", allowed=None), "waiting_for_power"),
            (plug("waiting_for_power", allowed=5.9), "limit_below_minimum"),
            (plug("waiting_for_power", allowed=6.0), "waiting_for_power"),
            (plug("waiting_for_vehicle"), "vehicle_not_ready"),
            (plug("waiting_for_vehicle", allowed=0.0), "limit_below_minimum"),
            (plug("paused", allowed=0.0), "limit_below_minimum"),
            (plug("pausing", allowed=0.0), "limit_below_minimum"),
            (plug("paused"), "paused"),
            (plug("waiting_for_permission", allowed=0.0), "waiting_for_permission"),
            (plug("waiting_for_schedule", allowed=0.0), "waiting_for_schedule"),
            (plug("starting"), "starting"),
            (plug("resuming"), "starting"),
            (plug("stopping"), "session_ended"),
            (plug("waiting_for_disconnection", allowed=0.0), "session_ended"),
            (plug("not_initialised"), "unknown"),
            (plug(None), "unknown"),
            (plug(None, enabled=False), "disabled"),
            (plug(None, vehicle_connected=False), "no_vehicle"),
        ],
    )
    def test_the_first_that_holds_is_the_reason(self, seen: Plug, reason: str | None) -> None:
        assert seen.not_charging == reason
        assert (seen.sentence == "") == (reason is None)

    def test_no_sentence_has_an_unknown_number(self) -> None:
        assert "A" not in plug("waiting_for_power", allowed=None).sentence
        assert (
            plug("waiting_for_power", allowed=5.0).sentence
            == "the current limit is 5 A, but a vehicle needs at least 6 A"
        )

    def test_one_word_holds_unless_it_charges(self) -> None:
        for row, connected, enabled, faults in product(
            catalogue().plug_states.values(), (True, False, None), (True, False, None), ((), ("rcd",), None)
        ):
            seen = plug(row.word, vehicle_connected=connected, enabled=enabled, faults=faults)
            assert (seen.not_charging is None) == (row.word == "charging")


class TestConflicts:
    TWO = (PlugInfo("Box.BAY", 32.0, "Mode", "Meter"), PlugInfo("Box.BAY2", 32.0, "Mode", "Meter"))

    def test_the_energy_of_a_meter_that_two_plugs_name_is_not_counted_twice(self) -> None:
        charges = {name: ChargeRecord(name, meter_watt_hours=5000.0) for name in ("Box.BAY", "Box.BAY2")}
        taken = snapshot({"Meter.AE": 5.0, "Meter.API": 7.0, "Box.X": 1.0}, plugs=self.TWO, charges=charges)

        assert [found.energy for found in Station(taken).plugs] == [None, None]
        assert [found.power for found in Station(taken).plugs] == [None, None]
        assert len(conflicts(taken.inventory)) == 1

    def test_what_a_plug_has_of_its_own_is_shown_also_beside_a_shared_meter(self) -> None:
        values = {f"{name}.{what}": 5.0 for name in ("Box.BAY", "Box.BAY2") for what in ("AE", "API")}
        taken = snapshot({**values, **PHASES}, plugs=self.TWO)
        selection = core_variables(taken.inventory)

        assert [found.power for found in Station(taken).plugs] == [5000.0, 5000.0]
        assert selection is not None
        assert values.keys() <= selection.often

    def test_two_plugs_of_one_name_are_one_plug(self) -> None:
        twice = (PlugInfo("Box.BAY", 16.0, "Mode", "Meter"), INFO)
        taken = snapshot({"Box.BAY.STATE": 8.0}, plugs=twice)

        assert len(Station(taken).plugs) == 1
        assert conflicts(taken.inventory) == (
            "plugInfo lists the plug Box.BAY several times; only the last one is used",
        )

    def test_an_inventory_without_conflicts_says_nothing(self) -> None:
        assert conflicts(snapshot({}).inventory) == ()


def test_the_core_variables_are_all_that_a_plug_is_made_from() -> None:
    """A snapshot with these alone is judged like one with everything."""
    names = [f"Box.BAY.{name}" for name in ("STATE", "CC", "LOCK", "ERROR", "ENABLE", "CURRENT_REDUCTION", "AE")]
    names += [
        *LIMITS,
        *PHASES,
        "Mode.OUT_OF_SERVICE",
        "Meter.VI1",
        "Meter.VI2",
        "Meter.VI3",
        "Box.STATE",
        "Box.ERROR",
    ]
    values: dict[str, Value] = {**dict.fromkeys(names, 1.0), "Box.BAY.X": 1.0}
    taken = snapshot(values)
    selection = core_variables(taken.inventory)
    assert selection is not None
    wanted = selection.often | selection.rarely

    assert wanted == set(names)
    fewer = replace(taken, values={name: value for name, value in values.items() if name in wanted})
    assert Station(fewer).plugs == Station(taken).plugs


def test_an_empty_plug_is_unknown() -> None:
    seen = Plug("P")

    assert (seen.power, seen.current, seen.phases, seen.stop_reason) == (None, None, 1, None)
    assert (Measured().total, Measured().highest, Session().energy) == (None, None, None)
    assert state("charging").activity is Activity.CHARGING


@pytest.mark.parametrize(("register", "difference"), [(4855.39, 360_000.0), (4_855_390.0, None), (4.855, None)])
def test_a_register_whose_unit_chargeinfo_contradicts_has_no_difference_to_it(
    register: float, difference: float | None
) -> None:
    charges = {"Box.BAY": ChargeRecord("Box.BAY", meter_watt_hours=4_855_290.0)}
    read = snapshot({"Box.BAY.AE": register}, charges=charges)
    shown = [sample.value for sample in samples(Station(read)) if sample.family is f.PLUG_METER_DIFFERENCE]

    assert shown == ([difference] if difference is not None else [])
