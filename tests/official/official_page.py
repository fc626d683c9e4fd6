"""Nym's own browser packages in a page, driven from a test.

The packages are ES modules; the page imports the very files that npm installed, through an import map.
Nothing is bundled, patched or mocked.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.async_api import Browser, ConsoleMessage, Page, Request

NODE_MODULES = Path(__file__).parents[2] / "node_modules"

ENTRY_POINTS = {
    "@nymproject/mix-tunnel": "dist/esm/index.js",
    "@nymproject/mix-fetch": "dist/index.js",
    "@nymproject/mix-dns": "dist/index.js",
    "@nymproject/mix-websocket": "dist/index.js",
}

DIRECTORY = "https://validator.nymtech.net/api/"

_LOAD = """
async (names) => { window.nym = Object.assign({}, ...await Promise.all(names.map((name) => import(name)))); }
"""

# Errors become values: what the worker throws reaches the page as an Error of which only the message is left.
_CALL = """
async ([name, args]) => {
  try {
    return { value: await window.nym[name](...args) ?? null };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}
"""

_FETCH = """
async ([url, init, bodySize]) => {
  if (bodySize !== null) {
    init.body = new Uint8Array(bodySize).map((_, index) => (index * 31 + (index >> 8) * 7) & 255);
  }
  try {
    const response = await window.nym.mixFetch(url, init);
    const body = await response.arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', body));
    return {
      status: response.status, statusText: response.statusText, headers: Object.fromEntries(response.headers),
      size: body.byteLength, sha256: [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join(''),
      text: body.byteLength < 10000 ? new TextDecoder().decode(body) : null,
    };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}
"""


class OfficialError(Exception):
    """A call of the packages rejected; the text is the official client's."""


class OfficialPage:
    """One page with its own worker. Calling order: :meth:`load`, :meth:`setup`, anything else."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console: list[str] = []
        self.directory_requests: list[str] = []
        page.on("console", self._on_console)
        page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        print(f"{message.type}: {message.text}")  # pytest shows it with a test that fails
        self.console.append(message.text)

    def _on_request(self, request: Request) -> None:
        if request.method == "GET" and request.url.startswith(DIRECTORY):
            self.directory_requests.append(request.url.removeprefix(DIRECTORY))

    async def load(self, url: str) -> None:
        await self.page.goto(url)
        await self.page.evaluate(_LOAD, list(ENTRY_POINTS))

    async def call(self, name: str, *arguments: Any) -> Any:
        """:raises OfficialError: the call rejected"""
        return _value_of(await self.page.evaluate(_CALL, [name, list(arguments)]))

    async def setup(self, **options: Any) -> None:
        await self.call("setupMixTunnel", options)

    async def disconnect(self) -> None:
        await self.call("disconnectMixTunnel")

    async def state(self) -> dict[str, Any]:
        state: dict[str, Any] = await self.call("getTunnelState")
        return state

    async def resolve(self, name: str) -> str:
        address: str = await self.call("mixDNS", name)
        return address

    async def fetch(self, url: str, *, body_size: int | None = None, **init: Any) -> dict[str, Any]:
        """Status, headers, size and SHA-256 of a response; the text of a small one.

        ``body_size`` sends :func:`pattern`. :raises OfficialError: the call rejected
        """
        answer: dict[str, Any] = await self.page.evaluate(_FETCH, [url, init, body_size])
        if "error" in answer:
            raise OfficialError(answer["error"])
        return answer

    async def run(self, script: str, argument: Any = None) -> Any:
        """Runs an async function of one argument in the page; the packages' exports are in ``window.nym``."""
        return await self.page.evaluate(script, argument)


OpenPage = Callable[..., Awaitable[OfficialPage]]
LaunchBrowser = Callable[[list[str]], Awaitable[Browser]]

_client_numbers = itertools.count(1)


QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True}
"""Options of a set-up for tests in which traffic of its own makes no difference: it costs two processors."""


def fresh_client_id() -> str:
    """Names a client that no gateway knows."""
    return f"official-{next(_client_numbers)}"


def _value_of(answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise OfficialError(answer["error"])
    return answer["value"]


def pattern(size: int) -> bytes:
    """The bytes that ``body_size`` sends."""
    return bytes((index * 31 + (index >> 8) * 7) & 255 for index in range(size))


class PackageSite:
    """Serves one empty page and the packages on loopback.

    :param transform: what to do with a file's bytes before they are served; default: nothing
    """

    def __init__(self, transform: Callable[[str, bytes], bytes] = lambda path, data: data) -> None:
        imports = {name: f"/{name}/{path}" for name, path in ENTRY_POINTS.items()}
        self._page = (
            '<!doctype html><link rel="icon" href="data:,"><title>official client</title>'
            f'<script type="importmap">{json.dumps({"imports": imports})}</script>'
        )
        self._transform = transform
        application = web.Application()
        application.router.add_get("/", self._index)
        for name, path in ENTRY_POINTS.items():
            application.router.add_get(f"/{name}/{path}", self._module)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def start(self) -> str:
        """The page's URL."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://localhost:{self._runner.addresses[0][1]}/"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _index(self, request: web.Request) -> web.Response:
        return web.Response(text=self._page, content_type="text/html")

    async def _module(self, request: web.Request) -> web.Response:
        path = request.path.lstrip("/")
        data = self._transform(path, (NODE_MODULES / path).read_bytes())
        return web.Response(body=data, content_type="text/javascript")
