"""The network changes its Sphinx keys under traffic: nothing is lost, and nobody notices."""

from __future__ import annotations

import asyncio

import pytest

from e2e.conftest import MakeTunnel, MakeWorld
from smolmix_web.directory.network import DirectoryConfig
from smolmix_web.localnet.network import LocalNetworkConfig
from smolmix_web.tunnel import StateChange, TunnelTiming

EPOCH = 2.0  # seconds; official epochs last an hour, with a refresh every five minutes
ROTATING = LocalNetworkConfig(
    directory=DirectoryConfig(epoch_duration=EPOCH, validity_epochs=2), announce_interval=0.2
)


@pytest.mark.timeout(240)
async def test_traffic_across_key_rotations(make_world: MakeWorld, make_tunnel: MakeTunnel) -> None:
    world = await make_world(ROTATING)
    states: list[object] = []
    tunnel = await make_tunnel(world, timing=TunnelTiming(topology_refresh=0.3), on_event=states.append)
    mix = tunnel.mix_client
    stream = await tunnel.open_connection("echo.test", 7)

    def rotation() -> int:
        assert mix.view.topology is not None
        return mix.view.topology.rotation_id

    begun, number = rotation(), 0
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + 90
    while rotation() < begun + 3 and loop.time() < ends_at:
        number += 1
        word = b"%08d" % number
        await mix.send(mix.address, word)
        await stream.write(word)
        response = await tunnel.fetch("http://web.test/bytes/10000")
        assert len(await response.read()) == 10_000
        echoed = b""
        async with asyncio.timeout(30):
            while len(echoed) < len(word):
                echoed += await stream.read()
        assert echoed == word
    assert rotation() == begun + 3
    async with asyncio.timeout(60):
        received = sorted([(await mix.receive()).data for _ in range(number)])
    assert received == [b"%08d" % index for index in range(1, number + 1)]
    assert tunnel.stats()["tunnel"]["exitsLost"] == 0
    assert [event.state for event in states if isinstance(event, StateChange)] == ["connecting", "ready"]
