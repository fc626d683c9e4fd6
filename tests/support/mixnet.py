"""A mixnet in memory with a virtual clock, for tests of everything that stands on packets.

Nodes own real Sphinx keys and process every packet hop by hop; frames between nodes and packets from clients
are serialised and parsed. Links lose, duplicate and delay (and so reorder); all randomness comes from the
seed, so a run repeats exactly.

    net = Mixnet(seed=1, loss=0.03)
    alice, bob = net.add_client("alice"), net.add_client("bob", config=ClientConfig().no_cover())
    alice.send(bob.address, b"hello", net.now)
    net.run(5.0)
    net.events["bob"]  # [MessageReceived(...)]
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from smolmix_web import crypto
from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.nym.acks import split_surb_ack
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.client import NymClient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.events import MessageReceived, NymEvent
from smolmix_web.nym.framing import FrameDecoder, NodeFrame, encode_frame
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.packets import KeyRotation, PacketSize, PacketVersion
from smolmix_web.nym.topology import Node, Topology
from smolmix_web.sphinx import FinalHop, ForwardHop, OpenedHeader, open_header, process_packet

UNIX_EPOCH = 1_760_000_000.0
"""Wall-clock time at which every simulation starts."""


@dataclass(slots=True)
class SimNode:
    """A node with one Sphinx key per rotation id (current and, during the overlap, the previous one)."""

    node_id: int
    identity: bytes
    address: NodeAddress
    keys: dict[int, crypto.X25519Key] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)
    is_up: bool = True

    def key_for(self, rotation: KeyRotation) -> list[crypto.X25519Key]:
        if rotation is KeyRotation.UNKNOWN:
            return list(self.keys.values())
        return [key for i, key in self.keys.items() if KeyRotation.from_rotation_id(i) is rotation]


@dataclass(slots=True)
class SimStats:
    frames: int = 0
    lost: int = 0
    duplicated: int = 0
    replays_dropped: int = 0
    undecryptable: int = 0
    node_down: int = 0
    delivered: int = 0


class Mixnet:
    """
    :param loss: probability that a link loses a packet; a packet passes 4 links, and its ack 4 more.
    :param duplication: probability that a link delivers twice (nodes notice), and a gateway pushes twice.
    :param link_delay: seconds on each link, uniformly between the two.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        per_layer: int = 2,
        gateways: int = 2,
        loss: float = 0.0,
        duplication: float = 0.0,
        link_delay: tuple[float, float] = (0.001, 0.010),
        rotation_id: int = 1,
        ipv6: bool = False,
    ) -> None:
        self.random = random.Random(seed)
        self.loss, self.duplication, self.link_delay = loss, duplication, link_delay
        self.now = 0.0
        self.rotation_id = rotation_id
        self.epoch_id = 100
        self.stats = SimStats()
        self.clients: dict[str, NymClient] = {}
        self.events: dict[str, list[NymEvent]] = {}
        self.offline: dict[str, list[bytes]] = {}
        self.push_filter: Callable[[str, bytes], bool] = lambda name, message: True
        self.limit = 32
        self._names: dict[bytes, str] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self.nodes: dict[NodeAddress, SimNode] = {}
        provider = crypto.provider()
        self.layers: list[list[int]] = [[], [], []]
        for node_id in range(1, 3 * per_layer + gateways + 1):
            identity = provider.ed25519_public(self.random.randbytes(32))
            node = SimNode(
                node_id, identity, NodeAddress(f"fd00::{node_id:x}" if ipv6 else f"10.0.0.{node_id}", 1789)
            )
            node.keys[rotation_id] = self._new_key()
            self.nodes[node.address] = node
            if node_id <= 3 * per_layer:
                self.layers[(node_id - 1) // per_layer].append(node_id)
        self.gateways = [node for node in self.nodes.values() if node.node_id > 3 * per_layer]

    def _new_key(self) -> crypto.X25519Key:
        return crypto.provider().x25519_key(self.random.randbytes(32))

    @property
    def unix_time(self) -> float:
        return UNIX_EPOCH + self.now

    def topology(self) -> Topology:
        """As the directory would give it now: nodes that are up, with their current keys."""
        nodes = [
            Node(node.node_id, node.identity, node.keys[self.rotation_id].public, node.address)
            for node in self.nodes.values()
            if node.is_up
        ]
        return Topology.build(
            nodes,
            self.layers,
            epoch_id=self.epoch_id,
            rotation_id=self.rotation_id,
            refreshed_at=self.unix_time,
        )

    def rotate_keys(self) -> None:
        """Nodes switch to new keys and keep the previous ones; clients learn it when told."""
        self.rotation_id += 1
        self.epoch_id += 1
        for node in self.nodes.values():
            node.keys = {self.rotation_id - 1: node.keys[self.rotation_id - 1]}
            node.keys[self.rotation_id] = self._new_key()

    def drop_old_keys(self) -> None:
        """The overlap is over."""
        for node in self.nodes.values():
            node.keys = {self.rotation_id: node.keys[self.rotation_id]}

    def add_client(
        self, name: str, *, gateway: int = 0, config: ClientConfig | None = None, ready: bool = True
    ) -> NymClient:
        """A client at one of the gateways, by default without pacing and cover."""
        client = NymClient(
            ClientKeys.generate(self.random.randbytes),
            self.gateways[gateway].identity,
            config or ClientConfig().no_cover(),
            random_bytes=self.random.randbytes,
            now=self.now,
        )
        self.clients[name] = client
        self.events[name] = []
        self._names[client.address.identity] = name
        if ready:
            client.set_topology(self.topology(), self.now, unix_time=self.unix_time)
        return client

    def messages(self, name: str) -> list[bytes]:
        """Data of the messages that the client received so far."""
        return [event.data for event in self.events[name] if isinstance(event, MessageReceived)]

    def walk(self, first_hop: NodeAddress, packet: bytes) -> tuple[list[ForwardHop], FinalHop]:
        """Opens a packet hop by hop outside the clock, to look into it."""
        hops: list[ForwardHop] = []
        address = first_hop
        while True:
            hop = process_packet(self.nodes[address].keys[self.rotation_id], packet)
            if isinstance(hop, FinalHop):
                return hops, hop
            hops.append(hop)
            packet, address = hop.packet, NodeAddress.unpack(hop.next_address)

    # Time --------------------------------------------------------------------------------------------------

    def run(self, duration: float, until: Callable[[], bool] | None = None) -> bool:
        """Lets ``duration`` seconds pass, or stops as soon as ``until`` holds; returns whether it does."""
        end = self.now + duration
        self._flush_clients()
        while until is None or not until():
            at = min([self._heap[0][0]] if self._heap else [end], default=end)
            for name, client in self.clients.items():
                poll_at = client.poll_at(can_send=name not in self.offline)
                at = min(at, end if poll_at is None else poll_at)
            if at >= end:
                self.now = end
                self._flush_clients()
                return until() if until is not None else True
            self.now = max(self.now, at)
            while self._heap and self._heap[0][0] <= self.now:
                heapq.heappop(self._heap)[2]()
            self._flush_clients()
        return True

    def _flush_clients(self) -> None:
        for name, client in self.clients.items():
            client.handle_timer(self.now)
            if name not in self.offline:
                for packet in client.packets_to_send(self.now, self.limit):
                    self._submit(packet)
            while (event := client.next_event()) is not None:
                self.events[name].append(event)

    def _at(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + delay, next(self._sequence), action))

    # Packets -----------------------------------------------------------------------------------------------

    def _submit(self, packet: MixPacket) -> None:
        """The entry gateway forwards at once (it is no hop of the packet)."""
        packet = MixPacket.from_bytes_v2(packet.to_bytes_v2())
        frame = NodeFrame(packet.packet, packet.packet_type, packet.rotation, PacketVersion.KEY_ROTATION)
        self._transmit(packet.first_hop, frame)

    def _transmit(self, address: NodeAddress, frame: NodeFrame) -> None:
        if self.random.random() < self.loss:
            self.stats.lost += 1
            return
        data = encode_frame(frame)
        copies = 1
        if self.random.random() < self.duplication:
            self.stats.duplicated += 1
            copies = 2
        for _ in range(copies):
            (received,) = FrameDecoder().receive_data(data)
            self._at(self.random.uniform(*self.link_delay), partial(self._arrive, address, received))

    def _arrive(self, address: NodeAddress, frame: NodeFrame) -> None:
        self.stats.frames += 1
        node = self.nodes[address]
        if not node.is_up:
            self.stats.node_down += 1
            return
        opened = self._open(node, frame)
        if opened is None:
            self.stats.undecryptable += 1
            return
        if opened.replay_tag in node.seen:
            self.stats.replays_dropped += 1
            return
        node.seen.add(opened.replay_tag)
        hop = opened.finish()
        if isinstance(hop, FinalHop):
            self._deliver(hop, frame)
            return
        onward = NodeFrame(hop.packet, frame.packet_type, frame.rotation, frame.version)
        next_address = NodeAddress.unpack(hop.next_address)
        self._at(hop.delay_ns * 1e-9, lambda: self._transmit(next_address, onward))

    @staticmethod
    def _open(node: SimNode, frame: NodeFrame) -> OpenedHeader | None:
        for key in node.key_for(frame.rotation):
            try:
                return open_header(key, frame.packet)
            except (CryptoError, MalformedError):
                continue
        return None

    def _deliver(self, hop: FinalHop, frame: NodeFrame) -> None:
        message = hop.plaintext
        if frame.size is not PacketSize.ACK:
            first_hop, ack, message = split_surb_ack(hop.plaintext)
            self._transmit(first_hop, NodeFrame(ack, frame.packet_type, frame.rotation, frame.version))
        name = self._names[hop.destination]
        self.stats.delivered += 1
        self._push(name, message)
        if self.random.random() < self.duplication:
            self._at(self.random.uniform(*self.link_delay), lambda: self._push(name, message))

    def _push(self, name: str, message: bytes) -> None:
        if name in self.offline:
            self.offline[name].append(message)
        elif self.push_filter(name, message):
            self.clients[name].receive_push(message, self.now)

    def disconnect(self, name: str) -> None:
        """The client loses its gateway, which stores what arrives meanwhile."""
        self.offline[name] = []

    def reconnect(self, name: str) -> None:
        for message in self.offline.pop(name):
            self._push(name, message)
