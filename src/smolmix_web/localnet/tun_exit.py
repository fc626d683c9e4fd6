"""The way out through the kernel: a TUN device, IP forwarding and NAT. Linux, with the rights for it.

What the address map covers still goes through the user-space exit: the test internet's listeners are on
loopback, which no kernel forwards to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from smolmix_web.ipr.packetinfo import PacketInfo, destination_of
from smolmix_web.localnet.address_map import AddressMap
from smolmix_web.localnet.tun_device import TunDevice
from smolmix_web.localnet.userspace_exit import UserspaceExit, UserspaceLimits
from smolmix_web.localnet.way_out import ExitClient

# Packets read from the device in one turn.
_BURST = 128
# Packets that wait for one client, as in a router's queue; further ones are dropped.
_QUEUE = 256


@dataclass(slots=True)
class TunStats:
    packets_out: int = 0
    packets_in: int = 0
    not_taken: int = 0
    nobodys: int = 0
    queue_full: int = 0


class TunExit:
    """A :class:`~smolmix_web.localnet.way_out.WayOut`. ``start`` raises :class:`TunUnavailable` where it
    cannot."""

    def __init__(
        self,
        address_map: AddressMap | None = None,
        *,
        mtu: int = 1500,
        limits: UserspaceLimits | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.address_map = address_map if address_map is not None else AddressMap()
        self.device = TunDevice(mtu)
        self.stats = TunStats()
        self.mapped = UserspaceExit(
            self.address_map, reach_internet=False, limits=limits, random_bytes=random_bytes
        )
        self._wake: Callable[[], None] = lambda: None
        self._queues: dict[bytes, deque[bytes]] = {}
        self._tags: dict[bytes, bytes] = {}  # address -> sender tag
        self._covered: dict[bytes, bool] = {}

    async def start(self, wake: Callable[[], None]) -> None:
        await self.device.open()
        self._wake = wake
        asyncio.get_running_loop().add_reader(self.device.fileno(), wake)
        await self.mapped.start(wake)

    async def stop(self) -> None:
        if self.device.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.device.fileno())
        await self.mapped.stop()
        await self.device.close()

    def client_connected(self, client: ExitClient, now: float) -> None:
        self._queues[client.tag] = deque()
        self._tags[client.ipv4.packed] = self._tags[client.ipv6.packed] = client.tag
        self.mapped.client_connected(client, now)

    def client_gone(self, client: ExitClient, now: float) -> None:
        self._queues.pop(client.tag, None)
        for address in (client.ipv4.packed, client.ipv6.packed):
            self._tags.pop(address, None)
        self.mapped.client_gone(client, now)

    def receive_packet(self, client: ExitClient, packet: bytes, info: PacketInfo, now: float) -> None:
        if self._is_covered(info.destination):
            self.mapped.receive_packet(client, packet, info, now)
        elif self.device.write(packet):
            self.stats.packets_out += 1
        else:
            self.stats.not_taken += 1

    def packets_to_send(self, now: float, room: Callable[[bytes], int]) -> list[bytes]:
        self._read_device()
        packets = self.mapped.packets_to_send(now, room)
        for tag, queue in self._queues.items():
            if queue:
                for _ in range(min(len(queue), max(room(tag), 0))):
                    packets.append(queue.popleft())
        return packets

    def poll_at(self) -> float | None:
        return self.mapped.poll_at()

    def handle_timer(self, now: float) -> None:
        self.mapped.handle_timer(now)

    def snapshot(self) -> dict[str, Any]:
        return {"kind": "tun", **asdict(self.stats), "mapped": self.mapped.snapshot()}

    def _read_device(self) -> None:
        for _ in range(_BURST):
            packet = self.device.read()
            if packet is None:
                return
            destination = destination_of(packet)
            tag = self._tags.get(destination) if destination is not None else None
            if tag is None:  # the kernel's own multicast, or a client that has gone
                self.stats.nobodys += 1
                continue
            queue = self._queues[tag]
            if len(queue) >= _QUEUE:
                self.stats.queue_full += 1
            else:
                self.stats.packets_in += 1
                queue.append(packet)

    def _is_covered(self, destination: bytes) -> bool:
        covered = self._covered.get(destination)
        if covered is None:
            if len(self._covered) > 4096:
                self._covered.clear()
            covered = self._covered[destination] = self.address_map.covers(ipaddress.ip_address(destination))
        return covered
