"""The two clients as pages: how each is served, under which URL it opens, and what it weighs.

Both are served from loopback by servers that let a browser keep the files, find the same directory under its
public name, and reach the same web server under TLS with a certificate that they trust.
"""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import brotli
from aiohttp import web

from smolmix_web.assets import ensure_assets
from smolmix_web.cli.playground import Playground
from smolmix_web.localnet.testnet.certificates import Authority

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "official")]

from official_page import ENTRY_POINTS, NODE_MODULES  # noqa: E402
from swapped_root import MODULE, SwappedRoot  # noqa: E402

from support.chromium import load_settings  # noqa: E402

__all__ = ["Client", "Ours", "Theirs", "Weight", "load_settings", "weigh"]

_PAGE = (
    '<!doctype html><html data-modules="{modules}"><link rel="icon" href="data:,"><title>{title}</title>'
    '{head}<script type="module" src="/compare/page.js"></script></html>'
)


class Client(Protocol):
    """One of the two. ``authority`` issues certificates that it accepts."""

    name: str
    authority: Authority

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def url(self, options: dict[str, Any]) -> str:
        """Of the page that sets the tunnel up with these options."""
        ...


@dataclass(frozen=True, slots=True)
class Weight:
    """Bytes of all the files that a cold start loads, as they are and compressed."""

    plain: int
    gzip: int
    brotli: int

    def __add__(self, other: Weight) -> Weight:
        return Weight(self.plain + other.plain, self.gzip + other.gzip, self.brotli + other.brotli)


def weigh(data: bytes) -> Weight:
    """A file that compresses to no less (an archive) is sent as it is."""
    packed = brotli.compress(data, quality=9, lgwin=22)
    return Weight(
        len(data), min(len(data), len(gzip.compress(data, 9, mtime=0))), min(len(data), len(packed))
    )


class Ours:
    """smolmix-web from its own asset folder, on the server of the playground."""

    name = "ours"

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        page = _PAGE.format(modules="/worker/smolmix.js", title="ours", head="")
        self._playground = Playground(
            assets=ensure_assets(),
            demo=ROOT / "demo",
            config={"options": {}, "sites": []},
            connect=["https:", "wss:"],
            folders={"/compare": _folder({"ours.html": page})},
        )
        self._base = ""

    async def start(self) -> None:
        self._base = (await self._playground.start()).removesuffix("/demo/")

    async def stop(self) -> None:
        await self._playground.stop()

    def url(self, options: dict[str, Any]) -> str:
        options = {**options, "trustAnchors": self.authority.certificate_pem}
        return f"{self._base}/compare/ours.html#{quote(json.dumps(options))}"


class Theirs:
    """Nym's packages as npm installed them, but for one root certificate (tests/official/swapped_root.py)."""

    name = "official"

    def __init__(self) -> None:
        swapped = SwappedRoot()
        self._files = {
            f"/{name}/{path}": (NODE_MODULES / name / path).read_bytes()
            for name, path in ENTRY_POINTS.items()
        }
        self._files[f"/{MODULE}"] = swapped.transform(MODULE, self._files[f"/{MODULE}"])
        self._files["/compare/page.js"] = (HERE / "page.js").read_bytes()
        self.authority = swapped.authority
        imports = {name: f"/{name}/{path}" for name, path in ENTRY_POINTS.items()}
        head = f'<script type="importmap">{json.dumps({"imports": imports})}</script>'
        self._page = _PAGE.format(modules=" ".join(ENTRY_POINTS), title="official", head=head)
        application = web.Application()
        application.router.add_get("/", self._index)
        for path in self._files:
            application.router.add_get(path, self._file)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        self._base = ""

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._base = f"http://localhost:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    def url(self, options: dict[str, Any]) -> str:
        return f"{self._base}/#{quote(json.dumps(options))}"

    async def _index(self, request: web.Request) -> web.Response:
        return web.Response(text=self._page, content_type="text/html")

    async def _file(self, request: web.Request) -> web.Response:
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return web.Response(body=self._files[request.path], content_type="text/javascript", headers=headers)


def _folder(pages: dict[str, str]) -> Path:
    """This folder's ``page.js`` beside the pages, where a static server finds them."""
    folder = ROOT / "build" / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "page.js").write_bytes((HERE / "page.js").read_bytes())
    for name, text in pages.items():
        (folder / name).write_text(text)
    return folder
