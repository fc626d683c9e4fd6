"""Requests, responses and frames against the golden vectors, in both directions."""

import json
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from smolmix_web.errors import MalformedError
from smolmix_web.ipr.bincode import pull_varint, pull_zigzag, push_varint, push_zigzag
from smolmix_web.ipr.bundle import split_bundle
from smolmix_web.ipr.lp import (
    FrameKind,
    StreamFrame,
    StreamMessageType,
    emit_stream_frame,
    frame_kind,
    parse_stream_frame,
)
from smolmix_web.ipr.packetinfo import UDP, inspect_packet
from smolmix_web.ipr.requests import (
    ConnectRequest,
    DataRequest,
    DisconnectRequest,
    HealthRequest,
    PingRequest,
    Request,
    UnsupportedVersion,
    emit_request,
    parse_request,
)
from smolmix_web.ipr.responses import (
    BuildInfo,
    ConnectFailure,
    ConnectRefusal,
    ConnectSuccess,
    DataResponse,
    DisconnectFailure,
    DisconnectRefusal,
    DisconnectSuccess,
    DropReason,
    ExitPolicyFilterCheckFailed,
    GenericInfo,
    Health,
    Info,
    InfoLevel,
    IpPair,
    Pong,
    Response,
    UnrequestedDisconnect,
    VersionMismatch,
    emit_response,
    parse_response,
)
from smolmix_web.ipr.timestamp import Timestamp
from smolmix_web.wire import Reader, Writer

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "ipr" / "messages.json").read_text())
ID = 0x0123456789ABCDEF
STREAM = 0x0011223344556677
JUNE = Timestamp(2026, 156, 7, 8, 9, 123456789)
IPS = IpPair(IPv4Address("10.0.18.52"), IPv6Address("fc00::1234"))
PACKET = bytes.fromhex("4500001e0000400040110e8c0a00123408080808c0000035000aaaf76869")

REQUESTS: dict[str, Request] = {
    "connect_v8": ConnectRequest(8, 123, Timestamp(2024, 1, 12, 59, 59, 500_000_000)),
    "connect_v9": ConnectRequest(9, ID, JUNE),
    "connect_v9_20ms": ConnectRequest(9, ID, JUNE, 20),
    "connect_v9_1000ms": ConnectRequest(9, ID, JUNE, 1000),
    "connect_v10": ConnectRequest(10, ID, JUNE),
    "disconnect_v9": DisconnectRequest(9, ID, JUNE),
    "ping_v9": PingRequest(9, ID, JUNE),
    "health_v9": HealthRequest(9, ID, JUNE),
    "data_v9": DataRequest(9, bytes.fromhex("00050102030405")),
    "live_sample": ConnectRequest(9, 0x7D2DFC1B4AF6C9A2, Timestamp(2026, 325, 8, 47, 28, 382_000_000)),
}
RESPONSES: dict[str, Response] = {
    "connect_ok_v9": ConnectSuccess(9, ID, IPS),
    "connect_ok_v10_1500": ConnectSuccess(10, ID, IPS, 1500),
    "connect_fail_already": ConnectFailure(9, ID, ConnectRefusal.CLIENT_ALREADY_CONNECTED),
    "connect_fail_no_ip": ConnectFailure(9, ID, ConnectRefusal.NO_AVAILABLE_IP),
    "connect_fail_other": ConnectFailure(9, ID, ConnectRefusal.OTHER, "abc"),
    "disconnect_ok": DisconnectSuccess(9, ID),
    "disconnect_not_connected": DisconnectFailure(9, ID, DisconnectRefusal.CLIENT_NOT_CONNECTED),
    "unrequested_mixnet_timeout": UnrequestedDisconnect(9, DropReason.CLIENT_MIXNET_TRAFFIC_TIMEOUT),
    "unrequested_tun_timeout": UnrequestedDisconnect(9, DropReason.CLIENT_TUN_TRAFFIC_TIMEOUT),
    "unrequested_other": UnrequestedDisconnect(9, DropReason.OTHER, "bye"),
    "pong": Pong(9, ID),
    "health": Health(9, ID, BuildInfo(*"btvscruhpx")),
    "info_exit_policy": Info(9, 0, ExitPolicyFilterCheckFailed("1.2.3.4:25"), InfoLevel.WARN),
    "info_version_mismatch": Info(9, 5, VersionMismatch(6, 8), InfoLevel.ERROR),
    "info_generic": Info(9, 5, GenericInfo("hi"), InfoLevel.INFO),
    "data_response": DataResponse(9, bytes.fromhex("0003090807")),
}


@pytest.mark.parametrize("name", VECTORS["requests"])
def test_request_vector(name: str) -> None:
    data = bytes.fromhex(VECTORS["requests"][name])
    assert parse_request(data) == REQUESTS[name]
    assert emit_request(REQUESTS[name]) == data


@pytest.mark.parametrize("name", VECTORS["responses"])
def test_response_vector(name: str) -> None:
    data = bytes.fromhex(VECTORS["responses"][name])
    assert parse_response(data) == RESPONSES[name]
    assert emit_response(RESPONSES[name]) == data


@pytest.mark.parametrize("name", VECTORS["requests"])
def test_request_with_a_trailing_byte_or_cut_short_is_refused(name: str) -> None:
    data = bytes.fromhex(VECTORS["requests"][name])
    for damaged in (data + b"\x00", *(data[:length] for length in range(len(data)))):
        with pytest.raises(MalformedError):
            parse_request(damaged)


@pytest.mark.parametrize("name", VECTORS["responses"])
def test_response_with_a_trailing_byte_or_cut_short_is_refused(name: str) -> None:
    data = bytes.fromhex(VECTORS["responses"][name])
    for damaged in (data + b"\x00", *(data[:length] for length in range(len(data)))):
        with pytest.raises(MalformedError):
            parse_response(damaged)


def test_connect_success_of_the_other_shape_is_refused() -> None:
    v9 = bytes.fromhex(VECTORS["responses"]["connect_ok_v9"])
    v10 = bytes.fromhex(VECTORS["responses"]["connect_ok_v10_1500"])
    with pytest.raises(MalformedError):
        parse_response(v9, shape=10)
    with pytest.raises(MalformedError):
        parse_response(v10, shape=9)
    assert parse_response(b"\x0a" + v9[1:], shape=9) == ConnectSuccess(10, ID, IPS)
    assert emit_response(ConnectSuccess(10, ID, IPS, 1500), shape=9) == b"\x0a" + v9[1:]


@pytest.mark.parametrize("data", ["090106", "09010000020000", "0902", "0901050003", "09010203"])
def test_unknown_variants_of_responses_are_refused(data: str) -> None:
    with pytest.raises(MalformedError):
        parse_response(bytes.fromhex(data))


def test_non_minimal_integers_are_understood() -> None:
    assert parse_response(bytes.fromhex("090103fb0005")) == Pong(9, 5)
    assert parse_response(bytes.fromhex("090103fd0000000000000005")) == Pong(9, 5)


def test_requests_for_other_services_and_versions_are_refused() -> None:
    data = bytes.fromhex(VECTORS["requests"]["data_v9"])
    for provider in (0, 2, 3, 255):
        with pytest.raises(MalformedError, match=f"invalid service provider type: {provider}"):
            parse_request(data[:1] + bytes([provider]) + data[2:])
    for version in (6, 7, 11):
        with pytest.raises(UnsupportedVersion):
            parse_request(bytes([version]) + data[1:])
    with pytest.raises(MalformedError, match="received empty packet"):
        parse_request(b"\x09")


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (250, "fa"),
        (251, "fb00fb"),
        (65535, "fbffff"),
        (65536, "fc00010000"),
        (2**32 - 1, "fcffffffff"),
        (2**32, "fd0000000100000000"),
        (2**64 - 1, "fdffffffffffffffff"),
    ],
)
def test_varint_boundaries(value: int, encoded: str) -> None:
    writer = Writer()
    push_varint(writer, value)
    assert writer.getvalue().hex() == encoded
    assert pull_varint(Reader(bytes.fromhex(encoded))) == value


@pytest.mark.parametrize("encoded", ["fe" + "00" * 16, "ff", "fb00", "fd00000000000000", ""])
def test_varints_that_no_field_has(encoded: str) -> None:
    with pytest.raises(MalformedError):
        pull_varint(Reader(bytes.fromhex(encoded)))


@pytest.mark.parametrize(
    ("value", "encoded"), [(0, "00"), (-1, "01"), (1, "02"), (2026, "fb0fd4"), (-126, "fb00fb")]
)
def test_zigzag(value: int, encoded: str) -> None:
    writer = Writer()
    push_zigzag(writer, value)
    assert writer.getvalue().hex() == encoded
    assert pull_zigzag(Reader(bytes.fromhex(encoded))) == value


def test_time_stamps_are_utc_in_whole_milliseconds() -> None:
    assert Timestamp.from_unix(1780643289.1237) == Timestamp(2026, 156, 7, 8, 9, 123_000_000)
    assert Timestamp.from_unix(1735603200) == Timestamp(2024, 366, 0, 0, 0)


@pytest.mark.parametrize(
    "fields",
    [(2025, 366, 0, 0, 0), (2025, 0, 0, 0, 0), (2025, 1, 24, 0, 0), (2025, 1, 0, 60, 0), (2025, 1, 0, 0, 60),
     (10000, 1, 0, 0, 0), (2025, 1, 0, 0, 0, 10**9), (2025, 1, 0, 0, 0, 0, 26), (2025, 1, 0, 0, 0, 0, 1, -1)],
)  # fmt: skip
def test_impossible_time_stamps_are_refused(fields: tuple[int, ...]) -> None:
    with pytest.raises(MalformedError):
        Timestamp(*fields)


def test_stream_frame_vectors() -> None:
    opened = bytes.fromhex(VECTORS["frames"]["open"])
    assert parse_stream_frame(opened) == StreamFrame(STREAM, StreamMessageType.OPEN, 0)
    assert emit_stream_frame(StreamFrame(STREAM, StreamMessageType.OPEN, 0)) == opened

    data = bytes.fromhex(VECTORS["frames"]["data1"])
    request = DataRequest(9, b"\x00\x1e" + PACKET)
    frame = StreamFrame(STREAM, StreamMessageType.DATA, 1, emit_request(request))
    assert parse_stream_frame(data) == frame
    assert parse_request(frame.payload) == request
    assert emit_stream_frame(frame) == data

    answer = parse_stream_frame(bytes.fromhex(VECTORS["frames"]["response2"]))
    response = parse_response(answer.payload)
    assert isinstance(response, DataResponse)
    assert split_bundle(response.bundle) == ([PACKET, PACKET], True)


def test_frame_kinds() -> None:
    header = bytes.fromhex(VECTORS["frames"]["open"])
    assert frame_kind(header) is FrameKind.SPHINX_STREAM
    assert frame_kind(b"\x01\x00" + header[2:]) is FrameKind.REGISTRATION
    assert frame_kind(b"\x04\x00" + header[2:]) is None
    assert frame_kind(header[:15]) is None
    with pytest.raises(MalformedError):
        parse_stream_frame(header[:15])
    with pytest.raises(MalformedError, match="not SphinxStream"):
        parse_stream_frame(b"\x00\x00" + header[2:])
    with pytest.raises(MalformedError, match="invalid stream msg_type: 2"):
        parse_stream_frame(header[:10] + b"\x02" + header[11:])
    reserved = parse_stream_frame(header[:15] + b"\xff")
    assert reserved == StreamFrame(STREAM, StreamMessageType.OPEN, 0)


def test_the_packet_of_the_frame_vector_is_understood() -> None:
    info = inspect_packet(PACKET)
    assert (info.source, info.destination) == (IPS.ipv4.packed, bytes([8, 8, 8, 8]))
    assert (info.protocol, info.port, info.transport) == (UDP, 53, 20)
