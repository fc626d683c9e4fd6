"""The message kinds of WebSockets. Part of :class:`~smolmix_web.bridge.handlers.Handlers`.

The page asks for one message at a time, so that a page which is busy closes the TCP window, and the server
waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from smolmix_web.bridge.limits import socket_settings
from smolmix_web.bridge.messages import (
    ResultMessage,
    SocketClose,
    SocketOpen,
    SocketReceive,
    SocketRequest,
    SocketSend,
    describe,
)
from smolmix_web.errors import LocalProtocolError, SmolmixError
from smolmix_web.websocket.settings import WebSocketSettings


class WebSocketLike(Protocol):
    """The part of :class:`smolmix_web.websocket.WebSocketClient` that is used here."""

    protocol: str
    extensions: str
    close_code: int
    close_reason: str
    was_clean: bool
    failure: SmolmixError | None

    async def receive(self) -> str | bytes | None: ...

    async def send(self, message: str | bytes) -> None: ...

    async def close(self, code: int | None = ..., reason: str = ...) -> None: ...

    def abort(self) -> None: ...


class SocketOpener(Protocol):
    """The part of :class:`smolmix_web.tunnel.Tunnel` that is used here."""

    async def open_websocket(
        self,
        url: str,
        protocols: Iterable[str],
        *,
        headers: Iterable[tuple[str, str]],
        settings: WebSocketSettings,
    ) -> WebSocketLike: ...


class SocketHandlers:
    """Sockets by the id of the request that opened them, until the page has learnt of their end."""

    def __init__(self) -> None:
        self._sockets: dict[int, WebSocketLike] = {}

    def __len__(self) -> int:
        return len(self._sockets)

    async def serve(self, message: SocketRequest, tunnel: SocketOpener) -> ResultMessage:
        """Carry one request out."""
        match message:
            case SocketOpen():
                return ResultMessage(message.id, await self._open(message, tunnel))
            case SocketReceive():
                return await self._receive(message)
            case SocketSend():
                await self._send(message)
            case SocketClose():
                await self._socket(message.target).close(message.code, message.reason)
        return ResultMessage(message.id)

    def abort(self, identifier: int) -> None:
        """Cut the connection, if there is one."""
        socket = self._sockets.pop(identifier, None)
        if socket is not None:
            socket.abort()

    def abort_all(self) -> None:
        for identifier in list(self._sockets):
            self.abort(identifier)

    async def _open(self, message: SocketOpen, tunnel: SocketOpener) -> dict[str, Any]:
        settings = socket_settings(message.timeouts, message.ping_interval, message.max_message_size)
        socket = await tunnel.open_websocket(
            message.url, message.protocols, headers=message.headers, settings=settings
        )
        self._sockets[message.id] = socket
        return {"protocol": socket.protocol, "extensions": socket.extensions}

    async def _receive(self, message: SocketReceive) -> ResultMessage:
        socket = self._socket(message.target)
        received = await socket.receive()
        if isinstance(received, str):
            return ResultMessage(message.id, {"text": received})
        if received is not None:
            return ResultMessage(message.id, {}, received)
        self._sockets.pop(message.target, None)
        failure = None if socket.failure is None else describe(socket.failure)
        closed = {
            "code": socket.close_code,
            "reason": socket.close_reason,
            "wasClean": socket.was_clean,
            "error": failure,
        }
        return ResultMessage(message.id, {"closed": closed})

    async def _send(self, message: SocketSend) -> None:
        content = message.text if message.text is not None else message.data
        if content is None:
            raise LocalProtocolError("a message without content")
        await self._socket(message.target).send(content)

    def _socket(self, identifier: int) -> WebSocketLike:
        if identifier not in self._sockets:
            raise LocalProtocolError(f"socket {identifier} is not open")
        return self._sockets[identifier]
