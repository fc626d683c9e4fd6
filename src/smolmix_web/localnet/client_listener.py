"""The WebSocket listener of an entry gateway: drives one GatewaySession per connection.

Per connection there are two tasks, made by the HTTP server and here: one reads, one writes. The reader stops
while the writer is behind, so a client that uploads without reading its answers is slowed down by TCP. So are
all clients when there is more to do than this process can: a Nym client sends at its pace whatever becomes
of its packets, and what is let in faster than it can be worked off waits longer and longer. A client whose
connection is full slows down.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from smolmix_web.gateway import (
    Dropped,
    GatewayConfig,
    GatewayRegistry,
    GatewaySession,
    PacketUploaded,
)
from smolmix_web.localnet.admission import Admission
from smolmix_web.localnet.http_server import HttpServer
from smolmix_web.nym.mixpacket import MixPacket

MAX_MESSAGE = 1024 * 1024
"""Bytes of one WebSocket message. The largest legal one, an extended32 upload, has 33,182."""

_LINGER = 2.0
"""Seconds to write the last words of a session that was refused."""

_MAX_UNSENT = 256
"""Frames waiting to be written before the reader pauses."""

_RECEIVE_BUFFER = 128 * 1024
"""Bytes per connection that the kernel holds while a reader rests: 60 packets; it may double them."""


@dataclass(frozen=True, slots=True)
class ClientListenerConfig:
    """Times in seconds."""

    session: GatewayConfig = field(default_factory=GatewayConfig)
    max_connections: int = 8192
    upgrade_timeout: float = 1.5  # from TCP accept to the WebSocket's opening


class ClientListener:
    """HTTP server that only speaks WebSocket, on any path, in plain or under TLS.

    :param upload: takes every packet that a client sends.
    """

    def __init__(
        self,
        registry: GatewayRegistry,
        identity_seed: bytes,
        upload: Callable[[MixPacket], None],
        config: ClientListenerConfig | None = None,
    ) -> None:
        self.registry = registry
        self._seed = identity_seed
        self._upload = upload
        self._config = config or ClientListenerConfig()
        self._open: set[_Connection] = set()
        self._http: HttpServer | None = None

    @property
    def connections(self) -> int:
        """Open WebSockets."""
        return len(self._open)

    def peers(self) -> list[str]:
        """IP addresses that clients are connected from."""
        return sorted({connection.peer for connection in self._open})

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen, once per kind of port; the port. :raises OSError: cannot bind."""
        if self._http is None:
            self._http = HttpServer(
                self._serve,
                first_request_timeout=self._config.upgrade_timeout,
                max_connections=self._config.max_connections,
                receive_buffer=_RECEIVE_BUFFER,
            )
        return await self._http.listen(host, port, tls)

    async def stop(self) -> None:
        """Close the sockets and all connections, and wait for their tasks."""
        for connection in list(self._open):
            connection.abort()
        if self._http is not None:
            http, self._http = self._http, None
            await http.stop()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        websocket = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=MAX_MESSAGE, timeout=0.5
        )
        if not websocket.can_prepare(request):
            return web.Response(status=426, text="this is a WebSocket endpoint\n")
        try:
            await websocket.prepare(request)
        except ConnectionResetError:  # gone already; the answer reaches nobody
            return web.Response(status=400)
        connection = _Connection(self, websocket, request.transport)
        self._open.add(connection)
        try:
            await connection.run()
        finally:
            self._open.discard(connection)
        return websocket

    def make_session(self, on_output: Callable[[], None], now: float) -> GatewaySession:
        return GatewaySession(
            self.registry,
            self._seed,
            config=self._config.session,
            unix_time=time.time,
            on_output=on_output,
            now=now,
        )

    def uploaded(self, packet: MixPacket) -> None:
        self._upload(packet)


class _Connection:
    """One WebSocket and its session."""

    def __init__(
        self,
        listener: ClientListener,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._websocket = websocket
        self._transport = transport
        name = transport.get_extra_info("peername") if transport is not None else None
        self.peer = str(name[0]) if name else ""
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._dropped = False
        self._output_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._session = listener.make_session(self._on_output, self._loop.time())
        self._arm()

    async def run(self) -> None:
        writer = self._loop.create_task(self._write())
        try:
            await self._read()
            if self._dropped:  # the last words first; a peer that takes none is not waited for
                await asyncio.wait({writer}, timeout=_LINGER)
        finally:
            self._session.receive_closed(self._loop.time())
            if self._timer is not None:
                self._timer.cancel()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    def abort(self) -> None:
        """Cut the connection without a Close frame."""
        if self._transport is not None:
            self._transport.abort()

    async def _read(self) -> None:
        session, websocket, loop = self._session, self._websocket, self._loop
        admission = Admission(loop)
        while not self._dropped:
            message = await websocket.receive()
            now = loop.time()
            kind = message.type
            if kind is WSMsgType.BINARY:
                session.receive_binary(message.data, now)
            elif kind is WSMsgType.TEXT:
                session.receive_text(message.data, now)
            elif kind is WSMsgType.PING:
                session.receive_ping(now)
                if session.client is not None:
                    await websocket.pong(message.data)
            elif kind is WSMsgType.PONG:
                session.receive_pong(message.data, now)
            else:  # closed, or a protocol error that the WebSocket layer has answered
                return
            self._after_input()
            if session.unsent() > _MAX_UNSENT:
                self._drained.clear()
                await self._drained.wait()
            await admission.passed()

    async def _write(self) -> None:
        websocket = self._websocket
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for frame in self._session.frames_to_send():
                    if isinstance(frame, bytes):
                        await websocket.send_bytes(frame)
                    elif isinstance(frame, str):
                        await websocket.send_str(frame)
                    else:
                        await websocket.ping(frame.payload)
                self._drained.set()
                if self._dropped:
                    self._close()
                    return
        except (ConnectionError, RuntimeError):
            self.abort()  # the peer is gone; the reader finds out by itself
        finally:
            self._drained.set()

    def _after_input(self) -> None:
        session = self._session
        while (event := session.next_event()) is not None:
            if isinstance(event, PacketUploaded):
                self._listener.uploaded(event.packet)
            elif isinstance(event, Dropped):
                self._dropped = True
        if self._dropped or session.unsent():
            self._wake.set()
        if self._timer is not None or session.poll_at() is not None:
            self._arm()

    def _on_output(self) -> None:
        """Another session, or the mixnet, made this one say something."""
        if not self._output_scheduled:
            self._output_scheduled = True
            self._loop.call_soon(self._output_appeared)

    def _output_appeared(self) -> None:
        self._output_scheduled = False
        self._after_input()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._session.poll_at()
        if due is not None:
            self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._session.handle_timer(self._loop.time())
        self._after_input()

    def _close(self) -> None:
        """Flush what is written and close TCP without a Close frame, as the reference does."""
        if self._transport is not None:
            self._transport.close()
