"""Cover and Poisson traffic of Nym's published browser client, on and off, as the entry gateway sees it.

Each option stops its own stream and nothing else: without cover traffic the main stream still fills its idle
slots, without Poisson traffic packets leave as soon as they are there. Averages per second: 50 of the main
stream, 5 of the cover stream.

Observed: with the main stream alone the client makes pauses, of up to ten seconds after a transfer, until
some other timer of its own (such as TCP's keep-alive) fires; then it catches up. Neither its worker nor the
gateway's socket is busy meanwhile. With cover traffic, the default, there are no pauses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from official_page import OfficialPage, OpenPage, fresh_client_id

from smolmix_web.localnet.gateway_node import GatewayNode
from smolmix_web.localnet.testnet.web import content
from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


async def uploads(entry: GatewayNode) -> AsyncIterator[int]:
    """Packets that clients give to the gateway, second by second."""
    while True:
        before = entry.registry.stats.packets_uploaded
        await asyncio.sleep(1.0)
        yield entry.registry.stats.packets_uploaded - before


async def some(entry: GatewayNode, seconds: int) -> list[int]:
    stream = uploads(entry)
    return [await anext(stream) for _ in range(seconds)]


@pytest.fixture
def entry(world: LocalWorld) -> GatewayNode:
    node = world.network.nodes["entry"]
    assert isinstance(node, GatewayNode)
    return node


async def idle_after_a_transfer(official: OfficialPage, entry: GatewayNode, **options: bool) -> None:
    await official.setup(clientId=fresh_client_id(), **options)
    assert len(entry.registry.active) == 1
    answer = await official.fetch("http://web.test/bytes/20000")
    assert answer["sha256"] == content(20_000)[1]
    await asyncio.sleep(2)  # the last acknowledgements of the connection, and what is sent twice


async def disconnect(official: OfficialPage, entry: GatewayNode) -> None:
    """Ends all traffic, and the session at the gateway."""
    await official.disconnect()
    await asyncio.sleep(0.5)
    assert await some(entry, 1) == [0]
    assert not entry.registry.active


async def test_both_streams(open_page: OpenPage, entry: GatewayNode):
    official = await open_page()
    await idle_after_a_transfer(official, entry)
    per_second = sum(await some(entry, 4)) / 4
    assert 20 <= per_second <= 150  # a busy machine may be slower, and catch up
    await disconnect(official, entry)


async def test_main_stream_alone(open_page: OpenPage, entry: GatewayNode):
    official = await open_page()
    await idle_after_a_transfer(official, entry, disableCoverTraffic=True)
    async with asyncio.timeout(20):  # beyond the client's pauses
        async for in_a_second in uploads(entry):
            if in_a_second >= 20:
                break
    await disconnect(official, entry)


async def test_cover_stream_alone(open_page: OpenPage, entry: GatewayNode):
    official = await open_page()
    await idle_after_a_transfer(official, entry, disablePoissonTraffic=True)
    per_second = sum(await some(entry, 4)) / 4
    assert 1 <= per_second <= 11
    await disconnect(official, entry)


async def test_neither_stream(open_page: OpenPage, entry: GatewayNode):
    official = await open_page()
    await idle_after_a_transfer(official, entry, disablePoissonTraffic=True, disableCoverTraffic=True)
    assert await some(entry, 3) == [0, 0, 0]
    await disconnect(official, entry)
