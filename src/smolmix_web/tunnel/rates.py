"""Packets per second by kind, over the last few seconds."""

from __future__ import annotations

from collections import deque

from smolmix_web.nym.stats import ClientStats

WINDOW = 5.0
"""Seconds that a rate is the mean of, where it is asked for often enough."""

_SHORTEST = 0.25
"""Seconds between two samples that are kept."""

_Counts = tuple[int, ...]


class PacketRates:
    """Differences of the Nym client's totals between one question and earlier ones."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, _Counts]] = deque()

    def rates(self, stats: ClientStats, now: float) -> dict[str, float]:
        """By kind: ``real`` (retransmissions included), ``retransmissions`` and ``cover`` packets that were
        sent; ``received`` fragments, ``coverReceived`` packets and ``acks`` (those of cover packets included)
        that came. Zeros at the first question, and when the counters started anew.

        :param now: seconds on a monotonic clock.
        """
        kinds = {
            "real": stats.real_sent,
            "retransmissions": stats.retransmissions,
            "cover": stats.cover_sent,
            "received": stats.fragments_received,
            "coverReceived": stats.cover_received,
            "acks": stats.acks_received + stats.acks_unmatched + stats.acks_cover,
        }
        counts = tuple(kinds.values())
        samples = self._samples
        if samples and any(new < old for new, old in zip(counts, samples[-1][1], strict=True)):
            samples.clear()  # another gateway: the client was made anew
        while len(samples) > 1 and samples[1][0] <= now - WINDOW:
            samples.popleft()
        result = dict.fromkeys(kinds, 0.0)
        if samples and now > (begin := samples[0])[0]:
            seconds = now - begin[0]
            result = {
                name: round((count - before) / seconds, 2)
                for (name, count), before in zip(kinds.items(), begin[1], strict=True)
            }
        if not samples or now - samples[-1][0] >= _SHORTEST:
            samples.append((now, counts))
        return result
