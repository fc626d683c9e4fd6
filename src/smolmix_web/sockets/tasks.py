"""Ending tasks for certain."""

from __future__ import annotations

import asyncio

PATIENCE = 1.0
"""Seconds until a task that goes on is cancelled again."""


async def end_tasks(*tasks: asyncio.Task[None]) -> None:
    """Cancel the tasks and wait until they have ended; their errors are dropped.

    One cancellation may not do. When it meets an exception that is just coming up through ``asyncio.gather``
    (three requests that time out in the same moment), the exception wins: whoever catches it to try again
    goes on, and waiting for the task would last for ever.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=PATIENCE)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains of it
