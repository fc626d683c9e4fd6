"""The stack around the connections: demultiplexing, listeners, UDP, ICMP, ports, limits, timers, fairness."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from smolmix_web.errors import ConnectionRefused, LocalProtocolError, OptionError, TunnelClosed, Unreachable
from smolmix_web.net import DatagramTooLong, Stack, StackConfig, State, TcpOptions
from smolmix_web.net.addresses import pack_address
from smolmix_web.net.flow import ip_packet
from smolmix_web.net.icmp import Kind, build_icmp, build_unreachable, parse_icmp
from smolmix_web.net.ip import ICMP, TCP
from smolmix_web.net.ipv4 import parse_ipv4
from smolmix_web.net.ipv6 import parse_ipv6
from smolmix_web.net.pure_acks import ack_info, drop_superseded
from smolmix_web.net.tcp.segment import ACK, PSH, build_options, build_segment
from smolmix_web.net.udp import build_udp
from support.netsim import CLIENT, CLIENT_V6, SERVER, SERVER_V6, Path, Simulator
from support.tcp_trace import MSS, OURS, PEER, PLAIN, Trace, established, listen, syn_sent


def stack(**more: object) -> Stack:
    return Stack(
        **{  # type: ignore[arg-type]
            "ipv4": OURS,
            "ipv6": "2001:db8::1",
            "mtu": 1500,
            "random_bytes": random.Random(1).randbytes,
            **more,
        }
    )


# -- construction and arguments --------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad", [{"mtu": 100}, {"mtu": 70_000}, {"ipv4": "::1"}, {"ipv6": "1.2.3.4"}, {"ipv4": "host.example"}]
)
def test_bad_construction(bad: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        stack(**bad)


def test_bad_destinations() -> None:
    for address, port in (("host.example", 80), ("224.0.0.1", 80), (PEER, 0), (PEER, 70_000)):
        with pytest.raises(OptionError):
            stack().connect_tcp(address, port, 0.0)
    with pytest.raises(OptionError):
        stack(ipv6=None).connect_tcp("2001:db8::2", 80, 0.0)
    with pytest.raises(OptionError):
        stack().connect_tcp(PEER, 80, 0.0, options=TcpOptions(congestion_control="nonsense"))


# -- addressing ------------------------------------------------------------------------------------


def test_packets_for_others_and_from_nowhere_are_dropped() -> None:
    ours = stack()
    for source, destination in ((PEER, "192.0.2.99"), ("224.0.0.9", OURS), ("0.0.0.0", OURS)):
        packed = pack_address(source), pack_address(destination)
        ours.receive_packet(ip_packet(*packed, 17, build_udp(*packed, 1, 2, b"x")), 0.0)
    assert ours.stats.not_for_us == 3
    assert ours.packets_to_send(0.0) == []


def test_the_exit_accepts_any_address_and_port_of_both_families() -> None:
    exit_side = stack(ipv4=None, ipv6=None, accept_any=True)
    listener = exit_side.listen_tcp(None, None, deferred=True)
    client = stack(ipv4=CLIENT, ipv6=CLIENT_V6)
    wanted = [("203.0.113.5", 443), ("203.0.113.5", 80), ("2001:db8::dead", 443)]
    connections = [client.connect_tcp(host, port, 0.0) for host, port in wanted]
    for packet in client.packets_to_send(0.0):
        exit_side.receive_packet(packet, 0.0)
    seen = {}
    while (connection := listener.accept()) is not None:
        seen[connection.local] = connection
    assert set(seen) == set(wanted)
    seen[wanted[0]].accept_syn(0.1)
    seen[wanted[1]].refuse(0.1)
    for packet in exit_side.packets_to_send(0.1):
        client.receive_packet(packet, 0.1)
    assert connections[0].state is State.ESTABLISHED
    assert isinstance(connections[1].error, ConnectionRefused)
    assert connections[2].state is State.SYN_SENT


def test_more_specific_listeners_win() -> None:
    tcp = Trace()
    tcp.our_port = 7
    general = tcp.stack.listen_tcp(None, None)
    specific = tcp.stack.listen_tcp(OURS, 7)
    tcp.sends("S", seq=-1)
    tcp.segments()
    tcp.sends(".", seq=0, ack=0)
    assert specific.accept() is not None
    assert general.accept() is None
    with pytest.raises(LocalProtocolError):
        tcp.stack.listen_tcp(OURS, 7)


def test_backlog_bounds_a_syn_flood() -> None:
    tcp = Trace()
    tcp.stack.listen_tcp(None, 7, backlog=5)
    tcp.our_port = 7
    for port in range(1_000, 3_000):
        tcp.peer_port = port
        tcp.sends("S", seq=-1)
    assert len(tcp.stack._connections) == 5
    assert tcp.stack.stats.syns_dropped == 1_995


def test_closing_a_listener_resets_what_nobody_accepted() -> None:
    tcp = listen()
    tcp.sends("S", seq=-1)
    tcp.segments()
    tcp.sends(".", seq=0, ack=0)
    assert tcp.listener is not None
    tcp.listener.close(tcp.now)
    assert [segment.flags & 4 for segment in tcp.segments()] == [4]
    tcp.peer_port += 1
    tcp.sends("S", seq=-1)
    tcp.expects("R.")


# -- ports and initial numbers ---------------------------------------------------------------------


def test_ports_differ_by_destination_and_are_not_reused_while_taken() -> None:
    ours = stack(config=StackConfig(ephemeral_ports=(50_000, 50_009)))
    used = [ours.connect_tcp(PEER, 80, 0.0).local[1] for _ in range(10)]
    assert sorted(used) == list(range(50_000, 50_010))
    with pytest.raises(LocalProtocolError):
        ours.connect_tcp(PEER, 80, 0.0)
    assert ours.connect_tcp(PEER, 81, 0.0).local[1] in range(50_000, 50_010)
    with pytest.raises(LocalProtocolError):
        ours.connect_tcp(PEER, 80, 0.0, local_port=50_003)


def test_initial_sequence_numbers_rfc_6528() -> None:
    """Unrelated between destinations, growing with a 4 us clock for the same one, secret without the key."""
    ours = stack()
    first = ours.connect_tcp(PEER, 80, 1.0, local_port=1_000)
    first.abort(1.0)
    again = ours.connect_tcp(PEER, 80, 3.0, local_port=1_000)
    assert (again._tx.iss - first._tx.iss) % 2**32 == 500_000
    other = ours.connect_tcp(PEER, 81, 3.0, local_port=1_000)
    assert abs(other._tx.iss - again._tx.iss) > 1_000
    elsewhere = stack(random_bytes=random.Random(2).randbytes)
    assert elsewhere.connect_tcp(PEER, 80, 1.0, local_port=1_000)._tx.iss != first._tx.iss


# -- UDP -------------------------------------------------------------------------------------------


def joined() -> tuple[Stack, Stack]:
    return stack(ipv4=CLIENT, ipv6=CLIENT_V6), stack(ipv4=SERVER, ipv6=SERVER_V6)


def exchange(*stacks: Stack, now: float = 0.0) -> None:
    for _ in range(4):
        for one in stacks:
            for packet in one.packets_to_send(now):
                for other in stacks:
                    if other is not one:
                        other.receive_packet(packet, now)


@pytest.mark.parametrize("host", [SERVER, SERVER_V6])
def test_udp_question_and_answer(host: str) -> None:
    client, server = joined()
    service = server.open_udp(local_port=53)
    ours = client.open_udp()
    ours.send_to(b"question", (host, 53), 0.0)
    exchange(client, server)
    assert service in server.take_changed()
    received = service.recv_from()
    assert received is not None
    data, peer = received
    assert data == b"question"
    service.send_to(b"answer", peer, 0.0)
    exchange(client, server)
    assert ours.recv_from() == (b"answer", (host, 53))
    assert ours.recv_from() is None


def test_a_connected_udp_socket_hears_its_peer_only() -> None:
    client, server = joined()
    ours = client.open_udp(local_port=4_000, connect=(SERVER, 53))
    friend, stranger = server.open_udp(local_port=53), server.open_udp(local_port=54)
    for sender in (stranger, friend):
        sender.send_to(sender.local_port.to_bytes(2, "big"), (CLIENT, 4_000), 0.0)
    exchange(server, client)
    assert ours.recv_from() == (b"\0\x35", (SERVER, 53))
    assert ours.recv_from() is None
    ours.send_to(b"x", None, 0.0)
    exchange(client, server)
    assert friend.readable() == 1


def test_udp_errors_reach_the_socket_with_their_destination() -> None:
    client, server = joined()
    ours = client.open_udp()
    ours.send_to(b"anybody?", (SERVER, 9), 0.0)
    ours.send_to(b"anybody?", (SERVER_V6, 9), 0.0)
    exchange(client, server)
    assert ours in client.take_changed()
    for host in (SERVER, SERVER_V6):
        found = ours.next_error()
        assert found is not None
        error, destination = found
        assert isinstance(error, Unreachable)
        assert destination == (host, 9)
    assert ours.next_error() is None


def test_udp_limits() -> None:
    client, server = joined()
    ours = client.open_udp()
    with pytest.raises(DatagramTooLong):
        ours.send_to(bytes(1_473), (SERVER, 9), 0.0)
    with pytest.raises(DatagramTooLong):
        ours.send_to(bytes(1_453), (SERVER_V6, 9), 0.0)
    ours.send_to(bytes(1_472), (SERVER, 9), 0.0)
    with pytest.raises(OptionError):
        ours.send_to(b"", (SERVER, 0), 0.0)
    with pytest.raises(LocalProtocolError):
        ours.send_to(b"", None, 0.0)
    service = server.open_udp(local_port=10)
    for _ in range(5_000):
        ours.send_to(bytes(1_000), (SERVER, 10), 0.0)
        exchange(client, server)
    assert service.dropped > 4_000
    assert service.readable() < 300
    ours.close()
    with pytest.raises(LocalProtocolError):
        ours.send_to(b"", (SERVER, 9), 0.0)
    with pytest.raises(LocalProtocolError):
        server.open_udp(local_port=10)


def test_udp_any_is_the_exits() -> None:
    client = stack(ipv4=CLIENT, ipv6=CLIENT_V6)
    exit_side = stack(ipv4=None, ipv6=None, accept_any=True)
    everything = exit_side.open_udp_any()
    ours = client.open_udp(local_port=4_000)
    ours.send_to(b"to the world", ("203.0.113.9", 123), 0.0)
    exchange(client, exit_side)
    assert exit_side.take_changed() == {everything}
    found = everything.recv()
    assert found == ((CLIENT, 4_000), ("203.0.113.9", 123), b"to the world")
    everything.send(("203.0.113.9", 123), (CLIENT, 4_000), b"reply")
    exchange(exit_side, client)
    assert ours.recv_from() == (b"reply", ("203.0.113.9", 123))
    everything.refuse((CLIENT, 4_000), ("203.0.113.9", 123), b"to the world")
    exchange(exit_side, client)
    assert ours.next_error() is not None


# -- ICMP ------------------------------------------------------------------------------------------


def icmp_to(tcp: Trace, type_: int, code: int, value: int, body: bytes) -> None:
    source, destination = pack_address(PEER), pack_address(OURS)
    tcp.stack.receive_packet(
        ip_packet(source, destination, ICMP, build_icmp(source, destination, type_, code, value, body)),
        tcp.now,
    )


def quoted(tcp: Trace, seq: int) -> bytes:
    segment = build_segment(0, tcp.our_port, tcp.peer_port, tcp.iss + 1 + seq, 0, 2, 0)
    return ip_packet(pack_address(OURS), pack_address(PEER), TCP, segment)[:28]


def test_echo_is_answered() -> None:
    tcp = Trace()
    icmp_to(tcp, 8, 0, 0x12345678, b"payload")
    (packet,) = tcp.stack.packets_to_send(tcp.now)
    parsed = parse_ipv4(packet)
    message = parse_icmp(parsed.payload, parsed.source, parsed.destination)
    assert (message.kind, message.value, message.body) == (Kind.ECHO_REPLY, 0x12345678, b"payload")


def test_unreachable_ends_a_handshake_and_only_dampens_a_connection() -> None:
    tcp = syn_sent()
    icmp_to(tcp, 3, 13, 0, quoted(tcp, -1))
    assert isinstance(tcp.connection.error, Unreachable)
    assert "administratively prohibited" in str(tcp.connection.error)
    tcp = established()
    tcp.write(b"x")
    tcp.segments()
    icmp_to(tcp, 3, 1, 0, quoted(tcp, 0))
    assert tcp.state is State.ESTABLISHED
    assert isinstance(tcp.connection.soft_error, Unreachable)


def test_icmp_about_numbers_not_in_flight_is_ignored() -> None:
    """RFC 5927 section 4.1: an attacker off the path must guess the sequence number."""
    tcp = syn_sent()
    icmp_to(tcp, 3, 1, 0, quoted(tcp, 5_000))
    assert tcp.state is State.SYN_SENT
    tcp = established()
    tcp.write(bytes(3 * MSS))
    tcp.segments()
    icmp_to(tcp, 3, 4, 600, quoted(tcp, 9_000))
    assert tcp.connection._tx.mss == MSS


def test_packet_too_big_shrinks_segments_and_sends_them_again() -> None:
    tcp = established()
    tcp.write(bytes(3 * MSS))
    tcp.segments()
    icmp_to(tcp, 3, 4, 640, quoted(tcp, 0))
    again = tcp.segments()
    assert [len(segment.payload) for segment in again][:2] == [600, 400]
    assert again[0].seq == 0
    for _ in range(20):
        if tcp.connection.unsent == 0:
            break
        tcp.sends(".", ack=min(3 * MSS, max(segment.seq + len(segment.payload) for segment in again)))
        again += tcp.segments()
    assert tcp.connection.unsent == 0
    # The next connection to that destination starts with what was learnt.
    assert tcp.stack.connect_tcp(PEER, 81, tcp.now).flow.mtu == 640


def test_icmp_errors_are_limited_in_rate() -> None:
    client, server = joined()
    ours = client.open_udp()
    for _ in range(1_000):
        ours.send_to(b"x", (SERVER, 9), 0.0)
    packets = client.packets_to_send(0.0)
    for packet in packets:
        server.receive_packet(packet, 0.0)
    assert len(server.packets_to_send(0.0)) == 100


def test_no_icmp_error_about_an_icmp_error() -> None:
    ours = stack()
    source, destination = pack_address(PEER), pack_address(OURS)
    original = ip_packet(destination, source, 17, build_udp(destination, source, 5, 6, b"x"))
    ours.receive_packet(
        ip_packet(source, destination, ICMP, build_unreachable(original, source, destination, 1500, code=3)),
        0.0,
    )
    assert ours.packets_to_send(0.0) == []


# -- the driver's view -----------------------------------------------------------------------------


def test_poll_at_tells_every_deadline() -> None:
    tcp = syn_sent()
    assert tcp.stack.poll_at() == 101.0
    tcp.stack.handle_timer(100.5)  # too early is harmless
    tcp.expects_nothing()
    assert tcp.stack.poll_at() == 101.0
    tcp.sends("S.", seq=-1, ack=0)
    tcp.segments()
    # A handshake timer that is no longer needed may still be looked at, but nothing comes of it.
    tcp.later(1_000)
    tcp.expects_nothing()
    assert tcp.stack.poll_at() is None


def test_connections_take_turns_and_the_limit_is_kept() -> None:
    ours = stack(config=StackConfig(tcp=PLAIN))
    traces = []
    for port in (81, 82, 83):
        tcp = Trace()
        tcp.stack = ours
        tcp.peer_port = port
        tcp.connection = ours.connect_tcp(PEER, port, tcp.now)
        tcp.segments()
        tcp.sends("S.", seq=-1, ack=0, mss=MSS)
        tcp.segments()
        traces.append(tcp)
    for tcp in traces:
        tcp.write(bytes(5 * MSS))
    ports = []
    while packets := ours.packets_to_send(100.0, limit=2):
        assert len(packets) <= 2
        ports += [int.from_bytes(packet[22:24], "big") for packet in packets]
    assert Counter(ports) == {81: 5, 82: 5, 83: 5}
    assert len(set(ports[:3])) == 3


def test_what_is_not_pulled_is_not_made_and_acks_stay_fresh() -> None:
    tcp = established()
    for index in range(6):
        tcp.sends(".", seq=index * MSS, ack=0, payload=bytes(MSS))
    tcp.expects(".", ack=6 * MSS)  # one ACK for all, not three


def test_abort_all_when_the_tunnel_goes() -> None:
    tcp = established()
    tcp.stack.abort_all(TunnelClosed("the tunnel closed"))
    assert isinstance(tcp.connection.error, TunnelClosed)
    tcp.expects_nothing()
    assert tcp.stack.poll_at() is None


def test_superseded_acks_can_be_dropped_from_a_queue() -> None:
    source, destination = pack_address(OURS), pack_address(PEER)

    def segment(
        ack: int, payload: bytes = b"", port: int = 80, sack: tuple[tuple[int, int], ...] = ()
    ) -> bytes:
        blob = build_options(timestamps=(1, 2), sack=sack)
        body = build_segment(0, 1_000, port, 7, ack, ACK | (PSH if payload else 0), 500, blob, payload)
        return ip_packet(source, destination, TCP, body)

    old, newer, newest = segment(100), segment(200), segment(300)
    data, other, dsack = segment(250, b"data"), segment(100, port=81), segment(150, sack=((50, 60),))
    duplicate = segment(300)
    assert drop_superseded([old, other, newer, newest]) == [other, newest]
    assert drop_superseded([old, data]) == [data]
    assert drop_superseded([data, newest]) == [data, newest]
    assert drop_superseded([dsack, newest]) == [dsack, newest]
    assert drop_superseded([newest, duplicate]) == [newest, duplicate]
    wrapped = [segment(0xFFFFFFF0), segment(5)]
    assert drop_superseded(wrapped) == [wrapped[1]]
    assert ack_info(ip_packet(source, destination, 17, bytes(40))) is None


# -- memory ----------------------------------------------------------------------------------------


def test_out_of_order_floods_stay_within_the_limits() -> None:
    """One-byte segments with holes between them, on many connections: accounted with their overhead."""
    config = StackConfig(tcp=TcpOptions(timestamps=False), receive_memory_limit=200_000)
    tcp = established(
        TcpOptions(timestamps=False), config=config, syn={"window_scale": 7, "sack_permitted": True}
    )
    for index in range(20_000):
        tcp.sends(".", seq=1 + 2 * index, ack=0, payload=b"x")
        tcp.segments()
    assert tcp.stack.memory.used <= 200_000
    assert len(tcp.connection._rx.pieces) < 1_500
    assert tcp.stack.stats.memory_dropped > 0
    tcp.connection.abort(tcp.now)
    assert tcp.stack.memory.used == 0


def test_time_wait_entries_are_bounded() -> None:
    ours = stack(config=StackConfig(max_time_wait=10))
    for port in range(1, 40):
        tcp = Trace()
        tcp.stack, tcp.peer_port = ours, port
        tcp.connection = ours.connect_tcp(PEER, port, tcp.now)
        tcp.segments()
        tcp.sends("S.", seq=-1, ack=0)
        tcp.connection.shutdown_write(tcp.now)
        tcp.segments()
        tcp.sends("F.", seq=0, ack=1)
        tcp.segments()
        assert tcp.state is State.TIME_WAIT
    assert len(ours._connections) == 10


def test_connections_are_bounded() -> None:
    ours = stack(config=StackConfig(max_connections=3))
    for port in (1, 2, 3):
        ours.connect_tcp(PEER, port, 0.0)
    with pytest.raises(LocalProtocolError):
        ours.connect_tcp(PEER, 4, 0.0)


def test_nothing_is_left_behind_by_a_thousand_connections() -> None:
    sim = Simulator(Path(delay=0.01))
    for _ in range(100):
        result = sim.transfer(2_000)
        assert result.intact
    sim.run(200)
    for one in (sim.client, sim.server):
        assert one._connections == {}
        assert one.memory.used == 0
        assert one.poll_at() is None
        assert not one._time_wait


@pytest.mark.parametrize("ipv6", [False, True])
def test_no_packet_exceeds_the_mtu(ipv6: bool) -> None:
    sim = Simulator(Path(delay=0.02, loss=0.03, jitter=0.02, mtu=1_280), ipv6=ipv6)
    sizes = []
    original = sim.forth.carry, sim.back.carry
    for direction, carry in ((sim.forth, original[0]), (sim.back, original[1])):

        def measured(packet: bytes, now: float, carry: object = carry) -> object:
            sizes.append(len(packet))
            (parse_ipv6 if ipv6 else parse_ipv4)(packet)
            return carry(packet, now)  # type: ignore[operator]

        direction.carry = measured  # type: ignore[method-assign, assignment]
    assert sim.transfer(300_000).intact
    assert max(sizes) == 1_280
