"""Which networks are searched for chargers."""

import pytest

from ccl_exporter.diagnostics.scan import Scan, connected_networks, parse_network
from ccl_exporter.errors import UsageError

HEADER = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT"


def table(*lines: str) -> str:
    return "\n".join((HEADER, *lines))


def test_a_network_without_a_gateway_is_one_of_this_machine() -> None:
    default = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0"
    local = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0"
    beyond = "eth0\t0000000A\t010200C0\t0003\t0\t0\t0\t000000FF\t0\t0\t0"

    assert [str(network) for network in connected_networks(table(default, local, beyond))] == ["192.0.2.0/24"]


@pytest.mark.parametrize("interface", ["docker0", "br-0123456789ab", "virbr0", "cni0"])
def test_networks_inside_the_machine_are_not_searched(interface: str) -> None:
    line = f"{interface}\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0"

    assert connected_networks(table(line)) == []


def test_link_local_addresses_and_a_tunnel_for_everything_are_not_searched() -> None:
    local = "eth0\t0000FEA9\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0"
    everything = "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0"

    assert connected_networks(table(local, everything)) == []


def test_a_machine_without_a_network_has_none_to_search() -> None:
    assert connected_networks(table()) == []


def test_an_address_that_is_in_two_networks_is_asked_once() -> None:
    networks = [parse_network(text) for text in ("192.0.2.0/24", "192.0.2.7", "192.0.2.128/25", "2001:db8::/120")]

    assert Scan(networks, 80, 1.0).total == 512


def test_what_is_no_network_is_said() -> None:
    with pytest.raises(UsageError, match="'evse' is not a network; it looks like"):
        parse_network("evse")
