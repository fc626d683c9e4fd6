"""A page that runs Python itself: the same package, blocking calls and requests included, in Pyodide."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page

import smolmix_web
from smolmix_web.assets import Sources
from smolmix_web.cli.demo import playground_of
from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

PURE = (
    *("dns", "h11", "wsproto"),
    *("requests", "urllib3", "idna", "certifi", "charset_normalizer"),
    *("httpx", "httpcore", "anyio"),
)
"""What the package, requests and httpx need: pure Python (charset_normalizer leaves its faster parts out)."""

_BOOT = """
async ([options]) => {
  const { loadPyodide } = await import('/pyodide/pyodide.mjs');
  const pyodide = await loadPyodide();
  const parts = await (await fetch('/parts/packages.zip')).arrayBuffer();
  pyodide.unpackArchive(parts, 'zip', { extractDir: '/packages' });
  pyodide.registerJsModule('smolmix_npm_crypto', await import('/parts/npm-crypto.js'));
  pyodide.globals.set('given', JSON.stringify(options));
  await pyodide.runPythonAsync(`
import json, sys
sys.path.insert(0, "/packages")
from smolmix_web import TunnelOptions, crypto
from smolmix_web.platform.npm_crypto import worker_provider
crypto.install(worker_provider("npm"))
options = TunnelOptions.from_mapping(json.loads(given))
`);
  window.pyodide = pyodide;
}
"""


def pack(target: Path) -> None:
    """This package and those that it stands on, as one archive."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("smolmix_web", *PURE):
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            folder = Path(spec.origin).parent
            for path in folder.rglob("*"):
                if path.suffix in (".py", ".pem", ".txt"):
                    archive.write(path, str(path.relative_to(folder.parent)))


@pytest_asyncio.fixture(loop_scope="session")
async def python(
    context: BrowserContext, world: LocalWorld, assets: Path, tmp_path: Path
) -> AsyncIterator[Page]:
    """A page with Pyodide and the packages, and ``options`` of the local network."""
    sources = Sources.of_checkout()
    pack(tmp_path / "packages.zip")
    (tmp_path / "npm-crypto.js").write_bytes(sources.bundle("crypto").read_bytes())
    folders = {"/pyodide": sources.pyodide, "/parts": tmp_path}
    network = world.describe()
    playground = playground_of(network, assets, folders)
    url = await playground.start()
    page = await context.new_page()
    page.set_default_timeout(200_000)
    page.on("console", lambda message: print(message.text))
    await page.goto(f"{url}icon.svg")
    options = {
        "network": network["directory"],
        "forceTls": False,
        "trustAnchors": network["trustAnchors"],
        "disablePoissonTraffic": True,
        "disableCoverTraffic": True,
    }
    await page.evaluate(_BOOT, [options])
    yield page
    await page.close()
    await playground.stop()


async def run(page: Page, code: str) -> object:
    """The JSON value that the last line of a program gives."""
    text = await page.evaluate("(code) => pyodide.runPythonAsync(code)", code)
    return json.loads(text)


async def test_awaiting_and_waiting(python: Page) -> None:
    awaited = """
from smolmix_web import Tunnel
async with await Tunnel.connect(options) as tunnel:
    response = await tunnel.fetch("https://web.test/bytes/50000")
    result = [response.status, len(await response.read())]
    from smolmix_web.adapters.httpx import async_client
    async with async_client(tunnel) as client:
        answer = await client.post("https://web.test/echo", params={"raw": 1}, json=[1, 2])
        result += answer.json()
json.dumps(result)
"""
    assert await run(python, awaited) == [200, 50_000, 1, 2]
    if not await python.evaluate("'Suspending' in WebAssembly"):
        pytest.skip("this browser cannot suspend WebAssembly")
    waited = """
from smolmix_web.adapters.blocking import BlockingTunnel
from smolmix_web.adapters.requests import session
with BlockingTunnel.connect(options) as tunnel, session(tunnel) as web:
    result = [
        len(tunnel.fetch("http://web.test/bytes/3000").read()),
        tunnel.resolve("web.test"),
        web.post("https://web.test/echo", params={"raw": 1}, data=iter([b"one ", b"two"])).text,
        web.get("http://web.test/redirect-chain/2").status_code,
    ]
json.dumps(result)
"""
    assert await run(python, waited) == [3000, "192.0.2.10", "one two", 200]
    assert smolmix_web.__version__ == await run(
        python, "import smolmix_web; json.dumps(smolmix_web.__version__)"
    )
    misused = """
from smolmix_web.errors import TunnelClosed
try:
    tunnel.fetch("http://web.test/")
except TunnelClosed:
    result = "closed"
json.dumps(result)
"""
    assert await run(python, misused) == "closed"
