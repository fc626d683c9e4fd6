"""The handshake: SYNs sent and received, simultaneous and deferred openings, and what both ends agree on."""

from __future__ import annotations

from smolmix_web.errors import ConnectionRefused, ConnectionReset, LocalProtocolError
from smolmix_web.net.tcp.block import DEFAULT_MSS, MIN_MSS
from smolmix_web.net.tcp.flight import NEVER
from smolmix_web.net.tcp.segment import ACK, FIN, RST, SYN, Segment
from smolmix_web.net.tcp.sequence import MASK, unwrap
from smolmix_web.net.tcp.state import State
from smolmix_web.net.tcp.text import Text


class Opening(Text):
    """See the module."""

    __slots__ = ()

    def open_active(self, now: float) -> None:
        """SYN leaves with the next packets."""
        self.state = State.SYN_SENT
        self._tx.nxt = self._tx.iss + 1
        self._syn_due = True
        self._wake()

    def open_passive(self, segment: Segment, now: float, deferred: bool) -> None:
        """A SYN arrived for a listener."""
        self.state = State.SYN_RECEIVED
        self._passive = True
        self._tx.nxt = self._tx.iss + 1
        self._take_syn(segment, now)
        self.deferred = deferred
        if not deferred:
            self._syn_due = True
        self._wake()

    def accept_syn(self, now: float) -> None:
        """For a connection of a deferred listener: let SYN/ACK leave. :raises LocalProtocolError: not
        pending."""
        if not self.deferred:
            raise LocalProtocolError("accept_syn: the connection does not wait for it")
        self.deferred = False
        self._opened_at = now
        self._syn_due = True
        self._wake()

    def refuse(self, now: float) -> None:
        """For a connection of a deferred listener: answer the SYN with RST."""
        if not self.deferred:
            raise LocalProtocolError("refuse: the connection does not wait for it")
        self.deferred = False
        self._emit_raw(0, self._rx.nxt, RST | ACK)
        self._finish(None)

    def _take_syn(self, segment: Segment, now: float) -> None:
        """Agree on the options of the peer's SYN and take over its sequence number."""
        rx, tx, options = self._rx, self._tx, self.options
        rx.open(segment.seq)
        self._last_ack_sent = rx.nxt
        peer_mss = max(segment.mss if segment.mss is not None else DEFAULT_MSS[self.flow.version], MIN_MSS)
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

    def _arrives_in_syn_sent(self, segment: Segment, now: float) -> None:
        tx, flags = self._tx, segment.flags
        ack = unwrap(segment.ack, tx.nxt)
        acceptable = bool(flags & ACK) and tx.iss < ack <= tx.nxt
        if flags & ACK and not acceptable:
            if not flags & RST:
                self._answer_with_reset(segment, now)
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
            self._stack.established(self._whole)
            if segment.payload or flags & FIN:
                self._take_text(segment, self._rx.nxt, now)
        else:
            # Simultaneous open (section 3.5, figure 8): answer with SYN/ACK.
            self.state = State.SYN_RECEIVED
            self._syn_due = True
        self._tell_user()
        self._wake()

    def _arrives_while_deferred(self, segment: Segment, now: float) -> None:
        seq = unwrap(segment.seq, self._rx.nxt)
        if segment.flags & RST and seq == self._rx.nxt:
            self._finish(ConnectionReset("the client gave up before it was answered"))

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
