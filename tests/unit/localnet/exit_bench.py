"""A client's IP stack wired straight to a user-space exit, with real sockets behind the exit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address, IPv6Address

from smolmix_web.errors import MalformedError
from smolmix_web.ipr.packetinfo import inspect_packet
from smolmix_web.localnet.testnet import TestInternet
from smolmix_web.localnet.userspace_exit import UserspaceExit, UserspaceLimits
from smolmix_web.localnet.way_out import ExitClient
from smolmix_web.net.stack import Stack, State, TcpConnection

CLIENT = ExitClient(b"c" * 16, IPv4Address("10.0.7.7"), IPv6Address("fc00::707"), 1400)


class Bench:
    """Carries packets both ways without loss or delay; ``until`` waits for a condition of the stack."""

    def __init__(self, way_out: UserspaceExit, client: ExitClient = CLIENT) -> None:
        self.way_out = way_out
        self.client = client
        self.stack = Stack(ipv4=str(client.ipv4), ipv6=str(client.ipv6), mtu=client.mtu)
        self.room = 64
        self._event = asyncio.Event()

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wake(self) -> None:
        self._event.set()

    def pump(self) -> None:
        now = self.now
        for _ in range(8):
            self.stack.handle_timer(now)
            self.way_out.handle_timer(now)
            for packet in self.stack.packets_to_send(now):
                try:
                    info = inspect_packet(packet)
                except MalformedError:
                    continue
                self.way_out.receive_packet(self.client, packet, info, now)
            packets = self.way_out.packets_to_send(now, lambda tag: self.room)
            for packet in packets:
                self.stack.receive_packet(packet, now)
            if not packets and not self.stack.has_packets:
                break

    async def until(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        async with asyncio.timeout(timeout):
            while True:
                self._event.clear()
                self.pump()
                if condition():
                    return
                deadlines = [at for at in (self.stack.poll_at(), self.way_out.poll_at()) if at is not None]
                delay = min([0.05, *(max(at - self.now, 0.001) for at in deadlines)])
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._event.wait(), delay)

    async def connect(self, address: str, port: int) -> TcpConnection:
        """A connection that is established or failed."""
        connection = self.stack.connect_tcp(address, port, self.now)
        await self.until(lambda: connection.state is not State.SYN_SENT)
        return connection

    async def send_all(self, connection: TcpConnection, data: bytes) -> None:
        view = memoryview(data)
        while view:
            await self.until(lambda: connection.writable() > 0 or connection.error is not None)
            view = view[connection.send(view, self.now) :]

    async def read_all(self, connection: TcpConnection, timeout: float = 10.0) -> bytes:
        """Everything to the end of the stream."""
        received = bytearray()

        def ended() -> bool:
            while data := connection.recv(1 << 16, self.now):
                received.extend(data)
            return connection.receive_ended or connection.error is not None

        await self.until(ended, timeout)
        if connection.error is not None:
            raise connection.error
        return bytes(received)


@asynccontextmanager
async def bench(
    internet: TestInternet, *, limits: UserspaceLimits | None = None, reach_internet: bool = False
) -> AsyncIterator[Bench]:
    way_out = UserspaceExit(internet.address_map, limits=limits, reach_internet=reach_internet)
    one = Bench(way_out)
    await way_out.start(one.wake)
    way_out.client_connected(CLIENT, one.now)
    try:
        yield one
    finally:
        await way_out.stop()
