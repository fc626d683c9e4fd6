"""Turns fragments into Sphinx packets (sphinx.md 16-20).

Nearly all the work is public-key arithmetic that does not depend on the fragment: the headers of the packet
and of its ack, and the key agreed with the recipient. So these come out of pools which ``prepare_ahead``
fills in idle time; a tick of the sending stream then only encrypts a payload.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from smolmix_web.nym.acks import encode_ack
from smolmix_web.nym.addresses import PADDED_IN_ACK, NodeAddress, Recipient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.cover import cover_content
from smolmix_web.nym.fragments import COVER_IDENTIFIER
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.outgoing import HeldSurb
from smolmix_web.nym.packets import KeyRotation, PacketSize, PacketType
from smolmix_web.nym.payload import KEY_LENGTH, FragmentKey, agree_fragment_key, reply_fragment_key
from smolmix_web.nym.pools import PoolSet
from smolmix_web.nym.randomness import RandomBytes, random_exponential, random_unit
from smolmix_web.nym.replies import ReplySurb
from smolmix_web.nym.topology import Node, NoRouteError, Topology
from smolmix_web.sphinx import PreparedHeader, Surb, prepare_header


@dataclass(frozen=True, slots=True)
class _RoutedHeader:
    """:ivar delay_ns: expected time on the way: the sum of the delays of all hops but the last."""

    first_hop: NodeAddress
    header: PreparedHeader = field(repr=False)
    delay_ns: int


class PacketPreparer:
    """Give it a topology, then ask for packets; :class:`NoRouteError` says that the topology has no way.

    Every packet is returned with the nanoseconds that it and its ack are expected to spend at mix nodes.
    """

    def __init__(
        self, keys: ClientKeys, address: Recipient, config: ClientConfig, random_bytes: RandomBytes
    ) -> None:
        self._keys = keys
        self._address = address
        self._config = config
        self._random_bytes = random_bytes
        self._pools = PoolSet()
        self.topology: Topology | None = None
        self._previous: Topology | None = None

    @property
    def is_ready(self) -> bool:
        """Whether acks, cover packets and reply SURBs can be routed home."""
        topology = self.topology
        return (
            topology is not None
            and (self._config.disable_mix_hops or topology.is_routable)
            and topology.node_by_identity(self._address.gateway) is not None
        )

    @property
    def rotation(self) -> KeyRotation:
        return self.topology.rotation if self.topology is not None else KeyRotation.UNKNOWN

    def set_topology(self, topology: Topology | None) -> None:
        before, self.topology = self.topology, topology
        if before is not None and (topology is None or before.rotation is not topology.rotation):
            self._previous = before
        if before is None or topology is None or not before.routes_like(topology):
            # What was prepared names nodes or keys of the past.
            self._pools.clear()

    def data_packet(
        self, recipient: Recipient, fragment: bytes, identifier: bytes, size: PacketSize, now: float
    ) -> tuple[MixPacket, int]:
        """:raises NoRouteError: see the class. :raises CryptoError: a key on the way is unusable."""
        version = self._config.sphinx_version
        header = self._packet_header(recipient, version, now)
        key = self._fragment_key(recipient.encryption, now, burst=self._config.burst_headers)
        ack, ack_delay = self._ack(identifier, version, now)
        packet = header.header.seal(ack + key.encrypt(fragment), size.payload)
        return self._mix_packet(header.first_hop, packet, self.rotation), header.delay_ns + ack_delay

    def reply_packet(
        self, held: HeldSurb, fragment: bytes, identifier: bytes, size: PacketSize, now: float
    ) -> tuple[MixPacket, int]:
        """Uses the SURB up. The delays inside it are not known, so the mean stands for them."""
        version = self._config.sphinx_version
        ack, ack_delay = self._ack(identifier, version, now, previous=self._is_previous(held.rotation))
        plaintext = ack + reply_fragment_key(held.surb.key).encrypt(fragment)
        packet = held.surb.surb.apply(plaintext, size.payload)
        delay_ns = 3 * round(self._config.average_packet_delay * 1000) * 1_000_000 + ack_delay
        return self._mix_packet(held.surb.first_hop, packet, held.rotation), delay_ns

    def cover_packet(self, now: float) -> MixPacket:
        """A loop: to ourselves, of primary or (sometimes) secondary size."""
        config = self._config
        size = config.primary_size
        if config.secondary_size is not None and random_unit(self._random_bytes) > config.cover_primary_ratio:
            size = config.secondary_size
        version = config.cover_sphinx_version
        # Always through the mixes, even where data does without (sphinx.md 18).
        header = self._packet_header(self._address, version, now, mix_hops=True)
        key = self._fragment_key(self._address.encryption, now, burst=0)
        ack, _ = self._ack(COVER_IDENTIFIER, version, now, mix_hops=True)
        packet = header.header.seal(ack + key.encrypt(cover_content(size)), size.payload)
        return self._mix_packet(header.first_hop, packet, self.rotation)

    def reply_surb(self, now: float) -> ReplySurb:
        """A fresh one that ends at us, for the rotation of the topology."""
        config = self._config
        return self._pools.take(
            "surb", self._make_reply_surb, config.prepared_surbs, now, reserve=config.burst_surbs
        )

    @property
    def surb_version(self) -> int:
        """Sphinx version of our reply SURBs; lists with full keys know four hops only (sphinx.md 19.1)."""
        return 259 if self._config.disable_mix_hops else self._config.sphinx_version

    def prepare_ahead(self, now: float, budget: int) -> int:
        """Fills the pools that were used lately, at most ``budget`` items; returns how many were made."""
        if not self.is_ready:
            return 0
        return self._pools.refill(now, budget)

    def stock_up(self, now: float, budget: int, recent: float) -> int:
        """The same beyond what steady traffic needs, for the pools used in the last ``recent`` seconds."""
        return self._pools.stock_up(now, budget, recent) if self.is_ready else 0

    @property
    def prepared(self) -> int:
        """Items in the pools."""
        return len(self._pools)

    def _is_previous(self, rotation: KeyRotation) -> bool:
        """Whether an ack must use the previous rotation's keys, travelling in a packet of this rotation.

        The gateway sends the ack off under the rotation of the packet it came in (21). With the new keys, the
        acks in replies by older SURBs would be dropped by the first node.
        """
        previous = self._previous
        is_old = rotation not in (KeyRotation.UNKNOWN, self.rotation)
        return is_old and previous is not None and previous.rotation is rotation

    def _mix_packet(self, first_hop: NodeAddress, packet: bytes, rotation: KeyRotation) -> MixPacket:
        return MixPacket(first_hop, packet, PacketType.MIX, rotation)

    def _ack(
        self,
        identifier: bytes,
        version: int,
        now: float,
        *,
        mix_hops: bool | None = None,
        previous: bool = False,
    ) -> tuple[bytes, int]:
        """The 405 bytes in front of a fragment, and the expected delay."""
        mean = self._config.average_ack_delay
        header = self._header("ack", self._address, version, mean, now, mix_hops, previous)
        content = encode_ack(self._keys.ack_key, identifier, self._random_bytes)
        packet = header.header.seal(content, PacketSize.ACK.payload)
        return header.first_hop.pack_padded(PADDED_IN_ACK) + packet, header.delay_ns

    def _packet_header(
        self, recipient: Recipient, version: int, now: float, *, mix_hops: bool | None = None
    ) -> _RoutedHeader:
        mean = self._config.average_packet_delay
        return self._header("packet", recipient, version, mean, now, mix_hops)

    def _header(
        self,
        use: str,
        recipient: Recipient,
        version: int,
        mean: float,
        now: float,
        mix_hops: bool | None,
        previous: bool = False,
    ) -> _RoutedHeader:
        identity, gateway = recipient.identity, recipient.gateway

        def make() -> _RoutedHeader:
            topology = self._previous if previous else self.topology
            route, delays = self._route(topology, gateway, mean, mix_hops)
            header = prepare_header(
                [node.hop for node in route],
                delays,
                identity,
                version=version,
                random_bytes=self._random_bytes,
            )
            return _RoutedHeader(route[0].mix_address, header, sum(delays[:-1]))

        key: Hashable = (use, identity, gateway, version, mix_hops, previous)
        # Cover, and replies by old SURBs, come in no bursts.
        burst = 0 if mix_hops or previous else self._config.burst_headers
        return self._pools.take(key, make, self._config.prepared_headers, now, reserve=burst)

    def _fragment_key(self, encryption_key: bytes, now: float, *, burst: int) -> FragmentKey:
        def make() -> FragmentKey:
            return agree_fragment_key(encryption_key, self._random_bytes)

        key = ("key", encryption_key)
        return self._pools.take(key, make, self._config.prepared_headers, now, reserve=burst)

    def _make_reply_surb(self) -> ReplySurb:
        mean = self._config.average_packet_delay
        route, delays = self._route(self.topology, self._address.gateway, mean, None)
        surb = Surb.create(
            [node.hop for node in route],
            delays,
            self._address.identity,
            version=self.surb_version,
            random_bytes=self._random_bytes,
        )
        return ReplySurb(self._random_bytes(KEY_LENGTH), surb)

    def _route(
        self, topology: Topology | None, gateway: bytes, mean: float, mix_hops: bool | None
    ) -> tuple[list[Node], list[int]]:
        if topology is None:
            raise NoRouteError("there is no topology")
        if mix_hops is None:
            mix_hops = not self._config.disable_mix_hops
        route = topology.random_route(gateway, self._random_bytes, mix_hops=mix_hops)
        return route, [round(random_exponential(self._random_bytes, mean) * 1e9) for _ in route]
