"""Who is read, by which name; and what a change of the configuration leaves as it was."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from ccl_exporter.errors import UsageError
from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.target_registry import TargetRegistry
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.settings import ChargerSettings, Settings
from ccl_exporter.simulator import Fault, Simulator

GARAGE = ChargerSettings("garage", "http://127.0.0.1:9", labels={"site": "a"})


def test_a_charger_of_the_configuration_that_is_asked_for_by_address_is_that_charger() -> None:
    fleet = TargetRegistry(Settings({"garage": GARAGE}, allow=(ip_network("127.0.0.0/8"),)), None)

    assert fleet.target("127.0.0.1:9") is fleet.target("http://127.0.0.1:9/") is fleet.named("garage")
    assert fleet.target("127.0.0.1:8") is not fleet.named("garage")
    fleet.update(Settings({}, allow=(ip_network("127.0.0.0/8"),)))
    assert fleet.target("127.0.0.1:9").settings.name != "garage"


def test_a_charger_that_is_configured_by_host_name_is_the_one_that_is_asked_for_by_its_url() -> None:
    named = replace(GARAGE, url="http://localhost:9")
    fleet = TargetRegistry(Settings({"garage": named}, allow=(ip_network("127.0.0.0/8"), ip_network("::1"))), None)

    assert fleet.target("http://localhost:9") is fleet.named("garage")


def test_a_target_whose_network_is_admitted_no_more_is_forgotten() -> None:
    fleet = TargetRegistry(Settings({}, allow=(ip_network("127.0.0.0/8"),)), None)
    one, other = fleet.target("127.0.0.1:9"), fleet.target("127.0.0.2:9")
    fleet.update(Settings({}, allow=(ip_network("127.0.0.2/32"),)))

    assert fleet.known() == [other] != [one]


def test_one_whose_host_is_not_admitted_is_asked_for_by_its_name_only() -> None:
    fleet = TargetRegistry(Settings({"garage": GARAGE}, allow=(ip_network("192.0.2.0/24"),)), None)

    with pytest.raises(UsageError, match="not in the configuration"):
        fleet.target("127.0.0.1:9")
    assert fleet.target("garage") is fleet.named("garage")


def test_what_is_only_shown_of_a_charger_changes_without_losing_what_was_learned_of_it() -> None:
    fleet = TargetRegistry(Settings({"garage": GARAGE}), None)
    before = fleet.named("garage")
    now = replace(GARAGE, labels={"site": "b"}, exclude=("EVSE.*",))
    fleet.update(Settings({"garage": now}))

    assert before is not None
    assert fleet.named("garage") is before
    assert before.settings == now


@pytest.mark.parametrize("changed", [{"url": "http://127.0.0.2:9"}, {"timeout": 3.0}, {"pause": 0.1}])
def test_a_charger_that_is_asked_otherwise_is_another(changed: dict[str, object]) -> None:
    fleet = TargetRegistry(Settings({"garage": GARAGE}), None)
    before = fleet.named("garage")
    fleet.update(Settings({"garage": replace(GARAGE, **changed)}))  # type: ignore[arg-type] # one of its fields

    assert fleet.named("garage") is not before


# Registers


AE = "EVSE.PLUG.AE"
ZEROS = (Fault("zeros"),)


def shows_register(charger: Charger | None) -> bool:
    assert charger is not None
    snapshot = charger.read(30, oldest=0)
    assert snapshot.up
    return AE in snapshot.values


@pytest.mark.parametrize("changed", [{"timeout": 31.0}, {"labels": {"site": "b"}}])
def test_what_is_held_back_stays_so_when_the_configuration_changes(changed: dict[str, object]) -> None:
    with Simulator(autopilot=False) as simulator:
        settings = ChargerSettings("garage", simulator.url)
        fleet = TargetRegistry(Settings({"garage": settings}), None)
        assert shows_register(fleet.named("garage"))
        simulator.faults = ZEROS
        assert not shows_register(fleet.named("garage"))
        now = replace(settings, **changed)  # type: ignore[arg-type] # one of its fields
        fleet.update(Settings({"garage": now}))

        assert not shows_register(fleet.named("garage"))


@pytest.mark.parametrize("changed", [{}, {"timeout": 31.0}])
def test_the_most_power_takes_effect_when_the_configuration_changes(changed: dict[str, object]) -> None:
    with Simulator(autopilot=False) as simulator:
        settings = ChargerSettings("garage", simulator.url)
        fleet = TargetRegistry(Settings({"garage": settings}), None)
        assert shows_register(fleet.named("garage"))
        (plug,) = simulator.site.plugs
        for max_power in (1e9, 1e3):
            plug.set_register(plug.energy_wh + 100.0)
            now = replace(settings, max_power=max_power, **changed)  # type: ignore[arg-type] # its fields
            fleet.update(Settings({"garage": now}))

            assert shows_register(fleet.named("garage")) is (max_power == 1e9)


def test_what_is_held_back_of_a_charger_without_a_name_stays_so_when_the_configuration_changes() -> None:
    with Simulator(autopilot=False) as simulator:
        settings = Settings({}, allow=(ip_network("127.0.0.0/8"),))
        fleet = TargetRegistry(settings, None)
        assert shows_register(fleet.target(simulator.url))
        simulator.faults = ZEROS
        fleet.update(replace(settings, chargers={"garage": GARAGE}))

        assert not shows_register(fleet.target(simulator.url))


def test_what_is_held_back_stays_so_over_a_restart(tmp_path: Path) -> None:
    with Simulator(autopilot=False) as simulator:
        settings = Settings(
            {"garage": ChargerSettings("garage", simulator.url)}, allow=(ip_network("127.0.0.0/8"),)
        )
        for faults, shown in (((), True), (ZEROS, False), ((), True)):
            simulator.faults = faults
            recorder = SessionRecorder(tmp_path / "charges.db")
            fleet = TargetRegistry(settings, None, recorder)
            assert shows_register(fleet.named("garage")) is shown
            recorder.close()


def test_levels_that_could_not_be_read_at_start_count_once_they_can_be(tmp_path: Path) -> None:
    state, aside = tmp_path / "state", tmp_path / "aside"
    with Simulator(autopilot=False) as simulator:
        settings = Settings({"garage": ChargerSettings("garage", simulator.url)})
        recorder = SessionRecorder(state / "charges.db")
        assert shows_register(TargetRegistry(settings, None, recorder).named("garage"))
        recorder.close()
        state.rename(aside)
        state.write_text("where the folder was")
        (plug,) = simulator.site.plugs
        level = plug.energy_wh
        plug.set_register(level / 2)
        recorder = SessionRecorder(state / "charges.db")
        charger = TargetRegistry(settings, None, recorder).named("garage")
        assert shows_register(charger), "nothing is known against it"
        state.unlink()
        aside.rename(state)
        recorder.worker.attempt(0.0)

        assert not shows_register(charger)
        plug.set_register(level)
        assert shows_register(charger)
        recorder.close()


def test_of_chargers_that_are_gone_nothing_is_known() -> None:
    fleet = TargetRegistry(Settings({"garage": GARAGE}, allow=(ip_network("127.0.0.0/8"),)), None)
    fleet.named("garage")
    fleet.target("127.0.0.1:8")
    assert [charger.settings.name for charger in fleet.known()] == ["garage", "127.0.0.1:8"]
    fleet.update(Settings({}))

    assert fleet.known() == []


def test_an_exchanged_charger_does_not_inherit_the_levels_of_the_other(tmp_path: Path) -> None:
    recorder = SessionRecorder(tmp_path / "charges.db")
    with Simulator(autopilot=False) as simulator:
        settings = Settings({"garage": ChargerSettings("garage", simulator.url)})
        fleet = TargetRegistry(settings, None, recorder)
        assert shows_register(fleet.named("garage"))
    with Simulator(autopilot=False, seed=2, port=simulator.port) as other:
        (plug,) = other.site.plugs
        # What is held back of a charger whose register stood higher.
        plug.set_register(plug.energy_wh / 2)
        assert shows_register(TargetRegistry(settings, None, recorder).named("garage"))
    recorder.close()


def test_chargers_of_one_configuration_image_do_not_share_levels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = SessionRecorder(tmp_path / "charges.db")
    with Simulator(autopilot=False) as one, Simulator(autopilot=False) as copy:
        (plug,) = copy.site.plugs
        plug.set_register(plug.energy_wh / 2)
        settings = Settings(
            {name: ChargerSettings(name, charger.url) for name, charger in (("garage", one), ("carport", copy))}
        )
        fleet = TargetRegistry(settings, None, recorder)
        for _ in range(2):
            shown = [shows_register(fleet.named(name)) for name in settings.chargers]
    recorder.close()

    assert shown == [True, True]
    assert sum("the same plug ids" in line for line in caplog.messages) == 1
