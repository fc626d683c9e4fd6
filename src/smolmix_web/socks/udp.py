"""One UDP association of a SOCKS5 client (RFC 1928 section 7): datagrams both ways through the tunnel."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from smolmix_web.errors import NetworkError, SmolmixError, TunnelClosed
from smolmix_web.sockets.streams import UdpSocket
from smolmix_web.socks.messages import SocksError, emit_datagram, parse_datagram
from smolmix_web.tunnel import Tunnel

logger = logging.getLogger("smolmix_web.socks")

MAX_WAITING: Final = 64
"""Datagrams that wait for their names to be resolved; further ones are dropped, as networks do."""


class Association:
    """Made by :meth:`open`; as an async context manager it ends with its block.

    Only datagrams from the client's address are taken, and answers go to the port it sent from first.
    """

    def __init__(self, tunnel: Tunnel, socket: UdpSocket, client: str) -> None:
        """Use :meth:`open`."""
        self._tunnel = tunnel
        self._socket = socket
        self._client = client
        self._peer: tuple[Any, ...] | None = None
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, tunnel: Tunnel, host: str, client: str) -> Association:
        """Listen on ``host`` for the datagrams of ``client``. :raises TunnelStateError: no exit."""
        socket = tunnel.open_udp()
        association = cls(tunnel, socket, client)
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: _Listener(association), (host, 0))
        except BaseException:
            socket.close()
            raise
        association._tasks = [loop.create_task(association._send()), loop.create_task(association._receive())]
        return association

    async def over(self) -> None:
        """Wait until nothing can pass any more: the exit, and with it our address there, is gone."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    @property
    def address(self) -> tuple[str, int]:
        """Where the client sends its datagrams."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return host, port

    async def __aenter__(self) -> Association:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._transport is not None:
            self._transport.close()
        self._socket.close()

    def opened(self, transport: asyncio.DatagramTransport) -> None:
        """Called by the listener."""
        self._transport = transport

    def arrived(self, data: bytes, sender: tuple[Any, ...]) -> None:
        """Called by the listener with each datagram."""
        if sender[0] != self._client or (self._peer is not None and sender != self._peer):
            return
        self._peer = sender
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait(data)

    async def _send(self) -> None:
        while True:
            data = await self._waiting.get()
            try:
                destination, payload = parse_datagram(data)
                address = await self._tunnel.resolve(destination.host)
                self._socket.send_to(payload, (address, destination.port))
            except TunnelClosed:
                return
            except SocksError as error:
                logger.debug("datagram dropped: %s", error)
            except (SmolmixError, ValueError) as error:
                logger.debug("datagram not sent: %s", error)

    async def _receive(self) -> None:
        while True:
            try:
                payload, (host, port) = await self._socket.recv_from()
            except TunnelClosed:
                return
            except NetworkError:  # an ICMP error for something sent earlier: SOCKS has no word for it
                continue
            if self._transport is not None and self._peer is not None:
                self._transport.sendto(emit_datagram(host, port, payload), self._peer)


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, association: Association) -> None:
        self._association = association

    def connection_made(self, transport: Any) -> None:
        self._association.opened(transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._association.arrived(data, addr)
