"""A bare Nym client over real sockets: GatewayClient on an aiohttp WebSocket, and hand-made packets."""

from __future__ import annotations

import asyncio
import secrets
import time

import aiohttp

from smolmix_web.gateway import (
    Failed,
    GatewayClient,
    MessagePushed,
    Ready,
    Registered,
)
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.packets import PacketSize
from smolmix_web.nym.topology import Node, Topology
from smolmix_web.sphinx.packet import Hop, build_packet

ACK = b"\xac" * 21
"""Content of the acknowledgements made here."""


def hops(route: list[Node]) -> list[Hop]:
    return [Hop(node.mix_address.pack_padded(32), node.sphinx_key) for node in route]


def make_packet(
    topology: Topology,
    destination: bytes,
    gateway: bytes,
    message: bytes,
    *,
    ack_to: tuple[bytes, bytes] | None = None,
    delay: float = 0.0,
) -> MixPacket:
    """A regular packet to ``destination`` at ``gateway``.

    :param ack_to: (identity, gateway) that receives the ack; without one the packet is malformed.
    """
    delays = [int(delay * 1e9)] * 3
    ack = bytes(405)
    if ack_to is not None:
        route = topology.random_route(ack_to[1], secrets.token_bytes)
        packet = build_packet(hops(route), delays, ack_to[0], ACK, PacketSize.ACK.payload)
        ack = route[0].mix_address.pack_padded(19) + packet
    route = topology.random_route(gateway, secrets.token_bytes)
    packet = build_packet(hops(route), delays, destination, ack + message, PacketSize.REGULAR.payload)
    return MixPacket(route[0].mix_address, packet, rotation=topology.rotation)


class BareClient:
    """Connects, and collects what the gateway pushes."""

    def __init__(self, url: str, gateway: bytes, keys: ClientKeys | None = None) -> None:
        self.url = url
        self.gateway_identity = gateway
        self.keys = keys or ClientKeys.generate(secrets.token_bytes)
        self.engine = GatewayClient(self.keys.identity_seed, gateway, unix_time=time.time)
        self.pushed: asyncio.Queue[bytes] = asyncio.Queue()
        """Messages, without the acknowledgements."""
        self.acks = 0
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.events: list[object] = []
        self._session: aiohttp.ClientSession | None = None
        self._websocket: aiohttp.ClientWebSocketResponse | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> BareClient:
        await self.connect()
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.close()

    async def connect(self, *, wait: bool = True, ssl: object = None) -> None:
        self.ready.clear()
        self.ended.clear()
        self._session = aiohttp.ClientSession()
        options = {"ssl": ssl} if ssl is not None else {}
        self._websocket = await self._session.ws_connect(self.url, max_msg_size=0, **options)
        loop = asyncio.get_running_loop()
        self.engine.connected(loop.time())
        await self.flush()
        self._task = loop.create_task(self._run())
        if wait:
            async with asyncio.timeout(10):
                await self.ready.wait()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._websocket is not None:
            await self._websocket.close()
        if self._session is not None:
            await self._session.close()
        self.engine.receive_closed(asyncio.get_running_loop().time())
        self._take_events()

    async def send(self, packet: MixPacket) -> None:
        self.engine.send_packet(packet)
        await self.flush()

    async def flush(self) -> None:
        self._take_events()
        assert self._websocket is not None
        for frame in self.engine.frames_to_send():
            if isinstance(frame, str):
                await self._websocket.send_str(frame)
            else:
                await self._websocket.send_bytes(frame)

    async def next_push(self, timeout: float = 5.0) -> bytes:
        async with asyncio.timeout(timeout):
            return await self.pushed.get()

    async def _run(self) -> None:
        assert self._websocket is not None
        loop = asyncio.get_running_loop()
        while True:
            due = self.engine.poll_at()
            timeout = max(0.0, due - loop.time()) if due is not None else None
            try:
                message = await self._websocket.receive(timeout)
            except TimeoutError:
                self.engine.handle_timer(loop.time())
                await self.flush()
                continue
            if message.type is aiohttp.WSMsgType.TEXT:
                self.engine.receive_text(message.data, loop.time())
            elif message.type is aiohttp.WSMsgType.BINARY:
                self.engine.receive_binary(message.data, loop.time())
            else:
                self.engine.receive_closed(loop.time())
                self._take_events()
                self.ended.set()
                return
            await self.flush()

    def _take_events(self) -> None:
        while (event := self.engine.next_event()) is not None:
            if isinstance(event, MessagePushed):
                if event.data == ACK:
                    self.acks += 1
                else:
                    self.pushed.put_nowait(event.data)
                continue
            self.events.append(event)
            if isinstance(event, Ready):
                self.ready.set()
            elif isinstance(event, Failed):
                self.ended.set()

    def saw(self, kind: type) -> bool:
        return any(isinstance(event, kind) for event in self.events)

    @property
    def shared_key(self) -> bytes:
        return next(event.shared_key for event in self.events if isinstance(event, Registered))
