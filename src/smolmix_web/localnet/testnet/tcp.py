"""Small TCP services: echo (RFC 862), discard (RFC 863), a source of known bytes, and HTTP answers gone
wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
from collections.abc import Awaitable, Callable

_CHUNK = 64 * 1024
_SOURCE_LIMIT = 1 << 30

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def pattern(length: int, seed: bytes = b"") -> bytes:
    """Deterministic bytes that compress badly: SHAKE-128 of the seed, cut to length."""
    return hashlib.shake_128(b"smolmix test pattern" + seed).digest(length)


# The source repeats this block; odd, so that a receiver that loses or repeats a power of two notices.
SOURCE_BLOCK = pattern(65_521)


def reset_connection(transport: asyncio.BaseTransport) -> None:
    """Closes with a TCP reset: a linger time of zero makes the kernel send one."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, and ends its side when the peer ends its own."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


async def discard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads all, then tells how many bytes and their SHA-256 in one line."""
    count, digest = 0, hashlib.sha256()
    while data := await reader.read(_CHUNK):
        count += len(data)
        digest.update(data)
    writer.write(f"{count} {digest.hexdigest()}\n".encode())


async def source(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads a line with a number and sends that many bytes of :data:`SOURCE_BLOCK`, repeated."""
    line = await reader.readline()
    left = min(int(line), _SOURCE_LIMIT) if line.strip().isdigit() else 0
    while left:
        block = SOURCE_BLOCK[:left]
        writer.write(block)
        await writer.drain()
        left -= len(block)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Resets the connection after the first bytes have come."""
    await reader.read(_CHUNK)
    reset_connection(writer.transport)


_OK = b"HTTP/1.1 200 OK\r\n"

# Path -> what is sent before the connection closes. Every one must give a client a typed error, never a hang.
MALFORMED_ANSWERS: dict[str, bytes] = {
    "/garbage": bytes(range(256)) * 4,
    "/empty": b"",
    "/status-line": b"HTTP/1.1 abc OK\r\n\r\n",
    "/http9": b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "/negative-length": _OK + b"Content-Length: -5\r\n\r\nhello",
    "/two-lengths": _OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "/short-body": _OK + b"Content-Length: 500\r\n\r\nhello",
    "/bad-chunk": _OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n",
    "/cut-chunk": _OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwor",
    "/huge-header": _OK + b"X-Huge: " + b"a" * 300_000 + b"\r\n\r\n",
    "/many-headers": _OK + b"".join(b"X-%d: y\r\n" % number for number in range(20_000)) + b"\r\n",
    "/nul-header": _OK + b"X-Nul: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "/bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "/no-headers": b"HTTP/1.1 200 OK\r\n",
    "/gzip-cut": _OK + b"Content-Encoding: gzip\r\nContent-Length: 500\r\n\r\n\x1f\x8b\x08\x00\x00",
    "/bad-gzip": _OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
}


# Path -> an odd answer that must be understood all the same, as browsers do.
ODD_ANSWERS: dict[str, bytes] = {
    "/204-with-body": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "/205-with-body": b"HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello",
    "/more-than-promised": _OK + b"Content-Length: 5\r\n\r\nhello, and more",
    "/continue": b"HTTP/1.1 100 Continue\r\n\r\n" + _OK + b"Content-Length: 5\r\n\r\nhello",
    "/early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    + _OK
    + b"Content-Length: 5\r\n\r\nhello",
    "/trailers": _OK + b"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    "/chunk-extensions": _OK + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0;c\r\n\r\n",
    "/http10": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "/no-reason": b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
    "/empty-reason": b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello",
    "/latin1": _OK + b"X-Latin: caf\xe9\r\nContent-Length: 5\r\n\r\nhello",
    "/same-length-twice": _OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "/lower-case": b"HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello",
    # Nobody asked for this; what a client makes of it differs.
    "/switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "/many-cookies": _OK
    + b"".join(b"Set-Cookie: c%d=1\r\n" % number for number in range(50))
    + b"Content-Length: 5\r\n\r\nhello",
}


async def malformed_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the path of a request from :data:`MALFORMED_ANSWERS` or :data:`ODD_ANSWERS`."""
    head = await reader.readuntil(b"\r\n\r\n")
    path = head.split(b" ", 2)[1].decode("ascii", "replace")
    answer = {**MALFORMED_ANSWERS, **ODD_ANSWERS}.get(path)
    if answer is None:
        answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    if b"\r\norigin:" in head.lower():
        # As the web server does: a page's own fetch may read everything.
        answer = answer.replace(_OK, _OK + b"Access-Control-Allow-Origin: *\r\n")
    writer.write(answer)


class TcpService:
    """One handler behind one loopback listener; every connection is closed when the service stops."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.accepted = 0

    async def start(self) -> tuple[str, int]:
        """Address and port of the listener."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK)
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.accepted += 1
        try:
            with contextlib.suppress(
                OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError
            ):
                await self._handler(reader, writer)
                await writer.drain()
        except asyncio.CancelledError:
            # Not raised on: the stream protocol would log a cancelled handler as a defect.
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
