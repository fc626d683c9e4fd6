"""WebSocket endpoints of the test internet."""

from __future__ import annotations

import asyncio

from aiohttp import WSCloseCode, WSMsgType, web

from smolmix_web.localnet.testnet.tcp import pattern, reset_connection

# The server knows these sub-protocols; it picks the first of its own that the client offers.
SUBPROTOCOLS = ("echo.v2", "echo.v1", "chat")
MAX_MESSAGE = 64 * 1024 * 1024


async def _accept(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(
        protocols=SUBPROTOCOLS, max_msg_size=MAX_MESSAGE, compress=request.query.get("compress") != "0"
    )
    await socket.prepare(request)
    return socket


async def ws_echo(request: web.Request) -> web.WebSocketResponse:
    """Sends every message back; the texts ``close:<code>:<reason>``, ``ping`` and ``drop`` do as they say."""
    socket = await _accept(request)
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await _text(request, socket, message.data)
    return socket


async def _text(request: web.Request, socket: web.WebSocketResponse, text: str) -> None:
    command, _, rest = text.partition(":")
    if command == "close":
        code, _, reason = rest.partition(":")
        await socket.close(code=int(code) if code.isdigit() else 1000, message=reason.encode())
    elif text == "ping":
        await socket.ping(b"are you there")
    elif text == "drop" and request.transport is not None:
        reset_connection(request.transport)
    else:
        await socket.send_str(text)


async def ws_close(request: web.Request) -> web.WebSocketResponse:
    """Closes at once with ``code`` and ``reason`` of the query."""
    socket = await _accept(request)
    code = int(request.query.get("code", WSCloseCode.OK))
    await socket.close(code=code, message=request.query.get("reason", "").encode())
    return socket


async def ws_count(request: web.Request) -> web.WebSocketResponse:
    """Sends ``count`` messages of ``size`` bytes of known content (text numbers when ``size`` is 0), then
    closes.
    """
    socket = await _accept(request)
    count, size = int(request.query.get("count", "10")), int(request.query.get("size", "0"))
    for number in range(min(count, 1_000_000)):
        if size:
            await socket.send_bytes(pattern(min(size, MAX_MESSAGE), str(number).encode()))
        else:
            await socket.send_str(str(number))
    await socket.close(code=WSCloseCode.OK, message=b"done")
    return socket


async def ws_silent(request: web.Request) -> web.WebSocketResponse:
    """Accepts and never says a word; answers pings."""
    socket = await _accept(request)
    async for _ in socket:
        pass
    return socket


async def ws_reject(request: web.Request) -> web.StreamResponse:
    """Refuses the handshake with ``status`` (default 403)."""
    await asyncio.sleep(0)
    return web.Response(status=int(request.query.get("status", "403")), text="no WebSocket here\n")


def add_websocket_routes(application: web.Application) -> None:
    for path, handler in (
        ("/ws/echo", ws_echo),
        ("/ws/close", ws_close),
        ("/ws/count", ws_count),
        ("/ws/silent", ws_silent),
        ("/ws/reject", ws_reject),
    ):
        application.router.add_get(path, handler)
