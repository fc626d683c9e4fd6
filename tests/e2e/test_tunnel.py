"""What a Python user does with a tunnel, over the local network with every hop real."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from pathlib import Path

import pytest

from e2e.conftest import MakeTunnel, MakeWorld, options_for
from smolmix_web.directory.errors import DirectoryUnavailable, NoGatewayError
from smolmix_web.errors import (
    ConnectionRefused,
    NetworkError,
    OptionError,
    TunnelClosed,
    TunnelStateError,
    Unreachable,
)
from smolmix_web.localnet.impairment import ImpairmentConfig
from smolmix_web.localnet.network import LocalNetworkConfig
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.platform.native import NativePlatform
from smolmix_web.resolve import NameNotFound
from smolmix_web.tls.errors import TlsError
from smolmix_web.tunnel import Progress, StateChange, Tunnel, TunnelState

BAD_LINKS = LocalNetworkConfig(
    impairment=ImpairmentConfig(loss=0.02, reorder=0.2, reorder_delay=0.05, seed=7)
)


async def test_set_up_tells_its_stages_and_fetches(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    events: list[object] = []
    tunnel = await make_tunnel(world, on_event=events.append)
    response = await tunnel.fetch("http://web.test/bytes/5000")
    body = await response.read()
    assert response.status == 200
    assert hashlib.sha256(body).hexdigest() == response.header_values("x-content-sha256")[0]
    assert len(body) == 5000
    progress = [event for event in events if isinstance(event, Progress)]
    stages = [stage for stage, _ in itertools.groupby(event.stage for event in progress)]
    assert stages == ["keys", "directory", "gateway", "exit", "ready"]
    fractions = [event.fraction for event in progress]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert len({event.fraction for event in progress if event.stage == "directory"}) >= 5
    states = [event.state for event in events if isinstance(event, StateChange)]
    assert states == [TunnelState.CONNECTING, TunnelState.READY]
    info = tunnel.info()
    assert info["exit"] == world.network.exit_address
    assert (info["iprVersion"], info["ipv4"].startswith("10.0.")) == (10, True)
    nodes = world.describe()["nodes"]
    assert info["mixLayers"] == [[nodes[name]["identity"]] for name in ("mix1", "mix2", "mix3")]
    assert info["exitGateway"] == nodes["exit"]["identity"]
    await tunnel.aclose()
    assert tunnel.state is TunnelState.SHUTDOWN


async def test_every_hop_carries_the_traffic(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world)
    await (await tunnel.fetch("http://web.test/bytes/20000")).read()
    nodes = world.network.stats()["nodes"]
    for name in ("mix1", "mix2", "mix3"):
        assert nodes[name]["egress_mixing"]["forward_hop_packets_sent"] > 20, name


async def test_post_echo_and_headers(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world)
    payload = bytes(range(256)) * 64
    response = await tunnel.fetch(
        "http://web.test/echo", method="POST", headers=[("X-Mine", "1")], body=payload
    )
    seen = json.loads(await response.read())
    assert seen["sha256"] == hashlib.sha256(payload).hexdigest()


async def test_https_with_the_networks_own_authority(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world)
    response = await tunnel.fetch("https://web.test/bytes/3000")
    assert (response.status, len(await response.read())) == (200, 3000)
    with pytest.raises(TlsError):
        await tunnel.fetch("https://expired.test/bytes/1")


async def test_names(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world)
    assert await tunnel.resolve("web.test") == world.internet.hosts["web.test"]
    assert await tunnel.resolve("192.0.2.1") == "192.0.2.1"
    with pytest.raises(NameNotFound):
        await tunnel.resolve("nowhere.test")


async def test_refused_and_forbidden_destinations(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world)
    with pytest.raises(ConnectionRefused):
        await tunnel.fetch("http://closed.test/")
    with pytest.raises(Unreachable, match="policy"):
        await tunnel.fetch("http://127.0.0.1:22/")
    with pytest.raises(Unreachable, match="policy"):
        await tunnel.fetch("http://10.1.2.3/")
    assert (await tunnel.fetch("http://web.test/bytes/10")).status == 200


async def test_many_requests_at_once(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world)

    async def get(size: int) -> int:
        return len(await (await tunnel.fetch(f"http://web.test/bytes/{size}")).read())

    sizes = [1000 * n for n in range(1, 25)]
    assert await asyncio.gather(*map(get, sizes)) == sizes


@pytest.mark.timeout(300)
async def test_5_mb_down_and_1_mb_up_over_lossy_reordering_links(
    make_world: MakeWorld, make_tunnel: MakeTunnel
) -> None:
    world = await make_world(BAD_LINKS)
    tunnel = await make_tunnel(world)
    response = await tunnel.fetch("http://web.test/bytes/5000000")
    digest = hashlib.sha256()
    received = 0
    async for piece in response:
        digest.update(piece)
        received += len(piece)
    assert received == 5_000_000
    assert digest.hexdigest() == response.header_values("x-content-sha256")[0]
    payload = hashlib.shake_128(b"upload").digest(1_000_000)
    answer = await tunnel.fetch("http://web.test/echo", method="POST", body=payload)
    assert json.loads(await answer.read())["sha256"] == hashlib.sha256(payload).hexdigest()


async def test_pacing_and_cover_traffic_as_by_default(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world, disable_poisson_traffic=False, disable_cover_traffic=False)
    response = await tunnel.fetch("http://web.test/bytes/30000")
    assert len(await response.read()) == 30000
    tunnel.stats()
    await asyncio.sleep(1)
    stats = tunnel.stats()
    assert stats["nym"]["coverSent"] > 10
    assert stats["nym"]["ackRoundTrip"] > 0
    assert stats["nym"]["surbsOutstanding"] > 0
    rates = stats["rates"]
    assert rates["cover"] > 3
    assert rates["coverReceived"] > 3
    assert rates["acks"] > 3


async def test_raw_tcp_and_udp(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world)
    async with await tunnel.open_connection("echo.test", 7) as stream:
        await stream.write(b"hello through the mixnet")
        await stream.write_eof()
        received = b""
        while piece := await stream.read():
            received += piece
        assert received == b"hello through the mixnet"
    with tunnel.open_udp() as socket:
        address = (await tunnel.resolve("echo.test"), 7)
        socket.send_to(b"datagram", address)
        async with asyncio.timeout(10):
            assert await socket.recv_from() == (b"datagram", address)


async def test_keys_and_registration_are_kept(
    world: LocalWorld, make_tunnel: MakeTunnel, tmp_path: Path
) -> None:
    first = await make_tunnel(world, platform=NativePlatform(tmp_path), client_id="kept")
    address = first.info()["address"]
    await first.aclose()
    file = tmp_path / "kept" / "client"
    assert file.stat().st_mode & 0o077 == 0
    second = await make_tunnel(world, platform=NativePlatform(tmp_path), client_id="kept")
    assert second.info()["address"] == address
    assert (await second.fetch("http://web.test/bytes/10")).status == 200


async def test_a_gateway_that_moved_is_found_where_the_directory_says(
    world: LocalWorld, make_tunnel: MakeTunnel, tmp_path: Path
) -> None:
    """Its stored name or port is of no use then, but its keys are: no new registration, no new address."""
    first = await make_tunnel(world, platform=NativePlatform(tmp_path), client_id="moved")
    address, gateway = first.info()["address"], first.info()["gatewayUrl"]
    await first.aclose()
    file = tmp_path / "moved" / "client"
    document = json.loads(file.read_bytes())
    key = document["registration"]["shared_key"]
    document["registration"]["url"] = "ws://127.0.0.1:9/"
    file.write_text(json.dumps(document))
    second = await make_tunnel(world, platform=NativePlatform(tmp_path), client_id="moved")
    assert (second.info()["address"], second.info()["gatewayUrl"]) == (address, gateway)
    stored = json.loads(file.read_bytes())["registration"]
    assert (stored["url"], stored["shared_key"]) == (gateway, key)


async def test_a_registration_the_gateway_forgot_is_replaced(
    make_world: MakeWorld, make_tunnel: MakeTunnel, tmp_path: Path
) -> None:
    for _ in range(2):  # the second world has other keys: nothing stored fits it
        world = await make_world()
        tunnel = await make_tunnel(world, platform=NativePlatform(tmp_path), client_id="kept")
        assert (await tunnel.fetch("http://web.test/bytes/10")).status == 200
        await tunnel.aclose()
        await world.stop()


async def test_closing_fails_what_is_open_and_later_calls(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world)
    response = await tunnel.fetch("http://web.test/bytes/5000000")
    await response.read_chunk()
    reading = asyncio.ensure_future(response.read())
    stream = await tunnel.open_connection("echo.test", 7)
    await asyncio.sleep(0.05)
    await tunnel.aclose()
    with pytest.raises(NetworkError):
        await reading
    with pytest.raises(TunnelClosed):
        await stream.read()
    with pytest.raises(TunnelClosed):
        await stream.write(b"to nobody")
    with pytest.raises(TunnelStateError, match="shutdown"):
        await tunnel.fetch("http://web.test/")
    with pytest.raises(TunnelStateError):
        await tunnel.resolve("web.test")
    await tunnel.aclose()


async def test_cancelling_set_up_leaves_nothing(world: LocalWorld) -> None:
    before = asyncio.all_tasks()
    for delay in (0.0, 0.02, 0.1, 0.2):
        task = asyncio.ensure_future(Tunnel.connect(options_for(world), platform=NativePlatform()))
        await asyncio.sleep(delay)
        task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(result, Tunnel):
            await result.aclose()
    await asyncio.sleep(0.1)
    left = {task.get_name() for task in asyncio.all_tasks() - before}
    assert not left & {"gateway-link", "tunnel-driver", "topology-refresh", "gateway-websocket-writer"}


async def test_bad_options_and_networks_fail_with_their_names(world: LocalWorld) -> None:
    with pytest.raises(NoGatewayError, match="WSS"):
        await Tunnel.connect(options_for(world, force_tls=True), platform=NativePlatform())
    with pytest.raises(OptionError, match="preferredIpr"):
        await Tunnel.connect(options_for(world, preferred_ipr="nonsense"), platform=NativePlatform())
    with pytest.raises(DirectoryUnavailable):
        await Tunnel.connect(options_for(world, network="http://127.0.0.1:9/api/"), platform=NativePlatform())


@pytest.mark.timeout(180)
async def test_connections_survive_a_gateway_that_restarts(
    world: LocalWorld, make_tunnel: MakeTunnel
) -> None:
    states: list[TunnelState] = []

    def note(event: object) -> None:
        if isinstance(event, StateChange):
            states.append(event.state)

    entry = world.describe()["nodes"]["entry"]["identity"]
    tunnel = await make_tunnel(world, on_event=note, preferred_gateway=entry)
    response = await tunnel.fetch("http://web.test/bytes/1000000")
    digest = hashlib.sha256(await response.read_chunk())
    await world.network.kill("entry")
    await asyncio.sleep(0.3)
    await world.network.restart("entry")
    async for piece in response:
        digest.update(piece)
    assert digest.hexdigest() == response.header_values("x-content-sha256")[0]
    assert states[-2:] == [TunnelState.RECONNECTING, TunnelState.READY]
