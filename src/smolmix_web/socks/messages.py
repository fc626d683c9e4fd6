"""SOCKS5 on the wire (RFC 1928): greeting, request, reply, and the header of UDP datagrams. Pure."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from smolmix_web.errors import (
    ConnectionRefused,
    DeadlineError,
    MalformedError,
    OptionError,
    SmolmixError,
    TunnelClosed,
    TunnelStateError,
    Unreachable,
)
from smolmix_web.resolve import ResolutionFailed

VERSION: Final = 5
NO_AUTHENTICATION: Final = 0x00
NO_METHOD: Final = 0xFF
MAX_UDP_HEADER: Final = 4 + 1 + 255 + 2


class Command(IntEnum):
    """RFC 1928 section 4; BIND has no counterpart in the tunnel."""

    CONNECT = 1
    BIND = 2
    UDP_ASSOCIATE = 3


class AddressType(IntEnum):
    IPV4 = 1
    NAME = 3
    IPV6 = 4


class Reply(IntEnum):
    """RFC 1928 section 6."""

    SUCCEEDED = 0
    GENERAL_FAILURE = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    TTL_EXPIRED = 6
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


class SocksError(MalformedError):
    """What the client sent is not SOCKS5, or asks for something that does not exist."""

    code = "SOCKS"

    def __init__(self, problem: str, reply: Reply = Reply.GENERAL_FAILURE) -> None:
        super().__init__(problem)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Destination:
    """A name or an IP address as text, and a port."""

    host: str
    port: int


def choose_method(methods: bytes) -> int:
    """The method to answer a greeting with: none but "no authentication" is known."""
    return NO_AUTHENTICATION if NO_AUTHENTICATION in methods else NO_METHOD


def address_length(kind: int, first: int) -> int:
    """Bytes of an address after its type and its first byte, the port included.

    :raises SocksError: an unknown type.
    """
    if kind == AddressType.IPV4:
        return 3 + 2
    if kind == AddressType.IPV6:
        return 15 + 2
    if kind == AddressType.NAME:
        return first + 2
    raise SocksError(f"address type {kind} is unknown", Reply.ADDRESS_TYPE_NOT_SUPPORTED)


def parse_destination(kind: int, data: bytes) -> tuple[Destination, int]:
    """Address and port at the front of ``data`` (after the type), and their length in bytes.

    :raises SocksError: cut short, not a name, or of an unknown type.
    """
    if not data:
        raise SocksError("the address is missing")
    size = 1 + address_length(kind, data[0])
    if len(data) < size:
        raise SocksError("the address is cut short")
    (port,) = struct.unpack_from("!H", data, size - 2)
    if kind == AddressType.NAME:
        try:
            host = data[1 : size - 2].decode("ascii")
        except UnicodeDecodeError as error:
            raise SocksError("the name is not ASCII") from error
        if not host or "\0" in host:
            raise SocksError("the name is empty, or no name")
        return Destination(host, port), size
    return Destination(str(ipaddress.ip_address(data[: size - 2])), port), size


def emit_address(host: str, port: int) -> bytes:
    """Type, IP address and port."""
    address = ipaddress.ip_address(host)
    kind = AddressType.IPV4 if address.version == 4 else AddressType.IPV6
    return bytes([kind]) + address.packed + struct.pack("!H", port)


def emit_reply(reply: Reply, host: str = "0.0.0.0", port: int = 0) -> bytes:
    """The answer to a request, with the address that it is bound to."""
    return bytes([VERSION, reply, 0]) + emit_address(host, port)


def parse_datagram(data: bytes) -> tuple[Destination, bytes]:
    """Destination and payload of a client's datagram (RFC 1928 section 7).

    :raises SocksError: cut short, or a fragment; a server need not put those together.
    """
    if len(data) < 4:
        raise SocksError("the datagram is cut short")
    if data[2]:
        raise SocksError("fragmented datagrams are not supported")
    destination, size = parse_destination(data[3], data[4 : 4 + MAX_UDP_HEADER])
    return destination, data[4 + size :]


def emit_datagram(host: str, port: int, payload: bytes) -> bytes:
    """A datagram for the client, with where it came from."""
    return b"\0\0\0" + emit_address(host, port) + payload


def reply_for(error: SmolmixError) -> Reply:
    """What a client is told of a connection that could not be made."""
    if isinstance(error, SocksError):
        return error.reply
    for kind, reply in _REPLIES:
        if isinstance(error, kind):
            return reply
    return Reply.GENERAL_FAILURE


_REPLIES: Final[tuple[tuple[type[SmolmixError], Reply], ...]] = (
    (ConnectionRefused, Reply.REFUSED),
    (Unreachable, Reply.HOST_UNREACHABLE),
    (ResolutionFailed, Reply.HOST_UNREACHABLE),
    (DeadlineError, Reply.TTL_EXPIRED),
    (TunnelClosed, Reply.NETWORK_UNREACHABLE),
    (TunnelStateError, Reply.NETWORK_UNREACHABLE),
    (OptionError, Reply.ADDRESS_TYPE_NOT_SUPPORTED),
)
