"""RACK: time-based loss detection (RFC 8985 section 6), with a reordering window that also learns from late
arrivals.

A segment is lost once another one, sent later, was delivered, and the reordering window has passed on top of
the round trip of that one. On a mixnet every packet is delayed at random, so the window must cover the spread
of the delays. The RFC widens it by steps of min_RTT/4 whenever a D-SACK tells of a spurious retransmission;
in addition we measure directly how late originals arrive (``lateness``), which widens the window before
anything is wasted.
"""

from __future__ import annotations

from smolmix_web.net.tcp.rtt import RttEstimator
from smolmix_web.net.tcp.scoreboard import Scoreboard, Sent

_RECOVERIES_TO_KEEP_WINDOW = 16  # RFC 8985 section 6.2 step 4
_DUP_THRESHOLD = 3
# A lateness seen long ago says little; it halves about every 64 newly delivered late segments' worth of
# rounds.
_LATENESS_DECAY = 0.97


class Rack:
    """State per connection; times in seconds, sequence numbers unbounded."""

    __slots__ = (
        "_dsack_round",
        "_persist",
        "_round_end",
        "end_seq",
        "fack",
        "lateness",
        "multiplier",
        "reordering_seen",
        "rtt",
        "sent_at",
    )

    def __init__(self) -> None:
        self.sent_at = 0.0  # RACK.xmit_ts: last transmission of the most recently sent delivered segment
        self.end_seq = 0
        self.rtt = 0.0
        self.fack = 0
        self.reordering_seen = False
        self.multiplier = 1
        self._persist = _RECOVERIES_TO_KEEP_WINDOW
        self._dsack_round = False
        self._round_end = 0
        self.lateness = 0.0
        """How much longer than the newest delivered segment an original took, recent maximum."""

    def delivered(
        self, record: Sent, now: float, minimum_rtt: float, echo_before_resend: bool, latest: float
    ) -> None:
        """Steps 1 to 3 for one newly acknowledged or SACKed record.

        :param echo_before_resend: the ACK echoes a timestamp older than the record's retransmission.
        :param latest: bound of the lateness that may be learnt from this record, seconds.
        """
        rtt = now - record.sent_at
        if record.transmissions > 1 and (echo_before_resend or rtt < minimum_rtt):
            # The ACK is for an earlier transmission, which was late and not lost.
            if record.transmissions == 2:
                self._note_lateness(min(now - record.sent_first_at - self.rtt, latest))
            return
        if record.sent_at > self.sent_at or (record.sent_at == self.sent_at and record.end > self.end_seq):
            self.sent_at, self.end_seq, self.rtt = record.sent_at, record.end, rtt
        elif record.transmissions == 1:
            self._note_lateness(min(rtt - self.rtt, latest))
        if record.end > self.fack:
            self.fack = record.end
        elif record.end < self.fack and record.transmissions == 1:
            self.reordering_seen = True

    def _note_lateness(self, seconds: float) -> None:
        if seconds > self.lateness:
            self.lateness = seconds

    def dsack_seen(self, una: int, nxt: int) -> None:
        """Step 4: a retransmission was spurious; widen the window once a round trip."""
        if not self._dsack_round or una >= self._round_end:
            self._dsack_round = True
            self._round_end = nxt
            self.multiplier += 1
            self._persist = _RECOVERIES_TO_KEEP_WINDOW

    def recovery_ended(self) -> None:
        self._persist -= 1
        if self._persist <= 0:
            self.multiplier = 1
        self.lateness *= _LATENESS_DECAY

    def window(self, rtt: RttEstimator, in_recovery: bool, sacked_segments: int) -> float:
        """RACK.reo_wnd in seconds."""
        if not self.reordering_seen and (in_recovery or sacked_segments >= _DUP_THRESHOLD):
            return 0.0
        return min(max(self.multiplier * rtt.minimum / 4, 1.25 * self.lateness), self.bound(rtt))

    @staticmethod
    def bound(rtt: RttEstimator) -> float:
        """Largest reordering window. The RFC says SRTT; where delays are as random as the round trip is long
        (0.1 s path, 120 ms of jitter) originals do arrive two round trips late."""
        return max(rtt.smoothed, min(2 * rtt.smoothed, 6 * rtt.variation))

    def detect(self, board: Scoreboard, now: float, window: float) -> tuple[list[Sent], float | None]:
        """Step 5: mark and return what is lost, and the instant at which the next may be."""
        lost: list[Sent] = []
        limit = self.rtt + window
        while (record := board.oldest_flying()) is not None:
            if record.sent_at > self.sent_at or (
                record.sent_at == self.sent_at and record.end >= self.end_seq
            ):
                return lost, None
            due = record.sent_at + limit
            if due > now:
                return lost, due
            board.mark_lost(record)
            lost.append(record)
        return lost, None
