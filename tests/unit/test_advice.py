"""What the owner of a charger that cannot be read is advised to do."""

from collections.abc import Mapping

import pytest

from ccl_exporter.errors import (
    Absent,
    AccessDenied,
    ChargerError,
    ConnectRefused,
    ConnectTimedOut,
    Garbled,
    HostNotFound,
    NoRoute,
    TimedOut,
    Unreachable,
)
from ccl_exporter.powerstudio.advice import advice

URL = "http://192.0.2.10:8080"


SAYS: Mapping[type[ChargerError], str] = {
    HostNotFound: "use the charger's address instead of its name",
    ConnectRefused: "no web server on this port",
    NoRoute: "is not connected to the charger's network",
    ConnectTimedOut: "own subnet",
    TimedOut: "own subnet",
    Unreachable: "http or https",
    AccessDenied: "CCL_PASSWORD_FILE",
    Absent: "Wibeee",
    Garbled: "does not respond like a PowerStudio engine",
}


@pytest.mark.parametrize("kind", SAYS)
def test_each_kind_of_failure_has_advice_of_its_own_whatever_its_words(kind: type[ChargerError]) -> None:
    assert SAYS[kind] in advice(kind("host name not found, no route, refused, Wibeee"), URL)


def test_advice_names_the_host_without_its_port() -> None:
    assert advice(NoRoute("no route"), URL).startswith("192.0.2.10 ")
