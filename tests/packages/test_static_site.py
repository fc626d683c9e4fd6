"""The assets on a plain static server: what comes compressed, what caches keep, what a second build makes."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from package_support import SETTINGS
from playwright.async_api import Browser, Page
from static_site import StaticSite, documented_policy

from smolmix_web.assets import Sources, archives, build, ensure_assets
from smolmix_web.assets.compress import add_compressed
from smolmix_web.assets.sources import sha256
from smolmix_web.assets.wheels import download_pure_wheels
from smolmix_web.features import FEATURES
from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

_FETCH = """
async (options) => {
  const { setupMixTunnel, mixFetch } = await import('/smolmix/smolmix.js');
  await setupMixTunnel(options);
  const response = await mixFetch('http://web.test/bytes/2000');
  return (await response.arrayBuffer()).byteLength;
}
"""


@pytest.fixture(scope="module")
def assets() -> Path:
    return ensure_assets(log=print)


@pytest_asyncio.fixture(loop_scope="module")
async def site(assets: Path, world: LocalWorld, tmp_path: Path) -> AsyncIterator[StaticSite]:
    """The assets with compressed copies beside them, under the headers that the documentation asks for."""
    shutil.copytree(assets, tmp_path / "smolmix")
    (tmp_path / "index.html").write_text("<!doctype html><title>Page</title><link rel='icon' href='data:,'>")
    # As --compress does it, but fast.
    await asyncio.to_thread(add_compressed, Sources.of_checkout(), tmp_path / "smolmix", quality=2)
    network = world.describe()
    gateways = [node["websocket"] for node in network["nodes"].values() if "websocket" in node]
    policy = documented_policy(origin(network["directory"]), map(origin, gateways))
    async with StaticSite(tmp_path, policy) as site:
        yield site


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def use(page: Page, site: StaticSite, world: LocalWorld, client: str) -> None:
    page.set_default_timeout(SETTINGS.SETUP_TIMEOUT)
    await page.goto(site.url)
    options = {"network": world.describe()["directory"], "forceTls": False, "clientId": client}
    assert await page.evaluate(_FETCH, options) == 2000


async def test_files_come_compressed_and_pages_of_one_origin_share_them(
    site: StaticSite, world: LocalWorld, browser: Browser, assets: Path
) -> None:
    manifest = json.loads((assets / "manifest.json").read_text())
    provider = "cryptography" if "cryptography" in manifest["providers"] else "npm"
    wanted = {*build.CORE, manifest["image"], "npm-crypto.js"}
    if provider == "cryptography":
        wanted.add(manifest["providers"]["cryptography"]["archive"])
    hashed = {f"smolmix/{manifest['files'][name]['path']}" for name in wanted}
    context = await browser.new_context()
    first = await context.new_page()
    await use(first, site, world, "first")
    sent = [name for name, _ in site.sent if name.startswith("smolmix/files/")]
    assert sorted(sent) == sorted(hashed), "each once, and nothing else"
    assert {site.encodings[name] for name in [*hashed, "smolmix/smolmix.js"]} == {"br"}
    # Its hash was checked by the browser after decompression; less than half of it went over the wire.
    whole = sum(manifest["files"][name]["size"] for name in wanted)
    assert sum(size for name, size in site.sent if name in hashed) < whole / 2
    # While the first page is still open, and from its own worker.
    site.sent.clear()
    second = await context.new_page()
    await use(second, site, world, "second")
    assert [name for name, _ in site.sent if name.startswith("smolmix/")] == []
    await context.close()


async def test_two_builds_make_the_same_of_the_same(assets: Path, tmp_path: Path) -> None:
    """Archives and memory image included: their names, and the hashes in a page, can be compared."""

    def build_again() -> dict[str, str]:
        sources = Sources.of_checkout()
        pure = download_pure_wheels(sources, sources.root / "build" / "wheels")
        wheels = build._wheels(sources, tmp_path, pure, FEATURES)
        (tmp_path / "out").mkdir()
        archives._run_node(sources, tmp_path / "out", sources.root / "build" / "python", wheels, [])
        return {path.name: sha256(path) for path in (tmp_path / "out").iterdir()}

    files: dict[str, Any] = json.loads((assets / "manifest.json").read_text())["files"]
    again = await asyncio.to_thread(build_again)
    assert set(again) == {"library.zip", "packages.zip", "image.bin"}
    assert again == {name: files[name]["sha256"] for name in again}
