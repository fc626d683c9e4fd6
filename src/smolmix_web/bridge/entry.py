"""Where boot.js enters Python."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pyodide_js
from pyodide.ffi import create_proxy

from smolmix_web import crypto, features
from smolmix_web.bridge.buffers import give_bytes, take_bytes
from smolmix_web.bridge.handlers import Handlers, TunnelLike
from smolmix_web.bridge.messages import EventMessage, ToPage, emit_message, parse_message
from smolmix_web.bridge.quiet import CollectWhenQuiet
from smolmix_web.options import TunnelOptions
from smolmix_web.platform.browser import BrowserPlatform
from smolmix_web.platform.npm_crypto import worker_provider
from smolmix_web.platform.worker_loop import BatchedCallbacks
from smolmix_web.tunnel import Tunnel


def start(
    post: Callable[[str, Any], None], provider: str, npm: Any, load_brotli: Callable[[], Awaitable[Any]]
) -> Any:
    """Install the crypto provider and return the function that takes the page's messages.

    ``post(text, buffer)`` and the returned ``receive(text, buffer)`` carry what :mod:`.messages` defines.
    ``provider`` is ``"cryptography"`` or ``"npm"``; ``npm`` is the module of the npm bundle.
    ``load_brotli`` gives the module npm-brotli.js.
    """
    BatchedCallbacks(asyncio.get_running_loop())
    crypto.install(worker_provider(provider, npm))
    if features.has("fetch"):
        from smolmix_web.bridge.brotli import LazyBrotli

        LazyBrotli(load_brotli).register()

    def send(message: ToPage) -> None:
        text, data = emit_message(message)
        post(text, give_bytes(data))

    async def connect(options: TunnelOptions, on_event: Callable[[Any], None]) -> TunnelLike:
        logging.getLogger("smolmix_web").setLevel(logging.DEBUG if options.debug else logging.INFO)
        return await Tunnel.connect(options, platform=BrowserPlatform(), on_event=on_event)

    logging.getLogger("smolmix_web").addHandler(PageLogHandler(send))
    handlers = Handlers(send, connect, gauges=_gauges, on_activity=CollectWhenQuiet().touch)

    def receive(text: str, buffer: Any) -> None:
        handlers.receive(parse_message(text, take_bytes(buffer)))

    # Lives as long as the worker.
    return create_proxy(receive)


def _gauges() -> dict[str, int]:
    """``references``: JavaScript objects that Python holds; ``memory``: bytes of WebAssembly memory, which
    never shrinks. Pyodide has no public way to either.
    """
    module = pyodide_js._module
    return {"references": int(module._hiwire_num_refs()), "memory": int(module.HEAPU8.length)}


class PageLogHandler(logging.Handler):
    """Log records as ``log`` events of the page."""

    def __init__(self, send: Callable[[ToPage], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        layer = record.name.removeprefix("smolmix_web.").split(".")[0]
        detail = {"level": record.levelname.lower(), "layer": layer, "message": self.format(record)}
        self._send(EventMessage("log", detail))
