"""CUBIC (RFC 9438), with fast convergence and the Reno-friendly region."""

from __future__ import annotations

from smolmix_web.net.tcp.congestion import AckSample, CongestionControl, register

_C = 0.4  # segments / s**3, RFC 9438 section 5
_BETA = 0.7
_ALPHA = 3 * (1 - _BETA) / (1 + _BETA)  # section 4.3


@register
class Cubic(CongestionControl):
    """Windows inside are in segments (float), as in the RFC's formulas."""

    name = "cubic"

    __slots__ = (
        "_cwnd_prior",
        "_epoch",
        "_k",
        "_saved",
        "_w_est",
        "_w_max",
        "_window",
    )

    def __init__(self, mss: int, initial_segments: int) -> None:
        super().__init__(mss, initial_segments)
        self._w_max = 0.0
        self._w_est = 0.0
        self._k = 0.0
        self._epoch: float | None = None
        self._window = self.window / mss
        self._cwnd_prior = 0.0
        self._saved: tuple[float, int, float, float, float | None, float] | None = None

    def set_mss(self, mss: int) -> None:
        self._window = self.window / mss
        super().set_mss(mss)

    def on_ack(self, sample: AckSample) -> None:
        if sample.in_recovery or not sample.window_limited:
            return
        acked = sample.acked / self.mss
        if self.window < self.slow_start_threshold:
            self._window += acked
            limit = self.slow_start_threshold / self.mss
            if self._window <= limit:
                self.window = int(self._window * self.mss)
                return
            self._window = limit
        self._avoid(sample, acked)
        self.window = int(self._window * self.mss)

    def _avoid(self, sample: AckSample, acked: float) -> None:
        now, rtt = sample.now, sample.smoothed_rtt
        if self._epoch is None:
            self._epoch = now
            self._w_est = self._window
            if self._window < self._w_max:
                self._k = ((self._w_max - self._window) / _C) ** (1 / 3)
            else:
                self._k = 0.0
                self._w_max = self._window
        elapsed = now - self._epoch
        # section 4.3: alpha becomes 1 once W_est reaches the window before the last reduction
        alpha = 1.0 if self._w_est >= self._cwnd_prior else _ALPHA
        self._w_est += alpha * acked / self._window
        cubic_now = _C * (elapsed - self._k) ** 3 + self._w_max
        if cubic_now < self._w_est:
            self._window = max(self._window, self._w_est)
            return
        target = _C * (elapsed + rtt - self._k) ** 3 + self._w_max
        target = min(max(target, self._window), 1.5 * self._window)
        self._window += (target - self._window) * acked / self._window

    def _reduce(self) -> None:
        self._saved = (
            self._window,
            self.slow_start_threshold,
            self._w_max,
            self._k,
            self._epoch,
            self._w_est,
        )
        self._epoch = None
        self._cwnd_prior = self._window
        # section 4.7, fast convergence
        self._w_max = self._window * (1 + _BETA) / 2 if self._window < self._w_max else self._window
        self.slow_start_threshold = max(int(self._window * _BETA * self.mss), 2 * self.mss)

    def on_loss(self, in_flight: int, now: float) -> None:
        self._reduce()
        self.window = self.slow_start_threshold
        self._window = self.window / self.mss

    def on_timeout(self, in_flight: int, now: float) -> None:
        self._reduce()
        self._window = 1.0
        self.window = self.mss

    def undo(self, now: float) -> None:
        # section 4.9.1
        if self._saved is None:
            return
        window, threshold, self._w_max, self._k, self._epoch, self._w_est = self._saved
        self._saved = None
        self._window = max(self._window, window)
        self.window = int(self._window * self.mss)
        self.slow_start_threshold = max(self.slow_start_threshold, threshold)

    def on_idle(self, idle: float, rto: float) -> None:
        if idle > rto:
            self.window = min(self.window, self.initial_window)
            self._window = self.window / self.mss
            self._epoch = None
