"""Every listener of a network under attack, while somebody uses it: refused, bounded, undisturbed.

A thousand frames and hundreds of connections for each listener alone are in tests/unit/localnet.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import time

import aiohttp
import pytest

from e2e.conftest import MakeTunnel, eventually, options_for
from smolmix_web.directory.announcement import PATH_ANNOUNCE
from smolmix_web.fetch import FetchTimeouts
from smolmix_web.ipr.lp import StreamFrame, StreamMessageType, emit_stream_frame
from smolmix_web.ipr.requests import ConnectRequest, DataRequest, emit_request
from smolmix_web.ipr.timestamp import Timestamp
from smolmix_web.localnet.exit_node import ExitNode
from smolmix_web.localnet.gateway_node import GatewayNode
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.framing import NodeFrame, encode_frame
from smolmix_web.nym.packets import KeyRotation, PacketSize, PacketType, PacketVersion
from smolmix_web.platform.native import NativePlatform
from smolmix_web.tunnel import MixClient, TunnelTiming

pytestmark = pytest.mark.timeout(300)

FRAMES = 400
CONNECTIONS = 100
MOST_GROWTH = 60.0  # megabytes


def megabytes() -> float:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def flood_mix_port(address: NodeAddress, chance: random.Random) -> None:
    """Well-framed packets that no key opens on one connection, and bytes that are no frame on others."""
    size = PacketSize.REGULAR.total
    frames = (NodeFrame(chance.randbytes(size), PacketType.MIX, KeyRotation.UNKNOWN) for _ in range(FRAMES))
    _, writer = await asyncio.open_connection(address.ip, address.port)
    for frame in frames:
        writer.write(encode_frame(frame, PacketVersion.LEGACY))
        await writer.drain()
    for _ in range(CONNECTIONS // 50):
        others = await asyncio.gather(*(asyncio.open_connection(address.ip, address.port) for _ in range(50)))
        for _, other in others:
            other.write(b"\x00" + chance.randbytes(100))
        for reader, other in others:
            assert await reader.read() == b""  # closed, without a word
            other.close()
    writer.close()


async def flood_websocket(url: str, chance: random.Random) -> None:
    """Many connections of one client; text and binary nonsense, too large messages, and silence."""

    async def abuse(number: int) -> None:
        # The gateway hangs up when it has had enough.
        with contextlib.suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
            async with asyncio.timeout(30):
                socket = await http.ws_connect(url, max_msg_size=0)
                for _ in range(FRAMES // CONNECTIONS):
                    if number % 3 == 0:
                        await socket.send_str("{" * 60)
                    elif number % 3 == 1:
                        await socket.send_bytes(chance.randbytes(2000))
                if number % 40 == 0:
                    await socket.send_bytes(bytes(5_000_000))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await asyncio.gather(*map(abuse, range(CONNECTIONS)))


async def flood_directory(url: str, chance: random.Random) -> None:
    async with aiohttp.ClientSession() as http:

        async def post(number: int) -> None:
            body = chance.randbytes(300) if number % 2 else b'{"announcement":"{}","signature":"1"}'
            async with http.post(url + PATH_ANNOUNCE, data=body) as response:
                assert 400 <= response.status < 500

        for begin in range(0, FRAMES, 50):
            await asyncio.gather(*(post(begin + number) for number in range(50)))


async def flood_exit(attacker: MixClient, exit_address: str, chance: random.Random) -> None:
    """Rubbish, cut-off frames, forged times, and data for sessions that do not exist."""
    for number in range(FRAMES // 4):
        stamp = Timestamp.from_unix(time.time() + chance.choice((-1e6, 1e6)))
        connect = emit_request(ConnectRequest(chance.choice((8, 9, 10)), number, stamp))
        data = emit_request(DataRequest(9, chance.randbytes(60)))
        frame = StreamFrame(chance.getrandbits(64), StreamMessageType.DATA, 0, chance.choice((connect, data)))
        message = emit_stream_frame(frame)
        if number % 4 == 0:
            message = message[: chance.randrange(len(message))]
        elif number % 4 == 1:
            message = chance.randbytes(100)
        await attacker.send_anonymous(exit_address, message, reply_surbs=0)
    await eventually(lambda: attacker.stats()["nym"]["queued"] == 0, 120)


async def test_every_listener_under_attack(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    chance, network = random.Random(11), world.network
    # All of it shares one process: what looks like an exit that fell silent is a busy machine.
    tunnel = await make_tunnel(world, timing=TunnelTiming(exit_probe=None, exit_silence=None))
    exit_node, entry = network.nodes["exit"], network.nodes["entry"]
    assert isinstance(exit_node, ExitNode)
    assert isinstance(entry, GatewayNode)
    patient = FetchTimeouts(resolve=100, connect=100, first_byte=100, idle=100)

    async def honest() -> None:
        response = await tunnel.fetch("http://web.test/bytes/20000", timeouts=patient)
        assert len(await response.read()) == 20_000

    before = megabytes()
    async with await MixClient.connect(options_for(world), platform=NativePlatform()) as attacker:
        nodes = network.describe()["nodes"]
        for flood in (
            *(flood_mix_port(node.address, chance) for node in network.nodes.values()),
            *(flood_websocket(nodes[name]["websocket"], chance) for name in ("entry", "exit")),
            flood_directory(network.directory_url, chance),
            flood_exit(attacker, str(network.exit_address), chance),
        ):
            await asyncio.gather(flood, honest())
    for node in network.nodes.values():
        ingress = node.stats.ingress_mixing
        await eventually(lambda ingress=ingress: ingress.malformed_packets_received == FRAMES)
        assert ingress.malformed_connections == CONNECTIONS
    assert entry.registry.stats.refused > 0
    await eventually(lambda: entry.as_dict()["clients_connected"] <= 1)
    await eventually(lambda: exit_node.as_dict()["clients_connected"] <= 1)
    await eventually(lambda: exit_node.service.ipr.stats.malformed >= FRAMES // 20)
    assert megabytes() - before < MOST_GROWTH
