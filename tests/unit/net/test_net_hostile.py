"""What peers can make us hold and answer: never more than the limits say, and others go on meanwhile."""

from __future__ import annotations

import random

import pytest

from smolmix_web.net import Stack, StackConfig, State, TcpConnection, TcpOptions
from smolmix_web.net.addresses import pack_address
from smolmix_web.net.flow import ip_packet
from smolmix_web.net.icmp import UNREACHABLE_V4, build_icmp
from smolmix_web.net.ip import ICMP, TCP, pseudo_sum
from smolmix_web.net.tcp.segment import ACK, SYN, build_options, build_segment
from smolmix_web.net.udp import build_udp
from support.netsim import Path, Simulator
from support.tcp_trace import MSS, OURS, PEER, established, syn_sent

LIMIT = 400_000


def crowded(count: int) -> tuple[Simulator, list[tuple[TcpConnection, TcpConnection]]]:
    """A client whose stack has little memory, and ``count`` connections to a server that sends much."""
    sim = Simulator(Path(delay=0.02, jitter=0.01, loss=0.02), seed=4)
    sim.client = Stack(
        ipv4="10.0.0.1",
        ipv6=None,
        mtu=1500,
        config=StackConfig(receive_memory_limit=LIMIT),
        random_bytes=random.Random(4).randbytes,
    )
    listener = sim.server.listen_tcp(None, 80)
    pairs = []
    for _ in range(count):
        ours = sim.connect()
        while (theirs := listener.accept()) is None or ours.state is not State.ESTABLISHED:
            assert sim.step()
        pairs.append((ours, theirs))
    listener.close(sim.now)
    return sim, pairs


def test_the_stacks_limit_holds_when_nobody_reads_and_all_is_delivered_when_somebody_does() -> None:
    sim, pairs = crowded(12)
    data = random.Random(1).randbytes(150_000)  # 12 of them are four times the limit
    sent = [0] * len(pairs)

    def write() -> None:
        for index, (_ours, theirs) in enumerate(pairs):
            sent[index] += theirs.send(data[sent[index] :], sim.now)

    most = 0
    while sim.step(30.0):
        write()
        most = max(most, sim.client.memory.used)
        assert sim.client.memory.used <= LIMIT
    assert most > LIMIT // 2
    assert sim.client.stats.memory_dropped > 0
    received = [bytearray() for _ in pairs]
    while any(len(got) < len(data) for got in received):
        for got, (ours, _theirs) in zip(received, pairs, strict=True):
            got += ours.recv(1 << 20, sim.now)
        assert sim.client.memory.used <= LIMIT
        write()
        assert sim.step(4_000.0)
    assert all(bytes(got) == data for got in received)
    assert sim.client.memory.used == 0


def test_readers_that_stopped_do_not_starve_a_new_connection() -> None:
    sim, pairs = crowded(8)
    for _ours, theirs in pairs:
        while theirs.send(bytes(100_000), sim.now):
            pass
    sim.run(20.0)
    assert sim.client.memory.used > 3 * LIMIT // 4
    assert sim.transfer(60_000).intact
    assert sim.client.memory.used <= LIMIT


def test_a_peer_of_tiny_islands_has_its_own_limit() -> None:
    """Others keep the stack's memory, however many holes one peer makes."""
    options = TcpOptions(timestamps=False, receive_buffer_limit=100_000, receive_buffer_initial=100_000)
    tcp = established(options, syn={"window_scale": 7, "sack_permitted": True})
    for index in range(30_000):
        tcp.sends(".", seq=1 + 2 * index, ack=0, payload=b"x")
    assert tcp.connection._rx.pieces_size <= 2 * tcp.connection._rx.capacity
    # One segment over all of them touches a thousand islands, and stays within the limit too.
    tcp.sends(".", seq=1, ack=0, payload=bytes(1_400))
    assert tcp.connection._rx.pieces_size <= 2 * tcp.connection._rx.capacity
    tcp.sends(".", seq=0, ack=0, payload=bytes(1_400))
    assert len(tcp.read()) >= 1_400
    tcp.connection.abort(tcp.now)
    assert tcp.stack.memory.used == 0


def syn_ack(port: int, local: int, ack: int, seq: int = 9) -> bytes:
    body = build_segment(
        pseudo_sum(pack_address(PEER), pack_address(OURS), TCP, 0),
        port,
        local,
        seq,
        ack,
        SYN | ACK,
        1_000,
        build_options(mss=1_000),
    )
    return ip_packet(pack_address(PEER), pack_address(OURS), TCP, body)


def test_a_flood_of_syn_acks_leaves_nothing_and_is_answered_at_a_limited_rate() -> None:
    tcp = syn_sent()
    stack, rate = tcp.stack, tcp.stack.config.icmp_per_second
    for index in range(20_000):
        # Half for ports where nothing is, half for the half-open connection with a wrong acknowledgement.
        local = tcp.our_port if index % 2 else 1_024 + index
        stack.receive_packet(syn_ack(80, local, (tcp.iss + 5_000 + index) & 0xFFFFFFFF), tcp.now)
    assert len(stack._connections) == 1
    assert len(tcp.segments()) <= rate
    tcp.sends("S.", seq=-1, ack=0, mss=MSS)
    assert tcp.state is State.ESTABLISHED


def too_big(destination: str, port: int, mtu: int, code: int = 4) -> bytes:
    """An ICMP error that quotes a datagram of ours."""
    ours, peer = pack_address(OURS), pack_address(destination)
    quoted = ip_packet(ours, peer, 17, build_udp(ours, peer, port, 53, b"question"))
    router = pack_address("192.0.2.254")
    return ip_packet(router, ours, ICMP, build_icmp(router, ours, UNREACHABLE_V4, code, mtu, quoted))


def test_a_flood_of_icmp_keeps_a_bounded_number_of_errors_and_path_mtus() -> None:
    stack = Stack(ipv4=OURS, ipv6=None, mtu=1500)
    socket = stack.open_udp()
    for index in range(30_000):
        destination = f"198.{index >> 16}.{index >> 8 & 255}.{index & 255}"
        stack.receive_packet(too_big(destination, socket.local_port, 600), 0.0)
        stack.receive_packet(too_big(destination, socket.local_port, 0, code=1), 0.0)
    errors = 0
    while socket.next_error() is not None:
        errors += 1
    assert 0 < errors <= 16
    assert len(stack._path_mtu._entries) <= 1_024
    assert len(stack.take_changed()) == 1
    assert stack.packets_to_send(0.0) == []


def test_icmp_for_a_connection_that_quotes_nothing_in_flight_changes_nothing() -> None:
    tcp = established()
    ours, peer = pack_address(OURS), pack_address(PEER)
    router = pack_address("192.0.2.254")
    for code, mtu in ((4, 600), (1, 0), (3, 0)):
        for offset in (1_000, 1 << 31, -5_000):
            quoted = ip_packet(
                ours,
                peer,
                TCP,
                build_segment(0, tcp.our_port, 80, (tcp.iss + 1 + offset) & 0xFFFFFFFF, 0, ACK, 0),
            )
            body = build_icmp(router, ours, UNREACHABLE_V4, code, mtu, quoted)
            tcp.stack.receive_packet(ip_packet(router, ours, ICMP, body), tcp.now)
    assert tcp.state is State.ESTABLISHED
    assert tcp.connection.soft_error is None
    assert tcp.connection._tx.mss == MSS


@pytest.mark.parametrize("sack", [False, True])
def test_a_peer_that_shrinks_its_window_again_and_again_costs_no_memory(sack: bool) -> None:
    """RFC 9293 section 3.8.6: a window must not be shrunk, and a sender must bear it."""
    tcp = established(
        TcpOptions(timestamps=False, congestion_control="reno", user_timeout=1e9),
        syn={"sack_permitted": sack},
    )
    data = random.Random(2).randbytes(200_000)
    taken = tcp.write(data)
    rnd, acked = random.Random(3), 0
    got = bytearray()
    for _ in range(2_000):
        for segment in tcp.segments():
            if segment.seq <= len(got) < segment.seq + len(segment.payload):
                got += segment.payload[len(got) - segment.seq :]
        taken += tcp.write(data[taken:])
        acked = rnd.randint(acked, len(got))
        tcp.sends(".", seq=0, ack=acked, window=rnd.choice((0, 0, 1, 10, 1_000, 50_000)))
        tcp.later(rnd.choice((0.0, 0.1, 3.0)))
        tx = tcp.connection._tx
        assert len(tx.buffer) <= len(data)
        assert len(tx.board._lost) <= 4 * (len(tx.board) + 1)
        assert len(tx.board._order) <= 600 + 4 * len(tx.board)
    for _ in range(3_000):
        if acked == len(data):
            break
        for segment in tcp.segments():
            if segment.seq <= len(got) < segment.seq + len(segment.payload):
                got += segment.payload[len(got) - segment.seq :]
        taken += tcp.write(data[taken:])
        acked = len(got)
        tcp.sends(".", seq=0, ack=acked, window=60_000)
        tcp.later(0.5)
    assert bytes(got) == data
    assert len(tcp.connection._tx.board) == 0


def test_a_tiny_mss_does_not_fill_memory_with_segments() -> None:
    options = TcpOptions(timestamps=False, congestion_control="reno")
    tcp = syn_sent(options)
    tcp.sends("S.", seq=-1, ack=0, mss=1, window_scale=10, sack_permitted=True)
    tcp.segments()
    tcp.connection._tx.cc.window = 4_000_000  # what a peer gets by acknowledging eagerly
    tcp.sends(".", seq=0, ack=0, window=60_000)
    for _ in range(20):
        tcp.write(bytes(1 << 20))
    sent = len(tcp.segments())
    assert sent == len(tcp.connection._tx.board) == 16_384
    tcp.sends(".", seq=0, ack=64 * sent, window=60_000)
    assert tcp.segments()
