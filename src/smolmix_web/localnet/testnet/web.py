"""The web server of the test internet: pages of every kind that an HTTP client has to cope with.

``GET /`` lists the paths. Bodies are deterministic (:func:`~smolmix_web.localnet.testnet.tcp.pattern`) and
their SHA-256 is in the header ``X-Content-SHA256``, so that a test need not know them.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import importlib
import json
import zlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aiohttp import hdrs, web

from smolmix_web.localnet.testnet.pictures import PICTURES
from smolmix_web.localnet.testnet.tcp import pattern, reset_connection
from smolmix_web.localnet.testnet.websocket import add_websocket_routes

MAX_BODY = 256 * 1024 * 1024
MAX_SECONDS = 600.0

_PIECE = 64 * 1024
_REDIRECTS = (300, 301, 302, 303, 304, 305, 306, 307, 308)


@dataclass(frozen=True)
class SeenRequest:
    """A request as the server saw it; header names and values as sent, in order."""

    method: str
    scheme: str
    host: str
    path_qs: str
    headers: tuple[tuple[str, str], ...]


class WebSite:
    """The aiohttp application, and the last thousand requests it was asked."""

    def __init__(self) -> None:
        self.requests: deque[SeenRequest] = deque(maxlen=1000)
        self.application = web.Application(client_max_size=MAX_BODY, middlewares=[self._record, self._share])
        self.application.on_response_prepare.append(_add_sharing)
        add = self.application.router.add_route
        for path, handler in _ROUTES.items():
            add("*", path, handler)
        add_websocket_routes(self.application)

    @web.middleware
    async def _record(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.requests.append(
            SeenRequest(request.method, request.scheme, request.host, request.path_qs, _raw_headers(request))
        )
        return await handler(request)

    @web.middleware
    async def _share(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Pages of every origin may read everything, so that a browser's own ``fetch`` can be compared."""
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            return web.Response(headers=_sharing(request))
        return await handler(request)


def _sharing(request: web.Request) -> dict[str, str]:
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    return {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
        hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: "*",
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD, "*"),
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: asked,
    }


async def _add_sharing(request: web.Request, response: web.StreamResponse) -> None:
    if hdrs.ORIGIN in request.headers and hdrs.ACCESS_CONTROL_ALLOW_ORIGIN not in response.headers:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = "*"


def _raw_headers(request: web.Request) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers)


@lru_cache(maxsize=8)
def content(length: int, seed: str = "") -> tuple[bytes, str]:
    """The body of ``/bytes/<length>?seed=<seed>`` and its SHA-256."""
    data = pattern(length, seed.encode())
    return data, hashlib.sha256(data).hexdigest()


def _bounded(text: str, largest: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= largest):
        raise web.HTTPBadRequest(text=f"a number up to {largest} is wanted\n")
    return int(text)


def _query_int(request: web.Request, name: str, default: int, largest: int = MAX_BODY) -> int:
    return _bounded(request.query.get(name, str(default)), largest)


def _query_seconds(request: web.Request, name: str, default: float) -> float:
    try:
        seconds = float(request.query.get(name, default))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_SECONDS:
        raise web.HTTPBadRequest(text=f"{name}: seconds up to {MAX_SECONDS:g} are wanted\n")
    return seconds


def _json(value: object, **arguments: object) -> web.Response:
    return web.Response(text=json.dumps(value, indent=1) + "\n", content_type="application/json")


def _digest_header(digest: str) -> dict[str, str]:
    return {"X-Content-SHA256": digest, hdrs.CONTENT_TYPE: "application/octet-stream"}


# --- bodies ---


async def index(request: web.Request) -> web.Response:
    """This list."""
    items = "".join(
        f"<li><code>{path}</code> {(handler.__doc__ or '').split('.')[0]}</li>\n"
        for path, handler in _ROUTES.items()
    )
    page = f"<!doctype html><title>{request.host}</title><h1>Test internet</h1>\n<ul>\n{items}</ul>\n"
    return web.Response(text=page, content_type="text/html")


async def bytes_of_length(request: web.Request) -> web.Response:
    """Deterministic bytes with their length; ``seed`` varies them."""
    data, digest = content(_bounded(request.match_info["length"], MAX_BODY), request.query.get("seed", ""))
    return web.Response(body=data, headers=_digest_header(digest))


async def chunked(request: web.Request) -> web.StreamResponse:
    """The same bytes in chunks: ``chunks`` pieces of ``size`` bytes, ``pause`` seconds apart."""
    count, size = _query_int(request, "chunks", 5, 100_000), _query_int(request, "size", 1000, 1 << 20)
    pause = _query_seconds(request, "pause", 0)
    data, digest = content(_bounded(str(count * size), MAX_BODY))
    response = web.StreamResponse(headers=_digest_header(digest))
    response.enable_chunked_encoding()
    await response.prepare(request)
    for start in range(0, len(data), size or 1):
        await response.write(data[start : start + size])
        if pause:
            await asyncio.sleep(pause)
    await response.write_eof()
    return response


async def drip(request: web.Request) -> web.StreamResponse:
    """``bytes`` bytes, one at a time, evenly over ``seconds``."""
    count, seconds = _query_int(request, "bytes", 10, 100_000), _query_seconds(request, "seconds", 2)
    data, digest = content(count)
    response = web.StreamResponse(headers={**_digest_header(digest), hdrs.CONTENT_LENGTH: str(count)})
    await response.prepare(request)
    for position in range(count):
        await response.write(data[position : position + 1])
        await asyncio.sleep(seconds / count)
    await response.write_eof()
    return response


async def slow(request: web.Request) -> web.Response:
    """Waits ``seconds`` before it answers; reads what is sent first, unless ``deaf=1``."""
    if not request.query.get("deaf"):
        await request.read()
    await asyncio.sleep(_query_seconds(request, "seconds", 2))
    return web.Response(text="at last\n")


async def stall(request: web.Request) -> web.StreamResponse:
    """Sends half of ``bytes`` bytes, then nothing for ``seconds``, then the rest."""
    count = _query_int(request, "bytes", 10_000)
    data, digest = content(count)
    response = web.StreamResponse(headers={**_digest_header(digest), hdrs.CONTENT_LENGTH: str(count)})
    await response.prepare(request)
    await response.write(data[: count // 2])
    await asyncio.sleep(_query_seconds(request, "seconds", 60))
    await response.write(data[count // 2 :])
    await response.write_eof()
    return response


async def cut(request: web.Request) -> web.StreamResponse:
    """Promises ``bytes`` bytes, sends ``sent`` of them, and closes; ``chunked=1``, ``reset=1`` vary it."""
    count = _query_int(request, "bytes", 10_000)
    sent = min(_query_int(request, "sent", count // 2), count)
    data, digest = content(count)
    response = web.StreamResponse(headers=_digest_header(digest))
    if request.query.get("chunked"):
        response.enable_chunked_encoding()
    else:
        response.content_length = count
    await response.prepare(request)
    await response.write(data[:sent])
    if request.transport is not None:
        if request.query.get("reset"):
            reset_connection(request.transport)
        else:
            request.transport.close()
    return response


async def until_close(request: web.Request) -> web.StreamResponse:
    """A body without length that ends with the connection, as HTTP/1.0 did."""
    data, digest = content(_query_int(request, "bytes", 10_000))
    response = web.StreamResponse(headers=_digest_header(digest))
    response.force_close()
    response._length_check = False  # aiohttp has no public way to send neither a length nor chunks
    await response.prepare(request)
    for start in range(0, len(data), _PIECE):
        await response.write(data[start : start + _PIECE])
    await response.write_eof()
    return response


async def image(request: web.Request) -> web.Response:
    """A picture: ``format`` png or svg, ``size`` pixels a side."""
    size = _query_int(request, "size", 256, 1024)
    kind = request.query.get("format", "png")
    if kind not in PICTURES or size == 0:
        raise web.HTTPBadRequest(text="a format of png or svg, and a size, are wanted\n")
    content_type, draw = PICTURES[kind]
    return web.Response(body=draw(size), content_type=content_type)


# --- what was sent ---


async def echo(request: web.Request) -> web.Response:
    """Method, path, headers, length and SHA-256 of the body as JSON; ``raw=1`` gives the body itself."""
    digest, length, pieces = hashlib.sha256(), 0, []
    raw = request.query.get("raw")
    async for piece in request.content.iter_chunked(_PIECE):
        digest.update(piece)
        length += len(piece)
        if raw:
            pieces.append(piece)
        if length > MAX_BODY:
            raise web.HTTPRequestEntityTooLarge(max_size=MAX_BODY, actual_size=length)
    if raw:
        content_type = request.headers.get(hdrs.CONTENT_TYPE, "application/octet-stream")
        headers = {**_digest_header(digest.hexdigest()), hdrs.CONTENT_TYPE: content_type}
        return web.Response(body=b"".join(pieces), headers=headers)
    return _json(
        {
            "method": request.method,
            "path": request.path_qs,
            "headers": _raw_headers(request),
            "length": length,
            "sha256": digest.hexdigest(),
        }
    )


async def whoami(request: web.Request) -> web.Response:
    """The address that the request came from, as this server sees it, and all that the request told."""
    return _json(
        {
            "address": request.remote,
            "method": request.method,
            "scheme": request.scheme,
            "path": request.path_qs,
            "headers": [f"{name}: {value}" for name, value in _raw_headers(request)],
        }
    )


async def headers(request: web.Request) -> web.Response:
    """The request's headers as JSON, names as sent and in order."""
    return _json(_raw_headers(request))


async def response_headers(request: web.Request) -> web.Response:
    """Every ``name=value`` of the query as a response header; repeated ones stay apart."""
    response = web.Response(text="see the headers\n")
    for name, value in request.query.items():
        try:
            response.headers.add(name, value)
        except ValueError:
            raise web.HTTPBadRequest(text="not a header\n") from None
    return response


async def cookies(request: web.Request) -> web.Response:
    """The request's cookies as JSON."""
    return _json(dict(request.cookies))


async def set_cookies(request: web.Request) -> web.Response:
    """Sets every ``name=value`` of the query as a cookie."""
    response = web.Response(text="cookies set\n")
    for name, value in request.query.items():
        response.set_cookie(name, value)
    return response


async def basic_auth(request: web.Request) -> web.Response:
    """Wants the user ``user`` with the word ``pass`` by Basic authentication."""
    if request.headers.get(hdrs.AUTHORIZATION) != "Basic " + base64.b64encode(b"user:pass").decode():
        raise web.HTTPUnauthorized(headers={hdrs.WWW_AUTHENTICATE: 'Basic realm="test"'})
    return web.Response(text="welcome\n")


# --- statuses and redirects ---


async def status(request: web.Request) -> web.Response:
    """Answers with this status, and the words of ``reason``."""
    code = _bounded(request.match_info["code"], 999)
    if code < 200:
        raise web.HTTPBadRequest(text="200 and up\n")
    text = None if code in (204, 205, 304) else f"status {code}\n"
    return web.Response(status=code, reason=request.query.get("reason"), text=text)


async def redirect(request: web.Request) -> web.Response:
    """Redirects with this status to ``to`` (default ``/echo``); ``to=`` sends no Location."""
    code = _bounded(request.match_info["code"], 399)
    if code not in _REDIRECTS:
        raise web.HTTPBadRequest(text="a status from 300 to 308 is wanted\n")
    target = request.query.get("to", "/echo")
    return web.Response(status=code, headers={hdrs.LOCATION: target} if target else {})


async def redirect_chain(request: web.Request) -> web.Response:
    """Redirects this many times with ``code`` (default 302), the last time to ``/echo``."""
    left = _bounded(request.match_info["count"], 100)
    code = _query_int(request, "code", 302, 399)
    target = f"/redirect-chain/{left - 1}?code={code}" if left > 1 else "/echo"
    return web.Response(status=code, headers={hdrs.LOCATION: target})


async def redirect_loop(request: web.Request) -> web.Response:
    """Redirects to itself."""
    return web.Response(status=302, headers={hdrs.LOCATION: request.path_qs})


# --- content codings ---


def _deflate(data: bytes, window_bits: int) -> bytes:
    compressor = zlib.compressobj(wbits=window_bits)
    return compressor.compress(data) + compressor.flush()


def _brotli(data: bytes) -> bytes:
    compressed: bytes = _module("brotli").compress(data, quality=4)
    return compressed


def _zstd(data: bytes) -> bytes:
    compressed: bytes = _module("compression.zstd", "backports.zstd").compress(data)
    return compressed


def _module(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise web.HTTPNotImplemented(text=f"needs the Python package {names[-1]}\n")


_CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "/gzip": ("gzip", gzip.compress),
    "/gzip-members": ("gzip", lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:])),
    "/gzip-and-more": ("gzip", lambda data: gzip.compress(data) + b"\r\nmore"),
    "/gzip-cut": ("gzip", lambda data: gzip.compress(data)[:-9]),
    "/br": ("br", _brotli),
    "/zstd": ("zstd", _zstd),
    "/br-zstd": ("br, zstd", lambda data: _zstd(_brotli(data))),
    "/deflate": ("deflate", zlib.compress),
    "/raw-deflate": ("deflate", lambda data: _deflate(data, -15)),
    "/gzip-twice": ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    "/unknown-coding": ("rot13", lambda data: data),
}


async def coded(request: web.Request) -> web.Response:
    """``bytes`` bytes of text in the coding of the path; the SHA-256 is that of the decoded text."""
    coding, encode = _CODINGS[request.path]
    count = _query_int(request, "bytes", 10_000, 16 * 1024 * 1024)
    text = base64.b64encode(content(count)[0])[:count]
    digest = hashlib.sha256(text).hexdigest()
    return web.Response(body=encode(text), headers={**_digest_header(digest), hdrs.CONTENT_ENCODING: coding})


_BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(gzip.compress(data)),
    "br": lambda data: _brotli(_brotli(data)),
    "zstd": lambda data: _zstd(_zstd(data)),
}


@lru_cache(maxsize=4)
def _bomb(coding: str) -> bytes:
    return _BOMBS[coding](bytes(96 * 1024 * 1024))


async def bomb(request: web.Request) -> web.Response:
    """96 MiB of zeros, packed twice with the coding of the path."""
    coding = request.match_info["coding"]
    if coding not in _BOMBS:
        raise web.HTTPNotFound
    packed = await asyncio.get_running_loop().run_in_executor(None, _bomb, coding)
    return web.Response(body=packed, headers={hdrs.CONTENT_ENCODING: f"{coding}, {coding}"})


# --- connections ---


async def early(request: web.Request) -> web.Response:
    """Refuses a body before it has come, and closes."""
    response = web.Response(status=413, text="too much\n")
    response.force_close()
    return response


async def close(request: web.Request) -> web.Response:
    """Answers with ``Connection: close``."""
    response = web.Response(text="goodbye\n")
    response.force_close()
    return response


async def close_later(request: web.Request) -> web.Response:
    """Promises to keep the connection and closes it ``seconds`` (default 0.1) after the answer."""
    transport = request.transport
    if transport is not None:
        delay = _query_seconds(request, "seconds", 0.1)
        asyncio.get_running_loop().call_later(delay, transport.close)
    return web.Response(text="see you\n")


async def events(request: web.Request) -> web.StreamResponse:
    """``count`` server-sent events, ``pause`` seconds apart."""
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream"})
    await response.prepare(request)
    async for event in _events(
        _query_int(request, "count", 5, 10_000), _query_seconds(request, "pause", 0.1)
    ):
        await response.write(event)
    await response.write_eof()
    return response


async def _events(count: int, pause: float) -> AsyncIterator[bytes]:
    for number in range(count):
        yield f"id: {number}\ndata: event {number}\n\n".encode()
        await asyncio.sleep(pause)


_ROUTES: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
    "/": index,
    "/bytes/{length}": bytes_of_length,
    "/chunked": chunked,
    "/drip": drip,
    "/slow": slow,
    "/stall": stall,
    "/cut": cut,
    "/until-close": until_close,
    "/image": image,
    "/echo": echo,
    "/whoami": whoami,
    "/headers": headers,
    "/response-headers": response_headers,
    "/cookies": cookies,
    "/cookies/set": set_cookies,
    "/basic-auth": basic_auth,
    "/status/{code}": status,
    "/redirect/{code}": redirect,
    "/redirect-chain/{count}": redirect_chain,
    "/redirect-loop": redirect_loop,
    **dict.fromkeys(_CODINGS, coded),
    "/bomb/{coding}": bomb,
    "/early": early,
    "/close": close,
    "/close-later": close_later,
    "/events": events,
}
