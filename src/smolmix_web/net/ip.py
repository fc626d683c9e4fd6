"""What both IP versions have in common: the parsed packet, protocol numbers and the pseudo-header."""

from __future__ import annotations

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58


class IpPacket:
    """A checked view on one IP packet; the payload is ``packet[offset:end]``.

    ``source`` and ``destination`` are 4 or 16 bytes; ``protocol`` is the upper-layer protocol behind all
    extension headers.
    """

    __slots__ = (
        "destination",
        "end",
        "fragment_offset",
        "hop_limit",
        "identification",
        "is_fragment",
        "more_fragments",
        "offset",
        "packet",
        "protocol",
        "source",
    )

    def __init__(
        self,
        packet: bytes,
        source: bytes,
        destination: bytes,
        protocol: int,
        offset: int,
        end: int,
        hop_limit: int,
    ) -> None:
        self.packet = packet
        self.source = source
        self.destination = destination
        self.protocol = protocol
        self.offset = offset
        self.end = end
        self.hop_limit = hop_limit
        self.is_fragment = False
        self.fragment_offset = 0
        self.more_fragments = False
        self.identification = 0

    @property
    def payload(self) -> bytes:
        return self.packet[self.offset : self.end]


def pseudo_sum(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """Sum of the pseudo-header of RFC 9293 section 3.1 (IPv4) and RFC 8200 section 8.1 (IPv6)."""
    return int.from_bytes(source, "big") + int.from_bytes(destination, "big") + protocol + length
