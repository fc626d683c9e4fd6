"""URL and subprotocol rules of a WebSocket (the WHATWG WebSockets standard). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit, urlunsplit

from smolmix_web.errors import OptionError
from smolmix_web.fetch.cookies import CookieJar
from smolmix_web.fetch.headers import Headers, check_headers
from smolmix_web.fetch.request import Origin, parse_url

_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class WebSocketRequest:
    """What to connect to. ``origin`` has scheme http (for ws) or https (for wss): what carries it."""

    url: str
    origin: Origin
    target: str
    protocols: tuple[str, ...] = ()
    headers: Headers = field(default_factory=list, repr=False)

    @classmethod
    def create(
        cls, url: str, protocols: str | Iterable[str] = (), headers: Iterable[tuple[str, str]] = ()
    ) -> WebSocketRequest:
        """:raises OptionError: names what does not fit (url, protocols or headers)."""
        if not isinstance(url, str):
            raise OptionError("url", "a text is wanted")
        scheme, colon, rest = url.strip().partition(":")
        if not colon or scheme.lower() not in _SCHEMES:
            raise OptionError("url", f"unsupported scheme in {url[:200]!r} (expected ws or wss)")
        if "#" in rest:
            raise OptionError("url", "a WebSocket URL has no fragment")
        carried_by = _SCHEMES[scheme.lower()]
        clean, origin, target = parse_url(f"{carried_by}:{rest}")
        parts = urlsplit(clean)
        shown = urlunsplit(("wss" if carried_by == "https" else "ws", *parts[1:]))
        chosen = (protocols,) if isinstance(protocols, str) else tuple(protocols)
        for protocol in chosen:
            if not isinstance(protocol, str) or not _TOKEN.fullmatch(protocol):
                raise OptionError("protocols", f"{protocol!r} is not a subprotocol name")
        if len({protocol.lower() for protocol in chosen}) != len(chosen):
            raise OptionError("protocols", "a subprotocol is named twice")
        return cls(shown, origin, target, chosen, check_headers(headers))

    def with_cookies(self, jar: CookieJar) -> WebSocketRequest:
        """The request with the jar's cookies; a Cookie header of the caller's own wins."""
        if any(name == "cookie" for name, _ in self.headers):
            return self
        line = jar.header(self.origin, self.target, from_other_site=False, safe_method=True)
        return self if line is None else replace(self, headers=[*self.headers, ("cookie", line)])
