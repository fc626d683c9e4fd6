"""HTTP/1.1 through the tunnel: what `fetch` is to a page. h11 does the protocol."""

from __future__ import annotations

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
