"""What requests left in cycles goes once the page is quiet, and no work is done before."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

from smolmix_web.bridge.quiet import CollectWhenQuiet


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not in 20 s")


async def test_collected_after_the_last_sign_of_activity_and_now_and_then() -> None:
    looks: list[float] = []
    loop = asyncio.get_running_loop()
    one = CollectWhenQuiet(lambda: looks.append(loop.time()), quiet=0.05, every=0.3)
    for _ in range(8):
        one.touch()
        last = loop.time()
        await asyncio.sleep(0.02)
    await until(lambda: len([at for at in looks if at >= last]) >= 3)
    first, second, third = [at for at in looks if at >= last][:3]
    assert first >= last + 0.049
    assert second >= first + 0.299
    assert third >= second + 0.299
    one.touch()  # does not wait for the next of those
    count, touched = len(looks), loop.time()
    await until(lambda: len(looks) > count)
    assert looks[-1] >= touched + 0.049
    one.stop()


async def test_a_failed_request_lets_go_of_what_it_held() -> None:
    class Held:
        pass

    async def fail() -> None:
        held = Held()
        seen.append(weakref.ref(held))
        try:
            raise ValueError
        except ValueError as error:
            kept = error  # the cycle: frame, exception, traceback, frame
            assert kept is not None

    seen: list[weakref.ref[Held]] = []
    gc.disable()
    try:
        await fail()
        assert seen[0]() is not None
        one = CollectWhenQuiet(quiet=0.01)
        one.touch()
        await until(lambda: seen[0]() is None)
        one.stop()
    finally:
        gc.enable()
