"""One WebSocket connection: wsproto driven over a byte stream.

One task reads: it joins fragments and unpacks, and hands messages over one by one. So a reader who does not
read stops the task, the TCP window closes, and the server waits: nothing piles up. Frames are written under
one lock, in order; reading never waits for it, or a server that does not read until we do would bring both to
a halt.

The end is always told in the same terms as a browser's close event: a code, a reason, and whether the
closing handshake was completed (RFC 6455 section 7.1.5 and 7.1.6; 1006 where the connection just ended).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError as WsprotoMisuse
from wsproto.utilities import RemoteProtocolError as WsprotoFault

from smolmix_web.errors import ConnectionReset, DeadlineError, NetworkError, OptionError, SmolmixError
from smolmix_web.fetch.headers import Headers
from smolmix_web.fetch.timeouts import during
from smolmix_web.sockets.bytestream import ByteStream
from smolmix_web.tls.errors import TlsTruncated
from smolmix_web.websocket.errors import MessageTooLarge, ProtocolViolation, WebSocketClosed
from smolmix_web.websocket.handshake import upgrade
from smolmix_web.websocket.inbox import Assembly, Inbox
from smolmix_web.websocket.request import WebSocketRequest
from smolmix_web.websocket.settings import WebSocketSettings

logger = logging.getLogger("smolmix_web.websocket")

READ_SIZE = 64 * 1024
WRITE_SIZE = 64 * 1024
INFLATE_STEP = 8 * 1024
"""Bytes handed to wsproto at a time: deflate may unpack them a thousandfold before a limit is looked at."""

FRAGMENT = 256 * 1024
"""A longer message leaves in frames of this size, so that a Close or Pong need not wait for all of it."""

NORMAL, ABNORMAL, NO_STATUS, TOO_LARGE = 1000, 1006, 1005, 1009

OpenStream = Callable[[WebSocketRequest, WebSocketSettings], Awaitable[ByteStream]]


class WebSocketClient:
    """An open WebSocket. Made by :meth:`connect`; ended by :meth:`close`, :meth:`abort` or the server.

    Messages come from :meth:`receive` until it returns None; then :attr:`close_code`, :attr:`close_reason`
    and :attr:`was_clean` tell how it ended.
    """

    def __init__(self, stream: ByteStream, settings: WebSocketSettings) -> None:
        """Use :meth:`connect`."""
        self.protocol = ""
        """The subprotocol that the server chose, or an empty text."""
        self.extensions = ""
        """The extensions in use, in header form."""
        self.handshake_headers: Headers = []
        """Headers of the server's answer to the upgrade, names in lower case."""
        self.close_code = ABNORMAL
        self.close_reason = ""
        self.was_clean = False
        self.failure: SmolmixError | None = None
        """Why the connection failed, where it did. None where the server just ended it, in order or not."""
        self._stream = stream
        self._settings = settings
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._sending = asyncio.Lock()  # of a message, whose frames stay together
        self._writing = asyncio.Lock()  # of a frame
        self._inbox = Inbox()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ping: Ping | None = None  # the latest that we have not answered
        self._close_sent = False
        self._over = asyncio.Event()
        self._heard = 0
        self._on_over: Callable[[WebSocketClient], None] | None = None

    def __repr__(self) -> str:
        return f"<WebSocketClient {self._ws.state.name}>"

    def on_over(self, call: Callable[[WebSocketClient], None]) -> None:
        """``call`` is called once, when the connection is over."""
        if self._over.is_set():
            call(self)
        else:
            self._on_over = call

    # -- opening -------------------------------------------------------------------------------------------

    @classmethod
    async def connect(
        cls,
        request: WebSocketRequest,
        open_stream: OpenStream,
        settings: WebSocketSettings | None = None,
    ) -> WebSocketClient:
        """Connect, upgrade, and start to receive.

        :raises HandshakeRefused: the server did not upgrade. :raises NetworkError: no connection.
        :raises DeadlineError: a phase took too long.
        """
        settings = settings if settings is not None else WebSocketSettings()
        stream = await open_stream(request, settings)
        client = cls(stream, settings)
        try:
            try:
                with during("response"):
                    async with asyncio.timeout(settings.handshake_timeout):
                        agreed = await upgrade(client._ws, stream, request, compression=settings.compression)
            except TimeoutError as error:
                if isinstance(error, SmolmixError):
                    raise
                with during("firstByte"):
                    raise DeadlineError("WebSocket handshake", settings.handshake_timeout) from error
        except BaseException:
            stream.abort()
            raise
        client.protocol, client.extensions = agreed.protocol, agreed.extensions
        client.handshake_headers = agreed.headers
        logger.debug("open to %s", request.origin.authority)
        client._spawn(client._read(agreed.events), "websocket-reader")
        if settings.ping_interval is not None:
            client._spawn(client._keep_alive(settings.ping_interval), "websocket-pinger")
        return client

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- sending -------------------------------------------------------------------------------------------

    async def send(self, message: str | bytes) -> None:
        """Send one message; returns when it has left for the send buffer of TCP.

        :raises WebSocketClosed: closing or closed. :raises NetworkError: the connection was lost.
        :raises DeadlineError: the server took nothing for too long; this ends the connection.
        """
        if not isinstance(message, str | bytes):
            raise OptionError("message", "a text or bytes are wanted")
        async with self._sending:
            pieces = [message[at : at + FRAGMENT] for at in range(0, len(message), FRAGMENT)] or [message]
            for number, piece in enumerate(pieces, 1):
                last = number == len(pieces)
                await self._write(
                    TextMessage(data=piece, message_finished=last)
                    if isinstance(piece, str)
                    else BytesMessage(data=bytearray(piece), message_finished=last)
                )

    async def _write(self, frame: Event) -> None:
        """One frame. :raises WebSocketClosed: closing or closed, in the middle of a message as well."""
        async with self._writing:
            if self._close_sent or self._over.is_set() or self._ws.state is not ConnectionState.OPEN:
                raise self.failure or WebSocketClosed("the WebSocket is closing or closed")
            try:
                wire = self._ws.send(frame)
            except WsprotoMisuse as error:
                raise WebSocketClosed("the WebSocket is closing") from error
            await self._write_wire(wire)

    async def _write_wire(self, wire: bytes) -> None:
        view, limit = memoryview(wire), self._settings.idle_timeout
        for start in range(0, len(wire), WRITE_SIZE):
            try:
                async with asyncio.timeout(limit):
                    await self._stream.write(bytes(view[start : start + WRITE_SIZE]))
            except TimeoutError as error:
                if isinstance(error, SmolmixError):
                    raise
                stalled = DeadlineError("server to take more of a message", limit)
                stalled.phase = "idle"
                self._fail(stalled)
                raise stalled from error

    async def _answer(self, event: Event) -> None:
        """A control frame, if it can still be sent."""
        async with self._writing:
            with contextlib.suppress(WsprotoMisuse, NetworkError, DeadlineError):
                await self._write_wire(self._ws.send(event))

    def _answer_ping(self, ping: Ping) -> None:
        """Answer it soon; of several that wait, the last one is enough (RFC 6455 section 5.5.3)."""
        waits, self._ping = self._ping is not None, ping
        if not waits:
            self._spawn(self._send_pong(), "websocket-pong")

    async def _send_pong(self) -> None:
        async with self._writing:
            ping, self._ping = self._ping, None
            if ping is not None and not self._over.is_set():
                with contextlib.suppress(WsprotoMisuse, NetworkError, DeadlineError):
                    await self._write_wire(self._ws.send(ping.response()))

    async def _keep_alive(self, interval: float) -> None:
        while True:
            heard = self._heard
            await asyncio.sleep(interval)
            # A reader who does not read keeps us from hearing, which is not the server's fault.
            if heard != self._heard or self._inbox.is_blocked:
                continue
            await self._answer(Ping(payload=b""))
            await asyncio.sleep(self._settings.ping_timeout)
            if heard == self._heard and not self._inbox.is_blocked:
                self._fail(DeadlineError("pong", self._settings.ping_timeout))
                return

    # -- receiving -----------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes | None:
        """The next message; None once the connection is over and all messages were taken."""
        return await self._inbox.get()

    async def _read(self, events: list[Event]) -> None:
        """Runs until the connection is over; ends in every case with the closing marks set."""
        assembly = Assembly(self._settings.max_message_size)
        try:
            while await self._handle(events, assembly):
                data = await self._stream.read(READ_SIZE)
                self._heard += 1
                events = []
                for start in range(0, len(data), INFLATE_STEP):
                    if not await self._handle(events, assembly):
                        return
                    self._ws.receive_data(data[start : start + INFLATE_STEP])
                    events = list(self._ws.events())
                if not data:
                    self._ws.receive_data(None)
                    events = list(self._ws.events())
                    if not events:
                        break
        except (ConnectionReset, TlsTruncated):
            pass  # 1006, but nothing that we ended for a reason
        except SmolmixError as error:
            self.failure = self.failure or error
        except WsprotoFault as error:
            self.failure = ProtocolViolation(f"the server broke the WebSocket protocol: {error}")
        finally:
            await self._finish()

    async def _handle(self, events: list[Event], assembly: Assembly) -> bool:
        """Act on events in order; False when the connection is over."""
        for event in events:
            if isinstance(event, TextMessage | BytesMessage):
                try:
                    message = assembly.add(event)
                except OverflowError:
                    self.failure = MessageTooLarge("a message larger than the limit arrived")
                    await self._answer(CloseConnection(code=TOO_LARGE, reason="message too large"))
                    self.close_code, self._close_sent = TOO_LARGE, True
                    return False
                if message is not None:
                    await self._inbox.put(message)
            elif isinstance(event, Ping):
                self._answer_ping(event)
            elif isinstance(event, CloseConnection):
                await self._closed_by_peer(event)
                return False
        return True

    async def _closed_by_peer(self, event: CloseConnection) -> None:
        code = event.code if event.code is not None else NO_STATUS
        if code == ABNORMAL:  # wsproto's word for a stream that ended without a Close frame
            return
        if self._ws.state not in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
            # wsproto's word for frames that break the rules: tell the server why, then fail (RFC 6455 7.1.7).
            self.failure = ProtocolViolation(f"the server broke the WebSocket protocol: {event.reason}")
            await self._answer(CloseConnection(code=code, reason=None))
            return
        if self._ws.state is ConnectionState.REMOTE_CLOSING:
            await self._answer(event.response())
        self.close_code, self.close_reason = int(code), event.reason or ""
        self.was_clean = True

    def _tell_over(self) -> None:
        self._over.set()
        call, self._on_over = self._on_over, None
        if call is not None:
            call(self)

    async def _finish(self) -> None:
        logger.debug("closed with %d", self.close_code)
        self._tell_over()
        self._stop_tasks()
        if self.was_clean:
            with contextlib.suppress(SmolmixError, TimeoutError):
                async with asyncio.timeout(5):
                    await self._stream.close()
        else:
            self._stream.abort()
        self._inbox.end()

    def _stop_tasks(self) -> None:
        """All but the one that calls this."""
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _fail(self, error: SmolmixError) -> None:
        self.failure = self.failure or error
        self._stream.abort()
        self._inbox.end()  # the reader may wait for somebody to take a message

    # -- closing -------------------------------------------------------------------------------------------

    async def close(self, code: int | None = NORMAL, reason: str = "") -> None:
        """Send a Close frame and wait for the peer's; after ``close_timeout`` the connection is cut.

        Messages that arrive meanwhile can still be received. Idempotent.

        :param code: None sends none, and the server sees 1005; a reason makes it 1000.
        :raises OptionError: ``code`` is not 1000 or 3000 to 4999, or the reason has more than 123 bytes.
        """
        if code is None and reason:
            code = NORMAL
        if code is not None and code != NORMAL and not 3000 <= code <= 4999:
            raise OptionError("code", f"{code} is not 1000 or between 3000 and 4999")
        if len(reason.encode()) > 123:
            raise OptionError("reason", "longer than 123 bytes in UTF-8")
        if not self._close_sent and not self._over.is_set():
            self._close_sent = True
            # wsproto sends an empty frame for 1005, which never travels itself (RFC 6455 section 7.4.1).
            wanted = CloseReason.NO_STATUS_RCVD if code is None else code
            await self._answer(CloseConnection(code=wanted, reason=reason or None))
        try:
            async with asyncio.timeout(self._settings.close_timeout):
                await self._over.wait()
        except TimeoutError:
            self._fail(DeadlineError("the server's Close frame", self._settings.close_timeout))
            await self._over.wait()

    def abort(self) -> None:
        """Cut the connection at once. Idempotent."""
        self._stop_tasks()
        self._tell_over()
        self._stream.abort()
        self._inbox.end()
