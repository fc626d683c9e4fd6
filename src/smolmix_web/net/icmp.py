"""ICMP (RFC 792, 1191) and ICMPv6 (RFC 4443): format, errors about our packets, echo."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum

from smolmix_web.errors import MalformedError, SmolmixError, Unreachable
from smolmix_web.net.checksum import checksum
from smolmix_web.net.ip import ICMP, ICMPV6, TCP, UDP, pseudo_sum

_HEADER = struct.Struct(">BBHI")
HEADER_SIZE = 8

ECHO_REPLY_V4, UNREACHABLE_V4, ECHO_REQUEST_V4, TIME_EXCEEDED_V4, PARAMETER_PROBLEM_V4 = 0, 3, 8, 11, 12
UNREACHABLE_V6, TOO_BIG_V6, TIME_EXCEEDED_V6, PARAMETER_PROBLEM_V6 = 1, 2, 3, 4
ECHO_REQUEST_V6, ECHO_REPLY_V6 = 128, 129
FRAGMENTATION_NEEDED = 4  # code of UNREACHABLE_V4
PORT_UNREACHABLE_V4, PORT_UNREACHABLE_V6 = 3, 4

_REASONS_V4 = {
    0: "network unreachable",
    1: "host unreachable",
    2: "protocol unreachable",
    3: "port unreachable",
    5: "source route failed",
    6: "network unknown",
    7: "host unknown",
    9: "network administratively prohibited",
    10: "host administratively prohibited",
    13: "communication administratively prohibited",
}
_REASONS_V6 = {
    0: "no route",
    1: "administratively prohibited",
    2: "beyond scope of source address",
    3: "address unreachable",
    4: "port unreachable",
    5: "source address failed policy",
    6: "route rejected",
}


class Kind(Enum):
    ECHO_REQUEST = "echo request"
    ECHO_REPLY = "echo reply"
    UNREACHABLE = "unreachable"
    TOO_BIG = "packet too big"
    TIME_EXCEEDED = "time exceeded"
    PARAMETER_PROBLEM = "parameter problem"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class IcmpMessage:
    """``value`` is the second header word: identifier and sequence number of an echo, MTU of "too big"."""

    kind: Kind
    type: int
    code: int
    value: int
    body: bytes

    def error(self) -> SmolmixError:
        """What a socket is told."""
        if self.kind is Kind.UNREACHABLE:
            reasons = _REASONS_V4 if self.type == UNREACHABLE_V4 else _REASONS_V6
            return Unreachable(reasons.get(self.code, f"unreachable, code {self.code}"))
        return Unreachable(self.kind.value)


@dataclass(frozen=True, slots=True)
class Quoted:
    """The packet an ICMP error is about, as far as it was quoted. Addresses are packed."""

    source: bytes
    destination: bytes
    protocol: int
    source_port: int
    destination_port: int
    seq: int


_KINDS = {
    (4, ECHO_REQUEST_V4): Kind.ECHO_REQUEST,
    (4, ECHO_REPLY_V4): Kind.ECHO_REPLY,
    (4, UNREACHABLE_V4): Kind.UNREACHABLE,
    (4, TIME_EXCEEDED_V4): Kind.TIME_EXCEEDED,
    (4, PARAMETER_PROBLEM_V4): Kind.PARAMETER_PROBLEM,
    (6, ECHO_REQUEST_V6): Kind.ECHO_REQUEST,
    (6, ECHO_REPLY_V6): Kind.ECHO_REPLY,
    (6, UNREACHABLE_V6): Kind.UNREACHABLE,
    (6, TOO_BIG_V6): Kind.TOO_BIG,
    (6, TIME_EXCEEDED_V6): Kind.TIME_EXCEEDED,
    (6, PARAMETER_PROBLEM_V6): Kind.PARAMETER_PROBLEM,
}


def parse_icmp(data: bytes, source: bytes, destination: bytes) -> IcmpMessage:
    """:raises MalformedError: truncated or wrong checksum."""
    if len(data) < HEADER_SIZE:
        raise MalformedError("ICMP: truncated header")
    version = 4 if len(source) == 4 else 6
    extra = 0 if version == 4 else pseudo_sum(source, destination, ICMPV6, len(data))
    if checksum(data, extra=extra):
        raise MalformedError("ICMP: wrong checksum")
    kind_number, code, _sum, value = _HEADER.unpack_from(data)
    kind = _KINDS.get((version, kind_number), Kind.OTHER)
    if kind is Kind.UNREACHABLE and version == 4 and code == FRAGMENTATION_NEEDED:
        kind, value = Kind.TOO_BIG, value & 0xFFFF
    return IcmpMessage(kind, kind_number, code, value, data[HEADER_SIZE:])


def build_icmp(source: bytes, destination: bytes, type_: int, code: int, value: int, body: bytes) -> bytes:
    """A message of the family of its addresses, with checksum."""
    extra = 0
    if len(source) == 16:
        extra = pseudo_sum(source, destination, ICMPV6, HEADER_SIZE + len(body))
    total = checksum(body, extra=extra + (type_ << 8 | code) + value)
    return _HEADER.pack(type_, code, total, value) + body


def parse_quoted(body: bytes, version: int) -> Quoted:
    """The start of the packet inside an ICMP error; its checksums and total length are not to be trusted.

    :raises MalformedError: too short, another family, or a protocol other than TCP and UDP.
    """
    if version == 4:
        if len(body) < 28 or body[0] >> 4 != 4 or len(body) < (offset := (body[0] & 15) * 4) + 8:
            raise MalformedError("ICMP: truncated quotation")
        protocol, source, destination = body[9], body[12:16], body[16:20]
        if offset < 20 or int.from_bytes(body[6:8], "big") & 0x1FFF:
            raise MalformedError("ICMP: quotation without ports")
    else:
        if len(body) < 48 or body[0] >> 4 != 6:
            raise MalformedError("ICMP: truncated quotation")
        offset, protocol, source, destination = 40, body[6], body[8:24], body[24:40]
    if protocol not in (TCP, UDP):
        raise MalformedError("ICMP: quotation of another protocol")
    source_port, destination_port, seq = struct.unpack_from(">HHI", body, offset)
    return Quoted(source, destination, protocol, source_port, destination_port, seq)


def build_unreachable(original: bytes, source: bytes, destination: bytes, mtu: int, *, code: int) -> bytes:
    """The ICMP body for an error about ``original``: as much of it as fits (RFC 1812 section 4.3.2.3: 576
    bytes; RFC 4443 section 2.4 c: the minimum MTU)."""
    if len(source) == 4:
        return build_icmp(source, destination, UNREACHABLE_V4, code, 0, original[: min(576, mtu) - 28])
    return build_icmp(source, destination, UNREACHABLE_V6, code, 0, original[: 1280 - 48])


__all__ = [
    "ICMP",
    "ICMPV6",
    "IcmpMessage",
    "Kind",
    "Quoted",
    "build_icmp",
    "build_unreachable",
    "parse_icmp",
    "parse_quoted",
]
