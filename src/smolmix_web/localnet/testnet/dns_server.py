"""Carries the answers of :class:`~smolmix_web.localnet.testnet.dns.Zone` over UDP and TCP (RFC 1035, RFC
7766).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from smolmix_web.localnet.testnet.dns import Zone
from smolmix_web.localnet.testnet.tcp import TcpService

# Answers that wait for their time; more are dropped. Bounds the memory a flood of `slow-N` questions can
# take.
_MAX_PENDING = 10_000


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._pending: set[asyncio.TimerHandle] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        for answer in self._zone.answer(data, "udp"):
            if answer.delay:
                self._send_later(answer.wire, addr, answer.delay)
            else:
                self._send(answer.wire, addr)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for handle in self._pending:
            handle.cancel()
        self._pending.clear()

    def _send(self, wire: bytes, address: tuple[Any, ...]) -> None:
        if self._transport is not None:
            self._transport.sendto(wire, address)

    def _send_later(self, wire: bytes, address: tuple[Any, ...], delay: float) -> None:
        if len(self._pending) >= _MAX_PENDING:
            return

        def send() -> None:
            self._pending.discard(handle)
            self._send(wire, address)

        handle = asyncio.get_running_loop().call_later(delay, send)
        self._pending.add(handle)


class DnsServer:
    """A name server on loopback, on a UDP and a TCP port of its own."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self._tcp = TcpService(self._serve)
        self._udp: asyncio.DatagramTransport | None = None

    async def start(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Address and port of the UDP socket, then of the TCP listener."""
        tcp = await self._tcp.start()
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self.zone), ("127.0.0.1", 0))
        host, port = self._udp.get_extra_info("sockname")[:2]
        return (host, port), tcp

    async def stop(self) -> None:
        await self._tcp.stop()
        if self._udp is not None:
            self._udp.close()
            self._udp = None
            await asyncio.sleep(0)  # the transport closes its socket in the next turn of the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                query = await reader.readexactly(length)
                for answer in self.zone.answer(query, "tcp"):
                    await asyncio.sleep(answer.delay)
                    writer.write(len(answer.wire).to_bytes(2, "big") + answer.wire)
                await writer.drain()
