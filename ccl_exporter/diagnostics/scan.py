"""PowerStudio engines in a network: which addresses answer as one."""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

from ccl_exporter.diagnostics.in_parallel import in_parallel
from ccl_exporter.errors import AccessDenied, ChargerError, UsageError
from ccl_exporter.powerstudio.command_reader import CommandReader
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.settings import charger_settings

Network = IPv4Network | IPv6Network

AT_ONCE = 32
"""How many addresses are asked at a time."""

_INFORMATION = 10.0
"""Seconds for the name of an engine that has listed its devices."""

_ROUTES = Path("/proc/net/route")
_INSIDE = re.compile(r"(br-|cni|docker|flannel|lxcbr|lxdbr|podman|veth|virbr).*")
"""Interfaces to containers and virtual machines of this machine."""


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """An engine that answers on `url`; product and version are empty if it does not name them."""

    url: str
    product: str
    version: str


def identify(transport: Transport, timeout: float) -> FoundEngine:
    """What the engine calls itself; raises what is wrong if no devices are listed within `timeout` seconds."""
    reader = CommandReader(transport)
    reader.devices(monotonic() + timeout)
    information = reader.information(monotonic() + _INFORMATION)
    return FoundEngine(transport.url, information.product, information.version)


def parse_network(text: str) -> Network:
    """A network such as 192.0.2.0/24, or one address; raises `UsageError`."""
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a network; it looks like 192.0.2.0/24") from error


def own_networks() -> list[Network]:
    """The networks (IPv4) of this machine's interfaces, without those inside the machine."""
    try:
        return connected_networks(_ROUTES.read_text(encoding="ascii"))
    except OSError:
        return []


def connected_networks(table: str) -> list[Network]:
    """The networks to which a routing table, as in /proc/net/route, leads without a gateway."""
    found: list[Network] = []
    for line in table.splitlines()[1:]:
        interface, destination, gateway, *_, mask = line.split()[:8]
        network = IPv4Network((_little_endian(destination), _little_endian(mask).bit_count()))
        is_local = int(gateway, 16) == 0 and network.prefixlen > 0 and not network.is_link_local
        if is_local and not _INSIDE.fullmatch(interface):
            found.append(network)
    return found


def _little_endian(digits: str) -> int:
    return int.from_bytes(bytes.fromhex(digits), "little")


@dataclass
class Scan:
    """A search for engines in networks, without any login.

    `timeout` is for each address, in seconds; `done` of `total` addresses have been asked.
    `found` is in the order of the addresses once all is done; `logins` are URLs that ask for a login.
    """

    networks: Sequence[Network]
    port: int
    timeout: float
    done: int = 0
    found: list[FoundEngine] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    @cached_property
    def _distinct(self) -> Sequence[Network]:
        fourth = [network for network in self.networks if isinstance(network, IPv4Network)]
        sixth = [network for network in self.networks if isinstance(network, IPv6Network)]
        return [*collapse_addresses(fourth), *collapse_addresses(sixth)]

    @property
    def total(self) -> int:
        return sum(network.num_addresses for network in self._distinct)

    def run(self) -> None:
        """Ask each address for its devices, which is one small request, and the engines for their name."""
        for answer in in_parallel(self._ask, self._addresses(), min(AT_ONCE, self.total)):
            self.done += 1
            if isinstance(answer, FoundEngine):
                self.found.append(answer)
            elif answer is not None:
                self.logins.append(answer)
        self.found.sort(key=lambda engine: _place(engine.url))
        self.logins.sort(key=_place)

    def _addresses(self) -> Iterator[IPv4Address | IPv6Address]:
        for network in self._distinct:
            yield from network

    def _ask(self, address: IPv4Address | IPv6Address) -> FoundEngine | str | None:
        host = str(address) if address.version == 4 else f"[{address}]"
        with closing(Transport(charger_settings(f"{host}:{self.port}", {}).url)) as transport:
            try:
                return identify(transport, self.timeout)
            except AccessDenied:
                return transport.url
            except ChargerError:
                return None


def _place(url: str) -> tuple[int, int]:
    address = ip_address(urlsplit(url).hostname or "")
    return address.version, int(address)
