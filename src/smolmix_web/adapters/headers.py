"""Headers between an HTTP library and the tunnel's fetch, which frames, decodes and names itself."""

from __future__ import annotations

from collections.abc import Iterable

from smolmix_web.fetch import FetchResponse
from smolmix_web.fetch.headers import FRAMING, Headers


def for_tunnel(given: Iterable[tuple[str, str]], library: str) -> Headers:
    """What the caller wants sent, without what the library added.

    Framing belongs to the tunnel. The library's name (``python-requests/2.32``) and its ``Accept: */*`` go
    too: with the tunnel's own lines a program looks like every other user of this package, and content
    codings are those that the tunnel can undo.
    """
    added = {("accept", "*/*")}
    return [
        (name, value)
        for name, value in given
        if (lower := name.lower()) not in FRAMING
        and (lower, value) not in added
        and not (lower == "accept-encoding" and value.startswith("gzip, deflate"))  # both libraries' own
        and not (lower == "user-agent" and value.startswith(library))
    ]


def for_client(response: FetchResponse) -> Headers:
    """The response's headers as they fit the decoded body."""
    if not response.header_values("content-encoding"):
        return response.headers
    return [pair for pair in response.headers if pair[0] not in ("content-encoding", "content-length")]
