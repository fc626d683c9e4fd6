"""Every HTML and JavaScript block, in Chromium over the local network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from aiohttp import web
from playwright.sync_api import Browser, Page, sync_playwright

from docs.blocks import BLOCKS, ROOT, Block, select
from smolmix_web.adapters.blocking import LoopThread
from smolmix_web.assets import ensure_assets
from support.chromium import load_settings

LIMIT = 150_000
"""Milliseconds for one block on a slow machine: a cold start takes five seconds."""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(200)]

CONTENT_TYPES = {".wasm": "application/wasm", ".js": "text/javascript", ".mjs": "text/javascript"}

_SCRIPT = re.compile(r'<script type="module">\n(.*?)</script>', re.DOTALL)
_RUN = """
(async () => {
  try {
    await import('%s');
    return null;
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
})()
"""


def policy(network: dict[str, Any]) -> str:
    """The Content-Security-Policy that the documentation recommends, for this network."""
    # (That of the examples is used by tests/packages.)
    pages = [block for block in select("text") if block.document.parent == ROOT / "docs"]
    (text,) = [block.text for block in pages if block.text.startswith("default-src")]
    sockets = [node["websocket"] for node in network["nodes"].values() if "websocket" in node]
    places = [urljoin(network["directory"], "/"), *sockets]
    local = text.replace("https://validator.nymtech.net wss:", " ".join(places))
    assert local != text
    return " ".join(local.split())


class Site:
    """One origin with the assets under /smolmix/, and the blocks as pages and modules."""

    def __init__(self, network: dict[str, Any], assets: Path) -> None:
        self._files: dict[str, tuple[str, str]] = {}
        options = {
            "network": network["directory"],
            "forceTls": False,
            "trustAnchors": network["trustAnchors"],
        }
        stand_in = (Path(__file__).parent / "docs_page.js").read_text()
        self.add("smolmix/smolmix.js", stand_in.replace("/*NETWORK*/ {}", json.dumps(options)))
        self.add("smolmix/smolmix.real.js", (assets / "smolmix.js").read_text())
        self._app = web.Application()
        self._app.router.add_get("/{path:.*}", self._serve)
        self._assets = assets
        self._policy = policy(network)
        self._runner = web.AppRunner(self._app, access_log=None)

    def add(self, path: str, text: str, content_type: str = "text/javascript") -> None:
        self._files[path] = (text, content_type)

    async def start(self) -> str:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if path in self._files:
            text, content_type = self._files[path]
            headers = {"Content-Security-Policy": self._policy}
            return web.Response(text=text, content_type=content_type, headers=headers)
        file = self._assets / path.removeprefix("smolmix/")
        if not path.startswith("smolmix/") or not file.is_file():
            raise web.HTTPNotFound
        headers = {"Content-Security-Policy": self._policy}  # a worker has that of its own file
        if file.suffix in CONTENT_TYPES:
            headers["Content-Type"] = CONTENT_TYPES[file.suffix]
        return web.FileResponse(file, headers=headers)


@pytest.fixture(scope="module")
def site(network: dict[str, Any]) -> Iterator[tuple[Site, str]]:
    thread, made = LoopThread("docs-site"), Site(network, ensure_assets(log=print))
    yield made, thread.run(made.start())
    thread.run(made.stop())
    thread.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**load_settings().launch_options())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shared_page(browser: Browser, site: tuple[Site, str]) -> Iterator[Page]:
    """The page of the js blocks; the tunnel is set up, as in the text around them."""
    made, url = site
    made.add("empty.html", "<!doctype html><title>docs</title>", "text/html")
    made.add("setup.js", "import { setupMixTunnel } from './smolmix/smolmix.js';\nawait setupMixTunnel();\n")
    page = browser.new_page()
    page.set_default_timeout(LIMIT)
    page.goto(f"{url}/empty.html")
    assert page.evaluate(_RUN % "/setup.js") is None
    yield page
    page.close()


def as_module(block: Block) -> str:
    """The block, with the package's name as its address, and the imports that the text around it shows."""
    if "import " in block.text:
        return block.text.replace("'smolmix-web'", "'./smolmix/smolmix.js'")
    names = re.findall(r"^export (?:async )?(?:function|class|const) (\w+)", JAVASCRIPT, re.MULTILINE)
    for more in re.findall(r"^export \{(.*)\};", JAVASCRIPT, re.MULTILINE):
        names += [name.strip() for name in more.split(",")]
    return f"import {{ {', '.join(names)} }} from './smolmix/smolmix.js';\n{block.text}"


JAVASCRIPT = (ROOT / "worker" / "smolmix.js").read_text()


@pytest.mark.parametrize("block", select("js"), ids=lambda block: block.name)
def test_module(block: Block, browser: Browser, shared_page: Page, site: tuple[Site, str]) -> None:
    made, url = site
    made.add(f"{block.name}.js", as_module(block))
    if "setupMixTunnel({" not in block.text:
        assert shared_page.evaluate(_RUN % f"/{block.name}.js") is None
        return
    page = browser.new_page()  # its tunnel has options of its own
    page.set_default_timeout(LIMIT)
    page.goto(f"{url}/empty.html")
    assert page.evaluate(_RUN % f"/{block.name}.js") is None
    page.close()


@pytest.mark.parametrize("block", select("html"), ids=lambda block: block.name)
def test_page(block: Block, browser: Browser, site: tuple[Site, str]) -> None:
    made, url = site
    match = _SCRIPT.search(block.text)
    assert match is not None, "a page of the documentation has one module"
    made.add(f"{block.name}.js", match[1].replace("'smolmix-web'", "'./smolmix/smolmix.js'"))
    made.add(f"{block.name}.html", _SCRIPT.sub("", block.text), "text/html")
    page = browser.new_page()
    page.set_default_timeout(LIMIT)
    page.goto(f"{url}/{block.name}.html")
    assert page.evaluate(_RUN % f"/{block.name}.js") is None
    assert "Test internet" in page.inner_text("body"), "the page shows what it fetched"
    page.close()


def test_every_block_of_a_page_is_run() -> None:
    for block in BLOCKS:
        assert block.language not in ("javascript", "ts", "typescript", "mjs"), f"{block.name}: say js"
        if block.language in ("js", "html"):
            assert block.words == (), block.name
        if block.language == "json":
            json.loads(block.text)
