"""Where destinations that are not real lead to: the test internet's addresses, mapped to local listeners.

The test internet lives at the documentation addresses 192.0.2.0/24 (RFC 5737) and 2001:db8::/32 (RFC 3849),
and at the public resolvers' port 53. Nothing else that is not globally routable is ever reached through an
exit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from smolmix_web.ipr.routable import IpAddress


class Protocol(Enum):
    TCP = "tcp"
    UDP = "udp"


class Endpoint(NamedTuple):
    """A real listener: ``host`` is an address as text."""

    host: str
    port: int


class Blackhole(Enum):
    """Target of a destination that swallows whatever is sent to it."""

    BLACKHOLE = "blackhole"


BLACKHOLE = Blackhole.BLACKHOLE


class AddressMap:
    """(address, port, protocol) -> where to go instead. Filled before an exit uses it."""

    def __init__(self) -> None:
        self._targets: dict[tuple[IpAddress, int, Protocol], Endpoint | Blackhole] = {}
        self._hosts: dict[IpAddress, int] = {}

    def add(self, address: str, port: int, protocol: Protocol, target: Endpoint | Blackhole) -> None:
        key = (ipaddress.ip_address(address), port, protocol)
        if key not in self._targets:
            self._hosts[key[0]] = self._hosts.get(key[0], 0) + 1
        self._targets[key] = target

    def lookup(self, address: IpAddress, port: int, protocol: Protocol) -> Endpoint | Blackhole | None:
        """The target, or None where the destination is not mapped."""
        return self._targets.get((address, port, protocol))

    def covers(self, address: IpAddress) -> bool:
        """Whether the address belongs to the test internet: any port of it is mapped."""
        return address in self._hosts

    def is_blackhole(self, address: IpAddress) -> bool:
        """Whether everything mapped at the address swallows what it gets."""
        if address not in self._hosts:
            return False
        return all(target is BLACKHOLE for at, _, _, target in self if at == address)

    def __iter__(self) -> Iterator[tuple[IpAddress, int, Protocol, Endpoint | Blackhole]]:
        for (address, port, protocol), target in self._targets.items():
            yield address, port, protocol, target

    def __len__(self) -> int:
        return len(self._targets)
