"""The sending half: the queue, the peer's window, what to send next, and loss recovery.

Sequence numbers are unbounded. The buffer holds the bytes from ``base`` on; a FIN takes the number behind the
last. :meth:`Sender.next_segment` answers "what now?" in this order: a forced retransmission or probe, lost
segments, new data, each as far as the congestion window, pacing and the peer's window allow.
:meth:`Sender.on_ack` is the other entrance; timers are plain instants (``rtx_at`` and so on) which
:meth:`Sender.handle_timer` compares with ``now``.

Recovery: RACK-TLP when SACK was agreed, else NewReno (RFC 6582). An episode ("fast" or "timeout") lasts until
all that was outstanding at its start is acknowledged; it is undone when timestamps (Eifel, RFC 3522), D-SACKs
for every retransmission (RFC 3708), or originals arriving after a time-out (F-RTO, RFC 5682) show that
nothing was lost.
"""

from __future__ import annotations

from smolmix_web.net.config import TcpOptions
from smolmix_web.net.tcp.congestion import AckSample, create
from smolmix_web.net.tcp.delivery import DeliveryRate
from smolmix_web.net.tcp.rack import Rack
from smolmix_web.net.tcp.rtt import MAX_RTO, RttEstimator
from smolmix_web.net.tcp.scoreboard import Scoreboard, Sent

NEVER = float("inf")
_MIN_UNSENT = 64 * 1024
_WORST_DELAYED_ACK = 0.2  # RFC 8985 section 7.2, WCDelAckT


class Sender:
    """One connection's outgoing stream, from ``open`` (SYN sent) to the acknowledgement of the FIN."""

    def __init__(self, options: TcpOptions, iss: int, mss: int) -> None:
        self.options = options
        self.iss = iss
        self.una = iss  # SND.UNA
        self.nxt = iss  # SND.NXT
        self.base = iss + 1  # sequence number of buffer[0]
        self.buffer = bytearray()
        self.fin_wanted = False
        self.wnd = 0  # SND.WND, scaled
        self.wl1 = 0
        self.wl2 = 0
        self.max_wnd = 0
        self.mss = mss  # payload bytes a segment, options taken off
        self.sack_ok = False
        self.timestamps_ok = False
        self.board = Scoreboard()
        self.rtt = RttEstimator()
        self.rack = Rack()
        self.rate = DeliveryRate()
        self.cc = create(options.congestion_control, mss, options.initial_window_segments)
        self._sample = AckSample()
        self.rtx_at = NEVER  # retransmission time-out or tail loss probe
        self.rtx_is_probe = False
        self.reo_at = NEVER  # RACK's reordering timer
        self.persist_at = NEVER
        self._persist_backoff = 0
        self.pace_at = 0.0
        self.paced_out = False  # next_segment had something, but not yet
        self.progress_at = 0.0  # last sign that the peer takes what we send
        self.last_sent_at = 0.0
        self.recovery: str | None = None  # "fast" or "timeout"
        self._recovery_point = 0
        self._undo_point: int | None = None
        self._undo_resends = 0
        self._credit = 0  # bytes that may be retransmitted above the window, see next_segment
        self._timeout_at = 0.0
        self._force = False  # one retransmission regardless of the window
        self._probe_end: int | None = None  # TLP.end_seq
        self._probe_resent = False
        self._dup_acks = 0
        self._window_probe: Sent | None = None
        self._cwnd_limited = False
        self.writer_waits = False  # the last write was cut short: tell when there is room again
        self.stats_retransmitted = 0
        self.stats_spurious = 0

    # -- what the application wants -------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """Sequence number behind the last byte written."""
        return self.base + len(self.buffer)

    @property
    def fin_sent(self) -> bool:
        return self.fin_wanted and self.nxt > self.end

    @property
    def all_acked(self) -> bool:
        """Including the FIN, if one is wanted."""
        return self.una == self.end + self.fin_wanted

    def writable(self) -> int:
        """Free bytes. One congestion window of unsent data waits ready, besides all that is outstanding."""
        unsent = self.end - min(self.nxt, self.end)
        room = max(self.cc.window, _MIN_UNSENT) - unsent
        return max(min(room, self.options.send_buffer_limit - len(self.buffer)), 0)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        room = self.writable()
        if len(data) > room:
            data = memoryview(data)[:room]
            self.writer_waits = True
        self.buffer += data
        return len(data)

    def payload(self, seq: int, end: int) -> bytearray:
        """The bytes of ``[seq, end)`` without the FIN's number."""
        return self.buffer[seq - self.base : end - self.base]

    # -- what to send ------------------------------------------------------------------------------

    def next_segment(self, now: float, mss: int) -> Sent | None:
        """The record to put on the wire now, already accounted for; ``None``: nothing may leave.

        :param mss: payload bytes this segment can take (SACK options leave less).
        """
        self.paced_out = False
        board = self.board
        lost = board.next_lost()
        if lost is not None:
            size = min(lost.end - lost.seq, mss)
            # While the flight shrinks to a smaller window, half of what arrives may be spent on repair
            # (proportional rate reduction, RFC 6937, for retransmissions only): holes block the reader.
            if self._force or board.in_flight + size <= self._allowance() or self._credit >= size:
                if self._paced(now):
                    return None
                return self._resend(lost, now, mss)
            return None
        self._force = False
        available = self.end - self.nxt
        if available <= 0:
            if available == 0 and self.fin_wanted and self.una + max(self.wnd, 1) > self.nxt:
                return self._send_new(self.nxt + 1, now)
            if not available and not self.fin_wanted and board.in_flight < self.cc.window:
                self.rate.app_limited(board.in_flight)
            return None
        usable = self.una + self.wnd - self.nxt
        size = min(available, mss, usable)
        if size <= 0:
            self.rate.app_limited(board.in_flight)
            self._wait_for_window(now)
            return None
        if size < mss:
            if size < available:
                # Sender's silly window avoidance, RFC 9293 section 3.8.6.2.1 (3)
                if size < self.max_wnd // 2:
                    self._wait_for_window(now)
                    return None
            elif not self.options.no_delay and self.nxt != self.una and not self.fin_wanted:
                return None  # Nagle, section 3.7.4
        if board.in_flight and board.in_flight + size > self._allowance():
            self._cwnd_limited = True
            return None
        if self._paced(now):
            return None
        fin = size == available and self.fin_wanted and usable > size
        return self._send_new(self.nxt + size + fin, now)

    def _allowance(self) -> int:
        """Congestion window, inflated by duplicate ACKs where SACK does not tell (RFC 5681 section 3.2, RFC
        3042)."""
        if self._dup_acks and not self.sack_ok:
            inflation = self._dup_acks if self.recovery else min(self._dup_acks, 2)
            return self.cc.window + inflation * self.mss
        return self.cc.window

    def _paced(self, now: float) -> bool:
        if self.cc.pacing_rate is not None and now < self.pace_at:
            self.paced_out = True
            return True
        return False

    def _sent(self, record: Sent, now: float) -> None:
        rate = self.cc.pacing_rate
        if rate is not None:
            # Up to 5 ms' worth may leave at once: timers are not finer, and bundling likes company.
            size = record.end - record.seq
            self.pace_at = max(self.pace_at, now - max(0.005, 2 * self.mss / rate)) + size / rate
        self.last_sent_at = now

    def _send_new(self, end: int, now: float) -> Sent:
        board = self.board
        record = Sent(self.nxt, end, now)
        idle = not board.in_flight
        if idle and not len(board):
            self.progress_at = now
            if self.last_sent_at:
                self.cc.on_idle(now - self.last_sent_at, self.rtt.rto)
        self.rate.sent(record, now, idle)
        board.add(record)
        self.nxt = end
        self._sent(record, now)
        self.persist_at = NEVER
        # RFC 8985 section 7.2: new data arms the probe timer.
        self._arm(now)
        return record

    def _resend(self, record: Sent, now: float, mss: int) -> Sent:
        if min(record.end, self.end) - record.seq > mss:
            self.board.split(record, record.seq + mss)
        self.rate.sent(record, now, not self.board.in_flight)
        self.board.resent(record, now)
        self._force = False
        self._credit = max(self._credit - (record.end - record.seq), 0)
        self.stats_retransmitted += 1
        if self._undo_point is not None:
            self._undo_resends += 1
        self._sent(record, now)
        self._arm(now, probe=False)
        return record

    def _wait_for_window(self, now: float) -> None:
        """Nothing in flight that could bring a window update: probe (RFC 9293 section 3.8.6.1)."""
        if not len(self.board) and self.persist_at == NEVER:
            self._persist_backoff = 0
            self.persist_at = now + max(self.rtt.rto, 0.5)

    # -- acknowledgements --------------------------------------------------------------------------

    def on_ack(
        self,
        ack: int,
        blocks: list[tuple[int, int]],
        echo_age: float | None,
        now: float,
        pure: bool,
        window_changed: bool,
        current: bool,
    ) -> int:
        """An acceptable ACK; the number of sequence numbers it advanced SND.UNA by.

        :param blocks: SACK blocks, unbounded numbers.
        :param echo_age: seconds since our clock showed TSecr, ``None`` without timestamps.
        :param current: the ACK field is not older than SND.UNA (``ack`` is never below it).
        :param pure: the segment had no text and no FIN (it may be a duplicate ACK).
        """
        board, sample = self.board, self._sample
        sample.now = now
        sample.in_flight_prior = board.in_flight
        delivered = self.rate.delivered
        advance = ack - self.una
        dsack = current and self._take_dsack(ack, blocks)
        newly: list[Sent] = []
        original_late = False
        first: Sent | None = None
        if advance > 0:
            self.una = ack
            self.progress_at = now
            self._release(ack)
            first = board.first()
            newly = board.acknowledge(ack)
            self._measure(first, echo_age, now)
            self._dup_acks = 0
            self.rtt.reset_backoff()
        elif current and pure and not (window_changed or dsack or self.probing_window) and len(board):
            self._dup_acks += 1
        for start, end in blocks:
            if ack < end <= self.nxt:
                start = max(start, ack)
                newly += board.sack(start, end)
        latest: float | None = None
        # Eifel: the left edge was filled before its retransmission left.
        first_early = (
            first is not None
            and first.transmissions > 1
            and echo_age is not None
            and echo_age > now - first.sent_at + 0.0015
        )
        first_late = newly[0] if newly and newly[0] is first else None
        bound = self.rack.bound(self.rtt)
        minimum_rtt = self.rtt.minimum
        for record in newly:
            self.rate.arrived(record, record.end - record.seq, now, minimum_rtt)
            self.rack.delivered(
                record,
                now,
                minimum_rtt,
                first_early and record is first,
                # Only at the left edge does the ACK tell when a segment arrived: what lies behind may have
                # arrived long ago without being shown in a SACK block.
                bound if record is first_late else 0.0,
            )
            if record.transmissions == 1:
                rtt = now - record.sent_at
                if latest is None or rtt < latest:
                    latest = rtt
                if record.sent_at < self._timeout_at:
                    original_late = True
        if latest is not None:
            self.rtt.note_minimum(latest, now)
            if advance <= 0:
                self.rtt.sample(latest, now)
        if self.recovery is not None:
            self._review_recovery(ack, advance, dsack, first_early, original_late, now)
        if self._probe_end is not None:
            self._review_probe(ack, dsack, now)
        lost = self._detect_loss(now) if (newly or self._dup_acks or advance > 0) and len(board) else 0
        sample.lost = lost
        sample.acked = self.rate.delivered - delivered
        if sample.acked:
            if self.recovery is not None:
                self._credit = min(self._credit + sample.acked // 2, 10 * self.mss)
            self.rate.fill(sample, self.rtt.minimum)
            sample.rtt = latest
            sample.smoothed_rtt = self.rtt.smoothed
            sample.in_flight = board.in_flight
            sample.in_recovery = self.recovery == "fast"
            sample.window_limited = self._cwnd_limited or (
                self.cc.in_slow_start and 2 * sample.in_flight_prior >= self.cc.window
            )
            self.cc.on_ack(sample)
            self._cwnd_limited = False
        if advance > 0 or newly:
            self._arm(now)
        return max(advance, 0)

    def _release(self, ack: int) -> None:
        """Drop acknowledged bytes from the buffer."""
        done = min(ack, self.end) - self.base
        if done > 0:
            del self.buffer[:done]
            self.base += done

    def _take_dsack(self, ack: int, blocks: list[tuple[int, int]]) -> bool:
        """RFC 2883 section 4: the first block tells of a duplicate if it lies below the ACK or inside the
        second."""
        if not blocks:
            return False
        start, end = blocks[0]
        if end <= ack or (len(blocks) > 1 and blocks[1][0] <= start and end <= blocks[1][1]):
            del blocks[0]
            if self._probe_end is not None or self.stats_retransmitted:
                self.stats_spurious += 1
            if self._undo_point is not None and end > self._undo_point and self._undo_resends > 0:
                self._undo_resends -= 1
            self.rack.dsack_seen(ack, self.nxt)
            return True
        return False

    def _measure(self, first: Sent | None, echo_age: float | None, now: float) -> None:
        """One round-trip sample for the time-out, of the segment at the left edge (what follows a filled hole
        may have arrived long ago). If it was sent more than once, the timestamp tells which transmission is
        meant (RFC 7323 section 4); without timestamps there is no sample (Karn's rule)."""
        if first is None:
            return
        if first.transmissions == 1:
            self.rtt.sample(now - first.sent_at, now)
        elif echo_age is not None and echo_age <= now - first.sent_first_at + 0.001:
            self.rtt.sample(echo_age, now)

    # -- loss --------------------------------------------------------------------------------------

    def _detect_loss(self, now: float) -> int:
        """Mark lost segments, enter recovery if there are; bytes newly lost."""
        board = self.board
        before_lost = board.in_flight
        if self.sack_ok and self.options.rack:
            window = self.rack.window(
                self.rtt, self.recovery is not None, board.sacked_bytes // max(self.mss, 1)
            )
            lost, due = self.rack.detect(board, now, window)
            self.reo_at = NEVER if due is None else due
        elif self.sack_ok:
            lost = self._detect_by_sack()
        else:
            lost = self._detect_by_duplicates()
        if lost:
            self._lost(now)
        return before_lost - board.in_flight

    def _detect_by_sack(self) -> list[Sent]:
        """RFC 6675 section 4, IsLost: more than two segments' worth was SACKed above it."""
        board, above, lost = self.board, 0, []
        if board.sacked_bytes:
            for record in reversed(board.from_first()):
                if record.done:
                    above += record.end - record.seq
                elif above > 2 * self.mss and not record.lost and record.transmissions == 1:
                    lost.append(record)
            for record in lost:
                board.mark_lost(record)
        return lost

    def _detect_by_duplicates(self) -> list[Sent]:
        """RFC 5681 section 3.2 and RFC 6582: the third duplicate, then each partial acknowledgement."""
        first = self.board.first()
        if first is None or first.lost:
            return []
        partial = self.recovery == "fast" and self._dup_acks == 0 and first.transmissions == 1
        if partial or (self.recovery is None and self._dup_acks >= 3):
            self.board.mark_lost(first)
            return [first]
        return []

    def _lost(self, now: float) -> None:
        if self.recovery is None:
            self.recovery = "fast"
            self._force = True  # RFC 6675 section 5 (4.3): the first goes out whatever the window says
            self._start_episode()
            self.cc.on_loss(self.board.in_flight, now)

    def _start_episode(self) -> None:
        self._recovery_point = self.nxt
        self._undo_point = self.una
        self._undo_resends = 0

    def _review_recovery(
        self, ack: int, advance: int, dsack: bool, first_early: bool, original_late: bool, now: float
    ) -> None:
        """Undo a mistaken episode, or end it."""
        if self._undo_point is not None:
            spurious = (first_early and self._undo_resends == 1) or (dsack and self._undo_resends == 0)
            if self.recovery == "timeout" and original_late:
                spurious = True
            if spurious:
                self._undo(now)
                return
        if advance > 0 and ack >= self._recovery_point:
            self._end_recovery(now)

    def _undo(self, now: float) -> None:
        self.stats_spurious += 1
        self.cc.undo(now)
        if self.recovery == "timeout":
            self.board.unmark_lost()
        self._end_recovery(now)

    def _end_recovery(self, now: float) -> None:
        self.recovery = None
        self._undo_point = None
        self._timeout_at = 0.0
        self._credit = 0
        self.rack.recovery_ended()
        self.cc.on_recovered(now)

    # -- timers ------------------------------------------------------------------------------------

    def _arm(self, now: float, probe: bool = True) -> None:
        """Set the one retransmission timer: tail loss probe if allowed (RFC 8985 section 7.2), else
        time-out."""
        board = self.board
        if not len(board):
            self.rtx_at = self.reo_at = NEVER
            return
        timeout = now + self._timeout()
        if (
            probe
            and self.options.rack
            and self.sack_ok
            and self.recovery is None
            and self._probe_end is None
            and not board.sacked_bytes
            and not self.rtt.backoffs
        ):
            wait = 2 * self.rtt.smoothed if self.rtt.smoothed else 1.0
            if board.in_flight <= self.mss:
                wait += _WORST_DELAYED_ACK
            self.rtx_is_probe = now + wait < timeout
            self.rtx_at = min(now + wait, timeout)
        else:
            self.rtx_is_probe = False
            self.rtx_at = timeout

    def _timeout(self) -> float:
        """RTO, but never before RACK had its chance: its window may be as wide as the delays are random."""
        if self.options.rack and self.sack_ok and self.rack.reordering_seen:
            return max(self.rtt.rto, self.rack.rtt + 1.25 * self.rack.window(self.rtt, False, 0))
        return self.rtt.rto

    def handle_timer(self, now: float) -> None:
        """Act on every instant that has passed. The caller then asks :meth:`next_segment`."""
        if now >= self.reo_at:
            self.reo_at = NEVER
            if len(self.board):
                self._detect_loss(now)
        if now >= self.rtx_at:
            if self.rtx_is_probe:
                self._tail_loss_probe(now)
            else:
                self._time_out(now)
        if now >= self.persist_at:
            self._probe_window(now)

    def _tail_loss_probe(self, now: float) -> None:
        """RFC 8985 section 7.3: one new segment if there is one, else the last again."""
        last = self.board.last()
        self._arm(now, probe=False)
        if last is None:
            return
        self._probe_end = self.nxt
        self._probe_resent = False
        available = self.end - self.nxt
        if available > 0 and self.una + self.wnd > self.nxt:
            size = min(available, self.mss, self.una + self.wnd - self.nxt)
            self._pending_probe = self._send_new(self.nxt + size, now)
            self._probe_end = self.nxt
        else:
            self._probe_resent = True
            self.rate.sent(last, now, False)
            self.board.resent(last, now)
            self.stats_retransmitted += 1
            self._sent(last, now)
            self._pending_probe = last
        self._arm(now, probe=False)

    _pending_probe: Sent | None = None

    def take_probe(self) -> Sent | None:
        """The segment that a probe timer produced, to be put on the wire once."""
        probe, self._pending_probe = self._pending_probe, None
        return probe

    def _review_probe(self, ack: int, dsack: bool, now: float) -> None:
        """RFC 8985 section 7.4.2: did the probe repair a loss?"""
        end = self._probe_end
        if end is None or ack < end:
            return
        self._probe_end = None
        if self._probe_resent and not dsack and self.recovery is None and not self.sack_covers_probe():
            self.cc.on_loss(self.board.in_flight, now)
            self.cc.on_recovered(now)

    def sack_covers_probe(self) -> bool:
        return False

    def _time_out(self, now: float) -> None:
        """RFC 6298 (5.4) to (5.6), and which segments count as lost: RFC 8985 section 6.3."""
        board = self.board
        first = board.first()
        if first is None:
            self.rtx_at = NEVER
            return
        if first is self._window_probe and self.una + self.wnd <= first.seq:
            self._repeat_window_probe(first, now)
            return
        if first.done:
            board.forget_sacks()
        if self.options.rack and self.sack_ok:
            grace = self.rack.rtt + self.rack.window(self.rtt, True, 0)
            for record in board.from_first():
                if not record.done and (record is first or record.sent_at + grace <= now):
                    board.mark_lost(record)
        else:
            for record in board.from_first():
                board.mark_lost(record)
        if self.recovery != "timeout":
            self.recovery = "timeout"
            self._start_episode()
            self.cc.on_timeout(board.in_flight, now)
        self._timeout_at = now
        self._probe_end = None
        self._dup_acks = 0
        self._force = True
        self.pace_at = now
        self.rtt.back_off()
        self.reo_at = NEVER
        self.rtx_is_probe = False
        self.rtx_at = now + self.rtt.rto

    # -- zero windows ------------------------------------------------------------------------------

    def _probe_window(self, now: float) -> None:
        """Send what a small window takes, one byte into a closed one; retransmissions are the further
        probes."""
        self.persist_at = NEVER
        available = self.end - self.nxt
        if available <= 0:
            return
        size = max(min(available, self.mss, self.una + self.wnd - self.nxt), 1)
        record = self._send_new(self.nxt + size, now)
        self._window_probe = record
        self._pending_probe = record
        self.rtx_is_probe = False
        self.rtx_at = now + max(self.rtt.rto, 0.5)

    def _repeat_window_probe(self, record: Sent, now: float) -> None:
        self._persist_backoff += 1
        self.board.resent(record, now)
        self._pending_probe = record
        self.rtx_at = now + min(max(self.rtt.rto, 0.5) * (1 << min(self._persist_backoff, 10)), MAX_RTO)

    def window_opened(self, now: float) -> None:
        """The peer's window grew."""
        self.persist_at = NEVER
        probe = self._window_probe
        if probe is not None:
            self._window_probe = None
            self._persist_backoff = 0
            if not probe.done and self.una + self.wnd > probe.seq:
                # It was most likely thrown away; do not wait for the timer.
                self.board.mark_lost(probe)
                self._force = True

    @property
    def probing_window(self) -> bool:
        """The peer keeps its window closed and we ask now and then."""
        return self.persist_at != NEVER or (self._window_probe is not None and not self._window_probe.done)

    def set_mss(self, mss: int) -> None:
        """Payload bytes a segment from now on; longer ones in flight are cut when they are sent again."""
        self.mss = mss
        self.cc.set_mss(mss)
