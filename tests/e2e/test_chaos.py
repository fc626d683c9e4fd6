"""Everything may die at any time: what can survive does, the rest fails with a typed error."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import MakeTunnel, MakeWorld, eventually
from smolmix_web.errors import TunnelClosed
from smolmix_web.fetch import FetchResponse
from smolmix_web.localnet.network import ALL_ROLES, LocalNetworkConfig
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.sockets.gateway_link import LinkConfig
from smolmix_web.tunnel import StateChange, Tunnel, TunnelState, TunnelTiming
from support.platforms import FaultyPlatform

pytestmark = pytest.mark.timeout(240)

QUICK = TunnelTiming(
    link=LinkConfig(silence_limit=3.0, retry_first=0.2, retry_last=1.0),
    gateway_patience=1.5,
    gateway_attempts=1000,
    exit_probe=1.5,
    exit_silence=5.0,
    exit_attempt=8.0,
    retry_first=0.3,
    retry_last=1.0,
)
TWO_EXITS = LocalNetworkConfig(roles=(*ALL_ROLES, "exit2"))


class States(list[TunnelState]):
    """The states a tunnel went through, to be given as ``on_event``."""

    def __call__(self, event: object) -> None:
        if isinstance(event, StateChange):
            self.append(event.state)


def identity(world: LocalWorld, name: str) -> str:
    return str(world.describe()["nodes"][name]["identity"])


def exit_in_use(world: LocalWorld, tunnel: Tunnel) -> str:
    nodes, used = world.describe()["nodes"], tunnel.info()["exit"]
    return next(name for name, node in nodes.items() if node.get("ip_packet_router") == used)


async def rest_is_intact(response: FetchResponse, begun: bytes) -> bool:
    digest = hashlib.sha256(begun)
    async for piece in response:
        digest.update(piece)
    return digest.hexdigest() == response.header_values("x-content-sha256")[0]


async def works(tunnel: Tunnel) -> bool:
    response = await tunnel.fetch("http://web.test/bytes/2000")
    return len(await response.read()) == 2000


async def test_a_download_survives_the_restart_of_the_gateway(
    world: LocalWorld, make_tunnel: MakeTunnel
) -> None:
    states = States()
    tunnel = await make_tunnel(world, on_event=states, preferred_gateway=identity(world, "entry"))
    response = await tunnel.fetch("http://web.test/bytes/5000000")
    begun = b""
    while len(begun) < 500_000:
        begun += await response.read_chunk()
    await world.network.kill("entry")
    await eventually(lambda: tunnel.state is TunnelState.RECONNECTING)
    await asyncio.sleep(0.5)
    await world.network.restart("entry")
    assert await rest_is_intact(response, begun)
    assert states == [
        TunnelState.CONNECTING,
        TunnelState.READY,
        TunnelState.RECONNECTING,
        TunnelState.READY,
    ]


async def test_a_gateway_that_stays_away_is_replaced(
    make_world: MakeWorld, make_tunnel: MakeTunnel, tmp_path: Path
) -> None:
    world = await make_world(LocalNetworkConfig(roles=(*ALL_ROLES, "entry2")))
    states = States()
    settled = await make_tunnel(
        world,
        platform=FaultyPlatform(tmp_path),
        client_id="moving",
        preferred_gateway=identity(world, "entry"),  # the exit is a gateway too, and must live
    )
    await settled.aclose()
    tunnel = await make_tunnel(
        world, on_event=states, timing=QUICK, platform=FaultyPlatform(tmp_path), client_id="moving"
    )
    first = tunnel.info()
    assert first["gateway"] == identity(world, "entry")
    stream = await tunnel.open_connection("echo.test", 7)
    await world.network.kill("entry")
    with pytest.raises(TunnelClosed, match="gateway"):
        await stream.read()
    assert await works(tunnel)
    second = tunnel.info()
    assert second["gateway"] != first["gateway"]
    assert second["address"] != first["address"]
    assert second["address"].split("@")[0] == first["address"].split("@")[0]  # the keys are the same
    assert states[1:] == [TunnelState.READY, TunnelState.RECONNECTING, TunnelState.READY]
    await tunnel.aclose()
    again = await make_tunnel(world, timing=QUICK, platform=FaultyPlatform(tmp_path), client_id="moving")
    assert again.info()["address"] == second["address"]


async def test_a_named_gateway_is_never_left(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    entry = identity(world, "entry")
    tunnel = await make_tunnel(world, timing=QUICK, preferred_gateway=entry)
    await world.network.kill("entry")
    await asyncio.sleep(3)
    assert tunnel.state is TunnelState.RECONNECTING
    await world.network.restart("entry")
    assert await works(tunnel)
    assert tunnel.info()["gateway"] == entry


async def test_an_exit_that_falls_silent_is_replaced(make_world: MakeWorld, make_tunnel: MakeTunnel) -> None:
    world = await make_world(TWO_EXITS)
    states = States()
    entry = identity(world, "entry")
    tunnel = await make_tunnel(world, on_event=states, timing=QUICK, preferred_gateway=entry)
    assert await works(tunnel)
    lost = exit_in_use(world, tunnel)
    download = await tunnel.fetch("http://web.test/bytes/5000000")
    await download.read_chunk()
    stream = await tunnel.open_connection("echo.test", 7)
    await world.network.kill(lost)
    async with asyncio.timeout(30):
        outcomes: list[Any] = await asyncio.gather(
            download.read(),
            stream.read(),
            tunnel.fetch("http://web.test/bytes/2000"),
            tunnel.fetch("http://web.test/echo", method="POST", body=b"once only"),
            return_exceptions=True,
        )
    kinds = [TunnelClosed, TunnelClosed, FetchResponse, TunnelClosed]
    assert [type(outcome) for outcome in outcomes] == kinds
    assert len(await outcomes[2].read()) == 2000
    assert await works(tunnel)
    assert exit_in_use(world, tunnel) != lost
    assert states[1:] == [TunnelState.READY, TunnelState.RECONNECTING, TunnelState.READY]
    assert tunnel.stats()["tunnel"] == {"exitsLost": 1, "fetchesRepeated": 1}


async def test_the_only_exit_is_waited_for(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    entry = identity(world, "entry")
    tunnel = await make_tunnel(world, timing=QUICK, preferred_gateway=entry)
    await world.network.kill("exit")
    fetching = asyncio.ensure_future(tunnel.fetch("http://web.test/bytes/2000"))
    await eventually(lambda: tunnel.state is TunnelState.RECONNECTING)
    await world.network.restart("exit")
    assert len(await (await fetching).read()) == 2000
    assert tunnel.state is TunnelState.READY


async def test_an_exit_that_forgot_us_is_connected_to_again(
    world: LocalWorld, make_tunnel: MakeTunnel
) -> None:
    """It answers pings as if nothing had happened, and drops our packets without a word."""
    states = States()
    entry = identity(world, "entry")
    tunnel = await make_tunnel(world, on_event=states, timing=QUICK, preferred_gateway=entry)
    stream = await tunnel.open_connection("echo.test", 7)
    await world.network.kill("exit")
    await world.network.restart("exit")
    await stream.write(b"are you still there?")
    with pytest.raises(TunnelClosed, match="exit"):
        await stream.read()
    assert await works(tunnel)
    assert states[1:] == [TunnelState.READY, TunnelState.RECONNECTING, TunnelState.READY]


async def test_silence_while_the_gateway_is_away_is_not_the_exits(
    world: LocalWorld, make_tunnel: MakeTunnel
) -> None:
    tunnel = await make_tunnel(world, timing=QUICK, preferred_gateway=identity(world, "entry"))
    stream = await tunnel.open_connection("echo.test", 7)
    await world.network.kill("entry")
    await stream.write(b"said into the dark")
    assert QUICK.exit_silence is not None
    await asyncio.sleep(QUICK.exit_silence + 1.5)
    await world.network.restart("entry")
    assert await stream.read() == b"said into the dark"
    assert tunnel.stats()["tunnel"]["exitsLost"] == 0


async def test_a_machine_that_slept_goes_on(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    platform, states = FaultyPlatform(), States()
    tunnel = await make_tunnel(world, platform=platform, on_event=states, timing=QUICK)
    response = await tunnel.fetch("http://web.test/bytes/1000000")
    begun = await response.read_chunk()
    refreshes = tunnel.stats()["directory"]["refreshes"]
    platform.mute()
    platform.jump(8 * 3600)
    assert await rest_is_intact(response, begun)
    assert tunnel.stats()["driver"]["sleeps"] == 1
    assert tunnel.stats()["tunnel"]["exitsLost"] == 0
    assert states[-2:] == [TunnelState.RECONNECTING, TunnelState.READY]
    await eventually(lambda: tunnel.stats()["directory"]["refreshes"] > refreshes)


async def test_a_dead_connection_to_the_gateway_is_noticed(
    world: LocalWorld, make_tunnel: MakeTunnel
) -> None:
    platform, states = FaultyPlatform(), States()
    tunnel = await make_tunnel(world, platform=platform, on_event=states, timing=QUICK)
    stream = await tunnel.open_connection("echo.test", 7)
    platform.mute()
    await stream.write(b"over the next one")
    async with asyncio.timeout(20):
        assert await stream.read() == b"over the next one"
    assert len(platform.links) == 2
    assert states[-2:] == [TunnelState.RECONNECTING, TunnelState.READY]


async def test_a_gateway_that_forgot_us_is_registered_with_again(
    world: LocalWorld, make_tunnel: MakeTunnel, tmp_path: Path
) -> None:
    tunnel = await make_tunnel(
        world,
        timing=QUICK,
        platform=FaultyPlatform(tmp_path),
        client_id="forgotten",
        preferred_gateway=identity(world, "entry"),
    )
    stream = await tunnel.open_connection("echo.test", 7)
    gateway: Any = world.network.nodes["entry"]
    await world.network.kill("entry")
    gateway.registry.storage.forget_client(tunnel.mix_client.address.identity)
    await world.network.restart("entry")
    await stream.write(b"who are you?")
    assert await stream.read() == b"who are you?"
    await tunnel.aclose()
    gateway = world.network.nodes["entry"]
    registrations = gateway.registry.stats.registrations
    again = await make_tunnel(world, timing=QUICK, platform=FaultyPlatform(tmp_path), client_id="forgotten")
    assert again.info()["gateway"] == identity(world, "entry")
    assert gateway.registry.stats.registrations == registrations  # the new key had been stored


async def test_without_a_directory_the_tunnel_goes_on_for_long_but_not_for_ever(
    world: LocalWorld, make_tunnel: MakeTunnel
) -> None:
    timing = replace(QUICK, topology_refresh=0.3, topology_retry=0.1, topology_failures=10)
    states = States()
    tunnel = await make_tunnel(world, on_event=states, timing=timing)
    stream = await tunnel.open_connection("echo.test", 7)
    await eventually(lambda: tunnel.stats()["directory"]["refreshes"] > 0)
    await world.network.kill("directory")
    await eventually(lambda: tunnel.stats()["directory"]["failures"] >= 3)
    assert tunnel.state is TunnelState.READY
    assert await works(tunnel)
    await eventually(lambda: tunnel.state is TunnelState.RECONNECTING)
    assert tunnel.stats()["directory"]["failures"] > 10
    assert "directory" in tunnel.state_reason
    await world.network.restart("directory")
    await eventually(lambda: tunnel.state is TunnelState.READY)
    await stream.write(b"still here")
    assert await stream.read() == b"still here"
    assert states[1:] == [TunnelState.READY, TunnelState.RECONNECTING, TunnelState.READY]
