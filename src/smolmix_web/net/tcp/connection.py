"""One TCP connection: the states of RFC 9293 section 3.3.2 and what each segment and each call does in them.

Before editing, read RFC 9293 section 3.10, RFC 5961 and RFC 7323 section 5. The parts with a life of their
own are elsewhere: ``send.py`` (queue, recovery), ``receive.py`` (reassembly, window), ``acking.py`` (when to
acknowledge). Here is what ties them: segment arrives (:meth:`TcpConnection.receive`, in the order of section
3.10.7), segment leaves (:meth:`TcpConnection.next_packet`), time passes (:meth:`TcpConnection.handle_timer`),
the user calls.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from smolmix_web.errors import (
    ConnectionRefused,
    ConnectionReset,
    DeadlineError,
    LocalProtocolError,
    SmolmixError,
)
from smolmix_web.net.config import TcpOptions
from smolmix_web.net.flow import Flow
from smolmix_web.net.tcp.acking import AckPolicy
from smolmix_web.net.tcp.flight import NEVER
from smolmix_web.net.tcp.receive import Receiver
from smolmix_web.net.tcp.scoreboard import Sent
from smolmix_web.net.tcp.segment import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    TIMESTAMPS_SIZE,
    Segment,
    build_options,
    build_segment,
    build_timestamps,
)
from smolmix_web.net.tcp.send import Sender
from smolmix_web.net.tcp.sequence import MASK, before, unwrap

if TYPE_CHECKING:
    from smolmix_web.net.stack import Stack

DEFAULT_MSS = {4: 536, 6: 1220}  # RFC 9293 MUST-15 and section 3.7.1, when the peer's SYN names none
_MIN_MSS = 64  # what we agree to at least; a peer that offers less wants us to burn packets
_CHALLENGE_INTERVAL = 0.5  # RFC 5961 section 7, per connection as in Linux
_WRITER_LOW_WATER = 16 * 1024  # bytes of room before a waiting writer is woken
_PAWS_TOLERANCE = 10_000  # ticks; current systems tick in milliseconds
_PAWS_AGE = 24 * 86_400.0  # RFC 7323 section 5.5


class State(Enum):
    CLOSED = "CLOSED"
    LISTEN = "LISTEN"
    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN-WAIT-1"
    FIN_WAIT_2 = "FIN-WAIT-2"
    CLOSE_WAIT = "CLOSE-WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST-ACK"
    TIME_WAIT = "TIME-WAIT"


_SYNCHRONIZED_SENDING = frozenset(
    (State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK)
)
_RECEIVING = frozenset((State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2))
_WRITABLE = frozenset((State.SYN_SENT, State.SYN_RECEIVED, State.ESTABLISHED, State.CLOSE_WAIT))


class TcpConnection:
    """A connection made by :meth:`Stack.connect_tcp` or :meth:`TcpListener.accept`.

    ``send``, ``recv``, ``shutdown_write``, ``close`` and ``abort`` never block; ``writable`` and ``readable``
    tell bytes; the stack's ``take_changed`` tells when to look again. ``error`` is set when the connection
    ended other than by FIN: :class:`~smolmix_web.errors.ConnectionRefused`,
    :class:`~smolmix_web.errors.ConnectionReset`, :class:`~smolmix_web.errors.DeadlineError` (phases
    ``connect``, ``acknowledgement``, ``keep-alive``), :class:`~smolmix_web.errors.Unreachable`.
    """

    __slots__ = (
        "_acks",
        "_challenge_at",
        "_closed_by_user",
        "_deadline",
        "_echo_seen",
        "_heard_at",
        "_keepalive_due",
        "_keepalives",
        "_last_ack_sent",
        "_local_mss",
        "_offered_scale",
        "_opened_at",
        "_passive",
        "_peer_mss",
        "_receive_scale",
        "_rx",
        "_sack",
        "_send_scale",
        "_stack",
        "_syn_at",
        "_syn_due",
        "_syns",
        "_timestamps",
        "_ts_offset",
        "_ts_recent",
        "_ts_recent_at",
        "_tx",
        "_writer_waits",
        "deferred",
        "error",
        "flow",
        "listener",
        "options",
        "queued",
        "scheduled_at",
        "soft_error",
        "state",
        "woken",
    )

    def __init__(self, stack: Stack, flow: Flow, options: TcpOptions, now: float) -> None:
        self._stack = stack
        self.flow = flow
        self.options = options
        self.state = State.CLOSED
        self.error: SmolmixError | None = None
        self.soft_error: SmolmixError | None = None
        self._ts_offset = int.from_bytes(stack.random_bytes(4), "big")
        self._local_mss = min(flow.mtu - flow.header_size - 20, options.max_segment_size or 65_535)
        self._tx = Sender(options, stack.initial_sequence(flow, now), self._local_mss)
        self._rx = Receiver(options.receive_buffer_initial, options.receive_buffer_limit, self._local_mss)
        self._acks = AckPolicy(options.sparse_acks)
        self._timestamps = False
        self._sack = False
        self._send_scale = 0
        self._receive_scale = 0
        self._offered_scale = _scale_for(options.receive_buffer_limit)
        self._ts_recent = 0
        self._ts_recent_at = now
        self._last_ack_sent = 0
        self._passive = False
        self._syn_due = False
        self._keepalive_due = False
        self._keepalives = 0
        self._writer_waits = False
        self._peer_mss = DEFAULT_MSS[flow.version]
        self._echo_seen = -1
        self._heard_at = now
        self._opened_at = now
        self._syns = 0
        self._challenge_at = -1e9
        self._closed_by_user = False
        self._deadline = NEVER  # TIME-WAIT, FIN-WAIT-2
        self._syn_at = NEVER
        # bookkeeping of the stack
        self.queued = False
        self.woken = False
        self.scheduled_at = NEVER
        self.listener: object | None = None
        self.deferred = False

    # -- what users see ----------------------------------------------------------------------------

    @property
    def local(self) -> tuple[str, int]:
        """Our address and port; on an exit, the ones the client aimed at."""
        return self.flow.local

    @property
    def remote(self) -> tuple[str, int]:
        return self.flow.remote

    def __repr__(self) -> str:
        (host, port), (peer, peer_port) = self.local, self.remote
        return f"<TcpConnection {host}:{port} {peer}:{peer_port} {self.state.value}>"

    def writable(self) -> int:
        """Bytes that :meth:`send` would take now."""
        if self.error is not None or self.state not in _WRITABLE or self._tx.fin_wanted:
            return 0
        room = self._tx.writable()
        if not room:
            self._writer_waits = True
        return room

    def _tell_writer(self) -> None:
        """A writer found no room; wake it when a useful amount is free."""
        if self._tx.writable() >= _WRITER_LOW_WATER:
            self._writer_waits = False
            self._stack.changed.add(self)

    def readable(self) -> int:
        """Bytes that :meth:`recv` would return now."""
        return len(self._rx.queue)

    @property
    def eof_received(self) -> bool:
        """The peer sent FIN and everything before it has been read."""
        rx = self._rx
        return rx.fin is not None and rx.nxt > rx.fin and not rx.queue

    receive_ended = eof_received

    @property
    def unsent(self) -> int:
        """Bytes written and not yet acknowledged."""
        return len(self._tx.buffer)

    def send(self, data: bytes | bytearray | memoryview, now: float) -> int:
        """Queue as much of ``data`` as there is room for; the number of bytes taken.

        :raises LocalProtocolError: after ``shutdown_write`` or ``close``.
        :raises SmolmixError: the connection failed (its ``error``).
        """
        if self.error is not None:
            raise self.error
        if self._tx.fin_wanted:
            raise LocalProtocolError("send after the writing side was closed")
        if self.state not in _WRITABLE:
            return 0
        taken = self._tx.write(data)
        if taken < len(data):
            self._writer_waits = True
        if taken:
            self._stack.wake(self)
        return taken

    def recv(self, max_bytes: int, now: float) -> bytes:
        """Up to ``max_bytes`` of what has arrived in order; empty when nothing has."""
        rx = self._rx
        data = rx.take(max_bytes)
        if data and self.state is not State.CLOSED:
            self._stack.receive_memory -= len(data)
            if rx.fin is None and self.state in _RECEIVING and rx.window_would_open():
                self._acks.due = True
                self._stack.wake(self)
        return data

    def shutdown_write(self, now: float) -> None:
        """Half-close: FIN follows the queued bytes; reading goes on. During the handshake, FIN waits for its
        end."""
        if self._tx.fin_wanted or self.state in (State.CLOSED, State.LISTEN):
            return
        self._tx.fin_wanted = True
        if self.state is State.ESTABLISHED:
            self.state = State.FIN_WAIT_1
        elif self.state is State.CLOSE_WAIT:
            self.state = State.LAST_ACK
        self._stack.wake(self)

    def close(self, now: float) -> None:
        """The user reads no more: queued bytes and FIN are still delivered. Unread data makes it an abort
        (RFC 9293 section 3.6.1, RFC 2525 section 2.17)."""
        if self.deferred:
            self.refuse(now)
            return
        if self._rx.queue and self.state not in (State.CLOSED, State.TIME_WAIT):
            self.abort(now)
            return
        self._closed_by_user = True
        if self.state is State.SYN_SENT and not self._tx.buffer:
            self._finish(None)
            return
        self.shutdown_write(now)
        if self.state is State.FIN_WAIT_2:
            self._deadline = now + self._stack.config.fin_wait_2
            self._stack.wake(self)

    def abort(self, now: float) -> None:
        """RST, and everything queued is dropped (RFC 9293 section 3.10.5)."""
        if self.deferred:
            self.refuse(now)
            return
        if self.state in (
            State.SYN_RECEIVED,
            State.ESTABLISHED,
            State.FIN_WAIT_1,
            State.FIN_WAIT_2,
            State.CLOSE_WAIT,
        ):
            self._send_reset()
        self._closed_by_user = True
        self._finish(None)

    def accept_syn(self, now: float) -> None:
        """For a connection of a deferred listener: let SYN/ACK leave. :raises LocalProtocolError: not
        pending."""
        if not self.deferred:
            raise LocalProtocolError("accept_syn: the connection does not wait for it")
        self.deferred = False
        self._opened_at = now
        self._syn_due = True
        self._stack.wake(self)

    def refuse(self, now: float) -> None:
        """For a connection of a deferred listener: answer the SYN with RST."""
        if not self.deferred:
            raise LocalProtocolError("refuse: the connection does not wait for it")
        self.deferred = False
        self._emit_raw(0, self._rx.nxt, RST | ACK)
        self._finish(None)

    # -- opening -----------------------------------------------------------------------------------

    def open_active(self, now: float) -> None:
        """SYN leaves with the next packets."""
        self.state = State.SYN_SENT
        self._tx.nxt = self._tx.iss + 1
        self._syn_due = True
        self._stack.wake(self)

    def open_passive(self, segment: Segment, now: float, deferred: bool) -> None:
        """A SYN arrived for a listener."""
        self.state = State.SYN_RECEIVED
        self._passive = True
        self._tx.nxt = self._tx.iss + 1
        self._take_syn(segment, now)
        self.deferred = deferred
        if not deferred:
            self._syn_due = True
        self._stack.wake(self)

    def _take_syn(self, segment: Segment, now: float) -> None:
        """Agree on the options of the peer's SYN and take over its sequence number."""
        rx, tx, options = self._rx, self._tx, self.options
        rx.open(segment.seq)
        self._last_ack_sent = rx.nxt
        peer_mss = max(segment.mss if segment.mss is not None else DEFAULT_MSS[self.flow.version], _MIN_MSS)
        if options.timestamps and segment.timestamps is not None:
            self._timestamps = True
            self._ts_recent = segment.timestamps[0]
            self._ts_recent_at = now
        self._sack = tx.sack_ok = options.sack and segment.sack_permitted
        if options.window_scale and segment.window_scale is not None:
            self._send_scale = segment.window_scale
            self._receive_scale = self._offered_scale
        else:
            rx.limit = min(rx.limit, 65_535)
            rx.capacity = min(rx.capacity, 65_535)
        rx.capacity = min(rx.capacity, 65_535) if not self._receive_scale else rx.capacity
        rx.edge = rx.nxt + min(rx.capacity, 65_535)
        rx.mss = self._local_mss
        self._peer_mss = peer_mss
        self._set_payload_size(min(peer_mss, self._local_mss))
        # A window in a segment with SYN is never scaled (RFC 7323 section 2.2).
        tx.wnd = tx.max_wnd = segment.window
        tx.wl1, tx.wl2 = rx.nxt - 1, tx.una

    def _set_payload_size(self, mss: int) -> None:
        # The MSS option leaves options out of account, the sender takes them off (RFC 6691).
        payload = mss - TIMESTAMPS_SIZE if self._timestamps else mss
        fresh = self._tx.una == self._tx.iss
        self._tx.set_mss(max(payload, 1))
        if fresh:
            cc = self._tx.cc
            cc.window = cc.initial_window = min(cc.window, self.options.initial_window_segments * payload)

    # -- a segment arrives -------------------------------------------------------------------------

    def receive(self, segment: Segment, now: float) -> None:
        """RFC 9293 section 3.10.7.3 and 3.10.7.4."""
        if self.state is State.SYN_SENT:
            self._arrives_in_syn_sent(segment, now)
        elif self.deferred:
            self._arrives_while_deferred(segment, now)
        else:
            self._arrives(segment, now)

    def _arrives_in_syn_sent(self, segment: Segment, now: float) -> None:
        tx, flags = self._tx, segment.flags
        ack = unwrap(segment.ack, tx.nxt)
        acceptable = bool(flags & ACK) and tx.iss < ack <= tx.nxt
        if flags & ACK and not acceptable:
            if not flags & RST:
                self._emit_raw(segment.ack, 0, RST)
            return
        if flags & RST:
            if acceptable:
                self._finish(ConnectionRefused("the destination answered with a reset"))
            return
        if not flags & SYN:
            return
        if acceptable and segment.timestamps is not None and not self._echo_plausible(segment, now):
            return
        self._take_syn(segment, now)
        self._heard_at = now
        if acceptable:
            self._sample_handshake(segment, now)
            tx.una = ack
            tx.wl2 = ack
            self.state = State.FIN_WAIT_1 if tx.fin_wanted else State.ESTABLISHED
            self._syn_at = NEVER
            self._syn_due = False
            self._acks.due = True
            tx.progress_at = now
            self._stack.established(self)
            if segment.payload or flags & FIN:
                self._take_text(segment, self._rx.nxt, now)
        else:
            # Simultaneous open (section 3.5, figure 8): answer with SYN/ACK.
            self.state = State.SYN_RECEIVED
            self._syn_due = True
        self._stack.changed.add(self)
        self._stack.wake(self)

    def _echo_plausible(self, segment: Segment, now: float) -> bool:
        """RFC 7323 section 3.2: a SYN/ACK that echoes a time we have not reached is not for our SYN."""
        if not self.options.timestamps or segment.timestamps is None:
            return True
        age = (self._stamp(now) - segment.timestamps[1]) & MASK
        return age < 1 << 31

    def _sample_handshake(self, segment: Segment, now: float) -> None:
        if self._syns == 1:
            rtt = now - self._opened_at
        elif self._timestamps and segment.timestamps is not None:
            rtt = ((self._stamp(now) - segment.timestamps[1]) & MASK) / 1000
        else:
            self._tx.rtt.raise_initial(3.0)
            return
        self._tx.rtt.sample(rtt, now)
        self._acks.note_rtt(rtt)

    def _arrives_while_deferred(self, segment: Segment, now: float) -> None:
        seq = unwrap(segment.seq, self._rx.nxt)
        if segment.flags & RST and seq == self._rx.nxt:
            self._finish(ConnectionReset("the client gave up before it was answered"))

    def _arrives(self, segment: Segment, now: float) -> None:
        rx, _tx, flags = self._rx, self._tx, segment.flags
        nxt = rx.nxt
        seq = unwrap(segment.seq, nxt)
        size = len(segment.payload)
        end = seq + size + (flags & FIN) + (flags & SYN == SYN)
        stamps = segment.timestamps
        # RFC 7323 section 5.3: timestamps first.
        if self._timestamps and not flags & RST:
            if stamps is None:
                return  # section 3.2: without the option it is not part of this connection
            if before(stamps[0], self._ts_recent) and not flags & SYN:
                if self._paws_rejects(segment, seq, end, now):
                    return
            elif seq <= self._last_ack_sent:
                self._ts_recent = stamps[0]
                self._ts_recent_at = now
        # First: the sequence number.
        wnd = rx.edge - nxt
        if end == seq:
            acceptable = nxt <= seq < nxt + wnd if wnd > 0 else seq == nxt
        else:
            acceptable = wnd > 0 and end > nxt and seq < rx.edge
        if not acceptable:
            if wnd <= 0 and seq == nxt and flags & ACK and not flags & (RST | SYN):
                self._acks.due = True  # a window probe; its acknowledgement still counts
                self._stack.wake(self)
                size, end = 0, seq
                segment.payload = b""
                segment.flags = flags = flags & ~FIN
            else:
                self._unacceptable(segment, seq, end, now)
                return
        # Second: RST (RFC 5961 section 3).
        if flags & RST:
            if seq == nxt:
                self._reset_arrived()
            else:
                self._challenge(now)
            return
        # Fourth: SYN in a synchronized state (RFC 5961 section 4); a passive opener returns to LISTEN.
        if flags & SYN:
            if self.state is State.SYN_RECEIVED and self._passive:
                self._finish(ConnectionReset("a new SYN replaced the half-open connection"))
            else:
                self._challenge(now)
            return
        # Fifth: the ACK field.
        if not flags & ACK:
            return
        self._heard_at = now
        self._keepalives = 0
        if not self._take_ack(segment, seq, end, now):
            return
        # Sixth, URG: the pointer has no meaning here; urgent bytes are read in line (RFC 6093 section 5).
        # Seventh and eighth: text and FIN.
        if size or flags & FIN:
            self._take_text(segment, seq, now)
        elif self._acks.due:
            self._stack.wake(self)

    def _paws_rejects(self, segment: Segment, seq: int, end: int, now: float) -> bool:
        """An older timestamp than the last in order; whether the segment is to be dropped.

        RFC 7323 section 5.3 drops every one. That is wrong on a path that reorders heavily: a retransmission
        that fills the left edge brings a new timestamp, and all originals sent before it and still on their
        way would be thrown away. An old duplicate can be mistaken only after 2**31 bytes more have passed, so
        up to ``_PAWS_TOLERANCE`` ticks of age are no danger below 200 MB/s; older ones are dropped as the RFC
        says. Pure ACKs overtaken by newer ones are covered too: ACK and SACK only ever add.
        """
        stamps = segment.timestamps
        if stamps is None or now - self._ts_recent_at > _PAWS_AGE:
            self._ts_recent = stamps[0] if stamps else 0
            return False
        if (self._ts_recent - stamps[0]) & MASK <= _PAWS_TOLERANCE:
            self._stack.stats.reordered += 1
            return False
        self._stack.stats.paws_dropped += 1
        self._unacceptable(segment, seq, end, now)
        return True

    def _unacceptable(self, segment: Segment, seq: int, end: int, now: float) -> None:
        """Outside the window: acknowledge and drop (section 3.10.7.4, first)."""
        if segment.flags & RST:
            return
        if segment.flags & SYN and self.state is not State.TIME_WAIT:
            if self.state is State.SYN_RECEIVED and seq + 1 == self._rx.nxt:
                if segment.flags & ACK:
                    self._acks.due = True  # simultaneous open: this ACK opens the other end
                else:
                    self._syn_due = True  # our SYN/ACK was lost
                self._stack.wake(self)
            else:
                self._challenge(now)
            return
        rx = self._rx
        size = end - seq
        if size:
            if self._sack and segment.payload and end <= rx.nxt:
                rx.dsack = (seq, seq + len(segment.payload))
            self._acks.due = True
            if self.state is State.TIME_WAIT and segment.flags & FIN:
                self._deadline = now + self._stack.config.time_wait
            self._stack.wake(self)
        else:
            # Keep-alives and probes are answered, but never faster than twice a second: two confused ends
            # must not acknowledge each other's acknowledgements for ever.
            self._challenge(now)

    def _challenge(self, now: float) -> None:
        """RFC 5961 section 3.2: acknowledge, at a limited rate."""
        if now - self._challenge_at >= _CHALLENGE_INTERVAL:
            self._challenge_at = now
            self._stack.stats.challenge_acks += 1
            self._acks.due = True
            self._stack.wake(self)

    def _reset_arrived(self) -> None:
        if self.state is State.SYN_RECEIVED and not self._passive:
            self._finish(ConnectionRefused("the destination answered with a reset"))
        elif self.state in (State.CLOSING, State.LAST_ACK, State.TIME_WAIT):
            self._finish(None)
        else:
            self._finish(ConnectionReset("the peer reset the connection"))

    def _take_ack(self, segment: Segment, seq: int, end: int, now: float) -> bool:
        """Whether the segment is to be processed further."""
        tx = self._tx
        ack = unwrap(segment.ack, tx.una)
        if self.state is State.SYN_RECEIVED:
            if not tx.una < ack <= tx.nxt:
                self._emit_raw(segment.ack, 0, RST)
                return False
            self._sample_handshake(segment, now)
            tx.una = tx.iss + 1
            tx.wnd = segment.window << self._send_scale
            tx.max_wnd = max(tx.max_wnd, tx.wnd)
            tx.wl1, tx.wl2 = seq, ack
            tx.progress_at = now
            self._syn_at = NEVER
            self._syn_due = False
            self.state = State.FIN_WAIT_1 if tx.fin_wanted else State.ESTABLISHED
            self._stack.established(self)
            self._stack.changed.add(self)
            self._stack.wake(self)
        if ack > tx.nxt or ack < tx.una - max(tx.max_wnd, 65_535):
            self._challenge(now)  # RFC 5961 section 5.2
            return False
        window_changed = False
        if ack >= tx.una and (tx.wl1 < seq or (tx.wl1 == seq and tx.wl2 <= ack)):
            wnd = segment.window << self._send_scale
            if wnd != tx.wnd:
                window_changed = True
                opened = tx.una + tx.wnd < ack + wnd
                tx.wnd = wnd
                if wnd > tx.max_wnd:
                    tx.max_wnd = wnd
            else:
                opened = False
            tx.wl1, tx.wl2 = seq, ack
        else:
            opened = False
        if tx.probing_window:
            tx.progress_at = now  # an answered probe keeps the connection open for as long as the peer likes
        blocks = []
        if segment.sack and self._sack:
            una = tx.una
            blocks = [(unwrap(start, una), unwrap(stop, una)) for start, stop in segment.sack]
            blocks = [(start, stop) for start, stop in blocks if start < stop <= tx.nxt]
        if ack == tx.una == tx.nxt and not blocks and not opened:
            return True  # nothing outstanding, nothing new
        current = ack >= tx.una
        if not current:
            ack = tx.una  # overtaken by a newer one; its SACK blocks still count
        echo_age = None
        if self._timestamps and segment.timestamps is not None:
            echo_age = ((self._stamp(now) - segment.timestamps[1]) & MASK) / 1000
        tx.release(ack)
        tx.on_ack(
            ack,
            blocks,
            echo_age,
            now,
            duplicate=current and end == seq and not window_changed and not tx.probing_window,
            current=current,
        )
        if opened:
            tx.window_opened(now)
        stack = self._stack
        if self._writer_waits:
            self._tell_writer()
        if tx.fin_wanted and tx.all_acked:
            self._fin_acked(now)
        stack.wake(self)
        return True

    def _fin_acked(self, now: float) -> None:
        if self.state is State.FIN_WAIT_1:
            self.state = State.FIN_WAIT_2
            if self._closed_by_user:
                self._deadline = now + self._stack.config.fin_wait_2
        elif self.state is State.CLOSING:
            self._enter_time_wait(now)
        elif self.state is State.LAST_ACK:
            self._finish(None)
        self._stack.changed.add(self)

    def _take_text(self, segment: Segment, seq: int, now: float) -> None:
        """Seventh and eighth steps: text, then FIN."""
        rx, stack = self._rx, self._stack
        payload, fin = segment.payload, segment.flags & FIN
        if self.state not in _RECEIVING:
            self._acks.due = True  # after the peer's FIN only retransmissions come
            stack.wake(self)
            return
        if payload:
            if self._closed_by_user and self.state is not State.ESTABLISHED and seq + len(payload) > rx.nxt:
                # Section 3.6.1: nobody will read it; tell the peer.
                self._send_reset()
                self._finish(None)
                return
            if rx.fin is not None and seq + len(payload) > rx.fin:
                payload = payload[: max(rx.fin - seq, 0)]
            self._take_payload(seq, payload, segment.timestamps, now)
        if fin:
            position = seq + len(segment.payload)
            if (
                rx.fin is None
                and position <= rx.edge
                and position >= rx.nxt
                and not (rx.islands.ends and rx.islands.ends[-1] > position)
            ):
                rx.fin = position
            self._acks.due = True
        if rx.fin is not None and rx.nxt == rx.fin:
            rx.nxt += 1
            self._fin_arrived(now)
        stack.wake(self)

    def _take_payload(self, seq: int, payload: bytes, stamps: tuple[int, int] | None, now: float) -> None:
        rx, stack = self._rx, self._stack
        held = len(rx.queue) + rx.pieces_size
        hole = bool(rx.pieces)
        if stack.receive_memory >= stack.config.receive_memory_limit and seq != rx.nxt:
            stack.stats.memory_dropped += 1
            return
        if stack.receive_memory >= 2 * stack.config.receive_memory_limit:
            stack.stats.memory_dropped += 1
            return
        moved = rx.insert(seq, payload)
        stack.receive_memory += len(rx.queue) + rx.pieces_size - held
        if stack.buffers_may_grow() and rx.tune(
            seq + len(payload), now, self._acks.rtt or self._tx.rtt.smoothed
        ):
            self._acks.due = True
        if moved:
            stack.changed.add(self)
            if stamps is not None and self._timestamps:
                self._note_receiver_rtt(stamps[1], now)
        if not self._sack:
            rx.dsack = None if moved else rx.dsack
        self._acks.data_arrived(rx, len(payload), moved and not hole, now)

    def _note_receiver_rtt(self, echo: int, now: float) -> None:
        """The first data that echoes a new timestamp of ours tells a receiver the round trip (RFC 7323
        section 4)."""
        if echo != self._echo_seen:
            self._echo_seen = echo
            age = (self._stamp(now) - echo) & MASK
            if age < 60_000:
                self._acks.note_rtt(max(age, 1) / 1000)

    def _fin_arrived(self, now: float) -> None:
        self._stack.changed.add(self)
        if self.state is State.ESTABLISHED:
            self.state = State.CLOSE_WAIT
        elif self.state is State.FIN_WAIT_1:
            self.state = State.CLOSING
        elif self.state is State.FIN_WAIT_2:
            self._enter_time_wait(now)

    def _enter_time_wait(self, now: float) -> None:
        self.state = State.TIME_WAIT
        self._deadline = now + self._stack.config.time_wait
        self._tx.rtx_at = self._tx.reo_at = self._tx.persist_at = NEVER
        self._stack.entered_time_wait(self)
        self._stack.changed.add(self)
        self._stack.wake(self)

    # -- ends --------------------------------------------------------------------------------------

    def _finish(self, error: SmolmixError | None) -> None:
        """CLOSED: forget the peer; what was received in order stays readable."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self.error = error
        self.deferred = False
        tx, rx = self._tx, self._rx
        # What is left to be read belongs to the user now and no longer counts.
        self._stack.receive_memory -= rx.held
        if self._closed_by_user:
            rx.queue = bytearray()
        rx.drop_all()
        tx.buffer = bytearray()
        tx.base = tx.end
        tx.rtx_at = tx.reo_at = tx.persist_at = self._syn_at = self._deadline = NEVER
        self._acks.due, self._acks.at = False, NEVER
        self._syn_due = self._keepalive_due = False
        self._stack.remove(self)
        self._stack.changed.add(self)

    def fail_silently(self) -> None:
        """Leave TIME-WAIT early."""
        self._finish(None)

    def is_newer(self, segment: Segment) -> bool:
        """Whether a SYN that arrives in TIME-WAIT certainly starts a new connection (RFC 6191 section 2)."""
        if self._timestamps and segment.timestamps is not None and segment.timestamps[0] != self._ts_recent:
            return before(self._ts_recent, segment.timestamps[0])
        return unwrap(segment.seq, self._rx.nxt) > self._rx.nxt

    def fail(self, error: SmolmixError) -> None:
        """The stack ends the connection (an ICMP error during the handshake, the tunnel closing)."""
        if self.state is not State.CLOSED:
            self._finish(error)

    def icmp_error(self, error: SmolmixError, seq: int, hard: bool) -> None:
        """An ICMP error quotes our segment ``seq`` (RFC 5461 section 4: hard only before the connection
        stands)."""
        if not self.quotes_outstanding(seq):
            return
        if hard and self.state in (State.SYN_SENT, State.SYN_RECEIVED):
            self._finish(error)
        else:
            self.soft_error = error

    def quotes_outstanding(self, seq: int) -> bool:
        """Whether an ICMP error quotes a sequence number that is in flight (RFC 5927 section 4.1)."""
        tx = self._tx
        return tx.una <= unwrap(seq, tx.una) < max(tx.nxt, tx.una + 1)

    def path_mtu_changed(self, mtu: int) -> None:
        """The path to the peer takes packets of ``mtu`` bytes at most."""
        tx = self._tx
        mss = min(mtu - self.flow.header_size - 20, self._peer_mss, self._local_mss)
        if mss - (TIMESTAMPS_SIZE if self._timestamps else 0) < tx.mss:
            self._set_payload_size(max(mss, _MIN_MSS))
            for record in tx.board.from_first():
                if record.end - record.seq > tx.mss:
                    tx.board.mark_lost(record)
            self._stack.wake(self)

    # -- time --------------------------------------------------------------------------------------

    def poll_at(self) -> float:
        """The earliest instant at which :meth:`handle_timer` has something to do; infinite if never."""
        tx = self._tx
        tx.settle_timer()
        deadline = min(tx.rtx_at, tx.reo_at, tx.persist_at, self._acks.at, self._syn_at, self._deadline)
        if tx.paced_out and tx.pace_at < deadline:
            deadline = tx.pace_at
        if self.deferred:
            deadline = min(deadline, self._opened_at + self.options.connect_timeout)
        if self.options.keepalive_idle is not None:
            deadline = min(deadline, self._keepalive_at())
        return deadline

    def _keepalive_at(self) -> float:
        idle = self.options.keepalive_idle
        if idle is None or self.state not in (State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_2):
            return NEVER
        if self._tx.una != self._tx.nxt:
            return NEVER  # retransmission watches the peer
        return self._heard_at + idle + self._keepalives * self.options.keepalive_interval

    def handle_timer(self, now: float) -> None:
        tx, options = self._tx, self.options
        if now >= self._deadline:
            self._finish(None)
            return
        if self.deferred:
            if now >= self._opened_at + options.connect_timeout:
                self._finish(DeadlineError("connect", options.connect_timeout))
            return
        if now >= self._syn_at:
            self._syn_at = NEVER
            if now - self._opened_at >= options.connect_timeout:
                self._finish(self.soft_error or DeadlineError("connect", options.connect_timeout))
                return
            tx.rtt.back_off()
            self._syn_due = True
        tx.settle_timer()
        tx.paced_out = False
        if self._acks.at <= now:
            self._acks.due, self._acks.at = True, NEVER
        if now >= min(tx.rtx_at, tx.reo_at, tx.persist_at):
            if (len(tx.board) or tx.probing_window) and now - tx.progress_at >= options.user_timeout:
                self._send_reset()
                self._finish(self.soft_error or DeadlineError("acknowledgement", options.user_timeout))
                return
            tx.handle_timer(now)
        if options.keepalive_idle is not None and now >= self._keepalive_at():
            if self._keepalives >= options.keepalive_count:
                waited = options.keepalive_idle + options.keepalive_interval * options.keepalive_count
                self._send_reset()
                self._finish(self.soft_error or DeadlineError("keep-alive", waited))
                return
            self._keepalives += 1
            self._keepalive_due = True
        self._stack.wake(self)

    # -- a segment leaves --------------------------------------------------------------------------

    def next_packet(self, now: float) -> bytes | None:
        """The next packet to send at ``now``, or ``None``. Pure ACKs are made here, at the last moment, so
        that an ACK never waits behind a newer one."""
        if self._syn_due:
            return self._emit_syn(now)
        tx, acks = self._tx, self._acks
        state = self.state
        if state in _SYNCHRONIZED_SENDING:
            record = tx.take_probe()
            if record is None:
                room = tx.mss
                if self._rx.islands.starts and acks.pending:
                    room -= 4 + 8 * min(len(self._rx.islands), 3)
                record = tx.next_segment(now, max(room, 1))
            if record is not None:
                if self._writer_waits:
                    # Room is counted in unsent data, so it grows here and not only with an ACK.
                    self._tell_writer()
                return self._emit_record(record, now)
        if acks.due and state not in (State.CLOSED, State.LISTEN, State.SYN_SENT) and not self.deferred:
            return self._emit(tx.nxt, ACK, b"", now)
        if self._keepalive_due:
            self._keepalive_due = False
            # RFC 9293 section 3.8.4: an old sequence number makes the peer answer.
            return self._emit(tx.nxt - 1, ACK, b"", now)
        return None

    def _stamp(self, now: float) -> int:
        """Our timestamp clock: milliseconds from a random start (RFC 7323 section 5.4 and 7.1)."""
        return (int(now * 1000) + self._ts_offset) & MASK

    def _emit_syn(self, now: float) -> bytes:
        tx, rx = self._tx, self._rx
        self._syn_due = False
        if self._syns == 0:
            self._opened_at = now if self.state is State.SYN_SENT else self._opened_at
        self._syns += 1
        self._syn_at = min(now + tx.rtt.rto, self._opened_at + self.options.connect_timeout)
        answer = self.state is State.SYN_RECEIVED
        options = self.options
        blob = build_options(
            mss=self._local_mss,
            window_scale=self._offered_scale
            if options.window_scale and (not answer or self._receive_scale or self._send_scale)
            else None,
            sack_permitted=self._sack if answer else options.sack,
            timestamps=(self._stamp(now), self._ts_recent if answer else 0)
            if (self._timestamps if answer else options.timestamps)
            else None,
        )
        if answer:
            self._last_ack_sent = rx.nxt
            self._acks.sent(now)
        return self.flow.packet(
            build_segment(
                self.flow.pseudo,
                self.flow.local_port,
                self.flow.remote_port,
                tx.iss,
                rx.nxt if answer else 0,
                SYN | ACK if answer else SYN,
                min(rx.capacity, 65_535),
                blob,
            )
        )

    def _emit_record(self, record: Sent, now: float) -> bytes:
        tx = self._tx
        end = tx.end
        flags = ACK
        stop = record.end
        if stop > end:
            flags |= FIN
            stop = end
        if stop == end:
            flags |= PSH
        return self._emit(record.seq, flags, tx.payload(record.seq, stop), now)

    def _emit(self, seq: int, flags: int, payload: bytes | bytearray, now: float) -> bytes:
        rx, flow = self._rx, self.flow
        window = min(rx.window() >> self._receive_scale, 65_535)
        if self._timestamps:
            if rx.islands.starts or rx.dsack is not None:
                blob = self._options_with_sack(len(payload), now)
            else:
                blob = build_timestamps((int(now * 1000) + self._ts_offset) & MASK, self._ts_recent)
        else:
            blob = self._options_with_sack(len(payload), now) if self._sack else b""
        self._last_ack_sent = rx.nxt
        self._acks.sent(now)
        return flow.packet(
            build_segment(
                flow.pseudo, flow.local_port, flow.remote_port, seq, rx.nxt, flags, window, blob, payload
            )
        )

    def _options_with_sack(self, size: int, now: float) -> bytes:
        stamps = (self._stamp(now), self._ts_recent) if self._timestamps else None
        room = 3 if self._timestamps else 4
        spare = self._tx.mss - size
        if size:
            room = min(room, max(spare - 4, 0) // 8)
        blocks = self._rx.sack_blocks(room) if self._sack and room else ()
        return build_options(timestamps=stamps, sack=blocks)

    def _emit_raw(self, seq: int, ack: int, flags: int) -> None:
        """A segment without state, through the stack's own queue."""
        flow = self.flow
        self._stack.send_control(
            flow.packet(build_segment(flow.pseudo, flow.local_port, flow.remote_port, seq, ack, flags, 0))
        )

    def _send_reset(self) -> None:
        self._emit_raw(self._tx.nxt, self._rx.nxt, RST | ACK)


def _scale_for(limit: int) -> int:
    """The smallest shift by which a window of ``limit`` bytes fits 16 bits (RFC 7323 section 2.2)."""
    shift = 0
    while limit >> shift > 65_535 and shift < 14:
        shift += 1
    return shift
