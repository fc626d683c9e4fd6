"""Real byte streams on loopback with the interface of the tunnel's, so that the layers above are tested
against real servers without a mixnet between."""

from __future__ import annotations

import asyncio
import contextlib

from smolmix_web.errors import ConnectionReset


class LoopbackStream:
    """A :class:`~smolmix_web.sockets.bytestream.ByteStream` over an ordinary TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, host: str, port: int) -> LoopbackStream:
        return cls(*await asyncio.open_connection(host, port))

    async def read(self, max_bytes: int = 65536) -> bytes:
        try:
            return await self._reader.read(max_bytes)
        except OSError as error:
            raise ConnectionReset("reset by the peer") from error

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise ConnectionReset("reset by the peer") from error

    async def write_eof(self) -> None:
        self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        self._writer.transport.abort()
