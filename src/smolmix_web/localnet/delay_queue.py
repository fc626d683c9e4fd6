"""Packets waiting for their moment: one heap, one timer."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

_T = TypeVar("_T")


class DelayQueue(Generic[_T]):
    """Hands items to ``release`` when they are due, in order of their instants.

    :param limit: bytes held at most; what comes on top of that is released at once. Mixing suffers then,
        but memory does not, and dropping would only make the senders send again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        release: Callable[[_T], None],
        *,
        limit: int = 64 * 1024**2,
    ) -> None:
        self._loop = loop
        self._release = release
        self._limit = limit
        self._held = 0
        self._heap: list[tuple[float, int, int, _T]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self.overflowed = 0
        """Items released early for lack of room."""

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, when: float, item: _T, size: int) -> None:
        """Hold ``item`` of ``size`` bytes until ``when``, seconds on the loop's clock."""
        if self._held + size > self._limit:
            self.overflowed += 1
            self._release(item)
            return
        self._held += size
        heapq.heappush(self._heap, (when, next(self._order), size, item))
        if self._timer is None or when < self._timer.when():
            self._arm()

    def clear(self) -> None:
        """Forget all items and the timer."""
        self._heap.clear()
        self._held = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._heap[0][0], self._expire)

    def _expire(self) -> None:
        self._timer = None
        heap = self._heap
        now = self._loop.time() + 0.0005  # half a millisecond early costs nobody anything, and batches
        while heap and heap[0][0] <= now:
            _, _, size, item = heapq.heappop(heap)
            self._held -= size
            self._release(item)
        if heap:
            self._arm()
