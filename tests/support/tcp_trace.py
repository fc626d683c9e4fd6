"""A scripted TCP peer, so that a test reads like a packet trace.

Numbers are relative: ``seq=0`` is the first byte behind the sender's SYN, so a SYN has ``seq=-1``. The peer
speaks plain RFC 9293 (no options but MSS) unless told otherwise, and announces windows of 64,000 bytes.

    tcp = established()
    tcp.sends(".", seq=0, ack=0, payload=b"hello")
    tcp.later(0.1)
    tcp.expects(".", seq=0, ack=5)
"""

from __future__ import annotations

import random
from typing import Any

from smolmix_web.net import Stack, StackConfig, State, TcpConnection, TcpListener, TcpOptions
from smolmix_web.net.addresses import pack_address
from smolmix_web.net.flow import ip_packet
from smolmix_web.net.ip import TCP, pseudo_sum
from smolmix_web.net.ipv4 import parse_ipv4
from smolmix_web.net.tcp.segment import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
    Segment,
    build_options,
    build_segment,
    parse_segment,
)

OURS, PEER = "192.0.2.1", "192.0.2.2"
MSS = 1_000
WINDOW = 64_000
PEER_ISS = 5_000
_FLAGS = {"S": SYN, "F": FIN, "R": RST, "P": PSH, ".": ACK, "U": URG}
# Plain TCP: what the RFC's own figures show. Tests of extensions switch them on.
PLAIN = TcpOptions(
    congestion_control="reno", sparse_acks=False, timestamps=False, sack=False, window_scale=False
)


class Trace:
    """The stack under test and what the peer at the other end of its only connection sees."""

    def __init__(self, options: TcpOptions = PLAIN, config: StackConfig | None = None, seed: int = 1) -> None:
        self.now = 100.0
        self.stack = Stack(
            ipv4=OURS,
            ipv6=None,
            mtu=1500,
            config=config or StackConfig(tcp=options),
            random_bytes=random.Random(seed).randbytes,
        )
        self.connection: TcpConnection = None  # type: ignore[assignment]
        self.listener: TcpListener | None = None
        self.our_port = 0
        self.peer_port = 80
        self.iss = 0
        self.peer_iss = PEER_ISS
        self._kept: list[Segment] = []

    # -- packets ---------------------------------------------------------------------------------------------

    def sends(
        self,
        flags: str,
        *,
        seq: int = 0,
        ack: int = 0,
        payload: bytes = b"",
        window: int = WINDOW,
        timestamps: tuple[int, int] | None = None,
        sack: tuple[tuple[int, int], ...] = (),
        **options: Any,
    ) -> None:
        """The peer sends a segment; ``sack`` edges are relative to our first byte."""
        bits = sum(_FLAGS[letter] for letter in flags)
        blob = build_options(
            timestamps=timestamps,
            sack=tuple((self._ours(start), self._ours(end)) for start, end in sack),
            **options,
        )
        segment = build_segment(
            pseudo_sum(pack_address(PEER), pack_address(OURS), TCP, 0),
            self.peer_port,
            self.our_port,
            self.peer_iss + 1 + seq,
            self._ours(ack) if bits & ACK else 0,
            bits,
            window,
            blob,
            payload,
        )
        self.stack.receive_packet(ip_packet(pack_address(PEER), pack_address(OURS), TCP, segment), self.now)

    def _ours(self, relative: int) -> int:
        return (self.iss + 1 + relative) & 0xFFFFFFFF

    def segments(self) -> list[Segment]:
        """All segments the stack sends now, with relative numbers."""
        out, self._kept = self._kept, []
        for packet in self.stack.packets_to_send(self.now):
            ip = parse_ipv4(packet)
            assert ip.protocol == TCP
            segment = parse_segment(packet, ip.offset, ip.end, pseudo_sum(ip.source, ip.destination, TCP, 0))
            if segment.flags & SYN:
                self.iss = segment.seq
                self.our_port = segment.source_port
            segment.seq = _relative(segment.seq, self.iss)
            if segment.flags & ACK:
                segment.ack = _relative(segment.ack, self.peer_iss)
            segment.sack = tuple(
                (_relative(start, self.peer_iss), _relative(end, self.peer_iss))
                for start, end in segment.sack
            )
            out.append(segment)
        return out

    def expects(self, flags: str, **fields: Any) -> Segment:
        """Exactly one segment leaves now, with these flags (PSH aside) and fields."""
        segments = self.segments()
        assert len(segments) == 1, segments
        return self.check(segments[0], flags, **fields)

    def check(self, segment: Segment, flags: str, **fields: Any) -> Segment:
        bits = sum(_FLAGS[letter] for letter in flags)
        assert segment.flags & ~PSH == bits & ~PSH, segment
        for name, value in fields.items():
            assert getattr(segment, name) == value, (name, getattr(segment, name), segment)
        return segment

    def expects_nothing(self) -> None:
        assert self.segments() == []

    def later(self, seconds: float) -> None:
        """Time passes, every timer at its own instant; what is sent meanwhile is kept for the next look."""
        end = self.now + seconds
        kept = self.segments()
        while (due := self.stack.poll_at()) is not None and due <= end:
            self.now = max(self.now, due)
            self.stack.handle_timer(self.now)
            kept += self.segments()
        self.now = end
        self._kept = kept

    def until_sent(self, limit: float = 600.0) -> list[Segment]:
        """Let time pass until the stack sends something, and return it."""
        end = self.now + limit
        segments = self.segments()
        while not segments:
            due = self.stack.poll_at()
            if due is None or due > end:
                return []
            self.now = max(self.now, due)
            self.stack.handle_timer(self.now)
            segments = self.segments()
        return segments

    # -- shorthand ---------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.connection.state

    def write(self, data: bytes) -> int:
        return self.connection.send(data, self.now)

    def read(self, size: int = 1 << 20) -> bytes:
        return self.connection.recv(size, self.now)


def _relative(wire: int, iss: int) -> int:
    return ((wire - iss - 1 + 0x80000000) & 0xFFFFFFFF) - 0x80000000


# -- a constructor for every state -----------------------------------------------------------------


def listen(options: TcpOptions = PLAIN, *, deferred: bool = False, **more: Any) -> Trace:
    tcp = Trace(options, **more)
    tcp.listener = tcp.stack.listen_tcp(None, 7, deferred=deferred)
    tcp.our_port, tcp.peer_port = 7, 40_000
    return tcp


def syn_sent(options: TcpOptions = PLAIN, **more: Any) -> Trace:
    tcp = Trace(options, **more)
    tcp.connection = tcp.stack.connect_tcp(PEER, 80, tcp.now)
    tcp.expects("S", seq=-1)
    return tcp


def syn_received(options: TcpOptions = PLAIN, *, syn: dict[str, Any] | None = None, **more: Any) -> Trace:
    """Passive open; SYN/ACK has left."""
    tcp = listen(options, **more)
    tcp.sends("S", seq=-1, mss=MSS, **(syn or {}))
    tcp.expects("S.", seq=-1, ack=0)
    (tcp.connection,) = tcp.stack._connections.values()
    return tcp


def established(
    options: TcpOptions = PLAIN, *, syn: dict[str, Any] | None = None, window: int = WINDOW, **more: Any
) -> Trace:
    """Active open, both ways idle; ``syn`` holds options of the peer's SYN/ACK."""
    tcp = syn_sent(options, **more)
    tcp.sends("S.", seq=-1, ack=0, mss=MSS, window=window, **(syn or {}))
    tcp.expects(".", seq=0, ack=0)
    assert tcp.state is State.ESTABLISHED
    tcp.stack.take_changed()
    return tcp


def fin_wait_1(**more: Any) -> Trace:
    tcp = established(**more)
    tcp.connection.shutdown_write(tcp.now)
    tcp.expects("F.", seq=0, ack=0)
    return tcp


def fin_wait_2(**more: Any) -> Trace:
    tcp = fin_wait_1(**more)
    tcp.sends(".", seq=0, ack=1)
    return tcp


def close_wait(**more: Any) -> Trace:
    tcp = established(**more)
    tcp.sends("F.", seq=0, ack=0)
    tcp.expects(".", seq=0, ack=1)
    return tcp


def closing(**more: Any) -> Trace:
    tcp = fin_wait_1(**more)
    tcp.sends("F.", seq=0, ack=0)
    tcp.expects(".", seq=1, ack=1)
    return tcp


def last_ack(**more: Any) -> Trace:
    tcp = close_wait(**more)
    tcp.connection.shutdown_write(tcp.now)
    tcp.expects("F.", seq=0, ack=1)
    return tcp


def time_wait(**more: Any) -> Trace:
    tcp = fin_wait_2(**more)
    tcp.sends("F.", seq=0, ack=1)
    tcp.expects(".", seq=1, ack=1)
    return tcp


CONSTRUCTORS = {
    State.SYN_SENT: syn_sent,
    State.SYN_RECEIVED: syn_received,
    State.ESTABLISHED: established,
    State.FIN_WAIT_1: fin_wait_1,
    State.FIN_WAIT_2: fin_wait_2,
    State.CLOSE_WAIT: close_wait,
    State.CLOSING: closing,
    State.LAST_ACK: last_ack,
    State.TIME_WAIT: time_wait,
}

# Relative numbers in each synchronized state: what we have sent, and what the peer has.
OUR_NXT = {
    State.SYN_RECEIVED: 0,
    State.ESTABLISHED: 0,
    State.FIN_WAIT_1: 1,
    State.FIN_WAIT_2: 1,
    State.CLOSE_WAIT: 0,
    State.CLOSING: 1,
    State.LAST_ACK: 1,
    State.TIME_WAIT: 1,
}
PEER_NXT = {
    State.SYN_RECEIVED: 0,
    State.ESTABLISHED: 0,
    State.FIN_WAIT_1: 0,
    State.FIN_WAIT_2: 0,
    State.CLOSE_WAIT: 1,
    State.CLOSING: 1,
    State.LAST_ACK: 1,
    State.TIME_WAIT: 1,
}
