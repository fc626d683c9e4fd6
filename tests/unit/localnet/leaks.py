"""Checks that a service leaves no task, socket or file behind."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    """Fails when the block leaves a task, a descriptor, or an object that complains when collected."""
    gc.collect()
    tasks, files = asyncio.all_tasks(), open_files()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        for _ in range(3):  # transports close their sockets one turn of the loop later
            await asyncio.sleep(0)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert [repr(task) for task in asyncio.all_tasks() - tasks] == []
    assert open_files() <= files
