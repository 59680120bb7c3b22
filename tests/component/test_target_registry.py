"""Who is read, by which name; and what a change of the configuration leaves as it was."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from ccl_exporter.errors import UsageError
from ccl_exporter.exporter.target_registry import TargetRegistry
from ccl_exporter.settings import ChargerSettings, Settings

GARAGE = ChargerSettings("garage", "http://127.0.0.1:9", labels={"site": "a"})


def test_a_charger_of_the_configuration_that_is_asked_for_by_address_is_that_charger() -> None:
    fleet = TargetRegistry(Settings({"garage": GARAGE}, allow=(ip_network("127.0.0.0/8"),)), None)

    assert fleet.target("127.0.0.1:9") is fleet.target("http://127.0.0.1:9/") is fleet.named("garage")
    assert fleet.target("127.0.0.1:8") is not fleet.named("garage")
    fleet.update(Settings({}, allow=(ip_network("127.0.0.0/8"),)))
    assert fleet.target("127.0.0.1:9").settings.name != "garage"


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
