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
"""Seconds without a request or an answer."""


class CollectWhenQuiet:
    """:meth:`touch` at every sign of activity; it costs next to nothing.

    :param collect: called once per stretch of activity, after its end.
    """

    def __init__(self, collect: Callable[[], object] = gc.collect, *, quiet: float = QUIET) -> None:
        self._collect = collect
        self._quiet = quiet
        self._active_at = 0.0
        self._is_waiting = False

    def touch(self) -> None:
        loop = asyncio.get_running_loop()
        self._active_at = loop.time()
        if not self._is_waiting:
            self._is_waiting = True
            loop.call_later(self._quiet, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._active_at + self._quiet - loop.time()
        if left > 0:
            loop.call_later(left, self._look)
        else:
            self._is_waiting = False
            self._collect()
