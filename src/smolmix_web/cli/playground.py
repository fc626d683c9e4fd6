"""The web server of the playground: static files, strict headers, and the options of the network at hand.

``/demo/`` and ``/worker/`` lie beside each other as they do in the checkout, so that the page's imports are
the same under every server.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

# What the standard library's table lacks or has wrong on some systems; modules insist on theirs.
CONTENT_TYPES = {
    ".bin": "application/octet-stream",
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".ts": "text/plain",
    ".wasm": "application/wasm",
    ".whl": "application/zip",
    ".zip": "application/zip",
}


def content_security_policy(connect: Iterable[str]) -> str:
    """The policy that a page with the tunnel needs, and no more.

    :param connect: origins besides its own: the directory (http, https) and the gateways (ws, wss).
    """
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self' 'wasm-unsafe-eval'",
            "worker-src 'self'",
            "style-src 'self'",
            # blob: is a fetched image that the playground shows.
            "img-src 'self' blob:",
            " ".join(["connect-src 'self'", *connect]),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def origin_of(url: str) -> str:
    """``https://host:port/path`` -> ``https://host:port``."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Playground:
    """Serves the page on one address. Calling order: :meth:`start`, :meth:`stop`.

    :param assets: folder made by :func:`smolmix_web.assets.build_assets`.
    :param demo: the ``demo`` folder of the checkout.
    :param config: what the page gets as ``config.json``: ``options`` of the tunnel, ``sites`` to try.
    :param connect: see :func:`content_security_policy`.
    :param folders: further folders by URL path ("/bench").
    """

    def __init__(
        self,
        *,
        assets: Path,
        demo: Path,
        config: dict[str, Any],
        connect: Iterable[str],
        folders: Mapping[str, Path] | None = None,
    ) -> None:
        self._headers = {
            "Content-Security-Policy": content_security_policy(connect),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Embedder-Policy": "require-corp",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            # Asked for again, and mostly answered 304: a rebuilt tree is never mixed with an old one.
            "Cache-Control": "no-cache",
        }
        self._config = config
        self._runner: web.AppRunner | None = None
        self._app = web.Application()
        self._app.router.add_get("/", self._redirect("/demo/"))
        self._app.router.add_get("/favicon.ico", self._redirect("/demo/icon.svg"))
        self._app.router.add_get("/demo/", self._index(demo))
        self._app.router.add_get("/demo/config.json", self._serve_config)
        self._app.router.add_static("/demo", demo)
        self._app.router.add_static("/worker", assets)
        for path, folder in (folders or {}).items():
            self._app.router.add_static(path, folder)
        self._app.on_response_prepare.append(self._add_headers)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; a port that is taken gives way to a free one.

        :returns: URL of the playground.
        """
        runner = web.AppRunner(self._app, access_log=None)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            if port == 0 or error.errno != errno.EADDRINUSE:
                raise
            await web.TCPSite(runner, host, 0).start()
        return f"http://{host}:{runner.addresses[0][1]}/demo/"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @staticmethod
    def _redirect(path: str) -> Any:
        async def redirect(_: web.Request) -> web.StreamResponse:
            raise web.HTTPFound(path)

        return redirect

    @staticmethod
    def _index(demo: Path) -> Any:
        async def index(_: web.Request) -> web.StreamResponse:
            return web.FileResponse(demo / "index.html")

        return index

    async def _serve_config(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self._config)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._headers)
        if request.path.startswith("/worker/files/"):
            # Named after their content.
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        if response.status == 200 and (known := CONTENT_TYPES.get(Path(request.path).suffix)):
            response.content_type = known
