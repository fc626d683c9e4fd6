"""One browser, one local network and one page server for all browser tests.

Everything runs in one event loop of the session, so that a test can also look at and act on the network.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext

from support.chromium import launched
from support.patience import patient

sys.path.insert(0, str(Path(__file__).parent))

from browser_support import SETTINGS, open_mix_page, require_provider
from mix_page import MixPage

from smolmix_web.assets import ensure_assets
from smolmix_web.cli.demo import playground_of
from smolmix_web.localnet.impairment import ImpairmentConfig
from smolmix_web.localnet.network import LocalNetworkConfig
from smolmix_web.localnet.world import LocalWorld

PROVIDERS = ("npm", "cryptography")

session_fixture = pytest_asyncio.fixture(scope="session", loop_scope="session")


@session_fixture
async def assets() -> Path:
    # A build takes longer than a node may keep silent, and networks of other tests live in this process.
    return await asyncio.to_thread(ensure_assets, log=print)


@pytest.fixture(scope="session")
def providers(assets: Path) -> set[str]:
    """The crypto providers that the assets hold."""
    return set(json.loads((assets / "manifest.json").read_text())["providers"])


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest, providers: set[str]) -> str:
    """Each provider in turn."""
    return require_provider(request.param, providers)


@session_fixture
async def world() -> AsyncIterator[LocalWorld]:
    async with LocalWorld(patient()) as world:
        yield world


@session_fixture
async def lossy_world() -> AsyncIterator[LocalWorld]:
    """2 % of the packets are lost and 5 % overtaken on each of the four links of a way."""
    bad = ImpairmentConfig(loss=0.02, reorder=0.05, seed=2)
    async with LocalWorld(patient(LocalNetworkConfig(impairment=bad))) as world:
        yield world


@session_fixture
async def browser() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


@session_fixture
async def site(world: LocalWorld, assets: Path) -> AsyncIterator[str]:
    """URL of the playground for :func:`world`."""
    playground = playground_of(world.describe(), assets)
    yield await playground.start()
    await playground.stop()


@session_fixture
async def lossy_site(lossy_world: LocalWorld, assets: Path) -> AsyncIterator[str]:
    playground = playground_of(lossy_world.describe(), assets)
    yield await playground.start()
    await playground.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[BrowserContext]:
    """A fresh profile; its trace is kept if the test fails."""
    context = await browser.new_context(viewport=SETTINGS.VIEWPORT)
    context.set_default_timeout(SETTINGS.DEFAULT_TIMEOUT)
    await context.tracing.start(screenshots=False, snapshots=False, sources=False)
    yield context
    report = getattr(request.node, "call_report", None)
    failed = report is not None and report.failed
    if failed or SETTINGS.TRACE == "on":
        await context.tracing.stop(path=SETTINGS.RESULTS / f"{request.node.name}.zip")
    await context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.when == "call":
        item.call_report = report  # type: ignore[attr-defined]
    return report


@pytest_asyncio.fixture(loop_scope="session")
async def mix(context: BrowserContext, world: LocalWorld, site: str) -> AsyncIterator[MixPage]:
    """An empty page with smolmix.js; no tunnel yet. Afterwards nothing unexpected was on its console."""
    async with open_mix_page(context, world, site) as mix:
        yield mix
