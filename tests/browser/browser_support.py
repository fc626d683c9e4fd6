"""What the browser tests share besides fixtures: settings, the opening of pages, what a page may not say."""

from __future__ import annotations

from typing import Any

import pytest
from mix_page import MixPage
from playwright.async_api import BrowserContext, ConsoleMessage, Page

from smolmix_web.localnet.world import LocalWorld
from support.chromium import load_settings

SETTINGS = load_settings()


def require_provider(name: str, providers: set[str]) -> str:
    if name not in providers:
        pytest.skip(
            f"provider '{name}' is not in the assets: no full Pyodide distribution "
            "(SMOLMIX_PYODIDE_DIST names a folder or URL)"
        )
    return name


class open_mix_page:
    """``async with open_mix_page(context, world, site) as mix``."""

    def __init__(self, context: BrowserContext, world: LocalWorld, site: str) -> None:
        self._context, self._world, self._site = context, world, site
        self._problems: list[str] = []

    async def __aenter__(self) -> MixPage:
        self._page = await self._context.new_page()
        watch(self._page, self._problems)
        # The playground's own icon is a document of this origin without scripts, under the same policy.
        await self._page.goto(f"{self._site}icon.svg")
        mix = MixPage(self._page, tunnel_options(self._world))
        await mix.load()
        return mix

    async def __aexit__(self, *_: object) -> None:
        await self._page.close()
        assert self._problems == []


def watch(page: Page, problems: list[str]) -> None:
    """Collect errors that nobody caught, and what breaks the Content-Security-Policy.

    The console is printed as well: pytest shows it with a test that fails.
    """

    def on_console(message: ConsoleMessage) -> None:
        print(f"{message.type}: {message.text}")
        # Python says the latter of a task that failed with nobody waiting for it.
        if "Content Security Policy" in message.text or "Unhandled exception" in message.text:
            problems.append(message.text)

    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", on_console)


def tunnel_options(world: LocalWorld) -> dict[str, Any]:
    """Options of a set-up in a local network."""
    network = world.describe()
    return {
        "network": network["directory"],
        "forceTls": False,
        "trustAnchors": network["trustAnchors"],
    }
