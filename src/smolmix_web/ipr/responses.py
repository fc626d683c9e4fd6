"""Responses of an IP packet router, protocol versions 8, 9 and 10.

All versions share one shape, but for one field: a successful connect of version 10 ends with the exit's
MTU. Many deployed exits put the byte 10 before an answer of the older shape, so the shape can be named
apart from the version byte. Source: ipr.md section 5.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from smolmix_web.errors import MalformedError
from smolmix_web.ipr.bincode import (
    U16_MAX,
    pull_bool,
    pull_byte_string,
    pull_option,
    pull_string,
    pull_variant,
    pull_varint,
    push_bool,
    push_byte_string,
    push_option,
    push_string,
    push_variant,
    push_varint,
)
from smolmix_web.ipr.requests import VERSIONS, UnsupportedVersion
from smolmix_web.wire import Reader, Writer

# The first version whose successful connect carries an MTU.
MTU_VERSION = 10


@dataclass(frozen=True, slots=True)
class IpPair:
    """The two addresses of one client."""

    ipv4: IPv4Address
    ipv6: IPv6Address


@dataclass(frozen=True, slots=True)
class DataResponse:
    """IP packets from the Internet, as a bundle."""

    version: int
    bundle: bytes


@dataclass(frozen=True, slots=True)
class ConnectSuccess:
    """``mtu`` is in bytes and present from version 10 on."""

    version: int
    request_id: int
    ips: IpPair
    mtu: int | None = None


class ConnectRefusal(IntEnum):
    CLIENT_ALREADY_CONNECTED = 0
    NO_AVAILABLE_IP = 1
    OTHER = 2


@dataclass(frozen=True, slots=True)
class ConnectFailure:
    """``message`` is the text of the reason OTHER and empty for the rest."""

    version: int
    request_id: int
    reason: ConnectRefusal
    message: str = ""

    def __str__(self) -> str:
        texts = ("client is already connected", "no available ip address", self.message)
        return texts[self.reason]


class DisconnectRefusal(IntEnum):
    CLIENT_NOT_CONNECTED = 0
    OTHER = 1


@dataclass(frozen=True, slots=True)
class DisconnectSuccess:
    version: int
    request_id: int


@dataclass(frozen=True, slots=True)
class DisconnectFailure:
    version: int
    request_id: int
    reason: DisconnectRefusal
    message: str = ""

    def __str__(self) -> str:
        return ("client is not connected", self.message)[self.reason]


class DropReason(IntEnum):
    CLIENT_MIXNET_TRAFFIC_TIMEOUT = 0
    CLIENT_TUN_TRAFFIC_TIMEOUT = 1
    OTHER = 2


@dataclass(frozen=True, slots=True)
class UnrequestedDisconnect:
    """The exit dropped the client. In the format, but no known server sends it."""

    version: int
    reason: DropReason
    message: str = ""

    def __str__(self) -> str:
        return ("client mixnet traffic timeout", "client tun traffic timeout", self.message)[self.reason]


@dataclass(frozen=True, slots=True)
class Pong:
    version: int
    request_id: int


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """What the exit's program says of itself; ten texts in wire order."""

    binary_name: str
    build_timestamp: str
    build_version: str
    commit_sha: str
    commit_timestamp: str
    commit_branch: str
    rustc_version: str
    rustc_channel: str
    cargo_profile: str
    cargo_triple: str


@dataclass(frozen=True, slots=True)
class Health:
    """``routable`` is None from every known server."""

    version: int
    request_id: int
    build_info: BuildInfo
    routable: bool | None = None


class InfoLevel(IntEnum):
    INFO = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class GenericInfo:
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class VersionMismatch:
    request_version: int
    response_version: int

    def __str__(self) -> str:
        return (
            f"version mismatch: request is v{self.request_version} and response is v{self.response_version}"
        )


@dataclass(frozen=True, slots=True)
class ExitPolicyFilterCheckFailed:
    """``destination`` is ``ip:port``, or ``[ip]:port`` for IPv6."""

    destination: str

    def __str__(self) -> str:
        return f"destination failed exit policy filter check: {self.destination}"


InfoReply: TypeAlias = GenericInfo | VersionMismatch | ExitPolicyFilterCheckFailed


@dataclass(frozen=True, slots=True)
class Info:
    version: int
    request_id: int
    reply: InfoReply
    level: InfoLevel


ControlResponse: TypeAlias = (
    ConnectSuccess
    | ConnectFailure
    | DisconnectSuccess
    | DisconnectFailure
    | UnrequestedDisconnect
    | Pong
    | Health
    | Info
)
Response: TypeAlias = DataResponse | ControlResponse

_DATA, _CONTROL = range(2)
_CONNECT, _DISCONNECT, _UNREQUESTED_DISCONNECT, _PONG, _HEALTH, _INFO = range(6)
_SUCCESS, _FAILURE = range(2)
_GENERIC, _VERSION_MISMATCH, _EXIT_POLICY = range(3)


def parse_response(data: bytes, *, shape: int | None = None) -> Response:
    """One response, which must fill ``data`` to its end.

    :param shape: decode as this protocol version whatever the version byte says (any byte is then accepted)
    :raises UnsupportedVersion: ``shape`` is None and the version byte is not 8, 9 or 10
    :raises MalformedError: anything else that is not exactly one response
    """
    reader = Reader(data)
    version = reader.pull_u8()
    if shape is None:
        if version not in VERSIONS:
            raise UnsupportedVersion(f"received packet has an invalid version: {version}")
        shape = version
    if pull_variant(reader, 2) == _DATA:
        response: Response = DataResponse(version, pull_byte_string(reader))
    else:
        response = _pull_control(reader, version, shape)
    reader.expect_end()
    return response


def emit_response(response: Response, *, shape: int | None = None) -> bytes:
    """Bytes of a response; ``shape`` as in :func:`parse_response`."""
    writer = Writer()
    writer.push_u8(response.version)
    if isinstance(response, DataResponse):
        push_variant(writer, _DATA)
        push_byte_string(writer, response.bundle)
    else:
        push_variant(writer, _CONTROL)
        _push_control(writer, response, response.version if shape is None else shape)
    return writer.getvalue()


def _pull_control(reader: Reader, version: int, shape: int) -> ControlResponse:
    control = pull_variant(reader, 6)
    if control == _UNREQUESTED_DISCONNECT:
        drop_reason = DropReason(pull_variant(reader, 3))
        message = pull_string(reader) if drop_reason is DropReason.OTHER else ""
        return UnrequestedDisconnect(version, drop_reason, message)
    request_id = pull_varint(reader)
    if control == _CONNECT:
        return _pull_connect(reader, version, request_id, shape)
    if control == _DISCONNECT:
        if pull_variant(reader, 2) == _SUCCESS:
            return DisconnectSuccess(version, request_id)
        refusal = DisconnectRefusal(pull_variant(reader, 2))
        message = pull_string(reader) if refusal is DisconnectRefusal.OTHER else ""
        return DisconnectFailure(version, request_id, refusal, message)
    if control == _PONG:
        return Pong(version, request_id)
    if control == _HEALTH:
        build_info = BuildInfo(*(pull_string(reader) for _ in range(10)))
        return Health(version, request_id, build_info, pull_option(reader, pull_bool))
    reply = _pull_info_reply(reader)
    return Info(version, request_id, reply, InfoLevel(pull_variant(reader, 3)))


def _push_control(writer: Writer, response: ControlResponse, shape: int) -> None:
    match response:
        case UnrequestedDisconnect(_, drop_reason, message):
            push_variant(writer, _UNREQUESTED_DISCONNECT)
            push_variant(writer, drop_reason)
            if drop_reason is DropReason.OTHER:
                push_string(writer, message)
        case ConnectSuccess() | ConnectFailure():
            push_variant(writer, _CONNECT)
            push_varint(writer, response.request_id)
            _push_connect(writer, response, shape)
        case DisconnectSuccess(_, request_id):
            push_variant(writer, _DISCONNECT)
            push_varint(writer, request_id)
            push_variant(writer, _SUCCESS)
        case DisconnectFailure(_, request_id, refusal, message):
            push_variant(writer, _DISCONNECT)
            push_varint(writer, request_id)
            push_variant(writer, _FAILURE)
            push_variant(writer, refusal)
            if refusal is DisconnectRefusal.OTHER:
                push_string(writer, message)
        case Pong(_, request_id):
            push_variant(writer, _PONG)
            push_varint(writer, request_id)
        case Health(_, request_id, build_info, routable):
            push_variant(writer, _HEALTH)
            push_varint(writer, request_id)
            for text in astuple(build_info):
                push_string(writer, text)
            push_option(writer, routable, push_bool)
        case Info(_, request_id, reply, level):
            push_variant(writer, _INFO)
            push_varint(writer, request_id)
            _push_info_reply(writer, reply)
            push_variant(writer, level)


def _pull_connect(
    reader: Reader, version: int, request_id: int, shape: int
) -> ConnectSuccess | ConnectFailure:
    if pull_variant(reader, 2) == _SUCCESS:
        ips = IpPair(IPv4Address(reader.pull_bytes(4)), IPv6Address(reader.pull_bytes(16)))
        mtu = pull_varint(reader, U16_MAX) if shape >= MTU_VERSION else None
        return ConnectSuccess(version, request_id, ips, mtu)
    reason = ConnectRefusal(pull_variant(reader, 3))
    message = pull_string(reader) if reason is ConnectRefusal.OTHER else ""
    return ConnectFailure(version, request_id, reason, message)


def _push_connect(writer: Writer, response: ConnectSuccess | ConnectFailure, shape: int) -> None:
    if isinstance(response, ConnectSuccess):
        push_variant(writer, _SUCCESS)
        writer.push_bytes(response.ips.ipv4.packed)
        writer.push_bytes(response.ips.ipv6.packed)
        if shape >= MTU_VERSION:
            if response.mtu is None:
                raise MalformedError("a connect success of version 10 needs an MTU")
            push_varint(writer, response.mtu)
        return
    push_variant(writer, _FAILURE)
    push_variant(writer, response.reason)
    if response.reason is ConnectRefusal.OTHER:
        push_string(writer, response.message)


def _pull_info_reply(reader: Reader) -> InfoReply:
    kind = pull_variant(reader, 3)
    if kind == _GENERIC:
        return GenericInfo(pull_string(reader))
    if kind == _VERSION_MISMATCH:
        return VersionMismatch(reader.pull_u8(), reader.pull_u8())
    return ExitPolicyFilterCheckFailed(pull_string(reader))


def _push_info_reply(writer: Writer, reply: InfoReply) -> None:
    match reply:
        case GenericInfo(message):
            push_variant(writer, _GENERIC)
            push_string(writer, message)
        case VersionMismatch(request_version, response_version):
            push_variant(writer, _VERSION_MISMATCH)
            writer.push_u8(request_version)
            writer.push_u8(response_version)
        case ExitPolicyFilterCheckFailed(destination):
            push_variant(writer, _EXIT_POLICY)
            push_string(writer, destination)
