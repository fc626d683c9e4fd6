"""How many messages of one client are let in per turn of the event loop."""

from __future__ import annotations

import asyncio
import time

MAX_PER_TURN = 32
"""While turns are short, so that what goes on to one node leaves in one system call."""

LONG_TURN = 0.05
"""Seconds of processor time for a turn: more says that there is too much to do, for a packet needs some ten
turns on its way. Other processes make a turn longer as well, and letting less in is no help against that."""


class Admission:
    """Half as many messages after a long turn, twice as many after a short one; 1 to ``MAX_PER_TURN``.

    One per connection, so busy clients get equal shares of what can be done.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._per_turn = self._left = MAX_PER_TURN
        self._turn_began: float | None = None

    async def passed(self) -> None:
        """After each message: returns at once, or in the next turn."""
        if self._turn_began is None:
            self._turn_began = time.thread_time()
            self._loop.call_soon(self._turn_over)
        self._left -= 1
        if self._left <= 0:
            await asyncio.sleep(0)

    def _turn_over(self) -> None:
        assert self._turn_began is not None
        if time.thread_time() - self._turn_began > LONG_TURN:
            self._per_turn = max(1, self._per_turn // 2)
        else:
            self._per_turn = min(MAX_PER_TURN, 2 * self._per_turn)
        self._left, self._turn_began = self._per_turn, None
