"""Serves one application at a time over a plain WebSocket (1.1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from aiohttp import WSMsgType, web

from smolmix_web.errors import LocalProtocolError, SmolmixError
from smolmix_web.native_api import binary, text
from smolmix_web.native_api.messages import (
    BadRequest,
    ClosedConnection,
    ErrorKind,
    Failure,
    GetLaneQueueLength,
    GetSelfAddress,
    LaneQueueLength,
    Received,
    Reply,
    Request,
    Response,
    SelfAddress,
    Send,
    SendAnonymous,
)
from smolmix_web.tunnel import MixClient
from smolmix_web.tunnel.messages import MAX_MESSAGE

logger = logging.getLogger("smolmix_web.native_api")

MAX_FRAME: Final = 2 * MAX_MESSAGE
"""Bytes of one request; JSON writes some bytes as six."""


class NativeApiServer:
    """``async with NativeApiServer(client) as server`` serves on :attr:`address`, on every path.

    There is no authentication: whoever reaches the port reads and sends messages. Listen on loopback. While
    no application is connected, the client holds its messages, within its limits.

    :param origins: of web pages that may connect. Others may not: any page that is open on this machine could
        come here otherwise. (The published client lets every page in.)
    """

    def __init__(
        self, client: MixClient, *, host: str = "127.0.0.1", port: int = 1977, origins: Iterable[str] = ()
    ) -> None:
        self._client = client
        self._origins = frozenset(origins)
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        self._busy = False

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; the port is the system's choice where 0 was asked for."""
        assert self._runner is not None, "start first"
        host, port = self._runner.addresses[0][:2]
        return host, port

    async def start(self) -> None:
        """:raises OSError: the address cannot be used."""
        application = web.Application()
        application.router.add_get("/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=0.5, handler_cancellation=True
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop listening and drop the application. Idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> NativeApiServer:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if self._busy or (origin is not None and origin not in self._origins):
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPServiceUnavailable
        self._busy = True
        try:
            socket = web.WebSocketResponse(max_msg_size=MAX_FRAME, timeout=1.0)
            await socket.prepare(request)
            await _Application(self._client, socket).run()
            return socket
        finally:
            self._busy = False


class _Application:
    """One connected application; answers take the form of its last request."""

    def __init__(self, client: MixClient, socket: web.WebSocketResponse) -> None:
        self._client = client
        self._socket = socket
        self._as_text = False

    async def run(self) -> None:
        pushing = asyncio.create_task(self._push())
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self._handle(message.data)
        except ConnectionError as error:
            logger.debug("the application left without its answer: %s", error)
        finally:
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)

    async def _push(self) -> None:
        async for message in self._client:
            await self._tell(Received(message.data, message.sender_tag))
        await self._socket.close()  # the client is over

    async def _handle(self, frame: str | bytes) -> None:
        self._as_text = isinstance(frame, str)
        try:
            request = text.parse_request(frame) if isinstance(frame, str) else binary.parse_request(frame)
            answer = await self._carry_out(request)
        except BadRequest as error:
            answer = error.failure
        except LocalProtocolError as error:
            answer = Failure(ErrorKind.MALFORMED_REQUEST, str(error))
        except SmolmixError as error:
            answer = Failure(ErrorKind.OTHER, str(error))
        if answer is not None:
            await self._tell(answer)

    async def _carry_out(self, request: Request) -> Response | None:
        client = self._client
        if isinstance(request, GetSelfAddress):
            return SelfAddress(client.address)
        lane = request.connection_id
        if isinstance(request, ClosedConnection):
            client.drop_lane(request.connection_id)
            return None
        if isinstance(request, GetLaneQueueLength):
            return LaneQueueLength(request.connection_id, client.queue_length(request.connection_id))
        if isinstance(request, Send):
            await client.send(request.recipient, request.data, connection_id=lane)
        elif isinstance(request, SendAnonymous):
            await client.send_anonymous(
                request.recipient, request.data, reply_surbs=request.reply_surbs, connection_id=lane
            )
        else:
            assert isinstance(request, Reply)
            await client.reply(request.sender_tag, request.data, connection_id=lane)
        return None if lane is None else LaneQueueLength(lane, client.queue_length(lane))

    async def _tell(self, response: Response) -> None:
        if self._as_text:
            await self._socket.send_str(text.emit_response(response))
        else:
            await self._socket.send_bytes(binary.emit_response(response))
