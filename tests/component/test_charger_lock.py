"""The lock of a charger is that of where its name leads, however it is spelt."""

from pathlib import Path
from time import monotonic

import pytest

from ccl_exporter.errors import TimedOut
from ccl_exporter.http_client import resolved_address
from ccl_exporter.locks import ChargerLock


def is_free(lock: ChargerLock) -> bool:
    try:
        with lock.turn(monotonic() + 0.2):
            return True
    except TimedOut:
        return False
    finally:
        lock.close()


@pytest.mark.parametrize(
    ("held", "wanted", "free"),
    [
        ("http://127.0.0.1:8080", "http://localhost:8080", False),
        ("http://127.0.0.1:8080", "http://[::1]:8080/engine", True),
        ("http://192.0.2.10", "http://192.0.2.10:80/", False),
        ("http://192.0.2.10", "http://[::ffff:192.0.2.10]", False),
        ("http://192.0.2.10", "https://192.0.2.10", True),
        ("http://192.0.2.10", "http://192.0.2.11", True),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8081", True),
        ("http://charger.invalid", "http://charger.invalid", False),
    ],
)
def test_one_charger_has_one_lock(tmp_path: Path, held: str, wanted: str, free: bool) -> None:
    first = ChargerLock(tmp_path, held)
    with first.turn(monotonic() + 5):
        assert is_free(ChargerLock(tmp_path, wanted)) is free
    assert is_free(ChargerLock(tmp_path, wanted))


def test_a_request_that_fails_frees_the_charger(tmp_path: Path) -> None:
    lock = ChargerLock(tmp_path, "http://192.0.2.10")
    with pytest.raises(ZeroDivisionError), lock.turn(monotonic() + 5):
        raise ZeroDivisionError

    assert is_free(ChargerLock(tmp_path, "http://192.0.2.10"))
    with lock.turn(monotonic() + 5):
        assert not is_free(ChargerLock(tmp_path, "http://192.0.2.10"))


def test_a_name_that_leads_nowhere_has_no_address() -> None:
    assert resolved_address("http://charger.invalid", 0.2) is None
