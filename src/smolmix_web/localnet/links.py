"""Connections from a node to the next ones (spec nodes.md 8.3).

One long-lived TCP connection per next hop, opened when first needed; nothing is ever read from it. Frames
that cannot be written at once wait in a bounded queue; what does not fit is dropped and counted, and so is
what waits when a connection attempt fails. Everything written within one turn of the event loop goes out in
one system call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from smolmix_web.errors import RemoteProtocolError
from smolmix_web.localnet.delay_queue import DelayQueue
from smolmix_web.localnet.impairment import Impairment
from smolmix_web.localnet.node_stats import EgressStats
from smolmix_web.nym.addresses import NodeAddress


class LinkState(Enum):
    IDLE = "idle"
    WAITING = "waiting to reconnect"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """Times in seconds. Official nodes back off 10 s x 2**k, at most 300 s; a network whose nodes are killed
    and restarted in seconds wants to be quicker."""

    queue_packets: int = 2000
    connect_timeout: float = 1.5
    initial_backoff: float = 0.1
    maximum_backoff: float = 5.0
    max_links: int = 1024
    write_buffer: int = 512 * 1024  # bytes in the transport before frames are queued here


class LinkChannel:
    """What a connection does with the byte stream: nothing. A Noise channel replaces it."""

    encrypts = False

    def start(self) -> bytes:
        """Bytes to send when the connection opened."""
        return b""

    @property
    def is_open(self) -> bool:
        """Frames may be sent."""
        return True

    def receive_data(self, data: bytes) -> bytes:
        """Handshake bytes of the peer; bytes to answer. :raises RemoteProtocolError: the handshake failed."""
        return b""

    def seal(self, data: bytes) -> bytes:
        """Frames as they go over the wire."""
        return data


ChannelFactory = Callable[[NodeAddress], LinkChannel]


class Link(asyncio.Protocol):
    """The connection to one next hop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: NodeAddress,
        config: LinkConfig,
        stats: EgressStats,
        make_channel: ChannelFactory,
        source: str | None = None,
    ) -> None:
        self._loop = loop
        self._source = source
        self.address = address
        self._config = config
        self._stats = stats
        self._make_channel = make_channel
        self._channel = make_channel(address)
        self.state = LinkState.IDLE
        self._queue: deque[bytes] = deque()
        self._batch: list[bytes] = []
        self._flush_scheduled = False
        self._writable = False
        self._failures = 0  # attempts in a row
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self.packets_sent = 0
        self.packets_dropped = 0
        self.connections = 0

    def send(self, frame: bytes) -> None:
        """Write or queue one frame, or drop it."""
        if self._writable:
            self._batch.append(frame)
            if not self._flush_scheduled:
                self._flush_scheduled = True
                self._loop.call_soon(self._flush)
        elif len(self._queue) >= self._config.queue_packets or self.state is LinkState.CLOSED:
            self._stats.dropped_queue_full += 1
            self.packets_dropped += 1
        else:
            self._queue.append(frame)
            if self.state is LinkState.IDLE:
                self.state = LinkState.CONNECTING
                self._task = self._loop.create_task(self._connect())

    def as_dict(self) -> dict[str, Any]:
        return {
            "to": str(self.address),
            "state": self.state.value,
            "sent": self.packets_sent,
            "dropped": self.packets_dropped,
            "queued": len(self._queue),
            "connections": self.connections,
            "encrypted": self._channel.encrypts,
        }

    async def stop(self) -> None:
        """Close for good."""
        self.state = LinkState.CLOSED
        self._writable = False
        self._queue.clear()
        self._batch.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # -- asyncio.Protocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self.state is LinkState.CLOSED:
            transport.abort()
            return
        self._transport = transport
        transport.set_write_buffer_limits(self._config.write_buffer)
        self._channel = self._make_channel(self.address)
        hello = self._channel.start()
        if hello:
            transport.write(hello)
        self._open_if_ready()

    def data_received(self, data: bytes) -> None:
        if self._channel.is_open or self._transport is None:
            return  # nothing is ever said on an open link
        try:
            answer = self._channel.receive_data(data)
        except RemoteProtocolError as error:
            self._attempt_failed(error)
            self._transport.abort()
            return
        if answer:
            self._transport.write(answer)
        self._open_if_ready()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        if self.state is LinkState.CONNECTED:
            self._become_writable()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._writable = False
        self._drop_all("dropped_connection_lost", self._batch)
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error or ConnectionError("closed during the handshake"))
        elif self.state is LinkState.CONNECTED:
            self.state = LinkState.IDLE
            if self._queue:
                self.state = LinkState.CONNECTING
                self._task = self._loop.create_task(self._connect())

    # -- inside -------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        config = self._config
        if self._failures:
            self.state = LinkState.WAITING
            exponent = min(self._failures - 1, 16)
            await asyncio.sleep(min(config.initial_backoff * 2**exponent, config.maximum_backoff))
            self.state = LinkState.CONNECTING
        self._opened = self._loop.create_future()
        try:
            async with asyncio.timeout(config.connect_timeout):
                # From our announced address: the peer decides by it whether we must speak Noise.
                source = (self._source, 0) if self._source is not None else None
                await self._loop.create_connection(
                    lambda: self, self.address.ip, self.address.port, local_addr=source
                )
                await self._opened
        except OSError:  # TimeoutError is one
            self._failures += 1
            self._drop_all("dropped_connect_failed", self._queue)
            if self._transport is not None:
                self._transport.abort()
            if self.state is not LinkState.CLOSED:
                self.state = LinkState.IDLE
        finally:
            self._opened.cancel()
            self._task = None

    def _open_if_ready(self) -> None:
        if self._channel.is_open and self._opened is not None and not self._opened.done():
            self._opened.set_result(None)
            self.state = LinkState.CONNECTED
            self._failures = 0
            self.connections += 1
            self._become_writable()

    def _attempt_failed(self, error: Exception) -> None:
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(ConnectionError(f"handshake failed: {type(error).__name__}"))

    def _become_writable(self) -> None:
        self._writable = True
        while self._queue and self._writable:
            self._batch.append(self._queue.popleft())
            if len(self._batch) >= 64:
                self._flush()
        if self._batch:
            self._flush()

    def _flush(self) -> None:
        self._flush_scheduled = False
        batch = self._batch
        if not batch or self._transport is None:
            return
        self._batch = []
        self.packets_sent += len(batch)
        self._stats.forward_hop_packets_sent += len(batch)
        self._transport.write(self._channel.seal(b"".join(batch)))

    def _drop_all(self, counter: str, frames: deque[bytes] | list[bytes]) -> None:
        setattr(self._stats, counter, getattr(self._stats, counter) + len(frames))
        self.packets_dropped += len(frames)
        frames.clear()


class OutgoingLinks:
    """All links of one node, by next hop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stats: EgressStats,
        *,
        config: LinkConfig | None = None,
        impairment: Impairment | None = None,
        make_channel: ChannelFactory = lambda address: LinkChannel(),
        source: str | None = None,
    ) -> None:
        self._loop = loop
        self._stats = stats
        self._config = config or LinkConfig()
        self._impairment = impairment
        self._impaired: DelayQueue[tuple[Link, bytes]] = DelayQueue(loop, _send_delayed)
        self._make_channel = make_channel
        self._source = source
        self._links: dict[NodeAddress, Link] = {}

    def send(self, address: NodeAddress, frame: bytes) -> None:
        """Send one frame to a next hop."""
        link = self.link_to(address)
        if link is None:
            self._stats.dropped_queue_full += 1
        else:
            self.send_over(link, frame)

    def link_to(self, address: NodeAddress) -> Link | None:
        """The link to a next hop, made when first asked for; None when there are too many.

        It stays good until :meth:`stop`: who sends a lot to one address need not look it up every time.
        """
        link = self._links.get(address)
        if link is None:
            if len(self._links) >= self._config.max_links:
                return None
            link = Link(self._loop, address, self._config, self._stats, self._make_channel, self._source)
            self._links[address] = link
        return link

    def send_over(self, link: Link, frame: bytes) -> None:
        """Send one frame over a link of these."""
        if self._impairment is None:
            link.send(frame)
        else:
            self._send_impaired(link, frame, self._impairment)

    def as_list(self) -> list[dict[str, Any]]:
        """State and counters of every link."""
        return [link.as_dict() for link in self._links.values()]

    def addresses(self) -> list[str]:
        """IP addresses of all next hops so far."""
        return sorted({address.ip for address in self._links})

    async def stop(self) -> None:
        """Close all links and forget what waits."""
        self._impaired.clear()
        for link in self._links.values():
            await link.stop()
        self._links.clear()

    def _send_impaired(self, link: Link, frame: bytes, impairment: Impairment) -> None:
        delays = impairment.fate()
        if not delays:
            self._stats.lost_by_impairment += 1
        elif len(delays) > 1:
            self._stats.duplicated_by_impairment += 1
        for delay in delays:
            if delay > 0:
                self._impaired.push(self._loop.time() + delay, (link, frame), len(frame))
            else:
                link.send(frame)


def _send_delayed(item: tuple[Link, bytes]) -> None:
    link, frame = item
    link.send(frame)
