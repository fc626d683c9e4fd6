"""HTTP listeners of directories and gateways: aiohttp, with deadlines for connections that say nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

from aiohttp import web

_LINGER = 0.5
"""Seconds that the rest of a refused body is still read, so that the answer is not lost in a reset."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Refused(asyncio.Protocol):
    """Accepts a connection only to drop it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


class HttpServer:
    """Any number of listening sockets with one handler.

    :param first_request_timeout: seconds from accepting TCP to the end of the first request's head; who needs
        longer is dropped, so that connections cannot be hoarded.
    :param keepalive_timeout: seconds an idle connection is kept after an answer.
    :param max_connections: more are accepted and dropped at once, as official gateways do.
    :param receive_buffer: bytes that the kernel may hold of a connection that is not read, a hint; None: as
        many as it likes, which can be tens of megabytes.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        first_request_timeout: float,
        keepalive_timeout: float = 0.0,
        max_connections: int = 8192,
        receive_buffer: int | None = None,
    ) -> None:
        self._handler = handler
        self._receive_buffer = receive_buffer
        self._first_request_timeout = first_request_timeout
        self._max_connections = max_connections
        self._http = web.Server(
            self._serve, access_log=None, keepalive_timeout=keepalive_timeout, lingering_time=_LINGER
        )
        self._fresh: dict[object, asyncio.TimerHandle] = {}
        self._servers: list[asyncio.Server] = []
        self.refused = 0
        """Connections dropped because there were too many."""

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._http.connections)

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; the port, chosen by the system when ``port`` is 0. :raises OSError: cannot bind."""
        server = await asyncio.get_running_loop().create_server(self._accept, host, port, ssl=tls)
        self._servers.append(server)
        if self._receive_buffer is not None:  # connections inherit it, and the window scale that goes with it
            for listening in server.sockets:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        return int(server.sockets[0].getsockname()[1])

    async def stop(self, grace: float = 0.5) -> None:
        """Close the sockets, give running handlers ``grace`` seconds, and close all connections."""
        for server in self._servers:
            server.close()
        for timer in self._fresh.values():
            timer.cancel()
        self._fresh.clear()
        transports = [connection.transport for connection in self._http.connections]
        await self._http.shutdown(grace)
        for transport in transports:
            if transport is not None:  # under TLS, close() waits half a minute for the peer's close_notify
                transport.abort()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    def _accept(self) -> asyncio.Protocol:
        if self.connections >= self._max_connections:
            self.refused += 1
            return _Refused()
        protocol = self._http()
        loop = asyncio.get_running_loop()
        self._fresh[protocol] = loop.call_later(self._first_request_timeout, self._expire, protocol)
        return protocol

    def _expire(self, protocol: asyncio.Protocol) -> None:
        self._fresh.pop(protocol, None)
        transport = getattr(protocol, "transport", None)
        if transport is not None:
            transport.abort()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        timer = self._fresh.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()
        return await self._handler(request)
