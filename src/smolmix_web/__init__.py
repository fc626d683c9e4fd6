"""HTTP, WebSocket and DNS for pages and programs, carried through the Nym mixnet.

::

    async with await Tunnel.connect() as tunnel:
        response = await tunnel.fetch("https://example.com/")

:class:`Tunnel` is the way in, :class:`TunnelOptions` says how, :class:`MixClient` sends raw messages, and
every error is a :class:`SmolmixError`. These names are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smolmix_web import lazy_names

if TYPE_CHECKING:
    from smolmix_web.errors import SmolmixError
    from smolmix_web.options import TunnelOptions
    from smolmix_web.tunnel import MixClient, MixMessage, Tunnel

__version__ = "0.1.0"

__all__ = ["MixClient", "MixMessage", "SmolmixError", "Tunnel", "TunnelOptions", "__version__"]

_HOMES = {
    "MixClient": "tunnel",
    "MixMessage": "tunnel",
    "SmolmixError": "errors",
    "Tunnel": "tunnel",
    "TunnelOptions": "options",
}

__getattr__ = lazy_names.loads(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
