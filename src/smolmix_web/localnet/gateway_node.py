"""A gateway: final hops of the mixnet on one side, clients on the other (spec nodes.md 6; gateway.md 8, 11).

Entry and exit are the same program: an exit additionally holds clients of its own, the service providers,
which need no WebSocket (:meth:`GatewayNode.register_local`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from smolmix_web.directory.described import DescribedNode
from smolmix_web.errors import MalformedError
from smolmix_web.gateway import GatewayRegistry, GatewayStorage, MemoryStorage
from smolmix_web.localnet.client_listener import ClientListener, ClientListenerConfig
from smolmix_web.localnet.node import MixnetNode, NodeConfig
from smolmix_web.localnet.node_identity import NodeIdentity
from smolmix_web.nym.acks import split_surb_ack
from smolmix_web.nym.framing import NodeFrame
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.packets import PacketSize
from smolmix_web.nym.topology import NodeRoles
from smolmix_web.sphinx.process import FinalHop

STALE_CHECK_INTERVAL = 3600.0
"""Seconds between two searches for stored messages that are too old."""


@dataclass(frozen=True, slots=True)
class GatewayNodeConfig:
    """What a gateway needs beyond a node.

    :ivar ws_port: of the plain WebSocket; 0 lets the system choose.
    :ivar wss_port: of the WebSocket under TLS; None for none. Needs ``tls`` and a ``hostname``.
    """

    node: NodeConfig = field(default_factory=NodeConfig)
    ws_port: int = 0
    wss_port: int | None = None
    hostname: str | None = None
    tls: ssl.SSLContext | None = None
    clients: ClientListenerConfig = field(default_factory=ClientListenerConfig)


class GatewayNode(MixnetNode):
    """Delivers final hops to clients, online or absent, and forwards what clients upload."""

    roles = NodeRoles(entry=True)
    delivers = True

    def __init__(
        self,
        config: GatewayNodeConfig,
        identity: NodeIdentity | None = None,
        storage: GatewayStorage | None = None,
    ) -> None:
        super().__init__(config.node, identity)
        self.gateway_config = config
        self.registry = GatewayRegistry(storage or MemoryStorage())
        self.ws_port = config.ws_port
        self.wss_port = config.wss_port
        self._local: dict[bytes, Callable[[bytes], None]] = {}
        self._cleaner: asyncio.Task[None] | None = None
        self.service_address: str | None = None
        """Address of the IP packet router that this gateway hosts, if any."""

    async def start(self) -> None:
        config = self.gateway_config
        self._clients = ClientListener(
            self.registry, self.identity.identity_seed, self.forward_mix_packet, config.clients
        )
        self.ws_port = await self._clients.start(self.config.host, config.ws_port)
        try:
            if config.wss_port is not None and config.tls is not None:
                self.wss_port = await self._clients.start(self.config.host, config.wss_port, config.tls)
            await super().start()
        except BaseException:
            await self._clients.stop()
            raise
        self._cleaner = asyncio.get_running_loop().create_task(self._clean())

    async def _shut_down(self, *, silently: bool) -> None:
        if not self.is_running:
            return
        if self._cleaner is not None:
            self._cleaner.cancel()
            await asyncio.gather(self._cleaner, return_exceptions=True)
        await self._clients.stop()
        await super()._shut_down(silently=silently)

    # -- packets ------------------------------------------------------------------------------------------

    def register_local(self, destination: bytes, callback: Callable[[bytes], None]) -> None:
        """Deliver final hops for ``destination`` (32 bytes, a client identity) to ``callback``."""
        self._local[destination] = callback

    def unregister_local(self, destination: bytes) -> None:
        self._local.pop(destination, None)

    def forward_mix_packet(self, packet: MixPacket) -> None:
        """Send a packet of a client, remote or local, to its first hop at once."""
        self.send_now(packet.first_hop, packet.packet, packet.packet_type, packet.rotation)

    def deliver(self, hop: FinalHop, frame: NodeFrame) -> None:
        if frame.size is PacketSize.ACK:
            self._hand_over(hop.destination, hop.plaintext)
            return
        try:
            first_hop, ack, message = split_surb_ack(hop.plaintext)
        except MalformedError:
            self.stats.ingress_mixing.malformed_packets_received += 1
            return
        self._hand_over(hop.destination, message)
        # Also when the message could only be stored, or not even that (nodes.md 6).
        self.stats.egress_mixing.ack_packets_sent += 1
        self.send_now(first_hop, ack, frame.packet_type, frame.rotation)

    def _hand_over(self, destination: bytes, message: bytes) -> None:
        callback = self._local.get(destination)
        if callback is not None:
            callback(message)
        else:
            self.registry.deliver(destination, message, time.time())

    # -- the rest -----------------------------------------------------------------------------------------

    def describe(self) -> DescribedNode:
        has_ipr = self.service_address is not None
        return replace(
            super().describe(),
            declared_role=NodeRoles(entry=True, exit_nr=has_ipr, exit_ipr=has_ipr),
            hostname=self.gateway_config.hostname,
            ws_port=self.ws_port,
            wss_port=self.wss_port,
            ip_packet_router=self.service_address,
        )

    def as_dict(self) -> dict[str, Any]:
        details = super().as_dict()
        if self.is_running:
            details["clients_connected"] = self._clients.connections
        details["clients"] = {
            name: getattr(self.registry.stats, name) for name in self.registry.stats.__slots__
        }
        return details

    def sees(self) -> dict[str, list[str]]:
        return {**super().sees(), "clients": self._clients.peers()} if self.is_running else {}

    async def _clean(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(STALE_CHECK_INTERVAL)
                self.registry.storage.delete_stale_messages(time.time())
