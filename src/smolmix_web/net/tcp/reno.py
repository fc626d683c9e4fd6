"""Reno: slow start, congestion avoidance and fast recovery's window (RFC 5681, byte counting of RFC 3465)."""

from __future__ import annotations

from smolmix_web.net.tcp.congestion import AckSample, CongestionControl, register


@register
class Reno(CongestionControl):
    name = "reno"

    __slots__ = (
        "_acked",
        "_saved",
    )

    def __init__(self, mss: int, initial_segments: int) -> None:
        super().__init__(mss, initial_segments)
        self._acked = 0
        self._saved: tuple[int, int] | None = None

    def on_ack(self, sample: AckSample) -> None:
        # RFC 7661 section 4.3: a window that does not limit the sender says nothing, so it does not grow.
        if sample.in_recovery or not sample.window_limited:
            return
        acked = sample.acked
        if self.window < self.slow_start_threshold:
            grown = min(self.window + acked, self.slow_start_threshold)
            acked -= grown - self.window
            self.window = int(grown)
        self._acked += acked
        if self._acked >= self.window:
            self._acked -= self.window
            self.window += self.mss

    def on_loss(self, in_flight: int, now: float) -> None:
        self._saved = (self.window, self.slow_start_threshold)
        # RFC 5681 (4), with cwnd for FlightSize as Linux does: SACKed data has left the flight already.
        self.slow_start_threshold = max(self.window // 2, 2 * self.mss)
        self.window = self.slow_start_threshold
        self._acked = 0

    def on_timeout(self, in_flight: int, now: float) -> None:
        self._saved = (self.window, self.slow_start_threshold)
        self.slow_start_threshold = max(self.window // 2, 2 * self.mss)
        self.window = self.mss
        self._acked = 0

    def undo(self, now: float) -> None:
        if self._saved is not None:
            self.window = max(self.window, self._saved[0])
            self.slow_start_threshold = max(self.slow_start_threshold, self._saved[1])
            self._saved = None

    def on_idle(self, idle: float, rto: float) -> None:
        # RFC 5681 section 4.1
        if idle > rto:
            self.window = min(self.window, self.initial_window)
