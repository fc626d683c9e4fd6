"""A page with the tunnel talks to its own origin, the directory and the gateway, and to nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser_support import SETTINGS, open_mix_page
from logging_proxy import LoggingProxy
from playwright.async_api import async_playwright

from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


# Where Chrome and Chromium themselves connect to.
VENDOR = (".google.com", ".googleapis.com", ".gvt1.com", ".gstatic.com")


def host(url: str) -> str:
    return urlsplit(url).netloc


async def test_no_other_host_is_contacted(world: LocalWorld, site: str) -> None:
    """Every connection of the browser, its workers included, goes through a proxy that takes notes.

    Chrome's own calls home are on the list as well (no flag silences them all). The page cannot be behind
    them: its policy forbids it, and an attempt would be on the console, which fails the test.
    """
    network = world.describe()
    gateways = {host(node["websocket"]) for node in network["nodes"].values() if "websocket" in node}
    async with LoggingProxy() as proxy, async_playwright() as playwright:
        browser = await playwright.chromium.launch(**SETTINGS.launch_options(proxy=proxy.url))
        async with open_mix_page(await browser.new_context(), world, site) as mix:
            assert await mix.setup() == {"value": None}
            answer = await mix.fetch("http://web.test/bytes/20000")
            assert answer["size"] == 20_000
            assert (await mix.fetch("http://other.test/"))["status"] == 200
            await mix.call("disconnectMixTunnel")
        await browser.close()
        contacted = {name for name in proxy.contacted if not name.split(":")[0].endswith(VENDOR)}
    assert host(site) in contacted
    assert host(network["directory"]) in contacted
    assert contacted & gateways
    assert contacted <= {host(site), host(network["directory"]), *gateways}


async def test_the_page_is_served_under_a_policy_that_names_them(
    context, world: LocalWorld, site: str
) -> None:
    response = await context.request.get(f"{site}index.html")
    policy = dict(
        directive.split(" ", 1) for directive in response.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
    network = world.describe()
    sockets = {f"ws://{host(node['websocket'])}" for node in network["nodes"].values() if "websocket" in node}
    directory = f"http://{host(network['directory'])}"
    clear = {f"http://{host(url)}" for url in network["clear"].values()}  # what the page compares with
    assert set(policy["connect-src"].split()) == {"'self'", directory, *sockets, *clear}


async def test_assets_have_the_types_that_browsers_insist_on(context, site: str, assets: Path) -> None:
    files = json.loads((assets / "manifest.json").read_text())["files"]
    for name, content_type, cached in [
        ("worker.js", "text/javascript", "no-cache"),
        ("pyodide.mjs", "text/javascript", "public, max-age=31536000, immutable"),
        ("pyodide.asm.wasm", "application/wasm", "public, max-age=31536000, immutable"),
    ]:
        path = files[name]["path"]
        response = await context.request.get(site.replace("/demo/", f"/worker/{path}"))
        assert response.headers["content-type"].split(";")[0] == content_type
        assert response.headers["cache-control"] == cached
        assert await response.body() == (assets / path).read_bytes()
