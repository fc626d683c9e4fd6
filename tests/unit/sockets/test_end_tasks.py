"""A task that is to end does, whatever becomes of the first cancellation."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from smolmix_web.errors import NetworkError
from smolmix_web.sockets import tasks as module
from smolmix_web.sockets.tasks import end_tasks


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.02)


async def test_a_cancellation_that_meets_an_error_is_not_lost() -> None:
    """What a refreshing loop does when all its requests fail in the moment in which it is cancelled."""
    rounds, failing = 0, asyncio.get_running_loop().create_future()

    async def request() -> None:
        await asyncio.shield(failing)

    async def refresh() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            with contextlib.suppress(NetworkError):
                await asyncio.gather(request(), request())
            await asyncio.sleep(0)
            if rounds > 1:
                await asyncio.Event().wait()

    task = asyncio.create_task(refresh())
    await asyncio.sleep(0.01)
    failing.set_exception(NetworkError("no answer"))
    await asyncio.sleep(0)  # the requests have failed; the loop has not heard of it yet
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end_tasks(task)
    assert task.done()


async def test_a_task_that_ignores_a_cancellation_gets_another_one() -> None:
    async def stubborn() -> None:
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end_tasks(task)
    assert task.done()


async def test_tasks_that_are_over_or_fail_while_they_end() -> None:
    async def failing() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise NetworkError("in its last moment")

    over = asyncio.create_task(asyncio.sleep(0))
    bad = asyncio.create_task(failing())
    await asyncio.sleep(0.01)
    await end_tasks(over, bad)
    assert (over.done(), bad.done()) == (True, True)
    await end_tasks()
