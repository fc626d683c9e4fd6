"""Waiting for something that other tasks or processes bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Returns when ``condition()`` is true. :raises TimeoutError: not within ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- the condition knows no event
            await asyncio.sleep(0.005)
