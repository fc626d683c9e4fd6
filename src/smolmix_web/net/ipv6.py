"""IPv6 header and extension headers (RFC 8200): parse and build."""

from __future__ import annotations

import struct

from smolmix_web.errors import MalformedError
from smolmix_web.net.ip import IpPacket

HEADER_SIZE = 40
MIN_MTU = 1280

_HEADER = struct.Struct(">IHBB16s16s")
_VERSION = 6 << 28

HOP_BY_HOP = 0
ROUTING = 43
FRAGMENT = 44
NO_NEXT_HEADER = 59
DESTINATION_OPTIONS = 60
_SKIPPED = frozenset((HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS))
# Real packets carry one or two; more is an attempt to burn time (RFC 9098 section 4).
_MAX_EXTENSION_HEADERS = 8


def parse_ipv6(packet: bytes) -> IpPacket:
    """Check the header and walk over the extension headers.

    A fragment keeps its fragment header's fields; ``offset`` then points behind that header and ``protocol``
    is the next header it names.

    :raises MalformedError: truncated, wrong version or length, a routing header with segments left,
        or a hop-by-hop header that is not first.
    """
    size = len(packet)
    if size < HEADER_SIZE:
        raise MalformedError("IPv6: truncated header")
    first, payload_length, protocol, hop_limit, source, destination = _HEADER.unpack_from(packet)
    end = HEADER_SIZE + payload_length
    if first >> 28 != 6 or end > size:
        raise MalformedError("IPv6: impossible lengths")
    parsed = IpPacket(packet, source, destination, protocol, HEADER_SIZE, end, hop_limit)
    if protocol in _SKIPPED or protocol == FRAGMENT:
        _walk_extension_headers(parsed)
    return parsed


def _walk_extension_headers(parsed: IpPacket) -> None:
    packet, offset, protocol = parsed.packet, parsed.offset, parsed.protocol
    for count in range(_MAX_EXTENSION_HEADERS):
        if protocol in _SKIPPED:
            if protocol == HOP_BY_HOP and count:
                raise MalformedError("IPv6: hop-by-hop options are not first")
            if offset + 8 > parsed.end:
                raise MalformedError("IPv6: truncated extension header")
            if protocol == ROUTING and packet[offset + 3]:
                raise MalformedError("IPv6: routing header with segments left")
            protocol, offset = packet[offset], offset + 8 + 8 * packet[offset + 1]
            if offset > parsed.end:
                raise MalformedError("IPv6: truncated extension header")
        elif protocol == FRAGMENT:
            if offset + 8 > parsed.end:
                raise MalformedError("IPv6: truncated fragment header")
            position = int.from_bytes(packet[offset + 2 : offset + 4], "big")
            parsed.identification = int.from_bytes(packet[offset + 4 : offset + 8], "big")
            parsed.protocol = packet[offset]
            parsed.offset = offset + 8
            if position & 0xFFF9:
                parsed.is_fragment = True
                parsed.fragment_offset = position & 0xFFF8
                parsed.more_fragments = bool(position & 1)
                return
            # An atomic fragment (RFC 6946) is a whole packet in disguise.
            protocol, offset = packet[offset], offset + 8
        else:
            parsed.protocol, parsed.offset = protocol, offset
            return
    raise MalformedError("IPv6: too many extension headers")


def build_ipv6_header(
    source: bytes, destination: bytes, protocol: int, payload_length: int, *, hop_limit: int = 64
) -> bytes:
    """The 40-byte header of a packet without extension headers."""
    return _HEADER.pack(_VERSION, payload_length, protocol, hop_limit, source, destination)
