"""What all nodes have in common: listener, unwrapping, delay queue, links, directory (spec nodes.md 4, 5, 8).

Order of a packet: a read gives frames, each is unwrapped at once, and either goes into the delay queue or to
the subclass as a final hop. Nothing in that path is a task: one process plays a whole network, and a task per
packet would cost as much as the cryptography.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smolmix_web.directory.described import DescribedNode
from smolmix_web.errors import MalformedError, SmolmixError
from smolmix_web.localnet.delay_queue import DelayQueue
from smolmix_web.localnet.directory_link import Announcer, DirectoryLink
from smolmix_web.localnet.impairment import Impairment, ImpairmentConfig
from smolmix_web.localnet.key_files import load_keyring, save_keyring
from smolmix_web.localnet.key_rotation import RotationDriver
from smolmix_web.localnet.links import Link, LinkConfig, OutgoingLinks
from smolmix_web.localnet.listener import MixListener
from smolmix_web.localnet.node_identity import NodeIdentity
from smolmix_web.localnet.node_stats import NodeStats
from smolmix_web.localnet.noise_links import NoisePolicy
from smolmix_web.localnet.processing import PacketProcessor
from smolmix_web.localnet.routing_filter import RoutingFilter
from smolmix_web.localnet.sphinx_keys import SphinxKeyring
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.framing import NodeFrame, encode_packet
from smolmix_web.nym.packets import KeyRotation, PacketType, PacketVersion
from smolmix_web.nym.topology import NodeRoles
from smolmix_web.sphinx.process import FinalHop, ForwardHop

log = logging.getLogger(__name__)

MAXIMUM_DELAY = 10.0
"""Seconds; a longer delay asked for by a packet is cut to this."""

MAX_ROUTES = 1024
"""Next hops remembered as they are written in headers; senders may pad an address in any way."""

SAVE_INTERVAL = 600.0
"""Seconds between two writings of the replay filters."""

BUILD_VERSION = "1.40.0"
"""The nym-node release whose behaviour this is; clients derive the IPR version from it."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Where a node listens and how it behaves.

    :ivar host: IP address to listen on and to announce.
    :ivar mix_port: 0 lets the system choose.
    :ivar directory_url: None for a node on its own.
    :ivar frame_version: of the frames it sends; official nodes send 7.
    :ivar build_version: nym-node release to announce.
    :ivar noise: offer encrypted links; the nodes of one IP address must agree on this.
    :ivar announce_interval: seconds between two rounds with the directory.
    :ivar unix_time: seconds since 1970, of epochs and announcements.
    :ivar data_dir: folder of the Sphinx keys and replay filters; None keeps them in memory.
    """

    name: str = "node"
    host: str = "127.0.0.1"
    mix_port: int = 0
    directory_url: str | None = None
    layer: int | None = None
    performance: str = "1"
    frame_version: PacketVersion = PacketVersion.LEGACY
    build_version: str = BUILD_VERSION
    verify_next_hop: bool = True
    noise: bool = False
    announce_interval: float = 5.0
    unix_time: Callable[[], float] = time.time
    data_dir: Path | None = None
    links: LinkConfig = field(default_factory=LinkConfig)
    impairment: ImpairmentConfig = field(default_factory=ImpairmentConfig)


class MixnetNode:
    """Base of mix nodes and gateways.

    Calling order: ``start``; then packets flow; ``stop``, or ``kill`` to vanish like a crashed process.
    """

    roles = NodeRoles()
    forwards = False  # forward hops are handled
    delivers = False  # final hops are handled

    def __init__(self, config: NodeConfig, identity: NodeIdentity | None = None) -> None:
        self.config = config
        self.identity = identity or NodeIdentity.generate()
        self.keyring = SphinxKeyring(0)
        self.stats = NodeStats()
        self.address = NodeAddress(config.host, config.mix_port)
        self._processor = PacketProcessor(self.keyring, self.stats.ingress_mixing)
        self._filter = RoutingFilter(verify=config.verify_next_hop)
        self._noise = NoisePolicy(self.identity.noise_secret if config.noise else None)
        self._routes: dict[bytes, Link] = {}
        self._started = False
        self._keys_are_known = False
        self._saved_keys: tuple[object, ...] = ()
        self._saved_at = 0.0
        saved = load_keyring(config.data_dir) if config.data_dir is not None else None
        if saved is not None:
            self.adopt_keys(saved)

    def adopt_keys(self, keyring: SphinxKeyring) -> None:
        """Take over the Sphinx keys of this node's earlier life, as a node that kept them on disk would.
        Call before ``start``.
        """
        self.keyring = self._processor.keyring = keyring
        self._keys_are_known = True

    async def start(self) -> None:
        """Listen and announce. :raises OSError: a port cannot be bound; nothing is left open then."""
        self._open_links(asyncio.get_running_loop())
        self._directory: DirectoryLink | None = None
        self._announcer: Announcer | None = None
        self._started = True
        try:
            port = await self._listener.start(self.config.host, self.config.mix_port)
            self.address = NodeAddress(self.config.host, port)
            if self.config.directory_url is not None:
                await self._join(self.config.directory_url)
            self._save_keys()
        except BaseException:
            await self.kill()
            raise

    def _open_links(self, loop: asyncio.AbstractEventLoop) -> None:
        config = self.config
        impairment = None
        if not config.impairment.is_perfect:
            impairment = Impairment(config.impairment, config.name)
        self._links = OutgoingLinks(
            loop,
            self.stats.egress_mixing,
            config=config.links,
            impairment=impairment,
            make_channel=self._noise.outgoing,
            source=config.host,
        )
        self._routes.clear()
        self._delays: DelayQueue[tuple[Link, bytes]] = DelayQueue(loop, self._send_due)
        self._listener = MixListener(
            self.receive_frames, self.stats.ingress_mixing, make_channel=self._noise.incoming
        )

    async def _join(self, directory_url: str) -> None:
        self._directory = DirectoryLink(directory_url)
        self._rotation = RotationDriver(self.keyring)
        await self._load_rotation(self._directory)
        self._announcer = Announcer(
            self._directory,
            self.identity.identity_seed,
            self.describe,
            self._refresh,
            layer=self.config.layer,
            performance=self.config.performance,
            interval=self.config.announce_interval,
            unix_time=self.config.unix_time,
        )
        await self._announcer.round()
        self._announcer.start()

    async def stop(self) -> None:
        """Leave the directory, then close everything. No task or socket is left."""
        await self._shut_down(silently=False)

    async def kill(self) -> None:
        """Close everything without telling the directory."""
        await self._shut_down(silently=True)

    async def _shut_down(self, *, silently: bool) -> None:
        if not self._started:
            return
        self._started = False
        if self._announcer is not None:
            await (self._announcer.abandon() if silently else self._announcer.stop())
        if self._directory is not None:
            await self._directory.close()
        await self._listener.stop()
        self._delays.clear()
        await self._links.stop()
        if not silently:
            self._save_keys(always=True)

    async def refresh(self) -> bool:
        """One round with the directory now: announce, learn. False without a directory that answers."""
        return self._announcer is not None and await self._announcer.round()

    @property
    def is_running(self) -> bool:
        return self._started

    # -- packets ------------------------------------------------------------------------------------------

    def receive_frames(self, frames: list[NodeFrame]) -> None:
        """Frames of one read from another node."""
        now = asyncio.get_running_loop().time()
        ingress = self.stats.ingress_mixing
        for frame in frames:
            hop = self._processor.process(frame)
            if isinstance(hop, ForwardHop):
                ingress.forward_hop_packets_received += 1
                if self.forwards:
                    self._forward(hop, frame, now)
                else:
                    ingress.forward_hop_packets_dropped += 1
            elif isinstance(hop, FinalHop):
                ingress.final_hop_packets_received += 1
                if self.delivers:
                    self.deliver(hop, frame)
                else:
                    ingress.final_hop_packets_dropped += 1

    def deliver(self, hop: FinalHop, frame: NodeFrame) -> None:
        """A final hop, at nodes that serve clients."""
        raise NotImplementedError

    def _forward(self, hop: ForwardHop, frame: NodeFrame, received_at: float) -> None:
        link = self._routes.get(hop.next_address) or self._route(hop.next_address)
        if link is None:
            return
        delay_ns = hop.delay_ns
        encoded = encode_packet(hop.packet, frame.packet_type, frame.rotation, self.config.frame_version)
        if not delay_ns:
            self._links.send_over(link, encoded)
            return
        delay = delay_ns / 1e9
        if delay > MAXIMUM_DELAY:
            self.stats.ingress_mixing.excessive_delay_packets += 1
            delay = MAXIMUM_DELAY
        self._delays.push(received_at + delay, (link, encoded), len(encoded))

    def _route(self, padded_address: bytes) -> Link | None:
        """Where an address in a header leads; None, counted, where it leads nowhere."""
        try:
            address = NodeAddress.unpack(padded_address)
        except MalformedError:
            self.stats.ingress_mixing.malformed_packets_received += 1
            return None
        if not self._allows(address):
            return None
        link = self._links.link_to(address)
        if link is None:
            self.stats.egress_mixing.dropped_queue_full += 1
            return None
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        self._routes[padded_address] = link
        return link

    def send_now(
        self, address: NodeAddress, packet: bytes, packet_type: PacketType, rotation: KeyRotation
    ) -> None:
        """Send a packet to its next hop without delay: uploads of clients, and acknowledgements."""
        if self._started and self._allows(address):
            self._links.send(address, encode_packet(packet, packet_type, rotation, self.config.frame_version))

    def _allows(self, address: NodeAddress) -> bool:
        if self._filter.allows(address):
            return True
        self.stats.egress_mixing.refused_next_hop += 1
        if self._announcer is not None:
            self._announcer.refresh_soon()
        return False

    def _send_due(self, item: tuple[Link, bytes]) -> None:
        self._links.send_over(*item)

    # -- directory ----------------------------------------------------------------------------------------

    def describe(self) -> DescribedNode:
        """What this node says about itself."""
        upcoming = self.keyring.pre_announced()
        return DescribedNode(
            node_id=0,
            identity=self.identity.identity,
            ip_addresses=(self.address.ip,),
            current_sphinx_key=self.keyring.primary.announced(),
            pre_announced_sphinx_key=upcoming.announced() if upcoming is not None else None,
            build_version=self.config.build_version,
            ws_port=9000,
            declared_role=self.roles,
            mix_port=self.address.port,
            noise_key=self.identity.noise_key if self.config.noise else None,
        )

    async def _load_rotation(self, directory: DirectoryLink) -> None:
        try:
            rotation = await directory.key_rotation()
            if self._keys_are_known:
                self._rotation.advance(rotation, self.config.unix_time())
            else:
                self._rotation.start(rotation, self.config.unix_time())
        except SmolmixError as error:
            log.warning("%s: no key rotation from the directory: %s", self.config.name, error)

    async def _refresh(self) -> None:
        """One round with the directory, after an announcement."""
        directory = self._directory
        if directory is None:
            return
        nodes = await directory.known_nodes()
        self._filter.update(node.address for node in nodes)
        self._routes.clear()  # some may lead to nodes that have left
        self._noise.update(nodes)
        changed = self._rotation.advance(await directory.key_rotation(), self.config.unix_time())
        self._save_keys()
        if changed and self._announcer is not None:
            self._announcer.refresh_soon()  # the others have to learn of the new key

    def _save_keys(self, *, always: bool = False) -> None:
        """Write keys that changed; the filters at least every ten minutes, as the reference does."""
        if self.config.data_dir is None:
            return
        keys = (self.keyring.primary, self.keyring.secondary)
        if always or keys != self._saved_keys or time.monotonic() - self._saved_at > SAVE_INTERVAL:
            save_keyring(self.config.data_dir, self.keyring)
            self._saved_keys, self._saved_at = keys, time.monotonic()

    # -- observation --------------------------------------------------------------------------------------

    def sees(self) -> dict[str, list[str]]:
        """What this node's operating system could tell of its connections: from and to which IP addresses."""
        if not self._started:
            return {}
        return {"nodes": self._listener.peers(), "next": self._links.addresses()}

    def as_dict(self) -> dict[str, Any]:
        """Counters and links, JSON-able."""
        if not self._started:
            return {"running": False, **self.stats.as_dict()}
        return {
            "running": True,
            **self.stats.as_dict(),
            "connections_in": self._listener.connections,
            "delayed_packets": len(self._delays),
            "released_early": self._delays.overflowed,
            "links": self._links.as_list(),
        }
