"""The mixnet listener of a node: TCP in, frames up (spec nodes.md 2, 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from smolmix_web.errors import RemoteProtocolError
from smolmix_web.localnet.node_stats import IngressStats
from smolmix_web.nym.framing import FrameDecoder, NodeFrame

MAX_CONNECTIONS = 1024
"""Incoming connections at a time. The reference has no limit; our memory does."""

FrameSink = Callable[[list[NodeFrame]], None]


class InboundChannel:
    """What a connection does with incoming bytes before they are frames: nothing. Noise replaces it."""

    def receive_data(self, data: bytes) -> tuple[bytes, bytes]:
        """(bytes of the frame stream, bytes to answer). :raises RemoteProtocolError: close the connection."""
        return data, b""

    @property
    def deadline(self) -> float | None:
        """Seconds after which the handshake must be over; None without one."""
        return None

    @property
    def is_open(self) -> bool:
        return True


class InboundConnection(asyncio.Protocol):
    """One connection from another node. Any malformed byte ends it; frames before that byte count."""

    __slots__ = ("_channel", "_decoder", "_listener", "_timer", "_transport", "peer")

    def __init__(self, listener: MixListener) -> None:
        self._listener = listener
        self._decoder = FrameDecoder()
        self._transport: asyncio.Transport | None = None
        self._channel = InboundChannel()
        self._timer: asyncio.TimerHandle | None = None
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if peer else ""
        if not self._listener.admit(self):
            transport.abort()
            return
        self._channel = self._listener.make_channel(self.peer)
        if self._channel.deadline is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._channel.deadline, self._handshake_expired)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        try:
            stream, answer = self._channel.receive_data(data)
            if answer:
                transport.write(answer)
            frames = self._decoder.receive_data(stream) if stream else []
        except RemoteProtocolError:
            self._close_malformed()
            return
        if frames:
            self._listener.sink(frames)
        if self._decoder.error is not None:
            self._close_malformed()

    def connection_lost(self, error: Exception | None) -> None:
        self._listener.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _close_malformed(self) -> None:
        self._listener.stats.malformed_connections += 1
        self.abort()

    def _handshake_expired(self) -> None:
        if not self._channel.is_open:
            self._close_malformed()


class MixListener:
    """The server socket and its connections.

    :param sink: takes the frames of one read, in order.
    :param make_channel: for each connection, by the peer's IP address.
    """

    def __init__(
        self,
        sink: FrameSink,
        stats: IngressStats,
        *,
        make_channel: Callable[[str], InboundChannel] = lambda peer_ip: InboundChannel(),
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.sink = sink
        self.stats = stats
        self.make_channel = make_channel
        self._max_connections = max_connections
        self._connections: set[InboundConnection] = set()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        return len(self._connections)

    def peers(self) -> list[str]:
        """IP addresses that are connected now."""
        return sorted({connection.peer for connection in self._connections})

    async def start(self, host: str, port: int) -> int:
        """Listen; the port, chosen by the system when ``port`` is 0. :raises OSError: cannot bind."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: InboundConnection(self), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the socket and all connections."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.abort()
            await self._server.wait_closed()
            self._server = None

    def admit(self, connection: InboundConnection) -> bool:
        if self._server is None or len(self._connections) >= self._max_connections:
            self.stats.refused_connections += 1
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: InboundConnection) -> None:
        self._connections.discard(connection)
