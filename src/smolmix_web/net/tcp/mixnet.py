"""The default policy: for paths whose delays are random by design and whose losses do not mean congestion.

On a mixnet the bottleneck is the pace of packets that the client and the exit keep, losses are random (a node
dropped something), and each packet is delayed on its own. Loss-based policies take both for congestion: with
2 % of random loss and 1 s of round trip, Reno and CUBIC settle at some ten packets a round trip, whatever the
path could carry. This policy therefore models the path as BBR does
(draft-cardwell-iccrg-bbr-congestion-control): it measures the rate at which data is delivered and sends at
that rate, with enough in flight to keep the path busy. It differs from BBR in what randomness demands:

* **The round trip is a mean.** BBR's minimum over single packets is the luckiest draw of several random
  delays, and a window computed from it starves the path. Here every round trip's samples are averaged, and
  the minimum is taken over those averages: jitter averages out, a queue does not hide, because it lifts all
  samples of its round.
* **Loss is ignored up to 20 % of a round.** Beyond that a queue overflows (or the path is hopeless), and the
  amount in flight is held to what got through, with a slow probe upward.
* **A standing queue is paid back.** The highest of several noisy rates is a little too high, so a queue as
  long as the round trip would build up, and every other request through the tunnel would wait in it. While
  the mean of the last samples shows a queue, the pace is lowered.
* **Extra window for acknowledgements that come in bunches**, since our receivers acknowledge only six times a
  round.

Fairness: flows of one tunnel share the tunnel's pace by the stack's turn-taking. Against loss-based flows on
an ordinary bottleneck it behaves like BBR version 1 with an upper bound on loss; choose ``cubic`` where that
matters.
"""

from __future__ import annotations

from enum import Enum

from smolmix_web.net.tcp.congestion import INFINITE, AckSample, CongestionControl, register

# Startup triples the window every round trip while it is small (with round trips of seconds each counts),
# then doubles it. 64 packets fit into any queue; beyond, the rate measured so far is a limit.
_STARTUP_GAIN = 4.0
_ANY_QUEUE_SEGMENTS = 64
_TRIPLE_SEGMENTS = 256
_CYCLE = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
_WINDOW_GAIN = 1.5
_BANDWIDTH_ROUNDS = 10
_FULL_GROWTH = 1.25
_FULL_ROUNDS = 3
# Startup also ends at once when the mean of the last samples shows a queue; three rounds without growth take
# long when the queue itself makes rounds longer. Half as much again is beyond the scatter of two dozen
# samples.
_QUEUE_GROWTH = 1.5
_QUEUE_SAMPLES = 24
_MEAN_SAMPLES = 24
_REFILL_GROWTH = 1.2
_BASE_AGE = 20.0  # seconds for which the smallest mean round trip counts without being seen again
# How much longer than the base the mean of the last samples may be; beyond, the pace falls by as much, but
# not below the drain gain.
_QUEUE_BORNE = 1.2
_DRAIN_GAIN = 0.75
# Means so much longer than the base in so many rounds in a row, in spite of draining, may say that the path
# has become longer. That must be found out while the rate from before is still remembered.
_LONGER = 1.5
_ABOVE_ROUNDS = 4
_PROBE_GAIN = 0.7  # of the path's capacity while the round trip is measured anew
_PROBE_SAMPLES = 12
_PROBE_ROUNDS = 4
_LOSS_LIMIT = 0.2
_MIN_SEGMENTS = 4


class _Phase(Enum):
    STARTUP = "startup"
    DRAIN = "drain"
    CRUISE = "cruise"
    PROBE_RTT = "probe round trip"


@register
class Mixnet(CongestionControl):
    """See the module. ``bandwidth`` is bytes a second, ``base`` seconds (0.0: not measured yet)."""

    name = "mixnet"

    __slots__ = (
        "_above",
        "_base_at",
        "_base_known",
        "_ceiling",
        "_cycle",
        "_cycle_at",
        "_cycle_rate",
        "_doubtful",
        "_extra",
        "_full_rate",
        "_full_rounds",
        "_held",
        "_last_rate",
        "_probe_from_round",
        "_probe_rate",
        "_rates",
        "_recent",
        "_recent_count",
        "_round",
        "_round_acked",
        "_round_lost",
        "_round_rate",
        "_round_samples",
        "_round_sum",
        "bandwidth",
        "base",
        "phase",
    )

    def __init__(self, mss: int, initial_segments: int) -> None:
        super().__init__(mss, initial_segments)
        self.phase = _Phase.STARTUP
        self.bandwidth = 0.0
        self.base = 0.0
        self._base_at = 0.0
        self._base_known = False
        self._above = 0  # means in a row that were much longer than the base
        self._doubtful = False  # the base was not seen again for long
        self._rates: list[tuple[int, float]] = []  # (round, rate), rates falling
        self._round = 0
        self._round_sum = 0.0
        self._round_samples = 0
        self._round_lost = 0
        self._round_acked = 0
        self._full_rate = 0.0
        self._full_rounds = 0
        self._recent = 0.0  # moving mean of the last samples
        self._recent_count = 0
        self._cycle = 2
        self._cycle_at = 0.0
        self._cycle_rate = 0.0
        self._probe_from_round = 0
        self._probe_rate = 0.0  # delivered when the probe began
        self._round_rate = self._last_rate = 0.0  # highest of this round, of the last one
        self._ceiling = INFINITE  # bytes in flight that the path's queue bore
        self._extra = 0  # bytes that recently arrived acknowledged in one bunch
        self._held: int | None = None  # window before a time-out

    @property
    def in_slow_start(self) -> bool:
        return self.phase is _Phase.STARTUP

    @property
    def capacity(self) -> float:
        """Bytes in flight that fill the path without a queue."""
        return self.bandwidth * self.base

    def on_ack(self, sample: AckSample) -> None:
        self._measure(sample)
        if sample.round_start:
            self._end_round(sample)
        self._advance(sample)
        self._set_window(sample)

    # -- the model ---------------------------------------------------------------------------------------

    def _measure(self, sample: AckSample) -> None:
        self._round_lost += sample.lost
        self._round_acked += sample.acked
        count = sample.rtt_count
        if count:
            self._round_sum += sample.rtt_sum
            self._round_samples += count
            self._recent_count += count
            weight = min(count / min(self._recent_count, _QUEUE_SAMPLES), 1.0)
            self._recent += weight * (sample.rtt_sum / count - self._recent)
        rate = sample.delivery_rate
        if rate > self._round_rate:
            self._round_rate = rate
        if rate and (not sample.app_limited or rate >= self.bandwidth):
            rates = self._rates
            while rates and rates[-1][1] <= rate:
                rates.pop()
            rates.append((self._round, rate))
            self.bandwidth = rates[0][1]
        if sample.acked > self._extra:
            self._extra = sample.acked

    def _end_round(self, sample: AckSample) -> None:
        now = sample.now
        self._round += 1
        self._review_base(now)
        if self.phase is not _Phase.PROBE_RTT:
            self._forget_old_rates()
        self._last_rate, self._round_rate = self._round_rate, 0.0
        self._review_loss(sample)
        self._extra -= self._extra // 8
        if self.phase is _Phase.STARTUP:
            if self.bandwidth >= self._full_rate * _FULL_GROWTH:
                self._full_rate, self._full_rounds = self.bandwidth, 0
            elif not sample.app_limited:
                self._full_rounds += 1
            if self._full_rounds >= _FULL_ROUNDS:
                self.phase = _Phase.DRAIN

    def _review_base(self, now: float) -> None:
        """Take the mean over this round, or over several if they brought few samples."""
        count = self._round_samples
        if self.phase is _Phase.PROBE_RTT:
            self._review_probe(now)
            return
        if count < _MEAN_SAMPLES and (self.base or not count):
            return
        mean = self._round_sum / count
        self._round_sum, self._round_samples = 0.0, 0
        # The first rounds are short of samples; their value only serves until there is a mean worth the name.
        if not self._base_known or mean <= self.base:
            self.base = mean
        if mean <= _QUEUE_BORNE * self.base:
            self._base_at = now
        self._doubtful = now - self._base_at > _BASE_AGE
        self._above = self._above + 1 if mean > _LONGER * self.base and self.phase is _Phase.CRUISE else 0
        self._base_known = count >= _MEAN_SAMPLES

    def _review_probe(self, now: float) -> None:
        """The end of a round in which less was in flight than the path can hold."""
        samples, total = self._round_samples, self._round_sum
        if self._round <= self._probe_from_round:
            self._round_sum, self._round_samples = 0.0, 0  # of what was in flight before
        elif samples >= _PROBE_SAMPLES or (self._round >= self._probe_from_round + _PROBE_ROUNDS and samples):
            mean = total / samples
            # Else the queue was ours, and the rate that made it is soon forgotten.
            self.base = mean if mean > _QUEUE_BORNE * self.base else min(mean, self.base)
            self._round_sum, self._round_samples = 0.0, 0
            self._base_at = now
            self._cruise(now)

    def _forget_old_rates(self) -> None:
        rates = self._rates
        while len(rates) > 1 and rates[0][0] < self._round - _BANDWIDTH_ROUNDS:
            del rates[0]
        if rates:
            self.bandwidth = rates[0][1]

    def _review_loss(self, sample: AckSample) -> None:
        """Once a round: is a queue overflowing?"""
        lost, acked = self._round_lost, self._round_acked
        self._round_lost = self._round_acked = 0
        if lost > 8 * self.mss and lost > _LOSS_LIMIT * (lost + acked):
            self._ceiling = int(max(self.capacity, acked, _MIN_SEGMENTS * self.mss))
            if self.phase is _Phase.STARTUP:
                self.phase = _Phase.DRAIN
        elif self._ceiling < INFINITE:
            self._ceiling += max(self._ceiling // 8, self.mss)
            if self._ceiling > 4 * self.capacity:
                self._ceiling = INFINITE

    def _advance(self, sample: AckSample) -> None:
        """Phases: startup until the rate stops growing, drain its queue, then probe in cycles."""
        now = sample.now
        if (
            self.phase is _Phase.STARTUP
            and self.base
            and self._recent_count >= _QUEUE_SAMPLES
            and self._recent > _QUEUE_GROWTH * self.base
        ):
            self.phase = _Phase.DRAIN
        if self.phase is _Phase.DRAIN and sample.in_flight <= self.capacity:
            self._cruise(now)
        if self.phase is _Phase.CRUISE:
            if self._above >= _ABOVE_ROUNDS or self._doubtful:
                self.phase, self._above, self._doubtful = _Phase.PROBE_RTT, 0, False
                self._probe_from_round = self._round + 1
                self._probe_rate = min(
                    max(self._last_rate, self._round_rate) or self.bandwidth, self.bandwidth
                )
            elif now - self._cycle_at > self.base:
                self._next_in_cycle(now)

    def _cruise(self, now: float) -> None:
        """The queue is gone, so what samples said of it no longer counts."""
        self.phase, self._cycle, self._cycle_at = _Phase.CRUISE, 2, now
        self._cycle_rate = self.bandwidth
        self._recent, self._recent_count = 0.0, 0

    def _next_in_cycle(self, now: float) -> None:
        self._cycle, self._cycle_at = (self._cycle + 1) % len(_CYCLE), now
        if self.bandwidth > _REFILL_GROWTH * self._cycle_rate > 0:
            # The path has become faster than probing by quarters can follow (or startup ended too early).
            self.phase, self._full_rate, self._full_rounds = _Phase.STARTUP, self.bandwidth, 0
            self._cycle_rate = self.bandwidth
        elif self._cycle == 0:
            self._cycle_rate = self.bandwidth

    def _gain(self) -> float:
        if self.phase is _Phase.DRAIN:
            return 1 / _STARTUP_GAIN
        if self.phase is _Phase.PROBE_RTT:
            return 1.0
        gain = _CYCLE[self._cycle]
        if gain < 1.0 or self._recent_count < _QUEUE_SAMPLES:
            return gain
        queue = self._recent / self.base - _QUEUE_BORNE
        return max(1.0 - queue, _DRAIN_GAIN) if queue > 0 else gain

    def _set_window(self, sample: AckSample) -> None:
        self._held = None
        capacity = self.capacity
        if self.phase is _Phase.STARTUP:
            # Until the model stands, grow like slow start.
            allowed = max(_STARTUP_GAIN * capacity, _ANY_QUEUE_SEGMENTS * self.mss)
            if self.window < allowed:
                triple = self.window < _TRIPLE_SEGMENTS * self.mss
                self.window += 2 * sample.acked if triple else sample.acked
        elif self.phase is _Phase.PROBE_RTT:
            self.window = int(_PROBE_GAIN * self._probe_rate * self.base)
        else:
            self.window = int(_WINDOW_GAIN * capacity) + self._extra
        self.window = max(min(self.window, self._ceiling), _MIN_SEGMENTS * self.mss)
        if self.bandwidth and self.base:
            if self.phase is _Phase.STARTUP:
                # Not a limit, only a spread: the window within half a round trip.
                self.pacing_rate = 2 * self.window / self.base
            else:
                self.pacing_rate = self._gain() * self.bandwidth

    # -- loss ------------------------------------------------------------------------------------------------

    def on_loss(self, in_flight: int, now: float) -> None:
        """Random: the model knows the rate. Overflow is seen in :meth:`_review_loss`."""

    def on_timeout(self, in_flight: int, now: float) -> None:
        """Nothing came back for a whole time-out: probe with one segment; the model returns with the next
        ACK."""
        if self._held is None:
            self._held = self.window
        self.window = self.mss

    def undo(self, now: float) -> None:
        if self._held is not None:
            self.window, self._held = max(self.window, self._held), None

    def on_idle(self, idle: float, rto: float) -> None:
        """Pacing spreads what the window allows, so an old model does no harm (BBR draft, section 4.2.3)."""
