"""The router as a client meets it by raw messages: transports, versions, reconnects, damaged input."""

from ipaddress import IPv4Address

import pytest
from ipr_wire import PUBLIC_V6, RESOLVER, udp_packet

from smolmix_web.ipr.bundle import join_bundle, split_bundle
from smolmix_web.ipr.events import ClientConnected, ClientGone, PacketFromClient
from smolmix_web.ipr.lp import StreamFrame, StreamMessageType, emit_stream_frame, parse_stream_frame
from smolmix_web.ipr.requests import (
    ConnectRequest,
    DataRequest,
    DisconnectRequest,
    HealthRequest,
    PingRequest,
    Request,
    emit_request,
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
    Health,
    Pong,
    Response,
    parse_response,
)
from smolmix_web.ipr.server import IprServer, IprServerConfig
from smolmix_web.ipr.timestamp import Timestamp

TAG, OTHER = b"A" * 16, b"B" * 16
STAMP = Timestamp(2026, 1, 0, 0, 0)


class Bench:
    """One server; ``ask`` sends a request and gives the decoded replies."""

    def __init__(self, config: IprServerConfig | None = None) -> None:
        self.server = IprServer(config=config)
        self.now = 0.0

    def ask(self, request: Request, *, stream: int | None = 1, tag: bytes | None = TAG) -> list[Response]:
        data = emit_request(request)
        if stream is not None:
            data = emit_stream_frame(StreamFrame(stream, StreamMessageType.DATA, 0, data))
        self.server.receive_message(tag, data, self.now)
        return self.replies(stream)

    def replies(self, stream: int | None = 1) -> list[Response]:
        responses = []
        for reply in self.server.replies_to_send():
            data = reply.data
            if stream is not None:
                frame = parse_stream_frame(data)
                assert frame.stream_id == stream
                data = frame.payload
            responses.append(parse_response(data))
        return responses

    def connect(self, version: int = 9, *, stream: int | None = 1, tag: bytes = TAG) -> ConnectSuccess:
        (success,) = self.ask(ConnectRequest(version, 5, STAMP), stream=stream, tag=tag)
        assert isinstance(success, ConnectSuccess)
        return success

    def events(self) -> list[object]:
        events: list[object] = []
        while (event := self.server.next_event()) is not None:
            events.append(event)
        return events


def test_version_8_goes_plainly() -> None:
    bench = Bench()
    success = bench.connect(8, stream=None)
    packet = udp_packet(success.ips.ipv4, RESOLVER, 53, b"q")
    assert bench.ask(DataRequest(8, join_bundle([packet])), stream=None) == []
    bench.server.send_packet(udp_packet(RESOLVER, success.ips.ipv4, 1, b"a"), bench.now)
    bench.server.handle_timer(bench.now + 0.02)
    (response,) = bench.replies(None)
    assert isinstance(response, DataResponse)
    assert response.version == 8
    assert split_bundle(response.bundle).packets == [udp_packet(RESOLVER, success.ips.ipv4, 1, b"a")]
    assert isinstance(bench.events()[-1], PacketFromClient)


@pytest.mark.parametrize(("version", "stream"), [(8, 1), (9, None), (10, None)])
def test_versions_by_the_wrong_transport_are_dropped(version: int, stream: int | None) -> None:
    bench = Bench()
    assert bench.ask(ConnectRequest(version, 5, STAMP), stream=stream) == []
    assert bench.server.stats.wrong_transport == 1


def test_a_plain_client_that_connects_again_keeps_its_addresses() -> None:
    bench = Bench()
    assert bench.connect(8, stream=None) == bench.connect(8, stream=None)


def test_a_stream_client_that_connects_again_gets_new_addresses_and_a_new_stream() -> None:
    bench = Bench()
    first = bench.connect(9, stream=1)
    bench.server.send_packet(udp_packet(RESOLVER, first.ips.ipv4, 1, b"late"), bench.now)
    second = bench.connect(10, stream=2)
    assert second.ips != first.ips
    assert second.mtu == 1500
    assert [type(event) for event in bench.events()] == [ClientConnected, ClientGone, ClientConnected]
    bench.server.send_packet(udp_packet(RESOLVER, first.ips.ipv4, 1, b"to nobody"), bench.now)
    bench.server.send_packet(udp_packet(RESOLVER, second.ips.ipv4, 1, b"new"), bench.now)
    bench.server.handle_timer(bench.now + 1)
    (data,) = bench.replies(2)
    assert isinstance(data, DataResponse)
    assert split_bundle(data.bundle).packets == [udp_packet(RESOLVER, second.ips.ipv4, 1, b"new")]
    assert bench.server.stats.unknown_destination == 1


def test_connect_repeated_on_the_same_stream_is_answered_in_the_new_version() -> None:
    bench = Bench()
    assert bench.connect(10).mtu == 1500
    assert bench.connect(9).version == 9


@pytest.mark.parametrize("check", [True, False])
def test_a_foreign_source_address_is_dropped_unless_told_otherwise(check: bool) -> None:
    bench = Bench(IprServerConfig(check_source=check))
    owner = bench.connect(9, stream=1, tag=TAG)
    bench.connect(9, stream=2, tag=OTHER)
    bench.events()
    packet = udp_packet(owner.ips.ipv6, PUBLIC_V6, 443, b"")
    bench.ask(DataRequest(9, join_bundle([packet])), stream=2, tag=OTHER)
    events = bench.events()
    assert [event.client for event in events if isinstance(event, PacketFromClient)] == (
        [] if check else [TAG]
    )
    assert bench.server.stats.foreign_source == check


def test_a_flood_of_denied_packets_is_answered_at_a_limited_rate() -> None:
    bench = Bench(IprServerConfig(denials_per_second=5))
    bench.server = IprServer(config=bench.server.config, allows=lambda address, port: False)
    source = bench.connect().ips.ipv4
    flood = DataRequest(9, join_bundle([udp_packet(source, RESOLVER, 53, b"")] * 100))
    assert len(bench.ask(flood)) == 5
    assert bench.ask(flood) == []
    bench.now = 0.5
    assert len(bench.ask(flood)) == 2
    bench.now = 60.0
    assert len(bench.ask(flood)) == 5
    assert bench.server.stats.policy_denied == 400


def test_ping_health_and_disconnect_answer_strangers_too() -> None:
    info = BuildInfo(*"btvscruhpx")
    bench = Bench(IprServerConfig(build_info=info))
    assert bench.ask(PingRequest(9, 1, STAMP)) == [Pong(9, 1)]
    assert bench.ask(PingRequest(8, 2, STAMP), stream=None) == [Pong(8, 2)]
    assert bench.ask(HealthRequest(10, 3, STAMP)) == [Health(10, 3, info)]
    refusal = DisconnectFailure(9, 4, DisconnectRefusal.CLIENT_NOT_CONNECTED)
    assert bench.ask(DisconnectRequest(9, 4, STAMP)) == [refusal]


def test_disconnect_frees_the_addresses() -> None:
    bench = Bench(IprServerConfig(max_clients=1))
    bench.connect()
    full = ConnectFailure(9, 6, ConnectRefusal.NO_AVAILABLE_IP)
    assert bench.ask(ConnectRequest(9, 6, STAMP), tag=OTHER) == [full]
    assert bench.ask(DisconnectRequest(9, 7, STAMP)) == [DisconnectSuccess(9, 7)]
    bench.connect(tag=OTHER)
    assert bench.server.stats.connects_refused == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x09",
        b"\x03\x00" + bytes(8) + b"\x02" + bytes(5) + b"\x09\x01",  # stream message type 2
        emit_stream_frame(StreamFrame(1, StreamMessageType.DATA, 0, b"\x09")),
        emit_stream_frame(StreamFrame(1, StreamMessageType.DATA, 0, b"\x09\x02\x00\x00")),  # authenticator
        emit_stream_frame(StreamFrame(1, StreamMessageType.DATA, 0, b"\x09\x01\x02")),
        emit_stream_frame(StreamFrame(1, StreamMessageType.DATA, 0, b"\x09\x01\x00\xfd" + b"\xff" * 8)),
    ],
)
def test_malformed_messages_are_counted_and_not_answered(data: bytes) -> None:
    bench = Bench()
    bench.server.receive_message(TAG, data, 0.0)
    assert bench.replies() == []
    assert bench.server.stats.malformed == 1


def test_unknown_versions_and_nameless_senders_are_not_answered() -> None:
    bench = Bench()
    for version in (6, 7, 11):
        bench.server.receive_message(TAG, bytes([version, 1, 0, 0]), 0.0)
    assert bench.ask(PingRequest(9, 1, STAMP), tag=None) == []
    assert bench.server.stats.unsupported_version == 3
    assert bench.server.stats.missing_sender_tag == 1


def test_an_open_frame_is_only_noted_and_one_with_payload_is_data() -> None:
    bench = Bench()
    bench.server.receive_message(TAG, emit_stream_frame(StreamFrame(1, StreamMessageType.OPEN, 0)), 0.0)
    assert bench.replies() == []
    assert bench.server.stats.streams_opened == 1
    ping = emit_request(PingRequest(9, 9, STAMP))
    bench.server.receive_message(TAG, emit_stream_frame(StreamFrame(1, StreamMessageType.OPEN, 0, ping)), 0.0)
    assert bench.replies() == [Pong(9, 9)]


def test_damaged_packets_of_a_bundle_leave_the_good_ones() -> None:
    bench = Bench()
    source = bench.connect().ips.ipv4
    bench.events()
    good = udp_packet(source, RESOLVER, 53, b"q")
    damaged = [b"", b"\x45", good[:27], b"\x75" + good[1:], good[:2] + b"\xff\xff" + good[4:]]
    stranger = udp_packet(IPv4Address("10.0.200.200"), RESOLVER, 53, b"")
    bench.ask(DataRequest(9, join_bundle([*damaged, stranger, good]) + b"\x00\x50tail"))
    (event,) = bench.events()
    assert isinstance(event, PacketFromClient)
    assert event.packet == good
    assert bench.server.stats.malformed_packets == len(damaged) + 1
    assert bench.server.stats.unknown_source == 1


@pytest.mark.parametrize(("asked", "flushed_after"), [(None, 0.02), (0, 0.02), (5, 0.005), (2**63, 5.0)])
def test_the_client_chooses_how_long_packets_may_wait(asked: int | None, flushed_after: float) -> None:
    bench = Bench(IprServerConfig(maximum_buffer_timeout=5.0))
    (success,) = bench.ask(ConnectRequest(9, 1, STAMP, asked))
    assert isinstance(success, ConnectSuccess)
    bench.server.send_packet(udp_packet(RESOLVER, success.ips.ipv4, 1, b"a"), 1.0)
    assert bench.server.poll_at() == pytest.approx(1.0 + flushed_after)
    bench.server.handle_timer(1.0 + flushed_after - 0.001)
    assert bench.replies() == []
    bench.server.handle_timer(1.0 + flushed_after)
    assert len(bench.replies()) == 1
    bench.server.handle_timer(60.0)
    assert bench.replies() == []


def test_a_full_bundle_goes_at_once() -> None:
    bench = Bench()
    success = bench.connect()
    packet = udp_packet(RESOLVER, success.ips.ipv4, 1, bytes(1000))
    bench.server.send_packet(packet, 0.0)
    assert bench.replies() == []
    bench.server.send_packet(packet, 0.0)
    assert len(bench.replies()) == 1
    bench.server.send_packet(udp_packet(RESOLVER, success.ips.ipv4, 1, bytes(1472)), 0.0)
    assert len(bench.replies()) == 1


def test_addresses_of_many_clients_differ() -> None:
    bench = Bench()
    seen = {bench.connect(tag=number.to_bytes(16, "big")).ips for number in range(500)}
    assert len(seen) == 500
    assert len(bench.server) == 500
    assert IPv4Address("10.0.0.1") not in {ips.ipv4 for ips in seen}


def test_an_idle_server_wants_no_timer() -> None:
    bench = Bench()
    assert bench.server.poll_at() is None
    bench.connect()
    assert bench.server.poll_at() is not None
    for now in range(0, 100, 10):
        bench.server.handle_timer(float(now))
    assert len(bench.server) == 0
    assert bench.server.poll_at() is None
