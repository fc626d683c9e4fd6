"""What runs in Pyodide for test_loop_in_pyodide.py: each check returns what it saw."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import js
from pyodide.ffi import create_proxy

from smolmix_web.platform.worker_loop import BatchedCallbacks


async def order() -> list[str]:
    """Callbacks run in the order in which they were asked for; those of a callback after all others."""
    loop, seen = asyncio.get_running_loop(), []

    def first() -> None:
        seen.append("first")
        loop.call_soon(seen.append, "nested")

    loop.call_soon(first)
    cancelled = loop.call_soon(seen.append, "cancelled")
    loop.call_soon(seen.append, "second")
    cancelled.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    return seen


async def timers() -> dict[str, Any]:
    """Timers ring in order of their times and not too early, whatever the order of asking."""
    loop, seen = asyncio.get_running_loop(), []
    start = loop.time()
    early = []
    all_rang = asyncio.Event()

    def ring(name: str, delay: float) -> None:
        seen.append(name)
        if name == "late":
            all_rang.set()
        if loop.time() < start + delay:
            early.append(name)

    for name, delay in (
        ("late", 0.12),
        ("soon", 0.03),
        ("cancelled", 0.05),
        ("middle", 0.07),
        ("past", -1.0),
    ):
        handle = loop.call_later(delay, ring, name, delay)
        if name == "cancelled":
            handle.cancel()
    loop.call_at(start - 5.0, ring, "long past", -5.0)
    await all_rang.wait()
    return {"seen": seen, "early": early}


async def timeouts() -> list[str]:
    seen = []
    try:
        async with asyncio.timeout(0.02):
            await asyncio.Event().wait()
    except TimeoutError:
        seen.append("ended a wait")
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() - 1):
            await asyncio.sleep(10)
    except TimeoutError:
        seen.append("in the past")
    async with asyncio.timeout(10):
        await asyncio.sleep(0.001)
        seen.append("not needed")
    return seen


async def failures() -> dict[str, Any]:
    """A callback that raises is reported, and the next ones run."""
    loop: Any = asyncio.get_running_loop()
    reported: list[str] = []
    loop.set_exception_handler(lambda _loop, context: reported.append(str(context["exception"])))
    done = loop.create_future()

    def broken() -> None:
        raise ValueError("broken callback")

    loop.call_soon(broken)
    loop.call_soon(done.set_result, "ran")
    value = await done
    loop.set_exception_handler(None)
    return {"reported": reported, "next": value}


async def many_cancelled_timers() -> dict[str, int]:
    """As a driver sets and cancels one in each of its turns."""
    loop = asyncio.get_running_loop()
    before = int(js.countOfTimers())
    for _ in range(2000):
        loop.call_later(60.0, print, "never").cancel()
        await asyncio.sleep(0)
    assert batched is not None
    return {"in the browser": int(js.countOfTimers()) - before, "in Python": len(batched._timers)}


async def chain_of_awaits() -> int:
    """Tasks of the browser for 300 awaits that are woken one by another."""
    before = int(js.countOfTasks())
    for _ in range(300):
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, None)
        await future
    return int(js.countOfTasks()) - before


async def busy_python() -> bool:
    """Whether a task that never rests lets the browser's events in."""
    arrived = asyncio.Event()
    js.setTimeout(create_proxy(lambda *_: arrived.set()), 5)
    end = time.monotonic() + 20.0
    while not arrived.is_set() and time.monotonic() < end:  # noqa: ASYNC110 (it is to keep busy)
        await asyncio.sleep(0)
    return arrived.is_set()


CHECKS = (order, timers, timeouts, failures, many_cancelled_timers, chain_of_awaits, busy_python)
batched: BatchedCallbacks | None = None
tasks: list[asyncio.Task[None]] = []


def start(resolve: Any, reject: Any) -> None:
    """Runs them all on the batched loop; ``resolve`` gets the results as JSON."""
    global batched
    loop = asyncio.get_event_loop()
    batched = BatchedCallbacks(loop)

    async def run() -> None:
        try:
            resolve(json.dumps({check.__name__: await check() for check in CHECKS}))
        except BaseException as error:
            reject(repr(error))
            raise

    tasks.append(loop.create_task(run()))
