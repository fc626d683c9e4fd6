"""A local world per test module or per test, and tunnels into it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from smolmix_web.localnet.network import LocalNetworkConfig
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.options import TunnelOptions
from smolmix_web.platform.native import NativePlatform
from smolmix_web.tunnel import Tunnel, TunnelEvent, TunnelTiming

MakeWorld = Callable[..., Awaitable[LocalWorld]]
MakeTunnel = Callable[..., Awaitable[Tunnel]]


def options_for(world: LocalWorld, **more: object) -> TunnelOptions:
    """Options of a quick tunnel: no pacing and no cover unless asked for."""
    values: dict[str, object] = {
        "network": world.network.directory_url,
        "force_tls": False,
        "trust_anchors": world.internet.trust_anchor_pem,
        "disable_poisson_traffic": True,
        "disable_cover_traffic": True,
    }
    return TunnelOptions(**{**values, **more})  # type: ignore[arg-type]


async def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until ``condition`` holds. :raises TimeoutError: not within ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - many things change it
            await asyncio.sleep(0.02)


@pytest.fixture
async def make_world() -> AsyncIterator[MakeWorld]:
    async with contextlib.AsyncExitStack() as stack:

        async def make(config: LocalNetworkConfig | None = None) -> LocalWorld:
            return await stack.enter_async_context(LocalWorld(config))

        yield make


@pytest.fixture
async def world(make_world: MakeWorld) -> LocalWorld:
    return await make_world()


@pytest.fixture
async def make_tunnel() -> AsyncIterator[MakeTunnel]:
    """Tunnels that are closed after the test, which then must have left no task behind."""
    before = asyncio.all_tasks()
    async with contextlib.AsyncExitStack() as stack:

        async def make(
            world: LocalWorld,
            *,
            platform: NativePlatform | None = None,
            on_event: Callable[[TunnelEvent], None] | None = None,
            timing: TunnelTiming | None = None,
            **options: object,
        ) -> Tunnel:
            tunnel = await Tunnel.connect(
                options_for(world, **options),
                platform=platform or NativePlatform(),
                on_event=on_event,
                timing=timing,
            )
            stack.push_async_callback(tunnel.aclose)
            return tunnel

        yield make
    await asyncio.sleep(0.05)
    names = {
        "gateway-link",
        "gateway-websocket-writer",
        "keep-registration",
        "replace-exit",
        "seek-gateway",
        "topology-refresh",
        "tunnel-driver",
    }
    left = [task.get_name() for task in asyncio.all_tasks() - before if task.get_name() in names]
    assert not left, f"tasks left behind: {left}"
