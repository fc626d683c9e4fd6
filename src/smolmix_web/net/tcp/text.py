"""An acceptable segment's text and FIN (RFC 9293 section 3.10.7.4, seventh and eighth step)."""

from __future__ import annotations

from smolmix_web.net.tcp.output import Output
from smolmix_web.net.tcp.receive import PIECE_OVERHEAD
from smolmix_web.net.tcp.segment import FIN, Segment
from smolmix_web.net.tcp.sequence import MASK
from smolmix_web.net.tcp.state import RECEIVING, State


class Text(Output):
    """See the module."""

    __slots__ = ()

    def _take_text(self, segment: Segment, seq: int, now: float) -> None:
        """Seventh and eighth steps: text, then FIN."""
        rx = self._rx
        payload, fin = segment.payload, segment.flags & FIN
        if self.state not in RECEIVING:
            self._acks.due = True  # after the peer's FIN only retransmissions come
            self._wake()
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
        self._wake()

    def _take_payload(self, seq: int, payload: bytes, stamps: tuple[int, int] | None, now: float) -> None:
        rx, stack = self._rx, self._stack
        memory = stack.memory
        held = len(rx.queue) + rx.pieces_size
        hole = bool(rx.pieces)
        if not self._may_keep(seq, len(payload), held):
            stack.stats.memory_dropped += 1
            return
        moved = rx.insert(seq, payload)
        memory.used += len(rx.queue) + rx.pieces_size - held
        if memory.roomy and rx.tune(seq + len(payload), now, self._acks.rtt or self._tx.rtt.smoothed):
            self._acks.due = True
        if moved:
            self._tell_user()
            if stamps is not None and self._timestamps:
                self._note_receiver_rtt(stamps[1], now)
        if not self._sack:
            rx.dsack = None if moved else rx.dsack
        self._acks.data_arrived(rx, len(payload), moved and not hole, now)

    def _may_keep(self, seq: int, size: int, held: int) -> bool:
        """Whether the limits of the stack and of this connection allow to keep a segment's text."""
        rx = self._rx
        in_order = seq <= rx.nxt
        if not in_order:
            # It becomes a piece for each gap that it fills. Islands of a few bytes, which cost many times
            # what the window says, must not add up to more than twice the buffer.
            size += PIECE_OVERHEAD * (1 + rx.islands.count(seq, seq + size))
            if rx.pieces_size + size > 2 * rx.capacity:
                return False
        return self._stack.memory.admits(size, held, in_order)

    def _note_receiver_rtt(self, echo: int, now: float) -> None:
        """The first data that echoes a new timestamp of ours tells a receiver the round trip (RFC 7323
        section 4)."""
        if echo != self._echo_seen:
            self._echo_seen = echo
            age = (self._stamp(now) - echo) & MASK
            if age < 60_000:
                self._acks.note_rtt(max(age, 1) / 1000)

    def _fin_arrived(self, now: float) -> None:
        self._tell_user()
        if self.state is State.ESTABLISHED:
            self.state = State.CLOSE_WAIT
        elif self.state is State.FIN_WAIT_1:
            self.state = State.CLOSING
        elif self.state is State.FIN_WAIT_2:
            self._enter_time_wait(now)
