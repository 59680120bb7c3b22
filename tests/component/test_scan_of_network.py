"""A search for engines: what is asked, and what is found."""

import socket

import pytest
from helpers.raw_server import Peer, serving

from ccl_exporter.diagnostics.scan import AT_ONCE, FoundEngine, Scan, parse_network
from ccl_exporter.simulator import Dialect, Fault, Simulator

WAIT = 5.0


def scan(network: str, port: int) -> Scan:
    done = Scan([parse_network(network)], port, WAIT)
    done.run()
    return done


@pytest.mark.parametrize("dialect", ["full", "wallbox-proven", "no-user-devices"])
def test_an_engine_is_found_with_its_name(dialect: str) -> None:
    with Simulator(dialect=Dialect.parse([dialect]), autopilot=False) as simulator:
        done = scan("127.0.0.0/28", simulator.port)

    assert done.found == [FoundEngine(simulator.url, "CirCarLife Scada", "4.2.3")]
    assert (done.done, done.total) == (16, 16)


def test_an_engine_that_does_not_name_itself_is_found_too() -> None:
    with Simulator(dialect=Dialect.parse(["no-information"]), autopilot=False) as simulator:
        assert scan("127.0.0.1", simulator.port).found == [FoundEngine(simulator.url, "", "")]


def test_an_engine_takes_two_requests_the_first_of_them_small() -> None:
    with Simulator(autopilot=False) as simulator:
        scan("127.0.0.1", simulator.port)

        assert [request.target for request in simulator.requests] == [
            "/services/user/devices.xml",
            "/services/system/information.xml",
        ]


def test_what_is_no_engine_gets_one_request() -> None:
    with Simulator(faults=[Fault.parse("html")]) as simulator:
        done = scan("127.0.0.1", simulator.port)

        assert len(simulator.requests) == 1
    assert (done.found, done.logins) == ([], [])


def test_a_login_is_never_sent_and_who_asks_for_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCL_USERNAME", "monitor")
    monkeypatch.setenv("CCL_PASSWORD", "planted")
    answer = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n'

    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(answer)

    with serving(script) as server:
        done = scan("127.0.0.1", int(server.url.rpartition(":")[2]))

        assert len(server.requests) == 1
        assert b"authorization" not in server.requests[0].lower()
    assert (done.found, done.logins) == ([], [server.url])


def test_no_more_connections_are_open_than_addresses_may_be_asked_at_a_time() -> None:
    with Simulator(host="0.0.0.0", faults=[Fault.parse("slow:0.02")], autopilot=False) as simulator:  # noqa: S104
        done = scan("127.0.0.0/26", simulator.port)

        assert len(done.found) >= 62
        assert 1 < simulator.max_in_flight <= AT_ONCE
    urls = [engine.url for engine in done.found]
    assert urls == sorted(urls, key=lambda url: socket.inet_aton(url.split(":")[1].strip("/")))
