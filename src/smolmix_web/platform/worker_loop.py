"""Pyodide's event loop in a worker, with callbacks in batches and one timer.

Pyodide hands every callback to the browser by itself: as a proxy made for it, in two tasks of the browser,
on a stack that can be suspended. Each ``await`` that goes on pays for that, and a timer that was cancelled
stays with the browser until its time. Here callbacks wait in Python as in asyncio's own loops, and the
browser is asked for one task when the first of them comes, and for one timer, the earliest.

What is lost is the suspending of Python (:mod:`.suspend`), which nobody does in our worker.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import js
from pyodide.ffi import create_proxy

SLICE = 0.004
"""Seconds after which the browser's own tasks (arrivals, messages of the page) get their turn."""
MAX_DELAY = 86_400.0
"""Seconds; the browser's timers count milliseconds in 31 bits."""
MANY_TIMERS = 64
"""From this many on, those cancelled are thrown out once they are the majority."""


class BatchedCallbacks:
    """Takes the place of the methods of ``loop`` that schedule, for good; callbacks keep asyncio's order."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []
        self._cancelled = 0
        self._is_asked = False
        self._alarm: Any = None
        self._alarm_at = math.inf
        # Looking a function up in a JavaScript object costs as much as calling it.
        self._set_timeout, self._clear_timeout = js.setTimeout, js.clearTimeout
        # These live as long as the worker.
        self._channel = js.MessageChannel.new()
        self._channel.port1.onmessage = create_proxy(self._run)
        self._ask = self._channel.port2.postMessage
        # Not run from the timer itself: timers set in timers are delayed by browsers.
        self._on_alarm = create_proxy(self._alarm_rang)
        loop.call_soon = loop.call_soon_threadsafe = self.call_soon
        loop.call_later, loop.call_at = self.call_later, self.call_at
        loop._timer_handle_cancelled = self._note_cancelled

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self._loop, context)
        self._ready.append(handle)
        if not self._is_asked:
            self._is_asked = True
            self._ask(0)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """A delay that has passed counts as none, as in asyncio's own loops."""
        if delay <= 0:
            return self.call_soon(callback, *args, context=context)
        return self.call_at(self._loop.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self._loop, context)
        heapq.heappush(self._timers, handle)
        if when < self._alarm_at:
            self._set_alarm(when)
        return handle

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            self._clear_timeout(self._alarm)
        # Rounded up: a timer of the browser must not ring before the callback is due.
        delay = math.ceil(1000 * min(max(when - self._loop.time(), 0.0), MAX_DELAY))
        self._alarm, self._alarm_at = self._set_timeout(self._on_alarm, delay), when

    def _alarm_rang(self, *_event: Any) -> None:
        self._alarm, self._alarm_at = None, -math.inf
        if not self._is_asked:
            self._is_asked = True
            self._ask(0)

    def _note_cancelled(self, _handle: asyncio.TimerHandle) -> None:
        self._cancelled += 1
        if len(self._timers) >= MANY_TIMERS and 2 * self._cancelled > len(self._timers):
            self._timers = [handle for handle in self._timers if not handle.cancelled()]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _run(self, *_event: Any) -> None:
        """A task of the browser: timers that are due, and rounds of callbacks while there is time."""
        loop, ready = self._loop, self._ready
        loop._install_running_loop()
        loop._install_asyncgen_hooks()
        end = loop.time() + SLICE
        try:
            self._take_due()
            while ready:
                # Those that are added meanwhile have to wait for the next round.
                for _ in range(len(ready)):
                    handle = ready.popleft()
                    if not handle.cancelled():
                        handle._run()
                if loop.time() >= end:
                    break
        finally:
            self._is_asked = bool(ready)
            if ready:
                self._ask(0)

    def _take_due(self) -> None:
        if self._alarm is not None:
            return
        timers, now = self._timers, self._loop.time()
        while timers and (timers[0].cancelled() or timers[0].when() <= now):
            timer = heapq.heappop(timers)
            if timer.cancelled():
                self._cancelled -= 1
            else:
                self._ready.append(timer)
        if timers:
            self._set_alarm(timers[0].when())
        else:
            self._alarm_at = math.inf
