"""asyncio's own stream pair over a connection through the tunnel.

::

    reader, writer = await open_connection(tunnel, "example.com", 443, tls=True)

For code that was written against ``asyncio.open_connection``; new code has less between it and the network
with the streams of :meth:`Tunnel.open_connection <smolmix_web.tunnel.Tunnel.open_connection>`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from smolmix_web.sockets.bytestream import ByteStream
from smolmix_web.tunnel import Tunnel

LIMIT: Final = 2**16
"""asyncio's own default: bytes that a reader holds before the sender has to wait (twice that at most)."""

_HIGH_WATER: Final = 64 * 1024
"""Bytes waiting to be written above which ``drain`` waits."""


async def open_connection(
    tunnel: Tunnel, host: str, port: int, *, tls: bool = False, timeout: float = 30.0, limit: int = LIMIT
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect through the tunnel, with TLS where wanted (always verified).

    :param timeout: seconds for the TCP handshake, and again for TLS's.
    :param limit: see :func:`asyncio.open_connection`.

    Errors: see :meth:`Tunnel.open_connection <smolmix_web.tunnel.Tunnel.open_connection>`.
    """
    stream = await tunnel.open_connection(host, port, tls=tls, timeout=timeout)
    return wrap(stream, limit=limit, extra={"peername": (host, port)})


def wrap(
    stream: ByteStream, *, limit: int = LIMIT, extra: dict[str, Any] | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The pair over any byte stream, which then belongs to it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = StreamTransport(stream, protocol, extra)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class StreamTransport(asyncio.Transport):
    """An asyncio transport over a byte stream: one task reads, another writes."""

    def __init__(
        self, stream: ByteStream, protocol: asyncio.Protocol, extra: dict[str, Any] | None = None
    ) -> None:
        super().__init__(extra)
        self._stream = stream
        self._protocol: asyncio.BaseProtocol = protocol
        self._receiver = protocol
        self._outgoing = bytearray()
        self._eof = False
        self._closing = False
        self._lost = False
        self._paused_writing = False
        self._work = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        protocol.connection_made(self)
        loop = asyncio.get_running_loop()
        self._reading = loop.create_task(self._read(), name="stream-reader")
        self._writing = loop.create_task(self._write(), name="stream-writer")

    async def _read(self) -> None:
        try:
            while True:
                await self._may_read.wait()
                if not (data := await self._stream.read()):
                    break
                self._receiver.data_received(data)
            if not self._receiver.eof_received():
                self.close()
        except OSError as error:
            self._lose(error)
        except Exception as error:  # TLS and protocol errors: asyncio's callers expect an OSError
            self._lose(ConnectionError(str(error)), error)

    async def _write(self) -> None:
        try:
            while not (self._closing or self._eof) or self._outgoing:
                if not self._outgoing:
                    self._work.clear()
                    await self._work.wait()
                    continue
                piece = bytes(self._outgoing[:_HIGH_WATER])
                del self._outgoing[: len(piece)]
                await self._stream.write(piece)
                self._check_writing()
            if self._eof and not self._closing:
                await self._stream.write_eof()
                while not self._closing:
                    self._work.clear()
                    await self._work.wait()
            await self._stream.close()
            self._lose(None)
        except OSError as error:
            self._lose(error)
        except Exception as error:
            self._lose(ConnectionError(str(error)), error)

    def _lose(self, error: Exception | None, cause: Exception | None = None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        if error is not None:
            error.__cause__ = cause
            self._stream.abort()
        current = asyncio.current_task()
        for task in (self._reading, self._writing):
            if task is not current:
                task.cancel()
        asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)

    def _check_writing(self) -> None:
        full = len(self._outgoing) > _HIGH_WATER
        if full != self._paused_writing and isinstance(self._protocol, asyncio.Protocol):
            self._paused_writing = full
            with suppress(Exception):
                (self._protocol.pause_writing if full else self._protocol.resume_writing)()

    # -- what asyncio asks for -----------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._eof:
            raise RuntimeError("write_eof was called")
        if not self._closing:
            self._outgoing += data
            self._work.set()
            self._check_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._eof = True
        self._work.set()

    def close(self) -> None:
        """What was written still goes out."""
        self._closing = True
        self._work.set()

    def abort(self) -> None:
        self._outgoing.clear()
        self._stream.abort()
        self._lose(None)

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._may_read.is_set() and not self._closing

    def pause_reading(self) -> None:
        self._may_read.clear()

    def resume_reading(self) -> None:
        self._may_read.set()

    def get_write_buffer_size(self) -> int:
        return len(self._outgoing)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        if isinstance(protocol, asyncio.Protocol):
            self._receiver = protocol
