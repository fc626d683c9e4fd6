"""Header rules: what is sent by default, what a caller may not send."""

from __future__ import annotations

import re
from collections.abc import Iterable

from smolmix_web.errors import OptionError
from smolmix_web.fetch import codings

Headers = list[tuple[str, str]]

# CDNs refuse requests that look unlike a browser's (spec/smolmix.md 6.1). All users send the same lines, so
# that these do not tell them apart.
DEFAULTS: tuple[tuple[str, str], ...] = (
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/131.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.9"),
)

# These frame the message and belong to the connection; a caller's value would break or smuggle requests.
FRAMING = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)

# What must not follow a redirect to another origin (Fetch standard, HTTP-redirect fetch, and RFC 9110 15.4).
CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})

# What describes a body, and goes with it when a redirect turns the request into a GET.
BODY_HEADERS = frozenset({"content-encoding", "content-language", "content-location", "content-type"})

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(r"[\x00\r\n]")


def check_headers(given: Iterable[tuple[str, str]]) -> Headers:
    """The caller's headers, names in lower case. :raises OptionError: a name or value HTTP cannot carry."""
    checked: Headers = []
    for name, value in given:
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise OptionError("headers", f"{name!r} is not a header name")
        if not isinstance(value, str):
            raise OptionError("headers", f"the value of {name} is not a text")
        value = value.strip(" \t\r\n")
        if _BAD_VALUE.search(value) or any(ord(character) > 255 for character in value):
            raise OptionError("headers", f"the value of {name} holds characters HTTP cannot carry")
        lower = name.lower()
        if lower in FRAMING:
            raise OptionError("headers", f"{name} is set by the connection itself")
        checked.append((lower, value))
    return checked


def with_defaults(headers: Headers, host: str) -> Headers:
    """``headers`` with Host in front and every default the caller did not give."""
    names = {name for name, _ in headers}
    result: Headers = [] if "host" in names else [("host", host)]
    result += headers
    result += [(name, value) for name, value in DEFAULTS if name not in names]
    if "accept-encoding" not in names:
        # What is asked for in ranges must come as it is: a range counts encoded bytes (Fetch standard).
        result.append(("accept-encoding", "identity" if "range" in names else codings.accept_encoding()))
    return result
