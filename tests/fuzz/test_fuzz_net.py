"""Any byte string as a packet in any state: no exception, no state change that RFC 9293 or RFC 5961 forbid,
bounded memory."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.errors import MalformedError
from smolmix_web.net import State, TcpOptions
from smolmix_web.net.addresses import pack_address
from smolmix_web.net.flow import ip_packet
from smolmix_web.net.icmp import build_icmp, parse_icmp, parse_quoted
from smolmix_web.net.ip import ICMP, ICMPV6, TCP, UDP, pseudo_sum
from smolmix_web.net.ipv4 import parse_ipv4
from smolmix_web.net.ipv6 import parse_ipv6
from smolmix_web.net.pure_acks import drop_superseded
from smolmix_web.net.reassembly import Reassembler
from smolmix_web.net.tcp.segment import FIN, RST, SYN, build_options, build_segment, parse_segment
from smolmix_web.net.tcp.sequence import unwrap
from support.tcp_trace import CONSTRUCTORS, OURS, PEER, Trace

FEW = settings(max_examples=150, deadline=None)
MODERN = TcpOptions(congestion_control="mixnet")

# What one arriving segment may do (RFC 9293 figure 5); CLOSED stands for a reset or the last acknowledgement.
ALLOWED = {
    State.SYN_SENT: {State.SYN_RECEIVED, State.ESTABLISHED, State.CLOSE_WAIT, State.CLOSED},
    State.SYN_RECEIVED: {State.ESTABLISHED, State.CLOSE_WAIT, State.CLOSED},
    State.ESTABLISHED: {State.CLOSE_WAIT, State.CLOSED},
    State.FIN_WAIT_1: {State.FIN_WAIT_2, State.CLOSING, State.TIME_WAIT, State.CLOSED},
    State.FIN_WAIT_2: {State.TIME_WAIT, State.CLOSED},
    State.CLOSE_WAIT: {State.CLOSED},
    State.CLOSING: {State.TIME_WAIT, State.CLOSED},
    State.LAST_ACK: {State.CLOSED},
    State.TIME_WAIT: {State.CLOSED},
    State.CLOSED: set(),
}

states = st.sampled_from(sorted(CONSTRUCTORS, key=lambda state: state.value))
near = st.one_of(
    st.integers(-3, 3), st.integers(-2_000, 70_000), st.integers(-(1 << 31), (1 << 31) - 1), st.just(65_535)
)
blocks = st.lists(st.tuples(near, near), max_size=3)


@st.composite
def segments(draw: st.DrawFn) -> dict[str, Any]:
    """A segment whose numbers lie around the interesting places."""
    return {
        "seq": draw(near),
        "ack": draw(near),
        "flags": draw(st.one_of(st.sampled_from([16, 24, 17, 4, 20, 2, 18, 48]), st.integers(0, 63))),
        "window": draw(st.one_of(st.sampled_from([0, 1, 65_535]), st.integers(0, 65_535))),
        "payload": draw(st.binary(max_size=40)),
        "timestamps": draw(st.none() | st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))),
        "sack": draw(blocks),
        "mss": draw(st.none() | st.integers(0, 65_535)),
        "window_scale": draw(st.none() | st.integers(0, 255)),
    }


def arrive(tcp: Trace, fields: dict[str, Any]) -> int:
    flags = fields["flags"]
    numbers = [(tcp.iss + 1 + edge) & 0xFFFFFFFF for block in fields["sack"] for edge in block]
    blob = build_options(
        mss=fields["mss"] if flags & SYN else None,
        window_scale=fields["window_scale"] if flags & SYN else None,
        timestamps=fields["timestamps"],
        sack=tuple(zip(numbers[::2], numbers[1::2], strict=True))[: 2 if fields["timestamps"] else 3],
    )
    if len(blob) > 40:
        blob = b""
    segment = build_segment(
        pseudo_sum(pack_address(PEER), pack_address(OURS), TCP, 0),
        tcp.peer_port,
        tcp.our_port,
        tcp.peer_iss + 1 + fields["seq"],
        tcp.iss + 1 + fields["ack"],
        flags,
        fields["window"],
        blob,
        fields["payload"],
    )
    tcp.stack.receive_packet(ip_packet(pack_address(PEER), pack_address(OURS), TCP, segment), tcp.now)
    return flags


def check(tcp: Trace) -> None:
    connection = tcp.connection
    tx, rx = connection._tx, connection._rx
    assert tx.una <= tx.nxt
    assert tx.board.in_flight >= 0
    assert tx.board.sacked_bytes >= 0
    assert rx.held <= 2 * rx.limit
    assert tcp.stack.memory.used >= 0
    assert len(tcp.stack.packets_to_send(tcp.now)) < 200
    assert len(tcp.stack._connections) <= 3


@FEW
@given(states, st.lists(st.binary(max_size=120), max_size=5))
def test_garbage_changes_nothing(state: State, packets: list[bytes]) -> None:
    tcp = CONSTRUCTORS[state]()
    for packet in packets:
        tcp.stack.receive_packet(packet, tcp.now)
    assert tcp.state is state


@FEW
@given(states, st.lists(segments(), min_size=1, max_size=12), st.booleans())
def test_any_segments_in_any_state(state: State, arriving: list[dict[str, Any]], modern: bool) -> None:
    tcp = CONSTRUCTORS[state](options=MODERN) if modern else CONSTRUCTORS[state]()
    if state in (State.ESTABLISHED, State.CLOSE_WAIT):
        tcp.write(bytes(5_000))
        tcp.segments()
    for fields in arriving:
        before, rcv_nxt = tcp.state, tcp.connection._rx.nxt
        flags = arrive(tcp, fields)
        after = tcp.state
        assert after is before or after in ALLOWED[before]
        seq = unwrap(tcp.peer_iss + 1 + fields["seq"], rcv_nxt)
        if before not in (State.SYN_SENT, State.SYN_RECEIVED, State.CLOSED):
            if after is State.CLOSED and before is not State.LAST_ACK and tcp.connection.error is not None:
                # RFC 5961 section 3.2: only a reset exactly at RCV.NXT ends a connection.
                assert flags & RST
                assert seq == rcv_nxt
            if flags & SYN and before is not State.TIME_WAIT:
                assert after is before or flags & RST  # RFC 5961 section 4.2
        tcp.now += 0.05
        tcp.stack.handle_timer(tcp.now)
        check(tcp)
        tcp.connection.recv(1 << 20, tcp.now)
    for _ in range(40):  # and the connection always comes to rest or keeps a deadline
        due = tcp.stack.poll_at()
        if due is None or due > tcp.now + 1_000:
            break
        tcp.now = max(tcp.now, due)
        tcp.stack.handle_timer(tcp.now)
        check(tcp)


@FEW
@given(st.binary(max_size=200), st.sampled_from([ICMP, ICMPV6, UDP, TCP, 0, 43, 44, 60, 99]), st.booleans())
def test_any_body_of_any_protocol(body: bytes, protocol: int, six: bool) -> None:
    tcp = CONSTRUCTORS[State.ESTABLISHED]()
    source, destination = ("2001:db8::2", "2001:db8::1") if six else (PEER, OURS)
    packet = ip_packet(pack_address(source), pack_address(destination), protocol, body)
    tcp.stack.accept_any = True
    tcp.stack.receive_packet(packet, tcp.now)
    assert tcp.state is State.ESTABLISHED
    check(tcp)


@FEW
@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=80), near)
def test_any_icmp(type_: int, code: int, value: int, tail: bytes, seq: int) -> None:
    tcp = CONSTRUCTORS[State.ESTABLISHED]()
    tcp.write(bytes(3_000))
    tcp.segments()
    segment = build_segment(0, tcp.our_port, tcp.peer_port, tcp.iss + 1 + seq, 0, 2, 0)
    quoted = ip_packet(pack_address(OURS), pack_address(PEER), TCP, segment)
    for body in (tail, quoted + tail):
        source, destination = pack_address(PEER), pack_address(OURS)
        message = build_icmp(source, destination, type_, code, value, body)
        tcp.stack.receive_packet(ip_packet(source, destination, ICMP, message), tcp.now)
    assert tcp.state is State.ESTABLISHED
    assert tcp.connection._tx.mss >= 64
    check(tcp)


@FEW
@given(st.binary(max_size=300))
def test_parsers_raise_malformed_only(data: bytes) -> None:
    four, six = bytes(4), bytes(16)
    for parse in (
        lambda: parse_ipv4(data),
        lambda: parse_ipv6(data),
        lambda: parse_segment(data, 0, len(data), 0),
        lambda: parse_icmp(data, four, four),
        lambda: parse_icmp(data, six, six),
        lambda: parse_quoted(data, 4),
        lambda: parse_quoted(data, 6),
    ):
        try:
            parse()
        except MalformedError:
            continue


@FEW
@given(st.lists(st.binary(max_size=100), max_size=6))
def test_superseded_ack_filter_takes_any_packets_and_keeps_all_it_does_not_know(packets: list[bytes]) -> None:
    kept = drop_superseded(packets)
    assert [packet for packet in packets if len(packet) < 40] == [
        packet for packet in kept if len(packet) < 40
    ]


@FEW
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 70), st.integers(0, 90), st.booleans()), max_size=40)
)
def test_fragments_never_exceed_the_limit(pieces: list[tuple[int, int, int, bool]]) -> None:
    reassembler = Reassembler(2_000, 30.0)
    template = parse_ipv4(ip_packet(pack_address(PEER), pack_address(OURS), UDP, b""))
    for index, (identification, offset, size, more) in enumerate(pieces):
        template.packet, template.offset, template.end = bytes(size), 0, size
        template.identification, template.fragment_offset, template.more_fragments = (
            identification,
            8 * offset,
            more,
        )
        whole = reassembler.add(template, float(index))
        assert whole is None or parse_ipv4(whole).protocol == UDP
        assert 0 <= reassembler.size <= 2_000 + 700
    reassembler.expire(1e9)
    assert reassembler.size == 0


def test_constants_used_here_are_the_wires() -> None:
    assert (FIN, SYN, RST) == (1, 2, 4)
