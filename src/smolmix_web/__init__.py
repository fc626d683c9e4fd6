"""HTTP, WebSocket and DNS for pages and programs, carried through the Nym mixnet.

::

    async with await Tunnel.connect() as tunnel:
        response = await tunnel.fetch("https://example.com/")

:class:`Tunnel` is the way in, :class:`TunnelOptions` says how, :class:`MixClient` sends raw messages, and
every error is a :class:`SmolmixError`. These names are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smolmix_web.errors import SmolmixError
    from smolmix_web.options import TunnelOptions
    from smolmix_web.tunnel import MixClient, MixMessage, Tunnel

__version__ = "0.1.0"

__all__ = ["MixClient", "MixMessage", "SmolmixError", "Tunnel", "TunnelOptions", "__version__"]

_HOMES = {
    "MixClient": "smolmix_web.tunnel",
    "MixMessage": "smolmix_web.tunnel",
    "SmolmixError": "smolmix_web.errors",
    "Tunnel": "smolmix_web.tunnel",
    "TunnelOptions": "smolmix_web.options",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
