"""HTTP/1.1 through the tunnel: what `fetch` is to a page. h11 does the protocol.

The names below are loaded when first used: rules and limits of requests are wanted where h11 is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smolmix_web import lazy_names

if TYPE_CHECKING:
    from smolmix_web.fetch.client import FetchClient, FetchResponse
    from smolmix_web.fetch.cookies import CookieJar
    from smolmix_web.fetch.errors import BadResponse, BodyTooLarge, RedirectError, ResponseCutOff
    from smolmix_web.fetch.request import FetchRequest
    from smolmix_web.fetch.timeouts import FetchTimeouts

__all__ = [
    "BadResponse",
    "BodyTooLarge",
    "CookieJar",
    "FetchClient",
    "FetchRequest",
    "FetchResponse",
    "FetchTimeouts",
    "RedirectError",
    "ResponseCutOff",
]

__getattr__ = lazy_names.loads(
    __name__,
    {
        "BadResponse": "errors",
        "BodyTooLarge": "errors",
        "CookieJar": "cookies",
        "FetchClient": "client",
        "FetchRequest": "request",
        "FetchResponse": "client",
        "FetchTimeouts": "timeouts",
        "RedirectError": "errors",
        "ResponseCutOff": "errors",
    },
)
