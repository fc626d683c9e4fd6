"""Client and server engines over a fake mixnet, on a virtual clock."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from ipr_wire import PUBLIC_V6, RESOLVER, Mixnet, udp_packet

from smolmix_web.errors import DeadlineError, LocalProtocolError
from smolmix_web.ipr.client import DEFAULT_MTU, IprClientConfig, IprState
from smolmix_web.ipr.events import (
    ClientConnected,
    ClientGone,
    Connected,
    ConnectTimedOut,
    Denied,
    Disconnected,
    ExitSilent,
    PacketFromClient,
    PolicyDenied,
)
from smolmix_web.ipr.lp import StreamFrame, StreamMessageType, emit_stream_frame, parse_stream_frame
from smolmix_web.ipr.requests import ConnectRequest, DataRequest, parse_request
from smolmix_web.ipr.responses import DropReason, Info, UnrequestedDisconnect, emit_response, parse_response
from smolmix_web.ipr.routable import IpAddress
from smolmix_web.ipr.server import IprServer, IprServerConfig


def uplink(mixnet: Mixnet) -> list[bytes]:
    return [event.packet for event in mixnet.server_events if isinstance(event, PacketFromClient)]


# --- connecting ---


def test_connect_to_a_new_exit_is_version_10_with_its_mtu() -> None:
    mixnet = Mixnet(IprServerConfig(mtu=1480))
    _, client, connected = mixnet.connected_client(exit_version="1.37.0")
    assert connected.version == 10
    assert connected.mtu == 1480
    number = int(connected.ipv4) - int(IPv4Address("10.0.0.0"))
    assert 2 <= number <= 65534
    assert connected.ipv6 == IPv6Address(int(IPv6Address("fc00::")) + number)
    assert client.state is IprState.CONNECTED
    assert mixnet.attached == [10, 2]


@pytest.mark.parametrize("version", ["1.36.9", "1.37.0-rc.1", "1.30.0", "v1.40.0", "nonsense", "", None])
def test_connect_to_an_older_or_unknown_exit_is_version_9(version: str | None) -> None:
    mixnet = Mixnet()
    _, _, connected = mixnet.connected_client(exit_version=version)
    assert (connected.version, connected.mtu) == (9, DEFAULT_MTU)
    assert mixnet.server.stats.connects == 1


def test_the_frames_of_a_connect_are_those_of_the_published_client() -> None:
    mixnet = Mixnet()
    _, client = mixnet.add_client(exit_version="1.36.0")
    client.start(mixnet.now)
    opened, connect = client.messages_to_send(mixnet.now)
    assert opened.reply_surbs == 10
    first = parse_stream_frame(opened.data)
    assert (first.message_type, first.sequence, first.payload) == (StreamMessageType.OPEN, 0, b"")
    second = parse_stream_frame(connect.data)
    assert (second.message_type, second.sequence) == (StreamMessageType.DATA, 0)
    assert second.stream_id == first.stream_id
    request = parse_request(second.payload)
    assert isinstance(request, ConnectRequest)
    assert (request.version, request.buffer_timeout) == (9, None)
    assert (request.timestamp.year, request.timestamp.ordinal) == (2026, 156)


def test_an_exit_that_ignores_version_10_gets_version_9_on_the_same_stream_after_15_seconds() -> None:
    mixnet = Mixnet(IprServerConfig(versions=frozenset((8, 9))))
    tag, client = mixnet.add_client(exit_version="1.40.0")
    client.start(mixnet.now)
    mixnet.run(14.9)
    assert client.state is IprState.CONNECT_V10
    mixnet.run(1.0)
    (connected,) = mixnet.events[tag]
    assert isinstance(connected, Connected)
    assert (connected.version, connected.mtu) == (9, DEFAULT_MTU)
    assert mixnet.server.stats.streams_opened == 1


def test_a_version_10_answer_in_the_older_shape_is_accepted_with_mtu_1420() -> None:
    mixnet = Mixnet(IprServerConfig(v10_shape=9))
    _, _, connected = mixnet.connected_client()
    assert (connected.version, connected.mtu) == (10, 1420)


def test_an_mtu_that_ipv6_cannot_use_is_not_believed() -> None:
    mixnet = Mixnet(IprServerConfig(mtu=100))
    _, _, connected = mixnet.connected_client()
    assert connected.mtu == 1280


def test_a_connect_that_nobody_answers_times_out() -> None:
    mixnet = Mixnet()
    mixnet.down = False
    tag, client = mixnet.add_client(config=IprClientConfig(connect_timeout=20.0))
    client.start(mixnet.now)
    mixnet.run(34.9)
    assert mixnet.events[tag] == []
    mixnet.run(0.2)
    (event,) = mixnet.events[tag]
    assert event == ConnectTimedOut(20.0)
    assert isinstance(event, ConnectTimedOut)
    assert isinstance(event.error, DeadlineError)
    assert client.state is IprState.CLOSED


def test_a_short_connect_timeout_also_bounds_the_version_10_attempt() -> None:
    mixnet = Mixnet()
    mixnet.down = False
    tag, client = mixnet.add_client(config=IprClientConfig(connect_timeout=5.0))
    client.start(mixnet.now)
    mixnet.run(10.1)
    assert mixnet.events[tag] == [ConnectTimedOut(5.0)]


def test_a_full_exit_denies_and_a_later_try_succeeds() -> None:
    mixnet = Mixnet(IprServerConfig(max_clients=1))
    first_tag, first, _ = mixnet.connected_client()
    tag, client = mixnet.add_client()
    client.start(mixnet.now)
    mixnet.run(1.0)
    assert mixnet.events[tag] == [Denied("no available ip address")]
    first.close(mixnet.now)
    mixnet.run(1.0)
    client.start(mixnet.now)
    mixnet.run(1.0)
    assert isinstance(mixnet.events[tag][-1], Connected)
    assert mixnet.events[first_tag] == []


def test_starting_twice_is_misuse() -> None:
    mixnet = Mixnet()
    _, client, _ = mixnet.connected_client()
    with pytest.raises(LocalProtocolError):
        client.start(mixnet.now)


def test_a_late_answer_to_an_earlier_connect_is_ignored() -> None:
    mixnet = Mixnet(delay=(9.0, 9.0))
    tag, client = mixnet.add_client()
    client.start(mixnet.now)
    mixnet.run(20.0)
    assert client.state is IprState.CONNECT_V9  # the version 10 answer came after 18 s
    assert client.stats.ignored == 1
    mixnet.run(20.0)
    (connected,) = mixnet.events[tag]
    assert isinstance(connected, Connected)
    assert connected.version == 9
    # The server took the second connect for a new one; only its addresses are alive.
    assert [session for session in mixnet.server_events if isinstance(session, ClientGone)]
    client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"q")], mixnet.now)
    mixnet.run(10.0)
    assert len(uplink(mixnet)) == 1


# --- packets ---


def test_packets_of_both_families_travel_both_ways() -> None:
    mixnet = Mixnet()
    tag, client, connected = mixnet.connected_client()
    up4 = udp_packet(connected.ipv4, RESOLVER, 53, b"question")
    up6 = udp_packet(connected.ipv6, PUBLIC_V6, 443, b"hello")
    client.send_packets([up4, up6], mixnet.now)
    mixnet.run(1.0)
    assert uplink(mixnet) == [up4, up6]
    down4 = udp_packet(RESOLVER, connected.ipv4, 49152, b"answer")
    down6 = udp_packet(PUBLIC_V6, connected.ipv6, 49152, b"world")
    mixnet.server.send_packet(down4, mixnet.now)
    mixnet.server.send_packet(down6, mixnet.now)
    mixnet.run(1.0)
    assert mixnet.packets(tag) == [down4, down6]
    assert mixnet.server.stats.bundles_sent == 1


def test_data_frames_count_from_one_and_carry_version_9() -> None:
    mixnet = Mixnet()
    _, client, connected = mixnet.connected_client()
    packet = udp_packet(connected.ipv4, RESOLVER, 53, b"q")
    client.send_packets([packet, packet], mixnet.now)
    messages = client.messages_to_send(mixnet.now)
    frames = [parse_stream_frame(message.data) for message in messages]
    assert [frame.sequence for frame in frames] == [1, 2]
    assert [message.reply_surbs for message in messages] == [2, 2]
    assert [parse_request(frame.payload) for frame in frames] == [DataRequest(9, b"\0\x1d" + packet)] * 2


def test_bundling_sends_small_packets_together() -> None:
    mixnet = Mixnet()
    _, client, connected = mixnet.connected_client(config=IprClientConfig(bundling=True))
    packets = [udp_packet(connected.ipv4, RESOLVER, 53, bytes([number]) * 12) for number in range(30)]
    client.send_packets(packets, mixnet.now)
    sent = client.stats.messages_sent
    mixnet.run(1.0)
    assert uplink(mixnet) == packets
    assert client.stats.messages_sent - sent == 2


def test_messages_can_be_taken_a_few_at_a_time() -> None:
    mixnet = Mixnet()
    _, client, connected = mixnet.connected_client()
    client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"q")] * 5, mixnet.now)
    assert len(client.messages_to_send(mixnet.now, 2)) == 2
    assert client.queued() == 3
    assert len(client.messages_to_send(mixnet.now)) == 3


def test_downlink_numbers_start_at_one_and_skip_zero_when_they_wrap() -> None:
    mixnet = Mixnet()
    tag, _, connected = mixnet.connected_client()
    session = mixnet.server._sessions[tag]
    numbers = []
    for sequence in (0, 1, 0xFFFFFFFE, 0xFFFFFFFF):
        session.sequence = sequence
        mixnet.server.send_packet(udp_packet(RESOLVER, connected.ipv4, 1, b"a"), mixnet.now)
        mixnet.run(0.5)
        _, data, retransmissions = mixnet.downlink[-1]
        assert retransmissions == 0
        numbers.append(parse_stream_frame(data).sequence)
    assert numbers == [1, 2, 0xFFFFFFFF, 1]


def test_control_replies_have_number_zero_and_are_retransmitted() -> None:
    mixnet = Mixnet()
    mixnet.connected_client()
    ((_, data, retransmissions),) = mixnet.downlink
    assert parse_stream_frame(data).sequence == 0
    assert retransmissions is None


@pytest.mark.parametrize(("exit_version", "first_byte"), [("1.37.0", 10), ("1.36.0", 9)])
def test_downlink_data_carries_the_version_of_the_connect(exit_version: str, first_byte: int) -> None:
    mixnet = Mixnet()
    tag, _, connected = mixnet.connected_client(exit_version=exit_version)
    mixnet.server.send_packet(udp_packet(RESOLVER, connected.ipv4, 1, b"a"), mixnet.now)
    mixnet.run(0.5)
    assert parse_stream_frame(mixnet.downlink[-1][1]).payload[0] == first_byte
    assert len(mixnet.packets(tag)) == 1


def test_packets_wait_20_ms_for_company() -> None:
    mixnet = Mixnet(delay=(0.0, 0.0))
    _, _, connected = mixnet.connected_client()
    replies = len(mixnet.downlink)
    for _ in range(3):
        mixnet.server.send_packet(udp_packet(RESOLVER, connected.ipv4, 1, b"a"), mixnet.now)
        mixnet.run(0.005)
    assert len(mixnet.downlink) == replies
    mixnet.run(0.010)
    assert len(mixnet.downlink) == replies + 1


def test_loss_reordering_and_duplication_change_no_packet() -> None:
    mixnet = Mixnet()
    sessions = []
    for bundling in (True, False, True):
        config = IprClientConfig(bundling=bundling, keepalive_interval=None)
        sessions.append(mixnet.connected_client(config=config))
    mixnet.delay, mixnet.loss, mixnet.duplication = (0.01, 1.5), 0.1, 0.1
    sent: dict[bytes, set[bytes]] = {tag: set() for tag, _, _ in sessions}
    returned: dict[bytes, set[bytes]] = {tag: set() for tag, _, _ in sessions}
    for number in range(200):
        for tag, client, connected in sessions:
            payload = number.to_bytes(2, "big") * (number + 1)
            up = udp_packet(connected.ipv4, RESOLVER, 53, payload)
            down = udp_packet(RESOLVER, connected.ipv4, 53, payload)
            client.send_packets([up], mixnet.now)
            mixnet.server.send_packet(down, mixnet.now)
            sent[tag].add(up)
            returned[tag].add(down)
        mixnet.run(0.05)
    mixnet.run(5.0)
    for tag, _, _ in sessions:
        events = (event for event in mixnet.server_events if isinstance(event, PacketFromClient))
        arrived = {event.packet for event in events if event.client == tag}
        assert arrived < sent[tag]
        assert len(arrived) > 150
        assert set(mixnet.packets(tag)) < returned[tag]
        assert len(set(mixnet.packets(tag))) > 150
    assert mixnet.server.stats.malformed == mixnet.server.stats.malformed_packets == 0


# --- policy ---


def test_a_denied_destination_is_told_with_its_parts() -> None:
    mixnet = Mixnet(allows=lambda address, port: port != 25)
    tag, client, connected = mixnet.connected_client()
    client.send_packets(
        [
            udp_packet(connected.ipv4, IPv4Address("1.2.3.4"), 25, b""),
            udp_packet(connected.ipv6, PUBLIC_V6, 25, b""),
            udp_packet(connected.ipv4, IPv4Address("1.2.3.4"), 80, b""),
        ],
        mixnet.now,
    )
    mixnet.run(1.0)
    assert mixnet.events[tag] == [
        PolicyDenied("1.2.3.4:25", IPv4Address("1.2.3.4"), 25),
        PolicyDenied("[2606:4700::1111]:25", PUBLIC_V6, 25),
    ]
    assert len(uplink(mixnet)) == 1
    assert mixnet.server.stats.policy_denied == 2
    info = parse_response(parse_stream_frame(mixnet.downlink[-1][1]).payload)
    assert isinstance(info, Info)
    assert (info.version, info.request_id) == (9, 0)


# --- the end of a session, and signs of life ---


def test_closing_gives_the_addresses_back() -> None:
    mixnet = Mixnet()
    tag, client, connected = mixnet.connected_client()
    client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"last words")], mixnet.now)
    client.close(mixnet.now)
    mixnet.run(1.0)
    assert len(uplink(mixnet)) == 1
    assert mixnet.server_events[-1] == ClientGone(tag, connected.ipv4, connected.ipv6, "disconnected")
    assert len(mixnet.server) == 0
    assert client.poll_at() is None


def test_closing_before_the_answer_sends_nothing_more() -> None:
    mixnet = Mixnet()
    _, client = mixnet.add_client()
    client.start(mixnet.now)
    client.close(mixnet.now)
    assert client.messages_to_send(mixnet.now) == []


def test_packets_after_the_end_are_dropped_and_counted() -> None:
    mixnet = Mixnet()
    _, client, connected = mixnet.connected_client()
    client.close(mixnet.now)
    client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"")], mixnet.now)
    assert client.queued() == 0
    assert client.stats.packets_dropped == 1


def test_a_silent_client_is_forgotten_after_60_seconds_without_a_word() -> None:
    mixnet = Mixnet()
    config = IprClientConfig(keepalive_interval=None)
    tag, client, connected = mixnet.connected_client(config=config)
    replies = len(mixnet.downlink)
    mixnet.run(55.0)
    assert len(mixnet.server) == 1
    mixnet.run(20.0)
    assert mixnet.server_events[-1] == ClientGone(tag, connected.ipv4, connected.ipv6, "idle")
    assert len(mixnet.downlink) == replies
    client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"")], mixnet.now)
    mixnet.run(1.0)
    assert mixnet.server.stats.unknown_source == 1
    assert uplink(mixnet) == []


def test_pings_do_not_keep_a_client_connected() -> None:
    mixnet = Mixnet()
    _, client, _ = mixnet.connected_client(config=IprClientConfig(keepalive_interval=None))
    for _ in range(9):
        client.ping(mixnet.now)
        mixnet.run(8.0)
    assert len(mixnet.server) == 0


def test_the_keep_alive_keeps_a_client_connected_for_ever() -> None:
    mixnet = Mixnet()
    _, client, connected = mixnet.connected_client()
    mixnet.run(600.0)
    assert len(mixnet.server) == 1
    assert client.stats.keepalives_sent == 15
    assert {packet[12:16] for packet in uplink(mixnet)} == {connected.ipv4.packed}
    assert all(packet[8] == 1 for packet in uplink(mixnet)), "time to live"


def test_a_keep_alive_that_the_policy_refuses_works_too_and_is_not_told() -> None:
    mixnet = Mixnet(allows=lambda address, port: False)
    tag, client, _ = mixnet.connected_client()
    mixnet.run(300.0)
    assert len(mixnet.server) == 1
    assert mixnet.events[tag] == []
    assert client.stats.policy_denials == 0


def test_traffic_makes_keep_alives_unnecessary() -> None:
    mixnet = Mixnet()
    _, client, connected = mixnet.connected_client()
    for _ in range(20):
        client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"")], mixnet.now)
        mixnet.run(30.0)
    assert client.stats.keepalives_sent == 0
    assert len(mixnet.server) == 1


def test_an_exit_that_answers_pings_is_not_called_silent() -> None:
    mixnet = Mixnet()  # it routes nothing back, as when the destination is dead
    tag, client, connected = mixnet.connected_client()
    for _ in range(30):
        client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"")], mixnet.now)
        mixnet.run(2.0)
    assert mixnet.events[tag] == []
    assert client.stats.pings_sent > 0


def test_a_dead_exit_is_noticed_once_per_silence() -> None:
    mixnet = Mixnet()
    tag, client, connected = mixnet.connected_client()
    mixnet.up = False
    client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"")], mixnet.now)
    mixnet.run(19.9)
    assert mixnet.events[tag] == []
    assert client.stats.pings_sent == 1
    mixnet.run(100.0)
    (event,) = mixnet.events[tag]
    assert event == ExitSilent(pytest.approx(20.0))
    mixnet.up = True
    client.ping(mixnet.now)
    mixnet.run(1.0)
    assert client.unanswered_since is None
    assert client.last_received == pytest.approx(mixnet.now - 0.9)
    mixnet.up = False
    client.ping(mixnet.now)
    mixnet.run(21.0)
    assert len(mixnet.events[tag]) == 2


PROBING = IprClientConfig(session_probe=True, keepalive_interval=None)


def no_pings_outside(_: IpAddress, port: int) -> bool:
    """A policy under which an exit answers keep-alives with a denial."""
    return port != 0


def test_an_exit_that_forgot_the_session_is_not_alive_because_it_answers_pings() -> None:
    mixnet = Mixnet(allows=no_pings_outside)
    tag, client, connected = mixnet.connected_client(config=PROBING)
    for _ in range(20):  # nobody answers, and the session lives
        client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"")], mixnet.now)
        mixnet.run(2.0)
    assert mixnet.events[tag] == []
    mixnet.server = IprServer(allows=no_pings_outside, random_bytes=mixnet.random.randbytes)  # a restart
    for _ in range(10):
        client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"")], mixnet.now)
        client.ping(mixnet.now)
        mixnet.run(2.0)
    assert mixnet.now - client.last_received < 3  # pongs
    mixnet.run(2.0)
    assert [type(event) for event in mixnet.events[tag]] == [ExitSilent]


def test_an_exit_that_proved_itself_before_has_to_do_so_from_the_start() -> None:
    """One that is restarted right after the connect, before it answered the first keep-alive."""
    mixnet = Mixnet(allows=no_pings_outside)
    tag, client, connected = mixnet.connected_client(config=replace(PROBING, answers_keepalives=True))
    assert client.answers_keepalives
    mixnet.server = IprServer(allows=no_pings_outside, random_bytes=mixnet.random.randbytes)
    for _ in range(12):
        client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"")], mixnet.now)
        client.ping(mixnet.now)
        mixnet.run(2.0)
    assert [type(event) for event in mixnet.events[tag]] == [ExitSilent]


def test_where_keep_alives_are_not_answered_pings_have_to_do() -> None:
    mixnet = Mixnet()
    tag, client, connected = mixnet.connected_client(config=PROBING)
    for _ in range(20):
        client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"")], mixnet.now)
        mixnet.run(2.0)
    assert mixnet.events[tag] == []
    assert client.stats.pings_sent > 0


def test_a_slow_network_makes_silence_longer() -> None:
    mixnet = Mixnet()
    tag, client, connected = mixnet.connected_client()
    client.path_delay = 3.0
    mixnet.up = False
    client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"q")], mixnet.now)
    mixnet.run(31.0)
    assert ExitSilent not in [type(event) for event in mixnet.events[tag]]
    mixnet.run(2.0)
    assert ExitSilent in [type(event) for event in mixnet.events[tag]]


def test_silence_that_was_our_own_does_not_count() -> None:
    """Told or not: after an interruption of our link the exit has its whole time again."""
    mixnet = Mixnet()
    tag, client, connected = mixnet.connected_client()
    mixnet.up = False
    client.send_packets([udp_packet(connected.ipv4, RESOLVER, 53, b"q")], mixnet.now)
    for _ in range(2):
        mixnet.run(19.0)
        assert ExitSilent not in [type(event) for event in mixnet.events[tag]]
        client.restart_silence(mixnet.now)
    mixnet.run(21.0)
    assert [type(event) for event in mixnet.events[tag]].count(ExitSilent) == 1
    client.restart_silence(mixnet.now)
    mixnet.run(21.0)
    assert [type(event) for event in mixnet.events[tag]].count(ExitSilent) == 2


def test_packets_that_wait_can_be_thinned() -> None:
    asked: list[int] = []

    def every_other(packets: Sequence[bytes]) -> list[bytes]:
        asked.append(len(packets))
        return list(packets)[::2]

    mixnet = Mixnet()
    _, client, connected = mixnet.connected_client(thin=every_other)
    packets = [udp_packet(connected.ipv4, RESOLVER, 53, bytes([number])) for number in range(5)]
    client.send_packets(packets[:1], mixnet.now)
    mixnet.run(1.0)
    assert asked == []
    client.send_packets(packets[1:], mixnet.now)
    mixnet.run(1.0)
    assert asked == [4]
    assert client.stats.packets_superseded == 2
    assert uplink(mixnet) == [packets[0], packets[1], packets[3]]


def test_an_idle_session_is_not_a_silent_one() -> None:
    mixnet = Mixnet()
    tag, client, _ = mixnet.connected_client(config=IprClientConfig(keepalive_interval=None))
    mixnet.up = False
    mixnet.run(1000.0)
    assert mixnet.events[tag] == []
    assert client.stats.pings_sent == 0


def test_an_unrequested_disconnect_ends_the_session_and_a_new_start_works() -> None:
    mixnet = Mixnet()
    tag, client, connected = mixnet.connected_client()
    stream = parse_stream_frame(mixnet.downlink[0][1]).stream_id
    payload = emit_response(UnrequestedDisconnect(9, DropReason.CLIENT_TUN_TRAFFIC_TIMEOUT))
    assert client.receive_message(
        emit_stream_frame(StreamFrame(stream, StreamMessageType.DATA, 0, payload)), mixnet.now
    )
    mixnet.run(1.0)
    assert mixnet.events[tag] == [Disconnected("client tun traffic timeout")]
    client.start(mixnet.now)
    mixnet.run(1.0)
    again = mixnet.events[tag][-1]
    assert isinstance(again, Connected)
    assert again.ipv4 != connected.ipv4


def test_messages_of_other_streams_and_rubbish_leave_a_session_alone() -> None:
    mixnet = Mixnet()
    tag, client, _ = mixnet.connected_client()
    stream = parse_stream_frame(mixnet.downlink[0][1]).stream_id
    bye = emit_response(UnrequestedDisconnect(9, DropReason.OTHER, "bye"))
    assert not client.receive_message(bye, mixnet.now)  # not framed
    for other, kind in ((stream ^ 1, StreamMessageType.DATA), (stream, StreamMessageType.OPEN)):
        assert not client.receive_message(emit_stream_frame(StreamFrame(other, kind, 0, bye)), mixnet.now)
    assert client.receive_message(
        emit_stream_frame(StreamFrame(stream, StreamMessageType.DATA, 0, b"\x09\x07")), mixnet.now
    )
    mixnet.run(1.0)
    assert client.state is IprState.CONNECTED
    assert mixnet.events[tag] == []
    assert (client.stats.malformed, client.stats.ignored) == (2, 2)


def test_server_tells_who_connected() -> None:
    mixnet = Mixnet(IprServerConfig(mtu=1500))
    tag, _, connected = mixnet.connected_client(exit_version="1.36.0")
    assert mixnet.server_events == [ClientConnected(tag, connected.ipv4, connected.ipv6, 1420)]
