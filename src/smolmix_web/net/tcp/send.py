"""The sending half's queue: what the application wrote, the peer's window, and what to send next.

Sequence numbers are unbounded. The buffer holds the bytes from ``base`` on; a FIN takes the number behind the
last. :meth:`Sender.next_segment` answers "what now?" in this order: lost segments, new data, each as far as
the congestion window, pacing and the peer's window allow. What has left is the business of ``flight.py``.
"""

from __future__ import annotations

from smolmix_web.net.config import TcpOptions
from smolmix_web.net.tcp.flight import NEVER, Flight
from smolmix_web.net.tcp.rtt import MAX_RTO
from smolmix_web.net.tcp.scoreboard import Sent

_MIN_UNSENT = 64 * 1024
# Segments in flight: 4 MiB of full ones are 3,000; a peer with a tiny MSS, or a writer of single bytes, must
# not cost a hundred times what they send.
_MAX_RECORDS = 16_384
_MIN_PERSIST = 0.5  # seconds; a window probe costs a packet and its answer another


class Sender(Flight):
    """One connection's outgoing stream, from ``open`` (SYN sent) to the acknowledgement of the FIN."""

    __slots__ = (
        "_persist_backoff",
        "_window_probe",
        "base",
        "buffer",
        "fin_wanted",
        "iss",
        "max_wnd",
        "no_delay",
        "paced_out",
        "persist_at",
        "wl1",
        "wl2",
        "wnd",
    )

    def __init__(self, options: TcpOptions, iss: int, mss: int) -> None:
        super().__init__(options, iss, mss)
        self.iss = iss
        self.base = iss + 1  # sequence number of buffer[0]
        self.buffer = bytearray()
        self.fin_wanted = False
        self.wnd = 0  # SND.WND, scaled
        self.wl1 = 0
        self.wl2 = 0
        self.max_wnd = 0
        self.no_delay = options.no_delay
        self.paced_out = False  # next_segment had something, but not yet
        self.persist_at = NEVER
        self._persist_backoff = 0
        self._window_probe: Sent | None = None

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
            if not self.may_resend(size) or self._paced(now):
                return None
            if min(lost.end, self.end) - lost.seq > mss:
                board.split(lost, lost.seq + mss)
            self._resend(lost, now)
            return lost
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
            elif not self.no_delay and self.nxt != self.una and not self.fin_wanted:
                return None  # Nagle, section 3.7.4
        if board.in_flight and board.in_flight + size > self._allowance():
            self._cwnd_limited = True
            return None
        if len(board) >= _MAX_RECORDS:
            return None
        if self._paced(now):
            return None
        fin = size == available and self.fin_wanted and usable > size
        return self._send_new(self.nxt + size + fin, now)

    def _paced(self, now: float) -> bool:
        if self.cc.pacing_rate is not None and now < self.pace_at:
            self.paced_out = True
            return True
        return False

    def _send_new(self, end: int, now: float) -> Sent:
        record = Sent(self.nxt, end, now)
        self._add(record, now)
        self.nxt = end
        self.persist_at = NEVER
        return record

    def _new_for_probe(self, now: float) -> Sent | None:
        size = min(self.end - self.nxt, self.mss, self.una + self.wnd - self.nxt)
        return self._send_new(self.nxt + size, now) if size > 0 else None

    def release(self, ack: int) -> None:
        """Drop acknowledged bytes from the buffer."""
        done = min(ack, self.end) - self.base
        if done > 0:
            del self.buffer[:done]
            self.base += done

    def _wait_for_window(self, now: float) -> None:
        """Nothing in flight that could bring a window update: probe (RFC 9293 section 3.8.6.1)."""
        if not len(self.board) and self.persist_at == NEVER:
            self._persist_backoff = 0
            self.persist_at = now + max(self.rtt.rto, _MIN_PERSIST)

    # -- zero windows ------------------------------------------------------------------------------

    def handle_timer(self, now: float) -> None:
        super().handle_timer(now)
        if now >= self.persist_at:
            self._probe_window(now)

    def _probe_window(self, now: float) -> None:
        """Send what a small window takes, one byte into a closed one; retransmissions are the further
        probes."""
        self.persist_at = NEVER
        available = self.end - self.nxt
        if available <= 0:
            return
        size = max(min(available, self.mss, self.una + self.wnd - self.nxt), 1)
        self._window_probe = self._pending_probe = self._send_new(self.nxt + size, now)
        self._arm(now, probe=False)
        self.rtx_at = now + max(self.rtt.rto, _MIN_PERSIST)

    def _is_window_probe(self, first: Sent, now: float) -> bool:
        if first is not self._window_probe or self.una + self.wnd > first.seq:
            return False
        self._persist_backoff += 1
        self.board.resent(first, now)
        self._pending_probe = first
        wait = max(self.rtt.rto, _MIN_PERSIST) * (1 << min(self._persist_backoff, 10))
        self.rtx_at = now + min(wait, MAX_RTO)
        return True

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
