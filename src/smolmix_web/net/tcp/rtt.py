"""Round-trip time and retransmission timeout (RFC 6298), several samples a round trip (RFC 7323 appendix
G)."""

from __future__ import annotations

INITIAL_RTO = 1.0
MAX_RTO = 60.0
# RFC 6298 (2.4) asks for an RTO of at least 1 s. Linux instead adds at least 200 ms to the smoothed time,
# and so do we: tail loss probes come first, and a spurious timeout is detected and undone.
MIN_MARGIN = 0.2

_MIN_RTT_AGE = 300.0  # RFC 8985 section 6.2 step 1: the minimum over several minutes


class RttEstimator:
    """Feed :meth:`sample`; read ``rto``, ``smoothed``, ``variation``, ``minimum`` (seconds, 0.0 before the
    first)."""

    __slots__ = (
        "_backoffs",
        "_base_rto",
        "_maximum",
        "_minimum_at",
        "_sampled_at",
        "latest",
        "minimum",
        "smoothed",
        "variation",
    )

    def __init__(self, maximum: float = MAX_RTO) -> None:
        self._maximum = maximum
        self.smoothed = 0.0
        self.variation = 0.0
        self.minimum = 0.0
        self.latest = 0.0
        self._minimum_at = 0.0
        self._sampled_at = 0.0
        self._base_rto = INITIAL_RTO
        self._backoffs = 0

    @property
    def rto(self) -> float:
        base = self._base_rto
        return min(base * (1 << min(self._backoffs, 10)), max(base, self._maximum), MAX_RTO)

    @property
    def backoffs(self) -> int:
        """Consecutive time-outs without an acknowledgement."""
        return self._backoffs

    def sample(self, rtt: float, now: float) -> None:
        """One measurement of a segment sent once, or told apart by timestamps (Karn's rule is the
        caller's)."""
        rtt = max(rtt, 1e-6)
        self.latest = rtt
        if not self.smoothed:
            self.smoothed, self.variation = rtt, rtt / 2
        else:
            weight = min(max((now - self._sampled_at) / self.smoothed, 0.01), 1.0)
            self.variation += 0.25 * weight * (abs(self.smoothed - rtt) - self.variation)
            self.smoothed += 0.125 * weight * (rtt - self.smoothed)
        self._sampled_at = now
        self._base_rto = self.smoothed + max(MIN_MARGIN, 4 * self.variation)
        self._backoffs = 0
        self.note_minimum(rtt, now)

    def note_minimum(self, rtt: float, now: float) -> None:
        if not self.minimum or rtt <= self.minimum or now - self._minimum_at > _MIN_RTT_AGE:
            self.minimum = rtt
            self._minimum_at = now

    def back_off(self) -> None:
        """RFC 6298 (5.5): double the timeout."""
        self._backoffs += 1

    def reset_backoff(self) -> None:
        """New data was acknowledged; RFC 6298 section 5 allows to return to the computed value."""
        self._backoffs = 0

    def raise_initial(self, seconds: float) -> None:
        """RFC 6298 (5.7): after a retransmitted SYN, data starts with an RTO of 3 s if nothing was
        measured."""
        if not self.smoothed:
            self._base_rto = seconds
            self._backoffs = 0
