"""Connects to the first of several addresses that takes a connection (RFC 8305, "Happy Eyeballs").

Attempts begin one after the other, a short delay apart or as soon as one fails, and go on side by side; the
first success ends the others. The delay is longer than the RFC's 250 ms because a mixnet round trip is: each
attempt begun too early costs packets.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from itertools import zip_longest
from typing import Any, TypeVar

from smolmix_web.errors import NetworkError, TunnelClosed

ATTEMPT_DELAY = 1.5
"""Seconds."""

MAX_ATTEMPTS = 6

Stream = TypeVar("Stream")


async def first_to_connect(
    first: Iterable[str],
    rest: Awaitable[Iterable[str]],
    connect: Callable[[str], Awaitable[Stream]],
    abandon: Callable[[Stream], None],
    *,
    delay: float = ATTEMPT_DELAY,
) -> Stream:
    """The first connection that is made. Cancelling ends all attempts.

    :param first: addresses to begin with, the best one first.
    :param rest: gives further ones (the other family) when they are known; the first of them is tried second.
    :param connect: makes one connection; has a limit of its own.
    :param abandon: drops a connection that came too late.
    :raises NetworkError, TimeoutError: of the first attempt that failed, when all did.
    """
    loop = asyncio.get_running_loop()
    waiting = deque(first)
    more: asyncio.Future[Iterable[str]] | None = asyncio.ensure_future(rest)
    attempts: set[asyncio.Future[Stream]] = set()
    problem: BaseException | None = None
    begun, next_at = 0, loop.time()
    try:
        while True:
            can_begin = bool(waiting) and begun < MAX_ATTEMPTS
            if can_begin and (loop.time() >= next_at or not attempts):
                attempts.add(asyncio.ensure_future(connect(waiting.popleft())))
                begun, next_at = begun + 1, loop.time() + delay
                continue
            if not attempts and (more is None or begun >= MAX_ATTEMPTS):
                raise problem or NetworkError("no address to connect to")
            watched: set[asyncio.Future[Any]] = {*attempts} if more is None else {*attempts, more}
            left = max(next_at - loop.time(), 0.0) if can_begin else None
            await asyncio.wait(watched, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if more is not None and more.done():
                waiting = _alternate([] if more.exception() else more.result(), waiting)
                more = None
            for attempt in [one for one in attempts if one.done()]:
                error = attempt.exception()
                if error is None:
                    attempts.discard(attempt)
                    return attempt.result()
                if not isinstance(error, NetworkError | TimeoutError) or isinstance(error, TunnelClosed):
                    raise error
                attempts.discard(attempt)
                problem, next_at = problem or error, loop.time()
    finally:
        if more is not None:
            more.cancel()
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, *([more] if more is not None else []), return_exceptions=True)
        for attempt in attempts:
            if not attempt.cancelled() and attempt.exception() is None:
                abandon(attempt.result())


def _alternate(one: Iterable[str], other: Iterable[str]) -> deque[str]:
    """One of each in turn."""
    pairs = zip_longest(one, other)
    return deque(address for pair in pairs for address in pair if address is not None)
