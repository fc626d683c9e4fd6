"""When packets leave: one class per policy, all with an explicit clock (sphinx.md 24).

A stream has a next tick. Whoever drives it asks for ``next_at``, sends something once that instant has
come, and calls ``advance``. Intervals are exponential, so to an observer the ticks of a stream are a Poisson
process whether or not there was anything to send.
"""

from __future__ import annotations

import math
from typing import Protocol

from smolmix_web.nym.randomness import RandomBytes, random_exponential

CONNECTION_SLOTS = 32
"""Packets that the published client buffers towards the gateway; when they are used up, the connection counts
as full."""
PRESSURE_SLOTS = 10
"""More than this many in the buffer count as back-pressure."""


class MainStream(Protocol):
    """Policy of the main stream."""

    fills_with_cover: bool
    """Whether a tick without a real packet sends a cover packet."""

    def start(self, now: float) -> None:
        """Packets can be sent from now on (again)."""
        ...

    def next_at(self, waiting: int, now: float) -> float:
        """Instant of the next tick, ``math.inf`` for none; ``waiting`` real packets are queued."""
        ...

    def advance(self, now: float) -> None:
        """A tick was used."""
        ...

    def observe(self, backlog: int, now: float) -> None:
        """The connection holds ``backlog`` packets that it could not yet send."""
        ...


class PoissonStream:
    """Ticks at exponential intervals.

    :param mean: seconds between ticks.
    :param max_catch_up: seconds that the stream may lag behind.
    """

    def __init__(self, mean: float, random_bytes: RandomBytes, *, max_catch_up: float = 1.0) -> None:
        self._mean = mean
        self._random_bytes = random_bytes
        self._max_catch_up = max_catch_up
        self._next_at = math.inf

    def start(self, now: float) -> None:
        self._next_at = now + self._interval()

    @property
    def tick_at(self) -> float:
        return self._next_at

    def advance(self, now: float) -> None:
        """From deadline to deadline, so that a late call does not slow the stream down."""
        self._next_at = max(self._next_at, now - self._max_catch_up) + self._interval()

    def _interval(self) -> float:
        # Whole nanoseconds, as the published client's.
        return round(random_exponential(self._random_bytes, self._mean) * 1e9) / 1e9


class PoissonMainStream(PoissonStream):
    """The default: paced, gaps filled with cover, slower while the connection is full."""

    fills_with_cover = True

    def __init__(self, mean: float, random_bytes: RandomBytes, *, max_catch_up: float = 1.0) -> None:
        super().__init__(mean, random_bytes, max_catch_up=max_catch_up)
        self.rate = AdaptiveRate()

    def start(self, now: float) -> None:
        self.rate = AdaptiveRate()
        super().start(now)

    def next_at(self, waiting: int, now: float) -> float:
        return self._next_at

    def observe(self, backlog: int, now: float) -> None:
        self.rate.observe(backlog, now)

    def _interval(self) -> float:
        return super()._interval() * self.rate.multiplier


class UnpacedMainStream:
    """Poisson off: whatever waits is due at once."""

    fills_with_cover = False

    def start(self, now: float) -> None: ...

    def next_at(self, waiting: int, now: float) -> float:
        return now if waiting else math.inf

    def advance(self, now: float) -> None: ...

    def observe(self, backlog: int, now: float) -> None: ...


class AdaptiveRate:
    """Multiplier of the main stream's mean interval, 1 to 6, driven by back-pressure of the connection.

    One step up when the connection is full, at most once a second; one step down after two seconds without
    back-pressure, at most every two seconds.
    """

    MAX_MULTIPLIER = 6
    STEP_UP_INTERVAL = 1.0
    STEP_DOWN_INTERVAL = 2.0
    CALM = 2.0

    def __init__(self) -> None:
        self.multiplier = 1
        self._changed_at = -math.inf
        self._pressure_at = -math.inf

    def observe(self, backlog: int, now: float) -> None:
        if backlog > PRESSURE_SLOTS:
            self._pressure_at = now
        if backlog >= CONNECTION_SLOTS:
            if self.multiplier < self.MAX_MULTIPLIER and now - self._changed_at > self.STEP_UP_INTERVAL:
                self._change(1, now)
        elif (
            self.multiplier > 1
            and now - self._pressure_at > self.CALM
            and now - self._changed_at > self.STEP_DOWN_INTERVAL
        ):
            self._change(-1, now)

    def _change(self, step: int, now: float) -> None:
        self.multiplier += step
        self._changed_at = now
