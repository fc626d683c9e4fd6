"""What requests left in cycles goes once the page is quiet, and no work is done before."""

from __future__ import annotations

import asyncio
import gc
import weakref

from smolmix_web.bridge.quiet import CollectWhenQuiet


async def test_collected_twice_after_the_last_sign_of_activity() -> None:
    looks: list[float] = []
    loop = asyncio.get_running_loop()
    one = CollectWhenQuiet(lambda: looks.append(loop.time()), after=(0.05, 0.15))
    for _ in range(8):
        one.touch()
        last = loop.time()
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.8)
    assert looks[-2] >= last + 0.049
    assert looks[-1] >= last + 0.149
    count = len(looks)
    await asyncio.sleep(0.3)
    assert len(looks) == count
    one.touch()
    await asyncio.sleep(0.8)
    assert len(looks) == count + 2


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
        CollectWhenQuiet(after=(0.01,)).touch()
        await asyncio.sleep(0.3)
        assert seen[0]() is None
    finally:
        gc.enable()
