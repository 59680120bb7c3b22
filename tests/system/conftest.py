"""The order of the files: those that take longest first, so that no worker is busy with one when all others are done."""

import pytest

FIRST = (
    *("test_follow_command", "test_write_commands", "test_charge_log", "test_readme", "test_mqtt", "test_nights"),
    *("test_thirty_days", "test_benchmarks", "test_boards", "test_commands", "test_tls_and_logins", "test_service"),
    *("test_plan_command", "test_push", "test_alerts_live", "test_fleet", "test_container", "test_trouble"),
    *("test_cluster", "test_governor", "test_prometheus", "test_recordings", "test_rules_and_tools"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(FIRST)))
