"""A moment after the page has last asked for something, what its requests left behind is cleared away.

An exception and its traceback hold each other, and through the frames they hold whatever the request had:
keys of its connection, buffers, objects of JavaScript. Python finds such cycles when enough new objects have
been made, which in a page that has become quiet may be never. One look costs some 25 ms in a page.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

QUIET = 1.0
"""Seconds without a request or an answer, after which is the first look."""
EVERY = 20.0
"""Seconds between further looks: connections that are kept, closed or given up end without a request."""


class CollectWhenQuiet:
    """:meth:`touch` at every sign of activity; it costs next to nothing. From the first on it looks for ever.

    :param collect: called ``quiet`` seconds after each stretch of activity, and every ``every`` seconds.
    """

    def __init__(
        self, collect: Callable[[], object] = gc.collect, *, quiet: float = QUIET, every: float = EVERY
    ) -> None:
        self._collect = collect
        self._quiet, self._every = quiet, every
        self._active_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def touch(self) -> None:
        loop = asyncio.get_running_loop()
        self._active_at = loop.time()
        at = self._active_at + self._quiet
        # An earlier timer finds out by itself that there was something.
        if self._timer is None or self._timer.when() > at:
            self._plan(loop, at)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        self.stop()
        self._timer = loop.call_at(at, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        at = self._active_at + self._quiet
        if loop.time() < at:
            self._plan(loop, at)
        else:
            self._collect()
            self._plan(loop, loop.time() + self._every)
