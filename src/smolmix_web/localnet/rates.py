"""Packets per second of a node, over the last few seconds."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smolmix_web.localnet.node import MixnetNode

_SAMPLES = 6
"""Kept samples, taken once a second: rates are over the last five seconds."""


class RateMeter:
    """Differences of a node's totals. ``sample`` about once a second."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=_SAMPLES)

    def sample(self, node: MixnetNode, now: float) -> None:
        """``now``: seconds on a monotonic clock."""
        ingress, egress = node.stats.ingress_mixing, node.stats.egress_mixing
        received = ingress.forward_hop_packets_received + ingress.final_hop_packets_received
        if self._samples and received < self._samples[-1][1]:
            self._samples.clear()  # restarted
        self._samples.append((now, received, egress.forward_hop_packets_sent))

    def rates(self) -> dict[str, float]:
        """Received and sent packets per second; zeros before the second sample."""
        if len(self._samples) < 2:
            return {"received": 0.0, "sent": 0.0}
        first, last = self._samples[0], self._samples[-1]
        seconds = last[0] - first[0]
        return {
            "received": round((last[1] - first[1]) / seconds, 1),
            "sent": round((last[2] - first[2]) / seconds, 1),
        }
