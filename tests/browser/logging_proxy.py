"""An HTTP proxy that remembers where the browser wanted to go: whatever a page, its workers or the browser
itself contact, they contact it through here."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

_HEAD_LIMIT = 64 * 1024


class LoggingProxy:
    """``async with LoggingProxy() as proxy``; ``contacted`` has the ``host:port`` of each connection."""

    def __init__(self) -> None:
        self.contacted: list[str] = []
        self.url = ""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> LoggingProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_LIMIT)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self._forward(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        writer.close()

    async def _forward(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = request.split(" ")
        if method == "CONNECT":
            self.contacted.append(target)
            host, _, port = target.rpartition(":")
        else:
            parts = urlsplit(target)
            host, port = parts.hostname or "", str(parts.port or 80)
            self.contacted.append(f"{host}:{port}")
        upstream_reader, upstream = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                # One request a connection: the next one may be for another host.
                kept = [
                    line for line in lines if line and not line.lower().startswith(("proxy-", "connection:"))
                ]
                path = target.split("/", 3)[3] if target.count("/") > 2 else ""
                rewritten = [f"{method} /{path} {version}", *kept, "Connection: close", "", ""]
                upstream.write("\r\n".join(rewritten).encode("latin-1"))
            up = asyncio.create_task(_pipe(reader, upstream))
            try:
                await _pipe(upstream_reader, writer)
            finally:
                up.cancel()
                await asyncio.gather(up, return_exceptions=True)
        finally:
            upstream.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
