"""A TLS session as a byte stream over another byte stream.

Reading and writing are made by different tasks, and neither may wait for the other: a server that does not
read until we have read would otherwise bring both to a halt. So :meth:`TlsStream.read` never writes itself.
What the engine wants to send while reading (an answer to a key update, an alert) is taken along by the task
that is writing just then, or else by a task of its own. All bytes leave under one lock, in the order in which
the engine made them.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from smolmix_web.errors import SmolmixError, TunnelClosed
from smolmix_web.sockets.bytestream import ByteStream
from smolmix_web.tls.client import TlsClient
from smolmix_web.tls.config import TlsConfig
from smolmix_web.tls.errors import TlsError
from smolmix_web.tls.events import DataReceived, HandshakeComplete

#: Plaintext that is encrypted ahead of the lower stream's back-pressure, bytes.
_WRITE_CHUNK: Final = 1 << 16
_READ_CHUNK: Final = 1 << 16
#: Seconds for which a dying session tries to get its alert or close_notify out.
_LINGER: Final = 5.0


async def wrap(
    stream: ByteStream,
    server_name: str,
    config: TlsConfig | None = None,
    *,
    unix_time: Callable[[], float] = time.time,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> TlsStream:
    """Make a TLS session over ``stream`` and return once the server is authenticated.

    There is no time-out here; cancel the call instead. ``stream`` belongs to the session from now on: it is
    aborted when the handshake fails or is cancelled.

    :raises TlsError: the handshake failed; the alert has been sent as far as the stream took it.
    :raises OptionError: ``server_name`` or the configuration is not acceptable; ``stream`` is then untouched.
    """
    client = TlsClient(server_name, config or TlsConfig(), unix_time=unix_time, random_bytes=random_bytes)
    session = TlsStream(stream, client)
    await session._handshake()
    return session


class TlsStream:
    """The :class:`~smolmix_web.sockets.bytestream.ByteStream` that :func:`wrap` returns."""

    def __init__(self, lower: ByteStream, client: TlsClient) -> None:
        self._lower = lower
        self._client = client
        self._info: HandshakeComplete | None = None
        self._chunks: deque[bytes] = deque()
        self._eof = False
        self._error: TlsError | None = None
        self._closed = False
        self._write_lock = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None

    @property
    def info(self) -> HandshakeComplete:
        """What was negotiated, and the server's certificates."""
        assert self._info is not None
        return self._info

    async def _handshake(self) -> None:
        try:
            self._client.start()
            await self._write_pending()
            while self._info is None:
                await self._receive()
                self._take_events()
                if self._info is None:
                    await self._write_pending()
            # Our Finished waits for the end of this turn of the event loop: what the caller writes first then
            # leaves together with it, which spares a packet.
            self._flush_soon()
        except TlsError:
            with suppress(SmolmixError, OSError, TimeoutError):
                await asyncio.wait_for(self._write_pending(), _LINGER)
            self.abort()
            raise
        except BaseException:
            self.abort()
            raise

    # -- reading -------------------------------------------------------------------------------------

    async def read(self, max_bytes: int = 65536) -> bytes:
        """:raises TlsTruncated: the connection ended without close_notify.
        :raises TlsError: the server broke the protocol.
        """
        while not self._chunks:
            if self._eof:
                return b""
            if self._closed:
                raise TunnelClosed("the stream was closed")
            if self._error is not None:
                raise self._error
            try:
                await self._receive()
            except TlsError as error:
                self._error = error  # raised once what came before it has been read
            self._take_events()
            if self._client.wants_to_send or self._error is not None:
                self._flush_soon()
        chunk = self._chunks.popleft()
        if len(chunk) > max_bytes:
            self._chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        return chunk

    async def _receive(self) -> None:
        data = await self._lower.read(_READ_CHUNK)
        if data:
            self._client.receive_data(data)
        else:
            self._client.receive_eof()

    def _take_events(self) -> None:
        while (event := self._client.next_event()) is not None:
            if isinstance(event, DataReceived):
                self._chunks.append(event.data)
            elif isinstance(event, HandshakeComplete):
                self._info = event
            else:
                self._eof = True

    # -- writing -------------------------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """:raises LocalProtocolError: after :meth:`write_eof` or an error of the session.
        :raises TunnelClosed: after :meth:`close` or :meth:`abort`.
        """
        if self._closed:
            raise TunnelClosed("the stream was closed")
        if len(data) <= _WRITE_CHUNK:
            self._client.send(data)
            await self._write_pending()
            return
        view = memoryview(data)
        for start in range(0, len(data), _WRITE_CHUNK):
            self._client.send(bytes(view[start : start + _WRITE_CHUNK]))
            await self._write_pending()

    async def write_eof(self) -> None:
        """Sends close_notify. The lower stream stays open: servers may take its end for both directions."""
        self._client.close()
        await self._write_pending()

    async def _write_pending(self) -> None:
        async with self._write_lock:
            pending = self._client.data_to_send()
            if not pending:
                return
            try:
                await self._lower.write(pending)
            except BaseException:
                # Nobody knows how much of it was taken; the sequence of records is lost.
                self.abort()
                raise

    def _flush_soon(self) -> None:
        """Send what the engine queued while reading, without waiting for it."""
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        with suppress(SmolmixError, OSError):
            await self._write_pending()
        if self._error is not None:
            self._lower.abort()  # the alert is out; nothing sensible can follow

    # -- end -----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """close_notify, then the lower stream's close. Unread data is dropped."""
        if self._closed:
            return
        self._closed = True
        self._client.close()
        with suppress(SmolmixError, OSError, TimeoutError):
            await asyncio.wait_for(self._write_pending(), _LINGER)
        await self._lower.close()

    def abort(self) -> None:
        self._closed = True
        if self._flusher is not None:
            self._flusher.cancel()
        self._lower.abort()

    def __repr__(self) -> str:
        return f"<TlsStream {self._client!r}>"
