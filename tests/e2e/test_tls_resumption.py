"""TLS sessions are resumed where that was asked for, and only between connections to one origin."""

from __future__ import annotations

import pytest

from e2e.conftest import MakeTunnel
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.tunnel import Tunnel

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]


async def goodbye(tunnel: Tunnel, origin: str) -> None:
    """One fetch over a connection of its own: the server closes it afterwards."""
    response = await tunnel.fetch(f"{origin}/close")
    assert await response.read() == b"goodbye\n"


def handshakes(tunnel: Tunnel) -> tuple[int, int]:
    """All, and those that resumed a session."""
    stats = tunnel.stats()["tls"]
    return stats["handshakes"], stats["resumed"]


async def test_off_by_default(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world)
    for _ in range(2):
        await goodbye(tunnel, "https://tls13.test")
    assert handshakes(tunnel) == (2, 0)


async def test_resumed_within_an_origin_and_a_tunnel(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world, tls_resumption=True)
    for _ in range(3):
        await goodbye(tunnel, "https://tls13.test")
    assert handshakes(tunnel) == (3, 2)
    # Other origins (a certificate for both names would not change that) begin anew.
    await goodbye(tunnel, "https://web.test")
    assert handshakes(tunnel) == (4, 2)
    # So does the same origin with another tunnel.
    other = await make_tunnel(world, tls_resumption=True, client_id="other")
    await goodbye(other, "https://tls13.test")
    assert handshakes(other) == (1, 0)


async def test_a_websocket_resumes_what_a_fetch_began(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world, tls_resumption=True)
    await goodbye(tunnel, "https://tls13.test")
    socket = await tunnel.open_websocket("wss://tls13.test/ws/echo")
    await socket.send("hello")
    assert await socket.receive() == "hello"
    await socket.close()
    assert handshakes(tunnel) == (2, 1)


async def test_streams_of_ones_own_are_never_resumed(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world, tls_resumption=True)
    await goodbye(tunnel, "https://tls13.test")
    stream = await tunnel.open_connection("tls13.test", 443, tls=True)
    stream.abort()
    assert handshakes(tunnel) == (2, 0)


async def test_a_lost_exit_takes_its_tickets_along(world: LocalWorld, make_tunnel: MakeTunnel) -> None:
    tunnel = await make_tunnel(world, tls_resumption=True)
    await goodbye(tunnel, "https://tls13.test")
    tunnel._exit_lost("a test says so")
    await goodbye(tunnel, "https://tls13.test")
    assert handshakes(tunnel) == (1, 0)
