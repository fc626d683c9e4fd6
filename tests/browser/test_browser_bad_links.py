"""Large bodies arrive byte-exact while the links between the nodes lose and reorder packets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from browser_support import open_mix_page, require_provider
from mix_page import MixPage, pattern, sha256
from playwright.async_api import Browser

from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(420)]

DOWNLOAD = 5_000_000
UPLOAD = 1_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["npm", "cryptography"])
async def mix(
    request: pytest.FixtureRequest,
    browser: Browser,
    lossy_world: LocalWorld,
    lossy_site: str,
    providers: set[str],
) -> AsyncIterator[MixPage]:
    provider = require_provider(request.param, providers)
    context = await browser.new_context()
    context.set_default_timeout(400_000)
    async with open_mix_page(context, lossy_world, lossy_site) as mix:
        # Pacing would set the pace here (50 packets a second); its own tests are elsewhere.
        quick = {"disablePoissonTraffic": True, "disableCoverTraffic": True}
        assert await mix.setup(cryptoProvider=provider, **quick) == {"value": None}
        yield mix
    await context.close()


async def test_download(mix: MixPage) -> None:
    answer = await mix.fetch(f"http://web.test/bytes/{DOWNLOAD}")
    assert answer["size"] == DOWNLOAD
    assert answer["sha256"] == dict(answer["headers"])["x-content-sha256"]


async def test_upload(mix: MixPage) -> None:
    answer = await mix.fetch("http://web.test/echo", method="POST", body_size=UPLOAD)
    assert answer["status"] == 200
    assert sha256(pattern(UPLOAD)) in answer["text"]
    lost = (await mix.call("getTunnelStats"))["value"]["nym"]["retransmissions"]
    assert lost > 0, "the links were not bad"
