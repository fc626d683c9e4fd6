"""Addresses that an IP packet router hands out: ``10.0.x.y`` with ``fc00::n``, n = 256 x + y.

Source: ipr.md section 11.2. Addresses that end in .0 or .255 do occur.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from smolmix_web.ipr.responses import IpPair

# The exit's own addresses, on its TUN device (n = 1).
EXIT_IPS = IpPair(IPv4Address("10.0.0.1"), IPv6Address("fc00::1"))

_LOWEST, _HIGHEST = 2, 65534
_IPV4_BASE = int(IPv4Address("10.0.0.0"))
_IPV6_BASE = int(IPv6Address("fc00::"))
# The reference exit gives up after a hundred draws.
_DRAWS = 100


class AddressPool:
    """Pairs in use; ``capacity`` bounds their number (65,533 exist)."""

    def __init__(self, random_bytes: Callable[[int], bytes], capacity: int = _HIGHEST - _LOWEST + 1) -> None:
        self._random_bytes = random_bytes
        self._capacity = capacity
        self._taken: set[int] = set()

    def __len__(self) -> int:
        return len(self._taken)

    def draw(self) -> IpPair | None:
        """A random free pair, or None when none was found."""
        if len(self._taken) >= self._capacity:
            return None
        for _ in range(_DRAWS):
            number = int.from_bytes(self._random_bytes(2), "big")
            if _LOWEST <= number <= _HIGHEST and number not in self._taken:
                self._taken.add(number)
                return IpPair(IPv4Address(_IPV4_BASE + number), IPv6Address(_IPV6_BASE + number))
        return None

    def free(self, ips: IpPair) -> None:
        self._taken.discard(int(ips.ipv4) - _IPV4_BASE)
