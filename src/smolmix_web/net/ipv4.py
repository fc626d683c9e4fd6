"""IPv4 header (RFC 791): parse and build.

Packets leave with DF set and identification 0 (atomic datagrams, RFC 6864 section 4.1): the stack never
fragments on sending.
"""

from __future__ import annotations

import struct

from smolmix_web.errors import MalformedError
from smolmix_web.net.ip import IpPacket

HEADER_SIZE = 20
MIN_MTU = 68

_HEADER = struct.Struct(">BBHHHBBH4s4s")
_DONT_FRAGMENT = 0x4000
_MORE_FRAGMENTS = 0x2000


def parse_ipv4(packet: bytes) -> IpPacket:
    """Check every header field that the stack relies upon.

    Bytes behind the total length (link padding) are ignored. Options are skipped; a source route changes
    nothing, because the stack never forwards.

    :raises MalformedError: truncated, wrong version, lengths or checksum.
    """
    size = len(packet)
    if size < HEADER_SIZE:
        raise MalformedError("IPv4: truncated header")
    (
        version_length,
        _service,
        total_length,
        identification,
        fragment,
        ttl,
        protocol,
        _checksum,
        source,
        destination,
    ) = _HEADER.unpack_from(packet)
    offset = (version_length & 15) * 4
    if version_length >> 4 != 4 or offset < HEADER_SIZE or not offset <= total_length <= size:
        raise MalformedError("IPv4: impossible lengths")
    if int.from_bytes(packet[:offset], "big") % 0xFFFF:
        raise MalformedError("IPv4: wrong header checksum")
    parsed = IpPacket(packet, source, destination, protocol, offset, total_length, ttl)
    if fragment & 0x3FFF:
        parsed.fragment_offset = (fragment & 0x1FFF) * 8
        parsed.more_fragments = bool(fragment & _MORE_FRAGMENTS)
        parsed.identification = identification
        parsed.is_fragment = True
    return parsed


def build_ipv4_header(
    source: bytes, destination: bytes, protocol: int, payload_length: int, *, ttl: int = 64
) -> bytes:
    """The 20-byte header of an unfragmented packet."""
    total = HEADER_SIZE + payload_length
    words = (
        0x4500
        + total
        + _DONT_FRAGMENT
        + (ttl << 8 | protocol)
        + int.from_bytes(source, "big")
        + int.from_bytes(destination, "big")
    )
    return _HEADER.pack(
        0x45, 0, total, 0, _DONT_FRAGMENT, ttl, protocol, -words % 0xFFFF, source, destination
    )
