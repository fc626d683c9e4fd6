"""A plain static server with the headers that examples/README.md asks for, and notes of what it sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

TYPES = {".wasm": "application/wasm", ".mjs": "text/javascript", ".js": "text/javascript"}


def documented_policy(directory: str, gateways: Iterable[str]) -> str:
    """The one of examples/README.md, for a network whose gateways are known."""
    text = (Path(__file__).parents[2] / "examples" / "README.md").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("default-src"))
    return line.replace("DIRECTORY", directory).replace("wss:", " ".join(gateways))


@dataclass
class StaticSite:
    """Serves ``folder``. ``sent`` has the path and size of each answer with a body, in order."""

    folder: Path
    policy: str
    isolated: bool = False
    sent: list[tuple[str, int]] = field(default_factory=list)
    encodings: dict[str, str] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> StaticSite:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        app.on_response_prepare.append(self._note)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        assert self._runner is not None
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["path"] or "index.html"
        if name.endswith("/"):
            name += "index.json"
        path = self.folder / name
        if not path.is_file():
            raise web.HTTPNotFound
        # Takes .br and .gz files beside it where the browser accepts them.
        response = web.FileResponse(path)
        response.headers["Content-Security-Policy"] = self.policy
        for_ever = "files/" in name
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if for_ever else "no-cache"
        if self.isolated:
            response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
            response.headers["Cross-Origin-Embedder-Policy"] = "require-corp"
        if path.suffix in TYPES:
            response.content_type = TYPES[path.suffix]
        elif name.startswith("simple/"):
            response.content_type = "application/vnd.pypi.simple.v1+json"
        return response

    async def _note(self, request: web.Request, response: web.StreamResponse) -> None:
        if response.status == 200:
            name = request.match_info["path"] or "index.html"
            self.sent.append((name, response.content_length or 0))
            self.encodings[name] = response.headers.get("Content-Encoding", "identity")
