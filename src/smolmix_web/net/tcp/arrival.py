"""A segment arrives for a synchronized connection: the checks of RFC 9293 section 3.10.7.4 in their order.

Read RFC 5961 (RST, SYN and ACK that somebody else may have sent) and RFC 7323 section 5 (PAWS) beside it.
"""

from __future__ import annotations

from smolmix_web.errors import ConnectionRefused, ConnectionReset
from smolmix_web.net.tcp.flight import NEVER
from smolmix_web.net.tcp.opening import Opening
from smolmix_web.net.tcp.segment import ACK, FIN, RST, SYN, Segment
from smolmix_web.net.tcp.sequence import MASK, before, unwrap
from smolmix_web.net.tcp.state import State

_CHALLENGE_INTERVAL = 0.5  # RFC 5961 section 7, per connection as in Linux
_PAWS_TOLERANCE = 10_000  # ticks; current systems tick in milliseconds
_PAWS_AGE = 24 * 86_400.0  # RFC 7323 section 5.5


class Arrival(Opening):
    """See the module."""

    __slots__ = ()

    def receive(self, segment: Segment, now: float) -> None:
        """RFC 9293 section 3.10.7.3 and 3.10.7.4."""
        if self.state is State.SYN_SENT:
            self._arrives_in_syn_sent(segment, now)
        elif self.deferred:
            self._arrives_while_deferred(segment, now)
        else:
            self._arrives(segment, now)

    def _arrives(self, segment: Segment, now: float) -> None:
        rx, flags = self._rx, segment.flags
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
                self._wake()
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
            self._wake()

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
                self._wake()
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
            self._wake()
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
            self._wake()

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
                self._answer_with_reset(segment, now)
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
            self._stack.established(self._whole)
            self._tell_user()
            self._wake()
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
        if self._writer_waits:
            self._tell_writer()
        if tx.fin_wanted and tx.all_acked:
            self._fin_acked(now)
        self._wake()
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
        self._tell_user()

    def is_newer(self, segment: Segment) -> bool:
        """Whether a SYN that arrives in TIME-WAIT certainly starts a new connection (RFC 6191 section 2)."""
        if self._timestamps and segment.timestamps is not None and segment.timestamps[0] != self._ts_recent:
            return before(self._ts_recent, segment.timestamps[0])
        return unwrap(segment.seq, self._rx.nxt) > self._rx.nxt
