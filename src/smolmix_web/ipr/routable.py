"""Which addresses are globally routable, by the list of the reference exit (ipr.md section 12).

It follows the IANA special-purpose address registries; multicast counts as global there. Python's own
``is_global`` differs from it in details, and between Python versions.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

IpAddress: TypeAlias = IPv4Address | IPv6Address
IpNetwork: TypeAlias = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[IpNetwork, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_NOT_GLOBAL = _networks(
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
)
_GLOBAL_AFTER_ALL = _networks(
    "192.0.0.9/32",  # port control protocol anycast, RFC 7723
    "192.0.0.10/32",  # TURN anycast, RFC 8155
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:3::/32",  # AMT, RFC 7450
    "2001:4:112::/48",  # AS112-v6, RFC 7535
    "2001:20::/28",  # ORCHIDv2, RFC 7343
    "2001:30::/28",  # drone remote identification, RFC 9374
)


def is_globally_routable(address: IpAddress) -> bool:
    return not _in_any(address, _NOT_GLOBAL) or _in_any(address, _GLOBAL_AFTER_ALL)


def _in_any(address: IpAddress, networks: Iterable[IpNetwork]) -> bool:
    return any(address in network for network in networks)
