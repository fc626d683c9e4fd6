"""A host whose first address is dead is reached through another, soon, and nothing is left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable

import pytest

from smolmix_web.errors import ConnectionRefused, NetworkError, TunnelClosed
from smolmix_web.sockets.happy_eyeballs import MAX_ATTEMPTS, first_to_connect


class Net:
    """Addresses named after what they do."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.abandoned: list[str] = []

    async def connect(self, address: str) -> str:
        self.begun.append(address)
        try:
            if address.startswith("dead"):
                await asyncio.sleep(60)
            if address.startswith("slow"):
                await asyncio.sleep(0.08)
            if address.startswith("refused"):
                raise ConnectionRefused(address)
            if address.startswith("closed"):
                raise TunnelClosed("closed")
        except asyncio.CancelledError:
            self.cancelled.append(address)
            raise
        return address

    async def go(self, first: Iterable[str], rest: Iterable[str] = (), *, rest_after: float = 0) -> str:
        async def later() -> Iterable[str]:
            await asyncio.sleep(rest_after)
            return rest

        return await first_to_connect(first, later(), self.connect, self.abandoned.append, delay=0.03)


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    yield Net()
    left = [task.get_coro() for task in asyncio.all_tasks()]
    assert not [one for one in left if "connect" in repr(one) or "later" in repr(one)]


async def test_the_first_that_works_is_the_only_one_tried(net: Net) -> None:
    assert await net.go(["a", "b"], ["c"], rest_after=5) == "a"
    assert net.begun == ["a"]


async def test_a_dead_first_address_costs_one_delay(net: Net) -> None:
    started = time.monotonic()
    assert await net.go(["dead1", "dead2"], ["six"]) == "six"
    assert time.monotonic() - started < 1
    assert net.begun == ["dead1", "six"]
    assert net.cancelled == ["dead1"]


async def test_a_refusal_costs_no_delay(net: Net) -> None:
    assert await net.go(["refused", "b"], rest_after=0.01) == "b"


async def test_families_take_turns(net: Net) -> None:
    with pytest.raises(ConnectionRefused, match="refused1"):
        await net.go(["refused1", "refused2"], ["refused3", "refused4"])
    assert net.begun[0] == "refused1"
    assert sorted(net.begun) == [f"refused{number}" for number in (1, 2, 3, 4)]


async def test_what_comes_late_is_still_tried(net: Net) -> None:
    assert await net.go(["refused"], ["six"], rest_after=0.05) == "six"
    assert await net.go([], ["six"], rest_after=0.01) == "six"


async def test_a_connection_that_comes_too_late_is_dropped(net: Net) -> None:
    assert await net.go(["slow1", "b"]) == "b"
    assert net.cancelled == ["slow1"]

    async def at_once(address: str) -> str:
        await asyncio.sleep(0.01)
        return address

    async def nothing() -> Iterable[str]:
        return ()

    won = await first_to_connect(["x", "y"], nothing(), at_once, net.abandoned.append, delay=0)
    assert net.abandoned == [one for one in ("x", "y") if one != won]


async def test_no_address_and_a_failed_second_question_are_typed_errors(net: Net) -> None:
    with pytest.raises(NetworkError, match="no address"):
        await net.go([])

    async def failing() -> Iterable[str]:
        raise NetworkError("SERVFAIL")

    with pytest.raises(ConnectionRefused):
        await first_to_connect(["refused"], failing(), net.connect, net.abandoned.append)


async def test_a_closed_tunnel_ends_it_at_once(net: Net) -> None:
    with pytest.raises(TunnelClosed):
        await net.go(["closed", "b", "c"])
    assert net.begun == ["closed"]


async def test_attempts_are_limited(net: Net) -> None:
    with pytest.raises(ConnectionRefused):
        await net.go([f"refused{number}" for number in range(50)])
    assert len(net.begun) == MAX_ATTEMPTS


async def test_cancelling_ends_every_attempt(net: Net) -> None:
    task = asyncio.ensure_future(net.go(["dead1", "dead2"], ["dead3"]))
    await asyncio.sleep(0.15)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sorted(net.cancelled) == ["dead1", "dead2", "dead3"]
