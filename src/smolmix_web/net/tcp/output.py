"""A segment leaves: which one, and how it is built, at the last moment before it is put on the link."""

from __future__ import annotations

from smolmix_web.net.tcp.block import ControlBlock
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
from smolmix_web.net.tcp.sequence import MASK
from smolmix_web.net.tcp.state import SENDING, State

_WRITER_LOW_WATER = 16 * 1024  # bytes of room before a waiting writer is woken


class Output(ControlBlock):
    """See the module."""

    __slots__ = ()

    def next_packet(self, now: float) -> bytes | None:
        """The next packet to send at ``now``, or ``None``. Pure ACKs are made here, at the last moment, so
        that an ACK never waits behind a newer one."""
        if self._syn_due:
            return self._emit_syn(now)
        tx, acks = self._tx, self._acks
        state = self.state
        if state in SENDING:
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

    def _tell_writer(self) -> None:
        """A writer found no room; wake it when a useful amount is free."""
        if self._tx.writable() >= _WRITER_LOW_WATER:
            self._writer_waits = False
            self._tell_user()

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
        window = min(rx.window(self._stack.memory.roomy) >> self._receive_scale, 65_535)
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

    def _answer_with_reset(self, segment: Segment, now: float) -> None:
        """Reset for an unacceptable ACK of a half-open connection (RFC 9293 section 3.10.7.3, first), at the
        rate of all answers that strangers can provoke."""
        if self._stack.may_answer(now):
            self._stack.stats.resets_sent += 1
            self._emit_raw(segment.ack, 0, RST)

    def _send_reset(self) -> None:
        self._emit_raw(self._tx.nxt, self._rx.nxt, RST | ACK)

    def _set_payload_size(self, mss: int) -> None:
        # The MSS option leaves options out of account, the sender takes them off (RFC 6691).
        payload = mss - TIMESTAMPS_SIZE if self._timestamps else mss
        fresh = self._tx.una == self._tx.iss
        self._tx.set_mss(max(payload, 1))
        if fresh:
            cc = self._tx.cc
            cc.window = cc.initial_window = min(cc.window, self.options.initial_window_segments * payload)
