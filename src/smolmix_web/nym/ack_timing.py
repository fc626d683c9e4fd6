"""How long to wait for an ack (sphinx.md 23), on a network that may be slower than the formula thinks.

The published client waits ``expected delay x 1.5 + 1.5 s`` and no longer. Where the links, a loaded gateway
or our own processor need more than that, every packet would be sent twice, which makes all of them slower
still. So the time that acks really take beyond the expected delay is measured as TCP does (RFC 6298), and
where that asks for more than the 1.5 s, it gets it. The wait is never shorter than the published one.

All transmissions of a fragment bring the same ack, so after a retransmission the first ack tells nothing (RFC
6298 section 3): guessing wrong, on a network that loses much, makes the wait longer and longer. A second ack
does tell: both transmissions arrived, the earlier one was not lost but slow.
"""

from __future__ import annotations

MAX_ADDITION = 10.0
"""Seconds; what is measured never makes the wait longer than this: an outage is no delay."""


class AckTiming:
    """
    :param multiplier: of the delay that packet and ack together should spend at mix nodes.
    :param addition: seconds on top, at least.
    """

    def __init__(self, multiplier: float, addition: float) -> None:
        self._multiplier = multiplier
        self._addition = addition
        self._smoothed: float | None = None
        self._variation = 0.0

    @property
    def addition(self) -> float:
        """Seconds waited beyond the expected delay."""
        if self._smoothed is None:
            return self._addition
        return max(self._addition, min(MAX_ADDITION, self._smoothed + 4 * self._variation))

    def wait(self, expected: float) -> float:
        """Seconds until a packet with that expected delay (seconds) counts as lost."""
        return expected * self._multiplier + self.addition

    def acknowledged(self, overhead: float) -> None:
        """An ack came.

        :param overhead: seconds since the transmission that it answers, less the expected delay of that.
        """
        sample = min(max(overhead, 0.0), MAX_ADDITION)
        if self._smoothed is None:
            self._smoothed, self._variation = sample, sample / 2
            return
        self._variation += (abs(self._smoothed - sample) - self._variation) / 4
        self._smoothed += (sample - self._smoothed) / 8
