"""https and wss of Nym's published browser client, to the last byte: with one of its root certificates
exchanged for ours (swapped_root.py), and nothing else that npm installed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from official_page import NODE_MODULES, QUIET, OfficialPage, PackageSite, fresh_client_id
from playwright.async_api import Browser
from swapped_root import MODULE, SwappedRoot

from smolmix_web.localnet.address_map import Endpoint, Protocol
from smolmix_web.localnet.testnet.certificates import server_context
from smolmix_web.localnet.testnet.web import WebSite, content
from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

_WSS_ECHO = """
async (url) => {
  const socket = new window.nym.MixWebSocket(url);
  const answer = new Promise((resolve) => socket.addEventListener('message', (event) => resolve(event.data)));
  await socket.opened();
  await socket.send('under TLS');
  const text = await answer;
  await socket.close();
  return text;
}
"""


@pytest.fixture(scope="module")
def swapped_root() -> SwappedRoot:
    return SwappedRoot()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trusting(browser: Browser, swapped_root: SwappedRoot) -> AsyncIterator[OfficialPage]:
    packages = PackageSite(swapped_root.transform)
    url = await packages.start()
    context = await browser.new_context()
    official = OfficialPage(await context.new_page())
    await official.load(url)
    await official.setup(clientId=fresh_client_id(), **QUIET)
    yield official
    await official.disconnect()
    await context.close()
    await packages.stop()


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=[ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2]
)
async def https_site(
    request: pytest.FixtureRequest, world: LocalWorld, trusting: OfficialPage, swapped_root: SwappedRoot
) -> AsyncIterator[tuple[str, WebSite]]:
    """Authority of a URL at web.test whose server has a certificate of the exchanged root; and the site."""
    context = server_context(swapped_root.authority.issue(["web.test"]))
    context.minimum_version = context.maximum_version = request.param
    site = WebSite()
    runner = web.AppRunner(site.application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = int(request.param)  # any that nobody else has there
    target = Endpoint("127.0.0.1", runner.addresses[0][1])
    world.internet.address_map.add(world.internet.hosts["web.test"], port, Protocol.TCP, target)
    yield f"web.test:{port}", site
    await runner.cleanup()


async def test_the_exchange_changes_one_key_only(swapped_root: SwappedRoot):
    original = (NODE_MODULES / MODULE).read_bytes()
    changed = swapped_root.transform(MODULE, original)
    assert len(changed) == len(original)
    pieces = range(0, len(original), 256)
    differing = [at for at in pieces if original[at : at + 256] != changed[at : at + 256]]
    assert 1 <= len(differing) <= 2  # 65 bytes make 124 characters after two rounds of base64


async def test_https_with_a_root_that_the_client_knows(
    trusting: OfficialPage, https_site: tuple[str, WebSite]
):
    authority, site = https_site
    answers = await asyncio.gather(
        *(trusting.fetch(f"https://{authority}/bytes/30000?seed={number}") for number in range(3))
    )
    for number, answer in enumerate(answers):
        assert answer["sha256"] == content(30_000, str(number))[1]
    assert {(seen.scheme, seen.host) for seen in site.requests} == {("https", authority)}


async def test_wss_with_a_root_that_the_client_knows(trusting: OfficialPage, https_site: tuple[str, WebSite]):
    authority, _ = https_site
    assert await trusting.run(_WSS_ECHO, f"wss://{authority}/ws/echo") == "under TLS"
