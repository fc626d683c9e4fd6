"""The content coding ``br`` in a page: its decoder is a file of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pyodide.ffi import JsException

from smolmix_web.fetch import codings
from smolmix_web.fetch.errors import BadResponse
from smolmix_web.platform.npm_brotli import NpmBrotli


class LazyBrotli:
    """Loads the decoder with the first response that needs it. ``load`` gives the module npm-brotli.js."""

    def __init__(self, load: Callable[[], Awaitable[Any]]) -> None:
        self._load = load
        self._module: NpmBrotli | None = None

    def register(self) -> None:
        """Let responses have the coding."""
        codings.register("br", codings.Available(self._make, self._prepare))

    async def _prepare(self) -> None:
        if self._module is None:
            try:
                self._module = NpmBrotli(await self._load())
            except JsException as error:
                raise BadResponse("the body is packed with br, whose decoder could not be loaded") from error

    def _make(self) -> codings.Coding:
        assert self._module is not None
        return codings.Brotli(self._module)
