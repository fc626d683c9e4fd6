"""What an IP packet router looks at in a packet: source, destination, protocol, destination port.

This is not an IP stack (that is :mod:`smolmix_web.net`): nothing is verified beyond what routing needs.
Sources: RFC 791 section 3.1, RFC 8200 sections 3 and 4, ipr.md section 11.4.
"""

from __future__ import annotations

from typing import NamedTuple

from smolmix_web.errors import MalformedError

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58

# Length of the smallest transport header; without it a packet "is missing transport header".
_TRANSPORT_HEADER = {TCP: 20, UDP: 8, ICMP: 8, ICMPV6: 8}

_HOP_BY_HOP = 0
_ROUTING = 43
_FRAGMENT = 44
_AUTHENTICATION = 51
_DESTINATION_OPTIONS = 60
_EXTENSION_HEADERS = frozenset((_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION_OPTIONS))


class PacketInfo(NamedTuple):
    """Addresses are 4 or 16 bytes. ``port`` is 0 for protocols without ports and for later fragments;
    ``transport`` is the offset of the transport header.
    """

    source: bytes
    destination: bytes
    protocol: int
    port: int
    transport: int


def inspect_packet(packet: bytes) -> PacketInfo:
    """:raises MalformedError: not an IPv4 or IPv6 packet with a whole transport header"""
    if not packet:
        raise MalformedError("parsed packet is missing IP header")
    version = packet[0] >> 4
    if version == 4:
        return _inspect_ipv4(packet)
    if version == 6:
        return _inspect_ipv6(packet)
    raise MalformedError(f"IP version {version}")


def destination_of(packet: bytes) -> bytes | None:
    """Destination address alone, for routing towards a client; None when the header is not whole."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        return packet[16:20]
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        return packet[24:40]
    return None


def _inspect_ipv4(packet: bytes) -> PacketInfo:
    header = (packet[0] & 0xF) * 4
    if header < 20 or len(packet) < header:
        raise MalformedError("IPv4 header is cut off")
    total = int.from_bytes(packet[2:4], "big")
    if not header <= total <= len(packet):
        raise MalformedError(f"IPv4 total length {total} of {len(packet)} bytes")
    later_fragment = int.from_bytes(packet[6:8], "big") & 0x1FFF != 0
    protocol = packet[9]
    port = 0 if later_fragment else _port(packet, header, total, protocol)
    return PacketInfo(packet[12:16], packet[16:20], protocol, port, header)


def _inspect_ipv6(packet: bytes) -> PacketInfo:
    if len(packet) < 40:
        raise MalformedError("IPv6 header is cut off")
    end = 40 + int.from_bytes(packet[4:6], "big")
    if end > len(packet):
        raise MalformedError(f"IPv6 payload ends at {end} of {len(packet)} bytes")
    protocol, offset, later_fragment = packet[6], 40, False
    while protocol in _EXTENSION_HEADERS:
        if offset + 8 > end:
            raise MalformedError("IPv6 extension header is cut off")
        if protocol == _FRAGMENT:
            # The rest of a later fragment is payload, whatever its next-header field says.
            later_fragment = int.from_bytes(packet[offset + 2 : offset + 4], "big") >> 3 != 0
            length = 8
        elif protocol == _AUTHENTICATION:
            length = (packet[offset + 1] + 2) * 4
        else:
            length = (packet[offset + 1] + 1) * 8
        protocol = packet[offset]
        offset += length
        if later_fragment:
            break
    port = 0 if later_fragment else _port(packet, offset, end, protocol)
    return PacketInfo(packet[8:24], packet[24:40], protocol, port, offset)


def _port(packet: bytes, offset: int, end: int, protocol: int) -> int:
    if offset + _TRANSPORT_HEADER.get(protocol, 0) > end:
        raise MalformedError("parsed packet is missing transport header")
    if protocol in (TCP, UDP):
        return int.from_bytes(packet[offset + 2 : offset + 4], "big")
    return 0
