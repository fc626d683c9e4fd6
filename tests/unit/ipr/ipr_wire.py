"""IPR clients and one server joined by a fake mixnet: delay, loss and duplication on a virtual clock."""

from __future__ import annotations

import heapq
import itertools
import random
import struct
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

from smolmix_web.ipr.client import IprClient, IprClientConfig
from smolmix_web.ipr.events import ClientEvent, Connected, PacketReceived, ServerEvent
from smolmix_web.ipr.packetinfo import UDP
from smolmix_web.ipr.routable import IpAddress
from smolmix_web.ipr.server import IprServer, IprServerConfig

JUNE_2026 = 1780643289.123
RESOLVER = IPv4Address("8.8.8.8")


def udp_packet(source: IpAddress, destination: IpAddress, port: int, payload: bytes) -> bytes:
    """IPv4 or IPv6 with UDP, checksums left zero: routers of this protocol do not look at them."""
    segment = struct.pack(">HHHH", 49152, port, 8 + len(payload), 0) + payload
    if isinstance(source, IPv4Address):
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, UDP, 0)
    else:
        head = struct.pack(">IHBB", 0x60000000, len(segment), UDP, 64)
    return head + source.packed + destination.packed + segment


class Mixnet:
    """Carries messages between one server and clients; sender tags stand for the clients."""

    def __init__(
        self,
        server_config: IprServerConfig | None = None,
        *,
        allows: Callable[[IpAddress, int], bool] = lambda address, port: True,
        seed: int = 7,
        delay: tuple[float, float] = (0.05, 0.05),
        loss: float = 0.0,
        duplication: float = 0.0,
    ) -> None:
        self.random = random.Random(seed)
        self.now = 100.0
        self.delay, self.loss, self.duplication = delay, loss, duplication
        self.server = IprServer(config=server_config, allows=allows, random_bytes=self.random.randbytes)
        self.server_events: list[ServerEvent] = []
        self.clients: dict[bytes, IprClient] = {}
        self.events: dict[bytes, list[ClientEvent]] = {}
        self.attached: list[int] = []  # reply SURBs of every uplink message
        self.downlink: list[tuple[bytes, bytes, int | None]] = []
        self.up = self.down = True
        self._flying: list[tuple[float, int, Callable[[], object]]] = []
        self._count = itertools.count()

    def add_client(
        self,
        *,
        exit_version: str | None = "1.37.0",
        config: IprClientConfig | None = None,
        tag: bytes | None = None,
        thin: Callable[[Sequence[bytes]], list[bytes]] | None = None,
    ) -> tuple[bytes, IprClient]:
        tag = tag or self.random.randbytes(16)
        client = IprClient(
            exit_version=exit_version,
            unix_time=lambda: JUNE_2026 + self.now,
            config=config,
            random_bytes=self.random.randbytes,
            thin=thin,
        )
        self.clients[tag] = client
        self.events[tag] = []
        return tag, client

    def connected_client(
        self,
        *,
        config: IprClientConfig | None = None,
        exit_version: str | None = "1.37.0",
        thin: Callable[[Sequence[bytes]], list[bytes]] | None = None,
    ) -> tuple[bytes, IprClient, Connected]:
        tag, client = self.add_client(config=config, exit_version=exit_version, thin=thin)
        client.start(self.now)
        self.run(2.0)
        connected = self.events[tag].pop()
        assert isinstance(connected, Connected)
        return tag, client, connected

    def run(self, seconds: float) -> None:
        """Lets virtual time pass; every engine is called exactly when it asked to be."""
        end = self.now + seconds
        while True:
            self._exchange()
            due = [engine.poll_at() for engine in (self.server, *self.clients.values())]
            due.append(self._flying[0][0] if self._flying else None)
            next_at = min((at for at in due if at is not None), default=end)
            if next_at > end:
                break
            self.now = max(self.now, next_at)
            while self._flying and self._flying[0][0] <= self.now:
                heapq.heappop(self._flying)[2]()
            for engine in (self.server, *self.clients.values()):
                engine.handle_timer(self.now)
            if next_at >= end and not self._flying:
                self._exchange()
                break
        self.now = end

    def packets(self, tag: bytes) -> list[bytes]:
        return [event.packet for event in self.events[tag] if isinstance(event, PacketReceived)]

    def _exchange(self) -> None:
        for tag, client in self.clients.items():
            for message in client.messages_to_send(self.now):
                self.attached.append(message.reply_surbs)
                if self.up:
                    self._carry(lambda tag=tag, data=message.data: self._to_server(tag, data))
            while (event := client.next_event()) is not None:
                self.events[tag].append(event)
        while (server_event := self.server.next_event()) is not None:
            self.server_events.append(server_event)
        for reply in self.server.replies_to_send():
            self.downlink.append((reply.sender_tag, reply.data, reply.max_retransmissions))
            if self.down:
                self._carry(lambda reply=reply: self._to_client(reply.sender_tag, reply.data))

    def _to_server(self, tag: bytes, data: bytes) -> None:
        self.server.receive_message(tag, data, self.now)

    def _to_client(self, tag: bytes, data: bytes) -> None:
        self.clients[tag].receive_message(data, self.now)

    def _carry(self, deliver: Callable[[], object]) -> None:
        copies = 2 if self.random.random() < self.duplication else 1
        for _ in range(copies):
            if self.random.random() >= self.loss:
                at = self.now + self.random.uniform(*self.delay)
                heapq.heappush(self._flying, (at, next(self._count), deliver))


PUBLIC_V6 = IPv6Address("2606:4700::1111")
