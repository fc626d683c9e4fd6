"""Nym's published browser client at gateways and exits of other versions, and over bad links."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from official_page import QUIET, LaunchBrowser, OfficialPage, OpenPage, fresh_client_id

from smolmix_web.gateway import GatewayConfig
from smolmix_web.ipr.server import IprServerConfig, IprServerStats
from smolmix_web.localnet.browser_access import chromium_flags, with_tls
from smolmix_web.localnet.exit_node import ExitNode
from smolmix_web.localnet.exit_service import ExitConfig
from smolmix_web.localnet.gateway_node import GatewayNode
from smolmix_web.localnet.impairment import ImpairmentConfig
from smolmix_web.localnet.network import ALL_ROLES, DIRECTORY, LocalNetworkConfig
from smolmix_web.localnet.testnet.web import content
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.nym.packets import PacketVersion

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

Visit = Callable[[LocalNetworkConfig], Awaitable[tuple[OfficialPage, LocalWorld]]]


@pytest_asyncio.fixture(loop_scope="session")
async def visit(launch_browser: LaunchBrowser, open_page: OpenPage) -> AsyncIterator[Visit]:
    """A page, not set up yet, that is led to a network of this kind; and the network."""
    async with AsyncExitStack() as stack:

        async def open_one(config: LocalNetworkConfig) -> tuple[OfficialPage, LocalWorld]:
            world = await stack.enter_async_context(LocalWorld(with_tls(config)))
            browser = await launch_browser(chromium_flags(world.network))
            stack.push_async_callback(browser.close)
            return await open_page(within=browser), world

        yield open_one


def with_exit(**options: Any) -> LocalNetworkConfig:
    return LocalNetworkConfig(exit=ExitConfig(ipr=IprServerConfig(**options)))


def router(world: LocalWorld) -> IprServerStats:
    exit_node = world.network.nodes["exit"]
    assert isinstance(exit_node, ExitNode)
    return exit_node.service.ipr.stats


async def set_up_and_use(official: OfficialPage, **options: object) -> None:
    await official.setup(clientId=fresh_client_id(), debug=True, **QUIET, **options)
    answer = await official.fetch("http://web.test/bytes/30000")
    assert answer["sha256"] == content(30_000)[1]
    await official.disconnect()


def negotiated_mtu(official: OfficialPage) -> str:
    line = next(line for line in official.console if "allocated IPv4" in line)
    return line.rpartition("MTU: ")[2]


async def test_an_older_release_gets_version_9(visit: Visit):
    """By what the directory says of the exit's build (directory.md 6)."""
    official, world = await visit(LocalNetworkConfig(build_version="1.36.9"))
    await set_up_and_use(official)
    assert (router(world).connects, router(world).unsupported_version) == (1, 0)
    assert negotiated_mtu(official) == "None"


async def test_the_exits_mtu_is_obeyed(visit: Visit):
    official, _ = await visit(with_exit(mtu=1280))
    await set_up_and_use(official)
    assert negotiated_mtu(official) == "Some(1280)"


async def test_an_exit_that_does_not_know_version_10(visit: Visit):
    """Its silence costs the time-out, then version 9 is tried on the same stream."""
    official, world = await visit(with_exit(versions=frozenset((8, 9))))
    await set_up_and_use(official, connectTimeoutMs=4000)
    assert (router(world).connects, router(world).unsupported_version) == (1, 1)
    assert negotiated_mtu(official) == "None"


async def test_an_exit_that_answers_version_10_in_the_shape_of_9(visit: Visit):
    """As many deployed exits do. The client does not read it, and connects again as version 9."""
    official, world = await visit(with_exit(v10_shape=9))
    await set_up_and_use(official, connectTimeoutMs=4000)
    assert router(world).connects == 2


@pytest.mark.parametrize("version", [4, 5])
async def test_an_older_gateway(visit: Visit, version: int):
    """The client's own version is 6; it takes what the gateway offers (gateway.md 3)."""
    official, world = await visit(LocalNetworkConfig(gateway=GatewayConfig(protocol_version=version)))
    await set_up_and_use(official)
    entry = world.network.nodes["entry"]
    assert isinstance(entry, GatewayNode)
    assert (entry.registry.stats.registrations, entry.registry.stats.refused) == (1, 0)


async def test_bad_links_and_newer_frames(visit: Visit):
    """Links that lose 1 % of their packets and let others overtake; frames of version 8."""
    bad = ImpairmentConfig(loss=0.01, reorder=0.05, seed=5)
    official, _ = await visit(LocalNetworkConfig(impairment=bad, frame_version=PacketVersion.KEY_ROTATION))
    await set_up_and_use(official)


async def test_encrypted_links_between_nodes(visit: Visit):
    """The noise keys that nodes then announce are of no concern to a browser, and do not disturb it."""
    nodes = frozenset(ALL_ROLES) - {DIRECTORY}
    official, _ = await visit(LocalNetworkConfig(noise=nodes))
    await set_up_and_use(official)
