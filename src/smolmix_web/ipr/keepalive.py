"""The packet that keeps an exit from forgetting an idle client.

An exit drops a client that sent no IP packet for 60 seconds; pings and health requests of its own protocol
do not count (ipr.md section 11.6), so a keep-alive has to be an IP packet. Ours is an ICMP echo request
whose time to live is 1: the kernel behind the exit answers "time exceeded" instead of forwarding it, so
that no third party sees it, and the answer proves that both directions work. A user-space exit answers with
an echo reply, and an exit whose policy refuses the destination with a denial; any of the three will do.
Sources: RFC 791, RFC 792.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

# Any global address serves: the packet goes no further than the exit.
DESTINATION = IPv4Address("8.8.8.8")

_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_ICMP = struct.Struct(">BBHHH")
_ICMP_PROTOCOL = 1
_ECHO_REPLY = 0
_ECHO_REQUEST = 8
_TIME_EXCEEDED = 11


def keepalive_packet(source: IPv4Address, sequence: int) -> bytes:
    """28 bytes; ``sequence`` is cut to 16 bits and also serves as the packet's identification."""
    sequence &= 0xFFFF
    checksum = _checksum(_ICMP.pack(_ECHO_REQUEST, 0, 0, 0, sequence))
    message = _ICMP.pack(_ECHO_REQUEST, 0, checksum, 0, sequence)
    total = _IPV4.size + len(message)
    fields = (0x45, 0, total, sequence, 0, 1, _ICMP_PROTOCOL)
    checksum = _checksum(_IPV4.pack(*fields, 0, source.packed, DESTINATION.packed))
    return _IPV4.pack(*fields, checksum, source.packed, DESTINATION.packed) + message


def is_answer(packet: bytes) -> bool:
    """Whether an IP packet answers a keep-alive: time exceeded that quotes it, or an echo reply of its
    destination."""
    if len(packet) < 28 or packet[0] != 0x45 or packet[9] != _ICMP_PROTOCOL:
        return False
    kind = packet[20]
    if kind == _ECHO_REPLY:
        return packet[12:16] == DESTINATION.packed
    # RFC 792: eight bytes of ICMP header, then the header of the packet and eight bytes of it.
    return kind == _TIME_EXCEEDED and packet[37:38] == b"\1" and packet[44:48] == DESTINATION.packed


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
