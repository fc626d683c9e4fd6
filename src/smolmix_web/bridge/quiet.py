"""A moment after the page has last asked for something, what its requests left behind is cleared away.

An exception and its traceback hold each other, and through the frames they hold whatever the request had:
keys of its connection, buffers, objects of JavaScript. Python finds such cycles when enough new objects have
been made, which in a page that has become quiet may be never. One look costs some 25 ms in a page.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence

QUIET = 1.0
"""Seconds without a request or an answer."""
CLOSED = 7.0
"""The same, until connections are closed that the page had done with: the other side has 5 s for its part."""
GIVEN_UP = 35.0
"""The same, until what never gets an answer is given up: a question to a resolver, say, after 30 s."""
WHEN = (QUIET, CLOSED, GIVEN_UP)


class CollectWhenQuiet:
    """:meth:`touch` at every sign of activity; it costs next to nothing.

    :param collect: called after each stretch of activity, once for every time in ``after``.
    :param after: seconds since its end, rising.
    """

    def __init__(self, collect: Callable[[], object] = gc.collect, *, after: Sequence[float] = WHEN) -> None:
        self._collect = collect
        self._after = after
        self._active_at = 0.0
        self._next: int | None = None  # of ``after``; None: nothing is planned

    def touch(self) -> None:
        loop = asyncio.get_running_loop()
        self._active_at = loop.time()
        if self._next is None:
            loop.call_later(self._after[0], self._look)
        self._next = 0

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._next is not None
        if loop.time() >= self._active_at + self._after[self._next]:
            self._collect()
            self._next += 1
        if self._next < len(self._after):
            loop.call_at(self._active_at + self._after[self._next], self._look)
        else:
            self._next = None
