"""The directory of a local network as an HTTP server."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from smolmix_web.directory.network import DirectoryConfig
from smolmix_web.directory.server import DirectoryState
from smolmix_web.localnet.http_server import HttpServer

MAX_CONNECTIONS = 1024
REQUEST_TIMEOUT = 10.0
"""Seconds for a connection's first request, and for every body."""
KEEPALIVE_TIMEOUT = 60.0

ExtraPage = Callable[[], tuple[str, bytes]]


class DirectoryNode:
    """:class:`DirectoryState` behind a socket.

    :param state: given to a restarted directory so that it remembers its nodes; otherwise it starts empty,
        with its first epoch beginning at ``start``.
    :param unix_time: seconds since 1970, of epochs and announcements.
    :param pages: further GET paths, such as the network's status: each gives (content type, body).
    """

    def __init__(
        self,
        config: DirectoryConfig | None = None,
        *,
        state: DirectoryState | None = None,
        pages: Mapping[str, ExtraPage] | None = None,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._unix_time = unix_time
        self.state = state
        self._pages = dict(pages or {})
        self._http: HttpServer | None = None
        self.port = 0
        self.tls_port: int | None = None
        self.requests = 0

    @property
    def is_running(self) -> bool:
        return self._http is not None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port. :raises OSError: cannot bind."""
        if self.state is None:
            self.state = DirectoryState(self._config, started_at=float(int(self._unix_time())))
        http = HttpServer(
            self._serve,
            first_request_timeout=REQUEST_TIMEOUT,
            keepalive_timeout=KEEPALIVE_TIMEOUT,
            max_connections=MAX_CONNECTIONS,
        )
        self.port = await http.listen(host, port)
        self._http = http
        return self.port

    async def listen_tls(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        """Listen under TLS as well, after ``start``; the port. Official browser clients call no other.

        :raises OSError: cannot bind
        """
        assert self._http is not None
        self.tls_port = await self._http.listen(host, port, tls)
        return self.tls_port

    async def stop(self) -> None:
        """Close the sockets and all connections."""
        if self._http is not None:
            http, self._http = self._http, None
            await http.stop()

    def as_dict(self) -> dict[str, Any]:
        return {"running": self.is_running, "requests": self.requests}

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        assert self.state is not None
        page = self._pages.get(request.path)
        if page is not None and request.method == "GET":
            content_type, body = page()
            headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
            return web.Response(body=body, content_type=content_type, headers=headers)
        body = b""
        if request.method == "POST":
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    body = await request.read()  # aiohttp refuses more than 1 MiB
            except TimeoutError:
                return web.Response(status=408)
        answer = self.state.answer(
            request.method, request.path, request.query, body, unix_time=self._unix_time()
        )
        headers = dict(answer.headers)
        if answer.content_type:
            headers["Content-Type"] = answer.content_type
        return web.Response(status=answer.status, body=answer.body, headers=headers)
