"""What the owner of a charger that cannot be read is told to do."""

from ccl_exporter.errors import ConnectTimedOut, HostNotFound, Unreachable
from ccl_exporter.powerstudio.advice import advice


def test_advice_depends_on_the_kind_of_the_error_not_on_its_words() -> None:
    url = "http://no-host-at-all.test"

    assert "look the charger's address up" in advice(HostNotFound("the name does not resolve"), url)
    assert "no web server on this port" in advice(Unreachable("no connection to no host at all: refused"), url)
    assert "switched off" in advice(ConnectTimedOut("no connection within some seconds"), url)
