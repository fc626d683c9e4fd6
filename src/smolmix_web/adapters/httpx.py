"""httpx through the tunnel.

::

    async with await Tunnel.connect() as tunnel, async_client(tunnel) as client:
        response = await client.get("https://example.com/")

The tunnel makes the connections, keeps them, and undoes content codings; httpx does redirects, cookies and
authentication as ever. Its own connection options (``verify``, ``http2``, ``limits``, ``proxy``) are for its
own transports and have no meaning here: certificates are always verified, and HTTP/1.1 is spoken.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import httpx

from smolmix_web.adapters.blocking import BlockingTunnel, pieces_of
from smolmix_web.adapters.headers import for_client, for_tunnel
from smolmix_web.errors import (
    DeadlineError,
    LocalProtocolError,
    NetworkError,
    OptionError,
    SmolmixError,
    TunnelClosed,
    TunnelStateError,
)
from smolmix_web.fetch import FetchResponse, FetchTimeouts
from smolmix_web.tls.errors import TlsError
from smolmix_web.tunnel import Tunnel

TIMEOUT: Final = httpx.Timeout(60.0, connect=30.0, pool=120.0)
"""Seconds. httpx's own five are too short for a mixnet, where a round trip may take two."""

_CONNECTING: Final = ("exit", "resolve", "connect", "tls")


def async_client(tunnel: Tunnel, **options: Any) -> httpx.AsyncClient:
    """An ``httpx.AsyncClient`` that uses ``tunnel``, with time-outs that fit a mixnet.

    :param options: of ``httpx.AsyncClient``.
    """
    return httpx.AsyncClient(**{"transport": AsyncMixTransport(tunnel), "timeout": TIMEOUT, **options})


def client(tunnel: BlockingTunnel, **options: Any) -> httpx.Client:
    """An ``httpx.Client`` that uses ``tunnel``; otherwise as :func:`async_client`."""
    return httpx.Client(**{"transport": MixTransport(tunnel), "timeout": TIMEOUT, **options})


class AsyncMixTransport(httpx.AsyncBaseTransport):
    """For ``httpx.AsyncClient(transport=...)``. The tunnel stays open when the client is closed."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """:raises httpx.TransportError: its ``__cause__`` is the tunnel's own error, with its ``code``."""
        body: bytes | AsyncIterator[bytes] | None = _whole_body(request)
        if body is None and _has_body(request):
            assert isinstance(request.stream, httpx.AsyncByteStream)
            body = aiter(request.stream)
        try:
            response = await _fetch(self._tunnel, request, body)
        except SmolmixError as error:
            raise _translated(error, request) from error
        return _response(response, _AsyncBody(response, request))


class MixTransport(httpx.BaseTransport):
    """For ``httpx.Client(transport=...)``. The tunnel stays open when the client is closed."""

    def __init__(self, tunnel: BlockingTunnel) -> None:
        self._tunnel = tunnel

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """:raises httpx.TransportError: its ``__cause__`` is the tunnel's own error, with its ``code``."""
        body: bytes | AsyncIterator[bytes] | None = _whole_body(request)
        if body is None and _has_body(request):
            assert isinstance(request.stream, httpx.SyncByteStream)
            body = pieces_of(request.stream)
        try:
            response = self._tunnel.run(_fetch(self._tunnel.tunnel, request, body))
        except SmolmixError as error:
            raise _translated(error, request) from error
        return _response(response, _Body(self._tunnel, response, request))


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, response: FetchResponse, request: httpx.Request) -> None:
        self._response, self._request = response, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._response:
                yield piece
        except SmolmixError as error:
            raise _translated(error, self._request) from error

    async def aclose(self) -> None:
        await self._response.aclose()


class _Body(httpx.SyncByteStream):
    def __init__(self, tunnel: BlockingTunnel, response: FetchResponse, request: httpx.Request) -> None:
        self._tunnel, self._response, self._request = tunnel, response, request

    def __iter__(self) -> Iterator[bytes]:
        try:
            while piece := self._tunnel.run(self._response.read_chunk()):
                yield piece
        except SmolmixError as error:
            raise _translated(error, self._request) from error

    def close(self) -> None:
        with contextlib.suppress(TunnelClosed):  # then there is nothing left to free
            self._tunnel.run(self._response.aclose())


async def _fetch(
    tunnel: Tunnel, request: httpx.Request, body: bytes | AsyncIterator[bytes] | None
) -> FetchResponse:
    return await tunnel.fetch(
        str(request.url.copy_with(username=None, password=None)),  # httpx has made a header of them
        method=request.method,
        headers=for_tunnel(request.headers.multi_items(), "python-httpx/"),
        body=body,
        redirect="manual",
        timeouts=_timeouts(request.extensions.get("timeout", {})),
        credentials=False,  # httpx keeps cookies itself
    )


def _whole_body(request: httpx.Request) -> bytes | None:
    try:
        content = request.content
    except httpx.RequestNotRead:
        return None
    return content if content or "content-length" in request.headers else None


def _has_body(request: httpx.Request) -> bool:
    return "content-length" in request.headers or "transfer-encoding" in request.headers


def _timeouts(given: dict[str, float | None]) -> FetchTimeouts:
    """httpx's four limits as the tunnel's; None leaves the tunnel's own, for nothing waits for ever here."""
    names = {"connect": ("connect", "tls", "resolve"), "read": ("first_byte", "idle"), "pool": ("queue",)}
    return FetchTimeouts(
        **{name: value for key, many in names.items() if (value := given.get(key)) for name in many}
    )


def _response(
    response: FetchResponse, stream: httpx.AsyncByteStream | httpx.SyncByteStream
) -> httpx.Response:
    return httpx.Response(
        response.status,
        headers=for_client(response),
        stream=stream,
        extensions={
            "http_version": b"HTTP/1.1",
            "reason_phrase": response.reason.encode("latin-1", "replace"),
        },
    )


def _translated(error: SmolmixError, request: httpx.Request) -> httpx.TransportError:
    text = str(error)
    if isinstance(error, DeadlineError):
        if error.phase == "queue":
            return httpx.PoolTimeout(text, request=request)
        kind = httpx.ConnectTimeout if error.phase in _CONNECTING else httpx.ReadTimeout
        return kind(text, request=request)
    if isinstance(error, TunnelStateError | TlsError) or (
        isinstance(error, NetworkError) and error.phase in _CONNECTING
    ):
        return httpx.ConnectError(text, request=request)
    if isinstance(error, NetworkError):
        return httpx.ReadError(text, request=request)
    if isinstance(error, OptionError) and "scheme" in text:
        return httpx.UnsupportedProtocol(text, request=request)
    if isinstance(error, LocalProtocolError):
        return httpx.LocalProtocolError(text, request=request)
    return httpx.RemoteProtocolError(text, request=request)
