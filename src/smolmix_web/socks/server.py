"""Listens for SOCKS5 clients and carries their connections through a tunnel.

Names are not resolved here but through the tunnel, so clients should hand names over (``socks5h`` in curl and
in Python's libraries); one that resolves by itself tells its name server where it goes.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from smolmix_web.errors import SmolmixError
from smolmix_web.sockets.bytestream import ByteStream
from smolmix_web.socks.messages import (
    NO_METHOD,
    VERSION,
    Command,
    Destination,
    Reply,
    SocksError,
    address_length,
    choose_method,
    emit_reply,
    parse_destination,
    reply_for,
)
from smolmix_web.socks.udp import Association
from smolmix_web.tunnel import Tunnel

logger = logging.getLogger("smolmix_web.socks")

MAX_CLIENTS: Final = 256
"""Connections served at a time; further ones are closed at once."""

GREETING_TIMEOUT: Final = 30.0
"""Seconds for greeting and request."""

_PIECE: Final = 64 * 1024


@dataclass(slots=True)
class SocksStats:
    """Counters of one server."""

    clients: int = 0
    connected: int = 0
    associations: int = 0
    refused: int = 0
    malformed: int = 0


class SocksServer:
    """``async with SocksServer(tunnel) as server`` serves on :attr:`address`.

    There is no authentication: whoever reaches the port uses the tunnel. Listen on loopback.

    :param timeout: seconds for a TCP handshake through the tunnel.
    """

    def __init__(
        self, tunnel: Tunnel, *, host: str = "127.0.0.1", port: int = 1080, timeout: float = 30.0
    ) -> None:
        self.stats = SocksStats()
        self._tunnel = tunnel
        self._host, self._port = host, port
        self._timeout = timeout
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; the port is the system's choice where 0 was asked for."""
        assert self._server is not None, "start first"
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def start(self) -> None:
        """:raises OSError: the address cannot be used."""
        self._server = await asyncio.start_server(self._accept, self._host, self._port, limit=_PIECE)

    async def stop(self) -> None:
        """Stop listening and drop every client. Idempotent."""
        if self._server is not None:
            self._server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def __aenter__(self) -> SocksServer:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._clients) >= MAX_CLIENTS:
            writer.transport.abort()
            return
        self._clients.add(task)
        self.stats.clients += 1
        try:
            await self._serve(reader, writer)
        except (SmolmixError, OSError, EOFError, TimeoutError) as error:
            logger.debug("client: %s", error)
        except asyncio.CancelledError:  # stop(); asyncio would report it as an error of the server
            pass
        finally:
            self._clients.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(GREETING_TIMEOUT):
                if not await _greet(reader, writer):
                    self.stats.refused += 1
                    return
                command, destination = await _read_request(reader)
        except SocksError as error:
            self.stats.malformed += 1
            writer.write(emit_reply(error.reply))
            return
        if command == Command.CONNECT:
            await self._connect(destination, reader, writer)
        elif command == Command.UDP_ASSOCIATE:
            await self._associate(reader, writer)
        else:
            self.stats.refused += 1
            writer.write(emit_reply(Reply.COMMAND_NOT_SUPPORTED))

    async def _connect(
        self, destination: Destination, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            stream = await self._tunnel.open_connection(
                destination.host, destination.port, timeout=self._timeout
            )
        except SmolmixError as error:
            self.stats.refused += 1
            writer.write(emit_reply(reply_for(error)))
            return
        self.stats.connected += 1
        writer.write(emit_reply(Reply.SUCCEEDED))
        await relay(reader, writer, stream)

    async def _associate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = writer.get_extra_info("peername")[0]
        local = writer.get_extra_info("sockname")[0]
        try:
            association = await Association.open(self._tunnel, local, client)
        except SmolmixError as error:
            self.stats.refused += 1
            writer.write(emit_reply(reply_for(error)))
            return
        self.stats.associations += 1
        async with association:
            writer.write(emit_reply(Reply.SUCCEEDED, *association.address))
            # RFC 1928 section 7: it lives as long as this connection, which therefore ends with it as well.
            lives = [asyncio.ensure_future(_until_end(reader)), asyncio.ensure_future(association.over())]
            try:
                await asyncio.wait(lives, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for life in lives:
                    life.cancel()
                await asyncio.gather(*lives, return_exceptions=True)


async def _until_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(_PIECE):
        pass


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether a method was agreed upon."""
    version, count = await reader.readexactly(2)
    if version != VERSION:
        raise SocksError(f"version {version} instead of 5")
    method = choose_method(await reader.readexactly(count))
    writer.write(bytes([VERSION, method]))
    return method != NO_METHOD


async def _read_request(reader: asyncio.StreamReader) -> tuple[int, Destination]:
    version, command, _reserved, kind, first = await reader.readexactly(5)
    if version != VERSION:
        raise SocksError(f"version {version} instead of 5")
    rest = await reader.readexactly(address_length(kind, first))
    destination, _size = parse_destination(kind, bytes([first]) + rest)
    return command, destination


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: ByteStream) -> None:
    """Carry bytes both ways until both directions have ended; a failure of one ends both."""

    async def upwards() -> None:
        while data := await reader.read(_PIECE):
            await stream.write(data)
        await stream.write_eof()

    async def downwards() -> None:
        while data := await stream.read(_PIECE):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(upwards())
            both.create_task(downwards())
    except BaseExceptionGroup as group:
        stream.abort()
        writer.transport.abort()
        logger.debug("connection ended: %s", group.exceptions[0])
    except asyncio.CancelledError:
        stream.abort()
        raise
    else:
        await stream.close()
