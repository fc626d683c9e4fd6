"""An exit service in real time, and clients that reach it by real Sphinx packets without delay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from smolmix_web.ipr.client import IprClient, IprClientConfig
from smolmix_web.ipr.events import ClientEvent, Connected, PacketReceived
from smolmix_web.localnet.exit_service import ExitConfig, ExitService
from smolmix_web.net.stack import Stack, State, TcpConnection
from smolmix_web.nym.acks import split_surb_ack
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.client import NymClient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.events import MessageReceived
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.packets import PacketSize
from support.mixnet import Mixnet

INSTANT = ClientConfig(
    disable_poisson=True, disable_cover=True, average_packet_delay=0.0, average_ack_delay=0.0
)


class ExitNetwork:
    """Three layers of nodes and two gateways, one exit at the second, clients at the first."""

    def __init__(self, config: ExitConfig) -> None:
        self.mixnet = Mixnet(per_layer=1)
        self.service = ExitService(
            ClientKeys.generate(self.mixnet.random.randbytes), self.mixnet.gateways[1].identity, config
        )
        self._deliver: dict[bytes, Callable[[bytes], None]] = {
            self.service.address.identity: self.service.receive_push
        }
        self.lose: Callable[[MixPacket], bool] = lambda packet: False
        self.carried = 0

    async def start(self) -> None:
        await self.service.start(self.carry)
        self.service.set_topology(self.mixnet.topology())

    def add_client(self, config: IprClientConfig | None = None, version: str = "1.37.0") -> NetworkClient:
        client = NetworkClient(self, config, version)
        self._deliver[client.nym.address.identity] = client.receive_push
        return client

    def carry(self, packet: MixPacket) -> None:
        """Processes a packet at every hop at once; what is in it, and its ack, arrive in the next turns."""
        self.carried += 1
        if self.lose(packet):
            return
        _, final = self.mixnet.walk(packet.first_hop, packet.packet)
        message = final.plaintext
        loop = asyncio.get_running_loop()
        if len(packet.packet) != PacketSize.ACK.total:
            first_hop, ack, message = split_surb_ack(final.plaintext)
            loop.call_soon(self._carry_ack, first_hop, ack)
        deliver = self._deliver.get(final.destination)
        if deliver is not None:
            loop.call_soon(deliver, message)

    def _carry_ack(self, first_hop: NodeAddress, ack: bytes) -> None:
        _, final = self.mixnet.walk(first_hop, ack)
        deliver = self._deliver.get(final.destination)
        if deliver is not None:
            deliver(final.plaintext)


class NetworkClient:
    """NymClient, IprClient and, once connected, a stack."""

    def __init__(self, network: ExitNetwork, config: IprClientConfig | None, version: str) -> None:
        mixnet = network.mixnet
        self.network = network
        self.nym = NymClient(
            ClientKeys.generate(mixnet.random.randbytes),
            mixnet.gateways[0].identity,
            INSTANT,
            random_bytes=mixnet.random.randbytes,
            now=self.now,
        )
        self.nym.set_topology(mixnet.topology(), self.now)
        self.ipr = IprClient(exit_version=version, unix_time=time.time, config=config)
        self.stack: Stack | None = None
        self.events: list[ClientEvent] = []
        self.unframed: list[bytes] = []  # messages that are not of the IPR session's stream
        self._arrived = asyncio.Event()

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def receive_push(self, message: bytes) -> None:
        self.nym.receive_push(message, self.now)
        self._arrived.set()

    def pump(self) -> None:
        now, nym, ipr = self.now, self.nym, self.ipr
        nym.handle_timer(now)
        ipr.handle_timer(now)
        while (message := nym.next_event()) is not None:
            if isinstance(message, MessageReceived) and not ipr.receive_message(message.data, now):
                self.unframed.append(message.data)
        while (event := ipr.next_event()) is not None:
            if isinstance(event, PacketReceived) and self.stack is not None:
                self.stack.receive_packet(event.packet, now)
            else:
                self.events.append(event)
        if self.stack is not None:
            self.stack.handle_timer(now)
            ipr.send_packets(self.stack.packets_to_send(now), now)
        for outgoing in ipr.messages_to_send(now):
            nym.send(self.network.service.address, outgoing.data, now, reply_surbs=outgoing.reply_surbs)
        for packet in nym.packets_to_send(now, 100):
            self.network.carry(packet)

    async def until(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            while True:
                self._arrived.clear()
                self.pump()
                if condition():
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._arrived.wait(), 0.01)

    async def connect_exit(self) -> Connected:
        self.ipr.start(self.now)
        await self.until(lambda: bool(self.events))
        connected = self.events.pop()
        assert isinstance(connected, Connected)
        self.stack = Stack(ipv4=str(connected.ipv4), ipv6=str(connected.ipv6), mtu=connected.mtu)
        return connected

    async def connect_tcp(self, address: str, port: int) -> TcpConnection:
        assert self.stack is not None
        connection = self.stack.connect_tcp(address, port, self.now)
        await self.until(lambda: connection.state is not State.SYN_SENT)
        return connection

    async def read_all(self, connection: TcpConnection, timeout: float = 30.0) -> bytes:
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
async def exit_network(config: ExitConfig) -> AsyncIterator[ExitNetwork]:
    network = ExitNetwork(config)
    await network.start()
    try:
        yield network
    finally:
        await network.service.stop()
