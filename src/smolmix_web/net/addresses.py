"""IP addresses: text outside the stack, 4 or 16 bytes inside."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from smolmix_web.errors import OptionError


@lru_cache(maxsize=1024)
def pack_address(text: str) -> bytes:
    """4 or 16 bytes. :raises OptionError: not an IP literal (names are resolved above this layer)."""
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        raise OptionError("address", "not an IPv4 or IPv6 literal") from None


@lru_cache(maxsize=1024)
def format_address(packed: bytes) -> str:
    """The literal of 4 or 16 bytes, IPv6 in the form of RFC 5952."""
    return str(ipaddress.ip_address(packed))


def is_unicast(packed: bytes) -> bool:
    """Whether the address may be one end of a connection (RFC 1122 section 3.2.1.3, RFC 4291 section 2)."""
    if len(packed) == 4:
        # 0/8 is "this network", 224/4 multicast, 240/4 reserved with the limited broadcast.
        return 0 < packed[0] < 224
    return packed[0] != 0xFF and any(packed)
