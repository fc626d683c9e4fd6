"""A local network that Nym's own browser packages are led to, one Chromium, and pages with the packages.

Everything runs in one event loop of the session, so that a test can also look at and act on the network.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from official_page import LaunchBrowser, OfficialPage, OpenPage, PackageSite, fresh_client_id
from playwright.async_api import Browser, Playwright, async_playwright

from smolmix_web.localnet.browser_access import chromium_flags, with_tls
from smolmix_web.localnet.world import LocalWorld
from support.chromium import load_settings
from support.patience import patient

_session = pytest_asyncio.fixture(scope="session", loop_scope="session")


SETTINGS = load_settings()


@_session
async def playwright_driver() -> AsyncIterator[Playwright]:
    if SETTINGS.chromium_path() is None:
        pytest.fail("no Chromium or Chrome was found; scripts/ensure_chromium.sh installs one")
    async with async_playwright() as driver:
        yield driver


@_session
async def launch_browser(playwright_driver: Playwright) -> AsyncIterator[LaunchBrowser]:
    """Starts Chromium with further flags."""
    async with contextlib.AsyncExitStack() as stack:

        async def launch(flags: list[str]) -> Browser:
            options = SETTINGS.launch_options()
            options["args"] = [*options["args"], *flags]
            browser = await playwright_driver.chromium.launch(**options)
            stack.push_async_callback(browser.close)
            return browser

        yield launch


@_session
async def world() -> AsyncIterator[LocalWorld]:
    async with LocalWorld(with_tls(patient())) as world:
        yield world


@_session
async def browser(world: LocalWorld, launch_browser: LaunchBrowser) -> Browser:
    """Finds :func:`world` under the names that the packages call."""
    return await launch_browser(chromium_flags(world.network))


@_session
async def site() -> AsyncIterator[str]:
    packages = PackageSite()
    yield await packages.start()
    await packages.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, site: str) -> AsyncIterator[OpenPage]:
    """Opens pages, each with a profile of its own unless one is given, and closes all after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(at: str = site, within: Browser = browser) -> OfficialPage:
            context = await within.new_context()
            stack.push_async_callback(context.close)
            official = OfficialPage(await context.new_page())
            await official.load(at)
            return official

        yield open_one


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tunnel(browser: Browser, site: str) -> AsyncIterator[OfficialPage]:
    """A page with a tunnel, the defaults of the packages in force, for the tests of a module to share."""
    context = await browser.new_context()
    official = OfficialPage(await context.new_page())
    await official.load(site)
    await official.setup(clientId=fresh_client_id())
    yield official
    await official.disconnect()
    await context.close()
