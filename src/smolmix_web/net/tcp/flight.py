"""What is in flight: its accounting, loss detection, retransmission timers, recovery, and the undoing of
mistakes.

Loss is detected by RACK-TLP (RFC 8985) where SACK was agreed, else by duplicate ACKs (NewReno, RFC 6582). An
episode of recovery ("fast" or "timeout") lasts until all that was outstanding at its start is acknowledged.
It is undone when timestamps (Eifel, RFC 3522), D-SACKs for every retransmission (RFC 3708), or originals
arriving after a time-out (F-RTO, RFC 5682) show that nothing was lost.

Timers are plain instants (``rtx_at``, ``reo_at``) which :meth:`Flight.handle_timer` compares with ``now``.
"""

from __future__ import annotations

from smolmix_web.net.config import TcpOptions
from smolmix_web.net.tcp.congestion import AckSample, create
from smolmix_web.net.tcp.delivery import DeliveryRate
from smolmix_web.net.tcp.rack import Rack
from smolmix_web.net.tcp.rtt import RttEstimator
from smolmix_web.net.tcp.scoreboard import Scoreboard, Sent

NEVER = float("inf")
_SAMPLE = AckSample()  # filled anew for every ACK, and read by the policy before the next one
_WORST_DELAYED_ACK = 0.2  # RFC 8985 section 7.2, WCDelAckT
# Timestamps tick in milliseconds; an echo must be older than that to tell two transmissions apart.
_STAMP_SLACK = 0.0015
_MAX_BURST = 0.1  # seconds of the pacing rate


class Flight:
    """Base of :class:`~smolmix_web.net.tcp.send.Sender`, which owns the queue and decides what leaves."""

    __slots__ = (
        "_arm_from",
        "_credit",
        "_cwnd_limited",
        "_dup_acks",
        "_force",
        "_pending_probe",
        "_probe_end",
        "_probe_resent",
        "_recovery_point",
        "_timeout_at",
        "_undo_point",
        "_undo_resends",
        "board",
        "cc",
        "last_sent_at",
        "mss",
        "nxt",
        "options",
        "pace_at",
        "progress_at",
        "rack",
        "rate",
        "recovery",
        "reo_at",
        "rtt",
        "rtx_at",
        "rtx_is_probe",
        "sack_ok",
        "stats_retransmitted",
        "stats_spurious",
        "una",
    )

    def __init__(self, options: TcpOptions, iss: int, mss: int) -> None:
        self.options = options
        self.una = iss  # SND.UNA
        self.nxt = iss  # SND.NXT
        self.mss = mss  # payload bytes a segment, options taken off
        self.sack_ok = False
        self.board = Scoreboard()
        self.rtt = RttEstimator(options.max_rto)
        self.rack = Rack()
        self.rate = DeliveryRate()
        self.cc = create(options.congestion_control, mss, options.initial_window_segments)
        self.rtx_at = NEVER  # retransmission time-out or tail loss probe
        self.rtx_is_probe = False
        self.reo_at = NEVER  # RACK's reordering timer
        self._arm_from: float | None = None  # new data left at this instant: the timer is to be set
        self.progress_at = 0.0  # last sign that the peer takes what we send
        self.last_sent_at = 0.0
        self.recovery: str | None = None  # "fast" or "timeout"
        self._recovery_point = 0
        self._undo_point: int | None = None
        self._undo_resends = 0
        self._credit = 0  # bytes that may be retransmitted above the window, see may_resend
        self._timeout_at = 0.0
        self._force = False  # one retransmission regardless of the window
        self._probe_end: int | None = None  # TLP.end_seq
        self._probe_resent = False  # TLP.is_retrans
        self._pending_probe: Sent | None = None
        self._dup_acks = 0
        self._cwnd_limited = False
        self.pace_at = 0.0
        self.stats_retransmitted = 0
        self.stats_spurious = 0

    # -- sending -----------------------------------------------------------------------------------

    def _allowance(self) -> int:
        """Congestion window, inflated by duplicate ACKs where SACK does not tell (RFC 5681 section 3.2, RFC
        3042)."""
        if self._dup_acks and not self.sack_ok:
            inflation = self._dup_acks if self.recovery else min(self._dup_acks, 2)
            return self.cc.window + inflation * self.mss
        return self.cc.window

    def _sent(self, record: Sent, now: float) -> None:
        rate = self.cc.pacing_rate
        if rate is not None:
            # What a late timer missed may leave at once, up to an eighth of a round trip: a worker's timers
            # are coarse (a browser clamps them to 4 ms and runs them late), and bundling likes company.
            size = record.end - record.seq
            behind = max(min(self.rtt.smoothed / 8, _MAX_BURST), 2 * self.mss / rate)
            self.pace_at = max(self.pace_at, now - behind) + size / rate
        self.last_sent_at = now

    def may_resend(self, size: int) -> bool:
        """Whether a lost segment of ``size`` bytes may leave. While the flight shrinks to a smaller window,
        half of what arrives may be spent on repair (proportional rate reduction, RFC 6937, for
        retransmissions only), because holes block the reader."""
        return self._force or self.board.in_flight + size <= self._allowance() or self._credit >= size

    def _add(self, record: Sent, now: float) -> None:
        """A first transmission."""
        board = self.board
        idle = not board.in_flight
        if idle and not len(board):
            self.progress_at = now
            if self.last_sent_at:
                self.cc.on_idle(now - self.last_sent_at, self.rtt.rto)
        self.rate.sent(record, now, idle)
        board.add(record)
        self._sent(record, now)
        self._arm_from = now  # RFC 8985 section 7.2: new data arms the probe timer

    def _resend(self, record: Sent, now: float) -> None:
        """A retransmission."""
        self.rate.sent(record, now, not self.board.in_flight)
        self.board.resent(record, now)
        self._force = False
        self._credit = max(self._credit - (record.end - record.seq), 0)
        self.stats_retransmitted += 1
        if self._undo_point is not None:
            self._undo_resends += 1
        self._sent(record, now)
        self._arm(now, probe=False)

    # -- acknowledgements --------------------------------------------------------------------------

    def on_ack(
        self,
        ack: int,
        blocks: list[tuple[int, int]],
        echo_age: float | None,
        now: float,
        *,
        duplicate: bool,
        current: bool,
    ) -> None:
        """An acceptable ACK.

        :param blocks: SACK blocks, unbounded numbers.
        :param echo_age: seconds since our clock showed TSecr, ``None`` without timestamps.
        :param current: the ACK field is not older than SND.UNA (``ack`` is never below it).
        :param duplicate: it could be a duplicate ACK: no text, no FIN, no news of the window (RFC 5681
            section 2).
        """
        board, sample = self.board, _SAMPLE
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
            first = board.first()
            newly = board.acknowledge(ack)
            self._measure(first, echo_age, now)
            self._dup_acks = 0
            self.rtt.reset_backoff()
        elif duplicate and not dsack and len(board):
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
            and echo_age > now - first.sent_at + _STAMP_SLACK
        )
        first_late = newly[0] if newly and newly[0] is first else None
        bound = self.rack.bound(self.rtt)
        minimum_rtt = self.rtt.minimum
        rtt_sum, rtt_count = 0.0, 0
        # Behind a hole that a retransmission filled lies what arrived long ago.
        repaired = first is not None and first.transmissions > 1
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
                if record.end > ack or not repaired:
                    rtt_sum += rtt
                    rtt_count += 1
                if record.sent_at < self._timeout_at:
                    original_late = True
        if latest is not None:
            self.rtt.note_minimum(latest, now)
            if advance <= 0:
                self.rtt.sample(latest, now)
        if self.recovery is not None:
            self._review_recovery(ack, advance, dsack, first_early, original_late, now)
        if self._probe_end is not None:
            self._review_probe(ack, dsack, duplicate and not newly, now)
        lost = self._detect_loss(now) if (newly or self._dup_acks or advance > 0) and len(board) else 0
        sample.lost = lost
        sample.acked = self.rate.delivered - delivered
        if sample.acked:
            if self.recovery is not None:
                self._credit = min(self._credit + sample.acked // 2, 10 * self.mss)
            self.rate.fill(sample, self.rtt.minimum)
            sample.rtt = latest
            sample.rtt_sum, sample.rtt_count = rtt_sum, rtt_count
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

    def settle_timer(self) -> None:
        """Set the timer that new data asked for; once for many segments."""
        if self._arm_from is not None:
            self._arm(self._arm_from)

    def _arm(self, now: float, probe: bool = True) -> None:
        """Set the one retransmission timer: tail loss probe if allowed (RFC 8985 section 7.2), else
        time-out."""
        board = self.board
        self._arm_from = None
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

    def _tail_loss_probe(self, now: float) -> None:
        """RFC 8985 section 7.3: one new segment if there is one, else the last again."""
        last = self.board.last()
        if last is None:
            self.rtx_at = NEVER
            return
        fresh = self._new_for_probe(now)
        if fresh is None:
            self._resend(last, now)
        self._probe_resent = fresh is None
        self._probe_end = self.nxt
        self._pending_probe = fresh or last
        self._arm(now, probe=False)

    def _new_for_probe(self, now: float) -> Sent | None:
        """New data for a tail loss probe, sent already; ``None``: there is none or no room."""
        raise NotImplementedError

    def take_probe(self) -> Sent | None:
        """The segment that a probe timer produced, to be put on the wire once."""
        probe, self._pending_probe = self._pending_probe, None
        return probe

    def _review_probe(self, ack: int, dsack: bool, plain_duplicate: bool, now: float) -> None:
        """RFC 8985 section 7.4.2: did the probe repair a loss that nobody else noticed?"""
        end = self._probe_end
        if end is None or ack < end:
            return
        if not self._probe_resent or dsack or plain_duplicate:
            self._probe_end = None  # nothing was lost: original and probe arrived both
        elif ack > end:
            self._probe_end = None
            if self.recovery is None:
                self.cc.on_loss(self.board.in_flight, now)
                self.cc.on_recovered(now)

    def _is_window_probe(self, first: Sent, now: float) -> bool:
        """Whether ``first`` stands before a closed window, so that its time-out is no sign of loss."""
        raise NotImplementedError

    def _time_out(self, now: float) -> None:
        """RFC 6298 (5.4) to (5.6), and which segments count as lost: RFC 8985 section 6.3."""
        board = self.board
        first = board.first()
        if first is None:
            self.rtx_at = NEVER
            return
        if self._is_window_probe(first, now):
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
