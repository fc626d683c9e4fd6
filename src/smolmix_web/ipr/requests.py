"""Requests from a client to an IP packet router, protocol versions 8, 9 and 10.

The three versions have the same body; only the version byte differs. Versions 6 and 7 (which name the
client and are signed) are history and are not served. Source: ipr.md sections 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from smolmix_web.errors import MalformedError
from smolmix_web.ipr.bincode import (
    pull_byte_string,
    pull_option,
    pull_variant,
    pull_varint,
    push_byte_string,
    push_option,
    push_variant,
    push_varint,
)
from smolmix_web.ipr.timestamp import Timestamp, pull_timestamp, push_timestamp
from smolmix_web.wire import Reader, Writer

VERSIONS = (8, 9, 10)


class ServiceProvider(IntEnum):
    """Second byte of every request: the kind of service that is meant."""

    NETWORK_REQUESTER = 0
    IP_PACKET_ROUTER = 1
    AUTHENTICATOR = 2


class UnsupportedVersion(MalformedError):
    """The version byte names a protocol that we do not speak."""


@dataclass(frozen=True, slots=True)
class DataRequest:
    """IP packets for the Internet: ``bundle`` is read by :func:`smolmix_web.ipr.bundle.split_bundle`."""

    version: int
    bundle: bytes


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """Asks for a pair of addresses. ``buffer_timeout`` is in milliseconds, None for the server's choice
    (20).
    """

    version: int
    request_id: int
    timestamp: Timestamp
    buffer_timeout: int | None = None


@dataclass(frozen=True, slots=True)
class DisconnectRequest:
    version: int
    request_id: int
    timestamp: Timestamp


@dataclass(frozen=True, slots=True)
class PingRequest:
    version: int
    request_id: int
    timestamp: Timestamp


@dataclass(frozen=True, slots=True)
class HealthRequest:
    version: int
    request_id: int
    timestamp: Timestamp


ControlRequest: TypeAlias = ConnectRequest | DisconnectRequest | PingRequest | HealthRequest
Request: TypeAlias = DataRequest | ControlRequest

_DATA, _CONTROL = range(2)
_CONNECT, _DISCONNECT, _PING, _HEALTH = range(4)
_SHORT_CONTROLS: dict[int, type[DisconnectRequest | PingRequest | HealthRequest]] = {
    _DISCONNECT: DisconnectRequest,
    _PING: PingRequest,
    _HEALTH: HealthRequest,
}


def parse_request(data: bytes) -> Request:
    """:raises UnsupportedVersion: a version other than 8, 9, 10
    :raises MalformedError: anything else that is not exactly one request
    """
    if len(data) < 2:
        raise MalformedError("received empty packet")
    reader = Reader(data)
    version = reader.pull_u8()
    if version not in VERSIONS:
        raise UnsupportedVersion(f"received packet has an invalid version: {version}")
    provider = reader.pull_u8()
    if provider != ServiceProvider.IP_PACKET_ROUTER:
        raise MalformedError(f"invalid service provider type: {provider}")
    request = _pull_body(reader, version)
    reader.expect_end()
    return request


def _pull_body(reader: Reader, version: int) -> Request:
    if pull_variant(reader, 2) == _DATA:
        return DataRequest(version, pull_byte_string(reader))
    control = pull_variant(reader, 4)
    request_id = pull_varint(reader)
    if control == _CONNECT:
        buffer_timeout = pull_option(reader, pull_varint)
        return ConnectRequest(version, request_id, pull_timestamp(reader), buffer_timeout)
    return _SHORT_CONTROLS[control](version, request_id, pull_timestamp(reader))


def emit_request(request: Request) -> bytes:
    writer = Writer()
    writer.push_u8(request.version)
    writer.push_u8(ServiceProvider.IP_PACKET_ROUTER)
    _push_body(writer, request)
    return writer.getvalue()


def _push_body(writer: Writer, request: Request) -> None:
    if isinstance(request, DataRequest):
        push_variant(writer, _DATA)
        push_byte_string(writer, request.bundle)
        return
    push_variant(writer, _CONTROL)
    if isinstance(request, ConnectRequest):
        push_variant(writer, _CONNECT)
        push_varint(writer, request.request_id)
        push_option(writer, request.buffer_timeout, push_varint)
    else:
        push_variant(writer, next(i for i, kind in _SHORT_CONTROLS.items() if type(request) is kind))
        push_varint(writer, request.request_id)
    push_timestamp(writer, request.timestamp)
