"""One request: URL and method rules, and how a redirect changes it. Pure."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from smolmix_web.errors import OptionError
from smolmix_web.fetch.errors import RedirectError
from smolmix_web.fetch.headers import BODY_HEADERS, CREDENTIALS, Headers, check_headers

Body = bytes | AsyncIterator[bytes] | None
RedirectMode = Literal["follow", "error", "manual"]

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})  # RFC 9110 section 9.2.2
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NORMALIZED = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"})
_FORBIDDEN = frozenset({"CONNECT", "TRACE", "TRACK"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host (lower case, IPv6 without brackets) and port: what a connection belongs to."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Value of the Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(url: str, field_name: str = "url") -> tuple[str, Origin, str]:
    """The URL without fragment, its origin, and the request target. :raises OptionError: not fetchable."""
    if not isinstance(url, str):
        raise OptionError(field_name, "a text is wanted")
    # The URL standard strips controls and spaces at the ends and drops tabs and newlines inside.
    url = re.sub(r"[\t\r\n]", "", url.strip("".join(map(chr, range(33)))))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OptionError(field_name, f"{url[:200]!r} is not a URL") from error
    scheme = parts.scheme.lower()
    if not scheme:
        raise OptionError(field_name, f"{url[:200]!r} is not an absolute URL")
    if scheme not in _DEFAULT_PORTS:
        raise OptionError(field_name, f"unsupported scheme {scheme!r} (expected http or https)")
    if parts.username is not None or parts.password is not None:
        raise OptionError(field_name, "a URL with user name or password cannot be fetched")
    host = parts.hostname
    if not host or re.search(r"[\s/\\%<>^`{|}]", host):
        raise OptionError(field_name, "the URL has no usable host")
    if port == 0:
        raise OptionError(field_name, "port 0 cannot be connected to")
    origin = Origin(scheme, host.lower(), port if port is not None else _DEFAULT_PORTS[scheme])
    path = quote(_without_dots(parts.path or "/"), safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/?%:@!$&'()*+,;=~-._[]|^`{}")
    target = f"{path}?{query}" if query else path
    clean = urlunsplit((scheme, origin.authority, path, query, ""))
    return clean, origin, target


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4; ``%2e`` counts as a dot, as the URL standard has it."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments, 1):
        plain = segment.lower().replace("%2e", ".")
        if plain == ".." and kept:
            kept.pop()
        if plain not in (".", ".."):
            kept.append(segment)
        elif number == len(segments):
            kept.append("")
    return "/" + "/".join(kept)


def _from_header(location: str) -> str:
    """A Location; its bytes beyond ASCII are percent-encoded one by one, as browsers do."""
    return "".join(char if ord(char) < 128 else f"%{ord(char):02X}" for char in location)


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch. ``headers`` are the caller's, checked; defaults are added on sending."""

    url: str
    origin: Origin
    target: str
    method: str = "GET"
    headers: Headers = field(default_factory=list, repr=False)
    body: Body = field(default=None, repr=False)

    @classmethod
    def create(
        cls, url: str, *, method: str = "GET", headers: Iterable[tuple[str, str]] = (), body: Body = None
    ) -> FetchRequest:
        """:raises OptionError: names what does not fit (url, method, headers or body)."""
        clean, origin, target = parse_url(url)
        if not isinstance(method, str) or not _METHOD.fullmatch(method):
            raise OptionError("method", f"{method!r} is not an HTTP method")
        if method.upper() in _NORMALIZED:
            method = method.upper()
        if method.upper() in _FORBIDDEN:
            raise OptionError("method", f"{method} is not allowed")
        if body is not None and method in ("GET", "HEAD"):
            raise OptionError("body", f"a {method} request has no body")
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "__aiter__"):
            raise OptionError("body", "bytes or an asynchronous iterator of bytes is wanted")
        return cls(clean, origin, target, method, check_headers(headers), body)

    @property
    def repeatable(self) -> bool:
        """May be sent again after a connection failed: idempotent, and the body is still there."""
        return self.method in IDEMPOTENT and (self.body is None or isinstance(self.body, bytes))

    def redirected(self, status: int, location: str) -> FetchRequest:
        """The request that follows a redirect (Fetch standard, HTTP-redirect fetch; spec/smolmix.md 6.3).

        :raises RedirectError: the target is not fetchable, would leave TLS, or needs a body that is gone.
        """
        try:
            url, origin, target = parse_url(urljoin(self.url, _from_header(location)), "location")
        except (OptionError, ValueError) as error:
            raise RedirectError(f"redirect to a URL that cannot be fetched: {error}") from error
        if self.origin.scheme == "https" and origin.scheme == "http":
            raise RedirectError("redirect from https to http refused (it would leak what TLS protected)")
        method, body, headers = self.method, self.body, self.headers
        to_get = (status in (301, 302) and method == "POST") or (
            status == 303 and method not in ("GET", "HEAD")
        )
        if to_get:
            method, body = "GET", None
            headers = [(name, value) for name, value in headers if name not in BODY_HEADERS]
        elif body is not None and not isinstance(body, bytes):
            raise RedirectError(f"a {status} redirect needs the body again, but a streamed body is gone")
        if origin != self.origin:
            headers = [(name, value) for name, value in headers if name not in CREDENTIALS and name != "host"]
        return replace(self, url=url, origin=origin, target=target, method=method, body=body, headers=headers)
