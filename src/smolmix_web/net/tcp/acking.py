"""When to acknowledge.

RFC 9293 section 3.8.6.3 and RFC 5681 section 4.2 want an ACK for every second full segment and at once for
data out of order. On a mixnet a lone ACK costs a whole Sphinx packet and out of order is the normal order, so
the sparse policy acknowledges about six times a round trip:

* a delay of a sixth of the round trip, 0.3 s at most (the RFC's hard limit is 0.5 s);
* at once when more islands wait to be shown than a few SACK options hold, on a duplicate (the sender needs
  its D-SACK to notice a spurious retransmission), on FIN, and when a quarter of the window is unacknowledged;
* every second segment at the start of a connection and on paths under 50 ms, where packets cost nothing.

A sender's clock keeps running: the congestion windows of all current kernels count acknowledged bytes or
segments, not ACKs; RACK tolerates late SACKs; and tail loss probes and time-outs wait two round trips. Few
ACKs even help: Linux leaves slow start early when eight round-trip samples of one round look late (HyStart),
as random delays make them look; with six it does not judge.
"""

from __future__ import annotations

from smolmix_web.net.tcp.receive import Receiver

DELAY = 0.04  # the classic delayed ACK, as in Linux; senders' time-outs allow for 0.2 s
_MAX_SPARSE_DELAY = 0.3
_SPARSE_FROM_RTT = 0.05
_ACKS_PER_ROUND = 6
_QUICK_SEGMENTS = 16
# Islands that no ACK has shown. With reordering alone most heal by themselves; with loss they stay, and a
# sender that does not hear of them retransmits needlessly. So more than four may ask for an ACK of their own,
# the oftener the more islands there are in all (three fit into one ACK). Chosen in the simulator.
_MAX_UNSHOWN = 4
_MAX_ACKS_PER_ROUND = 40
_NEVER = float("inf")


class AckPolicy:
    """``due``: an ACK must leave with or without data; ``at``: instant at which it becomes due."""

    __slots__ = ("_bytes", "_quick", "_sent_at", "at", "due", "rtt", "sparse")

    def __init__(self, sparse: bool) -> None:
        self.sparse = sparse
        self.due = False
        self.at = _NEVER
        self.rtt = 0.0
        """Round trip as the receiver sees it, seconds; 0.0: unknown."""
        self._bytes = 0
        self._sent_at = 0.0
        self._quick = _QUICK_SEGMENTS

    @property
    def pending(self) -> bool:
        """Something arrived that no ACK has told the peer."""
        return self.due or self.at != _NEVER

    def note_rtt(self, rtt: float) -> None:
        """The receiver's estimate falls at once and rises slowly, because an idle sender makes samples
        long."""
        self.rtt = rtt if not self.rtt or rtt < self.rtt else self.rtt + (rtt - self.rtt) / 16

    def data_arrived(self, receiver: Receiver, size: int, in_order: bool, now: float) -> None:
        """Text was accepted; decide between now and later."""
        self._bytes += size
        sparse = self.sparse and self._quick <= 0 and self.rtt >= _SPARSE_FROM_RTT
        self._quick -= 1
        if receiver.dsack is not None:
            self.due = True
        elif not sparse:
            if not in_order or receiver.pieces or self._bytes >= 2 * receiver.mss:
                self.due = True
            else:
                self._by(now + DELAY)
        elif self._islands_press(receiver, now) or self._bytes >= receiver.capacity // 4:
            self.due = True
        else:
            self._by(now + min(self.rtt / _ACKS_PER_ROUND, _MAX_SPARSE_DELAY))

    def _islands_press(self, receiver: Receiver, now: float) -> bool:
        """Whether islands that no ACK has shown wait for an ACK of their own."""
        if len(receiver.fresh) <= _MAX_UNSHOWN:
            return False
        rate = min(_ACKS_PER_ROUND + len(receiver.islands), _MAX_ACKS_PER_ROUND)
        return now - self._sent_at >= self.rtt / rate

    def _by(self, instant: float) -> None:
        if instant < self.at:
            self.at = instant

    def sent(self, now: float) -> None:
        """A segment with the current acknowledgement left."""
        self.due = False
        self.at = _NEVER
        self._bytes = 0
        self._sent_at = now
