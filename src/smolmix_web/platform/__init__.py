"""Where the tunnel runs: CPython (:mod:`.native`) or a Web Worker (:mod:`.browser`)."""

from __future__ import annotations

import sys

from smolmix_web.platform.base import HttpAnswer, Platform, Storage, WebSocketLink

__all__ = ["HttpAnswer", "Platform", "Storage", "WebSocketLink", "current_platform", "ready_crypto"]


def current_platform() -> Platform:
    """A fresh platform object for this runtime."""
    if sys.platform == "emscripten":
        from smolmix_web.platform.browser import BrowserPlatform

        return BrowserPlatform()
    from smolmix_web.platform.native import NativePlatform

    return NativePlatform()


async def ready_crypto() -> None:
    """See to it that there is a crypto provider, where that takes waiting.

    :raises ImportError: there is none to be had.
    """
    if sys.platform == "emscripten":
        from smolmix_web.platform.npm_crypto import ready_provider

        await ready_provider()
